"""B-9: a teacher with real weights is no binary vector, and its best binary one is left for ever.

Without any sampling: the population gradient c (q - w*), w* real of length 1. Coordinates do not
see each other, and each is a rotation of a circle of length 2 eta c / sqrt(n): it is wrong for
p_i = (1 - sqrt(n) |w*_i|)_+ / 2 of the time, whatever eta (Proposition 4 of this package). Summing
the recursion gives more: the number of wrong steps differs from p_i T by less than 2, once the
coordinate is within a step of 0.

That a projected gradient scheme visits the optimum again and again is the finding of Long, Yin and
Xin for a related scheme; the formulas here are this package's.

References
----------
Z. Long, P. Yin, J. Xin, "Recurrence of optimum for training weight and activation quantized
networks", arXiv 2012.05529, 2020.
"""

from functools import partial

import numpy as np

from ... import backend, report
from ...errors import require
from ..runner import Report
from ..verdicts import Claim, at_most, near
from .model import STES, own_seed, population_gradient
from .predictions import product_law, teacher_fractions, union_bound
from .runs import run, step_size

SIZES = (8, 12)
TEACHERS = 24
SPREADS = (0.05, 0.1, 0.2, 0.4)  # sd of sqrt(n) |w*_i| before w* is scaled to length 1
STEPS, LARGE = 60_000, 600_000
MOVE = 0.0317


def teachers(seed, n):
    """w* (TEACHERS, n) of length 1: random signs, magnitudes 1 + spread times N(0, 1)."""
    generator = np.random.default_rng(own_seed(seed, 9, n))
    spread = np.resize(SPREADS, TEACHERS)[:, None]
    size = np.abs(1.0 + spread * generator.standard_normal((TEACHERS, n)))
    w = size * generator.choice([-1.0, 1.0], size=(TEACHERS, n))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def _lengths_1(truth):
    # teachers that a reader has made, (teachers, n)
    truth = np.asarray(truth, float)
    require(truth.ndim == 2, "truth", truth.shape, "its shape must be (teachers, n)")
    lengths = np.linalg.norm(truth, axis=1)
    off = float(np.max(np.abs(lengths - 1.0), initial=0.0))
    remedy = "each teacher must have the length 1: divide it by np.linalg.norm(w)"
    require(off < 1e-6 and len(truth), "truth", lengths.tolist(), remedy)
    return truth


def run_teacher(setup, truth=None):
    """B-9: wrong time of each coordinate and time at the optimum; returns a `Report`.

    Parameters
    ----------
    setup : Setup
    truth : array_like of shape (teachers, n), optional
        Real teachers w*, each of length 1; by default those of `teachers`, for each of `SIZES`.
        The product law is claimed of them, too: it fails where the p_i are rationally dependent.
    """
    ste, steps = STES["identity"], LARGE if setup.large else STEPS
    rows, wrong_gaps, shares = [], [], []
    given = [teachers(setup.seed, n) for n in SIZES] if truth is None else [_lengths_1(truth)]
    for truth in given:
        count, n = truth.shape
        setup.say(f"n = {n}")
        p = teacher_fractions(truth)
        xp = backend.namespace(setup.like)
        like = xp.astype(setup.like, xp.float64)
        teacher = backend.asarray(truth, like, dtype=like.dtype)
        # within a step of 0, on the right side
        w = 0.5 * MOVE * backend.asarray(np.sign(truth), like, dtype=like.dtype)
        drift = partial(population_gradient, ste, teacher)
        found = run(drift, teacher, w, step_size(ste, n, MOVE), steps, ste)
        wrong, home = backend.to_numpy(found.wrong), 1.0 - backend.to_numpy(found.away) / steps
        wrong_gaps.append(np.abs(wrong - p * steps).max())
        shares.append(np.abs(wrong - 2.0 * p * steps).max())
        cosine = np.abs(truth).sum(axis=1) / np.sqrt(n)
        for i in range(count):
            rows.append({
                "n": n, "teacher": i, "cosine": cosine[i], "home": home[i],
                "product": float(product_law(p[i])), "union": float(union_bound(p[i])),
                "escapes": float(backend.to_numpy(found.escapes)[i]),
                "returns": float(backend.to_numpy(found.returns)[i]),
            })  # fmt: skip

    def column(name):
        return np.array([row[name] for row in rows])

    home, union, product = column("home"), column("union"), column("product")
    sure = union > 0.0
    claims = [
        Claim(
            "A coordinate is wrong in p_i T steps, p_i = (1 - sqrt(n) |w*_i|)_+ / 2, to within 2",
            "Proposition 4 (this package)", "0 ... 2", f"{max(wrong_gaps):.3g}", max(wrong_gaps),
            2.0, "steps", "2 p_i T: no division by 2", max(shares),
        ),
        near(
            "Time at the optimum = prod_i (1 - p_i)",
            "Proposition 4 (this package), equidistribution (Weyl): T finite", home, product, 0.005,
            union, "1 - sum_i p_i", unit="share of the time",
        ),
        at_most(
            "Time away from the optimum <= sum_i p_i",
            "Proposition 4 (this package), union bound",
            1.0 - home, 1.0 - union, 0.5 * (1.0 - union), "half of that",
            tolerance=2.0 * max(row["n"] for row in rows) / steps, unit="share of the time",
        ),
    ]  # fmt: skip
    if sure.any():
        claims.append(Claim(
            "Where sum_i p_i < 1 the optimum is left and reached again without end",
            "Proposition 4 (this package); recurrence: Long, Yin, Xin 2020, for a related scheme",
            "as many returns as escapes, to 1",
            f"{np.abs(column('escapes') - column('returns'))[sure].max():.0f}, with at least "
            f"{column('escapes')[sure].min():.0f} escapes in {steps:,} steps",
            np.abs(column("escapes") - column("returns"))[sure].max(), 1.0, "visits",
            "it is not reached again", column("escapes")[sure].min(),
        ))  # fmt: skip
    thinned = max(1, len(rows) // 12)
    lines = [
        [f"n={row['n']}", *(f"{row[k]:.4f}" for k in ("cosine", "home", "product", "union")),
         f"{row['escapes']:.0f}"]
        for row in sorted(rows, key=lambda row: (row["n"], -row["cosine"]))[::thinned]
    ]  # fmt: skip
    headers = ["", "cosine", "time at optimum", "product law", "union bound", "escapes"]
    return Report(claims, rows, report.table(headers, lines), {"steps": steps})

"""B-2: one large step of the STE recovers the signs from N ~ 2 pi n ln n samples.

From w_0 = a s_0 with eta = a sqrt(n) / c, w_1 / (a sqrt(n)) = w* - delta(q_0), so what is asked is
whether every |delta_i| stays on the right side of 1 / sqrt(n) (Proposition 3 of this package).

One step needs no data set. Of x_k only two numbers matter, along a = (q_0 - w*) / |q_0 - w*| and
b = (q_0 + w*) / |q_0 + w*|: they decide whether q_0 and w* disagree about x_k. Given K samples that
count, the rest of g is N(0, K / N^2) in the directions orthogonal to both. `sampled` draws g in
this way, exactly in law, at the cost of 2 N + n random numbers in place of N n.
"""

from math import pi, sqrt

import numpy as np

from ... import backend, report, rng
from ..runner import Report
from ..verdicts import close
from .model import STES, own_seed
from .predictions import normal_cdf, one_step_probability, one_step_threshold

SIZES, LARGE = (16, 32, 64, 128), (16, 32, 64, 128, 256, 512)
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # N / threshold
TRIALS = 1000
BLOCK = 2**19  # samples of all trials drawn at a time


def sampled(seed, trials, n, samples, ste, like):
    """P(sgn w_1 = s*) from ``trials`` steps: an array of successes (trials,) of 0 and 1.

    Parameters
    ----------
    seed, trials, n, samples : int
        ``samples`` is N.
    ste : ActivationSTE
    like : ndarray
        Its backend and dtype are used.
    """
    size = max(1, BLOCK // samples)
    parts = [
        _block(seed, block, min(size, trials - block * size), n, samples, ste, like)
        for block in range(-(-trials // size))
    ]
    return np.concatenate(parts)


def _block(seed, block, trials, n, samples, ste, like):
    xp = backend.namespace(like)

    def normal(shape, what):
        return rng.at(seed, "noise", block, what).normal(backend.empty(shape, like))

    # s* = (1, ..., 1), without loss of generality; s_0 is wrong where `off` is 1
    off = xp.astype(normal((trials, n), 0) < 0.0, like.dtype)
    wrong = xp.sum(off, axis=1, keepdims=True)
    # q_0 = sin(theta / 2) a + cos(theta / 2) b,  w* = -sin(theta / 2) a + cos(theta / 2) b
    sine, cosine = xp.sqrt(wrong / n), xp.sqrt(1.0 - wrong / n)
    along_a, along_b = normal((trials, samples), 1), normal((trials, samples), 2)
    # q_0 and w* disagree where |x.a| sin > |x.b| cos; then 1{x.q_0 > 0} - 1{x.w* > 0} = sgn(x.a)
    counts = xp.abs(along_a) * sine > xp.abs(along_b) * cosine
    if ste.name == "relu":
        counts = counts & (along_a * sine + along_b * cosine > 0.0)
    counts = xp.astype(counts, like.dtype)
    many = xp.sum(counts, axis=1, keepdims=True)
    g_a = xp.sum(counts * xp.abs(along_a), axis=1, keepdims=True) / samples
    g_b = xp.sum(counts * xp.sign(along_a) * along_b, axis=1, keepdims=True) / samples
    a = -off / xp.sqrt(xp.maximum(wrong, 1.0))
    b = (1.0 - off) / xp.sqrt(xp.maximum(n - wrong, 1.0))
    rest = normal((trials, n), 3)
    rest = rest - xp.sum(rest * a, axis=1, keepdims=True) * a
    rest = rest - xp.sum(rest * b, axis=1, keepdims=True) * b
    g = g_a * a + g_b * b + xp.sqrt(many) / samples * rest
    # w_1 / (a sqrt(n)) = q_0 - g / c
    step = (1.0 - 2.0 * off) / sqrt(n) - g / ste.slope
    return backend.to_numpy(xp.astype(xp.all(step > 0.0, axis=1), like.dtype)).astype(np.float64)


def run(setup):
    """Success against N / threshold for several n and both STEs; returns a `Report`."""
    cells = [
        (name, n, ratio)
        for name in STES
        for n in (LARGE if setup.large else SIZES)
        for ratio in RATIOS
    ]

    def cell(name, n, ratio):
        setup.say(f"{name}, n = {n}")
        ste = STES[name]
        samples = round(ratio * one_step_threshold(n, ste))
        seed = own_seed(setup.seed, 2, list(STES).index(name), n, RATIOS.index(ratio))
        found = sampled(seed, TRIALS, n, samples, ste, setup.like).mean()
        # a wrong law: the variance of delta doubled, as if the other STE's samples were needed
        wrong = normal_cdf(sqrt(0.5 * samples * ste.share / (pi * n))) ** n
        predicted = one_step_probability(n, samples, ste)
        se = sqrt(max(predicted * (1.0 - predicted), 1.0 / TRIALS) / TRIALS)
        return {
            "ste": name, "n": n, "ratio": ratio, "samples": samples, "trials": TRIALS,
            "success": found, "predicted": predicted, "se": se, "wrong": wrong,
        }  # fmt: skip

    nbytes = 8 * BLOCK * setup.like.dtype.itemsize
    rows = list(setup.pool.map(cell, cells, nbytes))
    smooth = np.linspace(RATIOS[0], RATIOS[-1], 100)
    curves = {
        (name, n): (
            smooth,
            [one_step_probability(n, r * one_step_threshold(n, STES[name]), STES[name])
             for r in smooth],
        )
        for name, n, _ in cells
    }  # fmt: skip
    return Report(claims(rows), rows, table(rows), curves)


def claims(rows):
    """What B-2 claims."""

    def column(name, chosen):
        return np.array([row[name] for row in chosen])

    found = []
    for name in STES:
        own = [row for row in rows if row["ste"] == name]
        found.append(
            close(
                f"One step: P(sgn w_1 = s*) = Phi(sqrt(N share / (pi n)))^n, {name} STE",
                "Proposition 3 (this package), leading order in n: slack 1/n",
                column("success", own),
                column("predicted", own),
                column("se", own),
                column("wrong", own),
                "twice the variance",
                slack=1.0 / column("n", own),
            )  # fmt: skip
        )
    identity, relu = ([row for row in rows if row["ste"] == name] for name in STES)
    n = column("n", relu)
    found.append(
        close(
            "The ReLU STE with twice the samples does what the identity STE does",
            "Proposition 3 (this package), leading order in n: slack 1/n",
            column("success", relu),
            column("success", identity),
            sqrt(2.0) * column("se", relu),
            [normal_cdf(sqrt(row["samples"] / (pi * row["n"]))) ** row["n"] for row in relu],
            "as the identity STE does with as many samples",
            slack=1.0 / n,
        )  # fmt: skip
    )
    return found


def table(rows):
    """Measured and predicted success, a line for each STE and n."""
    lines = []
    for name in STES:
        for n in dict.fromkeys(row["n"] for row in rows):
            own = [row for row in rows if (row["ste"], row["n"]) == (name, n)]
            cells = [f"{row['success']:.3f}/{row['predicted']:.3f}" for row in own]
            lines.append([f"{name} n={n}", f"{own[3]['samples']:,}", *cells])
    headers = ["measured/predicted", "threshold N", *(f"r={ratio:g}" for ratio in RATIOS)]
    return report.table(headers, lines)

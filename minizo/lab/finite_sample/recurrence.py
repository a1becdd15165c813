"""B-6 and B-7: with label noise the STE leaves w* and comes back, again and again.

At w* the gradient is e = g(w*), a fixed vector that depends on the sample: e_i ~ N(0, sigma^2
share / N). A coordinate that e pushes to the wrong side crosses 0, is pushed back by 2 c / sqrt(n),
and so on: a rotation of a circle. Proposition 4 of this package treats the coordinates as if each
went round on its own; how well that does for finite N is what is measured here. That the iterates
leave and return is the paper's finding (Jeong, Xin, Yin, arXiv 2505.18113, abstract); the formulas
are not known to be theirs.

Runs start within a step or so of 0. From far away a coordinate with a small p_i would take
|w_0| / p_i steps to begin its rotation, and the time at w* would be measured too large.
"""

from math import sqrt

import numpy as np

from ... import backend, report
from ...errors import require
from ..runner import Report
from ..verdicts import Claim, close, near
from .model import STES, gradient, inputs, make_task, own_seed, random_signs, signs, start
from .predictions import mean_occupancy, product_law, union_bound, wrong_fractions
from .runs import in_blocks, learn, step_size

CELLS = ((16, 1000), (16, 4000), (16, 16000), (32, 4000), (32, 8000))  # (n, N) of B-6
LARGE = (*CELLS, (64, 16000), (64, 64000))
SIGMAS = (0.05, 0.1, 0.2, 0.4, 0.8)
SETS, DRAWS = 4, 4  # data sets, and noise draws of each sigma on each
STEPS, BURN, MOVE = 2500, 500, 0.0317  # a step that is no simple fraction of anything
SLACK = 0.03  # for the coordinates' influence on each other
RELU_CELL, RELU_SIGMA, RELU_DRAWS = (32, 8000), 0.2, 12  # of B-7


def occupancy(setup, ste, n, samples, sigmas, draws, experiment, sets=SETS, move=MOVE):
    """Runs with label noise, and what Proposition 4 says of each.

    Parameters
    ----------
    setup : Setup
    ste : ActivationSTE
    n, samples : int
    sigmas : tuple of float
    draws : int
        Noise draws for each sigma and data set.
    experiment : int
        Part of the seed.
    sets : int
        Data sets.
    move : float
        How far a wrong coordinate moves in a step: eta = move sqrt(n) / (2 c). Runs start within
        a step or so of 0, so that the result depends on ``move`` by rounding only.

    Returns
    -------
    dict of ndarray
        With axes (sets, sigmas * draws): ``home`` time at w*, ``product`` and ``union`` of its own
        e, ``escapes``, ``returns``, ``average`` whether the sign of the time average is right; with
        a last axis n: ``wrong``, ``p``.
    """
    require(move > 0.0, "move", move, "a step must be above 0")
    xp = backend.namespace(setup.like)
    seed, runs = own_seed(setup.seed, experiment, n, samples), len(sigmas) * draws
    sigma = np.repeat(np.array(sigmas), draws)[:, None]
    sigma = backend.asarray(sigma, setup.like, dtype=setup.like.dtype)

    def work(block):
        x = inputs(seed, block, samples, n, setup.like)
        teacher = random_signs(seed, block, runs, n, setup.like)
        task = make_task(x, teacher, sigma, seed, block)
        w = move * start(seed, block, runs, n, setup.like, "gaussian")
        found = learn(task, w, step_size(ste, n, move), STEPS, ste, burn=BURN)
        noise, optimum = gradient(task, ste, teacher), teacher
        right = xp.all(signs(found.total) == teacher, axis=-1)
        arrays = (found.away, found.escapes, found.returns, right, found.wrong, noise, optimum)
        return tuple(backend.to_numpy(array).astype(np.float64) for array in arrays)

    nbytes = samples * (n + 4 * runs) * setup.like.dtype.itemsize
    away, escapes, returns, right, wrong, noise, optimum = in_blocks(
        setup.pool, work, sets, 1, nbytes
    )
    p = wrong_fractions(noise, optimum, ste)
    return {
        "home": 1.0 - away / (STEPS - BURN), "product": product_law(p), "union": union_bound(p),
        "escapes": escapes, "returns": returns, "average": right > 0.0,
        "wrong": wrong / (STEPS - BURN), "p": p,
    }  # fmt: skip


def raster(setup, n, samples, sigma):
    """Which coordinates are wrong at each step of one run: host array (STEPS, n) of 0 and 1."""
    xp, ste = backend.namespace(setup.like), STES["identity"]
    seed = own_seed(setup.seed, 6, 0)
    x = inputs(seed, range(1), samples, n, setup.like)
    teacher = random_signs(seed, range(1), 1, n, setup.like)
    task = make_task(x, teacher, sigma, seed)
    w = MOVE * start(seed, range(1), 1, n, setup.like, "gaussian")
    found = learn(task, w, step_size(ste, n, MOVE), STEPS, ste, raster=True)
    return backend.to_numpy(xp.stack(found.raster))[:, 0, 0, :]


# B-6 -------------------------------------------------------------------------------------------


def run_noise(setup):
    """B-6: time at w*, per-coordinate wrong time and a raster; returns a `Report`."""
    ste, cells = STES["identity"], []
    for n, samples in LARGE if setup.large else CELLS:
        setup.say(f"n = {n}, N = {samples:,}")
        cells.append((n, samples, occupancy(setup, ste, n, samples, SIGMAS, DRAWS, 6)))
    rows = [row for n, samples, found in cells for row in _rows(ste, n, samples, SIGMAS, found)]

    def column(name):
        return np.array([row[name] for row in rows])

    slow = column("predicted") ** (1.0 / np.sqrt(column("n")))  # n in place of n^(3/2)
    own = [(found["wrong"].ravel(), found["p"].ravel()) for _, _, found in cells]
    slopes = np.array([wrong @ p / (p @ p) for wrong, p in own])
    balance = max(np.abs(found["escapes"] - found["returns"]).max() for _, _, found in cells)
    visits = max(found["escapes"].max() for _, _, found in cells)
    lost = max(np.mean(~found["average"]) for _, _, found in cells)
    off = max(1.0 - found["home"].min() for _, _, found in cells)
    gap = column("home") - column("product")
    claims = [
        close(
            "Mean time at w* = exp(-n^(3/2) sigma / (2 sqrt(N)))",
            f"Proposition 4 (this package), coordinates decoupled: slack {SLACK}",
            column("home"), column("predicted"), column("se"), slow, "n in place of n^(3/2)",
            slack=SLACK,
        ),
        close(
            "Time at w* = prod_i (1 - p_i) in the mean, with the p_i of each run's own e = g(w*)",
            f"Proposition 4 (this package), coordinates decoupled: slack {SLACK}",
            gap, np.zeros_like(gap), column("gap_se"), 1.0 - column("product"),
            "w* is never left", slack=SLACK,
        ),
        near(
            "A coordinate is wrong for p_i = sqrt(n) (e_i s*_i)_+ / (2 c) of the time: slope 1",
            "Proposition 4 (this package)", slopes, np.ones_like(slopes), 0.05,
            np.full_like(slopes, 2.0), "slope 2: p_i without its 1/2", unit="slope",
        ),
        Claim(
            "w* is left and reached again as often, give or take the last visit",
            "Jeong, Xin, Yin (arXiv 2505.18113, abstract) for escapes and returns; the count is "
            "this package's", "a difference of at most 1",
            f"{balance:.0f}, with up to {visits:.0f} escapes in {STEPS - BURN} steps", balance, 1.0,
            "visits", "it is left and not reached again", visits,
        ),
        Claim(
            "The sign of the time average is s* in every run (all p_i < 1/2)",
            "Proposition 4 (this package)", "0", f"{lost:g}", lost, 0.0, "share of the runs",
            "q_t itself is w* all the time", off,
        ),
    ]  # fmt: skip
    n, samples = cells[-1][:2]
    drawn = raster(setup, 32, 8000, 0.2)
    curves = {"wrong": own[-1][0], "p": own[-1][1], "cell": (n, samples), "raster": drawn,
              "raster_cell": (32, 8000, 0.2)}  # fmt: skip
    lines = [
        [f"n={row['n']} N={row['samples']}", f"{row['sigma']:g}", f"{row['home']:.3f}",
         f"{row['se']:.3f}", f"{row['predicted']:.3f}", f"{row['product']:.3f}",
         f"{row['union']:.3f}", f"{row['escapes']:.0f}"]
        for row in rows
    ]  # fmt: skip
    headers = ["", "sigma", "time at w*", "+-", "exp(...)", "product law", "union bound", "escapes"]
    return Report(claims, rows, report.table(headers, lines), curves)


def _rows(ste, n, samples, sigmas, found):
    """One row a sigma: means over data sets and draws, with standard errors over all of them.

    Runs on one data set share its inputs, but not the label noise, which does nearly all.
    """
    count = found["home"].shape[1] // len(sigmas)
    answer = []
    for i, sigma in enumerate(sigmas):
        own = {k: v[:, i * count : (i + 1) * count] for k, v in found.items()}
        gap, runs = own["home"] - own["product"], own["home"].size
        answer.append({
            "ste": ste.name, "n": n, "samples": samples, "sigma": sigma, "runs": runs,
            "home": own["home"].mean(), "se": own["home"].std(ddof=1) / sqrt(runs),
            "predicted": mean_occupancy(n, samples, sigma, ste),
            "product": own["product"].mean(), "gap_se": gap.std(ddof=1) / sqrt(runs),
            "union": own["union"].mean(), "escapes": own["escapes"].mean(),
            "returns": own["returns"].mean(), "wrong": own["wrong"].sum(axis=-1).mean(),
            "p": own["p"].sum(axis=-1).mean(),
            "p_se": own["p"].sum(axis=-1).std(ddof=1) / sqrt(runs),
        })  # fmt: skip
    return answer


# B-7 -------------------------------------------------------------------------------------------


def run_relu(setup):
    """B-7: the same label noise under both STEs of the activation; returns a `Report`."""
    n, samples = RELU_CELL
    rows, found = [], {}
    for name, ste in STES.items():
        setup.say(f"{name} STE")
        found[name] = occupancy(setup, ste, n, samples, (RELU_SIGMA,), RELU_DRAWS, 7)
        rows += _rows(ste, n, samples, (RELU_SIGMA,), found[name])
    ratio = rows[1]["wrong"] / rows[0]["wrong"]
    sums = [found[name]["wrong"].sum(axis=-1).ravel() for name in STES]
    # the two STEs meet the same noise: the error of the ratio from pairs
    se = np.std(sums[1] - ratio * sums[0], ddof=1) / sqrt(sums[0].size) / sums[0].mean()
    home, predicted, errors = (np.array([row[key] for row in rows]) for key in
                               ("home", "predicted", "se"))  # fmt: skip
    claims = [
        close(
            "Mean time at w* = exp(-n^(3/2) sigma / (2 sqrt(N share))), share 1 and 1/2",
            f"Proposition 4 (this package), coordinates decoupled: slack {SLACK}",
            home, predicted, errors, predicted[::-1] ** 3, "three times the other's rate",
            slack=SLACK,
        ),
        close(
            "The wrong times under the ReLU STE add up to sqrt(2) of those under the identity",
            "Proposition 4 (this package)", ratio, sqrt(2.0), se, 1.0, "to as much",
        ),
    ]  # fmt: skip
    lines = [
        [row["ste"], f"{row['home']:.3f} +- {row['se']:.3f}", f"{row['predicted']:.3f}",
         f"{row['product']:.3f}", f"{row['wrong']:.3f}", f"{row['p']:.3f}"]
        for row in rows
    ]  # fmt: skip
    headers = ["STE", "time at w*", "exp(...)", "product law", "sum of wrong times", "sum of p"]
    curves = {name: {key: found[name][key] for key in ("home", "product", "wrong", "p")}
              for name in STES}  # fmt: skip
    return Report(claims, rows, report.table(headers, lines), curves)

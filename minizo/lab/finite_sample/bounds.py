"""B-4 and B-5: bounds that hold for every run, and the supremum that they need.

B-4 checks Propositions 1 and 2 of this package as inequalities, on random problems. They are
deterministic: given what delta did along the run, no probability is left.

B-5 looks at sup_q |delta(q)|_inf over all 2^n sign vectors, by enumeration, beside the union bound
and beside what a single q has. With n up to 12 a growth like sqrt(n) cannot be told from one like
log n: the supremum is consistent with the union bound, no more.
"""

from math import sqrt
from statistics import NormalDist

import numpy as np

from ... import backend, report
from ..runner import Report
from ..verdicts import SIGMAS, Claim, at_most
from .model import STES, Task, fires, gradient, inputs, make_task, own_seed, random_signs, start
from .predictions import (
    mean_uniform_bound,
    simple_uniform_bound,
    uniform_bound,
    visits_optimum,
    wrong_time_bound,
)
from .runs import learn, step_size

PROBLEMS = 48  # of B-4
RUNS = 4
STEPS = 800
DIMENSIONS, LARGE = (4, 6, 8, 10, 12), (4, 6, 8, 10, 12, 14)  # of B-5
SAMPLES, SETS = 8000, 12
BLOCK = 256  # sign vectors at a time


# B-4 -------------------------------------------------------------------------------------------


def problem(setup, number):
    """One random problem and its runs, in float64: a dict of host arrays, one row a coordinate."""
    generator = np.random.default_rng(own_seed(setup.seed, 4, number))
    n = int(generator.integers(4, 41))
    samples = int(n * generator.uniform(4.0, 100.0))
    sigma = float(generator.choice([0.0, 0.0, 0.5, 4.0]))
    ste = STES[str(generator.choice(list(STES)))]
    move = float(generator.uniform(0.02, 0.1))
    eta, law = step_size(ste, n, move), str(generator.choice(["equal", "gaussian"]))
    size = float(generator.choice([1.0, move]))  # far away, or within a step or so of 0
    xp = backend.namespace(setup.like)
    like, seed = xp.astype(setup.like, xp.float64), own_seed(setup.seed, 4, number)
    x = inputs(seed, range(1), samples, n, like)
    teacher = random_signs(seed, range(1), RUNS, n, like)
    w = size * start(seed, range(1), RUNS, n, like, law)
    found = learn(make_task(x, teacher, sigma, seed), w, eta, STEPS, ste)
    names = ("wrong", "total", "excess", "first")
    host = {name: backend.to_numpy(getattr(found, name))[0] for name in names}
    w, teacher = backend.to_numpy(w)[0], backend.to_numpy(teacher)[0]
    bound = wrong_time_bound(host["excess"], w, eta, ste, STEPS)
    return {
        "n": n, "samples": samples, "sigma": sigma, "ste": ste.name, "start": law, "size": size,
        "wrong": host["wrong"] / STEPS, "bound": bound,
        "weak": wrong_time_bound(0.5 * host["excess"], w, eta, ste, STEPS),
        "average": host["total"] * teacher > 0.0,
        "certain": visits_optimum(bound), "visited": host["first"] < STEPS,
    }  # fmt: skip


def run_bounds(setup):
    """B-4: Propositions 1 and 2 on random problems; returns a `Report`."""
    setup.say("random problems")
    calls = ((setup, number) for number in range(PROBLEMS))
    found = list(setup.pool.map(problem, calls, 2**24))

    def joined(name):
        return np.concatenate([each[name].ravel() for each in found])

    wrong, bound, weak = joined("wrong"), joined("bound"), joined("weak")
    average, certain, visited = joined("average"), joined("certain"), joined("visited")
    half = bound < 0.5

    def without_exception(text, source, holds, asked, control):
        exceptions, others = int(np.sum(~holds[asked])), int(np.sum(~holds[~asked]))
        shown = f"{exceptions} exceptions"
        return Claim(text, source, "no exception", shown, exceptions, 0.0, "exceptions", control,
                     others)  # fmt: skip

    claims = [
        at_most(
            "Time that a coordinate is wrong <= sqrt(n) d_i / 2 + sqrt(n) |w_0i| / (2 eta c T) + "
            f"1 / T ({wrong.size} coordinates)",
            "Proposition 1 (this package)", wrong - bound, np.zeros_like(wrong), weak - bound,
            "sqrt(n) d_i / 4 in the first term", tolerance=1e-9, unit="share of the time",
        ),
        without_exception(
            f"Where that bound is below 1/2, the sign of the time average is right ({half.sum()} "
            "coordinates)",
            "Proposition 1 (this package)", average, half, "so it is where it is not below 1/2",
        ),
        without_exception(
            f"Where the bounds of all coordinates add up to less than 1, w* is visited "
            f"({certain.sum()} of {certain.size} runs)",
            "Proposition 2 (this package)", visited, certain, "so it is where they do not",
        ),
    ]  # fmt: skip
    rows = [
        {key: each[key] for key in ("n", "samples", "sigma", "ste", "start", "size")}
        | {"run": run, "coordinate": i}
        | {key: each[key][run, i] for key in ("wrong", "bound")}
        for each in found
        for run in range(RUNS)
        for i in range(each["n"])
    ]
    kinds = ("no label noise", 0.0), ("sigma = 0.5", 0.5), ("sigma = 4", 4.0)
    lines = []
    for label, sigma in kinds:
        own = [each for each in found if each["sigma"] == sigma]
        ratio = np.concatenate([(each["wrong"] / each["bound"]).ravel() for each in own])
        runs = np.concatenate([each["certain"] for each in own])
        lines.append([label, ratio.size, f"{ratio.max():.3f}", f"{runs.sum()} of {runs.size}"])
    headers = ["", "coordinates", "largest wrong time / bound", "runs with sum of bounds < 1"]
    return Report(claims, rows, report.table(headers, lines), {})


# B-5 -------------------------------------------------------------------------------------------


def sign_vectors(n, like):
    """All 2^n of them: (2^n, n)."""
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return backend.asarray(2.0 * bits - 1.0, like, dtype=like.dtype)


def deviations(x):
    """sqrt(N) |delta(q)|_inf for all q (identity STE, s* = (1, ..., 1)): host array (2^n,).

    Parameters
    ----------
    x : ndarray (1, N, n)
        Cost: 2 N n 2^n multiply-accumulates.
    """
    xp, ste = backend.namespace(x), STES["identity"]
    samples, n = x.shape[1:]
    every = sign_vectors(n, x)
    optimum = xp.ones_like(every[:1])[None]
    target, answer = fires(x, optimum), []
    for low in range(0, every.shape[0], BLOCK):
        s = every[low : low + BLOCK][None]
        g = gradient(Task(x, target, optimum), ste, s)
        delta = g / ste.slope - (s - optimum) / sqrt(n)
        answer.append(backend.to_numpy(xp.max(xp.abs(delta), axis=-1))[0])
    return sqrt(samples) * np.concatenate(answer).astype(np.float64)


def pointwise(n):
    """The median of sqrt(N) |delta(q)|_inf at one q with theta = pi / 2, as if normal.

    2 Phi(t / sqrt(pi)) - 1 = 2^(-1/n)
    """
    return sqrt(np.pi) * NormalDist().inv_cdf(0.5 + 0.5 * 2.0 ** (-1.0 / n))


def run_uniform(setup):
    """B-5: the supremum over all q against the union bound; returns a `Report`."""
    sizes = LARGE if setup.large else DIMENSIONS

    def one(n, b):
        setup.say(f"n = {n}: {2**n} sign vectors")
        x = inputs(own_seed(setup.seed, 5, n), range(b, b + 1), SAMPLES, n, setup.like)
        values = deviations(x)
        return {"n": n, "set": b, "sup": values.max(), "median": float(np.median(values))}

    cells = [(n, b) for n in sizes for b in range(SETS)]
    rows = list(setup.pool.map(one, cells, 4 * BLOCK * SAMPLES * 4))
    tops = [np.array([row["sup"] for row in rows if row["n"] == n]) for n in sizes]
    mean = np.array([top.mean() for top in tops])
    se = np.array([top.std(ddof=1) / sqrt(SETS) for top in tops])
    single = np.array([np.mean([r["median"] for r in rows if r["n"] == n]) for n in sizes])
    union = np.array([mean_uniform_bound(n) for n in sizes])
    alone = np.array([pointwise(n) for n in sizes])
    claims = [
        at_most(
            "Mean over data sets of sqrt(N) sup_q |delta(q)|_inf is below the union bound's",
            "derived for this package (delta as if normal); consistent with it, not a proof of its "
            "order", mean / se, union / se, alone / se, "one q is as bad as all 2^n",
            tolerance=SIGMAS, unit="standard errors",
        ),
        at_most(
            "In every data set it is below the union bound for a failure rate of 1e-6",
            "derived for this package (delta as if normal)",
            [row["sup"] for row in rows], [uniform_bound(row["n"], 1e-6) for row in rows],
            [pointwise(row["n"]) for row in rows], "one q is as bad as all 2^n",
            unit="sqrt(N) delta",
        ),
    ]  # fmt: skip
    simple = np.array([simple_uniform_bound(n) for n in sizes])
    lines = [
        [n, f"{a:.2f} +- {e:.2f}", f"{b:.2f}", f"{c:.2f}", f"{d:.2f}", f"{a / b:.2f}"]
        for n, a, e, b, c, d in zip(sizes, mean, se, single, union, simple, strict=True)
    ]
    headers = ["n", "sup over q", "median over q", "union bound", "simple bound", "sup/median"]
    curves = {"sizes": sizes, "median": single, "union": union, "simple": simple, "alone": alone}
    return Report(claims, rows, report.table(headers, lines), curves)

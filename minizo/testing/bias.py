"""Of which gradient is an estimator the mean? Measured, and judged where the rule says which.

G_1, ..., G_K are estimates at one theta that differ in their seeds. Were t their mean, then

    z_l = (mean G_l - t_l) / (std G_l / sqrt(K))

would be standard normal for every coordinate l, and for the share of t in the estimates, <G, t> /
||t||^2, whose mean would be 1; this finds a wrong length, which all coordinates share a little of.
The bound is 6 for each of these d + 1 numbers: with d = 100 one in five million right rules is
refused.
"""

from dataclasses import replace

import numpy as np

from ..errors import InputError
from .common import stacked
from .findings import Fault, Unjudged, name_of, require
from .problems import accepted, quadratic, walk

SIGMA = 6.0
AT_ONCE = 500  # rows
LEAST, MOST = 100, {True: 10_000, False: 2_000}  # estimates; the most by whether it is rowwise


def check_bias(rule, unbiased_for, forwards):
    """Judge, or measure, the bias; see `check_estimator`."""
    target = getattr(rule, "unbiased_for", None) if unbiased_for is None else unbiased_for
    judged = target is not None
    problem, gradient = _target(rule, target)
    visit = walk(rule, problem)[-1]
    samples = estimates(rule, visit, forwards if judged else forwards // 10)
    t = np.asarray(gradient(visit.objective, visit.theta, visit.batch), float)
    shape = visit.theta.shape
    require(t.shape == shape, f"unbiased_for gives shape {t.shape}, but theta has {shape}")
    words = _words(target)
    mean, alike = samples.mean(axis=0), bool(np.all(samples == samples[0]))
    cosine = _cosine(mean, t)
    z, share = scores(samples, t)
    if not judged:
        if alike:
            raise Unjudged(f"the same for every seed; cosine with {words} {cosine:.3f}")
        single = np.mean([_cosine(sample, t) for sample in samples])
        raise Unjudged(
            f"{len(samples)} draws: the mean has a cosine of {cosine:.3f} with {words}, one alone "
            f"{single:.3f}; largest |z| {np.max(np.abs(z)):.1f}"
        )
    far = f"the mean is {share:.4g} times as long along it, with a cosine of {cosine:.4f}"
    remedy = "correct the rule, or leave out unbiased_for"
    if alike:
        exact = bool(np.max(np.abs(mean - t)) <= 1e-9 * np.max(np.abs(t)))
        require(
            exact,
            f"{name_of(rule)} is not unbiased for {words}: it gives the same for every seed, and "
            f"{far}; {remedy}",
        )
        return f"it is {words} itself, whatever the seed"
    worst = int(np.argmax(np.abs(z)))
    where = f"theta[{worst}]" if worst < t.size else "the length along it"
    require(
        abs(z[worst]) <= SIGMA,
        f"{name_of(rule)} is not unbiased for {words}: in {len(samples)} draws {far}, and {where} "
        f"is {z[worst]:+.1f} standard errors away (6 are allowed); {remedy}",
    )
    spread = np.std(samples @ t / (t @ t)) / np.sqrt(len(samples))
    return (
        f"{len(samples)} draws: the mean is {words}, within {abs(z[worst]):.1f} standard errors; "
        f"an error of {100 * SIGMA * spread:.1f} % in its length would be seen"
    )


def _words(target):
    if callable(target):
        return f"the gradient that {getattr(target, '__name__', 'your function')} gives"
    return "the gradient of the loss" if target == "loss" else "the STE gradient"


def _target(rule, target):
    # the problem on which it is measured, and the gradient there
    def straight_through(objective, theta, batch):
        return objective.ste_gradient(theta, batch).gradient

    if target != "loss":
        known = target in (None, "ste") or callable(target)
        remedy = "it must be 'loss', 'ste', or a function of (objective, theta, batch)"
        require(known, f"unbiased_for is {target!r}, but {remedy}")
        return accepted(rule), target if callable(target) else straight_through
    problem = quadratic()
    try:
        rule.init(problem.objective, problem.theta)
    except InputError as error:
        raise Fault(
            f"{name_of(rule)} cannot be compared with the gradient of a quadratic loss, as its "
            f"init refuses weights in full precision: {error}"
        ) from None
    return problem, straight_through  # which is the gradient, where nothing is quantised


def scores(samples, t):
    """Return z of all coordinates and of the share of t, (d + 1,), and that share's mean.

    Examples
    --------
    >>> samples = np.array([[1.0, 0.0], [1.0, 0.5], [1.0, -0.5]])
    >>> scores(samples, np.array([1.0, 0.0]))[0]
    array([0., 0., 0.])
    """
    share = samples @ t / max(t @ t, np.finfo(float).tiny)
    values, wanted = np.column_stack([samples, share]), np.append(t, 1.0)
    gap = values.mean(axis=0) - wanted
    # what rounding leaves is no deviation, and no spread
    small = 1e-9 * np.append(np.full(t.size, np.max(np.abs(t))), 1.0)
    gap = np.where(np.abs(gap) <= small, 0.0, gap)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return gap / np.maximum(error, 1e-3 * small), float(share.mean())


def _cosine(a, b):
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length > 0.0 else 0.0


def estimates(rule, visit, forwards):
    """Return independent estimates (K, d) at the theta, batch and state of a `Visit`.

    Seeds differ. Of a rule that gives the same for three seeds, these three are all.
    """
    given = visit.given()

    def alone(seed):
        changed = given | {"step": replace(visit.step, seed=seed)}
        return rule.estimate(*changed.values())[0].grad

    first = np.stack([alone(seed) for seed in range(3)])
    if np.all(first == first[0]):
        return first
    rowwise = getattr(rule, "rowwise", False) and _same_in_rows(rule, visit, first)
    draws = max(LEAST, forwards // max(1, visit.estimate.forwards))
    draws = min(MOST[rowwise], draws)
    if not rowwise:
        return np.stack([alone(seed) for seed in range(draws)])
    starts = range(0, draws, AT_ONCE)
    blocks = [range(start, min(start + AT_ONCE, draws)) for start in starts]
    return np.concatenate([_in_rows(rule, visit, tuple(seeds)) for seeds in blocks])


def _in_rows(rule, visit, seeds):
    # estimates of these seeds as rows of one array
    row = (visit.objective.scales, visit.theta, visit.batch, visit.state)
    scales, theta, batch, state = stacked([row] * len(seeds))
    objective = replace(visit.objective, scales=scales)
    step = replace(visit.step, seed=seeds, optimizer=None, optimizer_state=None)
    return rule.estimate(objective, theta, batch, state, step)[0].grad[:, 0, :]


def _same_in_rows(rule, visit, first):
    # of a rule that mixes its rows, which another check says, estimates are made one by one
    try:
        found = _in_rows(rule, visit, tuple(range(len(first))))
    except Exception:  # whatever a user's rule may raise
        return False
    return found.shape == first.shape and np.allclose(found, first, rtol=1e-6)

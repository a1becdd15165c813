"""Checks of an optimiser."""

import copy
from functools import partial
from math import isfinite

import numpy as np

from ..contracts import check_like, check_pair, check_part, check_state
from ..group import row_of
from ..settings import plain
from ..types import Optimizer
from .common import (
    DTYPES,
    again,
    check_pickle,
    check_rows,
    quiet,
    restored,
    state_in_dtype,
    unchanged,
)
from .findings import Findings, Unjudged, name_of, require, run_checks
from .problems import STEPS, accepted, rows

RUNS = 3
TOLERANCE = 1e-9  # of a row beside the same run alone, in float64


def check_optimizer(rule: Optimizer) -> Findings:
    """Check an optimiser: return `Findings`, or raise `CheckFailed`.

    Parameters
    ----------
    rule : optimiser
        With the methods of `minizo.optim.SGD`.

    Raises
    ------
    CheckFailed
        If a check fails; a sentence says where, and what to do.

    Examples
    --------
    >>> from minizo.optim import Adam
    >>> found = check_optimizer(Adam(0.01))
    >>> found.checks[-1].name, found.checks[-1].passed
    ('downhill', None)
    """
    checks = {
        "contract": partial(_contract, rule),
        "rate": partial(_rate, rule),
        "pure": partial(_pure, rule),
        "quiet": partial(_quiet, rule),
        "deterministic": partial(_deterministic, rule),
        "pickle": partial(check_pickle, rule),
        "checkpoint": partial(_checkpoint, rule),
        "rows": partial(_rows, rule),
        "zero gradient": partial(_zero, rule),
        "downhill": partial(_downhill, rule),
    }
    return run_checks(rule, checks)


def moves(rule, problem, seed=0, scale=1.0):
    """Take three steps with random gradients: what each was given, and what it answered."""
    objective, theta, _ = problem
    state, found = check_state(rule, rule.init(theta, objective)), []
    for index in range(STEPS):
        grad = gradient(theta, index, seed, scale)
        progress = index / (STEPS + 1)
        given = {"grad": grad, "state": state, "theta": theta, "progress": progress}
        # a copy, so that what is kept here stays as it is, whatever a rule does
        answer = rule.update(*copy.deepcopy(given).values())
        new, after = check_pair(rule, "update", answer, "theta", object)
        check_like(f"theta after {name_of(rule)}.update", new, "theta before", theta)
        found.append((given, {"theta": new, "state": after}))
        theta, state = new, after
    return found


def gradient(theta, index, seed, scale):
    """Return a random gradient like theta; of runs (S, 1, d), row r has that of seed r alone."""
    if theta.ndim > 1:
        each = [gradient(theta[r, 0], index, r, scale) for r in range(len(theta))]
        return np.stack(each)[:, None, :]
    gen = np.random.default_rng((seed, index))
    return (scale * (1 + seed) * gen.normal(size=theta.shape)).astype(theta.dtype)


def _contract(rule):
    check_part("optimizer", rule)
    for dtype in DTYPES:
        for _, answer in moves(rule, accepted(rule, dtype)):
            state_in_dtype(rule, answer["state"], dtype)
            require(
                bool(np.all(np.isfinite(answer["theta"]))),
                f"theta after {name_of(rule)}.update has a NaN or an infinity, of a gradient of "
                "ordinary numbers",
            )
    return "init, update, rate; theta and state keep shape and dtype, float64 and float32"


def _rate(rule):
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        rate = plain(rule.rate(progress))
        require(
            isinstance(rate, int | float) and isfinite(rate) and rate >= 0.0,
            f"{name_of(rule)}.rate({progress}) is {rate!r}, but a learning rate is a number, "
            "finite and at least 0",
        )
    return f"finite and at least 0: from {rule.rate(0.0):.3g} to {rule.rate(1.0):.3g}"


def _pure(rule):
    for dtype in DTYPES:
        for given, _ in moves(rule, accepted(rule, dtype)):
            unchanged(f"{name_of(rule)}.update", rule.update, given)
    return "update changes none of its arguments in place"


def _quiet(rule):
    quiet(f"{name_of(rule)}.update", lambda: moves(rule, accepted(rule)))
    return "prints nothing, and leaves NumPy's global random state alone"


def _deterministic(rule):
    found = moves(rule, accepted(rule))

    def answer(index):
        theta, state = rule.update(*found[index][0].values())
        return {"theta": theta, "state": state}

    again(f"{name_of(rule)}.update", answer, [answer for _, answer in found])
    return "the same arguments give the same bits, in whatever order it is asked"


def _checkpoint(rule):
    problem = accepted(rule)
    for _, answer in moves(rule, problem):
        template = rule.init(problem.theta, problem.objective)
        restored(rule, template, answer["state"], problem.theta)
    return "a checkpoint gives its state back, bit for bit"


def _rows(rule):
    problems = [accepted(rule, seed=seed) for seed in range(RUNS)]

    def together():
        found = moves(rule, rows(problems))
        return [[row_of(answer, row) for _, answer in found] for row in range(RUNS)]

    def alone(row):
        return [answer for _, answer in moves(rule, problems[row], seed=row)]

    return check_rows(rule, RUNS, together, alone, TOLERANCE)


def _zero(rule):
    for given, answer in moves(rule, accepted(rule), scale=0.0):
        bad = np.flatnonzero(~np.isfinite(answer["theta"]))
        require(
            not len(bad),
            f"theta after {name_of(rule)}.update is {answer['theta'][bad[:1]]} at entry {bad[:1]} "
            f"where the gradient is 0 (progress {given['progress']}): divide by no norm that may "
            "be 0",
        )
    return "theta stays finite where the gradient is 0"


def _downhill(rule):
    objective, theta, _ = accepted(rule)
    state, curvature = rule.init(theta, objective), np.linspace(0.5, 2.0, theta.size)
    start = float(curvature @ theta**2)
    for index in range(100):
        theta, state = rule.update(curvature * theta, state, theta, index / 100)
    raise Unjudged(
        f"100 steps on a convex quadratic: the loss becomes {curvature @ theta**2 / start:.2g} of "
        "what it was"
    )

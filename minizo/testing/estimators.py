"""Checks of an estimator: its contract, its rows, what it costs, and its bias."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ..contracts import check_part
from ..estimators.base import Estimator
from .bias import check_bias
from .common import (
    DTYPES,
    REMEDY,
    again,
    check_pickle,
    check_rows,
    quiet,
    restored,
    state_in_dtype,
    unchanged,
)
from .findings import Fault, Findings, Unjudged, name_of, require, run_checks
from .problems import EXAMPLES, Flat, accepted, alone_of, metered, rows, walk

SEEDS = (5, 6, 7)
TOLERANCE = 1e-6  # of a row beside the same run alone, in float64


def check_estimator(
    rule: Estimator, *, unbiased_for: str | Callable | None = None, forwards: int = 60_000
) -> Findings:
    """Check an estimator: return `Findings`, or raise `CheckFailed`.

    Parameters
    ----------
    rule : estimator
    unbiased_for : {"loss", "ste"} or callable, optional
        The gradient of which its estimates are the mean: ``"loss"``, that of a loss that is
        quadratic in theta, in full precision (give a perturbing rule its eps); ``"ste"``, the
        straight-through gradient; ``f(objective, theta, batch)``, your own, like theta. By default
        what the rule's attribute ``unbiased_for`` says; without one the bias is only measured.
    forwards : int
        Forwards that the independent estimates may take whose mean is judged. They are 10,000 at
        most, or 2,000 where the rule is not ``rowwise``. To measure only, a tenth of it is used.

    Raises
    ------
    CheckFailed
        If a check fails; a sentence says where, and what to do.

    Examples
    --------
    >>> from minizo import SPSA
    >>> found = check_estimator(SPSA(n=2, eps=0.1), unbiased_for="loss", forwards=4000)
    >>> print(found)  # doctest: +ELLIPSIS
    n-SPSA n=2          result
    ------------------  ------  ---...
    contract            passed  ...
    >>> [finding.name for finding in found.checks if finding.passed is None]
    []
    """
    checks = {
        "contract": partial(_contract, rule),
        "pure": partial(_pure, rule),
        "quiet": partial(_quiet, rule),
        "deterministic": partial(_deterministic, rule),
        "pickle": partial(check_pickle, rule),
        "checkpoint": partial(_checkpoint, rule),
        "rows": partial(_rows, rule),
        "cost": partial(_cost, rule),
        "running statistics": partial(_statistics, rule),
        "flat loss": partial(_flat, rule),
        "bias": partial(check_bias, rule, unbiased_for, forwards),
    }
    return run_checks(rule, checks)


def _contract(rule):
    check_part("estimator", rule)
    for dtype in DTYPES:
        for visit in walk(rule, accepted(rule, dtype)):
            state_in_dtype(rule, visit.after, dtype)
            _passes(rule, visit.estimate)
            finite = bool(np.all(np.isfinite(visit.estimate.grad)))
            require(
                finite,
                f"the gradient of {name_of(rule)} has a NaN or an infinity at step "
                f"{visit.step.index} of a small network",
            )
    return "init, estimate, update; gradient and state in theta's dtype, float64 and float32"


def _passes(rule, estimate):
    for name in ("forwards", "backwards", "macs"):
        count = getattr(estimate, name)
        require(
            isinstance(count, int) and count >= 0,
            f"{name_of(rule)}: Estimate.{name} is {count!r}, but it must be a whole number of at "
            "least 0",
        )


def _pure(rule):
    name = name_of(rule)
    for dtype in DTYPES:
        for visit in walk(rule, accepted(rule, dtype)):
            objective, given = visit.objective, visit.given()
            del given["objective"]
            unchanged(f"{name}.estimate", partial(rule.estimate, objective), given)
            given = {
                "grad": visit.estimate.grad,
                "state": visit.optimizer_state,
                "theta": visit.theta,
                "step": visit.step,
            }
            update = partial(rule.update, objective, visit.step.optimizer)
            unchanged(f"{name}.update", update, given)
    return "estimate and update change none of their arguments in place"


def _quiet(rule):
    quiet(f"{name_of(rule)}.estimate", lambda: walk(rule, accepted(rule)))
    return "prints nothing, and leaves NumPy's global random state alone"


def _deterministic(rule):
    visits = walk(rule, accepted(rule))
    again(
        f"{name_of(rule)}.estimate",
        lambda index: _answer(*rule.estimate(*visits[index].given().values())),
        [_answer(visit.estimate, visit.after) for visit in visits],
    )
    return "the same arguments give the same bits, in whatever order it is asked"


def _answer(estimate, state):
    # the cost and the statistics have checks of their own
    return {"grad": estimate.grad, "loss": estimate.loss, "state": state}


def _checkpoint(rule):
    problem = accepted(rule)
    for visit in walk(rule, problem):
        template = rule.init(problem.objective, problem.theta)
        restored(rule, template, visit.after, problem.theta)
    return "a checkpoint gives its state back, bit for bit"


def _rows(rule):
    problems = [accepted(rule, seed=seed) for seed in SEEDS]

    def together():
        visits = walk(rule, rows(problems), SEEDS, ahead=False)
        try:
            return [[alone_of(visit, row) for visit in visits] for row in range(len(SEEDS))]
        except IndexError:
            raise Fault(
                f"{name_of(rule)} says rowwise = True, but its state has arrays without a row for "
                f"each run, (S, 1, ...): {REMEDY}"
            ) from None

    def alone(row):
        return [
            {"grad": own.estimate.grad, "theta": own.theta_after, "state": own.after,
             "loss": own.estimate.loss}
            for own in walk(rule, problems[row], SEEDS[row], ahead=False)
        ]  # fmt: skip

    return check_rows(rule, len(SEEDS), together, alone, TOLERANCE)


def _cost(rule):
    network, seen = metered()
    claimed, counted = _passes_of(rule, network, seen)
    for name, claim, count in zip(("forwards", "backwards"), claimed, counted, strict=True):
        require(
            claim == count,
            f"{name_of(rule)} says {claim:g} {name} in three steps, but {count:g} went through the "
            f"network: Estimate({name}=...) must count each theta of each evaluation",
        )
    return f"{claimed[0]} forwards and {claimed[1]} backwards in three steps, as counted"


def _passes_of(rule, network, seen):
    # what the estimates say, and what went through the network, in passes of the batch
    problem = accepted(rule, network=network)
    seen.forward = seen.backward = 0
    estimates = [visit.estimate for visit in walk(rule, problem)]
    counted = seen.forward / EXAMPLES, seen.backward / EXAMPLES
    return (sum(e.forwards for e in estimates), sum(e.backwards for e in estimates)), counted


def _statistics(rule):
    network, seen = metered(normalised=True)
    problem = accepted(rule, network=network)
    state = problem.objective.network.init_state(problem.theta)
    visits = walk(rule, problem)
    missing = [name for name in state if name not in visits[0].estimate.statistics]
    if missing:
        raise Unjudged(
            f"hands on no {missing[0]}: not for batch normalisation; Estimate(..., statistics="
            "objective.statistics(theta, batch)) is"
        )
    for visit in visits:
        state = problem.objective.network.next_state(state, visit.estimate.statistics)
    claimed, counted = _passes_of(rule, network, seen)
    require(
        claimed == counted,
        f"{name_of(rule)} says {claimed[0]} forwards and {claimed[1]} backwards on a network with "
        f"batch normalisation, but {counted[0]:g} and {counted[1]:g} went through it: statistics "
        "may take a forward of their own",
    )
    return "hands on what batch normalisation needs, and counts it"


def _flat(rule):
    for visit in walk(rule, accepted(rule, loss=Flat())):
        grad = visit.estimate.grad
        bad = np.flatnonzero(~np.isfinite(grad))
        require(
            not len(bad),
            f"the gradient of {name_of(rule)} has {grad[bad[:1]]} at entry {bad[:1]} where the "
            "loss is constant, and all its differences are 0: divide by no norm that may be 0",
        )
    return "finite where the loss is constant"

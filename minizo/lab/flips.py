"""How many quantised weights change their level: since the start, and from step to step.

References
----------
Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant: quantized neural networks via proximal operators", ICLR
2019, arXiv 1810.00861, section 4 (SignChange).
"""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from .. import backend
from ..estimators.base import Estimate, Step
from ..quantizers.fitted import Fitted
from ..types import Array, Arrays, Batch, Objective, State
from .beside import Beside


def levels_of(objective: Objective, theta: Array) -> Arrays:
    """What tells the levels of each quantised tensor apart: name -> array of the tensor's size.

    The quantised weights; but where the levels are fitted to the weights, and so move with every
    one of them, the place of a weight's level in its row: how many thresholds it has passed.
    """
    xp, found = backend.namespace(theta), objective.quantize(theta)
    for name in objective.quantized:
        quantizer = objective.quantizer_of(name)
        if isinstance(quantizer, Fitted):
            x = objective.cut(theta, name)
            _, thresholds = quantizer.fit(x)
            passed = [x >= thresholds[..., j : j + 1] for j in range(thresholds.shape[-1])]
            found[name] = sum(xp.astype(own, theta.dtype) for own in passed)
    return found


def level_change(objective: Objective, first: Array, second: Array) -> Array:
    """Share of the quantised weights whose level differs between two thetas (..., d): (...).

    For binary weights this is SignChange = ||sign(x) - sign(y)||_1 / (2 d) of the ProxQuant paper,
    over the quantised ones. Levels are told apart as in `levels_of`.
    """
    xp = backend.namespace(first)
    ours, theirs = levels_of(objective, first), levels_of(objective, second)
    lead, shapes = first.shape[:-1], objective.network.shapes
    differing = [
        # (..., *shape) -> (..., m) -> (...)
        xp.sum(xp.reshape(xp.astype(ours[name] != theirs[name], first.dtype), (*lead, -1)), axis=-1)
        for name in objective.quantized
    ]
    return sum(differing) / sum(prod(shapes[name]) for name in objective.quantized)


class FlipState(NamedTuple):
    """rule : its own state; last : ndarray (..., d), theta one step ago; flips : ndarray (...)."""

    rule: State
    last: Array
    flips: Array


@dataclass(frozen=True)
class CountFlips(Beside):
    """An estimator or rule, unchanged, whose state also adds up `level_change` from step to step.

    Parameters
    ----------
    rule
        As in `Beside`.

    Notes
    -----
    ``flips`` of the state after step t is the sum over the steps before t: what the last one moved
    is seen by the next. Costs two quantisations a step, no forward.
    """

    rowwise = Beside.rowwise

    def init(self, objective: Objective, theta: Array) -> State:
        """State of a new run."""
        xp = backend.namespace(theta)
        return FlipState(self.rule.init(objective, theta), theta, 0.0 * xp.sum(theta, axis=-1))

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """The rule's own estimate."""
        flips = state.flips + level_change(objective, state.last, theta)
        estimate, rule = self.rule.estimate(objective, theta, batch, state.rule, step)
        return estimate, FlipState(rule, theta, flips)

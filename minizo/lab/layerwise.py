"""n-SPSA, one layer at a time: the same mean, without the noise of the other layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

from .. import backend
from ..errors import require
from ..estimators import SPSA, Estimate
from ..estimators.base import Step
from ..parallel import blocks
from ..types import Array, Batch, Objective, State


class LayerwiseState(NamedTuple):
    """`SPSAState`, and masks : ndarray (L, d), 1 where a parameter is in the group, else 0."""

    eps: Array
    moved: Array
    masks: Array


def allocate(n: int, sizes: Sequence[int]) -> list[int]:
    """Directions of each group, n in all but for rounding: n_l ~ sqrt(d_l), at least 1.

    Where the slopes are alike this makes the sum of the variances d_l / n_l least.

    >>> allocate(100, [7850, 110])
    [89, 11]
    """
    total = sum(map(sqrt, sizes))
    return [max(1, round(n * sqrt(size) / total)) for size in sizes]


def group_sum(
    objective: Objective,
    theta: Array,
    batch: Batch,
    eps: Array,
    directions: Any,
    mask: Array,
    block: int,
    count: int,
) -> tuple[Array, Array]:
    """Sum of [F(theta + eps u) - F(theta + eps u')] u over one block: (d,), and of F: ().

    u' is u with the sign turned in the group of ``mask``. Cost: 2 count forwards.
    """
    xp = backend.namespace(theta)
    u = directions(block, theta, count)  # (count, d)
    above = objective.evaluate(theta + eps * u, batch)
    below = objective.evaluate(theta + eps * u * (1.0 - 2.0 * mask), batch)
    return xp.matmul(above - below, u) * mask, xp.sum(above) + xp.sum(below)


@dataclass(frozen=True)
class LayerwiseSPSA(SPSA):
    """G_l = (1/n_l) sum_i [F(theta + eps u_i) - F(theta + eps u_i^(l))] / (2 eps_l) u_il.

    Group l holds the parameters that share one eps (a layer, where eps is matched); u^(l) is u with
    the sign turned in group l alone. All groups are perturbed in both evaluations, so by the
    symmetry of u the mean is exactly that of `SPSA`. But the loss difference is now made by group l
    alone, and on a linear loss E||G_l||^2 is ||g_l||^2 (n_l + d_l + kappa - 2) / n_l: the slopes of
    the other groups, which n-SPSA multiplies by (eps_m / eps_l)^2, are gone.

    Parameters
    ----------
    n : int
        Directions of all groups together, shared out by `allocate`.
    law, eps, eps_scale, perturb
        As in `SPSA`.

    Notes
    -----
    Cost of an estimate: 2 sum_l n_l forwards, no backward; that is 2n, or 2 for each group where
    that is more. With a single group this is `SPSA`.
    """

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return f"n-SPSA by layer n={self.n}"

    def init(self, objective: Objective, theta: Array) -> State:
        """The perturbation sizes, and which parameters share one."""
        xp = backend.namespace(theta)
        eps, moved = super().init(objective, theta)
        sizes = sorted({float(e) for e in backend.to_numpy(eps * moved)} - {0.0})
        require(len(sizes) > 0, "eps", 0.0, "at least one parameter must be perturbed")
        masks = xp.stack([xp.astype(eps * moved == e, eps.dtype) for e in sizes])
        return LayerwiseState(eps, moved, masks)

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """The `Estimate` at theta (d,), and the next state."""
        xp, u = backend.namespace(theta), self.noise(objective, state, step)
        masks = [state.masks[group, :] for group in range(state.masks.shape[0])]
        shares = allocate(self.n, [float(xp.sum(mask)) for mask in masks])
        work = [
            (mask, share, count)
            for mask, share in zip(masks, shares, strict=True)
            for _, count in blocks(share, objective.footprint(batch))
        ]
        shared = (objective, theta, batch, state.eps, u)
        calls = [(*shared, mask, block, count) for block, (mask, _, count) in enumerate(work)]
        total = loss = 0.0
        for (_, share, _), (part, losses) in zip(
            work, step.pool.map(group_sum, calls), strict=True
        ):
            total, loss = total + part / share, loss + losses
        forwards = 2 * sum(shares)
        return Estimate(total / (2 * state.eps), loss / forwards, forwards, backwards=0), state

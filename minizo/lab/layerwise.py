"""n-SPSA, one layer at a time: the same mean, without the noise of the other layers."""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from .. import backend
from ..errors import require
from ..estimators import SPSA, Estimate
from ..population import block_size, directions


class LayerwiseState(NamedTuple):
    """eps : ndarray (d,);  masks : ndarray (L, d), 1 where a parameter is in the group, else 0."""

    eps: object
    masks: object


def allocate(n, sizes):
    """Directions of each group, n in all but for rounding: n_l ~ sqrt(d_l), at least 1.

    Where the slopes are alike this makes the sum of the variances d_l / n_l least.

    >>> allocate(100, [7850, 110])
    [89, 11]
    """
    total = sum(map(sqrt, sizes))
    return [max(1, round(n * sqrt(size) / total)) for size in sizes]


def group_sum(query, mask, block, count):
    """Sum of [F(theta + eps u) - F(theta + eps u')] eps u over one block: (d,), and of F: ().

    u' is u with the sign turned in the group of ``mask``. Cost: 2 count forwards.
    """
    xp = backend.namespace(query.theta)
    pert = directions(query, block, count)  # (count, d)
    pert *= query.eps
    above = query.objective.evaluate(query.theta, query.batch, pert)
    below = query.objective.evaluate(query.theta, query.batch, pert * (1.0 - 2.0 * mask))
    return xp.matmul(above - below, pert) * mask, xp.sum(above) + xp.sum(below)


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
    def label(self):
        """What tables and legends call it."""
        return f"n-SPSA by layer n={self.n}"

    def init(self, objective, theta):
        """The perturbation sizes, and which parameters share one."""
        xp = backend.namespace(theta)
        eps = super().init(objective, theta).eps
        sizes = sorted({float(e) for e in backend.to_numpy(eps)} - {0.0})
        require(len(sizes) > 0, "eps", 0.0, "at least one parameter must be perturbed")
        return LayerwiseState(eps, xp.stack([xp.astype(eps == e, eps.dtype) for e in sizes]))

    def estimate(self, objective, theta, batch, state, step):
        """The `Estimate` at theta (d,), and the next state."""
        xp = backend.namespace(theta)
        query = self.query(objective, theta, batch, state, step)
        masks = [state.masks[group, :] for group in range(state.masks.shape[0])]
        shares = allocate(self.n, [float(xp.sum(mask)) for mask in masks])
        size = block_size(theta.shape[0])
        work = [
            (mask, share, min(size, share - start))
            for mask, share in zip(masks, shares, strict=True)
            for start in range(0, share, size)
        ]
        calls = ((query, mask, block, count) for block, (mask, _, count) in enumerate(work))
        numbers = min(size, max(shares)) * (2 * theta.shape[0] + query.workspace)
        nbytes = numbers * xp.finfo(theta.dtype).bits // 8
        total, loss = xp.zeros_like(theta), 0.0
        results = step.pool.map(group_sum, calls, nbytes)
        for (_, share, _), (part, losses) in zip(work, results, strict=True):
            total = total + part / share
            loss = loss + losses
        scale = xp.where(state.eps > 0.0, 2.0 * state.eps * state.eps, 1.0)
        forwards = 2 * sum(shares)
        return Estimate(total / scale, loss / forwards, forwards=forwards, backwards=0), state

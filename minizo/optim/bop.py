"""Bop, which flips binary weights and has no latent ones."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from .. import backend
from ..errors import require
from ..types import Array, Objective, State
from .adam import Adam, AdamState


class BopState(NamedTuple):
    """State of `Bop`: m, v, t of Adam; mean, of g; binary, 1 where weights flip, else 0."""

    m: Array
    v: Array
    t: int
    mean: Array
    binary: Array


@dataclass(frozen=True)
class Bop(Adam):
    """m <- (1 - gamma) m + gamma g;  w <- -w where sign(w) m > threshold.

    The rule applies to the quantised weights, whose quantiser must have two levels. There are no
    latent weights: only the sign of theta changes, never its size. Every other parameter follows
    Adam, with Adam's learning rate and schedule.

    Parameters
    ----------
    lr, schedule, b1, b2, eps, decay, warmup, floor
        As in `Adam`, for the parameters that are not binary.
    clip : float, optional
        As in `SGD`, for them; binary weights average the gradient as it is.
    gamma : float
        Share of the new gradient, in (0, 1].
    threshold : float
        At least 0, in the units of the gradient.

    Raises
    ------
    InputError
        From `init`, if the quantiser does not have two levels.

    Notes
    -----
    A weight of exactly 0 keeps the sign of +0. Use the quantiser's identity surrogate: the gate of
    any other would stop a weight permanently, as its size never changes.

    References
    ----------
    K. Helwegen, J. Widdicombe, L. Geiger, Z. Liu, K.-T. Cheng, R. Nusselder, "Latent weights do not
    exist: rethinking binarized neural network optimization", NeurIPS 2019, algorithm 1 (published
    for tens of thousands of steps: gamma 1e-4, threshold 1e-8).

    Examples
    --------
    >>> import numpy as np
    >>> rule, theta = Bop(gamma=0.5, threshold=0.1), np.array([1.0, -1.0, 1.0])
    >>> theta, state = rule.update(np.array([1.0, 1.0, 0.1]), rule.init(theta), theta)
    >>> theta  # the first alone has a mean gradient of its sign, and above the threshold
    array([-1., -1.,  1.])
    """

    gamma: Annotated[float, "(0, 1]"] = 1e-3
    threshold: Annotated[float, "[0, inf)"] = 1e-8
    rowwise = True

    def init(self, theta: Array, objective: Objective | None = None) -> BopState:
        """Return the state of a new run of ``objective``; without one every parameter is binary."""
        xp = backend.namespace(theta)
        zeros = xp.zeros_like(theta)
        if objective is None:
            return BopState(*super().init(theta), zeros, xp.ones_like(theta))
        remedy = "Bop flips binary weights: use a quantiser with two, such as sign or xnor"
        for quantizer in objective.quantizers:
            levels = quantizer.levels
            require(levels == 2, "the quantiser's number of levels", levels, remedy)
        binary = xp.zeros_like(theta)
        for name in objective.quantized:
            binary[..., objective.network.slices[name]] = 1.0
        return BopState(*super().init(theta), zeros, binary)

    def update(
        self, grad: Array, state: State, theta: Array, progress: float = 0.0
    ) -> tuple[Array, BopState]:
        """Take one step: return the new theta and the next state."""
        xp = backend.namespace(theta)
        new, adam = super().update(grad, AdamState(*state[:3]), theta, progress)
        mean = (1.0 - self.gamma) * state.mean + self.gamma * grad
        # w <- -w where sign(w) mean > threshold
        flips = xp.where(theta >= 0.0, mean, -mean) > self.threshold
        new = xp.where(state.binary > 0.0, xp.where(flips, -theta, theta), new)
        return new, BopState(*adam, mean, state.binary)

"""Adam, and AdamW, whose decay does not pass through the moments."""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from .. import backend
from ..settings import Positive
from ..types import Array, Objective, State
from .sgd import SGD, NotNegative


class AdamState(NamedTuple):
    """State of `Adam`: m and v, running means of g and g^2, like theta; t, updates so far."""

    m: Array
    v: Array
    t: int


@dataclass(frozen=True)
class Adam(SGD):
    """theta <- theta - lr(t) mhat / (sqrt(vhat) + eps).

        m <- b1 m + (1 - b1) g,      mhat = m / (1 - b1^t)
        v <- b2 v + (1 - b2) g^2,    vhat = v / (1 - b2^t)

    Parameters
    ----------
    lr, schedule, decay, warmup, floor, clip
        As in `SGD`.
    b1 : float
        Share of the old mean of g, in [0, 1).
    b2 : float
        Share of the old mean of g^2, in [0, 1).
    eps : float
        Above 0: with 0 a parameter that never had a gradient would become 0 / 0.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Examples
    --------
    The first step has length lr in every coordinate, whatever the size of the gradient:


    >>> import numpy as np
    >>> rule, theta = Adam(lr=0.01), np.array([1.0, -2.0])
    >>> theta, state = rule.update(np.array([1e-3, 40.0]), rule.init(theta), theta)
    >>> theta.round(6), state.t
    (array([ 0.99, -2.01]), 1)
    """

    lr: Positive = 0.01
    b1: Annotated[float, "[0, 1)"] = 0.9
    b2: Annotated[float, "[0, 1)"] = 0.999
    eps: Positive = 1e-8
    rowwise = True

    def init(self, theta: Array, objective: Objective | None = None) -> AdamState:
        """Return the state of a new run: m = v = 0, t = 0."""
        zeros = backend.namespace(theta).zeros_like
        return AdamState(zeros(theta), zeros(theta), 0)

    def update(
        self, grad: Array, state: State, theta: Array, progress: float = 0.0
    ) -> tuple[Array, AdamState]:
        """Take one step: return the new theta and the next state."""
        xp = backend.namespace(theta)
        grad, t = self.followed(grad, theta), state.t + 1
        m = self.b1 * state.m + (1.0 - self.b1) * grad
        v = self.b2 * state.v + (1.0 - self.b2) * grad**2
        mhat = m / (1.0 - self.b1**t)
        vhat = v / (1.0 - self.b2**t)
        theta = theta - self.rate(progress) * mhat / (xp.sqrt(vhat) + self.eps)
        return theta, AdamState(m, v, t)


class AdamWState(NamedTuple):
    """State of `AdamW`: m, v, t of Adam; decays, 1 where a parameter decays, else 0."""

    m: Array
    v: Array
    t: int
    decays: Array


@dataclass(frozen=True)
class AdamW(Adam):
    """theta <- theta - lr(t) (mhat / (sqrt(vhat) + eps) + decay theta), used for transformers.

    Parameters
    ----------
    lr, schedule, warmup, floor, clip
        As in `SGD`.
    b1, b2, eps
        As in `Adam`.
    decay : float
        Share of theta taken off a step, times lr(t); at least 0. Only weights decay: parameters
        called ``weight`` that have two axes or more.

    Notes
    -----
    The decay is no part of the gradient, so it is not divided by sqrt(vhat), as `Adam`'s is.
    Quantised weights decay in their latent form.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> rule, theta = AdamW(lr=0.1, decay=0.5), np.array([1.0, -2.0])
    >>> theta, state = rule.update(np.array([1e-3, 40.0]), rule.init(theta), theta)
    >>> theta.round(3)  # a step of lr towards where the gradient says, and lr decay theta to 0
    array([ 0.85, -2.  ])
    """

    decay: NotNegative = field(default=0.01, kw_only=True)
    rowwise = True
    coupled = False

    def init(self, theta: Array, objective: Objective | None = None) -> AdamWState:
        """Return the state of a new run of ``objective``; without one every parameter decays."""
        decays = backend.namespace(theta).ones_like(theta)
        if objective is not None:
            for name, part in objective.network.slices.items():
                decays[..., part] = float(objective.network.is_weight(name))
        return AdamWState(*super().init(theta), decays)

    def update(
        self, grad: Array, state: State, theta: Array, progress: float = 0.0
    ) -> tuple[Array, AdamWState]:
        """Take one step: return the new theta and the next state."""
        new, adam = super().update(grad, AdamState(*state[:3]), theta, progress)
        new = new - self.rate(progress) * self.decay * state.decays * theta
        return new, AdamWState(*adam, state.decays)

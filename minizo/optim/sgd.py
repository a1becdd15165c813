"""Gradient descent, with momentum or without, and what all rules share."""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from .. import backend
from ..rules import Rule
from ..schedules import schedule, shape_of
from ..settings import Positive, Share
from ..types import Array, Objective, State

NotNegative = Annotated[float, "[0, inf)"]


@dataclass(frozen=True)
class SGD(Rule):
    """theta <- theta - lr(t) g, with what all rules share: decay, warm-up, clipping.

    At progress p = t / T the learning rate is

        lr(p) = lr p / warmup                                                  for p < warmup
        lr(p) = lr (floor + (1 - floor) shape((p - warmup) / (1 - warmup)))    otherwise

    and every rule is given g <- g min(1, clip / |g|) + decay theta, the gradient of
    L + decay |theta|^2 / 2, cut to length before.

    Parameters
    ----------
    lr : float
        The largest learning rate: at the start, or after the warm-up.
    schedule : {"constant", "linear", "cosine", "step", "milestones:.3/.6/.9"} or callable
        How it falls over the run, after the warm-up, to ``floor`` lr (``"constant"``: not at all;
        see `minizo.schedules`).
    decay : float
        Weight decay, at least 0, of all parameters, biases and norms, too.
    warmup : float
        Share of the run in which the rate grows from 0, in [0, 1). With one, the first step moves
        nothing.
    floor : float
        Share of lr that the rate ends at, in [0, 1].
    clip : float, optional
        Length of the longest gradient, all parameters together; no limit by default.

    Notes
    -----
    The decay is coupled: it passes through the momentum, and Adam divides it by sqrt(vhat).
    `AdamW` has the other kind. Quantised weights decay in their latent form, and so does what a
    quantiser learns. Most released code does the same with all its parameters.

    References
    ----------
    H. Robbins, S. Monro, "A stochastic approximation method", Annals of Mathematical Statistics,
    1951, equation 8.
    A. Krogh, J. A. Hertz, "A simple weight decay can improve generalization", NeurIPS 1991,
    equation 3 (decay).
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, algorithm 1 (clipping).

    Examples
    --------
    >>> import numpy as np
    >>> rule, theta = SGD(lr=0.5), np.array([1.0, -2.0])
    >>> theta, state = rule.update(np.array([1.0, 4.0]), rule.init(theta), theta, progress=0.5)
    >>> theta  # lr(t) = 0.25 half way
    array([ 0.75, -3.  ])
    >>> SGD(lr=0.5, decay=0.5).update(np.zeros(2), (), theta)[0]  # theta - 0.5 * 0.5 theta
    array([ 0.5625, -2.25  ])
    >>> warm = SGD(lr=1.0, warmup=0.1, floor=0.1)
    >>> warm.rate(0.0), warm.rate(0.05), warm.rate(0.1), warm.rate(1.0)
    (0.0, 0.5, 1.0, 0.1)
    """

    lr: Positive = 0.1
    schedule: str = "linear"
    decay: NotNegative = field(default=0.0, kw_only=True)
    warmup: Annotated[float, "[0, 1)"] = field(default=0.0, kw_only=True)
    floor: Share = field(default=0.0, kw_only=True)
    clip: Positive | None = field(default=None, kw_only=True)
    rowwise = True
    coupled = True  # whether the decay is part of the gradient

    def __post_init__(self):
        super().__post_init__()
        shape_of("schedule", self.schedule)

    def rate(self, progress: float) -> float:
        """Return lr(p) at progress p = t / T."""
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        fallen = (progress - self.warmup) / (1.0 - self.warmup)
        return schedule(self.schedule, self.lr, self.floor * self.lr, fallen)

    def init(self, theta: Array, objective: Objective | None = None) -> State:
        """Return the state of a new run, which is empty."""
        return ()

    def followed(self, grad: Array, theta: Array) -> Array:
        """Return the gradient that the rule follows: (..., d), (..., d) -> (..., d)."""
        if self.clip is not None:
            xp = backend.namespace(grad)
            # |g| = m |g / m|, m the largest number: no square overflows
            largest = xp.clip(xp.max(xp.abs(grad), axis=-1, keepdims=True), 1e-30, None)
            shrunk = grad / largest
            length = largest * xp.sqrt(xp.sum(shrunk * shrunk, axis=-1, keepdims=True))
            # min(1, clip / |g|), without a division by 0
            grad = grad * (self.clip / xp.clip(length, self.clip, None))
        # g + decay theta
        return grad + self.decay * theta if self.coupled and self.decay else grad

    def update(
        self, grad: Array, state: State, theta: Array, progress: float = 0.0
    ) -> tuple[Array, State]:
        """Take one step: return the new theta and the next state."""
        return theta - self.rate(progress) * self.followed(grad, theta), state


class MomentumState(NamedTuple):
    """State of `Momentum`: m, the velocity, an ndarray like theta."""

    m: Array


@dataclass(frozen=True)
class Momentum(SGD):
    """m <- mu m + g;  theta <- theta - lr(t) m.

    With ``nesterov`` theta <- theta - lr(t) (g + mu m), with the new m.

    Parameters
    ----------
    lr, schedule, decay, warmup, floor, clip
        As in `SGD`.
    mu : float
        Share of the old velocity, in [0, 1).
    nesterov : bool
        Whether theta moves along g + mu m: the gradient at a point ahead, in coordinates that move
        with it.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics, 1964.
    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum
    in deep learning", ICML 2013, equations 3 and 4 (Nesterov's, where lr is constant).

    Examples
    --------
    >>> import numpy as np
    >>> rule, theta, g = Momentum(lr=0.5, schedule="constant"), np.zeros(2), np.array([1.0, 4.0])
    >>> theta, state = rule.update(g, rule.init(theta), theta)
    >>> theta, state = rule.update(g, state, theta)
    >>> state.m, theta
    (array([1.9, 7.6]), array([-1.45, -5.8 ]))
    """

    mu: Annotated[float, "[0, 1)"] = 0.9
    nesterov: bool = field(default=False, kw_only=True)
    rowwise = True

    def init(self, theta: Array, objective: Objective | None = None) -> MomentumState:
        """Return the state of a new run: m = 0."""
        return MomentumState(backend.namespace(theta).zeros_like(theta))

    def update(
        self, grad: Array, state: State, theta: Array, progress: float = 0.0
    ) -> tuple[Array, MomentumState]:
        """Take one step: return the new theta and the next state."""
        grad = self.followed(grad, theta)
        m = self.mu * state.m + grad
        step = grad + self.mu * m if self.nesterov else m
        return theta - self.rate(progress) * step, MomentumState(m)

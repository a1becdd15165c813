"""Optimisers: update rules as init / update pairs, in order of complexity.

init(theta, objective) -> state
update(grad, state, theta, progress) -> (theta, state)
rate(progress) -> float, the learning rate

They are pure: they return new arrays and leave their arguments unchanged. State fields are arrays
of the shape and dtype of theta, or the number of updates so far. ``progress`` = t / T in [0, 1]
sets the learning rate lr(t) = lr shape(t / T). ``init(theta, objective)`` is always given both;
only `Bop` uses the objective, to learn which weights are binary.

theta and grad are (d,), or (S, 1, d) where S runs are trained together and the rule is ``rowwise``
(`minizo.rules.Rule`).
"""

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from . import backend
from .errors import require
from .rules import Rule
from .schedules import schedule, shape_of
from .settings import Positive, Share
from .types import Array, Objective, State

__all__ = [
    "Adam",
    "AdamState",
    "AdamW",
    "AdamWState",
    "Bop",
    "BopState",
    "Momentum",
    "MomentumState",
    "OPTIMIZERS",
    "SGD",
]


def __dir__():
    return __all__


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


OPTIMIZERS = {"sgd": SGD, "momentum": Momentum, "adam": Adam, "adamw": AdamW, "bop": Bop}

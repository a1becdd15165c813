"""Learned gradients: the look-ahead, and how the networks that generate them learn.

Every step t looks ahead along a direction G, which generators (`minizo.hypernets.generators`) make
from the *last* gradient, measures the loss there, and derives how G should have been:

    F_k  = generator k of (g_{t-1}, Wh_{t-1}, history), with the current phi
    G    = sum_k weight_k c_k F_k             c_k = c(W_t), the quantiser's slope at W_t, or 1
    Wl   = W_t - lr G                         the look-ahead
    g_t  = dL/dWb at Wb = Q(Wl),   r = c(Wl) g_t, which stands for dL/dWl
    dL/dF_k = -lr weight_k c_k r,             summed over the layers into dL/dphi_k
    phi_k <- its optimiser(phi_k, dL/dphi_k)

The optimiser of the network is given G, or a term of it, instead of the weights' gradient;
parameters that are not quantised are given their own gradient. W_t, c(W_t), the last gradients and
the state of the optimisers are constant in the derivative: its horizon is one step.

The first iteration draws the networks, stores its gradient, and changes nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from .. import backend, rng
from ..errors import choose, require
from ..hypernets.generators import Given
from ..optim import OPTIMIZERS
from ..types import Array, Batch, Objective, Optimizer, State
from .base import Estimate, Estimator, Step

LOOKAHEADS = ("refined", "raw", "stale")
LAYER_BYTES = 2**26  # memory of one layer's generator; layers share the workers


class Term(NamedTuple):
    """One term of G: a generator, its weight, whether c(W) multiplies it, its learning rate."""

    net: Any
    weight: float
    calibrated: bool
    lr: float


class LearnedState(NamedTuple):
    """State of a learned gradient.

    phi : tuple of ndarray
        Parameters of each term's generator, one vector each.
    optimizers : tuple
        Their optimisers' states.
    carried : tuple of tuple
        What the generators carry from step to step, by term and layer.
    history : ndarray (length, d)
        The last gradients, newest last.
    squashed : ndarray (d,)
        Wh where the newest gradient was taken.
    refined : ndarray (d,), or ()
        The optimiser's last step divided by lr; only for the stale look-ahead.
    seen : int
        Number of gradients stored so far.
    """

    phi: tuple
    optimizers: tuple
    carried: tuple
    history: Array
    squashed: Array
    refined: Any
    seen: int


@dataclass(frozen=True)
class Learned(Estimator):
    """An estimator whose gradient is generated; see the module.

    ``parts(layers)`` of a subclass returns the terms of G for a number of quantised layers, a tuple
    of `Term`. `committed` may choose which of them the optimiser is given.

    Parameters
    ----------
    lookahead : {"refined", "raw", "stale"}
        Where the loss is measured. ``"refined"``: where the optimiser would take the weights with
        G. ``"raw"``: W - lr G. ``"stale"``: where it would take them if it repeated its last step
        (weights, and biases of their layers); G is then only in the derivative.
    hyper_optimizer : {"sgd", "momentum", "adam"} or optimizer
        Trains the generators, at a constant rate; an object at its own.
    """

    lookahead: str = "raw"
    hyper_optimizer: str = "adam"

    parts: ClassVar[Callable[..., tuple[Term, ...]]]
    length = 1  # gradients in the history

    def __post_init__(self):
        super().__post_init__()
        require(
            self.lookahead in LOOKAHEADS, "lookahead", self.lookahead, f"choose from {LOOKAHEADS}"
        )
        if isinstance(self.hyper_optimizer, str):
            choose("hyper_optimizer", self.hyper_optimizer, OPTIMIZERS)

    def committed(self, terms: list[Array], plain: list[Array]) -> Array:
        """Return what the optimiser is given for a layer: G.

        Parameters
        ----------
        terms, plain : list of ndarray (xi,)
            weight_k c_k F_k and c_k F_k of each term.
        """
        return sum(terms)

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the state before the first step, which draws the networks from the run's seed."""
        require(theta.ndim == 1, "theta.ndim", theta.ndim, "a learned gradient trains one theta")
        names = objective.quantized
        require(names, "objective.quantized", names, "a learned gradient needs quantised weights")
        remedy = "a learned gradient needs a quantiser with a diagonal backward, such as dorefa"
        for quantizer in objective.quantizers:
            require(quantizer.diagonal, "quantizer", quantizer, remedy)
        zeros = backend.namespace(theta).zeros_like
        terms = self.parts(len(names))
        phi = tuple(zeros(backend.empty((term.net.size,), theta)) for term in terms)
        return LearnedState(
            phi,
            tuple(self._rule(term).init(vector) for term, vector in zip(terms, phi, strict=True)),
            tuple(
                tuple(term.net.rest(theta[layer].shape[0], theta) for layer in _slices(objective))
                for term in terms
            ),
            zeros(backend.empty((self.length, theta.shape[0]), theta)),
            zeros(theta),
            zeros(theta) if self.lookahead == "stale" else (),
            0,
        )

    def _rule(self, term):
        if not isinstance(self.hyper_optimizer, str):
            return self.hyper_optimizer
        return OPTIMIZERS[self.hyper_optimizer](lr=term.lr, schedule="constant")

    def macs(self, objective: Objective, seen: int) -> int:
        """Count a step's multiply-accumulates beside its passes, with ``seen`` gradients stored."""
        slices = _slices(objective)
        length = min(seen, self.length)
        return sum(
            term.net.macs(layer.stop - layer.start, length)
            for term in self.parts(len(slices))
            for layer in slices
        )

    def update(
        self,
        objective: Objective,
        optimizer: Optimizer,
        grad: Array,
        state: State,
        theta: Array,
        step: Step,
    ) -> tuple[Array, State]:
        """Return theta <- optimizer(theta, g), but theta itself in the first iteration."""
        if step.index == 0:
            return theta, state
        return super().update(objective, optimizer, grad, state, theta, step)

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Estimate the gradient at theta (d,); the reported loss is that of the look-ahead."""
        if state.seen == 0:
            return self._first(objective, theta, batch, state, step)
        xp = backend.namespace(theta)
        slices = _slices(objective)
        terms = self.parts(len(slices))
        slopes = layer_slopes(objective, theta)

        # F_k of every layer, then G = sum_k weight_k c_k F_k
        generated = self._generate(terms, self.known(objective, state), state, step)
        direction, grad = xp.zeros_like(theta), xp.zeros_like(theta)
        for i, layer in enumerate(slices):
            plain = [
                slopes[i] * layers[i][0] if term.calibrated else layers[i][0]
                for term, layers in zip(terms, generated, strict=True)
            ]
            weighted = [term.weight * f for term, f in zip(terms, plain, strict=True)]
            direction[layer] = sum(weighted)
            grad[layer] = self.committed(weighted, plain)

        point = self._ahead(objective, theta, direction, state, step)
        ahead = objective.weight_gradient(point, batch)
        g = objective.network.flatten(ahead.gradient)
        for name, tensor in objective.network.slices.items():
            if name not in objective.quantized:
                grad[tensor] = g[tensor]

        # dL/dF_k = -lr weight_k c_k r,  r = c(Wl) g_t
        reached = [
            -step.lr * slope * g[layer]
            for layer, slope in zip(slices, layer_slopes(objective, point), strict=True)
        ]
        learned = [
            self._learn(k, term, generated[k], slopes, reached, state, step)
            for k, term in enumerate(terms)
        ]
        phi, optimizers = zip(*learned, strict=True)
        carried = tuple(tuple(layer[1] for layer in layers) for layers in generated)
        state = state._replace(phi=phi, optimizers=optimizers, carried=carried)
        if self.lookahead == "stale":
            state = state._replace(refined=(theta - step.ahead(grad, theta)) / step.lr)
        estimate = Estimate(
            grad, ahead.loss, 1, 1, ahead.statistics, self.macs(objective, state.seen)
        )
        return estimate, _stored(objective, point, g, state)

    def _first(self, objective, theta, batch, state, step):
        # draw the networks and store the gradient at theta
        here = objective.weight_gradient(theta, batch)
        g = objective.network.flatten(here.gradient)
        phi = []
        for k, term in enumerate(self.parts(len(objective.quantized))):
            params = term.net.init(rng.at(step.seed, "hypernet", k), theta)
            phi.append(term.net.flatten(params) if params else state.phi[k])
        state = state._replace(phi=tuple(phi))
        if self.lookahead == "stale":
            refined = backend.namespace(g).asarray(g, copy=True)
            slopes = layer_slopes(objective, theta)
            for layer, slope in zip(_slices(objective), slopes, strict=True):
                refined[layer] *= slope
            state = state._replace(refined=refined)
        nothing = backend.namespace(theta).zeros_like(theta)
        estimate = Estimate(nothing, here.loss, 1, 1, statistics=here.statistics)
        return estimate, _stored(objective, theta, g, state)

    def known(self, objective: Objective, state: State) -> list[Given]:
        """Return what the generators may see in the next step: a list of `Given`, one a layer."""
        length = min(state.seen, self.length)
        history = state.history[self.length - length :, :]
        return [
            Given(number, history[-1, layer], state.squashed[layer], history[:, layer])
            for number, layer in enumerate(_slices(objective))
        ]

    def _generate(self, terms, given, state, step):
        # for each term, for each layer: (F, carried, cache)
        generated = []
        for term, phi, carried in zip(terms, state.phi, state.carried, strict=True):
            calls = zip([term.net.views(phi)] * len(given), given, carried, strict=True)
            generated.append(list(step.pool.map(term.net.generate, calls, LAYER_BYTES)))
        return generated

    def _ahead(self, objective, theta, direction, state, step):
        # where the loss is measured
        if self.lookahead == "raw":
            return theta - step.lr * direction  # 0 outside the quantised slices
        point = backend.namespace(theta).asarray(theta, copy=True)
        if self.lookahead == "refined":
            moved = step.ahead(direction, theta)
            names = objective.quantized
        else:
            moved = theta - step.lr * state.refined
            biases = {f"{name.rpartition('.')[0]}.bias" for name in objective.quantized}
            names = [*objective.quantized, *(biases & set(objective.network.slices))]
        for name in names:
            tensor = objective.network.slices[name]
            point[tensor] = moved[tensor]
        return point

    def _learn(self, k, term, layers, slopes, reached, state, step):
        # phi_k <- optimiser(phi_k, dL/dphi_k), and the optimiser's state
        phi, memory = state.phi[k], state.optimizers[k]
        if not term.net.size:
            return phi, memory
        upstream = [
            term.weight * (slope * r if term.calibrated else r)
            for slope, r in zip(slopes, reached, strict=True)
        ]
        caches = (layer[2] for layer in layers)
        calls = zip([term.net.views(phi)] * len(layers), caches, upstream, strict=True)
        total = None
        for grads in step.pool.map(term.net.pull_back, calls, LAYER_BYTES):
            dphi = term.net.flatten(grads)
            total = dphi if total is None else total + dphi
        return self._rule(term).update(total, memory, phi)


def _slices(objective):
    return [objective.network.slices[name] for name in objective.quantized]


def layer_slopes(objective, theta):
    """Return c(W) of every quantised layer, a list; 1.0 where the slope is 1 everywhere."""
    slopes = []
    for name in objective.quantized:
        x = objective.cut(theta, name)
        slope = objective.quantizer_of(name).derivative(x, objective.scales[name])
        # (m,) or (F, n) -> (m,)
        slopes.append(1.0 if slope is None else backend.namespace(x).reshape(slope, (-1,)))
    return slopes


def _stored(objective, point, g, state):
    # the state with g_t, and Wh_t = A(Wl), at the end of its history
    xp = backend.namespace(g)
    squashed = xp.zeros_like(point)
    for name in objective.quantized:
        # A(Wl), of a layer or of each of its filters: (m,) or (F, n) -> (m,)
        x = objective.quantizer_of(name).squash(objective.cut(point, name))
        squashed[objective.network.slices[name]] = xp.reshape(x, (-1,))
    history = xp.concat([state.history[1:, :], g[None, :]])
    return state._replace(history=history, squashed=squashed, seen=state.seen + 1)

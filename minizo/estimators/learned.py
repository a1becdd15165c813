"""What the estimators with a learned gradient share: the look-ahead, and how the networks learn.

Every step t looks ahead along a direction G that generators (`minizo.hypernets.generators`) make of
the *last* gradient, measures the loss there, and asks how G should have been:

    F_k  = generator k of (g_{t-1}, Wh_{t-1}, history), with the current phi
    G    = sum_k weight_k c_k F_k             c_k = c(W_t), the quantiser's slope at W_t, or 1
    Wl   = W_t - lr G                         the look-ahead
    g_t  = dL/dWb at Wb = Q(Wl),   r = c(Wl) g_t, which stands for dL/dWl
    dL/dF_k = -lr weight_k c_k r,             summed over the layers into dL/dphi_k
    phi_k <- its optimiser(phi_k, dL/dphi_k)

and hands the optimiser of the network G, or a part of it, in the place of the weights' gradient;
parameters that are not quantised get their own. W_t, c(W_t), the last gradients and what the
optimisers remember are constant in the derivative: its horizon is one step.

The first iteration draws the networks, stores its gradient, and changes nothing else.
"""

from dataclasses import dataclass
from typing import NamedTuple

from .. import backend, rng
from ..errors import choose, require
from ..hypernets.generators import Given
from ..optim import OPTIMIZERS
from .base import Estimate, Estimator

LOOKAHEADS = ("refined", "raw", "stale")
LAYER_BYTES = 2**26  # what one layer's generator may need at once; layers share the workers


class Part(NamedTuple):
    """One term of G: a generator, its weight, whether c(W) multiplies it, its learning rate."""

    net: object
    weight: float
    calibrated: bool
    lr: float


class LearnedState(NamedTuple):
    """What a learned gradient remembers.

    phi : tuple of ndarray, a vector for each part;  optimizers : tuple, their states;
    carried : tuple, for each part, of a tuple for each layer;  history : ndarray (length, d), the
    last gradients, newest last;  squashed : ndarray (d,), Wh where the newest was taken;
    refined : ndarray (d,), what the optimiser made of the last gradient, divided by lr (only for
    the stale look-ahead, else ``()``);  seen : int, gradients stored so far.
    """

    phi: tuple
    optimizers: tuple
    carried: tuple
    history: object
    squashed: object
    refined: object
    seen: int


@dataclass(frozen=True)
class Learned(Estimator):
    """An estimator whose gradient is generated; see the module.

    A method says with ``parts(layers)`` what G is made of for so many quantised layers, a tuple of
    `Part`, and may choose in `committed` what of it the optimiser gets.

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

    length = 1  # gradients in the history

    def __post_init__(self):
        super().__post_init__()
        require(
            self.lookahead in LOOKAHEADS, "lookahead", self.lookahead, f"choose from {LOOKAHEADS}"
        )
        if isinstance(self.hyper_optimizer, str):
            choose("hyper_optimizer", self.hyper_optimizer, OPTIMIZERS)

    def committed(self, terms, plain):
        """What the optimiser gets for a layer: G.

        Parameters
        ----------
        terms, plain : list of ndarray (xi,)
            weight_k c_k F_k and c_k F_k, a pair for each part.
        """
        return sum(terms)

    def init(self, objective, theta):
        """The state before the first step. The networks are drawn in it, from the run's seed."""
        require(theta.ndim == 1, "theta.ndim", theta.ndim, "a learned gradient trains one theta")
        names = objective.quantized
        require(names, "objective.quantized", names, "a learned gradient needs quantised weights")
        quantizer = objective.quantizer
        remedy = "a learned gradient needs a quantiser with a diagonal backward, such as dorefa"
        require(quantizer.diagonal, "quantizer", quantizer, remedy)
        zeros = backend.namespace(theta).zeros_like
        parts = self.parts(len(names))
        phi = tuple(zeros(backend.empty((part.net.size,), theta)) for part in parts)
        return LearnedState(
            phi,
            tuple(self._rule(part).init(own) for part, own in zip(parts, phi, strict=True)),
            tuple(
                tuple(part.net.rest(theta[own].shape[0], theta) for own in _slices(objective))
                for part in parts
            ),
            zeros(backend.empty((self.length, theta.shape[0]), theta)),
            zeros(theta),
            zeros(theta) if self.lookahead == "stale" else (),
            0,
        )

    def _rule(self, part):
        if not isinstance(self.hyper_optimizer, str):
            return self.hyper_optimizer
        return OPTIMIZERS[self.hyper_optimizer](lr=part.lr, schedule="constant")

    def macs(self, objective, seen):
        """Multiply-accumulates of a step beside its passes, with so many gradients stored."""
        slices = _slices(objective)
        length = min(seen, self.length)
        return sum(
            part.net.macs(own.stop - own.start, length)
            for part in self.parts(len(slices))
            for own in slices
        )

    def update(self, objective, optimizer, grad, state, theta, step):
        """theta <- optimizer(theta, g), but not in the first iteration."""
        if step.index == 0:
            return theta, state
        return super().update(objective, optimizer, grad, state, theta, step)

    def estimate(self, objective, theta, batch, state, step):
        """The `Estimate` at theta (d,), and the next state. Its loss is that of the look-ahead."""
        if state.seen == 0:
            return self._first(objective, theta, batch, state, step)
        xp = backend.namespace(theta)
        slices = _slices(objective)
        parts = self.parts(len(slices))
        slopes = layer_slopes(objective, theta)

        # F_k of every layer, then G = sum_k weight_k c_k F_k
        made = self._generate(parts, self.known(objective, state), state, step)
        direction, grad = xp.zeros_like(theta), xp.zeros_like(theta)
        for i, own in enumerate(slices):
            plain = [
                slopes[i] * layers[i][0] if part.calibrated else layers[i][0]
                for part, layers in zip(parts, made, strict=True)
            ]
            terms = [part.weight * term for part, term in zip(parts, plain, strict=True)]
            direction[own] = sum(terms)
            grad[own] = self.committed(terms, plain)

        point = self._ahead(objective, theta, direction, state, step)
        found = objective.weight_gradient(point, batch)
        g = objective.network.flatten(found.gradient)
        for name, own in objective.network.slices.items():
            if name not in objective.quantized:
                grad[own] = g[own]

        # dL/dF_k = -lr weight_k c_k r,  r = c(Wl) g_t
        reached = [
            -step.lr * slope * g[own]
            for own, slope in zip(slices, layer_slopes(objective, point), strict=True)
        ]
        learned = [
            self._learn(k, part, made[k], slopes, reached, state, step)
            for k, part in enumerate(parts)
        ]
        phi, optimizers = zip(*learned, strict=True)
        carried = tuple(tuple(layer[1] for layer in layers) for layers in made)
        state = state._replace(phi=phi, optimizers=optimizers, carried=carried)
        if self.lookahead == "stale":
            state = state._replace(refined=(theta - step.ahead(grad, theta)) / step.lr)
        estimate = Estimate(
            grad, found.loss, 1, 1, found.statistics, self.macs(objective, state.seen)
        )
        return estimate, _stored(objective, point, g, state)

    def _first(self, objective, theta, batch, state, step):
        # draw the networks and store the gradient at theta
        found = objective.weight_gradient(theta, batch)
        g = objective.network.flatten(found.gradient)
        phi = []
        for k, part in enumerate(self.parts(len(objective.quantized))):
            params = part.net.init(rng.at(step.seed, "hypernet", k), theta)
            phi.append(part.net.flatten(params) if params else state.phi[k])
        state = state._replace(phi=tuple(phi))
        if self.lookahead == "stale":
            refined = backend.namespace(g).asarray(g, copy=True)
            for own, slope in zip(_slices(objective), layer_slopes(objective, theta), strict=True):
                refined[own] *= slope
            state = state._replace(refined=refined)
        nothing = backend.namespace(theta).zeros_like(theta)
        estimate = Estimate(nothing, found.loss, 1, 1, statistics=found.statistics)
        return estimate, _stored(objective, theta, g, state)

    def known(self, objective, state):
        """What the generators may look at in the next step: a list of `Given`, one a layer."""
        length = min(state.seen, self.length)
        history = state.history[self.length - length :, :]
        return [
            Given(layer, history[-1, own], state.squashed[own], history[:, own])
            for layer, own in enumerate(_slices(objective))
        ]

    def _generate(self, parts, given, state, step):
        # for each part, for each layer: (F, carried, cache)
        made = []
        for part, phi, carried in zip(parts, state.phi, state.carried, strict=True):
            calls = zip([part.net.views(phi)] * len(given), given, carried, strict=True)
            made.append(list(step.pool.map(part.net.generate, calls, LAYER_BYTES)))
        return made

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
            own = objective.network.slices[name]
            point[own] = moved[own]
        return point

    def _learn(self, k, part, made, slopes, reached, state, step):
        # phi_k <- optimiser(phi_k, dL/dphi_k), and the optimiser's state
        phi, memory = state.phi[k], state.optimizers[k]
        if not part.net.size:
            return phi, memory
        upstream = [
            part.weight * (slope * r if part.calibrated else r)
            for slope, r in zip(slopes, reached, strict=True)
        ]
        caches = (layer[2] for layer in made)
        calls = zip([part.net.views(phi)] * len(made), caches, upstream, strict=True)
        total = None
        for grads in step.pool.map(part.net.pull_back, calls, LAYER_BYTES):
            own = part.net.flatten(grads)
            total = own if total is None else total + own
        return self._rule(part).update(total, memory, phi)


def _slices(objective):
    return [objective.network.slices[name] for name in objective.quantized]


def layer_slopes(objective, theta):
    """c(W) of every quantised layer, a list; 1.0 where the surrogate's slope is all ones."""
    slopes = []
    for name in objective.quantized:
        x = objective.cut(theta, name)
        slope = objective.quantizer.derivative(x, objective.scales[name])
        # (m,) or (F, n) -> (m,)
        slopes.append(1.0 if slope is None else backend.namespace(x).reshape(slope, (-1,)))
    return slopes


def _stored(objective, point, g, state):
    # the state with g_t, and Wh_t = A(Wl), at the end of its history
    xp = backend.namespace(g)
    squashed = xp.zeros_like(point)
    for own in _slices(objective):
        squashed[own] = objective.quantizer.squash(point[own])
    history = xp.concat([state.history[1:, :], g[None, :]])
    return state._replace(history=history, squashed=squashed, seen=state.seen + 1)

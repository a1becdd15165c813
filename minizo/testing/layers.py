"""Checks of a layer."""

from functools import partial

import numpy as np

from .. import rng
from ..contracts import check_like
from ..errors import InputError
from ..layers.base import Layer
from ..layers.stack import Composite
from ..network import Network
from ..types import Shape
from .common import DTYPES, again, apart, check_pickle, closeness, member, quiet, unchanged
from .derivatives import BOUND, gradient_error, jumps
from .findings import Fault, Findings, Unjudged, name_of, require, run_checks

EXAMPLES = 7
TOLERANCE = 1e-9  # of a member of a population beside itself alone, in float64
LEADS = ((3,), (2, 3), (2, 1))  # a population; seeds and a population; seeds
SIGMA, DRAWS = 6.0, 2000


def check_layer(layer: Layer, shape: Shape) -> Findings:
    """Check a layer: return `Findings`, or raise `CheckFailed`.

    Parameters
    ----------
    layer : layer
        With what `minizo.layers.Layer` has, or made of layers.
    shape : tuple of int
        Of one example that comes in.

    Raises
    ------
    CheckFailed
        If a check fails; a sentence says where, and what to do.

    Examples
    --------
    >>> from minizo.layers import Linear
    >>> found = check_layer(Linear(4, 2), (4,))
    >>> {finding.name: finding.sentence for finding in found.checks}["gradients"]
    'x, weight, bias: central differences, within 1e-05'
    """
    shape = tuple(shape)
    checks = {
        "contract": partial(_contract, layer, shape),
        "pure": partial(_pure, layer, shape),
        "quiet": partial(_quiet, layer, shape),
        "deterministic": partial(_deterministic, layer, shape),
        "pickle": partial(check_pickle, layer),
        "cost": partial(_cost, layer, shape),
        "gradients": partial(_gradients, layer, shape, False),
        "population": partial(_population, layer, shape),
        "running statistics": partial(_running, layer, shape),
        "in use": partial(_gradients, layer, shape, True),
        "noise": partial(_noise, layer, shape),
    }
    return run_checks(layer, checks)


class Placed:
    """A layer in a network of its own, which tells it what it is fed; names are without prefix.

    Parameters
    ----------
    layer : layer
    shape : tuple of int
    """

    def __init__(self, layer, shape):
        self.network = Network({"it": layer}, shape)
        self.stack, self.shape = self.network.stack, shape
        self.shapes = {short(name): own for name, own in self.stack.shapes.items()}
        self.output_shape = tuple(self.stack.output_shape(shape))
        lowest = [place.layer.codes for place in self.network.places[:1]]
        self.codes = lowest[0] if lowest else None  # how many whole numbers x may hold

    def params(self, dtype=np.float64, lead=(), seed=0):
        """Random parameters of a population, by name, none of them near 0."""
        gen = np.random.default_rng((seed, len(lead)))
        found = {}
        for name, own in self.shapes.items():
            size = 0.3 + gen.random((*lead, *own))
            positive = any(short(least) == name for least in self.network.least)
            sign = 1.0 if positive else gen.choice([-1.0, 1.0], size.shape)
            found[name] = (size * sign).astype(dtype)
        return found

    def x(self, dtype=np.float64, lead=(), seed=0, examples=EXAMPLES):
        """Random examples (..., N, *shape); whole numbers for a layer that takes them."""
        gen = np.random.default_rng((seed, len(lead), 1))
        size = (*lead, examples, *self.shape)
        return (
            gen.integers(self.codes, size=size)
            if self.codes
            else gen.normal(size=size).astype(dtype)
        )

    def noise(self, x, seed=0):
        """Random arrays for a batch, by name."""
        drawn = self.network.noise(rng.at(seed, "layers", 0), x.shape[-1 - len(self.shape)], x)
        return {short(name): value for name, value in drawn.items()}

    def running(self, dtype=np.float64):
        """Running statistics after a batch, by name."""
        x = self.x(dtype, seed=9)
        seen = self.network.statistics([self.forward(self.params(dtype), x)[1]])
        state = self.network.init_state(x)
        state = self.network.next_state(state, seen) if self.network.running else {}
        return {short(name): value for name, value in state.items()}

    def forward(self, params, x):
        """Outputs and the cache."""
        return self.stack.forward({f"it.{name}": value for name, value in params.items()}, x)

    def backward(self, params, cache, dy):
        """dx and the gradients, by name."""
        given = {f"it.{name}": value for name, value in params.items()}
        dx, grads = self.stack.backward(given, cache, dy)
        return dx, {short(name): value for name, value in grads.items()}

    def both(self, params, x, dy=None):
        """Return what forward and backward give, by name; dy is random by default."""
        y, cache = self.forward(params, x)
        if dy is None:
            dy = np.random.default_rng(4).normal(size=y.shape).astype(y.dtype)
        dx, grads = self.backward(params, cache, dy)
        return {"y": y, "grads": grads} | ({} if self.codes else {"dx": dx})


def short(name):
    """Return a name without the layer's.

    >>> short("it.weight")
    'weight'
    """
    return name.removeprefix("it.")


def _contract(layer, shape):
    placed, name = Placed(layer, shape), name_of(layer)
    for dtype in DTYPES:
        for place in placed.network.places:
            start = place.layer.init(rng.at(0, "test"), np.empty(0, dtype))
            found = {part: tuple(np.shape(value)) for part, value in start.items()}
            wanted = {part: tuple(own) for part, own in place.layer.shapes.items()}
            require(
                found == wanted,
                f"{name_of(place.layer)}.init gives {found}, but shapes says {wanted}: they must "
                "be the same",
            )
        params, x = placed.params(dtype), placed.x(dtype)
        given = params | placed.noise(x)
        for part, value in placed.noise(x).items():
            require(
                value.dtype == dtype,
                f"{part} of {name}.noise is {value.dtype}, but x is {np.dtype(dtype)}: keep the "
                "dtype of like",
            )
        y = placed.forward(given, x)[0]
        expected = np.empty((EXAMPLES, *placed.output_shape), dtype)
        check_like(f"y of {name}.forward", y, "what output_shape says", expected)
        answer = placed.both(given, x)
        if "dx" in answer:
            check_like(f"dx of {name}.backward", answer["dx"], "x", x)
        require(
            set(answer["grads"]) == set(placed.shapes),
            f"{name}.backward gives gradients of {sorted(answer['grads'])}, but shapes has "
            f"{sorted(placed.shapes)}: give one for each",
        )
        for part, grad in answer["grads"].items():
            check_like(f"the gradient of {part} of {name}.backward", grad, part, params[part])
    return "init, output_shape, forward, backward agree, and keep the dtype"


def _pure(layer, shape):
    placed, name = Placed(layer, shape), name_of(layer)
    for dtype in DTYPES:
        x = placed.x(dtype)
        params = placed.params(dtype) | placed.noise(x)
        given = {"params": params, "x": x}
        y, cache = unchanged(f"{name}.forward", placed.forward, given)
        dy = np.random.default_rng(4).normal(size=y.shape).astype(y.dtype)
        given = {"params": params, "cache": cache, "dy": dy}
        first = unchanged(f"{name}.backward", placed.backward, given)
        words = apart(first, placed.backward(params, cache, dy), 0.0)[1]
        require(
            not words,
            f"{name}.backward gives another gradient when it is called again ({words}): it must "
            "not add to what is there",
        )
    return "forward and backward change none of their arguments in place, and add up nothing"


def _quiet(layer, shape):
    placed = Placed(layer, shape)
    x = placed.x()
    quiet(name_of(layer), lambda: placed.both(placed.params() | placed.noise(x), x))
    return "prints nothing, and leaves NumPy's global random state alone"


def _deterministic(layer, shape):
    placed, given = Placed(layer, shape), []
    for seed in range(3):
        x = placed.x(seed=seed)
        given.append((placed.params(seed=seed) | placed.noise(x, seed), x))
    answers = [placed.both(*one) for one in given]
    again(name_of(layer), lambda index: placed.both(*given[index]), answers)
    return "the same arguments give the same bits, in whatever order it is asked"


def _cost(layer, shape):
    total = 0
    for place in Placed(layer, shape).network.places:
        for method in ("macs", "backward_macs"):
            count = getattr(place.layer, method)(place.shape)
            require(
                isinstance(count, int) and count >= 0,
                f"{name_of(place.layer)}.{method}({place.shape}) is {count!r}, but it must be a "
                "whole number of at least 0",
            )
        total += place.layer.macs(place.shape)
    return f"{total} multiply-accumulates a forward and example"


def _gradients(layer, shape, in_use):
    placed, name = Placed(layer, shape), name_of(layer)
    if in_use and not (placed.network.running or placed.network.random):
        raise Unjudged("the same in training and in use")
    x, params = placed.x(), placed.params()
    params |= placed.running() if in_use else placed.noise(x)
    dy = np.random.default_rng(4).normal(size=(EXAMPLES, *placed.output_shape))
    answer, gen = placed.both(params, x, dy), np.random.default_rng(5)
    judged, jumping = [], []
    for part in (*(() if placed.codes else ("x",)), *placed.shapes):
        value = x if part == "x" else params[part]

        def forward(value, part=part):
            if part == "x":
                return placed.forward(params, value)[0]
            return placed.forward({**params, part: value}, x)[0]

        if jumps(forward, value, 0.3 * gen.normal(size=value.shape)):
            jumping.append(part)
            continue
        judged.append(part)
        gradient = answer["dx"] if part == "x" else answer["grads"][part]
        error, words = gradient_error(
            lambda value, forward=forward: np.sum(dy * forward(value)), gradient, value, gen
        )
        require(
            error <= BOUND,
            f"{name}.backward{' in use' if in_use else ''}: the gradient of {part} is wrong by "
            f"{100 * error:.3g} %: {words}",
        )
    words = f"not judged, as the forward jumps in it: {', '.join(jumping)}" if jumping else ""
    if not judged:
        raise Unjudged(words)
    sentence = f"{', '.join(judged)}: central differences, within {BOUND:.0e}"
    return f"{sentence}; {words}" if words else sentence


def _population(layer, shape):
    placed, name, worst = Placed(layer, shape), name_of(layer), 0.0
    remedy = "count axes from the end, as a population puts others in front"
    for lead in LEADS:
        seeds = (lead[0], 1) if len(lead) == 2 else ()
        shared = set() if placed.network.random and seeds else {()}  # noise has the seeds' axes
        for lead_x in sorted({seeds, lead} | shared):
            gap, words = _members(placed, name, lead, seeds, lead_x, remedy)
            require(
                gap <= TOLERANCE,
                f"{name} mixes the members of a population: with parameters {lead} and x {lead_x} "
                f"in front, {words}: {remedy}",
            )
            worst = max(worst, gap)
    return f"members of a population are those of each alone, {closeness(worst)}"


def _members(placed, name, lead, seeds, lead_x, remedy):
    # the largest deviation of a member from itself alone, and where
    params, x = placed.params(lead=lead), placed.x(lead=lead_x)
    drawn = [placed.noise(x, seed) for seed in range(*seeds[:1] or (1,))]
    noise = {part: np.stack([own[part] for own in drawn]) for part in drawn[0]}
    noise = {part: value[:, None] if seeds else value[0] for part, value in noise.items()}
    try:
        together = placed.both(params | noise, x)
    except (InputError, ValueError, IndexError, TypeError) as error:
        raise Fault(
            f"{name} does not take parameters with {lead} and x with {lead_x} in front "
            f"({type(error).__name__}: {error}): {remedy}"
        ) from None
    y, axes = together["y"], 1 + len(placed.output_shape)
    own_lead = y.shape[: y.ndim - axes]
    wanted = lead if placed.shapes else lead_x
    require(
        own_lead == wanted,
        f"{name}.forward gives y {y.shape} of parameters with {lead} and x with {lead_x} in front, "
        f"which must be there too: {remedy}",
    )
    dy = np.random.default_rng(4).normal(size=y.shape)
    worst, words = 0.0, ""
    for index in np.ndindex(*own_lead):
        one = {
            part: member(value, index, len(placed.shapes[part])) for part, value in params.items()
        }
        one |= {part: member(value, index, 1 + len(placed.shape)) for part, value in noise.items()}
        alone = placed.both(one, member(x, index, 1 + len(placed.shape)), dy[index])
        grads = together["grads"].items()
        found = {
            "y": y[index],
            "grads": {part: member(g, index, len(placed.shapes[part])) for part, g in grads},
        }
        if "dx" in together:
            found["dx"] = member(together["dx"], index, 1 + len(placed.shape))
        gap, text = apart(alone, found, TOLERANCE)
        if gap > worst:
            worst, words = gap, f"member {index} is not what it is alone ({text})"
    return worst, words


def _running(layer, shape):
    placed = Placed(layer, shape)
    network, x = placed.network, placed.x()
    if not network.running:
        raise Unjudged("has no running statistics")
    state = network.init_state(x)
    require(
        set(state) == set(network.running),
        f"{name_of(layer)}.init_state gives {sorted(map(short, state))}, but running says "
        f"{sorted(map(short, network.running))}",
    )
    for lead in ((), (3,)):
        seen = network.statistics([placed.forward(placed.params(), placed.x(lead=lead))[1]])
        after = network.next_state(state, seen)
        for part, value in after.items():
            what, like = f"{short(part)} of {name_of(layer)}", state[part]
            expected = np.empty((*lead, *like.shape), like.dtype)
            words = f"that of init_state with {lead} in front"
            check_like(f"{what}.next_state", value, words, expected)
    return f"{', '.join(map(short, network.running))} keep their names and shapes"


def _noise(layer, shape):
    placed, name = Placed(layer, shape), name_of(layer)
    if not placed.network.random:
        raise Unjudged("draws no random arrays")
    x = placed.x(examples=1)
    first, again, other = (placed.noise(x, seed) for seed in (0, 0, 1))
    require(
        apart(first, again, 0.0)[0] == 0.0 and set(first) == set(map(short, placed.network.random)),
        f"{name}.noise gives {sorted(first)} and random says "
        f"{sorted(map(short, placed.network.random))}: they must be the same, and the same stream "
        "must give the same numbers",
    )
    if isinstance(layer, Composite):
        raise Unjudged("the same stream gives the same numbers; the mean is each layer's own")
    params, many = placed.params(), np.repeat(x, DRAWS, axis=0)
    noise = placed.noise(many)
    y, wanted = placed.forward(params | noise, many)[0], placed.forward(params, x)[0][0]
    bound = SIGMA * y.std(axis=0) / np.sqrt(DRAWS) + 1e-9 * np.max(np.abs(y))
    share = np.abs(y.mean(axis=0) - wanted) / bound
    place = np.unravel_index(int(np.argmax(share)), share.shape)
    require(
        share[place] <= 1.0,
        f"{name}: the mean of {DRAWS} outputs in training is {y.mean(axis=0)[place]:.4g}, but in "
        f"use it is {wanted[place]:.4g}, {SIGMA * share[place]:.0f} standard errors away (6 are "
        "allowed): scale what is left, by 1 / (1 - rate) for dropout",
    )
    return f"the mean in training is that in use, within {SIGMA:.0f} standard errors"

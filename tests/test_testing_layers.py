"""What authors run on a layer of their own: all pass, and every planted fault is found."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from test_axes import LAYERS as SQUARE_LAYERS
from test_layers import LAYERS
from test_testing import failure

from minizo import backend, layers
from minizo.layers import Dropout, Layer, Linear, ReLU
from minizo.parallel import alone
from minizo.testing import check_layer
from minizo.testing.derivatives import gradient_error, jumps

CALLS = []  # a memory that no layer may have


@pytest.mark.parametrize("layer, shape", [*LAYERS, *SQUARE_LAYERS], ids=str)
def test_layers_pass(layer, shape):
    """Gradients are judged unless the forward jumps."""
    results = {f.name: f.passed for f in check_layer(layer, shape).checks}
    jumping = "Quantized" in repr(layer)
    assert results["gradients"] is True or jumping
    assert all(results[name] for name in ("contract", "pure", "pickle", "population", "cost"))
    assert (results["running statistics"] is True) == ("BatchNorm" in repr(layer))
    assert (results["noise"] is True) == isinstance(layer, Dropout)


@dataclass(frozen=True)
class Bent(Layer):
    """y = x a + b, but with what it is told in the place of its own."""

    forward_change: Callable = None
    back_change: Callable = None
    grads_change: Callable = None
    start: float = 1.0
    cost: object = 4
    shapes = {"a": (4,), "b": (4,)}

    def init(self, stream, like):
        return {"a": np.ones(4, like.dtype), "b": self.start * np.zeros(4, like.dtype)}

    def macs(self, shape):
        return self.cost

    def forward(self, params, x, reduce=alone):
        y = x * params["a"][..., None, :] + params["b"][..., None, :]
        return (y if self.forward_change is None else self.forward_change(y, x, params)), x

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        dx = dy * params["a"][..., None, :]
        xp = backend.namespace(dy)
        grads = {"a": xp.sum(dy * cache, axis=-2), "b": xp.sum(dy, axis=-2)}
        dx = dx if self.back_change is None else self.back_change(dx, cache)
        return dx, grads if self.grads_change is None else self.grads_change(grads)


def layer_in_place(y, x, params):
    params["b"] += 1.0
    return y


def cache_in_place(dx, cache):
    cache *= 2.0
    return dx


def layer_prints(y, x, params):
    print("forward")
    return y


def layer_random(y, x, params):
    return y + 0.0 * np.random.random()


def layer_memory(y, x, params):
    CALLS.append(1)
    return y + 1e-9 * len(CALLS)


def layer_double(y, x, params):
    return y * np.ones(4)


def layer_flat(y, x, params):
    return y[..., :3]


def layer_first(y, x, params):
    return y - x.mean(axis=0)


def layer_adds(dx, cache):
    CALLS.append(1)
    return dx * len(CALLS)


def one_percent(dx, cache):
    return 1.01 * dx


def one_percent_of_a(grads):
    return grads | {"a": 1.01 * grads["a"]}


def without_b(grads):
    return {"a": grads["a"]}


def summed_over_all(grads):
    return grads | {"b": grads["b"] * np.ones((2, *grads["b"].shape))}


@dataclass(frozen=True)
class Unscaled(Dropout):
    """Dropout that forgets to divide by 1 - rate."""

    def noise(self, stream, shape, examples, like):
        mask = super().noise(stream, shape, examples, like)["mask"]
        return {"mask": mask * (1.0 - self.rate)}


class Untied(Dropout):
    random = ("mask", "other")


class DoubleMask(Dropout):
    def noise(self, stream, shape, examples, like):
        return {"mask": super().noise(stream, shape, examples, like)["mask"].astype(np.float64)}


class Undivided(layers.BatchNorm1d):
    """Its gradient in use leaves the variance out."""

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        dx, grads = super().backward(params, cache, dy, wanted, reduce)
        return (dx if cache[2] is not None else 1.01 * dx), grads


class LosesVar(layers.BatchNorm1d):
    def next_state(self, state, statistics):
        return {"mean": statistics["mean"]}


class Sums(layers.BatchNorm1d):
    def next_state(self, state, statistics):
        return {
            name: value[..., None] for name, value in super().next_state(state, statistics).items()
        }


class NotItsShape(ReLU):
    def output_shape(self, shape):
        return (*shape, 1)


class StartsSmall(Linear):
    def init(self, stream, like):
        return {"weight": np.zeros(8, like.dtype), "bias": np.zeros(2, like.dtype)}


LAYER_FAULTS = [
    (Bent(layer_in_place), "pure", r"Bent.forward changes its arguments in place: params.b\[0\]"),
    (Bent(back_change=cache_in_place), "pure", r"Bent.backward changes .* place: cache"),
    (Bent(back_change=layer_adds), "pure", r"backward gives another gradient .* not add"),
    (Bent(layer_prints), "quiet", r"Bent prints 'forward\\n"),
    (Bent(layer_random), "quiet", "Bent draws from NumPy's global random state"),
    (Bent(layer_memory), "deterministic", "Bent gives two answers"),
    (Bent(layer_double), "contract", r"y of Bent.forward is \(7, 4\) float64, but what"),
    (Bent(layer_flat), "contract", r"y of Bent.forward is \(7, 3\) float64, but what"),
    (Bent(lambda *a: a[0]), "pickle", "Bent cannot be pickled"),
    (Bent(layer_first), "population", r"Bent mixes the members of a population|does not take"),
    (Bent(back_change=one_percent), "gradients", r"the gradient of x is wrong by 1(.00)? %"),
    (Bent(grads_change=one_percent_of_a), "gradients", r"gradient of a is wrong by 1 %: at \[\d\]"),
    (Bent(grads_change=without_b), "contract", r"of \['a'\], but shapes has \['a', 'b'\]"),
    (Bent(grads_change=summed_over_all), "contract", "gradient of b of Bent.backward is .2, 4"),
    (Bent(cost=2.5), "cost", r"Bent.macs\(\(4,\)\) is 2.5, but it must be a whole number"),
    (Bent(cost=-1), "cost", "Bent.macs.* is -1, but it must be a whole number of at least 0"),
    (Unscaled(0.5), "noise", r"the mean of 2000 outputs .* 1 / \(1 - rate"),
    (Untied(0.5), "noise", r"Untied.noise gives \['mask'\] and random says \['mask', 'other'\]"),
    (DoubleMask(), "contract", "mask of DoubleMask.noise is float64, but x is float32"),
    (Undivided(4), "in use", "Undivided.backward in use: the gradient of x is wrong by 1 %"),
    (LosesVar(4), "running statistics", r"next_state gives \['mean'\], but running says"),
    (Sums(4), "running statistics", r"mean of Sums.next_state is \(4, 1\) float64, but"),
    (NotItsShape(), "contract", r"y of NotItsShape.forward is \(7, 4\) float64, but what outp"),
    (StartsSmall(4, 2), "contract", r"StartsSmall.init gives .'weight': \(8,\), .* but"),
    (Linear(3, 2), "contract", r"Linear\(3, 2\) is fed examples of shape \(4,\)"),
    (Linear, "contract", "layer 'it' is the class Linear, but it must be an object"),
]


@pytest.mark.parametrize("layer, name, pattern", LAYER_FAULTS)
def test_a_fault_of_a_layer_is_found(layer, name, pattern):
    CALLS.clear()
    failed, _ = failure(check_layer, layer, (4,), match=pattern)
    assert name in failed


def test_the_layer_of_the_planted_faults_passes():
    """Negative control."""
    check_layer(Bent(), (4,))


# Derivatives -------------------------------------------------------------------------------------


def test_jumps_are_told_from_kinks():
    """A jump, up and down again, is seen; kinks and steep slopes are none."""
    x, way = np.linspace(-1.0, 1.0, 9) + 0.01, np.ones(9)
    assert jumps(lambda x: np.floor(8.0 * x), x, way)
    assert jumps(lambda x: 1e-3 * (np.abs(x) < 0.3), x, way)
    for smooth in (np.abs, lambda x: np.tanh(1e4 * x), lambda x: np.maximum(x, 0.0) ** 2):
        assert not jumps(smooth, x, way)
    assert not jumps(lambda x: 0.0 * x, x, way)


def test_a_gradient_that_is_wrong_at_one_place_is_found():
    gen = np.random.default_rng(0)
    for size in (5, 500):
        x, right = gen.normal(size=size), None
        right = np.cos(x)
        assert gradient_error(lambda x: np.sum(np.sin(x)), right, x, gen)[0] < 1e-7
        wrong = right.copy()
        wrong[3] *= 1.01
        assert gradient_error(lambda x: np.sum(np.sin(x)), wrong, x, gen)[0] > 1e-5

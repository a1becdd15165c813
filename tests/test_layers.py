"""Every layer and loss: backward against central differences, population axis.

That layers are pure, keep the dtype and add up nothing is in `test_testing_layers`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import InputError, backend
from minizo.layers import (
    GELU,
    LSTM,
    Attention,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    ClassToken,
    Conv2d,
    Dropout,
    Embedding,
    FirstToken,
    Flatten,
    Gated,
    GlobalAvgPool,
    HardTanh,
    LayerNorm,
    Linear,
    MaxPool2d,
    MeanToken,
    Patches,
    Positions,
    ReLU,
    Residual,
    RMSNorm,
    SiLU,
    Stack,
    ZeroPad,
    linear,
)
from minizo.losses import LOSSES, one_hot

RNG = np.random.default_rng(0)

# (layer, shape of one example); each row is tested in every way below
LAYERS = [
    (Linear(6, 4), (6,)),
    (Linear(6, 4, bias=False), (6,)),
    (Linear(1, 1), (1,)),
    (ReLU(), (5,)),
    (HardTanh(), (5,)),
    (Flatten(), (2, 3, 4)),
    (Flatten(axes=2), (3, 4)),
    (Dropout(), (5,)),
    (BatchNorm1d(5), (5,)),
    (BatchNorm2d(3), (3, 4, 2)),
    (LayerNorm((5,)), (5,)),
    (LayerNorm((2, 3, 4)), (2, 3, 4)),
    (Conv2d(3, 4, 3, padding=1), (3, 5, 6)),
    (Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(0, 1), bias=True), (2, 6, 4)),
    (Conv2d(3, 5, 1, stride=2), (3, 4, 5)),
    (Conv2d(1, 2, 5, padding=6, bias=True), (1, 3, 3)),
    (MaxPool2d(), (3, 5, 4)),
    (MaxPool2d(3, stride=2), (2, 7, 6)),
    (MaxPool2d(3, stride=2, padding=1), (2, 7, 6)),
    (MaxPool2d(4, stride=1, padding=2), (1, 1, 3)),
    (AvgPool2d(), (3, 5, 4)),
    (AvgPool2d(3, stride=2), (2, 7, 6)),
    (GlobalAvgPool(), (3, 4, 2)),
    (ZeroPad(3, 7, stride=2), (3, 5, 4)),
    (ZeroPad(2, 2), (2, 3, 3)),
    (Stack({}), (5,)),
    (Stack({"fc": Linear(5, 4, bias=False), "bn": BatchNorm1d(4), "act": ReLU()}), (5,)),
    (Residual({"fc": Linear(5, 5), "act": HardTanh()}), (5,)),
    (Residual({"bn": BatchNorm2d(2)}, {"pad": ZeroPad(2, 2)}), (2, 3, 3)),
    (Residual({"fc": Linear(5, 3)}, {"fc": Linear(5, 3, bias=False), "bn": BatchNorm1d(3)}), (5,)),
    (Residual({"inner": Residual({"fc": Linear(4, 4)})}), (4,)),
    (Linear(6, 4).fed((3, 6)), (3, 6)),
    (Linear(6, 4, bias=False).fed((2, 3, 6)), (2, 3, 6)),
    (LayerNorm((4,)).fed((3, 4)), (3, 4)),
    (LayerNorm((3, 4)).fed((2, 3, 4)), (2, 3, 4)),
    (RMSNorm(5), (5,)),
    (RMSNorm(4).fed((3, 4)), (3, 4)),
    (GELU(), (3, 4)),
    (GELU("exact"), (5,)),
    (SiLU(), (5,)),
    (Gated({"up": Linear(5, 4)}, {"fc": Linear(5, 4), "act": SiLU()}), (5,)),
    (Embedding(5, 3), (4,)),
    (Positions(5, 3), (5, 3)),
    (Positions(5, 3), (2, 3)),
    (ClassToken(3), (2, 3)),
    (FirstToken(), (4, 3)),
    (MeanToken(), (4, 3)),
    (Patches(2), (3, 4, 6)),
    (Attention(2, 3, rotary=None, causal=False), (4, 18)),
    (Attention(2, 4), (5, 24)),
    (Attention(4, 2, shared=2), (5, 16)),
    (Attention(3, 2, shared=3, causal=False), (3, 10)),
    (Attention(1, 2), (1, 6)),
    (LSTM(3, 2), (5, 3)),
    (LSTM(1, 4), (2, 1)),
]
IDS = [f"{layer}" for layer, _ in LAYERS]


def examples(layer, n, shape, rng=RNG, lead=(), dtype=np.float64):
    """Random examples (..., n, *shape): whole numbers for a layer that takes them."""
    size = (*lead, n, *shape)
    codes = getattr(layer, "codes", None)
    return rng.integers(codes, size=size) if codes else rng.normal(size=size).astype(dtype)


def parts(layer):
    """What has a derivative: x, unless it holds whole numbers, and the parameters."""
    return [*([] if getattr(layer, "codes", None) else ["x"]), *layer.shapes]


def random_params(layer, lead=(), rng=RNG, dtype=np.float64):
    return {name: rng.normal(size=(*lead, *s)).astype(dtype) for name, s in layer.shapes.items()}


def directional(function, x, direction, h=1e-6):
    """Central difference of ``function`` at x along ``direction``."""
    return (function(x + h * direction) - function(x - h * direction)) / (2 * h)


def check_vjp(layer, params, x, which, scale=1.0):
    """<backward(dy), direction> against the central difference of <forward, dy>.

    The error is relative to the length of the gradient.
    """
    y, cache = layer.forward(params, x)
    dy = RNG.normal(size=y.shape)
    dx, grads = layer.backward(params, cache, scale * dy)
    value, gradient = (x, dx) if which == "x" else (params[which], grads[which])
    # random, and a part along the gradient, so that a wrong length shows in any case
    direction = RNG.normal(size=value.shape) + 5.0 * gradient / np.linalg.norm(gradient)

    def along(z):
        here, fed = (params, z) if which == "x" else (params | {which: z}, x)
        return np.sum(layer.forward(here, fed)[0] * dy)

    numeric = directional(along, value, direction)
    return abs(np.sum(gradient * direction) - numeric) / (1e-3 + np.linalg.norm(gradient))


@pytest.mark.parametrize("layer, shape", LAYERS, ids=IDS)
def test_backward_is_the_derivative(layer, shape):
    """One random projection a parameter and one for x, float64, relative error 1e-7."""
    params, x = random_params(layer), examples(layer, 7, shape)
    for which in parts(layer):
        assert check_vjp(layer, params, x, which) < 1e-7


@pytest.mark.parametrize("layer, shape", LAYERS, ids=IDS)
def test_gradient_check_notices_a_wrong_backward(layer, shape):
    """Negative control: a backward that is 1 % too large must fail the same check."""
    params, x = random_params(layer), examples(layer, 7, shape)
    for which in parts(layer):
        assert check_vjp(layer, params, x, which, scale=1.01) > 1e-4


@pytest.mark.parametrize("layer, shape", LAYERS, ids=IDS)
def test_population_axis_is_a_loop(layer, shape):
    """Forward and backward of a stack of parameters equal those one by one (1e-12)."""
    x = examples(layer, 7, shape)
    params = random_params(layer, lead=(2, 3))
    y, cache = layer.forward(params, x)
    dy = RNG.normal(size=(2, 3, 7, *layer.output_shape(shape)))
    dx, grads = layer.backward(params, cache, dy)
    for i, j in np.ndindex(2, 3):
        own = {name: value[i, j] for name, value in params.items()}
        y1, cache1 = layer.forward(own, x)
        dx1, grads1 = layer.backward(own, cache1, dy[i, j])
        if layer.shapes:  # without parameters the population is made further up
            np.testing.assert_allclose(y[i, j], y1, rtol=1e-12, atol=1e-13)
        if "x" in parts(layer):
            np.testing.assert_allclose(dx[i, j], dx1, rtol=1e-12, atol=1e-13)
        for name in grads:
            np.testing.assert_allclose(grads[name][i, j], grads1[name], rtol=1e-12, atol=1e-13)


@given(
    lead=st.lists(st.integers(1, 4), max_size=2),
    batch=st.integers(1, 6),
    inputs=st.integers(1, 7),
    outputs=st.integers(1, 5),
    own_batch=st.booleans(),
    small=st.sampled_from([0, 10**6]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_linear_is_its_equation(lead, batch, inputs, outputs, own_batch, small, seed):
    """y = x W^T + b by einsum, for shared batches and for a batch of each member's own.

    The products of a population may be made one, which large ones are.
    """
    rng = np.random.default_rng(seed)
    layer = Linear(inputs, outputs)
    params = random_params(layer, lead, rng)
    x = rng.normal(size=(*lead, batch, inputs) if own_batch else (batch, inputs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "SMALL", small)
        y, _ = layer.forward(params, x)
    expected = np.einsum("...ni,...oi->...no", x, params["weight"]) + params["bias"][..., None, :]
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layer, shape", LAYERS, ids=IDS)
def test_strict_layers(layer, shape):
    """Forward and backward on array-api-strict's fake device, with a population: 1e-12."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")

    def put(value):
        return strict.asarray(value, device=device)

    params, x = random_params(layer, lead=(2,)), examples(layer, 7, shape, lead=(2,))
    y, cache = layer.forward(params, x)
    dy = RNG.normal(size=y.shape)
    dx, grads = layer.backward(params, cache, dy)
    given = {name: put(value) for name, value in params.items()}
    y_s, cache_s = layer.forward(given, put(x))
    dx_s, grads_s = layer.backward(given, cache_s, put(dy))
    pairs = [(y_s, y), *((grads_s[n], grads[n]) for n in grads)]
    pairs += [(dx_s, dx)] if "x" in parts(layer) else []
    for ours, expected in pairs:
        assert ours.device == device
        np.testing.assert_allclose(backend.to_numpy(ours), expected, rtol=1e-12, atol=1e-12)


def test_unwanted_input_gradient_is_not_computed():
    layer = Linear(6, 4)
    params, x = random_params(layer), RNG.normal(size=(7, 6))
    y, cache = layer.forward(params, x)
    assert layer.backward(params, cache, y, wanted=False)[0] is None


def test_kinks_have_the_documented_derivative():
    """ReLU' (0) = 0, also for -0.0 and just above; hardtanh'(+-1) = 1."""
    x = np.array([[0.0, -0.0, 5e-324, -5e-324]])
    _, cache = ReLU().forward({}, x)
    np.testing.assert_array_equal(ReLU().backward({}, cache, np.ones_like(x))[0], [[0, 0, 1, 0]])
    x = np.array([[-1.0, 1.0, np.nextafter(1, 2), np.nextafter(-1, -2)]])
    _, cache = HardTanh().forward({}, x)
    np.testing.assert_array_equal(
        HardTanh().backward({}, cache, np.ones_like(x))[0], [[1, 1, 0, 0]]
    )


@pytest.mark.parametrize("name", LOSSES)
def test_loss_backward_is_the_derivative(name):
    """Central difference, float64, with population axes; the 1 % control must fail."""
    loss, labels = LOSSES[name](), RNG.integers(0, 4, 9)
    z, direction = RNG.normal(size=(2, 9, 4)), RNG.normal(size=(2, 9, 4))
    value, cache = loss.forward(z, labels)
    assert value.shape == (2,)
    analytic = np.sum(loss.backward(cache) * direction, axis=(1, 2))
    numeric = directional(lambda s: loss.forward(s, labels)[0], z, direction)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6)
    assert not np.allclose(1.01 * analytic, numeric, rtol=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_against_its_formula(name):
    """Independent formulas, example by example."""
    z, labels = RNG.normal(size=(6, 4)), np.array([0, 1, 2, 3, 1, 1])
    t = np.eye(4)[labels]
    expected = {
        "cross-entropy": lambda: -np.log((np.exp(z) / np.exp(z).sum(1, keepdims=True))[t == 1]),
        "squared-hinge": lambda: (np.maximum(0, 1 - (2 * t - 1) * z) ** 2).sum(1),
        "mse": lambda: 0.5 * ((z - t) ** 2).sum(1),
    }[name]()
    np.testing.assert_allclose(LOSSES[name]().forward(z, labels)[0], expected.mean(), rtol=1e-12)


def test_cross_entropy_does_not_overflow():
    """Logits of +-1e4 in float32 give the exact loss, not NaN."""
    z = np.array([[1e4, -1e4], [1e4, -1e4]], dtype=np.float32)
    loss, cache = LOSSES["cross-entropy"]().forward(z, np.array([0, 1]))
    assert loss == np.float32(1e4)
    assert np.isfinite(LOSSES["cross-entropy"]().backward(cache)).all()


def test_one_hot():
    np.testing.assert_array_equal(one_hot(np.array([2, 0]), 3, np.empty(0)), [[0, 0, 1], [1, 0, 0]])


def test_one_hot_lies_as_the_outputs_do():
    for like in (np.empty((2, 3)), np.empty((3, 2)).T):
        codes = one_hot(np.array([2, 0]), 3, like)
        np.testing.assert_array_equal(codes, [[0, 0, 1], [1, 0, 0]])
        assert codes.strides == like.strides


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Linear(0, 3), "Linear.inputs is 0"),
        (lambda: Linear(3, 2.5), "Linear.outputs is 2.5"),
        (lambda: Linear(3, 2).output_shape((4,)), r"examples of shape \(4,\); it takes \(3,\)"),
        (lambda: Flatten().output_shape((4,)), "set axes to 1"),
    ],
)
def test_bad_layers_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

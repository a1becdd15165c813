"""Convolution and pooling against direct loops; blocks and threads; the convolutional models."""

from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator

from minizo import (
    FOGZO,
    SPSA,
    STE,
    Batch,
    InputError,
    Objective,
    Step,
    backend,
    models,
    quantizers,
    sharing,
    threads,
)
from minizo.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    LayerNorm,
    MaxPool2d,
    QuantizedActivation,
    ReLU,
    Residual,
    ZeroPad,
)

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def convolutions(draw):
    """(layer, images) of any kernel, stride and padding that fit together."""
    kernel, stride = draw(pairs), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    size = [draw(st.integers(max(1, k - 2 * p), 7)) for k, p in zip(kernel, padding, strict=True)]
    channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    layer = Conv2d(channels, outputs, kernel, stride, padding, bias=draw(st.booleans()))
    gen = generator(draw(st.integers(0, 2**32 - 1)))
    return layer, gen.normal(size=(draw(st.integers(1, 3)), channels, *size)), gen


def by_loops(layer, params, x):
    """y by the equation in the docstring of `Conv2d`, one number at a time."""
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel, layer.stride, layer.padding
    n, _, height, width = x.shape
    y = np.zeros((n, *layer.output_shape(x.shape[1:])))
    for b, f, h, w in np.ndindex(*y.shape):
        for c, i, j in np.ndindex(layer.inputs, kh, kw):
            row, column = h * sh + i - ph, w * sw + j - pw
            if 0 <= row < height and 0 <= column < width:
                y[b, f, h, w] += params["weight"][f, c, i, j] * x[b, c, row, column]
        y[b, f, h, w] += params["bias"][f] if layer.bias else 0.0
    return y


def random_params(layer, gen, lead=()):
    return {name: gen.normal(size=(*lead, *shape)) for name, shape in layer.shapes.items()}


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_convolution_is_its_equation(case):
    """Against direct loops over images, filters and pixels, to 1e-12."""
    layer, x, gen = case
    params = random_params(layer, gen)
    y, _ = layer.forward(params, x)
    np.testing.assert_allclose(y, by_loops(layer, params, x), rtol=1e-12, atol=1e-12)


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_convolution_and_its_backward_are_adjoint(case):
    """<W * x, dy> = <x, W^T dy> = <W, dW>, exactly the same sum in another order (1e-11)."""
    layer, x, gen = case
    params = random_params(layer, gen)
    y, cache = layer.forward(params, x)
    dy = gen.normal(size=y.shape)
    dx, grads = layer.backward(params, cache, dy)
    bias = np.sum(dy * params["bias"][:, None, None]) if layer.bias else 0.0
    inner = np.sum(y * dy) - bias
    np.testing.assert_allclose(np.sum(x * dx), inner, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.sum(params["weight"] * grads["weight"]), inner, 1e-11, 1e-11)
    if layer.bias:
        np.testing.assert_allclose(grads["bias"], dy.sum(axis=(0, 2, 3)), 1e-11, 1e-11)


def test_order_of_storage_does_not_matter():
    """Channels first, channels last and a slice of something larger: the same numbers."""
    gen, layer = generator(1), Conv2d(3, 4, 3, stride=2, padding=1)
    params, x = random_params(layer, gen), gen.normal(size=(5, 3, 6, 7))
    y, cache = layer.forward(params, x)
    dy = gen.normal(size=y.shape)
    dx, grads = layer.backward(params, cache, dy)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    wide = gen.normal(size=(5, 6, 6, 14))
    wide[:, ::2, :, ::2] = x
    for other in (last, wide[:, ::2, :, ::2]):
        y1, cache = layer.forward(params, other)
        dx1, grads1 = layer.backward(params, cache, np.asfortranarray(dy))
        for one, two in ((y, y1), (dx, dx1), (grads["weight"], grads1["weight"])):
            np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (3, 1), (2, 3), (1, 1)])
def test_pooling_is_its_equation(size, stride, monkeypatch):
    """Squares one by one; the first of equal numbers in reading order takes the gradient."""
    new = backend.empty  # memory that holds anything
    monkeypatch.setattr(backend, "empty", lambda *given: np.full_like(new(*given), np.nan))
    gen = generator(size, stride)
    x = gen.integers(-2, 3, size=(4, 3, 7, 6)).astype(float)  # with many ties
    most, mean = MaxPool2d(size, stride), AvgPool2d(size, stride)
    y, cache = most.forward({}, x)
    z, other = mean.forward({}, x)
    dy = gen.normal(size=y.shape)
    dx, dz = np.zeros_like(x), np.zeros_like(x)
    for n, c, h, w in np.ndindex(*y.shape):
        square = np.s_[n, c, h * stride : h * stride + size, w * stride : w * stride + size]
        assert y[n, c, h, w] == x[square].max()
        assert abs(z[n, c, h, w] - x[square].mean()) < 1e-14
        first = np.unravel_index(np.argmax(x[square]), (size, size))
        dx[square][first] += dy[n, c, h, w]
        dz[square] += dy[n, c, h, w] / size**2
    np.testing.assert_allclose(most.backward({}, cache, dy)[0], dx, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(mean.backward({}, other, dy)[0], dz, rtol=1e-13, atol=1e-13)


def test_zero_pad_shortcut():
    """Every second pixel; one new channel before and two behind the three old ones."""
    x = generator(2).normal(size=(2, 3, 4, 5))
    y, _ = ZeroPad(3, 6, stride=2).forward({}, x)
    np.testing.assert_array_equal(y[:, 1:4], x[:, :, ::2, ::2])
    assert y.shape == (2, 6, 2, 3) and not y[:, 0].any() and not y[:, 4:].any()


def test_layer_norm_is_its_equation():
    gen, layer = generator(3), LayerNorm((2, 3))
    params, x = random_params(layer, gen), 5.0 + gen.normal(size=(4, 2, 3))
    y, _ = layer.forward(params, x)
    for own, out in zip(x, y, strict=True):
        expected = params["scale"] * (own - own.mean()) / np.sqrt(own.var() + 1e-5)
        np.testing.assert_allclose(out, expected + params["shift"], rtol=1e-12)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Conv2d(3, 0), "Conv2d.outputs is 0"),
        (lambda: Conv2d(3, 4, 0), "Conv2d.kernel is 0"),
        (lambda: Conv2d(3, 4, (3, 3, 3)), r"Conv2d.kernel is \(3, 3, 3\)"),
        (lambda: Conv2d(3, 4, stride=1.5), "Conv2d.stride is 1.5"),
        (lambda: Conv2d(3, 4, padding=-1), "Conv2d.padding is -1"),
        (lambda: Conv2d(3, 4).output_shape((2, 5, 5)), r"it takes \(3, H, W\)"),
        (lambda: Conv2d(3, 4).output_shape((3, 2, 5)), "too small; choose a smaller kernel"),
        (lambda: MaxPool2d(0), "MaxPool2d.size is 0"),
        (lambda: AvgPool2d(4).output_shape((3, 3, 9)), "of at least 4 x 4 pixels"),
        (lambda: GlobalAvgPool().output_shape((3,)), "it takes images"),
        (lambda: BatchNorm2d(0), "BatchNorm2d.channels is 0"),
        (lambda: BatchNorm2d(3, momentum=2), "BatchNorm2d.momentum is 2"),
        (lambda: BatchNorm2d(3).output_shape((3,)), r"it takes \(3, H, W\)"),
        (lambda: LayerNorm((3, 0)), r"LayerNorm.shape is \(3, 0\)"),
        (lambda: LayerNorm((3,)).output_shape((4,)), r"LayerNorm\(\(3,\)\) is fed"),
        (lambda: ZeroPad(4, 3), "ZeroPad.outputs is 3, but it must be at least 4"),
        (lambda: ZeroPad(4, 5).output_shape((3, 2, 2)), r"it takes \(4, H, W\)"),
        (lambda: models.resnet(21), "depth is 21, but it must be 6n"),
        (lambda: models.resnet(20, shortcut="zero"), "shortcut is 'zero'"),
    ],
)
def test_bad_layers_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


# Blocks and threads -----------------------------------------------------------------------------

BLOCKED = [
    (Conv2d(3, 4, 3, padding=1, bias=True), (3, 6, 5)),
    (Conv2d(3, 4, 3, stride=2, padding=1), (3, 6, 5)),
    (BatchNorm2d(3), (3, 6, 5)),
    (MaxPool2d(), (3, 6, 5)),
    (ReLU(), (3, 6, 5)),
    (Residual({"conv": Conv2d(3, 3, padding=1)}), (3, 6, 5)),
]


def both_ways(layer, params, x, dy):
    y, cache = layer.forward(params, x)
    dx, grads = layer.backward(params, cache, dy)
    return [y, dx, *grads.values()]


@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("layer, shape", BLOCKED, ids=lambda x: type(x).__name__)
def test_blocks_and_threads(layer, shape, lead, monkeypatch):
    """Many small blocks: the numbers of one block (1e-12); three threads: the same bits."""
    gen = generator(4)
    params, x = random_params(layer, gen, lead), gen.normal(size=(*lead, 40, *shape))
    dy = gen.normal(size=(*lead, 40, *layer.output_shape(shape)))
    whole = both_ways(layer, params, x, dy)
    monkeypatch.setattr(sharing, "BLOCK", 2000)
    blocked = both_ways(layer, params, x, dy)
    with ThreadPoolExecutor(3) as executor, sharing.crew(executor, 3):
        threaded = both_ways(layer, params, x, dy)
    for a, b, c in zip(whole, blocked, threaded, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(b, c)


def test_helpers_ignore_overflow_where_the_caller_does():
    """NumPy's errstate is the caller's in every thread; without it there is a warning."""

    def square(item):
        return np.float32(1e30) * np.float32(1e30) + item

    with ThreadPoolExecutor(3) as executor, sharing.crew(executor, 3):
        with np.errstate(all="ignore"):
            assert sharing.share(square, range(50)) == [np.inf] * 50
        with pytest.raises(RuntimeWarning, match="overflow"):
            sharing.share(square, range(50))


def test_share_keeps_the_order_and_hands_errors_on():
    """Results in the order of the items, whoever did them; an error in a thread is not lost."""
    with ThreadPoolExecutor(3) as executor, sharing.crew(executor, 3):
        assert sharing.share(lambda i: i * i, list(range(50))) == [i * i for i in range(50)]
        with pytest.raises(ZeroDivisionError):
            sharing.share(lambda i: 1 / (i - 30), list(range(50)))
        # within a thread of the crew there is no crew: nothing waits for itself
        nested = sharing.share(lambda i: sharing.share(lambda j: i + j, [1, 2]), [10, 20])
    assert nested == [[11, 12], [21, 22]]


def test_memory_is_used_again_only_when_nobody_sees_it():
    """A freed large array's memory comes back; one with a living view does not."""
    like = np.empty(0, np.float32)
    shape = (backend.LARGE // 8, 3)  # a size that nothing else here asks for
    first = backend.empty(shape, like)
    first[...] = 1.0
    address, view = first.ctypes.data, first[5:7, ::2].T
    del first
    second = backend.empty(shape, like)
    assert second.ctypes.data != address
    second[...] = 2.0
    assert (view == 1.0).all()
    del view
    assert backend.empty(shape, like).ctypes.data == address
    backend.forget()
    assert backend.empty(shape, like).dtype == np.float32


def test_windows():
    """Neighbours side by side, from any order of storage."""
    x = np.arange(24.0).reshape(2, 6, 2)
    for given_x in (x, np.asfortranarray(x)):
        found = backend.windows(given_x, 3, 2)
        assert found.shape == (2, 2, 6)
        np.testing.assert_array_equal(found[1, 1], x[1, 2:5].ravel())


# Models -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "depth, classes, tensors, quantised",
    [
        (20, 10, 22, 270_896),
        (32, 10, 34, 464_432),
        (44, 10, 46, 657_968),
        (56, 100, 58, 857_264),
        (110, 100, 112, 1_728_176),
    ],
)
def test_resnets_have_the_published_sizes(depth, classes, tensors, quantised):
    """6n + 4 quantised tensors and their weights, as binary networks on CIFAR report them."""
    net = models.resnet(depth, classes)
    names = models.weights(net)
    assert len(names) == tensors
    assert sum(prod(net.shapes[name]) for name in names) == quantised
    assert net.output_shape == (classes,)
    inner = models.weights(net, ends=False, shortcuts=False)
    assert len(inner) == tensors - 4 and "conv1.weight" not in inner and "fc.weight" not in inner


def test_option_a_has_the_parameters_of_the_first_paper():
    """0.27, 0.46, 0.66, 0.85 and 1.7 million, as in table 6 of He et al."""
    for depth, millions in {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85}.items():
        assert round(models.resnet(depth, shortcut="pad").d / 1e6, 2) == millions
    assert round(models.resnet(110, shortcut="pad").d / 1e6, 1) == 1.7


CONVNETS = {
    "lenet": lambda act: models.lenet((3, 4), activation=act, input_shape=(1, 8, 8)),
    "resnet": lambda act: models.resnet(8, 3, width=3, activation=act, input_shape=(2, 8, 8)),
    "pad": lambda act: models.resnet(
        14, 3, width=2, activation=act, shortcut="pad", final_norm=True, input_shape=(3, 8, 8)
    ),
    "before": lambda act: models.resnet(
        8, 3, width=3, before=models.activation_layer(act), input_shape=(1, 8, 8)
    ),
}


def problem(name, act="hardtanh", quantizer=None, examples=6):
    """(calibrated objective, theta, batch) in float64, every parameter moved off its start."""
    gen = generator(5)
    net = CONVNETS[name](act)
    theta = net.init(0, like=np.empty(0)) + 0.1 * gen.normal(size=net.d)
    x = gen.normal(size=(examples, *net.input_shape))
    objective = Objective(net, quantizer or quantizers.FullPrecision()).calibrate(theta)
    return objective, theta, Batch(x, gen.integers(0, 3, examples))


@pytest.mark.parametrize("name", CONVNETS)
def test_gradient_of_the_whole_network(name):
    """One random projection, float64, 1e-6; 1 % too much must fail."""
    objective, theta, batch = problem(name)
    value, grad, _ = objective.ste_gradient(theta, batch)
    assert value == objective.evaluate(theta, batch)
    e, h = generator(6).normal(size=theta.shape), 1e-7
    above, below = (objective.evaluate(theta + s * h * e, batch) for s in (1, -1))
    numeric = (above - below) / (2 * h)
    assert abs(grad @ e - numeric) < 1e-6 * abs(numeric)
    assert not abs(1.01 * grad @ e - numeric) < 1e-6 * abs(numeric)


@pytest.mark.parametrize("name", CONVNETS)
def test_population_axis_equals_the_loop(name):
    """Losses, gradients and statistics of a stack of thetas are those one by one."""
    objective, theta, batch = problem(name, "sign", quantizers.Sign("hardtanh"))
    stack = theta + 0.05 * generator(7).normal(size=(3, theta.size))
    losses, found = objective.evaluate(stack, batch), objective.ste_gradient(stack, batch)
    for i in range(3):
        one = objective.ste_gradient(stack[i], batch)
        np.testing.assert_allclose(losses[i], one.loss, rtol=1e-10)
        np.testing.assert_allclose(found.gradient[i], one.gradient, rtol=1e-8, atol=1e-11)
        for key, value in one.statistics.items():
            np.testing.assert_allclose(found.statistics[key][i], value, rtol=1e-10)


@pytest.mark.parametrize(
    "estimator", [STE(), SPSA(n=3), FOGZO(n=2, beta_schedule="constant")], ids=lambda e: e.label
)
@pytest.mark.parametrize("name", CONVNETS)
def test_estimators_on_binary_networks(name, estimator):
    """Binary weights and activations: finite, and the same bits with any number of threads."""
    objective, theta, batch = problem(name, "sign", quantizers.Sign("hardtanh"))
    state = estimator.init(objective, theta)
    found = []
    for workers in (1, 3):
        with threads(workers) as pool:
            estimate, _ = estimator.estimate(objective, theta, batch, state, Step(0, 0, 1, pool))
        found.append(estimate.grad)
    assert np.isfinite(found[0]).all() and np.any(found[0] != 0.0)
    np.testing.assert_array_equal(*found)


def test_activations_may_be_layers():
    act = QuantizedActivation(quantizers.MidTread("hardtanh", 3), 0.5)
    assert models.lenet(activation=act).layers["act1"] is act
    assert models.mlp(4, 3, 2, activation=act).layers["act1"] is act

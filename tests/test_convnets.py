"""Convolution and pooling against direct loops; blocks and threads; the convolutional models."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator

from minizo import (
    InputError,
    models,
)
from minizo.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    LayerNorm,
    MaxPool2d,
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
def test_pooling_is_its_equation(size, stride):
    """Squares one by one; the first of equal numbers in reading order takes the gradient."""
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


@pytest.mark.parametrize("size, stride, padding", [(3, 2, 1), (2, 2, 1), (5, 3, 2), (4, 1, 2)])
def test_padded_pooling_is_its_equation(size, stride, padding):
    """Squares of an image with -infinity around it; all pixels below 0, with many ties."""
    gen = generator(size, stride, padding)
    x = gen.integers(-5, -2, size=(4, 3, 7, 6)).astype(float)
    layer, p = MaxPool2d(size, stride, padding), padding
    y, cache = layer.forward({}, x)
    wide = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)], constant_values=-np.inf)
    dy = gen.normal(size=y.shape)
    dx = np.zeros_like(wide)
    for n, c, h, w in np.ndindex(*y.shape):
        square = np.s_[n, c, h * stride : h * stride + size, w * stride : w * stride + size]
        assert y[n, c, h, w] == wide[square].max()
        first = np.unravel_index(np.argmax(wide[square]), (size, size))
        dx[square][first] += dy[n, c, h, w]
    back = layer.backward({}, cache, dy)[0]
    np.testing.assert_allclose(back, dx[:, :, p:-p, p:-p], rtol=1e-13, atol=1e-13)
    assert y.shape[1:] == layer.output_shape(x.shape[1:])
    assert MaxPool2d(3, 2, 1).forward({}, -np.ones((1, 1, 4, 4), np.int8))[0].dtype == np.int8


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


def test_deep_residual_networks():
    """Parameters and multiply-accumulates at 224 pixels, as published; every stage halves."""
    published = {models.resnet18: (11_689_512, 1.814e9), models.resnet50: (25_557_032, 4.089e9)}
    for build, (parameters, macs) in published.items():
        network = build(1000, stem="imagenet")
        assert network.d == parameters and abs(network.macs / macs - 1.0) < 1e-3
        sides = [shape[1] for shape in network.shapes_between if len(shape) == 3]
        assert sorted(set(sides)) == [7, 14, 28, 56, 112, 224]
        small = build(10, before="sign", width=4)
        assert small.layers["conv1"].kernel == (3, 3) and "pool1" not in small.layers
        assert {"before1", "before2"} < set(small.layers["block1"].body)


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
        (lambda: MaxPool2d(3, 2, 2), "MaxPool2d.padding is 2, but it must be at most half of size"),
        (lambda: MaxPool2d(3, 2, 1).output_shape((3, 0, 4)), "of at least 1 x 1 pixels"),
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
        (lambda: models.resnet18(stem="large"), "stem is 'large', but choose from"),
        (lambda: models.resnet50(width=0), "width is 0"),
    ],
)
def test_bad_layers_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

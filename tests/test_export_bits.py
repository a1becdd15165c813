"""Packed weights, integer products and folded thresholds against plain arithmetic."""

import numpy as np
import pytest
from exported import pictures, small_lenet, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator, latents, quantizers

from minizo import InputError, export, models
from minizo.export import xnor
from minizo.export.fold import Flow, fold, whole_thresholds
from minizo.export.pack import codes, layout, pack, unpack
from minizo.export.steps import Product, Thresholds
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    QuantizedActivation,
)
from minizo.network import Network
from minizo.quantizers import (
    DoReFa,
    MidRise,
    MidTread,
    MultiBit,
    Sign,
    Ternary,
)

# Bits -------------------------------------------------------------------------------------------


@given(st.integers(1, 32), st.data())
def test_packed_numbers_come_back(bits, data):
    numbers = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = pack(np.array(numbers, dtype=np.int64), bits)
    assert packed.dtype == np.uint8 and packed.size == -(-len(numbers) * bits // 8)
    assert unpack(packed, bits, len(numbers)).tolist() == numbers
    # bit j of number i is bit (i b + j) of the stream, and zeros follow
    stream = sum(number << (i * bits) for i, number in enumerate(numbers))
    assert int.from_bytes(packed.tobytes(), "little") == stream


def test_a_number_that_does_not_fit_is_refused():
    for number in (4, -1):
        with pytest.raises(InputError, match="2 bits hold 0 to 3"):
            pack(np.array([number]), 2)
    with pytest.raises(InputError, match="bits is 33"):
        pack(np.array([0]), 33)


@given(latents(smallest=2.0**-10), quantizers())
def test_quantised_weights_are_whole_numbers(w, quantizer):
    """Exactly: s k, rounded to the weight's dtype, is the weight, in as few bits as promised."""
    alpha = quantizer.scale(w)
    if not alpha[0] > 0.0:
        return
    q = quantizer.quantize(w, alpha)
    found = codes(q)
    assert found.levels is None
    np.testing.assert_array_equal((found.step * found.k.astype(np.float64)).astype(q.dtype), q)
    assert found.bits == layout(found.k)[0] <= getattr(quantizer, "bits", 1)


def test_levels_without_a_step_are_kept_in_a_table():
    """Ternary weights of two sizes, and sums of two scales: 2 bits each, and exact."""
    w = generator(3).normal(size=(20, 30)).astype(np.float32)
    for quantizer in (Ternary(), MultiBit(bits=2)):
        q = quantizer.quantize(w.reshape(-1)).reshape(w.shape)
        found = codes(q)
        assert found.bits == 2
        np.testing.assert_array_equal(found.levels[found.k], q)


def test_levels_with_a_common_factor_stay_exact():
    """18 a and 21 a rounded: no number is exactly 3 a, so the step is a."""
    w = np.array([1.0, 1.09782e5, 1.30696e5, 1.30860e5])
    q = MidTread(bits=7).quantize(w, MidTread(bits=7).scale(w))
    found = codes(q)
    assert found.k.tolist() == [0, 18, 21, 21] and layout(found.k)[2] == 3
    np.testing.assert_array_equal(found.step * found.k, q)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scale_for_every_filter(dtype):
    """As in XNOR-Net: 1 bit a weight and one step a filter, exact."""
    w = generator(9).normal(size=(300, 2, 3, 3)).astype(dtype)
    scale = np.mean(np.abs(w), axis=(1, 2, 3), keepdims=True)
    q = np.where(w >= 0, scale, -scale)
    found = codes(q)
    assert found.levels is None and found.bits == 1 and found.step.dtype == dtype
    np.testing.assert_array_equal(found.step, scale.reshape(-1))
    np.testing.assert_array_equal(found.k, np.where(w >= 0, 1, -1))


@pytest.mark.parametrize("activation", ["relu", "sign"])
@pytest.mark.parametrize("build", ["mlp", "lenet"])
def test_networks_with_a_scale_for_every_filter(build, activation, tmp_path):
    if build == "mlp":
        network = models.mlp(64, 20, 15, 4, activation=activation, input_shape=(1, 8, 8))
    else:
        network = small_lenet(activation)
    run, images = trained(network, Sign()), pictures(200, (1, 8, 8))
    for name in run.quantized:
        shape = (-1, *(1,) * (run.weights[name].ndim - 1))
        factors = 2.0 ** (np.arange(len(run.weights[name])) % 3)  # as IR-Net's, or any
        factors *= 1.0 if name == "fc1.weight" else np.linspace(1, 1.3, factors.size)
        run.weights[name][...] *= factors.reshape(shape).astype(np.float32)
    export.save(tmp_path / "net.npz", run)
    net = export.load(tmp_path / "net.npz")
    assert net.bits == 1 and (net.thresholds[0] > 0) == (activation == "sign")
    np.testing.assert_array_equal(net.weights[name], run.weights[name])
    theirs = run.outputs(images[1])
    np.testing.assert_allclose(net.outputs(images[0]), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_dorefa_is_whole_numbers_up_to_its_own_rounding(bits):
    w = generator(bits).normal(size=(40, 30)).astype(np.float32)
    q = DoReFa(bits=bits).quantize(w, 1.0)
    found = codes(q)
    assert found.levels is None and found.bits == bits
    np.testing.assert_allclose(found.step * found.k, q, atol=4 * np.finfo(np.float32).eps)


def test_real_and_zero_weights():
    w = generator(4).normal(size=(30, 30)).astype(np.float32)
    assert codes(w) is None
    assert codes(np.zeros((2, 3), np.float32)).k.tolist() == [[0, 0, 0], [0, 0, 0]]


# Products ---------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_xnor_is_the_matrix_product(m, outputs, seed):
    random = generator(seed)
    x, w = (random.choice([-1, 1], (n, m)).astype(np.int8) for n in (5, outputs))
    y = xnor.XnorLinear(w, np.dtype(np.int16))(x)
    np.testing.assert_array_equal(y, x.astype(int) @ w.T.astype(int))


def plain_convolution(x, w, stride, padding):
    """Whole numbers, from the definition."""
    (top, left), (kh, kw) = padding, w.shape[2:]
    x = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (top, top), (left, left)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    return np.einsum("nchwij,fcij->nfhw", windows, w.astype(np.int64))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([1, 3, 8, 16, 17, 40, 65]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.integers(0, 2**32 - 1),
)
def test_xnor_is_the_convolution(channels, kernel, stride, padding, seed):
    """With zeros around the image, which no bit can stand for."""
    random = generator(seed)
    x = random.choice([-1, 1], (2, channels, 4, 5)).astype(np.int8)
    w = random.choice([-1, 1], (6, channels, *kernel)).astype(np.int8)
    layer = Conv2d(channels, 6, kernel, stride, padding)
    y = xnor.product(layer, w, np.dtype(np.int16))(x)
    np.testing.assert_array_equal(y, plain_convolution(x, w, stride, padding))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integer_products_are_exact(bits):
    """Bytes times b-bit weights equal 64-bit integer arithmetic, in float32 and beyond 2^24."""
    random = generator(bits)
    for m in (50, 3000):
        k = random.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (7, m)).astype(np.int16)
        x = random.integers(0, 256, (9, m), dtype=np.uint8)
        bound = 255 * int(np.abs(k.astype(int)).sum(axis=1).max())
        y = Product("fc", k, bound=bound)(x)
        assert y.dtype.kind == "i"
        np.testing.assert_array_equal(y, x.astype(int) @ k.T.astype(int))
    assert bits < 8 or bound > 2**24


# Thresholds -------------------------------------------------------------------------------------


def normalised(dtype, seed, images, step):
    """Batch norm of 12 channels: falling, constant, tied with whole numbers, rare."""
    random = generator(seed)
    scale, shift, mean = random.normal(size=(3, 12))
    mean *= 20 * step
    var = np.exp(random.normal(size=12))
    scale[0], shift[0] = 0.0, 0.0  # sign(0) for every q
    scale[1], shift[1] = 0.0, -1.0
    mean[2:5], shift[2:5] = step * np.array([-7, 0, 13]), 0.0  # exact zeros at a whole number
    scale[3] = -abs(scale[3])
    mean[5] = 1e6  # never reached
    layer = (BatchNorm2d if images else BatchNorm1d)(12)
    own = {"scale": scale, "shift": shift, "mean": mean, "var": var}
    return layer, {name: value.astype(dtype) for name, value in own.items()}


@pytest.mark.parametrize("quantizer", [Sign(), MidRise(bits=2), MidTread(bits=3)])
@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thresholds_are_batch_norm_and_sign(quantizer, images, dtype):
    """For every whole number that can come, in every channel, the level that training gives."""
    bound, step, act = 200, 0.0625, QuantizedActivation(quantizer, 0.5)
    layer, own = normalised(dtype, 7, images, step)
    size = 2 * bound + 1
    q = np.broadcast_to(np.arange(-bound, bound + 1)[:, None], (size, 12))
    flow = Flow((12, 1, 1) if images else (12,), bound, step=step, waiting=((layer, own),))
    x = flow.values(1.0 * q, np.dtype(dtype))
    direct = (q * step).astype(dtype)
    direct = layer.forward(own, direct[:, :, None, None] if images else direct)[0]
    np.testing.assert_array_equal(x, direct.reshape(size, 12))
    levels = np.unique(act.forward({}, np.linspace(-9, 9, 1001).astype(dtype))[0])
    wanted = np.searchsorted(levels, act.forward({}, x)[0])
    t, falling, _ = whole_thresholds(
        lambda q: np.searchsorted(levels, act.forward({}, flow.values(q, np.dtype(dtype)))[0]),
        levels.size - 1, 12, bound, 0.0,
    )  # fmt: skip
    found = Thresholds(t, falling, 0, 1)(q.astype(np.int16))
    np.testing.assert_array_equal(found, wanted)
    assert falling[3] == 1 and 0 < falling.sum() < 12
    if quantizer == Sign():
        assert found[bound - 7, 2] == 1 and np.all(found[:, 0] == 1)  # sign(0) = 1
        # a threshold that is one off decides otherwise
        wrong = Thresholds(t + 1, falling, 0, 1)(q.astype(np.int16))
        assert np.sum(wrong != wanted) >= 8


def test_thresholds_of_images_are_those_of_vectors():
    t, falling = np.array([[3, -2, 0], [5, -1, 9]]), np.array([0, 1, 0])
    step = Thresholds(t, falling, -3, 2)
    q = generator(1).integers(-10, 10, (4, 3, 5, 2)).astype(np.int16)
    before = q.copy()
    y = step(q)
    flat = step(np.moveaxis(q, 1, -1).reshape(-1, 3))
    np.testing.assert_array_equal(np.moveaxis(y, 1, -1).reshape(-1, 3), flat)
    np.testing.assert_array_equal(q, before)


def test_a_tie_is_counted_as_close():
    """A threshold on a whole number may be decided by rounding; one between two may not."""
    network = Network(
        {"f": Flatten(), "fc": Linear(4, 1, bias=False), "bn": BatchNorm1d(1),
         "act": QuantizedActivation(Sign())},
        (1, 2, 2),
    )  # fmt: skip
    own = {"bn.scale": 1.0, "bn.shift": 0.0, "bn.var": 1.0}
    own = {name: np.array([value], np.float32) for name, value in own.items()}
    own["fc.weight"] = np.array([[1, -1, 1, 1]], np.float32)
    for mean, close in ((7.0 / 255, 1), (7.5 / 255, 0)):
        params = own | {"bn.mean": np.array([mean], np.float32)}
        assert fold(network, params, ["fc.weight"]).thresholds == (1, close)

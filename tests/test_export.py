"""Exports: bits, whole numbers, thresholds, the file, the command, against the trained network."""

import hashlib
import io
import json
import zipfile
from functools import partial

import numpy as np
import pytest
from conftest import write_corners
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator, latents, quantizers

import minizo
from minizo import STE, InputError, Objective, export, fit, mnist, models, optim
from minizo.export import __main__ as exporting
from minizo.export import xnor
from minizo.export.file import digest
from minizo.export.fold import Flow, fold, whole_thresholds
from minizo.export.pack import codes, layout, pack, unpack
from minizo.export.steps import Product, Thresholds
from minizo.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    QuantizedActivation,
    ReLU,
)
from minizo.network import Network
from minizo.quantizers import (
    BNN,
    LSQ,
    QUANTIZERS,
    DoReFa,
    DoReFaActivation,
    MidRise,
    MidTread,
    MultiBit,
    Sign,
    Ternary,
    Xnor,
)


def trained(network, quantizer, dtype=np.float32, seed=0):
    """A network with random weights and running statistics, as if it had been trained."""
    random = generator(seed)
    objective = Objective(network, quantizer)
    network = objective.network  # with what the quantiser learns
    theta = network.init(seed, like=np.empty(0, dtype))
    objective = objective.calibrate(theta).at(1.0)
    theta = theta + 0.1 * random.normal(size=theta.shape).astype(dtype)
    state = {}
    for name, value in network.init_state(theta).items():
        noise = random.normal(size=value.shape).astype(dtype)
        state[name] = noise if name.endswith("mean") else np.exp(noise)
    named = network.views(theta)
    for name in named:
        if name.endswith(".scale"):  # rising and falling channels
            named[name][...] = random.normal(size=named[name].shape)
    return export.Trained.of(minizo.Run(objective, theta, {}, state=state))


def pictures(n, shape, seed=1, dtype=np.float32):
    """(bytes, the same as images in [0, 1])."""
    images = generator(seed).integers(0, 256, (n, *shape), dtype=np.uint8)
    return images, np.divide(images, 255, dtype=dtype)


def small_lenet(activation):
    return models.lenet((3, 5), 4, activation, (1, 8, 8))


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
    k, step, levels = codes(q)
    assert levels is None
    np.testing.assert_array_equal((step * k.astype(np.float64)).astype(q.dtype), q)
    assert layout(k)[0] <= getattr(quantizer, "bits", 1)


def test_levels_without_a_step_are_kept_in_a_table():
    """Ternary weights of two sizes, and sums of two scales: 2 bits each, and exact."""
    w = generator(3).normal(size=(20, 30)).astype(np.float32)
    for quantizer in (Ternary(), MultiBit(bits=2)):
        q = quantizer.quantize(w.reshape(-1)).reshape(w.shape)
        k, _, levels = codes(q)
        assert layout(k)[0] == 2
        np.testing.assert_array_equal(levels[k], q)


def test_levels_with_a_common_factor_stay_exact():
    """18 a and 21 a rounded: no number is exactly 3 a, so the step is a."""
    w = np.array([1.0, 1.09782e5, 1.30696e5, 1.30860e5])
    q = MidTread(bits=7).quantize(w, MidTread(bits=7).scale(w))
    k, step, _ = codes(q)
    assert k.tolist() == [0, 18, 21, 21] and layout(k)[2] == 3
    np.testing.assert_array_equal(step * k, q)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scale_for_every_filter(dtype):
    """As in XNOR-Net: 1 bit a weight and one step a filter, exact."""
    w = generator(9).normal(size=(300, 2, 3, 3)).astype(dtype)
    scale = np.mean(np.abs(w), axis=(1, 2, 3), keepdims=True)
    q = np.where(w >= 0, scale, -scale)
    k, step, levels = codes(q)
    assert levels is None and layout(k)[0] == 1 and step.dtype == dtype
    np.testing.assert_array_equal(step, scale.reshape(-1))
    np.testing.assert_array_equal(k, np.where(w >= 0, 1, -1))


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
    k, step, levels = codes(q)
    assert levels is None and layout(k)[0] == bits
    np.testing.assert_allclose(step * k, q, atol=4 * np.finfo(np.float32).eps)


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


# Whole networks ---------------------------------------------------------------------------------

WEIGHTS = {name: kind() for name, kind in QUANTIZERS.items()}
WEIGHTS |= {"8 bits": MidTread(bits=8), "dorefa-3": DoReFa(bits=3)}
# QuEST's levels are those of rotated weights; stochastic weights are real in use
REAL = {"none", "quest", "stochastic"}
ACTIVATIONS = {
    "relu": "relu",
    "hardtanh": "hardtanh",
    "sign": "sign",
    "bnn": QuantizedActivation(BNN(), 0.7),
    "midtread": QuantizedActivation(MidTread("hardtanh", bits=2), 0.5),
    "midrise": QuantizedActivation(MidRise(bits=3), 0.3),
    "dorefa": QuantizedActivation(DoReFaActivation(bits=2)),
}
PAIRS = [("midrise", act) for act in ACTIVATIONS] + [
    (name, act) for name in WEIGHTS for act in ("relu", "sign")
]


@pytest.mark.parametrize("name, act", PAIRS)
@pytest.mark.parametrize("build", ["mlp", "lenet"])
def test_outputs_are_those_of_training(build, name, act, tmp_path):
    """To rounding, from images and from bytes; a hidden level that differs would show."""
    quantizer, activation = WEIGHTS[name], ACTIVATIONS[act]
    if build == "mlp":
        network = models.mlp(64, 20, 15, 4, activation=activation, input_shape=(1, 8, 8))
    else:
        network = small_lenet(activation)
    run = trained(network, quantizer)
    images, x = pictures(300, (1, 8, 8))
    net = export.save(tmp_path / "net.npz", run)
    theirs = run.outputs(x)
    np.testing.assert_allclose(net.outputs(x), theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    np.testing.assert_array_equal(net.outputs(x), net.outputs(images))
    np.testing.assert_array_equal(net.predict(images), theirs.argmax(axis=-1))
    levels = getattr(quantizer, "levels", None) or 2
    assert net.bits <= (32 if name in REAL else np.ceil(np.log2(levels)))
    for weight in run.quantized:
        slack = 1e-6 if isinstance(quantizer, DoReFa) else 0.0
        np.testing.assert_allclose(net.weights[weight], run.weights[weight], rtol=0, atol=slack)


def test_the_check_notices_one_wrong_threshold():
    """The comparison above fails where one hidden threshold is off (negative control)."""
    run = trained(small_lenet("sign"), Sign())
    images, x = pictures(300, (1, 8, 8))
    net = fold(run.network, {**run.weights, **run.running}, run.quantized)
    first = next(step for step in net.steps if isinstance(step, Thresholds))
    first.t[0, 1] += 40
    assert np.abs(net.outputs(images) - run.outputs(x)).max() > 1e-2


def test_binary_networks_use_xnor():
    run = trained(small_lenet("sign"), Sign())
    net = fold(run.network, {**run.weights, **run.running}, run.quantized)
    assert [step.binary for step in net.products.values()] == [False, True, True]
    assert net.bits == 1 and net.thresholds[0] == 3 + 5


@pytest.mark.parametrize("activation", ["relu", "sign"])
def test_real_inputs_in_float64(activation, tmp_path):
    """Inputs that were never bytes, and the other precision."""
    run = trained(small_lenet(activation), MidRise(bits=2), np.float64)
    x = generator(5).normal(size=(50, 1, 8, 8))
    net = export.save(tmp_path / "net.npz", run, pixels=False)
    assert net.outputs(x).dtype == np.float64
    np.testing.assert_allclose(net.outputs(x), run.outputs(x), rtol=1e-10, atol=1e-10)
    with pytest.raises(InputError, match="exported for real inputs"):
        net.outputs(pictures(2, (1, 8, 8))[0])


def test_quantised_ends_may_be_left_out(tmp_path):
    """Weights in full precision stay 32 bits; dropout does nothing; norms may follow pooling."""
    network = Network(
        {"conv": Conv2d(1, 4, 3, bias=True), "bn": BatchNorm2d(4), "pool": MaxPool2d(),
         "act": QuantizedActivation(Sign()), "drop": Dropout(0.5), "flatten": Flatten(),
         "fc1": Linear(36, 9), "relu": ReLU(), "fc2": Linear(9, 3)},
        (1, 8, 8),
    )  # fmt: skip
    run = trained(network, Sign())._replace(quantized=("fc1.weight",))
    images, x = pictures(80, (1, 8, 8))
    net = export.save(tmp_path / "net.npz", run)
    assert {name: step.bits for name, step in net.products.items()} == {
        "conv.weight": 32, "fc1.weight": 1, "fc2.weight": 32,
    }  # fmt: skip
    np.testing.assert_allclose(net.outputs(images), run.outputs(x), rtol=1e-4, atol=1e-4)


def test_layers_without_an_activation_between(tmp_path):
    """Bias, norm and filter scales are computed before the next product, pool or flattening."""
    network = Network(
        {"conv1": Conv2d(1, 3, 3, bias=True), "conv2": Conv2d(3, 4, 3), "bn": BatchNorm2d(4),
         "pool": MaxPool2d(), "flatten": Flatten(), "fc1": Linear(16, 6), "fc2": Linear(6, 5),
         "norm": BatchNorm1d(5), "fc3": Linear(5, 3)},
        (1, 8, 8),
    )  # fmt: skip
    images, x = pictures(60, (1, 8, 8))
    for quantizer in (Sign(), Xnor()):
        run = trained(network, quantizer)
        net = export.save(tmp_path / "net.npz", run)
        assert net.bits == 1
        theirs = run.outputs(x)
        slack = 1e-4 * np.abs(theirs).max()
        np.testing.assert_allclose(net.outputs(images), theirs, rtol=1e-4, atol=slack)


def test_order_of_arrays_does_not_matter(tmp_path):
    """Fortran or C order, views, one image at a time or many: the same bits, inputs unchanged."""
    run = trained(small_lenet("sign"), Sign())
    images, x = pictures(30, (1, 8, 8))
    net = export.save(tmp_path / "a.npz", run)
    turned = run._replace(weights={n: np.asfortranarray(w) for n, w in run.weights.items()})
    export.save(tmp_path / "b.npz", turned)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    wanted, kept = net.outputs(images), images.copy()
    order = generator(2).permutation(30)
    np.testing.assert_array_equal(net.outputs(images[order]), wanted[order])
    np.testing.assert_array_equal(net.outputs(np.asfortranarray(images)), wanted)
    np.testing.assert_array_equal(net.outputs(images[::-1])[::-1], wanted)
    np.testing.assert_array_equal(images, kept)
    many = net.outputs(np.concatenate([images] * 70))  # more than one block
    np.testing.assert_array_equal(many.reshape(70, 30, -1), np.stack([wanted] * 70))
    assert net.outputs(images[:0]).shape == (0, 4)


def test_a_run_of_fit(toy, tmp_path):
    """Latent and quantised weights are two named things; the file gives back the second."""
    net = models.mlp(12, 5, 3, activation="sign")
    run = fit(Objective(net, Sign()), toy, STE(), optim.Adam(0.01), steps=20, batch=20)
    found = export.Trained.of(run)
    assert set(found.latent) == set(found.weights) == set(net.shapes)
    np.testing.assert_array_equal(found.latent["fc1.weight"], net.views(run.theta)["fc1.weight"])
    export.save(tmp_path / "net.npz", run, pixels=False)
    again = export.load(tmp_path / "net.npz")
    np.testing.assert_array_equal(again.weights["fc1.weight"], run.weights["fc1.weight"])
    assert np.unique(np.abs(again.weights["fc1.weight"])).size == 1
    wanted = run.objective.outputs(run.theta, toy.x_test).argmax(axis=-1)
    np.testing.assert_array_equal(again.predict(toy.x_test), wanted)


@pytest.mark.parametrize("pixel", [0.5, -1 / 255, 256 / 255, np.nan, np.inf])
def test_pixels_that_are_no_bytes_are_refused(pixel):
    run = trained(models.mlp(4, 3, input_shape=(1, 2, 2)), Sign())
    net = fold(run.network, {**run.weights, **run.running}, run.quantized)
    x = np.zeros((1, 1, 2, 2), np.float32)
    x[0, 0, 1, 1] = pixel
    with pytest.raises(InputError, match="a pixel is .* multiples of 1/255"):
        net.outputs(x)
    with pytest.raises(InputError, match="x's shape is"):
        net.outputs(x[0])


def unsupported():
    return Network(
        {"pool": AvgPool2d(), "flatten": Flatten(), "fc": Linear(16, 4, bias=False)}, (1, 8, 8)
    )


def test_what_cannot_be_exported_is_named(tmp_path):
    with pytest.raises(InputError, match="layer 'pool' is a AvgPool2d, which cannot be exported"):
        export.save(tmp_path / "net.npz", trained(unsupported(), Sign()))
    act = QuantizedActivation(LSQ(bits=2))
    network = models.mlp(64, 5, 4, activation=act, input_shape=(1, 8, 8))
    with pytest.raises(InputError, match="layer 'act1' quantises with LSQ, which cannot"):
        export.save(tmp_path / "net.npz", trained(network, Sign()))
    assert not list(tmp_path.iterdir())


# The file ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """(path, exported) of a small LeNet of signs."""
    path = tmp_path_factory.mktemp("export") / "net.npz"
    return path, export.save(path, trained(small_lenet("sign"), Sign()))


def test_what_is_read_is_what_was_written(file):
    path, written = file
    again, images = export.load(path), pictures(40, (1, 8, 8))[0]
    np.testing.assert_array_equal(again.outputs(images), written.outputs(images))
    assert [type(step) for step in again.steps] == [type(step) for step in written.steps]
    assert again.thresholds == written.thresholds and again.dtype == "float32"


def test_the_file_is_what_its_description_says(file):
    """Read by the description alone: NumPy's loader, JSON, SHA-256, bits."""
    path, written = file
    with np.load(path, allow_pickle=False) as archive:
        header, data = json.loads(archive["header.json"]), archive["data"].tobytes()
    theirs = header.pop("sha256")
    text = json.dumps(header, separators=(",", ":")).encode()
    assert hashlib.sha256(text + data).hexdigest() == theirs
    step = header["steps"][1]
    assert step["op"] == "Product" and step["weight"]["packed"] == [1, -1, 2]
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: 3 * 25]
    k = (2 * bits.astype(int) - 1).reshape(step["weight"]["shape"])
    np.testing.assert_array_equal(k, written.products["conv1.weight"].weight)
    np.testing.assert_array_equal(
        (step["step"] * k).astype(np.float32), written.weights["conv1.weight"]
    )


def test_a_flipped_bit_or_a_missing_end_is_noticed(file, tmp_path):
    """Every byte: it is refused with a sentence, or (dates and the like in ZIP) nothing changed."""
    path, written = file
    good, images = path.read_bytes(), pictures(10, (1, 8, 8))[0]
    wanted, bad, refused = written.outputs(images), tmp_path / "bad.npz", set()
    for place in range(len(good)):
        bad.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        try:
            np.testing.assert_array_equal(export.load(bad).outputs(images), wanted)
        except InputError as error:
            assert str(bad) in str(error)
            refused.add(place)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            start = member.header_offset + 30 + len(member.filename)
            # the last bits behind a deflated stream mean nothing
            assert refused >= set(range(start, start + member.compress_size - 2))
    for length in range(0, len(good), 7):
        bad.write_bytes(good[:length])
        with pytest.raises(InputError, match="is damaged or not an export of minizo"):
            export.load(bad)


def rewritten(path, new, change, checksum):
    """The file with a changed header; its ZIP is sound, and its checksum may be."""
    with np.load(path) as archive:
        header, data = json.loads(archive["header.json"]), archive["data"]
    change(header)
    if checksum:
        header.pop("sha256")
        header["sha256"] = digest(header, data.tobytes())
    array = io.BytesIO()
    np.save(array, data)
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        archive.writestr("data.npy", array.getvalue())


@pytest.mark.parametrize(
    "change, checksum, sentence",
    [
        (lambda h: None, True, None),
        (lambda h: h["steps"][3].update(low=1), False, "its checksum is wrong"),
        (lambda h: h.update(version=2), True, "format version 2, but this minizo reads 1"),
        (lambda h: h.update(format="other"), True, "is not an export of minizo"),
        (lambda h: h["steps"][0].update(op="open"), True, "not a valid export of minizo"),
        (lambda h: h["steps"][3].update(extra=1), True, "not a valid export of minizo"),
        (lambda h: h["steps"].pop(), True, "data are left over"),
        (lambda h: h["steps"][1]["weight"].update(shape=[10**6]), True, "it ends too early"),
        (lambda h: h["steps"][1]["weight"].update(shape=[-1]), True, "not a valid export"),
        (lambda h: h.update(dtype="object"), True, "not a valid export of minizo"),
        (lambda h: h.pop("steps"), True, "not a valid export of minizo"),
    ],
)
def test_a_sound_archive_with_other_contents_is_refused(file, tmp_path, change, checksum, sentence):
    new = tmp_path / "new.npz"
    rewritten(file[0], new, change, checksum)
    if sentence is None:
        export.load(new)
    else:
        with pytest.raises(InputError, match=sentence):
            export.load(new)


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", fc1=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", **{"header.json": np.zeros(2), "data": np.array([{}])})
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello")
    for path in tmp_path.iterdir():
        with pytest.raises(InputError, match="is damaged or not an export of minizo"):
            export.load(path)
    with pytest.raises(InputError, match="damaged or not an export"):
        export.load(tmp_path)
    with pytest.raises(InputError, match="there is no export"):
        export.load(tmp_path / "nothing.npz")


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        export.save(tmp_path / "no" / "net.npz", trained(small_lenet("relu"), Sign()))


# The command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of ``minizo.mnist`` on a small data set: 8x8 images, brighter where the label says."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "corners").mkdir()
    write_corners(folder / "corners", 8)
    argv = ["--data", str(folder / "corners"), "--estimator", "ste", "--estimator", "fogzo", "--n",
            "1", "--steps", "20", "--batch", "30", "--quiet", "--out", str(folder / "run"),
            "--quantizer", "sign", "--activation", "sign"]  # fmt: skip
    assert mnist.main(argv) == 0
    return folder / "run"


@pytest.fixture
def call(command):
    """call(*arguments) -> (exit code, stdout, stderr)."""
    return partial(command, exporting.main)


def test_the_command(run_folder, call):
    """A file and a line for each network, predictions compared on every test image."""
    code, out, err = call(run_folder)
    assert code == 0 and err == ""
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "network" and "ms whole" in lines[0]
    assert [line.split()[0] for line in lines[2:4]] == ["fogzo-n1-seed0", "ste-seed0"]
    assert all("100 of 100" in line for line in lines[2:4])
    assert "ste-seed0: 10 thresholds of whole numbers" in out
    for name in ("fogzo-n1-seed0", "ste-seed0"):
        assert export.load(run_folder / "export" / f"{name}.npz").bits == 1


def test_both_sets_of_weights_of_a_run_folder(run_folder):
    """Latent and quantised, by name, as the run wrote them."""
    network = models.mlp(64, 10, 10, activation="sign", input_shape=(1, 8, 8))
    found = export.read_run(run_folder, network)["ste-seed0"]
    latent, weights = found.latent["fc1.weight"], found.weights["fc1.weight"]
    assert np.unique(latent).size > 100 and np.unique(weights).size == 2
    np.testing.assert_array_equal(weights, np.abs(weights[0, 0]) * np.where(latent >= 0, 1, -1))
    np.testing.assert_array_equal(found.latent["fc2.bias"], found.weights["fc2.bias"])


def test_the_command_in_json(run_folder, call, tmp_path):
    code, out, err = call(run_folder, "--json", "--out", tmp_path / "here")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and err == "" and len(rows) == 2
    for row in rows:
        assert row["images"] == row["equal"] == 100 and row["data"] == "corners"
        assert row["bytes"] == (tmp_path / "here" / f"{row['network']}.npz").stat().st_size
        assert row["float_bytes"] > row["bytes"] and row["bits"] == 1
        assert 0 < row["float_ms"] and 0 < row["whole_ms"]
        assert row["largest_difference"] < 1e-4


def test_a_difference_is_exit_code_1(run_folder, call, tmp_path, monkeypatch):
    """The comparison can fail: here the weights in the file are others (negative control)."""
    load = exporting.load

    def wrong(path):
        net = load(path)
        net.steps[-1].b[...] = -net.steps[-1].b + np.arange(net.steps[-1].b.size)
        return net

    monkeypatch.setattr(exporting, "load", wrong)
    code, out, _ = call(run_folder, "--out", tmp_path / "here")
    assert code == 1 and "100 of 100" not in out


def copied(run_folder, tmp_path):
    new = tmp_path / "run"
    new.mkdir()
    for path in run_folder.iterdir():
        if path.is_file():
            (new / path.name).write_bytes(path.read_bytes())
    return new


def test_bad_input_is_one_sentence_and_exit_code_2(run_folder, call, tmp_path):
    def refused(sentence, *argv):
        code, out, err = call(*argv)
        assert code == 2 and out == "" and sentence in err and err.count("\n") == 1, err

    refused("there is no folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused("is not a run folder", tmp_path / "empty")
    (tmp_path / "file").write_text("")
    refused("--out", run_folder, "--out", tmp_path / "file")
    refused("is a run folder", run_folder, "--out", run_folder)
    new = copied(run_folder, tmp_path)
    checkpoint = new / "ste-seed0.npz"
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(good[:-100])
    refused("is damaged", new)
    checkpoint.write_bytes(good)
    text = (new / "settings.json").read_text()
    (new / "settings.json").write_text(text.replace(": [\n        10\n", ": [\n        11\n"))
    refused("holds another network", new)
    for bad in (text.replace('"command"', "command"), "[]"):
        (new / "settings.json").write_text(bad)
        refused("settings.json", new)
    (new / "settings.json").write_text(text)
    (new / "results.json").unlink()
    refused("is not finished", new)
    assert call()[0] == 2  # argparse: no run


def test_networks_that_came_to_no_end(run_folder, call, tmp_path):
    """A diverged run leaves a checkpoint from before: the others are exported."""
    new = copied(run_folder, tmp_path)
    header, arrays = minizo.checkpoint.load(new / "ste-seed0.npz")
    header["records"]["step"][-1] = 19
    header.pop("format")
    minizo.checkpoint.save(new / "ste-seed0.npz", header, arrays)
    code, out, err = call(new)
    assert code == 0 and "ste-seed0" not in out and "fogzo-n1-seed0" in out
    assert "ste-seed0.npz did not come to its end" in err
    (new / "fogzo-n1-seed0.npz").unlink()
    code, _, err = call(new)
    assert code == 2 and "came to its end" in err


def test_convolutional_networks(run_folder, call, tmp_path):
    """LeNet from its run folder; a residual network is refused by name, and no file is left."""

    def train(model):
        argv = ["--data", run_folder.parent / "corners", "--model", model, "--estimator", "ste",
                "--quantizer", "xnor", "--activation", "sign", "--steps", "4", "--batch",
                "30", "--quiet", "--out", tmp_path / model]  # fmt: skip
        assert mnist.main([str(word) for word in argv]) == 0

    train("lenet")
    code, out, err = call(tmp_path / "lenet")
    assert code == 0 and err == "" and "100 of 100" in out
    assert "ste-seed0: 48 thresholds of whole numbers" in out
    train("small-resnet")
    code, out, err = call(tmp_path / "small-resnet")
    assert code == 2 and "layer 'block1' is a Residual, which cannot be exported" in err
    assert err.count("\n") == 1 and not list((tmp_path / "small-resnet" / "export").iterdir())


# Real digits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "sign"])
def test_a_binary_lenet_is_a_25th(activation, tmp_path):
    """Of the float32 file of the same numbers, everything included."""
    run = trained(models.lenet(activation=activation), Sign())
    export.save(tmp_path / "net.npz", run)
    size = (tmp_path / "net.npz").stat().st_size
    assert 25 * size <= exporting.float_bytes(run) and size > run.numbers / 8


@pytest.mark.parametrize(
    "quantizer, activation",
    [(MidRise(bits=2), "relu"), (Sign(), "sign"), (MidTread(bits=2), "sign"), (Ternary(), "relu")],
    ids=["2-bit", "binary", "2-bit-sign", "ternary"],
)
def test_mlp_on_all_of_mnist(mnist, quantizer, activation, tmp_path):
    """Predictions equal those of training on all 10,000 test images, logits to rounding."""
    network = models.mlp(784, 10, 10, activation=activation)
    data = mnist.head(10000, 1000)
    run = fit(Objective(network, quantizer), data, STE(), optim.Adam(0.01), steps=150,
              record_every=150)  # fmt: skip
    row = exporting.compare("mlp", export.Trained.of(run), mnist, tmp_path)
    assert row["equal"] == row["images"] == 10000
    assert row["largest_difference"] < 1e-5 * row["largest_output"]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "sign"])
def test_lenet_on_all_of_mnist(mnist, activation, tmp_path):
    """The same for a binary LeNet, in at most 1/25 of the float32 file."""
    network = models.lenet(activation=activation)
    run = fit(Objective(network, Sign("hardtanh")), mnist.head(5000, 500), STE(), optim.Adam(0.01),
              steps=60, batch=50, record_every=60)  # fmt: skip
    assert run.final("test_accuracy") > 0.7
    row = exporting.compare("lenet", export.Trained.of(run), mnist, tmp_path)
    assert row["equal"] == row["images"] == 10000 and row["ratio"] >= 25
    assert row["largest_difference"] < 1e-5 * row["largest_output"]

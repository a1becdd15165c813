"""Whole exported networks: outputs are those of training, to the class."""

import numpy as np
import pytest
from exported import pictures, small_lenet, trained
from strategies import generator

from minizo import STE, InputError, Objective, export, fit, models, optim
from minizo.export import __main__ as exporting
from minizo.export.fold import fold
from minizo.export.steps import Thresholds
from minizo.layers import (
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
    QUANTIZERS,
    DoReFa,
    DoReFaActivation,
    MidRise,
    MidTread,
    Sign,
    Ternary,
    Xnor,
)

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
def test_lenet_on_mnist(mnist, activation, tmp_path):
    """The same for a binary LeNet and 2,000 images, in at most 1/25 of the float32 file."""
    network, data = models.lenet(activation=activation), mnist.head(5000, 2000)
    run = fit(Objective(network, Sign("hardtanh")), data, STE(), optim.Adam(0.01),
              steps=60, batch=50, record_every=60, loss_examples=500)  # fmt: skip
    assert run.final("test_accuracy") > 0.7
    row = exporting.compare("lenet", export.Trained.of(run), data, tmp_path)
    assert row["equal"] == row["images"] == 2000 and row["ratio"] >= 25
    assert row["largest_difference"] < 1e-5 * row["largest_output"]

"""Running statistics before the first step: of the quantised weights, from the first batch."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs, write_corners
from strategies import error_of

from minizo import (
    FSG,
    SPSA,
    STE,
    BinaryConnect,
    Objective,
    ProxQuant,
    cifar,
    fit,
    fit_many,
    models,
    optim,
    quantizers,
    rng,
)
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    Residual,
)
from minizo.network import Network
from minizo.objective import Batch
from minizo.records import evaluate

EQUAL_STEPS = ("mirror", "parq")  # rules whose quantiser needs levels at equal distances
DEPTHS = [20, 32, 44, 56, 110]
BATCH = 40


@pytest.fixture(scope="module")
def images():
    """200 training and 40 test images of 3 x 8 x 8 in 3 classes."""
    parts = [(x.reshape(-1, 3, 8, 8), y) for x, y in (blobs(200, 3, 192, 1), blobs(40, 3, 192, 2))]
    return Dataset("coloured blobs", *parts[0], *parts[1], classes=3)


def deep(depth, quantizer=None):
    """A narrow ResNet whose inner weights are DoReFa's of 1 bit."""
    network = models.resnet(depth, 3, width=4, input_shape=(3, 8, 8))
    names = models.weights(network, ends=False)
    return Objective(network, quantizer or quantizers.DoReFa(bits=1), quantized=names)


def train(objective, data, estimator=None, **options):
    options = {"steps": 20, "batch": BATCH, "record_every": 10, **options}
    return fit(objective, data, estimator or STE(), optim.Adam(0.003), **options)


def recorded_and_training(run, data, start):
    """(training loss of the first record, F at the start: batch normalisation by the batch)."""
    objective = replace(run.objective, quantizer=run.objective.quantizer.at(0.0))
    loss = objective.evaluate(start, Batch(data.x_train, data.y_train))
    return run.records["train_loss"][0], float(loss)


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_binary_resnets_start(images, depth):
    """From scratch and from full precision, the first record is near the loss in training mode."""
    objective = deep(depth)
    network = objective.network
    scratch = train(objective, images)
    real = train(deep(depth, quantizers.FullPrecision()), images)
    warm = train(objective, images, start=real.theta)
    for run, start in ((scratch, network.init(0)), (warm, real.theta)):
        recorded, training = recorded_and_training(run, images, start)
        assert 0.5 < recorded / training < 2.0
        assert run.records["step"] == [0, 10, 20]
        assert run.final("train_loss") < recorded
    # negative control: statistics of mean 0 and variance 1, and those of the real weights
    for state in (network.init_state(real.theta), real.state):
        with np.errstate(all="ignore"):
            loss, _ = evaluate(warm.objective, real.theta, images.x_train, images.y_train, state)
        assert not loss < 2.0 * recorded_and_training(warm, images, real.theta)[1]


@pytest.mark.parametrize("name", sorted(name for name in ESTIMATORS if name not in EQUAL_STEPS))
def test_records_have_statistics_of_the_quantised_weights(images, name):
    """Whatever weights a rule sees: with those of the real weights the loss is above 20."""
    kind, small = ESTIMATORS[name], {}
    if issubclass(kind, SPSA):
        small = {"eps": 0.01}
    elif issubclass(kind, FSG):
        small = {"expand": 2, "states": 2, "length": 2}
    run = train(deep(32), images, kind(**small), steps=8, record_every=4)
    assert max(run.records["train_loss"]) < 10.0


@pytest.mark.parametrize("name", sorted(EQUAL_STEPS))
def test_the_same_of_rules_that_need_equal_steps(images, name):
    run = train(deep(32, quantizers.Sign()), images, ESTIMATORS[name](), steps=8, record_every=4)
    losses = run.records["train_loss"]
    assert max(losses[1:]) < 3.0 * losses[0]


def test_a_rule_that_sees_real_weights_pays_a_forward(images):
    """ProxQuant: one more a step while the weights it sees are not Q(theta), none once frozen."""
    run = train(deep(20), images, ProxQuant(freeze=0.5), steps=8, record_every=4)
    assert run.records["forwards"] == [0, 8, 12]
    assert train(deep(20), images, BinaryConnect(), steps=4).final("forwards") == 4


# One normalised network ------------------------------------------------------------------------


def normalised(act=None):
    """64-6-3 with batch normalisation and 2-bit weights."""
    layers = {
        "flatten": Flatten(),
        "fc1": Linear(192, 6),
        "bn1": BatchNorm1d(6),
        "drop": Dropout(0.2),
        "fc2": Linear(6, 3),
    }
    return Objective(Network(layers, (3, 8, 8)), quantizers.MidRise(bits=2))


@pytest.mark.parametrize("rate", [0.003, 0.01])
def test_rows_start_with_the_statistics_of_their_own_batch(images, rate):
    pairs = [(optim.Adam(rate), seed) for seed in (3, 5)]
    options = {"steps": 6, "batch": 20, "record_every": 2}
    many = fit_many(normalised(), images, STE(), pairs, **options)
    for (optimizer, seed), row in zip(pairs, many, strict=True):
        alone = fit(normalised(), images, STE(), optimizer, seed=seed, **options)
        np.testing.assert_allclose(
            row.records["train_loss"], alone.records["train_loss"], rtol=1e-5
        )
        for name, value in alone.state.items():
            np.testing.assert_allclose(row.state[name], value, rtol=1e-4, atol=1e-6)


def test_statistics_are_not_counted_and_depend_on_nothing_but_the_recipe(images):
    first, again = (train(normalised(), images, path=None) for _ in range(2))
    assert first.records["forwards"][0] == first.records["macs"][0] == 0
    assert first.final("forwards") == 20
    assert first.records["train_loss"] == again.records["train_loss"]


def test_they_are_those_of_the_first_batch_with_the_quantised_weights(images):
    """By the equations: dropout's mask and the order of the examples are those of step 0."""
    seen = {}

    def watched(objective, state):
        if state.step == 0:
            seen.update(state.running)
        return 0.0

    objective = normalised()
    run = train(objective, images, watch={"watched": watched})
    chosen = rng.at(0, "data", 0).host().permutation(200)[:BATCH]
    w = run.objective.quantize(objective.network.init(0))
    y = images.x_train[chosen].reshape(BATCH, -1) @ w["fc1.weight"].T + w["fc1.bias"]
    np.testing.assert_allclose(seen["bn1.mean"], y.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen["bn1.var"], y.var(axis=0, ddof=1), rtol=1e-4)


def test_given_statistics_are_taken_as_they_are(images):
    first = train(normalised(), images)
    more = train(first.objective, images, start=first.theta, state=first.state)
    assert more.records["train_loss"][0] == first.final("train_loss")


def test_a_resumed_run_has_the_same_bits(images, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, loss):
        if step == 13:
            raise Stop

    options = {"path": tmp_path / "run.npz", "checkpoint_every": 4, "resume": True}
    with pytest.raises(Stop):
        train(normalised(), images, progress=stop, **options)
    resumed, whole = train(normalised(), images, **options), train(normalised(), images)
    drop = {"seconds", "evaluation_seconds"}
    assert all(resumed.records[c] == whole.records[c] for c in whole.records if c not in drop)
    np.testing.assert_array_equal(resumed.theta, whole.theta)
    for name, value in whole.state.items():
        np.testing.assert_array_equal(resumed.state[name], value)


@pytest.mark.parametrize(
    "more", [[], ["--start", "pretrain:steps=6"]], ids=["scratch", "pretrained"]
)
def test_commands_start_deep_networks(command, tmp_path, more):
    """From scratch and from full precision; grey images of 8 x 8 keep it quick."""
    (tmp_path / "corners").mkdir()
    folder = write_corners(tmp_path / "corners", 8)
    code, out, _ = command(
        cifar.main, "--model", "resnet56", "--quantizer", "dorefa", "--quantize",
        "inner", "--steps", 3, "--batch", 10, "--data", folder, "--records", 1, "--estimator",
        "ste", "--loss-examples", 50, "--quiet", "--json", "--out", "run", *more,
    )  # fmt: skip
    assert code == 0
    with open("run/records.csv") as file:
        first = [row for row in csv.DictReader(file) if row["step"] == "0"]
    assert all(float(row["train_loss"]) < 20.0 for row in first)
    assert [row["label"] for row in first] == ["pre-training", "STE"][-len(first) :]


# One value a channel ---------------------------------------------------------------------------


def one_value_networks():
    """Networks that leave batch normalisation one value a channel where the batch is 1."""
    one = {"flatten": Flatten(), "fc": Linear(192, 3), "bn": BatchNorm1d(3)}
    pixel = {"conv": Conv2d(3, 3, 8), "bn": BatchNorm2d(3), "flatten": Flatten()}
    inside = {"flatten": Flatten(), "fc": Linear(192, 3), "block": Residual({"bn": BatchNorm1d(3)})}
    return [Network(layers, (3, 8, 8)) for layers in (one, pixel, inside)]


@pytest.mark.parametrize("network", one_value_networks())
def test_one_value_a_channel_is_refused_in_training(images, network):
    objective = Objective(network, quantizers.Sign())
    assert network.least_batch == 2
    options = {"steps": 2, "batch": 1}
    for call in (
        lambda: fit(objective, images, STE(), optim.Adam(), **options),
        lambda: fit_many(objective, images, STE(), [(optim.Adam(), 0)], **options),
    ):
        message = error_of(call)
        assert "batch is 1" in message and "at least 2" in message
    theta = network.init(0)
    objective = objective.calibrate(theta)
    one = Batch(images.x_train[:1], images.y_train[:1])
    assert "number of values of a channel is 1" in error_of(objective.evaluate, theta, one)
    # in use, and with two examples, nothing is wrong with it
    state = network.init_state(theta)
    assert objective.outputs(theta, images.x_train[:1], state).shape == (1, 3)
    run = fit(objective, images, STE(), optim.Adam(), steps=2, batch=2)
    assert all(np.all(np.isfinite(value)) for value in run.state.values())


def test_images_of_several_pixels_may_come_alone(images):
    network = Network({"conv": Conv2d(3, 3, 7), "bn": BatchNorm2d(3), "flat": Flatten(),
                       "fc": Linear(12, 3)}, (3, 8, 8))  # fmt: skip
    assert network.least_batch == 1
    run = fit(Objective(network, quantizers.Sign()), images, STE(), optim.Adam(), steps=2, batch=1)
    assert np.isfinite(run.final("train_loss"))


def test_layer_norm_of_one_number_is_refused():
    """Of an example of one number, y is always the shift, in training and in use."""
    for shape in ((1,), (1, 1, 1)):
        assert "LayerNorm.shape" in error_of(LayerNorm, shape)
    assert LayerNorm((2, 1)).shapes["scale"] == (2, 1)


@pytest.mark.parametrize("quantizer", [quantizers.IRNet(), quantizers.RBNN()])
def test_filters_of_one_weight_cannot_be_standardised(quantizer):
    """z is 0 whatever the weight, and so is its gradient."""
    network = models.mlp(1, 4, 3)
    objective = Objective(network, quantizer)
    assert "standardises a filter" in error_of(objective.calibrate, objective.network.init(0))
    objective = Objective(network, quantizer, quantized=("fc2.weight",))
    assert objective.calibrate(objective.network.init(0)).scales is not None

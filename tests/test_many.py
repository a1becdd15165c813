"""Sweeps: many runs as rows of one array, each the run that `fit` makes of it."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
from conftest import blobs, pick
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import SPSA, STE, Diverged, InputError, Objective, fit, fit_many, group, quantizers
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    QuantizedActivation,
    Residual,
)
from minizo.losses import LOSSES, MeanSquaredError
from minizo.models import mlp
from minizo.network import Network
from minizo.optim import SGD, Adam, Momentum
from minizo.quantizers import QUANTIZERS, MidRise

SMALL = {"n": 3, "eps": 0.1, "units": 3, "expand": 3, "states": 2, "length": 2, "kernel": 2}
ROWWISE = [name for name, cls in ESTIMATORS.items() if cls.rowwise]

convolutional = Network(
    {
        "conv1": Conv2d(1, 2, 3, padding=1, bias=True),
        "bn1": BatchNorm2d(2),
        "act1": QuantizedActivation(quantizers.Sign("hardtanh")),
        "block": Residual({"conv": Conv2d(2, 2, 3, padding=1), "bn": BatchNorm2d(2)}),
        "pool": MaxPool2d(),
        "flatten": Flatten(),
        "drop": Dropout(0.2),
        "fc": Linear(12, 3),
        "bn2": BatchNorm1d(3),
    },
    (1, 4, 6),
)
NETWORKS = {"mlp": mlp(24, 4, 3, input_shape=(1, 4, 6)), "convolutional": convolutional}


def data_for(network, dtype=np.float64, move=np.asarray):
    x, labels = blobs(60, 3, 24, 1, dtype)
    x_test, labels_test = blobs(20, 3, 24, 2, dtype)
    x, x_test = (a.reshape(-1, *network.input_shape) for a in (x, x_test))
    return Dataset("toy", move(x), move(labels), move(x_test), move(labels_test), classes=3)


def assert_same_run(found, expected, tolerance=1e-10):
    """Assert that two runs are the same: latent weights, statistics, records, settings."""
    np.testing.assert_allclose(found.theta, expected.theta, rtol=0, atol=tolerance)
    assert found.theta.shape == expected.theta.shape and found.theta.dtype == expected.theta.dtype
    assert list(found.state) == list(expected.state)
    for name, value in expected.state.items():
        np.testing.assert_allclose(found.state[name], value, rtol=tolerance, atol=tolerance)
    assert found.settings == expected.settings
    for column, values in expected.records.items():
        if "seconds" not in column:
            np.testing.assert_allclose(found.records[column], values, rtol=tolerance)
    for name, weight in expected.weights.items():
        assert found.weights[name].shape == weight.shape


def both(estimator, network, optimizers, seeds, quantizer=None, loss="cross-entropy", **options):
    """(runs of `fit_many`, runs of `fit`)."""
    data = data_for(network)
    objective = Objective(network, quantizer or MidRise("tanh"), loss=LOSSES[loss]())
    options = {"steps": 8, "batch": 15, "record_every": 3} | options
    pairs = list(product(optimizers, seeds))
    found = fit_many(objective, data, estimator, pairs, **options)
    expected = [
        fit(objective, data, estimator, optimizer, seed=seed, **options)
        for optimizer, seed in pairs
    ]
    return found, expected


RATES = (Adam(0.01), Adam(0.03), Momentum(0.05))  # different rates, and another kind


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rows_are_the_runs_one_by_one(estimator, network):
    """Every registered estimator, three optimisers, two seeds, float64: 1e-10."""
    if network == "convolutional" and estimator not in ROWWISE:
        pytest.skip("not rowwise: trained by `fit` in any case")
    rule = pick(ESTIMATORS[estimator], SMALL)
    for pair in zip(*both(rule, NETWORKS[network], RATES, (3, 8)), strict=True):
        assert_same_run(*pair)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("estimator", ["ste", "fogzo", "proxquant"])
def test_rows_have_scales_of_their_own(estimator, quantizer):
    """Every registered quantiser: its scale, what it fits, learns or draws is a row's own."""
    rule, q = pick(ESTIMATORS[estimator], SMALL), QUANTIZERS[quantizer]()
    try:
        found, expected = both(rule, NETWORKS["mlp"], RATES[:1], range(3), q)
    except InputError as reason:  # of `fit`, too: the two do not go together
        pytest.skip(str(reason))
    for pair in zip(found, expected, strict=True):
        assert_same_run(*pair)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_in_every_loss(loss):
    for pair in zip(*both(STE(), NETWORKS["mlp"], RATES[:1], range(3), loss=loss), strict=True):
        assert_same_run(*pair)


@pytest.mark.parametrize(
    "rule",
    [
        SPSA(n=70, law="gaussian", eps=0.1, perturb="quantized"),
        ESTIMATORS["fogzo"](n=2, beta=1.0),
        ESTIMATORS["fogzo"](n=2, beta=0.5, beta_schedule="linear", ste_share=0.5),
        ESTIMATORS["fogzo"](n=2, beta=0.5, perturb="quantized"),
        ESTIMATORS["proxquant"](prox="l2", clip=1.0, freeze=0.5),
    ],
    ids=str,
)
def test_rows_of_other_settings(rule):
    """Several blocks of directions, directions without noise, a schedule, a prox with a freeze."""
    for pair in zip(*both(rule, NETWORKS["mlp"], RATES[:2], range(2)), strict=True):
        assert_same_run(*pair)


@given(
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4),
    rates=st.lists(st.floats(1e-4, 0.1), min_size=1, max_size=3),
    together=st.integers(1, 5),
    workers=st.integers(1, 3),
)
@settings(max_examples=15, deadline=None)
def test_grouping_changes_nothing(seeds, rates, together, workers):
    """Any seeds (the same one twice, too) and rates, in any groups: the same runs, in order."""
    network, pairs = NETWORKS["mlp"], list(product(map(Adam, rates), seeds))
    objective, data = Objective(network, MidRise()), data_for(network)
    options = {"steps": 4, "batch": 20, "record_every": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "rows_at_once", lambda *a: together)
        found = fit_many(objective, data, STE(), pairs, workers=workers, **options)
    assert len(found) == len(seeds) * len(rates)
    for run, (optimizer, seed) in zip(found, pairs, strict=True):
        assert (run.settings["seed"], run.settings["optimizer"]) == (seed, repr(optimizer))
    assert_same_run(
        found[-1], fit(objective, data, STE(), pairs[-1][0], seed=pairs[-1][1], **options)
    )


def test_float32_stays_float32():
    """The same runs in single precision: the loss to 1e-5 after 20 steps."""
    network = NETWORKS["convolutional"]
    objective, data = Objective(network, MidRise()), data_for(network, np.float32)
    options = {"steps": 20, "batch": 15}
    pairs = [(SGD(0.03), seed) for seed in range(3)]
    for run, (_, seed) in zip(
        fit_many(objective, data, STE(), pairs, **options), pairs, strict=True
    ):
        expected = fit(objective, data, STE(), SGD(0.03), seed=seed, **options)
        assert run.theta.dtype == np.float32
        assert {value.dtype for value in run.state.values()} == {np.dtype(np.float32)}
        np.testing.assert_allclose(
            run.records["train_loss"], expected.records["train_loss"], rtol=1e-5
        )


def test_a_diverging_row_leaves_the_others_alone():
    """It ends with `fit`'s own sentence, step and all; the others are as they are alone."""
    network, rates = NETWORKS["mlp"], [SGD(0.1), SGD(1e300), SGD(0.05)]
    objective, data = Objective(network, MidRise()), data_for(network)
    options = {"steps": 9, "batch": 20, "record_every": 3}
    pairs, sentences = list(product(rates, (0, 1))), []
    found = fit_many(objective, data, STE(), pairs, **options)
    for run, (optimizer, seed) in zip(found, pairs, strict=True):
        try:
            assert_same_run(run, fit(objective, data, STE(), optimizer, seed=seed, **options))
        except Diverged as error:
            sentences.append(str(error))
            assert str(run) == str(error)
    assert 1 <= len(sentences) <= 2
    # where all rows diverge the sweep ends; estimators that are trained alone answer alike
    for rule in (STE(), pick(ESTIMATORS["gain"], {})):
        runs = fit_many(objective, data, rule, [(rates[1], 0)] * 2, **options)
        assert all(isinstance(run, Diverged) for run in runs)


def test_a_starting_point_that_is_not_finite(monkeypatch):
    """A row whose loss is not finite at the start is a row that diverged."""
    network = NETWORKS["mlp"]
    objective = Objective(network, MidRise(), loss=MeanSquaredError())
    data = data_for(network)
    x = data.x_train.copy()
    x[0] = 1e200
    found = fit_many(objective, replace(data, x_train=x), STE(), [(SGD(), 0)], steps=2, batch=2)
    assert "training loss became NaN or infinite at step 0" in str(found[0])


@dataclass(frozen=True)
class Mixing(STE):
    """Wrong: its gradient is divided by the norm over all rows."""

    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        """The STE's, divided by a number that all rows share."""
        estimate, state = super().estimate(objective, theta, batch, state, step)
        norm = np.sqrt(np.sum(estimate.grad**2))
        return estimate._replace(grad=estimate.grad / norm), state


def test_an_estimator_that_mixes_rows_is_caught():
    """Negative control."""
    found, expected = both(Mixing(), NETWORKS["mlp"], [SGD(0.1)], (0, 1))
    with pytest.raises(AssertionError):
        assert_same_run(found[0], expected[0])


def test_a_sweep_on_another_device():
    """array-api-strict on its fake device, a network with everything in it: 1e-9."""
    pytest.importorskip("array_api_strict")
    from tracing import put

    from minizo import backend

    network, rule = NETWORKS["convolutional"], pick(ESTIMATORS["fogzo"], SMALL)
    objective, options = Objective(network, MidRise("tanh")), {"steps": 4, "batch": 15}
    pairs = list(product(RATES[:2], (0, 1)))
    runs = [
        fit_many(objective, data_for(network, move=move), rule, pairs, **options)
        for move in (put, np.asarray)
    ]
    for ours, expected in zip(*runs, strict=True):
        np.testing.assert_allclose(backend.to_numpy(ours.theta), expected.theta, atol=1e-9)
        np.testing.assert_allclose(
            ours.records["train_loss"], expected.records["train_loss"], rtol=1e-9
        )


def test_rows_at_once_follow_what_a_row_needs():
    """Few of many directions, fewer of wide networks, at least one; progress counts all steps."""
    network = mlp(784, 10, 10)
    data = data_for(NETWORKS["mlp"])
    assert group.rows_at_once(network, data, (STE(), SGD()), 100) == 17
    assert group.rows_at_once(network, data, (SPSA(n=1), SGD()), 100) == 17
    assert group.rows_at_once(network, data, (SPSA(n=10), SGD()), 100) == 3
    assert group.rows_at_once(network, data, (STE(), SGD()), 10**6) == 1
    assert group.rows_at_once(network, data, (ESTIMATORS["gain"](), SGD()), 100) == 1
    rules, counts = (STE(), SGD()), (1, 17, 18, 32, 40)
    parts = [group.groups(count, network, data, rules, 100) for count in counts]
    sizes = [[part.stop - part.start for part in own] for own in parts]
    assert sizes == [[1], [17], [9, 9], [16, 16], [10, 10, 10, 10]]
    counted = []
    small = Objective(NETWORKS["mlp"], MidRise())
    options = {"steps": 5, "batch": 20, "progress": counted.append}
    for rule in (STE(), ESTIMATORS["gain"]()):
        counted.clear()
        fit_many(small, data, rule, [(SGD(), seed) for seed in range(3)], **options)
        assert sum(counted) == 15


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"pairs": ()}, r"pairs is \(\), but at least one is needed"),
        ({"pairs": [(SGD(), 0), (SGD(), -1)]}, "seed is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"rng": "here"}, "rng is 'here'"),
    ],
)
def test_bad_input_is_refused(change, sentence):
    network = NETWORKS["mlp"]
    options = {"pairs": [(SGD(), 0)], "steps": 2, "batch": 10} | change
    with pytest.raises(InputError, match=sentence):
        fit_many(Objective(network, MidRise()), data_for(network), STE(), **options)

"""NaN and infinity: what is to blame, and whether anything had been updated yet."""

import re
from dataclasses import replace

import numpy as np
import pytest
from strategies import error_of

from minizo import FOGZO, SPSA, STE, Diverged, Objective, fit, fit_many, models, optim, quantizers
from minizo.data.dataset import Dataset
from minizo.layers import BatchNorm1d, Flatten, Linear
from minizo.network import Network
from minizo.records import finite

ESTIMATORS = [STE(), SPSA(n=2), FOGZO(n=2, beta_schedule="constant")]
OPTIONS = {"steps": 6, "batch": 20, "record_every": 2}


def spoiled(data, value, image, examples=slice(None)):
    """``data`` with one bad pixel put there after it was looked at."""
    x = data.x_train.copy()
    new = Dataset("spoiled", x, data.y_train, data.x_test, data.y_test, data.classes)
    x[image, 0, 0, 5] = value
    object.__setattr__(new, "x_train", x)
    return new


def messages(objective, data, estimator, rule=None, seeds=(0, 1), **options):
    """What `fit` and the rows of `fit_many` say."""
    rule, options = rule or optim.Adam(0.01), OPTIONS | options
    found = []
    for seed in seeds:
        with pytest.raises(Diverged) as caught:
            fit(objective, data, estimator, rule, seed=seed, **options)
        found.append(str(caught.value))
    many = fit_many(objective, data, estimator, [(rule, seed) for seed in seeds], **options)
    assert all(isinstance(error, Diverged) for error in many)
    return found, [str(error) for error in many]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_image_is_named_before_the_first_step(toy, toy_net, value, estimator):
    objective = Objective(toy_net, quantizers.MidRise())
    alone, many = messages(objective, spoiled(toy, value, 3), estimator)
    assert alone == many
    for message in alone:
        assert "training loss became NaN or infinite at step 0 of 6" in message
        assert "before anything was updated" in message and "training image 3 " in message
        assert "learning rate" not in message


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_bad_image_is_named_when_its_batch_comes(toy, toy_net, estimator):
    """Not among the recorded examples: it is met at some step, and the rate is not blamed."""
    objective = Objective(toy_net, quantizers.MidRise())
    data = spoiled(toy, np.nan, 399)
    alone, many = messages(objective, data, estimator, steps=25, loss_examples=100)
    assert alone == many
    for message in alone:
        assert "training image 399 " in message and "learning rate" not in message
        assert ("before anything was updated" in message) == (" at step 0 " in message)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, -1])
def test_a_start_that_is_not_finite_is_refused(toy, toy_net, bad, place):
    start = toy_net.init(0)
    start[place] = bad
    objective = Objective(toy_net, quantizers.MidRise())
    message = error_of(lambda: fit(objective, toy, STE(), optim.Adam(), start=start, **OPTIONS))
    assert "start" in message and ("fc1.weight", "fc2.bias")[place] in message


def normalised():
    """12-5-3 with batch normalisation."""
    layers = {"flat": Flatten(), "fc1": Linear(12, 5), "bn": BatchNorm1d(5), "fc2": Linear(5, 3)}
    return Objective(Network(layers, (1, 1, 12)), quantizers.MidRise())


def test_statistics_that_are_not_finite_are_refused(toy):
    objective = normalised()
    state = objective.network.init_state(toy.x_train) | {"bn.mean": np.full(5, np.nan, np.float32)}
    message = error_of(lambda: fit(objective, toy, STE(), optim.Adam(), state=state, **OPTIONS))
    assert "state" in message and "bn.mean" in message and "first batch" in message


def test_statistics_that_do_not_fit_are_named(toy):
    """Given ones that are finite, and make the network overflow."""
    objective = normalised()
    state = objective.network.init_state(toy.x_train) | {"bn.mean": np.full(5, 3e38, np.float32)}
    state["bn.var"] = np.full(5, 1e-30, np.float32)
    with pytest.raises(Diverged) as caught:
        fit(objective, toy, STE(), optim.Adam(), state=state, **OPTIONS)
    assert "before anything was updated" in str(caught.value)
    assert "running statistics given as state" in str(caught.value)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_network_that_overflows_at_its_start_is_said_to(toy, toy_net, estimator):
    huge = replace(toy, x_train=np.float32(1e38) * toy.x_train)
    objective = Objective(toy_net, quantizers.MidRise())
    alone, many = messages(objective, huge, estimator)
    for message in alone + many:
        assert "before anything was updated" in message and "the network overflows" in message
        assert "learning rate" not in message


@pytest.mark.parametrize("rule", [optim.SGD(1e30), optim.Momentum(1e30)])
def test_a_learning_rate_that_is_to_blame_is_blamed(toy, toy_net, rule):
    objective = Objective(toy_net, quantizers.FullPrecision())
    alone, many = messages(objective, toy, STE(), rule)
    for message in alone + many:
        assert int(re.search(r"\(after (\d+) updates?\)", message)[1]) > 0
        assert "try a smaller learning rate" in message
        assert "before anything" not in message


def test_rows_of_nested_states():
    """Of three rows each for itself, and of all as one."""
    good = np.zeros((3, 1, 4))
    state = ({"a": good, "b": good.copy()}, (good.copy(), 7), ())
    assert finite(state, 3).tolist() == [True, True, True]
    state[0]["b"][1, 0, 2] = np.nan
    state[1][0][2, 0, 0] = np.inf
    assert finite(state, 3).tolist() == [True, False, False]
    assert finite(state).tolist() == [False]
    assert finite((), 2).tolist() == [True, True]
    assert finite(float("nan"), 2).tolist() == [False, False]


def test_models_without_statistics_take_no_extra_forward(toy, monkeypatch):
    objective = Objective(models.mlp(12, 5, 3), quantizers.MidRise())

    def never(*arguments):
        raise AssertionError("a forward that nothing needs")

    monkeypatch.setattr(Objective, "statistics", never)
    run = fit(objective, toy, STE(), optim.Adam(0.01), **OPTIONS)
    assert run.state == {}

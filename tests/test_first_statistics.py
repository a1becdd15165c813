"""Running statistics before the first step: those of the quantised weights, from the first batch."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import blobs
from strategies import error_of, generator

from minizo import (
    FOGZO,
    SPSA,
    STE,
    InputError,
    Objective,
    ProxQuant,
    fit,
    fit_many,
    models,
    optim,
    quantizers,
)
from minizo.data.dataset import Dataset
from minizo.evaluation import evaluate
from minizo.layers import BatchNorm1d, BatchNorm2d, Conv2d, Flatten, Linear
from minizo.network import Network
from minizo.objective import Batch
from minizo.recipe import Recipe
from minizo.train import batches, first_statistics

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

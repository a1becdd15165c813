"""Training networks with running statistics, dropout and quantised activations."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from stateful import ESTIMATORS, IDS, network
from strategies import generator

from minizo import (
    STE,
    Estimate,
    InputError,
    Objective,
    fit,
    optim,
    quantizers,
)
from minizo.layers import (
    Flatten,
    Linear,
    QuantizedActivation,
    Residual,
)
from minizo.network import Network


def run(toy, estimator, **options):
    options = {"steps": 20, "batch": 50, "seed": 1, **options}
    objective = Objective(network(), quantizers.MidRise())
    return fit(objective, toy, estimator, optim.Adam(0.02), **options)


# Training ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_training_learns(toy, estimator):
    """From above log 3 to below 0.5 with running statistics in the evaluation."""
    result = run(toy, estimator, steps=300)
    assert result.records["train_loss"][0] > 0.9
    assert result.final("train_loss") < 0.5
    outputs = result.objective.outputs(result.theta, toy.x_test, result.state)
    assert np.mean(outputs.argmax(-1) == toy.y_test) == result.final("test_accuracy")


def test_running_statistics_by_hand(toy):
    """20 steps: from the first batch's on, a moving average of what the batches said."""
    seen = []

    class Watching(STE):
        def estimate(self, objective, theta, batch, state, step):
            seen.append(objective.statistics(theta, batch))
            return super().estimate(objective, theta, batch, state, step)

    result = run(toy, Watching())
    for name in result.objective.network.running:
        expected = seen[0][name]
        for statistics in seen:
            expected = 0.9 * expected + 0.1 * statistics[name]
        np.testing.assert_allclose(result.state[name], expected, 1e-5)


def test_an_estimator_without_statistics_is_refused(toy):
    class Forgetful(STE):
        def estimate(self, objective, theta, batch, state, step):
            found, state = super().estimate(objective, theta, batch, state, step)
            return Estimate(found.grad, found.loss, 1, 1), state

    with pytest.raises(InputError, match="no batch statistics for bn1.mean"):
        run(toy, Forgetful())


# Quantised activations --------------------------------------------------------------------------


@pytest.mark.parametrize("surrogate", ["identity", "hardtanh", "tanh", "approxsign"])
@pytest.mark.parametrize("quantizer", [quantizers.Sign, quantizers.MidRise, quantizers.MidTread])
def test_quantised_activation(quantizer, surrogate):
    """Forward: the staircase. Backward: the derivative of its smoothing, as central difference."""
    gen = generator(7)
    layer = QuantizedActivation(quantizer(surrogate), 0.7)
    x, dy = gen.normal(size=(2, 4, 5))
    y, cache = layer.forward({}, x)
    np.testing.assert_array_equal(y, layer.quantizer.quantize(x, 0.7))
    dx, _ = layer.backward({}, cache, dy)
    above, below = (layer.quantizer.smooth(x + h, 0.7) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(dx, dy * (above - below) / 2e-6, 1e-6, 1e-8)
    with pytest.raises(InputError, match="QuantizedActivation.scale is 0.0"):
        QuantizedActivation(quantizer(), 0.0)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_training_with_binary_activations(toy, estimator):
    net = network(0.0, QuantizedActivation(quantizers.Sign("hardtanh")))
    objective = Objective(net, quantizers.Sign("hardtanh"))
    result = fit(objective, toy, estimator, optim.Adam(0.02), steps=300, batch=50)
    assert result.final("train_loss") < 0.7 < result.records["train_loss"][0]


# Progress ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sharpening(quantizers.Sign):
    """A sign whose slope is 1 at the start and 0 at the end; notes no history."""

    slope: float = 1.0

    def at(self, progress):
        """Slope 1 - progress."""
        return replace(self, slope=1.0 - progress)

    def derivative(self, x, alpha):
        """The slope, everywhere."""
        return np.full_like(x, self.slope)


def test_progress_reaches_quantisers_and_activations(toy):
    """Step t of T is made at progress t / T, in weights and in nested activations."""
    inner = {"fc": Linear(8, 8), "act": QuantizedActivation(Sharpening())}
    layers = {"flatten": Flatten(), "fc1": Linear(12, 8), "block": Residual(inner)}
    net = Network(layers | {"fc2": Linear(8, 3)}, (1, 1, 12))
    slopes = []

    class Watching(STE):
        def estimate(self, objective, theta, batch, state, step):
            act = objective.network.layers["block"].body["act"]
            slopes.append((objective.quantizer.slope, act.quantizer.slope))
            return super().estimate(objective, theta, batch, state, step)

    objective = Objective(net, Sharpening())
    result = fit(objective, toy, Watching(), optim.Adam(0.01), steps=5, batch=50)
    assert slopes == [(1.0 - t / 5, 1.0 - t / 5) for t in range(5)]
    assert result.objective.quantizer.slope == 0.0
    assert objective.quantizer.slope == 1.0 and net.layers["block"].body["act"].quantizer.slope == 1

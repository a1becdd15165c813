"""What the tests of learned gradients share: generators, problems, small networks."""

import numpy as np

from minizo import (
    Batch,
    Objective,
    Step,
    models,
    rng,
)
from minizo.estimators import (
    FSG,
    LSTMFC,
    FastOnly,
    FCGrad,
    FSGAverage,
    FSGGain,
    FSGScaled,
    Gain,
    LayerGain,
    MultiFC,
)
from minizo.hypernets import LSTM, MLP, Mamba, generators
from minizo.hypernets.generators import Factor, Given
from minizo.hypernets.slow import SlowNet
from minizo.quantizers import DoReFa

TINY = {"expand": 4, "states": 3, "kernel": 4, "units": 5, "length": 3}
NETS = [
    Factor(MLP((1, 4, 1)), by_weight=False),
    Factor(MLP((1, 4, 3, 1)), by_weight=True),
    generators.LSTMFC(LSTM(1, 3)),
    generators.Gain(),
    generators.Gain(2),
    SlowNet(Mamba(1, 4, 3, 4), 2),
    SlowNet(Mamba(1, 4, 3, 4), 2, "coord"),
    SlowNet(Mamba(1, 4, 3, 4), 2, scaled=True),
    SlowNet(Mamba(3, 2, 2, 3), 2),
    SlowNet(Mamba(3, 2, 2, 3), 2, "coord"),
    SlowNet(LSTM(1, 3), 2, "coord"),
    SlowNet(LSTM(2, 3), 2, "coord", scaled=True),
    SlowNet(LSTM(1, 3), 2),
    SlowNet(Mamba(1, 4, 3, 4), 2, embedding=False),
    SlowNet(Mamba(3, 2, 2, 3), 2, "coord", embedding=False),
]
ALL = [
    FCGrad(units=5),
    FCGrad(units=5, lookahead="stale"),
    MultiFC(units=5),
    MultiFC(units=5, lookahead="raw", hyper_optimizer="sgd"),
    LSTMFC(units=5),
    FSG(**TINY),
    FSG(**TINY, layout="coord", lookahead="refined"),
    FSG(**TINY, token=2, start="uniform"),
    FSG(**TINY, slow_net="lstm", commit="fast_only"),
    FSG(**TINY, slow_net="lstmfc"),
    Gain(),
    LayerGain(),
    FastOnly(**TINY),
    FSGGain(**TINY),
    FSGAverage(**TINY),
    FSGScaled(**TINY),
]


def given(seed=0, weights=5, length=3, layer=1, dtype=np.float64):
    """What is known of a layer, and its upstream gradient."""
    generator = np.random.default_rng(seed)
    history = generator.normal(size=(length, weights)).astype(dtype)
    squashed = generator.random(weights).astype(dtype)
    return Given(layer, history[-1], squashed, history), generator.normal(size=weights).astype(
        dtype
    )


def started(net, dtype=np.float64, seed=0):
    """Parameters away from their start, as a vector."""
    phi = net.flatten(net.init(rng.at(seed, "hypernet", 0), np.empty(0, dtype)))
    return (phi + 0.2 * np.random.default_rng(seed).normal(size=phi.shape)).astype(dtype)


def problem(quantizer, network=None, seed=3, dtype=np.float64):
    """(calibrated objective, theta, three batches) of a network with two shared layers."""
    network = models.mlp(6, 4, 3, activation="hardtanh") if network is None else network
    generator = np.random.default_rng(seed)
    theta = network.init(seed, like=np.empty(0, dtype))
    theta = (theta + 0.1 * generator.normal(size=theta.shape)).astype(dtype)
    batches = [
        Batch(generator.normal(size=(8, 1, 1, 6)).astype(dtype), generator.integers(0, 3, 8))
        for _ in range(6)
    ]
    return Objective(network, quantizer).calibrate(theta), theta, batches


def follow(estimator, optimizer, steps=6, quantizer=None, network=None):
    """[(theta, point, estimate, state after)] of a short run; the point is where the loss was."""
    objective, theta, batches = problem(quantizer or DoReFa(bits=1), network)
    asked = []

    class Watching(Objective):
        def weight_gradient(self, point, batch):
            asked.append(point.copy())
            return super().weight_gradient(point, batch)

    names = ("network", "quantizer", "quantized", "loss", "scales")
    objective = Watching(**{name: getattr(objective, name) for name in names})
    state, memory, trace = estimator.init(objective, theta), optimizer.init(theta), []
    for index in range(steps):
        step = Step(5, index, 10, optimizer=optimizer, optimizer_state=memory)
        estimate, state = estimator.estimate(objective, theta, batches[index], state, step)
        trace.append((theta, asked[-1], estimate, state))
        theta, memory = estimator.update(objective, optimizer, estimate.grad, memory, theta, step)
    assert len(asked) == steps
    return objective, trace, theta


def quantised(objective, vector):
    """The entries of the quantised layers, one after the other."""
    return np.concatenate([vector[objective.network.slices[n]] for n in objective.quantized])

"""What the tests of the export share: trained networks and pictures."""

import numpy as np
from strategies import generator

import minizo
from minizo import Objective, export, models


def trained(network, quantizer, dtype=np.float32, seed=0, quantized=None):
    """A network with random weights and running statistics, as if it had been trained."""
    random = generator(seed)
    objective = Objective(network, quantizer, quantized)
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

"""What the tests of the export share: trained networks, pictures, and files that are altered."""

import io
import json
import zipfile

import numpy as np
from strategies import generator

import minizo
from minizo import Objective, export, models
from minizo.export.file import digest


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

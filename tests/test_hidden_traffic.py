"""A training step neither copies to the host nor waits for the device, whatever the method."""

from dataclasses import dataclass

import numpy as np
import pytest
from conftest import blobs, pick

pytest.importorskip("array_api_strict")

from tracing import put, strict, watch

from minizo import InputError, Objective, backend, quantizers, train
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS, STE
from minizo.estimators.learned import LOOKAHEADS
from minizo.group import Group
from minizo.laws import LAWS
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool2d,
    QuantizedActivation,
    ReLU,
    Residual,
)
from minizo.losses import LOSSES
from minizo.models import ACTIVATIONS, llama, lstm_lm, mlp, vit
from minizo.network import Network
from minizo.optim import OPTIMIZERS
from minizo.parallel import Pool
from minizo.quantizers import QUANTIZERS
from minizo.recipe import Recipe

STEPS, BATCH, EXAMPLES = 4, 10, 30  # an epoch of 3 steps: the fourth begins another

# Where host and device may meet inside a run, and why. Nothing else may.
EXCEPTIONS = {
    "rng.py:_deliver": "the fake device has no random numbers: they are drawn on the host. On CuPy "
    "they are drawn on the device",
    "group.py:batches": "once an epoch: its order of the examples is drawn on the host, so that a "
    "seed means one order on every backend",
    "hypernets/base.py:placed": "once a run: hypernetworks are drawn on the host, so that a seed "
    "means one start on every backend",
}

# numbers that keep the networks of the learned gradients small, and directions few
SMALL = {"n": 2, "eps": 0.1, "units": 3, "expand": 3, "states": 2, "length": 2, "kernel": 2}

convolutional = Network(
    {
        "conv1": Conv2d(1, 2, 3, padding=1),
        "bn1": BatchNorm2d(2),
        "act1": QuantizedActivation(quantizers.Sign("hardtanh")),
        "block": Residual({"conv": Conv2d(2, 2, 3, padding=1, bias=True), "bn": BatchNorm2d(2)}),
        "pool": MaxPool2d(),
        "flatten": Flatten(),
        "fc1": Linear(12, 6),
        "norm": LayerNorm((6,)),
        "act2": ReLU(),
        "drop": Dropout(0.2),
        "fc2": Linear(6, 3, bias=False),
        "bn2": BatchNorm1d(3),
    },
    (1, 4, 6),
)
NETWORKS = {"mlp": mlp(24, 4, 3, input_shape=(1, 4, 6)), "convolutional": convolutional}
SEQUENCES = {
    "llama": llama(3, width=4, layers=1, heads=2, context=5, shared=2),
    "lstm": lstm_lm(3, width=4, context=5, dropout=0.2),
    "vit": vit((1, 4, 6), 3, patch=2, width=4, layers=1, heads=2),
}


def on_device(network, dtype=np.float64):
    """A data set for ``network`` on the fake device."""
    if len(network.input_shape) == 1:
        tokens = np.arange(6 * EXAMPLES).reshape(EXAMPLES, 6) % 3
        x, labels = put(tokens[:, :-1].copy()), put(tokens[:, 1:].copy())
        return Dataset("toy", x, labels, x, labels, 3, dtype)
    x, labels = blobs(EXAMPLES, 3, 24, 1, dtype)
    x = put(x.reshape(-1, *network.input_shape))
    return Dataset("toy", x, put(labels), x, put(labels), classes=3)


def step_events(network, estimator, optimizer=None, quantizer=None, loss="cross-entropy"):
    """What host and device have to do with each other in `STEPS` steps, an `Event` each."""
    data = on_device(network)
    quantizer = quantizers.MidRise("tanh") if quantizer is None else quantizer
    objective = Objective(network, quantizer, loss=LOSSES[loss]())
    objective = objective.calibrate(objective.network.init(0, like=data.like))
    optimizer = OPTIMIZERS["adam"]() if optimizer is None else optimizer
    recipe = Recipe(objective, data, estimator, optimizer, STEPS, BATCH, 0, STEPS)
    group, ends = Group((recipe,)), []
    state = train.start_state(group)

    def tick(step):
        ends.append(len(events))

    with watch() as events:
        train.advance(group, state, group.batches(0), STEPS, Pool(), tick)
    assert len(ends) == STEPS
    assert len(events) > ends[-1]  # what follows the last step looks for NaN, and is seen
    return events[: ends[-1]]


def hidden(events):
    """Those that are no exception."""
    return [event for event in events if event.place not in EXCEPTIONS]


@pytest.mark.parametrize("network", [*NETWORKS, *SEQUENCES])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_hidden_traffic(estimator, network):
    """Every registered estimator, in a perceptron, a small CNN, and networks for sequences."""
    own = {**NETWORKS, **SEQUENCES}[network]
    found = step_events(own, pick(ESTIMATORS[estimator], SMALL))
    assert hidden(found) == []
    # once an epoch: 2 epochs were begun
    assert sum(event.place == "group.py:batches" for event in found) == 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("estimator", ["ste", "proxquant", "fcgrad"])
def test_no_hidden_traffic_in_optimizers(estimator, optimizer):
    """Every registered optimiser: after the estimate, before a prox, and in a look-ahead."""
    rule, q = pick(ESTIMATORS[estimator], SMALL), quantizers.Sign("tanh")
    for more in {}, {"decay": 0.1, "clip": 0.5, "warmup": 0.4}:
        assert hidden(step_events(NETWORKS["mlp"], rule, OPTIMIZERS[optimizer](**more), q)) == []


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_no_hidden_traffic_in_lookaheads(lookahead):
    rule = pick(ESTIMATORS["fsg"], SMALL | {"lookahead": lookahead})
    assert hidden(step_events(NETWORKS["mlp"], rule)) == []


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("estimator", ["ste", "fogzo", "proxquant", "fsg"])
def test_no_hidden_traffic_in_quantizers(estimator, quantizer):
    """Every registered quantiser, in the four kinds of estimator that use it differently."""
    rule, q = pick(ESTIMATORS[estimator], SMALL), QUANTIZERS[quantizer]()
    try:
        found = step_events(NETWORKS["mlp"], rule, quantizer=q)
    except InputError as reason:
        pytest.skip(f"the two do not go together: {reason}")
    assert hidden(found) == []


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_hidden_traffic_in_losses_and_activations(loss, activation):
    network = mlp(24, 4, 3, input_shape=(1, 4, 6), activation=activation)
    assert hidden(step_events(network, STE(), loss=loss)) == []


@pytest.mark.parametrize("law", LAWS)
def test_no_hidden_traffic_in_laws(law):
    rule = pick(ESTIMATORS["fogzo"], SMALL | {"law": law})
    assert hidden(step_events(NETWORKS["mlp"], rule)) == []


# Negative controls ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Careless(STE):
    """An STE that meets the host once in every step, in the way named."""

    way: str = ""

    def estimate(self, objective, theta, batch, state, step):
        """The STE's, after that."""
        estimate, state = super().estimate(objective, theta, batch, state, step)
        WAYS[self.way](estimate.loss, theta)
        return estimate, state


WAYS = {
    "__float__": lambda loss, theta: float(loss),
    "__bool__": lambda loss, theta: loss > 100.0 and None,
    "__int__": lambda loss, theta: int(loss),
    "__index__": lambda loss, theta: [0][strict.argmax(theta[:1])],
    "item": lambda loss, theta: loss.item(),
    "tolist": lambda loss, theta: theta.tolist(),
    "to_device": lambda loss, theta: backend.to_numpy(theta),
    "asarray of list": lambda loss, theta: backend.asarray([1.0, 2.0], theta),
    "asarray of float": lambda loss, theta: strict.asarray(1.0),
    "asarray of ndarray": lambda loss, theta: backend.asarray(np.ones(3), theta),
    "nonzero": lambda loss, theta: strict.nonzero(theta),
    "mask": lambda loss, theta: theta[theta > 0.0],
    "nothing": lambda loss, theta: loss + 1.0,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_careless_estimator_is_caught(way):
    """Each way of meeting the host is noted under its name, once a step; doing nothing is not."""
    found = hidden(step_events(NETWORKS["mlp"], Careless(way=way)))
    assert [event.what for event in found].count(way) == (0 if way == "nothing" else STEPS)
    assert bool(found) == (way != "nothing")

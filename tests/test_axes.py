"""All sizes equal: which axis is which comes from the contract, and never from its length.

Members of a population, seeds, examples, channels, pixels, outputs: SIZE of each. What a layer, a
quantiser, a loss or an objective gives for all at once is compared with one by one.
"""

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs
from strategies import error_of, generator
from test_layers import examples

from minizo import Batch, Objective, fit, fit_many, optim, rng
from minizo import quantizers as q
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS
from minizo.layers import (
    GELU,
    LSTM,
    Attention,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    ClassToken,
    Conv2d,
    Dropout,
    Embedding,
    FirstToken,
    Flatten,
    Gated,
    GlobalAvgPool,
    HardTanh,
    LayerNorm,
    Linear,
    MaxPool2d,
    MeanToken,
    Patches,
    Positions,
    QuantizedActivation,
    ReLU,
    Residual,
    RMSNorm,
    SiLU,
    Stack,
    ZeroPad,
)
from minizo.losses import LOSSES
from minizo.network import Network
from minizo.quantizers import QUANTIZERS

SIZE = 4
VECTOR, SEQUENCE, IMAGE = (SIZE,), (SIZE, SIZE), (SIZE, SIZE, SIZE)
LEADS = [(SIZE,), (SIZE, SIZE), (SIZE, 1)]  # a population; seeds and a population; seeds

ACTIVATIONS = [
    q.Sign("hardtanh"), q.MidRise("tanh"), q.MidTread("hardtanh"), q.BNN(), q.DoReFaActivation(),
    q.LSQ(bits=2), q.LSQ(bits=3, signed=False),
]  # fmt: skip
LAYERS = [
    (Linear(SIZE, SIZE), VECTOR),
    (ReLU(), IMAGE),
    (HardTanh(), VECTOR),
    (Flatten(axes=3), IMAGE),
    (Flatten(axes=1), VECTOR),
    (Dropout(), VECTOR),
    (Dropout(), IMAGE),
    (BatchNorm1d(SIZE), VECTOR),
    (BatchNorm2d(SIZE), IMAGE),
    (LayerNorm(VECTOR), VECTOR),
    (LayerNorm(IMAGE), IMAGE),
    (Conv2d(SIZE, SIZE, 3, padding=1, bias=True), IMAGE),
    (Conv2d(SIZE, SIZE, SIZE, padding=2), IMAGE),
    (MaxPool2d(2, stride=1), IMAGE),
    (MaxPool2d(3, stride=2, padding=1), IMAGE),
    (AvgPool2d(2, stride=2), IMAGE),
    (GlobalAvgPool(), IMAGE),
    (ZeroPad(SIZE, SIZE), IMAGE),
    (Residual({"fc": Linear(SIZE, SIZE), "act": QuantizedActivation(q.LSQ())}), VECTOR),
    (Residual({"act": QuantizedActivation(q.LSQ()), "conv": Conv2d(SIZE, SIZE, 1)},
              {"act": QuantizedActivation(q.LSQ(bits=4)), "bn": BatchNorm2d(SIZE)}), IMAGE),
    (Stack({"act": QuantizedActivation(q.LSQ()), "fc": Linear(SIZE, SIZE)}), VECTOR),
    (Linear(SIZE, SIZE), SEQUENCE),
    (Linear(SIZE, SIZE), IMAGE),
    (LayerNorm(VECTOR), SEQUENCE),
    (LayerNorm(SEQUENCE), IMAGE),
    (RMSNorm(SIZE), VECTOR),
    (RMSNorm(SIZE), SEQUENCE),
    (GELU(), SEQUENCE),
    (Gated({"up": Linear(SIZE, SIZE)}, {"fc": Linear(SIZE, SIZE), "act": SiLU()}), SEQUENCE),
    (Embedding(SIZE, SIZE), VECTOR),
    (Positions(SIZE, SIZE), SEQUENCE),
    (ClassToken(SIZE), SEQUENCE),
    (LSTM(SIZE, SIZE), SEQUENCE),
    (FirstToken(), SEQUENCE),
    (MeanToken(), SEQUENCE),
    (Patches(2), IMAGE),
    (Stack({"qkv": Linear(SIZE, 8), "attention": Attention(2, 2, 2)}), SEQUENCE),
    *((QuantizedActivation(a, 0.5), shape) for a in ACTIVATIONS for shape in (VECTOR, IMAGE)),
    *((QuantizedActivation(a), shape) for a in (q.AbsMax(bits=3), q.QuEST(block=4))
      for shape in (VECTOR, SEQUENCE)),
]  # fmt: skip


def at(named, index, shapes):
    """The arrays of one member: of (..., *shape) what stands at ``index``, where there are axes."""
    found = {}
    for name, value in named.items():
        axes = value.ndim - len(shapes[name])
        own = tuple(i if n > 1 else 0 for i, n in zip(index, value.shape[:axes], strict=False))
        found[name] = value[own] if axes else value
    return found


def params_of(network, shape, lead, gen):
    """Positive numbers for a population, and the random arrays of each of its first axis."""
    params = {name: 0.3 + gen.random((*lead, *own)) for name, own in network.shapes.items()}
    examples = (lead[0], 1, SIZE) if len(lead) == 2 else (SIZE,)
    masks = {name: gen.random((*examples, *shape)).round() for name in network.random}
    return params, masks


@pytest.mark.parametrize("lead", LEADS, ids=["population", "seeds-population", "seeds"])
@pytest.mark.parametrize("layer, shape", LAYERS, ids=[f"{layer}-{s}" for layer, s in LAYERS])
def test_layers_one_by_one(layer, shape, lead):
    """With population axes in the parameters alone, and in what comes in."""
    gen, network = generator(len(lead), 5), Network({"it": layer}, shape)
    layer = network.stack  # told what it is fed
    params, masks = params_of(network, shape, lead, gen)
    seeds = (lead[0], 1) if len(lead) == 2 else ()
    shapes = {**layer.shapes, **{name: (SIZE, *shape) for name in masks}}
    for lead_x in {seeds, lead}:
        x = examples(network.places[0].layer, SIZE, shape, gen, lead_x)
        y, cache = layer.forward(params | masks, x)
        dy = gen.normal(size=y.shape)
        dx, grads = layer.backward(params | masks, cache, dy)
        seen = network.statistics([cache])
        example = layer.output_shape(shape)
        own_lead = y.shape[: y.ndim - 1 - len(example)]
        assert own_lead == (lead if layer.shapes else lead_x)
        named = {"x": (SIZE, *shape), "dx": (SIZE, *shape), "y": (SIZE, *example)}
        named["dy"] = named["y"]
        every = {"x": x, "y": y, "dy": dy} | ({} if dx is None else {"dx": dx})
        for index in np.ndindex(*own_lead):
            own = at(every, index, named)
            one = at(params | masks, index, shapes)
            alone, kept = layer.forward(one, own["x"])
            np.testing.assert_allclose(own["y"], alone, rtol=1e-10, atol=1e-12)
            dx_alone, grads_alone = layer.backward(one, kept, own["dy"])
            if dx is not None:
                np.testing.assert_allclose(own["dx"], dx_alone, rtol=1e-9, atol=1e-11)
            for name, value in at(grads, index, layer.shapes).items():
                np.testing.assert_allclose(value, grads_alone[name], rtol=1e-9, atol=1e-11)
            seen_alone = network.statistics([kept])
            for name, value in at(seen, index, dict.fromkeys(seen, VECTOR)).items():
                np.testing.assert_allclose(value, seen_alone[name], rtol=1e-10)


@pytest.mark.parametrize("shape", [VECTOR, IMAGE])
def test_a_learned_step_is_that_of_the_member_and_not_of_the_example(shape):
    """The fault this file began with: P = N examples took each another member's step."""
    layer = QuantizedActivation(q.LSQ(bits=2, signed=False)).fed(shape)
    steps = 2.0 ** np.arange(SIZE)[:, None]
    y, _ = layer.forward({"step": steps}, np.full((SIZE, *shape), 100.0))
    assert y.shape == (SIZE, SIZE, *shape)
    for member, step in enumerate(steps):
        np.testing.assert_array_equal(y[member], 3.0 * step[0])


def test_an_activation_that_was_not_told_does_not_guess():
    layer = QuantizedActivation(q.LSQ())
    x = np.ones((SIZE, SIZE))
    assert layer.forward({"step": np.ones(1)}, x)[0].shape == x.shape
    message = error_of(layer.forward, {"step": np.ones((SIZE, 1))}, x)
    assert "QuantizedActivation.axes" in message
    told = replace(layer, axes=1)
    assert told.forward({"step": np.ones((SIZE, 1))}, x)[0].shape == (SIZE, SIZE, SIZE)
    # the network tells its layers, and what determines a run does not change by that
    network = Network({"act": layer, "fc": Linear(SIZE, SIZE)}, VECTOR)
    assert network.stack.layers["act"].axes == 1 and network.at(0.5) is network
    assert repr(network.stack.layers["act"]) == repr(layer)


# Losses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", LEADS, ids=["population", "seeds-population", "seeds"])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_one_by_one(name, lead):
    gen, loss = generator(7, len(lead)), LOSSES[name]()
    outputs = gen.normal(size=(*lead, SIZE, SIZE))
    seeds = (lead[0], 1) if len(lead) == 2 else ()
    labels = gen.integers(0, SIZE, (*seeds, SIZE))
    value, cache = loss.forward(outputs, labels)
    gradient = loss.backward(cache)
    assert value.shape == lead and gradient.shape == outputs.shape
    for index in np.ndindex(*lead):
        own = labels[index[0], 0] if seeds else labels
        alone, kept = loss.forward(outputs[index], own)
        np.testing.assert_allclose(value[index], alone, rtol=1e-12)
        np.testing.assert_allclose(gradient[index], loss.backward(kept), rtol=1e-12)


# Quantisers, networks, objectives --------------------------------------------------------------


def square(quantizer, loss="cross-entropy"):
    """SIZE inputs, units, classes: learned activations first and between, norm, dropout."""
    layers = {
        "act0": QuantizedActivation(q.LSQ(bits=4), 0.5),
        "fc1": Linear(SIZE, SIZE),
        "bn": BatchNorm1d(SIZE),
        "act1": QuantizedActivation(q.LSQ(bits=2), 0.5),
        "drop": Dropout(0.3),
        "fc2": Linear(SIZE, SIZE),
    }
    return Objective(Network(layers, VECTOR), quantizer, loss=LOSSES[loss]())


def squares(objective):
    """Scales, theta (S, P, d), and a batch for each seed, all sizes equal."""
    gen = generator(11)
    network = objective.network
    theta = np.stack([network.init(seed, like=np.empty(0)) for seed in range(SIZE)])[:, None, :]
    objective = objective.calibrate(theta)
    theta = theta * (1.0 + 0.2 * gen.random((SIZE, SIZE, network.d)))
    x = gen.normal(size=(SIZE, 1, SIZE, SIZE))
    noises = [objective.noise(rng.at(0, "layers", s), SIZE, x) for s in range(SIZE)]
    noise = {name: np.stack([own[name] for own in noises])[:, None] for name in noises[0]}
    return objective, theta, Batch(x, gen.integers(0, SIZE, (SIZE, 1, SIZE)), noise)


def alone(objective, batch, seed):
    """The objective and the batch of one seed."""
    scales = {name: value[seed, 0] for name, value in objective.scales.items()}
    noise = {name: value[seed, 0] for name, value in batch.noise.items()}
    return replace(objective, scales=scales), Batch(batch.x[seed, 0], batch.labels[seed, 0], noise)


@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_objectives_one_by_one(name):
    """Losses, gradients, statistics and outputs: of seeds, of a population, and of both."""
    objective, theta, batch = squares(square(QUANTIZERS[name]()))
    together = objective.ste_gradient(theta, batch)
    losses = objective.evaluate(theta, batch)
    refreshed = objective.refresh(theta)
    weights = objective.quantize(theta)
    for seed in range(SIZE):
        own, one = alone(objective, batch, seed)
        population = own.ste_gradient(theta[seed], one)
        for member in range(SIZE):
            point = theta[seed, member]
            found = own.ste_gradient(point, one)
            for loss, gradient, seen in (
                (together.loss[seed, member], together.gradient[seed, member],
                 {n: v[seed, member] for n, v in together.statistics.items()}),
                (population.loss[member], population.gradient[member],
                 {n: v[member] for n, v in population.statistics.items()}),
            ):  # fmt: skip
                np.testing.assert_allclose(loss, found.loss, rtol=1e-9)
                np.testing.assert_allclose(gradient, found.gradient, rtol=1e-7, atol=1e-9)
                for part, value in found.statistics.items():
                    np.testing.assert_allclose(seen[part], value, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(losses[seed, member], found.loss, rtol=1e-9)
            for part, value in own.quantize(point).items():
                np.testing.assert_allclose(weights[part][seed, member], value, rtol=1e-9)
            np.testing.assert_allclose(refreshed[seed, member], own.refresh(point), atol=1e-7)


@pytest.mark.parametrize("name", sorted(n for n, kind in ESTIMATORS.items() if kind.rowwise))
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_as_many_seeds_as_examples_and_classes(name, loss):
    """`fit_many` against `fit`, records included: its data sets are as small as its batches."""
    data = Dataset("square", *blobs(SIZE, SIZE, SIZE, 1), *blobs(SIZE, SIZE, SIZE, 2), SIZE)
    layers = {
        "flatten": Flatten(),
        "fc1": Linear(SIZE, SIZE),
        "bn": BatchNorm1d(SIZE),
        "act": ReLU(),
        "fc2": Linear(SIZE, SIZE),
    }
    network = Network(layers, (1, 1, SIZE))
    objective = Objective(network, q.Sign("hardtanh"), loss=LOSSES[loss]())
    estimator = ESTIMATORS[name](**({"n": SIZE} if name in ("spsa", "fogzo") else {}))
    options = {"steps": 2, "batch": SIZE, "record_every": 1}
    pairs = [(optim.SGD(0.01), seed) for seed in range(SIZE)]
    for (rule, seed), row in zip(
        pairs, fit_many(objective, data, estimator, pairs, **options), strict=True
    ):
        one = fit(objective, data, estimator, rule, seed=seed, **options)
        np.testing.assert_allclose(row.theta, one.theta, rtol=1e-3, atol=1e-5)
        for column in ("train_loss", "test_accuracy"):
            np.testing.assert_allclose(row.records[column], one.records[column], rtol=1e-3)
        for part, value in one.state.items():
            np.testing.assert_allclose(row.state[part], value, rtol=1e-3, atol=1e-5)

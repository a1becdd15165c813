"""What a user's own layer or quantiser gives: one sentence where it is wrong.

Every mistake here once ended in silence, or in a traceback from inside the package.
"""

import tracemalloc

import numpy as np
import pytest

import minizo
from minizo import (
    STE,
    InputError,
    Network,
    Objective,
    fit,
    optim,
    quantizers,
)
from minizo.layers import BatchNorm1d, Flatten, HardTanh, Layer, Linear, ReLU, Residual, Stack
from minizo.parallel import alone

OPTIONS = {"steps": 3, "batch": 10}


def network_of(layer):
    """The 12-5-3 of `toy`, with a layer between its two products."""
    layers = {"flat": Flatten(), "fc1": Linear(12, 5), "own": layer, "fc2": Linear(5, 3)}
    return Network(layers, (1, 1, 12))


# Layers ------------------------------------------------------------------------------------------


class Centre(Layer):
    """Takes the mean away: the batch's in training, a running one in use."""

    running = ("mean",)

    def forward(self, params, x, reduce=alone):
        """x - mean."""
        mean = params["mean"] if "mean" in params else x.mean(axis=-2)
        return x - mean[..., None, :], None if "mean" in params else mean

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dy - mean(dy)."""
        return dy - dy.mean(axis=-2, keepdims=True), {}

    def init_state(self, like):
        """Zeros."""
        return {"mean": np.zeros(5, like.dtype)}

    def statistics(self, cache):
        """The batch's mean."""
        return {} if cache is None else {"mean": cache}

    def next_state(self, state, statistics):
        """A running mean."""
        return {"mean": 0.9 * state["mean"] + 0.1 * statistics["mean"]}


def changed(cls, **members):
    """An object of a subclass with other members."""
    return type("Changed", (cls,), members)()


LAYERS = [
    (Linear, "layer 'own' is the class Linear, but it must be an object: Linear"),
    (
        3,
        "layer 'own' is a int, which has no forward; write it, or inherit from minizo.layers.Layer",
    ),
    (changed(Layer, forward=Centre.forward), "layer 'own' is a Changed, which has no backward"),
    (changed(Centre, running=()), r"layer 'own': Changed has .* and running is \(\); a layer with"),
    (changed(Centre, init_state=Layer.init_state), "a layer with running statistics has running, "),
    (changed(Centre, statistics=Layer.statistics), "Changed has init_state, next_state, and runni"),
    (changed(ReLU, running=("mean",)), "Changed has no init_state, and running is .'mean',.; a la"),
]


@pytest.mark.parametrize("layer, sentence", LAYERS)
def test_a_layer_that_is_none_or_not_whole(layer, sentence):
    with pytest.raises(InputError, match=sentence):
        network_of(layer)


def test_layers_are_a_dict():
    with pytest.raises(InputError, match="layers is .*Linear.*, but it must be a dict of name to"):
        Network([Linear(12, 3)], (12,))


@pytest.mark.parametrize("method", ["statistics", "next_state"])
def test_a_misspelt_running_statistic_is_the_layers(toy, method):
    wrong = changed(Centre, **{method: lambda self, *a: {"men": np.zeros(5, np.float32)}})
    with pytest.raises(InputError, match=rf"layer 'own': {method} gives \['men'\], but running sa"):
        fit(Objective(network_of(wrong), quantizers.Sign()), toy, STE(), optim.SGD(0.1),
            **OPTIONS)  # fmt: skip


def test_a_plain_class_can_be_resumed(toy, tmp_path):
    """Inside a composite, where its address would stand in the settings."""
    settings = []
    for resume in (False, True):
        objective = Objective(network_of(Residual({"own": Centre()})), quantizers.Sign())
        run = fit(objective, toy, STE(), optim.SGD(0.1), path=tmp_path / "run.npz",
                  resume=resume, **OPTIONS)  # fmt: skip
        settings.append(run.settings)
    assert settings[0] == settings[1] and "0x" not in str(settings)
    assert "Centre()" in settings[0]["network"]["own"]


@pytest.mark.parametrize("wrap", [Stack, Residual])
def test_predicting_keeps_no_caches_inside_of_composites(wrap):
    """Eight layers need the memory of two or three, at the top and further down; forward of all."""
    layers = {f"act{i}": HardTanh() for i in range(8)}
    x = np.zeros((50, 20_000))

    def peak(work):
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1] / x.nbytes
        finally:
            tracemalloc.stop()

    nested = Stack({"inner": wrap(layers)})
    np.testing.assert_array_equal(nested.predict({}, x), nested.forward({}, x)[0])
    assert peak(lambda: nested.predict({}, x)) < 4 < peak(lambda: nested.forward({}, x))


def test_batch_norm_gives_no_dx_where_none_is_wanted():
    rng, layer = np.random.default_rng(0), BatchNorm1d(4)
    x, dy = rng.normal(size=(2, 6, 4))
    params = {"scale": np.ones(4), "shift": np.zeros(4)}
    _, cache = layer.forward(params, x)
    dx, grads = layer.backward(params, cache, dy, wanted=False)
    assert dx is None
    for name, value in layer.backward(params, cache, dy)[1].items():
        np.testing.assert_array_equal(grads[name], value)


@pytest.mark.parametrize(
    "build, sentence",
    [
        (lambda: Network({"fc": Linear(784, 10)}, 784), "input_shape is 784, but it must be a tup"),
        (lambda: optim.Adam("0.1"), "lr is '0.1', but it must be a number; it must be finite and"),
    ],
)
def test_a_number_for_a_tuple_and_a_text_for_a_number(build, sentence):
    with pytest.raises(InputError, match=sentence):
        build()


def test_a_layer_may_change_late_in_a_run():
    """One that is itself half way: its class has an ``at`` of its own, and that is enough."""

    class Late(ReLU):
        def at(self, progress):
            return HardTanh() if progress > 0.75 else self

    net = network_of(Late())
    assert net.scheduled and isinstance(net.at(0.9).layers["own"], HardTanh)
    assert not network_of(ReLU()).scheduled


# Quantisers --------------------------------------------------------------------------------------


def lsq(**members):
    """LSQ with something changed, as an object."""
    return type("Changed", (quantizers.LSQ,), members)()


QUANTIZERS = [
    ({"shapes": lambda self, shape: ["step"]}, "Changed.shapes is .'step'., but it must be a dict"),
    ({"shapes": lambda self, shape: {"step": 1}}, "Changed.shapes is .*, but it must be a dict of"),
    ({"shapes": lambda self, shape: {"step": ()}}, "Changed.shapes is .*, but it must be a dict o"),
    ({"least": {"stp": 0.0}}, "Changed.least is .'stp': 0.0., but Changed.shapes has step"),
    ({"init": lambda self, w, stream: {}}, "Changed.init is .., but its shapes say .'step': .1,.."),
    ({"init": lambda self, w, stream: {"step": 0.5}}, r"Changed.init is .'step': \(\)., but its "),
    ({"backward": lambda self, x, scale, dw: (dw, {})}, r"backward gives gradients of \[\], but s"),
    ({"backward": lambda self, x, scale, dw: (dw.astype(float), {"step": dw[..., :1]})},
     r"dx of Changed.backward is \(60,\) float64, but x is \(60,\) float32: keep shape and dt"),
    ({"backward": lambda self, x, scale, dw: (dw, {"step": dw[..., :1].astype(float)})},
     r"gradient of step of Changed.backward is \(1,\) float64, but step is \(1,\) float32"),
]  # fmt: skip


@pytest.mark.parametrize("members, sentence", QUANTIZERS)
def test_a_quantiser_that_says_one_thing_and_does_another(toy, members, sentence):
    with pytest.raises(InputError, match=sentence):
        fit(Objective(network_of(ReLU()), lsq(**members)), toy, STE(), optim.SGD(0.1),
            **OPTIONS)  # fmt: skip


def test_a_network_forgets_what_another_quantiser_learned(toy):
    """Its parameters, its start, and where only some weights are quantised."""
    net = network_of(ReLU())
    learning = Objective(net, quantizers.LSQ()).network
    assert "fc1.weight.step" in learning.shapes and "fc1.weight.step" not in net.shapes
    assert Objective(learning, quantizers.Sign()).network.shapes == net.shapes
    some = Objective(learning, quantizers.LSQ(), quantized=("fc1.weight",)).network
    assert set(some.shapes) - set(net.shapes) == {"fc1.weight.step"}
    half = lsq(init=lambda self, w, stream: {"step": np.full(1, 0.5)})
    ours = Objective(learning, half).network
    np.testing.assert_array_equal(ours.views(ours.init(0))["fc1.weight.step"], [0.5])
    # the same quantiser, at another point of a run, keeps the network that it has
    fda = Objective(net, quantizers.FDA())
    assert Objective(fda.network, quantizers.FDA().at(0.5)).network is fda.network


def test_without_quantised_weights_there_is_nothing_to_calibrate():
    net = network_of(ReLU())
    objective, theta = Objective(net, quantizers.Sign(), quantized=()), net.init(0)
    batch = minizo.Batch(np.ones((4, 1, 1, 12), np.float32), np.arange(4) % 3)
    assert np.isfinite(objective.evaluate(theta, batch))
    assert np.any(objective.ste_gradient(theta, batch).gradient != 0.0)
    with pytest.raises(InputError, match="eps is None, but nothing is quantised"):
        objective.matched_eps(theta)

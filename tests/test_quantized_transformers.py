"""Transformers whose activations are quantised, and weights with bit widths of their own."""

import numpy as np
import pytest

from minizo import Batch, InputError, Objective
from minizo import quantizers as q
from minizo.models import bit_widths, chosen, llama
from minizo.models.activations import input_layer
from minizo.network import Network

INPUTS = ["absmax", "quest", "lsq", "midtread", "midrise", "sign", q.AbsMax(bits=4), q.LSQ(bits=3)]


@pytest.mark.parametrize("inputs", INPUTS, ids=str)
def test_quantised_inputs_of_linear_layers(inputs):
    """Every inner linear layer takes few different numbers a token, and the model trains."""
    net = llama(7, width=16, layers=2, heads=2, context=12, inputs=inputs)
    steps = [name for name in net.shapes if name.endswith(".step")]
    assert len(steps) == 8 * isinstance(input_layer(inputs).quantizer, q.LSQ)
    objective = Objective(net, q.MidRise("hardtanh"), chosen(net, "layers.*"))
    theta = objective.network.init(3, like=np.empty(0))
    objective = objective.calibrate(theta)
    tokens = np.random.default_rng(0).integers(7, size=(4, 13))
    batch = Batch(tokens[:, :-1], tokens[:, 1:])
    loss, g, _ = objective.ste_gradient(theta, batch)
    assert np.isfinite(loss) and np.all(np.isfinite(g)) and np.any(g)
    block = net.layers["layers"].layers["1"].layers["attention"].body
    layer, x = block["inputs"], np.random.default_rng(1).normal(size=(2, 12, 16))
    params = {name: value for name, value in layer.init(None, theta).items()}
    y = layer.forward(params, x)[0]
    bits = getattr(layer.quantizer, "bits", 1)
    assert max(len(np.unique(row)) for row in y.reshape(-1, 16)) <= min(16, 2**bits)


def test_a_token_is_quantised_by_itself():
    """AbsMax: the largest number of each token is a level, whatever the other tokens are."""
    layer = input_layer("absmax", 3)
    x = np.random.default_rng(2).normal(size=(2, 5, 8)) * np.arange(1.0, 6.0)[:, None]
    y = layer.forward({}, x)[0]
    largest = np.abs(x).max(axis=-1)
    np.testing.assert_allclose(np.abs(y).max(axis=-1), largest)
    np.testing.assert_array_equal(layer.forward({}, x[:, :1])[0], y[:, :1])
    step = largest[..., None] / 3.0
    np.testing.assert_allclose(y, step * np.floor(x / step + 0.5))
    assert np.array_equal(layer.backward({}, x, y)[0], y)
    with pytest.raises(InputError, match=r"AbsMax quantises the numbers of a token together"):
        Network({"act": layer}, (3, 4, 4))


def test_bit_widths_by_name():
    """Each pattern its own bits, the rest the quantiser's; learned steps are there for both."""
    net = llama(7, width=16, layers=1, heads=2, context=6)
    names = chosen(net, "layers.*")
    own = bit_widths(net, q.LSQ(), {"*.down.*": 4, "layers.1.attention.*": 3}, names)
    objective = Objective(net, q.LSQ(), names, exceptions=own)
    theta = objective.network.init(0, like=np.empty(0))
    objective = objective.calibrate(theta)
    weights = objective.quantize(theta)
    bits = {name: objective.quantizer_of(name).bits for name in names}
    assert sorted(bits.values()) == [2, 2, 3, 3, 4]
    for name in names:
        assert len(np.unique(weights[name])) <= 2 ** bits[name]
        alone = Objective(net, q.LSQ(bits=bits[name]), (name,))
        theta_alone = alone.network.init(0, like=np.empty(0))
        alone = alone.calibrate(theta_alone)
        np.testing.assert_array_equal(weights[name], alone.quantize(theta_alone)[name])
    assert len(np.unique(weights["layers.1.mlp.down.weight"])) > 4
    sizes = objective.network.views(objective.matched_eps(theta))
    assert np.ptp(sizes["layers.1.mlp.down.weight"]) == 0.0
    for bad, sentence in (
        ({"head.weight": 4}, "widths is 'head.weight', but head.weight is not quantised"),
        ({"layers.*": 9}, "bits is 9, but it must be a whole number from 2 to 8"),
        ({"leyers": 4}, "fits no name"),
    ):
        with pytest.raises(InputError, match=sentence):
            bit_widths(net, q.LSQ(), bad, names)
    with pytest.raises(InputError, match="a bit width needs a quantiser that has one"):
        bit_widths(net, q.Sign(), {"layers.*": 4}, names)
    with pytest.raises(InputError, match="a name in exceptions is 'head.weight', but only what is"):
        Objective(net, q.LSQ(), names, exceptions={"head.weight": q.LSQ()})

"""Generators of MetaQuant and FSG: every backward, and independent formulas."""

import numpy as np
import pytest
from hypernets import mamba_by_hand
from learned import NETS, given, started

from minizo import (
    rng,
)
from minizo.hypernets import MLP, Mamba
from minizo.hypernets.generators import Average, Factor, Given
from minizo.hypernets.slow import SlowNet

# Generators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS, ids=str)
def test_pull_back_is_the_derivative(net):
    """Every parameter by central differences, 1e-6 of the largest; carried states are constant."""
    known, df = given()
    phi = started(net)
    # the second call, so that an LSTM starts from a state that is not 0
    _, start, _ = net.generate(net.views(phi), known, net.rest(5, phi))
    _, _, cache = net.generate(net.views(phi), known, start)
    gradient = net.flatten(net.pull_back(net.views(phi), cache, df))
    numeric = np.empty_like(phi)
    for i, unit in enumerate(np.eye(len(phi)) * 1e-5):
        above, below = (
            net.generate(net.views(phi + sign * unit), known, start)[0] for sign in (1.0, -1.0)
        )
        numeric[i] = np.sum(df * (above - below)) / 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-6 * np.abs(numeric).max())
    assert np.abs(numeric).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("net", [*NETS, Average()], ids=str)
def test_generators_are_pure_and_keep_the_dtype(net, dtype):
    known, df = given(dtype=dtype)
    params = net.init(rng.at(0, "hypernet", 0), np.empty(0, dtype))
    before = [v.copy() for v in (*params.values(), *known[1:], df)]
    f, carried, cache = net.generate(params, known, net.rest(5, df))
    grads = net.pull_back(params, cache, df)
    assert f.shape == (5,)
    assert {v.dtype for v in (f, *carried, *params.values(), *grads.values())} == {np.dtype(dtype)}
    for value, kept in zip((*params.values(), *known[1:], df), before, strict=True):
        np.testing.assert_array_equal(value, kept)
    again = net.generate(params, known, net.rest(5, df))
    np.testing.assert_array_equal(f, again[0])


def test_factors_are_numbers():
    """FCGrad is c g and MultiFC c g Wh, c by the passes through the layers one weight at a time."""
    known, _ = given()
    for mlp, by_weight in ((MLP((1, 4, 1)), False), (MLP((1, 4, 3, 1)), True)):
        net = Factor(mlp, by_weight)
        params = net.views(started(net))
        f, _, _ = net.generate(params, known, ())
        if by_weight:
            naive = known.gradient * mlp.forward(params, known.squashed[:, None])[0][:, 0]
        else:
            naive = mlp.forward(params, known.gradient[:, None])[0][:, 0]
        np.testing.assert_allclose(f, naive, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 3])
def test_slow_net_reads_the_last_outputs_of_one_long_sequence(length):
    """[e_i; h_1 ... h_m] in a line, time outside, against the step-by-step recurrence: 1e-12."""
    net = SlowNet(Mamba(1, 4, 3, 4), 2)
    params = net.views(started(net))
    known, _ = given(length=length)
    line = np.concatenate([params["LRE"][1], known.history.ravel()])[:, None]
    expected = mamba_by_hand(params, line)[-5:, 0]
    np.testing.assert_allclose(net.generate(params, known, ())[0], expected, rtol=1e-11)


def test_coord_is_one_sequence_a_weight():
    """[e_i; h_1j; ...; h_mj] for every weight j, its last output."""
    net = SlowNet(Mamba(1, 4, 3, 4), 2, "coord")
    params = net.views(started(net))
    known, _ = given()
    expected = [
        mamba_by_hand(params, np.concatenate([params["LRE"][1], column])[:, None])[-1, 0]
        for column in known.history.T
    ]
    np.testing.assert_allclose(net.generate(params, known, ())[0], expected, rtol=1e-11)


@pytest.mark.parametrize("weights", [1, 2, 5])
def test_flat_is_coord_for_one_weight_only(weights):
    flat, coord = (SlowNet(Mamba(1, 4, 3, 4), 2, layout) for layout in ("flat", "coord"))
    params = flat.views(started(flat))
    known, _ = given(weights=weights)
    a, b = (net.generate(params, known, ())[0] for net in (flat, coord))
    assert np.allclose(a, b, rtol=1e-12, atol=1e-15) == (weights == 1)


def test_zero_gate_of_the_slow_nets():
    """g = 0 gives S = 0 with Mamba, in either layout, wide or scaled; an LSTM's S is not 0."""
    known, _ = given()
    history = known.history.copy()
    history[-1, ::2] = 0.0
    known = Given(1, history[-1], known.squashed, history)
    for net in NETS:
        if isinstance(net, SlowNet):
            s = net.generate(net.views(started(net)), known, ())[0]
            if isinstance(net.model, Mamba):
                np.testing.assert_array_equal(s[::2], 0.0)
                assert np.all(s[1::2] != 0.0)
            else:
                assert np.all(np.abs(s) > 1e-6)


def test_a_layer_is_recognised():
    """Another layer's embedding gives another S, and only this layer's gets a gradient."""
    net = SlowNet(Mamba(1, 4, 3, 4), 3)
    params = net.views(started(net))
    known, ds = given()
    s, _, cache = net.generate(params, known, ())
    assert not np.allclose(s, net.generate(params, known._replace(layer=2), ())[0], rtol=1e-6)
    lre = net.pull_back(params, cache, ds)["LRE"]
    assert lre[1, 0] != 0.0 and not lre[[0, 2]].any()


def test_scaled_slow_net_does_not_depend_on_the_size_of_gradients():
    """S(1000 h) = 1000 S(h) to rounding with scaled, not without. A history of zeros is fine."""
    known, _ = given()
    large = Given(1, 1e3 * known.gradient, known.squashed, 1e3 * known.history)
    for scaled in (True, False):
        net = SlowNet(Mamba(1, 4, 3, 4), 2, scaled=scaled)
        params = net.views(started(net))
        s, big = (net.generate(params, k, ())[0] for k in (known, large))
        assert np.allclose(big, 1e3 * s, rtol=1e-10) == scaled
    none = Given(1, 0 * known.gradient, known.squashed, 0 * known.history)
    np.testing.assert_array_equal(net.generate(params, none, ())[0], 0.0)


def test_average_is_its_equation():
    """(1 - mu) sum_k mu^k g_{t-k} after 4 steps."""
    net, carried, gs = Average(0.7), (np.zeros(5),), np.random.default_rng(0).normal(size=(4, 5))
    for g in gs:
        f, carried, _ = net.generate({}, Given(0, g, g, g[None]), carried)
    expected = 0.3 * sum(0.7**k * g for k, g in enumerate(gs[::-1]))
    np.testing.assert_allclose(f, expected, rtol=1e-12)

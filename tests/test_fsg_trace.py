"""What is watched while FSG trains: gains, slow columns, frozen networks."""

import math

import numpy as np
import pytest

from minizo import STE, Objective, backend, fit, models
from minizo.estimators import FSG, LSTMFC, FCGrad, FSGAverage, FSGGain, MultiFC
from minizo.hypernets.slow import SlowNet
from minizo.lab.generated import COLUMNS, frozen, trace, watches
from minizo.optim import SGD, Adam
from minizo.quantizers import DoReFa

TINY = {"expand": 4, "states": 3, "kernel": 4, "units": 5, "length": 3}


def trained(toy, estimator, steps=8, optimizer=None, **options):
    """(calibrated objective, the last `TrainState`, the run)."""
    states = []
    run = fit(
        Objective(models.mlp(12, 5, 3), DoReFa(bits=1)), toy, estimator, optimizer or Adam(0.02),
        steps=steps, batch=50, seed=1,
        watch={"x": lambda objective, state: states.append(state) or 0.0, **options},
    )  # fmt: skip
    return run.objective, states, run


# The trace -------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [FCGrad(units=5), MultiFC(units=5)], ids=str)
def test_a_learned_number_is_found(toy, estimator):
    """c of FCGrad and MultiFC is the product of their matrices; FCGrad is nothing else, R2 = 1."""
    objective, states, _ = trained(toy, estimator)
    found = trace(estimator, objective, states[-1])
    net = estimator.parts(2)[0].net
    c = net.mlp.product(net.views(states[-1].estimator.phi[0]))[0, 0]
    assert found["fast_gain"] == pytest.approx(c, rel=1e-5)
    if isinstance(estimator, FCGrad):
        assert found["gain"] == pytest.approx(c, rel=1e-5)
        assert found["r2"] == pytest.approx(1.0, abs=1e-6)
    else:
        assert 0.1 < found["r2"] < 0.999 and found["gain"] * c > 0.0
    assert all(math.isnan(found[name]) for name in COLUMNS if name.startswith("slow"))
    before = trace(estimator, objective, states[0])
    assert set(before) == set(COLUMNS) and all(map(math.isnan, before.values()))


def test_the_gain_is_that_of_what_the_optimiser_gets(toy):
    """With SGD of a constant rate the step after the trace is -lr G: k and R2 from theta itself."""
    estimator = FSG(**TINY)
    objective, states, _ = trained(
        toy, estimator, steps=6, optimizer=SGD(0.5, schedule="constant")
    )  # records every step
    for state, after in zip(states[3:], states[4:], strict=False):
        found = trace(estimator, objective, state)
        g, moved, direct = state.estimator.history[-1], [], []
        for name in objective.quantized:
            own = objective.network.slices[name]
            moved.append((state.theta[own] - after.theta[own]) / 0.5)
            direct.append(objective.quantizer.derivative(state.theta[own], None) * g[own])
        moved, direct = np.concatenate(moved), np.concatenate(direct)
        k = moved @ direct / (direct @ direct)
        assert found["gain"] == pytest.approx(k, rel=1e-3)
        rest = moved - k * direct
        assert found["r2"] == pytest.approx(1 - rest @ rest / (moved @ moved), abs=1e-3)


def test_slow_columns_by_hand(toy):
    """K, R2, share, and what the history and the embedding change, from the slow-net itself."""
    estimator = FSG(**TINY, slow_share=0.4)
    objective, states, _ = trained(toy, estimator)
    state = states[-1].estimator
    found = trace(estimator, objective, states[-1])
    known = estimator.known(objective, state)
    fast, slow = estimator.parts(2)
    assert isinstance(slow.net, SlowNet)
    params = slow.net.views(state.phi[1])
    s = [slow.net.generate(params, one, ())[0] for one in known]
    g = [one.gradient for one in known]
    whole, last = np.concatenate(s), np.concatenate(g)
    assert found["slow_gain"] == pytest.approx(whole @ last / (last @ last), rel=1e-4)
    rest = np.concatenate([a - (a @ b) / (b @ b) * b for a, b in zip(s, g, strict=True)])
    assert found["slow_r2"] == pytest.approx(1 - rest @ rest / (whole @ whole), abs=1e-5)
    c = fast.net.mlp.product(fast.net.views(state.phi[0]))[0, 0]
    theta = states[-1].theta
    slices = [objective.network.slices[name] for name in objective.quantized]
    f = np.concatenate([
        objective.quantizer.derivative(theta[own], None) * c * one.gradient * one.squashed
        for own, one in zip(slices, known, strict=True)
    ])  # fmt: skip
    sizes = [0.4 * np.linalg.norm(whole), 0.6 * np.linalg.norm(f)]
    assert found["slow_share"] == pytest.approx(sizes[0] / sum(sizes), rel=1e-4)
    for name, change in (
        ("slow_history", lambda one: one._replace(
            history=one.history * np.array([-1, -1, 1], np.float32)[:, None])),
        ("slow_embedding", lambda one: one._replace(layer=1 - one.layer)),
    ):  # fmt: skip
        other = np.concatenate([slow.net.generate(params, change(one), ())[0] for one in known])
        gap = np.linalg.norm(other - whole) / np.linalg.norm(whole)
        assert found[name] == pytest.approx(gap, rel=1e-3) and gap > 0.0


def test_what_the_slow_nets_read(toy):
    """A gain is R2 = 1 and reads nothing; Mamba and an LSTM are more, in gradients of order 1."""
    found = {}
    for name, estimator in {
        "gain": FSGGain(**TINY), "ema": FSGAverage(**TINY), "mamba": FSG(**TINY),
        "lstm": FSG(**TINY, slow_net="lstm"),
    }.items():  # fmt: skip
        objective, states, _ = trained(toy, estimator)
        found[name] = trace(estimator, objective, states[-1])
    assert found["gain"]["slow_r2"] == pytest.approx(1.0, abs=1e-6)
    assert 0.0 < found["ema"]["slow_r2"] < 0.999
    assert math.isnan(found["gain"]["slow_history"]) and math.isnan(found["ema"]["slow_embedding"])
    for name in ("mamba", "lstm"):
        assert found[name]["slow_history"] > 0.0 and found[name]["slow_embedding"] > 0.0
        assert 0.0 <= found[name]["slow_r2"] < 0.999


def test_watching_changes_nothing(toy):
    """Same bits with the columns and without; they are computed once a record; STE has none."""
    estimator = FSG(**TINY)
    _, _, plain = trained(toy, estimator)
    _, _, run = trained(toy, estimator, **watches(estimator))
    assert backend.sha256(run.theta) == backend.sha256(plain.theta)
    assert set(COLUMNS) <= set(run.records) and len(run.records["gain"]) == len(run.records["step"])
    assert math.isnan(run.records["gain"][0]) and math.isfinite(run.records["gain"][-1])
    assert watches(STE()) == {}


@pytest.mark.parametrize("estimator", [FCGrad(units=5), LSTMFC(units=5), FSG(**TINY)], ids=str)
def test_frozen_networks_stay_as_they_were_drawn(toy, estimator):
    still = frozen(estimator)
    assert type(still) is type(estimator)
    for rule, same in ((still, True), (estimator, False)):
        _, states, _ = trained(toy, rule)
        for first, last in zip(
            states[1].estimator.phi, states[-1].estimator.phi, strict=True
        ):  # drawn in the first iteration
            # what starts at 0 moves by 1e-30
            assert np.allclose(first, last, rtol=0, atol=1e-25) == same

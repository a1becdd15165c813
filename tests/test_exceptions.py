"""Weights with a quantiser of their own: every rule, and every record, knows of it."""

from dataclasses import replace

import numpy as np
import pytest

from minizo import (
    FOGZO,
    PARQ,
    SPSA,
    STE,
    Batch,
    BinaryConnect,
    Objective,
    ProxConnect,
    ProxQuant,
    fit,
    models,
    optim,
)
from minizo import quantizers as q
from minizo.checkpoint import load
from minizo.errors import InputError
from minizo.estimators import ESTIMATORS, FSG, BinaryRelax, MirrorDescent, Step
from minizo.lab.exact import level_mean
from minizo.lab.flips import level_change

RULES = [
    STE(), SPSA(n=3), FOGZO(n=2), ProxQuant("l1", 1e-2), ProxQuant("l2", 1e-2), ProxConnect(),
    BinaryConnect(), BinaryConnect(clip=1.0), BinaryRelax(), PARQ(), MirrorDescent(),
    ESTIMATORS["blended"](), ESTIMATORS["multifc"](), FSG(),
]  # fmt: skip


def made(toy, quantizer, exceptions, **more):
    """A calibrated objective with exceptions, and where it starts."""
    net = models.mlp(toy.x_train[0].size, 6, toy.classes)
    objective = Objective(net, quantizer, exceptions=exceptions, **more)
    theta = objective.network.init(0)
    return objective.calibrate(theta), theta


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.label)
def test_an_exception_equal_to_the_rest_changes_nothing(rule, toy):
    """The same bits with `exceptions` that say what `quantizer` says; a control differs."""
    same, other = q.MidRise(bits=3), q.MidRise(bits=1)
    runs = [
        fit(made(toy, base, own)[0], toy, rule, optim.Adam(0.01), steps=6, batch=20)
        for base, own in (
            (same, {}),
            (same, {"fc1.weight": same, "fc2.weight": same}),
            (other, {"fc1.weight": same, "fc2.weight": same}),  # the base is used nowhere
            (other, {"fc2.weight": same}),
        )
    ]
    for run in runs[1:3]:
        np.testing.assert_array_equal(run.theta, runs[0].theta)
        for name, value in runs[0].weights.items():
            np.testing.assert_array_equal(run.weights[name], value)
    assert not np.array_equal(runs[3].theta, runs[0].theta)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.label)
def test_levels_are_those_of_each_weight(rule, toy):
    """After training fc1 has +-alpha and fc2 the levels of 3 bits, whoever trains them."""
    objective, _ = made(toy, q.Sign(), {"fc2.weight": q.MidRise(bits=3)})
    run = fit(objective, toy, rule, optim.Adam(0.01), steps=6, batch=20)
    for name, codes in (("fc1.weight", [-1, 1]), ("fc2.weight", np.arange(8) - 3.5)):
        found = np.unique(run.weights[name] / objective.scales[name])
        assert np.all(np.isclose(found[:, None], codes).any(axis=1)), found


def test_a_rule_that_needs_something_of_a_quantiser_needs_it_of_all(toy):
    for rule, bad, sentence in (
        (PARQ(), q.TWN(), "PARQ needs levels at equal distances, and TWN has none"),
        (ProxQuant(), q.Stochastic(), "Stochastic draws them"),
        (ProxQuant(), q.LSQ(), "but LSQ learns parameters of its own"),
        (FSG(), q.QuEST(block=4), "a learned gradient needs a quantiser with a diagonal backward"),
    ):
        objective, theta = made(toy, q.MidRise(), {"fc2.weight": bad})
        with pytest.raises(InputError, match=sentence):
            rule.init(objective, theta)
    objective, theta = made(toy, q.Sign(), {"fc2.weight": q.MidRise()})
    with pytest.raises(InputError, match="number of levels is 4, but Bop flips binary weights"):
        optim.Bop().init(theta, objective)


def test_the_laws_that_surrogates_imply_must_agree(toy):
    objective, theta = made(toy, q.MidRise("tanh"), {"fc2.weight": q.MidRise("tanh", bits=4)})
    assert objective.law.name == "logistic"
    eps = objective.network.views(objective.matched_eps(theta))
    steps = {name: objective.scales[name][0] for name in objective.quantized}
    ratio = eps["fc1.weight"][0, 0] / steps["fc1.weight"]
    assert eps["fc2.weight"][0, 0] / steps["fc2.weight"] == pytest.approx(ratio)
    mixed = replace(objective, exceptions={"fc2.weight": q.MidRise("hardtanh")}, scales=None)
    mixed = mixed.calibrate(theta)
    rule, batch = SPSA(), Batch(toy.x_train[:4], toy.y_train[:4])
    with pytest.raises(InputError, match="laws is .'logistic', 'uniform'., but name one, such as"):
        rule.estimate(mixed, theta, batch, rule.init(mixed, theta), Step())


def test_runs_that_differ_in_an_exception_alone_are_different(toy, tmp_path):
    """A checkpoint of other bits is refused, and its header says the quantiser of each."""
    path = tmp_path / "run.npz"
    options = {"steps": 4, "batch": 20, "path": path}
    start = made(toy, q.Sign(), {"fc2.weight": q.MidTread(bits=8)})[0]
    fit(start, toy, STE(), optim.Adam(0.01), **options)
    (run,) = load(path)[0]["runs"]
    assert run["settings"]["exceptions"] == {"fc2.weight": repr(q.MidTread(bits=8))}
    for other in ({"fc2.weight": q.MidTread("tanh", bits=8)}, {}):
        changed = made(toy, q.Sign(), other)[0]
        with pytest.raises(InputError, match="exceptions"):
            fit(changed, toy, STE(), optim.Adam(0.01), resume=True, **options)


def test_flips_and_exact_means_know_each_quantiser(toy):
    """Fitted levels of one weight, fixed ones of the other; thresholds of each in exact means."""
    objective, theta = made(toy, q.Sign(), {"fc2.weight": q.TWN()})
    assert level_change(objective, theta, 1.0001 * theta) == 0.0
    assert level_change(objective, theta, -theta) > 0.5
    net = models.mlp(2, 2, 2)
    uniform = [q.Sign("hardtanh"), {"fc2.weight": q.MidRise("hardtanh")}]
    objective = Objective(net, uniform[0], exceptions=uniform[1])
    theta = objective.network.init(1, like=np.empty(0))
    objective = objective.calibrate(theta)
    gen = np.random.default_rng(0)
    batch = Batch(gen.normal(size=(5, 1, 1, 2)), gen.integers(0, 2, 5))
    rule = SPSA(perturb="quantized")
    exact = level_mean(rule, objective, theta, batch, "q")
    query = SPSA(n=20_000, perturb="quantized")
    state = query.init(objective, theta)
    draws = [
        query.estimate(objective, theta, batch, state, Step(seed=seed))[0].grad for seed in range(8)
    ]
    error = np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
    weights = state.moved > 0
    assert np.all(np.abs(np.mean(draws, axis=0) - exact)[weights] <= 8.0 * error[weights] + 1e-12)

"""Proximal rules by hand, and the exact equivalences between them."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from proximal_rules import STEPS, digest, run

from minizo import (
    PARQ,
    STE,
    BinaryConnect,
    BinaryRelax,
    BlendedCoarseGradient,
    MirrorDescent,
    Objective,
    ProxConnect,
    ProxQuant,
    Step,
    fit,
    models,
    optim,
    prox,
    quantizers,
)
from minizo.data.dataset import Dataset
from minizo.group import batches
from minizo.layers import Flatten, Linear
from minizo.network import Network
from minizo.recipe import Recipe

# The equations


def by_hand(toy, seen, before, after, steps=STEPS, rate=0.3):
    """theta after SGD with the maps, in NumPy; maps take (weights, alpha, step)."""
    net = models.mlp(12, 5, 3)
    theta = net.init(1)
    objective = Objective(net, quantizers.Sign()).calibrate(theta)
    real = replace(objective, quantizer=quantizers.FullPrecision())
    feed = batches(Recipe(objective, toy, None, None, steps, 50, 1, 1), 0)

    def on_weights(theta, function, *args):
        theta = theta.copy()
        for name in ("fc1.weight", "fc2.weight"):
            part = net.slices[name]
            theta[part] = function(theta[part], float(objective.scales[name][0]), *args)
        return theta

    for t in range(steps):
        _, g, _ = real.ste_gradient(on_weights(theta, seen, t), next(feed))
        theta = on_weights(theta, before, t) - np.float32(rate * (1 - t / steps)) * g
        theta = on_weights(theta, after, t)
    return theta


def same(x, alpha, t):
    return x


def sign(x, alpha, t=None):
    return alpha * np.where(x >= 0, 1, -1).astype(x.dtype)


def soft(x, alpha, amount):
    s = sign(x, alpha)
    return s + np.sign(x - s) * np.maximum(np.abs(x - s) - amount * alpha, 0)


def pull(x, alpha, lam):
    return (x + lam * sign(x, alpha)) / (1 + lam)


def iota(t):
    return prox.logistic_fall(t / STEPS)


HAND = {
    "ProxQuant": (
        ProxQuant(lam=0.2, freeze=None),
        (same, same, lambda x, a, t: soft(x, a, 0.3 * (1 - t / STEPS) * 0.2 * t)),
    ),
    "ProxQuant by epoch, L2, clipped": (
        ProxQuant(prox="l2", lam=2.0, homotopy="epoch", clip=1.0, freeze=None),
        (same, same,
         lambda x, a, t: np.clip(pull(x, a, 0.3 * (1 - t / STEPS) * 2.0 * (t // 8)), -a, a)),
    ),
    "ProxQuant L2 without its 1/2": (
        ProxQuant(prox="l2", lam=0.2, convention="full", freeze=None),
        (same, same, lambda x, a, t: pull(x, a, 2 * 0.3 * (1 - t / STEPS) * 0.2 * t)),
    ),
    "ProxConnect": (
        ProxConnect(lam=0.05), (lambda x, a, t: soft(x, a, 0.05 * t), same, same)),
    "BinaryConnect": (BinaryConnect(clip=1.0), (sign, same, lambda x, a, t: np.clip(x, -a, a))),
    "BinaryRelax": (
        BinaryRelax(lam=0.5, growth=1.1, harden=0.5),
        (lambda x, a, t: pull(x, a, 0.5 * 1.1**t) if t < 10 else sign(x, a), same, same),
    ),
    "PARQ": (PARQ(), (lambda x, a, t: np.clip(x / iota(t), -a, a), same, same)),
    "mirror descent": (
        MirrorDescent(0.5, 50.0),
        (lambda x, a, t: a * np.tanh(0.5 * 100 ** (t / STEPS) * x / a), same, same),
    ),
    "blended": (
        BlendedCoarseGradient(rho=0.1), (sign, lambda x, a, t: 0.9 * x + 0.1 * sign(x, a), same)),
}  # fmt: skip


@pytest.mark.parametrize("name", HAND)
def test_twenty_steps_by_hand(toy, name):
    """theta of `fit` with SGD against the rule's equation, float32, 2e-5; its neighbours differ."""
    rule, maps = HAND[name]
    found = run(toy, rule, optim.SGD(0.3)).theta
    np.testing.assert_allclose(found, by_hand(toy, *maps), rtol=2e-5, atol=2e-6)
    for other, (another, _) in HAND.items():
        if other != name:
            assert np.max(np.abs(run(toy, another, optim.SGD(0.3)).theta - found)) > 1e-3


# Equivalences, bit for bit


PAIRS = {
    "BinaryConnect is the STE with identity": (BinaryConnect(), STE()),
    "lazy with infinite lambda (L1) is BinaryConnect": (
        ProxConnect(lam=inf, homotopy="constant"), BinaryConnect()),
    "lazy with infinite lambda (L2) is BinaryConnect": (
        ProxConnect(prox="l2", lam=inf, homotopy="constant"), BinaryConnect()),
    "BinaryRelax hardened from the start is BinaryConnect": (
        BinaryRelax(harden=0.0), BinaryConnect()),
    "BinaryRelax is ProxConnect with its settings": (
        BinaryRelax(), ProxConnect(prox="l2", lam=1.0, homotopy="geometric", harden=0.8)),
    "infinitely sharp mirror descent is BinaryConnect": (
        MirrorDescent(1e12, 1e12), BinaryConnect()),
    "blending nothing is BinaryConnect": (BlendedCoarseGradient(rho=0.0), BinaryConnect()),
    "no lambda: lazy or not is the same": (
        ProxConnect(lam=0.0), ProxQuant(lam=0.0, freeze=None)),
    "half of lambda without the 1/2 is lambda with it": (
        ProxConnect(prox="l2", lam=0.5, convention="full"), ProxConnect(prox="l2", lam=1.0)),
    "frozen or not, the steps before are the same": (
        ProxQuant(lam=0.01, freeze=1.0), ProxQuant(lam=0.01, freeze=None)),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", [optim.SGD(0.3), optim.Adam(0.02)], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", PAIRS)
def test_equivalences_are_exact(toy, name, optimizer):
    """The same quantised weights and records, bit for bit; all but the last: the same theta."""
    first, second = (run(toy, rule, optimizer) for rule in PAIRS[name])
    for weight, other in zip(first.weights.values(), second.weights.values(), strict=True):
        np.testing.assert_array_equal(weight, other)
    assert first.records["train_loss"] == second.records["train_loss"]
    if "frozen" not in name:
        assert digest(first) == digest(second)
    else:
        assert digest(first) != digest(second)


def test_no_lambda_is_full_precision_training(toy):
    """The same theta as the STE without a quantiser; the records are those of Q(theta)."""
    free = run(toy, ProxQuant(lam=0.0, freeze=None))
    real = run(toy, STE(), quantizer=quantizers.FullPrecision())
    assert digest(free) == digest(real)
    assert free.final("train_loss") > real.final("train_loss")


def test_eager_with_infinite_lambda_is_projected_sgd_and_not_binaryconnect(toy):
    """theta = Q(theta - eta g) after every step: small steps are forgotten and nothing moves."""
    rule = ProxQuant(lam=inf, homotopy="constant", freeze=None)
    eager = run(toy, rule, optim.SGD(0.3))
    expected = by_hand(toy, same, same, sign)
    np.testing.assert_allclose(eager.theta, expected, rtol=2e-5, atol=2e-6)
    lazy = run(toy, BinaryConnect(), optim.SGD(0.3))
    part = eager.objective.network.slices["fc1.weight"]
    assert np.any(np.sign(lazy.theta[part]) != np.sign(eager.theta[part]))


def test_powers_of_two_scale_the_latents_bit_for_bit():
    """(theta_0, eta) -> 1024 (theta_0, eta): BinaryConnect's weights are the same, its theta 1024
    times as large, to the last bit; 1000 times is not exact."""
    net = Network({"flat": Flatten(), "fc": Linear(12, 3, bias=False)}, (1, 1, 12))
    gen = np.random.default_rng(5)
    data = Dataset("noise", gen.normal(size=(200, 1, 1, 12)), np.arange(200) % 3,
                   gen.normal(size=(9, 1, 1, 12)), np.arange(9) % 3, classes=3)  # fmt: skip
    start = net.init(0, like=np.empty(0))
    objective = Objective(net, quantizers.Sign()).calibrate(start)

    def trained(c):
        return fit(objective, data, BinaryConnect(), optim.SGD(0.1 * c, "constant"), steps=100,
                   batch=20, start=c * start).theta  # fmt: skip

    np.testing.assert_array_equal(trained(1024.0), 1024.0 * trained(1.0))
    assert not np.array_equal(trained(1000.0), 1000.0 * trained(1.0))


# Homotopy, freeze, clip


def test_strengths():
    """lam t by step and by epoch, constant, geometric; infinity times 0 is 0."""
    steps = [Step(index=i, total=40, per_epoch=4) for i in (0, 1, 4, 11)]

    def strengths(homotopy, lam=0.5):
        return [ProxQuant(lam=lam, homotopy=homotopy, growth=1.1).strength(s) for s in steps]

    assert strengths("step") == [0.0, 0.5, 2.0, 5.5]
    assert strengths("epoch") == [0.0, 0.0, 0.5, 1.0]
    assert strengths("constant") == [0.5] * 4
    assert strengths("geometric") == pytest.approx([0.5 * 1.1**i for i in (0, 1, 4, 11)])
    assert strengths("step", inf) == [0.0, inf, inf, inf]
    far = ProxQuant(homotopy="geometric", growth=2.0).strength(Step(index=10**6, total=10**6))
    assert far == inf or far > 1e300


@pytest.mark.parametrize("quantizer", [quantizers.Sign(), quantizers.MidRise(),
                                       quantizers.Ternary(), quantizers.MultiBit()],
                         ids=["sign", "midrise", "ternary", "multibit"])  # fmt: skip
@pytest.mark.parametrize("rule", [ProxQuant(lam=0.2, freeze=0.5), BinaryConnect(freeze=0.5)],
                         ids=["ProxQuant", "BinaryConnect"])  # fmt: skip
def test_frozen_weights_stay_while_the_rest_trains(toy, rule, quantizer):
    """From step 10 of 20 the quantised weights are levels and keep their bits; biases move."""
    thetas = {}
    watch = {"x": lambda objective, state: thetas.setdefault(state.step, state.theta) is None}
    result = run(toy, rule, quantizer=quantizer, record_every=1, watch=watch)
    net, objective = result.objective.network, result.objective
    for name in net.shapes:
        part = net.slices[name]
        late = [thetas[t][part] for t in range(10, 21)]
        kept = all(np.array_equal(late[0], theta) for theta in late)
        assert kept == name.endswith(".weight"), name
        assert not np.array_equal(thetas[9][part], thetas[10][part])
        if kept:
            q = objective.quantize(thetas[10])[name].reshape(-1)
            np.testing.assert_allclose(late[0], q, rtol=1e-5, atol=1e-7)
            assert len(np.unique(late[0])) <= quantizer.levels

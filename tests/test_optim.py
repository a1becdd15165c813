"""Optimisers and schedules against independent formulas."""

import numpy as np
import pytest

from minizo import InputError, Objective, optim
from minizo.layers import Flatten, LayerNorm, Linear
from minizo.network import Network
from minizo.quantizers import FDA, LSQ, RBNN, Sign
from minizo.schedules import SHAPES, Milestones, schedule
from minizo.testing import check_optimizer


def adam_by_hand(grads, lr, b1=0.9, b2=0.999, eps=1e-8, decay=0.0):
    """Algorithm 1 of the paper, line by line; decay theta is part of the gradient."""
    theta, m, v = np.array([1.0, -2.0, 0.5]), 0.0, 0.0
    for t, g in enumerate(grads, 1):
        g = g + decay * theta
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        theta = theta - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return theta


def momentum_by_hand(grads, lr, decay=0.0):
    theta, m = np.array([1.0, -2.0, 0.5]), 0.0
    for g in grads:
        m = 0.9 * m + g + decay * theta
        theta = theta - lr * m
    return theta


def nesterov_by_hand(grads, lr, decay=0.0):
    """The form of 1983: a step from the point ahead, y; grads are those at y, and theta is y."""
    y = x = np.array([1.0, -2.0, 0.5])
    for g in grads:
        new = y - lr * (g + decay * y)
        y, x = new + 0.9 * (new - x), new
    return y


def sgd_by_hand(grads, lr, decay=0.0):
    theta = np.array([1.0, -2.0, 0.5])
    for g in grads:
        theta = (1.0 - lr * decay) * theta - lr * g
    return theta


def bop_by_hand(grads, lr, gamma=1e-3, threshold=1e-8):
    """Weight by weight: a running mean of the gradient flips what it agrees with in sign."""
    theta = [1.0, -2.0, 0.5]
    for i in range(3):
        m = 0.0
        for g in grads[:, i]:
            m = (1 - gamma) * m + gamma * g
            if abs(m) > threshold and (m > 0) == (theta[i] > 0):
                theta[i] = -theta[i]
    return np.array(theta)


def adamw_by_hand(grads, lr, decay=0.01, clip=None):
    """Algorithm 2 of its paper: the decay beside Adam's step; a gradient cut to length ``clip``."""
    theta, m, v = np.array([1.0, -2.0, 0.5]), 0.0, 0.0
    for t, g in enumerate(grads, 1):
        if clip is not None and np.linalg.norm(g) > clip:
            g = g * clip / np.linalg.norm(g)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        theta = theta - lr * (step + decay * theta)
    return theta


HAND = {
    "sgd": lambda grads, lr: np.array([1.0, -2.0, 0.5]) - lr * np.sum(grads, axis=0),
    "momentum": momentum_by_hand,
    "adam": adam_by_hand,
    "adamw": adamw_by_hand,
    "bop": bop_by_hand,
}


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_update_rule(name):
    """20 steps equal the textbook recursion to 1e-12; a rate 1 % off does not."""
    rule = optim.OPTIMIZERS[name](lr=0.05, schedule="constant")
    grads = np.random.default_rng(0).normal(size=(20, 3))
    theta = np.array([1.0, -2.0, 0.5])
    state = rule.init(theta)
    for g in grads:
        theta, state = rule.update(g, state, theta)
    np.testing.assert_allclose(theta, HAND[name](grads, 0.05), rtol=1e-12)
    if name != "bop":  # which has no rate for binary weights
        assert not np.allclose(theta, HAND[name](grads, 0.0505), rtol=1e-4)


COUPLED = [
    (optim.SGD, {}, sgd_by_hand),
    (optim.Momentum, {}, momentum_by_hand),
    (optim.Momentum, {"nesterov": True}, nesterov_by_hand),
    (optim.Adam, {}, adam_by_hand),
]


def twenty_steps(rule):
    """Gradients (20, 2, 1, 3) of two runs, and where the rule takes both as rows of one array."""
    grads = np.random.default_rng(0).normal(size=(20, 2, 1, 3))
    rows = np.tile([1.0, -2.0, 0.5], (2, 1, 1))
    state = rule.init(rows)
    for g in grads:
        rows, state = rule.update(g, state, rows)
    return grads, rows


@pytest.mark.parametrize("cls, more, by_hand", COUPLED)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_decay_and_nesterov(cls, more, by_hand, decay):
    """20 steps by hand to 1e-12, of one run and of rows; without the decay they would be others."""
    rule = cls(lr=0.05, schedule="constant", decay=decay, **more)
    grads, rows = twenty_steps(rule)
    for row in range(2):
        expected = by_hand(grads[:, row, 0], 0.05, decay=decay)
        np.testing.assert_allclose(rows[row, 0], expected, rtol=1e-12)
        assert not np.allclose(rows[row, 0], by_hand(grads[:, row, 0], 0.05, decay=0.1), rtol=1e-3)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_rule_with_every_setting_keeps_the_contract(name):
    """Purity, dtypes, rows, checkpoints: with decay, warm-up, floor, clipping and milestones."""
    more = {"nesterov": True} if name == "momentum" else {}
    rule = optim.OPTIMIZERS[name](
        schedule="milestones:.3/.6/.9", decay=0.1, warmup=0.3, floor=0.01, clip=2.0, **more
    )
    found = {finding.name: finding.passed for finding in check_optimizer(rule).checks}
    assert found.pop("downhill") is None and all(found.values())


def test_coupled_decay_is_of_all_parameters_and_bop_spares_binary_weights():
    """A gradient of 0: SGD shrinks biases as weights; Bop only what is not binary."""
    objective = Objective(Network({"fc": Linear(4, 6), "out": Linear(6, 2)}, (4,)), LSQ())
    theta = objective.network.init(0) + 0.5
    rule = optim.SGD(lr=0.1, schedule="constant", decay=0.5)
    new, _ = rule.update(np.zeros_like(theta), rule.init(theta, objective), theta)
    np.testing.assert_allclose(new, 0.95 * theta, rtol=1e-6)
    objective = Objective(objective.network, Sign(), quantized=("fc.weight",))
    theta = objective.network.init(0) + 0.5
    rule = optim.Bop(lr=0.1, schedule="constant", decay=0.5)
    new, _ = rule.update(np.zeros_like(theta), rule.init(theta, objective), theta)
    for name, still in objective.network.views(new == theta).items():
        assert np.all(still) if name == "fc.weight" else not np.any(still), name


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_states_start_at_zero(name):
    """But for masks; that updates are pure, and keep the dtype: `test_testing_optimizers`."""
    state = optim.OPTIMIZERS[name]().init(np.ones(4))
    if name in ("bop", "adamw"):
        assert np.all(state[-1] == 1)
        state = state[:-1]
    assert all(not np.any(field) for field in state)


@pytest.mark.parametrize("name", sorted(set(optim.OPTIMIZERS) - {"bop"}))
def test_minimises_a_quadratic(name):
    rule = optim.OPTIMIZERS[name](lr=0.05)
    theta = np.array([3.0, -2.0])
    state, curvature = rule.init(theta), np.array([1.0, 4.0])
    for t in range(400):
        theta, state = rule.update(curvature * theta, state, theta, t / 400)
    assert np.abs(theta).max() < 1e-2


@pytest.mark.parametrize("clip", [0.5, 1.5, 100.0])
def test_a_gradient_is_clipped_as_a_whole(clip):
    """AdamW, 20 steps by hand, alone and as rows of one array, each with its own length."""
    rule = optim.AdamW(lr=0.05, schedule="constant", decay=0.1, clip=clip)
    grads, rows = twenty_steps(rule)
    for row in range(2):
        expected = adamw_by_hand(grads[:, row, 0], 0.05, 0.1, clip)
        np.testing.assert_allclose(rows[row, 0], expected, rtol=1e-12)
    loose = adamw_by_hand(grads[:, 0, 0], 0.05, 0.1, None)
    assert np.allclose(rows[0, 0], loose, rtol=1e-6) == (clip == 100.0)


@pytest.mark.parametrize("quantizer", [LSQ(), RBNN(), FDA()])
def test_weights_decay_and_nothing_else_does(quantizer):
    """A gradient of 0 leaves biases, norms and what quantisers learn alone, and shrinks weights."""
    layers = {"fc": Linear(4, 6), "norm": LayerNorm((3, 6)), "bn": Flatten(2), "out": Linear(18, 2)}
    objective = Objective(Network(layers, (3, 4)), quantizer)
    theta = objective.network.init(0) + 0.5
    rule = optim.AdamW(lr=0.1, schedule="constant", decay=0.5)
    new, _ = rule.update(np.zeros_like(theta), rule.init(theta, objective), theta)
    before, after = objective.network.views(theta), objective.network.views(new)
    for name, value in before.items():
        share = 0.95 if name.endswith(".weight") else 1.0
        np.testing.assert_allclose(after[name], share * value, rtol=1e-6)


def test_a_long_gradient_of_float32_is_clipped_and_not_lost():
    rule, theta = optim.AdamW(lr=0.1, clip=1.0, decay=0.0), np.zeros(2, np.float32)
    grad = np.array([3e30, -4e30], np.float32)
    new, state = rule.update(grad, rule.init(theta), theta)
    np.testing.assert_allclose(new, [-0.1, 0.1], rtol=1e-5)
    np.testing.assert_allclose(state.m, [0.06, -0.08], rtol=1e-5)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_a_rate_that_warms_up(name):
    """Linear to lr, then the shape between lr and its floor, without a jump."""
    rule = optim.OPTIMIZERS[name](lr=2.0, schedule="cosine", warmup=0.2, floor=0.1)
    rates = [rule.rate(p) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    np.testing.assert_allclose(rates, [0.0, 1.0, 2.0, 1.1, 0.2], atol=1e-12)
    assert [optim.OPTIMIZERS[name](lr=2.0).rate(p) for p in (0.0, 0.5, 1.0)] == [2.0, 1.0, 0.0]


@pytest.mark.parametrize("epochs, steps", [(100, 391), (10, 3), (200, 7)])
def test_milestones_are_reached_at_the_first_step_of_their_epoch(epochs, steps):
    """A tenth after 30, 60 and 90 %, as counted in whole steps: no rounding moves one."""
    rule = optim.SGD(lr=3.0, schedule="milestones:.3/.6/.9")
    assert rule.rate(0.5) == optim.SGD(lr=3.0, schedule=Milestones((0.3, 0.6, 0.9))).rate(0.5)
    total = epochs * steps
    for t in range(0, total, max(1, steps // 3)):
        passed = sum(10 * t >= tenths * total for tenths in (3, 6, 9))
        np.testing.assert_allclose(rule.rate(t / total), 3.0 * 0.1**passed, rtol=1e-12)
    other = Milestones((0.25, 0.5), factor=0.2)
    np.testing.assert_allclose([other(p) for p in (0.2, 0.3, 0.6)], [1.0, 0.2, 0.04])


def test_schedules():
    """Values at 0, 1/4, 1/2 and 3/4 of the run by hand; all start at the start."""
    points = [0.0, 0.25, 0.5, 0.75]
    expected = {
        "constant": [1, 1, 1, 1],
        "linear": [1, 0.75, 0.5, 0.25],
        "cosine": [1, 0.5 + 2**-1.5, 0.5, 0.5 - 2**-1.5],
        "step": [1, 1, 0.1, 0.01],
    }
    assert set(expected) == set(SHAPES)
    for name, values in expected.items():
        got = [schedule(name, 3.0, 1.0, p) for p in points]
        np.testing.assert_allclose(got, 1 + 2 * np.array(values))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: optim.SGD(lr=float("nan")), "lr is nan"),
        (lambda: optim.Adam(lr=0.0), "lr is 0.0"),
        (lambda: optim.Adam(lr=float("inf")), "lr is inf"),
        (lambda: optim.Adam(b1=1.0), "Adam.b1 is 1.0"),
        (lambda: optim.Momentum(mu=-0.1), "Momentum.mu is -0.1"),
        (lambda: optim.SGD(schedule="cosin"), "did you mean 'cosine'"),
        (lambda: optim.SGD(schedule="milestone"), "did you mean 'milestones:.3/.6/.9'"),
        (lambda: optim.SGD(schedule="milestones"), "schedule is 'milestones', but milestones are"),
        (lambda: optim.Adam(schedule="milestones:.6/.3"), "rising shares of the run"),
        (lambda: optim.Adam(schedule="milestones:30/60"), "milestones:.3/.6/.9"),
        (lambda: optim.Adam(schedule="milestones:.3/x"), "with a slash between"),
        (lambda: Milestones(()), "it must hold rising shares"),
        (lambda: Milestones((0.3, 0.3)), "it must hold rising shares"),
        (lambda: Milestones((0.3, 1.0)), "must lie in"),
        (lambda: optim.SGD(decay=-0.1), "SGD.decay is -0.1"),
        (lambda: optim.Momentum(warmup=1.0), "Momentum.warmup is 1.0"),
        (lambda: optim.Momentum(nesterov=1), "Momentum.nesterov is 1"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

"""Optimisers and schedules against independent formulas."""

import numpy as np
import pytest

from minizo import InputError, optim
from minizo.schedules import SHAPES, schedule


def adam_by_hand(grads, lr, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 1 of the paper, line by line."""
    theta, m, v = np.array([1.0, -2.0, 0.5]), 0.0, 0.0
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        theta = theta - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return theta


def momentum_by_hand(grads, lr):
    theta, m = np.array([1.0, -2.0, 0.5]), 0.0
    for g in grads:
        m = 0.9 * m + g
        theta = theta - lr * m
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


HAND = {
    "sgd": lambda grads, lr: np.array([1.0, -2.0, 0.5]) - lr * np.sum(grads, axis=0),
    "momentum": momentum_by_hand,
    "adam": adam_by_hand,
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


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_states_start_at_zero(name):
    """But for Bop's mask; that updates are pure, and keep the dtype: `test_testing_optimizers`."""
    state = optim.OPTIMIZERS[name]().init(np.ones(4))
    if name == "bop":
        assert np.all(state.binary == 1)
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
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

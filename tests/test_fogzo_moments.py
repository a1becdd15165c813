"""FOGZO: mean and covariance, for guides that are right, wrong, useless and 0.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from strategies import (
    Cubic,
    Linear,
    agree,
    directions,
    estimates,
    generator,
    make_query,
    one_direction_samples,
    products,
    random_quadratic,
    same_mean,
    two_point_gradient,
)
from zeroth_order import MANY, NAMES, unit

from minizo import FOGZO, SPSA, Pool, Step, rng
from minizo.laws import LAWS


def fogzo_case(name, beta, d=4):
    """A quadratic with a guide that is right only in part: (query, g, ghat, gamma, kappa)."""
    objective, theta = random_quadratic(d)
    g = objective.gradient(theta)
    guide = unit(g + 0.8 * np.linalg.norm(g) * generator(5).normal(size=d))
    query = make_query(objective, theta, 0.4, name, guide=guide, beta=beta)
    return query, g, guide, guide @ g, LAWS[name].kurtosis


@pytest.mark.parametrize("beta", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("name", NAMES)
def test_mean_of_fogzo(name, beta):
    """E G = beta gamma ghat + (1 - beta) g, gamma = ghat . g, within 6 SE by the engine."""
    query, g, guide, gamma, _ = fogzo_case(name, beta)
    samples = estimates(query, 64, 1500)
    mean = beta * gamma * guide + (1.0 - beta) * g
    assert agree(samples, mean)
    assert not agree(samples, 1.1 * mean)
    if beta > 0.0:
        assert not agree(samples, g)
        assert not agree(samples, sqrt(beta) * gamma * guide + (1.0 - beta) * g)


@pytest.mark.parametrize("beta", [0.4, 0.9])
@pytest.mark.parametrize("name", NAMES)
def test_covariance_and_mean_square_of_fogzo(name, beta):
    """The formulas for one direction, entry by entry within 6 SE; each term is needed."""
    query, g, guide, gamma, kappa = fogzo_case(name, beta)
    d, g2, rest = g.size, g @ g, 1.0 - beta
    samples = one_direction_samples(query, MANY)
    mean = beta * gamma * guide + rest * g
    spsa = g2 * np.eye(d) + np.outer(g, g) + (kappa - 3.0) * np.diag(g**2)
    mixed = gamma * (np.outer(guide, g) + np.outer(g, guide))
    covariance = rest**2 * spsa + beta * rest * (
        gamma**2 * np.eye(d) + g2 * np.outer(guide, guide) + mixed
    )
    pairs = products(samples, mean)
    assert agree(pairs, covariance)
    assert not agree(pairs, covariance - beta * rest * mixed)
    assert not agree(pairs, covariance - beta * rest * gamma**2 * np.eye(d))
    squares = np.sum(samples**2, axis=1)
    expected = (
        beta**2 * gamma**2
        + beta * rest * ((d + 4.0) * gamma**2 + g2)
        + rest**2 * (d + kappa - 1.0) * g2
    )
    assert agree(squares, expected)
    assert not agree(squares, 1.1 * expected)


def test_variance_of_fogzo_falls_with_the_number_of_directions():
    """E ||G - M||^2 = trace(Cov) / n with n = 5 by the engine, 6 SE; trace / (n - 1) is not."""
    query, g, guide, gamma, kappa = fogzo_case("uniform", 0.6)
    d, n, rest = g.size, 5, 0.4
    mean = 0.6 * gamma * guide + rest * g
    second = (
        0.36 * gamma**2
        + 0.6 * rest * ((d + 4.0) * gamma**2 + g @ g)
        + rest**2 * (d + kappa - 1.0) * (g @ g)
    )
    squares = np.sum((estimates(query, n, 8000) - mean) ** 2, axis=1)
    trace = second - mean @ mean
    assert agree(squares, trace / n)
    assert not agree(squares, trace / (n - 1))


@pytest.mark.parametrize("name", ["uniform", "logistic"])
def test_the_random_sign_of_the_guide_does_not_matter(name):
    """s fixed to +1: same mean and same second moments within 6 SE for a cubic loss.

    Negative control: another beta has other means.
    """
    objective, theta = Cubic(np.array([0.2, -0.4, 1.0])), np.array([0.1, -0.3, 0.2])
    guide = unit(np.array([1.0, 2.0, -0.5]))
    query = make_query(objective, theta, 0.6, name, guide=guide, beta=0.5)
    signed = one_direction_samples(query, MANY)
    v = LAWS[name].sample(rng.at(17, "noise", 0, 0), np.empty((MANY, 3)))
    v = sqrt(0.5) * guide + sqrt(0.5) * v
    dF = objective.loss(theta + 0.6 * v) - objective.loss(theta - 0.6 * v)
    fixed = dF[:, None] / 1.2 * v
    assert same_mean(signed, fixed)
    zero = np.zeros(3)
    assert same_mean(products(signed, zero), products(fixed, zero))
    other = one_direction_samples(query._replace(beta=0.6, seed=3), MANY)
    assert not same_mean(signed, other)


@pytest.mark.parametrize("name", NAMES)
def test_both_signs_of_the_guide_are_drawn_and_the_noise_has_its_share(name):
    """v . ghat has mean 0 and E[v v^T] = beta ghat ghat^T + (1 - beta) I, 6 SE."""
    guide = unit(np.array([1.0, 2.0, -0.5]))
    query = make_query(Linear(np.ones(3)), np.zeros(3), 1.0, name, guide=guide, beta=0.7)
    v = directions(query, 0, 200_000)
    assert agree(v, 0.0)
    assert agree(products(v, 0.0), 0.7 * np.outer(guide, guide) + 0.3 * np.eye(3))
    assert not agree(products(v, 0.0), 0.7**2 * np.outer(guide, guide) + 0.3 * np.eye(3))
    assert not agree(products(v, 0.0), 0.7 * np.outer(guide, guide) + 0.3**2 * np.eye(3))


def test_the_sign_of_the_guide_is_independent_of_the_noise():
    """n = 1, 4,000 steps: E[v v^T] = beta ghat ghat^T + (1 - beta) I within 6 SE.

    Negative control: s = sign(u_1), as if both had been drawn from one stream, is rejected.
    """
    guide = unit(np.array([1.0, 2.0, -0.5]))
    query = make_query(Linear(np.ones(3)), np.zeros(3), 1.0, "uniform", guide=guide, beta=0.5)
    v = np.concatenate([directions(query._replace(step=t), 0, 1) for t in range(4000)])
    expected = 0.5 * np.outer(guide, guide) + 0.5 * np.eye(3)
    assert agree(products(v, 0.0), expected)
    u = LAWS["uniform"].sample(rng.at(18, "noise", 0, 0), np.empty((4000, 3)))
    tied = sqrt(0.5) * (np.sign(u[:, :1]) * guide + u)
    assert not agree(products(tied, 0.0), expected)


# The ends of beta


@pytest.mark.parametrize("name", NAMES)
def test_beta_0_is_spsa_bit_for_bit(name):
    """Same seed and step: FOGZO with beta = 0 and n-SPSA have the same gradient."""
    objective, theta = random_quadratic(9)
    step = Step(seed=4, index=6, total=10)
    settings = {"n": 100, "law": name, "eps": 0.2}
    fogzo, spsa = FOGZO(**settings, beta=0.0, beta_schedule="constant"), SPSA(**settings)
    first, _ = fogzo.estimate(objective, theta, None, fogzo.init(objective, theta), step)
    second, _ = spsa.estimate(objective, theta, None, spsa.init(objective, theta), step)
    np.testing.assert_array_equal(first.grad, second.grad)
    other, _ = spsa.estimate(objective, theta, None, spsa.init(objective, theta), Step(seed=5))
    assert not np.array_equal(first.grad, other.grad)


def test_beta_1_is_the_measured_slope_along_the_guide():
    """G = gamma ghat to 1e-12 for every seed and n: no variance, whatever the guide."""
    query, g, guide, gamma, _ = fogzo_case("uniform", 1.0)
    for seed, n in ((0, 1), (1, 1), (2, 70)):
        gradient, _ = two_point_gradient(query._replace(seed=seed), n, Pool())
        np.testing.assert_allclose(gradient, gamma * guide, rtol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 1.0 - 1e-9])
def test_a_wrong_way_guide_turns_round(beta):
    """ghat and -ghat give one estimate, downhill both: G . g > 0 and G = gamma ghat (1e-3)."""
    objective, theta = random_quadratic(6)
    g = objective.gradient(theta)
    results = [
        two_point_gradient(
            make_query(objective, theta, 0.3, "gaussian", guide=way * unit(g), beta=beta), 3, Pool()
        )[0]
        for way in (1.0, -1.0)
    ]
    for gradient in results:
        assert gradient @ g > 0.0
        np.testing.assert_allclose(gradient, g, rtol=0, atol=1e-3 * np.linalg.norm(g))


def test_a_useless_guide_shrinks_to_nothing():
    """ghat at right angles to g and beta = 1: G = 0 to 1e-12 (the STE would have gone on)."""
    objective, theta = random_quadratic(6)
    g = objective.gradient(theta)
    across = generator(8).normal(size=6)
    across = unit(across - (across @ unit(g)) * unit(g))
    query = make_query(objective, theta, 0.3, "gaussian", guide=across, beta=1.0)
    np.testing.assert_allclose(two_point_gradient(query, 4, Pool())[0], 0.0, rtol=0, atol=1e-12)


def test_a_zero_guide_leaves_shortened_spsa():
    """STE gradient 0: no NaN, and G = (1 - beta) times n-SPSA's of the same stream, to 1e-12."""

    class NoGuide(Linear):
        def gradient(self, theta):
            return np.zeros_like(theta)

    objective, theta = NoGuide(np.array([1.0, -2.0, 3.0])), np.zeros(3)
    fogzo, spsa = (cls(n=10, law="uniform", eps=0.5) for cls in (FOGZO, SPSA))
    fogzo = replace(fogzo, beta=0.75, beta_schedule="constant")
    first, _ = fogzo.estimate(objective, theta, None, fogzo.init(objective, theta), Step())
    second, _ = spsa.estimate(objective, theta, None, spsa.init(objective, theta), Step())
    np.testing.assert_allclose(first.grad, 0.25 * second.grad, rtol=1e-12)

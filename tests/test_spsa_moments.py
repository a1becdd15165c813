"""n-SPSA: which gradient does it estimate on average, and how well?

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    DENSITIES,
    Cubic,
    Linear,
    Steps,
    agree,
    directions,
    estimates,
    generator,
    make_query,
    one_direction_samples,
    products,
    projected_gradient_error,
    random_quadratic,
    seeds,
    two_point_gradient,
    z_scores,
)
from zeroth_order import MANY, NAMES, unit

from minizo import Pool
from minizo.laws import LAWS

# The toy losses themselves


@pytest.mark.parametrize(
    "objective", [Linear(np.array([1.0, -2.0, 0.5])), random_quadratic(3)[0],
                  Cubic(np.array([0.2, -0.4, 1.0]))], ids=["linear", "quadratic", "cubic"]
)  # fmt: skip
def test_gradients_of_the_toy_losses(objective):
    """One random projection against a central difference: 1e-8; a gradient 1 % off is seen."""
    gen = generator(1)
    x, direction = gen.normal(size=3), gen.normal(size=3)
    gradient = objective.gradient(x)
    assert projected_gradient_error(objective.loss, gradient, x, direction) < 1e-8
    assert projected_gradient_error(objective.loss, 1.01 * gradient, x, direction) > 1e-4


# One direction


@pytest.mark.parametrize("eps", [1e-3, 0.5, 20.0])
@pytest.mark.parametrize("name", NAMES)
def test_one_direction_of_a_quadratic_loss_is_the_slope_along_it(name, eps):
    """(F+ - F-) / (2 eps) = u . grad F, so G = (u . grad F) u, to 1e-10, whatever eps and law."""
    objective, theta = random_quadratic(7)
    for step in range(5):
        query = make_query(objective, theta, eps, name, step=step)
        u = directions(query, 0, 1)[0]
        gradient, _ = two_point_gradient(query, 1, Pool())
        target = (u @ objective.gradient(theta)) * u
        np.testing.assert_allclose(
            gradient, target, rtol=0, atol=1e-10 * (1.0 + np.abs(target).max())
        )
        assert np.max(np.abs(1.001 * gradient - target)) > 1e-5


def test_a_linear_loss_leaves_no_rounding_to_hide_behind():
    """Powers of two: G = (u . g) u exactly, in float32."""
    objective = Linear(np.array([2.0, -1.0, 0.5, 4.0], np.float32))
    query = make_query(objective, np.zeros(4, np.float32), 0.25, "rademacher")
    u = directions(query, 0, 1)[0]
    gradient, loss = two_point_gradient(query, 1, Pool())
    np.testing.assert_array_equal(gradient, (u @ objective.slope) * u)
    assert loss == 0.0 and gradient.dtype == np.float32


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds, name=st.sampled_from(NAMES), beta=st.sampled_from([0.0, 0.3, 0.999, 1.0]))
def test_the_estimate_is_even_in_the_directions(seed, name, beta):
    """All v turned to -v: the same G bit for bit, so a random sign s of a direction is idle."""
    objective = Cubic(generator(seed).normal(size=6))
    theta = generator(seed, 1).normal(size=6)
    guide = unit(objective.gradient(theta))
    law = LAWS[name]
    turned = replace(law, sample=lambda stream, out: np.negative(law.sample(stream, out), out=out))
    query = make_query(objective, theta, 0.3, name, seed=seed, guide=guide, beta=beta)
    there = two_point_gradient(query, 5, Pool())
    back = two_point_gradient(query._replace(law=turned, guide=-guide), 5, Pool())
    np.testing.assert_array_equal(there[0], back[0])
    np.testing.assert_array_equal(there[1], back[1])


# Means


@pytest.mark.parametrize("name", NAMES)
def test_mean_for_a_quadratic_loss_is_the_gradient(name):
    """E G = grad F within 6 SE over 3,000 estimates of 64 directions; 1.05 grad F is rejected."""
    objective, theta = random_quadratic(4)
    samples = estimates(make_query(objective, theta, 0.4, name), 64, 3000)
    assert agree(samples, objective.gradient(theta))
    assert not agree(samples, 1.05 * objective.gradient(theta))


def test_the_reported_loss_is_the_mean_of_the_perturbed_ones():
    """E loss = F + eps^2 tr(A) / 2 for a quadratic, 6 SE; F alone is rejected."""
    objective, theta = random_quadratic(4)
    query = make_query(objective, theta, 0.8, "uniform")
    losses = np.array(
        [two_point_gradient(query._replace(step=step), 64, Pool())[1] for step in range(1000)]
    )
    at_theta = objective.loss(theta)
    assert agree(losses, at_theta + 0.32 * np.trace(objective.curvature))
    assert not agree(losses, at_theta)


@pytest.mark.parametrize("name", NAMES)
def test_mean_for_a_step_loss_is_smoothed_with_q_and_not_with_p(name):
    """A unit step at c_i: E G_i = q((c_i - x_i) / eps) / eps, within 6 SE.

    Negative control: the density p of the law in place of q is rejected, Gaussian apart.
    """
    eps = 0.7
    theta = np.array([0.1, -0.2, 0.4])
    objective = Steps(theta + eps * np.array([0.0, 0.6, -0.9]))
    samples = estimates(make_query(objective, theta, eps, name), 64, 3000)
    law, z = LAWS[name], (objective.places - theta) / eps
    assert agree(samples, law.zero_bias_pdf(z) / eps)
    assert not agree(samples, 1.05 * law.zero_bias_pdf(z) / eps)
    if name in DENSITIES and name != "gaussian":
        assert not agree(samples, law.pdf(z) / eps)
        assert np.max(z_scores(samples, law.pdf(z) / eps)) > 20
    if name == "gaussian":
        np.testing.assert_array_equal(law.zero_bias_pdf(z), law.pdf(z))


def test_step_loss_in_numbers():
    """eps = 0.7, step at x: uniform 0.61859 = sqrt(3)/(4 eps), p-smoothed 0.41239 (at 1e-5)."""
    theta = np.zeros(1)
    query = make_query(Steps(theta), theta, 0.7, "uniform")
    samples = one_direction_samples(query, MANY)
    assert agree(samples, sqrt(3.0) / 4.0 / 0.7)
    assert not agree(samples, 0.41239)
    assert LAWS["uniform"].pdf(theta)[0] / 0.7 == pytest.approx(0.41239, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_mean_for_a_cubic_loss(name):
    """E G_i = g_i + eps^2/6 [3 sum_k T_ikk + (kappa - 3) T_iii], 6 SE; p-smoothing is rejected."""
    d, eps = 3, 0.8
    objective, theta = Cubic(np.array([0.2, -0.4, 1.0])), np.array([0.1, -0.3, 0.2])
    diagonal = np.full(d, 6.0)  # T_iii
    diagonal[0] += 6.0 * objective.h
    traces = np.full(d, 6.0)  # sum_k T_ikk
    traces[0] += 6.0 * objective.h + 2.0 * objective.h * (d - 1)
    g, kappa = objective.gradient(theta), LAWS[name].kurtosis
    samples = one_direction_samples(make_query(objective, theta, eps, name), MANY)
    assert agree(samples, g + eps**2 / 6.0 * (3.0 * traces + (kappa - 3.0) * diagonal))
    smoothed_with_p = g + eps**2 / 2.0 * traces
    assert agree(samples, smoothed_with_p) == (name == "gaussian")
    assert not agree(samples, g)


# Second moments


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_mean_square_of_spsa(name, n):
    """E ||G||^2 = ||g||^2 (1 + (d + kappa - 2) / n), 6 SE; (d + kappa - 1) / n is rejected."""
    d = 5
    objective, theta = random_quadratic(d)
    samples = one_direction_samples(make_query(objective, theta, 0.4, name), MANY * n)
    squares = np.sum(np.mean(samples.reshape(MANY, n, d), axis=1) ** 2, axis=1)
    g2, kappa = np.sum(objective.gradient(theta) ** 2), LAWS[name].kurtosis
    assert agree(squares, g2 * (1.0 + (d + kappa - 2.0) / n))
    assert not agree(squares, g2 * (1.0 + (d + kappa - 2.0 + 1.0) / n))
    tempting = g2 * (1.0 + (d + kappa - 1.0) / n) if n > 1 else g2 * (d + kappa - 2.0)
    assert not agree(squares, tempting)


def test_mean_square_of_spsa_through_the_engine():
    """The same for 12,000 estimates with n = 3 made by `two_point_gradient` itself."""
    objective, theta = random_quadratic(4)
    samples = estimates(make_query(objective, theta, 0.4, "uniform"), 3, 12_000)
    squares = np.sum(samples**2, axis=1)
    g2 = np.sum(objective.gradient(theta) ** 2)
    assert agree(squares, g2 * (1.0 + (4 + 1.8 - 2.0) / 3))
    assert not agree(squares, g2 * (1.0 + (4 + 1.8 - 1.0) / 3))


@pytest.mark.parametrize("name", NAMES)
def test_covariance_of_spsa(name):
    """Cov = ||g||^2 I + g g^T + (kappa - 3) diag(g^2), entry by entry within 6 SE.

    Negative control: without the kurtosis term (Gaussian apart), and without g g^T.
    """
    objective, theta = random_quadratic(4)
    g, kappa = objective.gradient(theta), LAWS[name].kurtosis
    samples = one_direction_samples(make_query(objective, theta, 0.4, name), MANY)
    pairs = products(samples, g)
    plain = (g @ g) * np.eye(4) + np.outer(g, g)
    assert agree(pairs, plain + (kappa - 3.0) * np.diag(g**2))
    assert agree(pairs, plain) == (name == "gaussian")
    assert not agree(pairs, plain + (kappa - 3.0) * np.diag(g**2) - np.outer(g, g))

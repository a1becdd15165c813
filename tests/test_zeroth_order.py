"""n-SPSA, FOGZO and the bias of the STE: which gradient do they estimate, and how well?

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    DENSITIES,
    Cubic,
    LastFirst,
    Linear,
    Query,
    Steps,
    agree,
    block_sum,
    directions,
    estimates,
    expectation,
    float_dtypes,
    generator,
    make_query,
    one_direction_samples,
    products,
    projected_gradient_error,
    random_quadratic,
    recording,
    same_mean,
    seeds,
    small_network,
    two_point_gradient,
    z_scores,
)

from minizo import FOGZO, SPSA, STE, Batch, Objective, Pool, Step, rng, threads
from minizo.errors import InputError
from minizo.laws import LAWS
from minizo.models import lenet
from minizo.population import blocks
from minizo.quantizers import FullPrecision, MidRise, Sign

NAMES = sorted(LAWS)
MANY = 200_000


def unit(x):
    """x / ||x||."""
    return x / np.linalg.norm(x)


def loop(query, n):
    """The estimate as a plain loop over single directions: no blocks of losses, one sum."""
    total, losses = np.zeros_like(query.theta), 0.0
    for block, count in blocks(n, query.theta.size):
        for v in directions(query, block, count):
            above = query.objective.evaluate((query.theta + query.eps * v)[None], query.batch)[0]
            below = query.objective.evaluate((query.theta - query.eps * v)[None], query.batch)[0]
            total += (above - below) / (2.0 * query.eps) * v
            losses += above + below
    return total / n, losses / (2 * n)


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

    Negative control: the density p of the law in the place of q is rejected, Gaussian apart.
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


# Directions


@pytest.mark.parametrize("name", NAMES)
def test_all_directions_differ(name):
    """128 coordinates: no two of 800 directions agree, over i, block, step and seed."""
    theta = np.zeros(128)
    rows = [
        directions(make_query(Linear(theta), theta, 1.0, name, seed=seed, step=step), block, 50)

        for seed in (0, 1) for step in (0, 1) for block in (0, 1, 2, 3)
    ]  # fmt: skip
    rows = np.concatenate(rows)
    assert rows.shape == (800, 128) and np.unique(rows, axis=0).shape == (800, 128)
    again = directions(make_query(Linear(theta), theta, 1.0, name, seed=1, step=1), 3, 50)
    np.testing.assert_array_equal(rows[-50:], again)


def slope_of_error(query, g, counts, repeats):
    """Least-squares slope of log RMS error against log n, and its standard error."""
    logs, variances = [], []
    for n in counts:
        squares = np.sum((estimates(query, n, repeats) - g) ** 2, axis=1)
        logs.append(0.5 * np.log(np.mean(squares)))
        variances.append((0.5 * np.std(squares, ddof=1) / np.mean(squares)) ** 2 / repeats)
    x = np.log(counts) - np.mean(np.log(counts))
    weights = x / np.sum(x * x)
    return weights @ np.array(logs), sqrt(weights**2 @ np.array(variances))


def test_error_falls_as_one_over_root_n():
    """Slope of log error over n = 8 to 2048 within 6 SE of -1/2, and that SE below 0.02.

    Negative control: a law that draws the same numbers in every block stops at one block's error.
    """
    objective, theta = random_quadratic(10)
    g = objective.gradient(theta)
    query = make_query(objective, theta, 0.3, "uniform")
    counts = (8, 32, 128, 512, 2048)
    slope, error = slope_of_error(query, g, counts, 200)
    assert error < 0.02
    assert abs(slope + 0.5) <= 6.0 * error
    law = LAWS["uniform"]

    def same_in_every_block(stream, out):
        return law.sample(rng.at(stream.seed, "noise", stream.path[0], 0), out)

    stuck = query._replace(law=replace(law, sample=same_in_every_block))
    slope, error = slope_of_error(stuck, g, counts, 60)
    assert abs(slope + 0.5) > 6.0 * error


# Where the loss is asked for, and what it costs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "estimator", [SPSA(n=70), FOGZO(n=70, beta=0.9, beta_schedule="constant"), STE()]
)
def test_theta_is_left_alone(estimator, dtype):
    """100 estimates later theta has the bits it had: nothing is perturbed in place and undone."""
    objective, theta, batch = small_network(dtype=dtype)
    before, x = theta.tobytes(), batch.x.tobytes()
    state = estimator.init(objective, theta)
    for index in range(100 if dtype is np.float32 else 5):
        estimate, state = estimator.estimate(
            objective, theta, batch, state, Step(index=index, total=100)
        )
    assert theta.tobytes() == before and batch.x.tobytes() == x
    assert estimate.grad.dtype == dtype and estimate.grad.shape == theta.shape
    assert np.all(np.isfinite(estimate.grad)) and np.any(estimate.grad != 0.0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds, dtype=float_dtypes, name=st.sampled_from(NAMES), n=st.integers(1, 150))
def test_points_are_theta_plus_and_minus_eps_v_each_afresh(seed, dtype, name, n):
    """The losses are asked for at fl(theta +- fl(eps v)) to the last bit, 2n points in all."""
    inner, theta = random_quadratic(6, dtype)
    objective = recording(inner)
    query = make_query(objective, theta, 0.1, name, seed=seed)
    two_point_gradient(query, n, Pool())
    counts = [count for _, count in blocks(n, 6)]
    assert len(objective.points) == 2 * len(counts)
    for block, count in enumerate(counts):
        moves = query.eps * directions(query, block, count)
        above, below = objective.points[2 * block : 2 * block + 2]
        np.testing.assert_array_equal(above, theta + moves)
        np.testing.assert_array_equal(below, theta - moves)


@pytest.mark.parametrize("n", [1, 7, 64, 65, 130])
@pytest.mark.parametrize("kind", [SPSA, FOGZO])
def test_counted_forwards_and_backwards_are_those_made(kind, n):
    """2n forwards for n-SPSA, 2n + 1 and a backward for FOGZO, by counting what really happens."""
    inner, theta, batch = small_network()
    objective = recording(inner)
    estimator = kind(n=n)
    estimate, _ = estimator.estimate(
        objective, theta, batch, estimator.init(objective, theta), Step()
    )
    passes = sum(len(rows) for rows in objective.gradients)
    assert estimate.backwards == passes == (kind is FOGZO)
    assert estimate.forwards == sum(len(rows) for rows in objective.points) + passes
    assert estimate.forwards == 2 * n + (kind is FOGZO)
    for rows in objective.gradients:
        np.testing.assert_array_equal(rows, theta[None])


def test_counted_passes_of_the_ste():
    """One forward, one backward, none of them perturbed."""
    inner, theta, batch = small_network()
    objective = recording(inner)
    estimate, state = STE().estimate(objective, theta, batch, STE().init(objective, theta), Step())
    loss, g, _ = inner.ste_gradient(theta, batch)
    np.testing.assert_array_equal(estimate.grad, g)
    assert (estimate.loss, estimate.forwards, estimate.backwards) == (loss, 1, 1)
    assert len(objective.gradients) == 1 and not objective.points and state == ()


# eps


def test_eps_of_each_tensor():
    """G_l = dF / (2 eps_l) v_l: means are still the gradient (6 SE), eps differing by 30 times.

    Negative control: dividing by one eps, their mean, is rejected.
    """
    objective, theta = random_quadratic(4)
    eps = np.array([0.02, 0.02, 0.6, 0.6])
    query = make_query(objective, theta, eps, "uniform")
    v = directions(query, 0, 1)[0]
    one, _ = two_point_gradient(query, 1, Pool())
    dF = objective.loss(theta + eps * v) - objective.loss(theta - eps * v)
    np.testing.assert_allclose(one, dF / (2.0 * eps) * v, rtol=1e-11)
    samples = estimates(query, 64, 1500)
    g = objective.gradient(theta)
    assert agree(samples, g)
    assert not agree(samples, g * eps / np.mean(eps))
    np.testing.assert_allclose(
        np.mean(one_direction_samples(query, 64), axis=0), samples[0], rtol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_parameters_that_are_not_moved_are_not_touched(name):
    """Their entries of every point have theta's bits, their gradient is exactly 0."""
    inner, theta = random_quadratic(6)
    objective = recording(inner)
    moved = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    query = make_query(objective, theta, 0.3, name, moved=moved)
    gradient, _ = two_point_gradient(query, 80, Pool())
    for rows in objective.points:
        assert np.all(rows[:, moved == 0.0] == theta[moved == 0.0])
        assert np.all(rows[:, moved > 0.0] != theta[moved > 0.0])
    np.testing.assert_array_equal(gradient[moved == 0.0], 0.0)
    assert np.all(gradient[moved > 0.0] != 0.0)


@pytest.mark.parametrize("surrogate", ["identity", "hardtanh", "tanh", "approxsign"])
@pytest.mark.parametrize("kind", [Sign, MidRise])
def test_matched_eps_and_law(kind, surrogate):
    """eps = eps_scale alpha epsbar by layer, biases like their layer's weights, law the STE's."""
    quantizer = kind(surrogate)
    objective, theta, _ = small_network(quantizer)
    spsa = SPSA(eps_scale=2.0)
    eps = spsa.init(objective, theta).eps
    for layer in ("fc1", "fc2"):
        expected = 2.0 * quantizer.epsbar * float(objective.scales[f"{layer}.weight"][0])
        for part in ("weight", "bias"):
            found = eps[objective.network.slices[f"{layer}.{part}"]]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    state = spsa.init(objective, theta)
    assert spsa.noise(objective, state, Step()).law is quantizer.law
    other = replace(spsa, law="gaussian")
    assert other.noise(objective, state, Step()).law is LAWS["gaussian"]


def test_a_given_eps_is_the_same_for_every_parameter():
    """eps times eps_scale, in theta's dtype; also where nothing is quantised."""
    for quantizer in (MidRise(), FullPrecision()):
        objective, theta, _ = small_network(quantizer)
        eps = SPSA(eps=0.25, eps_scale=0.5).init(objective, theta).eps
        assert eps.dtype == theta.dtype and eps.shape == theta.shape
        np.testing.assert_array_equal(eps, 0.125)


def test_full_precision_must_be_told_its_eps():
    """The sentence names eps and says what to give."""
    objective, theta, _ = small_network(FullPrecision())
    with pytest.raises(InputError, match="eps is None.*give eps a number such as 1e-3"):
        SPSA().init(objective, theta)


def biases_of(objective):
    """A mask over theta: the parameters that are not quantised."""
    mask = np.ones(objective.network.d, bool)
    for name in objective.quantized:
        mask[objective.network.slices[name]] = False
    return mask


@pytest.mark.parametrize("eps", [None, 0.05])
def test_perturbing_the_quantised_parameters_only(eps):
    """n-SPSA gives biases 0, FOGZO their back-propagated gradient; no point moves a bias."""
    inner, theta, batch = small_network()
    bias = biases_of(inner)
    _, g, _ = inner.ste_gradient(theta, batch)
    for kind, expected in ((SPSA, np.zeros_like(g)), (FOGZO, g)):
        objective = recording(inner)
        estimator = kind(n=20, perturb="quantized", eps=eps)
        estimate, _ = estimator.estimate(
            objective, theta, batch, estimator.init(objective, theta), Step()
        )
        np.testing.assert_array_equal(estimate.grad[bias], expected[bias])
        assert not np.array_equal(estimate.grad[~bias], expected[~bias])
        for rows in objective.points:
            assert np.all(rows[:, bias] == theta[bias])
        everything = replace(estimator, perturb="all")
        estimate, _ = everything.estimate(
            objective, theta, batch, everything.init(objective, theta), Step()
        )
        assert not np.any(estimate.grad[bias] == expected[bias])


def test_guide_is_the_unit_vector_of_the_perturbed_parameters():
    """FOGZO equals `two_point_gradient` with ghat = g / ||g|| made by hand, to 1e-12."""
    objective, theta, batch = small_network(dtype=np.float64)
    loss, g, _ = objective.ste_gradient(theta, batch)
    for perturb in ("all", "quantized"):
        fogzo = FOGZO(n=30, beta=0.8, beta_schedule="constant", perturb=perturb)
        state = fogzo.init(objective, theta)
        step = Step(seed=2, index=5, total=9)
        estimate, _ = fogzo.estimate(objective, theta, batch, state, step)
        moved = np.ones(theta.size) if perturb == "all" else 1.0 - biases_of(objective)
        guide, law = unit(g * moved), objective.quantizer.law
        query = Query(objective, theta, batch, state.eps, law, 2, 5, guide, 0.8, moved)
        expected = two_point_gradient(query, 30, Pool())[0] + (1.0 - moved) * g
        np.testing.assert_allclose(estimate.grad, expected, rtol=1e-12, atol=1e-14)
        assert estimate.loss == loss


# beta over a run


@pytest.mark.parametrize("shape", ["linear", "cosine", "step"])
def test_scheduled_beta_starts_at_1_and_falls(shape):
    """1 at progress 0 exactly, never rising, and never below its smallest value."""
    fogzo = FOGZO(beta=0.3, beta_schedule=shape)
    values = [fogzo.beta_at(p) for p in np.linspace(0.0, 1.0, 101)]
    assert values[0] == 1.0 and np.all(np.diff(values) <= 0.0)
    end = 0.3 + (0.01 * 0.7 if shape == "step" else 0.0)
    assert values[-1] == pytest.approx(end, abs=1e-15)


def test_linear_and_constant_beta():
    """beta(t) = beta + (1 - t/T)(1 - beta) to 1e-15, and beta throughout."""
    for p in (0.0, 0.1, 0.5, 0.95, 1.0):
        linear = FOGZO(beta=0.9, beta_schedule="linear").beta_at(p)
        assert linear == pytest.approx(0.9 + (1.0 - p) * 0.1, abs=1e-15)
        assert FOGZO(beta=0.9, beta_schedule="constant").beta_at(p) == 0.9


def test_the_schedule_reaches_the_directions():
    """At step t the estimate is that of constant beta(t), bit for bit; another beta's is not."""
    objective, theta = random_quadratic(8)
    common = {"n": 5, "eps": 0.1, "law": "uniform"}
    scheduled = FOGZO(**common, beta=0.5, beta_schedule="linear")

    def grad(estimator, index):
        step = Step(seed=1, index=index, total=4)
        return estimator.estimate(
            objective, theta, None, estimator.init(objective, theta), step
        )[0].grad  # fmt: skip

    for index, beta in enumerate((1.0, 0.875, 0.75, 0.625)):
        constant = FOGZO(**common, beta=beta, beta_schedule="constant")
        np.testing.assert_array_equal(grad(scheduled, index), grad(constant, index))
        other = FOGZO(**common, beta=0.5, beta_schedule="constant")
        assert not np.array_equal(grad(scheduled, index), grad(other, index))


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.3, 3), (0.35, 4), (0.7, 7), (1.0, 10)])
def test_ste_share_switches_at_its_step(share, first):
    """Steps t with t/T < share are the STE's to the bit, at its cost; from there on FOGZO's."""
    objective, theta, batch = small_network()
    mixed, plain = (
        FOGZO(n=3, ste_share=share, beta_schedule="constant"),
        FOGZO(n=3, beta_schedule="constant"),
    )
    state = mixed.init(objective, theta)
    _, g, _ = objective.ste_gradient(theta, batch)
    for index in range(10):
        step = Step(index=index, total=10)
        estimate, _ = mixed.estimate(objective, theta, batch, state, step)
        if index < first:
            np.testing.assert_array_equal(estimate.grad, g)
            assert (estimate.forwards, estimate.backwards) == (1, 1)
        else:
            expected, _ = plain.estimate(objective, theta, batch, state, step)
            np.testing.assert_array_equal(estimate.grad, expected.grad)
            assert (estimate.forwards, estimate.backwards) == (7, 1)


# Blocks and workers


def test_block_size_in_numbers():
    """min(64, 2^19 / numbers), at least 1: it defines the sums, so it may not drift."""
    sizes = {1: 64, 7960: 64, 8192: 64, 8193: 63, 2**18: 2, 2**18 + 1: 1, 2**19: 1, 2_000_000: 1}
    assert {numbers: blocks(100, numbers)[0][1] for numbers in sizes} == sizes


@pytest.mark.parametrize("n", [1, 63, 64, 65, 300])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-12)])
def test_blocks_are_a_plain_loop_over_single_directions(dtype, rtol, n):
    """Gradient and loss against a Python loop: 1e-6 of the largest in float32, 1e-12 in float64."""
    objective, theta = random_quadratic(12, dtype)
    guide = unit(generator(3).normal(size=12)).astype(dtype)
    for beta in (0.0, 0.5):
        # a power of two: the two ways of dividing by eps round alike
        query = make_query(objective, theta, 0.25, "uniform", guide=guide, beta=beta)
        gradient, loss = two_point_gradient(query, n, Pool())
        expected, expected_loss = loop(query, n)
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, expected, atol=rtol * np.max(np.abs(expected)))
        np.testing.assert_allclose(loss, expected_loss, rtol=10 * rtol)


def test_block_sums_are_added_in_block_order():
    """float32, 6 blocks: the bits of a sum from the first block to the last; backwards differs."""
    objective, theta = random_quadratic(12, np.float32)
    query = make_query(objective, theta, 0.25, "logistic")
    parts = [block_sum(query, block, 64)[0].copy() for block in range(6)]

    def added(parts):
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total / (2 * 384 * query.eps)

    gradient, _ = two_point_gradient(query, 384, Pool())
    np.testing.assert_array_equal(gradient, added(parts))
    assert not np.array_equal(gradient, added(parts[::-1]))


@pytest.mark.parametrize("in_flight", [1, 2, 5, 50])
def test_blocks_that_finish_out_of_order_give_the_same_bits(in_flight):
    """An executor that always runs the latest block first, whatever the number in flight."""
    objective, theta, batch = small_network()
    query = make_query(objective, theta, 0.1, "logistic", batch=batch)
    expected = two_point_gradient(query, 500, Pool())
    executor = LastFirst()
    found = two_point_gradient(query, 500, Pool(executor, in_flight))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert executor.most == min(in_flight, 8)


@pytest.mark.parametrize(("budget", "most"), [(1, 1), (99, 1), (250, 2), (400, 4), (10**6, 5)])
def test_the_memory_budget_limits_the_blocks_in_flight(budget, most):
    """At most budget / bytes of a block wait at once, at least 1; results stay in order."""
    executor = LastFirst()
    found = Pool(executor, 5, budget).map(divmod, [(i, 3) for i in range(20)], nbytes=100)
    assert list(found) == [divmod(i, 3) for i in range(20)]
    assert executor.most == most


def test_blocks_are_smaller_where_outputs_are_wide():
    """A block's largest array, theta or outputs, has at most 2^19 numbers: LeNet, batch 100."""
    objective = Objective(lenet(), MidRise())
    batch = Batch(np.empty((100, 1, 28, 28)), np.zeros(100, int))
    numbers = objective.footprint(batch)
    assert numbers == 100 * objective.network.widest > objective.network.d
    assert [count for _, count in blocks(3, numbers)] == [1, 1, 1]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_give_the_same_bits(workers, dtype):
    """1, 2 or 3 threads: FOGZO's gradient of a real network has the same bits."""
    objective, theta, batch = small_network(dtype=dtype)
    fogzo = FOGZO(n=400, beta=0.9, beta_schedule="constant")
    state = fogzo.init(objective, theta)
    with threads(1) as pool:
        expected, _ = fogzo.estimate(objective, theta, batch, state, Step(seed=3, pool=pool))
    with threads(workers) as pool:
        found, _ = fogzo.estimate(objective, theta, batch, state, Step(seed=3, pool=pool))
    np.testing.assert_array_equal(found.grad, expected.grad)
    np.testing.assert_array_equal(found.loss, expected.loss)
    other, _ = fogzo.estimate(objective, theta, batch, state, Step(seed=4))
    assert not np.array_equal(other.grad, expected.grad)


def test_processes_give_the_same_bits():
    """Two spawned processes compute the blocks of a toy loss and of a real network."""
    toy, theta = random_quadratic(12)
    real, weights, batch = small_network()
    queries = [
        make_query(toy, theta, 0.25, "triangular", guide=unit(theta), beta=0.5),
        make_query(real, weights, 0.1, "logistic", batch=batch),
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        for query in queries:
            found = two_point_gradient(query, 300, Pool(executor, in_flight=3))
            expected = two_point_gradient(query, 300, Pool())
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("seed", [0, 1])
def test_same_step_same_bits_other_step_or_seed_other_bits(seed):
    """An estimate is a function of (seed, step) alone; scratch memory carries nothing over."""
    objective, theta, batch = small_network()
    spsa = SPSA(n=10)
    state = spsa.init(objective, theta)

    def grad(seed, index):
        step = Step(seed=seed, index=index, total=9)
        return spsa.estimate(objective, theta, batch, state, step)[0].grad

    first = grad(seed, 3)
    assert not np.array_equal(first, grad(seed, 4))
    assert not np.array_equal(first, grad(seed + 1, 3))
    np.testing.assert_array_equal(first, grad(seed, 3))


# Bad parameters


@pytest.mark.parametrize("kind", [SPSA, FOGZO])
@pytest.mark.parametrize("value", ["weights", "", None])
def test_unknown_parts_to_perturb_are_refused_with_their_sentence(kind, value):
    """Argument, value and remedy, on one line."""
    with pytest.raises(InputError) as caught:
        kind(perturb=value)
    assert str(caught.value) == f"perturb is {value!r}, but choose from ('all', 'quantized')"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"law": "unifrom"}, "law: unknown name 'unifrom'; did you mean 'uniform'?"),
        ({"law": "normal-gaussian"}, "did you mean 'gaussian'?"),
        ({"law": "match"}, "did you mean 'matched'?"),
        ({"beta_schedule": "linera"}, "unknown name 'linera'; did you mean 'linear'"),
    ],
)
def test_mistyped_names_are_answered_with_the_nearest(settings, sentence):
    """The sentence names the argument, the mistake and what was probably meant."""
    with pytest.raises(InputError) as caught:
        FOGZO(**settings)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"in_flight": 0}, "in_flight is 0, but"), ({"memory": 0}, "memory is 0, but")],
)
def test_pools_without_room_are_refused(settings, sentence):
    """At least one block and one byte."""
    with pytest.raises(InputError, match=sentence):
        Pool(**settings)


def test_a_failing_block_stops_the_estimate():
    """The objective's own error comes through, from the caller and from a thread."""

    class Broken(Linear):
        def loss(self, theta):
            raise ZeroDivisionError("from the loss")

    query = make_query(Broken(np.ones(3)), np.zeros(3), 0.1)
    with threads(2) as pool, pytest.raises(ZeroDivisionError, match="from the loss"):
        two_point_gradient(query, 300, pool)
    with pytest.raises(ZeroDivisionError, match="from the loss"):
        two_point_gradient(query, 300, Pool())


# The bias of the STE


A, H, K = 0.7, -1.3, 0.9


def polynomial(q, h=H, k=K):
    """L(q) = a q + h q^2 / 2 + k q^3 / 6."""
    return A * q + h * q**2 / 2.0 + k * q**3 / 6.0


def polynomial_slope(q, h=H, k=K):
    """L'(q)."""
    return A + h * q + k * q**2 / 2.0


def mean_over_noise(quantizer, f, x, alpha=1.0):
    """E[f(Q(x + alpha epsbar u))] by quadrature."""
    eps = alpha * quantizer.epsbar
    jumps = (alpha * np.array(quantizer.thresholds()) - x) / eps
    return expectation(quantizer.law, lambda u: f(quantizer.quantize(x + eps * u, alpha)), jumps)


@pytest.mark.parametrize("surrogate", ["hardtanh", "tanh", "approxsign"])
@pytest.mark.parametrize("x", [-0.55, 0.0, 0.2, 0.8])
def test_bias_of_the_ste_of_a_sign_is_the_formula(surrogate, x):
    """E STE - d/dx E L(sign(x + eps u)) = (2 p / eps)(h E q + k/2 - k/6) to 1e-7.

    Linear L: 0. Quadratic L with h alone is biased wherever E q is not 0.
    """
    quantizer = Sign(surrogate)
    eps = quantizer.epsbar
    p = quantizer.law.pdf(np.array(x / eps))
    step = 1e-5

    def bias(h, k):
        def loss(q):
            return polynomial(q, h, k)

        up = mean_over_noise(quantizer, loss, x + step)
        down = mean_over_noise(quantizer, loss, x - step)
        slope = mean_over_noise(quantizer, lambda q: polynomial_slope(q, h, k), x)
        ste = slope * quantizer.derivative(np.array(x), 1.0)
        return float(ste - (up - down) / (2.0 * step))

    mean_q = mean_over_noise(quantizer, lambda q: q, x)
    kink = 3e-5 if surrogate == "approxsign" and x == 0.0 else 1e-7  # p has one at 0
    for h, k in ((0.0, 0.0), (H, 0.0), (0.0, K), (H, K)):
        expected = 2.0 * p / eps * (h * mean_q + k / 2.0 - k / 6.0)
        assert bias(h, k) == pytest.approx(float(expected), abs=kink)
    assert bias(0.0, 0.0) == pytest.approx(0.0, abs=kink)
    assert abs(bias(0.0, K)) > 0.1
    assert (abs(bias(H, 0.0)) > 0.1) == (x != 0.0)


def test_bias_of_the_ste_of_a_sign_by_sampling():
    """2^19 straight-through gradients of the package's own noise: 6 SE; "unbiased" is rejected."""
    quantizer, x = Sign("tanh"), 0.4
    u = quantizer.law.sample(rng.at(9, "noise", 0, 0), np.empty(2**19))
    q = quantizer.quantize(x + quantizer.epsbar * u, 1.0)
    ste = polynomial_slope(q) * quantizer.derivative(np.array(x), 1.0)
    density = float(quantizer.law.pdf(np.array(x / quantizer.epsbar))) / quantizer.epsbar
    true = (polynomial(1.0) - polynomial(-1.0)) * density
    assert agree(ste, true + 2.0 * density * (H * np.tanh(x) + K / 2.0 - K / 6.0))
    assert not agree(ste, true)
    linear = A * quantizer.derivative(np.full(5, x), 1.0)
    np.testing.assert_allclose(linear, 2.0 * A * density, rtol=1e-12)


@pytest.mark.parametrize("x", [-1.2, -0.3, 0.05, 0.4, 1.3])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_bias_of_the_identity_ste_under_dithered_rounding(x, alpha):
    """Linear L: none. L = h q^2 / 2: h (x - (q+ + q-)/2), at most h alpha / 2; to 1e-8.

    d/dx E L(Q(x + U)) is the chord's slope (L(q+) - L(q-)) / alpha between the levels round x.
    """
    quantizer = MidRise("identity", 2)
    x = alpha * x
    below = alpha * (np.floor(x / alpha - 0.5) + 0.5)
    above = below + alpha
    step = 1e-5

    def true_slope(loss):
        up = mean_over_noise(quantizer, loss, x + step, alpha)
        down = mean_over_noise(quantizer, loss, x - step, alpha)
        return (up - down) / (2.0 * step)

    assert quantizer.derivative(np.array(x), alpha) is None  # J = 1
    assert true_slope(lambda q: A * q) == pytest.approx(A, abs=1e-8)
    for h, k in ((H, 0.0), (H, K)):
        chord = (polynomial(above, h, k) - polynomial(below, h, k)) / alpha
        assert true_slope(lambda q, h=h, k=k: polynomial(q, h, k)) == pytest.approx(chord, abs=1e-8)
    ste = mean_over_noise(quantizer, lambda q: H * q, x, alpha)
    bias = ste - true_slope(lambda q: H * q**2 / 2.0)
    assert bias == pytest.approx(H * (x - (above + below) / 2.0), abs=1e-8)
    assert 1e-3 < abs(bias) <= abs(H) * alpha / 2.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dithered_rounding_is_unbiased_with_a_known_variance(dtype):
    """E Q(x + U) = x within 6 SE, variance (x - q-)(q+ - x); 1.3 times the dither is biased."""
    quantizer = MidRise("identity", 2)
    x = np.array([-1.2, -0.3, 0.05, 0.4, 1.3], dtype)
    u = quantizer.law.sample(rng.at(10, "noise", 0, 0), np.empty((2**18, 1), dtype))
    q = quantizer.quantize(x + dtype(quantizer.epsbar) * u, dtype(1.0)).astype(np.float64)
    exact = x.astype(np.float64)
    below = np.floor(exact - 0.5) + 0.5
    assert agree(q, exact)
    assert agree((q - exact) ** 2, (exact - below) * (below + 1.0 - exact))
    wide = quantizer.quantize(x + dtype(1.3 * quantizer.epsbar) * u, dtype(1.0)).astype(np.float64)
    assert not agree(wide, exact)

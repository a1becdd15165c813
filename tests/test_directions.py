"""Directions and passes: all differ, theta is left alone, what is counted is what is made.

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
    Linear,
    directions,
    estimates,
    float_dtypes,
    make_query,
    random_quadratic,
    recording,
    seeds,
    small_network,
    two_point_gradient,
)
from zeroth_order import NAMES

from minizo import FOGZO, SPSA, STE, Pool, Step, rng
from minizo.laws import LAWS
from minizo.parallel import blocks

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

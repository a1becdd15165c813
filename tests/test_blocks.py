"""Blocks of directions: a plain loop, the same bits whatever the executor."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from strategies import (
    LastFirst,
    Linear,
    block_sum,
    directions,
    generator,
    make_query,
    random_quadratic,
    small_network,
    two_point_gradient,
)
from zeroth_order import unit

from minizo import FOGZO, SPSA, Batch, Objective, Pool, Step, threads
from minizo.models import lenet
from minizo.parallel import blocks
from minizo.quantizers import MidRise


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


# Blocks and workers


def test_block_size_in_numbers():
    """min(64, 2^19 / numbers), at least 1: it defines the sums, so it may not drift."""
    sizes = {1: 64, 7960: 64, 8192: 64, 8193: 63, 2**18: 2, 2**18 + 1: 1, 2**19: 1, 2_000_000: 1}
    assert {numbers: blocks(64 * 63, numbers)[0][1] for numbers in sizes} == sizes


@pytest.mark.parametrize("n", [1, 63, 64, 65, 100, 129, 796, 7960])
def test_blocks_are_few_and_alike(n):
    """Numbered from 0, no more than are needed, of one size but for the last, n in all."""
    numbers, counts = zip(*blocks(n, 7960), strict=True)
    assert numbers == tuple(range(-(-n // 64))) and sum(counts) == n
    assert set(counts[:-1]) <= {counts[0]} and counts[0] - counts[-1] < len(counts)


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

"""An estimator of a user's own, from single differences: the example of `minizo.estimators`."""

import doctest
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from strategies import LastFirst, random_quadratic, small_network

from minizo import Pool, Step, estimators, rng, threads
from minizo.estimators import spsa
from minizo.laws import LAWS
from minizo.parallel import blocks

GAUSSIAN = LAWS["gaussian"]


@pytest.fixture(scope="module")
def ranked_es():
    """The class that the docstring shows: what readers copy is what is tested."""
    shown = doctest.DocTestParser().get_examples(estimators.__doc__)
    assert sum(example.source.count("\n") for example in shown) <= 25
    names = {}
    for example in shown[:4]:  # the imports, and the class
        exec(example.source, names)
    return names["RankedES"]


def plain(objective, theta, batch, n, eps, seed, index):
    """G = (1/n) sum w_i v_i by a plain loop over directions and losses, one of each at a time."""
    directions = []
    for block, count in blocks(n, objective.footprint(batch)):
        out = np.empty((count, theta.shape[-1]), theta.dtype)
        directions.extend(GAUSSIAN.sample(rng.at(seed, "noise", index, block), out))
    d = []
    for v in directions:
        above = objective.evaluate((theta + eps * v)[None, :], batch)[0]
        below = objective.evaluate((theta - eps * v)[None, :], batch)[0]
        d.append(float(above - below))
    total = np.zeros_like(theta)
    for i, v in enumerate(directions):
        # the mean of how many of the 2n numbers +-d_j lie below d_i, and how many below -d_i
        below = sum(s * other < d[i] for other in d for s in (1, -1))
        above = sum(s * other > d[i] for other in d for s in (1, -1))
        total += (below - above) / (2 * n) * v
    return total / n


@pytest.mark.parametrize("n", [1, 7, 64, 65, 150])
def test_it_is_a_plain_loop_in_blocks(ranked_es, n):
    """One block, a full one, one more, and several: 1e-12."""
    objective, theta = random_quadratic(9)
    step = Step(seed=3, index=5)
    estimate, _ = ranked_es(n=n).estimate(objective, theta, None, (), step)
    expected = plain(objective, theta, None, n, 0.05, 3, 5)
    np.testing.assert_allclose(estimate.grad, expected, rtol=1e-12, atol=1e-14)
    assert (estimate.forwards, estimate.backwards) == (2 * n + 1, 0)
    # negative control: the unshaped estimate is another one
    v = spsa.Noise(GAUSSIAN, 3, 5)
    eps = np.full_like(theta, 0.05)
    unshaped, _ = spsa.two_point_gradient(objective, theta, None, eps, v, n, Pool())
    assert not np.allclose(estimate.grad, unshaped, rtol=1e-3)


def test_a_quantised_network_too(ranked_es):
    """In float64, whose losses are steps; no two differences are equal here."""
    objective, theta, batch = small_network(dtype=np.float64)
    estimate, _ = ranked_es(n=20, eps=0.5).estimate(objective, theta, batch, (), Step(seed=1))
    expected = plain(objective, theta, batch, 20, 0.5, 1, 0)
    np.testing.assert_allclose(estimate.grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_do_not_depend_on_the_executor(ranked_es, dtype):
    """Alone, in two and three threads, and with blocks that finish last first."""
    objective, theta = random_quadratic(9, dtype)
    rule = ranked_es(n=200)

    def bits(pool):
        return rule.estimate(objective, theta, None, (), Step(seed=2, pool=pool))[0].grad.tobytes()

    alone = bits(Pool())
    assert bits(Pool(LastFirst(), 5)) == alone
    for workers in (2, 3):
        with threads(workers) as pool:
            assert bits(pool) == alone
    assert bits(Pool()) != rule.estimate(objective, theta, None, (), Step(seed=3))[0].grad.tobytes()


def test_processes_give_the_same_bits(ranked_es):
    """Directions and differences travel to two spawned processes."""
    objective, theta = random_quadratic(9)
    rule = ranked_es(n=130)
    alone, _ = rule.estimate(objective, theta, None, (), Step(seed=2))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        there, _ = rule.estimate(objective, theta, None, (), Step(seed=2, pool=Pool(executor, 4)))
    np.testing.assert_array_equal(there.grad, alone.grad)


@pytest.mark.parametrize("n", [3, 70])
def test_many_seeds_at_once(ranked_es, n):
    """theta (S, 1, d): every row is what it is on its own, with its own seed, to 1e-12."""
    objective, theta = random_quadratic(6)
    thetas = np.stack([theta, -theta, 2.0 * theta])[:, None, :]
    together, _ = ranked_es(n=n).estimate(objective, thetas, None, (), Step(seed=(0, 1, 7)))
    assert together.grad.shape == thetas.shape
    for row, seed in enumerate((0, 1, 7)):
        single, _ = ranked_es(n=n).estimate(objective, thetas[row, 0], None, (), Step(seed=seed))
        np.testing.assert_allclose(together.grad[row, 0], single.grad, rtol=1e-12, atol=1e-14)


def test_only_the_order_of_the_losses_counts(ranked_es):
    """A monotone function of the loss that keeps |d|'s order leaves G as it is, bit for bit."""
    objective, theta = random_quadratic(6)

    class Scaled:
        kept = ()

        def evaluate(self, theta, batch):
            return 1024.0 * objective.evaluate(theta, batch)

        def footprint(self, batch):
            return objective.footprint(batch)

        def statistics(self, theta, batch):
            return {}

    rule = ranked_es(n=40)
    once, _ = rule.estimate(objective, theta, None, (), Step())
    scaled, _ = rule.estimate(Scaled(), theta, None, (), Step())
    np.testing.assert_array_equal(once.grad, scaled.grad)

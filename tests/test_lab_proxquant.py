"""ProxQuant's theory against numbers: every claim holds, every negative control fails."""

from itertools import product

import numpy as np
import pytest

from minizo.lab import convergence, proxquant
from minizo.lab.experiments import EXPERIMENTS
from minizo.lab.runner import Setup

EMPTY = np.empty(0, np.float32)
OWN = [name for name in EXPERIMENTS if name[0] == "A"] + ["C-1", "C-2", "C-3", "C-4"]


@pytest.mark.parametrize("name", OWN)
def test_the_claim_holds_and_its_control_does_not(name):
    """As the command runs it, seed 0; every claim names its source; curves are finite."""
    report = EXPERIMENTS[name].run(Setup(EMPTY))
    assert [claim.verdict for claim in report.claims] == ["holds"] * len(report.claims)
    assert all(c.source.startswith(("paper: ", "this package")) for c in report.claims)
    assert any(row["kind"] == "predicted" for row in report.rows)
    assert all(np.isfinite(row["y"]) for row in report.rows)


@pytest.mark.parametrize("name", ["A-2", "A-3", "C-2", "C-3", "C-4"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_seeds_and_the_same_bits(name, seed):
    """The claims are no accident of seed 0, and a seed gives the same bits again."""
    first = EXPERIMENTS[name].run(Setup(EMPTY, seed))
    assert [claim.verdict for claim in first.claims] == ["holds"] * len(first.claims)
    assert EXPERIMENTS[name].run(Setup(EMPTY, seed))[:2] == first[:2]


# Pieces, independently of the experiments


@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_smoothed_w(delta):
    """Slope by central differences (1e-6), even, and at most delta/2 from the kinked W."""
    x, h = np.linspace(-2.5, 2.5, 997), 1e-6
    slope = (convergence.w_value(x + h, delta) - convergence.w_value(x - h, delta)) / (2 * h)
    np.testing.assert_allclose(convergence.w_slope(x, delta), slope, atol=2e-5)
    kinked = np.abs(np.abs(x) - 1.0)
    gap = np.abs(convergence.w_value(x, delta) - kinked)
    assert np.max(gap) <= delta / 2 + 1e-12
    np.testing.assert_array_equal(convergence.w_value(-x, delta), convergence.w_value(x, delta))


@pytest.mark.parametrize("lam", [0.01, 0.05, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_prox_of_the_smoothed_w_is_global(delta, lam):
    """No point of a grid of width 5e-4 is better, for lam below and above delta; 1.2 lam is not."""
    x = np.append(np.linspace(-3, 3, 121), [0.0, 1e-12, -1e-12])
    grid = np.arange(-6.5, 6.5, 5e-4)

    def cost(u):
        return 0.5 * (u - x) ** 2 + lam * convergence.w_value(u, delta)

    least = np.min([cost(u) for u in grid], axis=0)
    u = convergence.w_prox(x, lam, delta)
    assert np.all(cost(u) <= least + 1e-12)
    assert np.all(u[x > 0] >= 0) and np.all(u[x < 0] <= 0)
    assert np.any(cost(convergence.w_prox(x, 1.2 * lam + 0.01, delta)) > least + 1e-6)
    # also with a strength for each row
    rows = convergence.w_prox(np.stack([x, x]), np.array([[lam], [2 * lam]]), delta)
    np.testing.assert_array_equal(rows[0], u)
    np.testing.assert_array_equal(rows[1], convergence.w_prox(x, 2 * lam, delta))


def test_orbit_by_hand():
    """lambda = 1/2, eta = 2/5: phi = +-1/8, theta = +-5/8, |F'| = 1/8, for ever."""
    eta = np.array([0.4])
    thetas = convergence.lazy_orbit(0.5, eta, 7, lambda x, lam: np.where(x >= 0, x + lam, x - lam))[
        :, 0
    ]
    np.testing.assert_allclose(thetas, [0.625, -0.625] * 3 + [0.625], atol=1e-14)
    assert convergence.slope_of_f(np.array([-0.625]), 0.5) == pytest.approx(0.125)


def test_the_slopes_of_the_landscapes():
    """grad L by central differences, and beta bounds its change."""
    problem, x = convergence.landscapes(5, count=4, d=3)
    direction, h = np.random.default_rng(0).normal(size=x.shape), 1e-6
    plain = problem._replace(lam=0.0)
    numeric = (plain.value(x + h * direction) - plain.value(x - h * direction)) / (2 * h)
    exact = np.sum(problem.slope(x) * direction, axis=-1)
    np.testing.assert_allclose(numeric, exact, rtol=1e-6)
    change = np.linalg.norm(problem.slope(x + direction) - problem.slope(x), axis=-1)
    assert np.all(change <= problem.beta[:, 0] * np.linalg.norm(direction, axis=-1))


def test_fixed_points_of_a_small_problem_by_hand():
    """d = 2, A = 0, b = (1, -1): only (-1, 1) is never left; each other sign after its drift."""
    every = np.array(list(product([-1.0, 1.0], repeat=2)))
    a, b = np.zeros((1, 2, 2)), np.array([[1.0, -1.0]])
    left = proxquant.departures(a, b, every, rate=0.03, steps=50, latent=0.1)
    assert left.tolist() == [[4, 0, 4, 4]]


def test_toy_paths():
    """The first steps of both methods on f_1 from 0.3, by hand."""
    binary, proximal = proxquant.toy_paths(1, 0.3, steps=4)
    np.testing.assert_array_equal(binary, [1, 1, 1, 1])
    np.testing.assert_allclose(proximal, [0.3, 0.25, 0.2005, 0.1515], atol=1e-12)
    for x in (-0.6, -0.4, 0.2):
        assert proxquant.toy_slope(1, x) == np.sign(abs(x + 0.5 + 1e-6) - abs(x + 0.5 - 1e-6))

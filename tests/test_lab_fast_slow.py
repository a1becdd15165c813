"""FSG's theorem 1 (C-7): counterexamples within its assumptions, and the bound that is proved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo.lab.experiments import EXPERIMENTS
from minizo.lab.fast_slow.counterexamples import (
    Lopsided,
    assumptions,
    cycle,
    excess,
    known,
    lemma_2,
    lopsided,
    size,
    walk,
)
from minizo.lab.fast_slow.problems import draw, random_gaps
from minizo.lab.fast_slow.theorem import Known, corrected, printed, squared, start_terms
from minizo.lab.runner import Setup

EMPTY = np.empty(0, np.float32)
TINY = 1.0 + 1e-9  # of rounding


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_claim_holds_and_every_control_fails(seed):
    """Of C-7, for three seeds; its table and its curves have numbers, its axes labels."""
    report = EXPERIMENTS["C-7"].run(Setup(EMPTY, seed))
    assert [claim.verdict for claim in report.claims] == ["holds"] * 8
    assert all(c.source.startswith(("paper: ", "this package")) for c in report.claims)
    assert all(np.isfinite(row["y"]) for row in report.rows)
    assert "cycle: f(xhat) - f*" in report.table
    figure = EXPERIMENTS["C-7"].picture(report, "C-7")
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


# The counterexamples -----------------------------------------------------------------------------


def test_the_cycle_by_hand():
    """1, -2 without rounding; 1/4 against 0.0029 (1/6n + 3 * 2 / (2 * 1024)) and 6.0."""
    found, k, f = cycle()
    assert found.x[:, 0, 0].tolist() == [1.0, -2.0] * (len(found.x) // 2) + [1.0]
    assert k[1:] == (3.0 / 1024.0, 0.0, 1.0, 1.0, 1024.0, 2048.0, 1.0, 0.0, 0.0)
    assert excess(found, f) == 0.25
    assert printed(k) == pytest.approx(1.0 / (6.0 * k.steps) + 6.0 / 2048.0, rel=1e-12)
    assert printed(k) < 0.25 / 85.0
    assert squared(k) == corrected(k) == pytest.approx(6.0, abs=2e-5)


def test_the_bounds_by_hand():
    """t + 1 = 4, alpha = 1/2, beta = 1/2, F_0 = 3, D = 2, a = 1, b = 2, G = 3, delta = 4, sigma."""
    k = Known(4, 0.5, 0.5, 3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 0.1)
    start = 0.5 * 3.0 / 2.0 + 0.5 * 4.0 / 4.0
    assert printed(k) == pytest.approx(start + 0.5 * 2.0 * 25.0 / 1.0)
    assert squared(k) == pytest.approx(start + 0.5 * 4.0 * 25.0 / 1.0)
    falls = 0.5 * 0.5 * 2.0 * 1.0 * 3.0 * 5.0 / 0.25
    errs = 0.25 * 0.01 / 0.5 + 0.25 * 1.0 * 3.0 * 0.1 / 0.25
    assert corrected(k) == pytest.approx(start + 50.0 + falls + errs)


@pytest.mark.parametrize("make, constants", [(cycle, (1024.0, 1024.0)), (lopsided, (0.5, 1.0))])
def test_the_runs_keep_every_assumption_and_wrong_constants_are_noticed(make, constants):
    """To 1e-12; a larger Omega, a smaller Theta, a smaller G, another momentum are violations."""
    found, k, f = make()
    omega, theta = constants

    def broken(f=f, alpha=k.alpha, beta=k.beta, omega=omega, theta=theta, found=found):
        amounts = assumptions(found, f, alpha, beta, omega, theta)
        return {name for name, amount in amounts.items() if amount > 1e-12}

    assert broken() == set()
    assert broken(omega=1.1 * omega) == {"phi_f >= Omega |x|"}
    assert broken(theta=0.9 * theta) == {"phi_f <= Theta |x|"}
    assert "slow-net = momentum" in broken(alpha=0.9 * k.alpha)
    assert "|g| <= G" in broken(f=Lopsided(0.9, 0.5))
    wrong = found._replace(subgradient=0.5 * found.subgradient)
    assert "f(y) >= f(x) + g^T (y - x)" in broken(found=wrong)


def test_a_factor_that_is_no_function_of_x_is_noticed():
    """On the 2-cycle a point comes again: with another phi there, phi_f is no function."""
    found, k, f = cycle(8)
    phi = found.factor.copy()
    phi[4:] *= 0.5
    wrong = assumptions(found._replace(factor=phi), f, k.alpha, 0.0, 0.0, 1024.0)
    assert wrong["phi_f is a function"] == 1024.0  # at x = -2, 2048 and then its half


@pytest.mark.parametrize("left, omega, height", [(0.5, 0.5, 1.0), (0.5, 0.4, 1.0), (0.5, 0.5, 1.2)])
def test_the_square_alone_is_no_bound_with_momentum(left, omega, height):
    """By 1.2 times at least, not by an accident of the numbers; the corrected bound holds."""
    f = Lopsided(1.0, left)

    def factor(x, v, h, g):
        falls = np.sum(h * v, axis=-1, keepdims=True) < 0.0
        return np.where(falls, 1.0, omega) * size(x)

    start = np.array([[0.05, height]])
    found = walk(f.subgradient, factor, start, 2.0**-13, 0.995, 8192)
    k = known(found, f, 2.0**-13, 0.995, omega, 1.0)
    assert max(assumptions(found, f, k.alpha, k.beta, omega, 1.0).values()) <= 1e-12
    assert 1.2 * squared(k) < excess(found, f) < corrected(k)


def test_lemma_2_is_wrong_only_where_f_falls():
    """Its left side exceeds the right one at a third of the steps, each of which goes down."""
    found, k, f = lopsided()
    values = f.value(found.x[:, 0])
    wrong = lemma_2(found, f, k) > 1e-12
    assert np.mean(wrong) > 0.2
    assert np.all(np.diff(values)[:-1][wrong] < 0.0)
    # without momentum nothing is dropped
    found, k, f = cycle(64)
    assert np.max(lemma_2(found, f, k)) <= 1e-12


def test_rescaling_moves_the_printed_bound_only():
    """phi -> 8 phi, alpha -> alpha / 8: the same bits of the run, an eighth of its last term."""
    (first, k, _), (second, scaled, _) = cycle(64), cycle(64, 8.0 * 1024.0)
    np.testing.assert_array_equal(first.x, second.x)
    assert corrected(scaled) == pytest.approx(corrected(k), rel=1e-15)
    rest = start_terms(k)
    assert printed(scaled) - rest == pytest.approx((printed(k) - rest) / 8.0, rel=1e-12)


# The corrected bound -----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), steps=st.sampled_from([1, 7, 60, 300]))
def test_the_corrected_bound_without_noise(seed, steps):
    """Of 60 problems: no path exceeds it, whether phi is of x or turns against the momentum."""
    gaps, se, k = random_gaps(draw(seed, 60), steps)
    assert not se.any()
    assert np.all(gaps <= TINY * corrected(k))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1), noise=st.sampled_from([0.3, 1.0, 3.0]),
    error=st.sampled_from([0.0, 0.3, 3.0, 30.0]),
)  # fmt: skip
def test_the_corrected_bound_in_the_mean(seed, noise, error):
    """The exact mean over all signs of the noise and of the slow-net's errors."""
    gaps, _, k = random_gaps(draw(seed, 40), 4, noise, error, paths=None)
    assert np.all(gaps <= TINY * corrected(k))


def test_all_paths_are_run():
    """One step of noise: xhat = x_0; two steps: the mean of f((x_0 + x_1)/2) over two signs."""
    drawn = draw(3, 6)
    gaps, _, _ = random_gaps(drawn, 1, 1.0, paths=None)
    np.testing.assert_allclose(gaps, drawn.f.value(drawn.start), rtol=1e-14)
    gaps, _, k = random_gaps(drawn, 2, 1.0, paths=None, seed=5)
    gen = np.random.default_rng((5, 32))
    direction = gen.normal(size=drawn.start.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    h = drawn.f.subgradient(drawn.start)
    phi = drawn.factor(drawn.start, 0.0 * h, h, h)
    both = [
        drawn.f.value(drawn.start - 0.5 * drawn.alpha[:, None] * phi
                      * (h + s * k.noise[:, None] * direction))
        for s in (1.0, -1.0)
    ]  # fmt: skip
    np.testing.assert_allclose(gaps, 0.5 * (both[0] + both[1]), rtol=1e-12)


def test_the_slope_bounds_every_subgradient_and_the_best_point_is_best():
    """Of 200 random points; f* = 0."""
    f = draw(1, 20).f
    x = f.best + 3.0 * np.random.default_rng(0).normal(size=(200, *f.best.shape))
    assert np.all(np.linalg.norm(f.subgradient(x), axis=-1) <= TINY * f.slope)
    assert np.all(f.value(x) > 0.0) and np.all(f.value(f.best) == 0.0)
    y = np.roll(x, 1, axis=0)
    line = f.value(x) + np.sum(f.subgradient(x) * (y - x), axis=-1)
    assert np.all(f.value(y) >= line - 1e-9)


def test_a_factor_that_sees_the_noise_breaks_it():
    """Noise of twice G, b if the gradient drawn points uphill: above the bound by 6 sigma."""
    drawn = draw(0, 40)
    mean, se, k = random_gaps(drawn, 2000, 2.0, factor=drawn.peeking, paths=8)
    assert np.sum(mean - 6.0 * se > corrected(k)) >= 10
    mean, _, k = random_gaps(drawn, 2000, 2.0, paths=8)
    assert np.all(mean <= corrected(k))


def test_a_slow_net_of_another_mean_breaks_it():
    """e_k = a constant push away from x* instead of mean 0, of the same size."""
    drawn = draw(0, 40)
    moving = drawn.beta > 0.0
    away = drawn.start - drawn.f.best
    away = away / np.linalg.norm(away, axis=1, keepdims=True)
    sigma = 3.0 * drawn.high * drawn.f.slope * drawn.alpha
    steps = 4000
    errors = np.broadcast_to(sigma[:, None] * away, (steps, 1, *away.shape))
    found = walk(drawn.f.subgradient, drawn.factor, drawn.start[None], drawn.alpha[:, None],
                 drawn.beta[:, None], steps, errors=errors)  # fmt: skip
    gaps = drawn.f.value(np.mean(found.x[:-1, 0], axis=0))
    _, _, k = random_gaps(drawn, 1)
    bound = corrected(k._replace(steps=steps, error=sigma))
    assert np.sum((gaps > bound)[moving]) >= 10


def test_a_function_that_is_not_convex_breaks_it():
    """f = min(|x|, 1), from 2: the run stands still at f = 1, and the bound goes to 0."""
    alpha, steps = 1e-3, 100_000_000

    def slope(x):
        return np.where(np.abs(x) < 1.0, np.sign(x), 0.0)

    start = np.full((1, 1), 2.0)
    found = walk(slope, lambda x, v, h, g: np.ones_like(h), start, alpha, 0.0, 5)
    assert np.all(found.x == 2.0)  # so that all later iterates are there, too
    assert corrected(Known(steps, alpha, 0.0, 1.0, 2.0, 1.0, 1.0)) < 0.01 < 1.0

"""Propositions 1 to 4 of the finite-sample theory against numbers.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import acos, ceil, comb, log, pi, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from finite_sample import LIKE, NAMES
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import agree, generator, seeds

from minizo import InputError
from minizo.lab.finite_sample import predictions as pr
from minizo.lab.finite_sample.model import (
    STES,
    gradient,
    inputs,
    make_task,
    population_gradient,
    random_signs,
    signs,
)
from minizo.lab.finite_sample.one_step import sampled
from minizo.lab.finite_sample.runs import run, step_size

# Propositions 1 and 2: they hold for any delta at all ------------------------------------------


def adversary(gen, n, teacher, ste, size):
    """A drift c (q - w* + delta_t) with arbitrary delta_t of size up to ``size``."""

    def drift(s):
        return ste.slope * (s / sqrt(n) - teacher + size * gen.uniform(-1, 1, n))

    return drift


@given(st.integers(1, 12), st.floats(0.0, 1.5), st.floats(0.01, 1.0), st.floats(0.01, 10.0),
       st.sampled_from(NAMES), seeds)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_propositions_1_and_2_against_any_deviation(n, size, move, far, name, seed):
    """Wrong time <= bound; bound < 1/2 gives the average's sign; sum of bounds < 1 a visit."""
    gen, ste, steps = generator(seed), STES[name], 200
    optimum, w = signs(gen.normal(size=n)), far * gen.normal(size=n)
    eta = step_size(ste, n, move)
    drift = adversary(gen, n, optimum / sqrt(n), ste, size / sqrt(n))
    found = run(drift, optimum / sqrt(n), w, eta, steps, ste)
    bound = pr.wrong_time_bound(found.excess, w, eta, ste, steps)
    assert np.all(found.wrong / steps <= bound + 1e-9)
    assert np.all((found.total * optimum > 0)[bound < 0.5])
    if pr.visits_optimum(bound):
        assert found.first < steps


def test_proposition_1_is_nearly_attained():
    """A constant deviation of 0.8 / sqrt(n): wrong for 0.4 of the time; half of it is too low."""
    n, ste, steps = 4, STES["identity"], 5000
    optimum = np.ones(n)
    delta = np.array([0.8, 0.4, 0.2, 0.0]) / sqrt(n)
    eta, w = step_size(ste, n, 0.0317), np.full(n, 0.01)

    def drift(s):
        return ste.slope * (s / sqrt(n) - optimum / sqrt(n) + delta)

    found = run(drift, optimum / sqrt(n), w, eta, steps, ste)
    bound = pr.wrong_time_bound(found.excess, w, eta, ste, steps)
    np.testing.assert_allclose(found.wrong / steps, 0.5 * sqrt(n) * delta, atol=1e-3)
    assert np.all(found.wrong / steps <= bound)
    half = pr.wrong_time_bound(0.5 * found.excess, w, eta, ste, steps)
    assert np.any(found.wrong / steps > half)


def test_a_tempting_condition_for_the_last_iterate_fails():
    """sqrt(n) delta (1 + max|w_0| / min|w_0|) < 2 does not keep an adversary from keeping w* away.

    Six coordinates start wrong by 1 and cross 0 at different times; then each is pushed back at a
    constant rate, and some coordinate is wrong at every step. Proposition 2 is not contradicted:
    its bounds add up to more than 1.
    """
    n, ste, size, steps = 6, STES["identity"], 0.95, 2000
    teacher, w, eta = np.ones(n) / sqrt(n), -np.ones(n), step_size(STES["identity"], 6, 0.0317)
    crossed = np.zeros(n, bool)

    def drift(s):
        crossed[s > 0] = True
        delta = np.where(crossed, size, np.linspace(-0.9, 0.9, n)) / sqrt(n)
        return ste.slope * (s / sqrt(n) - teacher + delta)

    found = run(drift, teacher, w, eta, steps, ste)
    largest = size / sqrt(n)
    assert sqrt(n) * largest * (1 + 1) < 2
    arrival = ceil(sqrt(n) / (eta * ste.slope * (2 - sqrt(n) * largest))) + 1
    assert crossed.all() and arrival < steps / 10
    assert found.first == steps and found.away == steps  # never there
    assert not pr.visits_optimum(pr.wrong_time_bound(found.excess, w, eta, ste, steps))


def test_sufficient_sample_sizes():
    """The exponents 2 and 4, and the constants from sqrt(N) sup |delta| = 2 sqrt(theta n ln 2)."""
    for n in (4, 32):
        sup = 2 * sqrt(pi / 2 * n * log(2))
        assert sup / sqrt(pr.samples_for_average(n)) == pytest.approx(1 / sqrt(n))
        assert sup / sqrt(pr.samples_for_last(n)) == pytest.approx(2 / n**1.5)
    assert pr.samples_for_average(64) == pytest.approx(4 * pr.samples_for_average(32))
    assert pr.samples_for_last(64) == pytest.approx(16 * pr.samples_for_last(32))


# Proposition 3 ---------------------------------------------------------------------------------


def test_one_step_formula():
    """The values of the specification; half at the threshold's scale; more samples help."""
    ste = STES["identity"]
    for n, half, full in ((16, 0.45, 0.86), (32, 0.36, 0.87), (64, 0.26, 0.88), (128, 0.17, 0.89)):
        threshold = pr.one_step_threshold(n, ste)
        assert threshold == pytest.approx(2 * pi * n * log(n))
        assert pr.one_step_probability(n, threshold / 2, ste) == pytest.approx(half, abs=0.006)
        assert pr.one_step_probability(n, threshold, ste) == pytest.approx(full, abs=0.006)
        relu = pr.one_step_probability(n, 2 * threshold, STES["relu"])
        assert relu == pytest.approx(pr.one_step_probability(n, threshold, ste))


def direct(gen, trials, n, samples, ste):
    """One step from s_0 on a drawn data set, ``trials`` times: successes."""
    x = gen.normal(size=(trials, samples, n))
    teacher, s = signs(gen.normal(size=(2, trials, 1, n)))
    g = gradient(make_task(x, teacher), ste, s)
    return np.all((s / sqrt(n) - g / ste.slope) * teacher > 0, axis=-1)[:, 0]


@pytest.mark.parametrize("name, samples", [("identity", 40), ("identity", 90), ("relu", 150)])
def test_the_short_way_has_the_law_of_the_long_way(name, samples):
    """Success in one step, n = 8: 20,000 short draws against 20,000 data sets, 6 s.e.

    Negative control: 1.5 times as many samples are told apart.
    """
    ste, trials = STES[name], 20_000
    long = direct(generator(samples), trials, 8, samples, ste).mean()
    short = sampled(0, trials, 8, samples, ste, LIKE).mean()
    more = sampled(0, trials, 8, samples * 3 // 2, ste, LIKE).mean()
    se = sqrt(2 * long * (1 - long) / trials)
    assert 0.05 < long < 0.95
    assert abs(short - long) < 6 * se < abs(more - long)


@pytest.mark.parametrize("wrong", [1, 3, 4, 8])
@pytest.mark.parametrize("name", NAMES)
def test_variance_of_delta(name, wrong):
    """N Var delta_i of wrong and right coordinates, n = 8, 20,000 data sets of 50; 6 s.e.

    Negative control: the leading order 2 theta / share alone, where it differs.
    """
    n, samples, ste = 8, 50, STES[name]
    x = generator(wrong).normal(size=(20_000, samples, n))
    teacher = np.ones((20_000, 1, n))
    s = teacher.copy()
    s[..., :wrong] = -1
    delta = gradient(make_task(x, teacher), ste, s)[:, 0] / ste.slope - (s - teacher)[:, 0] / sqrt(
        n
    )
    squares = samples * (delta - delta.mean(axis=0)) ** 2
    off, right = pr.delta_variance(n, wrong, ste)
    assert agree(squares[:, :wrong], off)
    if wrong < n:
        assert agree(squares[:, wrong:], right)
        assert not agree(squares[:, wrong:], 2 * acos(1 - 2 * wrong / n) / ste.share)
    else:
        assert np.isnan(right)


def test_variance_of_delta_at_the_ends():
    """No wrong coordinate: variance 0; many coordinates: the leading order."""
    assert np.isnan(pr.delta_variance(8, 0, STES["identity"])[0])
    assert pr.delta_variance(8, 0, STES["identity"])[1] == pytest.approx(0, abs=1e-12)
    for value in pr.delta_variance(10_000, 5000, STES["identity"]):
        assert value == pytest.approx(pi, rel=1e-3)
    with pytest.raises(InputError, match="wrong is 9, but it must lie between 0 and 8"):
        pr.delta_variance(8, 9, STES["identity"])


def test_union_bound_over_all_sign_vectors():
    """The sum over all q at the bound is the failure rate; the rough form is near it."""
    for n in (4, 9):
        for failure in (0.5, 1e-6):
            t = pr.uniform_bound(n, failure)
            total = 0.0
            for k in range(1, n + 1):
                sd = sqrt(2 * acos(1 - 2 * k / n))
                total += comb(n, k) * n * 2 * NormalDist().cdf(-t / sd)
            assert total == pytest.approx(failure, rel=1e-6)
        assert pr.simple_uniform_bound(n) == pytest.approx(pr.uniform_bound(n, 0.5), rel=0.05)


# Proposition 4 ---------------------------------------------------------------------------------


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_product_law_is_at_least_the_union_bound(p):
    p = np.array(p)
    assert pr.product_law(p) >= pr.union_bound(p) - 1e-12


@given(st.integers(1, 10), st.floats(0.0, 0.6), st.floats(0.01, 0.3), seeds)
@settings(max_examples=40, deadline=None)
def test_each_coordinate_is_a_rotation(n, spread, move, seed):
    """Population gradient, real teacher: wrong steps within 2 of p_i T, away at most sum p_i."""
    gen, ste, steps = generator(seed), STES["identity"], 1500
    size = np.abs(1 + spread * gen.normal(size=n))
    optimum = signs(gen.normal(size=n))
    teacher = optimum * size / np.linalg.norm(size)
    w = move * optimum * gen.uniform(0, 1, n)
    found = run(
        lambda s: population_gradient(ste, teacher, s),
        teacher,
        w,
        step_size(ste, n, move),
        steps,
        ste,
    )
    p = pr.teacher_fractions(teacher)
    assert np.all(np.abs(found.wrong - p * steps) < 2 + 1e-6)
    assert found.away <= steps * p.sum() + 2 * n
    assert abs(found.escapes - found.returns) <= 1


def test_union_bound_needs_more_than_the_cosine():
    """sum p_i < 1 implies cos(w*, sgn w*) > 1 - 2 / n, and not the other way round.

    The converse would hold if p_i could be negative where sqrt(n) |w*_i| > 1.
    """
    gen, n, counter = generator(4), 8, 0
    for spread in gen.uniform(0, 1, 400):
        w = np.abs(1 + spread * gen.normal(size=n))
        w /= np.linalg.norm(w)
        total, cosine = pr.teacher_fractions(w).sum(), w.sum() / sqrt(n)
        assert cosine > 1 - 2 / n or total >= 1
        assert total >= (n - sqrt(n) * w.sum()) / 2 - 1e-12
        counter += cosine > 1 - 2 / n and total >= 1
    assert counter > 0


@pytest.mark.parametrize("name", NAMES)
def test_mean_occupancy_is_the_mean_product(name):
    """E prod(1 - p_i) over e ~ N(0, sigma^2 share / N), 20,000 draws, within 0.01.

    Negative control: n in place of n^(3/2).
    """
    n, samples, sigma, ste = 16, 4000, 0.4, STES[name]
    e = sigma * sqrt(ste.share / samples) * generator(1).normal(size=(20_000, n))
    mean = pr.product_law(pr.wrong_fractions(e, np.ones(n), ste)).mean()
    formula = pr.mean_occupancy(n, samples, sigma, ste)
    assert mean == pytest.approx(formula, abs=0.01)
    assert abs(mean - formula ** (1 / sqrt(n))) > 0.05


def test_noise_at_the_optimum():
    """e = g(w*) has variance sigma^2 share / N for both STEs, 6 s.e.; not with the other share."""
    n, samples, sigma = 4, 100, 0.3
    x = inputs(2, range(4000), samples, n, LIKE)
    teacher = random_signs(2, range(4000), 1, n, LIKE)
    task = make_task(x, teacher, sigma, 2)
    for name, ste in STES.items():
        squares = samples / sigma**2 * gradient(task, ste, teacher)[:, 0] ** 2
        assert agree(squares, ste.share)
        assert not agree(squares, STES[NAMES[1 - NAMES.index(name)]].share)

"""Paired differences and their intervals: defined as written, and right as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import InputError
from minizo.compare import interval, paired, spread
from minizo.compare.statistics import FEWEST, POWER, STREAM, student

NUMBERS = st.lists(st.floats(-100, 100), min_size=FEWEST, max_size=12)


def by_hand(values, resamples=4000):
    """The studentised interval with other resamples, one after the other."""
    gen, n, mean = np.random.default_rng(1), len(values), np.mean(values)
    error, found = np.std(values, ddof=1) / math.sqrt(n), []
    for _ in range(resamples):
        again = gen.choice(values, n)
        own = np.std(again, ddof=1) / math.sqrt(n)
        found += [abs(np.mean(again) - mean) / own] if own else []
    half = np.quantile(found, 0.95) * error
    return mean - half, mean + half


def test_interval_is_the_studentised_bootstrap():
    values = np.random.default_rng(0).normal(0.3, 0.1, 20)
    np.testing.assert_allclose(interval(values), by_hand(values), atol=0.005)


@settings(max_examples=20, deadline=None)
@given(NUMBERS, st.floats(-5, 5), st.floats(0.1, 10))
def test_interval_moves_and_grows_with_the_values(values, shift, factor):
    low, high = interval(values)
    moved = interval([factor * value + shift for value in values])
    size = max(map(abs, [*values, shift, 1.0])) * factor
    # a spread of rounding errors alone has no scale to grow with
    if np.ptp(values) > 1e-6:
        wanted = [factor * low + shift, factor * high + shift]
        np.testing.assert_allclose(moved, wanted, atol=1e-6 * size + 1e-6 * (high - low) * factor)
    assert low <= high


def test_an_interval_has_no_smallest_unit():
    """That of numbers times 1e-300 is 1e-300 times theirs: no square vanishes on the way."""
    values = [0.0, 0.0, 0.3, 0.1, 0.0, 1.0]
    tiny = interval([1e-300 * value for value in values])
    np.testing.assert_allclose(np.array(tiny) * 1e300, interval(values), rtol=1e-9)


def coverage(draw, mean, n, times=600):
    """How many of so many intervals hold the true mean."""
    gen, held = np.random.default_rng(3), 0
    for _ in range(times):
        low, high = interval(draw(gen, n))
        held += low <= mean <= high
    return held / times


@pytest.mark.parametrize("degrees, wanted", [(1, 12.706), (2, 4.303), (3, 3.182), (8, 2.306)])
def test_students_t_is_that_of_the_tables(degrees, wanted):
    assert student(degrees) == pytest.approx(wanted, abs=5e-4)
    assert student(degrees, 0.5) < student(degrees, 0.9) < student(degrees)


def test_five_numbers_of_which_three_agree_have_an_interval():
    """The bootstrap alone would have one seven times as wide: resamples of these three only."""
    values = [0.095, 0.118, 0.093, 0.023, 0.096]
    low, high = interval(values)
    half = student(4) * np.std(values, ddof=1) / math.sqrt(5)
    np.testing.assert_allclose([low, high], [np.mean(values) - half, np.mean(values) + half])
    wide = by_hand(values)
    assert wide[1] - wide[0] > 3.0 * (high - low)


@pytest.mark.slow
def test_interval_holds_the_mean_as_often_as_it_says():
    """95 of 100, of 20 normal and heavy-tailed numbers; the control, percentiles of 5, 83."""
    five_sigma = 5 * math.sqrt(0.95 * 0.05 / 600)
    assert abs(coverage(lambda gen, n: gen.normal(size=n), 0.0, n=20) - 0.95) < five_sigma
    assert abs(coverage(lambda gen, n: gen.standard_t(3, size=n), 0.0, n=20) - 0.95) < five_sigma
    assert abs(coverage(lambda gen, n: gen.normal(size=n), 0.0, n=5) - 0.95) < five_sigma
    assert abs(coverage(lambda gen, n: gen.standard_t(3, size=n), 0.0, n=5) - 0.95) < five_sigma
    gen, held = np.random.default_rng(3), 0
    for _ in range(600):
        d = gen.normal(size=5)
        means = d[gen.integers(0, 5, (1000, 5))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        held += low <= 0.0 <= high
    assert 0.95 - held / 600 > five_sigma


def test_interval_is_the_same_at_every_call_and_changes_no_global_state():
    np.random.seed(STREAM)
    before = np.random.get_state()[1].copy()
    values = [0.1, 0.4, 0.2, 0.3, 0.35]
    assert interval(values) == interval(values)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("count", range(1, FEWEST))
def test_few_seeds_have_no_interval_and_say_so(count):
    found = paired([0.5] * count, [0.4] * count)
    assert found.interval is None and found.smallest is None
    assert found.verdict == f"no interval from {count} seed{'s' * (count > 1)}"
    assert math.isclose(found.mean, 0.1)


def test_equal_differences_have_an_interval_of_no_width():
    found = paired([0.75] * 6, [0.5] * 6)
    assert found.interval == (0.25, 0.25) and found.verdict == "higher"
    same = paired([0.5, 0.6, 0.7, 0.8, 0.9], [0.5, 0.6, 0.7, 0.8, 0.9])
    assert same.interval == (0.0, 0.0) and same.verdict == "not different"


def test_pairs_fall_out_what_both_share():
    """Seeds that differ by 1 and methods that differ by .01: the pairs see it, the means cannot."""
    gen = np.random.default_rng(0)
    luck = gen.normal(size=20)
    ours, theirs = luck + 0.01 + gen.normal(0, 0.001, 20), luck
    assert paired(list(ours), list(theirs)).verdict == "higher"
    # the control: the same numbers, not seed by seed
    assert paired(list(ours), list(gen.permutation(theirs))).verdict == "not different"


def test_diverged_seeds_are_left_out_of_both():
    ours = [0.1, None, 0.3, 0.2, 0.4, 0.2, 0.1]
    theirs = [0.2, 0.1, None, 0.4, 0.5, 0.1, 0.4]
    found = paired(ours, theirs)
    assert found.left_out == 2 and len(found.values) == 5
    kept = [0.1 - 0.2, 0.2 - 0.4, 0.4 - 0.5, 0.2 - 0.1, 0.1 - 0.4]
    assert found.values == tuple(kept) and found.interval == interval(kept)
    nothing = paired([None, 0.1], [0.2, None])
    assert nothing.values == () and math.isnan(nothing.mean) and nothing.interval is None


def test_smallest_difference_is_found_as_often_as_it_says():
    """With a true difference of the stated size four fifths of the comparisons find one."""
    gen, sizes, found = np.random.default_rng(5), [], 0
    for _ in range(100):
        sizes.append(paired(list(gen.normal(size=20)), [0.0] * 20).smallest)
    size = float(np.median(sizes))
    times = 300
    for _ in range(times):
        low, high = interval(gen.normal(size, size=20))
        found += low > 0.0
    assert abs(found / times - POWER) < 6 * math.sqrt(POWER * (1 - POWER) / times)


def test_spread_by_hand():
    s = spread([0.4, None, 0.1, 0.3, 0.2])
    assert (s.median, s.largest, s.diverged) == (0.25, 0.4, 1)
    assert math.isclose(s.mean, 0.25) and math.isclose(
        s.deviation, np.std([1, 2, 3, 4], ddof=1) / 10
    )
    assert math.isclose(s.error, s.deviation / 2)
    assert spread([None, None]) is None
    assert spread([0.5]).deviation is None and spread([0.5]).error is None


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan, "0.9"])
def test_confidence_outside_of_its_range_is_refused(confidence):
    with pytest.raises(InputError, match="confidence"):
        interval([0.1] * 5, confidence)

"""Staircases: levels, ties, monotony, homogeneity, purity, names."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from staircases import ALL, BITS, ONE, levels_of, name_of
from strategies import (
    generator,
    latents,
    quantizers,
    scales,
)

from minizo.errors import InputError
from minizo.quantizers import QUANTIZERS, DoReFa, FullPrecision, MidRise, MidTread, Sign
from minizo.quantizers.fitted import MultiBit, Ternary

# Levels and thresholds


@pytest.mark.parametrize("quantizer", ALL, ids=name_of)
def test_levels_are_the_declared_ones(quantizer):
    """A fine sweep meets exactly the 2^b levels of the definition, each of them."""
    expected = levels_of(quantizer)
    sweep = np.linspace(expected[0] - 3.0, expected[-1] + 3.0, 20_011)
    for alpha in (1.0, 0.25):
        found = np.unique(quantizer.quantize(alpha * sweep, np.array(alpha)))
        np.testing.assert_array_equal(found, alpha * expected)
    assert quantizer.levels == expected.size
    assert len(quantizer.thresholds()) == expected.size - 1


def test_levels_in_numbers():
    """The levels of 1 and 2 bits, written out."""
    x = np.linspace(-9.0, 9.0, 1001)
    for quantizer, levels in (
        (Sign(), [-3.0, 3.0]),
        (MidRise(bits=1), [-1.5, 1.5]),
        (MidRise(bits=2), [-4.5, -1.5, 1.5, 4.5]),
        (MidTread(bits=1), [-3.0, 0.0]),
        (MidTread(bits=2), [-6.0, -3.0, 0.0, 3.0]),
    ):
        np.testing.assert_array_equal(np.unique(quantizer.quantize(x, np.array(3.0))), levels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("quantizer", ALL, ids=name_of)
def test_staircase_is_continuous_from_the_right(quantizer, dtype):
    """At a threshold the upper level, one number below it the lower one; above, still the upper."""
    levels = levels_of(quantizer).astype(dtype)
    t = np.array(quantizer.thresholds(), dtype)
    np.testing.assert_array_equal(t, (levels[1:] + levels[:-1]) / 2)
    for alpha in (dtype(1.0), dtype(0.125)):
        at, inf = alpha * t, dtype(np.inf)
        scale = np.array(alpha)
        np.testing.assert_array_equal(quantizer.quantize(at, scale), alpha * levels[1:])
        above = np.nextafter(at, inf)
        np.testing.assert_array_equal(quantizer.quantize(above, scale), alpha * levels[1:])
        # 1/2 is looked at by the next test
        below, lower = np.nextafter(at, -inf)[t != 0.5], levels[:-1][t != 0.5]
        np.testing.assert_array_equal(quantizer.quantize(below, scale), alpha * lower)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_zeros_and_subnormals(dtype):
    """+0, -0 and the smallest positive number go up, the smallest negative one goes down."""
    smallest = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, smallest, -smallest], dtype)
    one = np.array(1.0, dtype)
    np.testing.assert_array_equal(Sign().quantize(x, one), [1, 1, 1, -1])
    np.testing.assert_array_equal(Sign().quantize(x, np.array(7.0, dtype)), [7, 7, 7, -7])
    for bits in BITS:
        rise = MidRise(bits=bits).quantize(x, one)
        np.testing.assert_array_equal(rise, [0.5, 0.5, 0.5, -0.5])
    np.testing.assert_array_equal(MidTread(bits=2).quantize(x, one), 0.0)


@pytest.mark.parametrize("bits", BITS)
def test_agrees_with_rounding_except_at_ties(bits):
    """clip(round(x - 1/2), lo, hi) + 1/2 and clip(round(x), lo, hi), but round goes to even."""
    lo, hi = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1.0
    x = generator(5).uniform(lo - 2.0, hi + 2.0, 5000)
    rise, tread = MidRise(bits=bits), MidTread(bits=bits)

    def rounded_rise(x):
        return np.clip(np.round(x - 0.5), lo, hi) + 0.5

    def rounded_tread(x):
        return np.clip(np.round(x), lo, hi)

    np.testing.assert_array_equal(rise.quantize(x, ONE), rounded_rise(x))
    np.testing.assert_array_equal(tread.quantize(x, ONE), rounded_tread(x))
    # at ties, rounding half to even goes down at every other threshold
    ties = np.array(rise.thresholds())
    down = rounded_rise(ties) < rise.quantize(ties, ONE)
    np.testing.assert_array_equal(down, ties % 2 == 1)
    ties = np.array(tread.thresholds())
    down = rounded_tread(ties) < tread.quantize(ties, ONE)
    np.testing.assert_array_equal(down, (ties - 0.5) % 2 == 0)


# Laws that hold for all inputs


@settings(max_examples=150, deadline=None, derandomize=True)
@given(x=latents(), quantizer=quantizers(), alpha=scales)
def test_values_are_levels_and_nearest_and_monotone(x, quantizer, alpha):
    """Dtype kept; every value a level; nearest level to 1e-5 alpha; sorted stays sorted."""
    alpha = np.array(alpha, x.dtype)
    q = quantizer.quantize(x, alpha)
    assert q.dtype == x.dtype and q.shape == x.shape
    levels = levels_of(quantizer).astype(x.dtype) * alpha
    assert np.all(np.isin(q, levels))
    nearest = np.min(np.abs(x[:, None].astype(float) - levels.astype(float)), axis=1)
    slack = 1e-5 * float(alpha) * (1.0 + np.abs(x.astype(float) / float(alpha)))
    assert np.all(np.abs(q.astype(float) - x.astype(float)) <= nearest + slack)
    assert np.all(np.diff(quantizer.quantize(np.sort(x), alpha)) >= 0.0)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(x=latents(), quantizer=quantizers(), alpha=scales)
def test_idempotent(x, quantizer, alpha):
    """Q(Q(x)) has the bits of Q(x)."""
    alpha = np.array(alpha, x.dtype)
    q = quantizer.quantize(x, alpha)
    np.testing.assert_array_equal(quantizer.quantize(q, alpha), q)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(x=latents(smallest=2.0**-60), quantizer=quantizers(), alpha=scales,
       power=st.integers(-20, 20))  # fmt: skip
def test_positively_homogeneous(x, quantizer, alpha, power):
    """Q(c x; c alpha) = c Q(x; alpha) exactly for c = 2^k, and so for the slope: Q_smooth' is."""
    c = x.dtype.type(2.0**power)
    alpha = np.array(alpha, x.dtype)
    np.testing.assert_array_equal(
        quantizer.quantize(c * x, c * alpha), c * quantizer.quantize(x, alpha)
    )
    np.testing.assert_array_equal(
        quantizer.smooth(c * x, c * alpha), c * quantizer.smooth(x, alpha)
    )
    if quantizer.surrogate != "identity":
        np.testing.assert_array_equal(
            quantizer.derivative(c * x, c * alpha), quantizer.derivative(x, alpha)
        )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=latents(), quantizer=quantizers(), alpha=scales)
def test_odd_away_from_thresholds(x, quantizer, alpha):
    """Sign and mid-rise: Q(-x) = -Q(x) wherever x is not a threshold; mid-tread inside only."""
    alpha = np.array(alpha, x.dtype)
    t = np.array(quantizer.thresholds(), x.dtype)
    ratio = np.abs(x) / alpha
    kept = np.min(np.abs(ratio[:, None] - np.abs(t)), axis=1) > 1e-5 * (1.0 + ratio)
    if isinstance(quantizer, MidTread):
        kept &= ratio < quantizer.bounds[1] + 0.5
    assume(np.any(kept))
    x = x[kept]
    np.testing.assert_array_equal(quantizer.quantize(-x, alpha), -quantizer.quantize(x, alpha))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(x=latents(), quantizer=quantizers(), alpha=scales)
def test_input_is_kept(x, quantizer, alpha):
    """quantize, smooth, derivative leave x alone, and hand out no view of it."""
    alpha = np.array([alpha], x.dtype)
    before = x.tobytes()
    q = quantizer.quantize(x, alpha)
    smooth, slope = quantizer.smooth(x, alpha), quantizer.derivative(x, alpha)
    assert x.tobytes() == before
    assert not np.shares_memory(q, x) and not np.shares_memory(smooth, x)
    assert smooth.dtype == x.dtype and (slope is None or slope.dtype == x.dtype)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(quantizer=quantizers(), dtype=st.sampled_from([np.float32, np.float64]))
def test_each_row_has_its_own_scale(quantizer, dtype):
    """(P, m) with alpha (P, 1) is row by row the same bits as (m,) with alpha (1,)."""
    x = generator(6).normal(size=(4, 50)).astype(dtype) * np.array([[0.1], [1], [3], [9]], dtype)
    alpha = quantizer.scale(x)
    assert alpha.shape == (4, 1) and alpha.dtype == dtype
    rows = [quantizer.quantize(row, quantizer.scale(row)) for row in x]
    np.testing.assert_array_equal(quantizer.quantize(x, alpha), np.stack(rows))


# Full precision


def test_full_precision_is_the_identity():
    """Q(x) = x bit for bit, slope 1 (None), scale 1, no implied noise."""
    quantizer = FullPrecision()
    x = generator(11).normal(size=(3, 5)).astype(np.float32)
    for y in (quantizer.quantize(x, ONE), quantizer.smooth(x, ONE)):
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, x)
    assert quantizer.derivative(x, ONE) is None
    assert quantizer.epsbar is None and quantizer.levels is None
    np.testing.assert_array_equal(quantizer.scale(x), np.ones((3, 1), np.float32))


# Bad parameters


@pytest.mark.parametrize("kind", [Sign, MidRise, MidTread])
@pytest.mark.parametrize(
    ("wrong", "right"),
    [("tanhh", "tanh"), ("hard-tanh", "hardtanh"), ("approx", "approxsign"), ("ident", "identity")],
)
def test_unknown_surrogates_are_answered_with_the_nearest(kind, wrong, right):
    """The sentence says which name is unknown and which was probably meant."""
    with pytest.raises(InputError, match=f"surrogate: .*'{wrong}'; did you mean '{right}'"):
        kind(surrogate=wrong)


def test_the_table_of_quantisers():
    """Every quantiser by its short name, each made without arguments."""
    plain = {
        "midrise": MidRise, "midtread": MidTread, "sign": Sign, "dorefa": DoReFa,
        "ternary": Ternary, "multibit": MultiBit, "none": FullPrecision,
    }  # fmt: skip
    assert plain.items() <= QUANTIZERS.items()
    assert all(kind().surrogate == "identity" for kind in plain.values())
    many = ("none", "fda", "quantnet")
    assert all(kind().levels or name in many for name, kind in QUANTIZERS.items())

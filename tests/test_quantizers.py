"""The quantisers: levels, thresholds, smoothing, slopes and scales.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import (
    SURROGATE_NAMES,
    agree,
    edges_of,
    expectation,
    generator,
    integral,
    latents,
    projected_gradient_error,
    quantizers,
    scales,
)

from minizo import rng
from minizo.errors import InputError
from minizo.laws import LAWS
from minizo.quantizers import QUANTIZERS, DoReFa, FullPrecision, MidRise, MidTread, Sign, rms
from minizo.quantizers.fitted import MultiBit, Ternary
from minizo.surrogates import SURROGATES

BITS = range(1, 9)
ALL = [Sign(), *(MidRise(bits=b) for b in BITS), *(MidTread(bits=b) for b in BITS)]
SMOOTHED = [
    kind
    for surrogate in SURROGATE_NAMES
    for kind in [
        Sign(surrogate),
        *(MidRise(surrogate, b) for b in BITS),
        *(MidTread(surrogate, b) for b in BITS),
    ]
]
ONE = np.array(1.0)


def name_of(quantizer):
    """A short name for the test's id."""
    return f"{type(quantizer).__name__}{getattr(quantizer, 'bits', '')}-{quantizer.surrogate}"


def levels_of(quantizer):
    """The levels in units of alpha, from the definitions in words."""
    if isinstance(quantizer, Sign):
        return np.array([-1.0, 1.0])
    codes = np.arange(2**quantizer.bits) - 2.0 ** (quantizer.bits - 1)
    return codes + 0.5 if isinstance(quantizer, MidRise) else codes


def places(quantizer, count=9):
    """Points in units of alpha from a step below the lowest level to a step above the highest."""
    low, *_, high = levels_of(quantizer)
    return generator(3).uniform(low - 1.0, high + 1.0, count)


def smoothed(quantizer, x, alpha=1.0):
    """E[Q(x + alpha epsbar u)] at the number x, by quadrature with u of the quantiser's law."""
    eps = alpha * quantizer.epsbar
    jumps = (alpha * np.array(quantizer.thresholds()) - x) / eps
    return expectation(quantizer.law, lambda u: quantizer.quantize(x + eps * u, alpha), jumps)


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


# Smoothing


@pytest.mark.parametrize("quantizer", SMOOTHED, ids=name_of)
def test_the_implied_noise_smooths_the_staircase_into_the_surrogate(quantizer):
    """E[Q(x + alpha epsbar u)] = Q_smooth(x) by quadrature to 1e-9 of the levels' range.

    Negative control: 1.2 times the noise is off by more than 1e-4 steps somewhere.
    """
    tolerance = 1e-9 * (1.0 + levels_of(quantizer)[-1])
    x = places(quantizer)
    for alpha in (1.0, 0.3):
        exact = [smoothed(quantizer, v, alpha) for v in alpha * x]
        np.testing.assert_allclose(
            quantizer.smooth(alpha * x, alpha), exact, rtol=0, atol=tolerance
        )
    low, *_, high = levels_of(quantizer)
    ends = np.array([low + 0.4, high - 0.1])  # the ends, where a wrong width shows in every row
    wider = [
        expectation(
            quantizer.law,
            lambda u, v=v: quantizer.quantize(v + 1.2 * quantizer.epsbar * u, 1.0),
            (np.array(quantizer.thresholds()) - v) / (1.2 * quantizer.epsbar),
        )
        for v in ends
    ]
    assert np.max(np.abs(quantizer.smooth(ends, 1.0) - wider)) > 1e-4


@pytest.mark.parametrize("quantizer", [Sign(s) for s in SURROGATE_NAMES]
                         + [kind(s, 2) for kind in (MidRise, MidTread) for s in SURROGATE_NAMES],
                         ids=name_of)  # fmt: skip
def test_the_implied_noise_smooths_the_staircase_by_sampling(quantizer):
    """2^18 samples of the package's noise, 6 SE; noise of unmatched width is rejected."""
    alpha = 0.7
    u = quantizer.law.sample(rng.at(8, "noise", 0, 0), np.empty(2**18))[:, None]
    low, *_, high = levels_of(quantizer)
    x = alpha * np.linspace(low + 0.1, high - 0.15, 5)
    target = quantizer.smooth(x, alpha)
    eps = alpha * quantizer.epsbar
    assert agree(quantizer.quantize(x + eps * u, alpha), target)
    assert not agree(quantizer.quantize(x + 1.2 * eps * u, alpha), target)


@pytest.mark.parametrize("quantizer", ALL, ids=name_of)
def test_the_identity_is_the_smoothing_inside_the_range_only(quantizer):
    """E[Q(x + alpha epsbar u)] = clip(x, lowest, highest) to 1e-9: x inside, not x outside."""
    alpha = 0.6
    low, *_, high = alpha * levels_of(quantizer)
    inside = np.linspace(low, high, 9)
    exact = [smoothed(quantizer, v, alpha) for v in inside]
    np.testing.assert_allclose(
        exact, quantizer.smooth(inside, alpha), rtol=0, atol=1e-9 * (1 + high)
    )
    for x in (low - alpha, high + alpha):
        assert smoothed(quantizer, x, alpha) == pytest.approx(np.clip(x, low, high), abs=1e-9)
        assert abs(smoothed(quantizer, x, alpha) - quantizer.smooth(np.array(x), alpha)) > 0.5
    assert quantizer.derivative(inside, alpha) is None


@pytest.mark.parametrize("quantizer", [q for q in SMOOTHED if q.surrogate == "hardtanh"],
                         ids=name_of)  # fmt: skip
def test_hardtanh_gives_the_clipped_identity(quantizer):
    """Q_smooth(x) = clip(x, lowest, highest) to 1e-12 of the range, for any x."""
    low, *_, high = levels_of(quantizer)
    x = np.linspace(low - 2.0, high + 2.0, 503)
    np.testing.assert_allclose(
        quantizer.smooth(x, 1.0), np.clip(x, low, high), rtol=0, atol=1e-12 * (1.0 + high)
    )


def test_two_bit_mid_rise_smooths_to_a_clip_at_three_halves():
    """hardtanh, 2 bits: clip(x, -3 alpha / 2, 3 alpha / 2) to 1e-15, and its matched noise."""
    quantizer = MidRise("hardtanh", 2)
    x = generator(7).uniform(-3.0, 3.0, 1000)
    np.testing.assert_allclose(quantizer.smooth(x, 1.0), np.clip(x, -1.5, 1.5), rtol=0, atol=1e-15)
    np.testing.assert_allclose(
        quantizer.smooth(0.2 * x, 0.2), np.clip(0.2 * x, -0.3, 0.3), rtol=0, atol=1e-15
    )
    assert quantizer.epsbar == pytest.approx(1.0 / (2.0 * sqrt(3.0)), abs=1e-15)
    assert quantizer.law is LAWS["uniform"]


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
def test_epsbar_is_the_surrogates_times_half_a_step(surrogate):
    """epsbar of a sign (half step 1) and of k bits (half step 1/2), with the surrogate's law."""
    row = SURROGATES[surrogate]
    if row.schedule is not None or row.epsbar is None:  # no noise of one size
        assert Sign(surrogate).epsbar is MidRise(surrogate, 3).epsbar is None
        return
    for quantizer, half in ((Sign(surrogate), 1.0), (MidRise(surrogate, 3), 0.5),
                            (MidTread(surrogate, 3), 0.5)):  # fmt: skip
        assert quantizer.epsbar == half * row.epsbar
        assert quantizer.law is LAWS[row.law]


# Slopes


@pytest.mark.parametrize("quantizer", SMOOTHED, ids=name_of)
def test_derivative_is_the_central_difference_of_the_smooth_staircase(quantizer):
    """|difference| < 1e-6 at points further than 1e-3 from every kink; a wrong slope is not."""
    t = np.array(quantizer.thresholds())
    kinks = np.concatenate([t - quantizer.half_step, t, t + quantizer.half_step])
    x = places(quantizer, 400)
    x = x[np.min(np.abs(x[:, None] - kinks), axis=1) > 1e-3]
    alpha, h = 0.4, 1e-5
    slope = quantizer.smooth(alpha * (x + h), alpha) - quantizer.smooth(alpha * (x - h), alpha)
    slope /= 2.0 * h * alpha
    derivative = quantizer.derivative(alpha * x, alpha)
    np.testing.assert_allclose(derivative, slope, rtol=0, atol=1e-6)
    assert np.max(np.abs(1.01 * derivative - slope)) > 1e-3


@pytest.mark.parametrize("quantizer", SMOOTHED[:3] + SMOOTHED[-3:], ids=name_of)
def test_derivative_agrees_along_a_random_direction(quantizer):
    """One random projection of the diagonal Jacobian against a central difference, 1e-6."""
    gen = generator(9)
    x, y, direction = places(quantizer, 60), gen.normal(size=60), gen.normal(size=60)
    gradient = y * quantizer.derivative(x, ONE)

    def smooth(x):
        return y @ quantizer.smooth(x, ONE)

    assert projected_gradient_error(smooth, gradient, x, direction, h=1e-6) < 1e-6
    assert projected_gradient_error(smooth, 1.01 * gradient, x, direction, h=1e-6) > 1e-4


@pytest.mark.parametrize("quantizer", [q for q in SMOOTHED if q.surrogate == "hardtanh"],
                         ids=name_of)  # fmt: skip
def test_hardtanh_slope_is_one_inside_and_zero_outside(quantizer):
    """1 from the lowest level to just below the highest, 0 elsewhere; 1 at every inner level.

    Weights at 0 or at a level lie where the boxes of two steps touch: neither 0 nor 2 there.
    """
    levels = levels_of(quantizer)
    low, *_, high = levels
    seams = np.arange(low, high, quantizer.half_step)
    inside = np.concatenate([levels[:-1], seams, [low + 0.3, high - 0.2, high - 1e-9]])
    np.testing.assert_array_equal(quantizer.derivative(inside, 1.0), 1.0)
    outside = np.array([low - 1e-9, high, high + 1e-9, low - 9.0, high + 9.0])
    np.testing.assert_array_equal(quantizer.derivative(outside, 1.0), 0.0)


# Scales


def squared_error(quantizer, alpha):
    """E[(z - Q(z))^2] for a standard normal z, by quadrature between the thresholds."""
    law = LAWS["gaussian"]
    edges = edges_of(law, alpha * np.array(quantizer.thresholds()))
    return integral(lambda z: (z - quantizer.quantize(z, alpha)) ** 2 * law.pdf(z), edges)


@pytest.mark.parametrize("quantizer", ALL, ids=name_of)
def test_scale_minimises_the_squared_error_of_gaussian_weights(quantizer):
    """For RMS 1, steps 1 % and 5 % larger and smaller are worse (no ties)."""
    alpha = float(quantizer.scale(np.array([1.0, -1.0]))[0])
    best = squared_error(quantizer, alpha)
    for factor in (0.95, 0.99, 1.01, 1.05):
        assert squared_error(quantizer, factor * alpha) > best
    if quantizer.levels == 2 and not isinstance(quantizer, MidTread):
        assert best == pytest.approx(1.0 - 2.0 / pi, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scales_in_numbers(dtype):
    """alpha = c RMS(w): c = sqrt(2 / pi) for the sign, 0.9957 for the 2-bit mid-rise."""
    w = np.array([[3.0, -4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]], dtype)  # RMS 2.5 and 1
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(rms(w), [[2.5], [1.0]], rtol=rtol)
    for quantizer, c in ((Sign(), sqrt(2.0 / pi)), (MidRise(bits=2), 0.9957),
                         (MidRise(bits=1), 1.5958), (MidTread(bits=2), 1.0484)):  # fmt: skip
        scale = quantizer.scale(w)
        assert scale.dtype == dtype and scale.shape == (2, 1)
        np.testing.assert_allclose(scale, [[2.5 * c], [c]], rtol=rtol)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(quantizer=quantizers(), power=st.integers(-20, 20))
def test_scale_is_homogeneous(quantizer, power):
    """scale(c w) = c scale(w) exactly for c = 2^k, so Q with its scale is homogeneous in w."""
    w = generator(10).normal(size=40)
    c = 2.0**power
    np.testing.assert_array_equal(quantizer.scale(c * w), c * quantizer.scale(w))


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
    assert all(kind().levels or name in ("none", "fda") for name, kind in QUANTIZERS.items())

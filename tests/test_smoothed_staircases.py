"""Staircases smoothed by the noise that their surrogate implies, and their scales.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from staircases import ALL, BITS, ONE, levels_of, name_of
from strategies import (
    SURROGATE_NAMES,
    agree,
    edges_of,
    expectation,
    generator,
    integral,
    projected_gradient_error,
    quantizers,
)

from minizo import rng
from minizo.laws import LAWS
from minizo.quantizers import MidRise, MidTread, Sign, rms
from minizo.surrogates import SURROGATES

SMOOTHED = [
    kind
    for surrogate in SURROGATE_NAMES
    for kind in [
        Sign(surrogate),
        *(MidRise(surrogate, b) for b in BITS),
        *(MidTread(surrogate, b) for b in BITS),
    ]
]


def places(quantizer, count=9):
    """Points in units of alpha from a step below the lowest level to a step above the highest."""
    low, *_, high = levels_of(quantizer)
    return generator(3).uniform(low - 1.0, high + 1.0, count)


def smoothed(quantizer, x, alpha=1.0):
    """E[Q(x + alpha epsbar u)] at the number x, by quadrature with u of the quantiser's law."""
    eps = alpha * quantizer.epsbar
    jumps = (alpha * np.array(quantizer.thresholds()) - x) / eps
    return expectation(quantizer.law, lambda u: quantizer.quantize(x + eps * u, alpha), jumps)


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

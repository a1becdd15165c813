"""The unit surrogates: value, derivative, and the noise that turns a sign into each of them.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    SURROGATE_NAMES,
    agree,
    expectation,
    float_dtypes,
    generator,
    latents,
    projected_gradient_error,
)

from minizo import rng
from minizo.laws import LAWS
from minizo.surrogates import SURROGATES

KINKS = {"identity": (), "tanh": (), "hardtanh": (-1.0, 1.0), "approxsign": (-1.0, 0.0, 1.0)}
TABLE = {
    "identity": ("uniform", 1 / sqrt(3.0)),  # of a staircase whose half step is 1
    "hardtanh": ("uniform", 1 / sqrt(3.0)),
    "tanh": ("logistic", pi / sqrt(12.0)),
    "approxsign": ("triangular", 1 / sqrt(6.0)),
}
NAMES = sorted(TABLE)  # those without a schedule and a hump; the others: test_scheduled_surrogates
PLACES = np.array([-2.5, -1.0, -0.81, -0.3, -0.02, 0.0, 0.15, 0.5, 0.93, 1.2])


def sign(x):
    """+-1 with sign(0) = +1."""
    return np.where(x >= 0.0, 1.0, -1.0)


def smoothed_sign(law, epsbar, x):
    """E[sign(x + epsbar u)] by quadrature."""
    return expectation(law, lambda u: sign(x + epsbar * u), -x / epsbar)


def test_every_row_names_its_noise():
    """Law and epsbar of each surrogate, as in the table of the FOGZO notes."""
    assert {n: (SURROGATES[n].law, SURROGATES[n].epsbar) for n in TABLE} == TABLE
    assert all(surrogate.name == name for name, surrogate in SURROGATES.items())


# Derivatives


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_the_central_difference_of_the_value(name):
    """|difference| < 1e-8 at 2,000 points further than 1e-3 from a kink; a wrong slope is not."""
    x = generator(1).uniform(-3.0, 3.0, 2000)
    away = np.all(np.abs(x[:, None] - np.array([*KINKS[name], 9.0])) > 1e-3, axis=1)
    x, h = x[away], 1e-5
    s = SURROGATES[name]
    slope = (s.value(x + h) - s.value(x - h)) / (2.0 * h)
    np.testing.assert_allclose(s.derivative(x), slope, rtol=0, atol=1e-8)
    assert np.max(np.abs(1.01 * s.derivative(x) - slope)) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_derivative_agrees_along_a_random_direction(name):
    """One random projection of the diagonal Jacobian against a central difference: 1e-7."""
    gen = generator(2)
    x, y, direction = gen.uniform(-0.9, 0.9, 50), gen.normal(size=50), gen.normal(size=50)
    s = SURROGATES[name]
    gradient = y * s.derivative(x)
    assert projected_gradient_error(lambda x: y @ s.value(x), gradient, x, direction) < 1e-7
    assert projected_gradient_error(lambda x: y @ s.value(x), 1.01 * gradient, x, direction) > 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_at_the_kinks_are_those_from_the_right(dtype):
    """hardtanh' = 1 at -1 and 0 at 1, half open as a step is; ApproxSign' = 0 at +-1, 2 at 0."""
    one = dtype(1.0)
    inside, outside = np.nextafter(one, dtype(0.0)), np.nextafter(one, dtype(2.0))
    x = np.array([-outside, -one, -inside, inside, one, outside])
    np.testing.assert_array_equal(SURROGATES["hardtanh"].derivative(x), [0, 1, 1, 1, 0, 0])
    x = np.array([-outside, -one, one, outside])
    np.testing.assert_array_equal(SURROGATES["approxsign"].derivative(x), 0.0)
    zeros = np.array([0.0, -0.0], dtype)
    for name, slope in (("identity", 1.0), ("hardtanh", 1.0), ("tanh", 1.0), ("approxsign", 2.0)):
        np.testing.assert_array_equal(SURROGATES[name].derivative(zeros), slope)


@pytest.mark.parametrize("name", SURROGATE_NAMES)
def test_derivative_is_twice_the_density_of_the_noise(name):
    """value'(x) = 2 p(x / epsbar) / epsbar, to 1e-12, away from the ends of the support."""
    s = SURROGATES[name]
    x = np.linspace(-0.99, 0.99, 101)
    np.testing.assert_allclose(
        s.derivative(x), 2.0 * LAWS[s.law].pdf(x / s.epsbar) / s.epsbar, rtol=0, atol=1e-12
    )


# The smoothing


@pytest.mark.parametrize("name", SURROGATE_NAMES)
def test_the_noise_smooths_a_sign_into_the_surrogate_exactly(name):
    """Quadrature of the density: 1e-6 asked, 1e-9 met; any other row's law is off by 0.02."""
    s = SURROGATES[name]
    target = s.value(PLACES)
    smooth = [smoothed_sign(LAWS[s.law], s.epsbar, x) for x in PLACES]
    np.testing.assert_allclose(smooth, target, rtol=0, atol=1e-9)
    for other in {SURROGATES[n].law for n in SURROGATE_NAMES} - {s.law}:
        smooth = [smoothed_sign(LAWS[other], s.epsbar, x) for x in PLACES]
        assert np.max(np.abs(smooth - target)) > 0.02
    smooth = [smoothed_sign(LAWS[s.law], 1.05 * s.epsbar, x) for x in PLACES]
    assert np.max(np.abs(smooth - target)) > 0.005


@pytest.mark.parametrize("name", SURROGATE_NAMES)
def test_the_noise_smooths_a_sign_into_the_surrogate_by_sampling(name):
    """2^19 samples of the package's own noise within 6 SE; another row's law is rejected."""
    s = SURROGATES[name]
    inside = PLACES[np.abs(PLACES) < 1.0]

    def noisy_signs(law, epsbar):
        u = LAWS[law].sample(rng.at(5, "noise", 0, 0), np.empty(2**19))
        return sign(inside + epsbar * u[:, None])

    target = s.value(inside)
    assert agree(noisy_signs(s.law, s.epsbar), target)
    for other in {SURROGATES[n].law for n in SURROGATE_NAMES} - {s.law}:
        assert not agree(noisy_signs(other, s.epsbar), target)
    assert not agree(noisy_signs(s.law, 1.05 * s.epsbar), target)


@pytest.mark.parametrize("width", [2.0, 4.0])
def test_the_identity_row_is_the_smoothing_of_an_endless_staircase(width):
    """E[Q(x + epsbar w u)] = x, w half a step: to 1e-9 at 1 and 2 times the noise, not at 1.5."""
    s = SURROGATES["identity"]

    def smooth(x, factor):
        eps = factor * s.epsbar * width / 2.0
        ties = (width * (np.arange(-30, 31) + 0.5) - x) / eps
        return expectation(
            LAWS[s.law], lambda u: width * np.floor((x + eps * u) / width + 0.5), ties
        )

    x = np.linspace(-5.3, 4.9, 13)
    np.testing.assert_allclose([smooth(v, 1.0) for v in x], s.value(x), rtol=0, atol=1e-9)
    np.testing.assert_allclose([smooth(v, 2.0) for v in x], s.value(x), rtol=0, atol=1e-9)
    assert np.max(np.abs([smooth(v, 1.5) for v in x] - x)) > 0.05


# Values and inputs


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=latents(largest=2.0**100), name=st.sampled_from(NAMES))
def test_value_and_derivative_for_all_inputs(x, name):
    """Dtype and shape kept, input untouched, odd value, even slope in [0, 2], |value| <= 1."""
    before = x.tobytes()
    s = SURROGATES[name]
    value, slope = s.value(x), s.derivative(x)
    assert value.dtype == slope.dtype == x.dtype and value.shape == slope.shape == x.shape
    assert x.tobytes() == before
    assert not np.shares_memory(value, x) and not np.shares_memory(slope, x)
    np.testing.assert_array_equal(s.value(-x), -value)
    smooth_there = np.abs(x) != 1.0  # hardtanh's slope is the right one at both kinks
    np.testing.assert_array_equal(s.derivative(-x)[smooth_there], slope[smooth_there])
    assert np.all(np.isfinite(value)) and np.all((slope >= 0.0) & (slope <= 2.0))
    assert np.all(np.abs(value) <= (np.abs(x) if name == "identity" else 1.0))
    assert np.all(np.diff(s.value(np.sort(x))) >= 0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_subnormals_ones_and_huge_inputs(name, dtype):
    """Every surrogate is slope(0) x near 0, exactly so for subnormals, and sign(x) far out."""
    s, info = SURROGATES[name], np.finfo(dtype)
    small = np.array([0.0, -0.0, info.smallest_subnormal, -info.tiny, info.tiny / 4], dtype)
    np.testing.assert_array_equal(s.value(small), s.derivative(small) * small)
    assert np.all(np.signbit(s.value(small)) == np.signbit(small))
    huge = np.array([info.max, -info.max, 1e30, -1e30], dtype)
    if name == "identity":
        np.testing.assert_array_equal(s.value(huge), huge)
        np.testing.assert_array_equal(s.derivative(huge), 1.0)
    else:
        np.testing.assert_array_equal(s.value(huge), np.sign(huge))
        np.testing.assert_array_equal(s.derivative(huge), 0.0)
    ones = np.array([1.0, -1.0], dtype)
    reached = np.tanh(ones) if name == "tanh" else ones
    np.testing.assert_array_equal(s.value(ones), reached)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(dtype=float_dtypes, name=st.sampled_from(NAMES))
def test_population_axes_are_just_more_entries(dtype, name):
    """(P, d) in, (P, d) out, row by row the same bits."""
    x = generator(4).normal(size=(5, 7)).astype(dtype)
    s = SURROGATES[name]
    for function in (s.value, s.derivative):
        rows = np.stack([function(row) for row in x])
        np.testing.assert_array_equal(function(x), rows)

"""Surrogates of the zoo, with their schedules, against the papers."""

from math import pi, sqrt

import numpy as np
import pytest
from strategies import z_scores
from zoo import PROGRESS

from minizo import rng
from minizo.surrogates import SURROGATES

# Surrogates ------------------------------------------------------------------------------------

NEW = ("swish", "ede", "rbnn", "rbnn-activation", "reste", "fda")


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("progress", PROGRESS)
def test_derivative_is_that_of_the_value(name, progress):
    """Central differences at 201 points away from the kinks: 1e-6 of the largest slope."""
    s = SURROGATES[name].at(progress)
    x = np.linspace(-2.013, 2.017, 201)
    h = 1e-6
    kinks = np.abs(s.derivative(x + 3 * h) - s.derivative(x - 3 * h)) > 1e-2
    assert kinks.sum() <= 2
    numeric = (s.value(x + h) - s.value(x - h)) / (2 * h)
    scale = np.abs(numeric).max()
    np.testing.assert_allclose(s.derivative(x)[~kinks], numeric[~kinks], atol=1e-6 * scale)
    assert not np.allclose(1.01 * s.derivative(x), numeric, atol=1e-4 * scale)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("progress", PROGRESS)
def test_values_are_odd_and_end_at_their_gain(name, progress):
    s = SURROGATES[name].at(progress)
    x = np.linspace(0.0, 3.0, 50)
    np.testing.assert_allclose(s.value(-x), -s.value(x), atol=1e-15)
    np.testing.assert_allclose(s.derivative(-x[1:]), s.derivative(x[1:]), rtol=1e-12)
    np.testing.assert_allclose(s.value(np.array([1e4]))[0], s.gain, rtol=1e-12)
    assert s.value(np.zeros(1))[0] == 0.0
    huge = np.array([-1e30, 1e30])
    np.testing.assert_allclose(s.value(huge), [-s.gain, s.gain], rtol=1e-12)
    np.testing.assert_array_equal(s.derivative(huge), 0.0)
    single = x.astype(np.float32)
    assert s.value(single).dtype == s.derivative(single).dtype == np.float32


def test_ede_goes_from_the_identity_to_the_sign():
    """k t = 1 while t < 1; at the end t = 10 and k = 1."""
    x = np.linspace(-0.5, 0.5, 11)
    start, end = SURROGATES["ede"].at(0.0), SURROGATES["ede"].at(1.0)
    np.testing.assert_allclose(start.derivative(x), 1.0, atol=3e-3)  # 1 - tanh^2(0.05)
    assert start.gain == pytest.approx(10.0)
    np.testing.assert_allclose(end.derivative(np.zeros(1)), 10.0)
    assert end.gain == 1.0


def test_the_slopes_that_the_papers_state():
    """RBNN: at least 1.41 at 0; FDA: 4 w (n + 1)/pi, 1.27 to 2.42; ReSTE: 1, then m^(1/3)/m."""
    zero = np.zeros(1)
    for progress in np.linspace(0, 1, 11):
        assert SURROGATES["rbnn"].at(progress).derivative(zero)[0] >= sqrt(2.0) - 1e-12
    assert SURROGATES["fda"].at(0.0).derivative(zero)[0] == pytest.approx(4 / pi)
    assert SURROGATES["fda"].at(1.0).derivative(zero)[0] == pytest.approx(0.1 * 4 / pi * 19)
    start, end = SURROGATES["reste"].at(0.0), SURROGATES["reste"].at(1.0)
    x = np.array([-1.6, -1.4, 0.05, 0.0, 1.49, 1.51])
    np.testing.assert_array_equal(start.derivative(x), [0, 1, 1, 1, 1, 0])
    assert end.derivative(zero)[0] == pytest.approx(0.1 ** (1 / 3) / 0.1)


def test_swish_in_its_authors_form():
    """b (2 - b x tanh(b x/2)) / (1 + cosh(b x)), negative further out."""
    x = np.linspace(-3, 3, 41)
    b = 5.0
    expected = b * (2 - b * x * np.tanh(b * x / 2)) / (1 + np.cosh(b * x))
    np.testing.assert_allclose(SURROGATES["swish"].derivative(x), expected, atol=1e-14)
    assert expected.min() < 0


@pytest.mark.parametrize("name", ["ede", "rbnn", "rbnn-activation"])
@pytest.mark.parametrize("progress", PROGRESS)
def test_gain_times_the_smoothed_sign(name, progress):
    """gain E[sign(x + epsbar u)] = value(x), by a million draws and 6 standard errors."""
    from minizo.laws import LAWS

    s = SURROGATES[name].at(progress)
    u = LAWS[s.law].sample(rng.at(7, "test"), np.empty(200_000))
    x = s.epsbar * np.array([0.0, 0.2, 0.7, 1.5])
    samples = s.gain * np.sign(x + s.epsbar * u[:, None])
    assert np.all(z_scores(samples, s.value(x)) < 6)
    assert np.any(z_scores(samples, s.value(1.2 * x)) > 6)

"""DoReFa's weight quantiser: its map, its levels, its calibration with M held."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minizo import InputError
from minizo.quantizers import DoReFa

BITS = range(1, 9)
W = np.random.default_rng(0).normal(size=(3, 40))


@pytest.mark.parametrize("bits", BITS)
def test_the_map_is_its_equation(bits):
    """Number by number with Python's own round, which rounds halves to even, row by row."""
    n = 2**bits - 1
    q = DoReFa(bits=bits).quantize(W, None)
    for row, own in zip(W, q, strict=True):
        largest = max(abs(np.tanh(row)))
        expected = [2 * round(n * (np.tanh(x) / (2 * largest) + 0.5)) / n - 1 for x in row]
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-15)
    assert len(np.unique(np.round(q, 9))) <= 2**bits
    np.testing.assert_allclose(np.abs(q).max(axis=1), 1.0, rtol=1e-15)


@given(st.lists(st.floats(-5, 5).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=20),
       st.integers(1, 8))  # fmt: skip
def test_ranges_levels_and_signs(values, bits):
    """In [-1, 1], the largest at an end; levels -1 + 2 j / n, never 0; signs kept; one step off.

    |Q(x) - tanh x / M| <= 1 / n. The rounding inside is idempotent; the whole map is not.
    """
    x, n = np.array(values), 2**bits - 1
    q = DoReFa(bits=bits).quantize(x, None)
    assert np.all(np.abs(q) <= 1.0) and abs(q[np.argmax(np.abs(np.tanh(x)))]) == 1.0
    code = (q + 1.0) * n / 2.0
    np.testing.assert_allclose(code, np.round(code), atol=1e-12)
    assert np.all(np.abs(q) >= 1.0 / n - 1e-12)
    clear = np.abs(np.tanh(x)) / np.max(np.abs(np.tanh(x))) > 1e-9  # else at the tie of 0
    np.testing.assert_array_equal(np.sign(q)[clear], np.sign(x)[clear])
    assert np.all(np.abs(q - np.tanh(x) / np.max(np.abs(np.tanh(x)))) <= 1.0 / n + 1e-12)


def test_zero_is_a_tie_that_goes_to_the_even_code():
    """+1/3 for 2 bits, +1/7 for 3, -1 for 1; and Q(Q(x)) != Q(x) somewhere."""
    for bits, expected in ((1, -1.0), (2, 1 / 3), (3, 1 / 7)):
        q = DoReFa(bits=bits).quantize(np.array([0.0, 1.0]), None)
        assert q[0] == pytest.approx(expected, abs=1e-15) and q[1] == 1.0
    once = DoReFa(bits=4).quantize(W, None)
    assert np.any(np.abs(DoReFa(bits=4).quantize(once, None) - once) > 0.01)


@given(st.lists(st.floats(-5, 5).filter(lambda x: abs(x) > 1e-6), min_size=1, max_size=20))
def test_one_bit_is_the_sign(values):
    """sign(x), and -1 at an exact zero."""
    x = np.array([*values, 0.0])
    expected = np.where(x > 0, 1.0, -1.0)
    np.testing.assert_array_equal(DoReFa(bits=1).quantize(x, None), expected)


@pytest.mark.parametrize("bits", BITS)
def test_it_jumps_at_its_thresholds(bits):
    """Just below and just above every threshold of 2 A(x) - 1, one level apart."""
    quantizer = DoReFa(bits=bits)
    thresholds = np.array(quantizer.thresholds())
    assert len(thresholds) == quantizer.levels - 1
    for shift, codes in (
        (-1e-9, np.arange(len(thresholds))),
        (1e-9, 1 + np.arange(len(thresholds))),
    ):
        v = np.append(np.tanh(2.0) * (thresholds + shift), np.tanh(2.0))  # the last one makes M
        got = quantizer.quantize(np.arctanh(v), None)[:-1]
        np.testing.assert_allclose(got, 2.0 * codes / len(thresholds) - 1.0, atol=1e-12)


@pytest.mark.parametrize("surrogate", ["identity", "hardtanh", "tanh", "approxsign"])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_derivative_is_that_of_the_surrogate_with_m_held(bits, surrogate):
    """Central differences of `smooth`, the weight that makes M left alone: 1e-6."""
    quantizer = DoReFa(surrogate, bits)
    held = np.abs(W) < np.abs(W).max(axis=-1, keepdims=True)
    h = 1e-6 * held
    numeric = (quantizer.smooth(W + h, None) - quantizer.smooth(W - h, None)) / 2e-6
    slope = quantizer.derivative(W, None)
    np.testing.assert_allclose(slope[held], numeric[held], rtol=1e-5, atol=1e-5)
    assert not np.allclose(1.01 * slope[held], numeric[held], rtol=1e-4)


def test_calibration():
    """With the identity surrogate the slope is c(x) = (1 - tanh^2 x) / M, whatever the bits."""
    expected = (1 - np.tanh(W) ** 2) / np.abs(np.tanh(W)).max(axis=1, keepdims=True)
    for bits in BITS:
        np.testing.assert_allclose(DoReFa(bits=bits).derivative(W, None), expected, rtol=1e-13)


def test_squash():
    """In [0, 1], odd around 1/2, and 0 or 1 at the largest weight."""
    a = DoReFa().squash(W)
    assert np.all((a >= 0) & (a <= 1))
    np.testing.assert_allclose(a + DoReFa().squash(-W), 1.0, rtol=1e-15)
    largest = np.abs(W) == np.abs(W).max(axis=1, keepdims=True)
    assert set(np.unique(a[largest])) <= {0.0, 1.0}


@pytest.mark.parametrize("bits", [0, 9, 1.5, True])
def test_bad_bits_are_refused(bits):
    with pytest.raises(InputError, match="bits is .*, but it must be a whole number from 1 to 8"):
        DoReFa(bits=bits)

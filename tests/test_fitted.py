"""Quantisers whose levels are fitted to the weights: ternary and alternating multi-bit."""

import itertools
from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SURROGATE_NAMES, generator, latents, seeds

from minizo import InputError, ProxQuant, backend
from minizo.quantizers import Sign
from minizo.quantizers.fitted import MultiBit, Ternary, midpoints, staircase
from minizo.surrogates import SURROGATES

ALL = [Ternary(), *(MultiBit(bits=k) for k in (1, 2, 3, 4))]
IDS = ["ternary", "1 bit", "2 bits", "3 bits", "4 bits"]


def error(x, q):
    return float(np.sum((x - q) ** 2))


# Both kinds


@pytest.mark.parametrize("quantizer", ALL, ids=IDS)
def test_rows_have_their_own_levels(quantizer):
    """(2, 3, m) is row by row (m,), to rounding; dtype kept, input untouched."""
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-13)):
        x = (generator(1).normal(size=(2, 3, 40)) * [[[1.0], [0.1], [5.0]]]).astype(dtype)
        before = x.copy()
        q = quantizer.quantize(x)
        np.testing.assert_array_equal(x, before)
        assert q.dtype == dtype and not np.shares_memory(q, x)
        for i, j in np.ndindex(2, 3):
            np.testing.assert_allclose(q[i, j], quantizer.quantize(x[i, j]), rtol=tolerance)
            assert len(np.unique(q[i, j])) <= quantizer.levels
        assert quantizer.scale(x).shape == (2, 3, 1)


@pytest.mark.parametrize("quantizer", ALL, ids=IDS)
def test_strict_arrays_give_the_same(quantizer):
    strict = pytest.importorskip("array_api_strict")
    x = generator(2).normal(size=(3, 30))
    ours = strict.asarray(x, device=strict.Device("device1"))
    q = quantizer.quantize(ours)
    assert q.device == ours.device
    np.testing.assert_allclose(backend.to_numpy(q), quantizer.quantize(x), rtol=1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=latents(largest=1e3, smallest=2.0**-20), quantizer=st.sampled_from(ALL),
       power=st.integers(-20, 20))  # fmt: skip
def test_homogeneous_finite_and_dtype(x, quantizer, power):
    """Q(2^k x) = 2^k Q(x) bit for bit; no overflow or NaN, also where all weights are 0."""
    c = x.dtype.type(2.0**power)
    q = quantizer.quantize(x)
    assert q.dtype == x.dtype and np.all(np.isfinite(q))
    np.testing.assert_array_equal(quantizer.quantize(c * x), c * q)


@pytest.mark.parametrize("quantizer", ALL, ids=IDS)
def test_quantised_weights_are_left_alone(quantizer):
    """Q(Q(x)) = Q(x) to 1e-12 in 100 draws each."""
    for seed in range(100):
        x = generator(3, seed).normal(size=50)
        q = quantizer.quantize(x)
        if isinstance(quantizer, MultiBit) and quantizer.bits > 2:
            continue  # the greedy start may settle in another local minimum
        np.testing.assert_allclose(quantizer.quantize(q), q, rtol=0, atol=1e-12)


@pytest.mark.parametrize("surrogate", SURROGATE_NAMES)
@pytest.mark.parametrize("kind", [Ternary, MultiBit])
def test_derivative_is_that_of_the_smooth_staircase_with_levels_held(kind, surrogate):
    """Central difference, 1e-6; and the smooth staircase from an independent sum; identity: None.

    Negative control: 1 % more is not.
    """
    quantizer, h = kind(surrogate), 1e-6
    x = generator(4).normal(size=60)
    levels, thresholds = quantizer.fit(x)
    s = SURROGATES[surrogate].value

    def smooth(z):
        total = np.full_like(z, levels[0])
        for t, low, high in zip(thresholds, levels[:-1], levels[1:], strict=True):
            total += 0.5 * (high - low) * (1.0 + s((z - t) / (0.5 * (high - low))))
        return total

    np.testing.assert_allclose(quantizer.smooth(x), smooth(x), rtol=1e-12, atol=1e-14)
    slope = (smooth(x + h) - smooth(x - h)) / (2.0 * h)
    edges = thresholds[:, None] + np.array([-0.5, 0.0, 0.5]) * np.diff(levels)[:, None]
    away = np.min(np.abs(x[:, None] - edges.reshape(-1)), axis=1) > 1e-4
    derivative = quantizer.derivative(x)
    np.testing.assert_allclose(derivative[away], slope[away], atol=1e-6)
    assert np.max(np.abs(1.01 * derivative - slope)[away]) > 1e-3
    assert kind().derivative(x) is None
    np.testing.assert_array_equal(kind().smooth(x), x)


def test_a_flat_step_has_no_slope():
    """Two equal levels (all weights alike): finite smoothing and slope, no division by zero."""
    x = np.full(4, 2.0)
    quantizer = MultiBit("hardtanh", bits=2)
    np.testing.assert_allclose(quantizer.quantize(x), x)
    assert np.all(np.isfinite(quantizer.smooth(x))) and np.all(np.isfinite(quantizer.derivative(x)))


# Ternary


def ternary_by_hand(x):
    d = 0.7 * sum(abs(v) for v in x) / len(x)
    high, low = [v for v in x if v >= d], [v for v in x if v <= -d]
    high = sum(high) / len(high) if high else 0.0
    low = sum(low) / len(low) if low else 0.0
    return [high if v >= d else low if v <= -d else 0.0 for v in x]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(x=latents(largest=100.0, smallest=2.0**-20))
def test_ternary_is_its_definition(x):
    x = x.astype(np.float64)
    np.testing.assert_allclose(Ternary().quantize(x), ternary_by_hand(x), rtol=1e-12)


def test_ternary_ties_zeros_and_empty_sides():
    """At exactly +-D the outer levels; one-sided and all-zero weights give 0, not NaN."""
    x = np.array([7.0, -7.0, 10.0, -10.0, 16.0])  # mean|x| = 10, D = 7
    np.testing.assert_allclose(Ternary().quantize(x), [11.0, -8.5, 11.0, -8.5, 11.0])
    below = np.nextafter(x[:2], 0.0)
    np.testing.assert_array_equal(staircase(below, *Ternary().fit(x)), [0.0, 0.0])
    np.testing.assert_allclose(Ternary().quantize(np.array([1.0, 2.0, 3.0])), [0.0, 2.5, 2.5])
    np.testing.assert_allclose(Ternary().quantize(np.array([-1.0, -2.0, -3.0])), [0, -2.5, -2.5])
    np.testing.assert_array_equal(Ternary().quantize(np.zeros(3)), 0.0)
    np.testing.assert_array_equal(Ternary().quantize(np.array([0.0, -0.0, 5.0])), [0.0, 0.0, 5.0])


def test_ternary_is_not_the_nearest_of_its_levels():
    """Moving to the nearest fitted level lowers the error in most draws and never raises it."""
    better = 0
    for seed in range(200):
        x = generator(5, seed).normal(size=100)
        levels, _ = Ternary().fit(x)
        nearest = staircase(x, levels, midpoints(levels))
        assert error(x, nearest) <= error(x, Ternary().quantize(x)) + 1e-12
        better += error(x, nearest) < error(x, Ternary().quantize(x)) - 1e-12
    assert better > 150


# Multi-bit


def test_one_bit_is_the_sign_with_the_mean_magnitude():
    x = generator(6).normal(size=(4, 300))
    alpha = np.mean(np.abs(x), axis=-1, keepdims=True)
    np.testing.assert_allclose(MultiBit(bits=1).quantize(x), Sign().quantize(x, alpha), rtol=1e-12)
    x[0, 0] = 0.0
    assert MultiBit(bits=1).quantize(x)[0, 0] > 0.0


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_levels_are_the_combinations_and_weights_go_to_the_nearest(bits):
    """All sums of +-alpha_i, in order; Q(x) is the nearest of them, by brute force."""
    x = generator(7).normal(size=200)
    quantizer = MultiBit(bits=bits)
    alpha = quantizer.greedy(x)
    levels, signs = quantizer.table(alpha)
    combinations = sorted(signs_ @ alpha for signs_ in itertools.product([-1, 1], repeat=bits))
    np.testing.assert_allclose(levels, combinations, atol=1e-14)
    np.testing.assert_allclose(signs @ alpha, levels, atol=1e-14)
    fitted, _ = quantizer.fit(x)
    nearest = fitted[np.argmin(np.abs(x[:, None] - fitted), axis=1)]
    np.testing.assert_array_equal(quantizer.quantize(x), nearest)


def test_greedy_start_by_hand():
    x = generator(8).normal(size=50)
    first = np.mean(np.abs(x))
    r = x - first * np.where(x >= 0, 1, -1)
    np.testing.assert_allclose(MultiBit(bits=2).greedy(x), [first, np.mean(np.abs(r))], rtol=1e-14)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_scales_are_least_squares(bits):
    """The residual is orthogonal to every column of B, and numpy's lstsq agrees, 1e-10."""
    x = generator(9).normal(size=300)
    quantizer = MultiBit(bits=bits)
    start = quantizer.greedy(x)
    levels, signs = quantizer.table(start)
    b = signs[np.argmin(np.abs(x[:, None] - levels), axis=1)]
    alpha = quantizer.refit(x, start)
    np.testing.assert_allclose(b.T @ (x - b @ alpha), 0.0, atol=1e-10)
    np.testing.assert_allclose(alpha, np.linalg.lstsq(b, x, rcond=None)[0], rtol=1e-10)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, size=st.integers(1, 60), bits=st.integers(1, 4),
       law=st.sampled_from(["normal", "laplace", "few values"]))  # fmt: skip
def test_refinements_never_increase_the_error(seed, size, bits, law):
    """Both steps of the alternation are minimisations; also with repeated and zero weights."""
    gen = generator(seed)
    x = {
        "normal": lambda: gen.normal(size=size),
        "laplace": lambda: gen.laplace(size=size),
        "few values": lambda: gen.integers(-1, 2, size).astype(float),
    }[law]()
    errors = [error(x, MultiBit(bits=bits, refinements=n).quantize(x)) for n in (0, 1, 2, 3, 6, 12)]
    assert all(b <= a + 1e-9 * (1.0 + a) for a, b in itertools.pairwise(errors))


def test_coinciding_columns():
    """Weights of one magnitude leave nothing to the second bit: the shortest scales, no NaN."""
    x = np.array([1.0, -1.0, 1.0, 1.0])
    for bits in (2, 3):
        np.testing.assert_allclose(MultiBit(bits=bits).quantize(x), x, atol=1e-12)
        np.testing.assert_allclose(MultiBit(bits=bits).quantize(x.astype(np.float32)), x, atol=1e-6)


def test_error_on_gaussian_weights():
    """Relative squared error of 5e4 normal weights: 1 - 2/pi, .118, .037, .0116 (4 %).

    Greedy alone: .3634, .130, .058, .033 (4 %), which the alternated ones are not.
    """
    x = generator(10).normal(size=50_000)
    power = np.mean(x**2)
    greedy, full = [1 - 2 / pi, 0.130, 0.058, 0.033], [1 - 2 / pi, 0.118, 0.037, 0.0116]
    for bits in (1, 2, 3, 4):
        found = [
            error(x, MultiBit(bits=bits, refinements=n).quantize(x)) / x.size / power
            for n in (0, 30)
        ]
        assert found[0] == pytest.approx(greedy[bits - 1], rel=0.04)
        assert found[1] == pytest.approx(full[bits - 1], rel=0.04)
        assert bits == 1 or found[1] < 0.95 * greedy[bits - 1]
    assert MultiBit(bits=1).greedy(x)[0] == pytest.approx(sqrt(2 / pi), rel=0.01)


# The alternation of ProxQuant with them


@pytest.mark.parametrize("quantizer", [Ternary(), MultiBit(bits=2)], ids=["ternary", "2 bits"])
def test_alternation_does_not_increase_its_objective(quantizer):
    """1/2 ||u - x||^2 + lam/2 ||u - Q(u)||^2 over 1 to 4 rounds, 200 draws (measured, not proved).

    And one round is (x + lam Q(x)) / (1 + lam); without the factor 1/2, with 2 lam.
    """
    for seed in range(200):
        x, lam = generator(11, seed).normal(size=80), 0.7
        values = []
        for rounds in range(1, 5):
            u = ProxQuant(prox="l2", rounds=rounds).towards(x, quantizer, None, lam)
            values.append(0.5 * error(u, x) + 0.5 * lam * error(u, quantizer.quantize(u)))
        assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))
    q = quantizer.quantize(x)
    one = ProxQuant(prox="l2", rounds=1).towards(x, quantizer, None, lam)
    np.testing.assert_allclose(one, (x + lam * q) / (1 + lam), rtol=1e-14)
    one = ProxQuant(prox="l2", rounds=1, convention="full").towards(x, quantizer, None, lam)
    np.testing.assert_allclose(one, (x + 2 * lam * q) / (1 + 2 * lam), rtol=1e-14)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: MultiBit(bits=5), "bits is 5, but it must be a whole number from 1 to 4"),
        (lambda: MultiBit(bits=2.0), "bits is 2.0"),
        (lambda: MultiBit(refinements=-1), "refinements is -1"),
        (lambda: Ternary("tanhh"), "did you mean 'tanh'"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

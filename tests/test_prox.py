"""Proximal operators and the other maps towards the levels.

Each against brute force on a fine grid and against its optimality condition; every comparison
comes with a wrong map that it must reject.
"""

from itertools import pairwise
from math import exp, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator, latents, quantizers, scales

from minizo import InputError, backend, prox
from minizo.quantizers import MidRise, MidTread, Sign

STAIRCASES = [Sign(), MidRise(bits=2), MidTread(bits=2), MidRise(bits=3)]
LAMBDAS = [0.0, 1e-3, 0.3, 0.5, 1.0, 2.5]
NAMES = ["sign", "midrise2", "midtread2", "midrise3"]


@pytest.fixture(params=["numpy", "array-api-strict"])
def put(request):
    """Moves a NumPy array to the library under test."""
    if request.param == "numpy":
        return np.asarray
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")
    return lambda x: strict.asarray(np.asarray(x), device=device)


def levels_of(quantizer, alpha=1.0):
    """The levels from the thresholds: each lies half a step on either side."""
    t, h = np.array(quantizer.thresholds()), quantizer.half_step
    return alpha * np.append(t - h, t[-1] + h)


def points(quantizer, lam):
    """Thresholds, levels, where a prox of strength lam bends, zeros, far outside, and others."""
    levels = levels_of(quantizer)
    own = [*quantizer.thresholds(), *levels, *(levels - lam), *(levels + lam), levels[-1] + 4.0]
    return np.array([*own, 0.0, -0.0, *generator(1).uniform(-4.0, 4.0, 30)])


def penalty(u, levels, power):
    """min over the levels of |u - q|, or of its square's half."""
    distance = np.min(np.abs(u[..., None] - levels), axis=-1)
    return distance if power == 1 else 0.5 * distance**2


def value(u, x, lam, levels, power):
    """What the proximal operator minimises."""
    return 0.5 * (u - x) ** 2 + lam * penalty(u, levels, power)


def operator(power):
    return prox.prox_l1 if power == 1 else prox.prox_l2


# The proximal operators


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("lam", LAMBDAS)
@pytest.mark.parametrize("quantizer", STAIRCASES, ids=NAMES)
def test_no_point_of_a_fine_grid_is_better(put, quantizer, lam, power):
    """Value at the prox <= least value of a grid of width 5e-4, + 1e-12; of a 20 % prox it is not.

    The wrong one is rejected where there is something to tell: for lam > 0.
    """
    levels, x = levels_of(quantizer), points(quantizer, lam)
    q = quantizer.quantize(x, 1.0)
    u = backend.to_numpy(operator(power)(put(x), put(q), lam))
    grid = np.arange(-8.0, 8.0, 5e-4)
    least = np.min(value(grid, x[:, None], lam, levels, power), axis=1)
    assert np.all(value(u, x, lam, levels, power) <= least + 1e-12)
    wrong = operator(power)(x, q, 1.2 * lam)
    worse = value(wrong, x, lam, levels, power) > least + 1e-5
    assert np.any(worse) == (lam > 1e-2)


@pytest.mark.parametrize("lam", LAMBDAS)
@pytest.mark.parametrize("quantizer", STAIRCASES, ids=NAMES)
def test_optimality_condition(quantizer, lam):
    """0 in u - x + lam dR(u): L1 off the levels u - x = -lam sign(u - q), on them |x - q| <= lam.

    L2: u - x + lam (u - q) = 0. And q stays the nearest level of u.
    """
    x = points(quantizer, lam)
    q = quantizer.quantize(x, 1.0)
    u = prox.prox_l1(x, q, lam)
    on = u == q
    assert np.all(np.abs(x - q)[on] <= lam + 1e-15)
    np.testing.assert_allclose((u - x)[~on], -lam * np.sign(u - q)[~on], atol=1e-15)
    assert np.all(np.abs(u - q) <= np.abs(x - q))
    u = prox.prox_l2(x, q, lam)
    np.testing.assert_allclose(u - x + lam * (u - q), 0.0, atol=1e-14)
    u = prox.prox_l2(x, q, lam, "full")  # R without 1/2: u - x + 2 lam (u - q)
    np.testing.assert_allclose(u - x + 2.0 * lam * (u - q), 0.0, atol=1e-14)


@pytest.mark.parametrize("lam", LAMBDAS)
def test_binary_operators_as_the_paper_prints_them(put, lam):
    """sign: s + sign(x - s) (|x - s| - lam)_+ and (x + lam s) / (1 + lam); |u| in three pieces."""
    x = points(Sign(), lam)
    s = np.where(x >= 0, 1.0, -1.0)
    l1 = backend.to_numpy(prox.prox_l1(put(x), put(s), lam))
    soft = s + np.sign(x - s) * np.maximum(np.abs(x - s) - lam, 0.0)
    np.testing.assert_allclose(l1, soft, atol=1e-15)
    a = np.abs(x)
    pieces = np.where(a <= 1 - lam, a + lam, np.where(a >= 1 + lam, a - lam, 1.0))
    np.testing.assert_allclose(np.abs(l1), pieces, atol=1e-15)
    l2 = backend.to_numpy(prox.prox_l2(put(x), put(s), lam))
    np.testing.assert_allclose(l2, (x + lam * s) / (1 + lam), atol=1e-15)
    assert np.all(np.sign(l1) * s >= 0) and np.all(np.sign(l2) * s >= 0)


def test_both_minimisers_at_a_tie():
    """At exactly 0 (and -0) +-min(lam, 1) and +-lam / (1 + lam) are equally good; + is taken."""
    for zero in (0.0, -0.0):
        x, q = np.array([zero]), Sign().quantize(np.array([zero]), 1.0)
        for lam in (0.25, 1.0, 3.0):
            for power, far in ((1, min(lam, 1.0)), (2, lam / (1.0 + lam))):
                u = operator(power)(x, q, lam)
                assert u[0] == pytest.approx(far, abs=1e-15)
                levels = np.array([-1.0, 1.0])
                both = [value(v, x, lam, levels, power)[0] for v in (u, -u)]
                assert both[0] == both[1] < value(x, x, lam, levels, power)[0]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=latents(), quantizer=quantizers(), alpha=scales)
def test_no_strength_is_the_identity_and_infinite_strength_the_quantiser(x, quantizer, alpha):
    """Bit for bit, in both precisions; input untouched, dtype kept."""
    q = quantizer.quantize(x, x.dtype.type(alpha))
    before = x.tobytes(), q.tobytes()
    for function in (prox.prox_l1, prox.prox_l2, prox.blend):
        top = 1.0 if function is prox.blend else inf
        for lam, expected in ((0.0, x), (top, q)):
            u = function(x, q, lam)
            assert u.dtype == x.dtype
            np.testing.assert_array_equal(u, expected)
        assert function(x, q, 0.3).dtype == x.dtype
    assert (x.tobytes(), q.tobytes()) == before


PAIRS = st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
STRENGTHS = st.floats(0.0, 4.0)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(pair=PAIRS, lam=STRENGTHS, power=st.sampled_from([1, 2]))
def test_what_replaces_non_expansiveness(pair, lam, power):
    """Binary: monotone, sign-preserving, firmly non-expansive on each side of 0, and in all

    |P x - P y| <= l |x - y| + J with (l, J) = (1, 2 min(lam, 1)) for L1, (1, 2 lam) / (1 + lam) L2.
    """
    x = np.array(sorted(pair))
    s = Sign().quantize(x, 1.0)
    u = operator(power)(x, s, lam)
    gap, moved = x[1] - x[0], u[1] - u[0]
    assert moved >= -1e-15
    assert np.all(u * s >= 0.0)
    slope, jump = (1.0, 2.0 * min(lam, 1.0)) if power == 1 else (1 / (1 + lam), 2 * lam / (1 + lam))
    assert moved <= slope * gap + jump + 1e-12
    if s[0] == s[1]:
        assert moved**2 <= moved * gap + 1e-12  # firmly: |Pu - Pv|^2 <= <Pu - Pv, u - v>


@pytest.mark.parametrize("power", [1, 2])
def test_the_jump_is_attained_and_across_zero_distances_can_grow(power):
    """J is reached at 0 from both sides; so plain non-expansiveness is false."""
    lam, tiny = 0.4, 1e-9
    x = np.array([-tiny, tiny])
    u = operator(power)(x, Sign().quantize(x, 1.0), lam)
    jump = 2 * lam if power == 1 else 2 * lam / (1 + lam)
    assert u[1] - u[0] == pytest.approx(jump, abs=1e-8)
    assert u[1] - u[0] > 1e6 * (x[1] - x[0])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(x=st.floats(-4.0, 4.0), first=STRENGTHS, second=STRENGTHS)
def test_strengths_add_up(x, first, second):
    """P_a(P_b(x)) = P_{a+b}(x) for L1; for L2 the distances multiply by 1 / (1 + lam)."""
    x = np.array([x])
    s = Sign().quantize(x, 1.0)
    twice = prox.prox_l1(prox.prox_l1(x, s, second), s, first)
    np.testing.assert_allclose(twice, prox.prox_l1(x, s, first + second), atol=1e-14)
    twice = prox.prox_l2(prox.prox_l2(x, s, second), s, first)
    shrunk = s + (x - s) / ((1.0 + first) * (1.0 + second))
    np.testing.assert_allclose(twice, shrunk, atol=1e-14)


def test_exact_after_finitely_many_steps_for_l1_only():
    """From 1/4 to 1 at strength 1/8: 6 steps; after 60 steps L2 is still 3/4 / 1.125^60 away."""
    x = np.array([0.25])
    for step in range(1, 7):
        x = prox.prox_l1(x, np.array([1.0]), 0.125)
        assert (x[0] == 1.0) == (step == 6)
    x = np.array([0.25])
    for _ in range(60):
        x = prox.prox_l2(x, np.array([1.0]), 0.125)
    assert 1.0 - x[0] == pytest.approx(0.75 / 1.125**60)


def test_one_strength_a_row(put):
    """lam may be an array, as where each tensor has its own scale."""
    x = generator(2).normal(size=(3, 20))
    alpha = np.array([[0.1], [1.0], [3.0]])
    q = Sign().quantize(x, alpha)
    u = backend.to_numpy(prox.prox_l1(put(x), put(q), 0.5 * put(alpha)))
    rows = [prox.prox_l1(x[i], q[i], 0.5 * alpha[i, 0]) for i in range(3)]
    np.testing.assert_array_equal(u, np.stack(rows))


def test_regularisers_are_distances(put):
    """R_1 and R_2 of rows against the distance to the nearest level, W-shaped for +-1."""
    x = generator(3).normal(size=(4, 9))
    for quantizer in STAIRCASES:
        q, levels = quantizer.quantize(x, 1.0), levels_of(quantizer)
        one = backend.to_numpy(prox.w_l1(put(x), put(q)))
        np.testing.assert_allclose(one, penalty(x, levels, 1).sum(-1), rtol=1e-14)
        two = backend.to_numpy(prox.w_l2(put(x), put(q)))
        np.testing.assert_allclose(two, penalty(x, levels, 2).sum(-1), rtol=1e-14)
        np.testing.assert_allclose(prox.w_l2(x, q, "full"), 2.0 * two, rtol=1e-15)
    w = np.array([[-2.0], [-1.0], [-0.5], [0.0], [0.5], [1.0], [2.0]])
    np.testing.assert_array_equal(prox.w_l1(w, Sign().quantize(w, 1.0)), [1, 0, 0.5, 1, 0.5, 0, 1])
    with pytest.raises(InputError, match="did you mean 'half'"):
        prox.w_l2(x, x, "hal")


# Blending


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=latents(largest=8.0), rho=st.floats(0.0, 0.999))
def test_blending_is_the_l2_prox(x, rho):
    """(1 - rho) x + rho Q(x) = prox_{lam R_2}(x), lam = rho / (1 - rho), to 1e-14 of the largest;

    with the other convention, which has twice the pull, it is not.
    """
    x = x.astype(np.float64)
    q = Sign().quantize(x, 1.0)
    lam = rho / (1.0 - rho)
    blended = prox.blend(x, q, rho)
    np.testing.assert_allclose(blended, prox.prox_l2(x, q, lam), rtol=1e-13, atol=1e-14)
    assert prox.share(lam) == pytest.approx(rho, abs=1e-15)
    if 0.01 < rho < 0.99 and np.max(np.abs(x - q)) > 0.1:
        assert np.max(np.abs(blended - prox.prox_l2(x, q, lam, "full"))) > 1e-4


# PARQ's piecewise-affine map


def ramp_by_intervals(x, levels, iota):
    """clip(mid + (x - mid) / iota, q_k, q_k+1) on each interval, end levels outside."""
    u = np.where(x < levels[0], levels[0], levels[-1])
    for low, high in pairwise(levels):
        mid = 0.5 * (low + high)
        inside = (x >= low) & (x <= high)
        u = np.where(inside, np.clip(mid + (x - mid) / iota, low, high), u)
    return u


@pytest.mark.parametrize("iota", [1.0, 0.7, 0.2, 1e-3])
@pytest.mark.parametrize("quantizer", STAIRCASES, ids=NAMES)
def test_ramp_is_its_definition(put, quantizer, iota):
    """Interval by interval, to 1e-12 / iota; another slope is not."""
    for alpha in (1.0, 0.25):
        ramps = np.array(quantizer.thresholds()) + 0.5 * iota * quantizer.half_step
        x = alpha * np.concatenate([points(quantizer, 0.1), np.linspace(-5, 5, 201), ramps])
        u = backend.to_numpy(prox.ramp(put(x), quantizer, put(np.array([alpha])), iota))
        levels = levels_of(quantizer, alpha)
        np.testing.assert_allclose(u, ramp_by_intervals(x, levels, iota), rtol=0, atol=1e-12 / iota)
        wrong = ramp_by_intervals(x, levels, 0.9 * iota)
        assert np.max(np.abs(u - wrong)) > 1e-2 * alpha * quantizer.half_step


def affine_regulariser(u, levels, iota):
    """Psi: convex, piecewise affine, slope (1 - iota) (q_k + q_k+1) / 2 between two levels."""
    slopes = (1.0 - iota) * 0.5 * (levels[1:] + levels[:-1])
    heights = np.append(0.0, np.cumsum(slopes * np.diff(levels)))
    return np.interp(u, levels, heights)


@pytest.mark.parametrize("iota", [0.8, 0.5, 0.1])
@pytest.mark.parametrize("quantizer", STAIRCASES, ids=NAMES)
def test_ramp_is_an_exact_prox(quantizer, iota):
    """It minimises 1/2 (u - g x)^2 + g Psi(u), g = 1 / iota, over the hull: values to 1e-9 g^2.

    With slopes (1 + iota) of the midpoints it does not.
    """
    levels, g = levels_of(quantizer), 1.0 / iota
    x = np.concatenate([points(quantizer, 0.2), [9.0, -9.0]])
    u = prox.ramp(x, quantizer, 1.0, iota)
    grid = np.unique(np.append(np.linspace(levels[0], levels[-1], 20_001), levels))

    def objective(v, x, iota):
        return 0.5 * (v - g * x) ** 2 + g * affine_regulariser(v, levels, iota)

    least = np.min(objective(grid, x[:, None], iota), axis=1)
    assert np.all(objective(u, x, iota) <= least + 1e-9 * g * g)
    least = np.min(objective(grid, x[:, None], -iota), axis=1)
    if len(levels) > 2:  # with two levels the only midpoint is 0
        assert np.any(objective(u, x, -iota) > least + 1e-3)
    slopes = np.diff(affine_regulariser(levels, levels, iota)) / np.diff(levels)
    assert np.all(np.diff(slopes) >= 0.0)  # convex


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=latents(largest=8.0), quantizer=quantizers(), alpha=scales,
       iota=st.floats(1e-3, 1.0))  # fmt: skip
def test_ramp_is_monotone_between_identity_and_staircase(x, quantizer, alpha, iota):
    """Sorted stays sorted, values stay in the hull; iota = 1 clips, iota <= 0 is Q bit for bit."""
    alpha = x.dtype.type(alpha)
    x = np.sort(x * alpha)
    levels = levels_of(quantizer, float(alpha))
    slack = 1e-5 * float(alpha) * len(levels)
    u = prox.ramp(x, quantizer, alpha, iota)
    assert u.dtype == x.dtype
    assert np.all(np.diff(u.astype(float)) >= -slack)
    assert np.all(u >= levels[0] - slack) and np.all(u <= levels[-1] + slack)
    clipped = np.clip(x.astype(float), levels[0], levels[-1])
    np.testing.assert_allclose(prox.ramp(x, quantizer, alpha, 1.0), clipped, rtol=0, atol=slack)
    for nothing in (0.0, -0.006):
        np.testing.assert_array_equal(
            prox.ramp(x, quantizer, alpha, nothing),
            quantizer.quantize(np.clip(x, levels[0], levels[-1]).astype(x.dtype), alpha),
        )


def test_logistic_fall():
    """1 to 0 for centre 1/2; 0.959 and -0.006 for centre 0.3 and steepness 10; falling."""
    assert prox.logistic_fall(0.0) == 1.0 and prox.logistic_fall(1.0) == 0.0
    assert prox.logistic_fall(0.5) == pytest.approx(0.5)
    ends = [prox.logistic_fall(p, 10.0, 0.3) for p in (0.0, 1.0)]
    assert ends == pytest.approx([0.959, -0.006], abs=5e-4)
    values = [prox.logistic_fall(p, 4.0) for p in np.linspace(0, 1, 11)]
    assert all(a > b for a, b in pairwise(values))
    s = [1.0 / (1.0 + exp(4.0 * (p - 0.5))) for p in (0.0, 0.3, 1.0)]
    assert prox.logistic_fall(0.3, 4.0) == pytest.approx((s[1] - s[2]) / (s[0] - s[2]))


# The mirror map


def test_soft_staircase_of_two_levels_is_tanh(put):
    """alpha tanh(b x / alpha), to 1e-15; monotone, odd, and sharper towards the sign."""
    x, alpha = np.linspace(-3, 3, 61), 0.5
    for sharpness in (0.3, 1.0, 7.0):
        u = prox.soft_staircase(put(x), Sign(), put(np.array([alpha])), sharpness)
        np.testing.assert_allclose(
            backend.to_numpy(u), alpha * np.tanh(sharpness * x / alpha), atol=1e-15
        )
    sharp = prox.soft_staircase(x, Sign(), alpha, 1e6)
    away = np.abs(x) > 1e-3
    np.testing.assert_array_equal(sharp[away], Sign().quantize(x, alpha)[away])


@pytest.mark.parametrize("quantizer", STAIRCASES, ids=NAMES)
def test_soft_staircase_goes_to_the_levels(quantizer):
    """Monotone for any sharpness; at 1e6 the levels, off the thresholds; dtype kept."""
    x = np.linspace(-4.03, 4.01, 403)
    for sharpness in (0.5, 3.0, 1e6):
        u = prox.soft_staircase(x, quantizer, 0.8, sharpness)
        assert np.all(np.diff(u) >= -1e-12)
    away = np.min(np.abs(x[:, None] - 0.8 * np.array(quantizer.thresholds())), axis=1) > 1e-3
    np.testing.assert_allclose(u[away], quantizer.quantize(x, 0.8)[away], atol=1e-14)
    assert prox.soft_staircase(x.astype("f4"), quantizer, np.float32(0.8), 2.0).dtype == np.float32

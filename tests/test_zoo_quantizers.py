"""Signs with live scales, standardised signs, FDA, learned steps, stochastic weights, ternary.

Every backward against central differences of the smooth function whose gradient it is (statistics
that the rule holds are held there too), by a random projection, with a negative control; the limits
in which one method is another; exact zeros and ties.
"""

from dataclasses import replace
from math import pi, sqrt

import numpy as np
import pytest
from strategies import generator, z_scores

from minizo import InputError, rng
from minizo.quantizers import (
    BNN,
    FDA,
    LSQ,
    QUANTIZERS,
    RBNN,
    TWN,
    BiReal,
    DoReFaActivation,
    IRNet,
    MagnitudeAware,
    MidRise,
    MidTread,
    QuEST,
    ReSTE,
    Sign,
    Stochastic,
    Ternary,
    Xnor,
)
from minizo.quantizers.base import mean_abs, sign
from minizo.quantizers.standardised import _shift, sides, standardise, standardise_backward
from minizo.surrogates import SURROGATES

RNG = generator(4, 1)
SHAPE = (3, 12)  # filters of 3 x 4 weights
PROGRESS = (0.0, 0.3, 1.0)


def weights(lead=(), size=0.7, shape=SHAPE):
    """Gaussian weights, few of them near a kink."""
    return size * RNG.normal(size=(*lead, *shape))


def beside(quantizer, x, lead=()):
    """What a quantiser is given beside x, with learned parts away from their special values."""
    alpha = quantizer.scale(x)
    names = quantizer.shapes(x.shape[len(lead) :])
    if not names:
        return alpha
    own = {}
    for index in np.ndindex(*lead):
        start = quantizer.init(x[index] if index else x, rng.at(1, "test", *index))
        for name, value in start.items():
            rotation = name in quantizer.kept
            moved = value if rotation else value * (1 + 0.3 * RNG.normal(size=value.shape))
            own.setdefault(name, []).append(moved)
    return {"alpha": alpha} | {
        name: np.reshape(values, (*lead, *names[name])) for name, values in own.items()
    }


def error(function, gradient, x, h=1e-6):
    """Relative error of <gradient, direction> against a central difference, random direction."""
    direction = RNG.normal(size=x.shape)
    numeric = (function(x + h * direction) - function(x - h * direction)) / (2 * h)
    return abs(np.sum(gradient * direction) - numeric) / (1e-4 + abs(numeric))


def assert_gradient(function, gradient, x, bound=1e-5):
    """Right within ``bound``, and a gradient 1 % too large is not."""
    assert error(function, gradient, x) < bound
    assert error(function, 1.01 * gradient, x) > 1e-3


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


# Live scales -----------------------------------------------------------------------------------


@pytest.mark.parametrize("surrogate", ["hardtanh", "tanh", "approxsign", "reste"])
@pytest.mark.parametrize("rule", ["constant", "exact", "paper", "plain"])
def test_the_rules_of_a_live_scale(rule, surrogate):
    """Each rule is the gradient of its own smooth function; only `exact` that of mean|x| s(x)."""
    quantizer = Xnor(surrogate, rule=rule)
    x, dw = weights(), RNG.normal(size=SHAPE)
    s, a, signs = quantizer.curve.value, mean_abs(x), sign(x)
    functions = {
        "constant": lambda z: np.sum(dw * a * s(z)),
        "exact": lambda z: np.sum(dw * (a * s(z) + mean_abs(z) * signs)),
        "paper": lambda z: np.sum(dw * (z / x.shape[-1] + a * s(z))),
        "plain": lambda z: np.sum(dw * s(z)),
    }
    dx, grads = quantizer.backward(x, quantizer.scale(x), dw)
    assert not grads
    assert_gradient(functions[rule], dx, x)
    if rule != "exact":
        assert error(functions["exact"], dx, x) > 1e-3


@pytest.mark.parametrize("kind", [Xnor, BiReal, MagnitudeAware, ReSTE])
def test_forward_of_a_live_scale(kind):
    """mean|w| of the filter, or of the layer, times the sign; +1 at an exact zero."""
    quantizer = kind()
    x = weights()
    x[0, 0] = 0.0
    rows = x if quantizer.by_filter else x.reshape(1, -1)
    expected = np.abs(rows).mean(axis=-1, keepdims=True) * np.where(rows >= 0, 1.0, -1.0)
    np.testing.assert_allclose(quantizer.quantize(rows, None), expected, rtol=1e-15)
    assert expected[0, 0] > 0
    assert np.all(quantizer.quantize(np.zeros((2, 3)), None) == 0.0)


def test_reste_at_o_1_is_the_gated_ste():
    """o = 1: slope 1 up to 1.5, beside the gradient of the scale."""
    x, dw = weights((), 1.2, (1, 40)), RNG.normal(size=(1, 40))
    dx, _ = ReSTE().backward(x, None, dw)
    a, s = np.abs(x).mean(), np.sign(x)
    expected = a * dw * (np.abs(x) <= 1.5) + s * np.sum(dw * s) / 40
    np.testing.assert_allclose(dx, expected, rtol=1e-13, atol=1e-15)
    later, _ = ReSTE().at(1.0).backward(x, None, dw)
    assert not np.allclose(later, expected)


def test_bnn_is_the_bare_sign():
    """Levels +-1, the gate |x| <= 1 (half open, as steps are here)."""
    x = np.array([-1.5, -1.0, -0.0, 0.0, 0.5, 1.0])
    quantizer = BNN()
    alpha = quantizer.scale(x)
    np.testing.assert_array_equal(quantizer.quantize(x, alpha), [-1, -1, 1, 1, 1, 1])
    dx, _ = quantizer.backward(x, alpha, np.ones(6))
    np.testing.assert_array_equal(dx, [0, 1, 1, 1, 1, 0])


# Standardised ----------------------------------------------------------------------------------


def test_standardise_backward():
    """Through mean and deviation; n - 1 in the deviation."""
    x, dz = weights(), RNG.normal(size=SHAPE)
    z, s = standardise(x)
    np.testing.assert_allclose(z.mean(axis=-1), 0.0, atol=1e-15)
    np.testing.assert_allclose(z.std(axis=-1, ddof=1), 1.0)
    assert_gradient(lambda x: np.sum(dz * standardise(x)[0]), standardise_backward(dz, z, s), x)


@pytest.mark.parametrize("progress", PROGRESS)
def test_irnet_backward(progress):
    """The gradient of a s(z(x)), a the power of two held."""
    quantizer = IRNet().at(progress)
    x, dw = weights(), RNG.normal(size=SHAPE)
    a = _shift(standardise(x)[0])

    def smooth(x):
        return np.sum(dw * a * quantizer.curve.value(standardise(x)[0]))

    assert_gradient(smooth, quantizer.backward(x, None, dw)[0], x)


def test_irnet_forward():
    """2^round(log2 mean|z|) sign(z); 1 for Gaussian filters; +1 for a constant filter."""
    x = weights(shape=(4, 500))
    z, _ = standardise(x)
    np.testing.assert_array_equal(IRNet().quantize(x, None), np.where(z >= 0, 1.0, -1.0))
    flat = IRNet().quantize(np.full((1, 6), 0.3), None)
    np.testing.assert_array_equal(flat, np.ones((1, 6)))
    one = np.zeros((1, 9))
    one[0, 0] = 9.0  # z = 2.67, -0.33 ...: mean 0.59, and round(log2 0.59) = -1
    np.testing.assert_array_equal(np.abs(IRNet().quantize(one, None)), 0.5)


def test_irnet_with_a_flat_surrogate_is_the_ste_through_standardisation():
    """EDE as t -> 0 is the identity: dx = standardisation's backward of a dw."""
    x, dw = weights(), RNG.normal(size=SHAPE)
    z, s = standardise(x)
    expected = standardise_backward(_shift(z) * dw, z, s)
    np.testing.assert_allclose(IRNet("identity").backward(x, None, dw)[0], expected, rtol=1e-14)
    near = IRNet().backward(x, None, dw)[0]
    np.testing.assert_allclose(near, expected, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize("progress", PROGRESS[1:])
def test_rbnn_backward(progress):
    """dx, the angle's and the gain's gradients: those of g s(z + |sin h| (Rot z - z))."""
    quantizer = RBNN().at(progress)
    x, dw = weights(), RNG.normal(size=SHAPE)
    scale = beside(quantizer, x)
    dx, grads = quantizer.backward(x, scale, dw)
    assert_gradient(lambda x: np.sum(dw * quantizer.smooth(x, scale)), dx, x)

    def turned(angle):
        return np.sum(dw * quantizer.smooth(x, scale | {"angle": angle}))

    assert_gradient(turned, grads["angle"], scale["angle"])
    # the gain is outside the sign: its gradient is that of the forward itself
    assert_gradient(
        lambda gain: np.sum(dw * quantizer.quantize(x, scale | {"gain": gain})),
        grads["gain"],
        scale["gain"],
    )
    assert not grads["R1"].any() and not grads["R2"].any()


def test_rbnn_detached():
    """The code's gradient: that with Rot(z) held; nothing at all at the angle it starts from."""
    quantizer = RBNN(detach_rotation=True).at(0.5)
    x, dw = weights(), RNG.normal(size=SHAPE)
    scale = beside(quantizer, x)
    z, s, share, moved, y = quantizer._turned(x, scale)
    rotated = z + moved

    def held(x):
        z = standardise(x)[0]
        return np.sum(dw * scale["gain"] * quantizer.curve.value(z + share * (rotated - z)))

    assert_gradient(held, quantizer.backward(x, scale, dw)[0], x)
    start = scale | {"angle": np.full((3, 1), pi / 2)}
    dx, grads = quantizer.backward(x, start, dw)
    assert not dx.any()
    np.testing.assert_allclose(grads["angle"], 0.0, atol=1e-14)
    assert RBNN().at(0.5).backward(x, start, dw)[0].any()


def test_rbnn_without_rotation_is_the_standardised_sign():
    """|sin h| = 0: g sign(z)."""
    x = weights()
    scale = beside(RBNN(), x) | {"angle": np.zeros((3, 1)), "gain": np.ones((3, 1))}
    z, s = standardise(x)
    np.testing.assert_array_equal(RBNN().quantize(x, scale), sign(z))
    dw = RNG.normal(size=SHAPE)
    expected = standardise_backward(dw * RBNN().curve.derivative(z), z, s)
    np.testing.assert_allclose(RBNN().backward(x, scale, dw)[0], expected, rtol=1e-13, atol=1e-14)


def test_rotations_stay_orthogonal_and_come_nearer_to_the_signs():
    """sum <sign(R), R> of the rotated weights never falls in a refresh, and mostly grows."""
    quantizer = RBNN()
    x = weights((2,), shape=(5, 24))
    scale = beside(quantizer, x, (2,))
    reached = []
    for _ in range(4):
        _, _, _, moved, _ = quantizer._turned(x, scale)
        reached.append(np.abs(standardise(x)[0] + moved).sum(axis=(-1, -2)))
        scale = scale | quantizer.refresh(x, scale)
        for name in quantizer.kept:
            r = scale[name]
            eye = np.broadcast_to(np.eye(r.shape[-1]), r.shape)
            np.testing.assert_allclose(r @ np.swapaxes(r, -1, -2), eye, atol=1e-12)
    steps = np.diff(reached, axis=0)
    assert np.all(steps > -1e-10) and np.all(steps[0] > 0.1)


@pytest.mark.parametrize("n, expected", [(784, (28, 28)), (10, (2, 5)), (13, (1, 13)), (1, (1, 1))])
def test_sides(n, expected):
    assert sides(n) == expected


# FDA -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", PROGRESS)
def test_fda_backward(progress):
    """dx and the noise network's gradients: those of m (s(x) + a eta(x)), m held."""
    quantizer = FDA(amplitude=0.3).at(progress)
    x, dw = weights(), RNG.normal(size=SHAPE)
    scale = beside(quantizer, x)
    m = mean_abs(x)

    def smooth(x, **own):
        inside = quantizer.curve.value(x) + quantizer.share * quantizer._eta(x, scale | own)
        return np.sum(dw * m * inside)

    dx, grads = quantizer.backward(x, scale, dw)
    assert_gradient(smooth, dx, x)
    for name in ("V1", "V2"):
        assert grads[name].shape == scale[name].shape
        if progress < 1.0:
            assert_gradient(lambda v, name=name: smooth(x, **{name: v}), grads[name], scale[name])
        else:  # the network has faded
            assert not grads[name].any()


def test_fda_without_noise_is_the_scaled_sign():
    x = weights()
    scale = beside(FDA(), x)
    expected = mean_abs(x) * sign(x)
    np.testing.assert_array_equal(FDA(amplitude=0.0).quantize(x, scale), expected)
    np.testing.assert_array_equal(FDA().at(1.0).quantize(x, scale), expected)
    assert not np.allclose(FDA().quantize(x, scale), expected)


# Steps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_lsq_backward(bits, signed):
    """The step's gradient is that of s (clip(x/s) + held rounding error), times its factor."""
    quantizer = LSQ(bits=bits, signed=signed)
    x, dw = weights(shape=(200,)), RNG.normal(size=200)
    scale = beside(quantizer, x[None, :].reshape(200))
    lo, hi = quantizer.bounds
    s0 = scale["alpha"] * scale["step"]
    rounding = quantizer.quantize(x, scale) / s0 - np.clip(x / s0, lo, hi)

    def smooth(x, step):
        s = scale["alpha"] * step
        return np.sum(dw * s * (np.clip(x / s, lo, hi) + rounding))

    dx, grads = quantizer.backward(x, scale, dw)
    assert_gradient(lambda x: smooth(x, scale["step"]), dx, x)
    factor = 1 / sqrt(200 * hi)
    assert_gradient(lambda step: factor * smooth(x, step), grads["step"], scale["step"])
    whole = replace(quantizer, rescale=False).backward(x, scale, dw)[1]["step"]
    np.testing.assert_allclose(grads["step"], factor * whole, rtol=1e-14)


def test_lsq_with_a_ratio_of_1_is_mid_tread():
    """And its initial step is the paper's, 2 mean|w| / sqrt(hi)."""
    x = weights(shape=(60,))
    alpha = LSQ(bits=3).scale(x)
    np.testing.assert_allclose(alpha, 2 * np.abs(x).mean() / sqrt(3.0))
    got = LSQ(bits=3).quantize(x, {"alpha": alpha, "step": np.ones(1)})
    np.testing.assert_array_equal(got, MidTread(bits=3).quantize(x, alpha))
    with pytest.raises(InputError, match="bits is 1, but it must be a whole number from 2 to 8"):
        LSQ(bits=1)


def test_quest():
    """The step follows the weights; the mask is |x - Q(x)| <= s/2, and the slope of `smooth`."""
    quantizer = QuEST(bits=2)
    x = weights(shape=(2, 300))
    s = 0.9957 * np.sqrt((x**2).mean(axis=-1, keepdims=True))
    np.testing.assert_allclose(
        quantizer.quantize(x, None), s * (np.clip(np.floor(x / s), -2, 1) + 0.5), rtol=1e-12
    )
    trusted = np.abs(x - quantizer.quantize(x, None)) <= s / 2
    np.testing.assert_array_equal(quantizer.derivative(x, None), trusted)
    assert 0.9 < trusted.mean() < 1.0
    np.testing.assert_allclose(quantizer.quantize(3 * x, None), 3 * quantizer.quantize(x, None))
    inside = np.clip(x, -2 * s, 2 * s)
    np.testing.assert_allclose(quantizer.smooth(x, None), inside, rtol=1e-12)
    np.testing.assert_array_equal(quantizer.quantize(np.zeros((1, 3)), None), 0.5)
    within = np.abs(x) < 2 * s
    slope = MidRise("tanh").derivative(x, s)
    np.testing.assert_array_equal(QuEST("tanh").derivative(x, None), within * slope)


# DoReFa, ternary -------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 9))
def test_dorefa_activation(bits):
    """round(n clip(x, 0, 1))/n away from ties, slope 1 on [0, 1)."""
    quantizer = DoReFaActivation(bits=bits)
    x, n = RNG.uniform(-0.5, 1.5, 200), 2**bits - 1
    expected = np.round(n * np.clip(x, 0, 1)) / n
    np.testing.assert_allclose(quantizer.quantize(x, 1.0), expected, rtol=1e-15)
    np.testing.assert_allclose(quantizer.derivative(x, 1.0), (x >= 0) & (x < 1), atol=1e-12)
    np.testing.assert_allclose(quantizer.smooth(x, 1.0), np.clip(x, 0, 1), atol=1e-12)
    np.testing.assert_allclose(quantizer.quantize(3 * x, 3.0), 3 * expected, rtol=1e-12)
    assert quantizer.quantize(np.zeros(1), 1.0)[0] == 0.0


def test_twn_has_one_level_for_both_sides():
    """The mean |x| of what is not 0; `Ternary` one for each side; D itself is outside."""
    x = weights(shape=(2, 50)) + 0.1
    for row, own in zip(x, TWN().quantize(x), strict=True):
        outside = np.abs(row) >= 0.7 * np.abs(row).mean()
        expected = np.where(outside, np.sign(row) * np.abs(row)[outside].mean(), 0.0)
        np.testing.assert_allclose(own, expected, rtol=1e-12)
    assert not np.allclose(TWN().quantize(x), Ternary().quantize(x))
    symmetric = np.concatenate([x, -x], axis=-1)
    np.testing.assert_allclose(TWN().quantize(symmetric), Ternary().quantize(symmetric), rtol=1e-12)
    np.testing.assert_array_equal(TWN().quantize(np.zeros((1, 4))), np.zeros((1, 4)))


# Stochastic ------------------------------------------------------------------------------------


def test_stochastic_weights_are_right_on_average():
    """E[Q] = clip(x, -alpha, alpha): 20,000 draws, 6 standard errors, and not x itself outside."""
    quantizer = Stochastic()
    x = np.array([-2.0, -1.0, -0.4, 0.0, 0.3, 0.99, 1.7])
    alpha = np.ones(1)
    draws = np.stack(
        [
            quantizer.quantize(
                x, {"alpha": alpha, **quantizer.noise(rng.at(0, "test", i), (7,), x)}
            )
            for i in range(20_000)
        ]
    )
    assert set(np.unique(draws)) == {-1.0, 1.0}
    assert np.all(z_scores(draws, np.clip(x, -1, 1)) < 6)
    assert np.any(z_scores(draws, 1.1 * np.clip(x, -1, 1)) > 6)


def test_stochastic_weights_in_use():
    """Without coins the latent weights, clipped, or their signs."""
    x, alpha = np.array([-2.0, 0.0, 0.5]), np.ones(1)
    np.testing.assert_array_equal(Stochastic().quantize(x, alpha), [-1, 0, 0.5])
    np.testing.assert_array_equal(Stochastic(in_use="sign").quantize(x, alpha), [-1, 1, 1])
    dw = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(Stochastic().backward(x, alpha, dw)[0], dw)
    np.testing.assert_array_equal(Stochastic("hardtanh").backward(x, alpha, dw)[0], [0, 2, 3])
    np.testing.assert_array_equal(Stochastic("hardtanh").smooth(x, alpha), [-1, 0, 0.5])


# All -------------------------------------------------------------------------------------------

ZOO = sorted(QUANTIZERS)


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_contract(name, dtype):
    """dtype in = dtype out, inputs unchanged, a population is a loop; also at 0 and at ties."""
    quantizer = QUANTIZERS[name]().at(0.4)
    x = weights((2,)) if quantizer.by_filter else weights((2,), shape=(36,))
    x.reshape(-1)[:4] = [0.0, -0.0, 1.0, -1.0]
    x = x.astype(dtype)
    scale = beside(quantizer, x, (2,))
    scale = (
        {k: v.astype(dtype) for k, v in scale.items()}
        if isinstance(scale, dict)
        else scale.astype(dtype)
    )
    dw = RNG.normal(size=x.shape).astype(dtype)
    before = x.copy()
    q, smooth = quantizer.quantize(x, scale), quantizer.smooth(x, scale)
    dx, grads = quantizer.backward(x, scale, dw)
    np.testing.assert_array_equal(x, before)
    for array in (q, smooth, dx, *grads.values()):
        assert array.dtype == dtype and np.all(np.isfinite(array))
    assert q.shape == smooth.shape == dx.shape == x.shape
    for i in range(2):
        own = {k: v[i] for k, v in scale.items()} if isinstance(scale, dict) else scale[i]
        np.testing.assert_allclose(quantizer.quantize(x[i], own), q[i], rtol=1e-5)
        one, one_grads = quantizer.backward(x[i], own, dw[i])
        np.testing.assert_allclose(one, dx[i], rtol=1e-4, atol=1e-5)
        for part, value in one_grads.items():
            np.testing.assert_allclose(value, grads[part][i], rtol=1e-4, atol=1e-4)


def test_wrong_names_are_refused():
    with pytest.raises(InputError, match="per: unknown name 'chanel'"):
        Xnor(per="chanel")
    with pytest.raises(InputError, match="rule: unknown name 'exat'"):
        Xnor(rule="exat")
    with pytest.raises(InputError, match="in_use is 'both'"):
        Stochastic(in_use="both")
    with pytest.raises(InputError, match="amplitude is -1.0, but it must be finite and at least 0"):
        FDA(amplitude=-1.0)
    with pytest.raises(InputError, match="surrogate: unknown name 'eed'; did you mean 'ede'"):
        Sign("eed")

"""Learned steps, DoReFa, ternary and stochastic weights, and the contract of all.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from strategies import z_scores
from zoo import RNG, assert_gradient, beside, weights

from minizo import InputError, rng
from minizo.quantizers import (
    FDA,
    LSQ,
    QUANTIZERS,
    TWN,
    DoReFaActivation,
    MidRise,
    MidTread,
    QuEST,
    Sign,
    Stochastic,
    Ternary,
    Xnor,
)

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

"""The bias of the STE, by formula, by sampling, and where it is 0.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

import numpy as np
import pytest
from strategies import (
    agree,
    expectation,
)

from minizo import rng
from minizo.quantizers import MidRise, Sign

# The bias of the STE


A, H, K = 0.7, -1.3, 0.9


def polynomial(q, h=H, k=K):
    """L(q) = a q + h q^2 / 2 + k q^3 / 6."""
    return A * q + h * q**2 / 2.0 + k * q**3 / 6.0


def polynomial_slope(q, h=H, k=K):
    """L'(q)."""
    return A + h * q + k * q**2 / 2.0


def mean_over_noise(quantizer, f, x, alpha=1.0):
    """E[f(Q(x + alpha epsbar u))] by quadrature."""
    eps = alpha * quantizer.epsbar
    jumps = (alpha * np.array(quantizer.thresholds()) - x) / eps
    return expectation(quantizer.law, lambda u: f(quantizer.quantize(x + eps * u, alpha)), jumps)


@pytest.mark.parametrize("surrogate", ["hardtanh", "tanh", "approxsign"])
@pytest.mark.parametrize("x", [-0.55, 0.0, 0.2, 0.8])
def test_bias_of_the_ste_of_a_sign_is_the_formula(surrogate, x):
    """E STE - d/dx E L(sign(x + eps u)) = (2 p / eps)(h E q + k/2 - k/6) to 1e-7.

    Linear L: 0. Quadratic L with h alone is biased wherever E q is not 0.
    """
    quantizer = Sign(surrogate)
    eps = quantizer.epsbar
    p = quantizer.law.pdf(np.array(x / eps))
    step = 1e-5

    def bias(h, k):
        def loss(q):
            return polynomial(q, h, k)

        up = mean_over_noise(quantizer, loss, x + step)
        down = mean_over_noise(quantizer, loss, x - step)
        slope = mean_over_noise(quantizer, lambda q: polynomial_slope(q, h, k), x)
        ste = slope * quantizer.derivative(np.array(x), 1.0)
        return float(ste - (up - down) / (2.0 * step))

    mean_q = mean_over_noise(quantizer, lambda q: q, x)
    kink = 3e-5 if surrogate == "approxsign" and x == 0.0 else 1e-7  # p has one at 0
    for h, k in ((0.0, 0.0), (H, 0.0), (0.0, K), (H, K)):
        expected = 2.0 * p / eps * (h * mean_q + k / 2.0 - k / 6.0)
        assert bias(h, k) == pytest.approx(float(expected), abs=kink)
    assert bias(0.0, 0.0) == pytest.approx(0.0, abs=kink)
    assert abs(bias(0.0, K)) > 0.1
    assert (abs(bias(H, 0.0)) > 0.1) == (x != 0.0)


def test_bias_of_the_ste_of_a_sign_by_sampling():
    """2^19 straight-through gradients of the package's own noise: 6 SE; "unbiased" is rejected."""
    quantizer, x = Sign("tanh"), 0.4
    u = quantizer.law.sample(rng.at(9, "noise", 0, 0), np.empty(2**19))
    q = quantizer.quantize(x + quantizer.epsbar * u, 1.0)
    ste = polynomial_slope(q) * quantizer.derivative(np.array(x), 1.0)
    density = float(quantizer.law.pdf(np.array(x / quantizer.epsbar))) / quantizer.epsbar
    true = (polynomial(1.0) - polynomial(-1.0)) * density
    assert agree(ste, true + 2.0 * density * (H * np.tanh(x) + K / 2.0 - K / 6.0))
    assert not agree(ste, true)
    linear = A * quantizer.derivative(np.full(5, x), 1.0)
    np.testing.assert_allclose(linear, 2.0 * A * density, rtol=1e-12)


@pytest.mark.parametrize("x", [-1.2, -0.3, 0.05, 0.4, 1.3])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_bias_of_the_identity_ste_under_dithered_rounding(x, alpha):
    """Linear L: none. L = h q^2 / 2: h (x - (q+ + q-)/2), at most h alpha / 2; to 1e-8.

    d/dx E L(Q(x + U)) is the chord's slope (L(q+) - L(q-)) / alpha between the levels round x.
    """
    quantizer = MidRise("identity", 2)
    x = alpha * x
    below = alpha * (np.floor(x / alpha - 0.5) + 0.5)
    above = below + alpha
    step = 1e-5

    def true_slope(loss):
        up = mean_over_noise(quantizer, loss, x + step, alpha)
        down = mean_over_noise(quantizer, loss, x - step, alpha)
        return (up - down) / (2.0 * step)

    assert quantizer.derivative(np.array(x), alpha) is None  # J = 1
    assert true_slope(lambda q: A * q) == pytest.approx(A, abs=1e-8)
    for h, k in ((H, 0.0), (H, K)):
        chord = (polynomial(above, h, k) - polynomial(below, h, k)) / alpha
        assert true_slope(lambda q, h=h, k=k: polynomial(q, h, k)) == pytest.approx(chord, abs=1e-8)
    ste = mean_over_noise(quantizer, lambda q: H * q, x, alpha)
    bias = ste - true_slope(lambda q: H * q**2 / 2.0)
    assert bias == pytest.approx(H * (x - (above + below) / 2.0), abs=1e-8)
    assert 1e-3 < abs(bias) <= abs(H) * alpha / 2.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dithered_rounding_is_unbiased_with_a_known_variance(dtype):
    """E Q(x + U) = x within 6 SE, variance (x - q-)(q+ - x); 1.3 times the dither is biased."""
    quantizer = MidRise("identity", 2)
    x = np.array([-1.2, -0.3, 0.05, 0.4, 1.3], dtype)
    u = quantizer.law.sample(rng.at(10, "noise", 0, 0), np.empty((2**18, 1), dtype))
    q = quantizer.quantize(x + dtype(quantizer.epsbar) * u, dtype(1.0)).astype(np.float64)
    exact = x.astype(np.float64)
    below = np.floor(exact - 0.5) + 0.5
    assert agree(q, exact)
    assert agree((q - exact) ** 2, (exact - below) * (below + 1.0 - exact))
    wide = quantizer.quantize(x + dtype(1.3 * quantizer.epsbar) * u, dtype(1.0)).astype(np.float64)
    assert not agree(wide, exact)

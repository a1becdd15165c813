"""Signs with live scales, standardised signs and FDA.

Every backward against central differences of the smooth function whose gradient it is (statistics
that the rule holds are held there too), by a random projection, with a negative control; the limits
in which one method is another.
"""

from math import pi

import numpy as np
import pytest
from zoo import PROGRESS, RNG, SHAPE, assert_gradient, beside, error, weights

from minizo.quantizers import (
    BNN,
    FDA,
    RBNN,
    BiReal,
    IRNet,
    MagnitudeAware,
    ReSTE,
    Xnor,
)
from minizo.quantizers.base import mean_abs, sign
from minizo.quantizers.standardised import _shift, sides, standardise, standardise_backward

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
        inside = quantizer.curve.value(x) + quantizer.a * quantizer._eta(x, scale | own)
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

"""Scales of a layer or of each filter; QuEST's transform and trust; BitNet's ternary weights."""

import numpy as np
import pytest

from minizo import Objective, models
from minizo import quantizers as q
from minizo.errors import InputError
from minizo.quantizers.learned_step import hadamard

GEN = np.random.default_rng(8)
X = GEN.normal(size=(5, 24)) * np.array([0.1, 0.5, 1.0, 2.0, 7.0])[:, None]
DW = GEN.normal(size=X.shape)
PER = [
    q.Sign, q.MidRise, q.MidTread, q.Stochastic, q.LSQ, q.QuEST, q.DoReFa, q.TWN, q.Ternary,
    q.MultiBit, q.AbsMean,
]  # fmt: skip


def given(quantizer, x):
    """The argument ``scale`` for x at the start."""
    alpha, own = quantizer.scale(x), quantizer.init(x, None)
    return {"alpha": alpha, **own} if own else alpha


@pytest.mark.parametrize("kind", PER)
def test_a_filter_is_quantised_as_if_it_were_a_layer(kind):
    """Forward, backward and learned gradients of each row are those of the row alone."""
    rows, layer = kind(per="filter"), kind()
    assert rows.by_filter and not layer.by_filter
    scale = given(rows, X)
    w, (dx, grads) = rows.quantize(X, scale), rows.backward(X, scale, DW)
    for i, x in enumerate(X):
        alone = given(layer, x)
        np.testing.assert_array_equal(w[i], layer.quantize(x, alone))
        one, own = layer.backward(x, alone, DW[i])
        np.testing.assert_allclose(dx[i], one, rtol=1e-12)
        for name, value in own.items():
            np.testing.assert_allclose(grads[name][i], value, rtol=1e-12)
    # control: one scale for all is another quantiser
    flat = X.reshape(-1)
    together = layer.backward(flat, given(layer, flat), DW.reshape(-1))[0].reshape(X.shape)
    same = np.allclose(layer.quantize(flat, given(layer, flat)).reshape(X.shape), w)
    assert not (same and np.allclose(together, dx))
    with pytest.raises(InputError, match="per: unknown name 'filtre'; did you mean 'filter'?"):
        kind(per="filtre")


@pytest.mark.parametrize("kind", PER)
def test_filters_train_in_a_network(kind, toy):
    """An objective hands filters out, learned steps are one a filter, and eps is each filter's."""
    net = models.mlp(toy.x_train[0].size, 6, toy.classes)
    objective = Objective(net, kind(per="filter"))
    theta = objective.network.init(0, like=np.empty(0))
    objective = objective.calibrate(theta)
    assert objective.scales["fc1.weight"].shape == (6, 1)
    if kind is q.LSQ:
        assert objective.network.shapes["fc1.weight.step"] == (6, 1)
    sizes = objective.network.views(objective.matched_eps(theta))
    # all numbers of a row have one size, and rows differ, unless it is in a unit of x itself
    assert np.ptp(sizes["fc1.weight"], axis=1).max() == 0.0
    assert np.ptp(sizes["fc1.weight"][:, 0]) > 0.0
    np.testing.assert_allclose(sizes["fc1.bias"], sizes["fc1.weight"][:, 0].mean())


def test_hadamard_is_sylvesters():
    """H H = 1, H symmetric, entries +-1/sqrt(n), and H of Kronecker products."""
    for size in (1, 2, 4, 64):
        h = hadamard(size, X)
        np.testing.assert_allclose(h @ h, np.eye(size), atol=1e-13)
        np.testing.assert_array_equal(h, h.T)
        np.testing.assert_allclose(np.abs(h), size**-0.5)
    np.testing.assert_allclose(hadamard(8, X), np.kron(hadamard(2, X), hadamard(4, X)))
    assert hadamard(4, np.zeros(1, np.float32)).dtype == np.float32


def test_quest_quantises_transformed_weights():
    """Block by block along a row; the largest power of two that divides it where it is short."""
    rule, plain = q.QuEST(bits=3, block=8, per="filter"), q.QuEST(bits=3, per="filter")
    h = np.kron(np.eye(3), hadamard(8, X))
    z = X @ h
    np.testing.assert_allclose(rule.quantize(X, None), plain.quantize(z, None) @ h, rtol=1e-12)
    dx, _ = rule.backward(X, None, DW)
    np.testing.assert_allclose(dx, plain.backward(z, None, DW @ h)[0] @ h, rtol=1e-12)
    assert not rule.diagonal and plain.diagonal and rule.levels is None
    # 24 = 8 * 3: a block of 128 becomes one of 8; an odd row is not transformed
    wide = q.QuEST(bits=3, block=128, per="filter")
    np.testing.assert_array_equal(wide.quantize(X, None), rule.quantize(X, None))
    odd = X[:, :23]
    np.testing.assert_array_equal(wide.quantize(odd, None), plain.quantize(odd, None))
    with pytest.raises(InputError, match="QuEST.block is 6, but it must be a power of two"):
        q.QuEST(block=6)


def test_the_transform_makes_weights_gaussian():
    """Spread of 2-bit errors of heavy-tailed weights: with the transform as for Gaussian ones."""
    heavy, gauss = GEN.standard_t(3, size=(64, 256)), GEN.normal(size=(64, 256))

    def error(rule, x):
        return np.mean((x - rule.quantize(x, None)) ** 2) / np.mean(x**2)

    plain, turned = q.QuEST(bits=4), q.QuEST(bits=4, block=128)
    assert error(plain, heavy) > 1.5 * error(turned, heavy)
    assert error(plain, gauss) == pytest.approx(error(turned, gauss), rel=0.05)


@pytest.mark.parametrize("trust", [1.0, 1.3, 2.0])
def test_trust_is_a_bound_on_the_error(trust):
    """dx = dw where |x - Q(x)| <= trust s/2, and `smooth` has that slope."""
    rule, x = q.QuEST(bits=2, trust=trust), 2.0 * GEN.normal(size=(2, 400))
    s = 0.9957 * np.sqrt((x**2).mean(axis=-1, keepdims=True))
    trusted = np.abs(x - rule.quantize(x, None)) <= trust * s / 2
    np.testing.assert_array_equal(rule.backward(x, None, np.ones_like(x))[0], trusted)
    np.testing.assert_allclose(
        rule.smooth(x, None), np.clip(x, -s * (1.5 + trust / 2), s * (1.5 + trust / 2))
    )
    assert trusted.mean() < 1.0
    with pytest.raises(InputError, match="QuEST.trust is 0.5"):
        q.QuEST(trust=0.5)


def test_absmean():
    """RoundClip(x / mean|x|, -1, 1) mean|x|, apart from ties."""
    x = GEN.normal(size=(3, 200))
    g = np.abs(x).mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        q.AbsMean().quantize(x, None), g * np.clip(np.round(x / g), -1, 1), rtol=1e-12
    )
    np.testing.assert_array_equal(q.AbsMean().quantize(np.array([1.0, -1.0, 4.0]), None), [2, 0, 2])
    assert q.AbsMean().backward(x, None, x)[0] is x
    np.testing.assert_array_equal(q.AbsMean().quantize(np.zeros(3), None), 0.0)


def test_absmax():
    """Q(x) = s round(x/s); a row of zeros stays; the largest number is exact."""
    x = GEN.normal(size=(3, 200))
    for bits in (2, 4, 8):
        s = np.abs(x).max(axis=-1, keepdims=True) / (2 ** (bits - 1) - 1)
        np.testing.assert_allclose(q.AbsMax(bits=bits).quantize(x, None), s * np.round(x / s))
    np.testing.assert_array_equal(q.AbsMax().quantize(np.zeros((2, 3)), None), 0.0)
    assert q.AbsMax().backward(x, None, x)[0] is x

"""Proposition 5, inputs that are not N(0, I), and another array library.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import erf, exp, pi, sqrt

import numpy as np
import pytest
from finite_sample import LIKE, network
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import agree, generator, seeds

from minizo import backend
from minizo.lab.finite_sample import closed_forms as cf
from minizo.lab.finite_sample import predictions as pr
from minizo.lab.finite_sample import shapes
from minizo.lab.finite_sample.closed_forms import Network
from minizo.lab.finite_sample.model import (
    STES,
    inputs,
    make_task,
    random_signs,
    signs,
    start,
)
from minizo.lab.finite_sample.one_step import sampled
from minizo.lab.finite_sample.runs import learn, step_size

# Proposition 5, and inputs that are not N(0, I) ------------------------------------------------


def test_mean_response():
    """E x 1{x.q > 0} for a correlated, shifted Gaussian, 400,000 draws, 6 s.e.

    Negative control: without the mean's part, and with q in place of S q.
    """
    gen, n = generator(6), 3
    root, mean = gen.normal(size=(n, n)), np.array([0.5, -0.2, 1.0])
    covariance, s = root @ root.T, np.array([1.0, -1.0, 1.0])
    x = mean + gen.normal(size=(400_000, n)) @ root.T
    sample = x * (x @ s > 0)[:, None]
    assert agree(sample, pr.mean_response(mean, covariance, s))
    assert not agree(sample, pr.mean_response(0 * mean, covariance, s))
    assert not agree(sample, pr.mean_response(mean, np.eye(n), s))


def test_mean_response_is_an_integral():
    """n = 1: mu Phi(mu / sd) + sd phi(mu / sd), midpoint rule, error 1e-7."""
    mean, sd = 0.7, 1.4
    z = (np.arange(200_000) + 0.5) / 200_000 * 20 * sd
    density = np.exp(-0.5 * ((z - mean) / sd) ** 2) / (sd * sqrt(2 * pi))
    integral = np.sum(z * density) * (z[1] - z[0])
    found = pr.mean_response(np.array([mean]), np.array([[sd**2]]), np.ones(1))
    assert found[0] == pytest.approx(integral, abs=1e-7)
    closed = mean * 0.5 * (1 + erf(mean / sd / sqrt(2))) + sd * exp(-0.5 * (mean / sd) ** 2) / sqrt(
        2 * pi
    )
    assert found[0] == pytest.approx(closed, rel=1e-12)


@given(st.integers(2, 10), seeds)
@settings(max_examples=30, deadline=None)
def test_diagonal_covariance_is_harmless_and_correlation_is_not(n, seed):
    """Right coordinates have no drift under diag(S); under AR(0.9) or a mean they have."""
    gen = generator(seed)
    teacher = signs(gen.normal(size=n))
    s = teacher.copy()
    s[0] = -s[0]

    def drift(mean, covariance):
        return (
            pr.mean_response(mean, covariance, s) - pr.mean_response(mean, covariance, teacher)
        )[1:]

    zero = np.zeros(n)
    np.testing.assert_allclose(drift(zero, np.diag(gen.uniform(0.1, 3, n))), 0, atol=1e-12)
    assert np.abs(drift(zero, shapes.autoregression(n, 0.9))).max() > 1e-3
    # the least of all sign patterns of up to ten coordinates is 6.3e-4: all alike
    assert np.abs(drift(zero + 1.0, np.eye(n))).max() > 5e-4


def test_shapes_have_their_moments():
    """Means and covariances of the laws, 100,000 samples, 6 s.e.; t3 by its quartile."""
    shape, scales = (100_000, 4), np.geomspace(*shapes.SCALES, 4)
    draws = {name: law(3, 0, shape, LIKE) for name, law in shapes.LAWS.items()}
    for name in ("gaussian", "correlated", "student t3", "rademacher"):
        assert agree(draws[name], 0.0)
    assert agree(draws["exponential"], scales) and agree(draws["exponential"] ** 2, 2 * scales**2)
    assert agree(draws["half-normal"], sqrt(2 / pi)) and agree(draws["half-normal"] ** 2, 1.0)
    assert set(np.unique(draws["rademacher"])) == {-1.0, 1.0}
    x = draws["correlated"]
    products = x[:, :, None] * x[:, None, :]
    assert agree(products, shapes.autoregression(4, 0.9))
    assert not agree(products, shapes.autoregression(4, 0.85))
    assert agree((np.abs(draws["student t3"]) < 0.7648923).astype(float), 0.5)  # t3's quartile
    assert agree(shapes.shifted(3, 0, shape, LIKE, 2.0), 2.0)


def test_mended_inputs():
    """Standardised: mean 0, sd 1; whitened: covariance I; both leave a mended input as it is."""
    x = np.stack([shapes.exponential(1, b, (500, 5), LIKE) for b in range(2)])
    flat, white = shapes.standardised(x), shapes.whitened(x)
    for mended in (flat, white):
        np.testing.assert_allclose(mended.mean(axis=1), 0, atol=1e-12)
        np.testing.assert_allclose(mended.std(axis=1), 1, atol=1e-12)
    for b in range(2):
        np.testing.assert_allclose(np.cov(white[b].T, bias=True), np.eye(5), atol=1e-10)
        assert np.abs(np.cov(flat[b].T, bias=True) - np.eye(5)).max() > 0.01
    np.testing.assert_allclose(shapes.whitened(white), white, atol=1e-8)
    np.testing.assert_array_equal(shapes.raw(x), x)


# Another array library -------------------------------------------------------------------------


def test_strict_arrays_give_the_same():
    """Closed forms, drawing, runs, mendings: array-api-strict on its fake device, 1e-12."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")

    def put(x):
        return strict.asarray(np.asarray(x), device=device)

    def same(ours, reference):
        assert ours.device == device
        np.testing.assert_allclose(backend.to_numpy(ours), reference, rtol=1e-12, atol=1e-13)

    net = network(3, 4)
    theirs = Network(*map(put, net))
    for function in (cf.loss, cf.gradient_v, cf.gradient_w, cf.coarse_identity, cf.coarse_relu):
        same(function(theirs), function(net))
    same(cf.spurious_v(theirs.v_true), cf.spurious_v(net.v_true))
    same(cf.spurious_identity_norm(theirs.v_true), cf.spurious_identity_norm(net.v_true))
    assert cf.saddle_angle(theirs.v_true) == pytest.approx(cf.saddle_angle(net.v_true))
    z = generator(1).normal(size=(7, 3, 4))
    for ours, reference in zip(
        cf.sample_gradients(theirs, put(z)), cf.sample_gradients(net, z), strict=True
    ):
        same(ours, reference)

    def everything(like, put):
        x, teacher = inputs(1, range(2), 60, 5, like), random_signs(1, range(2), 3, 5, like)
        sigma = put(np.array([[0.1], [0.2], [0.3]]))
        task = make_task(x, teacher, sigma, 4)
        w = start(2, range(2), 3, 5, like, "gaussian")
        answer = [x, teacher, task.y, w]
        for ste in STES.values():
            found = learn(task, w, step_size(ste, 5, 0.1), 30, ste, burn=5, raster=True)
            answer += [*found[:-2], *found.raster]
        answer += [shapes.standardised(x)]
        answer += [law(5, 1, (6, 3), like) for law in shapes.LAWS.values()]
        return answer

    for ours, reference in zip(
        everything(put(LIKE), put), everything(LIKE, np.asarray), strict=True
    ):
        same(ours, reference)
    x = inputs(1, range(2), 60, 5, LIKE)
    np.testing.assert_allclose(
        backend.to_numpy(shapes.whitened(put(x))), shapes.whitened(x), rtol=1e-9, atol=1e-10
    )
    ours = sampled(0, 50, 8, 60, STES["relu"], put(LIKE))
    np.testing.assert_array_equal(ours, sampled(0, 50, 8, 60, STES["relu"], LIKE))

"""Closed forms of Yin et al. against samples, integrals and differences.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import pi, sqrt

import numpy as np
import pytest
from finite_sample import network
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import agree, generator, seeds

from minizo import InputError
from minizo.lab.finite_sample import closed_forms as cf
from minizo.lab.finite_sample.closed_forms import Network

# Closed forms of Yin et al. --------------------------------------------------------------------


@pytest.mark.parametrize("m, n", [(1, 3), (2, 3), (4, 6)])
def test_closed_forms_are_means_over_samples(m, n):
    """Loss, df/dv and both coarse gradients from 200,000 samples, 6 s.e.

    Negative control: the coarse gradients exchanged, and K without its 2.
    """
    net = network(m, n)
    samples = cf.sample_gradients(net, generator(1).normal(size=(200_000, m, n)))
    found = cf.loss(net), cf.gradient_v(net), cf.coarse_identity(net), cf.coarse_relu(net)
    for sample, value in zip(samples, found, strict=True):
        assert agree(sample, value)
    assert not agree(samples[2], found[3]) and not agree(samples[3], found[2])
    half = (net.v + net.v.sum() - (1 - cf.angle(net.w, net.w_true) / pi) * net.v_true
            - net.v_true.sum()) / 4  # fmt: skip
    assert not agree(samples[1], half)


@pytest.mark.parametrize("turn", [0.4, 1.7, 3.0])
def test_closed_forms_are_integrals_over_the_angle(turn):
    """m = 1, n = 2: Z = r (cos t, sin t), E r = sqrt(pi / 2); midpoint rule in t, error 1e-8.

    Negative control: an angle larger by 0.01 is off by more than 1e-4.
    """
    v, v_true, count = 0.7, 1.3, 2_000_000
    t = (np.arange(count) + 0.5) * 2 * pi / count
    e = np.stack([np.cos(t), np.sin(t)])

    def net(angle):
        w = 1.9 * np.array([np.cos(angle), np.sin(angle)])
        return Network(np.array([v]), w, np.array([v_true]), np.array([1.0, 0.0]))

    here = net(turn)
    fires, target = here.w @ e > 0, e[0] > 0
    error = v * fires - v_true * target
    loss = np.mean(0.5 * error**2)
    identity = sqrt(pi / 2) * np.mean(v * error * e, axis=1)
    relu = sqrt(pi / 2) * np.mean(v * error * fires * e, axis=1)
    for function, value in (
        (cf.loss, loss), (cf.gradient_v, np.mean(error * fires)), (cf.coarse_identity, identity),
        (cf.coarse_relu, relu),
    ):  # fmt: skip
        np.testing.assert_allclose(np.squeeze(function(here)), value, atol=2e-6)
        assert np.max(np.abs(np.squeeze(function(net(turn + 0.01))) - value)) > 1e-4


@given(st.integers(1, 5), st.integers(2, 7), seeds)
@settings(max_examples=40, deadline=None)
def test_gradients_of_the_loss_are_central_differences(m, n, seed):
    """df/dv and df/dw along a random direction, float64; 1 % more is found out."""
    net, gen = network(m, n, seed), generator(seed, 1)
    h = 1e-6
    for name, exact in (("v", cf.gradient_v(net)), ("w", cf.gradient_w(net))):
        x = getattr(net, name)
        direction = gen.normal(size=x.shape)
        if name == "w":
            direction *= np.linalg.norm(x)  # a step that w can feel, however long it is
        above, below = (cf.loss(net._replace(**{name: x + s * h * direction})) for s in (1, -1))
        numeric = (above - below) / (2 * h)
        size = np.linalg.norm(exact) * np.linalg.norm(direction)
        # f has a kink where w and w* are parallel: its curvature there is 1 / sin(theta)
        slack = 1e-7 + 1e-4 * size / np.sin(cf.angle(net.w, net.w_true))
        assert abs(exact @ direction - numeric) < 1e-4 * slack + 1e-8 * (1 + size)


def test_gradient_check_notices_one_percent():
    """Negative control of the check above."""
    net, h = network(3, 4), 1e-6
    direction = generator(5).normal(size=4)
    above, below = (cf.loss(net._replace(w=net.w + s * h * direction)) for s in (1, -1))
    numeric, exact = (above - below) / (2 * h), cf.gradient_w(net) @ direction
    assert abs(exact - numeric) < 1e-8 < abs(1.01 * exact - numeric)


@given(st.integers(1, 5), st.integers(2, 7), seeds)
@settings(max_examples=60, deadline=None)
def test_coarse_gradients_descend(m, n, seed):
    """<E g, df/dw> >= 0 for both, by the formula; coarse_relu is the lemma's cos(theta/2) form."""
    net = network(m, n, seed)
    theta, along = cf.angle(net.w, net.w_true), net.v @ net.v_true
    u = net.w / np.linalg.norm(net.w)
    slope = np.sin(theta) * along**2 / (2 * (2 * pi) ** 1.5 * np.linalg.norm(net.w))
    relu, identity = cf.coarse_relu(net), cf.coarse_identity(net)
    assert relu @ cf.gradient_w(net) == pytest.approx(slope, rel=1e-9, abs=1e-12)
    assert identity @ cf.gradient_w(net) == pytest.approx(2 * slope, rel=1e-9, abs=1e-12)
    h = net.v @ net.v + net.v.sum() ** 2 - net.v.sum() * net.v_true.sum() + along
    both = (u + net.w_true) / np.linalg.norm(u + net.w_true)
    lemma = h / (2 * sqrt(2 * pi)) * u - np.cos(theta / 2) * along / sqrt(2 * pi) * both
    np.testing.assert_allclose(relu, lemma, atol=1e-9)


@given(st.integers(2, 7), seeds)
@settings(max_examples=40, deadline=None)
def test_spurious_minimum(m, seed):
    """df/dv = 0 and E g_relu = 0 there, E g_id is not, by its formula; J^-1 by linear algebra."""
    net = network(m, 4, seed)
    v = cf.spurious_v(net.v_true)
    ones = np.ones((m, m))
    np.testing.assert_allclose(
        v, np.linalg.solve(np.eye(m) + ones, (ones - np.eye(m)) @ net.v_true), atol=1e-9
    )
    at = net._replace(v=v, w=-2.5 * net.w_true)
    np.testing.assert_allclose(cf.gradient_v(at), 0, atol=1e-9)
    np.testing.assert_allclose(cf.coarse_relu(at), 0, atol=1e-9)
    norm = np.linalg.norm(cf.coarse_identity(at))
    assert norm == pytest.approx(cf.spurious_identity_norm(net.v_true), rel=1e-9, abs=1e-9)


@given(st.integers(1, 6), st.booleans(), seeds)
@settings(max_examples=60, deadline=None)
def test_saddles_are_where_the_condition_says(m, one_sign, seed):
    """An angle below pi exists iff (1.v*)^2 < (m + 1) |v*|^2 / 2; there df/dv = 0, v.v* = 0."""
    v_true = generator(m, seed).normal(size=m)
    v_true = np.abs(v_true) if one_sign else v_true
    angle = cf.saddle_angle(v_true)
    exists = v_true.sum() ** 2 < 0.5 * (m + 1) * (v_true @ v_true)
    assert (angle is not None) == exists
    if exists:
        assert pi / 2 <= angle < pi
        k = (1 - 2 * angle / pi) * np.eye(m) + 1
        v = np.linalg.solve(np.eye(m) + 1, k @ v_true)
        assert abs(v @ v_true) < 1e-9 * (v_true @ v_true)
        w_true = np.array([1.0, 0.0])
        net = Network(v, np.array([np.cos(angle), np.sin(angle)]), v_true, w_true)
        np.testing.assert_allclose(cf.gradient_v(net), 0, atol=1e-9 * (1 + np.abs(v_true).max()))


def test_angles_are_accurate_at_both_ends():
    """1e-9 from 0 and from pi, where the arc cosine of a product would give 0."""
    w_true = np.array([1.0, 0.0])
    for angle in (1e-9, 0.3, pi / 2, pi - 1e-9):
        w = 7.0 * np.array([np.cos(angle), np.sin(angle)])
        assert cf.angle(w, w_true) == pytest.approx(angle, rel=1e-6, abs=1e-15)
    assert cf.angle(w_true, 5 * w_true) == 0 and cf.angle(w_true, -w_true) == pytest.approx(pi)


def test_no_gradient_at_the_kink():
    net = network(2, 3)
    with pytest.raises(InputError, match="must not be parallel"):
        cf.gradient_w(net._replace(w=-3.0 * net.w_true))

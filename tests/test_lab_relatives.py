"""Cones that are classified perfectly (C-5), and the mean field of many weights (C-6)."""

from math import erf, exp, pi, sqrt

import numpy as np
import pytest

from minizo.lab import cones, mean_field
from minizo.lab.experiments import EXPERIMENTS
from minizo.lab.runner import Setup

EMPTY = np.empty(0, np.float32)
DOUBLE = np.empty(0, np.float64)


def holds(name, seed=0):
    """The report of an experiment, all of whose claims hold and whose picture can be drawn."""
    report = EXPERIMENTS[name].run(Setup(EMPTY, seed))
    assert [claim.verdict for claim in report.claims] == ["holds"] * len(report.claims)
    figure = EXPERIMENTS[name].picture(report, name)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    return report


# Cones -----------------------------------------------------------------------------------------


def test_cones_are_classified_and_full_subspaces_are_not(monkeypatch):
    """Two runs of each, half the neurons: C-5 holds; with 2 bits the second one is used."""
    monkeypatch.setattr(cones, "RUNS", 2)
    monkeypatch.setattr(cones, "SAMPLES", 120)
    report = holds("C-5")
    steps = {(r["bits"], r["ste"], r["run"]): r["steps_to_zero_loss"]
             for r in report.rows if r["data"] == "cones"}  # fmt: skip
    assert steps[1, "ReLU", 0] != steps[2, "ReLU", 0]


def test_the_hinge_loss_and_its_coarse_gradient_by_hand():
    """One sample, two neurons, K = 4: loss 1 - (o_y - max other), gradient by the chain rule."""
    w = np.array([[[0.5, 0.0], [0.0, -2.0]]])  # (R, h, d)
    x = np.array([[[1.0, 1.0]]])
    member = np.array([[0.0, 1.0, 0.0, 0.0]])
    v = np.array([[0.2, 0.0], [0.5, 1.0], [-0.3, 0.0], [0.1, 0.0]])
    for name, slopes in (("ReLU", (1.0, 0.0)), ("identity", (1.0, 1.0))):
        gradient, loss, error = cones.coarse_gradient(w, x, member, v, 1, name)
        # a = (1/2, -2), sigma(a) = (1, 0): o = (.2, .5, -.3, .1), margin .3, rival 0
        assert loss[0] == pytest.approx(0.7) and error[0] == 0.0
        da = (v[0] - v[1]) * slopes
        np.testing.assert_allclose(gradient[0], da[:, None] * x[0, 0], atol=1e-15)
    # a larger margin than 1 has no loss and no gradient
    gradient, loss, _ = cones.coarse_gradient(w, x, member, 4.0 * v, 1, "ReLU")
    assert loss[0] == 0.0 and not gradient.any()


def test_gradient_of_a_smooth_network():
    """With sigma replaced by the identity, whose slope it uses: a central difference, 1e-7."""
    gen = np.random.default_rng(0)
    w, x = gen.normal(size=(1, 5, 3)), gen.normal(size=(1, 7, 3))
    member, v = np.eye(4)[gen.integers(0, 4, 7)], gen.normal(size=(4, 5))
    direction, h = gen.normal(size=w.shape), 1e-6
    plain = pytest.MonkeyPatch()
    with plain.context() as patch:
        patch.setattr(cones, "levels", lambda a, bits: a)
        up, down = (cones.coarse_gradient(w + s * direction, x, member, v, 1, "identity")[1][0]
                    for s in (h, -h))  # fmt: skip
        gradient = cones.coarse_gradient(w, x, member, v, 1, "identity")[0]
    assert np.sum(gradient * direction) == pytest.approx((up - down) / (2 * h), abs=1e-7)


@pytest.mark.parametrize("cone", [True, False])
def test_classes_lie_in_orthogonal_subspaces(cone):
    """Inner products across classes 0 to 1e-12; -x is likely on subspaces, not on cones."""
    x, labels = cones.data(3, cone, DOUBLE)
    assert x.shape == (cones.RUNS, cones.SAMPLES, cones.D)
    products = np.einsum("rnd,rmd->rnm", x, x)
    other = labels[:, None] != labels[None, :]
    assert np.max(np.abs(products[:, other])) < 1e-12
    negative = np.mean(products[:, ~other] < 0.0)
    assert negative < 0.1 if cone else negative > 0.3


def test_levels_and_slopes():
    """ceil, clipped to 0 ... 2^bits - 1; slopes vanish at a <= 0, but for the identity's."""
    a = np.array([-1.5, 0.0, 0.2, 1.0, 1.1, 9.0])
    assert cones.levels(a, 1).tolist() == [0, 0, 1, 1, 1, 1]
    assert cones.levels(a, 2).tolist() == [0, 0, 1, 1, 2, 3]
    for name, slope in cones.SLOPES.items():
        assert np.all((slope(a, 3.0)[:2] == 0.0) == (name in cones.VANISHING))
        assert np.all(slope(a, 3.0) >= 0.0)
    assert cones.SLOPES["clipped ReLU"](a, 1.0).tolist() == [0, 0, 1, 0, 0, 0]


# Mean field ------------------------------------------------------------------------------------


def test_simulations_follow_the_equation(monkeypatch):
    """C-6 with 300 weights and 10,000 particles."""
    for name, value in (("D", 300), ("PARTICLES", 10_000), ("STEP", 0.02)):
        monkeypatch.setattr(mean_field, name, value)
    report = holds("C-6")
    assert len(report.claims) == len(mean_field.CASES) + 2


def test_the_closed_form_solves_its_equation():
    """d eps / d tau = -2 eta eps + eta^2 (eps + sigma^2), by differences; its end; its start."""
    tau, rate, sigma = np.linspace(0.0, 3.0, 301), 0.6, 0.3
    eps = mean_field.full_precision(tau, 2.0, rate, sigma)
    slope = np.gradient(eps, tau, edge_order=2)
    expected = -2.0 * rate * eps + rate**2 * (eps + sigma**2)
    np.testing.assert_allclose(slope[1:-1], expected[1:-1], atol=2e-4)
    assert eps[0] == 2.0
    far = mean_field.full_precision(1e3, 2.0, rate, sigma)
    assert far == pytest.approx(rate * sigma**2 / (2.0 - rate))


def test_the_error_of_stochastic_rounding_for_two_levels_in_closed_form():
    """+-L: L^2 - E[w^2; |w| < L] inside, (|w| - L)^2 outside; nearest: 1 + L^2 - 2 L E|w|."""
    level = sqrt(2.0 / pi)
    rounded, nearest = mean_field.stationary_error((-level, level))
    bell = exp(-0.5 * level**2) / sqrt(2.0 * pi)
    inside = erf(level / sqrt(2.0))
    square = inside - 2.0 * level * bell  # E[w^2; |w| < L]
    outside = (1.0 - square) - 2.0 * level * 2.0 * bell + level**2 * (1.0 - inside)
    assert rounded == pytest.approx(level**2 * inside - square + outside, abs=1e-7)
    assert nearest == pytest.approx(1.0 + level**2 - 2.0 * level * sqrt(2.0 / pi), abs=1e-7)


def test_one_online_step_by_hand():
    """eps after 1 of d = 2 steps is that of w - eta x (x . gap / d - sigma xi / sqrt d)."""
    case = mean_field.CASES[0]
    errors = mean_field.simulate(4, case, DOUBLE, d=20, runs=3, tau=1.0, sigma=0.1)
    again = mean_field.simulate(4, case, DOUBLE, d=20, runs=3, tau=1.0, sigma=0.1)
    np.testing.assert_array_equal(errors, again)
    w_true = mean_field.teacher(4, (3, 20), case, DOUBLE)
    w = mean_field.rng.at(4, "init", 0).normal(np.empty((3, 20)))
    assert errors[0] == pytest.approx(np.mean((w - w_true) ** 2, axis=1))
    draws = mean_field.rng.at(4, "noise", 0, 0).normal(np.empty((3, 21)))
    x, xi = draws[:, :20], draws[:, 20]
    y = np.sum(x * w_true, axis=1) / sqrt(20) + 0.1 * xi
    prediction = np.sum(x * w, axis=1) / sqrt(20)
    w = w - case.rate / sqrt(20) * (prediction - y)[:, None] * x
    assert errors[1] == pytest.approx(np.mean((w - w_true) ** 2, axis=1))

"""What the noise of two-point estimates does: scores, designed laws, curl, experiments D."""

from math import pi, sqrt

import array_api_strict
import numpy as np
import pytest
from strategies import GivenNumbers, Toy, agree, expectation, make_query, one_direction_samples

from minizo import rng
from minizo.lab import smoothing
from minizo.lab.experiments import EXPERIMENTS
from minizo.lab.runner import Setup
from minizo.laws import LAWS, law_for
from minizo.surrogates import SURROGATES, Surrogate

APERY = 1.2020569031595942
EMPTY = np.empty(0, np.float32)
SCORED = ("gaussian", "logistic", "laplace")


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name[0] == "D"])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_claims_hold_and_the_controls_do_not(name, seed, monkeypatch):
    """With an eighth of the samples; every claim says whose it is; the picture is finite."""
    monkeypatch.setattr(smoothing, "SAMPLES", smoothing.SAMPLES // 8)
    report = EXPERIMENTS[name].run(Setup(EMPTY, seed))
    assert [claim.verdict for claim in report.claims] == ["holds"] * len(report.claims)
    assert all("this package" in claim.source for claim in report.claims)
    assert all(np.isfinite(row["y"]) for row in report.rows)


# Scores ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORED)
def test_the_score_is_that_of_the_density(name):
    """psi = -p' / p by central differences, 1e-6; E psi = 0 and E[u psi] = 1 by quadrature."""
    law, z, h = LAWS[name], np.array([-2.3, -0.9, -0.01, 0.4, 1.7, 3.0]), 1e-6
    numeric = -(np.log(law.pdf(z + h)) - np.log(law.pdf(z - h))) / (2.0 * h)
    np.testing.assert_allclose(law.score(z), numeric, atol=1e-6)
    assert expectation(law, law.score) == pytest.approx(0.0, abs=1e-10)
    assert expectation(law, lambda u: u * law.score(u)) == pytest.approx(1.0, abs=1e-8)
    if name != "gaussian":  # so u itself is another weight
        assert np.max(np.abs(law.score(z) - z)) > 0.3


def test_laws_without_a_score():
    """Rademacher has no density, uniform's does not vanish at its ends, triangular's E psi^2
    diverges like a logarithm: 1 / (3 (sqrt 6 - |z|)) summed up to the end."""
    assert {name for name, law in LAWS.items() if law.score is None} == (
        {"rademacher", "uniform", "triangular"}
    )
    # psi = sign(z) / (sqrt 6 - |z|): E psi^2 = (1 / 3) integral of 1 / (sqrt 6 - z)
    parts = []
    for gap in (1e-2, 1e-4, 1e-6):
        gaps = np.geomspace(gap, sqrt(6.0), 4001)
        middle = np.sqrt(gaps[1:] * gaps[:-1])
        p = LAWS["triangular"].pdf(sqrt(6.0) - middle)
        parts.append(2.0 * np.sum(np.diff(gaps) * p / middle**2))
    np.testing.assert_allclose(np.diff(parts), np.log(100.0) / 3.0, rtol=1e-3)


# Design ----------------------------------------------------------------------------------------


def test_hardtanh_asks_for_rademacher_numbers():
    """The table's own law, epsbar = 1; not the uniform noise that smooths a sign into it."""
    found = law_for(SURROGATES["hardtanh"])
    assert found.law is LAWS["rademacher"] and found.epsbar == pytest.approx(1.0, abs=1e-4)
    assert found.why == "" and SURROGATES["hardtanh"].law == "uniform"


def test_the_gaussian_asks_for_itself():
    """The slope of erf(x / sqrt 2): Gaussian noise with epsbar 1, p and q being one."""
    bell = Surrogate("erf", None, lambda x: sqrt(2.0 / pi) * np.exp(-0.5 * x * x), "gaussian", 1.0)
    found = law_for(bell)
    assert found.law is LAWS["gaussian"] and found.epsbar == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", ["uniform", "logistic", "laplace", "triangular"])
def test_a_laws_own_zero_bias_density_leads_back_to_it(name):
    """value' = 2 q(x / eps) / eps gives the law and eps, here 1.7."""
    law, eps = LAWS[name], 1.7
    own = Surrogate("own", None, lambda x: 2.0 * law.zero_bias_pdf(x / eps) / eps, name, eps)
    found = law_for(own)
    assert found.law is law and found.epsbar == pytest.approx(eps, rel=1e-3)


def test_tanh_asks_for_a_law_of_its_own():
    """epsbar = pi / sqrt(14 zeta(3)), as the integral of sech^2 x tanh x / x is 14 zeta(3) / pi^2.

    Mass, variance and zero-bias density by quadrature; logistic noise is another law.
    """
    law, epsbar, why, gain = law_for(SURROGATES["tanh"])
    assert gain == pytest.approx(1.0, abs=1e-4)
    assert epsbar == pytest.approx(pi / sqrt(14.0 * APERY), rel=1e-4) and why == ""
    edges = np.linspace(-14.0, 14.0, 281)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    half = np.diff(edges)[:, None] / 2.0
    z = (edges[:-1, None] + half * (1.0 + nodes)).ravel()
    w = (half * weights).ravel()
    p = law.pdf(z)
    assert np.sum(w * p) == pytest.approx(1.0, abs=1e-4)
    assert np.sum(w * p * z * z) == pytest.approx(1.0, abs=1e-4)
    assert np.sum(w * p * z**4) == pytest.approx(law.kurtosis, rel=1e-3)
    for start in (0.0, 0.7):
        above = np.sum((w * p * z)[z > start])
        assert above == pytest.approx(law.zero_bias_pdf(np.array([start]))[0], abs=1e-4)
    # p(0) = epsbar^3: 1 % below a logistic law's, so close, yet another law, and narrower
    assert law.pdf(np.zeros(1))[0] == pytest.approx(epsbar**3, abs=1e-5)
    assert LAWS["logistic"].pdf(np.zeros(1))[0] == pytest.approx(0.45345, abs=1e-5)
    assert epsbar < 0.85 * SURROGATES["tanh"].epsbar


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_a_designed_law(dtype):
    """Variance 1, kurtosis, E[u 1(u > z)] = q(z), 6 SE; odd in the uniform number; dtype kept."""
    law = law_for(SURROGATES["tanh"]).law
    u = law.sample(rng.at(5, "test", 1), np.empty(2**18, dtype))
    assert u.dtype == dtype
    u = u.astype(np.float64)
    assert agree(u, 0.0) and agree(u**2, 1.0) and agree(u**4, law.kurtosis)
    assert not agree(u**2, 1.03)
    z = np.array([-0.8, 0.0, 0.5, 1.4])
    terms = u[:, None] * (u[:, None] > z)
    assert agree(terms, law.zero_bias_pdf(z)) and not agree(terms, law.pdf(z))
    c = np.array([-0.9, -1e-3, 1e-3, 0.9])
    drawn = law.sample(GivenNumbers(c), np.empty(4, dtype))
    np.testing.assert_array_equal(drawn, -drawn[::-1])
    assert np.all(np.sign(drawn) == np.sign(c))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_designed_law_on_strict_arrays(dtype):
    """The same numbers as NumPy's, where the array lives."""
    law = law_for(SURROGATES["tanh"]).law
    strict = law.sample(
        rng.at(1, "test", 2), array_api_strict.empty(50, dtype=getattr(array_api_strict, dtype))
    )
    host = law.sample(rng.at(1, "test", 2), np.empty(50, dtype))
    np.testing.assert_array_equal(np.asarray(strict), host)


@pytest.mark.parametrize(
    "slope, sentence",
    [
        (SURROGATES["approxsign"].derivative, "its slope has a corner at 0"),
        (SURROGATES["identity"].derivative, "does not vanish far out"),
        (SURROGATES["swish"].derivative, "rises with |x|"),
        (lambda x: np.clip(2.0 * np.abs(x), 0.0, None) * (np.abs(x) < 1.0), "rises with |x|"),
    ],
)
def test_when_there_is_no_such_law(slope, sentence):
    """law and epsbar are None, and the reason is given."""
    found = law_for(Surrogate("x", None, slope, "uniform", 1.0))
    assert found.law is None and found.epsbar is None and sentence in found.why


def test_surrogates_that_do_not_end_at_1():
    """A box of height 1 on |x| < 1/2: Rademacher numbers, epsbar 1/2, gain 1/2; EDE's first slope
    10 tanh(x / 10) is tanh's with ten times the width; ReSTE's has a law of its own."""
    box = law_for(Surrogate("box", None, lambda x: 1.0 * (np.abs(x) < 0.5), "uniform", 0.5))
    assert box.law is LAWS["rademacher"]
    assert (box.epsbar, box.gain) == pytest.approx((0.5, 0.5), rel=1e-3)
    wide, tanh = law_for(SURROGATES["ede"]), law_for(SURROGATES["tanh"])
    assert wide.epsbar == pytest.approx(10.0 * tanh.epsbar, rel=1e-3)
    assert wide.gain == pytest.approx(10.0, rel=1e-3)
    assert wide.law.kurtosis == pytest.approx(tanh.law.kurtosis, rel=1e-3)
    own = law_for(SURROGATES["reste"])
    assert own.gain == pytest.approx(SURROGATES["reste"].gain, rel=1e-3)


# Curl ------------------------------------------------------------------------------------------


def test_the_mean_field_of_rademacher_directions_by_hand():
    """E G_1 = cos(a x_1 + b x_2) sin(a eps) cos(b eps) / eps, to 1e-14: not a cos(.) smoothed."""
    a, b, eps, x = 1.3, 0.6, 0.9, np.array([0.3, -0.8])
    corners = np.array([[i, j] for i in (-1.0, 1.0) for j in (-1.0, 1.0)])
    got = smoothing.field(x, a, b, eps, corners, np.full(4, 0.25))
    turn = np.cos(a * x[0] + b * x[1]) / eps
    expected = [turn * np.sin(a * eps) * np.cos(b * eps), turn * np.sin(b * eps) * np.cos(a * eps)]
    np.testing.assert_allclose(got, expected, atol=1e-14)
    assert got[0] / got[1] != pytest.approx(a / b, rel=0.05)


# A wave, L = sin(a . x): every mean in closed form ---------------------------------------------

SLOPE = np.array([1.1, -0.7, 0.4])
PLACE, EPS, DRAWS = np.array([0.2, 0.5, -0.3]), 0.9, 400_000


class Wave(Toy):
    """L = sin(a . theta)."""

    def loss(self, theta):
        """L of each row."""
        return np.sin(theta @ SLOPE)


def samples_of(law, **settings):
    """Estimates of single directions from the package's own ones: (DRAWS, 3)."""
    return one_direction_samples(make_query(Wave(), PLACE, EPS, law, **settings), DRAWS)


def test_gaussian_directions_smooth_with_their_own_density():
    """E G = a cos(a . x) e^(-eps^2 |a|^2 / 2) = grad E L(x + eps u), 6 SE; grad L is rejected."""
    samples = samples_of("gaussian")
    right = SLOPE * np.cos(PLACE @ SLOPE) * np.exp(-0.5 * EPS**2 * SLOPE @ SLOPE)
    assert agree(samples, right) and not agree(samples, SLOPE * np.cos(PLACE @ SLOPE))


def test_rademacher_directions_smooth_every_coordinate_in_its_own_way():
    """E G_i = cos(a . x) sin(a_i eps) / eps prod_{j != i} cos(a_j eps), 6 SE; for a smoothing with
    one kernel E G would be parallel to a."""
    samples = samples_of("rademacher")
    others = np.prod(np.cos(SLOPE * EPS)) / np.cos(SLOPE * EPS)
    right = np.cos(PLACE @ SLOPE) * np.sin(SLOPE * EPS) / EPS * others
    assert agree(samples, right)
    assert not agree(samples, SLOPE * (right @ SLOPE) / (SLOPE @ SLOPE))


@pytest.mark.parametrize("beta", [0.3, 0.8])
def test_fogzo_on_a_loss_that_is_not_quadratic(beta):
    """Gaussian u: E G = (1 - beta) E grad L(x + eps v)
    + beta ghat ghat^T E grad L(x + eps (sqrt(beta) U ghat + sqrt(1 - beta) u)), U ~ U[-1, 1].

    With c = a . ghat, both means are cos(a . x) e^(-eps^2 (1 - beta) |a|^2 / 2) a times cos(k) and
    sin(k) / k, k = eps sqrt(beta) c. 6 SE; the formula of quadratic losses is rejected.
    """
    guide = np.array([0.8, 0.6, 0.0])
    samples = samples_of("gaussian", guide=guide, beta=beta)
    c, spread = SLOPE @ guide, np.exp(-0.5 * EPS**2 * (1 - beta) * SLOPE @ SLOPE)
    k = EPS * sqrt(beta) * c
    wave = np.cos(PLACE @ SLOPE) * spread
    right = wave * ((1 - beta) * np.cos(k) * SLOPE + beta * np.sin(k) / k * c * guide)
    assert agree(samples, right)
    g = SLOPE * np.cos(PLACE @ SLOPE)
    assert not agree(samples, beta * (g @ guide) * guide + (1 - beta) * g)


def test_directions_on_a_sphere_smooth_over_a_ball():
    """|u| = sqrt(d): E G = grad E L(x + eps sqrt(d) b), b uniform in the unit ball, 6 SE.

    In three dimensions E cos(t . b) = 3 (sin t - t cos t) / t^3. The sphere's own mean, sin t / t,
    is rejected.
    """
    u = np.random.default_rng(3).normal(size=(DRAWS, 3))
    u *= sqrt(3.0) / np.linalg.norm(u, axis=1, keepdims=True)
    difference = np.sin((PLACE + EPS * u) @ SLOPE) - np.sin((PLACE - EPS * u) @ SLOPE)
    samples = difference[:, None] / (2.0 * EPS) * u
    t = EPS * sqrt(3.0) * np.linalg.norm(SLOPE)
    g = SLOPE * np.cos(PLACE @ SLOPE)
    assert agree(samples, g * 3.0 * (np.sin(t) - t * np.cos(t)) / t**3)
    assert not agree(samples, g * np.sin(t) / t)

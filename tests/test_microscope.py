"""The estimator microscope against closed forms, exact enumerations, and wrong claims.

Statistical claims: fixed seeds, no retry, at most 6 standard errors; each has a negative control.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pytest
from strategies import Quadratic, Toy, generator, random_quadratic

from minizo import FOGZO, SPSA, STE, Batch, Objective, Step, quantizers, threads
from minizo.errors import InputError
from minizo.lab.exact import CDFS, effective_dimension, level_mean, predict, sign_moments
from minizo.lab.layerwise import LayerwiseSPSA
from minizo.lab.measure import (
    PARTS,
    REFERENCE,
    Sample,
    draw,
    exactly,
    measure,
    quality,
    reference,
    squared_norms,
)
from minizo.laws import LAWS
from minizo.models import mlp
from minizo.objective import Gradient

NAMES = sorted(LAWS)


@dataclass(frozen=True, eq=False)
class Scaled(Quadratic):
    """A quadratic whose parameters have different eps, and whose STE is turned away by ``tilt``."""

    eps: np.ndarray = None
    tilt: np.ndarray = None

    def matched_eps(self, theta):
        """One eps a parameter."""
        return self.eps.copy()

    def ste_gradient(self, theta, batch):
        """The gradient plus something wrong."""
        return Gradient(self.loss(theta), self.gradient(theta) + self.tilt, {})


def scaled(d=6, ratio=3.0):
    """A `Scaled`, its theta, its gradient and the guide that FOGZO uses there."""
    plain, theta = random_quadratic(d)
    g = plain.gradient(theta)
    tilt = 0.7 * np.linalg.norm(g) / sqrt(d) * generator(8).normal(size=d)
    eps = np.where(np.arange(d) < d // 2, 0.1, 0.1 * ratio)
    objective = Scaled(plain.slope, plain.curvature, eps, tilt)
    return objective, theta, g, (g + tilt) / np.linalg.norm(g + tilt)


def near(measured, target, sigmas=6.0):
    """Whether a `Measured` is within so many standard errors of ``target``."""
    return abs(measured.value - target) <= sigmas * measured.se + 1e-12


def tiny(surrogate="identity", seed=0):
    """A calibrated 2-bit 2-2-2 network with 8 weights and 4 biases, float64."""
    gen = generator(seed, 5)
    network = mlp(2, 2, 2)
    theta = network.init(seed, like=np.empty(0)) + 0.1 * gen.normal(size=network.d)
    batch = Batch(gen.normal(size=(6, 1, 1, 2)), gen.integers(0, 2, 6))
    quantizer = quantizers.MidRise(surrogate, 2)
    return Objective(network, quantizer).calibrate(theta), theta, batch


# Closed forms


@pytest.mark.parametrize("name", NAMES)
def test_spsa_on_a_quadratic(name):
    """Bias 0, variance (d + kappa - 2) / n, progress 1 / (1 + that), cos(E G, g) = 1, 6 s.e.

    Negative control: (d + kappa - 1) / n and 1.2 times the progress are rejected.
    """
    d, n = 4, 3
    objective, theta = random_quadratic(d)
    sample = draw(SPSA(n=n, law=name, eps=0.4), objective, theta, None, 10_000)
    found = measure(sample, exactly(objective.gradient(theta)))
    variance = (d + LAWS[name].kurtosis - 2.0) / n
    assert near(found.bias2, 0.0)
    assert near(found.variance, variance) and near(found.progress, 1.0 / (1.0 + variance))
    assert near(found.mean_cosine, 1.0) and near(found.length2, 1.0)
    excess = 2.0 if name == "laplace" else 1.0  # its tails leave less to be seen
    assert not near(found.variance, variance + excess / n)
    assert not near(found.progress, 1.2 / (1.0 + variance))
    assert not near(found.length2, 1.2)
    total = variance * np.sum(objective.gradient(theta) ** 2)
    assert near(found.total, total) and found.cost == 2.0 * n


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("name", ["uniform", "logistic"])
def test_fogzo_on_a_quadratic_with_two_eps(name, beta):
    """Everything that `predict` says, within 6 s.e.; with one eps for all it is rejected."""
    objective, theta, g, guide = scaled()
    sample = draw(
        FOGZO(n=2, law=name, beta=beta, beta_schedule="constant"), objective, theta, None, 4000
    )
    found = measure(sample, exactly(g))
    kappa = LAWS[name].kurtosis
    right = predict(g, objective.eps, 2, kappa, guide, beta)
    wrong = predict(g, np.ones(6), 2, kappa, guide, beta)
    assert near(found.bias2, right.bias**2) and near(found.variance, right.variance)
    assert near(found.mean_cosine, right.cosine) and near(found.progress, right.progress)
    assert not near(found.variance, wrong.variance)
    assert not near(found.progress, wrong.progress)
    assert found.cost == 2 * 2 + 3


def test_predict_is_the_textbook_formula_for_one_eps():
    """E||G||^2 = b^2 c^2 + b (1-b) [(d+4) c^2 + g^2] + (1-b)^2 (d+kappa-1) g^2, to 1e-12."""
    _, _, g, guide = scaled()
    d, g2, gamma, beta, kappa = 6, g @ g, guide @ g, 0.7, 2.4
    found = predict(g, np.full(d, 0.3), 1, kappa, guide, beta)
    mean = beta * gamma * guide + (1.0 - beta) * g
    second = (
        beta**2 * gamma**2
        + beta * (1.0 - beta) * ((d + 4.0) * gamma**2 + g2)
        + (1.0 - beta) ** 2 * (d + kappa - 1.0) * g2
    )
    assert found.variance == pytest.approx((second - mean @ mean) / g2, rel=1e-12)
    assert found.progress == pytest.approx((g @ mean) ** 2 / (second * g2), rel=1e-12)
    assert found.bias == pytest.approx(np.linalg.norm(mean - g) / sqrt(g2), rel=1e-12)
    assert effective_dimension(np.full(d, 0.3), g * g) == pytest.approx(d)


def test_fogzo_with_beta_1_follows_the_guide_divided_by_eps():
    """G is along ghat / eps, not along ghat, where eps differ; along ghat where they do not."""
    objective, theta, g, guide = scaled(ratio=5.0)
    for eps in (objective.eps, np.full(6, 0.2)):
        here = replace(objective, eps=eps)
        vector = draw(
            FOGZO(n=1, law="uniform", beta=1.0, beta_schedule="constant"), here, theta, None, 1
        ).vectors[0]
        cosine = [
            abs(vector @ w) / np.linalg.norm(vector) / np.linalg.norm(w)
            for w in (guide / eps, guide)
        ]
        assert cosine[0] == pytest.approx(1.0)
        assert (cosine[1] < 0.99) == (eps is objective.eps)


def test_cosine_of_single_estimates():
    """Rademacher, d = 2, n = 1: G is along (1, 1) or (1, -1); mean and spread by hand."""
    g = np.array([3.0, 1.0])
    objective = Quadratic(g, np.zeros((2, 2)))
    sample = draw(SPSA(n=1, law="rademacher", eps=0.1), objective, np.zeros(2), None, 4000)
    found = measure(sample, exactly(g))
    values = np.array([4.0, 2.0]) / sqrt(20.0)  # |g . u| / (||u|| ||g||)
    assert near(found.cosine, values.mean())
    assert not near(found.cosine, 1.05 * values.mean())
    assert found.spread == pytest.approx(values.std(), rel=0.01)


def test_ste_has_no_variance_and_the_bias_of_a_chord():
    """F = L(sgn x), L = a q + h q^2 / 2 + k q^3 / 6, hardtanh, one dimension, Gaussian smoothing.

    The smoothed gradient is (L(1) - L(-1)) p(x / eps) / eps; the STE's L'(sgn x) is another.
    """

    class Binary(Toy):
        def loss(self, theta):
            q = np.where(theta[..., 0] >= 0.0, 1.0, -1.0)
            return 0.3 * q + 0.5 * q**2 / 2.0 + 0.9 * q**3 / 6.0

        def ste_gradient(self, theta, batch):
            slope = np.array([0.3 + 0.5 + 0.9 / 2.0])  # L'(1), slope 1
            return Gradient(self.loss(theta), slope, {})

    x, eps = np.array([0.2]), 0.5
    target = 2.0 * (0.3 + 0.9 / 6.0) * LAWS["gaussian"].pdf(x / eps) / eps
    sample = draw(STE(), Binary(), x, None, 5)
    found = measure(sample, exactly(target))
    bias = (1.25 - target[0]) / target[0]
    assert found.variance.value == pytest.approx(0.0, abs=1e-14) and found.variance.se < 1e-14
    assert found.spread == 0.0
    assert found.bias == pytest.approx(abs(bias)) and found.cosine.value == pytest.approx(1.0)
    assert found.progress.value == pytest.approx(1.0) and found.cost == 3.0
    spsa = SPSA(law="gaussian", eps=eps)
    measured = measure(sample, reference(Binary(), x, None, 40_000, spsa))
    assert near(measured.bias2, bias**2)
    assert not near(measured.bias2, (1.25 / 0.9 - 1.0) ** 2)


# Exact enumeration


def test_the_cdfs_belong_to_the_densities():
    """Central differences of the CDF against the density, away from kinks; ends 0 and 1."""
    z, h = np.linspace(-2.33, 2.31, 13), 1e-5
    for name, cdf in CDFS.items():
        assert cdf(np.array([-60.0]))[0] == pytest.approx(0.0, abs=1e-12)
        assert cdf(np.array([60.0]))[0] == pytest.approx(1.0)
        if LAWS[name].pdf is not None:
            slope = (cdf(z + h) - cdf(z - h)) / (2.0 * h)
            np.testing.assert_allclose(slope, LAWS[name].pdf(z), atol=1e-6)


def test_two_enumerations_agree():
    """All sign vectors and all combinations of levels: the same mean to 1e-12."""
    objective, theta, batch = tiny()
    estimator = SPSA(law="rademacher", perturb="quantized", eps_scale=2.0)
    signs = sign_moments(estimator, objective, theta, batch).mean
    np.testing.assert_allclose(
        level_mean(estimator, objective, theta, batch), signs, rtol=0, atol=1e-12
    )
    assert np.linalg.norm(signs) > 0.05
    # p and q agree for the Gaussian law, and for no other
    gaussian = replace(estimator, law="gaussian", eps_scale=0.6)
    q, p = (level_mean(gaussian, objective, theta, batch, s) for s in "qp")
    np.testing.assert_array_equal(q, p)


def test_exact_signs_of_a_quadratic():
    """Mean g and E||G||^2 = d ||g||^2 to 1e-12."""
    objective, theta = random_quadratic(5)
    exact = sign_moments(SPSA(law="rademacher", eps=0.3), objective, theta, None)
    g = objective.gradient(theta)
    np.testing.assert_allclose(exact.mean, g, rtol=1e-12)
    assert exact.second == pytest.approx(5 * (g @ g), rel=1e-12)
    assert exact.variance(4) == pytest.approx(g @ g)


def test_measured_moments_are_the_exact_ones():
    """Bias 0 and variance of n = 3 on a quantised network against all 2^12 signs, 6 s.e."""
    objective, theta, batch = tiny()
    estimator = SPSA(n=3, law="rademacher", eps_scale=2.0)
    exact = sign_moments(estimator, objective, theta, batch)
    found = measure(draw(estimator, objective, theta, batch, 4000), exactly(exact.mean))
    assert near(found.bias2, 0.0) and near(found.total, exact.variance(3))
    assert not near(found.total, exact.variance(2))


def inside(target, gradient):
    """Whether every component is within 99.99 % of Student's t of the reference's mean."""
    error = target.vectors.std(axis=0, ddof=1) / sqrt(PARTS)
    gap = np.abs(target.vectors.mean(axis=0) - gradient)
    return bool(np.all(gap <= 4.9 * error + 1e-12))  # t(19): 4.9 is passed 1e-4 of the time


@pytest.mark.parametrize("law", ["uniform", "logistic"])
def test_reference_is_the_exact_q_smoothed_gradient(law):
    """Within its own interval; p-smoothed and another eps are not, nor is a wrong norm."""
    objective, theta, batch = tiny()
    estimator = SPSA(law=law, perturb="quantized")
    exact = level_mean(estimator, objective, theta, batch)
    target = reference(objective, theta, batch, 200_000, estimator)
    known = quality(target)
    assert inside(target, exact) and known.low < exact @ exact < known.high
    assert known.reliability > 0.99 and known.error < 0.05
    wrong = level_mean(estimator, objective, theta, batch, "p")
    other = level_mean(replace(estimator, eps_scale=1.3), objective, theta, batch)
    for bad in (wrong, other, 1.05 * exact):
        assert not inside(target, bad)
    assert not known.low < 1.1 * (exact @ exact) < known.high


def test_too_large_to_enumerate():
    objective, theta = random_quadratic(17)
    with pytest.raises(InputError, match="at most 16 perturbed"):
        sign_moments(SPSA(law="rademacher", eps=0.1), objective, theta, None)
    with pytest.raises(InputError, match="only Rademacher"):
        sign_moments(SPSA(law="uniform", eps=0.1), objective, theta, None)
    objective, theta, batch = tiny()
    with pytest.raises(InputError, match="perturb='quantized'"):
        level_mean(SPSA(), objective, theta, batch)
    with pytest.raises(InputError, match="no density"):
        level_mean(SPSA(law="rademacher", perturb="quantized"), objective, theta, batch, "p")


# Layer by layer


def test_layerwise_has_the_mean_of_spsa_and_less_variance():
    """Exact mean on a quantised network, 6 s.e.; on a quadratic the variance is the layers' own."""
    objective, theta, batch = tiny()
    exact = sign_moments(SPSA(law="rademacher"), objective, theta, batch)
    one = LayerwiseSPSA(n=4, law="rademacher")
    found = measure(draw(one, objective, theta, batch, 1500), exactly(exact.mean))
    assert near(found.bias2, 0.0) and near(found.length2, 1.0)
    assert not near(found.length2, 1.6)
    objective, theta, g, _ = scaled(ratio=8.0)
    sample = draw(LayerwiseSPSA(n=4, law="gaussian"), objective, theta, None, 1500)
    found = measure(sample, exactly(g))
    variance = (3 + 3.0 - 2.0) / 2  # 2 of 4 directions each
    # a quadratic has cross terms between the layers, which pass through the curvature
    assert near(found.bias2, 0.0) and found.cost == 8.0
    plain = measure(draw(SPSA(n=4, law="gaussian"), objective, theta, None, 1500), exactly(g))
    assert found.variance.value < 0.5 * plain.variance.value
    flat = replace(objective, curvature=0.0 * objective.curvature)
    here = measure(draw(LayerwiseSPSA(n=4, law="gaussian"), flat, theta, None, 4000),
                   exactly(flat.slope))  # fmt: skip
    assert near(here.variance, variance) and not near(here.variance, 1.3 * variance)


def test_layerwise_with_one_eps_is_spsa():
    objective, theta = random_quadratic(5)
    step = Step(seed=3, index=2)
    grads = []
    for kind in (SPSA, LayerwiseSPSA):
        estimator = kind(n=100, law="uniform", eps=0.2)
        state = estimator.init(objective, theta)
        grads.append(estimator.estimate(objective, theta, None, state, step)[0].grad)
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-9)


# Statistics


def test_squared_norm_of_a_mean():
    """||sum||^2 over pairs is unbiased within 6 s.e.; the plain squared norm is off by V / R."""
    truth, count, gen = np.array([0.3, -0.2, 0.1, 0.4]), 5, generator(3)
    vectors = truth + gen.normal(size=(20_000, count, 4))
    fair = np.array([squared_norms(v)[0] for v in vectors])
    naive = np.sum(vectors.mean(axis=1) ** 2, axis=1)
    se = fair.std() / sqrt(len(fair))
    assert abs(fair.mean() - truth @ truth) < 6.0 * se
    assert abs(naive.mean() - truth @ truth) > 50.0 * se
    assert abs(naive.mean() - truth @ truth - 4.0 / count) < 6.0 * se
    one = vectors[0]
    for r in range(count):
        assert squared_norms(one)[1 + r] == pytest.approx(
            squared_norms(np.delete(one, r, axis=0))[0]
        )


def test_the_interval_covers_as_it_says():
    """200 references of a quadratic: 95 % intervals hold ||g||^2 between 88 and 99 % of the time.

    Negative control: intervals half as wide do not.
    """
    objective, theta = random_quadratic(5)
    truth = np.sum(objective.gradient(theta) ** 2)
    spsa = SPSA(law="uniform", eps=0.3)
    found = [
        quality(reference(objective, theta, None, 30 * PARTS, spsa, seed=s)) for s in range(200)
    ]
    assert 0.88 <= np.mean([q.low < truth < q.high for q in found]) <= 0.99
    narrow = [abs(q.norm2.value - truth) < 0.25 * (q.high - q.low) for q in found]
    assert np.mean(narrow) < 0.88
    error = [q.error for q in found]
    assert np.mean(error) == pytest.approx(sqrt((5 + 1.8 - 2) / (30 * PARTS)), rel=0.05)


def test_standard_errors_are_those_of_repetitions():
    """Spread of 120 repeated measurements against their mean standard error, within 30 %.

    The reference is redrawn each time as well: its error is in the standard errors.
    """
    objective, theta, _, _ = scaled(ratio=1.5)
    estimator = FOGZO(n=2, law="uniform", beta=0.6, beta_schedule="constant")
    names = ("cosine", "mean_cosine", "bias2", "variance", "length2", "progress")
    values = {name: [] for name in names}
    for seed in range(120):
        target = reference(objective, theta, None, 10 * PARTS, SPSA(law="uniform"), seed=seed)
        found = measure(draw(estimator, objective, theta, None, 60, seed), target)
        for name in names:
            values[name].append(getattr(found, name))
    for name, pairs in values.items():
        value, se = np.array(pairs).T
        assert np.std(value) == pytest.approx(sqrt(np.mean(se**2)), rel=0.3), name


def test_draws_are_reproducible_independent_and_the_same_on_any_pool():
    objective, theta, batch = tiny()
    estimator = SPSA(n=70)
    first = draw(estimator, objective, theta, batch, 6, seed=4)
    with threads(2) as pool:
        again = draw(estimator, objective, theta, batch, 6, seed=4, step=Step(pool=pool))
    np.testing.assert_array_equal(first.vectors, again.vectors)
    longer = draw(estimator, objective, theta, batch, 8, seed=4)
    np.testing.assert_array_equal(first.vectors, longer.vectors[:6])
    other = draw(estimator, objective, theta, batch, 6, seed=4, purpose=REFERENCE)
    seen = np.concatenate([longer.vectors, other.vectors])
    assert len(np.unique(seen[:, 0])) == 14


def test_too_little_is_refused():
    objective, theta = random_quadratic(4)
    spsa = SPSA(law="uniform", eps=0.1)
    with pytest.raises(InputError, match="a whole number of at least 20"):
        reference(objective, theta, None, 19, spsa)
    with pytest.raises(InputError, match="at least 3"):
        measure(draw(spsa, objective, theta, None, 2), exactly(theta))
    with pytest.raises(InputError, match="lost in its noise"):
        measure(draw(spsa, objective, theta, None, 3), exactly(0.0 * theta))
    noise = Sample(generator(1).normal(size=(PARTS, 50)), 2, 0)
    with pytest.raises(InputError, match="use more directions"):
        quality(noise)

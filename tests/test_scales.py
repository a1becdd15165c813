"""Numbers whose squares float32 cannot hold: 2^k times the loss, the gradient or the weights."""

from dataclasses import dataclass

import numpy as np
import pytest
from conftest import blobs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minizo import FSG, Batch, Diverged, Objective, Step, fit, fit_many, models, norms, optim
from minizo import quantizers as q
from minizo.estimators import ESTIMATORS
from minizo.estimators.learned import Learned
from minizo.losses import LOSSES, SoftmaxCrossEntropy
from minizo.quantizers import QUANTIZERS
from minizo.quantizers.standardised import standardise, standardise_backward

EXPONENTS = [-80, -40, -1, 1, 30, 70]
# Their slow-net is not linear in the gradients that it reads (`FSGScaled` divides their size out).
NOT_HOMOGENEOUS = {"fsg"}
DEGREES = {"normalised-ste": 0}  # of the others: 1


@dataclass(frozen=True)
class Scaled:
    """k times a loss."""

    loss: object
    k: float

    def forward(self, outputs, labels):
        """k L."""
        loss, cache = self.loss.forward(outputs, labels)
        return self.k * loss, cache

    def backward(self, cache):
        """k dL/dz."""
        return self.k * self.loss.backward(cache)


def estimate(name, k, loss=None, lead=()):
    """G of the estimator's second step for k L, of the weights where the rest is not homogeneous.

    The second, because learned gradients only listen in the first.
    """
    kind = ESTIMATORS[name]
    small = {"expand": 2, "states": 2, "length": 2} if issubclass(kind, FSG) else {}
    learned = issubclass(kind, Learned)
    network = models.mlp(12, 5, 3)
    theta = network.init(0)
    x, labels = blobs(30, 3, 12, 1)
    quantizer = q.DoReFa() if learned else q.MidRise(bits=2)
    loss = Scaled(loss or SoftmaxCrossEntropy(), k)
    objective = Objective(network, quantizer, loss=loss).calibrate(theta)
    estimator, rule = kind(**small), optim.SGD(2.0**-6)
    seed = 0
    if lead:  # two seeds at once
        theta, seed = np.stack([theta, network.init(1)])[:, None, :], (0, 1)
    state = estimator.init(objective, theta)
    for index in range(2):
        step = Step(seed, index, 10, optimizer=rule, optimizer_state=rule.init(theta))
        batch = Batch(x, labels)
        found, state = estimator.estimate(objective, theta, batch, state, step)
    if learned:  # where the loss is measured next depends on G, and so do all other gradients
        return np.concatenate([found.grad[network.slices[n]] for n in objective.quantized])
    return found.grad


@pytest.mark.parametrize("k", EXPONENTS)
@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - NOT_HOMOGENEOUS))
def test_estimators_are_homogeneous(name, k):
    """G(2^k F) = 2^k G(F), or G(F), bit for bit: a power of two rounds nothing."""
    factor = np.float32(2.0) ** k
    one = estimate(name, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):  # hypernetworks' own gradients are k^2 large
        scaled = estimate(name, float(factor))
    assert np.any(one != 0.0)
    np.testing.assert_array_equal(scaled, factor ** DEGREES.get(name, 1) * one)


@pytest.mark.parametrize("name", sorted(NOT_HOMOGENEOUS))
def test_the_exceptions_are_none_by_mistake(name):
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.allclose(estimate(name, 2.0**30) / 2.0**30, estimate(name, 1.0), rtol=1e-3)


@pytest.mark.parametrize("k", [-80, 70])
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("name", ["ste", "spsa", "fogzo"])
def test_for_every_loss_and_several_seeds(name, loss, k):
    factor = np.float32(2.0) ** k
    one = estimate(name, 1.0, LOSSES[loss](), lead=(2, 1))
    scaled = estimate(name, float(factor), LOSSES[loss](), lead=(2, 1))
    np.testing.assert_array_equal(scaled, factor * one)


# Norms -----------------------------------------------------------------------------------------

rows = hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=40),
                  elements=st.floats(-(2.0**20), 2.0**20, width=32))  # fmt: skip


@given(rows, st.integers(-80, 70))
def test_norms_are_homogeneous_and_keep_the_bits_of_ordinary_rows(x, k):
    x = np.where(np.abs(x) < 2.0**-20, np.float32(0.0), x)  # above 2^-100 when scaled
    factor = np.float32(2.0) ** k
    for function, mean in ((norms.norm, np.sum), (norms.rms, np.mean)):
        found = function(x)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, np.sqrt(mean(x * x, axis=-1, keepdims=True)))
        np.testing.assert_array_equal(function(factor * x), factor * found)
    np.testing.assert_array_equal(norms.rms(x, axis=None), np.sqrt(np.mean(x * x, keepdims=True)))


def test_norms_at_the_ends_of_float32():
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    for value in (tiny, np.float32(1e-40), np.float32(1e-30), np.float32(1e30), huge):
        x = np.array([value, -value, value, value])
        np.testing.assert_allclose(norms.rms(x), value, rtol=1e-6)
        if value < huge / 4:
            np.testing.assert_allclose(norms.norm(x), 2.0 * value, rtol=1e-6)
    assert norms.norm(np.zeros(3)) == 0.0
    assert np.isnan(norms.rms(np.array([np.nan, 1.0])))
    assert np.isinf(norms.rms(np.array([np.inf, 1.0])))


# Quantisers ------------------------------------------------------------------------------------

# Q(k x) = k Q(x) with the scale of k x; the others measure x against fixed numbers.
SCALE_FREE = {"midrise", "midtread", "sign", "xnor", "bireal", "magnitude", "reste", "twn",
              "ternary", "multibit", "quest", "lsq", "none"}  # fmt: skip
# Q(k x) = Q(x): a filter is standardised first.
STANDARDISED = {"irnet"}


@pytest.mark.parametrize("k", EXPONENTS)
@pytest.mark.parametrize("name", sorted(SCALE_FREE | STANDARDISED))
def test_quantisers_of_scaled_weights(name, k):
    quantizer, factor = QUANTIZERS[name](), np.float32(2.0) ** k
    x = np.random.default_rng(3).normal(size=(4, 27)).astype(np.float32)

    def weights(x):
        scale = quantizer.scale(x)
        if quantizer.shapes(x.shape):
            scale = {"alpha": scale, "step": np.ones((4, 1), np.float32)}
        return quantizer.quantize(x, scale)

    expected = weights(x) if name in STANDARDISED else factor * weights(x)
    np.testing.assert_array_equal(weights(factor * x), expected)


@pytest.mark.parametrize("k", EXPONENTS)
def test_standardisation_is_blind_to_scale(k):
    rng, factor = np.random.default_rng(4), np.float32(2.0) ** k
    x, dz = rng.normal(size=(2, 5, 27)).astype(np.float32)
    (z, s), (scaled_z, scaled_s) = standardise(x), standardise(factor * x)
    np.testing.assert_array_equal(scaled_z, z)
    np.testing.assert_array_equal(scaled_s, factor * s)
    np.testing.assert_array_equal(
        standardise_backward(dz, z, scaled_s), standardise_backward(dz, z, s) / factor
    )


# Optimisers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [optim.Adam, optim.Bop])
def test_squares_that_overflow_in_an_optimiser_are_reported(toy, kind):
    """Adam of a gradient above 2^64 has v = inf and would silently stand still."""
    network = models.mlp(12, 5, 3)
    objective = Objective(network, q.Sign(), loss=Scaled(SoftmaxCrossEntropy(), 2.0**72))
    options = {"steps": 4, "batch": 50}
    with pytest.raises(Diverged, match="optimiser's state .* \\(after 1 update\\)"):
        fit(objective, toy, ESTIMATORS["ste"](), kind(), record_every=1, **options)
    pairs = [(kind(), 0), (optim.SGD(2.0**-72), 1)]
    lost, kept = fit_many(objective, toy, ESTIMATORS["ste"](), pairs, record_every=1, **options)
    assert isinstance(lost, Diverged) and "optimiser's state" in str(lost)
    assert kept.final("train_loss") < kept.records["train_loss"][0]

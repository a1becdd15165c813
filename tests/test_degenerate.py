"""Weights, logits and steps at the edge of what a formula is made for."""

import numpy as np
import pytest

from minizo import FOGZO, SPSA, STE, Objective, fit, fit_many, models, optim, quantizers
from minizo.layers import QuantizedActivation
from minizo.losses import LOSSES, MeanSquaredError, SoftmaxCrossEntropy, SquaredHinge
from minizo.quantizers import LSQ, QUANTIZERS
from minizo.quantizers.standardised import standardise
from minizo.rng import at

DTYPES = [np.float32, np.float64]
VALUES = [0.1, 0.3, 1 / 3, 0.7, 1.1, -1e-20, 1e20, 0.0]
COUNTS = [2, 3, 9, 10, 25, 27, 144, 784]


# Weights that are all equal --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("value", VALUES)
def test_constant_filters_have_no_deviation(value, n, dtype):
    """z = 0 and s = 1 exactly, whatever the mean rounds to, beside a filter that varies."""
    gen = np.random.default_rng(n)
    x = np.stack([np.full(n, value), gen.normal(size=n)]).astype(dtype)
    z, s = standardise(x)
    assert z.dtype == s.dtype == dtype
    np.testing.assert_array_equal(z[0], 0.0)
    assert s[0, 0] == 1.0
    np.testing.assert_allclose(z[1].std(ddof=1), 1.0, rtol=1e-5)


def test_what_is_not_finite_stays_so():
    with np.errstate(invalid="ignore"):
        for bad in (np.nan, np.inf):
            assert np.isnan(standardise(np.full((1, 9), bad))[0]).any()


def with_learned(quantizer, x):
    """The argument ``scale`` of a quantiser beside x: of its scale and of what it learns."""
    alpha = quantizer.scale(np.abs(x) + 0.1)
    learned = quantizer.init(x, at(0, "beside", 0))
    if not learned:
        return alpha
    return {"alpha": alpha, **{name: value.astype(x.dtype) for name, value in learned.items()}}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.0, -0.7])
@pytest.mark.parametrize("n", [4, 27, 144])
@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_every_quantiser_of_equal_weights(name, n, value, dtype):
    """Finite levels and gradients of ordinary size, in the dtype of the weights."""
    quantizer = QUANTIZERS[name]()
    x = np.full((2, n), value, dtype)
    dw = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    scale = with_learned(quantizer, x)
    w = quantizer.quantize(x, scale)
    dx, grads = quantizer.backward(x, scale, dw)
    for array in (w, dx, *grads.values()):
        assert np.all(np.isfinite(array)) and np.max(np.abs(array)) < 1e3
    assert w.dtype == dx.dtype == dtype


def test_dorefa_of_zeros_is_its_sign_of_zero():
    x = np.zeros((1, 5), np.float32)
    np.testing.assert_array_equal(quantizers.DoReFa(bits=1).quantize(x, None), -1.0)
    np.testing.assert_array_equal(quantizers.DoReFa().derivative(x, None), 1.0)
    assert quantizers.DoReFa().scale(x) == 0.0  # which `calibrate` refuses


# Infinite logits -------------------------------------------------------------------------------

INF, HUGE = np.inf, np.float32(3e38)


@pytest.mark.parametrize(
    "loss, row, label, value, gradient",
    [
        (SoftmaxCrossEntropy(), [HUGE, -HUGE], 0, 0.0, [0.0, 0.0]),
        (SoftmaxCrossEntropy(), [HUGE, -HUGE], 1, INF, [1.0, -1.0]),
        (SoftmaxCrossEntropy(), [-INF, 0.0], 1, 0.0, [0.0, 0.0]),
        (SoftmaxCrossEntropy(), [-INF, 0.0], 0, INF, [-1.0, 1.0]),
        (SoftmaxCrossEntropy(), [-INF, 0.0, 0.0], 1, np.log(2.0), [0.0, -0.5, 0.5]),
        (SoftmaxCrossEntropy(), [INF, 0.0], 0, np.nan, None),
        (SoftmaxCrossEntropy(), [-INF, -INF], 0, np.nan, None),
        (SquaredHinge(), [INF, -INF], 0, 0.0, [0.0, 0.0]),
        (SquaredHinge(), [-INF, 0.0], 0, INF, [-INF, 2.0]),
        (SquaredHinge(), [2.0, INF], 0, INF, [0.0, INF]),
        (MeanSquaredError(), [INF, 0.0], 0, INF, [INF, 0.0]),
        (MeanSquaredError(), [-INF, 1.0], 1, INF, [-INF, 0.0]),
    ],
)
def test_infinite_logits(loss, row, label, value, gradient):
    """Where the limit exists it is the value; gradients of finite losses are finite."""
    outputs, labels = np.array([row], np.float32), np.array([label])
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        found, cache = loss.forward(outputs, labels)
        slope = loss.backward(cache)[0]
    np.testing.assert_allclose(found, value, rtol=1e-6)
    if gradient is not None:
        np.testing.assert_allclose(slope, gradient, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_keep_infinity_to_their_own_member_and_example(name):
    """One member's infinite logits do not reach the other's loss, in a population."""
    loss, gen = LOSSES[name](), np.random.default_rng(2)
    outputs = gen.normal(size=(2, 3, 4))
    labels = np.array([0, 1, 2])
    clean = loss.forward(outputs, labels)[0]
    outputs[0, 1, 3] = np.inf
    with np.errstate(invalid="ignore"):
        found, cache = loss.forward(outputs, labels)
        slope = loss.backward(cache)
    assert found[1] == clean[1] and not np.isfinite(found[0])
    assert np.all(np.isfinite(slope[1])) and np.all(np.isfinite(slope[0, 0]))


# Learned steps ---------------------------------------------------------------------------------


def steps_of(run):
    """All of LSQ's ratios in theta, of weights and of activations."""
    views = run.objective.network.views(run.theta)
    return {name: float(v[0]) for name, v in views.items() if name.rpartition(".")[2] == "step"}


def lsq_problem(**options):
    """A network with LSQ weights and unsigned LSQ activations."""
    act = QuantizedActivation(LSQ(bits=2, signed=False), 0.5)
    return Objective(models.mlp(12, 6, 3, activation=act), LSQ(bits=2, **options))


@pytest.mark.parametrize("rule", [optim.SGD(10.0, "constant"), optim.Adam(2.0, "constant")])
@pytest.mark.parametrize("estimator", [STE(), SPSA(n=2), FOGZO(n=2, beta_schedule="constant")])
def test_learned_steps_stay_positive(toy, estimator, rule):
    """Rates that would take them across 0, in `fit` and `fit_many`; they reach their least."""
    objective, options = lsq_problem(rescale=False), {"steps": 40, "batch": 50}
    runs = [fit(objective, toy, estimator, rule, **options)]
    runs += fit_many(objective, toy, estimator, [(rule, 0), (rule, 1)], **options)
    for run in runs:
        assert set(steps_of(run)) == {"act1.step", "fc1.weight.step", "fc2.weight.step"}
        assert min(steps_of(run).values()) >= 2.0**-10
    if isinstance(rule, optim.Adam) and not isinstance(estimator, FOGZO):
        assert min(steps_of(runs[0]).values()) == 2.0**-10


def test_rows_are_kept_positive_as_one_run_is(toy):
    rule, options = optim.Adam(2.0, "constant"), {"steps": 4, "batch": 50, "record_every": 1}
    one = fit(lsq_problem(), toy, STE(), rule, **options)
    (row,) = fit_many(lsq_problem(), toy, STE(), [(rule, 0)], **options)
    assert min(steps_of(one).values()) == 2.0**-10
    np.testing.assert_allclose(row.theta, one.theta, rtol=1e-4, atol=1e-5)


def test_rates_of_this_size_cross_zero_without_the_projection(toy, monkeypatch):
    """Negative control."""
    monkeypatch.setattr("minizo.network.Network.project", lambda network, theta: theta)
    run = fit(lsq_problem(rescale=False), toy, STE(), optim.Adam(2.0, "constant"), steps=40)
    assert min(steps_of(run).values()) < 0.0


def test_a_step_at_its_least_can_grow_again():
    q = LSQ(bits=2, signed=False)
    x = np.linspace(0.0, 2.0, 9)
    for step in (q.least["step"], 0.0, -3.0):
        scale = {"alpha": np.array([0.5]), "step": np.array([step])}
        w = q.quantize(x, scale)
        assert np.all(np.diff(w) >= 0.0) and w[-1] == 3 * 0.5 * 2.0**-10
        _, grads = q.backward(x, scale, np.ones_like(x))
        assert grads["step"] > 0.0  # smaller weights, smaller loss


def test_projection_touches_nothing_else():
    network = lsq_problem().network
    theta = network.init(0)
    views = network.views(theta)
    assert set(network.least) == {n for n in network.shapes if n.endswith("step")}
    np.testing.assert_array_equal(network.project(theta), theta)
    views["act1.step"][...] = -1.0
    before = theta.copy()
    new = network.project(theta)
    np.testing.assert_array_equal(theta, before)
    changed = np.flatnonzero(new != theta)
    assert changed.size == 1 and new[changed[0]] == 2.0**-10
    plain = models.mlp(12, 6, 3)
    theta = plain.init(0)
    assert plain.project(theta) is theta


@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_what_is_learned_is_either_kept_positive_or_right_with_either_sign(name):
    """Where no bound is stated, turning a learned number's sign gives what its formula says."""
    quantizer = QUANTIZERS[name]()
    x = np.random.default_rng(5).normal(size=(3, 16))
    scale = with_learned(quantizer, x)
    for part in quantizer.shapes(x.shape):
        turned = scale | {part: -scale[part]}
        w = quantizer.quantize(x, turned)
        assert np.all(np.isfinite(w))
        if part in quantizer.least:
            assert np.all(w * quantizer.quantize(x, scale) >= 0.0)  # levels keep their order
        elif part == "gain":
            np.testing.assert_array_equal(w, -quantizer.quantize(x, scale))
        elif part == "angle":
            np.testing.assert_array_equal(w, quantizer.quantize(x, scale))  # |sin h|

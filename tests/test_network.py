"""Network, models and objective: views of theta, whole gradients, counts, calibration."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minizo import Batch, InputError, Objective, models, quantizers
from minizo.layers import Flatten, Linear, ReLU
from minizo.losses import LOSSES
from minizo.network import Network
from minizo.quantizers.standardised import Standardised


def test_the_papers_network_has_7960_parameters():
    """784*10 + 10 + 10*10 + 10, and 784*10 + 10*10 multiply-accumulates a forward."""
    net = models.mlp(784, 10, 10)
    assert net.d == 7960
    assert net.macs == 7940
    # dW of both layers and dx of the upper one; dx of the images is never needed
    assert net.backward_macs == 7940 + 100


def test_views_share_memory_and_flatten_inverts_them():
    net = models.mlp(12, 5, 3)
    theta = net.init(0)
    views = net.views(theta)
    assert list(views) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert all(np.shares_memory(view, theta) for view in views.values())
    np.testing.assert_array_equal(net.flatten(views), theta)
    stack = np.stack([theta, 2 * theta])
    np.testing.assert_array_equal(net.flatten(net.views(stack)), stack)


def test_initial_weights():
    """He's standard deviation to 6 sigma, zero biases; the seed decides."""
    net = models.mlp(784, 100, 10)
    views = net.views(net.init(0, like=np.empty(0)))
    w = views["fc1.weight"]
    assert abs(np.mean(w**2) / (2 / 784) - 1) < 6 * np.sqrt(2 / w.size)
    assert not abs(np.mean(w**2) / (1 / 784) - 1) < 6 * np.sqrt(2 / w.size)
    assert not views["fc1.bias"].any()
    assert not np.array_equal(net.init(0), net.init(1))
    np.testing.assert_array_equal(net.init(0), net.init(0))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["relu", "hardtanh"])
def test_network_gradient_is_the_derivative(activation, loss):
    """Full-precision objective: the straight-through gradient is the gradient (1e-6)."""
    rng = np.random.default_rng(1)
    net = models.mlp(12, 6, 5, 3, activation=activation)
    theta = net.init(0, like=np.empty(0)) + 0.01 * rng.normal(size=net.d)
    batch = Batch(rng.normal(size=(20, 1, 1, 12)), rng.integers(0, 3, 20))
    objective = Objective(net, quantizers.FullPrecision(), loss=LOSSES[loss]()).calibrate(theta)
    value, grad, _ = objective.ste_gradient(theta, batch)
    assert value == objective.evaluate(theta, batch)
    direction, h = rng.normal(size=net.d), 1e-6
    numeric = (
        objective.evaluate(theta + h * direction, batch)
        - objective.evaluate(theta - h * direction, batch)
    ) / (2 * h)
    assert abs(grad @ direction - numeric) < 1e-6 * abs(numeric)
    assert not abs(1.01 * grad @ direction - numeric) < 1e-6 * abs(numeric)


def test_initial_weights_that_are_given(toy_net):
    """The layers' parameters as they are, copied; what a quantiser learns fits them."""
    theta = toy_net.init(3)
    objective = Objective(toy_net, quantizers.LSQ(bits=3))
    start = objective.network.init(5, values=toy_net.views(3 * theta))
    np.testing.assert_array_equal(start[: toy_net.d], 3 * theta)
    np.testing.assert_array_equal(start[toy_net.d :], 1.0)  # r = s/alpha, and alpha fits
    assert not np.shares_memory(start, theta)


def test_finite_difference_of_the_quantised_loss_is_zero(toy_problem):
    """Negative control of every gradient check: F is flat where the STE gradient is not."""
    objective, theta, batch = toy_problem
    _, grad, _ = objective.ste_gradient(theta, batch)
    weights = objective.network.slices["fc1.weight"]
    direction = np.zeros_like(theta)
    direction[weights] = grad[weights]
    h = 1e-9
    above = objective.evaluate(theta + h * direction, batch)
    assert above == objective.evaluate(theta - h * direction, batch)
    assert np.linalg.norm(grad[weights]) > 1e-3


@pytest.mark.parametrize("surrogate", ["identity", "hardtanh", "tanh", "approxsign"])
def test_ste_gradient_is_the_chain_rule_with_the_surrogates_slope(surrogate, toy_problem):
    """Independent formula: dL/dw by central differences at w = Q(theta), times Q_smooth'."""
    objective, theta, batch = toy_problem
    quantizer = quantizers.MidRise(bits=2, surrogate=surrogate)
    objective = Objective(objective.network, quantizer).calibrate(theta)
    _, grad, _ = objective.ste_gradient(theta, batch)
    exact = Objective(objective.network, quantizers.FullPrecision()).calibrate(theta)
    w = objective.network.flatten(objective.quantize(theta))
    for name, part in objective.network.slices.items():
        i = part.start + 1
        e = np.zeros_like(w)
        e[i] = 1e-6
        slope = (exact.evaluate(w + e, batch) - exact.evaluate(w - e, batch)) / 2e-6
        if name in objective.quantized and surrogate != "identity":
            alpha = objective.scales[name]
            x = theta[i : i + 1]
            smooth = (quantizer.smooth(x + 1e-6, alpha) - quantizer.smooth(x - 1e-6, alpha)) / 2e-6
            slope *= smooth[0]
        np.testing.assert_allclose(grad[i], slope, rtol=1e-5, atol=1e-9)


@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    population=st.lists(st.integers(1, 5), min_size=1, max_size=2),
    batch=st.integers(1, 5),
    quantizer=st.sampled_from([*quantizers.QUANTIZERS.values()]),
    double=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_population_axis_equals_the_loop(widths, population, batch, quantizer, double, seed):
    """F(stack) = losses one by one: 1e-12 in float64, 1e-6 in float32; gradients too."""
    dtype, tolerance = (np.float64, 1e-12) if double else (np.float32, 2e-6)
    rng = np.random.default_rng(seed)
    # one weight alone cannot be standardised
    assume(min(widths[:-1]) > 1 or not issubclass(quantizer, Standardised))
    objective = Objective(models.mlp(*widths), quantizer())
    net = objective.network  # with what the quantiser learns beside its weights
    objective = objective.calibrate(net.init(seed, np.empty(0, dtype=dtype)))
    thetas = rng.normal(size=(*population, net.d)).astype(dtype)
    data = Batch(
        rng.normal(size=(batch, 1, 1, widths[0])).astype(dtype),
        rng.integers(0, widths[-1], batch),
    )
    stacked = objective.evaluate(thetas, data)
    losses, grads, _ = objective.ste_gradient(thetas, data)
    assert stacked.shape == tuple(population) and stacked.dtype == dtype
    for index in np.ndindex(*population):
        one = objective.evaluate(thetas[index], data)
        np.testing.assert_allclose(stacked[index], one, rtol=tolerance, atol=tolerance)
        loss, grad, _ = objective.ste_gradient(thetas[index], data)
        np.testing.assert_allclose(losses[index], loss, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(grads[index], grad, rtol=50 * tolerance, atol=50 * tolerance)


def test_quantised_weights_have_the_levels(toy_problem):
    objective, theta, _ = toy_problem
    weights = objective.quantize(theta)
    for name in ("fc1.weight", "fc2.weight"):
        levels = np.unique(weights[name] / objective.scales[name])
        assert set(np.round(levels, 9)) <= {-1.5, -0.5, 0.5, 1.5}
    np.testing.assert_array_equal(weights["fc1.bias"], objective.network.views(theta)["fc1.bias"])


def test_calibration_belongs_to_one_objective(toy_problem):
    """Calibrating gives a new objective; the old one, and others, stay as they were."""
    calibrated, theta, batch = toy_problem
    fresh = replace(calibrated, scales=None)
    other = fresh.calibrate(3.0 * theta)
    assert fresh.scales is None
    np.testing.assert_allclose(other.scales["fc1.weight"], 3 * calibrated.scales["fc1.weight"])
    assert calibrated.calibrate(5.0 * theta) is calibrated
    with pytest.raises(InputError, match="no quantiser scales yet"):
        fresh.evaluate(theta, batch)


def test_matched_eps(toy_problem):
    """eps = alpha epsbar for weights; a bias takes the size of its layer's weights."""
    objective, theta, _ = toy_problem
    eps = objective.network.views(objective.matched_eps(theta))
    for layer in ("fc1", "fc2"):
        expected = objective.scales[f"{layer}.weight"] / (2 * np.sqrt(3))
        np.testing.assert_allclose(eps[f"{layer}.weight"], expected[0])
        np.testing.assert_allclose(eps[f"{layer}.bias"], expected[0])


def test_choice_of_quantised_parameters(toy_problem):
    objective, theta, _ = toy_problem
    only = Objective(objective.network, quantizers.Sign(), quantized=("fc2.weight",))
    weights = only.calibrate(theta).quantize(theta)
    assert len(np.unique(weights["fc1.weight"])) == 60
    assert len(np.unique(np.abs(weights["fc2.weight"]))) == 1


def test_matched_eps_of_layers_without_quantised_weights(toy_problem):
    """They take that of the nearest quantised layer below, or else of the lowest."""
    objective, theta, _ = toy_problem
    upper = Objective(objective.network, quantizers.Sign("tanh"), quantized=("fc2.weight",))
    upper = upper.calibrate(theta)
    np.testing.assert_allclose(
        upper.matched_eps(theta), upper.quantizer.epsbar * upper.scales["fc2.weight"][0]
    )
    lower = replace(upper, quantized=("fc1.weight",), scales=None).calibrate(theta)
    np.testing.assert_allclose(
        lower.matched_eps(theta), lower.quantizer.epsbar * lower.scales["fc1.weight"][0]
    )
    with pytest.raises(InputError, match="nothing is quantised"):
        replace(upper, quantized=(), scales=None).calibrate(theta).matched_eps(theta)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: models.mlp(784), "needs at least inputs and outputs"),
        (lambda: models.mlp(4, 2, activation="rellu"), "did you mean 'relu'"),
        (lambda: Network({}, (3,)), "a network needs at least one"),
        (
            lambda: Network({"a": Linear(4, 3), "b": ReLU(), "c": Linear(4, 2)}, (4,)),
            "layer 'c': .* it takes",
        ),
        (lambda: Network({"f": Flatten(axes=1)}, (2, 2)), "set axes to 2"),
        (lambda: models.mlp(4, 2).views(np.zeros(3)), r"theta has shape \(3,\), .* \(..., 10\)"),
        (lambda: Objective(models.mlp(4, 2), quantizers.Sign(), ("fc9.weight",)), "fc9.weight"),
        (
            lambda: Objective(models.mlp(4, 2), quantizers.Sign()).calibrate(np.zeros(10)),
            "scale of fc1.weight is 0.0",
        ),
        (
            lambda: Objective(models.mlp(4, 2), quantizers.Sign(), ())
            .calibrate(np.ones(10))
            .matched_eps(np.ones(10)),
            "give eps a number",
        ),
    ],
)  # fmt: skip
def test_bad_networks_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

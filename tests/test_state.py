"""What layers are given by name: running statistics, dropout masks, the progress of the run."""

import numpy as np
import pytest
from stateful import ESTIMATORS, IDS, network
from strategies import SIGMAS, generator

from minizo import (
    SPSA,
    STE,
    Batch,
    InputError,
    Objective,
    Step,
    quantizers,
    rng,
)
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    Flatten,
    Linear,
    Residual,
)
from minizo.network import Network


def problem(net=None, quantizer=None, dtype=np.float64, seed=0):
    """(calibrated objective, theta, batch with its noise)."""
    gen = generator(seed, 31)
    net = network() if net is None else net
    theta = net.init(seed, like=np.empty(0, dtype))
    theta += 0.1 * gen.normal(size=theta.shape).astype(dtype)
    x = gen.normal(size=(20, *net.input_shape)).astype(dtype)
    objective = Objective(net, quantizer or quantizers.MidRise("tanh")).calibrate(theta)
    noise = objective.noise(rng.at(seed, "layers", 0), 20, x)
    return objective, theta, Batch(x, gen.integers(0, 3, 20), noise)


# Names ------------------------------------------------------------------------------------------


def test_names_of_nested_layers():
    net = network()
    assert list(net.shapes) == [
        "fc1.weight", "fc1.bias", "bn1.scale", "bn1.shift", "block.fc.weight", "block.fc.bias",
        "block.bn.scale", "block.bn.shift", "fc2.weight", "fc2.bias",
    ]  # fmt: skip
    assert net.running == ("bn1.mean", "bn1.var", "block.bn.mean", "block.bn.var")
    assert net.random == ("drop1.mask", "block.drop.mask")
    quantized = Objective(net, quantizers.Sign()).quantized
    assert quantized == ("fc1.weight", "block.fc.weight", "fc2.weight")


def test_shortcut_names_and_streams():
    """The shortcut's names have a prefix; its weights are not those of the body."""
    block = Residual({"fc": Linear(5, 5)}, {"fc": Linear(5, 5)})
    assert list(block.shapes) == ["fc.weight", "fc.bias", "shortcut.fc.weight", "shortcut.fc.bias"]
    network = Network({"block": block}, (5,))
    views = network.views(network.init(0))
    assert not np.array_equal(views["block.fc.weight"], views["block.shortcut.fc.weight"])
    with pytest.raises(InputError, match="name of a layer is 'a.b', but it must be a string with"):
        Network({"a.b": Linear(5, 5)}, (5,))
    with pytest.raises(InputError, match="none of its layers may be called shortcut"):
        Residual({"shortcut": Linear(5, 5)})
    with pytest.raises(InputError, match=r"gives examples of shape \(4,\), the shortcut \(5,\)"):
        Residual({"fc": Linear(5, 4)}).output_shape((5,))


def test_every_layer_draws_numbers_of_its_own():
    net = network()
    weights = net.views(net.init(0))
    flat = [weights[name].ravel()[:20] for name in weights if name.endswith("weight")]
    assert all(not np.allclose(a / b, (a / b)[0]) for a in flat for b in flat if a is not b)
    masks = net.noise(rng.at(0, "layers", 0), 50, np.empty(0))
    assert not np.array_equal(masks["drop1.mask"], masks["block.drop.mask"])
    other = net.noise(rng.at(0, "layers", 1), 50, np.empty(0))
    assert not np.array_equal(masks["drop1.mask"], other["drop1.mask"])


def test_costs_of_nested_layers():
    """fc1, the block's and fc2; the backward leaves out dx of fc1 alone."""
    net = network()
    assert net.macs == 12 * 8 + 8 * 8 + 8 * 3
    assert net.backward_macs == 12 * 8 + 2 * (8 * 8 + 8 * 3)
    lowest = Network({"flat": Flatten(axes=1), "res": Residual({"fc": Linear(4, 4)})}, (4,))
    assert lowest.backward_macs == lowest.macs == 16


# Batch normalisation ----------------------------------------------------------------------------


@pytest.mark.parametrize("layer, shape", [(BatchNorm1d(4), (4,)), (BatchNorm2d(4), (4, 3, 5))])
def test_batch_norm_is_its_equation(layer, shape):
    """Against each channel on its own, in training and with running statistics (1e-12)."""
    gen = generator(1)
    x = 3.0 + 2.0 * gen.normal(size=(6, *shape))
    params = {"scale": gen.normal(size=4), "shift": gen.normal(size=4)}
    state = {"mean": gen.normal(size=4), "var": 0.5 + gen.random(4)}
    y, cache = layer.forward(params, x)
    used, frozen = layer.forward(params | state, x)
    seen = layer.statistics(cache)
    assert layer.statistics(frozen) == {}
    for c in range(4):
        own = x[:, c]
        z = (own - own.mean()) / np.sqrt(own.var() + 1e-5)
        np.testing.assert_allclose(y[:, c], params["scale"][c] * z + params["shift"][c], 1e-12)
        z = (own - state["mean"][c]) / np.sqrt(state["var"][c] + 1e-5)
        np.testing.assert_allclose(used[:, c], params["scale"][c] * z + params["shift"][c], 1e-12)
        np.testing.assert_allclose(seen["mean"][c], own.mean(), 1e-12)
        np.testing.assert_allclose(seen["var"][c], own.var(ddof=1), 1e-12)
    after = layer.next_state(state, seen)
    for name in ("mean", "var"):
        np.testing.assert_allclose(after[name], 0.9 * state[name] + 0.1 * seen[name])


def test_batch_norm_forgets_shift_and_size_of_its_input():
    """Training: y is the same for x and 7 x - 3 (eps is small beside it), evaluation: not."""
    layer, x = BatchNorm1d(4, eps=1e-12), generator(2).normal(size=(9, 4))
    params = layer.init(None, x)
    one, other = layer.forward(params, x)[0], layer.forward(params, 7.0 * x - 3.0)[0]
    np.testing.assert_allclose(one, other, atol=1e-9)
    given = params | layer.init_state(x)
    assert not np.allclose(layer.forward(given, x)[0], layer.forward(given, 7.0 * x - 3.0)[0])


def test_gradient_with_running_statistics():
    """mean and var given: dx has no part through them (central difference, 1e-8)."""
    layer, gen = BatchNorm2d(3), generator(3)
    x, dy, e = gen.normal(size=(3, 4, 3, 2, 2))
    params = {"scale": gen.normal(size=3), "shift": gen.normal(size=3)}
    params |= {"mean": gen.normal(size=3), "var": 0.5 + gen.random(3)}

    def value(z):
        return np.sum(layer.forward(params, z)[0] * dy)

    dx, _ = layer.backward(params, layer.forward(params, x)[1], dy)
    assert abs((value(x + 1e-6 * e) - value(x - 1e-6 * e)) / 2e-6 - np.sum(dx * e)) < 1e-8


# Dropout ----------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean():
    """A share ``rate`` of zeros and a mean of 1 (6 sigma); another rate fails the same bound."""
    n = 20000
    mask = Dropout(0.3).noise(rng.at(0, "layers", 0), (n,), 1, np.empty(0))["mask"]
    assert set(np.unique(mask)) == {0.0, 1.0 / 0.7}
    bound = SIGMAS * np.sqrt(0.3 * 0.7 / n)
    assert abs(np.mean(mask == 0.0) - 0.3) < bound < abs(np.mean(mask == 0.0) - 0.35)
    assert abs(np.mean(mask) - 1.0) < bound / 0.7


def test_dropout_forward_and_backward():
    x, dy, mask = generator(4).normal(size=(3, 5, 4))
    y, cache = Dropout().forward({"mask": mask}, x)
    np.testing.assert_array_equal(y, x * mask)
    np.testing.assert_array_equal(Dropout().backward({}, cache, dy)[0], dy * mask)
    np.testing.assert_array_equal(Dropout().forward({}, x)[0], x)
    with pytest.raises(InputError, match="Dropout.rate is 1"):
        Dropout(1)


# Network and objective --------------------------------------------------------------------------


def test_gradient_of_the_whole_network():
    """Full precision: training gradient through statistics and masks is the derivative (1e-6)."""
    objective, theta, batch = problem(quantizer=quantizers.FullPrecision())
    value, grad, _ = objective.ste_gradient(theta, batch)
    assert value == objective.evaluate(theta, batch)
    e, h = generator(5).normal(size=theta.shape), 1e-6
    above, below = (objective.evaluate(theta + s * h * e, batch) for s in (1, -1))
    numeric = (above - below) / (2 * h)
    assert abs(grad @ e - numeric) < 1e-6 * abs(numeric)
    assert not abs(1.01 * grad @ e - numeric) < 1e-6 * abs(numeric)
    without = replace_noise(batch)
    assert objective.evaluate(theta, without) != value


def replace_noise(batch, noise=None):
    return batch._replace(noise=noise)


def test_population_has_statistics_of_its_own():
    """F, gradient and statistics of a stack are those one by one (1e-12)."""
    objective, theta, batch = problem()
    stack = theta + 0.3 * generator(6).normal(size=(2, 3, theta.size))
    losses = objective.evaluate(stack, batch)
    found = objective.ste_gradient(stack, batch)
    for i, j in np.ndindex(2, 3):
        one = objective.ste_gradient(stack[i, j], batch)
        np.testing.assert_allclose(losses[i, j], one.loss, 1e-12)
        np.testing.assert_allclose(found.gradient[i, j], one.gradient, 1e-9, 1e-12)
        for name in objective.network.running:
            np.testing.assert_allclose(found.statistics[name][i, j], one.statistics[name], 1e-12)


def test_outputs_use_the_running_statistics():
    """One example's output does not depend on its companions; without a state it is refused."""
    objective, theta, batch = problem()
    state = objective.network.init_state(theta)
    whole = objective.outputs(theta, batch.x, state)
    np.testing.assert_allclose(objective.outputs(theta, batch.x[:3], state), whole[:3], 1e-12)
    with pytest.raises(InputError, match=r"state has no bn1.mean, .* run.state"):
        objective.outputs(theta, batch.x)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_estimators_hand_on_what_theta_itself_saw(estimator):
    """Statistics of every estimator are those of the forward at the unperturbed theta."""
    objective, theta, batch = problem()
    expected = objective.statistics(theta, batch)
    state = estimator.init(objective, theta)
    for index in (0, 9):
        estimate, _ = estimator.estimate(objective, theta, batch, state, Step(0, index, 10))
        for name in objective.network.running:
            np.testing.assert_array_equal(estimate.statistics[name], expected[name])
    extra = {STE: 1, SPSA: 2 * 40 + 1}
    assert estimate.forwards == extra.get(type(estimator), 2 * getattr(estimator, "n", 0) + 1)


def test_networks_without_state_pay_nothing(toy_problem):
    """No extra forward, no statistics, no noise, no copy of the state or of the objective."""
    objective, theta, batch = toy_problem
    estimate, _ = SPSA(n=2).estimate(objective, theta, batch, SPSA().init(objective, theta), Step())
    assert estimate.forwards == 4 and estimate.statistics == {}
    assert objective.noise(rng.at(0, "layers", 0), 20, theta) is None
    assert objective.at(0.5) is objective
    state = objective.network.init_state(theta)
    assert state == {} and objective.network.next_state(state, {}) is state

"""What layers are given by name: running statistics, dropout masks, the progress of the run."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from strategies import SIGMAS, generator

from minizo import (
    FOGZO,
    SPSA,
    STE,
    Batch,
    Estimate,
    InputError,
    Objective,
    Step,
    backend,
    fit,
    optim,
    quantizers,
    rng,
    threads,
)
from minizo import checkpoint as checkpoints
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    Flatten,
    Linear,
    QuantizedActivation,
    ReLU,
    Residual,
)
from minizo.network import Network
from minizo.records import COLUMNS

ESTIMATORS = [STE(), SPSA(n=40), FOGZO(n=8), FOGZO(n=3, ste_share=0.5)]
IDS = ["ste", "spsa", "fogzo", "fogzo-scheduled"]


def network(rate=0.2, act=None):
    """12-8-8-3 with normalisation, dropout, and a residual block that has both, too."""
    block = {"fc": Linear(8, 8), "bn": BatchNorm1d(8), "drop": Dropout(rate), "act": ReLU()}
    layers = {
        "flatten": Flatten(),
        "fc1": Linear(12, 8),
        "bn1": BatchNorm1d(8),
        "act1": ReLU() if act is None else act,
        "drop1": Dropout(rate),
        "block": Residual(block),
        "fc2": Linear(8, 3),
    }
    return Network(layers, (1, 1, 12))


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


def run(toy, estimator, **options):
    options = {"steps": 20, "batch": 50, "seed": 1, **options}
    objective = Objective(network(), quantizers.MidRise())
    return fit(objective, toy, estimator, optim.Adam(0.02), **options)


# Names ------------------------------------------------------------------------------------------


def test_names_of_nested_layers():
    net = network()
    assert list(net.shapes) == [
        "fc1.weight", "fc1.bias", "bn1.scale", "bn1.shift", "block.fc.weight", "block.fc.bias",
        "block.bn.scale", "block.bn.shift", "fc2.weight", "fc2.bias",
    ]  # fmt: skip
    assert net.running == ("bn1.mean", "bn1.var", "block.bn.mean", "block.bn.var")
    assert net.stack.random == ("drop1.mask", "block.drop.mask")
    quantized = Objective(net, quantizers.Sign()).quantized
    assert quantized == ("fc1.weight", "block.fc.weight", "fc2.weight")


def test_shortcut_names_and_streams():
    """The shortcut's names have a prefix; its weights are not those of the body."""
    block = Residual({"fc": Linear(5, 5)}, {"fc": Linear(5, 5)})
    assert list(block.shapes) == ["fc.weight", "fc.bias", "shortcut.fc.weight", "shortcut.fc.bias"]
    values = block.init(rng.at(0, "init"), np.empty(0))
    assert not np.array_equal(values["fc.weight"], values["shortcut.fc.weight"])
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


# Training ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_training_learns(toy, estimator):
    """From above log 3 to below 0.5 with running statistics in the evaluation."""
    result = run(toy, estimator, steps=300)
    assert result.records["train_loss"][0] > 0.9
    assert result.final("train_loss") < 0.5
    outputs = result.objective.outputs(result.theta, toy.x_test, result.state)
    assert np.mean(outputs.argmax(-1) == toy.y_test) == result.final("test_accuracy")


def test_running_statistics_by_hand(toy):
    """20 steps: from the first batch's on, a moving average of what the batches said."""
    seen = []

    class Watching(STE):
        def estimate(self, objective, theta, batch, state, step):
            seen.append(objective.statistics(theta, batch))
            return super().estimate(objective, theta, batch, state, step)

    result = run(toy, Watching())
    for name in result.objective.network.running:
        expected = seen[0][name]
        for statistics in seen:
            expected = 0.9 * expected + 0.1 * statistics[name]
        np.testing.assert_allclose(result.state[name], expected, 1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
@pytest.mark.parametrize("stop", [1, 8, 19])
def test_resumed_equals_never_stopped(toy, estimator, stop, tmp_path):
    """theta, running statistics, masks and records: the same bits after an interruption."""

    class Killed(BaseException):
        pass

    def kill(step, loss):
        if step == stop:
            raise Killed

    path = tmp_path / "run.npz"
    whole = run(toy, estimator)
    with pytest.raises(Killed):
        run(toy, estimator, progress=kill, path=path, checkpoint_every=7)
    resumed = run(toy, estimator, path=path, checkpoint_every=7, resume=True)
    assert backend.sha256(resumed.theta) == backend.sha256(whole.theta)
    for name, value in whole.state.items():
        np.testing.assert_array_equal(resumed.state[name], value)
        assert resumed.state[name].dtype == value.dtype == np.float32
    for column in set(COLUMNS) - {"seconds"}:
        assert resumed.records[column] == whole.records[column]
    _, arrays = checkpoints.load(path)
    np.testing.assert_array_equal(arrays["state.running.bn1.mean"], whole.state["bn1.mean"])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_same_bits_whatever_the_pool(toy, estimator):
    reference = run(toy, estimator)
    with threads(3, 2**20) as pool:
        other = run(toy, estimator, pool=pool)
    assert backend.sha256(other.theta) == backend.sha256(reference.theta)
    for name, value in reference.state.items():
        np.testing.assert_array_equal(other.state[name], value)


def test_an_estimator_without_statistics_is_refused(toy):
    class Forgetful(STE):
        def estimate(self, objective, theta, batch, state, step):
            found, state = super().estimate(objective, theta, batch, state, step)
            return Estimate(found.grad, found.loss, 1, 1), state

    with pytest.raises(InputError, match="no batch statistics for bn1.mean"):
        run(toy, Forgetful())


# Quantised activations --------------------------------------------------------------------------


@pytest.mark.parametrize("surrogate", ["identity", "hardtanh", "tanh", "approxsign"])
@pytest.mark.parametrize("quantizer", [quantizers.Sign, quantizers.MidRise, quantizers.MidTread])
def test_quantised_activation(quantizer, surrogate):
    """Forward: the staircase. Backward: the derivative of its smoothing, as central difference."""
    gen = generator(7)
    layer = QuantizedActivation(quantizer(surrogate), 0.7)
    x, dy = gen.normal(size=(2, 4, 5))
    y, cache = layer.forward({}, x)
    np.testing.assert_array_equal(y, layer.quantizer.quantize(x, 0.7))
    dx, _ = layer.backward({}, cache, dy)
    above, below = (layer.quantizer.smooth(x + h, 0.7) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(dx, dy * (above - below) / 2e-6, 1e-6, 1e-8)
    with pytest.raises(InputError, match="QuantizedActivation.scale is 0.0"):
        QuantizedActivation(quantizer(), 0.0)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_training_with_binary_activations(toy, estimator):
    net = network(0.0, QuantizedActivation(quantizers.Sign("hardtanh")))
    objective = Objective(net, quantizers.Sign("hardtanh"))
    result = fit(objective, toy, estimator, optim.Adam(0.02), steps=300, batch=50)
    assert result.final("train_loss") < 0.7 < result.records["train_loss"][0]


# Progress ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sharpening(quantizers.Sign):
    """A sign whose slope is 1 at the start and 0 at the end; notes no history."""

    slope: float = 1.0

    def at(self, progress):
        """Slope 1 - progress."""
        return replace(self, slope=1.0 - progress)

    def derivative(self, x, alpha):
        """The slope, everywhere."""
        return np.full_like(x, self.slope)


def test_progress_reaches_quantisers_and_activations(toy):
    """Step t of T is made at progress t / T, in weights and in nested activations."""
    inner = {"fc": Linear(8, 8), "act": QuantizedActivation(Sharpening())}
    layers = {"flatten": Flatten(), "fc1": Linear(12, 8), "block": Residual(inner)}
    net = Network(layers | {"fc2": Linear(8, 3)}, (1, 1, 12))
    slopes = []

    class Watching(STE):
        def estimate(self, objective, theta, batch, state, step):
            act = objective.network.layers["block"].body["act"]
            slopes.append((objective.quantizer.slope, act.quantizer.slope))
            return super().estimate(objective, theta, batch, state, step)

    objective = Objective(net, Sharpening())
    result = fit(objective, toy, Watching(), optim.Adam(0.01), steps=5, batch=50)
    assert slopes == [(1.0 - t / 5, 1.0 - t / 5) for t in range(5)]
    assert result.objective.quantizer.slope == 0.0
    assert objective.quantizer.slope == 1.0 and net.layers["block"].body["act"].quantizer.slope == 1

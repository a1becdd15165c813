"""The zoo at work: quantised activations, Bop, every quantiser under every estimator, resume."""

import numpy as np
import pytest
from strategies import generator, small_network

from minizo import (
    FOGZO,
    SPSA,
    STE,
    Batch,
    BinaryConnect,
    InputError,
    MultiFC,
    Objective,
    ProxQuant,
    backend,
    fit,
    models,
    quantizers,
    rng,
)
from minizo.group import batches
from minizo.layers import Linear, QuantizedActivation
from minizo.network import Network
from minizo.optim import SGD, Adam, Bop
from minizo.recipe import Recipe

ZOO = sorted(quantizers.QUANTIZERS)
ESTIMATORS = (STE(), SPSA(n=5, eps=0.05), FOGZO(n=2, eps=0.05, beta_schedule="constant"))


def net_of(activation="relu"):
    """A network whose filters have a size that can be factored: 12-6-3."""
    return models.mlp(12, 6, 3, activation=activation)


def digest(run):
    """SHA-256 of the latent parameters."""
    return backend.sha256(run.theta)


# Objectives ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
def test_the_gradient_of_an_objective_is_put_together_from_the_backward_rules(name):
    """Tensor by tensor, and what is learned beside it; a population is a loop."""
    objective, theta, batch = small_network(quantizers.QUANTIZERS[name](), np.float64)
    objective = objective.at(0.3)
    if objective.network.d != theta.shape[0]:
        theta = objective.network.init(0, like=np.empty(0)) + 0.01
        objective = Objective(objective.network, objective.quantizer).calibrate(theta)
    batch = batch._replace(noise=objective.noise(_stream(), 8, theta))
    found = objective.ste_gradient(theta, batch)
    inner = objective.weight_gradient(theta, batch)
    views, ours = objective.network.views(theta), objective.network.views(found.gradient)
    for tensor in objective.quantized:
        x = objective.cut(theta, tensor)
        beside = objective.beside(tensor, views, batch.noise)
        dw = inner.gradient[tensor].reshape(x.shape)
        dx, own = objective.quantizer.backward(x, beside, dw)
        np.testing.assert_array_equal(ours[tensor].reshape(x.shape), dx)
        for part, value in own.items():
            np.testing.assert_array_equal(ours[f"{tensor}.{part}"], value)
    np.testing.assert_array_equal(ours["fc1.bias"], inner.gradient["fc1.bias"])
    stack = np.stack([theta, 1.1 * theta])
    both = objective.ste_gradient(stack, batch)
    np.testing.assert_allclose(both.gradient[0], found.gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(objective.evaluate(stack, batch)[0], found.loss, rtol=1e-12)


def _stream():
    return rng.at(0, "layers", 0)


@pytest.mark.parametrize("name", ZOO)
def test_strict_objectives(name):
    """Loss, gradient, refresh and a population on array-api-strict's fake device equal NumPy's."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")
    gen = generator(6)
    x, labels = gen.normal(size=(10, 1, 1, 12)), np.arange(10) % 3
    answers = []
    for move in (np.asarray, lambda a: strict.asarray(np.asarray(a), device=device)):
        objective = Objective(net_of(), quantizers.QUANTIZERS[name]())
        theta = objective.network.init(0, like=move(np.empty(0)))
        objective = objective.calibrate(theta).at(0.5)
        theta = objective.refresh(theta)
        like = move(np.empty(0))
        batch = Batch(move(x), move(labels), objective.noise(_stream(), 10, like))
        found = objective.ste_gradient(theta, batch)
        xp = backend.namespace(theta)
        stack = xp.stack([theta, 0.9 * theta])
        answers.append((theta, found.loss, found.gradient, objective.evaluate(stack, batch)))
    for reference, ours in zip(*answers, strict=True):
        assert ours.device == device
        np.testing.assert_allclose(backend.to_numpy(ours), reference, rtol=1e-9, atol=1e-11)


def test_what_is_learned_lies_at_the_end_of_theta():
    """LSQ's steps and RBNN's rotations by name, after all parameters of the layers."""
    objective = Objective(net_of(), quantizers.LSQ())
    assert list(objective.network.shapes)[-2:] == ["fc1.weight.step", "fc2.weight.step"]
    assert objective.network.d == net_of().d + 2
    assert "fc1.weight.step" in objective.network.describe()
    rotated = Objective(net_of(), quantizers.RBNN())
    assert rotated.network.shapes["fc1.weight.R1"] == (3, 3)
    assert rotated.kept == tuple(f"fc{i}.weight.{r}" for i in (1, 2) for r in ("R1", "R2"))
    theta = rotated.network.init(0)
    state = SPSA(eps=0.1).init(rotated.calibrate(theta), theta)
    assert not state.moved[rotated.network.slices["fc1.weight.R1"]].any()


def test_matched_noise_covers_what_is_learned():
    """LSQ: eps of a step is that of its tensor, and of a filter's step that of its filters."""
    objective = Objective(net_of(), quantizers.LSQ())
    theta = objective.network.init(0)
    objective = objective.calibrate(theta)
    eps, slices = objective.matched_eps(theta), objective.network.slices
    assert eps[slices["fc2.weight.step"]] == eps[slices["fc2.weight"]][0]
    objective = Objective(net_of(), quantizers.LSQ(per="filter"))
    theta = objective.network.init(0)
    objective = objective.calibrate(theta)
    views = objective.network.views(objective.matched_eps(theta))
    assert np.all(np.diff(views["fc2.weight"][:, 0]) != 0.0)
    assert np.ptp(views["fc2.weight"], axis=1).max() == 0.0
    np.testing.assert_allclose(views["fc2.weight.step"], views["fc2.weight"].mean(), rtol=1e-6)


# Training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=["ste", "spsa", "fogzo"])
def test_every_quantiser_trains_under_every_estimator(toy, name, estimator):
    """40 steps lower the training loss, and the weights in use are quantised."""
    quantizer = quantizers.QUANTIZERS[name]()
    run = fit(Objective(net_of(), quantizer), toy, estimator, Adam(0.01), steps=40)
    assert run.final("train_loss") < run.records["train_loss"][0]
    if quantizer.levels and name != "stochastic":
        for tensor in run.objective.quantized:
            rows = run.weights[tensor]
            rows = rows if quantizer.by_filter else rows.reshape(1, -1)
            assert all(len(np.unique(row)) <= quantizer.levels for row in rows)


@pytest.mark.parametrize(
    "quantizer, optimizer, estimator",
    [
        (quantizers.RBNN(), Adam(0.01), STE()),
        (quantizers.FDA(), Adam(0.01), FOGZO(n=1, eps=0.05, beta_schedule="constant")),
        (quantizers.LSQ(), Adam(0.01), SPSA(n=2)),
        (quantizers.IRNet(), Adam(0.01), STE()),
        (quantizers.Stochastic(), Adam(0.01), BinaryConnect(clip=1.0)),
        (quantizers.Sign(), Bop(0.01, gamma=0.05), FOGZO(n=1, beta_schedule="constant")),
    ],
    ids=lambda item: type(item).__name__,
)
def test_resumed_equals_never_stopped(toy, quantizer, optimizer, estimator, tmp_path):
    """Stopped between two epochs' rotations, schedules, coins and flips: the same bits."""

    class Killed(Exception):
        pass

    def kill(step, loss):
        if step == 11:
            raise Killed

    def run(**options):
        objective = Objective(net_of(), quantizer)
        return fit(objective, toy, estimator, optimizer, steps=20, batch=50, seed=1, **options)

    whole = run()
    options = {"path": tmp_path / "run.npz", "checkpoint_every": 7}
    with pytest.raises(Killed):
        run(progress=kill, **options)
    resumed = run(resume=True, **options)
    assert digest(resumed) == digest(whole)
    assert resumed.records["train_loss"] == whole.records["train_loss"]


def test_rotations_are_made_anew_at_every_epoch_and_only_there(toy):
    """8 steps an epoch: R1 changes after 8 and 16 steps, not in between."""
    seen = []

    def watch(objective, state):
        seen.append(objective.network.views(state.theta)["fc1.weight.R1"].copy())
        return 0.0

    fit(
        Objective(net_of(), quantizers.RBNN()), toy, STE(), Adam(0.01),
        steps=18, batch=50, record_every=1, watch={"seen": watch},
    )  # fmt: skip
    changes = [i for i in range(1, 19) if not np.array_equal(seen[i], seen[i - 1])]
    assert changes == [1, 9, 17]  # with the step that follows the refresh


def test_a_detached_rotation_never_starts_under_sgd(toy):
    """No latent weight moves in 40 steps; with the paper's gradient, and with Adam, they do."""

    def moved(detached, rule):
        objective = Objective(net_of(), quantizers.RBNN(detach_rotation=detached))
        run = fit(objective, toy, STE(), rule, steps=40)
        views = run.objective.network.views
        return np.abs(views(run.theta - objective.network.init(0))["fc1.weight"]).max()

    assert moved(True, SGD(0.1)) == 0.0
    assert moved(False, SGD(0.1)) > 0.01
    assert moved(True, Adam(0.01)) > 0.01


def test_rules_that_cannot_use_a_quantiser_say_so():
    """Proximal rules and what is learned; learned gradients and backwards that are not diagonal."""
    for estimator, name, words in (
        (ProxQuant(), "lsq", "learns parameters of its own"),
        (ProxQuant(), "fda", "learns parameters of its own"),
        (ProxQuant(), "stochastic", "and Stochastic draws them"),
        (MultiFC(), "irnet", "a diagonal backward"),
        (MultiFC(), "reste", "a diagonal backward"),
    ):
        objective = Objective(net_of(), quantizers.QUANTIZERS[name]())
        theta = objective.network.init(0)
        with pytest.raises(InputError, match=words):
            estimator.init(objective.calibrate(theta), theta)


def test_proximal_rules_and_learned_gradients_by_filter(toy):
    """A scale for each filter goes through both."""
    for estimator in (ProxQuant(lam=1e-3), BinaryConnect(), MultiFC(units=3)):
        run = fit(Objective(net_of(), quantizers.Xnor()), toy, estimator, Adam(0.01), steps=40)
        assert run.final("train_loss") < run.records["train_loss"][0]


def test_stochastic_coins_belong_to_the_batch(toy):
    """The same batch, the same loss; another batch, other coins; no coins, the weights in use."""
    objective = Objective(net_of(), quantizers.Stochastic())
    theta = objective.network.init(0)
    objective = objective.calibrate(theta)
    x, labels = toy.x_train[:20], toy.y_train[:20]
    losses = []
    for seed in (0, 0, 1):
        noise = objective.noise(rng.at(seed, "layers", 3), 20, theta)
        losses.append(float(objective.evaluate(theta, Batch(x, labels, noise))))
    assert losses[0] == losses[1] != losses[2]
    alpha = objective.scales["fc1.weight"]
    latent = objective.network.views(theta)["fc1.weight"]
    np.testing.assert_array_equal(
        objective.quantize(theta)["fc1.weight"], np.clip(latent, -alpha, alpha)
    )


# Activations -----------------------------------------------------------------------------------

ACTIVATIONS = {
    "sign": QuantizedActivation(quantizers.Sign("approxsign")),
    "ede": QuantizedActivation(quantizers.Sign("ede")),
    "rbnn": QuantizedActivation(quantizers.Sign("rbnn-activation")),
    "dorefa": QuantizedActivation(quantizers.DoReFaActivation(bits=3)),
    "lsq": QuantizedActivation(quantizers.LSQ(bits=3, signed=False), 0.4),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    "estimator", [STE(), SPSA(n=4, eps=0.1), FOGZO(n=1, beta_schedule="constant")], ids=str
)
def test_quantised_activations_train_under_every_estimator(toy, name, estimator):
    """2-bit weights below them; 60 steps lower the loss."""
    objective = Objective(net_of(ACTIVATIONS[name]), quantizers.MidRise())
    run = fit(objective, toy, estimator, Adam(0.02), steps=60)
    assert run.final("train_loss") < run.records["train_loss"][0]


def test_the_step_of_an_activation():
    """Its gradient is LSQ's over all numbers of the layer, a population a loop."""
    layer = QuantizedActivation(quantizers.LSQ(bits=2, signed=False), 0.5, axes=2)
    gen = generator(8)
    x, dy = gen.normal(size=(2, 5, 3, 4)), gen.normal(size=(2, 5, 3, 4))
    params = {"step": np.array([[1.0], [1.7]])}
    y, cache = layer.forward(params, x)
    dx, grads = layer.backward(params, cache, dy)
    for i in range(2):
        own = {"alpha": 0.5, "step": params["step"][i]}
        flat = x[i].reshape(-1)
        np.testing.assert_array_equal(y[i].reshape(-1), layer.quantizer.quantize(flat, own))
        one, step = layer.quantizer.backward(flat, own, dy[i].reshape(-1))
        np.testing.assert_allclose(dx[i].reshape(-1), one)
        np.testing.assert_allclose(grads["step"][i], step["step"])
    assert layer.shapes == {"step": (1,)}
    net = Network({"fc1": Linear(4, 3), "act1": layer, "fc2": Linear(3, 2)}, (4,))
    assert net.shapes["act1.step"] == (1,)


def test_activations_need_a_quantiser_that_looks_at_one_number():
    """Those that fit themselves to a tensor, or draw coins, are refused."""
    for quantizer in (quantizers.Ternary(), quantizers.Xnor(), quantizers.Stochastic()):
        with pytest.raises(InputError, match="quantises number by number"):
            QuantizedActivation(quantizer)


# Bop -------------------------------------------------------------------------------------------


def test_bop_against_a_plain_loop(toy):
    """20 steps, weight by weight: only signs change, biases follow Adam."""
    optimizer = Bop(0.02, gamma=0.1, threshold=1e-4)
    run = fit(Objective(net_of(), quantizers.Sign()), toy, STE(), optimizer, steps=20, batch=50)
    start = net_of().init(0)
    theta, objective = start.copy(), run.objective
    feed = batches(Recipe(objective, toy, None, None, 20, 50, 0, 1), 0)
    binary = np.zeros(theta.shape[0], bool)
    for name in objective.quantized:
        binary[objective.network.slices[name]] = True
    m, adam = np.zeros_like(theta), Adam(0.02)
    state, flips = adam.init(theta), 0
    for t in range(20):
        g = objective.ste_gradient(theta, next(feed)).gradient
        follow, state = adam.update(g, state, theta, t / 20)
        for i in range(theta.shape[0]):
            m[i] = np.float32((1 - 0.1) * m[i] + 0.1 * g[i])
            if not binary[i]:
                theta[i] = follow[i]
            elif (m[i] if theta[i] >= 0 else -m[i]) > 1e-4:
                theta[i], flips = -theta[i], flips + 1
    np.testing.assert_allclose(run.theta, theta, rtol=1e-5, atol=1e-6)
    assert flips > 10
    np.testing.assert_array_equal(np.abs(run.theta[binary]), np.abs(start[binary]))
    assert run.final("train_loss") < run.records["train_loss"][0]


def test_bop_needs_binary_weights():
    theta = net_of().init(0)
    for quantizer in (quantizers.MidRise(), quantizers.Ternary(), quantizers.FullPrecision()):
        with pytest.raises(InputError, match="Bop flips binary weights"):
            Bop().init(theta, Objective(net_of(), quantizer))
    for quantizer in (quantizers.Sign(), quantizers.Xnor(), quantizers.MidRise(bits=1)):
        Bop().init(theta, Objective(net_of(), quantizer))
    for bad in (dict(gamma=0.0), dict(gamma=1.5), dict(threshold=-1.0)):
        with pytest.raises(InputError, match="Bop"):
            Bop(**bad)

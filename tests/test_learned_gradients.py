"""MetaQuant, FSG, controls: generators, the derivative through the look-ahead, the training."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from test_hypernets import mamba_by_hand

from minizo import (
    Batch,
    Diverged,
    InputError,
    Objective,
    Step,
    backend,
    fit,
    models,
    optim,
    rng,
    threads,
)
from minizo import checkpoint as checkpoints
from minizo.estimators import (
    ESTIMATORS,
    FSG,
    LSTMFC,
    STE,
    FastOnly,
    FCGrad,
    FSGAverage,
    FSGGain,
    FSGScaled,
    Gain,
    LayerGain,
    MultiFC,
)
from minizo.hypernets import LSTM, MLP, Mamba, generators
from minizo.hypernets.generators import Average, Factor, Given
from minizo.hypernets.slow import SlowNet
from minizo.layers import BatchNorm1d, Flatten, Linear, ReLU
from minizo.network import Network
from minizo.quantizers import DoReFa, MidRise

TINY = {"expand": 4, "states": 3, "kernel": 4, "units": 5, "length": 3}

NETS = [
    Factor(MLP((1, 4, 1)), by_weight=False),
    Factor(MLP((1, 4, 3, 1)), by_weight=True),
    generators.LSTMFC(LSTM(1, 3)),
    generators.Gain(),
    generators.Gain(2),
    SlowNet(Mamba(1, 4, 3, 4), 2),
    SlowNet(Mamba(1, 4, 3, 4), 2, "coord"),
    SlowNet(Mamba(1, 4, 3, 4), 2, scaled=True),
    SlowNet(Mamba(3, 2, 2, 3), 2),
    SlowNet(Mamba(3, 2, 2, 3), 2, "coord"),
    SlowNet(LSTM(1, 3), 2, "coord"),
    SlowNet(LSTM(2, 3), 2, "coord", scaled=True),
    SlowNet(LSTM(1, 3), 2),
]

ALL = [
    FCGrad(units=5),
    FCGrad(units=5, lookahead="stale"),
    MultiFC(units=5),
    MultiFC(units=5, lookahead="raw", hyper_optimizer="sgd"),
    LSTMFC(units=5),
    FSG(**TINY),
    FSG(**TINY, layout="coord", lookahead="refined"),
    FSG(**TINY, token=2, start="uniform"),
    FSG(**TINY, slow_net="lstm", commit="fast_only"),
    FSG(**TINY, slow_net="lstmfc"),
    Gain(),
    LayerGain(),
    FastOnly(**TINY),
    FSGGain(**TINY),
    FSGAverage(**TINY),
    FSGScaled(**TINY),
]


def given(seed=0, weights=5, length=3, layer=1, dtype=np.float64):
    """What is known of a layer, and its upstream gradient."""
    generator = np.random.default_rng(seed)
    history = generator.normal(size=(length, weights)).astype(dtype)
    squashed = generator.random(weights).astype(dtype)
    return Given(layer, history[-1], squashed, history), generator.normal(size=weights).astype(
        dtype
    )


def started(net, dtype=np.float64, seed=0):
    """Parameters away from their start, as a vector."""
    phi = net.flatten(net.init(rng.at(seed, "hypernet", 0), np.empty(0, dtype)))
    return (phi + 0.2 * np.random.default_rng(seed).normal(size=phi.shape)).astype(dtype)


# Generators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS, ids=str)
def test_pull_back_is_the_derivative(net):
    """Every parameter by central differences, 1e-6 of the largest; carried states are constant."""
    known, df = given()
    phi = started(net)
    # the second call, so that an LSTM starts from a state that is not 0
    _, start, _ = net.generate(net.views(phi), known, net.rest(5, phi))
    _, _, cache = net.generate(net.views(phi), known, start)
    gradient = net.flatten(net.pull_back(net.views(phi), cache, df))
    numeric = np.empty_like(phi)
    for i, unit in enumerate(np.eye(len(phi)) * 1e-5):
        above, below = (
            net.generate(net.views(phi + sign * unit), known, start)[0] for sign in (1.0, -1.0)
        )
        numeric[i] = np.sum(df * (above - below)) / 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-6 * np.abs(numeric).max())
    assert np.abs(numeric).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("net", [*NETS, Average()], ids=str)
def test_generators_are_pure_and_keep_the_dtype(net, dtype):
    known, df = given(dtype=dtype)
    params = net.init(rng.at(0, "hypernet", 0), np.empty(0, dtype))
    before = [v.copy() for v in (*params.values(), *known[1:], df)]
    f, carried, cache = net.generate(params, known, net.rest(5, df))
    grads = net.pull_back(params, cache, df)
    assert f.shape == (5,)
    assert {v.dtype for v in (f, *carried, *params.values(), *grads.values())} == {np.dtype(dtype)}
    for value, kept in zip((*params.values(), *known[1:], df), before, strict=True):
        np.testing.assert_array_equal(value, kept)
    again = net.generate(params, known, net.rest(5, df))
    np.testing.assert_array_equal(f, again[0])


def test_factors_are_numbers():
    """FCGrad is c g and MultiFC c g Wh, c by the passes through the layers one weight at a time."""
    known, _ = given()
    for mlp, by_weight in ((MLP((1, 4, 1)), False), (MLP((1, 4, 3, 1)), True)):
        net = Factor(mlp, by_weight)
        params = net.views(started(net))
        f, _, _ = net.generate(params, known, ())
        if by_weight:
            naive = known.gradient * mlp.forward(params, known.squashed[:, None])[0][:, 0]
        else:
            naive = mlp.forward(params, known.gradient[:, None])[0][:, 0]
        np.testing.assert_allclose(f, naive, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 3])
def test_slow_net_reads_the_last_outputs_of_one_long_sequence(length):
    """[e_i; h_1 ... h_m] in a line, time outside, against the step-by-step recurrence: 1e-12."""
    net = SlowNet(Mamba(1, 4, 3, 4), 2)
    params = net.views(started(net))
    known, _ = given(length=length)
    line = np.concatenate([params["LRE"][1], known.history.ravel()])[:, None]
    expected = mamba_by_hand(params, line)[-5:, 0]
    np.testing.assert_allclose(net.generate(params, known, ())[0], expected, rtol=1e-11)


def test_coord_is_one_sequence_a_weight():
    """[e_i; h_1j; ...; h_mj] for every weight j, its last output."""
    net = SlowNet(Mamba(1, 4, 3, 4), 2, "coord")
    params = net.views(started(net))
    known, _ = given()
    expected = [
        mamba_by_hand(params, np.concatenate([params["LRE"][1], column])[:, None])[-1, 0]
        for column in known.history.T
    ]
    np.testing.assert_allclose(net.generate(params, known, ())[0], expected, rtol=1e-11)


@pytest.mark.parametrize("weights", [1, 2, 5])
def test_flat_is_coord_for_one_weight_only(weights):
    flat, coord = (SlowNet(Mamba(1, 4, 3, 4), 2, layout) for layout in ("flat", "coord"))
    params = flat.views(started(flat))
    known, _ = given(weights=weights)
    a, b = (net.generate(params, known, ())[0] for net in (flat, coord))
    assert np.allclose(a, b, rtol=1e-12, atol=1e-15) == (weights == 1)


def test_zero_gate_of_the_slow_nets():
    """g = 0 gives S = 0 with Mamba, in either layout, wide or scaled; an LSTM's S is not 0."""
    known, _ = given()
    history = known.history.copy()
    history[-1, ::2] = 0.0
    known = Given(1, history[-1], known.squashed, history)
    for net in NETS:
        if isinstance(net, SlowNet):
            s = net.generate(net.views(started(net)), known, ())[0]
            if isinstance(net.model, Mamba):
                np.testing.assert_array_equal(s[::2], 0.0)
                assert np.all(s[1::2] != 0.0)
            else:
                assert np.all(np.abs(s) > 1e-6)


def test_a_layer_is_recognised():
    """Another layer's embedding gives another S, and only this layer's gets a gradient."""
    net = SlowNet(Mamba(1, 4, 3, 4), 3)
    params = net.views(started(net))
    known, ds = given()
    s, _, cache = net.generate(params, known, ())
    assert not np.allclose(s, net.generate(params, known._replace(layer=2), ())[0], rtol=1e-6)
    lre = net.pull_back(params, cache, ds)["LRE"]
    assert lre[1, 0] != 0.0 and not lre[[0, 2]].any()


def test_scaled_slow_net_does_not_depend_on_the_size_of_gradients():
    """S(1000 h) = 1000 S(h) to rounding with scaled, not without. A history of zeros is fine."""
    known, _ = given()
    large = Given(1, 1e3 * known.gradient, known.squashed, 1e3 * known.history)
    for scaled in (True, False):
        net = SlowNet(Mamba(1, 4, 3, 4), 2, scaled=scaled)
        params = net.views(started(net))
        s, big = (net.generate(params, k, ())[0] for k in (known, large))
        assert np.allclose(big, 1e3 * s, rtol=1e-10) == scaled
    none = Given(1, 0 * known.gradient, known.squashed, 0 * known.history)
    np.testing.assert_array_equal(net.generate(params, none, ())[0], 0.0)


def test_average_is_its_equation():
    """(1 - mu) sum_k mu^k g_{t-k} after 4 steps."""
    net, carried, gs = Average(0.7), (np.zeros(5),), np.random.default_rng(0).normal(size=(4, 5))
    for g in gs:
        f, carried, _ = net.generate({}, Given(0, g, g, g[None]), carried)
    expected = 0.3 * sum(0.7**k * g for k, g in enumerate(gs[::-1]))
    np.testing.assert_allclose(f, expected, rtol=1e-12)


# The derivative through the look-ahead ---------------------------------------------------------


@dataclass(frozen=True)
class Smooth(DoReFa):
    """DoReFa without its staircase, M constant: the function that the STE differentiates."""

    def squash(self, x):
        """tanh(x) / (2 M) + 1/2 with one M for good; it is not called with alpha."""
        return np.tanh(x) / 1.8 + 0.5

    def quantize(self, x, alpha):
        """2 A(x) - 1."""
        return 2.0 * self.squash(x) - 1.0

    def derivative(self, x, alpha):
        """Its exact derivative."""
        return (1.0 - np.tanh(x) ** 2) / 0.9


def problem(quantizer, network=None, seed=3, dtype=np.float64):
    """(calibrated objective, theta, three batches) of a network with two shared layers."""
    network = models.mlp(6, 4, 3, activation="hardtanh") if network is None else network
    generator = np.random.default_rng(seed)
    theta = network.init(seed, like=np.empty(0, dtype))
    theta = (theta + 0.1 * generator.normal(size=theta.shape)).astype(dtype)
    batches = [
        Batch(generator.normal(size=(8, 1, 1, 6)).astype(dtype), generator.integers(0, 3, 8))
        for _ in range(6)
    ]
    return Objective(network, quantizer).calibrate(theta), theta, batches


@pytest.mark.parametrize("estimator", [e for e in ALL if e.lookahead != "stale"], ids=str)
def test_generators_learn_by_the_exact_derivative(estimator):
    """d loss / d phi with two layers parallel phi, every entry by central differences: 1e-5.

    With a smooth quantiser the straight-through gradient is exact, so the loss of the look-ahead
    can be differentiated. With SGD of rate 1 the change of phi is its gradient. (A stale look-ahead
    only stands for W - lr G; its derivative is declared, not that of its loss.)
    """
    names = [n for n in ("hyper_lr", "fast_lr", "slow_lr") if hasattr(estimator, n)]
    estimator = replace(estimator, hyper_optimizer="sgd", **dict.fromkeys(names, 1.0))
    objective, theta, batches = problem(Smooth())
    optimizer = optim.SGD(0.5, schedule="constant")
    step = Step(seed=5, index=1, total=10, optimizer=optimizer, optimizer_state=())
    state = estimator.init(objective, theta)
    for batch in batches[:3]:
        estimate, state = estimator.estimate(objective, theta, batch, state, step)
        theta = theta - 0.5 * estimate.grad

    def loss(phi):
        moved = state._replace(phi=phi)
        return estimator.estimate(objective, theta, batches[3], moved, step)[0].loss

    _, after = estimator.estimate(objective, theta, batches[3], state, step)
    for k, (phi, learned) in enumerate(zip(state.phi, after.phi, strict=True)):
        numeric = np.empty_like(phi)
        for i, unit in enumerate(np.eye(len(phi)) * 1e-5):
            above, below = (
                loss((*state.phi[:k], phi + sign * unit, *state.phi[k + 1 :])) for sign in (1, -1)
            )
            numeric[i] = (above - below) / 2e-5
        if len(phi):
            gradient = phi - learned
            size = np.abs(numeric).max()
            np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-5 * size + 1e-12)
            assert not np.allclose(1.01 * gradient, numeric, rtol=0, atol=1e-3 * size)


def naive_fsg(objective, theta, batches, seed, commit, lr=0.3, beta=0.3, length=3):
    """FSG with SGD, layer by layer as the iteration is written down, networks by their passes."""
    fast, slow = MLP((1, 5, 5, 1)), SlowNet(Mamba(1, 4, 3, 4), 2)
    phi = [fast.init(rng.at(seed, "hypernet", 0), theta), None]
    phi[1] = slow.init(rng.at(seed, "hypernet", 1), theta)
    rules = [optim.Adam(1e-3, schedule="constant")] * 2
    memories = [
        rule.init(net.flatten(p)) for rule, net, p in zip(rules, (fast, slow), phi, strict=True)
    ]
    slices = [objective.network.slices[name] for name in objective.quantized]
    stored, thetas, points = [], [theta], []
    for t, batch in enumerate(batches):
        point, direction, kept = theta.copy(), [], []
        for i, own in enumerate(slices if t else ()):
            w, (g, wh) = theta[own], (stored[-1][0][i], stored[-1][1][i])
            c = (1 - np.tanh(w) ** 2) / np.abs(np.tanh(w)).max()
            m, fast_cache = fast.forward(phi[0], wh[:, None])
            history = np.stack([s[0][i] for s in stored[-length:]])
            line = np.concatenate([phi[1]["LRE"][i], history.ravel()])[:, None]
            out, slow_cache = slow.model.forward(phi[1], line)
            f, s = g * m[:, 0], out[-len(w) :, 0]
            direction.append(beta * s + (1 - beta) * c * f if commit == "fsg" else c * f)
            point[own] = w - lr * (beta * s + (1 - beta) * c * f)
            kept.append((c, g, fast_cache, slow_cache, line))
        points.append(point)
        _, named, _ = objective.weight_gradient(point, batch)
        grad = objective.network.flatten(named)
        squashed = []
        sums = [0.0, {}]
        for i, own in enumerate(slices):
            v = np.tanh(point[own])
            largest = np.abs(v).max()
            squashed.append(v / (2 * largest) + 0.5)
            if not t:
                continue
            c, g, fast_cache, slow_cache, line = kept[i]
            r = grad[own] * (1 - v**2) / largest
            dm = g * (-lr * (1 - beta) * c * r)
            grads = fast.backward(phi[0], fast_cache, dm[:, None])[1]
            sums[0] = sums[0] + fast.flatten(grads)
            upstream = np.zeros_like(line)
            upstream[-len(r) :, 0] = -lr * beta * r
            dline, grads = slow.model.backward(phi[1], slow_cache, upstream)
            grads["LRE"] = np.zeros((2, 1))
            grads["LRE"][i] = dline[0]
            sums[1] = {n: sums[1].get(n, 0.0) + grads[n] for n in slow.shapes}
        stored.append(([grad[own].copy() for own in slices], squashed))
        if t:
            for k, (net, total) in enumerate(((fast, sums[0]), (slow, None))):
                total = net.flatten(sums[1]) if total is None else total
                vector, memories[k] = rules[k].update(total, memories[k], net.flatten(phi[k]))
                phi[k] = net.views(vector)
            for own, part in zip(slices, direction, strict=True):
                grad[own] = part
            theta = theta - lr * grad
        thetas.append(theta)
    return thetas, points, (fast.flatten(phi[0]), slow.flatten(phi[1]))


@pytest.mark.parametrize("commit", ["fsg", "fast_only"])
def test_fsg_is_its_iteration(commit):
    """Six steps with a history of 3, shorter than it and longer, against the iteration as written.

    Parameters, look-aheads, networks and history to 1e-10; the first iteration changes nothing.
    """
    estimator = FSG(**TINY, commit=commit, start="uniform")
    objective, theta, batches = problem(DoReFa(bits=1))
    thetas, points, phi = naive_fsg(objective, theta, batches, 5, commit)
    np.testing.assert_array_equal(thetas[1], theta)
    optimizer = optim.SGD(0.3, schedule="constant")
    state = estimator.init(objective, theta)
    for index, batch in enumerate(batches):
        np.testing.assert_allclose(theta, thetas[index], rtol=1e-10, atol=1e-12)
        step = Step(5, index, 10, optimizer=optimizer, optimizer_state=())
        estimate, state = estimator.estimate(objective, theta, batch, state, step)
        expected = objective.weight_gradient(points[index], batch).loss
        np.testing.assert_allclose(estimate.loss, expected, rtol=1e-9)
        theta, _ = estimator.update(objective, optimizer, estimate.grad, (), theta, step)
    np.testing.assert_allclose(theta, thetas[-1], rtol=1e-10, atol=1e-12)
    for own, expected in zip(state.phi, phi, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-8, atol=1e-11)
    assert state.seen == 6
    for row, index in zip(state.history, (3, 4, 5), strict=True):
        named = objective.weight_gradient(points[index], batches[index]).gradient
        np.testing.assert_allclose(row, objective.network.flatten(named), rtol=1e-8, atol=1e-11)


def follow(estimator, optimizer, steps=6, quantizer=None, network=None):
    """[(theta, point, estimate, state after)] of a short run; the point is where the loss was."""
    objective, theta, batches = problem(quantizer or DoReFa(bits=1), network)
    asked = []

    class Watching(Objective):
        def weight_gradient(self, point, batch):
            asked.append(point.copy())
            return super().weight_gradient(point, batch)

    names = ("network", "quantizer", "quantized", "loss", "scales")
    objective = Watching(**{name: getattr(objective, name) for name in names})
    state, memory, trace = estimator.init(objective, theta), optimizer.init(theta), []
    for index in range(steps):
        step = Step(5, index, 10, optimizer=optimizer, optimizer_state=memory)
        estimate, state = estimator.estimate(objective, theta, batches[index], state, step)
        trace.append((theta, asked[-1], estimate, state))
        theta, memory = estimator.update(objective, optimizer, estimate.grad, memory, theta, step)
    assert len(asked) == steps
    return objective, trace, theta


def quantised(objective, vector):
    """The entries of the quantised layers, one after the other."""
    return np.concatenate([vector[objective.network.slices[n]] for n in objective.quantized])


@pytest.mark.parametrize("optimizer", [optim.SGD(0.2), optim.Momentum(0.1), optim.Adam(0.02)])
@pytest.mark.parametrize("kind", [FCGrad, MultiFC, LSTMFC, Gain, LayerGain])
def test_refined_lookahead_is_where_the_weights_end_up(kind, optimizer):
    """The paper's reading: the weights after step t are those at which its loss was measured."""
    objective, trace, last = follow(kind(), optimizer)
    after = [theta for theta, *_ in trace[1:]] + [last]
    for (theta, point, _, _), reached in zip(trace, after, strict=True):
        np.testing.assert_array_equal(quantised(objective, point), quantised(objective, reached))
        biases = objective.network.slices["fc1.bias"]
        np.testing.assert_array_equal(point[biases], theta[biases])
    assert not np.array_equal(trace[1][1], trace[1][0])


def test_stale_lookahead_repeats_the_last_step():
    """The code's reading: W_t + (W_t - W_{t-1}), biases too; at first a step of the plain STE."""
    optimizer = optim.Adam(0.02, schedule="constant")
    objective, trace, _ = follow(MultiFC(lookahead="stale"), optimizer)
    (theta0, point0, _, state0), (theta1, point1, _, _) = trace[:2]
    np.testing.assert_array_equal(point0, theta0)
    np.testing.assert_array_equal(theta1, theta0)
    np.testing.assert_allclose(theta1 - point1, 0.02 * state0.refined, rtol=1e-9, atol=1e-15)
    batch = problem(DoReFa(bits=1))[2][0]
    np.testing.assert_allclose(state0.refined, objective.ste_gradient(theta0, batch).gradient)
    for (before, *_), (theta, point, _, _) in zip(trace[1:], trace[2:], strict=False):
        np.testing.assert_allclose(point, 2 * theta - before, rtol=1e-9, atol=1e-12)


def test_raw_lookahead_leaves_out_the_optimiser():
    """W - lr G with the rate of this step, whatever Adam would do with G."""
    optimizer = optim.Adam(0.02, schedule="linear")
    objective, trace, _ = follow(FSG(**TINY), optimizer)
    for index, (theta, point, estimate, _) in enumerate(trace[1:], 1):
        moved = 0.02 * (1 - index / 10) * quantised(objective, estimate.grad)
        gap = quantised(objective, theta) - quantised(objective, point)
        np.testing.assert_allclose(gap, moved, rtol=1e-9, atol=1e-15)


def test_fcgrad_is_the_last_ste_gradient_times_a_number():
    """G_t = c_t c(W_t) g_{t-1} with one c for all layers."""
    objective, trace, _ = follow(FCGrad(), optim.SGD(0.2))
    for (_, _, _, before), (theta, _, estimate, _) in zip(trace, trace[1:], strict=False):
        ratios = []
        for name in objective.quantized:
            own = objective.network.slices[name]
            base = objective.quantizer.derivative(theta[own], None) * before.history[-1, own]
            live = base != 0.0  # hidden units that no example of the batch leaves linear have none
            ratios.append(estimate.grad[own][live] / base[live])
        ratios = np.concatenate(ratios)
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)


def test_first_iteration_changes_nothing():
    """No estimator moves theta or the optimiser's state; each stores the gradient at theta."""
    for estimator in ALL:
        optimizer = optim.Adam(0.1)
        objective, trace, _ = follow(estimator, optimizer, 2)
        (theta0, point0, first, state), (theta1, *_) = trace
        np.testing.assert_array_equal(theta1, theta0)
        np.testing.assert_array_equal(point0, theta0)
        assert not first.grad.any() and state.seen == 1
        batch = problem(DoReFa(bits=1))[2][0]
        g = objective.network.flatten(objective.weight_gradient(theta0, batch).gradient)
        np.testing.assert_array_equal(state.history[-1], g)


# Training --------------------------------------------------------------------------------------


def run(toy, estimator, optimizer=None, network=None, **options):
    network = models.mlp(12, 5, 3) if network is None else network
    options = {"steps": 20, "batch": 50, "seed": 1, **options}
    return fit(
        Objective(network, DoReFa(bits=1)), toy, estimator, optimizer or optim.Adam(0.02), **options
    )


def digest(result):
    return backend.sha256(result.theta)


@pytest.mark.parametrize("optimizer", [optim.SGD(0.2), optim.Adam(0.02)], ids=["sgd", "adam"])
def test_fast_only_without_slow_share_is_multifc(toy, optimizer):
    """beta = 0: FSG that commits the fast part is MultiFC with the raw look-ahead, bit for bit."""
    fsg = FSG(**TINY, slow_share=0.0, commit="fast_only", start="uniform")
    reference = run(toy, MultiFC(lookahead="raw", units=5), optimizer)
    assert digest(run(toy, fsg, optimizer)) == digest(reference)
    assert digest(run(toy, replace(fsg, slow_share=0.1), optimizer)) != digest(reference)


def test_fast_only_and_fsg_differ(toy):
    """What is committed matters: the slow part reaches the weights with the one, not the other."""
    assert digest(run(toy, FSG(**TINY))) != digest(run(toy, FSG(**TINY, commit="fast_only")))


class Killed(BaseException):
    """Stands for `kill -9`."""


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_resumed_equals_never_stopped(toy, estimator, tmp_path):
    """Networks, their optimisers, history and carried states are in the checkpoint: same bits."""
    path, whole = tmp_path / "run.npz", run(toy, estimator)
    for stop in (1, 9):

        def kill(step, loss, stop=stop):
            if step == stop:
                raise Killed

        options = {"path": path, "checkpoint_every": 4}
        with pytest.raises(Killed):
            run(toy, estimator, progress=kill, **options)
        resumed = run(toy, estimator, resume=True, **options)
        assert digest(resumed) == digest(whole)
        assert resumed.records["train_loss"] == whole.records["train_loss"]
        path.unlink()


@pytest.mark.parametrize("estimator", [FSG(**TINY), LSTMFC(units=5)], ids=str)
def test_same_seed_same_bits_whatever_the_pool(toy, estimator):
    """Layers may share the workers; the seed draws the networks."""
    reference = digest(run(toy, estimator))
    with threads(2) as pool:
        assert digest(run(toy, estimator, pool=pool)) == reference
    assert digest(run(toy, estimator, seed=2)) != reference


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"spsa", "fogzo"}))
def test_training_learns(toy, name):
    """From 2.5 to below 1.0 in 150 steps, small networks: every learned gradient goes downhill."""
    kind = ESTIMATORS[name]
    small = TINY if issubclass(kind, FSG) else {}
    small = {"units": 5} if issubclass(kind, FCGrad | MultiFC | LSTMFC) else small
    rates = {n: 0.02 for n in ("hyper_lr", "fast_lr", "slow_lr") if hasattr(kind, n)}
    result = run(toy, kind(**small, **rates), steps=150)
    assert result.records["train_loss"][0] > 1.5
    assert result.final("train_loss") < 1.0


def normalised():
    """12-5-3 with batch normalisation, whose parameters are not quantised."""
    layers = {"flatten": Flatten(), "fc1": Linear(12, 5), "bn": BatchNorm1d(5), "act": ReLU()}
    return Network(layers | {"fc2": Linear(5, 3)}, (1, 1, 12))


@pytest.mark.parametrize("estimator", [FCGrad(), FSG(**TINY)], ids=str)
def test_batch_statistics_are_those_of_the_lookahead(toy, estimator):
    """A network with running statistics trains; only its own gradients move the normalisation."""
    result = run(toy, estimator, network=normalised(), steps=6)
    assert np.isfinite(result.final("train_loss")) and result.state["bn.mean"].any()
    assert not np.array_equal(
        result.state["bn.mean"], run(toy, STE(), network=normalised(), steps=6).state["bn.mean"]
    )


@pytest.mark.parametrize("widths", [(12, 3), (12, 1, 3)], ids=["one layer", "a narrow layer"])
@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_small_networks(toy, estimator, widths):
    """One quantised layer, and layers of few weights: finite, and all of it is trained."""
    result = run(toy, estimator, network=models.mlp(*widths), steps=8)
    assert np.isfinite(result.theta).all()


def test_one_weight():
    """A layer of a single weight: A(w) is 0 or 1, and everything stays finite."""
    network = Network(
        {"flatten": Flatten(), "a": Linear(6, 1), "b": Linear(1, 1, bias=False), "c": Linear(1, 3)},
        (1, 1, 6),
    )
    for estimator in ALL:
        _, trace, theta = follow(estimator, optim.SGD(0.1), network=network)
        assert np.isfinite(theta).all()
        assert trace[-1][3].squashed[network.slices["b.weight"]][0] in (0.0, 1.0)


@pytest.mark.parametrize("quantizer", [MidRise(bits=2), MidRise("tanh", 2)], ids=str)
def test_other_quantisers(quantizer):
    """Where A is the identity, Wh is the latent weight; slopes that are all ones are 1."""
    objective, trace, theta = follow(MultiFC(), optim.SGD(0.1), quantizer=quantizer)
    _, point, _, state = trace[-1]
    np.testing.assert_array_equal(quantised(objective, state.squashed), quantised(objective, point))
    assert np.isfinite(theta).all()


@pytest.mark.parametrize("estimator", [FCGrad(), FSG(**TINY)], ids=str)
def test_nan_stops_with_a_sentence_and_keeps_the_last_good_networks(toy, estimator, tmp_path):
    """A NaN in the gradient at step 7 is reported; the checkpoint of step 5 is as it was."""
    path = tmp_path / "run.npz"

    class Bad(type(estimator)):
        def estimate(self, objective, theta, batch, state, step):
            if step.index == 7:
                batch = batch._replace(x=batch.x * np.nan)
            return super().estimate(objective, theta, batch, state, step)

    bad = Bad(**vars(estimator))
    with pytest.raises(Diverged, match=f"{bad.label}: the loss became NaN or infinite at step 7"):
        run(toy, bad, path=path, checkpoint_every=5)
    _, arrays = checkpoints.load(path)
    assert arrays["state.step"] == 5 and arrays["state.estimator.seen"] == 5
    learned = [value for name, value in arrays.items() if name.startswith("state.estimator")]
    assert all(np.isfinite(value).all() for value in learned)


def test_nan_in_the_networks_alone_is_noticed(toy):
    """Loss and parameters finite, history not: the last step of a run is looked at too."""

    class Bad(FCGrad):
        def estimate(self, objective, theta, batch, state, step):
            estimate, state = super().estimate(objective, theta, batch, state, step)
            if step.index == 19:
                state = state._replace(history=state.history * np.nan)
            return estimate, state

    with pytest.raises(Diverged, match="the estimator's state became NaN or infinite at step 19"):
        run(toy, Bad())


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_pure_and_of_one_dtype(estimator):
    """A step changes nothing it was given, float32 stays float32, twice is the same."""
    objective, theta, batches = problem(DoReFa(bits=1), dtype=np.float32)
    optimizer = optim.Adam(0.02)
    step = Step(5, 1, 10, optimizer=optimizer, optimizer_state=optimizer.init(theta))
    state = estimator.init(objective, theta)
    for batch in batches[:2]:
        _, state = estimator.estimate(objective, theta, batch, state, step)
    before, kept = checkpoints.flatten("s", state), theta.copy()
    before = {name: value.copy() for name, value in before.items()}
    first, after = estimator.estimate(objective, theta, batches[2], state, step)
    second, _ = estimator.estimate(objective, theta, batches[2], state, step)
    np.testing.assert_array_equal(first.grad, second.grad)
    np.testing.assert_array_equal(theta, kept)
    for name, value in checkpoints.flatten("s", state).items():
        np.testing.assert_array_equal(value, before[name])
    arrays = [v for v in checkpoints.flatten("s", after).values() if v.dtype.kind == "f"]
    assert {first.grad.dtype, *(v.dtype for v in arrays)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_strict_namespace(estimator, on_strict):
    """Three steps on array-api-strict's fake device, float64: NumPy's numbers to 1e-9."""
    reference, theta, batches = problem(DoReFa(bits=1))
    optimizer = optim.Adam(0.02)
    theta_s = on_strict(theta)
    ours = Objective(reference.network, reference.quantizer).calibrate(theta_s)
    found = []
    for objective, start, put in ((reference, theta, np.asarray), (ours, theta_s, on_strict)):
        state, memory, point = estimator.init(objective, start), optimizer.init(start), start
        for index, batch in enumerate(batches[:4]):
            batch = Batch(put(batch.x), put(batch.labels))
            step = Step(5, index, 10, optimizer=optimizer, optimizer_state=memory)
            estimate, state = estimator.estimate(objective, point, batch, state, step)
            point, memory = estimator.update(
                objective, optimizer, estimate.grad, memory, point, step
            )
        found.append((point, estimate.loss, *state.phi))
    for expected, got in zip(*found, strict=True):
        assert got.device == theta_s.device
        np.testing.assert_allclose(backend.to_numpy(got), expected, rtol=1e-8, atol=1e-10)


def test_the_networks_are_counted(toy):
    """Multiply-accumulates of a run: its passes, and what the networks took at every step."""
    result = run(toy, FSG(**TINY), steps=5)
    forward, backward = 12 * 5 + 5 * 3, 12 * 5 + 2 * 5 * 3
    passes = 5 * 50 * (forward + backward)
    fast, slow = FSG(**TINY).parts(2)
    beside = 0
    for stored in (1, 2, 3, 3):
        for weights in (60, 15):
            beside += fast.net.macs(weights, stored) + slow.net.macs(weights, stored)
    assert result.final("macs") == passes + beside
    assert slow.net.macs(60, 3) == slow.net.model.macs(181) + slow.net.model.backward_macs(181)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: FCGrad(lookahead="late"), "lookahead is 'late'"),
        (lambda: FCGrad(hyper_optimizer="adm"), "did you mean 'adam'"),
        (lambda: FCGrad(hyper_lr=0.0), "hyper_lr is 0.0"),
        (lambda: MultiFC(units=0), "units is 0"),
        (lambda: FSG(commit="fast"), "commit: unknown name 'fast'; did you mean 'fast_only'"),
        (lambda: FSG(slow_net="mamab"), "did you mean 'mamba'"),
        (lambda: FSG(layout="flt"), "did you mean 'flat'"),
        (lambda: FSG(slow_share=1.5), "slow_share is 1.5"),
        (lambda: FSG(length=0), "length is 0"),
        (lambda: FSG(slow_lr=float("nan")), "slow_lr is nan"),
        (lambda: FSG(states=0), "FSG.states is 0"),
        (lambda: FSG(start="random"), "start is 'random'"),
        (lambda: FSG(mu=1.0), "mu is 1.0"),
        (lambda: SlowNet(Mamba(), 2, "line"), "layout is 'line'"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_what_cannot_be_trained_is_refused():
    objective, theta, batches = problem(DoReFa(bits=1))
    with pytest.raises(InputError, match="a learned gradient trains one theta"):
        FCGrad().init(objective, theta[None])
    with pytest.raises(InputError, match="a learned gradient needs quantised weights"):
        FCGrad().init(replace(objective, quantized=()), theta)
    state = FCGrad().init(objective, theta)
    _, state = FCGrad().estimate(objective, theta, batches[0], state, Step())
    with pytest.raises(InputError, match="looks ahead along the optimiser's step"):
        FCGrad().estimate(objective, theta, batches[1], state, Step(index=1))

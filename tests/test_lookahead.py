"""The derivative through the look-ahead, and the iteration of FSG and MetaQuant."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from learned import ALL, TINY, follow, problem, quantised

from minizo import (
    Step,
    optim,
    rng,
)
from minizo.estimators import (
    FSG,
    LSTMFC,
    FCGrad,
    Gain,
    LayerGain,
    MultiFC,
)
from minizo.hypernets import MLP, Mamba
from minizo.hypernets.slow import SlowNet
from minizo.quantizers import DoReFa

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


@pytest.mark.parametrize("estimator", [e for e in ALL if e.lookahead != "stale"], ids=str)
def test_generators_learn_by_the_exact_derivative(estimator):
    """d loss / d phi with two layers sharing phi, every entry by central differences: 1e-5.

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

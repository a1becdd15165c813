"""Hypernetworks: every backward against central differences, and the linear MLP."""

from math import sqrt

import numpy as np
import pytest
from hypernets import NETS, differentiate, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import backend, rng
from minizo.hypernets import LSTM, MLP, Mamba

IDS = [f"{net} {shape}" for net, shape in NETS]


@pytest.mark.parametrize("net, shape", NETS, ids=IDS)
def test_backward_is_the_derivative(net, shape):
    """Along a random direction of x and of each parameter, 1e-6; a 1 % larger one must fail."""
    params, x, dy = problem(net, shape)
    _, dx, grads = differentiate(net, params, x, dy)
    generator = np.random.default_rng(1)
    for name in ["x", *net.shapes]:
        value, gradient = (x, dx) if name == "x" else (params[name], grads[name])
        assert gradient.shape == value.shape
        direction = generator.normal(size=value.shape)

        def along(h, name=name, direction=direction):
            if name == "x":
                return np.sum(dy * net.forward(params, x + h * direction)[0])
            return np.sum(dy * net.forward(params | {name: params[name] + h * direction}, x)[0])

        numeric = (along(1e-5) - along(-1e-5)) / 2e-5
        analytic = np.sum(gradient * direction)
        assert abs(analytic - numeric) < 1e-6 * (1e-3 + abs(numeric)), name
        assert abs(1.01 * analytic - numeric) > 1e-4 * abs(numeric), name


@pytest.mark.parametrize("net, shape", NETS, ids=IDS)
def test_every_single_parameter(net, shape):
    """The whole gradient, number by number, against central differences: 1e-6 of the largest."""
    params, x, dy = problem(net, shape, 2)
    gradient = net.flatten(differentiate(net, params, x, dy)[2])
    phi = net.flatten(params)
    numeric = np.empty_like(phi)
    for i, unit in enumerate(np.eye(len(phi)) * 1e-5):
        above, below = (net.forward(net.views(phi + sign * unit), x)[0] for sign in (1.0, -1.0))
        numeric[i] = np.sum(dy * (above - below)) / 2e-5
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("net, shape", NETS, ids=IDS)
def test_rows_are_independent(net, shape):
    """All leading axes at once give what one row after the other gives; gradients are sums."""
    params, x, dy = problem(net, shape, 3)
    kept = 1 if isinstance(net, MLP) else 2
    rows = x.reshape(-1, *shape[len(shape) - kept :])
    upstream = dy.reshape(len(rows), *dy.shape[len(shape) - kept :])
    y, dx, grads = differentiate(net, params, x, dy)
    alone = [differentiate(net, params, *row) for row in zip(rows, upstream, strict=True)]
    np.testing.assert_allclose(y.ravel(), np.ravel([a[0] for a in alone]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx.ravel(), np.ravel([a[1] for a in alone]), rtol=1e-10, atol=1e-12)
    for name, value in grads.items():
        total = sum(a[2][name] for a in alone)
        np.testing.assert_allclose(value, total, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("net, shape", NETS, ids=IDS)
def test_pure_and_of_one_dtype(net, shape, dtype):
    """dtype in = dtype out, inputs untouched, and the second call equals the first bit for bit."""
    params, x, dy = problem(net, shape, 4, dtype)
    before = {name: value.copy() for name, value in (params | {"x": x, "dy": dy}).items()}
    y, dx, grads = differentiate(net, params, x, dy)
    assert {y.dtype, dx.dtype, *(g.dtype for g in grads.values())} == {np.dtype(dtype)}
    assert set(grads) == set(net.shapes)
    again = differentiate(net, params, x, dy)
    np.testing.assert_array_equal(dx, again[1])
    for name in grads:
        np.testing.assert_array_equal(grads[name], again[2][name])
    for name, value in (params | {"x": x, "dy": dy}).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("net, shape", NETS, ids=IDS)
def test_strict_namespace(net, shape, on_strict):
    """The same source on array-api-strict's fake device gives NumPy's numbers."""
    params, x, dy = problem(net, shape, 5)
    moved = {name: on_strict(value) for name, value in params.items()}
    ours = differentiate(net, moved, on_strict(x), on_strict(dy))
    y, dx, grads = differentiate(net, params, x, dy)
    for a, b in [(ours[0], y), (ours[1], dx), *((ours[2][n], grads[n]) for n in grads)]:
        assert a.device == moved[next(iter(moved))].device
        np.testing.assert_allclose(backend.to_numpy(a), b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("net, shape", NETS, ids=IDS)
def test_start_and_vector(net, shape, on_strict):
    """One seed, one start, on every library; dictionary and vector hold the same numbers."""
    stream = rng.at(7, "test", 0)
    params = net.init(stream, np.empty(0, np.float32))
    like = on_strict(np.empty(0, np.float32))
    ours = net.init(stream, like)
    phi = net.flatten(params)
    assert phi.shape == (net.size,) and phi.dtype == np.float32
    for name, value in net.views(phi).items():
        assert value.shape == net.shapes[name]
        np.testing.assert_array_equal(value, params[name])
        assert ours[name].device == like.device
        np.testing.assert_array_equal(backend.to_numpy(ours[name]), params[name])
    other = net.flatten(net.init(rng.at(8, "test", 0), np.empty(0, np.float32)))
    assert not np.array_equal(other, phi)


# The linear MLP --------------------------------------------------------------------------------


def test_sizes_of_the_papers():
    """FCGrad 200, MultiFC and fast-net 10,200, slow-net 6,400, LSTM with its output 41,301."""
    assert MLP((1, 100, 1)).size == 200
    assert MLP().size == 10_200
    assert Mamba().size == 6_400
    assert LSTM().size + 101 == 41_301
    assert MLP().macs(7) == 7 * 10_200
    assert LSTM().macs(1) == 40_400


@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    rows=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_the_mlp_is_one_matrix(widths, rows, seed):
    """y = M x and dW from dM = sum dy x^T equal the passes through the layers, 1e-11."""
    net = MLP(tuple(widths))
    params, x, dy = problem(net, (rows, widths[0]), seed)
    y, dx, grads = differentiate(net, params, x, dy)
    m = net.product(params)
    assert m.shape == (widths[-1], widths[0])
    np.testing.assert_allclose(x @ m.T, y, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dy @ m, dx, rtol=1e-11, atol=1e-12)
    closed = net.product_backward(params, dy.T @ x)
    for name in net.shapes:
        np.testing.assert_allclose(closed[name], grads[name], rtol=1e-10, atol=1e-11)


def test_closed_form_of_three_layers():
    """dW3 = kappa (W2 w1)^T, dW2 = kappa w3 w1^T, dW1 = kappa W2^T w3, as MetaQuant's MultiFC."""
    net = MLP((1, 4, 5, 1))
    params, x, dy = problem(net, (9, 1))
    w1, w2, w3 = params["W1"][:, 0], params["W2"], params["W3"][0]
    kappa = np.sum(dy * x)
    grads = net.product_backward(params, np.array([[kappa]]))
    np.testing.assert_allclose(grads["W3"][0], kappa * (w2 @ w1), rtol=1e-12)
    np.testing.assert_allclose(grads["W2"], kappa * np.outer(w3, w1), rtol=1e-12)
    np.testing.assert_allclose(grads["W1"][:, 0], kappa * (w2.T @ w3), rtol=1e-12)


@pytest.mark.parametrize("widths", [(1, 100, 1), (1, 100, 100, 1)])
def test_starts_of_the_mlp(widths):
    """Uniform numbers within 1 / sqrt(fan in); orthonormal shorter sides; the spread of c."""
    for start in ("uniform", "orthogonal"):
        net = MLP(widths, start)
        factors = []
        for seed in range(400):
            params = net.init(rng.at(seed, "test"), np.empty(0))
            factors.append(net.product(params)[0, 0])
        for w in params.values():
            if start == "uniform":
                assert np.abs(w).max() < 1.0 / sqrt(w.shape[1])
            else:
                small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
                np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)
        # uniform: Var c = (1/3)^layers; orthogonal: a component of a random unit vector, 1/100
        variance = 3.0 ** -len(net.shapes) if start == "uniform" else 0.01
        error = 6.0 * sqrt(3.0 / len(factors)) * variance  # 6 sigma, fourth moment at most 4
        assert abs(np.mean(np.square(factors)) - variance) < error
        assert abs(np.mean(factors)) < 6.0 * sqrt(variance / len(factors))

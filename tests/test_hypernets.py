"""Hypernetworks: every backward against central differences, and independent formulas."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from math import exp, log1p, sqrt, tanh

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import InputError, backend, rng
from minizo.hypernets import LSTM, MLP, Mamba

THEIRS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")  # PyTorch's names, our order

# (hypernetwork, shape of its input); each row is tested in every way below
NETS = [
    (MLP((1, 6, 1)), (5, 1)),
    (MLP((1, 5, 4, 1)), (3, 4, 1)),
    (MLP((3, 5, 2), start="orthogonal"), (6, 3)),
    (LSTM(1, 3), (4, 2, 1)),
    (LSTM(2, 4), (2, 3, 6, 2)),
    (LSTM(3, 2), (5, 3)),
    (Mamba(1, 6, 4, 8, chunk=3), (1, 13, 1)),
    (Mamba(1, 4, 3, 5), (6, 2, 1)),
    (Mamba(3, 4, 5, 4, chunk=2), (2, 9, 3)),
    (Mamba(1, 3, 1, 1, chunk=50), (7, 1)),
    (Mamba(17, 1, 2, 2), (4, 17)),
]
IDS = [f"{net} {shape}" for net, shape in NETS]


def problem(net, shape, seed=0, dtype=np.float64):
    """(parameters away from their start, input, upstream gradient of the output)."""
    generator = np.random.default_rng(seed)
    params = net.init(rng.at(seed, "test", 1), np.empty(0, dtype))
    for name, value in params.items():
        params[name] = (value + 0.2 * generator.normal(size=value.shape)).astype(dtype)
    x = generator.normal(size=shape).astype(dtype)
    dy = generator.normal(size=net.forward(params, x)[0].shape).astype(dtype)
    return params, x, dy


def differentiate(net, params, x, dy):
    """(y, dx, grads): what every hypernetwork gives, whatever else it has."""
    y, *_, cache = net.forward(params, x)
    dx, *_, grads = net.backward(params, cache, dy)
    return y, dx, grads


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


# The LSTM --------------------------------------------------------------------------------------


def lstm_by_hand(params, x, h, c):
    """One row, number by number: outputs (L, H) and the last state."""
    hidden, outputs = len(h), []
    for t in range(len(x)):
        a = [
            sum(params["Wih"][j, k] * x[t, k] for k in range(x.shape[1]))
            + sum(params["Whh"][j, k] * h[k] for k in range(hidden))
            + params["bih"][j]
            + params["bhh"][j]
            for j in range(4 * hidden)
        ]
        gate = [1.0 / (1.0 + exp(-value)) for value in a]
        c = [gate[hidden + k] * c[k] + gate[k] * tanh(a[2 * hidden + k]) for k in range(hidden)]
        h = [gate[3 * hidden + k] * tanh(c[k]) for k in range(hidden)]
        outputs.append(h)
    return outputs, h, c


def test_lstm_is_its_equations():
    """Against a loop over gates and units, with a state to start from: 1e-12."""
    net = LSTM(2, 3)
    params, x, _ = problem(net, (5, 2))
    state = tuple(np.random.default_rng(9).normal(size=(2, 3)))
    y, (h, c), _ = net.forward(params, x, state)
    expected, last_h, last_c = lstm_by_hand(params, x, *state)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose(h, last_h, rtol=1e-12)
    np.testing.assert_allclose(c, last_c, rtol=1e-12)


def test_lstm_carries_its_state():
    """Two halves, the state handed over, equal the whole; so do all derivatives (1e-12)."""
    net = LSTM(2, 3)
    params, x, dy = problem(net, (4, 7, 2))
    y, last, cache = net.forward(params, x)
    first, middle, cache1 = net.forward(params, x[:, :3])
    second, end, cache2 = net.forward(params, x[:, 3:], middle)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), y, rtol=1e-12)
    np.testing.assert_allclose(end, last, rtol=1e-12)
    dlast = tuple(np.random.default_rng(3).normal(size=(2, 4, 3)))
    dx, dstate, grads = net.backward(params, cache, dy, dlast)
    dx2, dmiddle, grads2 = net.backward(params, cache2, dy[:, 3:], dlast)
    dx1, dstate1, grads1 = net.backward(params, cache1, dy[:, :3], dmiddle)
    np.testing.assert_allclose(np.concatenate([dx1, dx2], axis=1), dx, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dstate1, dstate, rtol=1e-10, atol=1e-13)
    for name in grads:
        np.testing.assert_allclose(grads1[name] + grads2[name], grads[name], rtol=1e-9, atol=1e-12)


@pytest.mark.torch
def test_lstm_equals_pytorch():
    """Outputs, states and all gradients of torch.nn.LSTM and its autograd, float64: 1e-12."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = LSTM(2, 5)
    params, x, dy = problem(net, (3, 6, 2))
    theirs = torch.nn.LSTM(2, 5, batch_first=True, dtype=torch.float64)
    names = dict(zip(THEIRS, net.shapes, strict=True))
    with torch.no_grad():
        for name, own in names.items():
            getattr(theirs, name).copy_(torch.tensor(params[own]))
    given = torch.tensor(x, requires_grad=True)
    out, (h, c) = theirs(given)
    dh, dc = np.random.default_rng(4).normal(size=(2, 3, 5))
    loss = (out * torch.tensor(dy)).sum() + (h[0] * torch.tensor(dh)).sum()
    (loss + (c[0] * torch.tensor(dc)).sum()).backward()
    y, state, cache = net.forward(params, x)
    dx, _, grads = net.backward(params, cache, dy, (dh, dc))
    np.testing.assert_allclose(y, out.detach(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state[1], c[0].detach(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, given.grad, rtol=1e-11, atol=1e-13)
    for name, own in names.items():
        np.testing.assert_allclose(grads[own], getattr(theirs, name).grad, rtol=1e-11, atol=1e-13)


# Mamba -----------------------------------------------------------------------------------------


def mamba_by_hand(params, x):
    """One row (L, D), written from the equations as nested loops over time, channels and states."""
    length, width = x.shape
    channels, kernel = params["wc"].shape
    states, rank = params["Alog"].shape[1], params["Wdt"].shape[1]
    silu = lambda value: value / (1.0 + exp(-value))  # noqa: E731
    h = np.zeros((channels, states))
    out = np.zeros((length, width))
    projected = [[float(row @ x[t]) for row in params["Win"]] for t in range(length)]
    for t in range(length):
        u = np.empty(channels)
        for e in range(channels):
            v = params["bc"][e]
            for k in range(kernel):
                if t - (kernel - 1) + k >= 0:
                    v += params["wc"][e, k] * projected[t - (kernel - 1) + k][e]
            u[e] = silu(v)
        q = params["Wx"] @ u
        rho, b, c = q[:rank], q[rank : rank + states], q[rank + states :]
        for e in range(channels):
            s = float(params["Wdt"][e] @ rho) + params["bdt"][e]
            dt = log1p(exp(s))
            y = params["Dsk"][e] * u[e]
            for n in range(states):
                decay = exp(-dt * exp(params["Alog"][e, n]))
                h[e, n] = decay * h[e, n] + dt * u[e] * b[n]
                y += h[e, n] * c[n]
            out[t] += params["Wout"][:, e] * y * silu(projected[t][channels + e])
    return out


@pytest.mark.parametrize(
    "net, length",
    [
        (Mamba(1, 6, 4, 8), 13),
        (Mamba(1, 6, 4, 8, chunk=2), 13),
        (Mamba(3, 4, 5, 4, chunk=3), 20),
        (Mamba(18, 1, 2, 3), 6),
        (Mamba(1, 100, 16, 8), 9),
    ],
    ids=str,
)
def test_mamba_is_its_equations(net, length):
    """Against an independent step-by-step recurrence, float64: 1e-12 of the largest output."""
    params, x, _ = problem(net, (length, net.width))
    expected = mamba_by_hand(params, x)
    got, _ = net.forward(params, x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@given(
    length=st.integers(1, 50),
    chunk=st.integers(1, 30),
    kernel=st.integers(1, 9),
    rows=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_mamba_in_pieces_is_mamba_at_once(length, chunk, kernel, rows, seed):
    """Pieces shorter than the kernel, longer than the sequence, or between: the same to 1e-11."""
    whole, pieces = Mamba(1, 3, 2, kernel, chunk=1000), Mamba(1, 3, 2, kernel, chunk=chunk)
    params, x, dy = problem(whole, (rows, length, 1), seed)
    expected = differentiate(whole, params, x, dy)
    got = differentiate(pieces, params, x, dy)
    for a, b in [(got[0], expected[0]), (got[1], expected[1])]:
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    for name, value in expected[2].items():
        np.testing.assert_allclose(got[2][name], value, rtol=1e-10, atol=1e-11)


def test_mamba_is_causal():
    """What comes later changes nothing that came before; what came before does change it."""
    net = Mamba(2, 3, 2, 4, chunk=2)
    params, x, _ = problem(net, (12, 2))
    later = x.copy()
    later[7:] += 1.0
    first, second = (net.forward(params, v)[0] for v in (x, later))
    np.testing.assert_allclose(first[:7], second[:7], rtol=1e-12, atol=1e-15)
    assert np.all(np.abs(first[7:] - second[7:]) > 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_zero_gate(seed):
    """A zero input gives a zero output for any parameters and any history; an LSTM's is not 0."""
    net = Mamba(1, 6, 4, 8, chunk=4)
    params, x, _ = problem(net, (30, 1), seed)
    x[10::3] = 0.0
    out, _ = net.forward(params, x)
    np.testing.assert_array_equal(out[10::3], 0.0)
    assert np.all(out[x != 0.0] != 0.0)
    lstm = LSTM(1, 4)
    params, _, _ = problem(lstm, (30, 1), seed)
    assert np.all(np.abs(lstm.forward(params, x)[0][10::3]) > 1e-6)


def test_small_inputs_meet_a_gain():
    """out_s = K x_s + O(x^2): a tenth of the input, a tenth of the gain's dependence on history."""
    net = Mamba(1, 20, 4, 8)
    params, x, _ = problem(net, (40, 1))
    other = np.random.default_rng(1).normal(size=x.shape)
    other[-1] = x[-1]
    gaps = []
    for size in (1e-3, 1e-4):
        gains = [net.forward(params, size * v)[0][-1, 0] / (size * x[-1, 0]) for v in (x, other)]
        gaps.append(abs(gains[0] - gains[1]))
    assert 8.0 < gaps[0] / gaps[1] < 12.5
    assert gaps[1] < 1e-3 * abs(gains[0])


def test_start_of_mamba():
    """dt log-uniform on [.001, .1], A = -(1, ..., N), skip 1; products within their fan in."""
    net = Mamba(1, 4000, 3, 8)
    params = net.init(rng.at(0, "test"), np.empty(0))
    dt = np.log1p(np.exp(params["bdt"]))
    place = (np.log(dt) - np.log(0.001)) / np.log(100.0)
    assert 0.0 < place.min() < 0.01 and 0.99 < place.max() < 1.0
    assert abs(place.mean() - 0.5) < 6.0 / sqrt(12.0 * 4000)
    np.testing.assert_allclose(-np.exp(params["Alog"]), np.tile([-1.0, -2.0, -3.0], (4000, 1)))
    np.testing.assert_array_equal(params["Dsk"], 1.0)
    fans = {"Win": 1, "wc": 8, "bc": 8, "Wx": 4000, "Wdt": 1, "Wout": 4000}
    for name, fan in fans.items():
        assert 0.99 < np.abs(params[name]).max() * sqrt(fan) < 1.0
    corner = [params[name].ravel()[:50] * sqrt(fan) for name, fan in fans.items()]
    assert len({tuple(np.round(c, 6)) for c in corner}) == len(corner)  # not the same numbers


def mamba_memory(net, length):
    """Peak bytes of a forward and backward in float32."""
    params = net.init(rng.at(0, "test"), np.empty(0, np.float32))
    x = np.ones((length, 1), np.float32)

    def work():
        tracemalloc.start()
        out, cache = net.forward(params, x)
        net.backward(params, cache, out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(work).result()


def test_memory_of_mamba_does_not_grow_by_its_channels():
    """Ten times longer: one number a step in and out, and one state for every chunk of 64."""
    net = Mamba(1, 40, 8, 8, chunk=64)
    short, long = mamba_memory(net, 2_000), mamba_memory(net, 20_000)
    per_step = 4 * (2 + 40 * 8 / 64)
    assert long - short < 1.2 * 18_000 * per_step
    assert per_step < 4 * 40  # less than a single channel array


def test_one_sequence_of_the_paper_needs_little_memory():
    """Length 13,825 (2,304 weights, l = 6), 100 channels, 16 states, float32: under 100 MiB."""
    assert mamba_memory(Mamba(), 13_825) < 100 * 2**20


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: MLP((1,)), r"widths is \(1,\)"),
        (lambda: MLP((1, 0, 1)), r"widths is \(1, 0, 1\)"),
        (lambda: MLP(start="random"), "start is 'random', but choose from"),
        (lambda: LSTM(0, 3), "LSTM.inputs is 0"),
        (lambda: LSTM(1, 2.0), "LSTM.hidden is 2.0"),
        (lambda: Mamba(states=0), "Mamba.states is 0"),
        (lambda: Mamba(kernel=True), "Mamba.kernel is True"),
        (lambda: Mamba(1, 2, 2, 2).forward({}, np.empty((0, 1))), "length of the sequence is 0"),
    ],
)
def test_bad_hypernetworks_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

"""The LSTM and Mamba against independent formulas, and their memory."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from math import exp, sqrt, tanh

import numpy as np
import pytest
from hypernets import differentiate, mamba_by_hand, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import InputError, rng
from minizo.hypernets import LSTM, MLP, Mamba
from minizo.hypernets.pieces import spread, windows

THEIRS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")  # PyTorch's names, our order


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


@given(
    start=st.integers(0, 11),
    size=st.integers(1, 12),
    kernel=st.integers(1, 15),
    seed=st.integers(0, 2**32 - 1),
)
def test_spread_is_the_transpose_of_windows(start, size, kernel, seed):
    """<d, windows(x)> = <spread(d), x> for any piece of 12 steps and any kernel: 1e-12."""
    gen, rows, time = np.random.default_rng(seed), slice(1, 3), slice(start, min(start + size, 12))
    x = gen.normal(size=(4, 12, 2))
    seen = windows(x, rows, time, kernel)
    np.testing.assert_array_equal(seen[..., -1], 1.0)
    np.testing.assert_array_equal(seen[..., -3:-1], x[rows, time])  # the newest stands last
    d, dx = gen.normal(size=seen[..., :-1].shape), np.zeros_like(x)
    spread(dx, rows, time, d)
    assert abs(np.sum(d * seen[..., :-1]) - np.sum(dx * x)) < 1e-12 * (1.0 + np.sum(np.abs(d)))
    assert not dx[[0, 3]].any() and not dx[:, time.stop :].any()  # no other row, nothing later


@given(
    length=st.integers(1, 50),
    last=st.integers(1, 50),
    chunk=st.integers(1, 30),
    rows=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_the_last_outputs_are_those_of_all(length, last, chunk, rows, seed):
    """`last` gives the same outputs, and the gradients of an upstream that is 0 before: 1e-10."""
    last = min(last, length)
    net = Mamba(2, 2, 3, 4, chunk=chunk)
    params, x, dy = problem(net, (rows, length, 2), seed)
    out, cache = net.forward(params, x, last)
    dx, grads = net.backward(params, cache, dy[:, length - last :])
    dy[:, : length - last] = 0.0
    expected, dx_all, grads_all = differentiate(net, params, x, dy)
    np.testing.assert_allclose(out, expected[:, length - last :], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dx, dx_all, rtol=1e-10, atol=1e-12 * (1.0 + np.abs(dx_all).max()))
    for name, value in grads_all.items():
        size = 1e-11 * (1.0 + np.abs(value).max())
        np.testing.assert_allclose(grads[name], value, rtol=1e-10, atol=size, err_msg=name)


@pytest.mark.parametrize("last", [1, 4])
def test_gradients_of_the_last_outputs(last):
    """Central differences through the part that is jumped over, 1e-6 of the largest gradient."""
    net = Mamba(1, 3, 2, 3, chunk=2)
    params, x, dy = problem(net, (13, 1), 3)
    dy = dy[-last:]
    _, cache = net.forward(params, x, last)
    dx, grads = net.backward(params, cache, dy)
    phi, gradient = net.flatten(params), net.flatten(grads)

    def change(value, loss):
        units = np.eye(value.size) * 1e-5
        pairs = [(loss(value + u.reshape(value.shape)), loss(value - u.reshape(value.shape)))
                 for u in units]  # fmt: skip
        return np.array([(above - below) / 2e-5 for above, below in pairs])

    numeric = change(phi, lambda v: np.sum(dy * net.forward(net.views(v), x, last)[0]))
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-6 * np.abs(numeric).max())
    numeric = change(x, lambda v: np.sum(dy * net.forward(params, v, last)[0]))
    np.testing.assert_allclose(dx[:, 0], numeric, rtol=0, atol=1e-6 * np.abs(numeric).max())
    assert np.abs(numeric[:9]).max() > 1e-6  # the early steps matter


@pytest.mark.gpu
@pytest.mark.parametrize("last", [2, 9])
def test_mamba_on_the_card(cupy, last):
    """The same source on CuPy gives NumPy's numbers."""
    net = Mamba(1, 4, 3, 4, chunk=3)
    params, x, dy = problem(net, (2, 9, 1))
    out, cache = net.forward(params, x, last)
    expected = net.backward(params, cache, dy[:, -last:])
    moved = {name: cupy.asarray(value) for name, value in params.items()}
    ours, cache = net.forward(moved, cupy.asarray(x), last)
    dx, grads = net.backward(moved, cache, cupy.asarray(dy[:, -last:]))
    np.testing.assert_allclose(ours.get(), out, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dx.get(), expected[0], rtol=1e-10, atol=1e-12)
    for name, value in expected[1].items():
        np.testing.assert_allclose(grads[name].get(), value, rtol=1e-10, atol=1e-11)


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
        (lambda: Mamba(1, 2, 2, 2).forward({}, np.ones((3, 1)), 4), "last is 4, .* length, 3"),
        (lambda: Mamba(1, 2, 2, 2).forward({}, np.ones((3, 1)), 0), "last is 0"),
    ],
)
def test_bad_hypernetworks_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()

"""The selective scan: its two forms against each other, against differences, and in memory."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import InputError, backend
from minizo.hypernets import advance, chunked, scan
from minizo.hypernets.scan import Selected

strict = pytest.importorskip("array_api_strict")


def random_scan(rng, length, channels, states, lead=(), dtype=np.float64, longest=0.5):
    """(x, h, dy, dh): a scan with decays of all sizes, its first state, and upstream gradients."""
    x = Selected(
        rng.normal(size=(*lead, length, channels)),
        longest * rng.random((*lead, length, channels)),
        -np.exp(rng.normal(size=(channels, states))),
        rng.normal(size=(*lead, length, states)),
        rng.normal(size=(*lead, length, states)),
    )
    h, dh = rng.normal(size=(2, *lead, states, channels))
    arrays = (*x, h, rng.normal(size=x.u.shape), dh)
    *x, h, dy, dh = (v.astype(dtype) for v in arrays)
    return Selected(*x), h, dy, dh


def by_steps(x, h, dy, dh):
    """Outputs, last state and every derivative of the sequential form."""
    y, states = scan.forward(x, h)
    dx, first = scan.backward(x, states, dy, dh)
    return {"y": y, "h": states[-1], "dh": first} | dx._asdict()


def by_chunks(x, h, dy, dh, chunk):
    """The same from the chunked form, whose backward must also find y again."""
    y, last, starts = chunked.forward(x, h, chunk)
    dx, first, again = chunked.backward(x, starts, dy, dh, chunk)
    np.testing.assert_array_equal(backend.to_numpy(again), backend.to_numpy(y))
    return {"y": y, "h": last, "dh": first} | dx._asdict()


def assert_same(ours, reference, rtol):
    """Equal to ``rtol`` of each array's largest entry."""
    for name, expected in reference.items():
        got = backend.to_numpy(ours[name])
        assert got.dtype == expected.dtype and got.shape == expected.shape, name
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


@given(
    length=st.integers(1, 60),
    chunk=st.integers(1, 70),
    channels=st.integers(1, 4),
    states=st.integers(1, 4),
    lead=st.lists(st.integers(1, 4), max_size=2),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_chunked_equals_sequential(length, chunk, channels, states, lead, seed):
    """Forward, adjoint and every derivative to 1e-11, whatever the length and the chunk."""
    rng = np.random.default_rng(seed)
    problem = random_scan(rng, length, channels, states, tuple(lead))
    assert_same(by_chunks(*problem, chunk), by_steps(*problem), 1e-11)


@pytest.mark.parametrize("length, chunk", [(1, 1), (8, 4), (9, 4), (257, 256), (5000, None)])
def test_awkward_lengths(length, chunk):
    """One step, chunks that fit and that do not, one step over, and the default chunk."""
    problem = random_scan(np.random.default_rng(length), length, 3, 2)
    assert_same(by_chunks(*problem, chunk), by_steps(*problem), 1e-11)


def test_a_scan_is_its_definition():
    """y_t = sum_n C_t[n] sum_{s <= t} exp(A sum_{s < j <= t} dt_j) dt_s u_s B_s[n], summed anew."""
    x, h, _, _ = random_scan(np.random.default_rng(1), 12, 3, 2)
    passed = np.cumsum(x.dt, axis=0)
    expected = np.zeros_like(x.u)
    for t in range(12):
        for e in range(3):
            for n in range(2):
                state = np.exp(x.A[e, n] * passed[t, e]) * h[n, e]
                for s in range(t + 1):
                    decay = np.exp(x.A[e, n] * (passed[t, e] - passed[s, e]))
                    state += decay * x.dt[s, e] * x.u[s, e] * x.B[s, n]
                expected[t, e] += x.C[t, n] * state
    np.testing.assert_allclose(scan.forward(x, h)[0], expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(chunked.forward(x, h, 5)[0], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("which", [*Selected._fields, "h"])
def test_adjoint_is_the_derivative(which):
    """Central difference along a random direction, float64, 1e-7; 1 % more must fail."""
    rng = np.random.default_rng(2)
    x, h, dy, dh = random_scan(rng, 13, 3, 4, (2,))

    def value(step, direction):
        moved = x if which == "h" else x._replace(**{which: getattr(x, which) + step * direction})
        y, last, _ = chunked.forward(moved, h + step * direction if which == "h" else h, 5)
        return np.sum(y * dy) + np.sum(last * dh)

    found = by_chunks(x, h, dy, dh, 5)
    gradient = found["dh" if which == "h" else which]
    direction = rng.normal(size=gradient.shape)
    numeric = (value(1e-6, direction) - value(-1e-6, direction)) / 2e-6
    analytic = np.sum(gradient * direction)
    assert abs(analytic - numeric) < 1e-7 * abs(numeric)
    assert abs(1.01 * analytic - numeric) > 1e-3 * abs(numeric)


def test_products_that_underflow_are_harmless():
    """Decays of e^-30 a step, float32: a product over 200 steps is 0, and nothing is NaN."""
    x, h, dy, dh = random_scan(np.random.default_rng(3), 200, 3, 2, (), np.float32, longest=30.0)
    x = x._replace(A=-np.ones_like(x.A))
    assert np.exp(-np.sum(x.dt, axis=0, dtype=np.float32)).max() == 0.0
    assert_same(by_chunks(x, h, dy, dh, 64), by_steps(x, h, dy, dh), 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_inputs_are_untouched(dtype):
    x, h, dy, dh = random_scan(np.random.default_rng(4), 20, 3, 2, (2,), dtype)
    before = [v.copy() for v in (*x, h, dy, dh)]
    first, second = by_chunks(x, h, dy, dh, 6), by_chunks(x, h, dy, dh, 6)
    assert_same(first, by_steps(x, h, dy, dh), 1e-5 if dtype == np.float32 else 1e-12)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])  # nothing is left over from before
    for value, kept in zip((*x, h, dy, dh), before, strict=True):
        np.testing.assert_array_equal(value, kept)


@pytest.mark.parametrize("form", [by_steps, lambda *p: by_chunks(*p, 6)], ids=["steps", "chunks"])
def test_strict_namespace(form):
    """The same source on array-api-strict's fake device gives NumPy's numbers."""
    x, h, dy, dh = random_scan(np.random.default_rng(5), 20, 3, 2, (2,))
    device = strict.Device("device1")
    moved = [strict.asarray(v, device=device) for v in (*x, h, dy, dh)]
    ours = form(Selected(*moved[:5]), *moved[5:])
    assert all(value.device == device for value in ours.values())
    assert_same(ours, form(x, h, dy, dh), 1e-13)


def extra_memory(length, chunk, channels=32, states=8):
    """(peak bytes beyond inputs, outputs and derivatives; bytes of the states that are kept)."""
    x, h, dy, dh = random_scan(np.random.default_rng(6), length, channels, states)

    def work():
        tracemalloc.start()
        _, _, starts = chunked.forward(x, h, chunk)
        chunked.backward(x, starts, dy, dh, chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, sum(start.nbytes for start in starts)

    with ThreadPoolExecutor(1) as fresh:  # a thread of its own, so that scratch memory counts
        peak, kept = fresh.submit(work).result()
    results = 2 * x.u.nbytes + x.dt.nbytes + x.B.nbytes + x.C.nbytes  # y, du, d(dt), dB, dC
    return peak - results, kept


def test_memory_grows_by_one_state_a_chunk():
    """A sequence ten times longer needs more by the states at the starts of chunks, and no more."""
    (short, kept), (long, kept10) = extra_memory(2_000, 64), extra_memory(20_000, 64)
    state = 32 * 8 * 8
    assert (kept, kept10) == (32 * state, 313 * state)
    assert long - short < 1.2 * (kept10 - kept)
    assert long < 0.25 * 20_000 * state  # a quarter of what all states would take
    # negative control: with one chunk everything is in memory at once
    assert extra_memory(2_000, 2_000)[0] > 3 * 2_000 * state


def test_short_sequences_share_a_chunk():
    """Seven sequences of 5 steps in chunks of 16: three at a time, one state kept for each."""
    x, h, _, _ = random_scan(np.random.default_rng(7), 5, 3, 2, (7,))
    _, _, starts = chunked.forward(x, h, 16)
    assert [start.shape[0] for start in starts] == [3, 3, 1]


@pytest.mark.parametrize("forward", [chunked.forward, advance.forward])
@pytest.mark.parametrize("chunk", [0, -1, 2.5, True])
def test_bad_chunks_are_refused(forward, chunk):
    x, _, _, _ = random_scan(np.random.default_rng(8), 5, 3, 2)
    with pytest.raises(
        InputError, match=r"chunk is .*, but it must be a whole number of at least 1"
    ):
        forward(x, None, chunk)

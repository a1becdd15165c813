"""The scan where nothing is read: the last state at once, against the sequential form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scan import assert_same, random_scan

from minizo import backend
from minizo.hypernets import advance, chunked, scan
from minizo.hypernets.scan import Selected

strict = pytest.importorskip("array_api_strict")


def by_steps(x, dh):
    """Last state and derivatives of the sequential form, whose outputs have gradient 0."""
    y, states = scan.forward(x)
    dx, _ = scan.backward(x, states, 0.0 * y, dh)
    return {"h": states[-1]} | {k: v for k, v in dx._asdict().items() if k != "C"}


def at_once(x, dh, chunk, cut=0):
    """The same without a step, and without C; in two stretches where ``cut`` is in between."""
    whole = x.u.shape[-2]
    parts = [slice(0, cut), slice(cut, whole)] if 0 < cut < whole else [slice(0, whole)]
    stretches = [
        x._replace(C=None, **{k: getattr(x, k)[..., part, :] for k in ("u", "dt", "B")})
        for part in parts
    ]
    h, behind, known = 0.0, None, []
    for stretch in reversed(stretches):
        known.append(behind)
        share, behind = advance.forward(stretch, behind, chunk)
        h = share + h
    da, before, found = 0.0, None, []
    for stretch, behind in zip(stretches, reversed(known), strict=True):
        dx, before = advance.backward(stretch, dh, behind, before, chunk)
        assert dx.C is None
        da, found = dx.A + da, [*found, dx]
    joined = {k: backend.concat([getattr(dx, k) for dx in found], -2) for k in ("u", "dt", "B")}
    return {"h": h, "A": da} | joined


@given(
    length=st.integers(1, 60),
    chunk=st.integers(1, 70),
    cut=st.integers(0, 60),
    channels=st.integers(1, 6),
    states=st.integers(1, 4),
    lead=st.lists(st.integers(1, 4), max_size=2),
    longest=st.sampled_from([0.5, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_at_once_equals_sequential(length, chunk, cut, channels, states, lead, longest, seed):
    """State and every derivative to 1e-11; with step sizes up to 100 most decays underflow."""
    rng = np.random.default_rng(seed)
    x, _, _, dh = random_scan(rng, length, channels, states, tuple(lead), longest=longest)
    x = x._replace(dt=x.dt * 10.0 ** -rng.integers(0, 4, channels))  # slow and fast channels
    assert_same(at_once(x, dh, chunk, cut), by_steps(x, dh), 1e-11)


@pytest.mark.parametrize("length", [1, 128, 129, 5000])
def test_awkward_lengths(length):
    """One step, sums that are one product and that are not, and the default chunk."""
    x, _, _, dh = random_scan(np.random.default_rng(length), length, 3, 2, longest=0.01)
    assert_same(at_once(x, dh, None, 3000), by_steps(x, dh), 1e-11)


def test_each_number_alone():
    """Central differences of sum dh h_end in every u, dt, A and B, float64, 1e-7."""
    x, _, _, dh = random_scan(np.random.default_rng(1), 7, 2, 3)
    found = at_once(x, dh, 3)
    for name in ("u", "dt", "A", "B"):
        value = getattr(x, name)
        numeric = np.empty_like(value)
        for i in np.ndindex(value.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = value.copy()
                moved[i] += step
                ends.append(np.sum(dh * advance.forward(x._replace(**{name: moved}))[0]))
            numeric[i] = (ends[0] - ends[1]) / 2e-6
        size = np.abs(numeric).max()
        np.testing.assert_allclose(found[name], numeric, rtol=0, atol=1e-7 * size, err_msg=name)
        assert np.abs(1.01 * found[name] - numeric).max() > 1e-3 * size  # a 1 % error is seen


def test_it_ends_where_the_other_form_goes_on():
    """Unread, then read: `advance` and `chunked` in turn give what `chunked` gives alone."""
    x, _, dy, dh = random_scan(np.random.default_rng(2), 50, 3, 2, (2,))
    dy[:, :30] = 0.0
    early, late = (Selected(*(v if v is x.A else v[:, t] for v in x))
                   for t in (slice(0, 30), slice(30, 50)))  # fmt: skip
    y, last, starts = chunked.forward(x, None, 8)
    dx, _, _ = chunked.backward(x, starts, dy, dh, 8)
    y_late, last_late, starts = chunked.forward(late, advance.forward(early, None, 8)[0], 8)
    dlate, mu, _ = chunked.backward(late, starts, dy[:, 30:], dh, 8)
    dearly, _ = advance.backward(early, mu, chunk=8)
    np.testing.assert_allclose(y_late, y[:, 30:], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(last_late, last, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dearly.A + dlate.A, dx.A, rtol=1e-11, atol=1e-12)
    for name in ("u", "dt", "B"):
        both = np.concatenate([getattr(dearly, name), getattr(dlate, name)], axis=1)
        np.testing.assert_allclose(both, getattr(dx, name), rtol=1e-10, atol=1e-12)
    # negative control: with a gradient on an early output the short form is another answer
    dy[:, 29] = 1.0
    wrong = chunked.backward(x, chunked.forward(x, None, 8)[2], dy, dh, 8)[0]
    assert np.abs(dearly.B - wrong.B[:, :30]).max() > 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_zeros_are_left_out(dtype, monkeypatch):
    """With nothing left out, the same bits; and a limit that drops small decays is seen."""
    x, _, _, dh = random_scan(np.random.default_rng(3), 400, 8, 3, (), dtype, longest=100.0)
    x = x._replace(dt=x.dt * np.array([1.0] * 5 + [0.1, 0.01, 0.001], dtype))

    def found(limit):
        if limit is not None:
            monkeypatch.setattr(advance, "floor", lambda like: limit)
        worked = []
        kept = advance._Walk.decays
        with monkeypatch.context() as patch:
            patch.setattr(advance._Walk, "decays",
                          lambda *a: (g := kept(*a), worked.append(g.size))[0])  # fmt: skip
            return at_once(x, dh, 32), sum(worked)

    (ours, work), (all_of_it, most), (small, _) = found(None), found(-np.inf), found(-5.0)
    assert work < 0.8 * most and most == 2 * x.u.size * 3
    for name, value in ours.items():
        # the products of fewer channels may be added in another order
        size = 1e-6 if dtype == np.float32 else 1e-15
        close = {"rtol": 0, "atol": size * np.abs(all_of_it[name]).max()}
        np.testing.assert_allclose(value, all_of_it[name], **close)
    assert any(np.abs(small[n] - v).max() > 1e-4 * np.abs(v).max() for n, v in ours.items())


def test_what_is_not_a_number_is_not_left_out():
    """A NaN among the last step sizes is no reason to stop: state and derivatives are NaN."""
    x, _, _, dh = random_scan(np.random.default_rng(7), 200, 2, 2, (), np.float32, longest=100.0)
    x.dt[195, 0] = np.nan
    h = advance.forward(x, None, 10)[0]
    dx, _ = advance.backward(x, dh, None, None, 10)
    assert np.isnan(h[:, 0]).all() and np.isnan(dx.A[0]).all() and np.isfinite(h[:, 1]).all()


def test_products_that_underflow_are_harmless():
    """Decays of e^-30 a step, float32: nothing is NaN, and the state is the sequential one."""
    x, _, _, dh = random_scan(np.random.default_rng(3), 200, 3, 2, (), np.float32, longest=30.0)
    x = x._replace(A=-np.ones_like(x.A))
    assert_same(at_once(x, dh, 64), by_steps(x, dh), 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_inputs_are_untouched(dtype):
    x, _, _, dh = random_scan(np.random.default_rng(4), 300, 3, 2, (2,), dtype, longest=0.02)
    before = [v.copy() for v in (*x, dh)]
    first, second = at_once(x, dh, 37), at_once(x, dh, 37)
    assert_same(first, by_steps(x, dh), 1e-5 if dtype == np.float32 else 1e-12)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])  # nothing is left over from before
    for value, kept in zip((*x, dh), before, strict=True):
        np.testing.assert_array_equal(value, kept)


def test_strict_namespace():
    """The same source on array-api-strict's fake device gives NumPy's numbers."""
    x, _, _, dh = random_scan(np.random.default_rng(5), 20, 3, 2, (2,))
    device = strict.Device("device1")
    moved = [strict.asarray(v, device=device) for v in (*x, dh)]
    ours = at_once(Selected(*moved[:5]), *moved[5:], 6)
    assert all(value.device == device for value in ours.values())
    assert_same(ours, at_once(x, dh, 6), 1e-13)


@pytest.mark.gpu
def test_on_the_card(cupy):
    """The same source on CuPy gives NumPy's numbers."""
    x, _, _, dh = random_scan(np.random.default_rng(6), 300, 3, 2, (2,))
    moved = [cupy.asarray(v) for v in (*x, dh)]
    ours = at_once(Selected(*moved[:5]), *moved[5:], 50)
    assert_same(ours, at_once(x, dh, 50), 1e-11)

"""The finite-sample model: its gradient, its data, and whole runs.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import sqrt

import numpy as np
import pytest
from finite_sample import LIKE, NAMES
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import agree, generator, seeds

from minizo import InputError
from minizo.lab.finite_sample.model import (
    STES,
    Task,
    gradient,
    inputs,
    make_task,
    own_seed,
    population_gradient,
    random_signs,
    signs,
    start,
)
from minizo.lab.finite_sample.runs import learn, step_size

# The model -------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 20), st.integers(1, 6),
       st.sampled_from(NAMES), seeds)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_gradient_is_its_definition(sets, runs, samples, n, name, seed):
    """A loop over data sets, runs and samples."""
    gen = generator(seed)
    x, y = gen.normal(size=(sets, samples, n)), gen.normal(size=(sets, runs, samples))
    s = signs(gen.normal(size=(sets, runs, n)))
    found = gradient(Task(x, y, s), STES[name], s)
    for b, r in np.ndindex(sets, runs):
        total = np.zeros(n)
        for k in range(samples):
            a = x[b, k] @ s[b, r] / sqrt(n)
            slope = 1.0 if name == "identity" else float(a > 0)
            total += x[b, k] * slope * ((a > 0) - y[b, r, k]) / samples
        np.testing.assert_allclose(found[b, r], total, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_population_gradient_is_the_mean(name):
    """E g(q) = c (q - w*) over 3,000 data sets, 6 s.e.; with the other STE's c it is rejected."""
    n, other = 6, STES[NAMES[1 - NAMES.index(name)]]
    x = generator(2).normal(size=(3000, 50, n))
    teacher, s = signs(generator(3).normal(size=(2, 1, 1, n))) * np.ones((2, 3000, 1, 1))
    found = gradient(make_task(x, teacher), STES[name], s)[:, 0]
    assert agree(found, population_gradient(STES[name], teacher[0] / sqrt(n), s[0])[0])
    assert not agree(found, population_gradient(other, teacher[0] / sqrt(n), s[0])[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_optimum_is_absorbing(name, dtype):
    """Without label noise g(w*) is 0 to the last bit; with noise it is not."""
    like = np.empty(0, dtype)
    x, teacher = inputs(3, range(2), 500, 12, like), random_signs(3, range(2), 4, 12, like)
    still = gradient(make_task(x, teacher), STES[name], teacher)
    assert still.dtype == dtype and not np.any(still)
    noisy = gradient(make_task(x, teacher, 0.1), STES[name], teacher)
    assert noisy.dtype == dtype and np.all(noisy != 0)


def test_label_noise_has_its_standard_deviation():
    """sd of y - 1{x.s* > 0} per run, 40,000 samples, 6 s.e.; the labels are 0 or 1 without it."""
    x, teacher = inputs(1, range(1), 40_000, 4, LIKE), random_signs(1, range(1), 3, 4, LIKE)
    clean = make_task(x, teacher).y
    assert set(np.unique(clean)) == {0.0, 1.0}
    sigma = np.array([[0.1], [0.5], [2.0]])
    noise = make_task(x, teacher, sigma, 9).y - clean
    for r in range(3):
        assert agree((noise[0, r] / sigma[r]) ** 2, 1.0) and agree(noise[0, r], 0.0)
    assert not agree((noise[0, 0] / 0.11) ** 2, 1.0)


def test_draws_belong_to_the_data_set():
    """The same data set is the same in any block; different ones, seeds and uses differ."""
    for draw in (
        lambda sets, seed: inputs(seed, sets, 7, 5, LIKE),
        lambda sets, seed: random_signs(seed, sets, 7, 9, LIKE),
        lambda sets, seed: start(seed, sets, 7, 9, LIKE, "gaussian"),
    ):
        every = draw(range(4), 5)
        np.testing.assert_array_equal(every[2:], draw(range(2, 4), 5))
        assert len({row.tobytes() for row in every}) == 4
        assert not np.array_equal(every, draw(range(4), 6))
    # a larger sample continues a smaller one
    np.testing.assert_array_equal(
        inputs(5, range(2), 9, 3, LIKE)[:, :4], inputs(5, range(2), 4, 3, LIKE)
    )
    teacher = random_signs(5, range(4), 7, 9, LIKE)
    assert abs(np.mean(teacher * signs(start(5, range(4), 7, 9, LIKE)))) < 6 / sqrt(252)
    assert len({own_seed(0, 1), own_seed(0, 2), own_seed(1, 1), own_seed(0, 1, 1)}) == 4


def test_starts():
    """Magnitude 1, or |N(0, 1)| (second moment, 6 s.e.); another name is refused with a hint."""
    assert np.all(np.abs(start(0, range(2), 3, 5, LIKE)) == 1.0)
    w = start(0, range(1), 100, 100, LIKE, "gaussian")
    assert agree(w.ravel() ** 2, 1.0) and agree(w.ravel(), 0.0)
    with pytest.raises(InputError, match="did you mean 'gaussian'"):
        start(0, range(1), 1, 2, LIKE, "gausian")


def counted(x, y, teacher, w, eta, steps, ste, burn):
    """One run, in plain Python."""
    n, seen = len(w), []
    out = dict(first=steps, total=np.zeros(n), wrong=np.zeros(n), away=0, escapes=0, returns=0)
    out["excess"] = np.zeros(n)
    for t in range(steps):
        s = np.array([1.0 if value >= 0 else -1.0 for value in w])
        bad = s != teacher
        if not bad.any():
            out["first"] = min(out["first"], t)
        out["total"] += s
        if t >= burn:
            out["wrong"] += bad
            seen.append(bool(bad.any()))
        a = x @ s
        r = (a > 0) - y
        g = x.T @ (r * (a > 0) if ste.name == "relu" else r) / len(x)
        delta = g / ste.slope - (s - teacher) / sqrt(n)
        out["excess"] = np.maximum(out["excess"], delta * teacher)
        w = w - eta * g
    out["away"] = sum(seen)
    out["escapes"] = sum(b and not a for a, b in zip(seen, seen[1:], strict=False))
    out["returns"] = sum(a and not b for a, b in zip(seen, seen[1:], strict=False))
    return out | {"w": w}


@given(st.integers(1, 6), st.integers(5, 40), st.sampled_from([0.0, 0.7]), st.sampled_from(NAMES),
       st.integers(0, 10), seeds)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_runs_are_a_plain_loop(n, samples, sigma, name, burn, seed):
    """Everything that is counted, for 2 data sets of 3 runs."""
    ste, eta = STES[name], step_size(STES[name], n, 0.3)
    x, teacher = inputs(seed, range(2), samples, n, LIKE), random_signs(seed, range(2), 3, n, LIKE)
    task, w = make_task(x, teacher, sigma, seed), start(seed, range(2), 3, n, LIKE, "gaussian")
    before = w.copy()
    found = learn(task, w, eta, 40, ste, burn=burn, raster=True)
    np.testing.assert_array_equal(w, before)
    for b, r in np.ndindex(2, 3):
        plain = counted(x[b], task.y[b, r], teacher[b, r], w[b, r], eta, 40, ste, burn)
        for name, value in plain.items():
            np.testing.assert_allclose(getattr(found, name)[b, r], value, atol=1e-9, err_msg=name)
        raster = np.array(found.raster)[:, b, r]
        np.testing.assert_array_equal(raster[burn:].sum(axis=0), plain["wrong"])


def test_stopping_early_changes_nothing():
    """The same first visits and the same average signs as without stopping, in fewer steps."""
    ste, eta = STES["identity"], step_size(STES["identity"], 16, 0.05)
    x, teacher = inputs(1, range(2), 300, 16, LIKE), random_signs(1, range(2), 2, 16, LIKE)
    task, w = make_task(x, teacher), start(1, range(2), 2, 16, LIKE)
    whole = learn(task, w, eta, 300, ste)
    short = learn(task, w, eta, 300, ste, absorbing=True)
    np.testing.assert_array_equal(whole.first, short.first)
    assert np.max(whole.first) <= short.steps < 100 < whole.steps == 300
    np.testing.assert_array_equal(signs(short.w), teacher)
    with pytest.raises(InputError, match="burn is 300, but it must lie between 0 and 299"):
        learn(task, w, eta, 300, ste, burn=300)

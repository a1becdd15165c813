"""The finite-sample laboratory's formulas: closed forms, propositions and the model itself.

Statistical claims: fixed seed, no retry, at most 6 standard errors; each has a negative control.
"""

from math import acos, ceil, comb, erf, exp, log, pi, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import agree, generator, seeds

from minizo import InputError, backend
from minizo.lab.finite_sample import closed_forms as cf
from minizo.lab.finite_sample import predictions as pr
from minizo.lab.finite_sample import shapes
from minizo.lab.finite_sample.closed_forms import Network
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
from minizo.lab.finite_sample.one_step import sampled
from minizo.lab.finite_sample.runs import learn, run, step_size

LIKE = np.empty(0)
NAMES = list(STES)


def network(m, n, *words):
    """A random network with w* of length 1."""
    gen = generator(m, n, *words)
    w_true = gen.normal(size=n)
    return Network(gen.normal(size=m), gen.normal(size=n), gen.normal(size=m),
                   w_true / np.linalg.norm(w_true))  # fmt: skip


# Closed forms of Yin et al. --------------------------------------------------------------------


@pytest.mark.parametrize("m, n", [(1, 3), (2, 3), (4, 6)])
def test_closed_forms_are_means_over_samples(m, n):
    """Loss, df/dv and both coarse gradients from 200,000 samples, 6 s.e.

    Negative control: the coarse gradients exchanged, and K without its 2.
    """
    net = network(m, n)
    samples = cf.sample_gradients(net, generator(1).normal(size=(200_000, m, n)))
    found = cf.loss(net), cf.gradient_v(net), cf.coarse_identity(net), cf.coarse_relu(net)
    for sample, value in zip(samples, found, strict=True):
        assert agree(sample, value)
    assert not agree(samples[2], found[3]) and not agree(samples[3], found[2])
    half = (net.v + net.v.sum() - (1 - cf.angle(net.w, net.w_true) / pi) * net.v_true
            - net.v_true.sum()) / 4  # fmt: skip
    assert not agree(samples[1], half)


@pytest.mark.parametrize("turn", [0.4, 1.7, 3.0])
def test_closed_forms_are_integrals_over_the_angle(turn):
    """m = 1, n = 2: Z = r (cos t, sin t), E r = sqrt(pi / 2); midpoint rule in t, error 1e-8.

    Negative control: an angle larger by 0.01 is off by more than 1e-4.
    """
    v, v_true, count = 0.7, 1.3, 2_000_000
    t = (np.arange(count) + 0.5) * 2 * pi / count
    e = np.stack([np.cos(t), np.sin(t)])

    def net(angle):
        w = 1.9 * np.array([np.cos(angle), np.sin(angle)])
        return Network(np.array([v]), w, np.array([v_true]), np.array([1.0, 0.0]))

    here = net(turn)
    fires, target = here.w @ e > 0, e[0] > 0
    error = v * fires - v_true * target
    loss = np.mean(0.5 * error**2)
    identity = sqrt(pi / 2) * np.mean(v * error * e, axis=1)
    relu = sqrt(pi / 2) * np.mean(v * error * fires * e, axis=1)
    for function, value in (
        (cf.loss, loss), (cf.gradient_v, np.mean(error * fires)), (cf.coarse_identity, identity),
        (cf.coarse_relu, relu),
    ):  # fmt: skip
        np.testing.assert_allclose(np.squeeze(function(here)), value, atol=2e-6)
        assert np.max(np.abs(np.squeeze(function(net(turn + 0.01))) - value)) > 1e-4


@given(st.integers(1, 5), st.integers(2, 7), seeds)
@settings(max_examples=40, deadline=None)
def test_gradients_of_the_loss_are_central_differences(m, n, seed):
    """df/dv and df/dw along a random direction, float64; 1 % more is found out."""
    net, gen = network(m, n, seed), generator(seed, 1)
    h = 1e-6
    for name, exact in (("v", cf.gradient_v(net)), ("w", cf.gradient_w(net))):
        x = getattr(net, name)
        direction = gen.normal(size=x.shape)
        if name == "w":
            direction *= np.linalg.norm(x)  # a step that w can feel, however long it is
        above, below = (cf.loss(net._replace(**{name: x + s * h * direction})) for s in (1, -1))
        numeric = (above - below) / (2 * h)
        size = np.linalg.norm(exact) * np.linalg.norm(direction)
        # f has a kink where w and w* are parallel: its curvature there is 1 / sin(theta)
        slack = 1e-7 + 1e-4 * size / np.sin(cf.angle(net.w, net.w_true))
        assert abs(exact @ direction - numeric) < 1e-4 * slack + 1e-8 * (1 + size)


def test_gradient_check_notices_one_percent():
    """Negative control of the check above."""
    net, h = network(3, 4), 1e-6
    direction = generator(5).normal(size=4)
    above, below = (cf.loss(net._replace(w=net.w + s * h * direction)) for s in (1, -1))
    numeric, exact = (above - below) / (2 * h), cf.gradient_w(net) @ direction
    assert abs(exact - numeric) < 1e-8 < abs(1.01 * exact - numeric)


@given(st.integers(1, 5), st.integers(2, 7), seeds)
@settings(max_examples=60, deadline=None)
def test_coarse_gradients_descend(m, n, seed):
    """<E g, df/dw> >= 0 for both, by the formula; coarse_relu is the lemma's cos(theta/2) form."""
    net = network(m, n, seed)
    theta, along = cf.angle(net.w, net.w_true), net.v @ net.v_true
    u = net.w / np.linalg.norm(net.w)
    slope = np.sin(theta) * along**2 / (2 * (2 * pi) ** 1.5 * np.linalg.norm(net.w))
    relu, identity = cf.coarse_relu(net), cf.coarse_identity(net)
    assert relu @ cf.gradient_w(net) == pytest.approx(slope, rel=1e-9, abs=1e-12)
    assert identity @ cf.gradient_w(net) == pytest.approx(2 * slope, rel=1e-9, abs=1e-12)
    h = net.v @ net.v + net.v.sum() ** 2 - net.v.sum() * net.v_true.sum() + along
    both = (u + net.w_true) / np.linalg.norm(u + net.w_true)
    lemma = h / (2 * sqrt(2 * pi)) * u - np.cos(theta / 2) * along / sqrt(2 * pi) * both
    np.testing.assert_allclose(relu, lemma, atol=1e-9)


@given(st.integers(2, 7), seeds)
@settings(max_examples=40, deadline=None)
def test_spurious_minimum(m, seed):
    """df/dv = 0 and E g_relu = 0 there, E g_id is not, by its formula; J^-1 by linear algebra."""
    net = network(m, 4, seed)
    v = cf.spurious_v(net.v_true)
    ones = np.ones((m, m))
    np.testing.assert_allclose(
        v, np.linalg.solve(np.eye(m) + ones, (ones - np.eye(m)) @ net.v_true), atol=1e-9
    )
    at = net._replace(v=v, w=-2.5 * net.w_true)
    np.testing.assert_allclose(cf.gradient_v(at), 0, atol=1e-9)
    np.testing.assert_allclose(cf.coarse_relu(at), 0, atol=1e-9)
    norm = np.linalg.norm(cf.coarse_identity(at))
    assert norm == pytest.approx(cf.spurious_identity_norm(net.v_true), rel=1e-9, abs=1e-9)


@given(st.integers(1, 6), st.booleans(), seeds)
@settings(max_examples=60, deadline=None)
def test_saddles_are_where_the_condition_says(m, one_sign, seed):
    """An angle below pi exists iff (1.v*)^2 < (m + 1) |v*|^2 / 2; there df/dv = 0, v.v* = 0."""
    v_true = generator(m, seed).normal(size=m)
    v_true = np.abs(v_true) if one_sign else v_true
    angle = cf.saddle_angle(v_true)
    exists = v_true.sum() ** 2 < 0.5 * (m + 1) * (v_true @ v_true)
    assert (angle is not None) == exists
    if exists:
        assert pi / 2 <= angle < pi
        k = (1 - 2 * angle / pi) * np.eye(m) + 1
        v = np.linalg.solve(np.eye(m) + 1, k @ v_true)
        assert abs(v @ v_true) < 1e-9 * (v_true @ v_true)
        w_true = np.array([1.0, 0.0])
        net = Network(v, np.array([np.cos(angle), np.sin(angle)]), v_true, w_true)
        np.testing.assert_allclose(cf.gradient_v(net), 0, atol=1e-9 * (1 + np.abs(v_true).max()))


def test_angles_are_accurate_at_both_ends():
    """1e-9 from 0 and from pi, where the arc cosine of a product would give 0."""
    w_true = np.array([1.0, 0.0])
    for angle in (1e-9, 0.3, pi / 2, pi - 1e-9):
        w = 7.0 * np.array([np.cos(angle), np.sin(angle)])
        assert cf.angle(w, w_true) == pytest.approx(angle, rel=1e-6, abs=1e-15)
    assert cf.angle(w_true, 5 * w_true) == 0 and cf.angle(w_true, -w_true) == pytest.approx(pi)


def test_no_gradient_at_the_kink():
    net = network(2, 3)
    with pytest.raises(InputError, match="must not be parallel"):
        cf.gradient_w(net._replace(w=-3.0 * net.w_true))


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


# Propositions 1 and 2: they hold for any delta at all ------------------------------------------


def adversary(gen, n, teacher, ste, size):
    """A drift c (q - w* + delta_t) with arbitrary delta_t of size up to ``size``."""

    def drift(s):
        return ste.slope * (s / sqrt(n) - teacher + size * gen.uniform(-1, 1, n))

    return drift


@given(st.integers(1, 12), st.floats(0.0, 1.5), st.floats(0.01, 1.0), st.floats(0.01, 10.0),
       st.sampled_from(NAMES), seeds)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_propositions_1_and_2_against_any_deviation(n, size, move, far, name, seed):
    """Wrong time <= bound; bound < 1/2 gives the average's sign; sum of bounds < 1 a visit."""
    gen, ste, steps = generator(seed), STES[name], 200
    optimum, w = signs(gen.normal(size=n)), far * gen.normal(size=n)
    eta = step_size(ste, n, move)
    drift = adversary(gen, n, optimum / sqrt(n), ste, size / sqrt(n))
    found = run(drift, optimum / sqrt(n), w, eta, steps, ste)
    bound = pr.wrong_time_bound(found.excess, w, eta, ste, steps)
    assert np.all(found.wrong / steps <= bound + 1e-9)
    assert np.all((found.total * optimum > 0)[bound < 0.5])
    if pr.visits_optimum(bound):
        assert found.first < steps


def test_proposition_1_is_nearly_attained():
    """A constant deviation of 0.8 / sqrt(n): wrong for 0.4 of the time; half of it is too low."""
    n, ste, steps = 4, STES["identity"], 5000
    optimum = np.ones(n)
    delta = np.array([0.8, 0.4, 0.2, 0.0]) / sqrt(n)
    eta, w = step_size(ste, n, 0.0317), np.full(n, 0.01)

    def drift(s):
        return ste.slope * (s / sqrt(n) - optimum / sqrt(n) + delta)

    found = run(drift, optimum / sqrt(n), w, eta, steps, ste)
    bound = pr.wrong_time_bound(found.excess, w, eta, ste, steps)
    np.testing.assert_allclose(found.wrong / steps, 0.5 * sqrt(n) * delta, atol=1e-3)
    assert np.all(found.wrong / steps <= bound)
    half = pr.wrong_time_bound(0.5 * found.excess, w, eta, ste, steps)
    assert np.any(found.wrong / steps > half)


def test_a_tempting_condition_for_the_last_iterate_fails():
    """sqrt(n) delta (1 + max|w_0| / min|w_0|) < 2 does not keep an adversary from keeping w* away.

    Six coordinates start wrong by 1 and cross 0 at different times; then each is pushed back at a
    constant rate, and some coordinate is wrong at every step. Proposition 2 is not contradicted:
    its bounds add up to more than 1.
    """
    n, ste, size, steps = 6, STES["identity"], 0.95, 2000
    teacher, w, eta = np.ones(n) / sqrt(n), -np.ones(n), step_size(STES["identity"], 6, 0.0317)
    crossed = np.zeros(n, bool)

    def drift(s):
        crossed[s > 0] = True
        delta = np.where(crossed, size, np.linspace(-0.9, 0.9, n)) / sqrt(n)
        return ste.slope * (s / sqrt(n) - teacher + delta)

    found = run(drift, teacher, w, eta, steps, ste)
    largest = size / sqrt(n)
    assert sqrt(n) * largest * (1 + 1) < 2
    arrival = ceil(sqrt(n) / (eta * ste.slope * (2 - sqrt(n) * largest))) + 1
    assert crossed.all() and arrival < steps / 10
    assert found.first == steps and found.away == steps  # never there
    assert not pr.visits_optimum(pr.wrong_time_bound(found.excess, w, eta, ste, steps))


def test_sufficient_sample_sizes():
    """The exponents 2 and 4, and the constants from sqrt(N) sup |delta| = 2 sqrt(theta n ln 2)."""
    for n in (4, 32):
        sup = 2 * sqrt(pi / 2 * n * log(2))
        assert sup / sqrt(pr.samples_for_average(n)) == pytest.approx(1 / sqrt(n))
        assert sup / sqrt(pr.samples_for_last(n)) == pytest.approx(2 / n**1.5)
    assert pr.samples_for_average(64) == pytest.approx(4 * pr.samples_for_average(32))
    assert pr.samples_for_last(64) == pytest.approx(16 * pr.samples_for_last(32))


# Proposition 3 ---------------------------------------------------------------------------------


def test_one_step_formula():
    """The values of the specification; half at the threshold's scale; more samples help."""
    ste = STES["identity"]
    for n, half, full in ((16, 0.45, 0.86), (32, 0.36, 0.87), (64, 0.26, 0.88), (128, 0.17, 0.89)):
        threshold = pr.one_step_threshold(n, ste)
        assert threshold == pytest.approx(2 * pi * n * log(n))
        assert pr.one_step_probability(n, threshold / 2, ste) == pytest.approx(half, abs=0.006)
        assert pr.one_step_probability(n, threshold, ste) == pytest.approx(full, abs=0.006)
        relu = pr.one_step_probability(n, 2 * threshold, STES["relu"])
        assert relu == pytest.approx(pr.one_step_probability(n, threshold, ste))


def direct(gen, trials, n, samples, ste):
    """One step from s_0 on a drawn data set, ``trials`` times: successes."""
    x = gen.normal(size=(trials, samples, n))
    teacher, s = signs(gen.normal(size=(2, trials, 1, n)))
    g = gradient(make_task(x, teacher), ste, s)
    return np.all((s / sqrt(n) - g / ste.slope) * teacher > 0, axis=-1)[:, 0]


@pytest.mark.parametrize("name, samples", [("identity", 40), ("identity", 90), ("relu", 150)])
def test_the_short_way_has_the_law_of_the_long_way(name, samples):
    """Success in one step, n = 8: 20,000 short draws against 20,000 data sets, 6 s.e.

    Negative control: 1.5 times as many samples are told apart.
    """
    ste, trials = STES[name], 20_000
    long = direct(generator(samples), trials, 8, samples, ste).mean()
    short = sampled(0, trials, 8, samples, ste, LIKE).mean()
    more = sampled(0, trials, 8, samples * 3 // 2, ste, LIKE).mean()
    se = sqrt(2 * long * (1 - long) / trials)
    assert 0.05 < long < 0.95
    assert abs(short - long) < 6 * se < abs(more - long)


@pytest.mark.parametrize("wrong", [1, 3, 4, 8])
@pytest.mark.parametrize("name", NAMES)
def test_variance_of_delta(name, wrong):
    """N Var delta_i of wrong and right coordinates, n = 8, 20,000 data sets of 50; 6 s.e.

    Negative control: the leading order 2 theta / share alone, where it differs.
    """
    n, samples, ste = 8, 50, STES[name]
    x = generator(wrong).normal(size=(20_000, samples, n))
    teacher = np.ones((20_000, 1, n))
    s = teacher.copy()
    s[..., :wrong] = -1
    delta = gradient(make_task(x, teacher), ste, s)[:, 0] / ste.slope - (s - teacher)[:, 0] / sqrt(
        n
    )
    squares = samples * (delta - delta.mean(axis=0)) ** 2
    off, right = pr.delta_variance(n, wrong, ste)
    assert agree(squares[:, :wrong], off)
    if wrong < n:
        assert agree(squares[:, wrong:], right)
        assert not agree(squares[:, wrong:], 2 * acos(1 - 2 * wrong / n) / ste.share)
    else:
        assert np.isnan(right)


def test_variance_of_delta_at_the_ends():
    """No wrong coordinate: variance 0; many coordinates: the leading order."""
    assert np.isnan(pr.delta_variance(8, 0, STES["identity"])[0])
    assert pr.delta_variance(8, 0, STES["identity"])[1] == pytest.approx(0, abs=1e-12)
    for value in pr.delta_variance(10_000, 5000, STES["identity"]):
        assert value == pytest.approx(pi, rel=1e-3)
    with pytest.raises(InputError, match="wrong is 9, but it must lie between 0 and 8"):
        pr.delta_variance(8, 9, STES["identity"])


def test_union_bound_over_all_sign_vectors():
    """The sum over all q at the bound is the failure rate; the rough form is near it."""
    for n in (4, 9):
        for failure in (0.5, 1e-6):
            t = pr.uniform_bound(n, failure)
            total = 0.0
            for k in range(1, n + 1):
                sd = sqrt(2 * acos(1 - 2 * k / n))
                total += comb(n, k) * n * 2 * NormalDist().cdf(-t / sd)
            assert total == pytest.approx(failure, rel=1e-6)
        assert pr.simple_uniform_bound(n) == pytest.approx(pr.uniform_bound(n, 0.5), rel=0.05)


# Proposition 4 ---------------------------------------------------------------------------------


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_product_law_is_at_least_the_union_bound(p):
    p = np.array(p)
    assert pr.product_law(p) >= pr.union_bound(p) - 1e-12


@given(st.integers(1, 10), st.floats(0.0, 0.6), st.floats(0.01, 0.3), seeds)
@settings(max_examples=40, deadline=None)
def test_each_coordinate_is_a_rotation(n, spread, move, seed):
    """Population gradient, real teacher: wrong steps within 2 of p_i T, away at most sum p_i."""
    gen, ste, steps = generator(seed), STES["identity"], 1500
    size = np.abs(1 + spread * gen.normal(size=n))
    optimum = signs(gen.normal(size=n))
    teacher = optimum * size / np.linalg.norm(size)
    w = move * optimum * gen.uniform(0, 1, n)
    found = run(
        lambda s: population_gradient(ste, teacher, s),
        teacher,
        w,
        step_size(ste, n, move),
        steps,
        ste,
    )
    p = pr.teacher_fractions(teacher)
    assert np.all(np.abs(found.wrong - p * steps) < 2 + 1e-6)
    assert found.away <= steps * p.sum() + 2 * n
    assert abs(found.escapes - found.returns) <= 1


def test_union_bound_needs_more_than_the_cosine():
    """sum p_i < 1 implies cos(w*, sgn w*) > 1 - 2 / n, and not the other way round.

    The converse would hold if p_i could be negative where sqrt(n) |w*_i| > 1.
    """
    gen, n, counter = generator(4), 8, 0
    for spread in gen.uniform(0, 1, 400):
        w = np.abs(1 + spread * gen.normal(size=n))
        w /= np.linalg.norm(w)
        total, cosine = pr.teacher_fractions(w).sum(), w.sum() / sqrt(n)
        assert cosine > 1 - 2 / n or total >= 1
        assert total >= (n - sqrt(n) * w.sum()) / 2 - 1e-12
        counter += cosine > 1 - 2 / n and total >= 1
    assert counter > 0


@pytest.mark.parametrize("name", NAMES)
def test_mean_occupancy_is_the_mean_product(name):
    """E prod(1 - p_i) over e ~ N(0, sigma^2 share / N), 20,000 draws, within 0.01.

    Negative control: n in the place of n^(3/2).
    """
    n, samples, sigma, ste = 16, 4000, 0.4, STES[name]
    e = sigma * sqrt(ste.share / samples) * generator(1).normal(size=(20_000, n))
    mean = pr.product_law(pr.wrong_fractions(e, np.ones(n), ste)).mean()
    formula = pr.mean_occupancy(n, samples, sigma, ste)
    assert mean == pytest.approx(formula, abs=0.01)
    assert abs(mean - formula ** (1 / sqrt(n))) > 0.05


def test_noise_at_the_optimum():
    """e = g(w*) has variance sigma^2 share / N for both STEs, 6 s.e.; not with the other share."""
    n, samples, sigma = 4, 100, 0.3
    x = inputs(2, range(4000), samples, n, LIKE)
    teacher = random_signs(2, range(4000), 1, n, LIKE)
    task = make_task(x, teacher, sigma, 2)
    for name, ste in STES.items():
        squares = samples / sigma**2 * gradient(task, ste, teacher)[:, 0] ** 2
        assert agree(squares, ste.share)
        assert not agree(squares, STES[NAMES[1 - NAMES.index(name)]].share)


# Proposition 5, and inputs that are not N(0, I) ------------------------------------------------


def test_mean_response():
    """E x 1{x.q > 0} for a correlated, shifted Gaussian, 400,000 draws, 6 s.e.

    Negative control: without the mean's part, and with q in the place of S q.
    """
    gen, n = generator(6), 3
    root, mean = gen.normal(size=(n, n)), np.array([0.5, -0.2, 1.0])
    covariance, s = root @ root.T, np.array([1.0, -1.0, 1.0])
    x = mean + gen.normal(size=(400_000, n)) @ root.T
    sample = x * (x @ s > 0)[:, None]
    assert agree(sample, pr.mean_response(mean, covariance, s))
    assert not agree(sample, pr.mean_response(0 * mean, covariance, s))
    assert not agree(sample, pr.mean_response(mean, np.eye(n), s))


def test_mean_response_is_an_integral():
    """n = 1: mu Phi(mu / sd) + sd phi(mu / sd), midpoint rule, error 1e-7."""
    mean, sd = 0.7, 1.4
    z = (np.arange(200_000) + 0.5) / 200_000 * 20 * sd
    density = np.exp(-0.5 * ((z - mean) / sd) ** 2) / (sd * sqrt(2 * pi))
    integral = np.sum(z * density) * (z[1] - z[0])
    found = pr.mean_response(np.array([mean]), np.array([[sd**2]]), np.ones(1))
    assert found[0] == pytest.approx(integral, abs=1e-7)
    closed = mean * 0.5 * (1 + erf(mean / sd / sqrt(2))) + sd * exp(-0.5 * (mean / sd) ** 2) / sqrt(
        2 * pi
    )
    assert found[0] == pytest.approx(closed, rel=1e-12)


@given(st.integers(2, 10), seeds)
@settings(max_examples=30, deadline=None)
def test_diagonal_covariance_is_harmless_and_correlation_is_not(n, seed):
    """Right coordinates have no drift under diag(S); under AR(0.9) or a mean they have."""
    gen = generator(seed)
    teacher = signs(gen.normal(size=n))
    s = teacher.copy()
    s[0] = -s[0]

    def drift(mean, covariance):
        return (
            pr.mean_response(mean, covariance, s) - pr.mean_response(mean, covariance, teacher)
        )[1:]

    zero = np.zeros(n)
    np.testing.assert_allclose(drift(zero, np.diag(gen.uniform(0.1, 3, n))), 0, atol=1e-12)
    assert np.abs(drift(zero, shapes.autoregression(n, 0.9))).max() > 1e-3
    assert np.abs(drift(zero + 1.0, np.eye(n))).max() > 1e-3


def test_shapes_have_their_moments():
    """Means and covariances of the laws, 100,000 samples, 6 s.e.; t3 by its quartile."""
    shape, scales = (100_000, 4), np.geomspace(*shapes.SCALES, 4)
    draws = {name: law(3, 0, shape, LIKE) for name, law in shapes.LAWS.items()}
    for name in ("gaussian", "correlated", "student t3", "rademacher"):
        assert agree(draws[name], 0.0)
    assert agree(draws["exponential"], scales) and agree(draws["exponential"] ** 2, 2 * scales**2)
    assert agree(draws["half-normal"], sqrt(2 / pi)) and agree(draws["half-normal"] ** 2, 1.0)
    assert set(np.unique(draws["rademacher"])) == {-1.0, 1.0}
    x = draws["correlated"]
    products = x[:, :, None] * x[:, None, :]
    assert agree(products, shapes.autoregression(4, 0.9))
    assert not agree(products, shapes.autoregression(4, 0.85))
    assert agree((np.abs(draws["student t3"]) < 0.7648923).astype(float), 0.5)  # t3's quartile
    assert agree(shapes.shifted(3, 0, shape, LIKE, 2.0), 2.0)


def test_mended_inputs():
    """Standardised: mean 0, sd 1; whitened: covariance I; both leave a mended input as it is."""
    x = np.stack([shapes.exponential(1, b, (500, 5), LIKE) for b in range(2)])
    flat, white = shapes.standardised(x), shapes.whitened(x)
    for mended in (flat, white):
        np.testing.assert_allclose(mended.mean(axis=1), 0, atol=1e-12)
        np.testing.assert_allclose(mended.std(axis=1), 1, atol=1e-12)
    for b in range(2):
        np.testing.assert_allclose(np.cov(white[b].T, bias=True), np.eye(5), atol=1e-10)
        assert np.abs(np.cov(flat[b].T, bias=True) - np.eye(5)).max() > 0.01
    np.testing.assert_allclose(shapes.whitened(white), white, atol=1e-8)
    np.testing.assert_array_equal(shapes.raw(x), x)


# Another array library -------------------------------------------------------------------------


def test_strict_arrays_give_the_same():
    """Closed forms, drawing, runs, mendings: array-api-strict on its fake device, 1e-12."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")

    def put(x):
        return strict.asarray(np.asarray(x), device=device)

    def same(ours, reference):
        assert ours.device == device
        np.testing.assert_allclose(backend.to_numpy(ours), reference, rtol=1e-12, atol=1e-13)

    net = network(3, 4)
    theirs = Network(*map(put, net))
    for function in (cf.loss, cf.gradient_v, cf.gradient_w, cf.coarse_identity, cf.coarse_relu):
        same(function(theirs), function(net))
    same(cf.spurious_v(theirs.v_true), cf.spurious_v(net.v_true))
    same(cf.spurious_identity_norm(theirs.v_true), cf.spurious_identity_norm(net.v_true))
    assert cf.saddle_angle(theirs.v_true) == pytest.approx(cf.saddle_angle(net.v_true))
    z = generator(1).normal(size=(7, 3, 4))
    for ours, reference in zip(
        cf.sample_gradients(theirs, put(z)), cf.sample_gradients(net, z), strict=True
    ):
        same(ours, reference)

    def everything(like, put):
        x, teacher = inputs(1, range(2), 60, 5, like), random_signs(1, range(2), 3, 5, like)
        sigma = put(np.array([[0.1], [0.2], [0.3]]))
        task = make_task(x, teacher, sigma, 4)
        w = start(2, range(2), 3, 5, like, "gaussian")
        answer = [x, teacher, task.y, w]
        for ste in STES.values():
            found = learn(task, w, step_size(ste, 5, 0.1), 30, ste, burn=5, raster=True)
            answer += [*found[:-2], *found.raster]
        answer += [shapes.standardised(x)]
        answer += [law(5, 1, (6, 3), like) for law in shapes.LAWS.values()]
        return answer

    for ours, reference in zip(
        everything(put(LIKE), put), everything(LIKE, np.asarray), strict=True
    ):
        same(ours, reference)
    x = inputs(1, range(2), 60, 5, LIKE)
    np.testing.assert_allclose(
        backend.to_numpy(shapes.whitened(put(x))), shapes.whitened(x), rtol=1e-9, atol=1e-10
    )
    ours = sampled(0, 50, 8, 60, STES["relu"], put(LIKE))
    np.testing.assert_array_equal(ours, sampled(0, 50, 8, 60, STES["relu"], LIKE))

"""Sizes of perturbations, what is perturbed, the schedule of beta, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from strategies import (
    Query,
    agree,
    directions,
    estimates,
    make_query,
    one_direction_samples,
    random_quadratic,
    recording,
    small_network,
    two_point_gradient,
)
from zeroth_order import NAMES, unit

from minizo import FOGZO, SPSA, Pool, Step
from minizo.errors import InputError
from minizo.laws import LAWS
from minizo.quantizers import FullPrecision, IRNet, MidRise, QuEST, Sign, Xnor

# eps


def test_eps_of_each_tensor():
    """G_l = dF / (2 eps_l) v_l: means are still the gradient (6 SE), eps differing by 30 times.

    Negative control: dividing by one eps, their mean, is rejected.
    """
    objective, theta = random_quadratic(4)
    eps = np.array([0.02, 0.02, 0.6, 0.6])
    query = make_query(objective, theta, eps, "uniform")
    v = directions(query, 0, 1)[0]
    one, _ = two_point_gradient(query, 1, Pool())
    dF = objective.loss(theta + eps * v) - objective.loss(theta - eps * v)
    np.testing.assert_allclose(one, dF / (2.0 * eps) * v, rtol=1e-11)
    samples = estimates(query, 64, 1500)
    g = objective.gradient(theta)
    assert agree(samples, g)
    assert not agree(samples, g * eps / np.mean(eps))
    np.testing.assert_allclose(
        np.mean(one_direction_samples(query, 64), axis=0), samples[0], rtol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_parameters_that_are_not_moved_are_not_touched(name):
    """Their entries of every point have theta's bits, their gradient is exactly 0."""
    inner, theta = random_quadratic(6)
    objective = recording(inner)
    moved = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    query = make_query(objective, theta, 0.3, name, moved=moved)
    gradient, _ = two_point_gradient(query, 80, Pool())
    for rows in objective.points:
        assert np.all(rows[:, moved == 0.0] == theta[moved == 0.0])
        assert np.all(rows[:, moved > 0.0] != theta[moved > 0.0])
    np.testing.assert_array_equal(gradient[moved == 0.0], 0.0)
    assert np.all(gradient[moved > 0.0] != 0.0)


@pytest.mark.parametrize("surrogate", ["identity", "hardtanh", "tanh", "approxsign"])
@pytest.mark.parametrize("kind", [Sign, MidRise])
def test_matched_eps_and_law(kind, surrogate):
    """eps = eps_scale alpha epsbar by layer, biases like their layer's weights, law the STE's."""
    quantizer = kind(surrogate)
    objective, theta, _ = small_network(quantizer)
    spsa = SPSA(eps_scale=2.0)
    eps = spsa.init(objective, theta).eps
    for layer in ("fc1", "fc2"):
        expected = 2.0 * quantizer.epsbar * float(objective.scales[f"{layer}.weight"][0])
        for part in ("weight", "bias"):
            found = eps[objective.network.slices[f"{layer}.{part}"]]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    state = spsa.init(objective, theta)
    assert spsa.noise(objective, state, Step()).law is quantizer.law
    other = replace(spsa, law="gaussian")
    assert other.noise(objective, state, Step()).law is LAWS["gaussian"]


def test_a_given_eps_is_the_same_for_every_parameter():
    """eps times eps_scale, in theta's dtype; also where nothing is quantised."""
    for quantizer in (MidRise(), FullPrecision()):
        objective, theta, _ = small_network(quantizer)
        eps = SPSA(eps=0.25, eps_scale=0.5).init(objective, theta).eps
        assert eps.dtype == theta.dtype and eps.shape == theta.shape
        np.testing.assert_array_equal(eps, 0.125)


@pytest.mark.parametrize("quantizer", [FullPrecision(), QuEST(), IRNet(), Xnor("tanh")])
def test_default_eps_where_no_noise_is_implied(quantizer):
    """A share of each tensor's root mean square, and for the filters of IR-Net of each filter's."""
    objective, theta, _ = small_network(quantizer)
    eps = SPSA().init(objective, theta).eps
    for name in objective.quantized:
        w = objective.cut(theta, name)
        size = quantizer.default_eps * np.sqrt(np.mean(w * w, axis=-1, keepdims=True))
        if quantizer.epsbar is not None:  # XNOR: the unit of x itself
            size = quantizer.epsbar * np.ones_like(size)
        wanted = np.broadcast_to(size, w.shape).reshape(-1)
        np.testing.assert_allclose(eps[objective.network.slices[name]], wanted, rtol=1e-12)
    assert np.all(eps > 0.0)


def test_parts_that_are_perturbed_by_name():
    """Patterns of names; what they leave out stays, and FOGZO gives it back-propagation's."""
    objective, theta, batch = small_network()
    moved = SPSA(perturb="fc1.*, fc2.bias").init(objective, theta).moved
    slices = objective.network.slices
    assert {name: set(moved[part]) for name, part in slices.items()} == {
        "fc1.weight": {1.0}, "fc1.bias": {1.0}, "fc2.weight": {0.0}, "fc2.bias": {1.0},
    }  # fmt: skip
    rule, g = FOGZO(perturb="fc1.*"), objective.ste_gradient(theta, batch).gradient
    got = rule.estimate(objective, theta, batch, rule.init(objective, theta), Step())[0].grad
    np.testing.assert_array_equal(got[slices["fc2.weight"]], g[slices["fc2.weight"]])
    assert np.mean(got[slices["fc1.weight"]] == g[slices["fc1.weight"]]) < 0.5


def biases_of(objective):
    """A mask over theta: the parameters that are not quantised."""
    mask = np.ones(objective.network.d, bool)
    for name in objective.quantized:
        mask[objective.network.slices[name]] = False
    return mask


@pytest.mark.parametrize("eps", [None, 0.05])
def test_perturbing_the_quantised_parameters_only(eps):
    """n-SPSA gives biases 0, FOGZO their back-propagated gradient; no point moves a bias."""
    inner, theta, batch = small_network()
    bias = biases_of(inner)
    _, g, _ = inner.ste_gradient(theta, batch)
    for kind, expected in ((SPSA, np.zeros_like(g)), (FOGZO, g)):
        objective = recording(inner)
        estimator = kind(n=20, perturb="quantized", eps=eps)
        estimate, _ = estimator.estimate(
            objective, theta, batch, estimator.init(objective, theta), Step()
        )
        np.testing.assert_array_equal(estimate.grad[bias], expected[bias])
        assert not np.array_equal(estimate.grad[~bias], expected[~bias])
        for rows in objective.points:
            assert np.all(rows[:, bias] == theta[bias])
        everything = replace(estimator, perturb="all")
        estimate, _ = everything.estimate(
            objective, theta, batch, everything.init(objective, theta), Step()
        )
        assert not np.any(estimate.grad[bias] == expected[bias])


def test_guide_is_the_unit_vector_of_the_perturbed_parameters():
    """FOGZO equals `two_point_gradient` with ghat = g / ||g|| made by hand, to 1e-12."""
    objective, theta, batch = small_network(dtype=np.float64)
    loss, g, _ = objective.ste_gradient(theta, batch)
    for perturb in ("all", "quantized"):
        fogzo = FOGZO(n=30, beta=0.8, perturb=perturb, beta_schedule="constant")
        state = fogzo.init(objective, theta)
        step = Step(seed=2, index=5, total=9)
        estimate, _ = fogzo.estimate(objective, theta, batch, state, step)
        moved = np.ones(theta.size) if perturb == "all" else 1.0 - biases_of(objective)
        guide, law = unit(g * moved), objective.quantizer.law
        query = Query(objective, theta, batch, state.eps, law, 2, 5, guide, 0.8, moved)
        expected = two_point_gradient(query, 30, Pool())[0] + (1.0 - moved) * g
        np.testing.assert_allclose(estimate.grad, expected, rtol=1e-12, atol=1e-14)
        assert estimate.loss == loss


# beta over a run


@pytest.mark.parametrize("shape", ["linear", "cosine", "step"])
def test_scheduled_beta_starts_at_1_and_falls(shape):
    """1 at progress 0 exactly, never rising, and never below its smallest value."""
    fogzo = FOGZO(beta=0.3, beta_schedule=shape)
    values = [fogzo.beta_at(p) for p in np.linspace(0.0, 1.0, 101)]
    assert values[0] == 1.0 and np.all(np.diff(values) <= 0.0)
    end = 0.3 + (0.01 * 0.7 if shape == "step" else 0.0)
    assert values[-1] == pytest.approx(end, abs=1e-15)


def test_linear_and_constant_beta():
    """beta(t) = beta + (1 - t/T)(1 - beta) to 1e-15, and beta throughout."""
    for p in (0.0, 0.1, 0.5, 0.95, 1.0):
        linear = FOGZO(beta=0.9, beta_schedule="linear").beta_at(p)
        assert linear == pytest.approx(0.9 + (1.0 - p) * 0.1, abs=1e-15)
        assert FOGZO(beta=0.9, beta_schedule="constant").beta_at(p) == 0.9


def test_the_schedule_reaches_the_directions():
    """At step t the estimate is that of constant beta(t), bit for bit; another beta's is not."""
    objective, theta = random_quadratic(8)
    common = {"n": 5, "eps": 0.1, "law": "uniform"}
    scheduled = FOGZO(**common, beta=0.5, beta_schedule="linear")

    def grad(estimator, index):
        step = Step(seed=1, index=index, total=4)
        return estimator.estimate(
            objective, theta, None, estimator.init(objective, theta), step
        )[0].grad  # fmt: skip

    for index, beta in enumerate((1.0, 0.875, 0.75, 0.625)):
        constant = FOGZO(**common, beta=beta, beta_schedule="constant")
        np.testing.assert_array_equal(grad(scheduled, index), grad(constant, index))
        other = FOGZO(**common, beta=0.5, beta_schedule="constant")
        assert not np.array_equal(grad(scheduled, index), grad(other, index))


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.3, 3), (0.35, 4), (0.7, 7), (1.0, 10)])
def test_ste_share_switches_at_its_step(share, first):
    """Steps t with t/T < share are the STE's to the bit, at its cost; from there on FOGZO's."""
    objective, theta, batch = small_network()
    mixed, plain = (
        FOGZO(n=3, ste_share=share, beta_schedule="constant"),
        FOGZO(n=3, beta_schedule="constant"),
    )
    state = mixed.init(objective, theta)
    _, g, _ = objective.ste_gradient(theta, batch)
    for index in range(10):
        step = Step(index=index, total=10)
        estimate, _ = mixed.estimate(objective, theta, batch, state, step)
        if index < first:
            np.testing.assert_array_equal(estimate.grad, g)
            assert (estimate.forwards, estimate.backwards) == (1, 1)
        else:
            expected, _ = plain.estimate(objective, theta, batch, state, step)
            np.testing.assert_array_equal(estimate.grad, expected.grad)
            assert (estimate.forwards, estimate.backwards) == (7, 1)


# Bad parameters


@pytest.mark.parametrize("kind", [SPSA, FOGZO])
@pytest.mark.parametrize("value", ["weights", "fc3.*", "", None])
def test_unknown_parts_to_perturb_are_refused_with_their_sentence(kind, value):
    """Argument, value and remedy, on one line."""
    objective, theta, _ = small_network()
    with pytest.raises(InputError) as caught:
        kind(perturb=value).init(objective, theta)
    remedies = ("it is neither all nor quantized, and fits no name", "it is all, quantized, or pat")
    assert str(caught.value).startswith(f"perturb is {value!r}, but {remedies[not value]}")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"law": "unifrom"}, "law: unknown name 'unifrom'; did you mean 'uniform'?"),
        ({"law": "normal-gaussian"}, "did you mean 'gaussian'?"),
        ({"law": "match"}, "did you mean 'matched'?"),
        ({"beta_schedule": "linera"}, "unknown name 'linera'; did you mean 'linear'"),
    ],
)
def test_mistyped_names_are_answered_with_the_nearest(settings, sentence):
    """The sentence names the argument, the mistake and what was probably meant."""
    with pytest.raises(InputError) as caught:
        FOGZO(**settings)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"in_flight": 0}, "in_flight is 0, but"), ({"memory": 0}, "memory is 0, but")],
)
def test_pools_without_room_are_refused(settings, sentence):
    """At least one block and one byte."""
    with pytest.raises(InputError, match=sentence):
        Pool(**settings)

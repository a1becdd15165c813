"""FOGZO's guide in the coordinates of theta and in those of the perturbation, and the STE's alone.

F is linear with gradient g, and several tensors have eps of their own. The scaled guide gives
E[G] = g whatever beta; at beta = 1 every estimate is g, up to rounding. The unit vector of g itself
does not. Statistical claims: fixed seed, no retry, 6 standard errors of the sample itself.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    SIGMAS,
    Linear,
    agree,
    error_of,
    generator,
    make_query,
    one_direction_samples,
    small_network,
    z_scores,
)
from zeroth_order import MANY, NAMES, unit

from minizo import FOGZO, STE, NormalisedSTE, Step
from minizo.estimators.spsa import SPSAState
from minizo.norms import unit as units

EPS = np.repeat([0.02, 0.5, 0.1], [4, 2, 3])  # three tensors
G = generator(11).normal(size=EPS.size)
GUIDES = {"scaled": unit(EPS * G), "gradient": unit(G)}


def cosine(a, b):
    """a . b / (||a|| ||b||)."""
    return unit(a) @ unit(b)


def fogzo(guide, eps, g, moved=None, n=1, seed=0, beta=1.0):
    """G of the package's own estimator at theta = 0 for the linear loss g . theta."""
    moved = np.ones_like(eps) if moved is None else moved
    perturb = "all" if np.all(moved) else "quantized"
    rule = FOGZO(n, "gaussian", 1.0, perturb=perturb, beta=beta, beta_schedule="constant",
                 guide=guide)  # fmt: skip
    state, step = SPSAState(eps, moved), Step(seed=seed)
    return rule.estimate(Linear(g), np.zeros_like(eps), None, state, step)[0].grad


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("name", NAMES)
def test_mean_for_a_linear_loss(name, beta):
    """E G = g within 6 SE with the scaled guide.

    Negative control: with the unit vector of g E G is (beta ghat ghat^T + (1 - beta) I)(eps g)/eps
    instead, which is told from g by 30 SE and more.
    """
    samples = {
        guide: one_direction_samples(
            make_query(Linear(G), np.zeros_like(G), EPS, name, guide=ghat, beta=beta), MANY
        )
        for guide, ghat in GUIDES.items()
    }
    assert agree(samples["scaled"], G)
    ghat = GUIDES["gradient"]
    other = beta * ghat * (ghat @ (EPS * G)) / EPS + (1.0 - beta) * G
    assert agree(samples["gradient"], other)
    if beta > 0.0:
        assert np.max(z_scores(samples["gradient"], G)) > 5.0 * SIGMAS
        assert cosine(np.mean(samples["gradient"], axis=0), G) < 0.95
    else:
        np.testing.assert_array_equal(samples["scaled"], samples["gradient"])


sizes = st.lists(st.integers(1, 5), min_size=2, max_size=4)


@given(sizes, st.integers(0, 2**32 - 1), st.integers(1, 5), st.data())
def test_every_estimate_is_the_gradient_at_beta_1(tensors, seed, n, data):
    """G = g to 1e-9 for every seed and n with the scaled guide, whatever the eps of each tensor.

    Negative control: with the unit vector of g, G = (ghat / eps)(ghat . eps g), and the cosine with
    g is below 1 as soon as the eps differ.
    """
    exponents = st.integers(-8, 3)
    own = data.draw(st.lists(exponents, min_size=len(tensors), max_size=len(tensors), unique=True))
    eps, g = np.repeat(2.0 ** np.array(own), tensors), generator(seed).normal(size=sum(tensors))
    np.testing.assert_allclose(fogzo("scaled", eps, g, n=n, seed=seed), g, rtol=1e-9, atol=1e-12)
    other, ghat = fogzo("gradient", eps, g, n=n, seed=seed), unit(g)
    wanted = ghat / eps * (ghat @ (eps * g))
    np.testing.assert_allclose(other, wanted, rtol=1e-9, atol=1e-12)
    # 1 / (||ghat|| ||ghat / eps||) (ghat . ghat / eps) < 1 by Cauchy-Schwarz: eps is not constant
    assert cosine(other, g) < 1.0 - 1e-9


@pytest.mark.parametrize("beta", [0.0, 0.7, 1.0])
def test_the_guides_are_one_where_eps_is(beta):
    """Bit for bit, as eps is a power of two; with another eps for one number they differ."""
    eps = np.full(9, 0.25)
    one, other = (fogzo(guide, eps, G, n=5, beta=beta) for guide in GUIDES)
    np.testing.assert_array_equal(one, other)
    eps[0] = 0.5
    one, other = (fogzo(guide, eps, G, n=5, beta=beta) for guide in GUIDES)
    assert np.array_equal(one, other) == (beta == 0.0)


def test_a_scaled_guide_of_some_tensors():
    """Only perturbed numbers are in ghat; the others keep their back-propagated gradient, g."""
    moved = np.repeat([1.0, 0.0, 1.0], [4, 2, 3])
    np.testing.assert_allclose(fogzo("scaled", EPS, G, moved), G, rtol=1e-12)
    assert not np.allclose(fogzo("gradient", EPS, G, moved), G, rtol=0.1)


def test_a_scaled_guide_of_0_is_0():
    np.testing.assert_array_equal(fogzo("scaled", EPS, 0.0 * G), 0.0 * G)


@pytest.mark.parametrize("value", ["scale", "", None, 1])
def test_an_unknown_guide_is_refused(value):
    sentence = f"guide is {value!r}, but choose from ('gradient', 'scaled')"
    assert error_of(lambda: FOGZO(guide=value)) == sentence


# The STE's direction alone


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_normalised_ste_is_the_direction_of_the_ste(dtype):
    """||G|| = 1 and G ||g|| = g to a few units in the last place, at the STE's cost and loss."""
    objective, theta, batch = small_network(dtype=dtype)
    ste, ours = (
        rule.estimate(objective, theta, batch, rule.init(objective, theta), Step())[0]
        for rule in (STE(), NormalisedSTE())
    )
    length, rounding = np.linalg.norm(ste.grad), 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(ours.grad * length, ste.grad, rtol=rounding)
    assert abs(np.linalg.norm(ours.grad) - 1.0) < rounding and abs(length - 1.0) > 0.1
    assert ours._replace(grad=0) == ste._replace(grad=0) and ours.grad.dtype == dtype


def test_what_is_not_normalised_keeps_its_gradient():
    """Over the quantised weights: these have a unit vector, biases the STE's gradient."""
    objective, theta, batch = small_network(dtype=np.float64)
    rule, g = NormalisedSTE(over="quantized"), objective.ste_gradient(theta, batch).gradient
    found = rule.estimate(objective, theta, batch, rule.init(objective, theta), Step())[0].grad
    weights = np.zeros(theta.size, bool)
    for name in objective.quantized:
        weights[objective.network.slices[name]] = True
    np.testing.assert_array_equal(found[~weights], g[~weights])
    length = np.linalg.norm(g[weights])
    np.testing.assert_allclose(found[weights] * length, g[weights], rtol=1e-14)


def test_rows_of_the_normalised_ste_have_lengths_of_their_own():
    """Two seeds at once are those of one after the other; one length for both is not theirs."""
    objective, theta, batch = small_network(dtype=np.float64)
    thetas = np.stack([theta, 3.0 * theta])
    rule, rows = NormalisedSTE(), thetas[:, None, :]
    state = rule.init(objective, rows)
    both = rule.estimate(objective, rows, batch, state, Step(seed=(0, 1)))[0]
    g = objective.ste_gradient(thetas[:, None, :], batch).gradient[:, 0]
    np.testing.assert_allclose(both.grad[:, 0], [unit(row) for row in g], rtol=1e-12)
    assert not np.allclose(both.grad[:, 0], g / np.linalg.norm(g), rtol=0.01)


def test_the_normalised_ste_of_no_gradient_is_0():
    rule, objective = NormalisedSTE(), Linear(np.zeros(3))
    found = rule.estimate(objective, np.ones(3), None, rule.init(objective, np.ones(3)), Step())[0]
    np.testing.assert_array_equal(found.grad, np.zeros(3))


@given(st.integers(-60, 60), st.integers(0, 2**32 - 1))
def test_a_unit_vector_does_not_depend_on_the_length(k, seed):
    """2^k x has the unit vector of x, bit for bit, in float32 of squares that it cannot hold."""
    x = generator(seed).normal(size=(3, 7)).astype(np.float32)
    np.testing.assert_array_equal(units(np.float32(2.0) ** k * x), units(x))
    assert not np.array_equal(units(-x), units(x))

"""The laws of the perturbation and the uniform stream below them.

Statistical claims: fixed seed, no retry, at most 6 standard errors of the sample itself; each
comes with a wrong claim that the same comparison must reject.
"""

from math import log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    DENSITIES,
    SIGMAS,
    SUPPORT,
    GivenNumbers,
    GivenWords,
    agree,
    edges_of,
    expectation,
    float_dtypes,
    integral,
    seeds,
    z_scores,
)

from minizo import rng
from minizo.laws import LAWS

COUNT = 2**20
CELLS = {np.float32: 2.0**24, np.float64: 2.0**53}
NAMES = sorted(LAWS)
KAPPA = {"rademacher": 1.0, "uniform": 9 / 5, "triangular": 12 / 5, "gaussian": 3.0,
         "logistic": 21 / 5, "laplace": 6.0}  # fmt: skip


def sample(name, count=COUNT, dtype=np.float64, seed=11):
    """``count`` numbers of the law called ``name``."""
    return LAWS[name].sample(rng.at(seed, "test", 0, 0), np.empty(count, dtype))


def test_the_table_holds_these_laws_with_these_kurtoses():
    """E u^4 of the six laws, from their closed forms."""
    assert {name: law.kurtosis for name, law in LAWS.items()} == KAPPA
    assert all(law.name == name for name, law in LAWS.items())


# Moments and independence


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", NAMES)
def test_mean_0_variance_1_and_the_declared_kurtosis(name, dtype):
    """Means of u, u^2, u^4 over 2^20 samples within 6 SE of 0, 1, kappa; wrong ones are not."""
    u = sample(name, dtype=dtype).astype(np.float64)
    assert agree(u, 0.0)
    assert agree(u**2, 1.0)
    assert agree(u**4, LAWS[name].kurtosis)
    assert not agree(u, 0.01)
    assert not agree(u**2, 1.05)
    assert not agree(u**2, 0.95)
    assert not agree(u**4, 1.1 * LAWS[name].kurtosis)


@pytest.mark.parametrize("name", NAMES)
def test_coordinates_and_rows_are_uncorrelated(name):
    """E[u u^T] = I over the coordinates, and over neighbours in memory, within 6 SE."""
    u = sample(name, 2**18).reshape(-1, 4)
    pairs = u[:, :, None] * u[:, None, :]
    assert agree(pairs, np.eye(4))
    assert agree(u[1:, 0] * u[:-1, 3], 0.0)
    assert not agree(pairs, np.eye(4) + 0.05 * (1 - np.eye(4)))


@pytest.mark.parametrize("name", NAMES)
def test_as_many_positive_as_negative(name):
    """E[sign u] = 0 and E[u^3] = 0 within 6 SE; E[sign u] = 0.01 is rejected."""
    u = sample(name)
    assert agree(np.sign(u), 0.0)
    assert agree(u**3, 0.0)
    assert not agree(np.sign(u), 0.01)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds, name=st.sampled_from(NAMES))
def test_variance_1_whatever_the_seed(seed, name):
    """The mean of u^2 over 20,000 samples lies within 6 SE of 1; variance 1.3 never fits."""
    u = sample(name, 20_000, seed=seed)
    assert agree(u**2, 1.0) and agree(u, 0.0)
    assert not agree(u**2, 1.3)


# The uniform stream


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, dtype=float_dtypes, path=st.lists(st.integers(0, 2**20), max_size=3))
def test_uniform_numbers_lie_on_the_odd_multiples(seed, dtype, path):
    """c 2^m is an odd whole number below 2^m: so never 0, never +-1, and +c as likely as -c."""
    c = rng.at(seed, "noise", *path).uniform(np.empty(500, dtype))
    assert c.dtype == dtype
    k = c.astype(np.float64) * CELLS[dtype]
    assert np.all(np.abs(k) <= CELLS[dtype] - 1.0)
    assert np.all(k.astype(np.int64) == k) and np.all(k.astype(np.int64) % 2 == 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_and_middle_of_the_uniform_stream_are_exact(dtype):
    """The extreme words give -(1 - 2^-m), -2^-m, 2^-m, 1 - 2^-m exactly: never 0, never +-1."""
    tiny = 1.0 / CELLS[dtype]
    most = 2**63 if dtype is np.float64 else 2**63 + 2**31  # one integer a word, or two
    words = {most: tiny - 1.0, 2**64 - 1: -tiny, 0: tiny, 2**64 - 1 - most: 1.0 - tiny}
    for word, expected in words.items():
        c = GivenWords(0, "test", given=(word,)).uniform(np.empty(9, dtype))
        assert c.dtype == dtype
        np.testing.assert_array_equal(c, np.full(9, expected))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_numbers_are_equally_likely_in_every_bin(dtype):
    """2^20 numbers in 64 bins: each share within 6 SE of 1/64; a bin 5 % fuller is rejected."""
    c = rng.at(12, "noise", 0, 0).uniform(np.empty(COUNT, dtype))
    shares = np.histogram(c, 64, (-1.0, 1.0))[0] / COUNT
    error = sqrt(1 / 64 * 63 / 64 / COUNT)
    assert np.all(np.abs(shares - 1 / 64) <= SIGMAS * error)
    assert 0.05 / 64 > SIGMAS * error
    assert agree(c**2, 1.0 / 3.0) and agree(c[1:] * c[:-1], 0.0)
    assert not agree(c**2, 1.01 / 3.0)


@pytest.mark.parametrize("count", [1, 2, 3, 2**16 - 1, 2**16 + 1, 2**17 + 5])
def test_no_stretch_of_a_stream_is_drawn_twice(count):
    """All float64 numbers of one draw differ; float32 ones fill the whole buffer."""
    c = rng.at(13, "noise", 0, 0).uniform(np.empty(count))
    assert np.unique(c).size == count
    c = rng.at(13, "noise", 0, 0).uniform(np.full(count, np.nan, np.float32))
    assert np.all(np.isfinite(c)) and np.unique(c).size > 0.99 * count


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), name=st.sampled_from([n for n in NAMES if n != "gaussian"]))
def test_mirrored_cells_give_opposite_numbers(data, name):
    """c and -c, equally likely by construction, give exactly u and -u, finite and not 0."""
    dtype = data.draw(float_dtypes)
    cells = int(CELLS[dtype])
    k = np.array(data.draw(st.lists(st.integers(0, cells - 1), min_size=1, max_size=30)))
    c = (2 * k + 1 - cells) / cells
    draw = LAWS[name].sample
    u = draw(GivenNumbers(c), np.empty(k.size, dtype))
    mirrored = draw(GivenNumbers(-c), np.empty(k.size, dtype))
    np.testing.assert_array_equal(u, -mirrored)
    assert np.all(u != 0.0) and np.all(np.isfinite(u))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("rademacher", lambda cells: 1.0),
        ("uniform", lambda cells: sqrt(3.0)),
        ("triangular", lambda cells: sqrt(6.0) * (1.0 - sqrt(1.0 / cells))),
        ("logistic", lambda cells: log(2.0 * cells) / 2.0 / (pi / sqrt(12.0))),
        ("laplace", lambda cells: log(cells) / sqrt(2.0)),
    ],
)
def test_the_extreme_cells_give_finite_numbers(name, largest, dtype):
    """|u| at the first and last cell is the inverse distribution function's value there."""
    c = 1.0 - 1.0 / CELLS[dtype]
    u = LAWS[name].sample(GivenNumbers(np.array([-c, c])), np.empty(2, dtype))
    np.testing.assert_allclose(
        u, np.array([-1.0, 1.0]) * largest(CELLS[dtype]), rtol=4 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("name", ["uniform", "triangular", "logistic", "laplace"])
def test_sampling_inverts_the_distribution_function(name):
    """Where the stream says 2 p - 1, the density's integral up to u is p (1e-9)."""
    law = LAWS[name]
    p = np.array([0.003, 0.2, 0.49, 0.51, 0.73, 0.999])
    u = law.sample(GivenNumbers(2.0 * p - 1.0), np.empty(p.size))
    below = [integral(law.pdf, edges_of(law, x)[edges_of(law, x) <= x]) for x in u]
    np.testing.assert_allclose(below, p, rtol=0, atol=1e-9)


def test_same_place_same_bits_and_every_other_place_other_bits():
    """A stream depends on seed, purpose, step and block, and on nothing else."""
    places = [
        (seed, purpose, step, block)
        for seed in (0, 1, 2**31)
        for purpose in rng.PURPOSES
        for step in (0, 1, 70_000)
        for block in (0, 1, 2)
    ]
    for name in NAMES:
        draws = [LAWS[name].sample(rng.at(*place), np.empty(64)).tobytes() for place in places]
        again = [LAWS[name].sample(rng.at(*place), np.empty(64)).tobytes() for place in places]
        assert draws == again
        assert len(set(draws)) == len(places)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(a=st.tuples(seeds, st.integers(0, 99), st.integers(0, 99)),
       b=st.tuples(seeds, st.integers(0, 99), st.integers(0, 99)))  # fmt: skip
def test_two_streams_agree_exactly_when_their_places_do(a, b):
    """64 numbers of (seed, step, block) are those of another place only if the places agree."""
    first = rng.at(a[0], "noise", *a[1:]).uniform(np.empty(64))
    second = rng.at(b[0], "noise", *b[1:]).uniform(np.empty(64))
    assert np.array_equal(first, second) == (a == b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_sampling_fills_its_buffer_keeps_the_dtype_and_stays_finite(name, dtype):
    """The very buffer comes back, 2^20 finite numbers of its dtype and shape."""
    out = np.full((2**10, 2**10), np.nan, dtype)
    u = LAWS[name].sample(rng.at(3, "noise", 1, 2), out)
    assert u is out and u.dtype == dtype and u.shape == (2**10, 2**10)
    assert np.all(np.isfinite(u))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rademacher_is_plus_or_minus_one_and_never_zero(dtype):
    """Exactly two values among 2^20, both there."""
    assert set(np.unique(sample("rademacher", dtype=dtype))) == {-1.0, 1.0}


# Densities


def test_only_rademacher_is_without_density():
    """pdf is None there and nowhere else."""
    assert [name for name in NAMES if LAWS[name].pdf is None] == ["rademacher"]
    assert sorted(DENSITIES) == sorted(set(NAMES) - {"rademacher"})


@pytest.mark.parametrize("name", DENSITIES)
def test_pdf_has_mass_1_variance_1_and_the_declared_kurtosis(name):
    """Quadrature to 1e-10; it is even and not negative."""
    law = LAWS[name]
    assert integral(law.pdf, edges_of(law)) == pytest.approx(1.0, abs=1e-10)
    assert expectation(law, lambda u: u) == pytest.approx(0.0, abs=1e-10)
    assert expectation(law, lambda u: u**2) == pytest.approx(1.0, abs=1e-10)
    assert expectation(law, lambda u: u**4) == pytest.approx(law.kurtosis, abs=1e-9)
    z = np.linspace(0.0, 1.1 * SUPPORT[name], 301)
    np.testing.assert_array_equal(law.pdf(z), law.pdf(-z))
    assert np.all(law.pdf(z) >= 0.0)


@pytest.mark.parametrize("name", DENSITIES)
def test_zero_bias_density_is_the_integral_of_s_p(name):
    """q(z) = int_z^inf s p(s) ds to 1e-11; p itself is that integral for the Gaussian alone."""
    law = LAWS[name]
    end = SUPPORT[name]
    z = np.linspace(-0.98 * min(end, 5.0), 0.98 * min(end, 5.0), 42)
    edges = edges_of(law)
    target = [
        integral(lambda s: s * law.pdf(s), np.concatenate([[x], edges[edges > x]])) for x in z
    ]
    np.testing.assert_allclose(law.zero_bias_pdf(z), target, rtol=0, atol=1e-11)
    off = np.max(np.abs(law.pdf(z) - target))
    assert off < 1e-11 if name == "gaussian" else off > 0.02


def test_zero_bias_density_of_rademacher_is_the_box():
    """The sum of s P(s) over the atoms above z is 1/2 on (-1, 1) and 0 outside."""
    z = np.array([-1.5, -1.0001, -0.999, -0.3, 0.0, 0.7, 0.999, 1.0001, 2.0])
    atoms = np.array([-1.0, 1.0])
    target = np.sum(0.5 * atoms * (atoms > z[:, None]), axis=1)
    np.testing.assert_array_equal(LAWS["rademacher"].zero_bias_pdf(z), target)


@pytest.mark.parametrize("name", NAMES)
def test_zero_bias_density_has_mass_1_and_variance_a_third_of_the_kurtosis(name):
    """Quadrature to 1e-9; the variance 1 of the law itself fits the Gaussian alone."""
    law = LAWS[name]
    edges = np.linspace(-1.0, 1.0, 3) if law.pdf is None else edges_of(law)
    assert integral(law.zero_bias_pdf, edges) == pytest.approx(1.0, abs=1e-10)
    variance = integral(lambda z: z * z * law.zero_bias_pdf(z), edges)
    assert variance == pytest.approx(law.kurtosis / 3.0, abs=1e-9)
    assert (abs(variance - 1.0) < 1e-9) == (name == "gaussian")


@pytest.mark.parametrize("name", NAMES)
def test_samples_average_to_the_zero_bias_density(name):
    """E[u 1(u > z)] = q(z) over 2^20 samples, 6 SE; p(z) in its place is rejected."""
    law = LAWS[name]
    z = np.array([-0.9, -0.4, 0.0, 0.6, 0.95])
    terms = sample(name)[:, None] * (sample(name)[:, None] > z)
    assert agree(terms, law.zero_bias_pdf(z))
    if name not in ("gaussian", "rademacher"):
        assert not agree(terms, law.pdf(z))
    assert not agree(terms, 1.05 * law.zero_bias_pdf(z))


def kolmogorov_distance(u, law):
    """Largest gap between the sample's distribution function and the density's, at 161 places."""
    places = np.unique(edges_of(law))
    cdf = np.array([0.0, *np.cumsum([
        integral(law.pdf, [a, b]) for a, b in zip(places[:-1], places[1:], strict=True)
    ])])  # fmt: skip
    below = np.searchsorted(np.sort(u), places, side="right") / u.size
    return np.max(np.abs(below - cdf))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DENSITIES)
def test_samples_follow_the_density(name, dtype):
    """Kolmogorov distance of 2^20 samples below the DKW bound for 2e-9; other laws' are above."""
    bound = sqrt(log(2.0 / 2e-9) / (2.0 * COUNT))
    u = sample(name, dtype=dtype)
    assert kolmogorov_distance(u, LAWS[name]) < bound
    for other in set(DENSITIES) - {name}:
        assert kolmogorov_distance(u, LAWS[other]) > bound
    assert kolmogorov_distance(1.05 * u, LAWS[name]) > bound


def test_the_comparison_itself_accepts_and_rejects():
    """The bound is a real one: a mean 5.9 SE away passes, 6.1 SE away does not."""
    u = sample("gaussian", 10_000)
    error = np.std(u, ddof=1) / sqrt(u.size)
    assert agree(u, np.mean(u) + 5.9 * error) and not agree(u, np.mean(u) + 6.1 * error)
    assert z_scores(u, np.mean(u) + SIGMAS * error) == pytest.approx(SIGMAS)
    assert not agree(np.ones(10), 1.0 + 1e-9) and agree(np.ones(10), 1.0)

"""What the property tests share: hypothesis strategies, toy losses, quadrature, error bounds."""

from concurrent.futures import Executor, Future
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minizo.errors import InputError
from minizo.estimators import spsa
from minizo.estimators.fogzo import Guided
from minizo.estimators.spsa import Noise
from minizo.laws import LAWS
from minizo.models import mlp
from minizo.objective import Batch, Gradient, Objective
from minizo.parallel import Pool
from minizo.quantizers import MidRise, MidTread, Sign
from minizo.rng import Stream

SIGMAS = 6.0  # two-sided false alarm rate of one comparison: 2e-9

# Where the density of each law ends, or has fallen below 1e-30
SUPPORT = {"uniform": sqrt(3.0), "triangular": sqrt(6.0), "gaussian": 12.0, "logistic": 40.0,
           "laplace": 49.0}  # fmt: skip
DENSITIES = sorted(SUPPORT)
SURROGATE_NAMES = ("hardtanh", "tanh", "approxsign")  # those of a sign; identity is the fourth

seeds = st.integers(0, 2**32 - 1)
float_dtypes = st.sampled_from([np.float32, np.float64])
scales = st.floats(2.0**-10, 2.0**10, width=32)


@st.composite
def quantizers(draw):
    """A quantiser of any kind, bits and surrogate."""
    surrogate = draw(st.sampled_from(["identity", *SURROGATE_NAMES]))
    kind = draw(st.sampled_from([Sign, MidRise, MidTread]))
    return Sign(surrogate) if kind is Sign else kind(surrogate, draw(st.integers(1, 8)))


@st.composite
def latents(draw, largest=2.0**17, smallest=0.0):
    """A vector of either precision: 0 and magnitudes from ``smallest`` to ``largest``."""
    dtype = draw(float_dtypes)
    width = 8 * np.dtype(dtype).itemsize
    magnitudes = st.floats(smallest, largest, width=width, allow_subnormal=smallest == 0.0)
    elements = st.one_of(magnitudes, magnitudes.map(lambda x: -x), st.sampled_from([0.0, -0.0]))
    return draw(hnp.arrays(dtype, st.integers(1, 30), elements=elements))


def generator(*words):
    """A NumPy generator of this test's own, apart from the package's streams."""
    return np.random.default_rng(words)


# Error bounds ----------------------------------------------------------------------------------


def z_scores(samples, target):
    """|mean - target| in standard errors of the mean over axis 0.

    A sample without spread gives 0 where it equals the target to 12 digits, else infinity.
    """
    n = samples.shape[0]
    gap = np.abs(np.mean(samples, axis=0) - target)
    error = np.std(samples, axis=0, ddof=1) / sqrt(n)
    exact = error <= 1e-13 * (1.0 + np.abs(target))
    without_spread = np.where(gap <= 1e-12 * (1.0 + np.abs(target)), 0.0, np.inf)
    return np.where(exact, without_spread, gap / np.where(exact, 1.0, error))


def agree(samples, target):
    """Whether every component's mean is within 6 standard errors of its target."""
    return bool(np.all(z_scores(samples, target) <= SIGMAS))


def same_mean(first, second):
    """Whether two independent samples have means within 6 standard errors of each other."""
    gap = np.mean(first, axis=0) - np.mean(second, axis=0)
    variance = np.var(first, axis=0) / first.shape[0] + np.var(second, axis=0) / second.shape[0]
    return bool(np.all(np.abs(gap) <= SIGMAS * np.sqrt(variance)))


def products(samples, mean):
    """(G - M)(G - M)^T of each sample: (N, d) -> (N, d, d); their mean is the covariance."""
    centred = samples - mean
    return centred[:, :, None] * centred[:, None, :]


# Quadrature ------------------------------------------------------------------------------------

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def integral(f, edges):
    """Integral of f from the first to the last edge, by 20-point Gauss-Legendre between edges."""
    edges = np.unique(edges)
    half = np.diff(edges)[:, None] / 2.0
    nodes = edges[:-1, None] + half * (1.0 + NODES)
    return float(np.sum(f(nodes) * half * WEIGHTS))


def edges_of(law, *kinks):
    """Edges over the support of a law's density: its own kinks, 80 stretches, and ``kinks``."""
    end = SUPPORT[law.name]
    own = np.linspace(-end, end, 81)  # 0, where the densities may have a kink, is the middle one
    return np.concatenate([own, np.clip(np.ravel(kinks), -end, end)])


def expectation(law, f, *kinks):
    """E[f(u)] for u of ``law``; f may jump at ``kinks``."""
    return integral(lambda u: f(u) * law.pdf(u), edges_of(law, *kinks))


def projected_gradient_error(f, gradient, x, direction, h=1e-5):
    """|slope of f along ``direction`` by central difference - gradient . direction|."""
    slope = (f(x + h * direction) - f(x - h * direction)) / (2.0 * h)
    return abs(float(slope - np.dot(gradient, direction)))


# Streams ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GivenNumbers:
    """A stream whose uniform numbers on (-1, 1) are given."""

    numbers: np.ndarray

    def uniform(self, out):
        """Those numbers, in place of random ones."""
        out[...] = self.numbers
        return out


@dataclass(frozen=True)
class GivenWords(Stream):
    """A stream above a generator whose 64-bit words are given, as many times over as asked."""

    given: tuple = ()

    def host(self):
        """Itself, as its own generator."""
        return self

    def integers(self, low, high, size, dtype):
        """The given words."""
        return np.resize(np.array(self.given, dtype), size)


# Toy losses ------------------------------------------------------------------------------------


class Toy:
    """A loss of theta alone, called as an `Objective`."""

    kept = ()

    def evaluate(self, theta, batch):
        """F: (P, d) -> (P,)."""
        return self.loss(theta)

    def ste_gradient(self, theta, batch):
        """The loss and its exact gradient in place of a straight-through one."""
        return Gradient(self.loss(theta), self.gradient(theta), {})

    def statistics(self, theta, batch):
        """None: there is no network."""
        return {}

    def footprint(self, batch):
        """Numbers in the largest array for one theta."""
        return 1


@dataclass(frozen=True, eq=False)
class Linear(Toy):
    """F = g . theta."""

    slope: np.ndarray

    def loss(self, theta):
        """F of each row."""
        return np.sum(theta * self.slope, axis=-1)

    def gradient(self, theta):
        """g, everywhere."""
        return self.slope.copy()


@dataclass(frozen=True, eq=False)
class Quadratic(Toy):
    """F = g . theta + theta^T A theta / 2, A symmetric."""

    slope: np.ndarray
    curvature: np.ndarray

    def loss(self, theta):
        """F of each row."""
        return np.sum(theta * (self.slope + (theta @ self.curvature) / 2.0), axis=-1)

    def gradient(self, theta):
        """g + A theta."""
        return self.slope + theta @ self.curvature


@dataclass(frozen=True, eq=False)
class Cubic(Toy):
    """F = sum_i a_i theta_i + h (sum_i theta_i^2) theta_1 + sum_i theta_i^3: not quadratic."""

    slope: np.ndarray
    h: float = 0.5

    def loss(self, theta):
        """F of each row."""
        squares = np.sum(theta * theta, axis=-1)
        return np.sum(theta * self.slope + theta**3, axis=-1) + self.h * squares * theta[..., 0]

    def gradient(self, theta):
        """dF / dtheta."""
        g = self.slope + 3.0 * theta**2 + 2.0 * self.h * theta * theta[..., :1]
        g[..., 0] += self.h * np.sum(theta * theta, axis=-1)
        return g


@dataclass(frozen=True, eq=False)
class Steps(Toy):
    """F = sum_i [theta_i >= c_i]: a unit step a coordinate; its gradient is 0 almost everywhere."""

    places: np.ndarray

    def loss(self, theta):
        """F of each row."""
        return np.sum((theta >= self.places).astype(theta.dtype), axis=-1)


def random_quadratic(d, dtype=np.float64, seed=0):
    """A quadratic with a gradient of mixed signs and sizes, and a point: (objective, theta)."""
    rng = generator(seed, d)
    a = rng.normal(size=(d, d)) / sqrt(d)
    slope = rng.normal(size=d) * np.linspace(0.5, 2.0, d)
    objective = Quadratic(slope.astype(dtype), ((a + a.T) / 2.0).astype(dtype))
    return objective, rng.normal(size=d).astype(dtype)


def small_network(quantizer=None, dtype=np.float32, seed=0):
    """A calibrated 6-4-3 network: (objective, theta, batch), with biases that are not 0."""
    rng = generator(seed, 77)
    network = mlp(6, 4, 3)
    theta = network.init(seed, like=np.empty(0, dtype))
    theta += (0.1 * rng.normal(size=theta.shape)).astype(dtype)
    batch = Batch(rng.normal(size=(8, 1, 1, 6)).astype(dtype), rng.integers(0, 3, 8))
    objective = Objective(network, MidRise("hardtanh", 2) if quantizer is None else quantizer)
    return objective.calibrate(theta), theta, batch


@dataclass(frozen=True, eq=False)
class Recording:
    """An objective that hands everything on and notes the thetas it is asked about."""

    inner: object
    points: list
    gradients: list

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def evaluate(self, theta, batch):
        """As the inner one's, after a copy of the points."""
        self.points.append(np.atleast_2d(theta).copy())
        return self.inner.evaluate(theta, batch)

    def ste_gradient(self, theta, batch):
        """As the inner one's, after a copy of theta."""
        self.gradients.append(np.atleast_2d(theta).copy())
        return self.inner.ste_gradient(theta, batch)


def recording(inner):
    """`Recording` of ``inner`` with nothing noted yet."""
    return Recording(inner, [], [])


# The engine ------------------------------------------------------------------------------------


class Query(NamedTuple):
    """What a test asks of `two_point_gradient`; ``guide`` is FOGZO's ghat."""

    objective: object
    theta: object
    batch: object
    eps: object
    law: object
    seed: int = 0
    step: int = 0
    guide: object = None
    beta: float = 0.0
    moved: object = None

    @property
    def v(self):
        """The directions."""
        u = Noise(self.law, self.seed, self.step, moved=self.moved)
        return u if self.guide is None else Guided(u, self.guide, self.beta)


def make_query(objective, theta, eps, law="gaussian", batch=None, **rest):
    """A `Query` with seed 0 and step 0 unless ``rest`` says otherwise; eps a number or (d,)."""
    eps = np.zeros_like(theta) + np.asarray(eps, theta.dtype)
    return Query(objective, theta, batch, eps, LAWS[law], **rest)


def directions(query, block, count):
    """The ``count`` directions of a block."""
    return query.v(block, query.theta, count)


def block_sum(query, block, count):
    """The sums of a block."""
    return spsa.block_sum(*query[:4], query.v, block, count)


def two_point_gradient(query, n, pool):
    """The package's own."""
    return spsa.two_point_gradient(*query[:4], query.v, n, pool)


def one_direction_samples(query, count):
    """G of each of ``count`` directions alone, by the equation as it is written: (count, d)."""
    v = directions(query, 0, count)
    above = query.objective.loss(query.theta + query.eps * v)
    below = query.objective.loss(query.theta - query.eps * v)
    return (above - below)[:, None] / (2.0 * query.eps) * v


def estimates(query, n, repeats):
    """Independent n-direction estimates by the package's own engine: (repeats, d)."""
    steps = (query._replace(step=step) for step in range(repeats))
    return np.stack([two_point_gradient(own, n, Pool())[0] for own in steps])


class _Deferred(Future):
    def __init__(self, owner):
        super().__init__()
        self.owner = owner

    def result(self, timeout=None):
        """Runs everything that waits, the latest first."""
        self.owner.run()
        return super().result(timeout)


class LastFirst(Executor):
    """Runs what was submitted last first, when a result is asked for; notes how many waited."""

    def __init__(self):
        self.waiting, self.most = [], 0

    def submit(self, function, /, *args):
        """A future for function(*args)."""
        future = _Deferred(self)
        self.waiting.append((future, function, args))
        self.most = max(self.most, len(self.waiting))
        return future

    def run(self):
        """Empty the queue from its end."""
        while self.waiting:
            future, function, args = self.waiting.pop()
            future.set_result(function(*args))


def error_of(function, *arguments):
    """The message of the `InputError`: one sentence, one line."""
    with pytest.raises(InputError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message

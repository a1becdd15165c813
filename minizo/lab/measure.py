"""How good is a gradient estimate, at one point of a run?

At a fixed theta and batch an estimator is asked many times, and its answers G are compared with a
reference g:

    bias      ||E G - g|| / ||g||               variance  E||G - E G||^2 / ||g||^2
    cosine    of G with g, and of E G with g    progress  <g, E G>^2 / (E||G||^2 ||g||^2)

*Progress* is what one step gains: where the loss is at most quadratic with one curvature L in all
directions, E F(theta - eta G) <= F - eta <g, E G> + eta^2 L E||G||^2 / 2, and the best eta gains
<g, E G>^2 / (2 L E||G||^2); progress is that gain over the one of g itself, ||g||^2 / (2 L). It is
1 for g, cos^2 for an estimate without noise, and about cos^2 of a single G otherwise. Divided by
the cost of an estimate (a backward counts as two forwards) it says what a forward is worth.

Which function is g the gradient of? A quantised loss F has gradient 0 almost everywhere. The
reference is the mean of n-SPSA, with the law and eps that the quantiser's surrogate implies:
coordinate i is the partial derivative of F smoothed by the law p in the other coordinates and by
its zero-bias law q in coordinate i ("q-smoothed"). So n-SPSA has no bias here, *by this choice*.
The STE aims at something else: it puts the slope of the p-smoothed quantiser into the chain rule,
at the quantised weights, and is in general the gradient of no function. FOGZO is a mixture of a
measured slope along the STE's direction and of n-SPSA with noise smaller by sqrt(1 - beta), which
smooths F less. The numbers of these two say how far their own target is from the q-smoothed
gradient, not how well they train.

References
----------
J. C. Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
approximation", IEEE Transactions on Automatic Control, 1992.
N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order information",
NeurIPS 2025.
B. Efron, C. Stein, "The jackknife estimate of variance", Annals of Statistics, 1981.
"""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from .. import backend
from ..errors import InputError, require
from ..estimators import SPSA, Step
from ..estimators.base import Estimator
from ..settings import whole
from ..types import Array, Batch, Objective
from .layerwise import LayerwiseSPSA

PARTS = 20  # independent parts of a reference
ESTIMATES, REFERENCE = 0, 1  # what draws are for; the two never share random numbers


class Sample(NamedTuple):
    """Independent estimates at one theta.

    vectors : ndarray (R, d), float64, on the host
    forwards, backwards : int, cost of one estimate
    """

    vectors: Array
    forwards: int
    backwards: int


class Measured(NamedTuple):
    """A number and its standard error."""

    value: float
    se: float


class Measurement(NamedTuple):
    """What `measure` finds; every entry but the last two is `Measured`.

    cosine : mean over the estimates G of cos(G, g);  spread : its standard deviation (a float);
    mean_cosine : cos(E G, g);  bias2 : ||E G - g||^2 / ||g||^2, which may come out below 0;
    variance : E||G - E G||^2 / ||g||^2;  total : the same, not divided by ||g||^2;
    length2 : ||E G||^2 / ||g||^2;
    progress : <g, E G>^2 / (E||G||^2 ||g||^2);  cost : float, forwards with a backward as two.
    """

    cosine: Measured
    mean_cosine: Measured
    bias2: Measured
    variance: Measured
    total: Measured
    length2: Measured
    progress: Measured
    spread: float
    cost: float

    @property
    def bias(self) -> float:
        """||E G - g|| / ||g||, 0 where the estimate of its square is below 0."""
        return sqrt(max(0.0, self.bias2.value))


# Drawing ---------------------------------------------------------------------------------------


def draw(
    estimator: Estimator,
    objective: Objective,
    theta: Array,
    batch: Batch,
    count: int,
    seed: int = 0,
    purpose: int = ESTIMATES,
    step: Step | None = None,
    tick: Callable | None = None,
) -> Sample:
    """``count`` independent estimates at theta, each with a fresh state and a seed of its own.

    Parameters
    ----------
    estimator
        Anything with ``init`` and ``estimate``.
    objective : Objective
    theta : ndarray (d,)
    batch : Batch
        The same for all: what varies is the estimator's own randomness.
    count : int
        R.
    seed : int
        Different estimators with the same seed meet the same directions.
    purpose : {ESTIMATES, REFERENCE}
        Keeps the estimates independent of the reference.
    step : Step, optional
        Where in a run the estimates are made (schedules), and the pool; its seed is not used.
    tick : callable, optional
        ``tick(forwards)`` after every estimate.

    Returns
    -------
    Sample
        Cost: ``count`` estimates; 8 R d bytes.
    """
    count = whole("count", count)
    step = Step() if step is None else step
    seeds = np.random.SeedSequence(seed, spawn_key=(purpose,)).generate_state(count)
    vectors = np.empty((count, theta.shape[-1]))
    for row, own in zip(vectors, seeds.tolist(), strict=True):
        state = estimator.init(objective, theta)
        estimate, _ = estimator.estimate(objective, theta, batch, state, replace(step, seed=own))
        row[:] = backend.to_numpy(estimate.grad)
        if tick is not None:
            tick(estimate.forwards + 2 * estimate.backwards)
    return Sample(vectors, estimate.forwards, estimate.backwards)


def reference(
    objective: Objective,
    theta: Array,
    batch: Batch,
    directions: int,
    spsa: SPSA | None = None,
    seed: int = 0,
    step: Step | None = None,
    tick: Callable | None = None,
) -> Sample:
    """The mean of n-SPSA from very many directions, as `PARTS` independent means.

    It is computed by `LayerwiseSPSA`, which has the mean of `SPSA` and, where layers have different
    eps, far less noise.

    Parameters
    ----------
    directions : int
        In all parts and layers together; rounded down to a multiple of `PARTS`.
    spsa : SPSA, optional
        Whose law, eps and perturbed parameters define it; by default matched to the quantiser.
    objective, theta, batch, seed, step, tick
        As in `draw`.

    Returns
    -------
    Sample
        `PARTS` vectors. Cost: 2 ``directions`` forwards.
    """
    directions = whole("directions", directions, f"[{PARTS}, inf)")
    spsa = SPSA() if spsa is None else spsa
    kept = {name: getattr(spsa, name) for name in ("law", "eps", "eps_scale", "perturb")}
    mean = LayerwiseSPSA(n=directions // PARTS, **kept)
    return draw(mean, objective, theta, batch, PARTS, seed, REFERENCE, step, tick)


def exactly(gradient: Array) -> Sample:
    """A known gradient (d,) as a reference without error."""
    return Sample(np.tile(np.asarray(gradient, np.float64), (3, 1)), 0, 0)


# Statistics ------------------------------------------------------------------------------------
#
# A statistic comes as an array of its value from all vectors, and its values without one of them
# in turn ("leave-one-out"): (1 + R,).


def means(x: Array) -> np.ndarray:
    """Mean of numbers (R,), and without each: (1 + R,)."""
    return np.concatenate([[x.mean()], (x.sum() - x) / (len(x) - 1)])


def squared_norms(vectors: np.ndarray) -> np.ndarray:
    """Unbiased estimate of ||E v||^2 from R vectors, and without each: (R, d) -> (1 + R,).

        mean_{r != s} <v_r, v_s> = (||sum v||^2 - sum ||v||^2) / (R (R - 1))

    The squared norm of the mean itself is too large by E||v - E v||^2 / R. Cost: 2 R d.
    """
    count = len(vectors)
    total = vectors.sum(axis=0)
    own = np.einsum("rd,rd->r", vectors, vectors)
    whole = total @ total
    without = whole - 2.0 * (vectors @ total) + 2.0 * own - own.sum()
    return np.concatenate(
        [[(whole - own.sum()) / (count * (count - 1))], without / ((count - 1) * (count - 2))]
    )


def jackknife(without: np.ndarray) -> float:
    """Variance of a statistic from its leave-one-out values: (R - 1) / R sum (x_r - mean)^2."""
    return (len(without) - 1) * float(np.var(without))


def student(level: float, freedom: int) -> float:
    """Two-sided quantile of Student's t, by its expansion in 1 / freedom (1 % from freedom 5 on).

    >>> round(student(0.95, 19), 3)
    2.093
    """
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    return z + first / freedom + second / freedom**2


class Quality(NamedTuple):
    """How well a reference is known.

    norm2 : Measured, unbiased ||g||^2, from pairs of independent parts
    low, high : float, interval for ||g||^2 that covers it with 95 % probability
    error : float, sqrt(E||mean - g||^2) / ||g||: the relative standard error of the vector
    reliability : float, cosine between the means of two independent halves
    """

    norm2: Measured
    low: float
    high: float
    error: float
    reliability: float


def quality(sample: Sample, level: float = 0.95) -> Quality:
    """The `Quality` of a reference, from the differences between its parts.

    Raises
    ------
    InputError
        If it cannot be told from 0.
    """
    parts = sample.vectors
    values = squared_norms(parts)
    se = sqrt(jackknife(values[1:]))
    if not values[0] > 2.0 * se:
        raise InputError(
            "the reference gradient is lost in its own noise "
            f"(||g||^2 = {values[0]:.3g} +- {se:.3g}); use more directions (--reference)"
        )
    reach = student(level, len(parts) - 1) * se
    variance = parts.var(axis=0, ddof=1).sum() / len(parts)
    first, second = parts[0::2].mean(axis=0), parts[1::2].mean(axis=0)
    cosine = first @ second / sqrt((first @ first) * (second @ second))
    return Quality(
        Measured(float(values[0]), se), values[0] - reach, values[0] + reach,
        sqrt(variance / values[0]), float(cosine),
    )  # fmt: skip


def measure(sample: Sample, target: Sample) -> Measurement:
    """Compare estimates with a reference that is independent of them.

    Parameters
    ----------
    sample : Sample
        R >= 3 estimates.
    target : Sample
        K >= 3 parts of the reference.

    Returns
    -------
    Measurement
        Cost: a few R d.

    Notes
    -----
    Squares are estimated without bias: ||E G||^2 and ||g||^2 from pairs of different vectors
    (`squared_norms`), <g, E G>^2 as the square of the mean less its variance. Standard errors are
    jackknives over the estimates and over the parts of the reference, added in squares, so the
    error of the reference is in them; K = 20 parts leave them uncertain by up to 16 %. Cosines
    divide by the unbiased ||g||, or the noise of the reference would shrink them. The spread still
    contains that noise, a part error / sqrt(d).
    """
    g, parts = sample.vectors, target.vectors
    require(len(g) >= 3, "the number of estimates", len(g), "a measurement needs at least 3")
    mean = parts.mean(axis=0)
    own = np.einsum("rd,rd->r", g, g)
    unit = g / np.sqrt(np.where(own > 0.0, own, 1.0))[:, None]

    def joined(by_draw, by_part):
        # value, without each draw, without each part; a single number depends on no part or draw
        rest = np.full(len(parts), by_draw[0]) if by_part is None else by_part[1:]
        return np.concatenate([by_draw, rest])

    def measured(values):
        draws, rest = values[1 : 1 + len(g)], values[1 + len(g) :]
        return Measured(float(values[0]), sqrt(jackknife(draws) + jackknife(rest)))

    norms = squared_norms(parts)
    norm2 = joined(np.full(1 + len(g), norms[0]), norms)  # ||g||^2
    if not norms[0] > 0.0:
        raise InputError("the reference gradient is 0, or lost in its noise: use more directions")
    second = joined(means(own), None)  # E||G||^2
    mean2 = joined(squared_norms(g), None)  # ||E G||^2
    cross = joined(means(g @ mean), means(parts @ g.mean(axis=0)))  # <E G, g>
    along = joined(means(unit @ mean), means(parts @ unit.mean(axis=0)))  # <E G / ||G||, g>
    with np.errstate(invalid="ignore", divide="ignore"):  # without signal: nan, not a warning
        return Measurement(
            cosine=measured(along / np.sqrt(norm2)),
            mean_cosine=measured(cross / np.sqrt(mean2 * norm2)),
            bias2=measured((mean2 - 2.0 * cross + norm2) / norm2),
            variance=measured((second - mean2) / norm2),
            total=measured(second - mean2),
            length2=measured(mean2 / norm2),
            progress=measured((cross * cross - measured(cross).se ** 2) / (second * norm2)),
            spread=float(np.std(unit @ mean, ddof=1) / sqrt(norms[0])),
            cost=float(sample.forwards + 2 * sample.backwards),
        )

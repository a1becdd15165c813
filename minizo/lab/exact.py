"""What the microscope is checked against: exact means of n-SPSA, and formulas for linear losses.

Means over all sign vectors or over all levels of a few weights leave no sampling error. They need
a network of a dozen parameters; the formulas hold for any size, but for linear and quadratic
losses only.
"""

import itertools
from math import erf, pi, sqrt
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..errors import InputError, choose, require
from ..estimators.spsa import SPSA
from ..laws import LAWS, Law
from ..types import Array, Batch, Objective

SIGN_COORDINATES = 16
LEVEL_COMBINATIONS = 2**16


def _triangular_cdf(z):
    # integral of (sqrt 6 - |z|)_+ / 6
    tail = np.clip(sqrt(6.0) - np.abs(z), 0.0, None) ** 2 / 12.0
    return np.where(z < 0.0, tail, 1.0 - tail)


# P(u <= z), elementwise; `minizo.laws` has the densities
CDFS = {
    "rademacher": lambda z: 0.5 * (z >= -1.0) + 0.5 * (z >= 1.0),
    "uniform": lambda z: np.clip(0.5 + z / sqrt(12.0), 0.0, 1.0),
    "triangular": _triangular_cdf,
    "gaussian": lambda z: 0.5 + 0.5 * np.vectorize(erf, otypes=[float])(z / sqrt(2.0)),
    "logistic": lambda z: 0.5 + 0.5 * np.tanh(pi / sqrt(12.0) * z),
    "laplace": lambda z: 0.5 - 0.5 * np.sign(z) * np.expm1(-sqrt(2.0) * np.abs(z)),
}


class Moments(NamedTuple):
    """mean : ndarray (d,), E[G];  second : float, E||G||^2 of one direction."""

    mean: Array
    second: float

    def variance(self, n: int = 1) -> float:
        """E||G - E G||^2 = (second - ||mean||^2) / n of the mean of n directions."""
        return (self.second - float(self.mean @ self.mean)) / n


def law_of(estimator: SPSA, objective: Objective) -> Law:
    """The law of the directions of an n-SPSA or FOGZO."""
    return objective.law if estimator.law == "matched" else LAWS[estimator.law]


def sizes(estimator: SPSA, objective: Objective, theta: Array) -> np.ndarray:
    """Return eps of each parameter, 0 where it is not perturbed: a host array (d,)."""
    state = estimator.init(objective, theta)
    return backend.to_numpy(state.eps * state.moved)


def sign_moments(estimator: SPSA, objective: Objective, theta: Array, batch: Batch) -> Moments:
    """Exact moments of n-SPSA with Rademacher directions, by all 2^m sign vectors.

        E[G] = 2^-m sum_u [F(theta + eps u) - F(theta - eps u)] / (2 eps) u

    Parameters
    ----------
    estimator : SPSA
        Only its eps, its law and what it perturbs matter.
    objective : Objective
    theta : ndarray (d,)
        Of which m <= 16 coordinates are perturbed.
    batch : Batch

    Returns
    -------
    Moments
        Cost: 2^m forwards.
    """
    law = law_of(estimator, objective).name
    require(law == "rademacher", "law", law, "only Rademacher directions can be enumerated")
    eps = sizes(estimator, objective, theta)
    moved = np.flatnonzero(eps)
    most = f"at most {SIGN_COORDINATES} perturbed parameters can be enumerated"
    require(moved.size <= SIGN_COORDINATES, "d", moved.size, most)
    bits = np.arange(2**moved.size)[:, None] >> np.arange(moved.size)
    u = np.zeros((len(bits), theta.shape[-1]))  # (2^m, d); row -1 - i is minus row i
    u[:, moved] = 2.0 * (bits & 1) - 1.0
    loss = objective.evaluate(theta + eps * u, batch)
    slope = 0.5 * (loss - loss[::-1])  # (2^m,)
    g = slope[:, None] * u / np.where(eps > 0.0, eps, 1.0)
    return Moments(g.mean(axis=0), float(np.mean(np.sum(g * g, axis=1))))


def level_mean(
    estimator: SPSA, objective: Objective, theta: Array, batch: Batch, smoothing: str = "q"
) -> Array:
    """Exact gradient of the smoothed quantised loss, by all combinations of reachable levels.

    F depends on the levels of the weights alone. Weight j is at a level when u_j lies between the
    two edges a_j < b_j of its cell (in units of eps), so with P_j the probability of that

        E[G_i] = sum_levels F(levels) [q(a_i) - q(b_i)] / eps_i  prod_{j != i} P_j,

    because E[u_i; a_i < u_i < b_i] = q(a_i) - q(b_i), q the zero-bias density of the law.

    Parameters
    ----------
    estimator : SPSA
        It must perturb quantised parameters only: ``perturb="quantized"``.
    objective : Objective
    theta : ndarray (d,)
    batch : Batch
    smoothing : {"q", "p"}
        ``"q"`` is what n-SPSA averages to. ``"p"`` puts the density p of the law in place of
        q: the true gradient of F smoothed by p, which n-SPSA misses unless the law is Gaussian.

    Returns
    -------
    ndarray (d,)
        0 where nothing is perturbed. Cost: one forward a combination, of which there may be 2^16.
    """
    law = law_of(estimator, objective)
    density = choose("smoothing", smoothing, {"q": law.zero_bias_pdf, "p": law.pdf})
    if density is None:
        raise InputError(f"smoothing is 'p', but the law {law.name} has no density")
    eps = sizes(estimator, objective, theta)
    alpha, edges_of = np.zeros(theta.shape[-1]), {}
    for name in objective.quantized:
        x, part = objective.cut(theta, name), objective.network.slices[name]
        alpha[part] = np.broadcast_to(objective.scales[name], x.shape).reshape(-1)
        quantizer: Any = objective.quantizer_of(name)
        edges = np.array(quantizer.thresholds())  # in units of alpha
        edges_of |= dict.fromkeys(range(part.start, part.stop), edges)
    moved = np.flatnonzero(eps)
    if np.any(alpha[moved] == 0.0):
        raise InputError("a perturbed parameter is not quantised: use perturb='quantized'")
    cells = []  # of each perturbed weight: (latent, P, [q(a) - q(b)] / eps) of each level
    for i in moved:
        edges = edges_of[i]
        inside = np.concatenate([edges - 0.5, edges[-1:] + 0.5])  # one latent weight of each level
        z = (edges * alpha[i] - theta[i]) / eps[i]
        probability = np.diff(CDFS[law.name](z), prepend=0.0, append=1.0)
        weight = -np.diff(density(z), prepend=0.0, append=0.0) / eps[i]
        reached = (probability > 0.0) | (weight != 0.0)
        cells.append(np.stack([inside * alpha[i], probability, weight])[:, reached])
    count = int(np.prod([cell.shape[1] for cell in cells]))
    most = f"at most {LEVEL_COMBINATIONS} can be enumerated: take fewer weights or bits"
    require(count <= LEVEL_COMBINATIONS, "the number of level combinations", count, most)
    chosen = np.array(list(itertools.product(*(range(cell.shape[1]) for cell in cells))))
    latent, probability, weight = (
        np.stack([cell[row, chosen[:, j]] for j, cell in enumerate(cells)], axis=1)
        for row in range(3)
    )  # each (combinations, m)
    points = np.tile(theta, (count, 1))
    points[:, moved] = latent
    loss = objective.evaluate(points, batch)
    gradient = np.zeros(theta.shape[-1])
    for j, i in enumerate(moved):
        others = np.prod(np.delete(probability, j, axis=1), axis=1)
        gradient[i] = np.sum(loss * weight[:, j] * others)
    return gradient


def effective_dimension(eps: Array, squares: Array) -> float:
    """||eps g||^2 ||1 / eps||^2 / ||g||^2 over the perturbed parameters; d where all eps are equal.

    It takes the place of d in the variance of n-SPSA: the noise of every parameter is the loss
    difference that all of them made together, divided by its own eps.

    >>> effective_dimension(np.array([2.0, 2.0, 2.0]), np.array([5.0, 0.0, 1.0]))
    3.0
    """
    e2 = (eps * eps)[eps > 0.0]
    return float((e2 * squares[eps > 0.0]).sum() * (1.0 / e2).sum() / squares.sum())


class Prediction(NamedTuple):
    """For a linear or quadratic loss, all relative to ||g||.

    bias : ||E G - g|| / ||g||;  variance : E||G - E G||^2 / ||g||^2;
    cosine : of E G with g;  progress : <g, E G>^2 / (E||G||^2 ||g||^2).
    """

    bias: float
    variance: float
    cosine: float
    progress: float


def predict(
    gradient: Array,
    eps: Array,
    n: int,
    kurtosis: float,
    guide: Array | None = None,
    beta: float = 0.0,
    squares: Array | None = None,
) -> Prediction:
    """What FOGZO (without a guide: n-SPSA) does on a linear or quadratic loss.

    With h = eps g, a = 1 / eps and gamma = ghat . h (elementwise products), one direction has

        E G      = beta gamma a ghat + (1 - beta) g
        E||G||^2 = beta gamma^2 [beta ||a ghat||^2 + (1 - beta) ||a||^2]
                   + beta (1 - beta) [4 gamma <a ghat, g> + ||h||^2 ||a ghat||^2]
                   + (1 - beta)^2 [||h||^2 ||a||^2 + (kappa - 1) ||g||^2]

    and the variance falls as 1 / n. With one eps for all parameters n-SPSA has the textbook's
    ||g||^2 (d + kappa - 1). Different eps put the effective dimension ||h||^2 ||a||^2 / ||g||^2
    in place of d, and turn the guide to a ghat.

    Parameters
    ----------
    gradient, eps : ndarray (d,)
        eps = 0 where nothing is perturbed (and the estimate is 0).
    n : int
    kurtosis : float
        kappa of the law.
    guide : ndarray (d,), optional
        ghat, of norm 1.
    beta : float
    squares : ndarray (d,), optional
        Unbiased estimates of g_i^2, where ``gradient`` is itself an estimate.

    Returns
    -------
    Prediction
    """
    g = gradient
    squares = g * g if squares is None else squares
    guide = np.zeros_like(g) if guide is None else guide
    a = np.where(eps > 0.0, 1.0 / np.where(eps > 0.0, eps, 1.0), 0.0)
    rest, g2, h2, a2 = 1.0 - beta, squares.sum(), (eps * eps * squares).sum(), (a * a).sum()
    gamma, turned = (guide * eps * g).sum(), a * guide
    t2, along = (turned * turned).sum(), (turned * g).sum()
    second = (
        beta * gamma**2 * (beta * t2 + rest * a2)
        + beta * rest * (4.0 * gamma * along + h2 * t2)
        + rest**2 * (h2 * a2 + (kurtosis - 1.0) * g2)
    )
    mean2 = (beta * gamma) ** 2 * t2 + 2.0 * beta * rest * gamma * along + rest**2 * g2
    cross = beta * gamma * along + rest * g2  # <g, E G>
    variance = (second - mean2) / n
    return Prediction(
        sqrt(max(0.0, (mean2 - 2.0 * cross + g2) / g2)),
        variance / g2,
        cross / sqrt(mean2 * g2) if mean2 > 0.0 else 0.0,
        cross**2 / ((mean2 + variance) * g2) if mean2 > 0.0 else 0.0,
    )

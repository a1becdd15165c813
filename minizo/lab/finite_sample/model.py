"""A neuron with binary weights and binary activation, learned from N samples by two STEs.

    y_k = 1{x_k . w* > 0} + sigma xi_k,     w* = s* / sqrt(n),  s* in {-1, +1}^n,  x_k ~ N(0, I)
    q_t = sgn(w_t) / sqrt(n)                                    the STE of the weights: w moves,
    w_{t+1} = w_t - eta g(q_t)                                  q computes
    g(q) = (1/N) sum_k x_k mu'(x_k . q) (1{x_k . q > 0} - y_k)  the STE of the activation: mu'

The population gradient is E g(q) = c (q - w*): coordinates that are right do not drift, wrong ones
drift towards w* by 2 c / sqrt(n). What a finite sample adds is delta(q) = g(q) / c - (q - w*).

This model is the package's own. The paper that asks the question (Jeong, Xin, Yin, below) is known
here by its abstracts only; its network, step sizes, constants and theorems may differ. That E g(q)
has this form is the closed form of Yin et al. with one hidden unit and a known second layer.

Many *runs* go at once. B data sets, each met by R runs with a teacher, a start and label noise of
their own: the products are then matrix products, (R, n) times (n, N). Runs on one data set are
not independent, and whoever computes a standard error counts data sets, not runs.

References
----------
H. Jeong, J. Xin, P. Yin, "Beyond discreteness: finite-sample analysis of straight-through estimator
for quantization", arXiv 2505.18113, 2025.
P. Yin, J. Lyu, S. Zhang, S. Osher, Y. Qi, J. Xin, "Understanding straight-through estimator in
training activation quantized neural nets", ICLR 2019.
"""

from dataclasses import dataclass
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

from ... import backend, rng
from ...errors import choose


@dataclass(frozen=True)
class ActivationSTE:
    """What stands in for the derivative of the step 1{a > 0}.

    Attributes
    ----------
    name : str
    slope : float
        c in E g(q) = c (q - w*).
    share : float
        E mu'(a)^2, the share of the samples that take part. By it Var delta_i is
        theta share / (pi c^2 N) to leading order (2 theta / N, 4 theta / N), and Var e_i of the
        noise in the gradient is sigma^2 share / N.
    """

    name: str
    slope: float
    share: float


STES = {
    "identity": ActivationSTE("identity", 1.0 / sqrt(2.0 * pi), 1.0),  # mu' = 1
    "relu": ActivationSTE("relu", 0.5 / sqrt(2.0 * pi), 0.5),  # mu' = 1{a > 0}
}


class Task(NamedTuple):
    """B data sets and the R teachers of each.

    x : ndarray (B, N, n), inputs
    y : ndarray (B, R, N), labels
    teacher : ndarray (B, R, n), s*, of +-1
    """

    x: object
    y: object
    teacher: object


def signs(w):
    """sgn with sgn(0) = +1, in the dtype of ``w``.

    >>> signs(np.array([-0.5, 0.0, 2.0]))
    array([-1.,  1.,  1.])
    """
    xp = backend.namespace(w)
    return 2.0 * xp.astype(w >= 0.0, w.dtype) - 1.0


def fires(x, s):
    """1{x_k . s > 0}: (B, N, n), (B, R, n) -> (B, R, N). Cost: B R N n multiply-accumulates."""
    xp = backend.namespace(x, s)
    # (B, R, n) @ (B, n, N) -> (B, R, N); q = s / sqrt(n) has the same signs
    return xp.astype(xp.matmul(s, xp.matrix_transpose(x)) > 0.0, x.dtype)


def gradient(task, ste, s):
    """g(q) at q = s / sqrt(n).

    Parameters
    ----------
    task : Task
    ste : ActivationSTE
    s : ndarray (B, R, n)
        Of +-1.

    Returns
    -------
    ndarray (B, R, n)
        Exactly 0 at s = s* without label noise: w* is absorbing. Cost: 2 B R N n
        multiply-accumulates.
    """
    xp = backend.namespace(s)
    step = fires(task.x, s)
    # r = mu'(a) (1{a > 0} - y),  g = x^T r / N
    residual = step - task.y
    if ste.name == "relu":
        residual = step * residual
    # (B, R, N) @ (B, N, n) -> (B, R, n)
    return xp.matmul(residual, task.x) / task.x.shape[1]


def population_gradient(ste, teacher, s):
    """E g(q) = c (q - w*), for a teacher w* (..., n) of any real values and length 1."""
    return ste.slope * (s / sqrt(s.shape[-1]) - teacher)


# Drawing ---------------------------------------------------------------------------------------


def own_seed(seed, *words):
    """The seed of one cell of an experiment: whole numbers name the cell.

    >>> own_seed(0, 2, 32) == own_seed(0, 2, 32), own_seed(0, 2, 32) == own_seed(0, 2, 64)
    (True, False)
    """
    return int(np.random.SeedSequence(seed, spawn_key=words).generate_state(1)[0])


def inputs(seed, sets, samples, n, like):
    """x (B, N, n) of N(0, 1), one stream a data set; on the host a larger N continues a smaller."""
    xp = backend.namespace(like)
    draws = (rng.at(seed, "data", b).normal(backend.empty((samples, n), like)) for b in sets)
    return xp.stack(list(draws))


def random_signs(seed, sets, runs, n, like):
    """Signs (B, R, n): teachers and starts."""
    xp = backend.namespace(like)
    draws = (rng.at(seed, "sign", b, 0).uniform(backend.empty((runs, n), like)) for b in sets)
    return signs(xp.stack(list(draws)))


def make_task(x, teacher, sigma=0.0, seed=0, sets=None):
    """Labels for the inputs: y = 1{x . s* > 0} + sigma xi.

    Parameters
    ----------
    x : ndarray (B, N, n)
    teacher : ndarray (B, R, n)
    sigma : float or ndarray (R, 1)
        Standard deviation of the label noise, of all runs or of each.
    seed : int
        Of xi ~ N(0, 1), (B, R, N).
    sets : iterable of int, optional
        The numbers of the B data sets; by default 0, 1, ...

    Returns
    -------
    Task
    """
    xp = backend.namespace(x)
    y = fires(x, teacher)
    if isinstance(sigma, float) and sigma == 0.0:
        return Task(x, y, teacher)
    shape, sets = y.shape[1:], range(x.shape[0]) if sets is None else sets
    xi = [rng.at(seed, "noise", b, 0).normal(backend.empty(shape, x)) for b in sets]
    return Task(x, y + sigma * xp.stack(xi), teacher)


def start(seed, sets, runs, n, like, law="equal"):
    """w_0 (B, R, n): random signs, of magnitude 1 (``"equal"``) or |N(0, 1)| (``"gaussian"``)."""
    xp = backend.namespace(like)
    magnitudes = {
        "equal": lambda b: 1.0,
        "gaussian": lambda b: xp.abs(
            rng.at(seed, "noise", b, 1).normal(backend.empty((runs, n), like))
        ),
    }
    size = choose("start", law, magnitudes)
    draws = (rng.at(seed, "sign", b, 1).uniform(backend.empty((runs, n), like)) for b in sets)
    return xp.stack([signs(u) * size(b) for b, u in zip(sets, draws, strict=True)])

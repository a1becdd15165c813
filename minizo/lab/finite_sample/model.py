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
from functools import partial
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

from ... import backend, rng
from ...errors import choose, require


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


# Running ---------------------------------------------------------------------------------------


class Tally(NamedTuple):
    """What is remembered of runs whose leading axes are (...), usually (B, R).

    w : ndarray (..., n), where they ended
    first : ndarray (...), first t with q_t = w*; the number of steps if none
    total : ndarray (..., n), sum of s_t over all steps
    wrong : ndarray (..., n), steps with s_ti != s*_i, after the burn-in
    away : ndarray (...), steps with q_t != w*, after the burn-in
    escapes, returns : ndarray (...), how often w* was left and reached again, after the burn-in
    excess : ndarray (..., n), max_t (delta_i(q_t) s*_i)_+
    worst : ndarray (...), max_t max_i |delta_i(q_t)|
    raster : list of ndarray (..., n), 1 where wrong, of each step; empty unless asked for
    steps, burn : int
    """

    w: object
    first: object
    total: object
    wrong: object
    away: object
    escapes: object
    returns: object
    excess: object
    worst: object
    raster: list
    steps: int
    burn: int


def run(drift, teacher, w, eta, steps, ste, burn=0, raster=False, absorbing=False):
    """w_{t+1} = w_t - eta g(q_t) for ``steps`` steps.

    Parameters
    ----------
    drift : callable
        s (..., n) -> g(q), as `gradient` and `population_gradient` are after `partial`.
    teacher : ndarray (..., n)
        w*; the optimum that is looked for is sgn(w*) / sqrt(n).
    w : ndarray (..., n)
        Start, not changed.
    eta : float
    steps, burn : int
        Times and visits are counted from step ``burn`` on.
    ste : ActivationSTE
        For delta = g / c - (q - w*).
    raster : bool
        Keep which coordinates are wrong at every step.
    absorbing : bool
        Stop when all runs are at w*, which they do not leave: without label noise. Counts are then
        those of the steps taken; ``steps`` of the result says how many.

    Returns
    -------
    Tally
        Cost: ``steps`` calls of ``drift``.
    """
    require(0 <= burn < steps, "burn", burn, f"it must lie between 0 and {steps - 1}")
    xp, root = backend.namespace(w), sqrt(w.shape[-1])
    optimum = signs(teacher)
    nothing = xp.zeros_like(w)
    total, wrong, excess, worst = nothing, nothing, nothing, nothing[..., 0]
    away, escapes, returns = nothing[..., 0], nothing[..., 0], nothing[..., 0]
    first, before, rows, taken = nothing[..., 0] + steps, None, [], steps
    for t in range(steps):
        s = signs(w)
        mistakes = xp.astype(s != optimum, w.dtype)
        count = xp.sum(mistakes, axis=-1)
        off = xp.astype(count > 0.0, w.dtype)
        if absorbing and t % 16 == 0 and not bool(xp.any(count > 0.0)):
            taken = t
            first = xp.minimum(first, nothing[..., 0] + t)
            break
        first = xp.where((off == 0.0) & (first == steps), float(t), first)
        total = total + s
        if t >= burn:
            wrong, away = wrong + mistakes, away + off
            if before is not None:
                # leaving: at w* before and off it now; coming back: the other way round
                escapes = escapes + xp.astype(off > before, w.dtype)
                returns = returns + xp.astype(off < before, w.dtype)
            before = off
        if raster:
            rows.append(mistakes)
        g = drift(s)
        # delta = g / c - (q - w*)
        delta = g / ste.slope - (s / root - teacher)
        excess = xp.maximum(excess, delta * optimum)
        worst = xp.maximum(worst, xp.max(xp.abs(delta), axis=-1))
        w = w - eta * g
    return Tally(w, first, total, wrong, away, escapes, returns, excess, worst, rows, taken, burn)


def learn(task, w, eta, steps, ste, **options):
    """`run` on samples: the gradient of ``task``, and w* = s* / sqrt(n)."""
    teacher = task.teacher / sqrt(task.teacher.shape[-1])
    return run(partial(gradient, task, ste), teacher, w, eta, steps, ste, **options)


def step_size(ste, n, move):
    """eta at which a wrong coordinate moves by ``move`` a step: eta = move sqrt(n) / (2 c).

    >>> round(step_size(STES["identity"], 16, 0.05), 4)
    0.2507
    """
    return move * sqrt(n) / (2.0 * ste.slope)


def in_blocks(pool, work, sets, size, nbytes):
    """``work(block)`` for blocks of ``size`` data sets, through the pool; the results joined.

    Parameters
    ----------
    pool : Pool
    work : callable
        From a range of data-set numbers to a tuple of host arrays with that axis first.
    sets, size : int
        Data sets in all, and in a block.
    nbytes : int
        Of one block.

    Returns
    -------
    tuple of ndarray
        The same whatever the pool and the size of the blocks.
    """
    blocks = [range(i, min(i + size, sets)) for i in range(0, sets, size)]
    parts = list(pool.map(work, ((block,) for block in blocks), nbytes))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

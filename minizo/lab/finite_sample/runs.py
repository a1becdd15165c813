"""Runs of the binary neuron: w moves, q = sgn(w) / sqrt(n) computes, and everything is counted."""

from functools import partial
from math import sqrt
from typing import NamedTuple

import numpy as np

from ... import backend
from ...errors import require
from .model import gradient, signs


class Tally(NamedTuple):
    """What is remembered of runs whose leading axes are (...), usually (B, R).

    w : ndarray (..., n), where they ended
    first : ndarray (...), first t with q_t = w*; the number of steps if none
    total : ndarray (..., n), sum of s_t over all steps
    wrong : ndarray (..., n), steps with s_ti != s*_i, after the burn-in
    away : ndarray (...), steps with q_t != w*, after the burn-in
    escapes, returns : ndarray (...), how often w* was left and reached again, after the burn-in
    excess : ndarray (..., n), max_t (delta_i(q_t) s*_i)_+
    raster : list of ndarray (..., n), 1 where wrong, of each step; empty unless asked for
    steps : int, taken
    """

    w: object
    first: object
    total: object
    wrong: object
    away: object
    escapes: object
    returns: object
    excess: object
    raster: list
    steps: int


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
    total, wrong, excess = nothing, nothing, nothing
    away, escapes, returns = nothing[..., 0], nothing[..., 0], nothing[..., 0]
    first, before, rows, taken = nothing[..., 0] + steps, None, [], steps
    for t in range(steps):
        s = signs(w)
        mistakes = xp.astype(s != optimum, w.dtype)
        off = xp.max(mistakes, axis=-1)  # 1 where q_t != w*
        first = xp.where((off == 0.0) & (first == steps), float(t), first)
        if absorbing and t % 16 == 0 and not bool(xp.any(off > 0.0)):
            taken = t
            break
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
        w = w - eta * g
    return Tally(w, first, total, wrong, away, escapes, returns, excess, rows, taken)


def learn(task, w, eta, steps, ste, **options):
    """`run` on samples: the gradient of ``task``, and w* = s* / sqrt(n)."""
    teacher = task.teacher / sqrt(task.teacher.shape[-1])
    return run(partial(gradient, task, ste), teacher, w, eta, steps, ste, **options)


def step_size(ste, n, move):
    """eta at which a wrong coordinate moves by ``move`` a step: eta = move sqrt(n) / (2 c).

    >>> from minizo.lab.finite_sample.model import STES
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

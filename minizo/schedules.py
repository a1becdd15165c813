"""Schedules: a number falls from its start to its end while progress grows from 0 to 1."""

from collections.abc import Callable
from math import cos, pi

from .errors import resolve
from .settings import real


def _step(p):
    # three equal stretches at 1, 1/10 and 1/100
    return 0.1 ** min(int(3.0 * p), 2)


# shape(p): 1 at progress p = 0; linear and cosine reach 0 at p = 1
SHAPES = {
    "constant": lambda p: 1.0,
    "linear": lambda p: 1.0 - p,
    "cosine": lambda p: 0.5 * (1.0 + cos(pi * p)),
    "step": _step,
}


def schedule(shape, start, end, progress):
    """Return end + (start - end) shape(progress).

    Parameters
    ----------
    shape : {"constant", "linear", "cosine", "step"} or callable
        A callable is given the progress and returns what is left of the distance, 1 at the start;
        ``"constant"`` stays at ``start``; ``"step"`` divides the distance by 10 after one third
        and two thirds of the run.
    start, end : float
    progress : float
        Part of the run that is over, t / T in [0, 1].

    Examples
    --------
    >>> schedule("linear", 0.1, 0.0, 0.25)
    0.07500000000000001
    """
    start, end = real("start", start), real("end", end)
    progress = real("progress", progress, "[0, 1]")
    left = resolve("schedule", shape, SHAPES, Callable)(progress)
    return end + (start - end) * real("schedule(progress)", left)

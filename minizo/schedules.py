"""Schedules: a number falls from its start to its end while progress grows from 0 to 1."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import cos, pi
from typing import Any

from .errors import InputError, require, resolve
from .settings import Positive, Settings, real

MILESTONES = "milestones"


@dataclass(frozen=True)
class Milestones(Settings):
    """shape(p) = factor^k, where k of the shares ``at`` have been reached by progress p.

    As a text, with a factor of 1/10: ``"milestones:.3/.6/.9"``.

    Parameters
    ----------
    at : tuple of float
        Shares of the run, rising, in (0, 1): 30 of 100 epochs are 0.3.
    factor : float
        What the rate is multiplied by at each.

    Raises
    ------
    InputError
        For shares that do not rise, or lie outside (0, 1).

    Examples
    --------
    >>> shape = Milestones((0.3, 0.6, 0.9))
    >>> [round(shape(epoch / 100), 4) for epoch in (0, 29, 30, 60, 99)]
    [1.0, 1.0, 0.1, 0.01, 0.001]
    """

    at: Any = (0.5,)
    factor: Positive = 0.1

    def __post_init__(self):
        super().__post_init__()
        remedy = "it must hold rising shares of the run, each in (0, 1), such as (0.3, 0.6, 0.9)"
        require(isinstance(self.at, tuple | list) and self.at, "Milestones.at", self.at, remedy)
        at = tuple(real("a share of Milestones.at", share, "(0, 1)") for share in self.at)
        require(list(at) == sorted(set(at)), "Milestones.at", self.at, remedy)
        object.__setattr__(self, "at", at)

    def __call__(self, progress: float) -> float:
        """Return what is left of the rate at this progress."""
        return self.factor ** sum(progress >= share for share in self.at)


# shape(p): 1 at progress p = 0; linear and cosine reach 0 at p = 1
SHAPES = {
    "constant": lambda p: 1.0,
    "linear": lambda p: 1.0 - p,
    "cosine": lambda p: 0.5 * (1.0 + cos(pi * p)),
    "step": Milestones((1 / 3, 2 / 3)),
}


def shape_of(argument: str, given: str | Callable) -> Callable:
    """Return the function shape(progress) that a schedule says: by name, by text or as it is.

    >>> shape_of("schedule", "linear")(0.25), shape_of("schedule", "milestones:.5")(0.75)
    (0.75, 0.1)
    """
    if isinstance(given, str) and given.partition(":")[0] == MILESTONES:
        return _milestones(argument, given)
    return resolve(argument, given, SHAPES | {f"{MILESTONES}:.3/.6/.9": None}, Callable)


@cache
def _milestones(argument, given):
    try:
        return Milestones(tuple(map(float, given.partition(":")[2].split("/"))))
    except ValueError:  # no number, or what Milestones refuses
        raise InputError(
            f"{argument} is {given!r}, but milestones are rising shares of the run, each in "
            "(0, 1), with a slash between: milestones:.3/.6/.9"
        ) from None


def schedule(shape: str | Callable, start: float, end: float, progress: float) -> float:
    """Return end + (start - end) shape(progress).

    Parameters
    ----------
    shape : {"constant", "linear", "cosine", "step", "milestones:.3/.6/.9"} or callable
        A callable is given the progress and returns what is left of the distance, 1 at the start;
        ``"constant"`` stays at ``start``; ``"step"`` divides the distance by 10 after one third
        and two thirds of the run; milestones say after which shares, as `Milestones`.
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
    left = shape_of("schedule", shape)(progress)
    return end + (start - end) * real("schedule(progress)", left)

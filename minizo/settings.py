"""Settings: numbers in their range, and of Python's own types, checked in one place.

Two things go wrong with numbers from a caller. A number may be out of range, which shows up late
and elsewhere. Or it may be a NumPy scalar, from `numpy.logspace` or a loop over an array:
``numpy.float64`` turns float32 arrays into float64, as a Python float does not, and ``numpy.uint8``
overflows at 255. So every setting is converted to the Python number of the same value before it is
used, or refused in one sentence. A dataclass of settings inherits `Settings` and states ranges in
its annotations:

>>> from dataclasses import dataclass
>>> from numpy import float64
>>> @dataclass(frozen=True)
... class Rule(Settings):
...     lr: Annotated[float, "(0, inf)"] = 0.1
>>> Rule(float64(0.01))
Rule(lr=0.01)
>>> Rule(-1)
Traceback (most recent call last):
minizo.errors.InputError: Rule.lr is -1, but it must be finite and above 0

Functions check their arguments with `real`, `whole` and `wholes`.
"""

from dataclasses import MISSING, fields
from functools import cache, cached_property, wraps
from math import inf
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np

from .errors import InputError

Count = Annotated[int, "[1, inf)"]
Natural = Annotated[int, "[0, inf)"]
Positive = Annotated[float, "(0, inf)"]
Share = Annotated[float, "[0, 1]"]


def plain(value: Any) -> Any:
    """Convert a NumPy scalar or host array of shape () to a Python number; keep anything else.

    >>> plain(np.float64(0.5)), plain(np.array(3)), plain("x")
    (0.5, 3, 'x')
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        number = value.item()
        # a longdouble's item() is a longdouble
        return float(number) if isinstance(number, np.longdouble) else number
    return value


def real(argument: str, value: Any, interval: str = "(-inf, inf)") -> float:
    """Convert ``value`` to a Python float.

    Parameters
    ----------
    argument : str
        Name of the number, as the caller knows it.
    value : number
        From Python or NumPy, or a host array of shape (); True and False are not numbers.
    interval : str
        Range in the notation of mathematics: ``"(0, 1]"`` excludes 0 and includes 1.

    Raises
    ------
    InputError
        For anything else; the sentence states the range.

    Examples
    --------
    >>> real("lr", np.float64(0.5), "(0, inf)")
    0.5
    """
    number = value if type(value) is float else _converted(float, Real, argument, value, interval)
    if not _inside(number, interval):
        raise _refusal(argument, value, float, interval)
    return number


def whole(argument: str, value: Any, interval: str = "[1, inf)") -> int:
    """Convert ``value`` to a Python int, as `real` does to a float. 3.0 is not a whole number."""
    number = value if type(value) is int else _converted(int, Integral, argument, value, interval)
    if not _inside(number, interval):
        raise _refusal(argument, value, int, interval)
    return number


def wholes(argument: str, values: Any, interval: str = "[1, inf)") -> tuple[int, ...]:
    """Convert ``values`` to a tuple of Python ints, of any length; otherwise as `whole`."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    number = plain(values)
    if isinstance(number, int) and not isinstance(number, bool):
        raise InputError(f"{argument} is {number}, but it must be a tuple, such as ({number},)")
    if not isinstance(values, tuple | list | range):
        raise _refusal(argument, values, tuple, interval)
    try:
        return tuple([whole(argument, value, interval) for value in values])
    except InputError:
        raise _refusal(argument, values, tuple, interval) from None


def truth(argument: str, value: Any, interval: str | None = None) -> bool:
    """Convert ``value`` to Python's True or False; nothing else counts as one of them."""
    value = plain(value)
    if not isinstance(value, bool):
        raise InputError(f"{argument} is {value!r}, but it must be True or False")
    return value


def _converted(kind, family, argument, value, interval):
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, family):
        raise _refusal(argument, value, kind, interval)
    try:
        return kind(number)
    except OverflowError:  # a whole number that no float reaches
        raise _refusal(argument, value, kind, interval) from None


@cache
def _bounds(interval):
    low, high = (float(end) for end in interval[1:-1].split(","))
    return low, high, interval[0] == "[", interval[-1] == "]"


def _inside(value, interval):
    low, high, with_low, with_high = _bounds(interval)
    return low < value < high or (with_low and value == low) or (with_high and value == high)


def _refusal(argument, value, kind, interval):
    number = "" if kind is not float or isinstance(value, Real) else "it must be a number; "
    return InputError(f"{argument} is {plain(value)!r}, but {number}{_demand(kind, interval)}")


def _demand(kind, interval):
    # what a number must be, in words
    low, high, with_low, with_high = _bounds(interval)
    if kind is not float:
        what = "whole numbers" if kind is tuple else "a whole number"
        if high == inf:
            return f"it must be {what} of at least {low:.0f}"
        return f"it must be {what} from {low:.0f} to {high:.0f}"
    if high < inf and low > -inf:
        return f"it must lie in {interval}"
    words = [] if with_high else ["finite"]
    if low > -inf:
        words.append(f"at least {low:g}" if with_low else f"above {low:g}")
    return f"it must be {' and '.join(words)}"


class Settings:
    """Base of dataclasses whose numbers are checked, and converted to Python's, when built.

    A field annotated ``Annotated[float, interval]`` takes a number in that interval (see `real`);
    ``int`` takes a whole number, ``tuple`` several, ``bool`` True or False, and ``| None`` also
    None. Other fields are kept as they are. A subclass with further checks extends
    ``__post_init__`` and calls this one first.
    """

    def __repr__(self):
        # of classes that are no dataclasses: their attributes, but for what is only cached
        cls = type(self)
        cached = {name for name in vars(self) if isinstance(getattr(cls, name, 0), cached_property)}
        own = [f"{name}={value!r}" for name, value in vars(self).items() if name not in cached]
        return f"{cls.__qualname__}({', '.join(own)})"

    def __post_init__(self):
        kind = type(self)
        for name, check, interval in checks(kind):
            value = getattr(self, name)
            checked = check(f"{kind.__name__}.{name}", value, interval)
            if checked is not value:
                object.__setattr__(self, name, checked)


CHECKS = {float: real, int: whole, tuple: wholes, bool: truth}


@cache
def checks(cls: type) -> tuple:
    """Return (name, check, interval) of each field whose annotation asks for a check.

    A class that gives a field another default, but is no dataclass anew, is refused: its instances
    would have the old one.
    """
    checked = []
    for field in fields(cls):
        default = getattr(cls, field.name, field.default)
        if field.default is not MISSING and default is not field.default:
            raise InputError(
                f"{cls.__name__}.{field.name} = {default!r} has no effect: write "
                f"@dataclass(frozen=True) above the class, and '{field.name}: type = {default!r}'"
            )
        check, interval = _check(field.type)
        if check is not None:
            checked.append((field.name, check, interval))
    return tuple(checked)


def _check(annotation):
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        check, interval = _check(kinds[0])
        return (None if len(kinds) > 1 or check is None else _optional(check)), interval
    if get_origin(annotation) is Annotated:
        kind, interval = get_args(annotation)
        return CHECKS[kind], interval
    return (truth, None) if annotation is bool else (None, None)


@cache
def _optional(check):
    @wraps(check)
    def optional(argument, value, interval):
        return None if value is None else check(argument, value, interval)

    return optional

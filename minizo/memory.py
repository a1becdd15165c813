"""When memory runs out: the same work in smaller parts.

A population, a data set and a sweep are done in parts in any case. How large a part may be depends
on the card and on what else it holds, which nobody can know beforehand. So a part that does not fit
is cut in two and tried again, with a notice; what was done stays done.
"""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from . import backend
from .errors import InputError

_fitting = {}  # what -> the largest part that is worth trying


class SmallerParts(RuntimeWarning):
    """Memory ran out, and work goes on in smaller parts."""


def in_parts(function, count, what, like, most=None, key=()):
    """``[function(part), ...]`` for slices that cut ``range(count)``, halved where memory ends.

    Parameters
    ----------
    function : callable
        ``function(slice)``; it may raise `MemoryError`, as NumPy and CuPy do, and is then called
        again with the first half of the slice.
    count : int
    what : str
        What there are ``count`` of, for the notice.
    like : ndarray
        Lives where the memory is.
    most : int, optional
        Size of the parts at first; by default all at once.
    key : tuple
        Tells work of different sizes apart. The next call with the same ``what`` and key starts
        with the size that was found.

    Returns
    -------
    list
        In order.

    Raises
    ------
    InputError
        Where memory does not suffice for one.
    """
    xp = backend.namespace(like)
    own = (what, xp.__name__, *key)
    size = min(count, most or count, _fitting.get(own, count))
    results, start = [], 0
    while start < count:
        part = slice(start, min(start + size, count))
        tried = part.stop - part.start
        try:
            results.append(function(part))
            start = part.stop
            continue
        except MemoryError as error:
            if tried == 1:
                raise InputError(
                    f"memory does not suffice for one of the {what} ({error or 'out of memory'}); "
                    "use a smaller batch or network, or --backend numpy"
                ) from error
        # outside of the handler, which holds on to the arrays of the failed attempt
        size = _fitting[own] = (tried + 1) // 2
        backend.release(xp)
        warnings.warn(
            f"memory ran out with {tried} {what} at once; going on with {size}",
            SmallerParts,
            stacklevel=2,
        )
    return results


P = ParamSpec("P")  # what a function takes
T = TypeVar("T")  # what it gives


def told(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate ``function``: where memory ends, it raises an `InputError` of one sentence.

    What can be done in smaller parts has been (`in_parts`); this is for everything else.
    """

    @functools.wraps(function)
    def wrapped(*args, **options):
        try:
            return function(*args, **options)
        except MemoryError as error:
            raise InputError(sentence(error)) from error

    return wrapped


def sentence(error):
    """What a user is told of a `MemoryError`."""
    return (
        f"memory ran out ({str(error).rstrip('.') or 'no more is known'}); use a smaller batch, "
        "network or data set, free memory that other programs hold, or use --backend numpy"
    )


def forget():
    """Try large parts again, as when the card has become free."""
    _fitting.clear()

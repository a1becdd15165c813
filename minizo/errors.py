"""Errors for bad input: one sentence that names the argument, its value and the remedy."""

import difflib
from collections.abc import Hashable


class InputError(ValueError):
    """Bad input that the caller can correct; commands print it and exit with code 2."""


def nearest(word, names):
    """Return a hint ``"; did you mean 'x'?"`` for a mistyped name, or an empty string.

    >>> nearest("fogso", ["ste", "spsa", "fogzo"])
    "; did you mean 'fogzo'?"
    """
    close = difflib.get_close_matches(str(word), list(names), n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else ""


def choose(argument, name, table):
    """Look ``name`` up in ``table``, or refuse it and suggest the nearest name.

    Parameters
    ----------
    argument : str
        What the name chooses, as the user knows it (``"--law"``).
    name : str
        The name looked up.
    table : dict
        The known names.

    Raises
    ------
    InputError
        If ``name`` is not a key of ``table``.

    Examples
    --------
    >>> choose("--law", "gaussian", {"gaussian": 1.0})
    1.0
    """
    if isinstance(name, Hashable) and name in table:
        return table[name]
    known = ", ".join(sorted(table))
    raise InputError(f"{argument}: unknown name {name!r}{nearest(name, table)} (known: {known})")


def require(condition, argument, value, remedy):
    """Raise an `InputError` naming ``argument``, ``value`` and ``remedy`` unless ``condition``.

    Examples
    --------
    >>> require(-1 > 0, "n", -1, "it must be above 0")
    Traceback (most recent call last):
    minizo.errors.InputError: n is -1, but it must be above 0
    """
    if not condition:
        raise InputError(f"{argument} is {value!r}, but {remedy}")

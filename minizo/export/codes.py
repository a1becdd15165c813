"""Quantised weights as whole numbers: w = s k.

Only the values are looked at, not the quantiser that made them, so whatever quantises can be
exported: binary and ternary weights, k bits with a level at 0 or without, one step for a tensor or
one for each of its outputs.
"""

from typing import NamedTuple

import numpy as np

MOST = 255  # the largest |k|: 8 bits of odd numbers
SLACK = 4  # rounding errors that a level may carry, in units of eps of the largest


class Codes(NamedTuple):
    """A weight as numbers to compute with.

    k : int ndarray of the weight's shape, whole numbers, or places in ``levels``
    step : float64 ndarray of shape () or (F,), s; w = s k
    levels : ndarray of shape (L,) or None; if there, w = levels[k], and ``step`` is 1
    """

    k: object
    step: object
    levels: object = None


def grid(levels):
    """The largest step s of which all ``levels`` are multiples, up to rounding; else ``None``.

        |v - s k| <= 4 eps max |v|   for whole k, |k| <= 255

    Parameters
    ----------
    levels : ndarray of shape (L,)
        Of the dtype in which they were computed, whose eps counts.

    Returns
    -------
    float or None
        1 if all levels are 0. Of several s within rounding, one that gives the most levels exactly.

    Examples
    --------
    >>> grid(np.array([-0.75, -0.25, 0.25])), grid(np.array([-0.3, 0.0, 0.5, np.pi]))
    (0.25, None)
    """
    sizes = np.unique(np.abs(levels)).astype(np.float64)
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return 1.0
    slack = SLACK * np.finfo(levels.dtype).eps * sizes[-1]
    for divisor in range(1, MOST + 1):
        step = sizes[0] / divisor
        k = np.rint(sizes / step)
        if k[-1] > MOST:
            return None
        if np.all(np.abs(k * sizes[-1] / k[-1] - sizes) <= slack):
            # every level proposes v / k
            steps = (sizes / k)[::-1]
            hits = (steps[:, None] * k).astype(levels.dtype) == sizes.astype(levels.dtype)
            return float(steps[np.argmax(np.sum(hits, axis=1))])
    return None


def codes(weight):
    """`Codes` of a weight (F, ...), or ``None`` if it is not quantised.

    One step for the whole tensor where that is possible, else one for each of the F outputs. A
    tensor of few values, at most 256, that are no multiples of a step becomes places in a table.
    """
    # (F, ...) -> (F, m)
    rows = weight.reshape(weight.shape[0], -1)
    levels = np.unique(rows)
    found = _multiples(rows, levels)
    if found is None:
        steps = [grid(own) if own.size <= MOST + 1 else None for own in map(np.unique, rows)]
        if None not in steps:
            found = np.rint(rows / np.array(steps)[:, None]), np.array(steps)
    if found is not None:
        k, step = found
        return Codes(k.astype(np.int16).reshape(weight.shape), step)
    if levels.size <= MOST + 1 and 2 * levels.size <= rows.size:
        places = np.searchsorted(levels, rows).astype(np.int16)
        return Codes(places.reshape(weight.shape), np.array(1.0), levels)
    return None


def _multiples(rows, levels):
    step = grid(levels) if levels.size <= 2 * MOST + 1 else None
    return None if step is None else (np.rint(rows / step), np.array(step))

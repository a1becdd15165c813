"""Where a monotone function with few values jumps, found by asking the function itself.

Nothing is solved for and no rounding is guessed: the jumps are those of the very code that the
network was trained with, ties and signs of zero included.
"""

import numpy as np

from ..errors import InputError

MOST_LEVELS = 256


def float_of(key, dtype):
    """The key-th number of a floating-point type, in order: ..., -1 is -0.0 and 0 is 0.0, ...

    >>> float_of(np.array([0, 1, -2]), np.float32).tolist()
    [0.0, 1.401298464324817e-45, -1.401298464324817e-45]
    """
    whole = np.dtype(f"i{np.dtype(dtype).itemsize}")
    # the bits of x >= 0 are in order as they are; those of x < 0 are reversed, below the sign bit
    bits = np.where(key >= 0, key, np.iinfo(whole).min + (-1 - key))
    return bits.astype(whole).view(dtype)


def jumps(function, dtype):
    """The smallest arguments of all levels but the lowest, and the levels.

    Parameters
    ----------
    function : callable
        Never falling, elementwise, of at most 256 values.
    dtype : floating-point type
        Of its argument and value.

    Returns
    -------
    thresholds : ndarray (K,), increasing
    levels : ndarray (K + 1,), increasing

    Raises
    ------
    InputError
        If it has more values.

    Examples
    --------
    >>> jumps(lambda x: np.clip(np.floor(x), -1.0, 1.0), np.float32)
    (array([0., 1.], dtype=float32), array([-1.,  0.,  1.], dtype=float32))
    """
    largest = int(np.array(np.finfo(dtype).max).view(f"i{np.dtype(dtype).itemsize}"))

    def value(keys):
        with np.errstate(over="ignore"):
            return function(float_of(np.array(keys, dtype=np.int64), dtype))

    low, high = value([-largest - 1]), value([largest])
    # all pieces between two keys are halved at once until each is a jump of neighbours
    pieces = [] if low == high else [(-largest - 1, largest, low[0], high[0])]
    found = []
    while pieces:
        if len(pieces) + len(found) >= 2 * MOST_LEVELS:
            raise InputError(
                f"an activation has more than {MOST_LEVELS} levels, so it cannot be exported as "
                "whole numbers; quantise it to 8 bits or fewer"
            )
        middles = [(first + last) // 2 for first, last, _, _ in pieces]
        halves = []
        for piece, middle, level in zip(pieces, middles, value(middles), strict=True):
            first, last, below, above = piece
            halves += [(first, middle, below, level), (middle, last, level, above)]
        pieces = []
        for first, last, below, above in halves:
            if below != above:
                (found if last == first + 1 else pieces).append((first, last, below, above))
    found.sort()
    keys = np.array([last for _, last, _, _ in found], dtype=np.int64)
    levels = np.array([low[0], *(above for *_, above in found)], dtype=dtype)
    return float_of(keys, dtype) + np.zeros(1, dtype), levels  # -0.0 and 0.0 are one threshold


def whole_jumps(function, channels, low, high, thresholds):
    """Where a monotone function of whole numbers crosses ``thresholds``, channel by channel.

        rising:   f_c(q) >= T_k  <=>  q >= t_kc
        falling:  f_c(q) <  T_k  <=>  q >= t_(K+1-k)c

    Parameters
    ----------
    function : callable
        (n, C) float64 arguments to (n, C) values, elementwise, in every channel monotone.
    channels : int
        C.
    low, high : int
        Ends of the range of q.
    thresholds : ndarray (K,)
        T, increasing.

    Returns
    -------
    t : int64 ndarray (K, C), from low to high + 1, increasing
    falling : int64 ndarray (C,), 0 or 1

    Notes
    -----
    Bisection, so log2(high - low) calls. A constant channel rises: all of its t are low or high + 1.
    """
    k = len(thresholds)
    ends = function(np.array([[low], [high]]) * np.ones(channels))
    falling = ends[0] > ends[1]

    def reached(q):
        # (K, C): whether f is on the far side of the k-th threshold at q
        value = function(q)
        return np.where(falling, value < thresholds[::-1, None], value >= thresholds[:, None])

    first = np.full((k, channels), low - 1)  # not reached (low - 1 is never asked for)
    last = np.full((k, channels), high + 1)  # reached, or beyond the end
    while np.any(last - first > 1):
        middle = np.where(last - first > 1, (first + last) // 2, high)
        far = reached(middle.astype(np.float64))
        open_ = last - first > 1
        first, last = (
            np.where(open_ & ~far, middle, first),
            np.where(open_ & far, middle, last),
        )
    return last, falling.astype(np.int64)

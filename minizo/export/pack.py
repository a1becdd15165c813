"""Quantised weights as whole numbers, and whole numbers as bits.

    w = s k,    k = low + gap u,    u in 0 .. 2^b - 1, b bits each

Only the values of a weight are looked at, not the quantiser that made them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import require
from ..settings import whole

MOST_LEVELS = 256  # 8 bits
MOST_BITS = 32
SLACK = 4  # rounding errors that a level may carry, in units of eps of the largest


@dataclass(frozen=True, eq=False)
class Codes:
    """A weight as whole numbers.

    k : int ndarray of the weight's shape (F, ...)
    step : float, or ndarray (F,), one an output; s, w = s k
    levels : ndarray (L,) or None; if there, w = levels[k], for levels that share no step
    """

    k: Any
    step: Any = 1.0
    levels: Any = None

    def __post_init__(self):
        require(np.all(np.isfinite(self.step)), "step", self.step, "it must be finite")

    @property
    def bits(self):
        """Bits that a weight takes in the file."""
        return layout(self.k)[0]

    @property
    def value(self):
        """The weight, float64."""
        numbers = self.k if self.levels is None else self.levels[self.k]
        return along_rows(self.step, numbers) * numbers


def grid(levels):
    """A step s of which all ``levels`` are multiples, up to rounding; else ``None``.

        |v - s k| <= 4 eps max |v|   for whole k, |k| <= 255

    Parameters
    ----------
    levels : ndarray (L,)
        Of the dtype in which they were computed, whose eps counts.

    Returns
    -------
    float or None
        1 if all levels are 0. The largest s that gives every level exactly; if none does, the
        largest.

    Examples
    --------
    >>> grid(np.array([-0.75, -0.25, 0.25])), grid(np.array([-0.3, 0.0, 0.5, np.pi]))
    (0.25, None)
    """
    sizes = np.unique(np.abs(levels)).astype(np.float64)
    sizes = sizes[sizes > 0]
    if not sizes.size:
        return 1.0
    slack, first = SLACK * np.finfo(levels.dtype).eps * sizes[-1], None
    for divisor in range(1, MOST_LEVELS):
        k = np.rint(sizes * divisor / sizes[0])
        if k[-1] >= MOST_LEVELS:
            break
        if np.all(np.abs(k * sizes[-1] / k[-1] - sizes) <= slack):
            hits, step = _best_step(sizes, k, levels.dtype)
            if hits == sizes.size:
                return step
            first = step if first is None else first
    return first


def _best_step(sizes, k, dtype):
    # (how many levels s gives exactly, s): s k rounds to v where (v - h) / k <= s <= (v + h) / k,
    # h half the distance of two numbers at v
    half = np.spacing(sizes.astype(dtype)).astype(np.float64) / 2
    middle = (np.max((sizes - half) / k) + np.min((sizes + half) / k)) / 2
    # what the largest levels say themselves comes first, then what lies between all these bounds
    steps = [*(sizes / k)[::-1], *(middle + np.spacing(middle) * np.arange(-4, 5))]
    exact = [(int(np.sum((s * k).astype(dtype) == sizes.astype(dtype))), float(s)) for s in steps]
    return max(exact, key=lambda pair: pair[0])


def codes(weight):
    """`Codes` of a weight (F, ...), or ``None`` if it is not one of few finite values.

    One step for all of it or one for each of the F outputs, whichever takes fewer bits.

    >>> codes(np.array([[0.5, -0.5], [1.5, -0.5]])).k.tolist()
    [[1, -1], [3, -1]]
    """
    if not np.all(np.isfinite(weight)):  # of a run that diverged
        return None
    found = []
    # (F, ...) -> (1, F*...): one row of everything
    for step in (_steps(weight.reshape(1, -1)), _steps(weight)):
        if step is not None:
            k = np.rint(weight / along_rows(step, weight)).astype(np.int16)
            found.append(Codes(k, step))
    if found:
        return min(found, key=_size)
    return _table(weight)


def exactly(weight):
    """`Codes` that give a weight back to the last bit, or ``None`` where only its floats do.

    `codes`, or a table of its levels where that is smaller, or where a step gives the levels up to
    rounding alone.

    >>> w = np.array([[-1.0, -1 / 3], [1 / 3, 1.0]], np.float32) * np.float32(0.1)
    >>> exactly(w).bits, exactly(np.pi * np.arange(300.0).reshape(2, 150) ** 2)
    (2, None)
    """
    found = [own for own in (codes(weight), _table(weight)) if own is not None]
    bits = weight.tobytes()
    found = [own for own in found if own.value.astype(weight.dtype).tobytes() == bits]
    return min(found, key=_size, default=None)


def _size(own):
    # of codes in a file, in bits
    levels = 0 if own.levels is None else own.levels.size
    return own.bits * own.k.size + 32 * (np.size(own.step) + levels)


def _table(weight):
    # codes into a table of levels, where there are few
    levels = np.unique(weight)
    if levels.size > min(MOST_LEVELS, weight.size // 2):
        return None
    return Codes(np.searchsorted(levels, weight).astype(np.int16), 1.0, levels)


def _steps(rows):
    # a step for every row, in its dtype where that holds them; of one row a float; None for none
    steps = []
    for row in rows:
        levels = np.unique(row)
        steps.append(grid(levels) if levels.size <= MOST_LEVELS else None)
        if steps[-1] is None:
            return None
    if len(steps) == 1:
        return steps[0]
    steps = np.array(steps)
    short = steps.astype(rows.dtype)
    return short if np.array_equal(short, steps) else steps


def along_rows(step, weight):
    """A step of shape () or (F,) as float64 that broadcasts against a weight (F, ...)."""
    step = np.asarray(step, dtype=np.float64)
    # (F,) -> (F, 1, ...)
    return step.reshape(*step.shape, *(1,) * (weight.ndim - 1)) if step.ndim else step


def layout(numbers):
    """(bits, low, gap) of the smallest packing of whole ``numbers``: low + gap u, at least 1 bit.

    >>> layout(np.array([-3, 1, 3]))
    (2, -3, 2)
    """
    wide = np.asarray(numbers).astype(np.int64)
    if wide.size == 0:
        return 1, 0, 1
    low = int(wide.min())
    gap = max(1, int(np.gcd.reduce((wide - low).reshape(-1))))
    return max(1, ((int(wide.max()) - low) // gap).bit_length()), low, gap


def pack(numbers, bits):
    """Bytes that hold ``numbers``, ``bits`` bits each, the lowest bit of a number first.

        stream of bits:  u_0's bits 0 .. b-1,  u_1's bits 0 .. b-1,  ...
        byte i:          bits 8 i (its lowest) to 8 i + 7 (its highest) of that stream

    Parameters
    ----------
    numbers : int ndarray
        In C order; each in 0 .. 2^bits - 1.
    bits : int
        1 to 32.

    Returns
    -------
    uint8 ndarray (ceil(n bits / 8),)
        Bits behind the last number are 0.

    Raises
    ------
    InputError
        If a number does not fit.

    Examples
    --------
    >>> pack(np.array([1, 0, 1, 1]), 1), pack(np.array([[3], [1]]), 2)
    (array([13], dtype=uint8), array([7], dtype=uint8))
    """
    bits = whole("bits", bits, f"[1, {MOST_BITS}]")
    flat = np.asarray(numbers).reshape(-1).astype(np.int64)
    if flat.size:
        for value in (int(flat.min()), int(flat.max())):
            require(0 <= value < 2**bits, "a number", value, f"{bits} bits hold 0 to {2**bits - 1}")
    # (n,) -> (n, bits)
    stream = (flat[:, None] >> np.arange(bits)) & 1
    return np.packbits(stream.astype(np.uint8), bitorder="little")


def unpack(packed, bits, count):
    """The inverse of `pack`: ``count`` numbers, int64 (count,).

    >>> unpack(np.array([7], dtype=np.uint8), 2, 2)
    array([3, 1])
    """
    bits = whole("bits", bits, f"[1, {MOST_BITS}]")
    # (count*bits,) -> (count, bits)
    stream = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    return stream @ (1 << np.arange(bits, dtype=np.int64))


def signed(bound):
    """The smallest signed integer type that holds -bound .. bound.

    >>> signed(127), signed(128)
    (dtype('int8'), dtype('int16'))
    """
    return next(np.dtype(t) for t in ("i1", "i2", "i4", "i8") if bound <= np.iinfo(t).max)

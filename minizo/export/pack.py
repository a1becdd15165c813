"""Whole numbers as bits: n numbers of b bits in ceil(n b / 8) bytes."""

from dataclasses import dataclass

import numpy as np

from ..errors import is_whole, require

MOST_BITS = 32


def pack(numbers, bits):
    """Bytes that hold ``numbers``, ``bits`` bits each, the lowest bit of a number first.

        stream of bits:  u_0's bits 0 .. b-1,  u_1's bits 0 .. b-1,  ...
        byte i:          bits 8 i (its lowest) to 8 i + 7 (its highest) of that stream

    Parameters
    ----------
    numbers : int ndarray of any shape
        In C order; each in 0 .. 2^bits - 1.
    bits : int
        1 to 32.

    Returns
    -------
    uint8 ndarray of shape (ceil(n bits / 8),)
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
    right = is_whole(bits) and 1 <= bits <= MOST_BITS
    require(right, "bits", bits, f"it must be a whole number from 1 to {MOST_BITS}")
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
    stream = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    return stream @ (1 << np.arange(bits, dtype=np.int64))


@dataclass(frozen=True)
class Layout:
    """How an integer array lies in bytes: k = low + stride u, each u in ``bits`` bits.

    Attributes
    ----------
    shape : tuple of int
    bits : int
        Enough for the largest u, at least 1.
    low, stride : int
        The smallest k, and the largest number that divides all k - low.

    Examples
    --------
    >>> Layout.of(np.array([-3, 1, 3]))
    Layout(shape=(3,), bits=2, low=-3, stride=2)
    """

    shape: tuple
    bits: int
    low: int
    stride: int

    @classmethod
    def of(cls, numbers):
        """The smallest layout for these ``numbers``."""
        if numbers.size == 0:
            return cls(numbers.shape, 1, 0, 1)
        wide = numbers.astype(np.int64)
        low = int(wide.min())
        stride = max(1, int(np.gcd.reduce((wide - low).reshape(-1))))
        most = (int(wide.max()) - low) // stride
        return cls(numbers.shape, max(1, most.bit_length()), low, stride)

    @property
    def count(self):
        """How many numbers."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self):
        """How many bytes they take."""
        return -(-self.count * self.bits // 8)

    def pack(self, numbers):
        """Bytes of an array in this layout."""
        return pack((numbers.astype(np.int64) - self.low) // self.stride, self.bits)

    def unpack(self, packed):
        """The array, in the smallest signed type that holds it."""
        numbers = self.low + self.stride * unpack(packed, self.bits, self.count)
        largest = max(abs(self.low), abs(self.low + self.stride * (2**self.bits - 1)))
        # (count,) -> shape
        return numbers.astype(signed(largest)).reshape(self.shape)


def signed(bound):
    """The smallest signed integer type that holds -bound .. bound.

    >>> signed(127), signed(128)
    (dtype('int8'), dtype('int16'))
    """
    return next(np.dtype(t) for t in ("i1", "i2", "i4", "i8") if bound <= np.iinfo(t).max)

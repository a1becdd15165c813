"""What an exported network does, step by step: a few instructions on whole numbers.

An instruction is called with an array (N, ...) of examples and gives the next. Arrays of integer
type hold whole numbers q that stand for real values s q (s is known when the network is folded and
is needed nowhere before the outputs); arrays of floating-point type hold the real values.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import require
from ..layers import Layer
from . import xnor
from .pack import signed

EXACT = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}


def _by_channel(values, x):
    # (..., C) -> (..., C, 1, 1) for images
    return values.reshape(*values.shape, *(1,) * (x.ndim - 2))


@dataclass(frozen=True)
class Pixels:
    """Images to whole numbers: q = x levels.

    Parameters
    ----------
    levels : int
        255 for images that were bytes and lie in [0, 1].
    """

    levels: int

    def __call__(self, x):
        """q, int16; bytes are taken as they are."""
        if x.dtype.kind in "iu":
            low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
            inside = 0 <= low and high <= self.levels
            wrong = low if low < 0 else high
            require(inside, "a pixel", wrong, f"whole numbers lie in 0 to {self.levels}")
            return x.astype(np.int16)
        scaled = x * x.dtype.type(self.levels)
        q = np.rint(scaled)
        # half of the distance to the next number in x, times levels, and the product's own rounding
        close = np.abs(scaled - q) <= 2 * np.finfo(x.dtype).eps * self.levels
        right = close & (q >= 0) & (q <= self.levels)
        wrong = None if right.all() else float(x[~right][0])
        require(
            wrong is None,
            "a pixel",
            wrong,
            f"this export takes multiples of 1/{self.levels} from 0 to 1; export it again for "
            "real inputs",
        )
        return q.astype(np.int16)


@dataclass(frozen=True)
class Product:
    """Whole numbers times the integer weights of a Linear or Conv2d layer.

    Parameters
    ----------
    name : str
        Of the weight.
    layer : Linear or Conv2d
        Without bias.
    weight : int or float ndarray
        k of w = s k; or the real weights, where they are not quantised.
    step : float ndarray of shape () or (F,)
        s.
    bound : int
        No product of whole numbers is larger.
    binary : bool
        Whether weights and inputs are +-1: XNOR and popcount.
    levels : float ndarray of shape (L,) or None
        If there, the real weights are levels[k].

    Notes
    -----
    NumPy has no fast product of integer matrices. All sums of k q that are met on the way are whole
    numbers of size at most ``bound``, so a product in float32 is exact up to 2^24 and one in
    float64 up to 2^53: the layer's own forward computes it, and the result is an integer array.
    """

    name: str
    layer: Layer
    weight: Any
    step: Any
    bound: int = 0
    binary: bool = False
    levels: Any = None

    @cached_property
    def _xnor(self):
        return xnor.product(self.layer, self.weight, signed(2 * self.bound))  # its largest step

    @cached_property
    def _floats(self):
        return {}

    def _weight(self, dtype):
        if dtype not in self._floats:
            weight = self.weight if self.levels is None else self.levels[self.weight]
            self._floats[dtype] = weight.astype(dtype)
        return {"weight": self._floats[dtype]}

    @property
    def value(self):
        """The weight as the network was trained with it."""
        if self.levels is not None:
            return self.levels[self.weight]
        # (F,) -> (F, 1, ...)
        step = self.step.reshape(*self.step.shape, *(1,) * (self.weight.ndim - 1))
        return step * self.weight

    def __call__(self, x):
        """sum k q of integer type for integers q, else sum k x in the type of x."""
        if x.dtype.kind == "f":
            return self.layer.forward(self._weight(x.dtype), x)[0]
        if self.binary:
            return self._xnor(x)
        dtype = next(dtype for dtype, most in EXACT.items() if self.bound <= most)
        y, _ = self.layer.forward(self._weight(dtype), x.astype(dtype))
        return y.astype(signed(self.bound))


@dataclass(frozen=True)
class Thresholds:
    """A staircase: batch normalisation and an activation quantiser as comparisons.

        i = #{k : x >= t_k}, or K - i where ``falling``;   y = levels[i]

    Parameters
    ----------
    thresholds : ndarray of shape (K,) or (K, C)
        t, of integer type for whole numbers; for every channel its own.
    falling : int ndarray of shape (C,), 0 or 1, or None
        Where the normalisation turns the order around.
    levels : ndarray of shape (K + 1,)
        Whole numbers, or real ones.
    """

    thresholds: Any
    falling: Any
    levels: Any

    def __call__(self, x):
        """y in the shape of x and the type of ``levels``."""
        index = np.zeros_like(x, dtype=np.uint8)
        for own in self.thresholds:
            index += x >= (_by_channel(own, x) if own.ndim else own)
        if self.falling is not None and self.falling.any():
            falling = _by_channel(self.falling, x).astype(bool)
            np.subtract(len(self.thresholds), index, out=index, where=falling)
        return self.levels[index]


@dataclass(frozen=True)
class Negate:
    """y = sign x with a sign of +-1 for every channel, so that what follows rises."""

    sign: Any

    def __call__(self, x):
        """y in the shape and type of x."""
        return x * _by_channel(self.sign.astype(x.dtype), x)


@dataclass(frozen=True)
class MaxPool:
    """The largest number of every square, of integers or real numbers."""

    size: int
    stride: int

    def __call__(self, x):
        """(N, C, H, W) -> (N, C, H', W')."""
        for axis in (3, 2):
            count = (x.shape[axis] - self.size) // self.stride + 1
            ends = [first + (count - 1) * self.stride + 1 for first in range(self.size)]
            cuts = [slice(first, end, self.stride) for first, end in enumerate(ends)]
            parts = [x[(slice(None),) * axis + (cut,)] for cut in cuts]
            x = parts[0]
            for part in parts[1:]:
                x = np.maximum(x, part)
        return x


@dataclass(frozen=True)
class Affine:
    """y = a x + b: from whole numbers to real ones, with bias and batch normalisation in it.

    Parameters
    ----------
    a, b : float ndarray of shape () or (C,)
    """

    a: Any
    b: Any

    def __call__(self, x):
        """y in the type of a."""
        y = x * _by_channel(self.a, x) if self.a.ndim else x * self.a
        return y + (_by_channel(self.b, x) if self.b.ndim else self.b)


@dataclass(frozen=True)
class Apply:
    """A layer of the network as it is.

    Parameters
    ----------
    layer : Layer
    params : dict of str to ndarray
    """

    layer: Layer
    params: dict

    def __call__(self, x):
        """Its forward."""
        return self.layer.forward(self.params, x)[0]


@dataclass(frozen=True)
class Sum:
    """y = body(x) + shortcut(x), both of real numbers.

    Parameters
    ----------
    body, shortcut : list of instruction
    """

    body: list
    shortcut: list

    def __call__(self, x):
        """y."""
        return run(self.body, x) + run(self.shortcut, x)


def run(program, x):
    """What comes out of a list of instructions."""
    for instruction in program:
        x = instruction(x)
    return x


def flat(program):
    """All instructions, those of residual blocks among them."""
    for instruction in program:
        yield instruction
        if isinstance(instruction, Sum):
            yield from flat([*instruction.body, *instruction.shortcut])


KINDS = {
    kind.__name__: kind
    for kind in (Pixels, Product, Thresholds, Negate, MaxPool, Affine, Apply, Sum)
}

"""What an exported network does, step by step.

A step is called with an array (N, ...) of examples and gives the next. Arrays of integer type hold
whole numbers q that stand for real values s q (s is known when the network is folded, and is needed
nowhere before the outputs); arrays of floating-point type hold the real values themselves.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError, require
from ..layers import Conv2d, Layer, Linear
from ..types import Array, Arrays
from . import xnor
from .pack import Codes, signed

EXACT = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}
BLOCK = 1000  # examples at once


def by_channel(function, x, *values):
    """function(x, *values) for values of shape () or (C,), one a channel of x (N, C[, H, W])."""
    if x.ndim == 2:
        return function(x, *values)
    # (N, C, H, W) -> (N, H, W, C) -> (N, H, W*C): rows that are longer than a few channels
    images = np.moveaxis(x, 1, -1)
    count, height, width, channels = images.shape
    rows = images.reshape(count, height, width * channels)
    wide = [np.tile(value, width) if value.ndim else value for value in values]
    # (N, H, W*C) -> (N, H, W, C) -> (N, C, H, W)
    return np.moveaxis(function(rows, *wide).reshape(images.shape), -1, 1)


@dataclass(frozen=True)
class Pixels:
    """Images to bytes: q = 255 x, for images that were bytes and lie in [0, 1]."""

    def __call__(self, x):
        """q, uint8; bytes are taken as they are."""
        if x.dtype == np.uint8:
            return x
        with np.errstate(invalid="ignore"):
            q = np.rint(255 * x)
            # x = q / 255 to half an eps, and the product is rounded
            close = np.abs(255 * x - q) <= 255 * np.finfo(x.dtype).eps
            right = close & (q >= 0) & (q <= 255)
        wrong = None if right.all() else float(x[~right][0])
        remedy = "this export takes bytes, or multiples of 1/255; for others save with pixels=False"
        require(wrong is None, "a pixel", wrong, remedy)
        return q.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Product:
    """Whole numbers times the integer weights of a Linear or Conv2d layer.

    Parameters
    ----------
    name : str
        Of the weight.
    weight : int or float ndarray (F, m) or (F, C, kh, kw)
        k of w = s k; or the real weights, where they are not quantised.
    stride, padding : (int, int)
        Of a convolution.
    step : float or float ndarray (F,)
        s.
    bound : int
        No product of whole numbers is larger; 0 if the inputs are real numbers.
    binary : bool
        Whether weights and inputs are +-1: XNOR and popcount.
    levels : float ndarray (L,) or None
        If there, the real weights are levels[k].

    Notes
    -----
    NumPy has no fast product of integer matrices. All sums of k q that are met on the way are whole
    numbers of size at most ``bound``, so a product in float32 is exact up to 2^24 and one in
    float64 up to 2^53: the layer's own forward computes it, and the result is an integer array.
    """

    name: str
    weight: Any
    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    step: Any = 1.0
    bound: int = 0
    binary: bool = False
    levels: Any = None

    @cached_property
    def layer(self):
        """The layer without its bias."""
        outputs, inputs, *kernel = self.weight.shape
        if not kernel:
            return Linear(inputs, outputs, bias=False)
        return Conv2d(inputs, outputs, tuple(kernel), self.stride, self.padding)

    @cached_property
    def _xnor(self):
        return xnor.product(self.layer, self.weight, signed(2 * self.bound))

    @cached_property
    def _floats(self):
        return {}

    def _params(self, dtype):
        if dtype not in self._floats:
            numbers = self.weight if self.levels is None else self.levels[self.weight]
            self._floats[dtype] = {"weight": numbers.astype(dtype)}
        return self._floats[dtype]

    @property
    def bits(self):
        """Bits that a weight takes in the file."""
        whole = self.weight.dtype.kind == "i"
        return Codes(self.weight).bits if whole else 8 * self.weight.itemsize

    @property
    def value(self):
        """The weight as the network was trained with it, float64."""
        return Codes(self.weight, self.step, self.levels).value

    def __call__(self, x):
        """sum k q of integer type for integers q, else sum k x in the type of x."""
        if x.dtype.kind == "f":
            return self.layer.forward(self._params(x.dtype), x)[0]
        if self.binary:
            return self._xnor(x)
        dtype = next(dtype for dtype, most in EXACT.items() if self.bound <= most)
        return self.layer.forward(self._params(dtype), x.astype(dtype))[0].astype(
            signed(self.bound)
        )


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Bias, batch normalisation and an activation quantiser, as comparisons of whole numbers.

        i = #{k : q >= t_k}, or K - i in channels that fall;   y = low + gap i

    Parameters
    ----------
    t : int ndarray (K, C)
    falling : int ndarray (C,), 0 or 1
        Where batch normalisation's scale is negative.
    low, gap : int
        The levels.
    close : int
        How many of the t have a whole number within the rounding error of floating-point sums; see
        `minizo.export.fold`.
    """

    t: Any
    falling: Any
    low: int
    gap: int
    close: int = 0

    def __call__(self, q):
        """y in the shape of q, of the smallest integer type."""
        steps = len(self.t)
        dtype = signed(max(abs(self.low), abs(self.low + self.gap * steps)))
        # y = low + gap i, or low + gap (K - i) = (low + gap K) - gap i
        start = np.where(self.falling, self.low + self.gap * steps, self.low).astype(dtype)
        gap = np.where(self.falling, -self.gap, self.gap).astype(dtype)

        def staircase(q, start, gap, *thresholds):
            reached = (q >= thresholds[0]).astype(dtype)
            for t in thresholds[1:]:
                reached += q >= t
            reached *= gap
            reached += start
            return reached

        kind = np.promote_types(q.dtype, signed(int(np.abs(self.t).max())))
        return by_channel(staircase, q, start, gap, *self.t.astype(kind))


@dataclass(frozen=True, eq=False)
class Affine:
    """y = a q + b: from whole numbers to real ones, with bias and batch normalisation in it.

    Parameters
    ----------
    a, b : float ndarray of shape () or (C,)
    """

    a: Any
    b: Any

    def __call__(self, q):
        """y in the type of a."""
        return by_channel(lambda q, a, b: q.astype(a.dtype) * a + b, q, self.a, self.b)


@dataclass(frozen=True)
class Apply:
    """A layer without parameters as it is: pooling of whole or real numbers, ReLU, ..."""

    layer: Layer

    def __call__(self, x):
        """Its forward."""
        return self.layer.forward({}, x)[0]


@dataclass(frozen=True)
class Encode:
    """Quantised real numbers as whole ones: q = Q(x) / s.

    Parameters
    ----------
    layer : QuantizedActivation
    step : float
        s.
    bound : int
        The largest |q|.
    """

    layer: Layer
    step: float
    bound: int

    def __call__(self, x):
        """q, of the smallest integer type."""
        return np.rint(self.layer.forward({}, x)[0] / self.step).astype(signed(self.bound))


@dataclass(frozen=True, eq=False)
class Exported:
    """A network that computes with whole numbers wherever it can, on NumPy.

    Attributes
    ----------
    steps : tuple
        Called one after the other.
    input_shape : tuple of int
        Of one example.
    dtype : str
        Of real numbers, as in training.
    """

    steps: tuple
    input_shape: tuple
    dtype: str

    @property
    def products(self) -> dict[str, Product]:
        """Its `Product` steps by the name of their weight."""
        return {step.name: step for step in self.steps if isinstance(step, Product)}

    @property
    def weights(self) -> Arrays:
        """The quantised weights by name, as the network was trained with them."""
        return {name: step.value.astype(self.dtype) for name, step in self.products.items()}

    @property
    def bits(self) -> float:
        """Mean number of bits a weight."""
        sizes = [(step.weight.size, step.bits) for step in self.products.values()]
        return sum(n * bits for n, bits in sizes) / sum(n for n, _ in sizes)

    @property
    def thresholds(self) -> tuple[int, int]:
        """(comparisons of whole numbers, how many of them are close to rounding)."""
        own = [step for step in self.steps if isinstance(step, Thresholds)]
        return sum(step.t.size for step in own), sum(step.close for step in own)

    def outputs(self, x: Array) -> np.ndarray:
        """Outputs (N, K), real numbers.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
            Images as in training; or the bytes that they were made of.
        """
        right = tuple(x.shape[1:]) == tuple(self.input_shape)
        require(right, "x's shape", x.shape, f"this network takes (N, {self.input_shape})")
        if x.dtype == np.uint8 and not any(isinstance(step, Pixels) for step in self.steps):
            raise InputError(
                "x is of bytes, but this network was exported for real inputs; pass it images as "
                "it was trained with, or export it with pixels=True"
            )
        parts = []
        for start in range(0, max(1, x.shape[0]), BLOCK):
            y = x[start : start + BLOCK]
            y = y if y.dtype == np.uint8 else y.astype(self.dtype, copy=False)
            for step in self.steps:
                y = step(y)
            parts.append(y)
        return np.concatenate(parts)

    def predict(self, x: Array) -> np.ndarray:
        """The class of the largest output, int (N,)."""
        return np.argmax(self.outputs(x), axis=-1)

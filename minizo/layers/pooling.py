"""Pooling of images: maxima and means of small squares, and of whole images.

A square is pooled along its rows first and along its columns then, each time over the slices of the
image that hold the first, second, ... pixel of every square.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..types import Array, Arrays, Shape
from .base import Layer, zeros


@dataclass(frozen=True)
class _Pool2d(Layer):
    cuts = True
    size: Annotated[int, "[1, 255]"] = 2
    stride: Annotated[int, "[1, 255]"] | None = None

    around = 0  # pixels of padding on every side

    def __post_init__(self):
        super().__post_init__()
        if self.stride is None:
            object.__setattr__(self, "stride", self.size)

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) -> (C, H', W'), H' = floor((H + 2 padding - size) / stride) + 1."""
        least = self.size - 2 * self.around
        if len(shape) != 3 or min(shape[1:]) < max(1, least):
            raise InputError(
                f"{type(self).__name__}({self.size}) is fed examples of shape {shape}; it takes "
                f"(C, H, W) of at least {max(1, least)} x {max(1, least)} pixels"
            )
        stride = self.stride or self.size
        return (shape[0], *((pixels - least) // stride + 1 for pixels in shape[1:]))

    def _slices(self, x, axis):
        # the first, second, ... pixel of every square along an axis
        count = (x.shape[axis] - self.size) // self.stride + 1
        after = (slice(None),) * (-1 - axis)
        return [
            x[(..., slice(first, first + (count - 1) * self.stride + 1, self.stride), *after)]
            for first in range(self.size)
        ]


def _unpooled(dy, axis, pixels):
    # zeros like dy with so many pixels along an axis
    shape = list(dy.shape)
    shape[axis] = pixels
    return zeros(tuple(shape), dy)


@dataclass(frozen=True)
class MaxPool2d(_Pool2d):
    """y = the largest number of a square; of equal ones the first in reading order gets dy.

    Parameters
    ----------
    size : int
        Rows and columns of a square.
    stride : int, optional
        Pixels from one square to the next, by default ``size``. Pixels at the lower and right edge
        that fill no square are left out.
    padding : int
        Pixels by which the first square begins outside the image, and the last may end outside, at
        most half of ``size``. What is outside counts as -infinity.

    Examples
    --------
    >>> import numpy as np
    >>> y, cache = MaxPool2d(2).forward({}, np.arange(4.0).reshape(1, 1, 2, 2))
    >>> dx, grads = MaxPool2d(2).backward({}, cache, np.ones((1, 1, 1, 1)))
    >>> y.item(), dx[0, 0]
    (3.0, array([[0., 0.],
           [0., 1.]]))
    >>> MaxPool2d(3, stride=2, padding=1).forward({}, -np.ones((1, 1, 4, 4)))[0][0, 0]
    array([[-1., -1.],
           [-1., -1.]])
    """

    padding: Annotated[int, "[0, 127]"] = 0

    def __post_init__(self):
        super().__post_init__()
        half = 2 * self.padding <= self.size
        remedy = f"it must be at most half of size, which is {self.size}"
        require(half, "MaxPool2d.padding", self.padding, remedy)

    @property
    def around(self) -> int:
        """Pixels of padding on every side."""
        return self.padding

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, C, H', W') for x (..., N, C, H, W)."""
        between = self._largest(x, -1)
        y = self._largest(between, -2)
        return y, (x, between, y)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy at the place of the largest number, 0 elsewhere."""
        x, between, y = cache
        return self._to_place(self._to_place(dy, y, between, -2), between, x, -1), {}

    def _padded(self, x, axis):
        # The pixel at the edge once more for every pixel outside: a square that reaches outside
        # holds that pixel, too, so its largest number is the same.
        if not self.padding:
            return x
        after = (slice(None),) * (-1 - axis)
        ends = [x[(..., end, *after)] for end in (slice(0, 1), slice(-1, None))]
        first, last = ([end] * self.padding for end in ends)
        return backend.namespace(x).concat([*first, x, *last], axis=axis)

    def _cut(self, dx, axis):
        # what the pixels outside got belongs to the pixel at the edge
        if not self.padding:
            return dx
        xp, p, after = backend.namespace(dx), self.padding, (slice(None),) * (-1 - axis)
        inner = dx[(..., slice(p, -p), *after)]
        first, last = (slice(0, p), slice(0, 1)), (slice(-p, None), slice(-1, None))
        for outside, edge in (first, last):
            inner[(..., edge, *after)] += xp.sum(
                dx[(..., outside, *after)], axis=axis, keepdims=True
            )
        return inner

    def _largest(self, x, axis):
        # the largest along an axis of every ``size`` pixels
        first, *others = self._slices(self._padded(x, axis), axis)
        for other in others:
            first = backend.namespace(x).maximum(first, other)
        return first

    def _to_place(self, dy, y, x, axis):
        # dx = dy where x is the largest of its square, y; the first of several equal ones has it
        xp, left, x = backend.namespace(dy), dy, self._padded(x, axis)
        dx = _unpooled(dy, axis, x.shape[axis])
        *places, last = self._slices(dx, axis)
        for place, pixel in zip(places, self._slices(x, axis), strict=False):
            taken = left * xp.astype(pixel == y, dy.dtype)
            left = left - taken
            place += taken
        last += left
        return self._cut(dx, axis)


@dataclass(frozen=True)
class AvgPool2d(_Pool2d):
    """y = the mean of a square.

    Parameters
    ----------
    size, stride : int
        As in `MaxPool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> y, cache = AvgPool2d(2).forward({}, np.arange(4.0).reshape(1, 1, 2, 2))
    >>> y.item()
    1.5
    """

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, C, H', W') for x (..., N, C, H, W)."""
        y = x
        for axis in (-1, -2):
            first, *others = self._slices(y, axis)
            y = (1.0 / self.size) * first
            for other in others:
                y += (1.0 / self.size) * other
        return y, x.shape[-2:]

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy / size^2, added up where squares overlap."""
        for axis, pixels in zip((-2, -1), cache, strict=True):
            share = (1.0 / self.size) * dy
            dy = _unpooled(dy, axis, pixels)
            for part in self._slices(dy, axis):
                part += share
        return dy, {}


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """y = the mean of every channel: (..., N, C, H, W) -> (..., N, C).

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAvgPool().forward({}, np.arange(8.0).reshape(1, 2, 2, 2))[0]
    array([[1.5, 5.5]])
    """

    cuts = True

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) -> (C,)."""
        if len(shape) != 3:
            raise InputError(
                f"GlobalAvgPool is fed examples of shape {shape}; it takes images (C, H, W)"
            )
        return (shape[0],)

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, C)."""
        return backend.namespace(x).mean(x, axis=(-2, -1)), x.shape[-2:]

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy / (H W), the same for every pixel."""
        xp = backend.namespace(dy)
        rows, columns = cache
        dx = (dy / (rows * columns))[..., None, None]
        return xp.broadcast_to(dx, (*dy.shape, rows, columns)), {}

"""Pooling of images: maxima and means of small squares, and of whole images.

A square is pooled along its rows first and along its columns then, each time over the slices of the
image that hold the first, second, ... pixel of every square.
"""

from dataclasses import dataclass
from typing import Annotated

from .. import backend
from ..errors import InputError
from ..parallel import alone
from .base import Layer, zeros


@dataclass(frozen=True)
class _Pool2d(Layer):
    cuts = True
    size: Annotated[int, "[1, 255]"] = 2
    stride: Annotated[int, "[1, 255]"] | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.stride is None:
            object.__setattr__(self, "stride", self.size)

    def output_shape(self, shape):
        """(C, H, W) -> (C, H', W'), H' = floor((H - size) / stride) + 1."""
        if len(shape) != 3 or min(shape[1:]) < self.size:
            raise InputError(
                f"{type(self).__name__}({self.size}) is fed examples of shape {shape}; it takes "
                f"(C, H, W) of at least {self.size} x {self.size} pixels"
            )
        return (shape[0], *((pixels - self.size) // self.stride + 1 for pixels in shape[1:]))

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

    Examples
    --------
    >>> import numpy as np
    >>> y, cache = MaxPool2d(2).forward({}, np.arange(4.0).reshape(1, 1, 2, 2))
    >>> dx, grads = MaxPool2d(2).backward({}, cache, np.ones((1, 1, 1, 1)))
    >>> y.item(), dx[0, 0]
    (3.0, array([[0., 0.],
           [0., 1.]]))
    """

    def forward(self, params, x, reduce=alone):
        """y (..., N, C, H', W') for x (..., N, C, H, W)."""
        between = self._largest(x, -1)
        y = self._largest(between, -2)
        return y, (x, between, y)

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dx = dy at the place of the largest number, 0 elsewhere."""
        x, between, y = cache
        return self._to_place(self._to_place(dy, y, between, -2), between, x, -1), {}

    def _largest(self, x, axis):
        # the largest along an axis of every ``size`` pixels
        first, *others = self._slices(x, axis)
        for other in others:
            first = backend.namespace(x).maximum(first, other)
        return first

    def _to_place(self, dy, y, x, axis):
        # dx = dy where x is the largest of its square, y; the first of several equal ones has it
        xp, left = backend.namespace(dy), dy
        dx = _unpooled(dy, axis, x.shape[axis])
        *places, last = self._slices(dx, axis)
        for place, pixel in zip(places, self._slices(x, axis), strict=False):
            taken = left * xp.astype(pixel == y, dy.dtype)
            left = left - taken
            place += taken
        last += left
        return dx


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

    def forward(self, params, x, reduce=alone):
        """y (..., N, C, H', W') for x (..., N, C, H, W)."""
        y = x
        for axis in (-1, -2):
            first, *others = self._slices(y, axis)
            y = (1.0 / self.size) * first
            for other in others:
                y += (1.0 / self.size) * other
        return y, x.shape[-2:]

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
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

    def output_shape(self, shape):
        """(C, H, W) -> (C,)."""
        if len(shape) != 3:
            raise InputError(
                f"GlobalAvgPool is fed examples of shape {shape}; it takes images (C, H, W)"
            )
        return (shape[0],)

    def forward(self, params, x, reduce=alone):
        """y (..., N, C)."""
        return backend.namespace(x).mean(x, axis=(-2, -1)), x.shape[-2:]

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dx = dy / (H W), the same for every pixel."""
        xp = backend.namespace(dy)
        rows, columns = cache
        dx = (dy / (rows * columns))[..., None, None]
        return xp.broadcast_to(dx, (*dy.shape, rows, columns)), {}

"""Pooling of images: maxima and means of small squares, and of whole images.

A square is pooled along its rows first and along its columns then, each time over the slices of the
image that hold the first, second, ... pixel of every square.
"""

from dataclasses import dataclass

from .. import backend
from ..errors import InputError, is_whole, require
from .base import Layer, zero_images


@dataclass(frozen=True)
class _Pool2d(Layer):
    size: int = 2
    stride: int | None = None

    def __post_init__(self):
        if self.stride is None:
            object.__setattr__(self, "stride", self.size)
        for name in ("size", "stride"):
            value = getattr(self, name)
            right = is_whole(value) and 1 <= value <= 255
            remedy = "it must be a whole number from 1 to 255"
            require(right, f"{type(self).__name__}.{name}", value, remedy)

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
    return zero_images(tuple(shape), dy)


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
    """

    def forward(self, params, x):
        """y (..., N, C, H', W') for x (..., N, C, H, W)."""
        y, columns = self._largest(x, -1)
        z, rows = self._largest(y, -2)
        return z, (columns, rows, x.shape[-2:])

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy at the place of the largest number, 0 elsewhere."""
        columns, rows, (height, width) = cache
        return self._to_place(self._to_place(dy, rows, -2, height), columns, -1, width), {}

    def _largest(self, x, axis):
        # the largest along an axis, and which of the ``size`` pixels it was
        xp = backend.namespace(x)
        first, *others = self._slices(x, axis)
        y, place = 1.0 * first, xp.zeros_like(first, dtype=xp.uint8)
        for k, other in enumerate(others, 1):
            # k grows, so of all pixels that were larger than those before them the last one counts
            later = xp.astype(other > y, xp.uint8)
            later *= k
            place = xp.maximum(place, later)
            y = backend.into(y, xp.maximum, y, other)
        return y, place

    def _to_place(self, dy, place, axis, pixels):
        xp = backend.namespace(dy)
        dx = _unpooled(dy, axis, pixels)
        for k, part in enumerate(self._slices(dx, axis)):
            part += dy * xp.astype(place == k, dy.dtype)
        return dx


@dataclass(frozen=True)
class AvgPool2d(_Pool2d):
    """y = the mean of a square.

    Parameters
    ----------
    size, stride : int
        As in `MaxPool2d`.
    """

    def forward(self, params, x):
        """y (..., N, C, H', W') for x (..., N, C, H, W)."""
        y = x
        for axis in (-1, -2):
            first, *others = self._slices(y, axis)
            y = (1.0 / self.size) * first
            for other in others:
                y += (1.0 / self.size) * other
        return y, x.shape[-2:]

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy / size^2, added up where squares overlap."""
        for axis, pixels in zip((-2, -1), cache, strict=True):
            share = (1.0 / self.size) * dy
            dy = _unpooled(dy, axis, pixels)
            for part in self._slices(dy, axis):
                part += share
        return dy, {}


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """y = the mean of every channel: (..., N, C, H, W) -> (..., N, C)."""

    def output_shape(self, shape):
        """(C, H, W) -> (C,)."""
        if len(shape) != 3:
            raise InputError(
                f"GlobalAvgPool is fed examples of shape {shape}; it takes images (C, H, W)"
            )
        return (shape[0],)

    def forward(self, params, x):
        """y (..., N, C)."""
        return backend.namespace(x).mean(x, axis=(-2, -1)), x.shape[-2:]

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy / (H W), the same for every pixel."""
        xp = backend.namespace(dy)
        rows, columns = cache
        dx = (dy / (rows * columns))[..., None, None]
        return xp.broadcast_to(dx, (*dy.shape, rows, columns)), {}

"""Pooling of images: maxima and means of small squares, and of whole images.

A square is pooled along its rows first and along its columns then, each time over the slices of the
image that hold the first, second, ... pixel of every square.
"""

from dataclasses import dataclass
from math import prod
from typing import Annotated

from .. import backend, sharing
from ..errors import InputError
from .base import Layer, empty_images, examples, scratch_images


@dataclass(frozen=True)
class _Pool2d(Layer):
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


def _blocks(x):
    # of examples (..., N, C, H, W); four arrays of that size are at work at once
    return sharing.blocks(x.shape[-4], 4 * prod(x.shape[:-4]) * prod(x.shape[-3:]), x)


def _unpooled(dy, axis, pixels):
    # zeros like dy with so many pixels along an axis
    shape = list(dy.shape)
    shape[axis] = pixels
    zeros = empty_images(tuple(shape), dy)
    zeros[...] = 0.0
    return zeros


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
        shape = self.output_shape(x.shape[-3:])
        between = empty_images((*x.shape[:-1], shape[-1]), x)
        y = empty_images((*x.shape[:-3], *shape), x)

        def block(part):
            own_x, own_between, own_y = (examples(a, part) for a in (x, between, y))
            self._largest(own_between, own_x, -1)
            self._largest(own_y, own_between, -2)

        sharing.share(block, _blocks(x))
        return y, (x, between, y)

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy at the place of the largest number, 0 elsewhere."""
        x, between, y = cache
        lead = dy.shape[:-4]
        dx = empty_images((*lead, *x.shape[-4:]), x)

        def block(part):
            own_x, own_between, own_y, own_dy, own_dx = (
                examples(a, part) for a in (x, between, y, dy, dx)
            )
            d_between = scratch_images("between", (*lead, *own_between.shape[-4:]), x)
            self._to_place(d_between, own_y, own_between, own_dy, -2)
            self._to_place(own_dx, own_between, own_x, d_between, -1)

        sharing.share(block, _blocks(x))
        return dx, {}

    def _largest(self, y, x, axis):
        # y = the largest along an axis of every ``size`` pixels of x
        xp = backend.namespace(x)
        first, *others = self._slices(x, axis)
        if not others:
            y[...] = first
        for other in others:
            backend.into(y, xp.maximum, first, other)
            first = y

    def _to_place(self, dx, y, x, dy, axis):
        # dx = dy where x is the largest of its square, y; the first of several equal ones has it
        xp = backend.namespace(dy)
        *parts, last = self._slices(dx, axis)
        apart = self.stride >= self.size
        if not (apart and parts and dx.shape[axis] == self.size * dy.shape[axis]):
            dx[...] = 0.0  # not every pixel is written below, or some more than once
        left = dy
        for part, own in zip(parts, self._slices(x, axis), strict=False):
            taken, rest = part, last
            if not apart:
                taken, rest = (scratch_images(name, dy.shape, dy) for name in ("taken", "left"))
            backend.into(taken, xp.equal, own, y)
            taken *= left
            if not apart:
                part += taken
            left = backend.into(rest, xp.subtract, left, taken)
        if left is not last:
            last += left


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

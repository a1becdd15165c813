"""The two-dimensional convolution."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..rng import Stream
from ..settings import Count, plain, whole, wholes
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer
from .patches import gradients, matrices, product, row_patches, weight_gradient


def pair(argument, value, interval="[1, inf)"):
    """A whole number as (rows, columns); a pair as it is.

    >>> pair("kernel", 3), pair("kernel", (1, 2))
    ((3, 3), (1, 2))
    """
    value = plain(value)
    if not isinstance(value, tuple | list | np.ndarray):
        return (whole(argument, value, interval),) * 2
    both = wholes(argument, value, interval)
    require(len(both) == 2, argument, value, "it must be one number or two")
    return both


@dataclass(frozen=True)
class Conv2d(Layer):
    """y[n, f, h, w] = b_f + sum_cij W[f, c, i, j] x[n, c, h s + i - p, w s + j - p].

    Parameters
    ----------
    inputs, outputs : int
        Channels C and F.
    kernel : int or (int, int)
        Rows and columns of a filter.
    stride, padding : int or (int, int)
        s and p; x is 0 outside.
    bias : bool
        Whether b is there.

    Notes
    -----
    W : (..., F, C, kh, kw), b : (..., F), x : (..., N, C, H, W), y : (..., N, F, H', W') with
    H' = floor((H + 2 p - kh) / s) + 1. y is stored with the channels of a pixel side by side; a
    layer above that works element by element keeps it so.

    Start: W ~ N(0, 2 / (C kh kw)), b = 0 (K. He et al., "Delving deep into rectifiers", ICCV 2015,
    equation 10).

    Cost: H' W' kh kw C F multiply-accumulates an example forward, as many again for each of dW
    and dx.

    Examples
    --------
    Sums over 2 x 2 pixels of a 3 x 3 image:

    >>> import numpy as np
    >>> params = {"weight": np.ones((1, 1, 2, 2))}
    >>> y, cache = Conv2d(1, 1, 2).forward(params, np.arange(9.0).reshape(1, 1, 3, 3))
    >>> y[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """

    cuts = True

    inputs: Count
    outputs: Count
    kernel: int | tuple = 3
    stride: int | tuple = 1
    padding: int | tuple = 0
    bias: bool = False

    def __post_init__(self):
        super().__post_init__()
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0)):
            both = pair(f"Conv2d.{name}", getattr(self, name), f"[{least}, inf)")
            object.__setattr__(self, name, both)

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        weight = {"weight": (self.outputs, self.inputs, *self.kernel)}
        return weight | {"bias": (self.outputs,)} if self.bias else weight

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Initial parameters in the dtype of ``like``, NumPy arrays."""
        weight = stream.normal(np.empty(self.shapes["weight"], dtype=like.dtype))
        weight *= sqrt(2.0 / (self.inputs * self.kernel[0] * self.kernel[1]))
        bias = {"bias": np.zeros(self.outputs, dtype=like.dtype)} if self.bias else {}
        return {"weight": weight} | bias

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) -> (F, H', W')."""
        if len(shape) != 3 or shape[0] != self.inputs:
            raise InputError(
                f"Conv2d({self.inputs}, {self.outputs}) is fed examples of shape {shape}; it takes "
                f"({self.inputs}, H, W)"
            )
        size = tuple(
            (pixels + 2 * padding - kernel) // stride + 1
            for pixels, kernel, stride, padding in zip(
                shape[1:], self.kernel, self.stride, self.padding, strict=True
            )
        )
        if min(size) < 1:
            raise InputError(
                f"Conv2d with a kernel of {self.kernel} is fed images of {shape[1:]} pixels, which "
                f"are too small; choose a smaller kernel or more padding than {self.padding}"
            )
        return (self.outputs, *size)

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates of one forward, per example."""
        _, rows, columns = self.output_shape(shape)
        return rows * columns * self.outputs * self.inputs * self.kernel[0] * self.kernel[1]

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, F, H', W') for x (..., N, C, H, W)."""
        xp = backend.namespace(x)
        # (..., N, C, H, W) -> (..., N, H, W, C)
        patches = self._patches(xp.moveaxis(x, -3, -1))
        rows = self.output_shape(x.shape[-3:])[1]
        y = product(patches, matrices(params["weight"]), rows, self.stride[0])
        if self.bias:
            y += params["bias"][..., None, None, None, :]
        # (..., N, H', W', F) -> (..., N, F, H', W')
        return xp.moveaxis(y, -1, -3), x

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx and the gradients, for dy (..., N, F, H', W')."""
        xp, x = backend.namespace(dy), cache
        # (..., N, C, H, W) -> (..., N, H, W, C)
        image, upstream = xp.moveaxis(x, -3, -1), xp.moveaxis(dy, -3, -1)
        if wanted:
            dx, weight = gradients(image, upstream, params["weight"], self.stride, self.padding)
            # (..., N, H, W, C) -> (..., N, C, H, W)
            dx = xp.moveaxis(dx, -1, -3)
        else:
            patches = self._patches(image)
            dx, weight = None, weight_gradient(patches, upstream, self.kernel, self.stride[0])
        grads = {"weight": weight}
        if self.bias:
            grads["bias"] = xp.sum(dy, axis=(-4, -2, -1))
        return dx, grads

    def _patches(self, image):
        # the row patches of images (..., n, H, W, C) with zeros around
        (height, width), (rows, columns) = image.shape[-3:-1], self.padding
        size = (height + 2 * rows, width + 2 * columns)
        return row_patches(image, size, self.padding, self.kernel[1], self.stride[1])

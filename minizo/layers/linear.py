"""The fully connected layer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any

import numpy as np

from .. import backend
from ..errors import InputError
from ..parallel import alone
from ..rng import Stream
from ..settings import Count, Positive
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer, column_sums, rows, unrolled, with_axes

# Multiply-accumulates up to which a BLAS does many small products at full speed. Above, those of a
# population with the same x are made one: many of a few rows each take up to four times as long.
SMALL = 800_000


@dataclass(frozen=True)
class Linear(Layer):
    """y = x W^T + b, along the last axis of x.

    Parameters
    ----------
    inputs, outputs : int
        Widths.
    bias : bool
        Whether b is there.
    variance : float
        Of the numbers of W at the start, times ``inputs``.
    axes : int, optional
        How many axes an example has, which a `Network` tells it: 1 for vectors, 2 for sequences
        (T, inputs), where every place is mapped by the same W.

    Notes
    -----
    W : (..., outputs, inputs), b : (..., outputs). Start: W ~ N(0, variance / inputs),
    b = 0 (2 is that of K. He et al., "Delving deep into rectifiers", ICCV 2015, equation 12).
    Cost: inputs * outputs multiply-accumulates a vector forward, as many again for each of dW
    and dx.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"weight": np.array([[1.0, -1.0]]), "bias": np.array([0.5])}
    >>> y, cache = Linear(2, 1).forward(params, np.array([[3.0, 1.0]]))
    >>> dx, grads = Linear(2, 1).backward(params, cache, np.ones((1, 1)))
    >>> y, dx, grads["weight"]
    (array([[2.5]]), array([[ 1., -1.]]), array([[3., 1.]]))
    """

    cuts = True

    inputs: Count
    outputs: Count
    bias: bool = True
    variance: Positive = 2.0
    axes: Count = field(default=1, kw_only=True, repr=False)

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        weight: Shapes = {"weight": (self.outputs, self.inputs)}
        return weight | {"bias": (self.outputs,)} if self.bias else weight

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Initial parameters in the dtype of ``like``, NumPy arrays."""
        weight = stream.normal(np.empty(self.shapes["weight"], dtype=like.dtype))
        weight *= sqrt(self.variance / self.inputs)
        return {"weight": weight} | ({"bias": np.zeros_like(weight[:, 0])} if self.bias else {})

    def output_shape(self, shape: Shape) -> Shape:
        """(..., inputs) -> (..., outputs)."""
        if not shape or shape[-1] != self.inputs:
            raise InputError(
                f"Linear({self.inputs}, {self.outputs}) is fed examples of shape {shape}; it takes "
                f"({self.inputs},): put a Flatten in front or change its width"
            )
        return (*shape[:-1], self.outputs)

    def fed(self, shape: Shape) -> Layer:
        """With ``axes``."""
        return with_axes(self, shape)

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates of one forward, per example."""
        return prod(shape) * self.outputs

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, *places, outputs) for x (..., N, *places, inputs)."""
        xp = backend.namespace(x)
        w = params["weight"]
        if self.axes > 1:
            # (..., N*T, in) @ (..., in, out) -> (..., N*T, out)
            y = xp.matmul(rows(x, self.axes), xp.matrix_transpose(w))
            if self.bias:
                y += params["bias"][..., None, :]
            return unrolled(y, x, self.axes), x
        *lead, outputs, inputs = w.shape
        stacked = x.ndim == 2 and w.ndim > 2 and outputs * inputs * x.shape[0] > SMALL
        if stacked:  # (..., out, in) -> (...*out, in)
            w = xp.reshape(w, (-1, inputs))
        # (..., out, in) @ (..., in, N) -> (..., out, N)
        yt = xp.matmul(w, xp.matrix_transpose(x))
        if stacked:
            yt = xp.reshape(yt, (*lead, outputs, x.shape[0]))
        # y^T = W x^T + b : features outside, examples inside, so that a population of narrow layers
        # still has long inner loops for bias, activation and softmax
        if self.bias:
            yt += params["bias"][..., None]
        return xp.matrix_transpose(yt), x

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """Gradients for dy (..., N, *places, outputs), as sums over all rows n of x.

        dW = sum_n dy_n x_n^T,   db = sum_n dy_n,   dx = dy W
        """
        xp = backend.namespace(dy)
        x, upstream = rows(cache, self.axes), rows(dy, self.axes)
        grads = {"weight": xp.matmul(xp.matrix_transpose(upstream), x)}
        if self.bias:
            many = self.axes > 1  # rows, one for every place
            grads["bias"] = column_sums(upstream)[..., 0, :] if many else xp.sum(upstream, axis=-2)
        if not wanted:
            return None, grads
        return unrolled(xp.matmul(upstream, params["weight"]), dy, self.axes), grads

"""Layers: pure forward / backward pairs that accept parameters with leading population axes.

forward(params, x)                  -> (y, cache)
backward(params, cache, dy, wanted) -> (dx, grads);  dx is None where ``wanted`` is false

x has shape (N, ...) or (..., N, ...): the examples of one batch, with as many leading population
axes as the layers below have made. ``params`` and ``grads`` map names to arrays whose leading axes
are the population's. Nothing is accumulated and no input is changed; dtype in is dtype out.
A layer that has no parameters has empty ``shapes``. Sizes (``output_shape``, ``macs``) are per
example, without batch and population axes.
"""

from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from . import backend
from .errors import InputError, is_whole, require


@dataclass(frozen=True)
class Linear:
    """y = x W^T + b.

    Parameters
    ----------
    inputs, outputs : int
        Widths.
    bias : bool
        Whether b is there.

    Notes
    -----
    W : (..., outputs, inputs), b : (..., outputs). Start: W ~ N(0, 2 / inputs), b = 0
    (K. He et al., "Delving deep into rectifiers", ICCV 2015, equation 12).
    Cost: inputs * outputs multiply-accumulates an example forward, as many again for each of dW
    and dx.
    """

    inputs: int
    outputs: int
    bias: bool = True

    def __post_init__(self):
        for name in ("inputs", "outputs"):
            value = getattr(self, name)
            right = is_whole(value) and value > 0
            require(right, f"Linear.{name}", value, "it must be a whole number above 0")

    @property
    def shapes(self):
        """Names and shapes of the parameters."""
        weight = {"weight": (self.outputs, self.inputs)}
        return weight | {"bias": (self.outputs,)} if self.bias else weight

    def init(self, stream, like):
        """Initial parameters in the dtype of ``like``, NumPy arrays."""
        weight = stream.normal(np.empty(self.shapes["weight"], dtype=like.dtype))
        weight *= sqrt(2.0 / self.inputs)
        return {"weight": weight} | ({"bias": np.zeros_like(weight[:, 0])} if self.bias else {})

    def output_shape(self, shape):
        """(inputs,) -> (outputs,)."""
        if shape != (self.inputs,):
            raise InputError(
                f"Linear({self.inputs}, {self.outputs}) is fed examples of shape {shape}; it takes "
                f"({self.inputs},): put a Flatten in front or change its width"
            )
        return (self.outputs,)

    def macs(self, shape):
        """Multiply-accumulates of one forward, per example."""
        return self.inputs * self.outputs

    def forward(self, params, x):
        """y (..., N, outputs) for x (..., N, inputs)."""
        xp = backend.namespace(x)
        w = params["weight"]
        # (..., out, in) @ (..., in, N) -> (..., out, N)
        yt = xp.matmul(w, xp.matrix_transpose(x))
        # y^T = W x^T + b : features outside, examples inside, so that a population of narrow layers
        # still has long inner loops for bias, activation and softmax
        if self.bias:
            yt += params["bias"][..., None]
        return xp.matrix_transpose(yt), x

    def backward(self, params, cache, dy, wanted=True):
        """Gradients for dy (..., N, outputs)."""
        xp = backend.namespace(dy)
        x = cache
        # dW = dy^T x,  db = sum_n dy,  dx = dy W
        grads = {"weight": xp.matmul(xp.matrix_transpose(dy), x)}
        if self.bias:
            grads["bias"] = xp.sum(dy, axis=-2)
        return xp.matmul(dy, params["weight"]) if wanted else None, grads


class _Parameterless:
    shapes = {}

    def init(self, stream, like):
        """No parameters."""
        return {}

    def output_shape(self, shape):
        """Unchanged."""
        return shape

    def macs(self, shape):
        """0: comparisons and additions are not counted."""
        return 0


@dataclass(frozen=True)
class ReLU(_Parameterless):
    """y = max(x, 0); the derivative at exactly 0 is 0."""

    def forward(self, params, x):
        """y, elementwise."""
        y = backend.namespace(x).maximum(x, 0.0)
        return y, y

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy where x > 0, else 0."""
        xp = backend.namespace(dy)
        return dy * xp.astype(cache > 0.0, dy.dtype), {}


@dataclass(frozen=True)
class HardTanh(_Parameterless):
    """y = clip(x, -1, 1); the derivative at exactly -1 and 1 is 1."""

    def forward(self, params, x):
        """y, elementwise."""
        return backend.namespace(x).clip(x, -1.0, 1.0), x

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy where |x| <= 1, else 0."""
        xp = backend.namespace(dy)
        return dy * xp.astype(xp.abs(cache) <= 1.0, dy.dtype), {}


@dataclass(frozen=True)
class Flatten(_Parameterless):
    """(..., N, C, H, W) -> (..., N, C*H*W).

    Parameters
    ----------
    axes : int
        How many trailing axes an example has.
    """

    axes: int = 3

    def output_shape(self, shape):
        """(C, H, W) -> (C*H*W,)."""
        if len(shape) != self.axes:
            raise InputError(
                f"Flatten(axes={self.axes}) is fed examples of shape {shape}; set axes to "
                f"{len(shape)}"
            )
        return (prod(shape),)

    def forward(self, params, x):
        """y (..., N, C*H*W)."""
        xp = backend.namespace(x)
        kept = x.shape[: x.ndim - self.axes]
        # (..., N, C, H, W) -> (..., N, C*H*W)
        return xp.reshape(x, (*kept, prod(x.shape[len(kept) :]))), x.shape

    def backward(self, params, cache, dy, wanted=True):
        """dx in the shape that came in (with dy's population axes)."""
        xp = backend.namespace(dy)
        # (..., N, C*H*W) -> (..., N, C, H, W)
        return xp.reshape(dy, (*dy.shape[:-1], *cache[len(cache) - self.axes :])), {}

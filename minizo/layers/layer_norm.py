"""Normalisation of one example, or of one place of a sequence, over its own numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any

import numpy as np

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..rng import Stream
from ..settings import Count, Positive
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer, column_sums, row_sums, rows, unrolled, with_axes


@dataclass(frozen=True)
class LayerNorm(Layer):
    """y = scale (x - mean) / sqrt(var + eps) + shift, mean and var over the last numbers.

    Parameters
    ----------
    shape : tuple of int
        The last axes of an example, over which it normalises: all of them, or, with ``(C,)``, every
        place of a sequence (T, C) for itself. Two numbers at least: of one alone, y is always the
        shift.
    eps : float
        Keeps the division from blowing up.
    axes : int, optional
        How many axes an example has, which a `Network` tells it.

    Notes
    -----
    scale, shift : (..., *shape), at the start 1 and 0. In training and in use it is the same, and
    no example sees another.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016, equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"scale": np.ones(2), "shift": np.zeros(2)}
    >>> LayerNorm((2,)).forward(params, np.array([[1.0, 3.0]]))[0].round(3)
    array([[-1.,  1.]])
    """

    cuts = True  # a batch may come in blocks of examples

    shape: Annotated[tuple, "[1, inf)"]
    eps: Positive = 1e-5
    axes: Count | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self):
        super().__post_init__()
        require(self.shape, "LayerNorm.shape", self.shape, "it must hold at least one number")
        remedy = "it normalises over the numbers of an example, of which there must be two or more"
        require(prod(self.shape) > 1, "LayerNorm.shape", self.shape, remedy)

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        return {"scale": tuple(self.shape), "shift": tuple(self.shape)}

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Scale 1, shift 0."""
        ones = np.ones(self.shape, dtype=like.dtype)
        return {"scale": ones, "shift": np.zeros_like(ones)}

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        if tuple(shape)[-len(self.shape) :] != tuple(self.shape):
            raise InputError(f"LayerNorm({self.shape}) is fed examples of shape {shape}")
        return shape

    def fed(self, shape: Shape) -> Layer:
        """With ``axes``."""
        return with_axes(self, shape)

    def _rows(self, x):
        # (..., N, *places, *shape) -> (..., N*places, C), C the numbers that are normalised over
        last = len(self.shape)
        own = rows(x, self.axes or last, last)
        return backend.namespace(x).reshape(own, (*own.shape[: own.ndim - last], prod(self.shape)))

    def _flat(self, parameter):
        # (..., *shape) -> (..., 1, C)
        lead = parameter.shape[: parameter.ndim - len(self.shape)]
        return backend.namespace(parameter).reshape(parameter, (*lead, 1, prod(self.shape)))

    def _unrolled(self, y, x):
        # the inverse of `_rows` for the examples x; y may have population axes that x has not
        lead, axes = y.shape[:-2], self.axes or len(self.shape)
        return backend.namespace(y).reshape(y, (*lead, *x.shape[x.ndim - 1 - axes :]))

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y in the shape of x, (..., N, *places, *shape)."""
        xp, own, count = backend.namespace(x), self._rows(x), prod(self.shape)
        xhat = own - row_sums(own) * (1.0 / count)
        inverse = 1.0 / xp.sqrt(row_sums(xhat * xhat) * (1.0 / count) + self.eps)
        xhat *= inverse
        y = xhat * self._flat(params["scale"])
        y += self._flat(params["shift"])
        return self._unrolled(y, x), (xhat, inverse)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx, and the gradients of scale and shift, as sums over all rows n.

        g  = dy scale,   dscale = sum_n dy xhat,   dshift = sum_n dy
        dx = (g - mean g - xhat mean(g xhat)) / sqrt(var + eps)
        """
        xp, (xhat, inverse), upstream = backend.namespace(dy), cache, self._rows(dy)
        scale, shape = self._flat(params["scale"]), tuple(self.shape)
        product = upstream * xhat
        sums = {"scale": column_sums(product), "shift": column_sums(upstream)}
        grads = {name: xp.reshape(s, (*s.shape[:-2], *shape)) for name, s in sums.items()}
        if not wanted:
            return None, grads
        # means of g and of g xhat: products with scale / C
        share = xp.matrix_transpose(scale) * (1.0 / prod(shape))
        dx = upstream * scale
        dx -= xhat * xp.matmul(product, share)
        dx -= xp.matmul(upstream, share)
        dx *= inverse
        return self._unrolled(dx, dy), grads


@dataclass(frozen=True)
class RMSNorm(Layer):
    """y = scale x / sqrt(mean(x^2) + eps), the mean over the last axis.

    Parameters
    ----------
    width : int
        C, the length of that axis.
    eps : float
    axes : int, optional
        How many axes an example has, which a `Network` tells it: 1 for (C,), 2 for (T, C).

    Notes
    -----
    scale : (..., C), at the start 1.

    References
    ----------
    B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019, equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> RMSNorm(2).forward({"scale": np.ones(2)}, np.array([[3.0, 4.0]]))[0].round(3)
    array([[0.849, 1.131]])
    """

    cuts = True

    width: Count
    eps: Positive = 1e-5
    axes: Count = field(default=1, kw_only=True, repr=False)

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        return {"scale": (self.width,)}

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Scale 1."""
        return {"scale": np.ones(self.width, dtype=like.dtype)}

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        if not shape or shape[-1] != self.width:
            raise InputError(
                f"RMSNorm({self.width}) is fed examples of shape {shape}; it takes (..., "
                f"{self.width})"
            )
        return shape

    def fed(self, shape: Shape) -> Layer:
        """With ``axes``."""
        return with_axes(self, shape)

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y in the shape of x, (..., N, *places, C)."""
        xp, own = backend.namespace(x), rows(x, self.axes)
        inverse = 1.0 / xp.sqrt(row_sums(own * own) * (1.0 / self.width) + self.eps)
        xhat = own * inverse
        y = xhat * params["scale"][..., None, :]
        return unrolled(y, x, self.axes), (xhat, inverse)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx, and the gradient of scale, a sum over all rows n.

        g  = dy scale,   dscale = sum_n dy xhat
        dx = (g - xhat mean(g xhat)) / sqrt(mean(x^2) + eps)
        """
        xp, (xhat, inverse), upstream = backend.namespace(dy), cache, rows(dy, self.axes)
        scale, product = params["scale"][..., None, :], upstream * xhat
        grads = {"scale": column_sums(product)[..., 0, :]}
        if not wanted:
            return None, grads
        # mean(g xhat) = (dy xhat) (scale / C)
        mean = xp.matmul(product, xp.matrix_transpose(scale) * (1.0 / self.width))
        dx = upstream * scale
        dx -= xhat * mean
        dx *= inverse
        return unrolled(dx, dy, self.axes), grads

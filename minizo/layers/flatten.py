"""Images to vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from .. import backend
from ..errors import InputError
from ..parallel import alone
from ..settings import Count
from ..types import Array, Arrays, Shape
from .base import Layer


@dataclass(frozen=True)
class Flatten(Layer):
    """(..., N, C, H, W) -> (..., N, C*H*W).

    Parameters
    ----------
    axes : int
        How many trailing axes an example has.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten().forward({}, np.arange(4.0).reshape(1, 1, 2, 2))[0]
    array([[0., 1., 2., 3.]])
    """

    cuts = True

    axes: Count = 3

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) -> (C*H*W,)."""
        if len(shape) != self.axes:
            raise InputError(
                f"Flatten(axes={self.axes}) is fed examples of shape {shape}; set axes to "
                f"{len(shape)}"
            )
        return (prod(shape),)

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, C*H*W)."""
        xp = backend.namespace(x)
        kept = x.shape[: x.ndim - self.axes]
        # (..., N, C, H, W) -> (..., N, C*H*W)
        return xp.reshape(x, (*kept, prod(x.shape[len(kept) :]))), x.shape

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx in the shape that came in (with dy's population axes)."""
        xp = backend.namespace(dy)
        # (..., N, C*H*W) -> (..., N, C, H, W)
        return xp.reshape(dy, (*dy.shape[:-1], *cache[len(cache) - self.axes :])), {}

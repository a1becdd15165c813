"""Dropout, with its mask drawn by the caller."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from .. import backend
from ..parallel import alone
from ..rng import Stream
from ..types import Array, Arrays, Shape
from .base import Layer


@dataclass(frozen=True)
class Dropout(Layer):
    """y = x m, with m = 0 with probability ``rate`` and else 1 / (1 - rate); in use y = x.

    Parameters
    ----------
    rate : float
        In [0, 1).

    Notes
    -----
    The mask m is drawn by `noise` and found in ``params``; without one the layer does nothing. All
    members of a population meet the same mask: a difference of two losses must come from their
    parameters alone.

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way
    to prevent neural networks from overfitting", JMLR 2014, section 4 (there the weights are scaled
    when it is left out, here the units when it is used).

    Examples
    --------
    >>> import numpy as np
    >>> x, mask = np.array([[-1.0, 2.0]]), np.array([[2.0, 0.0]])
    >>> Dropout(0.5).forward({"mask": mask}, x)[0], Dropout(0.5).forward({}, x)[0]
    (array([[-2.,  0.]]), array([[-1.,  2.]]))
    """

    cuts = True

    rate: Annotated[float, "[0, 1)"] = 0.5
    random = ("mask",)

    def noise(self, stream: Stream, shape: Shape, examples: int, like: Array) -> Arrays:
        """The mask m (N, *shape)."""
        xp = backend.namespace(like)
        u = stream.uniform(backend.empty((examples, *shape), like))
        # u is uniform on [-1, 1]: it is below 2 rate - 1 with probability rate
        kept = xp.astype(u >= 2.0 * self.rate - 1.0, u.dtype)
        return {"mask": kept / (1.0 - self.rate)}

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y, elementwise."""
        mask = params.get("mask")
        return (x if mask is None else x * mask), mask

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy m."""
        return (dy if cache is None else dy * cache), {}

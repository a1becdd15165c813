"""Tokens to vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from .. import backend
from ..errors import InputError
from ..losses import one_hot
from ..parallel import alone
from ..rng import Stream
from ..settings import Count
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer, small_normal


@dataclass(frozen=True)
class Embedding(Layer):
    """y_t = W[x_t]: every token of a sequence is looked up in a table.

    Parameters
    ----------
    vocabulary : int
        V; a token is a whole number 0 ... V - 1.
    width : int
        C, the numbers of a vector.

    Notes
    -----
    x : whole numbers (..., N, T); W : (..., V, C), at the start W ~ N(0, 0.02^2), as in
    GPT (A. Radford et al., "Improving language understanding by generative pre-training", 2018,
    section 4.1). The backward adds
    up what came back to each token. As a product with one-hot rows it has no write conflicts: the
    same bits on every device. It costs V C multiply-accumulates a token, as much as one of those of
    the linear layer that turns vectors into V logits again.

    Examples
    --------
    >>> table = {"weight": np.array([[1.0, 2.0], [3.0, 4.0]])}
    >>> y, cache = Embedding(2, 2).forward(table, np.array([[1, 0, 1]]))
    >>> dx, grads = Embedding(2, 2).backward(table, cache, np.ones((1, 3, 2)), wanted=False)
    >>> y.tolist(), grads["weight"].tolist()
    ([[[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]], [[1.0, 1.0], [2.0, 2.0]])
    """

    cuts = True

    vocabulary: Count
    width: Count

    @property
    def codes(self) -> int:
        """How many tokens there are."""
        return self.vocabulary

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        return {"weight": (self.vocabulary, self.width)}

    def init(self, stream: Stream, like: Array) -> Arrays:
        """W ~ N(0, 0.02^2)."""
        return {"weight": small_normal(stream, self.shapes["weight"], like)}

    def output_shape(self, shape: Shape) -> Shape:
        """(T,) -> (T, C)."""
        if len(shape) != 1:
            raise InputError(
                f"Embedding({self.vocabulary}, {self.width}) is fed examples of shape {shape}; it "
                "takes sequences (T,) of tokens"
            )
        return (*shape, self.width)

    def backward_macs(self, shape: Shape, wanted: bool = True) -> int:
        """V C a token; a token has no derivative."""
        return prod(shape) * self.vocabulary * self.width

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, T, C) for tokens x (..., N, T)."""
        xp, table = backend.namespace(x), params["weight"]
        tokens = xp.astype(x, xp.int64, copy=False)
        *lead, size, width = table.shape
        if tokens.ndim == 2:  # one batch for all members: (..., V, C) -> (..., N*T, C)
            found = xp.take(table, xp.reshape(tokens, (-1,)), axis=-2)
            return xp.reshape(found, (*lead, *tokens.shape, width)), (tokens, size)
        # a batch for each: the tables one below the other, (..., V, C) -> (...*V, C)
        lead = np.broadcast_shapes(tuple(lead), tokens.shape[:-2])
        tables = xp.reshape(xp.broadcast_to(table, (*lead, size, width)), (-1, width))
        first = size * xp.reshape(backend.arange(prod(lead), tokens), (*lead, 1, 1))
        found = xp.take(tables, xp.reshape(tokens + first, (-1,)), axis=0)
        return xp.reshape(found, (*lead, *tokens.shape[-2:], width)), (tokens, size)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dW = onehot(x)^T dy, a sum over all tokens; dx is None."""
        xp, (tokens, size) = backend.namespace(dy), cache
        flat = xp.reshape(tokens, (*tokens.shape[:-2], prod(tokens.shape[-2:])))
        codes = one_hot(flat, size, dy)  # (..., N*T, V)
        upstream = xp.reshape(dy, (*dy.shape[:-3], codes.shape[-2], dy.shape[-1]))
        return None, {"weight": xp.matmul(xp.matrix_transpose(codes), upstream)}

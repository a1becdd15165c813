"""Sequences from images, their positions, and one vector from a sequence again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..rng import Stream
from ..settings import Count
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer, small_normal


def _need_sequence(layer, shape, width=None):
    # (T, C), of a given width where a layer has one
    right = len(shape) == 2 and width in (None, shape[-1])
    if not right:
        raise InputError(
            f"{layer} is fed examples of shape {shape}; it takes sequences (T, {width or 'C'})"
        )


@dataclass(frozen=True)
class Patches(Layer):
    """An image as the sequence of its square patches: (C, H, W) -> (H W / size^2, C size^2).

    With a `Linear` behind it is the patch embedding of a vision transformer.

    Parameters
    ----------
    size : int
        Pixels of a side; it divides H and W. Patches go row by row, and the numbers of one too,
        channel by channel.

    References
    ----------
    A. Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, section 3.1.

    Examples
    --------
    >>> image = np.arange(8.0).reshape(1, 1, 2, 4)
    >>> Patches(2).forward({}, image)[0].tolist()
    [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """

    cuts = True

    size: Count

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) -> (H W / size^2, C size^2)."""
        if len(shape) != 3 or shape[1] % self.size or shape[2] % self.size:
            raise InputError(
                f"Patches({self.size}) is fed examples of shape {shape}; it takes images (C, H, W) "
                f"whose H and W are multiples of {self.size}"
            )
        channels, height, width = shape
        return (height * width // self.size**2, channels * self.size**2)

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, T, C size^2)."""
        xp, s = backend.namespace(x), self.size
        *lead, channels, height, width = x.shape
        cut = xp.reshape(x, (*lead, channels, height // s, s, width // s, s))
        # (..., C, H', s, W', s) -> (..., H', W', C, s, s)
        patches = xp.moveaxis(cut, (-4, -2), (-5, -4))
        return xp.reshape(patches, (*lead, *self.output_shape(x.shape[-3:]))), x.shape[-3:]

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx: every number goes back to its pixel."""
        xp, s, (channels, height, width) = backend.namespace(dy), self.size, cache
        lead = dy.shape[:-2]
        patches = xp.reshape(dy, (*lead, height // s, width // s, channels, s, s))
        cut = xp.moveaxis(patches, (-5, -4), (-4, -2))
        return xp.reshape(cut, (*lead, *cache)), {}


@dataclass(frozen=True)
class Positions(Layer):
    """y_t = x_t + P_t: a vector for every place, which is learned.

    Parameters
    ----------
    length : int
        The longest sequence; shorter ones take the first places.
    width : int
        C.

    Notes
    -----
    P ("table") : (..., length, C), at the start N(0, 0.02^2). It is not called a weight, so it is
    not quantised.

    Examples
    --------
    >>> table = {"table": np.array([[1.0], [2.0], [3.0]])}
    >>> Positions(3, 1).forward(table, np.zeros((1, 2, 1)))[0].tolist()
    [[[1.0], [2.0]]]
    """

    cuts = True

    length: Count
    width: Count

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        return {"table": (self.length, self.width)}

    def init(self, stream: Stream, like: Array) -> Arrays:
        """P ~ N(0, 0.02^2)."""
        return {"table": small_normal(stream, self.shapes["table"], like)}

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        _need_sequence(self, shape, self.width)
        require(shape[0] <= self.length, "the length of a sequence", shape[0],
                f"{self} has {self.length} places")  # fmt: skip
        return shape

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, T, C)."""
        return x + params["table"][..., None, : x.shape[-2], :], None

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy,   dP = sum_n dy."""
        grad = backend.zeros((*dy.shape[:-3], self.length, self.width), dy)
        grad[..., : dy.shape[-2], :] = backend.namespace(dy).sum(dy, axis=-3)
        return (dy if wanted else None), {"table": grad}


@dataclass(frozen=True)
class ClassToken(Layer):
    """Put a learned vector in front of a sequence: (T, C) -> (1 + T, C).

    Parameters
    ----------
    width : int
        C.

    References
    ----------
    J. Devlin et al., "BERT: pre-training of deep bidirectional transformers for language
    understanding", NAACL 2019, section 3, and A. Dosovitskiy et al., "An image is worth 16x16
    words", ICLR 2021, equation 1.

    Examples
    --------
    >>> ClassToken(1).forward({"token": np.array([9.0])}, np.zeros((1, 2, 1)))[0].tolist()
    [[[9.0], [0.0], [0.0]]]
    """

    cuts = True

    width: Count

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        return {"token": (self.width,)}

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Zeros."""
        return {"token": np.zeros(self.width, dtype=like.dtype)}

    def output_shape(self, shape: Shape) -> Shape:
        """(T, C) -> (1 + T, C)."""
        _need_sequence(self, shape, self.width)
        return (1 + shape[0], self.width)

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, 1 + T, C)."""
        xp, token = backend.namespace(x), params["token"]
        lead = np.broadcast_shapes(token.shape[:-1], x.shape[:-3])
        first = xp.broadcast_to(token[..., None, None, :], (*lead, x.shape[-3], 1, self.width))
        rest = xp.broadcast_to(x, (*lead, *x.shape[-3:]))
        return xp.concat([first, rest], axis=-2), None

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy without its first place, whose sum over examples is the token's gradient."""
        xp = backend.namespace(dy)
        grads = {"token": xp.sum(dy[..., 0, :], axis=-2)}
        return (dy[..., 1:, :] if wanted else None), grads


class _OneVector(Layer):
    # what makes one vector of a sequence

    cuts = True

    def output_shape(self, shape: Shape) -> Shape:
        """(T, C) -> (C,)."""
        _need_sequence(self, shape)
        return shape[1:]


@dataclass(frozen=True)
class FirstToken(_OneVector):
    """y = x_0, such as the class token: (T, C) -> (C,).

    Examples
    --------
    >>> FirstToken().forward({}, np.array([[[1.0, 2.0], [3.0, 4.0]]]))[0]
    array([[1., 2.]])
    """

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, C)."""
        return x[..., 0, :], x.shape[-2]

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy at the first place, 0 elsewhere."""
        dx = backend.zeros((*dy.shape[:-1], cache, dy.shape[-1]), dy)
        dx[..., 0, :] = dy
        return dx, {}


@dataclass(frozen=True)
class MeanToken(_OneVector):
    """y = mean_t x_t: (T, C) -> (C,).

    Examples
    --------
    >>> MeanToken().forward({}, np.array([[[1.0, 2.0], [3.0, 4.0]]]))[0]
    array([[2., 3.]])
    """

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, C)."""
        return backend.namespace(x).mean(x, axis=-2), x.shape[-2]

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx_t = dy / T for every place."""
        xp = backend.namespace(dy)
        return xp.broadcast_to(
            (dy / cache)[..., None, :], (*dy.shape[:-1], cache, dy.shape[-1])
        ), {}

"""What all layers share: the answers of one that has no parameters and no state."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any, ClassVar

import numpy as np

from .. import backend
from ..parallel import alone
from ..rng import Stream
from ..settings import Settings
from ..types import Array, Arrays, Shape, Shapes


class Layer(Settings):
    """A layer without parameters, running statistics or randomness; shapes stay as they are.

    Attributes
    ----------
    shapes : dict of str to tuple
        Names and shapes of the parameters.
    running : tuple of str
        Names of the running statistics.
    random : tuple of str
        Names of the random arrays that `noise` draws.
    codes : int or None
        Of a layer that takes whole numbers 0 ... codes - 1, such as tokens, how many there are.
        There is no derivative with respect to them: its dx is None.
    least : dict of str to float
        Parameters that training keeps at this value or above.
    cuts : bool
        Whether a batch may be cut into blocks of examples, because each example goes its own way or
        what is needed of all comes from ``reduce``. A layer of your own is not cut until it says
        so.

    Notes
    -----
    Count axes from the end, since a population puts others in front: of vectors, x is (..., N, C)
    and a parameter (..., C), which meets x as ``[..., None, :]``. Running statistics are (..., C),
    too, and a layer that has some has all of ``running``, `init_state`, `statistics` and
    `next_state`. Write a layer as a frozen dataclass: a checkpoint knows its run by the ``repr``.

    Examples
    --------
    A layer of your own says what it does with examples, and with what has come back. This one
    takes the mean away: the batch's in training, a running one in use.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from minizo import backend
    >>> from minizo.parallel import alone
    >>> @dataclass(frozen=True)
    ... class Centre(Layer):
    ...     channels: int
    ...     running = ("mean",)
    ...     def init_state(self, like):
    ...         return {"mean": backend.zeros((self.channels,), like)}
    ...     def forward(self, params, x, reduce=alone):
    ...         xp, there = backend.namespace(x), "mean" in params
    ...         mean = params["mean"] if there else xp.mean(x, axis=-2)
    ...         return x - mean[..., None, :], None if there else mean
    ...     def backward(self, params, cache, dy, wanted=True, reduce=alone):
    ...         xp = backend.namespace(dy)
    ...         return (dy if cache is None else dy - xp.mean(dy, axis=-2, keepdims=True)), {}
    ...     def statistics(self, cache):
    ...         return {} if cache is None else {"mean": cache}
    ...     def next_state(self, state, statistics):
    ...         return {"mean": 0.9 * state["mean"] + 0.1 * statistics["mean"]}
    >>> x = np.array([[1.0, 2.0], [3.0, 2.0]])
    >>> Centre(2).forward({}, x)[0]
    array([[-1.,  0.],
           [ 1.,  0.]])
    >>> Centre(2).forward({"mean": np.ones(2)}, x)[0]
    array([[0., 1.],
           [2., 1.]])
    """

    cuts: ClassVar[bool] = False
    shapes: ClassVar[Shapes] = {}
    least: ClassVar[Mapping[str, float]] = {}
    running: ClassVar[tuple[str, ...]] = ()
    random: ClassVar[tuple[str, ...]] = ()
    codes: ClassVar[int | None] = None
    forward: ClassVar[Callable[..., tuple[Array, Any]]]
    backward: ClassVar[Callable[..., tuple[Array, Arrays]]]

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Initial parameters in the dtype of ``like``, NumPy arrays by name."""
        return {}

    def init_state(self, like: Array) -> Arrays:
        """Running statistics before the first batch, by name, where ``like`` lives.

        Their names, shapes and dtype count, and their values for whoever has no first batch:
        `minizo.fit` starts from the statistics of the first.
        """
        return {}

    def statistics(self, cache: Any) -> Arrays:
        """What the batch of this ``cache`` says about the running statistics, by name."""
        return {}

    def next_state(self, state: Arrays, statistics: Arrays) -> Arrays:
        """Running statistics after a batch with these ``statistics``."""
        return {}

    def noise(self, stream: Stream, shape: Shape, examples: int, like: Array) -> Arrays:
        """Random arrays for one batch, by name.

        Parameters
        ----------
        stream : minizo.rng.Stream
        shape : tuple of int
            Of one example that comes in.
        examples : int
            N.
        like : ndarray
            Whose library, device and dtype they have.
        """
        return {}

    def fed(self, shape: Shape) -> "Layer":
        """This layer where the examples that come in have this shape: itself."""
        return self

    def least_batch(self, shape: Shape) -> int:
        """How many examples of this shape a batch needs in training: 1."""
        return 1

    @property
    def scheduled(self) -> bool:
        """Whether `at` may give another layer: where a class has an ``at`` of its own."""
        return type(self).at is not Layer.at

    def at(self, progress: float) -> "Layer":
        """This layer when the part ``progress`` in [0, 1] of a run is over: itself."""
        return self

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one example that goes out: unchanged."""
        return shape

    def predict(self, params: Arrays, x: Array, reduce: Callable = alone) -> Array:
        """What `forward` gives, without the cache: for a layer that can do with less work then."""
        return self.forward(params, x, reduce)[0]

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates of one forward, per example: 0, only matrix products are counted."""
        return 0

    def backward_macs(self, shape: Shape, wanted: bool = True) -> int:
        """Multiply-accumulates of one backward: as many again for the gradients, and for dx."""
        return self.macs(shape) * (2 if wanted else 1)


def rows(x, axes, kept=1):
    """Every place of an example as an example of its own: (..., N, T, C) -> (..., N*T, C).

    Parameters
    ----------
    x : ndarray (..., N, *places, *last)
    axes : int
        How many axes an example has.
    kept : int
        How many of them are ``last``.

    Examples
    --------
    >>> import numpy as np
    >>> rows(np.zeros((2, 3, 4)), axes=2).shape, rows(np.zeros((2, 3, 4)), axes=1).shape
    ((6, 4), (2, 3, 4))
    """
    first, last = x.ndim - 1 - axes, x.ndim - kept
    flat = (*x.shape[:first], prod(x.shape[first:last]), *x.shape[last:])
    return x if axes == kept else backend.namespace(x).reshape(x, flat)


def unrolled(y, x, axes, kept=1):
    """The inverse of `rows`, for rows y of the examples x: (..., N*T, D) -> (..., N, T, D)."""
    places = x.shape[x.ndim - 1 - axes : x.ndim - kept]
    first, last = y.ndim - 1 - kept, y.ndim - kept
    shape = (*y.shape[:first], *places, *y.shape[last:])
    return y if axes == kept else backend.namespace(y).reshape(y, shape)


def row_sums(x):
    """Sums along the last axis, (..., n, C) -> (..., n, 1).

    As a product with ones, which on the host is several times faster than a sum along a short axis.

    >>> row_sums(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3.],
           [7.]])
    """
    xp = backend.namespace(x)
    return xp.matmul(x, xp.ones_like(backend.empty((x.shape[-1], 1), x)))


def column_sums(x):
    """Sums along the last axis but one, (..., n, C) -> (..., 1, C), in the way of `row_sums`.

    >>> column_sums(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[4., 6.]])
    """
    xp = backend.namespace(x)
    return xp.matmul(xp.ones_like(backend.empty((1, x.shape[-2]), x)), x)


def with_axes(layer, shape):
    """The layer, told how many axes an example of this shape has: for ``fed``."""
    return layer if layer.axes == len(shape) else replace(layer, axes=len(shape))


def small_normal(stream, shape, like):
    """Numbers N(0, 0.02^2) in the dtype of ``like``, on the host: how tables of vectors start."""
    drawn = stream.normal(np.empty(shape, dtype=like.dtype))
    drawn *= 0.02
    return drawn


def zeros(shape, like):
    """Images of zeros (..., C, H, W), stored with the channels of a pixel side by side."""
    *lead, channels, height, width = shape
    # (..., H, W, C) -> (..., C, H, W)
    stored = backend.zeros((*lead, height, width, channels), like)
    return backend.namespace(like).moveaxis(stored, -1, -3)

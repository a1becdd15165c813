"""Batch normalisation, whose running statistics are the caller's."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..rng import Stream
from ..settings import Count, Positive, Share
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer


@dataclass(frozen=True)
class _BatchNorm(Layer):
    """What `BatchNorm1d` and `BatchNorm2d` share; ``pixels`` is the number of axes behind C."""

    cuts = True  # a batch may come in blocks of examples
    pixels: ClassVar[int]

    channels: Count
    eps: Positive = 1e-5
    momentum: Share = 0.1
    running = ("mean", "var")

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        return {"scale": (self.channels,), "shift": (self.channels,)}

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Scale 1, shift 0."""
        ones = np.ones(self.channels, dtype=like.dtype)
        return {"scale": ones, "shift": np.zeros_like(ones)}

    def init_state(self, like: Array) -> Arrays:
        """Mean 0, variance 1."""
        xp = backend.namespace(like)
        zeros = xp.zeros_like(backend.empty((self.channels,), like))
        return {"mean": zeros, "var": xp.ones_like(zeros)}

    def statistics(self, cache: Any) -> Arrays:
        """Mean of the batch, and its variance divided by m - 1: (..., C)."""
        _, _, m, mean, var = cache
        return {} if m is None else {"mean": mean, "var": var * (m / (m - 1))}

    def next_state(self, state: Arrays, statistics: Arrays) -> Arrays:
        """r <- (1 - momentum) r + momentum s."""
        return {
            name: (1.0 - self.momentum) * state[name] + self.momentum * statistics[name]
            for name in self.running
        }

    def least_batch(self, shape: Shape) -> int:
        """Two examples where each has one value a channel: of one value, y is always the shift."""
        return 1 if prod(shape[1:]) > 1 else 2

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        if len(shape) != 1 + self.pixels or shape[0] != self.channels:
            wanted = (str(self.channels), *("H", "W")[: self.pixels])
            raise InputError(
                f"{type(self).__name__}({self.channels}) is fed examples of shape {shape}; it "
                f"takes ({', '.join(wanted)})"
            )
        return shape

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y in the shape of x.

        In training mean and var are those of the batch, all blocks of examples together:
        ``reduce`` gives the sums over the blocks (`minizo.parallel.alone` where there is one).
        """
        xp, rows = backend.namespace(x), self._rows(x)
        if "mean" in params:
            m, mean, var = None, params["mean"], params["var"]
            centred = rows - self._wide(mean, rows)
        else:
            m, total = reduce(prod(rows.shape[-2:]) // self.channels, self._sums(rows))
            self._require_several(m)
            # mean = sum x / m,   var = sum (x - mean)^2 / m
            mean = total / m
            centred = rows - self._wide(mean, rows)
            var = reduce(self._sums(centred * centred)) / m
        # y = scale xhat + shift,   xhat = (x - mean) / sqrt(var + eps)
        inverse = 1.0 / xp.sqrt(var + self.eps)
        y = centred * self._wide(params["scale"] * inverse, rows)
        y += self._wide(params["shift"], rows)
        return self._back(y, x.shape), (centred, inverse, m, mean, var)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx, and the block's share of the gradients of scale and shift.

            dscale = sum dy xhat,   dshift = sum dy
            dx     = scale / sqrt(var + eps) (dy - dshift / m - xhat dscale / m)

        In use mean and var are constant and dx has its first term alone.
        """
        (centred, inverse, m, _, _), upstream = cache, self._rows(dy)
        dscale, dshift = inverse * self._sums(upstream * centred), self._sums(upstream)
        grads = {"scale": dscale, "shift": dshift}
        if not wanted:
            return None, grads
        if m is None:
            dx = upstream
        else:
            # of all blocks together, divided by m
            slope, offset = (total / m for total in reduce(dscale, dshift))
            dx = upstream - centred * self._wide(slope * inverse, centred)
            dx -= self._wide(offset, centred)
        dx = dx * self._wide(params["scale"] * inverse, centred)
        return self._back(dx, dy.shape), grads

    def _require_several(self, values):
        remedy = (
            f"{type(self).__name__}({self.channels}) in training then gives a constant, from "
            "which nothing can be learned: use a batch of 2 examples or more"
        )
        require(values > 1, "the number of values of a channel", values, remedy)

    # Vectors of one number a channel are repeated to a whole image: long inner loops.

    def _rows(self, x):
        # (..., N, C, H, W) -> (..., N, H*W*C); (..., N, C) as it is
        xp = backend.namespace(x)
        return xp.reshape(xp.moveaxis(x, -3, -1), (*x.shape[:-3], -1)) if self.pixels else x

    def _back(self, rows, shape):
        # the inverse of `_rows`
        xp = backend.namespace(rows)
        if not self.pixels:
            return rows
        images = xp.reshape(rows, (*rows.shape[:-1], *shape[-2:], self.channels))
        return xp.moveaxis(images, -1, -3)

    def _sums(self, rows):
        # (..., n, H*W*C) -> (..., n*H*W, C) -> (..., C), as a product with ones: a sum along the
        # outer one of two axes is many times slower
        xp, pixels = backend.namespace(rows), prod(rows.shape[-2:]) // self.channels
        values = xp.reshape(rows, (*rows.shape[:-2], pixels, self.channels))
        return xp.matmul(xp.matrix_transpose(xp.ones_like(values[..., :1])), values)[..., 0, :]

    def _wide(self, values, rows):
        # (..., C) -> (..., 1, H*W*C)
        xp, lead = backend.namespace(values), values.shape[:-1]
        repeats = rows.shape[-1] // self.channels
        repeated = xp.broadcast_to(values[..., None, :], (*lead, repeats, self.channels))
        return xp.reshape(repeated, (*lead, 1, rows.shape[-1]))


class BatchNorm1d(_BatchNorm):
    """`BatchNorm2d` for vectors: x (..., N, C), the statistics over the N examples.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"scale": np.ones(1), "shift": np.zeros(1)}
    >>> y, cache = BatchNorm1d(1).forward(params, np.array([[1.0], [3.0]]))
    >>> y.round(3).T, BatchNorm1d(1).statistics(cache)
    (array([[-1.,  1.]]), {'mean': array([2.]), 'var': array([2.])})
    """

    pixels = 0


class BatchNorm2d(_BatchNorm):
    """y = scale (x - mean) / sqrt(var + eps) + shift, channel by channel.

    Parameters
    ----------
    channels : int
    eps : float
        Keeps the division from blowing up.
    momentum : float
        r <- (1 - momentum) r + momentum s, for running statistics r and those s of a batch.

    Notes
    -----
    x : (..., N, C, H, W), the statistics over N, H and W.

    In training (no ``mean`` and ``var`` in params) mean and var are those of the batch, over all
    examples and pixels, and the gradient goes through them. Every member of a population has its
    own. In use they are the running ones, found in params, and constant. The variance of a
    batch is divided by the number of values m; what goes into the running one is divided by m - 1,
    as in the paper. A batch with m = 1 is refused: its y would be a constant.

    Start: scale 1, shift 0; `minizo.fit` takes mean and variance of the first batch. The parameters
    are not called weight and bias because nobody wants them quantised.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"scale": np.ones(1), "shift": np.zeros(1)}
    >>> y, _ = BatchNorm2d(1).forward(params, np.arange(4.0).reshape(1, 1, 2, 2))
    >>> y[0, 0].round(3)
    array([[-1.342, -0.447],
           [ 0.447,  1.342]])
    """

    pixels = 2

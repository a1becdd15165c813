"""Batch normalisation, with running statistics that are the caller's."""

from dataclasses import dataclass
from math import prod

import numpy as np

from .. import backend
from ..errors import InputError, is_whole, require
from .base import Layer


@dataclass(frozen=True)
class _BatchNorm(Layer):
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
    In training (no ``mean`` and ``var`` in params) mean and var are those of the batch, over all
    examples and pixels, and the gradient goes through them. Every member of a population has its
    own. In evaluation they are the running ones, found in params, and constant. The variance of a
    batch is divided by the number of values m; what goes into the running one is divided by m - 1,
    as in the paper.

    Start: scale 1, shift 0, running mean 0, running variance 1. They are not called weight and bias
    because nobody wants them quantised.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
    """

    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    running = ("mean", "var")

    def __post_init__(self):
        right = is_whole(self.channels) and self.channels > 0
        name = type(self).__name__
        require(right, f"{name}.channels", self.channels, "it must be a whole number above 0")
        require(self.eps > 0, f"{name}.eps", self.eps, "it must be above 0")
        right = 0 <= self.momentum <= 1
        require(right, f"{name}.momentum", self.momentum, "it must lie in [0, 1]")

    @property
    def shapes(self):
        """Names and shapes of the parameters."""
        return {"scale": (self.channels,), "shift": (self.channels,)}

    def init(self, stream, like):
        """Scale 1, shift 0."""
        ones = np.ones(self.channels, dtype=like.dtype)
        return {"scale": ones, "shift": np.zeros_like(ones)}

    def init_state(self, like):
        """Mean 0, variance 1."""
        xp = backend.namespace(like)
        zeros = xp.zeros_like(backend.empty((self.channels,), like))
        return {"mean": zeros, "var": xp.ones_like(zeros)}

    def statistics(self, cache):
        """Mean of the batch, and its variance divided by m - 1: (..., C)."""
        _, mean, var, _, m, training = cache
        unbiased = var * (m / max(1, m - 1))
        return {"mean": mean, "var": unbiased} if training else {}

    def next_state(self, state, statistics):
        """r <- (1 - momentum) r + momentum s."""
        return {
            name: (1.0 - self.momentum) * state[name] + self.momentum * statistics[name]
            for name in self.running
        }

    def output_shape(self, shape):
        """Unchanged."""
        if len(shape) != 1 + self.pixels or shape[0] != self.channels:
            wanted = (str(self.channels), *("H", "W")[: self.pixels])
            raise InputError(
                f"{type(self).__name__}({self.channels}) is fed examples of shape {shape}; it "
                f"takes ({', '.join(wanted)})"
            )
        return shape

    def _wide(self, values):
        # (..., C) -> (..., 1, C) or (..., 1, C, 1, 1), against which x broadcasts
        return values[(..., None, slice(None), *[None] * self.pixels)]

    def _axes(self):
        # of the examples and the pixels
        return (-4, -2, -1) if self.pixels else (-2,)

    def forward(self, params, x):
        """y in the shape of x."""
        xp = backend.namespace(x)
        axes, wide = self._axes(), self._wide
        training = "mean" not in params
        mean = xp.mean(x, axis=axes) if training else params["mean"]
        var = xp.mean((x - wide(mean)) ** 2, axis=axes) if training else params["var"]
        inverse = 1.0 / xp.sqrt(var + self.eps)
        # y = (x - mean) (scale / sqrt(var + eps)) + shift
        y = (x - wide(mean)) * wide(params["scale"] * inverse)
        y += wide(params["shift"])
        m = prod(x.shape[axis] for axis in axes)
        return y, (x, mean, var, inverse, m, training)

    def backward(self, params, cache, dy, wanted=True):
        """dx, and the gradients of scale and shift.

            xhat = (x - mean) / sqrt(var + eps),   dscale = sum dy xhat,   dshift = sum dy
            dx   = scale / sqrt(var + eps) (dy - dshift / m - xhat dscale / m)

        In evaluation mean and var are constant and dx has its first term alone.
        """
        xp = backend.namespace(dy)
        x, mean, _, inverse, m, training = cache
        axes, wide = self._axes(), self._wide
        xhat = (x - wide(mean)) * wide(inverse)
        dshift = xp.sum(dy, axis=axes)
        dscale = xp.sum(dy * xhat, axis=axes)
        grads = {"scale": dscale, "shift": dshift}
        if not wanted:
            return None, grads
        dx = dy
        if training:
            dx = dy - wide(dshift / m) - xhat * wide(dscale / m)
        return dx * wide(params["scale"] * inverse), grads


class BatchNorm1d(_BatchNorm):
    """`BatchNorm2d` for vectors: x (..., N, C), the statistics over the N examples."""

    pixels = 0


class BatchNorm2d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__ + "\n    x : (..., N, C, H, W), the statistics over N, H and W.\n"
    pixels = 2

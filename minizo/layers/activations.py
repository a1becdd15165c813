"""Activations, elementwise; among them those that quantise."""

from dataclasses import dataclass, replace

import numpy as np

from .. import backend, sharing
from ..errors import require
from ..settings import Positive
from .base import Layer


@dataclass(frozen=True)
class ReLU(Layer):
    """y = max(x, 0); the derivative at exactly 0 is 0."""

    def forward(self, params, x):
        """y, elementwise."""
        xp = backend.namespace(x)
        # against zeros of one example: faster than against a number
        zeros = xp.zeros_like(x[:1, ...])
        y = sharing.blockwise(lambda y, x: backend.into(y, xp.maximum, x, zeros), x)
        return y, y

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy where x > 0, else 0."""
        xp = backend.namespace(dy)

        def block(dx, dy, y):
            backend.into(dx, xp.greater, y, 0.0)
            dx *= dy

        return sharing.blockwise(block, dy, cache), {}


@dataclass(frozen=True)
class HardTanh(Layer):
    """y = clip(x, -1, 1); the derivative at exactly -1 and 1 is 1."""

    def forward(self, params, x):
        """y, elementwise."""
        return backend.namespace(x).clip(x, -1.0, 1.0), x

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy where |x| <= 1, else 0."""
        xp = backend.namespace(dy)
        return dy * xp.astype(xp.abs(cache) <= 1.0, dy.dtype), {}


@dataclass(frozen=True)
class QuantizedActivation(Layer):
    """y = Q(x), and backwards the quantiser's own rule, mostly dx = dy Q_smooth'(x).

    Parameters
    ----------
    quantizer : quantizer
        From `minizo.quantizers`, one that quantises number by number. ``Sign("hardtanh")`` is the
        activation of binarised networks.
    scale : float
        Its alpha: the distance from 0 to a level for a sign, between two levels for k bits.

    Raises
    ------
    InputError
        For a scale that is not positive, or a quantiser that fits itself to a whole tensor.

    Notes
    -----
    Its true derivative is zero almost everywhere, as that of quantised weights is; the backward is
    a straight-through estimator. Zeroth-order estimators evaluate the forward alone.

    References
    ----------
    I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio, "Binarized neural networks",
    NeurIPS 2016, equation 4 (sign with the slope of hardtanh).
    """

    quantizer: object
    scale: Positive = 1.0

    def __post_init__(self):
        super().__post_init__()
        right = self.quantizer.pointwise and not self.quantizer.random
        remedy = "activations need one that quantises number by number, such as Sign or LSQ"
        require(right, "QuantizedActivation.quantizer", self.quantizer, remedy)

    @property
    def shapes(self):
        """What the quantiser learns: LSQ's step, one for the whole layer."""
        return self.quantizer.shapes((1,))

    def init(self, stream, like):
        """Initial values of what the quantiser learns."""
        return self.quantizer.init(np.ones(1), stream)

    def at(self, progress):
        """With the quantiser at this point of the run."""
        quantizer = self.quantizer.at(progress)
        return self if quantizer is self.quantizer else replace(self, quantizer=quantizer)

    def forward(self, params, x):
        """y, elementwise."""
        flat, scale = self._rows(params, x)
        return backend.namespace(x).reshape(self.quantizer.quantize(flat, scale), x.shape), x

    def backward(self, params, cache, dy, wanted=True):
        """dx by the quantiser's backward rule, and the gradients of what it learns."""
        xp = backend.namespace(dy)
        flat, scale = self._rows(params, cache)
        dx, grads = self.quantizer.backward(flat, scale, xp.reshape(dy, flat.shape))
        return xp.reshape(dx, dy.shape), grads

    def _rows(self, params, x):
        # x with all but the population axes in one, and what the quantiser is given beside it
        if not self.shapes:
            return x, self.scale
        xp = backend.namespace(x)
        own = {name: params[name] for name in self.shapes}
        lead = max((value.shape[:-1] for value in own.values()), key=len)
        # (P, N, C, H, W) -> (P, N*C*H*W); of inputs without population axes, all in one
        shape = (*lead, -1) if x.shape[: len(lead)] == lead else (-1,)
        return xp.reshape(x, shape), {"alpha": self.scale, **own}

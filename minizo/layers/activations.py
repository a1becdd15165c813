"""Activations, elementwise; among them those that quantise."""

from dataclasses import dataclass, replace
from math import isfinite

from .. import backend
from ..errors import require
from .base import Layer


@dataclass(frozen=True)
class ReLU(Layer):
    """y = max(x, 0); the derivative at exactly 0 is 0."""

    def forward(self, params, x):
        """y, elementwise."""
        xp = backend.namespace(x)
        # against zeros of one example: faster than against a number
        zeros = xp.zeros_like(x[:1, ...])
        y = backend.blockwise(lambda y, x: backend.into(y, xp.maximum, x, zeros), x)
        return y, y

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy where x > 0, else 0."""
        xp = backend.namespace(dy)

        def block(dx, dy, y):
            backend.into(dx, xp.greater, y, 0.0)
            dx *= dy

        return backend.blockwise(block, dy, cache), {}


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
    """y = Q(x), and backwards the slope of the quantiser's surrogate: dx = dy Q_smooth'(x).

    Parameters
    ----------
    quantizer : quantizer
        From `minizo.quantizers`. ``Sign("hardtanh")`` is the activation of binarised networks.
    scale : float
        Its alpha: the distance from 0 to a level for a sign, between two levels for k bits.

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
    scale: float = 1.0

    def __post_init__(self):
        positive = isfinite(self.scale) and self.scale > 0
        require(positive, "QuantizedActivation.scale", self.scale, "it must be finite and above 0")

    def at(self, progress):
        """With the quantiser at this point of the run."""
        quantizer = self.quantizer.at(progress)
        return self if quantizer is self.quantizer else replace(self, quantizer=quantizer)

    def forward(self, params, x):
        """y, elementwise."""
        return self.quantizer.quantize(x, self.scale), x

    def backward(self, params, cache, dy, wanted=True):
        """dx = dy Q_smooth'(x)."""
        slope = self.quantizer.derivative(cache, self.scale)
        return (dy if slope is None else dy * slope), {}

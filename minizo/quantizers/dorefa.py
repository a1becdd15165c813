"""DoReFa: a staircase of tanh(x) for weights, one of [0, 1] for activations."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from .. import backend
from ..types import Array
from .staircase import KBit


@dataclass(frozen=True)
class DoReFa(KBit):
    """Q(x) = 2 round((2^b - 1) A(x)) / (2^b - 1) - 1,  A(x) = tanh(x) / (2 M) + 1/2.

    M = max |tanh x| over the tensor or filter, recomputed at every call and constant in the
    derivative; 1 if all x are 0. The 2^b levels lie from -1 to 1; alpha is not used. b = 1 is
    sign(x) with sign(0) = -1, because 1/2 rounds to even. The surrogate's slope is multiplied by
    the *calibration*

        c(x) = d(2 A)/dx = (1 - tanh^2 x) / M.

    Ties round to even, as in the authors' code and unlike in the other staircases. No additive
    noise of a single size on x is implied.

    Parameters
    ----------
    surrogate : str
    bits : int
        b, 1 to 8.
    per
        As in `PerRow`: M is of a layer or a filter.

    References
    ----------
    S. Zhou et al., "DoReFa-Net: training low bitwidth convolutional neural networks with low
    bitwidth gradients", 2016, equations 7 and 9 (at 1 bit they use E|x| sign(x) instead; this is
    the form that MetaQuant and FSG use).

    Examples
    --------
    >>> import numpy as np
    >>> q, x = DoReFa(bits=2), np.array([-1.0, -0.2, 0.2, 1.0])
    >>> q.quantize(x, None).round(3)
    array([-1.   , -0.333,  0.333,  1.   ])
    >>> q.backward(x, None, np.ones(4))[0].round(3)  # the calibration c(x)
    array([0.551, 1.262, 1.262, 0.551])
    """

    bits: Annotated[int, "[1, 8]"] = 1
    pointwise = False
    centre = 0.0
    epsbar = None

    @property
    def half_step(self) -> float:
        """Half the distance of two levels, in 2 A(x) - 1."""
        return 1.0 / (self.levels - 1)

    def thresholds(self) -> tuple[float, ...]:
        """Return where the staircase jumps, in 2 A(x) - 1: midway between its levels."""
        w = self.half_step
        return tuple(-1.0 + w * (2 * k + 1) for k in range(self.levels - 1))

    def scale(self, w: Array) -> Array:
        """Return M of the initial weights, which must not all be 0: (..., m) -> (..., 1)."""
        xp = backend.namespace(w)
        return xp.max(xp.abs(xp.tanh(w)), axis=-1, keepdims=True)

    def squash(self, x: Array) -> Array:
        """Return A(x) in [0, 1]; the largest |x| of the tensor gives 0 or 1."""
        t, largest = _largest_tanh(x)
        return t / (2.0 * largest) + 0.5

    def quantize(self, x: Array, alpha: Array) -> Array:
        """Return Q(x); see `Quantizer`."""
        xp = backend.namespace(x)
        n = self.levels - 1
        # Q(x) = 2 round(n A(x)) / n - 1
        return 2.0 / n * xp.round(n * self.squash(x)) - 1.0

    def smooth(self, x: Array, alpha: Array) -> Array:
        """Return the surrogate's staircase at 2 A(x) - 1 (2 A(x) - 1 itself for the identity)."""
        return self.smooth_unit(2.0 * self.squash(x) - 1.0)

    def derivative(self, x: Array, alpha: Array) -> Array | None:
        """Return c(x) times the surrogate's slope at 2 A(x) - 1."""
        t, largest = _largest_tanh(x)
        calibration = (1.0 - t * t) / largest
        slope = super().derivative(t / largest, 1.0)
        return calibration if slope is None else calibration * slope


@dataclass(frozen=True)
class DoReFaActivation(KBit):
    """Q(x) = floor(n clip(x, 0, 1) + 1/2) / n, n = 2^b - 1: levels from 0 to 1; times alpha.

    With hardtanh, the default, the backward is the paper's, dx = dw 1[0 <= x < 1].

    Parameters
    ----------
    surrogate : str
    bits : int
        b, 1 to 8.

    References
    ----------
    S. Zhou et al., "DoReFa-Net: training low bitwidth convolutional neural networks with low
    bitwidth gradients", 2016, equation 11.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = DoReFaActivation(bits=2), np.array([-0.5, 0.1, 0.3, 0.9, 2.0])
    >>> q.quantize(x, 1.0).round(3)
    array([0.   , 0.   , 0.333, 1.   , 1.   ])
    >>> q.backward(x, 1.0, np.ones(5))[0]
    array([0., 1., 1., 1., 0.])
    """

    surrogate: str = "hardtanh"
    bits: Annotated[int, "[1, 8]"] = 2
    per: ClassVar = "layer"  # no setting: activations have one scale
    centre = 0.5

    @property
    def half_step(self) -> float:
        """Half the distance of two levels, in units of alpha."""
        return 0.5 / (self.levels - 1)

    def thresholds(self) -> tuple[float, ...]:
        """Return where the staircase jumps, in units of alpha."""
        return tuple(self.half_step * (2 * k + 1) for k in range(self.levels - 1))

    def scale(self, w: Array) -> Array:
        """Return the largest |x|, over activations of an earlier batch: (..., m) -> (..., 1)."""
        xp = backend.namespace(w)
        return xp.max(xp.abs(w), axis=-1, keepdims=True)

    def quantize(self, x: Array, alpha: Array) -> Array:
        """Return Q(x); see `Quantizer`."""
        xp, n = backend.namespace(x), self.levels - 1
        # Q(x) = alpha floor(n clip(x/alpha, 0, 1) + 1/2) / n
        return alpha / n * xp.floor(n * xp.clip(x / alpha, 0.0, 1.0) + 0.5)


def _largest_tanh(x):
    # tanh x, and M = max |tanh x| over the last axis, 1 where that is 0
    xp = backend.namespace(x)
    t = xp.tanh(x)
    largest = xp.max(xp.abs(t), axis=-1, keepdims=True)
    return t, xp.where(largest == 0.0, xp.ones_like(largest), largest)

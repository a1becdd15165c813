"""Staircases of equal steps, each paired with the surrogate whose slope the STE uses.

A staircase is a map in units of its scale alpha, continuous from the right (up to the rounding of
x/alpha + 1/2: the largest number below 1/2 already rounds up):

    sign       Q(x) = alpha sign(x),   sign(0) = +1                     levels +-alpha
    mid-rise   Q(x) = alpha (clip(floor(x/alpha), lo, hi) + 1/2)        levels +-alpha/2, +-3alpha/2
    mid-tread  Q(x) = alpha  clip(floor(x/alpha + 1/2), lo, hi)         levels ..., -alpha, 0, alpha
               lo = -2^(b-1),  hi = 2^(b-1) - 1                         b bits, 2^b levels

Mid-rise and mid-tread equal clip(round(x/alpha - 1/2), lo, hi) + 1/2 and
clip(round(x/alpha), lo, hi) except at ties, where rounding half to even would round up at one
threshold and down at the next.

A staircase with thresholds t_k and unit steps is a sum of signs, Q(x)/alpha = sum_k sign(x/alpha -
t_k)/2 + const. Smoothing is linear, so noise of standard deviation eps = alpha w epsbar (w half a
step) turns every sign into its surrogate s and the whole into

    Q_smooth(x) = alpha (sum_k s((x/alpha - t_k)/w) w + const),
    Q_smooth'(x) = sum_k s'((x/alpha - t_k)/w).

With s = hardtanh that is the *clipped identity*, clip(x, smallest level, largest level).

References
----------
N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order information",
NeurIPS 2025 (surrogates as smoothings of the quantiser).
S. K. Esser et al., "Learned step size quantization", ICLR 2020 (k-bit quantisers of weights).
A. Panferov et al., "QuEST: stable training of LLMs with 1-bit weights and activations", 2025
(step 0.9957 RMS for 2 bits).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Annotated, ClassVar

from .. import backend
from ..types import Array, Scale
from .base import InitialScale, PerRow, sign


@dataclass(frozen=True)
class Staircase(PerRow):
    """Base of staircases, Q(x) = alpha (sum of signs): the surrogate and the noise it implies.

    Parameters
    ----------
    surrogate
        As in `Quantizer`.
    per
        As in `PerRow`.
    """

    half_step: ClassVar[float]
    centre: ClassVar[float]
    thresholds: ClassVar[Callable[..., tuple[float, ...]]]

    @property
    def epsbar(self) -> float | None:
        """Standard deviation of the noise in units of alpha; eps = alpha epsbar."""
        unit = None if self.scheduled else self.curve.epsbar
        return None if unit is None else self.half_step * unit

    def step(self, x: Array, scale: Scale) -> Array:
        """Return the unit of the staircase for x: (..., m) -> (..., 1). It is alpha here."""
        return scale

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return Q_smooth(x) = E[Q(x + alpha epsbar u)] (x itself for the identity surrogate)."""
        if self.surrogate == "identity":
            return 1.0 * x
        alpha = self.step(x, scale)
        return alpha * self.smooth_unit(x / alpha)

    def derivative(self, x: Array, scale: Scale) -> Array | None:
        """Return Q_smooth'(x), the diagonal of the Jacobian; ``None`` stands for all ones."""
        if self.surrogate == "identity":
            return None
        return self.slope_unit(x / self.step(x, scale))

    def smooth_unit(self, z: Array) -> Array:
        """Return Q_smooth in units of the step: sum_k s((z - t_k)/w) w + const."""
        if self.surrogate == "identity":
            return z
        s, w = self.curve.value, self.half_step
        return sum(w * s((z - t) / w) for t in self.thresholds()) + self.centre

    def slope_unit(self, z: Array) -> Array:
        """Return its derivative: sum_k s'((z - t_k)/w)."""
        ds, w = self.curve.derivative, self.half_step
        return sum(ds((z - t) / w) for t in self.thresholds())


@dataclass(frozen=True)
class Sign(InitialScale, Staircase):
    """Q(x) = alpha sign(x) with sign(0) = +1: binary weights.

    The scale is alpha = alpha_scale sqrt(2/pi) RMS(w), by default the mean absolute value of
    Gaussian weights.

    Parameters
    ----------
    surrogate
        As in `Quantizer`.
    alpha_scale
        As in `InitialScale`.
    per
        As in `PerRow`.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = Sign("hardtanh"), np.array([-1.5, -0.2, 0.0, 0.7])
    >>> q.scale(x).round(3)  # sqrt(2/pi) RMS
    array([0.665])
    >>> q.quantize(x, 1.0)
    array([-1., -1.,  1.,  1.])
    >>> q.backward(x, 1.0, np.ones(4))[0]  # 0 where the surrogate is flat
    array([0., 1., 1., 1.])
    """

    half_step = 1.0
    centre = 0.0
    levels = 2
    rms_factor = sqrt(2.0 / pi)

    def thresholds(self) -> tuple[float, ...]:
        """Return where the staircase jumps, in units of alpha."""
        return (0.0,)

    def quantize(self, x: Array, alpha: Array) -> Array:
        """Return Q(x); see `Quantizer`."""
        # Q(x) = alpha sign(x)
        return alpha * sign(x)


@dataclass(frozen=True)
class KBit(Staircase):
    """A staircase of 2^bits levels.

    Parameters
    ----------
    surrogate
        As in `Quantizer`.
    bits : int
        Bits of a code, from 1 to 8: 2^bits levels.
    """

    bits: Annotated[int, "[1, 8]"] = 2

    @property
    def levels(self) -> int:
        """Number of levels, 2^bits."""
        return 2**self.bits


@dataclass(frozen=True)
class _Codes(InitialScale, KBit):
    half_step = 0.5
    gaussian_step: ClassVar[tuple[float, ...]]

    @property
    def bounds(self) -> tuple[float, float]:
        """(lo, hi) = (-2^(b-1), 2^(b-1) - 1), the integer codes at the ends."""
        return -(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1) - 1.0

    @property
    def rms_factor(self) -> float:
        """c_b, the step of least squared error for Gaussian weights in units of their RMS."""
        return self.gaussian_step[self.bits - 1]


@dataclass(frozen=True)
class MidRise(_Codes):
    """Q(x) = alpha (clip(floor(x/alpha), lo, hi) + 1/2): 2^b levels, symmetric, none at 0.

    Parameters
    ----------
    surrogate
        As in `Quantizer`.
    bits : int
        b, 1 to 8.
    alpha_scale
        As in `InitialScale`: alpha = alpha_scale c_b RMS(w).
    per
        As in `PerRow`.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = MidRise("hardtanh", bits=2), np.array([-2.5, -0.2, 0.0, 0.7, 1.2])
    >>> q.quantize(x, 1.0)
    array([-1.5, -0.5,  0.5,  0.5,  1.5])
    >>> q.backward(x, 1.0, np.ones(5))[0]  # 0 beyond the last levels
    array([0., 1., 1., 1., 1.])
    >>> round(q.epsbar, 3)  # noise that turns Q into the clipped identity
    0.289
    """

    centre = 0.0
    # c_b for 1 to 8 bits; J. Max, "Quantizing for minimum distortion", IRE Transactions on
    # Information Theory, 1960, table II gives the even numbers of levels to 36.
    gaussian_step = (1.5958, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)

    def thresholds(self) -> tuple[float, ...]:
        """Return where the staircase jumps, in units of alpha: lo + 1, ..., hi."""
        lo, hi = self.bounds
        return tuple(float(k) for k in range(int(lo) + 1, int(hi) + 1))

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x); see `Quantizer`."""
        xp, (lo, hi), alpha = backend.namespace(x), self.bounds, self.step(x, scale)
        # Q(x) = alpha (clip(floor(x/alpha), lo, hi) + 1/2)
        return alpha * (xp.clip(xp.floor(x / alpha), lo, hi) + 0.5)


@dataclass(frozen=True)
class MidTread(_Codes):
    """Q(x) = alpha clip(floor(x/alpha + 1/2), lo, hi): 2^b levels, one at 0, one more below it.

    Parameters
    ----------
    surrogate
        As in `Quantizer`.
    bits : int
        b, 1 to 8.
    alpha_scale
        As in `InitialScale`: alpha = alpha_scale c_b RMS(w).
    per
        As in `PerRow`.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = MidTread("hardtanh", bits=2), np.array([-2.5, -0.2, 0.0, 0.7, 1.2])
    >>> q.quantize(x, 1.0)
    array([-2.,  0.,  0.,  1.,  1.])
    >>> q.backward(x, 1.0, np.ones(5))[0]
    array([0., 1., 1., 1., 0.])
    """

    centre = -0.5
    # c_b for 1 to 8 bits, found by minimising E[(z - Q(z))^2] for standard normal z
    gaussian_step = (1.2240, 1.0484, 0.6018, 0.3386, 0.1888, 0.1042, 0.0569, 0.0308)

    def thresholds(self) -> tuple[float, ...]:
        """Return where the staircase jumps, in units of alpha: lo + 1/2, ..., hi - 1/2."""
        lo, hi = self.bounds
        return tuple(k - 0.5 for k in range(int(lo) + 1, int(hi) + 1))

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x); see `Quantizer`."""
        xp, (lo, hi), alpha = backend.namespace(x), self.bounds, self.step(x, scale)
        # Q(x) = alpha clip(floor(x/alpha + 1/2), lo, hi)
        return alpha * xp.clip(xp.floor(x / alpha + 0.5), lo, hi)

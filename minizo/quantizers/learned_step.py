"""Mid-tread with a learned step (LSQ), mid-rise with a live one (QuEST)."""

from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np

from .. import backend
from ..norms import rms
from .base import Quantizer, mean_abs, total
from .staircase import MidRise, MidTread


@dataclass(frozen=True)
class LSQ(MidTread):
    """Q(x) = s clip(floor(x/s + 1/2), lo, hi) with s = alpha r, r learned, one a tensor.

        dx = dw 1[lo <= x/s < hi]
        ds = c sum_i dw_i (floor(z_i + 1/2) - z_i inside, lo below, hi above),   z = x/s,
        dr = alpha ds,    c = 1/sqrt(m hi)

    with m weights in the tensor, lo = -2^(b-1), hi = 2^(b-1) - 1.

    Parameters
    ----------
    surrogate : str
        hardtanh is the paper's; ds is the same with any other.
    bits : int
        b, 2 to 8: with 1 there is no level above 0.
    signed : bool
        False: lo = 0, hi = 2^b - 1, for activations that are never negative.
    rescale : bool
        Whether to use the factor c, which balances the step of s and of the weights under SGD.

    Notes
    -----
    alpha = 2 mean|w|/sqrt(hi) of the initial weights is the paper's initial step. The paper learns
    s; here the learned parameter is r = s/alpha, which starts at 1, so that an optimiser invariant
    to scale, such as Adam, changes s in proportion instead of moving it across 0. r is kept at or
    above 2^-10, because a negative step reverses the levels, and unsigned ones would stay 0. At
    2^-10 the gradient of r is unchanged, so that r can grow again.

    References
    ----------
    S. K. Esser, J. L. McKinstry, D. Bablani, R. Appuswamy, D. S. Modha, "Learned step size
    quantization", ICLR 2020, equations 1 to 5 and section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = LSQ(bits=2), np.array([-1.4, -0.2, 0.3, 0.9])
    >>> scale = {"alpha": q.scale(x), "step": np.ones(1)}
    >>> q.quantize(x, scale)
    array([-1.4,  0. ,  0. ,  1.4])
    >>> dx, grads = q.backward(x, scale, np.ones(4))
    >>> dx, grads["step"].round(3)
    (array([1., 1., 1., 1.]), array([0.2]))
    """

    surrogate: str = "hardtanh"
    bits: Annotated[int, "[2, 8]"] = 2
    signed: bool = True
    rescale: bool = True
    alpha_scale: ClassVar = 1.0  # no setting: the step is learned
    diagonal = False
    least = MappingProxyType({"step": 2.0**-10})

    @property
    def bounds(self):
        """(lo, hi), the integer codes at the ends."""
        return super().bounds if self.signed else (0.0, 2.0**self.bits - 1.0)

    @property
    def centre(self):
        """Middle of the levels, in units of the step."""
        return 0.5 * sum(self.bounds)

    def scale(self, w):
        """Return 2 mean|w| / sqrt(hi): (..., m) -> (..., 1)."""
        return 2.0 / sqrt(self.bounds[1]) * mean_abs(w)

    def shapes(self, shape):
        """Return the shape of the one ratio r."""
        return {"step": (1,)}

    def init(self, w, stream):
        """Return r = 1."""
        return {"step": np.ones(1)}

    def step(self, scale):
        """Return s = alpha r, where r is at least its least value, so that levels stay in order."""
        xp = backend.namespace(scale["step"])
        # s = alpha r
        return scale["alpha"] * xp.clip(scale["step"], self.least["step"], None)

    def quantize(self, x, scale):
        """Return Q(x); see `Quantizer`."""
        return super().quantize(x, self.step(scale))

    def smooth(self, x, scale):
        """Return Q_smooth of `MidTread`, with the step s."""
        return super().smooth(x, self.step(scale))

    def derivative(self, x, scale):
        """Return the slope of `MidTread`, with the step s."""
        return super().derivative(x, self.step(scale))

    def backward(self, x, scale, dw):
        """Return dx, and the gradient of r; see `Quantizer`."""
        xp = backend.namespace(x)
        dx, _ = Quantizer.backward(self, x, scale, dw)
        lo, hi = self.bounds
        z = x / self.step(scale)
        # ds = c sum dw (Q(x)/s - clip(z)) inside, dw Q(x)/s outside
        code = xp.clip(xp.floor(z + 0.5), lo, hi)
        inside = xp.astype(xp.logical_and(z > lo, z < hi), x.dtype)
        c = 1.0 / sqrt(x.shape[-1] * hi) if self.rescale else 1.0
        return dx, {"step": c * scale["alpha"] * total(dw * (code - inside * z))}


@dataclass(frozen=True)
class QuEST(MidRise):
    """Q(x) = s (clip(floor(x/s), lo, hi) + 1/2),  s = c_b RMS(x), recomputed at every call.

        dx = dw 1[|x - Q(x)| <= s/2] Q_smooth'(x),    s held

    The mask trusts weights whose error is at most that of rounding, which excludes those more than
    half a step beyond the last level. With the identity surrogate, QuEST's choice, the mask is the
    whole rule.

    Parameters
    ----------
    surrogate : str
    bits : int
        b, 1 to 8.

    Notes
    -----
    The paper first applies a Hadamard transform, which makes weights more Gaussian; this does not.
    The step follows the noise on x, so a zeroth-order estimator must be given its eps.

    References
    ----------
    A. Panferov, J. Chen, S. Tabesh, R. L. Castro, M. Nikdan, D. Alistarh, "QuEST: stable training
    of LLMs with 1-bit weights and activations", 2025, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = QuEST(bits=2), np.array([-4.0, -0.5, 0.3, 0.9, 0.2, -0.4])
    >>> q.quantize(x, None).round(3)  # the step is 0.9957 RMS(x)
    array([-2.54 , -0.847,  0.847,  0.847,  0.847, -0.847])
    >>> q.backward(x, None, np.ones(6))[0]  # -4 lies too far out
    array([0., 1., 1., 1., 1., 1.])
    """

    alpha_scale: ClassVar = 1.0  # no setting: the step follows the weights
    epsbar = None
    pointwise = False

    def quantize(self, x, scale):
        """Return Q(x); see `Quantizer`."""
        return super().quantize(x, self._step(x))

    def smooth(self, x, scale):
        """Return Q_smooth(clip(x, -s 2^(b-1), s 2^(b-1))), s held."""
        xp, s = backend.namespace(x), self._step(x)
        end = s * 2.0 ** (self.bits - 1)
        return super().smooth(xp.minimum(xp.maximum(x, -end), end), s)

    def derivative(self, x, scale):
        """Return 1[|x - Q(x)| <= s/2] Q_smooth'(x)."""
        xp, s = backend.namespace(x), self._step(x)
        lo, hi = self.bounds
        trusted = xp.astype(xp.logical_and(x / s >= lo, x / s <= hi + 1.0), x.dtype)
        slope = super().derivative(x, s)
        return trusted if slope is None else trusted * slope

    def _step(self, x):
        # s = c_b RMS(x), 1 where all weights are 0
        xp = backend.namespace(x)
        s = self.rms_factor * rms(x)
        return xp.where(s > 0.0, s, xp.ones_like(s))

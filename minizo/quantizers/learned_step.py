"""Mid-tread with a learned step (LSQ), mid-rise whose step follows the weights (QuEST)."""

from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np

from .. import backend
from ..errors import require
from ..norms import rms
from ..rng import Stream
from ..settings import Count
from ..types import Array, Arrays, Scale, Shape, Shapes
from .base import Quantizer, mean_abs, total
from .staircase import MidRise, MidTread


@dataclass(frozen=True)
class LSQ(MidTread):
    """Q(x) = s clip(floor(x/s + 1/2), lo, hi),  s = alpha r, with a learned r for each row.

        dx = dw 1[lo <= z < hi],   z = x/s
        ds = c sum_i dw_i (clip(floor(z_i + 1/2), lo, hi) - z_i 1[lo < z_i < hi])
        dr = alpha ds,    c = 1/sqrt(m hi)

    A row is a tensor or a filter of m weights; lo = -2^(b-1), hi = 2^(b-1) - 1.

    Parameters
    ----------
    surrogate : str
        The paper uses hardtanh; ds is the same with any other.
    bits : int
        b, 2 to 8: with 1 there is no level above 0.
    signed : bool
        False: lo = 0, hi = 2^b - 1, for activations that are never negative.
    rescale : bool
        Whether to use the factor c, which balances the step of s and of the weights under SGD.
    per
        As in `PerRow`: whether a tensor or every filter has a step.

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
    def bounds(self) -> tuple[float, float]:
        """(lo, hi), the integer codes at the ends."""
        return super().bounds if self.signed else (0.0, 2.0**self.bits - 1.0)

    @property
    def centre(self) -> float:
        """Middle of the levels, in units of the step."""
        return 0.5 * sum(self.bounds)

    def scale(self, w: Array) -> Array:
        """Return 2 mean|w| / sqrt(hi): (..., m) -> (..., 1)."""
        return 2.0 / sqrt(self.bounds[1]) * mean_abs(w)

    def shapes(self, shape: Shape) -> Shapes:
        """Return the shape of r: (1,), or (F, 1)."""
        return {"step": (*shape[:-1], 1)}

    def init(self, w: Array, stream: Stream) -> Arrays:
        """Return r = 1."""
        return {"step": np.ones((*w.shape[:-1], 1))}

    def step(self, x: Array, scale: Scale) -> Array:
        """Return s = alpha r, where r is at least its least value, so that levels stay in order."""
        xp = backend.namespace(scale["step"])
        # s = alpha r
        return scale["alpha"] * xp.clip(scale["step"], self.least["step"], None)

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx, and the gradient of r; see `Quantizer`."""
        xp = backend.namespace(x)
        dx, _ = Quantizer.backward(self, x, scale, dw)
        lo, hi = self.bounds
        z = x / self.step(x, scale)
        # ds = c sum dw (clip(floor(z + 1/2), lo, hi) - z 1[lo < z < hi])
        code = xp.clip(xp.floor(z + 0.5), lo, hi)
        inside = xp.astype(xp.logical_and(z > lo, z < hi), x.dtype)
        c = 1.0 / sqrt(x.shape[-1] * hi) if self.rescale else 1.0
        return dx, {"step": c * scale["alpha"] * total(dw * (code - inside * z))}


def hadamard(size, like):
    """Return the Hadamard matrix H / sqrt(size) of Sylvester's construction: (size, size).

    Symmetric and orthogonal; ``size`` is a power of two.

    Examples
    --------
    >>> import numpy as np
    >>> hadamard(2, np.zeros(1)).round(3)
    array([[ 0.707,  0.707],
           [ 0.707, -0.707]])
    """
    h = np.ones((1, 1))
    while h.shape[0] < size:
        # H_2n = [[H_n, H_n], [H_n, -H_n]]
        h = np.block([[h, h], [h, -h]])
    return backend.asarray((h / sqrt(size)).astype(backend.numpy_dtype(like)), like)


@dataclass(frozen=True)
class QuEST(MidRise):
    """Q(x) = H q(H x),  q(z) = s (clip(floor(z/s), lo, hi) + 1/2),  s = c_b RMS(z) at every call.

        dx = H (1[|z - q(z)| <= trust s/2] q_smooth'(z) H dw),   z = H x,  s held

    H is orthogonal: the Hadamard transform of every ``block`` neighbouring weights, which makes
    them more Gaussian; 1 where ``block`` is 1. The mask trusts weights whose error is at most
    ``trust`` times that of rounding, which excludes those far beyond the last level. With the
    identity surrogate, QuEST's choice, the mask is the whole rule.

    Parameters
    ----------
    surrogate : str
    bits : int
        b, 1 to 8.
    block : int
        The largest size of a block, a power of two; 1 for no transform. A row whose length no such
        block divides has the largest power of two that does.
    trust : float
        Trust factor, at least 1.
    per
        As in `PerRow`: whether s and the blocks are of a tensor or of a filter.

    Notes
    -----
    The authors take ``block=128`` and ``per="filter"``, and transform activations alike, so that
    the two transforms cancel in the product: H q(H x) is the same product without the second one.
    A perturbation of x also changes s, so no fixed noise level matches the surrogate.

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
    >>> x, dw = np.array([4.0, 0.0, 0.0, 0.0]), np.ones(4)  # H x = (2, 2, 2, 2): none lies far out
    >>> QuEST().backward(x, None, dw)[0], QuEST(block=4).backward(x, None, dw)[0].round(3)
    (array([0., 1., 1., 1.]), array([1., 1., 1., 1.]))
    """

    block: Count = 1
    trust: Annotated[float, "[1, inf)"] = 1.0
    alpha_scale: ClassVar = 1.0  # no setting: the step follows the weights
    epsbar = None
    pointwise = False
    live = True

    def __post_init__(self):
        super().__post_init__()
        power = self.block & (self.block - 1) == 0
        require(power, "QuEST.block", self.block, "it must be a power of two, such as 128")

    @property
    def diagonal(self) -> bool:
        """Whether the backward is the diagonal rule of `derivative`: without a transform."""
        return self.block == 1

    @property
    def levels(self) -> int | None:
        """Number of levels in a row, 2^bits; None where they are transformed back."""
        return 2**self.bits if self.block == 1 else None

    def transform(self, x: Array) -> Array:
        """Return H x, which is also its inverse: (..., n) -> (..., n)."""
        xp, n = backend.namespace(x), x.shape[-1]
        size = min(self.block, n & -n)  # n & -n is the largest power of two that divides n
        if size == 1:
            return x
        # (..., n) -> (..., n/B, B) -> (..., n)
        blocks = xp.reshape(x, (*x.shape[:-1], -1, size))
        return xp.reshape(xp.matmul(blocks, hadamard(size, x)), x.shape)

    def step(self, x: Array, scale: Scale) -> Array:
        """Return s = c_b RMS(x), 1 where all x are 0; x are transformed weights."""
        xp = backend.namespace(x)
        s = self.rms_factor * rms(x)
        return xp.where(s > 0.0, s, xp.ones_like(s))

    @property
    def end(self) -> float:
        """The largest |z| with |z - q(z)| <= trust s/2, in units of s; as trust >= 1, all below."""
        return 2.0 ** (self.bits - 1) - 0.5 + 0.5 * self.trust

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x); see `Quantizer`."""
        return self.transform(super().quantize(self.transform(x), scale))

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return H q_smooth(clip(H x, -end s, end s)), s held."""
        xp, z = backend.namespace(x), self.transform(x)
        s = self.step(z, scale)
        return self.transform(s * self.smooth_unit(xp.clip(z / s, -self.end, self.end)))

    def derivative(self, x: Array, scale: Scale) -> Array | None:
        """Return 1[|x - q(x)| <= trust s/2] q_smooth'(x), of weights that are transformed."""
        xp = backend.namespace(x)
        trusted = xp.abs(x) <= self.end * self.step(x, scale)
        slope = super().derivative(x, scale)
        trusted = xp.astype(trusted, x.dtype)
        return trusted if slope is None else trusted * slope

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx; see `Quantizer`."""
        # dx = H (q_smooth'(H x) H dw)
        slope = self.derivative(self.transform(x), scale)
        return self.transform(slope * self.transform(dw)), {}

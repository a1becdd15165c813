"""W-shaped regularisers, their proximal operators, and other maps towards the levels.

q = Q(x) is the level of a quantiser nearest to x. All maps here are elementwise and move x towards
q, so that q may come from any quantiser, at any scale:

    R_1(x) = sum_i |x_i - q_i|            "hard" quantisation: exact after finitely many steps
    R_2(x) = 1/2 sum_i (x_i - q_i)^2      "soft": never exact for a finite strength
    prox_{lam R}(x) = argmin_u 1/2 ||u - x||^2 + lam R(u)

With levels +-1 the graph of R is the W of the ProxQuant paper, which states the binary operators.
Derived for this package: with any set of levels the prox moves towards the *nearest* one. For each
level q the least value of 1/2 (u - x)^2 + lam |u - q|^p over u grows with |x - q|, so the nearest
level wins. Two equally near levels give two minimisers; Q's rule for ties chooses.

Factors. The paper prints the binary R_2 with 1/2 (prox (x + lam q) / (1 + lam)) and the ternary and
multi-bit R_2 without (prox (x + 2 lam q) / (1 + 2 lam)). Here R_2 always has the 1/2;
``convention="full"`` omits it.

References
----------
Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant: quantized neural networks via proximal operators", ICLR
2019, arXiv 1810.00861, sections 3.1 and 3.2 (R_1, R_2 and their prox).
P. Yin, S. Zhang, J. Lyu, S. Osher, Y. Qi, J. Xin, "Blended coarse gradient descent for full
quantization of deep neural networks", Research in the Mathematical Sciences, 2019 (blending).
L. Jin, J. Ma, Z. Liu, A. Gromov, A. Defazio, L. Xiao, "PARQ: piecewise-affine regularized
quantization", ICML 2025 (the piecewise-affine map).
T. Ajanthan, K. Gupta, P. Torr, R. Hartley, P. Dokania, "Mirror descent view for neural network
quantization", AISTATS 2021 (tanh as a mirror map).
"""

from math import exp, inf
from typing import Any

from . import backend
from .errors import choose
from .settings import plain, real
from .types import Array

__all__ = [
    "CONVENTIONS",
    "blend",
    "logistic_fall",
    "piecewise_affine",
    "prox_l1",
    "prox_l2",
    "ramp",
    "share",
    "soft_staircase",
    "w_l1",
    "w_l2",
]


def __dir__():
    return __all__


CONVENTIONS = {"half": 1.0, "full": 2.0}


def w_l1(x: Array, q: Array) -> Array:
    """Return R_1(x) = sum_i |x_i - q_i|: (..., m) -> (...).

    Examples
    --------
    >>> import numpy as np
    >>> w_l1(np.array([0.8, -1.5]), np.array([1.0, -1.0])).round(3)
    np.float64(0.7)
    """
    xp = backend.namespace(x)
    return xp.sum(xp.abs(x - q), axis=-1)


def w_l2(x: Array, q: Array, convention: str = "half") -> Array:
    """Return R_2(x) = 1/2 sum_i (x_i - q_i)^2, or without the 1/2: (..., m) -> (...).

    Examples
    --------
    >>> import numpy as np
    >>> w_l2(np.array([0.5, -2.0]), np.array([1.0, -1.0]))
    np.float64(0.625)
    """
    factor = choose("convention", convention, CONVENTIONS)
    e = x - q
    return 0.5 * factor * backend.namespace(x).sum(e * e, axis=-1)


def prox_l1(x: Array, q: Array, lam: float | Array) -> Array:
    """Return prox_{lam R_1}(x): a step of lam towards the nearest level, and not beyond it.

    Parameters
    ----------
    x, q : ndarray of shape (..., m)
        Weights and their nearest levels.
    lam : float or ndarray that broadcasts against x
        Strength, in the units of x; 0 gives x and infinity q, bit for bit.

    Returns
    -------
    ndarray like x

    Notes
    -----
    Fixed points: all x with lam = 0, the levels otherwise. While the nearest level stays the same,
    prox_a(prox_b(x)) = prox_{a+b}(x).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.25, 0.875, -2.0])
    >>> prox_l1(x, np.sign(x), 0.25)
    array([ 0.5 ,  1.  , -1.75])
    """
    xp, lam = backend.namespace(x), plain(lam)
    if isinstance(lam, int | float):
        lam = real("lam", lam, "[0, inf]")
    e = x - q
    # u = q where |x - q| <= lam, x - lam sign(x - q) elsewhere
    return xp.where(xp.abs(e) <= lam, q, x - xp.clip(e, -lam, lam))


def share(lam: float, convention: str = "half") -> float:
    """Return rho = lam / (1 + lam), the share of the way to the level that `prox_l2` goes.

    Examples
    --------
    >>> share(1.0), share(1.0, "full"), share(float("inf"))
    (0.5, 0.6666666666666666, 1.0)
    """
    lam = choose("convention", convention, CONVENTIONS) * real("lam", lam, "[0, inf]")
    return 1.0 if lam == inf else lam / (1.0 + lam)


def blend(x: Array, q: Array, rho: float) -> Array:
    """Return (1 - rho) x + rho q, exactly x for rho = 0 and exactly q for rho = 1.

    Examples
    --------
    >>> import numpy as np
    >>> blend(np.array([0.5, -2.0]), np.array([1.0, -1.0]), 0.5)
    array([ 0.75, -1.5 ])
    """
    rho = real("rho", rho, "[0, 1]")
    return (1.0 - rho) * x + rho * q


def prox_l2(x: Array, q: Array, lam: float, convention: str = "half") -> Array:
    """Return prox_{lam R_2}(x) = (x + lam q) / (1 + lam): part of the way to the nearest level.

    Parameters
    ----------
    x, q : ndarray of shape (..., m)
    lam : float
        Strength, a pure number; 0 gives x and infinity q, bit for bit.
    convention : {"half", "full"}
        ``"full"`` is R_2 without its 1/2: (x + 2 lam q) / (1 + 2 lam).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5, -2.0])
    >>> prox_l2(x, np.sign(x), 1.0), prox_l2(x, np.sign(x), float("inf"))
    (array([ 0.75, -1.5 ]), array([ 1., -1.]))
    """
    # (x + lam q) / (1 + lam) = (1 - rho) x + rho q  with  rho = lam / (1 + lam)
    return blend(x, q, share(lam, convention))


def piecewise_affine(x: Array, q: Array, half: float | Array, iota: float) -> Array:
    """Return PARQ's map: each step of the staircase becomes a ramp of slope 1/iota.

        u = clip(mid + (x - mid) / iota, q_k, q_k+1)   for x between the levels q_k and q_k+1

    Parameters
    ----------
    x, q : ndarray of shape (..., m)
        x must lie between the lowest and the highest level, so clip it first.
    half : float or ndarray that broadcasts against x
        Half the distance between two levels.
    iota : float
        1 is the identity, 0 (or less) the staircase itself, q.

    Notes
    -----
    With g = 1/iota it is prox_{g Psi}(g x) for a convex, piecewise affine Psi whose slope between
    q_k and q_k+1 is (1 - iota) (q_k + q_k+1) / 2. Seen from the nearest level it is the soft
    threshold of `prox_l1` with lam = (1 - iota) half, stretched by 1/iota so that nothing jumps at
    the midpoint.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([-1.0, -0.75, 0.25, 0.5])
    >>> piecewise_affine(x, np.sign(x), 1.0, 0.5)
    array([-1. , -1. ,  0.5,  1. ])
    """
    half, iota = plain(half), real("iota", iota, "(-inf, 1]")
    if iota <= 0.0:
        return q
    xp = backend.namespace(x)
    e = x - q
    # u = q + sign(e) max(|e| - (1 - iota) half, 0) / iota, and at most half away from q
    t = xp.maximum(xp.abs(e) - (1.0 - iota) * half, 0.0) / iota
    return q + xp.sign(e) * xp.minimum(t, xp.zeros_like(t) + half)


def ramp(x: Array, quantizer: Any, alpha: Array, iota: float) -> Array:
    """Apply `piecewise_affine` for a quantiser with equal steps, clipped to its end levels.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo.quantizers import MidRise
    >>> ramp(np.array([-4.0, -0.25, 0.9]), MidRise(bits=2), 1.0, 0.5)
    array([-1.5, -0.5,  0.8])
    """
    xp, alpha = backend.namespace(x), plain(alpha)
    reach = quantizer.half_step * (quantizer.levels - 1)
    low, high = alpha * (quantizer.centre - reach), alpha * (quantizer.centre + reach)
    inside = xp.clip(x, low, high)
    q = quantizer.quantize(inside, alpha)
    return piecewise_affine(inside, q, alpha * quantizer.half_step, iota)


def soft_staircase(x: Array, quantizer: Any, alpha: Array, sharpness: float) -> Array:
    """Return the staircase with every sign replaced by tanh.

        u = alpha (sum_k h tanh(sharpness (x/alpha - t_k) / h) + centre),  h half a step

    With two levels it is the mirror map alpha tanh(sharpness x / alpha) of Ajanthan et al.; the sum
    over the thresholds t_k of more levels is this package's.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo.quantizers import Sign
    >>> soft_staircase(np.array([-1.0, 0.0, 1.0]), Sign(), 1.0, 2.0).round(3)
    array([-0.964,  0.   ,  0.964])
    """
    alpha, sharpness = plain(alpha), real("sharpness", sharpness, "(0, inf)")
    h, tanh = quantizer.half_step, backend.namespace(x).tanh
    z = x / alpha
    total = sum(h * tanh(sharpness / h * (z - t)) for t in quantizer.thresholds())
    return alpha * (total + quantizer.centre)


def logistic_fall(progress: float, steepness: float = 10.0, centre: float = 0.5) -> float:
    """Return PARQ's iota, which falls from 1 to 0 along a logistic curve.

        s(p) = 1 / (1 + exp(steepness (p - centre))),
        iota(p) = (s(p) - low) / (high - low),  high, low = 1 / (1 + exp(-+steepness / 2))

    Parameters
    ----------
    progress : float
        t / T in [0, 1].
    steepness : float
    centre : float
        Where the fall is steepest. The ends are 1 and 0 for centre 1/2 only: with 0.3 and steepness
        10 they are 0.959 and -0.006. Below 0 the map is that of 0.

    Examples
    --------
    >>> [round(logistic_fall(p), 3) for p in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.93, 0.5, 0.0]
    """
    progress, centre = real("progress", progress, "[0, 1]"), real("centre", centre, "[0, 1]")
    steepness = real("steepness", steepness, "(0, 100]")
    high, low = 1.0 / (1.0 + exp(-0.5 * steepness)), 1.0 / (1.0 + exp(0.5 * steepness))
    return (1.0 / (1.0 + exp(steepness * (progress - centre))) - low) / (high - low)

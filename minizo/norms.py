"""Root mean squares, norms and unit vectors whose squares neither overflow nor vanish.

float32 squares only numbers from 1e-22 to 1e19; gradients and weights may lie outside. So each row
is first divided by a power of two near its largest |x|. The division and its inverse are exact:
norms of rows whose squares are ordinary numbers keep their bits, and norm(2^k x) = 2^k norm(x).
"""

from . import backend
from .types import Array


def rescaled(x, axis=-1):
    """Return (x / p, p), p a power of two near the largest |x| of a row: (..., m) -> (..., 1).

    p is 1 for a row of zeros, or one with a NaN or infinity. A row lies along ``axis``; for
    ``None`` it is the whole array.

    Examples
    --------
    >>> import numpy as np
    >>> rescaled(np.array([3.0, -6.0]))
    (array([ 0.75, -1.5 ]), array([4.]))
    """
    xp = backend.namespace(x)
    largest = xp.max(xp.abs(x), axis=axis, keepdims=True)
    # the gap to the next smaller number is eps / 2 or eps times a power of two, by the definition
    # of eps: no logarithm, whose rounding differs between libraries
    gap = largest - xp.nextafter(largest, xp.zeros_like(largest))
    p = gap / float(xp.finfo(x.dtype).eps)
    p = xp.where(xp.logical_and(p > 0.0, xp.isfinite(p)), p, xp.ones_like(p))
    return x / p, p


def norm(x):
    """Return the Euclidean norm over the last axis, kept: (..., m) -> (..., 1).

    Examples
    --------
    >>> import numpy as np
    >>> norm(np.array([3e-30, 4e-30], np.float32))
    array([5.e-30], dtype=float32)
    """
    xp = backend.namespace(x)
    y, p = rescaled(x)
    return p * xp.sqrt(xp.sum(y * y, axis=-1, keepdims=True))


def unit(x):
    """Return x / ||x|| over the last axis, or 0 where x is 0: (..., m) -> (..., m).

    Examples
    --------
    >>> import numpy as np
    >>> unit(np.array([3.0, -4.0])), unit(np.zeros(2))
    (array([ 0.6, -0.8]), array([0., 0.]))
    """
    xp = backend.namespace(x)
    length = norm(x)
    return x / xp.where(length > 0.0, length, xp.ones_like(length))


def rms(x: Array, axis: int | None = -1) -> Array:
    """Return the root mean square over the last axis (``None``: all), kept: (..., m) -> (..., 1).

    Examples
    --------
    >>> import numpy as np
    >>> rms(np.array([[1.0, -7.0], [3.0, 3.0]]))
    array([[5.],
           [3.]])
    """
    xp = backend.namespace(x)
    y, p = rescaled(x, axis)
    return p * xp.sqrt(xp.mean(y * y, axis=axis, keepdims=True))

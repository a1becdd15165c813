"""Functions that the array API does not have, from those that it has."""

from functools import cache
from math import erfc, log

import numpy as np

from . import backend

LARGEST = 6.0  # erf is 1 to rounding from here on
DEGREE = 20  # of the polynomial in `erf`, which is then good to rounding


def sigmoid(x):
    """Return 1 / (1 + exp(-x)), which cannot overflow and is exact to rounding at both ends.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    xp = backend.namespace(x)
    # x >= 0: 1 / (1 + e^-x);  x < 0: e^x / (1 + e^x)
    small = xp.abs(x)
    small *= -1.0
    small = backend.into(small, xp.exp, small)
    # e^-|x| is at most 1: a maximum chooses like `where`, and many times faster
    y = xp.maximum(small, xp.astype(x >= 0.0, x.dtype))
    small += 1.0
    y /= small
    return y


def silu(x):
    """Return x sigmoid(x) and sigmoid(x), of which `silu_slope` makes the derivative.

    Examples
    --------
    >>> silu(np.array([0.0, 1000.0]))
    (array([   0., 1000.]), array([0.5, 1. ]))
    """
    s = sigmoid(x)
    return x * s, s


def silu_slope(y, s):
    """Return silu'(x) = s (1 + x (1 - s)) = s + y (1 - s), for y = x s and s = sigmoid(x).

    Examples
    --------
    >>> silu_slope(*silu(np.array([0.0, 1000.0])))
    array([0.5, 1. ])
    """
    slope = 1.0 - s
    slope *= y
    slope += s
    return slope


def softplus(x):
    """Return log(1 + e^x), which cannot overflow; its derivative is sigmoid(x) = 1 - e^-y.

    Examples
    --------
    >>> softplus(np.array([-1000.0, 0.0, 1000.0])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+03])
    """
    xp = backend.namespace(x)
    # max(x, 0) + log(1 + e^-|x|)
    y = xp.abs(x)
    y *= -1.0
    y = backend.into(y, xp.log1p, backend.into(y, xp.exp, y))
    y += xp.maximum(x, 0.0)
    return y


@cache
def _coefficients():
    # of p in erfc(z) = t exp(-z^2 + p(t)), t = 2 / (2 + z), for 0 <= z <= LARGEST: p is smooth, and
    # interpolated at Chebyshev's points; powers of s in [-1, 1], highest first
    low = 2.0 / (2.0 + LARGEST)

    def value(s):
        t = 0.5 * ((1.0 - low) * s + 1.0 + low)
        z = 2.0 / t - 2.0
        return log(erfc(z) / t) + z * z

    series = np.polynomial.Chebyshev.interpolate(np.vectorize(value), DEGREE)
    return tuple(float(c) for c in series.convert(kind=np.polynomial.Polynomial).coef[::-1])


def erf(x):
    """Return erf(x) = 2 / sqrt(pi) int_0^x exp(-z^2) dz, 1e-15 off at most in float64.

    Examples
    --------
    >>> erf(np.array([-1.0, 0.5, 9.0])).round(6)
    array([-0.842701,  0.5205  ,  1.      ])
    """
    xp = backend.namespace(x)
    z = xp.clip(xp.abs(x), 0.0, LARGEST)
    t, low = 2.0 / (2.0 + z), 2.0 / (2.0 + LARGEST)
    s = (2.0 * t - (1.0 + low)) / (1.0 - low)
    highest, *others = _coefficients()
    p = highest * s
    for c in others[:-1]:
        p = (p + c) * s
    p += others[-1]
    # erf(|x|) = 1 - erfc(|x|)
    return xp.sign(x) * (1.0 - t * xp.exp(p - z * z))

"""Laws of the perturbation u: independent coordinates, zero mean, unit variance, symmetric.

Two densities of each law decide what a zeroth-order estimator computes:

* ``pdf`` p, the density of u itself: E[h(x + eps u)] is h smoothed with p;
* ``zero_bias_pdf`` q(z) = integral_z^inf s p(s) ds: the two-point estimator with i.i.d.
  coordinates averages to a gradient smoothed with *q*, not with p. Only for the Gaussian are the
  two equal.

References
----------
L. Goldstein and G. Reinert, "Stein's method and the zero bias transformation with application to
simple random sampling", Annals of Applied Probability, 1997 (the zero-bias law).
J. C. Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
approximation", IEEE Transactions on Automatic Control, 1992 (SPSA).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Annotated, NamedTuple

import numpy as np

from . import backend
from .settings import Settings
from .surrogates import Surrogate

__all__ = [
    "Design",
    "LAWS",
    "LOGISTIC_EPSBAR",
    "Law",
    "law_for",
]


def __dir__():
    return __all__


LOGISTIC_EPSBAR = pi / sqrt(12.0)


@dataclass(frozen=True)
class Law(Settings):
    """A unit-variance symmetric law with its sampler and densities.

    Attributes
    ----------
    name : str
    sample : callable
        ``sample(stream, out)`` fills the ndarray ``out`` from a `minizo.rng.Stream` and returns
        it. Costs one random number an entry.
    pdf : callable or None
        Density p of u, elementwise; ``None`` where there is none (Rademacher).
    zero_bias_pdf : callable
        Density q of the zero-bias law, elementwise.
    kurtosis : float
        kappa = E[u^4]; the zero-bias law has variance kappa / 3.
    score : callable or None
        psi = -p' / p, elementwise: the two-point estimator with the factor psi(u) instead of u
        averages to the gradient smoothed with p. ``None`` if E[psi^2] is infinite, if p does not
        vanish at the ends of its support, or if there is no p.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> law = LAWS["rademacher"]
    >>> law.sample(rng.at(0, "noise", 0, 0), np.empty(6)), law.kurtosis
    (array([-1.,  1., -1., -1.,  1., -1.]), 1.0)
    >>> LAWS["gaussian"].zero_bias_pdf(np.zeros(1)) == LAWS["gaussian"].pdf(np.zeros(1))
    array([ True])
    """

    name: str
    sample: Callable
    pdf: Callable | None
    zero_bias_pdf: Callable
    kurtosis: Annotated[float, "[1, inf)"]
    score: Callable | None = None


def _gaussian_score(z):
    # psi(z) = z
    return z


def _rademacher(stream, out):
    # u = sign(c) = +-1 with probability 1/2 each; c is never 0, so neither is u
    stream.uniform(out)
    out[...] = backend.namespace(out).sign(out)
    return out


def _rademacher_q(z):
    xp = backend.namespace(z)
    return 0.5 * xp.astype(xp.abs(z) <= 1.0, z.dtype)


def _uniform(stream, out):
    # u = sqrt(3) c,  c = 2 p - 1
    stream.uniform(out)
    out *= sqrt(3.0)
    return out


def _uniform_p(z):
    xp = backend.namespace(z)
    return xp.astype(xp.abs(z) <= sqrt(3.0), z.dtype) / (2.0 * sqrt(3.0))


def _uniform_q(z):
    xp = backend.namespace(z)
    # q(z) = (3 - z^2)_+ / (4 sqrt 3): the Epanechnikov window, a parabola and not a box
    return xp.clip(3.0 - z * z, 0.0, None) / (4.0 * sqrt(3.0))


def _logistic(stream, out):
    # u = atanh(c) / epsbar
    stream.uniform(out)
    out[...] = backend.namespace(out).atanh(out) / LOGISTIC_EPSBAR
    return out


def _logistic_p(z):
    xp = backend.namespace(z)
    # p(z) = epsbar (1 - tanh^2(epsbar z)) / 2
    return 0.5 * LOGISTIC_EPSBAR * (1.0 - xp.tanh(LOGISTIC_EPSBAR * z) ** 2)


def _logistic_q(z):
    xp = backend.namespace(z)
    s = sqrt(3.0) / pi
    a = xp.abs(z)
    tail = xp.exp(-a / s)
    # q(z) = a / (1 + e^(a/s)) + s ln(1 + e^(-a/s)), a = |z|, written so that nothing overflows
    return a * tail / (1.0 + tail) + s * xp.log1p(tail)


def _logistic_score(z):
    # psi(z) = tanh(z / (2 s)) / s,  1 / (2 s) = epsbar
    return 2.0 * LOGISTIC_EPSBAR * backend.namespace(z).tanh(LOGISTIC_EPSBAR * z)


def _laplace(stream, out):
    xp = backend.namespace(out)
    # u = -b sign(c) log(1 - |c|),  b = 1 / sqrt 2
    stream.uniform(out)
    out *= -xp.log1p(-xp.abs(out)) / (sqrt(2.0) * xp.abs(out))
    return out


def _laplace_p(z):
    xp = backend.namespace(z)
    # p(z) = e^(-|z| / b) / (2 b)
    return xp.exp(-sqrt(2.0) * xp.abs(z)) / sqrt(2.0)


def _laplace_q(z):
    xp = backend.namespace(z)
    # q(z) = (|z| + b) e^(-|z| / b) / 2
    a = xp.abs(z)
    return 0.5 * (a + 1.0 / sqrt(2.0)) * xp.exp(-sqrt(2.0) * a)


def _laplace_score(z):
    # psi(z) = sign(z) / b
    return sqrt(2.0) * backend.namespace(z).sign(z)


def _triangular(stream, out):
    xp = backend.namespace(out)
    # u = sign(c) sqrt(6) (1 - sqrt(1 - |c|)) = sqrt(6) c / (1 + sqrt(1 - |c|)): both branches of
    # the inverse at once, and without cancellation
    stream.uniform(out)
    out *= sqrt(6.0) / (1.0 + xp.sqrt(1.0 - xp.abs(out)))
    return out


def _triangular_p(z):
    xp = backend.namespace(z)
    # p(z) = (sqrt 6 - |z|)_+ / 6
    return xp.clip(sqrt(6.0) - xp.abs(z), 0.0, None) / 6.0


def _triangular_q(z):
    xp = backend.namespace(z)
    a = xp.clip(xp.abs(z), 0.0, sqrt(6.0))
    # q(z) = (sqrt 6 - sqrt 6 a^2 / 2 + a^3 / 3) / 6, a = |z| <= sqrt 6
    return (sqrt(6.0) - sqrt(6.0) * a * a / 2.0 + a**3 / 3.0) / 6.0


def _gaussian(stream, out):
    return stream.normal(out)


def _gaussian_p(z):
    xp = backend.namespace(z)
    return xp.exp(-0.5 * z * z) / sqrt(2.0 * pi)


LAWS = {
    law.name: law
    for law in (
        Law("rademacher", _rademacher, None, _rademacher_q, 1.0),
        Law("uniform", _uniform, _uniform_p, _uniform_q, 1.8),
        Law("triangular", _triangular, _triangular_p, _triangular_q, 2.4),
        Law("gaussian", _gaussian, _gaussian_p, _gaussian_p, 3.0, _gaussian_score),
        Law("logistic", _logistic, _logistic_p, _logistic_q, 4.2, _logistic_score),
        Law("laplace", _laplace, _laplace_p, _laplace_q, 6.0, _laplace_score),
    )
}


# Design: the law that a surrogate asks for

NEAREST, FARTHEST, CELLS = 1e-5, 1e3, 400_001  # the grid of |x|, geometric


class Design(NamedTuple):
    """Result of `law_for`.

    law : Law or None
        Law of u, if there is one.
    epsbar : float or None
        Standard deviation of the noise, in units of half the distance between the two levels.
    why : str
        Reason why there is none; otherwise empty.
    gain : float
        Half of the surrogate's total rise, 1 for most: estimates of a sign average to its slope
        divided by the gain.
    """

    law: Law | None
    epsbar: float | None
    why: str
    gain: float = 1.0


def law_for(surrogate: Surrogate) -> Design:
    """Design the law whose two-point estimator averages to a surrogate's slope, if there is one.

    For a sign, E[G] = 2 q(x / epsbar) / epsbar with q the zero-bias density of the law (not its own
    density p). Asking that this is value'(x) / gain, with s = value' / (2 gain) of area 1,

        p(z) = -epsbar^2 s'(epsbar z) / z,    1 / epsbar^2 = integral of -s'(x) / x dx

    which is a density if and only if s has an area, never rises with |x|, and -s'(x) / x can be
    integrated at 0. Its variance is then 1. hardtanh, whose slope falls at +-1 only, asks for
    Rademacher numbers; a slope with a corner at 0 (ApproxSign) asks for p ~ 1 / |z|: impossible.

    Parameters
    ----------
    surrogate : minizo.surrogates.Surrogate

    Returns
    -------
    Design
        One of `LAWS` if it fits; otherwise a law that samples from a table on the host, with p by
        central differences. The grid covers 1e-5 to 1e3; integrals are accurate to 1e-3.

    Examples
    --------
    >>> from minizo.surrogates import SURROGATES
    >>> design = law_for(SURROGATES["hardtanh"])
    >>> design.law.name, round(design.epsbar, 3)
    ('rademacher', 1.0)
    >>> law_for(SURROGATES["approxsign"]).why
    'its slope has a corner at 0, and 1 / |z| cannot be normalised'
    """
    grid = np.geomspace(NEAREST, FARTHEST, CELLS)
    middle = np.sqrt(grid[1:] * grid[:-1])
    slope = surrogate.derivative(grid)
    if slope[-1] > 1e-3 * slope[0]:
        return Design(None, None, "its slope does not vanish far out, and a sign jumps once")
    middles = 0.5 * (slope[1:] + slope[:-1])
    gain = float(NEAREST * slope[0] + np.sum(np.diff(grid) * middles))
    s = 0.5 * slope / gain
    falls = s[:-1] - s[1:]
    if np.any(falls < -1e-12):
        return Design(None, None, "its slope rises with |x|, which asks for a negative density")
    # integral of -s'(x) / x: what each cell holds, for both signs of x
    mass = 2.0 * np.clip(falls, 0.0, None) / middle
    inner, outer = (float(np.sum(mass[(middle > a) & (middle < 10.0 * a)])) for a in (1e-5, 1e-3))
    if inner > 0.5 * outer and inner > 1e-3:
        return Design(None, None, "its slope has a corner at 0, and 1 / |z| cannot be normalised")
    epsbar = 1.0 / sqrt(float(np.sum(mass)))
    for law in LAWS.values():
        gap = np.abs(epsbar * s - law.zero_bias_pdf(grid / epsbar))
        if float(np.sum(np.diff(grid) * gap[1:])) / epsbar < 1e-3:
            return Design(law, epsbar, "", gain)
    return Design(_tabulated(surrogate, epsbar, gain, middle, mass), epsbar, "", gain)


def _tabulated(surrogate, epsbar, gain, x, mass):
    def zero_bias(z):
        return 0.5 * epsbar / gain * surrogate.derivative(epsbar * z)

    def density(z, step=1e-4):
        # p(z) = -q'(z) / z; at 0 its limit, taken beside it
        a = backend.namespace(z).maximum(backend.namespace(z).abs(z), step * (z * 0.0 + 1.0))
        return -(zero_bias(a + 0.5 * step) - zero_bias(a - 0.5 * step)) / (step * a)

    share = np.cumsum(mass) / np.sum(mass)  # P(|u| <= x / epsbar)
    size = x / epsbar
    kurtosis = float(np.sum(mass * size**4) / np.sum(mass))

    def sample(stream, out):
        # |c| is uniform on (0, 1), and its sign is u's
        c = backend.to_numpy(stream.uniform(out))
        u = np.copysign(np.interp(np.abs(c), share, size), c)
        out[...] = backend.asarray(u, out, dtype=out.dtype)
        return out

    return Law(f"for {surrogate.name}", sample, density, zero_bias, kurtosis)

"""Laws of the perturbation u: independent coordinates, zero mean, unit variance, symmetric.

Each law also knows the two densities that matter for what a zeroth-order estimator computes:

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

from . import backend

LOGISTIC_EPSBAR = pi / sqrt(12.0)


@dataclass(frozen=True)
class Law:
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
    """

    name: str
    sample: Callable
    pdf: Callable | None
    zero_bias_pdf: Callable
    kurtosis: float


def _rademacher(stream, out):
    # u = sign(c) = +-1 with probability 1/2 each; c is never 0, so neither is u
    stream.uniform(out)
    return backend.into(out, backend.namespace(out).sign, out)


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
    backend.into(out, backend.namespace(out).atanh, out)
    out /= LOGISTIC_EPSBAR
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
        Law("gaussian", _gaussian, _gaussian_p, _gaussian_p, 3.0),
        Law("logistic", _logistic, _logistic_p, _logistic_q, 4.2),
    )
}

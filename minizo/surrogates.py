"""Surrogates: the smooth functions whose derivative the STE puts in place of the quantiser's.

Each one is stated for the unit sign, h(x) = sign(x), and says which noise turns the one into the
other:  E[h(x + epsbar u)] = value(x)  with u of the unit-variance ``law``. The scaled and summed
forms for a k-bit quantiser are built in `minizo.quantizers`.

References
----------
Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic
neurons for conditional computation", 2013 (identity).
I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio, "Binarized neural networks",
NeurIPS 2016 (hardtanh).
Z. Liu et al., "Bi-Real Net", ECCV 2018 (ApproxSign).
N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order information",
NeurIPS 2025 (each of them as a smoothing).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

from . import backend


@dataclass(frozen=True)
class Surrogate:
    """A smooth stand-in for sign(x).

    Attributes
    ----------
    name : str
    value : callable
        value(x), elementwise: ndarray -> ndarray of the same shape and dtype.
    derivative : callable
        d value / dx, elementwise; at a kink the derivative from the right.
    law : str
        Name of the law in `minizo.laws` that this surrogate implies.
    epsbar : float or None
        Standard deviation of the noise, in units of half the distance between the two levels;
        None where no noise of one size turns the sign into this surrogate.
    schedule : callable or None
        schedule(progress), the surrogate at that point of a run; None for one that stays.
    """

    name: str
    value: Callable
    derivative: Callable
    law: str = "uniform"
    epsbar: float | None = None
    schedule: Callable | None = None

    def at(self, progress):
        """This surrogate when the part ``progress`` in [0, 1] of a run is over."""
        return self if self.schedule is None else self.schedule(progress)


def _identity(x):
    return backend.namespace(x).asarray(x, copy=True)


def _identity_derivative(x):
    return backend.namespace(x).ones_like(x)


def _hardtanh(x):
    # value(x) = clip(x, -1, 1)
    return backend.namespace(x).clip(x, -1.0, 1.0)


def _hardtanh_derivative(x):
    xp = backend.namespace(x)
    # value'(x) = 1 if -1 <= x < 1, else 0: half open, as the steps of a quantiser are, so that the
    # boxes of neighbouring steps add up to exactly 1 where they touch
    return xp.astype(xp.logical_and(x >= -1.0, x < 1.0), x.dtype)


def _tanh(x):
    return backend.namespace(x).tanh(x)


def _tanh_derivative(x):
    # value'(x) = 1 - tanh^2 x
    return 1.0 - backend.namespace(x).tanh(x) ** 2


def _approxsign(x):
    xp = backend.namespace(x)
    # value(x) = 2 x - x |x| on [-1, 1], sign(x) outside
    c = xp.clip(x, -1.0, 1.0)
    return c * (2.0 - xp.abs(c))


def _approxsign_derivative(x):
    xp = backend.namespace(x)
    # value'(x) = 2 (1 - |x|)_+
    return 2.0 * xp.clip(1.0 - xp.abs(x), 0.0, None)


SURROGATES = {
    surrogate.name: surrogate
    for surrogate in (
        # No noise turns a sign into the unbounded x. Of a staircase without ends, round(x), the
        # identity is the exact smoothing, and the noise is hardtanh's: between two levels the two
        # surrogates are the same straight line.
        Surrogate("identity", _identity, _identity_derivative, "uniform", 1 / sqrt(3.0)),
        Surrogate("hardtanh", _hardtanh, _hardtanh_derivative, "uniform", 1 / sqrt(3.0)),
        Surrogate("tanh", _tanh, _tanh_derivative, "logistic", pi / sqrt(12.0)),
        Surrogate("approxsign", _approxsign, _approxsign_derivative, "triangular", 1 / sqrt(6.0)),
    )
}

"""Surrogates: smooth functions whose derivative replaces the quantiser's in the STE.

Each surrogate is stated for the unit sign h(x) = sign(x), together with the noise that turns the
sign into it:  gain E[h(x + epsbar u)] = value(x)  with u drawn from the unit-variance ``law``.
`minizo.quantizers` builds the scaled and summed forms for k-bit quantisers.

A surrogate whose derivative is nonnegative and of finite area is a smoothing of the sign by noise
of density value'(x) / (2 gain), whether or not that density is one of `minizo.laws`
(`python -m minizo.gallery` draws them).

References
----------
Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic
neurons for conditional computation", 2013 (identity).
I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio, "Binarized neural networks",
NeurIPS 2016 (hardtanh).
Z. Liu et al., "Bi-Real Net", ECCV 2018 (ApproxSign).
S. Darabi, M. Belbahri, M. Courbariaux, V. P. Nia, "Regularized binary network training", 2018
(SwishSign).
H. Qin et al., "Forward and backward information retention for accurate binary neural networks",
CVPR 2020 (EDE). M. Lin et al., "Rotated binary neural network", NeurIPS 2020 (rbnn). X.-M. Wu et
al., "Estimator meets equilibrium perspective", ICCV 2023 (ReSTE). Y. Xu et al., "Learning frequency
domain approximation for binary neural networks", NeurIPS 2021 (FDA).
N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order information",
NeurIPS 2025 (each of them as a smoothing).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, log10, pi, sin, sqrt

from . import backend
from .settings import Positive, Settings, real

__all__ = [
    "SURROGATES",
    "Surrogate",
    "ede",
    "fda",
    "geometric",
    "rbnn",
    "rbnn_activation",
    "reste",
]


def __dir__():
    return __all__


@dataclass(frozen=True)
class Surrogate(Settings):
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
        None if no noise of a single size turns the sign into this surrogate.
    schedule : callable or None
        schedule(progress) is the surrogate at that point of a run; None if it stays the same. The
        other attributes of a scheduled surrogate hold at the start of the run.
    gain : float
        The value far to the right.

    Examples
    --------
    >>> import numpy as np
    >>> x, hardtanh = np.array([-2.0, 0.5, 1.0]), SURROGATES["hardtanh"]
    >>> hardtanh.value(x), hardtanh.derivative(x)
    (array([-1. ,  0.5,  1. ]), array([0., 1., 0.]))
    >>> hardtanh.law, round(hardtanh.epsbar, 3)
    ('uniform', 0.577)
    >>> SURROGATES["ede"].at(1.0).gain  # a scheduled surrogate, at the end of a run
    1.0
    """

    name: str
    value: Callable
    derivative: Callable
    law: str = "uniform"
    epsbar: Positive | None = None
    schedule: Callable | None = None
    gain: Positive = 1.0

    def at(self, progress: float) -> "Surrogate":
        """Return this surrogate at the point ``progress`` in [0, 1] of a run."""
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


def _swish(x, beta=5.0):
    xp = backend.namespace(x)
    # value(x) = 2 sigma(b x) (1 + b x (1 - sigma(b x))) - 1 = t + b x (1 - t^2) / 2,
    # t = tanh(b x / 2), which passes 1 and comes back
    x = xp.clip(x, -10.0, 10.0)  # where it is +-1 to every digit: nothing overflows further out
    t = xp.tanh(0.5 * beta * x)
    return t + 0.5 * beta * x * (1.0 - t * t)


def _swish_derivative(x, beta=5.0):
    xp = backend.namespace(x)
    # value'(x) = b (2 - b x tanh(b x / 2)) / (1 + cosh(b x)),  1 / (1 + cosh) = (1 - t^2) / 2
    x = xp.clip(x, -10.0, 10.0)
    t = xp.tanh(0.5 * beta * x)
    return 0.5 * beta * (2.0 - beta * x * t) * (1.0 - t * t)


def geometric(start: float, end: float, progress: float) -> float:
    """Return start (end / start)^progress.

    >>> geometric(0.1, 10.0, 0.5)
    1.0
    """
    progress = real("progress", progress, "[0, 1]")
    return 10.0 ** (log10(start) + progress * log10(end / start))


def ede(progress: float) -> Surrogate:
    """Return k tanh(t x), t from 0.1 to 10, k = max(1/t, 1): from the identity to the sign."""
    t = geometric(0.1, 10.0, progress)
    k = max(1.0 / t, 1.0)

    def value(x):
        return k * backend.namespace(x).tanh(t * x)

    def derivative(x):
        # value'(x) = k t (1 - tanh^2(t x))
        return k * t * (1.0 - backend.namespace(x).tanh(t * x) ** 2)

    return Surrogate("ede", value, derivative, "logistic", pi / sqrt(12.0) / t, ede, k)


def _tent(name, schedule, t, k):
    # value'(x) = max(k (sqrt2 t - t^2 |x|), 0): a triangle on |x| <= c = sqrt2 / t
    c = sqrt(2.0) / t

    def value(x):
        # value(x) = k approxsign(x / c)
        return k * _approxsign(x / c)

    def derivative(x):
        return k / c * _approxsign_derivative(x / c)

    return Surrogate(name, value, derivative, "triangular", c / sqrt(6.0), schedule, k)


def rbnn(progress: float) -> Surrogate:
    """Return the surrogate of slope max(k (sqrt2 t - t^2 |x|), 0).

    t grows from 0.01 to 10 over the run, and k = max(1/t, 1).
    """
    t = geometric(0.01, 10.0, progress)
    return _tent("rbnn", rbnn, t, max(1.0 / t, 1.0))


def rbnn_activation(progress: float) -> Surrogate:
    """Return `rbnn` for activations: k = 1, t at least 1."""
    t = max(1.0, geometric(0.01, 10.0, progress))
    return _tent("rbnn-activation", rbnn_activation, t, 1.0)


def reste(progress: float, last: float = 3.0, low: float = 0.1, high: float = 1.5) -> Surrogate:
    """Return sign(x) |x|^(1/o), its slope constant on |x| <= 0.1 and 0 beyond 1.5.

    o = 1 + (1 - cos(pi/2 progress)) (last - 1): the clipped identity at the start.
    """
    progress = real("progress", progress, "[0, 1]")
    o = 1.0 + (1.0 - cos(0.5 * pi * progress)) * (last - 1.0)
    steep = low ** (1.0 / o) / low

    def value(x):
        xp = backend.namespace(x)
        a = xp.clip(xp.abs(x), None, high)
        # a chord below low, where the slope of the power has no bound
        power = xp.clip(a, low, None) ** (1.0 / o)
        return xp.sign(x) * xp.where(a <= low, steep * a, power)

    def derivative(x):
        xp = backend.namespace(x)
        a = xp.abs(x)
        # value'(x) = |x|^(1/o - 1) / o
        power = xp.clip(a, low, None) ** (1.0 / o - 1.0) / o
        slope = xp.where(a <= low, xp.zeros_like(a) + steep, power)
        return slope * xp.astype(a <= high, x.dtype)

    return Surrogate("reste", value, derivative, schedule=reste, gain=high ** (1.0 / o))


def fda(progress: float, omega: float = 0.1) -> Surrogate:
    """Return 4/pi sum_{i<=n} sin((2i+1) w x)/(2i+1) on |x| <= 1, the sign's Fourier series.

    n grows from 9 to 18 over the run. With w = 0.1 the series is a square wave of period 20 pi, of
    which one jump is used.
    """
    n = 9 + int(9 * real("progress", progress, "[0, 1]"))

    def value(x):
        xp = backend.namespace(x)
        c = omega * xp.clip(x, -1.0, 1.0)
        return 4.0 / pi * sum(xp.sin((2 * i + 1) * c) / (2 * i + 1) for i in range(n + 1))

    def derivative(x):
        xp = backend.namespace(x)
        # 4 w/pi sum_{i<=n} cos((2i+1) w x) = 2 w/pi sin(2 (n+1) w x) / sin(w x), 2 (n+1) at 0
        c = omega * xp.clip(x, -1.0, 1.0)
        below = xp.sin(c)
        zero = below == 0.0
        ratio = xp.sin(2 * (n + 1) * c) / xp.where(zero, xp.ones_like(x), below)
        slope = 2.0 * omega / pi * xp.where(zero, xp.zeros_like(x) + 2.0 * (n + 1), ratio)
        return slope * xp.astype(xp.abs(x) <= 1.0, x.dtype)

    end = 4.0 / pi * sum(sin((2 * i + 1) * omega) / (2 * i + 1) for i in range(n + 1))
    return Surrogate("fda", value, derivative, schedule=fda, gain=end)


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
        Surrogate("swish", _swish, _swish_derivative),
        *(scheduled(0.0) for scheduled in (ede, rbnn, rbnn_activation, reste, fda)),
    )
}

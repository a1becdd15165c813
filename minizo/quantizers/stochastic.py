"""Stochastic binary weights."""

from dataclasses import dataclass
from math import sqrt

from .. import backend
from ..errors import require
from ..rng import Stream
from ..types import Array, Arrays, Scale, Shape
from .base import InitialScale, sign

IN_USE = ("real", "sign")


@dataclass(frozen=True)
class Stochastic(InitialScale):
    """Q(x) = alpha with probability clip((x/alpha + 1)/2, 0, 1), else -alpha; E[Q] = clip(x).

    It is computed as alpha sign(x/alpha + c), c uniform on (-1, 1) and drawn for every batch. The
    noise belongs to the batch, so F(theta; batch) is a function, and all directions of a
    zeroth-order estimator see the same c.

    Parameters
    ----------
    surrogate : str
        identity, as in stochastic BinaryConnect: dx = dw. The derivative of E[Q] is hardtanh's.
    in_use : {"real", "sign"}
        Weights outside training: the latent weights, clipped (the paper), or alpha sign(x).
    alpha_scale
        As in `InitialScale`: alpha = alpha_scale sqrt(3) RMS(w).

    Notes
    -----
    sqrt(3) RMS of the initial weights is the end of their interval if they are uniform, as
    is the Glorot H of the authors' code. The authors also clip the latent weights to +-alpha after
    each step: use the estimator `BinaryConnect` with ``clip=1``.

    References
    ----------
    M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect: training deep neural networks with
    binary weights during propagations", NeurIPS 2015, equations 2 and 3, section 2.6.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> q, x = Stochastic(), np.full(10_000, 0.5)
    >>> scale = {"alpha": np.ones(1)} | q.noise(rng.at(0, "noise", 0), x.shape, x)
    >>> w = q.quantize(x, scale)
    >>> np.unique(w), w.mean().round(1)
    (array([-1.,  1.]), np.float64(0.5))
    """

    in_use: str = "real"
    random = ("coins",)
    levels = 2
    rms_factor = sqrt(3.0)

    def __post_init__(self):
        super().__post_init__()
        require(self.in_use in IN_USE, "in_use", self.in_use, f"choose from {IN_USE}")

    @property
    def epsbar(self) -> float | None:
        """Standard deviation of the noise in units of alpha."""
        return None if self.scheduled else self.curve.epsbar

    def noise(self, stream: Stream, shape: Shape, like: Array) -> Arrays:
        """Draw c, one number a weight."""
        return {"coins": stream.uniform(backend.empty(shape, like))}

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x), or the weights in use where no coins are given; see `Quantizer`."""
        xp = backend.namespace(x)
        given = isinstance(scale, dict)
        alpha = scale["alpha"] if given else scale
        if given and "coins" in scale:
            # Q(x) = alpha sign(x/alpha + c)
            return alpha * sign(x / alpha + scale["coins"])
        if self.in_use == "sign":
            return alpha * sign(x)
        return xp.minimum(xp.maximum(x, -alpha), alpha)

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return E[Q(x)] for hardtanh: alpha s(x/alpha)."""
        alpha = scale["alpha"] if isinstance(scale, dict) else scale
        return alpha * self.curve.value(x / alpha)

    def derivative(self, x: Array, scale: Scale) -> Array | None:
        """Return s'(x/alpha); ``None`` for the identity."""
        alpha = scale["alpha"] if isinstance(scale, dict) else scale
        return None if self.surrogate == "identity" else self.curve.derivative(x / alpha)

"""QuantNet, an approximation of it: a small network maps weights to nearly binary ones."""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from .. import backend
from ..rng import Stream
from ..settings import Positive
from ..types import Array, Arrays, Scale, Shape, Shapes
from .base import InitialScale, sign


@dataclass(frozen=True)
class QuantNet(InitialScale):
    """Q(x) = alpha u,  u = tanh(z + V2 tanh(V1 z)),  z = x/alpha; in use Q(x) = alpha sign(u).

        du = alpha dw,  dy = du (1 - u^2),  da = (V2^T dy) (1 - tanh^2(V1 z))
        dx = (dy + V1^T da) / alpha,  dV2 = dy tanh(V1 z)^T,  dV1 = da z^T      summed over the z
        R(w) = lam (t/T) mean((|w/alpha| - 1)^2), added to the loss in training

    No straight-through rule is needed: training is by the exact gradient of a differentiable map,
    and R, which grows over a run, takes |u| to 1, so that little changes when the sign is taken.

    **An approximation, whose results are not QuantNet's.** Of the method we know what its abstract
    says: a shared network maps weights to nearly binary ones without an estimator of gradients, and
    a measure is taken against the error of discretisation. The form of the map, its residual z, its
    width and start, what shares it, alpha, the form of R and its linear growth are guesses.

    Parameters
    ----------
    expand : float
        Hidden units for each number that the network reads, at least one in all.
    lam : float
        Weight of R at the end of a run, at least 0.
    per : {"layer", "filter"}
        What the network reads: with "layer" one weight at a time, g = 1; with "filter" all weights
        of an output together, g = n. All weights of a layer share it, and those of a layer or of a
        filter a scale.
    alpha_scale
        As in `InitialScale`; as for `Sign`, alpha is sqrt(2/pi) RMS of the initial weights.

    Notes
    -----
    V1 (r, g) and V2 (g, r), r = expand g, start uniform on +-1/sqrt(inputs) and are trained by the
    optimiser of the network. Cost in addition to the network's: 2 r multiply-accumulates a weight
    and use, which are not counted, and r numbers a weight of memory (r/n with "filter"). Accuracies
    and losses that a run records are those of the binary weights, without R; `Objective.evaluate`
    and every estimator see the soft weights and R. Running statistics of batch normalisation are
    those of the soft weights. At the end of a run |u| jumps to 1 from wherever R has taken it.

    References
    ----------
    J. Liu, D. Wen, D. Wang, W. Tao, T.-W. Chen, K. Osa, M. Kato, "QuantNet: learning to quantize by
    learning within fully differentiable framework", ECCV 2020 workshops, arXiv 2009.04626 (its
    abstract).

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> q, x = QuantNet(), np.array([0.1, 0.3, -0.8])
    >>> scale = {"alpha": q.scale(x)} | q.init(x, rng.at(0, "beside", 0))
    >>> training, in_use = q.quantize(x, scale), q.at(1.0).quantize(x, scale)
    >>> len(np.unique(np.abs(training))), len(np.unique(np.abs(in_use)))
    (3, 1)
    """

    surrogate: str = field(default="identity", repr=False)  # it has no effect
    expand: Positive = 4.0
    lam: Annotated[float, "[0, inf)"] = 1.0
    rms_factor = (2.0 / np.pi) ** 0.5
    pointwise = False
    diagonal = False
    levels = None
    scheduled = True
    soft = True

    def shapes(self, shape: Shape) -> Shapes:
        """Return the shapes of V1 (r, g) and V2 (g, r)."""
        g = shape[-1] if self.by_filter else 1
        r = max(1, round(self.expand * g))
        return {"V1": (r, g), "V2": (g, r)}

    def init(self, w: Array, stream: Stream) -> Arrays:
        """Draw V1 and V2 uniformly on +-1/sqrt(inputs)."""
        return {
            name: stream.child(i).uniform(np.empty(shape)) / shape[1] ** 0.5
            for i, (name, shape) in enumerate(self.shapes(w.shape).items())
        }

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x): soft weights, and binary ones at the end of a run."""
        u = self._forward(x, scale)[-1]
        return scale["alpha"] * (sign(u) if self.progress >= 1.0 else u)

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return alpha u."""
        return scale["alpha"] * self._forward(x, scale)[-1]

    def _forward(self, x, scale):
        # what the network reads (..., K, g), its hidden units (..., K, r), and u like x
        xp, turn = backend.namespace(x), backend.namespace(x).matrix_transpose
        z = x / scale["alpha"]
        # a weight at a time: (..., m) -> (..., m, 1); a filter: (..., F, n) as it is
        read = z if self.by_filter else z[..., None]
        h = xp.tanh(read @ turn(scale["V1"]))
        # u = tanh(z + V2 tanh(V1 z))
        u = xp.tanh(read + h @ turn(scale["V2"]))
        return read, h, xp.reshape(u, x.shape)

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx and the gradients of the network; see `Quantizer`."""
        xp, turn = backend.namespace(x), backend.namespace(x).matrix_transpose
        read, h, u = self._forward(x, scale)
        # dy = alpha dw (1 - u^2);  da = (V2^T dy) (1 - h^2)
        dy = xp.reshape(scale["alpha"] * dw * (1.0 - u * u), read.shape)
        da = (dy @ scale["V2"]) * (1.0 - h * h)
        dx = xp.reshape(dy + da @ scale["V1"], x.shape) / scale["alpha"]
        return dx, {"V1": turn(da) @ read, "V2": turn(dy) @ h}

    def penalty(self, w: Array, alpha: Array) -> tuple[Array, Array]:
        """Return R(w) and dR/dw; see `Quantizer.penalty`."""
        xp, rows = backend.namespace(w), (-2, -1) if self.by_filter else (-1,)
        u = w / alpha
        count = u.shape[-1] * (u.shape[-2] if self.by_filter else 1)
        # R = lam t/T mean((|u| - 1)^2),  dR/dw = 2 lam t/T (|u| - 1) sign(u) / (N alpha)
        lam, gap = self.lam * self.progress, xp.abs(u) - 1.0
        return lam * xp.mean(gap * gap, axis=rows), (2.0 * lam / count) * gap * sign(u) / alpha

"""FDA: the sign as a Fourier series, with a small network that adapts to the missing terms."""

from dataclasses import dataclass
from math import cos, pi
from typing import Annotated

import numpy as np

from .. import backend
from ..rng import Stream
from ..types import Array, Arrays, Scale, Shape, Shapes
from .base import Quantizer, mean_abs, sign


@dataclass(frozen=True)
class FDA(Quantizer):
    """Q(x) = m (sign(x) + a eta(x)),  eta(x) = V2 relu(V1 x) + 0.1 sin x,  m = mean|x|, by filter.

        q = m dw (m held)
        dx = q s'(x) + a (V1^T ((V2^T q) 1[V1 x > 0]) + 0.1 q cos x)
        dV1 = a ((V2^T q) 1[V1 x > 0])^T x,   dV2 = a q^T relu(V1 x)      summed over the filters

    s is the sign's Fourier series, cut off after n + 1 terms (`minizo.surrogates`); the network eta
    compensates for the missing terms. It fades with a = amplitude (1 + cos(pi t/T)), so that the
    weights are binary at the end of a run.

    Parameters
    ----------
    surrogate : str
    amplitude : float
        Half of a at the start, at least 0.

    Notes
    -----
    V1 (r, n) and V2 (n, r) belong to a tensor of filters of n weights, r = n // 64 (n // 4 below
    64, at least 1), start uniform on +-1/sqrt(inputs) and are trained by the optimiser of the
    network. Cost in addition to the network's: 2 r multiply-accumulates a weight and use, which are
    not counted. The surrogate's slope is negative in places, so it is not a smoothing, and no
    noise is implied. Written after a re-implementation by others: the
    authors published no training code.

    References
    ----------
    Y. Xu, K. Han, C. Xu, Y. Tang, C. Xu, Y. Wang, "Learning frequency domain approximation for
    binary neural networks", NeurIPS 2021, equations 5 to 11.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> q, x = FDA(), np.array([[0.1, 0.3, -0.8]])
    >>> scale = {"alpha": q.scale(x)} | q.init(x, rng.at(0, "beside", 0))
    >>> q.at(1.0).quantize(x, scale)  # at the end of a run: mean|x| sign(x)
    array([[ 0.4,  0.4, -0.4]])
    """

    surrogate: str = "fda"
    amplitude: Annotated[float, "[0, inf)"] = 0.05
    by_filter = True
    pointwise = False
    diagonal = False
    levels = None
    scheduled = True

    @property
    def a(self) -> float:
        """a at this point of the run, the weight of the network eta."""
        # a = amplitude (1 + cos(pi t/T))
        return self.amplitude * (1.0 + cos(pi * self.progress))

    def shapes(self, shape: Shape) -> Shapes:
        """Return the shapes of V1 (r, n) and V2 (n, r)."""
        n = shape[-1]
        r = max(1, n // (64 if n >= 64 else 4))
        return {"V1": (r, n), "V2": (n, r)}

    def init(self, w: Array, stream: Stream) -> Arrays:
        """Draw V1 and V2 uniformly on +-1/sqrt(inputs)."""
        return {
            name: stream.child(i).uniform(np.empty(shape)) / shape[1] ** 0.5
            for i, (name, shape) in enumerate(self.shapes(w.shape).items())
        }

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x); see `Quantizer`."""
        return mean_abs(x) * (sign(x) + self.a * self._eta(x, scale))

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return m (s(x) + a eta(x))."""
        return mean_abs(x) * (self.curve.value(x) + self.a * self._eta(x, scale))

    def _eta(self, x, scale):
        xp = backend.namespace(x)
        # (..., F, n) (n, r) (r, n) -> (..., F, n)
        hidden = xp.clip(x @ xp.matrix_transpose(scale["V1"]), 0.0, None)
        return hidden @ xp.matrix_transpose(scale["V2"]) + 0.1 * xp.sin(x)

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx and the gradients of the network; see `Quantizer`."""
        xp = backend.namespace(x)
        v1, v2, a, turn = scale["V1"], scale["V2"], self.a, xp.matrix_transpose
        q = mean_abs(x) * dw
        before = x @ turn(v1)  # (..., F, r)
        dh = (q @ v2) * xp.astype(before > 0.0, x.dtype)
        # dx = q s'(x) + a (V1^T dh + 0.1 q cos x)
        dx = q * self.curve.derivative(x) + a * (dh @ v1 + 0.1 * q * xp.cos(x))
        grads = {"V1": a * (turn(dh) @ x), "V2": a * (turn(q) @ xp.clip(before, 0.0, None))}
        return dx, grads

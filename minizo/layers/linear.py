"""The fully connected layer."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from .. import backend
from ..errors import InputError
from ..parallel import alone
from ..settings import Count
from .base import Layer

# Multiply-accumulates up to which a BLAS does many small products at full speed. Above, those of a
# population with the same x are made one: many of a few rows each take up to four times as long.
SMALL = 800_000


@dataclass(frozen=True)
class Linear(Layer):
    """y = x W^T + b.

    Parameters
    ----------
    inputs, outputs : int
        Widths.
    bias : bool
        Whether b is there.

    Notes
    -----
    W : (..., outputs, inputs), b : (..., outputs). Start: W ~ N(0, 2 / inputs), b = 0
    (K. He et al., "Delving deep into rectifiers", ICCV 2015, equation 12).
    Cost: inputs * outputs multiply-accumulates an example forward, as many again for each of dW
    and dx.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"weight": np.array([[1.0, -1.0]]), "bias": np.array([0.5])}
    >>> y, cache = Linear(2, 1).forward(params, np.array([[3.0, 1.0]]))
    >>> dx, grads = Linear(2, 1).backward(params, cache, np.ones((1, 1)))
    >>> y, dx, grads["weight"]
    (array([[2.5]]), array([[ 1., -1.]]), array([[3., 1.]]))
    """

    cuts = True

    inputs: Count
    outputs: Count
    bias: bool = True

    @property
    def shapes(self):
        """Names and shapes of the parameters."""
        weight = {"weight": (self.outputs, self.inputs)}
        return weight | {"bias": (self.outputs,)} if self.bias else weight

    def init(self, stream, like):
        """Initial parameters in the dtype of ``like``, NumPy arrays."""
        weight = stream.normal(np.empty(self.shapes["weight"], dtype=like.dtype))
        weight *= sqrt(2.0 / self.inputs)
        return {"weight": weight} | ({"bias": np.zeros_like(weight[:, 0])} if self.bias else {})

    def output_shape(self, shape):
        """(inputs,) -> (outputs,)."""
        if shape != (self.inputs,):
            raise InputError(
                f"Linear({self.inputs}, {self.outputs}) is fed examples of shape {shape}; it takes "
                f"({self.inputs},): put a Flatten in front or change its width"
            )
        return (self.outputs,)

    def macs(self, shape):
        """Multiply-accumulates of one forward, per example."""
        return self.inputs * self.outputs

    def forward(self, params, x, reduce=alone):
        """y (..., N, outputs) for x (..., N, inputs)."""
        xp = backend.namespace(x)
        w = params["weight"]
        *lead, outputs, inputs = w.shape
        stacked = x.ndim == 2 and w.ndim > 2 and outputs * inputs * x.shape[0] > SMALL
        if stacked:  # (..., out, in) -> (...*out, in)
            w = xp.reshape(w, (-1, inputs))
        # (..., out, in) @ (..., in, N) -> (..., out, N)
        yt = xp.matmul(w, xp.matrix_transpose(x))
        if stacked:
            yt = xp.reshape(yt, (*lead, outputs, x.shape[0]))
        # y^T = W x^T + b : features outside, examples inside, so that a population of narrow layers
        # still has long inner loops for bias, activation and softmax
        if self.bias:
            yt += params["bias"][..., None]
        return xp.matrix_transpose(yt), x

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """Gradients for dy (..., N, outputs)."""
        xp = backend.namespace(dy)
        x = cache
        # dW = dy^T x,  db = sum_n dy,  dx = dy W
        grads = {"weight": xp.matmul(xp.matrix_transpose(dy), x)}
        if self.bias:
            grads["bias"] = xp.sum(dy, axis=-2)
        return xp.matmul(dy, params["weight"]) if wanted else None, grads

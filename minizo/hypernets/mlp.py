"""The linear multi-layer perceptron of MetaQuant and FSG, which is a single number.

Without biases and without nonlinearities the layers are one matrix,

    y = W_k ... W_2 W_1 x = M x,     dW_i = (W_k ... W_{i+1})^T dM (W_{i-1} ... W_1)^T,

and with one input and one output feature M is a number c: a network of 10,200 parameters amounts to
a learned factor. `forward` and `backward` go through the layers; `product`
and `product_backward` go through M, at a cost that does not depend on the number of rows.

References
----------
S. Chen, W. Wang, S. J. Pan, "MetaQuant: learning to quantize by learning to penetrate
non-differentiable quantization", NeurIPS 2019, section 3.4 (FCGrad and MultiFC).
A. M. Saxe, J. L. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in
deep linear neural networks", ICLR 2014 (gradients of such a product; the orthogonal start).
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Annotated, Any

import numpy as np

from .. import backend
from ..errors import require
from ..rng import Stream
from ..types import Array, Arrays, Shapes
from .base import Hypernet, summed

STARTS = ("uniform", "orthogonal")


@dataclass(frozen=True)
class MLP(Hypernet):
    """y = W_k ... W_2 W_1 x.

    Parameters
    ----------
    widths : tuple of int
        Features before, between and behind the layers: (1, 100, 1) in MetaQuant's FCGrad, (1, 100,
        100, 1) in its MultiFC and in FSG's fast-net.
    start : {"uniform", "orthogonal"}
        W_i ~ U(-1, 1) / sqrt(width before it), as both released codes have it; or orthonormal rows
        or columns, as FSG's appendix has it.

    Notes
    -----
    Parameters W1, ..., Wk of shape (width behind, width before).

    Examples
    --------
    >>> import numpy as np
    >>> net = MLP((1, 2, 1))
    >>> params = {"W1": np.array([[2.0], [1.0]]), "W2": np.array([[3.0, -1.0]])}
    >>> net.forward(params, np.array([[0.5]]))[0], net.product(params), net.size
    (array([[2.5]]), array([[5.]]), 4)
    >>> net.product_backward(params, np.ones((1, 1)))["W1"]
    array([[ 3.],
           [-1.]])
    """

    widths: Annotated[tuple, "[1, inf)"] = (1, 100, 100, 1)
    start: str = "uniform"

    def __post_init__(self):
        super().__post_init__()
        require(len(self.widths) >= 2, "MLP.widths", self.widths, "it must be two numbers or more")
        require(self.start in STARTS, "start", self.start, f"choose from {STARTS}")

    @property
    def shapes(self) -> Shapes:
        """W1, W2, ...: names and shapes of the parameters, from the input up."""
        return {f"W{i}": (out, into) for i, (into, out) in enumerate(pairwise(self.widths), 1)}

    def macs(self, rows: int) -> int:
        """Count the multiply-accumulates of one forward of ``rows`` rows; twice for a backward."""
        return rows * self.size

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Draw initial parameters in the dtype and on the device of ``like``."""
        if self.start == "uniform":
            numbers = self.draw(stream.uniform, like)
            return self.placed({name: w / sqrt(w.shape[1]) for name, w in numbers.items()}, like)
        numbers = self.draw(stream.normal, like)
        return self.placed({name: orthogonal(w) for name, w in numbers.items()}, like)

    def forward(self, params: Arrays, x: Array) -> tuple[Array, Any]:
        """Return y (..., outputs) for x (..., inputs), layer by layer, and the cache."""
        xp = backend.namespace(x)
        cache = []
        for name in self.shapes:
            cache.append(x)
            # x_i = W_i x_{i-1}
            x = xp.matmul(x, xp.matrix_transpose(params[name]))
        return x, cache

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[Array, Arrays]:
        """Return dx (..., inputs) and the gradients, for dy (..., outputs)."""
        xp = backend.namespace(dy)
        grads = {}
        for name, x in zip(reversed(self.shapes), reversed(cache), strict=True):
            # dW_i = sum dx_i x_{i-1}^T,  dx_{i-1} = W_i^T dx_i
            grads[name] = summed(dy, x)
            dy = xp.matmul(dy, params[name])
        return dy, grads

    def product(self, params: Arrays) -> Array:
        """Return M = W_k ... W_1 (outputs, inputs), for ``size`` multiply-accumulates an input."""
        xp = backend.namespace(params["W1"])
        m = params["W1"]
        for name in list(self.shapes)[1:]:
            m = xp.matmul(params[name], m)
        return m

    def product_backward(self, params: Arrays, dm: Array) -> Arrays:
        """Return the gradients for dM (outputs, inputs): for y = M x over rows, dM = sum dy x^T.

        Cost: 2 ``size`` multiply-accumulates for one input and output, whatever the rows.
        """
        xp = backend.namespace(dm)
        names = list(self.shapes)
        below = [None]  # W_{i-1} ... W_1
        for name in names[:-1]:
            w = params[name]
            below.append(w if below[-1] is None else xp.matmul(w, below[-1]))
        grads = {}
        for name, lower in zip(reversed(names), reversed(below), strict=True):
            # dm is (W_k ... W_{i+1})^T dM here:  dW_i = dm (W_{i-1} ... W_1)^T
            grads[name] = dm if lower is None else xp.matmul(dm, xp.matrix_transpose(lower))
            dm = xp.matmul(xp.matrix_transpose(params[name]), dm)
        return grads


def orthogonal(gaussian):
    """Return an orthogonal matrix, Haar-distributed, from one of standard normal numbers (NumPy).

    Of a matrix that is not square the shorter side's vectors are orthonormal. The QR factorisation
    is unique once the diagonal of R is positive (F. Mezzadri, "How to generate random matrices from
    the classical compact groups", Notices of the AMS, 2007, section 4).
    """
    tall = gaussian.shape[0] >= gaussian.shape[1]
    q, r = np.linalg.qr(gaussian if tall else gaussian.T)
    q = q * np.sign(np.diag(r))
    return q if tall else q.T

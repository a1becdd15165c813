"""Losses: forward / backward pairs over a batch, with any leading population axes.

forward(outputs, labels) -> (loss, cache)
backward(cache) -> d loss / d outputs

outputs : ndarray of shape (..., N, K)
labels : ndarray of integers 0..K-1, of shape (N,), or (..., N) if every member of a population has
    its own batch
loss : ndarray of shape (...), the mean over the N examples
"""

from dataclasses import dataclass
from typing import Any

from . import backend
from .errors import InputError
from .types import Array

__all__ = [
    "LOSSES",
    "MeanSquaredError",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
    "one_hot",
]


def __dir__():
    return __all__


def one_hot(labels: Array, classes: int, like: Array) -> Array:
    """Encode labels (..., N) as rows of zeros and one 1: (..., N, K), in the dtype of ``like``.

    A comparison, unlike a scatter, has no write conflicts, and a label out of range gives a row of
    zeros instead of wrapping round (`minizo.fit` refuses such data). Rows or columns are
    contiguous, as they are in ``like``.

    Raises
    ------
    InputError
        If the labels are not whole numbers.

    Examples
    --------
    >>> import numpy as np
    >>> one_hot(np.array([2, 0]), 3, np.empty(0))
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    xp = backend.namespace(labels)
    if backend.numpy_dtype(labels).kind not in "iu":
        raise InputError(
            f"the labels' dtype is {str(labels.dtype)!r}, but they are whole numbers, such as int64"
        )
    labels = xp.astype(labels, xp.int64, copy=False)  # a byte cannot count more than 255 classes
    codes = backend.arange(classes, labels)
    if backend.has_rows(like):
        return xp.astype(labels[..., None] == codes, like.dtype)
    return xp.matrix_transpose(xp.astype(codes[:, None] == labels[..., None, :], like.dtype))


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """L = mean_n [ log sum_k exp z_nk - z_n,y(n) ].

    A logit of -inf gives its class probability 0 and adds no loss unless that class is the right
    one. A logit of +inf, or a row of -inf alone, gives NaN.

    Examples
    --------
    >>> import numpy as np
    >>> loss, _ = SoftmaxCrossEntropy().forward(np.zeros((1, 10)), np.array([3]))
    >>> round(float(loss), 4)  # log 10
    2.3026
    """

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """Return the loss (...) of logits (..., N, K), and the cache."""
        xp = backend.namespace(outputs, labels)
        target = one_hot(labels, outputs.shape[-1], outputs)
        # shifted by the row's maximum, so that exp cannot overflow
        z = outputs - xp.max(outputs, axis=-1, keepdims=True)
        # z_n,y(n): a product with the target would make 0 * -inf = NaN of a class with e^z = 0
        own = xp.sum(xp.where(target > 0.0, z, xp.zeros_like(z)), axis=-1)
        e = backend.into(z, xp.exp, z)
        total = xp.sum(e, axis=-1, keepdims=True)
        return xp.mean(xp.log(total[..., 0]) - own, axis=-1), (e, total, target)

    def backward(self, cache: Any) -> Array:
        """Return dL/dz = (softmax(z) - onehot) / N."""
        e, total, target = cache
        dz = e / total
        dz -= target
        dz /= target.shape[-2]
        return dz


@dataclass(frozen=True)
class SquaredHinge:
    """L = mean_n sum_k max(0, 1 - t_nk z_nk)^2 with t = +1 for the right class, -1 elsewhere.

    The loss of I. Hubara et al., "Binarized neural networks", NeurIPS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([[2.0, -0.5, -3.0]])
    >>> loss, cache = SquaredHinge().forward(scores, np.array([0]))
    >>> float(loss), SquaredHinge().backward(cache)
    (0.25, array([[-0.,  1.,  0.]]))
    """

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """Return the loss (...) of scores (..., N, K), and the cache."""
        xp = backend.namespace(outputs, labels)
        sign = 2.0 * one_hot(labels, outputs.shape[-1], outputs) - 1.0
        slack = xp.clip(1.0 - sign * outputs, 0.0, None)
        return xp.mean(xp.sum(slack * slack, axis=-1), axis=-1), (slack, sign)

    def backward(self, cache: Any) -> Array:
        """Return dL/dz = -2 t max(0, 1 - t z) / N."""
        slack, sign = cache
        return -2.0 * sign * slack / sign.shape[-2]


@dataclass(frozen=True)
class MeanSquaredError:
    """L = mean_n sum_k (z_nk - onehot_nk)^2 / 2.

    Examples
    --------
    >>> import numpy as np
    >>> loss, cache = MeanSquaredError().forward(np.array([[0.5, 1.0]]), np.array([1]))
    >>> float(loss), MeanSquaredError().backward(cache)
    (0.125, array([[0.5, 0. ]]))
    """

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """Return the loss (...) of outputs (..., N, K), and the cache."""
        xp = backend.namespace(outputs, labels)
        residual = outputs - one_hot(labels, outputs.shape[-1], outputs)
        return xp.mean(0.5 * xp.sum(residual * residual, axis=-1), axis=-1), residual

    def backward(self, cache: Any) -> Array:
        """Return dL/dz = (z - onehot) / N."""
        return cache / cache.shape[-2]


LOSSES = {
    "cross-entropy": SoftmaxCrossEntropy,
    "squared-hinge": SquaredHinge,
    "mse": MeanSquaredError,
}

"""Quantisers whose levels are fitted to the weights each time they are used.

    ternary    theta- < 0 < theta+, threshold 0.7 mean|x|, each level the mean of what it stands for
    multi-bit  sum_i +-alpha_i, k scales and 2^k levels, by alternating least squares

A fitted quantiser is a staircase with the methods of `minizo.quantizers.staircase`, but without a
scale fixed at the start. Its ``scale``, the mean absolute weight, is only the unit of quantities
that are stated in units of alpha elsewhere. All values of a row (the last axis) share their levels;
with ``per="filter"``, as in ProxQuant's LSTM, every output has its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from .. import backend
from ..settings import Natural
from ..types import Array
from .base import PerRow, mean_abs


@dataclass(frozen=True)
class Fitted(PerRow):
    """Base of fitted quantisers, whose surrogate treats the fitted levels as constants.

    Parameters
    ----------
    surrogate
        As in `Quantizer`.
    per
        As in `PerRow`.

    Notes
    -----
    ``fit(x)`` of a subclass returns the levels (..., K) in ascending order and the K - 1 thresholds
    between them: Q(x) = levels[j] from threshold j - 1 on. No noise is implied, because the steps
    are unequal.
    """

    pointwise = False
    fit: ClassVar[Callable[..., tuple[Array, Array]]]

    def scale(self, w: Array) -> Array:
        """Return the mean absolute weight, a unit of length: (..., m) -> (..., 1)."""
        return mean_abs(w)

    def squash(self, x: Array) -> Array:
        """Return A(x), to which the staircase is applied: x itself."""
        return x

    def quantize(self, x: Array, alpha: Array | None = None) -> Array:
        """Return Q(x), with levels fitted to x itself: (..., m) -> (..., m). alpha is not used."""
        levels, thresholds = self.fit(x)
        return staircase(x, levels, thresholds)

    def _steps(self, x):
        # threshold and half the jump of each step, (..., 1), and the same for flat steps
        levels, thresholds = self.fit(x)
        xp = backend.namespace(x)
        for j in range(thresholds.shape[-1]):
            h = 0.5 * (levels[..., j + 1 : j + 2] - levels[..., j : j + 1])
            yield thresholds[..., j : j + 1], h, xp.where(h > 0.0, h, xp.ones_like(h))

    def smooth(self, x: Array, alpha: Array | None = None) -> Array:
        """Return lowest level + sum_j h_j (1 + s((x - t_j) / h_j)), h_j half of jump j."""
        if self.surrogate == "identity":
            return 1.0 * x
        s = self.curve.value
        total = self.fit(x)[0][..., :1]
        for t, h, width in self._steps(x):
            total = total + h * (1.0 + s((x - t) / width))
        return total

    def derivative(self, x: Array, alpha: Array | None = None) -> Array | None:
        """Return the derivative of `smooth` with the levels held; ``None`` stands for all ones."""
        if self.surrogate == "identity":
            return None
        ds = self.curve.derivative
        return sum(h / width * ds((x - t) / width) for t, h, width in self._steps(x))


def staircase(x, levels, thresholds):
    """Return levels[j] where thresholds[j - 1] <= x < thresholds[j], like x (..., m)."""
    xp = backend.namespace(x)
    q = xp.zeros_like(x) + levels[..., :1]
    for j in range(thresholds.shape[-1]):
        q = xp.where(x >= thresholds[..., j : j + 1], levels[..., j + 1 : j + 2], q)
    return q


@dataclass(frozen=True)
class Ternary(Fitted):
    """Q(x) = theta+ where x >= D, theta- where x <= -D, 0 between; D = 0.7 mean|x|.

    theta+ = mean{x_i : x_i >= D} and theta- = mean{x_i : x_i <= -D}; the mean of nothing is 0.

    Notes
    -----
    Q(x) is not the nearest level, as D is not a midpoint, so ProxQuant's proximal step is an
    approximation.

    References
    ----------
    F. Li, B. Zhang, B. Liu, "Ternary weight networks", 2016, arXiv 1605.04711 (the threshold).
    Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant", ICLR 2019, section 3.2 (a level for each side).

    Examples
    --------
    >>> import numpy as np
    >>> Ternary().quantize(np.array([-1.5, -0.9, 0.1, 1.0, 0.8])).round(3)
    array([-1.2, -1.2,  0. ,  0.9,  0.9])
    """

    levels = 3

    def fit(self, x: Array) -> tuple[Array, Array]:
        """Return the levels (..., 3) and thresholds (..., 2)."""
        xp = backend.namespace(x)
        # D = 0.7 mean|x|
        d = 0.7 * mean_abs(x)

        def mean_where(chosen):
            chosen = xp.astype(chosen, x.dtype)
            count = xp.sum(chosen, axis=-1, keepdims=True)
            return xp.sum(chosen * x, axis=-1, keepdims=True) / xp.clip(count, 1.0, None)

        low, high = mean_where(x <= -d), mean_where(x >= d)
        zero = xp.zeros_like(d)
        # x >= the next number above -D is x > -D
        thresholds = xp.concat([xp.nextafter(-d, zero), d], axis=-1)
        return xp.concat([low, zero, high], axis=-1), thresholds


@dataclass(frozen=True)
class TWN(Ternary):
    """Q(x) = theta sign(x) where |x| >= D, 0 between; D = 0.7 mean|x|, theta their mean |x|.

    One level for both sides, unlike `Ternary`.

    References
    ----------
    F. Li, B. Zhang, B. Liu, "Ternary weight networks", 2016, arXiv 1605.04711, equations 5 and 6.

    Examples
    --------
    >>> import numpy as np
    >>> TWN().quantize(np.array([-1.5, -0.9, 0.1, 1.0, 0.8])).round(3)
    array([-1.05, -1.05,  0.  ,  1.05,  1.05])
    """

    def fit(self, x: Array) -> tuple[Array, Array]:
        """Return the levels (..., 3) and thresholds (..., 2)."""
        xp = backend.namespace(x)
        _, thresholds = super().fit(x)
        outside = xp.astype(xp.abs(x) >= thresholds[..., 1:], x.dtype)
        # theta = mean{|x_i| : |x_i| >= D}
        count = xp.clip(xp.sum(outside, axis=-1, keepdims=True), 1.0, None)
        theta = xp.sum(outside * xp.abs(x), axis=-1, keepdims=True) / count
        return xp.concat([-theta, xp.zeros_like(theta), theta], axis=-1), thresholds


@dataclass(frozen=True)
class MultiBit(Fitted):
    """Q(x) = B alpha, B of +-1 (m, k), alpha (k,): argmin ||x - B alpha||^2 by alternation.

        start    r = x;  alpha_i = mean|r|,  b_i = sign r,  r <- r - alpha_i b_i   (greedy)
        repeat   B <- the nearest of the 2^k levels;  alpha <- least squares given B

    Parameters
    ----------
    bits : int
        k, the number of signs that are added up, 1 to 4.
    refinements : int
        Number of repetitions, at least 0. Neither step increases the error.

    Notes
    -----
    The last step chooses the nearest level. If columns of B coincide, least squares has many
    solutions; the shortest is taken. One bit is the sign times the mean absolute value. Cost: about
    2^k passes over x a refinement.

    References
    ----------
    C. Xu, J. Yao, Z. Lin, W. Ou, Y. Cao, Z. Wang, H. Zha, "Alternating multi-bit quantization for
    recurrent neural networks", ICLR 2018, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = MultiBit(bits=2), np.array([-3.0, -1.0, 1.0, 3.0])
    >>> q.quantize(x).round(3)  # levels +-2 +- 1: no error
    array([-3., -1.,  1.,  3.])
    >>> MultiBit(bits=1).quantize(x)  # the sign, times the mean absolute value
    array([-2., -2.,  2.,  2.])
    """

    bits: Annotated[int, "[1, 4]"] = 2
    refinements: Natural = 2

    @property
    def levels(self) -> int:
        """Number of levels, 2^bits."""
        return 2**self.bits

    def fit(self, x: Array) -> tuple[Array, Array]:
        """Return the levels (..., 2^k) in ascending order, and the midpoints between them."""
        alpha = self.greedy(x)
        for _ in range(self.refinements):
            alpha = self.refit(x, alpha)
        levels, _ = self.table(alpha)
        return levels, midpoints(levels)

    def greedy(self, x: Array) -> Array:
        """Return the k scales of the greedy start, (..., k)."""
        xp = backend.namespace(x)
        r, scales = x, []
        for _ in range(self.bits):
            # alpha_i = mean|r|,  r <- r - alpha_i sign(r)
            a = xp.mean(xp.abs(r), axis=-1, keepdims=True)
            r = r - xp.where(r >= 0.0, a, -a)
            scales.append(a)
        return xp.concat(scales, axis=-1)

    def table(self, alpha: Array) -> tuple[Array, Array]:
        """Return the levels (..., 2^k), ascending, and their signs (..., 2^k, k)."""
        xp = backend.namespace(alpha)
        k, count = self.bits, 2**self.bits
        codes = backend.arange(count, alpha)[:, None]
        powers = 2.0 ** backend.arange(k, alpha)
        # bit i of the code, as +-1
        signs = 2.0 * (xp.floor(codes / powers) % 2.0) - 1.0  # (2^k, k)
        levels = xp.matmul(alpha, xp.matrix_transpose(signs))
        order = xp.argsort(levels, axis=-1)
        # (..., 2^k) -> (...*2^k,) -> (...*2^k, k) -> (..., 2^k, k)
        signs = xp.reshape(xp.take(signs, xp.reshape(order, (-1,)), axis=0), (*levels.shape, k))
        return xp.sort(levels, axis=-1), signs

    def refit(self, x: Array, alpha: Array) -> Array:
        """Return least-squares scales for the nearest levels of x: (..., m) -> (..., k)."""
        xp = backend.namespace(x)
        levels, signs = self.table(alpha)
        t = midpoints(levels)
        columns = [staircase(x, signs[..., i], t) for i in range(self.bits)]
        b = xp.stack(columns, axis=-2)  # B^T : (..., k, m)
        # alpha = (B^T B)^+ B^T x, by eigenvalues: those of coinciding columns are 0
        values, vectors = xp.linalg.eigh(xp.matmul(b, xp.matrix_transpose(b)))
        kept = values > 1e-6 * values[..., -1:]
        inverse = xp.where(kept, 1.0 / xp.where(kept, values, xp.ones_like(values)),
                           xp.zeros_like(values))  # fmt: skip
        right = xp.matmul(b, x[..., None])  # (..., k, 1)
        inside = inverse[..., None] * xp.matmul(xp.matrix_transpose(vectors), right)
        return xp.matmul(vectors, inside)[..., 0]


def midpoints(levels):
    """Return the midpoints of neighbouring levels: (..., K) -> (..., K - 1)."""
    return 0.5 * (levels[..., 1:] + levels[..., :-1])

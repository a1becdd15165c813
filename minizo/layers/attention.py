"""Multi-head attention, with rotary positions."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..settings import Count, Positive
from ..types import Array, Arrays, Shape
from .base import Layer, column_sums, row_sums

BLOCK = 128  # queries at a time: the scores of a head are a matrix (BLOCK, T) and not (T, T)


def rotated(x, base, sign=1.0):
    """Turn the pairs (x_j, x_{j + D/2}) of the place t by the angle t base^(-2 j / D).

    Parameters
    ----------
    x : ndarray (..., T, D)
        D even.
    base : float
        The pair j turns by one radian every base^(2 j / D) places.
    sign : {1.0, -1.0}
        -1 turns back; it is also the transpose, which a backward needs.

    Notes
    -----
    The product of a query and a key turned in this way depends on their distance alone.

    References
    ----------
    J. Su et al., "RoFormer: enhanced transformer with rotary position embedding", Neurocomputing,
    2024, equation 34, with pairs half a vector apart, as in LLaMA's published weights.

    Examples
    --------
    >>> import numpy as np
    >>> rotated(np.array([[1.0, 0.0], [1.0, 0.0]]), 10_000.0).round(4)
    array([[1.    , 0.    ],
           [0.5403, 0.8415]])
    """
    return _turned(x, _angles(x, base), sign)


def _angles(x, base):
    # (cos, cos) and (-sin, sin) of the angles of a pair, (T, D) each
    xp, half = backend.namespace(x), x.shape[-1] // 2
    turns = base ** (-backend.arange(half, x) / half)  # (D/2,)
    angles = backend.arange(x.shape[-2], x)[:, None] * turns  # (T, D/2)
    cosine, sine = xp.cos(angles), xp.sin(angles)
    return xp.concat([cosine, cosine], axis=-1), xp.concat([-sine, sine], axis=-1)


def _turned(x, angles, sign=1.0):
    # (a, b) -> (a cos - b sin, b cos + a sin) = (a, b) (cos, cos) + (b, a) (-sin, sin)
    xp, half, (cosine, sine) = backend.namespace(x), x.shape[-1] // 2, angles
    y, other = x * cosine, xp.concat([x[..., half:], x[..., :half]], axis=-1)
    other *= sign * sine
    y += other
    return y


@dataclass(frozen=True)
class Attention(Layer):
    """o_t = sum_s p_ts v_s,   p_t = softmax_s(q_t . k_s / sqrt(D)), for every head.

    Parameters
    ----------
    heads : int
        H.
    size : int
        D, the numbers of a query, key or value of one head.
    shared : int
        How many neighbouring heads share one key and one value, so that there are K = H / shared
        key heads: 1 is ordinary multi-head attention, H multi-query attention.
    causal : bool
        Whether a place sees itself and those before it (s <= t) alone, or all.
    rotary : float or None
        Base of `rotated`, applied to queries and keys; None for no positions.

    Raises
    ------
    InputError
        For heads that are no multiple of ``shared``, or an odd size with rotary positions.

    Notes
    -----
    It has no parameters: x (..., N, T, (H + 2 K) D) holds queries, keys and values side by side, as
    a `Linear` in front gives them, and y is (..., N, T, H D), for a `Linear` behind. Cost: 2 H D T
    multiply-accumulates a place forward, and with a mask about half of that where T is much longer
    than a block of queries (what is masked inside of a block is computed); twice that backward
    where T is at most a block, 5 / 2 times otherwise. Queries are taken in blocks of 128. Of one
    block alone the H T^2 probabilities are kept; of several they are made again from the logarithm
    of their sum, so that memory grows with T and not with its square.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", NeurIPS 2017, equation 1.
    J. Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head
    checkpoints", EMNLP 2023 (``shared``).
    T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness",
    NeurIPS 2022, appendix B (the backward from the logarithm of the sum).

    Examples
    --------
    One head of one number. The first place sees itself; the second weights both equally:

    >>> import numpy as np
    >>> x = np.array([[[1.0, 2.0, 10.0], [1.0, 2.0, 20.0]]])  # q, k, v of two places
    >>> Attention(heads=1, size=1, rotary=None).forward({}, x)[0]
    array([[[10.],
            [15.]]])
    """

    cuts = True

    heads: Count
    size: Count
    shared: Count = 1
    causal: bool = True
    rotary: Positive | None = 10_000.0

    def __post_init__(self):
        super().__post_init__()
        remedy = f"it must divide the {self.heads} heads"
        require(self.heads % self.shared == 0, "Attention.shared", self.shared, remedy)
        even = self.rotary is None or self.size % 2 == 0
        require(even, "Attention.size", self.size, "rotary positions turn pairs: it must be even")

    @property
    def keys(self) -> int:
        """K, the number of heads that have a key and a value of their own."""
        return self.heads // self.shared

    @property
    def inputs(self) -> int:
        """Numbers of a place that comes in: (H + 2 K) D."""
        return (self.heads + 2 * self.keys) * self.size

    def output_shape(self, shape: Shape) -> Shape:
        """(T, (H + 2 K) D) -> (T, H D)."""
        if len(shape) != 2 or shape[-1] != self.inputs:
            raise InputError(
                f"Attention({self.heads}, {self.size}, shared={self.shared}) is fed examples of "
                f"shape {shape}; it takes (T, {self.inputs}), queries, keys and values side by side"
            )
        return (shape[0], self.heads * self.size)

    def macs(self, shape: Shape) -> int:
        """H D for the product with a key and as much with a value, in all blocks of queries."""
        pairs = sum((own.stop - own.start) * seen.stop for own, seen in self._blocks(shape[0]))
        return 2 * pairs * self.heads * self.size

    def backward_macs(self, shape: Shape, wanted: bool = True) -> int:
        """Four products in place of two, or five; none where dx is not wanted."""
        products = 4 if shape[0] <= BLOCK else 5
        return products * self.macs(shape) // 2 if wanted else 0

    def _parts(self, x):
        # (..., N, T, (H + 2 K) D) -> q (..., N, K, shared, T, D), k, v (..., N, K, 1, T, D), views
        queries, keys = self.heads * self.size, self.keys * self.size
        q = self._by_head(x[..., :queries])
        k = self._by_head(x[..., queries : queries + keys], shared=1)
        return q, k, self._by_head(x[..., queries + keys :], shared=1)

    def _by_head(self, x, shared=None):
        # (..., N, T, K shared D) -> (..., N, K, shared, T, D), a view
        xp, shape = backend.namespace(x), (self.keys, shared or self.shared, self.size)
        return xp.moveaxis(xp.reshape(x, (*x.shape[:-1], *shape)), -4, -2)

    def _blocks(self, length):
        # (queries, keys that they may see), a block at a time
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            yield slice(start, stop), slice(0, stop if self.causal else length)

    def _scores(self, q, k, queries):
        # k . q / sqrt(D), with -inf where a place would see a later one: (..., S, B). A column is
        # what one query sees: maxima and sums along columns go row by row, several times faster.
        xp = backend.namespace(q)
        scores = xp.matmul(k, xp.matrix_transpose(q * (1.0 / sqrt(self.size))))
        if self.causal:
            t = backend.arange(queries.stop, q)
            # inf where t_key <= t_query, else -inf
            most = (t[None, queries] - t[:, None] + 0.5) * float("inf")
            # (a sum with -inf would be NaN where a later score is +inf)
            backend.into(scores, xp.minimum, scores, most)
        return scores

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, T, H D) for x (..., N, T, (H + 2 K) D)."""
        xp, length = backend.namespace(x), x.shape[-2]
        q, k, v = self._parts(x)
        angles = None if self.rotary is None else _angles(q, self.rotary)
        if angles is not None:
            q, k = _turned(q, angles), _turned(k, angles)
        y = backend.empty((*x.shape[:-1], self.heads * self.size), x)
        o, kept = self._by_head(y), []
        for queries, seen in self._blocks(length):
            # transposed, (..., S, B): a column is a query
            scores = self._scores(q[..., queries, :], k[..., seen, :], queries)
            # p = e / sum e,   e = exp(scores), shifted by the largest score of a query
            largest = xp.max(scores, axis=-2, keepdims=True)
            scores -= largest
            e = backend.into(scores, xp.exp, scores)
            total = xp.matrix_transpose(column_sums(e))  # (..., B, 1)
            # o = p v, divided by the sum at the end, where there are fewer numbers
            own = xp.matmul(xp.matrix_transpose(e), v[..., seen, :])
            backend.into(o[..., queries, :], xp.divide, own, total)
            if length > BLOCK:
                e, total = None, largest + xp.log(xp.matrix_transpose(total))
            kept.append((e, total))
        return y, (q, k, v, y, kept, angles)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx, from do = dy head by head.

        dv = p^T do,   dp = do v^T,   ds = p (dp - sum_s p dp),   sum_s p dp = do . o
        dq = ds k / sqrt(D),   dk = ds^T q / sqrt(D)

        The code holds p and ds transposed, (..., S, B). With p = e / sum e, do is divided instead
        of e; where e was not kept, p is made again as exp(scores - log sum exp(scores)).
        """
        if not wanted:
            return None, {}
        xp, (q, k, v, y, kept, angles) = backend.namespace(dy), cache
        do, o = self._by_head(dy), self._by_head(y)
        dx = backend.zeros((*dy.shape[:-1], self.inputs), dy)
        dq, dk, dv = self._parts(dx)
        for (queries, seen), (e, total) in zip(self._blocks(q.shape[-2]), kept, strict=True):
            own, keys, values = do[..., queries, :], k[..., seen, :], v[..., seen, :]
            if e is None:
                scores = self._scores(q[..., queries, :], keys, queries)
                scores -= total  # here log sum exp(scores)
                e = backend.into(scores, xp.exp, scores)
            else:
                own = own / total
            dot = row_sums(own * o[..., queries, :])  # (..., B, 1)
            ds = xp.matmul(values, xp.matrix_transpose(own))  # (..., S, B)
            ds -= xp.matrix_transpose(dot)
            ds *= e
            dq[..., queries, :] = xp.matmul(xp.matrix_transpose(ds), keys)
            # heads that share a key add up
            dk[..., seen, :] += self._over_shared(xp.matmul(ds, q[..., queries, :]))
            dv[..., seen, :] += self._over_shared(xp.matmul(e, own))
        scale = 1.0 / sqrt(self.size)
        for part in (dq, dk):
            part *= scale
            if angles is not None:
                part[...] = _turned(part, angles, -1.0)
        return dx, {}

    def _over_shared(self, x):
        # (..., K, shared, S, D) -> (..., K, 1, S, D)
        xp = backend.namespace(x)
        return x if self.shared == 1 else xp.sum(x, axis=-3, keepdims=True)

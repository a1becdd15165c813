"""Multi-head attention, with rotary positions."""

from dataclasses import dataclass
from math import sqrt

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..settings import Count, Positive
from .base import Layer

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
    xp, half = backend.namespace(x), x.shape[-1] // 2
    turns = base ** (-backend.arange(half, x) / half)  # (D/2,)
    angles = backend.arange(x.shape[-2], x)[:, None] * turns  # (T, D/2)
    cosine, sine = xp.cos(angles), sign * xp.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return xp.concat([first * cosine - second * sine, first * sine + second * cosine], axis=-1)


def _in_a_row(blocks):
    # (..., B, D) each -> (..., T, D)
    xp = backend.namespace(blocks[0])
    return blocks[0] if len(blocks) == 1 else xp.concat(blocks, axis=-2)


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
    than a block of queries (what is masked inside of a block is computed); 5 / 2 of it backward:
    probabilities are not kept but made again from the logarithm of their sum, and queries are taken
    in blocks, so that memory grows with T and not with its square.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", NeurIPS 2017, equation 1.
    J. Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head
    checkpoints", EMNLP 2023 (``shared``).
    T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness",
    NeurIPS 2022, appendix B (the backward from the logarithm of the sum).

    Examples
    --------
    One head of one number. The first place sees itself; the second one likes both alike:

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
    def keys(self):
        """K, the number of heads that have a key and a value of their own."""
        return self.heads // self.shared

    @property
    def inputs(self):
        """Numbers of a place that comes in: (H + 2 K) D."""
        return (self.heads + 2 * self.keys) * self.size

    def output_shape(self, shape):
        """(T, (H + 2 K) D) -> (T, H D)."""
        if len(shape) != 2 or shape[-1] != self.inputs:
            raise InputError(
                f"Attention({self.heads}, {self.size}, shared={self.shared}) is fed examples of "
                f"shape {shape}; it takes (T, {self.inputs}), queries, keys and values side by side"
            )
        return (shape[0], self.heads * self.size)

    def macs(self, shape):
        """H D for the product with a key and as much with a value, in all blocks of queries."""
        pairs = sum((own.stop - own.start) * seen.stop for own, seen in self._blocks(shape[0]))
        return 2 * pairs * self.heads * self.size

    def backward_macs(self, shape, wanted=True):
        """Five products in place of two; none where dx is not wanted."""
        return 5 * self.macs(shape) // 2 if wanted else 0

    def _heads(self, x):
        # (..., N, T, (H + 2K) D) -> q (..., N, K, shared, T, D), k and v (..., N, K, 1, T, D)
        queries, keys = self.heads * self.size, self.keys * self.size
        q = self._by_head(x[..., :queries])
        k = self._by_head(x[..., queries : queries + keys], shared=1)
        v = self._by_head(x[..., queries + keys :], shared=1)
        if self.rotary is not None:
            q, k = rotated(q, self.rotary), rotated(k, self.rotary)
        return q, k, v

    def _by_head(self, x, shared=None):
        # (..., N, T, K shared D) -> (..., N, K, shared, T, D)
        xp, shape = backend.namespace(x), (self.keys, shared or self.shared, self.size)
        return xp.moveaxis(xp.reshape(x, (*x.shape[:-1], *shape)), -4, -2)

    def _joined(self, *parts):
        # the inverse of `_by_head`, of several side by side
        xp = backend.namespace(*parts)
        moved = [xp.moveaxis(part, -2, -4) for part in parts]
        flat = [xp.reshape(part, (*part.shape[:-3], -1)) for part in moved]
        return flat[0] if len(flat) == 1 else xp.concat(flat, axis=-1)

    def _blocks(self, length):
        # (queries, keys that they may see), a block at a time
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            yield slice(start, stop), slice(0, stop if self.causal else length)

    def _scores(self, q, k, queries):
        # q . k / sqrt(D), with -inf where a place would see a later one: (..., B, S)
        xp = backend.namespace(q)
        scores = xp.matmul(q * (1.0 / sqrt(self.size)), xp.matrix_transpose(k))
        if self.causal:
            t = backend.arange(queries.stop, q)
            later = t[None, :] > t[queries, None]
            # (a sum with -inf would be NaN where a later score is +inf)
            scores = xp.where(later, xp.full_like(scores[..., :1, :1], -float("inf")), scores)
        return scores

    def forward(self, params, x, reduce=alone):
        """y (..., N, T, H D) for x (..., N, T, (H + 2 K) D)."""
        xp = backend.namespace(x)
        q, k, v = self._heads(x)
        outputs, logs = [], []
        for queries, seen in self._blocks(x.shape[-2]):
            scores = self._scores(q[..., queries, :], k[..., seen, :], queries)
            # p = exp(scores) / sum exp(scores), shifted by the row's maximum
            largest = xp.max(scores, axis=-1, keepdims=True)
            p = xp.exp(scores - largest)
            total = xp.sum(p, axis=-1, keepdims=True)
            p /= total
            outputs.append(xp.matmul(p, v[..., seen, :]))
            logs.append(largest + xp.log(total))
        y = self._joined(_in_a_row(outputs))
        return y, (q, k, v, y, logs)

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dx, from do = dy head by head, with p = exp(scores - log sum exp(scores)) made again.

        dv = p^T do,   dp = do v^T,   ds = p (dp - sum_s p dp),   sum_s p dp = do . o
        dq = ds k / sqrt(D),   dk = ds^T q / sqrt(D)
        """
        if not wanted:
            return None, {}
        xp, (q, k, v, y, logs) = backend.namespace(dy), cache
        do, o = self._by_head(dy), self._by_head(y)
        dot = xp.sum(do * o, axis=-1, keepdims=True)
        dk, dv = (backend.zeros((*do.shape[:-3], *k.shape[-3:]), dy) for _ in range(2))
        dq = []
        for (queries, seen), log in zip(self._blocks(q.shape[-2]), logs, strict=True):
            own, keys, values = do[..., queries, :], k[..., seen, :], v[..., seen, :]
            p = xp.exp(self._scores(q[..., queries, :], keys, queries) - log)
            dp = xp.matmul(own, xp.matrix_transpose(values))
            ds = p * (dp - dot[..., queries, :]) * (1.0 / sqrt(self.size))
            dq.append(xp.matmul(ds, keys))
            # heads that share a key add up
            for total, left, right in ((dk, ds, q), (dv, p, do)):
                share = xp.matmul(xp.matrix_transpose(left), right[..., queries, :])
                total[..., seen, :] += xp.sum(share, axis=-3, keepdims=True)
        dq = _in_a_row(dq)
        if self.rotary is not None:
            dq, dk = rotated(dq, self.rotary, -1.0), rotated(dk, self.rotary, -1.0)
        return self._joined(dq, dk, dv), {}

"""The selective scan where nothing is read from it: what a stretch of time leaves behind, at once.

The recurrence of `minizo.hypernets.scan` from state 0 over steps whose outputs are not wanted (C_t
is not used, dy_t = 0), up to the first step that is read. Nothing then runs step by step. With T_t,
the sum of the step sizes after t, and G_t = exp(A T_t), the decay on the way to the end,

    h_end = sum_t G_t b_t,                                        b_t = dt_t u_t B_t

Backward, with mu = dl/dh_end and lam_t = dl/dh_t:

    lam_t = G_t mu
    dB_t = sum_e lam_t dt_t u_t,     du_t = dt_t sum_n lam_t B_t
    w_t = a_t dl/da_t = sum_{s < t} lam_s b_s
    d(dt_t) = sum_n w_t A + u_t sum_n lam_t B_t
            = sum_{s < t} q_s + u_t sum_n lam_t B_t,     q_t = sum_n A lam_t b_t
    dA = sum_t w_t dt_t = sum_t lam_t b_t T_t

The line of w_t is an induction. In general w_t = a_t lam_t h_{t-1}, and where dy = 0,
lam_{t-1} = a_t lam_t: so w_t = lam_{t-1} h_{t-1} = lam_{t-1} (a_{t-1} h_{t-2} + b_{t-1}), which is
w_{t-1} + lam_{t-1} b_{t-1}; and w = 0 at the start, where the state is 0.

T_t is summed from the end, nothing is subtracted, and nothing is divided by a decay. Far from the
end exp(A T_t) underflows to 0, sooner the faster a state forgets: such states and channels are left
out, chunk by chunk, which changes no number. (Not on a GPU, where to know it would take a copy to
the host.) In float32 state n of channel e reaches back over A T > -104, with Mamba's initial values
some 104 / (n dt) steps: 1,040 to 104,000 for the first state, 65 to 6,500 for the sixteenth.

There is no way round one exponential for each of the others: A is learned, so that exp(A T) of
different n are not powers of one number.

References
----------
A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", COLM 2024,
equation 2. The equations above are our derivation.
"""

from math import log
from typing import NamedTuple

import numpy as np

from .. import backend
from .chunked import chunk_size, tiles
from .scan import Selected, flat, resting

SUMMED = 128  # steps of time whose sums are one product with a triangle of ones
FULL = 0.75  # share of live channels above which picking them out costs more than it saves


def floor(like):
    """Return a number below which exp is 0 in the dtype of ``like``.

    >>> float(np.exp(np.float32(floor(np.empty(0, np.float32))))), round(floor(np.empty(0)), 1)
    (0.0, -745.4)
    """
    kind = np.finfo(backend.numpy_dtype(like))
    # half of the smallest number is rounded to 0
    return log(kind.smallest_normal) + log(kind.eps) - 1.0


def alive(A, behind):
    """Return, on the host, which states (N, E) reach back over the time ``behind`` (..., 1, E).

    >>> alive(np.array([[-1.0, -2.0]]), np.array([[400.0]]))  # e^-400, and e^-800 = 0
    array([[ True],
           [False]])
    """
    xp = backend.namespace(A)
    if not backend.is_numpy(xp):
        return np.ones(A.shape[::-1], dtype=bool)
    least = xp.min(flat(behind, 1), axis=0)
    # what is not a number is no reason to stop: it must be seen at the end
    return ~(backend.to_numpy(xp.matrix_transpose(A) * least) <= floor(A))


def forward(x, behind=None, chunk=None):
    """Return what a stretch contributes to the state a time ``behind`` after its end.

    Parameters
    ----------
    x : Selected
        Of at least one step; C is not used and may be ``None``.
    behind : ndarray (..., 1, E), optional
        Sum of the step sizes between the stretch and the end; 0 by default.
    chunk : int, optional
        Steps of time taken at once; by default as many as suit the device. Of sequences shorter
        than that, several make up one chunk.

    Returns
    -------
    h : ndarray (..., N, E)
        sum_t exp(A (T_t + behind)) b_t: the state at the end, where the stretch starts from 0.
    behind : ndarray (..., 1, E)
        The time between the start of the stretch and the end: what to give to the stretch before.
        Cost: 3 L E N multiply-accumulates and L E N exponentials, fewer where decays underflow; no
        loop over single steps. Memory: 2 (chunk, N, E).

    Examples
    --------
    >>> one = np.ones((3, 1))
    >>> forward(Selected(one, one, np.array([[-1.0]]), one, None))  # 1 + e^-1 + e^-2; 3
    (array([[1.50321472]]), array([[3.]]))
    """
    walk = _Walk(x, behind, chunk)
    xp, h = backend.namespace(x.u), resting(x)
    shape, h = h.shape, flat(h, 2)
    for rows, _, piece in walk.pieces():
        # h_end = sum_t G_t b_t
        g = walk.decays(piece)
        g *= (piece.dt * piece.u)[:, None, ...]
        _add(h[rows, piece.states, :], piece.channels, _over_time(piece.B, g))
    # (R, ...) -> (..., ...)
    return xp.reshape(h, shape), xp.reshape(walk.behind, (*shape[:-2], 1, shape[-1]))


def backward(x, dh, behind=None, before=None, chunk=None):
    """Return the derivatives of `forward`.

    Parameters
    ----------
    x : Selected
    dh : ndarray (..., N, E)
        With respect to the state at the end: the same for every stretch before it.
    behind : ndarray (..., 1, E), optional
        As given to `forward`.
    before : ndarray (..., 1, E), optional
        sum q_s over the stretches before this one; 0 by default. Stretches are therefore taken from
        the first to the last.
    chunk : int, optional
        As in `forward`; another one is another order of sums, nothing else.

    Returns
    -------
    dx : Selected
        With ``None`` for C. That of dt counts in what it changes of this stretch and of those
        before.
    before : ndarray (..., 1, E)
        What to give to the next stretch.
        Cost: 8 L E N multiply-accumulates and L E N exponentials, fewer where decays underflow; no
        loop over single steps. Memory beside dx: 3 (chunk, N, E).
    """
    lead, channels = x.u.shape[:-2], x.u.shape[-1]
    walk, dh = _Walk(x, behind, chunk), flat(dh, 2)
    xp = backend.namespace(dh)
    du, ddt, db = (xp.zeros_like(v) for v in (walk.u, walk.dt, walk.B))
    da = xp.zeros_like(walk.a)
    for rows, time, piece in walk.pieces():
        n, e = piece.states, piece.channels
        g, b, mu = walk.decays(piece), piece.dt * piece.u, _take(dh[rows, n, :], e)
        # dA = sum_t lam_t b_t T_t = mu sum_t G_t b_t T_t
        share = backend.scratch("scan b", g.shape, g)
        backend.into(share, xp.multiply, g, (b * piece.left)[:, None, ...])
        _add(da[n, :], e, xp.sum(mu * _over_time(piece.B, share), axis=0))
        # lam_t = G_t mu,  dB_t = sum_e lam_t dt_t u_t,  taken_t = sum_n lam_t B_t (in du)
        g *= mu[:, :, None, :]
        db[rows, time, n] = _over_channels(g, b)
        _add(du[rows, time, :], e, _over_states(piece.B, g))
        # q_t = sum_n A lam_t b_t (in d(dt))
        g *= walk.along
        _add(ddt[rows, time, :], e, b * _over_states(piece.B, g))
    # d(dt_t) = sum_{s < t} q_s + u_t taken_t,  du_t = dt_t taken_t
    before = walk.zero if before is None else flat(before, 2)
    for start in range(0, du.shape[1], SUMMED):
        time = slice(start, min(start + SUMMED, du.shape[1]))
        q, taken = ddt[:, time, :], du[:, time, :]
        sums = earlier(q, walk.triangle) + before
        before = sums[:, -1:, :] + q[:, -1:, :]
        ddt[:, time, :] = sums + walk.u[:, time, :] * taken
        du[:, time, :] = walk.dt[:, time, :] * taken
    # (R, ...) -> (..., ...)
    du, ddt, db = (xp.reshape(v, (*lead, *v.shape[1:])) for v in (du, ddt, db))
    before = xp.reshape(before, (*lead, 1, channels))
    return Selected(du, ddt, xp.matrix_transpose(da), db, None), before


def earlier(v, triangle):
    """Return sum_{s < t} v_s for v (R, T, c) of at most n steps.

    ``triangle`` (n, n) holds ones below the diagonal: a product with it is many times faster than a
    cumulative sum over an outer axis.

    >>> earlier(np.array([[[1.0], [2.0], [4.0]]]), np.tri(3, k=-1))[0, :, 0]
    array([0., 1., 3.])
    """
    length = v.shape[1]
    return backend.namespace(v).matmul(triangle[:length, :length], v)


def later(v, triangle):
    """Return sum_{s > t} v_s for v (R, T, c) of any length, summed from the end.

    >>> later(np.array([[[1.0], [2.0], [4.0]]]), np.tri(2, k=-1))[0, :, 0]
    array([6., 4., 0.])
    """
    xp = backend.namespace(v)
    length = v.shape[1]
    if length <= triangle.shape[0]:
        return xp.matmul(xp.matrix_transpose(triangle[:length, :length]), v)
    half = length // 2
    first, second = later(v[:, :half, :], triangle), later(v[:, half:, :], triangle)
    first += second[:, :1, :] + v[:, half : half + 1, :]
    return xp.concat([first, second], axis=1)


class _Piece(NamedTuple):
    # the part of a chunk that is alive: ``states`` (a slice) and ``channels`` (None where all);
    # u, dt, left = T_t + behind (R, T, E); B (R, T, N)
    u: object
    dt: object
    B: object
    left: object
    states: object
    channels: object


class _Walk:
    # through x from its end to its start, and the time ``behind`` the place that is reached

    def __init__(self, x, behind, chunk):
        xp = backend.namespace(x.u)
        self.u, self.dt, self.B = (flat(v, 2) for v in (x.u, x.dt, x.B))
        self.A, self.a = x.A, xp.matrix_transpose(x.A)
        rows, length, channels = self.u.shape
        self.zero = xp.zeros_like(backend.empty((rows, 1, channels), x.u))
        self.behind = self.zero if behind is None else flat(behind, 2)
        self.behind = xp.asarray(self.behind, copy=True)
        self.chunk = chunk
        steps = chunk_size(chunk, self.a.shape[0] * channels, x.u)
        self.rows = [row for row, _ in tiles(rows, length, steps)]
        most = min(length, SUMMED)
        self.triangle = xp.tril(xp.ones_like(backend.empty((most, most), x.u)), k=-1)
        self.key = None

    def pieces(self):
        # (rows, time, piece), as long as anything is alive; the fewer it is, the longer the chunks
        for rows in self.rows:
            stop, behind = self.dt.shape[1], self.behind[rows, ...]
            while stop > 0:
                live = alive(self.A, behind)
                n, e = np.flatnonzero(live.any(axis=1)), np.flatnonzero(live.any(axis=0))
                if not n.size:
                    behind += backend.namespace(behind).sum(
                        self.dt[rows, :stop, :], axis=1, keepdims=True
                    )
                    break
                states = slice(int(n[0]), int(n[-1]) + 1)
                e = e if e.size < FULL * live.shape[1] else None
                numbers = (states.stop - states.start) * (live.shape[1] if e is None else e.size)
                steps = chunk_size(self.chunk, numbers * (rows.stop - rows.start), behind)
                time = slice(max(0, stop - steps), stop)
                stop = time.start
                dt = self.dt[rows, time, :]
                # T_t = sum_{s > t} dt_s, to the end: in this chunk, and behind it
                left = later(dt, self.triangle) + behind
                behind[...] = left[:, :1, :] + dt[:, :1, :]
                u, dt, left = (_take(v, e) for v in (self.u[rows, time, :], dt, left))
                self._write_out(states, e, dt.shape[1])
                yield rows, time, _Piece(u, dt, self.B[rows, time, states], left, states, e)

    def _write_out(self, states, channels, length):
        # A (N, T, E) of what is alive, so that products with it are long loops
        key = (states.start, states.stop, None if channels is None else channels.tobytes(), length)
        if key != self.key:
            a = _take(self.a[states, :], channels)
            shape = (a.shape[0], length, a.shape[1])
            self.along, self.key = backend.scratch("scan A", shape, a), key
            self.along[...] = a[:, None, :]

    def decays(self, piece):
        # G_t = exp(A T_t) (R, N, T, E), in memory that the next chunk writes over
        xp, left = backend.namespace(self.u), piece.left
        g = backend.scratch("scan a", (left.shape[0], *self.along.shape), left)
        backend.into(g, xp.multiply, left[:, None, ...], self.along)
        return backend.into(g, xp.exp, g)


def _take(v, channels):
    # those of the last axis, all where None
    if channels is None:
        return v
    xp = backend.namespace(v)
    return xp.take(v, backend.asarray(channels, v), axis=v.ndim - 1)


def _add(target, channels, value):
    # target[..., channels] += value, in place
    xp = backend.namespace(target)
    if channels is None:
        target += value
    elif backend.is_numpy(xp) or backend.is_cupy(xp):
        target[..., backend.asarray(channels, target)] += value
    else:  # the array API cannot write to an array of indices
        for i, channel in enumerate(channels):
            target[..., int(channel)] += value[..., i]


def _over_time(b, g):
    # sum_t b_t[n] g_t[n,e]: (R, T, N), (R, N, T, E) -> (R, N, E), as (1, T) @ (T, E) for each n
    xp = backend.namespace(g)
    return xp.matmul(xp.matrix_transpose(b)[..., None, :], g)[..., 0, :]


def _over_states(b, g):
    # sum_n b_t[n] g_t[n,e]: (R, T, N), (R, N, T, E) -> (R, T, E), as (1, N) @ (N, E) for each t
    xp = backend.namespace(g)
    return xp.matmul(b[..., None, :], xp.permute_dims(g, (0, 2, 1, 3)))[..., 0, :]


def _over_channels(g, v):
    # sum_e g_t[n,e] v_t[e]: (R, N, T, E), (R, T, E) -> (R, T, N), as (N, E) @ (E, 1) for each t
    xp = backend.namespace(g)
    return xp.matmul(xp.permute_dims(g, (0, 2, 1, 3)), v[..., None])[..., 0]

"""The selective scan where nothing is read from it: the state behind a stretch of time, at once.

The recurrence of `minizo.hypernets.scan` over steps whose outputs are not wanted (C_t is not used,
dy_t = 0). Nothing then runs step by step. With T_t = sum_{s > t} dt_s, the time from step t to the
end of the stretch, and G_t = exp(A T_t), the decay on that way,

    h_end = exp(A sum_t dt_t) h_0 + sum_t G_t b_t,                b_t = dt_t u_t B_t

Backward, mu_end = dl/dh_end given; lam_t = dl/dh_t, mu_0 = dl/dh_0 = exp(A sum_t dt_t) mu_end:

    lam_t = G_t mu_end
    dB_t = sum_e lam_t dt_t u_t,     du_t = dt_t sum_n lam_t B_t
    w_t = a_t dl/da_t = mu_0 h_0 + sum_{s < t} lam_s b_s
    d(dt_t) = sum_n w_t A + u_t sum_n lam_t B_t
            = sum_n mu_0 h_0 A + sum_{s < t} q_s + u_t sum_n lam_t B_t,     q_t = sum_n A lam_t b_t
    dA = sum_t w_t dt_t = mu_0 h_0 sum_t dt_t + sum_t lam_t b_t T_t

The line of w_t is an induction. In general w_t = a_t lam_t h_{t-1}, and where dy = 0,
lam_{t-1} = a_t lam_t: so w_t = lam_{t-1} h_{t-1} = lam_{t-1} (a_{t-1} h_{t-2} + b_{t-1}), which is
w_{t-1} + lam_{t-1} b_{t-1}. No state but the first is needed, and none is kept.

T_t is a sum of step sizes from the end, nothing is subtracted; and nothing is divided by a decay.
Over a long time decays underflow to 0, as they should. One exponential for each number of each
state is the floor: A is learned, so that exp(A T) of different n are not powers of one number.

References
----------
A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", COLM 2024,
equation 2. The equations above are our derivation.
"""

from typing import NamedTuple

from .. import backend
from .chunked import chunk_size, tiles
from .scan import Selected, flat, resting

SUMMED = 128  # steps of time whose sums are one product with a triangle of ones


def forward(x, h=None, chunk=None):
    """Return the state behind the last step.

    Parameters
    ----------
    x : Selected
        Of at least one step; C is not used and may be ``None``.
    h : ndarray (..., N, E), optional
        State before the first step; 0 by default.
    chunk : int, optional
        Steps of time taken at once; by default as many as suit the device. Of sequences shorter
        than that, several make up one chunk.

    Returns
    -------
    h : ndarray (..., N, E)
        Cost: 3 L E N multiply-accumulates and L E N exponentials; no loop over single steps.
        Memory: 2 (chunk, N, E).

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((3, 1))
    >>> forward(Selected(one, one, np.array([[-1.0]]), one, None))  # 1 + e^-1 + e^-2
    array([[1.50321472]])
    """
    lead = x.u.shape[:-2]
    h = flat(resting(x) if h is None else h, 2)
    xp = backend.namespace(h)
    walk, end = _Walk(x, chunk), backend.empty(h.shape, h)
    for rows, times in walk.tiles:
        state = h[rows, ...]
        for time in times:
            piece = walk.piece(rows, time)
            g = walk.decays(piece)
            # h_end = exp(A sum_t dt_t) h_0 + sum_t G_t b_t
            g *= (piece.dt * piece.u)[:, None, ...]
            state = piece.whole * state + _over_time(piece.B, g)
        end[rows, ...] = state
    # (R, ...) -> (..., ...)
    return xp.reshape(end, (*lead, *h.shape[1:]))


def backward(x, dh, h=None, chunk=None):
    """Return the derivatives of `forward`.

    Parameters
    ----------
    x : Selected
    dh : ndarray (..., N, E)
        With respect to the last state.
    h : ndarray (..., N, E), optional
        As given to `forward`: the state before the first step.
    chunk : int, optional
        As in `forward`; another one is another order of sums, nothing else.

    Returns
    -------
    dx : Selected
        With ``None`` for C, which is not used.
    dh : ndarray (..., N, E)
        With respect to the state before the first step.
        Cost: 9 L E N multiply-accumulates and L E N exponentials; no loop over single steps.
        Memory beside dx: 3 (chunk, N, E).
    """
    lead = x.u.shape[:-2]
    h, dh = flat(resting(x) if h is None else h, 2), flat(dh, 2)
    xp = backend.namespace(dh)
    walk, first = _Walk(x, chunk), backend.empty(dh.shape, dh)
    du, ddt, db = (backend.empty(v.shape, dh) for v in (walk.u, walk.dt, walk.B))
    da = xp.zeros_like(walk.a)
    for rows, times in walk.tiles:
        mu, behind = dh[rows, ...], xp.zeros_like(du[rows, :1, :])
        for time in reversed(times):
            piece = walk.piece(rows, time)
            g, b = walk.decays(piece), piece.dt * piece.u
            # dA: sum_t lam_t b_t T_t = mu_end sum_t G_t b_t T_t
            share = backend.scratch("scan b", g.shape, g)
            backend.into(share, xp.multiply, g, (b * (piece.left + behind))[:, None, ...])
            da += xp.sum(mu * _over_time(piece.B, share), axis=0)
            # lam_t = G_t mu_end,  dB_t = sum_e lam_t dt_t u_t,  taken_t = sum_n lam_t B_t (in du)
            g *= mu[:, :, None, :]
            db[rows, time, :] = _over_channels(g, b)
            du[rows, time, :] = _over_states(piece.B, g)
            # q_t = sum_n A lam_t b_t (in d(dt))
            g *= walk.along[:, : g.shape[2], :]
            ddt[rows, time, :] = b * _over_states(piece.B, g)
            mu, behind = piece.whole * mu, behind + piece.total
        first[rows, ...] = mu
        # w_0 = mu_0 h_0,  dA += w_0 sum_t dt_t
        w = mu * h[rows, ...]
        da += xp.sum(w * behind, axis=0)
        # d(dt_t) = sum_n w_0 A + sum_{s < t} q_s + u_t taken_t,  du_t = dt_t taken_t
        before = xp.sum(w * walk.a, axis=1)[:, None, :]
        for time in times:
            q, taken = ddt[rows, time, :], du[rows, time, :]
            sums = earlier(q, walk.triangle) + before
            before = sums[:, -1:, :] + q[:, -1:, :]
            ddt[rows, time, :] = sums + walk.u[rows, time, :] * taken
            du[rows, time, :] = walk.dt[rows, time, :] * taken
    # (R, ...) -> (..., ...)
    du, ddt, db, first = (xp.reshape(v, (*lead, *v.shape[1:])) for v in (du, ddt, db, first))
    return Selected(du, ddt, xp.matrix_transpose(da), db, None), first


def earlier(v, triangle):
    """Return sum_{s < t} v_s for v (R, T, c).

    ``triangle`` (n, n) holds ones below the diagonal: up to n steps are one product with it, which
    is many times faster than a cumulative sum over an outer axis.

    >>> import numpy as np
    >>> earlier(np.array([[[1.0], [2.0], [4.0]]]), np.tri(2, k=-1))[0, :, 0]
    array([0., 1., 3.])
    """
    xp = backend.namespace(v)
    length = v.shape[1]
    if length <= triangle.shape[0]:
        return xp.matmul(triangle[:length, :length], v)
    half = length // 2
    first, second = earlier(v[:, :half, :], triangle), earlier(v[:, half:, :], triangle)
    second += first[:, -1:, :] + v[:, half - 1 : half, :]
    return xp.concat([first, second], axis=1)


def later(v, triangle):
    """Return sum_{s > t} v_s, as `earlier`: summed from the end, nothing is subtracted.

    >>> import numpy as np
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
    # a chunk: u, dt, left = T_t (R, T, E); B (R, T, N); total = sum dt (R, 1, E);
    # whole = exp(A total) (R, N, E)
    u: object
    dt: object
    B: object
    left: object
    total: object
    whole: object


class _Walk:
    # the chunks of x; A as (N, E), and written out as ``along`` (N, T, E) for long loops

    def __init__(self, x, chunk):
        xp = backend.namespace(x.u)
        self.u, self.dt, self.B = (flat(v, 2) for v in (x.u, x.dt, x.B))
        self.a = xp.matrix_transpose(x.A)
        rows, length, _ = self.u.shape
        steps = chunk_size(chunk, x.A.shape[0] * x.A.shape[1], x.u)
        self.tiles = tiles(rows, length, steps)
        longest = min(steps, length)
        shape = (self.a.shape[0], longest, self.a.shape[1])
        self.along = backend.scratch("scan A", shape, x.u)
        self.along[...] = self.a[:, None, :]
        most = min(longest, SUMMED)
        self.triangle = xp.tril(xp.ones_like(backend.empty((most, most), x.u)), k=-1)

    def piece(self, rows, time):
        xp = backend.namespace(self.u)
        u, dt, b = (v[rows, time, :] for v in (self.u, self.dt, self.B))
        left = later(dt, self.triangle)
        total = left[:, :1, :] + dt[:, :1, :]
        return _Piece(u, dt, b, left, total, xp.exp(total * self.a))

    def decays(self, piece):
        # G_t = exp(A T_t) (R, N, T, E), in memory that the next chunk writes over
        xp, left = backend.namespace(self.u), piece.left
        rows, length, channels = left.shape
        g = backend.scratch("scan a", (rows, self.a.shape[0], length, channels), left)
        backend.into(g, xp.multiply, left[:, None, ...], self.along[:, :length, :])
        return backend.into(g, xp.exp, g)


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

"""The selective scan in chunks: states side by side in time, kept at the starts of chunks only.

The recurrence of `minizo.hypernets.scan`, cut in two ways. A *chunk* fits a processor's cache (or
fills a GPU). Only the state before each is kept; the backward finds those inside it again, so that
what it needs beside its inputs and outputs grows with the length by N E numbers a chunk. Inside a
chunk, K *blocks* of S consecutive steps run side by side, in three passes:

    1. every block from state 0: its last state end_k; and its decay_k = prod a_t = exp(A sum dt_t);
    2. from block to block: start_{k+1} = decay_k start_k + end_k;
    3. every block again, from its own start.

Decays are multiplied, never divided by: over a long time they underflow to 0, as they should.

References
----------
G. E. Blelloch, "Prefix sums and their applications", 1990, section 1.4 (recurrences as scans).
T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from math import ceil, sqrt

from .. import backend
from ..settings import whole
from .scan import Selected, flat, resting

CHUNK = 2**19  # numbers in the states of a chunk that suits a processor's caches
DEVICE_CHUNK = 2**23  # and of one that fills a GPU
LONGEST = 16384  # steps of time in a chunk that was not asked for


def tiles(rows, length, tokens):
    """Cut sequences of one length into tiles of at most ``tokens`` steps of time.

    Short sequences are taken several at a time, long ones one at a time and in pieces.

    Returns
    -------
    list of (slice, list of slice)
        Rows, and the pieces of their time in order.

    Examples
    --------
    >>> [(rows.stop, len(times)) for rows, times in tiles(5, 3, 6)]
    [(2, 1), (4, 1), (5, 1)]
    >>> tiles(1, 8, 5)
    [(slice(0, 1, None), [slice(0, 5, None), slice(5, 8, None)])]
    """
    span = min(length, tokens)
    together = tokens // span
    times = [slice(t, min(t + span, length)) for t in range(0, length, span)]
    return [(slice(r, min(r + together, rows)), times) for r in range(0, rows, together)]


def chunk_size(chunk, numbers, like):
    """Return ``chunk``, or the length that suits states of this size and the device of ``like``.

    >>> import numpy as np
    >>> chunk_size(None, 1600, np.empty(0)), chunk_size(7, 1600, np.empty(0))
    (327, 7)
    """
    if chunk is None:
        total = DEVICE_CHUNK if backend.is_cupy(backend.namespace(like)) else CHUNK
        return max(1, min(LONGEST, total // numbers))
    return whole("chunk", chunk)


def forward(x, h=None, chunk=None):
    """Run the recurrence: return y, the last state, and the states before the chunks.

    Parameters
    ----------
    x : Selected
        Of at least one step.
    h : ndarray (..., N, E), optional
        State before the first step; 0 by default.
    chunk : int, optional
        Steps of time in a chunk; by default as many as suit the device. Of sequences shorter than
        that, several make up one chunk.

    Returns
    -------
    y : ndarray (..., L, E)
    h : ndarray (..., N, E)
    starts : list of ndarray
        For `backward`.
        Cost: 5 L E N multiply-accumulates and L E N exponentials. Memory beside y and the starts:
        2 (chunk, N, E).
    """
    lead = x.u.shape[:-2]
    h = flat(resting(x) if h is None else h, 2)
    x = _rows(x)
    xp = backend.namespace(h)
    y, end, starts = backend.empty(x.u.shape, h), backend.empty(h.shape, h), []
    for rows, times in tiles(*x.u.shape[:2], _steps(chunk, x)):
        state = h[rows, ...]
        for time in times:
            starts.append(state)
            grid = _Grid(x, rows, time)
            _, states, start, _ = _states(grid, state)
            y[rows, time, :] = grid.line(_read(grid, states))
            state = xp.asarray(start[-1, ...], copy=True)  # a view would keep all of start
        end[rows, ...] = state
    # (R, ...) -> (..., ...)
    return xp.reshape(y, (*lead, *y.shape[1:])), xp.reshape(end, (*lead, *h.shape[1:])), starts


def backward(x, starts, dy, dh=None, chunk=None):
    """Return the derivatives of `forward`, from the last chunk to the first.

    Parameters
    ----------
    x : Selected
    starts : list of ndarray
        As `forward` returned them for the same ``chunk``.
    dy : ndarray (..., L, E)
    dh : ndarray (..., N, E), optional
        With respect to the last state; 0 by default.
    chunk : int, optional
        As in `forward`.

    Returns
    -------
    dx : Selected
    dh : ndarray (..., N, E)
        With respect to the state before the first step.
    y : ndarray (..., L, E)
        The output, which is found again on the way.
        Cost: 15 L E N multiply-accumulates and L E N exponentials. Memory beside dx and y:
        3 (chunk, N, E).
    """
    lead = x.u.shape[:-2]
    dh, dy = flat(resting(x) if dh is None else dh, 2), flat(dy, 2)
    x = _rows(x)
    xp = backend.namespace(dy)
    dx = [backend.empty(v.shape, dy) for v in (x.u, x.dt, x.B, x.C)]
    y, first = backend.empty(dy.shape, dy), backend.empty(dh.shape, dy)
    da = xp.zeros_like(xp.matrix_transpose(x.A))
    left = list(starts)
    for rows, times in reversed(tiles(*x.u.shape[:2], _steps(chunk, x))):
        mu = dh[rows, ...]
        for time in reversed(times):
            grid = _Grid(x, rows, time)
            states = _states(grid, left.pop())
            y[rows, time, :] = grid.line(_read(grid, states[1]))
            grads, mu = _adjoint(grid, states, grid.cut(dy[rows, time, :]), mu)
            for target, gradient in zip(dx, grads, strict=False):
                target[rows, time, :] = grid.line(gradient)
            da += grads[-1]
        first[rows, ...] = mu
    # (R, ...) -> (..., ...)
    du, ddt, db, dc, y, first = (xp.reshape(v, (*lead, *v.shape[1:])) for v in (*dx, y, first))
    return Selected(du, ddt, xp.matrix_transpose(da), db, dc), first, y


def _steps(chunk, x):
    return chunk_size(chunk, x.A.shape[0] * x.A.shape[1], x.u)


def _rows(x):
    return Selected(flat(x.u, 2), flat(x.dt, 2), x.A, flat(x.B, 2), flat(x.C, 2))


class _Grid:
    """One chunk with its time as a grid: step s of block k is time k S + s.

    It is padded to S K steps with dt = 0, in which the state does not change.
    u, dt : (S, K, R, E);  B, C : (S, K, R, N);  A : (N, E).
    """

    def __init__(self, x, rows, time):
        self.length = time.stop - time.start
        # passes 1 and 3 make S small steps each, pass 2 makes K; a short sequence is one block
        self.blocks = max(1, round(0.8 * sqrt(self.length)))
        self.steps = ceil(self.length / self.blocks)
        self.A = backend.namespace(x.A).matrix_transpose(x.A)
        self.u, self.dt, self.B, self.C = (
            self.cut(v[rows, time, :]) for v in (x.u, x.dt, x.B, x.C)
        )

    def cut(self, v):
        """Reshape (R, T, c) -> (S, K, R, c), with zeros behind the end."""
        xp = backend.namespace(v)
        rows, _, c = v.shape
        if self.length < self.steps * self.blocks:
            full = xp.zeros_like(backend.empty((rows, self.steps * self.blocks, c), v))
            full[:, : self.length, :] = v
            v = full
        # (R, K*S, c) -> (R, K, S, c) -> (S, K, R, c)
        v = xp.reshape(v, (rows, self.blocks, self.steps, c))
        return xp.asarray(xp.permute_dims(v, (2, 1, 0, 3)), copy=True)

    def line(self, v):
        """Invert `cut`: (S, K, R, c) -> (R, T, c)."""
        xp = backend.namespace(v)
        # (S, K, R, c) -> (R, K, S, c) -> (R, K*S, c)
        v = xp.permute_dims(v, (2, 1, 0, 3))
        v = xp.reshape(v, (v.shape[0], self.blocks * self.steps, v.shape[3]))
        return v[:, : self.length, :]


def _states(x, h):
    # a_t and h_t (S, K, R, N, E), the states before the blocks and after the last (K + 1, R, N, E),
    # the blocks' decays (K, R, N, E); the first two in memory that the next chunk writes over
    xp, into = backend.namespace(h), backend.into
    shape = (*x.B.shape, x.A.shape[1])
    # a_t = exp(dt_t A),  b_t = dt_t u_t B_t
    a, b = backend.scratch("scan a", shape, h), backend.scratch("scan b", shape, h)
    into(a, xp.multiply, x.dt[..., None, :], x.A)
    into(a, xp.exp, a)
    into(b, xp.multiply, (x.dt * x.u)[..., None, :], x.B[..., None])

    # 1. end_k, from state 0, and decay_k = exp(A sum_t dt_t)
    end = backend.scratch("scan end", shape[1:], h)
    end[...] = b[0, ...]
    for s in range(1, shape[0]):
        end *= a[s, ...]
        end += b[s, ...]
    decay = xp.exp(xp.sum(x.dt, axis=0)[..., None, :] * x.A)
    # 2. start_{k+1} = decay_k start_k + end_k
    start = backend.empty((shape[1] + 1, *h.shape), h)
    start[0, ...] = h
    for k in range(shape[1]):
        start[k + 1, ...] = decay[k, ...] * start[k, ...] + end[k, ...]
    # 3. h_t = a_t h_{t-1} + b_t, written over b
    before = start[:-1, ...]
    for s in range(shape[0]):
        b[s, ...] += into(end, xp.multiply, a[s, ...], before)
        before = b[s, ...]
    return a, b, start, decay


def _read(x, h):
    # y_t[e] = sum_n C_t[n] h_t[n,e] : (1, N) @ (N, E) at every step
    return backend.namespace(h).matmul(x.C[..., None, :], h)[..., 0, :]


def _adjoint(x, states, dy, mu):
    # (du, d(dt), dB, dC (S, K, R, c), dA (N, E)), and mu at the state before the chunk
    a, h, start, decay = states
    xp, into = backend.namespace(dy), backend.into
    lam = backend.scratch("scan lam", a.shape, dy)
    into(lam, xp.multiply, dy[..., None, :], x.C[..., None])  # dy_t C_t so far

    # 1. what every block hands to the state before it where nothing is handed to itself
    m = backend.scratch("scan end", a.shape[1:], dy)
    m[...] = 0.0
    for s in range(a.shape[0] - 1, -1, -1):
        m += lam[s, ...]
        m *= a[s, ...]
    # 2. reach_k = decay_k reach_{k+1} + m_k, what reaches the state before block k
    reach = backend.empty(start.shape, dy)
    reach[-1, ...] = mu
    for k in range(a.shape[1] - 1, -1, -1):
        reach[k, ...] = decay[k, ...] * reach[k + 1, ...] + m[k, ...]
    # 3. lam_t = dy_t C_t + mu_{t+1},  mu_t = a_t lam_t,  w_t = mu_t h_{t-1}, written over a
    after = reach[1:, ...]
    for s in range(a.shape[0] - 1, -1, -1):
        lam[s, ...] += after
        after = into(m, xp.multiply, a[s, ...], lam[s, ...])
        into(a[s, ...], xp.multiply, m, h[s - 1, ...] if s else start[:-1, ...])

    # taken_t = sum_n lam_t B_t,  dB_t = sum_e lam_t dt_t u_t,  dC_t = sum_e dy_t h_t
    taken = xp.matmul(x.B[..., None, :], lam)[..., 0, :]
    db = xp.matmul(lam, (x.dt * x.u)[..., None])[..., 0]
    dc = xp.matmul(h, dy[..., None])[..., 0]
    # dA = sum_t w_t dt_t,  d(dt_t) = sum_n w_t A + u_t taken_t,  du_t = dt_t taken_t
    da = xp.sum(into(lam, xp.multiply, a, x.dt[..., None, :]), axis=(0, 1, 2))
    a *= x.A
    ones = xp.ones_like(x.A[:, :1])  # as a product, the sum over n is several times faster
    ddt = xp.matmul(xp.matrix_transpose(ones), a)[..., 0, :] + x.u * taken
    return (x.dt * taken, ddt, db, dc, da), reach[0, ...]

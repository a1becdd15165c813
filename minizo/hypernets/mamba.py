"""The Mamba block (S6), exactly as its authors' code computes it, with its backward.

Forward, for x (rows, L, D), E = expand D channels, N states, kernel K, rank R = ceil(D / 16):

    1. [a z] = x Win^T                                        a, z (L, E)
    2. v_t = bc + sum_k wc[:, k] a_{t-(K-1)+k},  u = silu(v)  causal: a is 0 before the start
    3. [rho B C] = u Wx^T                                     rho (L, R), B and C (L, N)
    4. dt = softplus(s),  s = rho Wdt^T + bdt                 (L, E)
    5. the selective scan of `minizo.hypernets.scan` with A = -exp(Alog): its output is r (L, E)
    6. y = r + Dsk u,  o = y silu(z)
    7. out = o Wout^T

Backward, with G = dl/dout:

    1. dWout = sum G^T o,  do = G Wout,  dy = do silu(z),  dz = do y silu'(z)
    2. dDsk = sum dy u,  du = dy Dsk
    3. the scan's adjoint: du += ..., d(dt), dB, dC, dAlog = A dA
    4. ds = d(dt) sigmoid(s),  dbdt = sum ds,  dWdt = sum ds^T rho,  drho = ds Wdt
    5. dq = [drho dB dC],  dWx = sum dq^T u,  du += dq Wx
    6. dv = du silu'(v),  dbc = sum dv,  dwc[:, k] = sum_t dv_t a_{t-(K-1)+k},
       da_tau = sum_k dv_{tau+(K-1)-k} wc[:, k]
    7. dWin = sum [da dz]^T x,  dx = [da dz] Win

How it is computed:

- Nothing is non-linear between the projection to a and the convolution, so both are one product,
  v = X F^T, with the windows X (L, K D + 1) of x, a 1 at the end of each, and F (E, K D + 1):
  F[e, k D + d] = wc[e,k] Win[e,d], and bc behind. From dF = sum dv^T X follow the derivatives of
  its factors, once for the whole sequence. bdt is in a product in the same way.
- Where only the last outputs are wanted (``last``), nothing is read from the states before, and the
  scan there is `minizo.hypernets.advance`: it jumps over a stretch of time, and stops where nothing
  further back reaches the outputs. z, C, y and o are not computed, and their derivatives are 0.
- sigmoid(s) = 1 - e^-dt, because dt = softplus(s) = log(1 + e^s).
- A long sequence is taken in pieces, so that memory grows with its length by D numbers a step and
  N E a piece: the backward finds again from x what it needs of a piece.

References
----------
A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", COLM 2024,
algorithm 2, section 3.4 and figure 3; initial values of dt from section 3.6.
A. Gu, K. Goel, A. Gupta, C. Re, "On the parameterization and initialization of diagonal state space
models", NeurIPS 2022 (A = -(1, ..., N)).
"""

from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import NamedTuple

import numpy as np

from .. import backend
from ..errors import require
from ..settings import Count
from ..special import sigmoid
from . import advance, chunked
from .base import Hypernet
from .scan import Selected, flat

SHORTEST, LONGEST = 0.001, 0.1  # initial dt, log-uniform between them
PIECE = 2  # chunks of the scan in a piece


def silu(x):
    """Return x sigmoid(x)."""
    return x * sigmoid(x)


def silu_and_derivative(x):
    """Return x sigmoid(x), and sigmoid(x) (1 + x (1 - sigmoid(x)))."""
    s = sigmoid(x)
    y = x * s
    return y, s + y * (1.0 - s)


def softplus(x):
    """Return log(1 + e^x) as max(x, 0) + log(1 + e^-|x|), which cannot overflow."""
    xp = backend.namespace(x)
    y = xp.abs(x)
    y *= -1.0
    y = backend.into(y, xp.log1p, backend.into(y, xp.exp, y))
    y += xp.maximum(x, 0.0)
    return y


class Piece(NamedTuple):
    """Intermediate values of a piece on the way to the scan, all (rows, T, ...).

    x (D), the piece;  windows (K D + 1);  v, gate = sigmoid(v), u = v gate (E);  rho (R + 1), 1
    last;  selected : Selected, whose C is ``None`` where nothing is read.
    """

    x: object
    windows: object
    v: object
    gate: object
    rho: object
    selected: object


def product(x, w):
    """Return x w^T at every row and time: (rows, T, k) and (c, k) -> (rows, T, c)."""
    xp = backend.namespace(x)
    # (rows, T, k) -> (rows*T, k)
    y = xp.matmul(xp.reshape(x, (-1, x.shape[2])), xp.matrix_transpose(w))
    return xp.reshape(y, (*x.shape[:2], w.shape[0]))


def summed(d, x):
    """Return the sum of d^T x over rows and time: (rows, T, c) and (rows, T, k) -> (c, k)."""
    xp = backend.namespace(d)
    d, x = xp.reshape(d, (-1, d.shape[2])), xp.reshape(x, (-1, x.shape[2]))
    return xp.matmul(xp.matrix_transpose(d), x)


def with_one(x):
    """Return x (rows, T, c) with a 1 behind the features, for a product with a constant in it."""
    xp = backend.namespace(x)
    return xp.concat([x, xp.ones_like(x[:, :, :1])], axis=2)


@dataclass(frozen=True)
class Mamba(Hypernet):
    """One Mamba block: no normalisation, no residual; see the module for the equations.

    Parameters
    ----------
    width : int
        D, features of the sequence; 1 in FSG.
    expand : int
        E = expand D; 100 in FSG.
    states : int
        N.
    kernel : int
        K, of the convolution; 8 in FSG.
    chunk : int, optional
        Steps of time that the scan takes at once; see `minizo.hypernets.chunked`. A piece is two
        of them.

    Notes
    -----
    Parameters and start: Win (2E, D), Wout (D, E), Wx (R + 2N, E), Wdt (E, R), wc (E, K), bc (E),
    all U(-1, 1) / sqrt(inputs of the product; K for the convolution); Alog (E, N) = log(1, ..., N);
    Dsk (E) = 1; bdt (E) the inverse softplus of numbers that are log-uniform on [0.001, 0.1].

    x_s = 0 gives out_s = 0 whatever the parameters and the rest of the sequence, because the gate
    z_s is then 0 (in and out have no bias).

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> net = Mamba(width=1, expand=4, states=2, kernel=2)
    >>> params = net.init(rng.at(0, "hypernet", 0), np.empty(0))
    >>> y, cache = net.forward(params, np.array([[1.0], [0.0], [2.0]]))  # a sequence of 3 steps
    >>> y.shape, y[1, 0] == 0.0, net.size
    ((3, 1), np.True_, 64)
    """

    width: Count = 1
    expand: Count = 100
    states: Count = 16
    kernel: Count = 8
    chunk: Count | None = None

    @property
    def channels(self):
        """E."""
        return self.expand * self.width

    @property
    def rank(self):
        """R = ceil(D / 16), through which the step sizes pass."""
        return ceil(self.width / 16)

    @property
    def shapes(self):
        """Names and shapes of the parameters."""
        d, e, n, r = self.width, self.channels, self.states, self.rank
        return {
            "Win": (2 * e, d),
            "wc": (e, self.kernel),
            "bc": (e,),
            "Wx": (r + 2 * n, e),
            "Wdt": (e, r),
            "bdt": (e,),
            "Alog": (e, n),
            "Dsk": (e,),
            "Wout": (d, e),
        }

    def macs(self, tokens, read=None):
        """Count the multiply-accumulates of one forward, ``tokens`` steps and rows in all.

        The outputs of ``read`` of them are wanted, by default of all. The scan counts for 5 E N of
        them where it is read and 3 E N elsewhere. Not counted: E N exponentials a token, and 3 E
        (4 E where it is read).
        """
        d, e, n = self.width, self.channels, self.states
        read = tokens if read is None else read
        there = self._projections + 3 * n
        return e * (tokens * there + read * (2 * d + 3 * n + 2))

    def backward_macs(self, tokens, read=None):
        """Count the multiply-accumulates of one backward: two a product, plus the scan's own.

        Of the scan 15 E N a token that is read, and 8 E N a token elsewhere; fewer where decays
        underflow (`minizo.hypernets.advance`), which is not counted.
        """
        d, e, n = self.width, self.channels, self.states
        read = tokens if read is None else read
        there = 3 * self._projections + 8 * n + 6
        return e * (tokens * there + read * (5 * d + 10 * n + 4))

    @property
    def _projections(self):
        # a channel and a token on the way to the scan, C left out
        return self.kernel * self.width + 1 + 2 * self.rank + 1 + self.states

    def init(self, stream, like):
        """Draw initial parameters in the dtype and on the device of ``like``."""
        u = self.draw(stream.uniform, like)
        fans = {"Win": self.width, "wc": self.kernel, "bc": self.kernel, "Wx": self.channels}
        fans |= {"Wdt": self.rank, "Wout": self.channels}
        values = {name: u[name] / sqrt(fan) for name, fan in fans.items()}
        # log dt uniform;  bdt = dt + log(1 - e^-dt) has softplus(bdt) = dt
        share = 0.5 * (u["bdt"].astype(np.float64) + 1.0)
        dt = np.exp(log(SHORTEST) + (log(LONGEST) - log(SHORTEST)) * share)
        values["bdt"] = dt + np.log(-np.expm1(-dt))
        values["Alog"] = np.log(np.arange(1.0, self.states + 1.0)) + np.zeros((self.channels, 1))
        values["Dsk"] = np.ones(self.channels)
        return self.placed(values, like)

    def forward(self, params, x, last=None):
        """Return out (..., last, D), the last outputs, and the cache.

        Parameters
        ----------
        params : dict of str to ndarray
        x : ndarray (..., L, D)
        last : int, optional
            How many outputs are wanted, at least 1; by default all L. Where none is, a step costs
            about half.

        Returns
        -------
        out : ndarray (..., last, D)
        cache : tuple
            For `backward`.
            Cost: `macs`. Memory beside x, out and the scan's states (N E numbers for each of its
            chunks): some 10 (piece, E).
        """
        length = x.shape[-2]
        require(length >= 1, "the length of the sequence", 0, "it must be at least 1")
        last = length if last is None else last
        require(1 <= last <= length, "last", last, f"it must be from 1 to the length, {length}")
        xp = backend.namespace(x)
        rows = flat(x, 2)
        read = length - last  # the first step that is read
        out, states = backend.empty((rows.shape[0], last, rows.shape[2]), x), []
        folded = self._folded(params)
        for row, early, late in self._pieces(rows, read):
            h = behind = None
            jumped, kept = [], []
            for time in reversed(early):
                if behind is not None and not advance.alive(folded["A"], behind).any():
                    break  # everything before is forgotten, to the last bit
                seen = self._see(params, folded, rows, row, time, False)
                jumped.append((time, behind))
                share, behind = advance.forward(seen.selected, behind, self.chunk)
                h = share if h is None else h + share
            for time in late:
                seen = self._see(params, folded, rows, row, time, True)
                # 5. and 6. y = r + Dsk u,  o = y silu(z)
                r, h, starts = chunked.forward(seen.selected, h, self.chunk)
                o = r + params["Dsk"] * seen.selected.u
                o *= silu(product(seen.x, folded["z"]))
                # 7. out = o Wout^T
                out[row, time.start - read : time.stop - read, :] = product(o, params["Wout"])
                kept.append(starts)
            states.append((jumped, kept))
        return xp.reshape(out, (*x.shape[:-2], last, x.shape[-1])), (x, states)

    def backward(self, params, cache, dout):
        """Return dx (..., L, D) and the gradients, for dout (..., last, D).

        Cost: `backward_macs`. Memory beside x and dx: some 20 (piece, E).
        """
        x, states = cache
        xp = backend.namespace(dout)
        rows, dout = flat(x, 2), flat(dout, 2)
        read = rows.shape[1] - dout.shape[1]
        folded, dx = self._folded(params), xp.zeros_like(rows)
        names = folded | {name: params[name] for name in ("Wx", "Dsk", "Wout")}
        sums = {name: xp.zeros_like(value) for name, value in names.items()}
        left = list(states)
        for row, _, late in reversed(self._pieces(rows, read)):
            dh = before = None
            jumped, kept = left.pop()
            for time, starts in zip(reversed(late), reversed(kept), strict=True):
                seen = self._see(params, folded, rows, row, time, True)
                here = dout[row, time.start - read : time.stop - read, :]
                scan, dh, du = self._read_back(
                    params, folded, seen, starts, here, dh, sums, dx[row, time, :]
                )
                dwindows = self._back(params, folded, seen, scan, [scan.B, scan.C], du, sums)
                self._spread(dx, row, time, dwindows)
            # what was jumped over, from the first piece to the last
            for time, behind in reversed(jumped):
                seen = self._see(params, folded, rows, row, time, False)
                scan, before = advance.backward(seen.selected, dh, behind, before, self.chunk)
                dwindows = self._back(params, folded, seen, scan, [scan.B], 0.0, sums)
                self._spread(dx, row, time, dwindows)
        return xp.reshape(dx, x.shape), self._unfolded(params, sums)

    def _pieces(self, x, read):
        # (rows, pieces of time before the step ``read``, those from there on), as of `tiles`
        tokens = PIECE * chunked.chunk_size(self.chunk, self.channels * self.states, x)
        rows, length, _ = x.shape
        found = []
        for row, times in chunked.tiles(rows, length, tokens):
            early = [slice(t.start, min(t.stop, read)) for t in times if t.start < read]
            late = [slice(max(t.start, read), t.stop) for t in times if t.stop > read]
            found.append((row, early, late))
        return found

    def _spread(self, dx, row, time, dwindows):
        # dx of a piece, and of the K - 1 steps before it, which it has used: dX -> dx
        for k in range(self.kernel):
            first = time.start - self.kernel + 1 + k
            skipped = max(0, -first)  # windows that reach before the start
            to = slice(first + skipped, first + time.stop - time.start)
            if to.start < to.stop:
                part = slice(k * self.width, (k + 1) * self.width)
                dx[row, to, :] += dwindows[:, skipped:, part]

    def _folded(self, params):
        # F (E, K D + 1); Win's part for z (E, D); [Wdt bdt] (E, R + 1); A = -exp(Alog) (E, N)
        xp = backend.namespace(params["Win"])
        e = self.channels
        # F[e, k D + d] = wc[e,k] Win[e,d]
        f = params["wc"][:, :, None] * params["Win"][:e, None, :]
        f = xp.concat([xp.reshape(f, (e, -1)), params["bc"][:, None]], axis=1)
        s = xp.concat([params["Wdt"], params["bdt"][:, None]], axis=1)
        return {"F": f, "z": params["Win"][e:, :], "s": s, "A": -xp.exp(params["Alog"])}

    def _unfolded(self, params, sums):
        # the gradients of the parameters from those of `_folded`
        xp = backend.namespace(sums["F"])
        e, r = self.channels, self.rank
        df = xp.reshape(sums["F"][:, :-1], (e, self.kernel, self.width))
        # dwc = sum_d dF Win,  dWin = sum_k dF wc
        win = xp.sum(df * params["wc"][:, :, None], axis=1)
        return {
            "Win": xp.concat([win, sums["z"]]),
            "wc": xp.sum(df * params["Win"][:e, None, :], axis=2),
            "bc": sums["F"][:, -1],
            "Wx": sums["Wx"],
            "Wdt": sums["s"][:, :r],
            "bdt": sums["s"][:, r],
            "Alog": -xp.exp(params["Alog"]) * sums["A"],
            "Dsk": sums["Dsk"],
            "Wout": sums["Wout"],
        }

    def _windows(self, x, row, time):
        # (rows, T, K D + 1): x_{t-(K-1)}, ..., x_t, and 1; zeros before the start
        xp = backend.namespace(x)
        first = time.start - self.kernel + 1
        known = x[row, max(0, first) : time.stop, :]
        if first < 0:
            missing = backend.empty((known.shape[0], -first, known.shape[2]), x)
            known = xp.concat([xp.zeros_like(missing), known], axis=1)
        length = time.stop - time.start
        return with_one(
            xp.concat([known[:, k : k + length, :] for k in range(self.kernel)], axis=2)
        )

    def _see(self, params, folded, x, row, time, read):
        # steps 1 to 4; C only where the states are read
        n, r = self.states, self.rank
        windows = self._windows(x, row, time)
        # 1. and 2. v = X F^T,  u = silu(v)
        v = product(windows, folded["F"])
        gate = sigmoid(v)
        u = v * gate
        # 3. [rho B C] = u Wx^T
        wanted = r + 2 * n if read else r + n
        q = product(u, params["Wx"][:wanted, :])
        rho, b = with_one(q[:, :, :r]), q[:, :, r : r + n]
        c = q[:, :, r + n :] if read else None
        # 4. dt = softplus(rho Wdt^T + bdt)
        dt = softplus(product(rho, folded["s"]))
        selected = Selected(u, dt, folded["A"], b, c)
        return Piece(x[row, time, :], windows, v, gate, rho, selected)

    def _read_back(self, params, folded, seen, starts, dout, dh, sums, dx):
        # from dout to the scan's derivatives: (Selected, d(state before the piece), dy Dsk)
        xp = backend.namespace(dout)
        u = seen.selected.u
        # 1. do = dout Wout,  dy = do silu(z),  dz = do y silu'(z)
        gate, slope = silu_and_derivative(product(seen.x, folded["z"]))
        do = product(dout, xp.matrix_transpose(params["Wout"]))
        dy = do * gate
        selected, dh, y = chunked.backward(seen.selected, starts, dy, dh, self.chunk)
        y += params["Dsk"] * u
        sums["Wout"] += summed(dout, y * gate)
        do *= y
        do *= slope
        sums["z"] += summed(do, seen.x)
        dx += product(do, xp.matrix_transpose(folded["z"]))
        # 2. dDsk = sum dy u,  du = dy Dsk
        sums["Dsk"] += xp.sum(dy * u, axis=(0, 1))
        dy *= params["Dsk"]
        return selected, dh, dy

    def _back(self, params, folded, seen, scan, dq, du, sums):
        # from the scan's derivatives, and du that passed it by, to those of the windows
        xp = backend.namespace(scan.u)
        du = du + scan.u
        sums["A"] += scan.A
        # 4. ds = d(dt) sigmoid(s),  sigmoid(s) = 1 - e^-dt,  drho = ds Wdt
        ds = -scan.dt * xp.expm1(-seen.selected.dt)
        sums["s"] += summed(ds, seen.rho)
        # 5. dq = [drho dB dC],  du += dq Wx
        dq = xp.concat([product(ds, xp.matrix_transpose(params["Wdt"])), *dq], axis=2)
        used = dq.shape[2]
        sums["Wx"][:used, :] += summed(dq, seen.selected.u)
        du += product(dq, xp.matrix_transpose(params["Wx"][:used, :]))
        # 6. dv = du silu'(v),  silu' = gate + u (1 - gate)
        slope = seen.gate + seen.selected.u * (1.0 - seen.gate)
        du *= slope
        # 7. dF = sum dv^T X,  dX = dv F
        sums["F"] += summed(du, seen.windows)
        return product(du, xp.matrix_transpose(folded["F"][:, :-1]))

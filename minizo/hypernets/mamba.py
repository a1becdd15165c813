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

A long sequence is taken in pieces, so that memory grows with its length by D numbers a step and N E
a chunk of the scan: the backward finds again from x what it needs of a piece.

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
from . import chunked
from .base import Hypernet
from .scan import Selected, flat

SHORTEST, LONGEST = 0.001, 0.1  # initial dt, log-uniform between them
PIECE = 4  # chunks of the scan in a piece


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
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


class Piece(NamedTuple):
    """Intermediate values of a piece on the way to the scan; features outside, time inside.

    x : (D, rows, K-1 + T), the piece and what lies before it;  a : (E, rows, K-1 + T);
    z, v, u, s : (E, rows, T);  rho : (R, rows, T);  selected : Selected.
    """

    x: object
    a: object
    z: object
    v: object
    u: object
    rho: object
    s: object
    selected: object


def product(w, x):
    """Return w x at every row and time: (c, k) and (k, rows, T) -> (c, rows, T)."""
    xp = backend.namespace(x)
    # (k, rows, T) -> (k, rows*T)
    y = xp.matmul(w, xp.reshape(x, (x.shape[0], -1)))
    return xp.reshape(y, (w.shape[0], *x.shape[1:]))


def summed(d, x):
    """Return the sum of d x^T over rows and time: (c, rows, T) and (k, rows, T) -> (c, k)."""
    xp = backend.namespace(d)
    d, x = xp.reshape(d, (d.shape[0], -1)), xp.reshape(x, (x.shape[0], -1))
    return xp.matmul(d, xp.matrix_transpose(x))


def features_last(x):
    """Transpose (c, rows, T) -> (rows, T, c), a view."""
    return backend.namespace(x).permute_dims(x, (1, 2, 0))


def features_first(x):
    """Transpose (rows, T, c) -> (c, rows, T), contiguous, so that loops over time are long."""
    xp = backend.namespace(x)
    return xp.asarray(xp.permute_dims(x, (2, 0, 1)), copy=True)


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
        Steps of time that the scan takes at once; see `minizo.hypernets.chunked`. A piece is four
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

    def macs(self, tokens):
        """Count the multiply-accumulates of one forward, ``tokens`` steps and rows in all.

        The scan counts for 5 E N of them, in chunks. Not counted: E N + 6 E exponentials a token.
        """
        d, e, n, r = self.width, self.channels, self.states, self.rank
        return tokens * e * (3 * d + self.kernel + 2 * r + 2 * n + 5 * n + 2)

    def backward_macs(self, tokens):
        """Count the multiply-accumulates of one backward: two a product, plus the scan's own."""
        d, e, n, r = self.width, self.channels, self.states, self.rank
        again = 2 * d + self.kernel + 2 * r + 2 * n
        return tokens * e * (again + 2 * (3 * d + self.kernel + 2 * r + 2 * n) + 15 * n + 10)

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

    def forward(self, params, x):
        """Return out (..., L, D) for x (..., L, D), and the cache.

        Cost: `macs`. Memory beside x, out and the scan's states (N E numbers for each of its
        chunks): some 12 (piece, E).
        """
        require(x.shape[-2] >= 1, "the length of the sequence", 0, "it must be at least 1")
        xp = backend.namespace(x)
        rows = flat(x, 2)
        out, states = backend.empty(rows.shape, x), []
        for row, times in self._pieces(rows):
            h = None
            for time in times:
                seen = self._see(params, self._with_past(rows, row, time))
                # 5. and 6. y = r + Dsk u,  o = y silu(z)
                r, h, starts = chunked.forward(seen.selected, h, self.chunk)
                o = self._read(params, seen, features_first(r)) * silu(seen.z)
                # 7. out = o Wout^T
                out[row, time, :] = features_last(product(params["Wout"], o))
                states.append(starts)
        return xp.reshape(out, x.shape), (x, states)

    def backward(self, params, cache, dout):
        """Return dx (..., L, D) and the gradients, for dout (..., L, D). Cost: `backward_macs`."""
        x, states = cache
        xp = backend.namespace(dout)
        rows, dout = flat(x, 2), flat(dout, 2)
        dx = xp.zeros_like(rows)
        grads = {name: xp.zeros_like(params[name]) for name in self.shapes}
        left = list(states)
        for row, times in reversed(self._pieces(rows)):
            dh = None
            for time in reversed(times):
                seen = self._see(params, self._with_past(rows, row, time))
                dpiece, shares, dh = self._back(
                    params, seen, left.pop(), features_first(dout[row, time, :]), dh
                )
                # the piece has used the K - 1 steps before it, which have a gradient from it too
                first = max(0, time.start - self.kernel + 1)
                used = dpiece[:, :, dpiece.shape[2] - (time.stop - first) :]
                dx[row, first : time.stop, :] += features_last(used)
                for name, value in shares.items():
                    grads[name] += value
        return xp.reshape(dx, x.shape), grads

    def _pieces(self, x):
        chunk = chunked.chunk_size(self.chunk, self.channels * self.states, x)
        return chunked.tiles(*x.shape[:2], PIECE * chunk)

    def _with_past(self, x, row, time):
        # (D, rows, K-1 + T): the piece behind the K - 1 steps before it, zeros before the start
        xp = backend.namespace(x)
        first = time.start - self.kernel + 1
        known = x[row, max(0, first) : time.stop, :]
        if first < 0:
            missing = backend.empty((known.shape[0], -first, known.shape[2]), x)
            known = xp.concat([xp.zeros_like(missing), known], axis=1)
        return features_first(known)

    def _see(self, params, x):
        # steps 1 to 4
        xp = backend.namespace(x)
        e, n, r, k = self.channels, self.states, self.rank, self.kernel
        length = x.shape[2] - k + 1
        # 1. [a z] = x Win^T
        projected = product(params["Win"], x)
        a, z = projected[:e, ...], projected[e:, :, k - 1 :]
        # 2. v_t = bc + sum_k wc[:, k] a_{t-(K-1)+k}
        v = params["bc"][:, None, None] + sum(
            params["wc"][:, j, None, None] * a[:, :, j : j + length] for j in range(k)
        )
        u = silu(v)
        # 3. [rho B C] = u Wx^T
        q = product(params["Wx"], u)
        rho, b, c = q[:r, ...], q[r : r + n, ...], q[r + n :, ...]
        # 4. dt = softplus(rho Wdt^T + bdt)
        s = product(params["Wdt"], rho) + params["bdt"][:, None, None]
        u_, dt, b, c = (features_last(value) for value in (u, softplus(s), b, c))
        return Piece(x, a, z, v, u, rho, s, Selected(u_, dt, -xp.exp(params["Alog"]), b, c))

    def _read(self, params, seen, r):
        # y = r + Dsk u
        return r + params["Dsk"][:, None, None] * seen.u

    def _back(self, params, seen, starts, dout, dh):
        # the derivatives of one piece: d(its x, with what lies before), grads, d(state before it)
        xp = backend.namespace(dout)
        turned = {name: xp.matrix_transpose(params[name]) for name in ("Win", "Wx", "Wdt", "Wout")}
        # 1. do = dout Wout,  dy = do silu(z),  dz = do y silu'(z)
        gate, slope = silu_and_derivative(seen.z)
        do = product(turned["Wout"], dout)
        dy = do * gate
        selected, dh, r = chunked.backward(seen.selected, starts, features_last(dy), dh, self.chunk)
        y = self._read(params, seen, features_first(r))
        dz = do * y * slope
        # 2. and 3.
        du, ddt, db, dc = (
            features_first(v) for v in (selected.u, selected.dt, selected.B, selected.C)
        )
        du += dy * params["Dsk"][:, None, None]
        # 4. ds = d(dt) sigmoid(s),  drho = ds Wdt
        ds = ddt * sigmoid(seen.s)
        # 5. dq = [drho dB dC],  du += dq Wx
        dq = xp.concat([product(turned["Wdt"], ds), db, dc])
        du += product(turned["Wx"], dq)
        # 6. dv = du silu'(v)
        dv = du * silu_and_derivative(seen.v)[1]
        k, length = self.kernel, dv.shape[2]
        da = xp.zeros_like(seen.a)
        dwc = []
        for j in range(k):
            da[:, :, j : j + length] += dv * params["wc"][:, j, None, None]
            dwc.append(xp.sum(dv * seen.a[:, :, j : j + length], axis=(1, 2)))
        # 7. dP = [da dz];  dz is 0 in the steps before the piece
        dz = xp.concat([xp.zeros_like(seen.a[:, :, : k - 1]), dz], axis=2)
        dp = xp.concat([da, dz])
        grads = {
            "Win": summed(dp, seen.x),
            "wc": xp.stack(dwc, axis=-1),
            "bc": xp.sum(dv, axis=(1, 2)),
            "Wx": summed(dq, seen.u),
            "Wdt": summed(ds, seen.rho),
            "bdt": xp.sum(ds, axis=(1, 2)),
            "Alog": seen.selected.A * selected.A,
            "Dsk": xp.sum(dy * seen.u, axis=(1, 2)),
            "Wout": summed(dout, y * gate),
        }
        return product(turned["Win"], dp), grads, dh

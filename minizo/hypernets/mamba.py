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

Nothing is non-linear between the projection to a and the convolution, so both are one product,
v = X F^T, with the windows X (L, K D + 1) of x, a 1 at the end of each, and F (E, K D + 1):
F[e, k D + d] = wc[e,k] Win[e,d], and bc behind. From dF = sum dv^T X follow the derivatives of its
factors, once for the whole sequence; what reaches x through a is dX = dv F. In the same way bdt is
in Ws = [Wdt bdt] (E, R + 1), behind [rho 1]. Wz (E, D) is Win's part for z.

The functions `enter` (steps 1 to 4), `leave` (5 to 7) and their backwards are these equations for a
piece of time. `minizo.hypernets.pieces` calls them piece by piece. Where no output is wanted it
calls `enter` alone: z, C, y and o are then not computed, and their derivatives are 0.

References
----------
A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", COLM 2024,
algorithm 2, section 3.4 and figure 3; initial values of dt from section 3.6.
A. Gu, K. Goel, A. Gupta, C. Re, "On the parameterization and initialization of diagonal state space
models", NeurIPS 2022 (A = -(1, ..., N)).
"""

from dataclasses import dataclass
from functools import partial
from math import ceil, log, sqrt
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..errors import require
from ..rng import Stream
from ..settings import Count
from ..special import silu, silu_slope, softplus
from ..types import Array, Arrays, Shapes
from . import chunked
from .base import Hypernet, product, product_back, summed, with_one
from .pieces import Pieces
from .scan import Selected, flat

SHORTEST, LONGEST = 0.001, 0.1  # initial dt, log-uniform between them


@dataclass
class Folded:
    """The parameters as the products take them, or the sums of their gradients.

    F (E, K D + 1);  Wz (E, D);  Wx (R + 2N, E);  Ws (E, R + 1);  A (E, N);  Dsk (E);  Wout (D, E);
    Wdt (E, R), as it is; no sum, because Ws has it.
    """

    F: object
    Wz: object
    Wx: object
    Ws: object
    A: object
    Dsk: object
    Wout: object
    Wdt: object = None


class Piece(NamedTuple):
    """A stretch of T steps on the way to the scan, all (rows, T, ...).

    x (D);  windows, X (K D + 1);  gate, sigmoid(v) (E);  rho, with 1 behind (R + 1);
    selected : Selected, whose C is ``None`` where nothing is read.
    """

    x: object
    windows: object
    gate: object
    rho: object
    selected: object


def enter(w, x, windows, read):
    """Return a `Piece`, steps 1 to 4, for parameters ``w`` (Folded); C only where it is read."""
    n, r = w.A.shape[1], w.Wdt.shape[1]
    # 1. and 2. v = X F^T,  u = silu(v)
    u, gate = silu(product(windows, w.F))
    # 3. [rho B C] = u Wx^T
    q = product(u, w.Wx if read else w.Wx[: r + n, :])
    rho, b = with_one(q[..., :r]), q[..., r : r + n]
    c = q[..., r + n :] if read else None
    # 4. dt = softplus(s),  s = [rho 1] Ws^T
    dt = softplus(product(rho, w.Ws))
    return Piece(x, windows, gate, rho, Selected(u, dt, w.A, b, c))


def leave(w, chunk, piece, h):
    """Return out, the state after the piece and the states kept, steps 5 to 7, for state h."""
    # 5. the selective scan: r
    r, h, starts = chunked.forward(piece.selected, h, chunk)
    # 6. y = r + Dsk u,  o = y silu(z),  z = x Wz^T
    o = r + w.Dsk * piece.selected.u
    o *= silu(product(piece.x, w.Wz))[0]
    # 7. out = o Wout^T
    return product(o, w.Wout), h, starts


def leave_back(w, sums, chunk, piece, starts, dout, dh):
    """Return dz Wz, dy Dsk, the scan's derivatives and d(state before), backward steps 1 to 3.

    The gradients of the parameters are added to ``sums``, here and in `enter_back`.
    """
    xp, u = backend.namespace(dout), piece.selected.u
    silu_z, gate = silu(product(piece.x, w.Wz))
    # 1. do = G Wout,  dy = do silu(z)
    do = product_back(dout, w.Wout)
    dy = do * silu_z
    # 3. the scan's adjoint, which finds r again:  y = r + Dsk u
    scan, dh, y = chunked.backward(piece.selected, starts, dy, dh, chunk)
    y += w.Dsk * u
    # 1. dWout = sum G^T o,  o = y silu(z),  dz = do y silu'(z)
    sums.Wout += summed(dout, y * silu_z)
    dz = do
    dz *= y
    dz *= silu_slope(silu_z, gate)
    # 2. dDsk = sum dy u,  du = dy Dsk
    sums.Dsk += xp.sum(dy * u, axis=(0, 1))
    du = dy
    du *= w.Dsk
    # 7. dWz = sum dz^T x,  dx = dz Wz
    sums.Wz += summed(dz, piece.x)
    return product_back(dz, w.Wz), du, scan, dh


def enter_back(w, sums, piece, du, scan):
    """Return dX, backward steps 3 to 7, for du that passed the scan by, and its derivatives."""
    xp = backend.namespace(scan.u)
    # 3. du += ...,  dA
    du = du + scan.u
    sums.A += scan.A
    # 4. ds = d(dt) sigmoid(s),  sigmoid(s) = 1 - e^-dt,  dWs = sum ds^T [rho 1],  drho = ds Wdt
    ds = -scan.dt * xp.expm1(-piece.selected.dt)
    sums.Ws += summed(ds, piece.rho)
    drho = product_back(ds, w.Wdt)
    # 5. dq = [drho dB dC],  dWx = sum dq^T u,  du += dq Wx
    dq = xp.concat([drho, scan.B] if scan.C is None else [drho, scan.B, scan.C], axis=2)
    used = slice(0, dq.shape[2])  # C's rows not, where it is not read
    sums.Wx[used, :] += summed(dq, piece.selected.u)
    du += product_back(dq, w.Wx[used, :])
    # 6. dv = du silu'(v)
    dv = du
    dv *= silu_slope(piece.selected.u, piece.gate)
    # 7. dF = sum dv^T X,  dX = dv F
    sums.F += summed(dv, piece.windows)
    return product_back(dv, w.F[:, :-1])


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
    def channels(self) -> int:
        """E."""
        return self.expand * self.width

    @property
    def rank(self) -> int:
        """R = ceil(D / 16), through which the step sizes pass."""
        return ceil(self.width / 16)

    @property
    def shapes(self) -> Shapes:
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

    def macs(self, tokens: int, read: int | None = None) -> int:
        """Count the multiply-accumulates of one forward, ``tokens`` steps and rows in all.

        The outputs of ``read`` of them are wanted, by default of all. The scan counts for 5 E N of
        them where it is read and 3 E N elsewhere. Not counted: E N exponentials a token, and 3 E
        (4 E where it is read).
        """
        d, e, n = self.width, self.channels, self.states
        read = tokens if read is None else read
        there = self._projections + 3 * n
        return e * (tokens * there + read * (2 * d + 3 * n + 2))

    def backward_macs(self, tokens: int, read: int | None = None) -> int:
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

    def init(self, stream: Stream, like: Array) -> Arrays:
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

    def forward(self, params: Arrays, x: Array, last: int | None = None) -> tuple[Array, Any]:
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
        w = self._folded(params)
        out, kept = self._pieces.forward(
            flat(x, 2), last, partial(enter, w), partial(leave, w, self.chunk)
        )
        shape = (*x.shape[:-2], last, x.shape[-1])
        return backend.namespace(x).reshape(out, shape), (x, kept)

    def backward(self, params: Arrays, cache: Any, dout: Array) -> tuple[Array, Arrays]:
        """Return dx (..., L, D) and the gradients, for dout (..., last, D).

        Cost: `backward_macs`. Memory beside x and dx: some 20 (piece, E).
        """
        xp, (x, kept), w = backend.namespace(dout), cache, self._folded(params)
        learned = (w.F, w.Wz, w.Wx, w.Ws, w.A, w.Dsk, w.Wout)
        sums = Folded(*(xp.zeros_like(value) for value in learned))
        dx = self._pieces.backward(
            flat(x, 2),
            kept,
            flat(dout, 2),
            partial(enter, w),
            partial(leave_back, w, sums, self.chunk),
            partial(enter_back, w, sums),
        )
        return xp.reshape(dx, x.shape), self._unfolded(params, sums)

    @property
    def _pieces(self):
        return Pieces(self.kernel, self.channels * self.states, self.chunk)

    def _folded(self, params):
        xp = backend.namespace(params["Win"])
        e = self.channels
        # F[e, k D + d] = wc[e,k] Win[e,d], and bc behind
        f = params["wc"][:, :, None] * params["Win"][:e, None, :]
        f = xp.concat([xp.reshape(f, (e, -1)), params["bc"][:, None]], axis=1)
        # Ws = [Wdt bdt],  A = -exp(Alog)
        ws = xp.concat([params["Wdt"], params["bdt"][:, None]], axis=1)
        a = -xp.exp(params["Alog"])
        wz = params["Win"][e:, :]
        wx, dsk, wout, wdt = (params[name] for name in ("Wx", "Dsk", "Wout", "Wdt"))
        return Folded(f, wz, wx, ws, a, dsk, wout, wdt)

    def _unfolded(self, params, sums):
        # the gradients of the parameters from those of `_folded`
        xp = backend.namespace(sums.F)
        e, r = self.channels, self.rank
        df = xp.reshape(sums.F[:, :-1], (e, self.kernel, self.width))
        # dWin = sum_k dF wc,  dwc = sum_d dF Win,  dAlog = A dA
        win = xp.sum(df * params["wc"][:, :, None], axis=1)
        return {
            "Win": xp.concat([win, sums.Wz]),
            "wc": xp.sum(df * params["Win"][:e, None, :], axis=2),
            "bc": sums.F[:, -1],
            "Wx": sums.Wx,
            "Wdt": sums.Ws[:, :r],
            "bdt": sums.Ws[:, r],
            "Alog": -xp.exp(params["Alog"]) * sums.A,
            "Dsk": sums.Dsk,
            "Wout": sums.Wout,
        }

"""The selective scan: a linear recurrence whose coefficients depend on the input, and its adjoint.

    a_t[n,e] = exp(dt_t[e] A[e,n])
    h_t[n,e] = a_t[n,e] h_{t-1}[n,e] + dt_t[e] u_t[e] B_t[n]          state
    y_t[e]   = sum_n C_t[n] h_t[n,e]

t runs over time, e over E channels, n over N states. Its derivative is the same recurrence, read
backwards. With dy = dl/dy, lam_t = dl/dh_t, and mu_t = a_t lam_t for what reaches the state before:

    lam_t = dy_t C_t + mu_{t+1},     w_t = mu_t h_{t-1} = a_t dl/da_t
    d(dt_t) = sum_n w_t A + u_t sum_n lam_t B_t,     du_t = dt_t sum_n lam_t B_t
    dB_t = sum_e lam_t dt_t u_t,     dC_t = sum_e dy_t h_t,     dA = sum_t w_t dt_t

Here it is one step of time after the other, every state kept: the equations, and what the fast form
in `minizo.hypernets.chunked` is compared with.

References
----------
A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", COLM 2024,
equation 2 and algorithm 2. They print the zero-order hold for A and for B; their code, and this,
takes B as dt B.
"""

from math import prod
from typing import NamedTuple

from .. import backend


class Selected(NamedTuple):
    """What drives the recurrence, or the derivatives with respect to it.

    u, dt : ndarrays (..., L, E), input and step size;  A : ndarray (E, N), below 0;
    B, C : ndarrays (..., L, N), what enters the state and what is read from it.
    """

    u: object
    dt: object
    A: object
    B: object
    C: object


def flat(x, kept):
    """Merge all leading axes: (..., *kept) -> (R, *kept), ``kept`` the number of trailing axes."""
    shape = x.shape[x.ndim - kept :]
    return backend.namespace(x).reshape(x, (prod(x.shape[: x.ndim - kept]), *shape))


def resting(x):
    """Return the state 0 that a recurrence driven by ``x`` starts from: (..., N, E)."""
    shape = (*x.u.shape[:-2], x.A.shape[1], x.A.shape[0])
    return backend.namespace(x.u).zeros_like(backend.empty(shape, x.u))


def coefficients(x, t):
    """Return a_t = exp(dt_t A) and b_t = dt_t u_t B_t at step t, both (..., N, E)."""
    xp = backend.namespace(x.u)
    dt = x.dt[..., t, None, :]
    return xp.exp(dt * xp.matrix_transpose(x.A)), dt * x.u[..., t, None, :] * x.B[..., t, :, None]


def forward(x, h=None):
    """Return y and every state, one step of time after the other.

    Parameters
    ----------
    x : Selected
        Of at least one step.
    h : ndarray (..., N, E), optional
        State before the first step; 0 by default.

    Returns
    -------
    y : ndarray (..., L, E)
    states : list of L + 1 ndarrays (..., N, E)
        Before the first step, and after each.
        Cost: 3 L E N multiply-accumulates and L E N exponentials; memory grows with L.
    """
    xp = backend.namespace(x.u)
    states, outputs = [resting(x) if h is None else h], []
    for t in range(x.u.shape[-2]):
        # h_t = a_t h_{t-1} + b_t,  y_t = sum_n C_t h_t
        a, b = coefficients(x, t)
        states.append(a * states[-1] + b)
        outputs.append(xp.sum(x.C[..., t, :, None] * states[-1], axis=-2))
    return backend.stack(outputs, axis=-2), states


def backward(x, states, dy, dh=None):
    """Return the derivatives of `forward`, from the last step to the first.

    Parameters
    ----------
    x : Selected
    states : list of ndarray
        As `forward` returned them.
    dy : ndarray (..., L, E)
    dh : ndarray (..., N, E), optional
        With respect to the last state; 0 by default.

    Returns
    -------
    dx : Selected
    dh : ndarray (..., N, E)
        With respect to the state before the first step.
        Cost: 8 L E N multiply-accumulates and L E N exponentials.
    """
    xp = backend.namespace(dy)
    mu = resting(x) if dh is None else dh
    transposed = xp.matrix_transpose(x.A)
    da, rows = xp.zeros_like(transposed), []
    for t in range(dy.shape[-2] - 1, -1, -1):
        a, _ = coefficients(x, t)
        u, dt = x.u[..., t, :], x.dt[..., t, :]
        # lam_t = dy_t C_t + mu_{t+1},  mu_t = a_t lam_t,  w_t = mu_t h_{t-1}
        lam = dy[..., t, None, :] * x.C[..., t, :, None] + mu
        mu = a * lam
        w = mu * states[t]
        # d(dt_t) = sum_n w_t A + u_t taken,  du_t = dt_t taken,  taken = sum_n lam_t B_t
        taken = xp.sum(lam * x.B[..., t, :, None], axis=-2)
        ddt = xp.sum(w * transposed, axis=-2) + u * taken
        # dB_t = sum_e lam_t dt_t u_t,  dC_t = sum_e dy_t h_t,  dA = sum_t w_t dt_t
        db = xp.sum(lam * (dt * u)[..., None, :], axis=-1)
        dc = xp.sum(states[t + 1] * dy[..., t, None, :], axis=-1)
        da = da + xp.sum(flat(w * dt[..., None, :], 2), axis=0)
        rows.append((dt * taken, ddt, db, dc))
    du, ddt, db, dc = (backend.stack(row[::-1], axis=-2) for row in zip(*rows, strict=True))
    return Selected(du, ddt, xp.matrix_transpose(da), db, dc), mu

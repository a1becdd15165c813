"""Runs of theorem 1's recursion, and two that keep its assumptions and break its bounds."""

from typing import NamedTuple

import numpy as np

from .theorem import Known

THETA, LENGTH = 1024.0, 2**14  # of the 2-cycle: slope of phi_f, iterates


class Walk(NamedTuple):
    """R paths at once: x (T + 1, R, d), factor phi_k (T, R, 1), subgradient h_k (T, R, d)."""

    x: object
    factor: object
    subgradient: object


def walk(subgradient, factor, start, alpha, beta, steps, noise=None, errors=None):
    """x_{k+1} = x_k - alpha phi_k g_k + beta (v_k + e_k), from v_0 = 0.

    Parameters
    ----------
    subgradient : callable
        ``subgradient(x)``: (R, d) -> (R, d).
    factor : callable
        ``factor(x, v, h, g)``: phi_k (R, 1), from the point, the last move, the subgradient, and
        the gradient drawn, at which it must not look.
    start : ndarray (R, d)
    alpha, beta : float
    steps : int
        T.
    noise, errors : ndarray (T, R, d), optional
        g_k - h_k, and e_k.
    """
    x, v = [np.array(start)], np.zeros_like(start)
    factors, subgradients = [], []
    for k in range(steps):
        h = subgradient(x[-1])
        g = h if noise is None else h + noise[k]
        phi = factor(x[-1], v, h, g)
        v = beta * (v if errors is None else v + errors[k]) - alpha * phi * g
        x.append(x[-1] + v)
        factors.append(phi)
        subgradients.append(h)
    return Walk(np.array(x), np.array(factors), np.array(subgradients))


def size(x):
    """|x| over the last axis, kept."""
    return np.sqrt(np.sum(x * x, axis=-1, keepdims=True))


class Lopsided(NamedTuple):
    """f(x) = max(right x_1, -left x_1): a convex function of the first coordinate, least at 0."""

    right: float = 1.0
    left: float = 0.5

    def value(self, x):
        """f: (..., d) -> (...)."""
        return np.maximum(self.right * x[..., 0], -self.left * x[..., 0])

    def subgradient(self, x):
        """One subgradient: (..., d) -> (..., d)."""
        h = np.zeros_like(x)
        h[..., 0] = np.where(x[..., 0] >= 0.0, self.right, -self.left)
        return h


def cycle(steps=LENGTH, theta=THETA):
    """Fault 1: x = 1, -2, 1, -2, ... exactly, and what is known of it; f(xhat) = 1/4.

    f(x) = max(x, -x/2), phi_f(x) = theta |x|, beta = 0, alpha = 3 / theta. From 1, x - 3 |x| = -2;
    from -2, x + 3/2 |x| = 1. kappa = 1, rho = 2, G = 1.

    Returns
    -------
    tuple of Walk, Known, Lopsided
    """
    f, alpha = Lopsided(), 3.0 / theta
    found = walk(
        f.subgradient, lambda x, v, h, g: theta * size(x), np.ones((1, 1)), alpha, 0.0, steps
    )
    return found, known(found, f, alpha, 0.0, theta, theta), f


def lopsided(steps=8192, alpha=2.0**-13, beta=0.995, omega=0.5, theta=1.0):
    """Fault 2: phi is as large as allowed where f falls, and as small as allowed where it rises.

    f(x) = max(x_1, -x_1/2) in the plane, from (1/16, 1). x_2 stays at 1, so that |x_k| changes
    little; x* = 0 is a minimiser.

    Returns
    -------
    tuple of Walk, Known, Lopsided
    """
    f = Lopsided()

    def factor(x, v, h, g):
        falls = np.sum(h * v, axis=-1, keepdims=True) < 0.0
        return np.where(falls, theta, omega) * size(x)

    start = np.array([[0.0625, 1.0]])
    found = walk(f.subgradient, factor, start, alpha, beta, steps)
    return found, known(found, f, alpha, beta, omega, theta), f


def known(found, f, alpha, beta, omega, theta):
    """What the theorem knows of one path without noise: kappa and rho are those of its iterates."""
    x = found.x[:-1]
    kappa, rho = float(np.min(size(x))), float(np.max(size(x)))
    return Known(
        len(x), alpha, beta, float(f.value(x[0])[0]), float(size(x[0])[0, 0]), omega * kappa,
        theta * rho, max(f.right, f.left),
    )  # fmt: skip


def assumptions(found, f, alpha, beta, omega, theta):
    """By how much one path without noise breaks each assumption: name -> a number, 0 or less.

    Cost: the subgradient inequality is looked at between all pairs of different iterates.
    """
    x, phi, h = found.x[:-1, 0], found.factor[:, 0], found.subgradient[:, 0]
    values = f.value(x)
    _, own = np.unique(x, axis=0, return_index=True)
    ends = np.concatenate([x[own], np.zeros_like(x[:1])])
    convex = max(float(np.max(values[i] + (ends - x[i]) @ h[i] - f.value(ends))) for i in own)
    moves = np.diff(found.x[:, 0], axis=0)
    before = np.concatenate([np.zeros_like(x[:1]), moves[:-1]])
    slow = moves + alpha * phi * h - beta * before
    first = {}
    again = max(abs(first.setdefault(tuple(p), q) - q) for p, q in zip(x, phi[:, 0], strict=True))
    return {
        "f(y) >= f(x) + g^T (y - x)": convex,
        "x* minimises f": float(np.max(f.value(0.0 * x[:1]) - values)),
        "|g| <= G": float(np.max(size(h))) - max(f.right, f.left),
        "|x - x*| >= kappa > 0": -float(np.min(size(x))),
        "slow-net = momentum": float(np.max(np.abs(slow))),
        "phi_f is a function": float(again),
        "phi_f >= Omega |x|": float(np.max(omega * size(x) - phi)),
        "phi_f <= Theta |x|": float(np.max(phi - theta * size(x))),
    }


def excess(found, f):
    """f(xhat) - f*, with xhat the mean of the iterates, for f* = 0."""
    return float(f.value(np.mean(found.x[:-1], axis=0))[0])


def lemma_2(found, f, k):
    """Left minus right of lemma 2 (equation 27) at x = x* = 0, for steps 1 ... T - 1."""
    x = found.x[:, 0]
    v = np.diff(x, axis=0)  # v_{k+1}, k = 0 ...
    z = x[1:] + k.beta / (1.0 - k.beta) * v
    values = f.value(x)
    lengths = np.sum(z * z, axis=-1)
    rate = 2.0 * k.alpha * k.low / (1.0 - k.beta)
    rises = values[1:-1] - values[:-2]
    right = lengths[:-1] - rate * (values[1:-1] + k.beta / (1.0 - k.beta) * rises)
    return lengths[1:] - right - (k.alpha * k.high * k.slope / (1.0 - k.beta)) ** 2

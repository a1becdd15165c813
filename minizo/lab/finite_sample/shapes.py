"""Inputs that are not N(0, I), and two ways of mending them.

Each law fills (N, n) from one data set's stream. The teacher acts on what the network is fed, so
after standardising or whitening the task is another one, and just as solvable.
"""

import numpy as np

from ... import backend, rng

CORRELATION = 0.9  # of neighbours, in the "correlated" law
SCALES = (0.1, 3.0)  # of the first and the last coordinate of the "exponential" law


def _normal(seed, b, block, shape, like):
    return rng.at(seed, "noise", b, block).normal(backend.empty(shape, like))


def gaussian(seed, b, shape, like):
    """x ~ N(0, I)."""
    return _normal(seed, b, 0, shape, like)


def shifted(seed, b, shape, like, mean):
    """x ~ N(mean (1, ..., 1), I)."""
    return _normal(seed, b, 0, shape, like) + mean


def correlated(seed, b, shape, like, correlation=CORRELATION):
    """x ~ N(0, S), S_ij = correlation^|i - j|: an autoregression of order 1."""
    xp = backend.namespace(like)
    root = np.linalg.cholesky(autoregression(shape[1], correlation))
    # x = L z, S = L L^T : (N, n) @ (n, n)
    root = backend.asarray(np.ascontiguousarray(root.T), like, dtype=like.dtype)
    return xp.matmul(_normal(seed, b, 0, shape, like), root)


def exponential(seed, b, shape, like):
    """x_i = scale_i E_i, E_i exponential of mean 1: of mean scale_i, and skewed."""
    xp = backend.namespace(like)
    scales = backend.asarray(np.geomspace(*SCALES, shape[1]), like, dtype=like.dtype)
    c = rng.at(seed, "sign", b, 2).uniform(backend.empty(shape, like))
    # E = -ln((1 + c) / 2), c uniform on (-1, 1)
    return -scales * xp.log(0.5 * (1.0 + c))


def half_normal(seed, b, shape, like):
    """x_i = |N(0, 1)|."""
    return backend.namespace(like).abs(_normal(seed, b, 0, shape, like))


def student(seed, b, shape, like):
    """Student's t of 3 degrees of freedom: heavy tails, variance 3."""
    xp = backend.namespace(like)
    z = [_normal(seed, b, block, shape, like) for block in range(4)]
    # t = z_0 / sqrt((z_1^2 + z_2^2 + z_3^2) / 3)
    return z[0] / xp.sqrt((z[1] ** 2 + z[2] ** 2 + z[3] ** 2) / 3.0)


def rademacher(seed, b, shape, like):
    """x_i = +-1."""
    return backend.namespace(like).sign(_normal(seed, b, 0, shape, like))


LAWS = {
    "gaussian": gaussian,
    "exponential": exponential,
    "correlated": correlated,
    "half-normal": half_normal,
    "student t3": student,
    "rademacher": rademacher,
}


def autoregression(n, correlation):
    """S (n, n) with S_ij = correlation^|i - j|, NumPy."""
    apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return float(correlation) ** apart


def raw(x):
    """x as it is."""
    return x


def standardised(x):
    """(x - mean) / sd of each coordinate, over the samples of each data set: x (B, N, n)."""
    xp = backend.namespace(x)
    centred = x - xp.mean(x, axis=1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=1, keepdims=True))


def whitened(x):
    """S^(-1/2) (x - mean), S the sample covariance of each data set: x (B, N, n).

    Cost: 2 B N n^2 multiply-accumulates and B eigendecompositions.
    """
    xp = backend.namespace(x)
    centred = x - xp.mean(x, axis=1, keepdims=True)
    covariance = xp.matmul(xp.matrix_transpose(centred), centred) / x.shape[1]
    values, vectors = xp.linalg.eigh(covariance)
    # S^(-1/2) = V diag(1 / sqrt(lambda)) V^T
    root = xp.matmul(vectors / xp.sqrt(values)[:, None, :], xp.matrix_transpose(vectors))
    return xp.matmul(centred, root)


MENDINGS = {"raw": raw, "standardised": standardised, "whitened": whitened}

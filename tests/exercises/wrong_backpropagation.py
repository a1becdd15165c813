"""Wrong answers to the exercises of notebook 0, each with a part of what is said of it."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def rms(x):
    return np.sqrt(np.mean(x**2, axis=-1, keepdims=True))


def spread(x, dy):
    return np.repeat(np.repeat(dy, 2, 1), 2, 2)


def smallest(x, dy):
    n, height, width = x.shape
    windows = x.reshape(n, height // 2, 2, width // 2, 2)
    return ((windows == windows.min((2, 4), keepdims=True)) * dy[:, :, None, :, None]).reshape(
        x.shape
    )


def convolved(W, dy, letters="nohwab,ocab->nchw", pad=None):
    k = W.shape[-1]
    pad = k - 1 if pad is None else pad
    padded = np.pad(dy, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.einsum(letters, sliding_window_view(padded, (k, k), axis=(2, 3)), W)


WRONG = {
    "0.1": [
        (lambda s, ds: s * (1 - s), "this is ds/dx"),
        (lambda s, ds: ds * (1 - s**2), "differs in"),
        (lambda s, ds: -ds * s * (1 - s), "the wrong sign"),
    ],
    "0.2": [
        (lambda z, t: z - t, "5 times what it should be"),
        (lambda z, t: (t - z) / len(z), "the wrong sign"),
        (lambda z, t: 2 * (z - t) / len(z), "twice what it should be"),
        (lambda z, t: ((z - t) / len(z)).T, "transposed"),
    ],
    "0.3": [(1, "dL/dx is wanted, too"), (3, "together take 3 M"), (4, "twice what")],
    "0.4": [
        (spread, "only the largest reached y"),
        (lambda x, dy: spread(x, dy) / 4, "only the largest reached y"),
        (smallest, "differs in"),
    ],
    "0.5": [
        (lambda W, x, dy: np.outer(dy, W @ x), "the outer W's share alone"),
        (lambda W, x, dy: np.outer(W.T @ dy, x), "the inner W's share alone"),
        (lambda W, x, dy: (np.outer(dy, W @ x) + np.outer(W.T @ dy, x)).T, "transposed"),
        (lambda W, x, dy: 2 * np.outer(dy, W @ x), "differs in"),
    ],
    "0.6": [
        (lambda x, dy: dy / rms(x), "this holds r fast"),
        (lambda x, dy: (dy - x * np.mean(dy * x, -1, keepdims=True)) / rms(x), "differs in"),
        (lambda x, dy: (dy - x / rms(x) * np.mean(dy * x / rms(x))) / rms(x), "differs in"),
    ],
    "0.7": [(0.5, "a one-sided difference"), (1, "three times"), (2 / 3, "twice")],
    "0.8": [
        (convolved, "the kernel is not turned"),
        (lambda W, dy: convolved(W[:, :, ::-1, ::-1], dy, pad=1), "has the shape"),
        (lambda W, dy: -convolved(W[:, :, ::-1, ::-1], dy), "the wrong sign"),
    ],
}

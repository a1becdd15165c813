"""Wrong answers to the exercises of notebook 4, each with a part of what is said of it."""

import numpy as np


def _filters(x, dy):
    k = x.shape[2] - dy.shape[2] + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
    return np.einsum("nfij,ncijab->fcab", dy, windows)


def turned_filters(x, dy):
    return _filters(x, dy)[:, :, ::-1, ::-1]


def mean_over_examples(x, dy):
    return _filters(x, dy) / len(x)


def channels_first(x, dy):
    return np.swapaxes(_filters(x, dy), 0, 1)


def with_windows(W, dy):  # a convolution of dy, with a border of zeros
    k = W.shape[2]
    padded = np.pad(dy, ((0, 0), (0, 0), (k - 1, k - 1), (k - 1, k - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    return np.einsum("nfijab,fcab->ncij", windows, W)


def without_border(W, dy):
    return with_windows(W, dy)[:, :, 1:-1, 1:-1]


def overwritten(W, dy):
    k, h = W.shape[2], dy.shape[2]
    dx = np.zeros((len(dy), W.shape[1], h + k - 1, h + k - 1))
    for a in range(k):
        for b in range(k):
            dx[:, :, a : a + h, b : b + h] = np.einsum("fc,nfij->ncij", W[:, :, a, b], dy)
    return dx


def _counts(bits):
    return np.bitwise_count(bits).sum(axis=1, dtype=np.int64)


def agreeing(w_bits, x_bits, inside):
    return 2 * _counts((w_bits ^ x_bits) & inside) - _counts(inside)


def all_places(w_bits, x_bits, inside):
    return 8 * len(w_bits) - 2 * _counts((w_bits ^ x_bits) & inside)


def unsigned(w_bits, x_bits, inside):
    differences = np.bitwise_count((w_bits ^ x_bits) & inside).sum(axis=1)
    return np.bitwise_count(inside).sum(axis=1) - 2 * differences


def no_mask(w_bits, x_bits, inside):
    return _counts(inside) - 2 * _counts(w_bits ^ x_bits)


WRONG = {
    "4.1": [
        (turned_filters, "turned by half a turn"),
        (mean_over_examples, "is half of what it should be"),
        (channels_first, "has the shape"),
    ],
    "4.2": [
        (with_windows, "the wrong way round"),
        (without_border, "has the shape"),
        (overwritten, "differs in"),
    ],
    "4.3": [
        (lambda x, dy: dy, "this is the identity"),
        (lambda x, dy: dy * np.clip(x, -1, 1), "multiplies with hardtanh itself"),
        (lambda x, dy: dy * (np.abs(x) < 1), "at x = -1 it is 0, and should be 2"),
        (lambda x, dy: dy * (x <= 1), "at x = -2.5"),
    ],
    "4.4": [(1, "the output is the same"), (3, "upside down"), (0.1, "is 0.1: too small")],
    "4.5": [
        (lambda g, b, m, d: (m + b * d / g, np.sign(g)), "beta stands on the wrong side"),
        (lambda g, b, m, d: (m - b * d / g, np.ones_like(g)), "gamma may be negative"),
        (lambda g, b, m, d: (m - b / g, np.sign(g)), "t differs"),
        (lambda g, b, m, d: m - b * d / g, "two things"),
    ],
    "4.6": [
        (agreeing, "the sign is wrong"),
        (all_places, "counted as places that agree"),
        (unsigned, "unsigned"),
        (no_mask, "with zeros, differs"),
    ],
    "4.7": [(28_880 / 16_080, "take room, too"), (28.47, "too large")],
    "4.8": [(1568, "is the variance"), (1568**0.5 / 2, "half of")],
}

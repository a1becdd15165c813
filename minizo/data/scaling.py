"""Mean and standard deviation of every channel, and images scaled by them, a few at a time."""

from math import prod

from .. import backend

BLOCK = 2**20  # numbers that are float64 at a time: 8 MiB


def _in_blocks(x):
    # (slice of the images, those images in float64), a few at a time
    xp, count = backend.namespace(x), max(1, BLOCK // max(1, prod(x.shape[1:])))
    for start in range(0, x.shape[0], count):
        part = slice(start, min(start + count, x.shape[0]))
        yield part, xp.astype(x[part, ...], xp.float64)


def channel_moments(x):
    """Return mean and standard deviation of each channel of images x (N, C, H, W), in float64.

    Both have the shape (C, 1, 1); a standard deviation of 0 is given as 1. They are taken of
    differences, so that a constant channel has exactly its number for a mean.

    Examples
    --------
    >>> import numpy as np
    >>> mean, std = channel_moments(np.array([[[[1.0, 3.0]], [[0.1, 0.1]]]]))
    >>> mean.reshape(-1), std.reshape(-1)
    (array([2. , 0.1]), array([1., 1.]))
    """
    xp = backend.namespace(x)
    count = x.shape[0] * x.shape[2] * x.shape[3]

    def total(function):
        parts = [xp.sum(function(block), axis=(0, 2, 3)) for _, block in _in_blocks(x)]
        return sum(parts[1:], parts[0])[:, None, None]

    # mean = a + sum(x - a) / N,  a the first number of the channel
    first = xp.astype(x[0, :, :1, :1], xp.float64)
    mean = first + total(lambda block: block - first) / count
    # std^2 = sum((x - mean)^2) / N
    std = xp.sqrt(total(lambda block: (block - mean) ** 2) / count)
    return mean, xp.where(std > 0.0, std, xp.ones_like(std))


def scaled(x, mean, std):
    """(x - mean) / std in the dtype of x."""
    xp, out = backend.namespace(x), backend.empty(x.shape, x)
    for part, block in _in_blocks(x):
        out[part, ...] = xp.astype((block - mean) / std, x.dtype)
    return out

"""Products of +-1 with +-1 by XNOR and popcount, 64 of them at a time.

With bits a for x = 2 a - 1 and b for w = 2 b - 1, the product x w is 1 where the bits agree
(XNOR) and -1 where they differ, so

    sum_j w_j x_j = m - 2 popcount(a XOR b),   m the number of terms.

References
----------
M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net", ECCV 2016, section 3.2;
M. Courbariaux, I. Hubara, D. Soudry, R. El-Yaniv, Y. Bengio, "Binarized neural networks", 2016,
algorithm 5.
"""

import numpy as np

from .. import backend
from ..layers import Conv2d

# One block of the work, 3/4 MB: fits a cache, and no power of 2, which would make columns of equal
# addresses modulo the cache's size.
ROWS, FILTERS = 3000, 32


def words(bits, multiple=8):
    """Rows of bits as bytes: bool (..., m) -> uint8 (..., B), zeros behind.

    Which bit of which byte a number becomes does not matter, as long as it is the same for x and w.
    B is a multiple of ``multiple``.
    """
    if bits.shape[-1] % 8:
        packed = np.packbits(bits, axis=-1)
    else:
        # (..., m) -> (...*m,) -> (..., m / 8): many times faster than row by row
        packed = np.packbits(bits).reshape(*bits.shape[:-1], -1)
    size = -(-packed.shape[-1] // multiple) * multiple
    if size == packed.shape[-1]:
        return packed
    padded = np.zeros((*packed.shape[:-1], size), dtype=np.uint8)
    padded[..., : packed.shape[-1]] = packed
    return padded


def differences(x, w, dtype):
    """popcount(x XOR w) for every pair of rows.

    Parameters
    ----------
    x : uint64 ndarray of shape (n, words)
    w : uint64 ndarray of shape (F, words)
    dtype : signed integer type

    Returns
    -------
    ndarray of shape (n, F)
        Cost: n F words of XOR and popcount; 64 multiply-accumulates each.
    """
    out = backend.empty((x.shape[0], w.shape[0]), x, dtype)

    for start in range(0, x.shape[0], ROWS):
        rows = slice(start, start + ROWS)
        part = np.ascontiguousarray(x[rows].T)  # (n, words) -> (words, n): the long axis inside
        for first in range(0, w.shape[0], FILTERS):
            filters = slice(first, first + FILTERS)
            own = w[filters]
            shape = (own.shape[0], part.shape[1])
            mixed, ones = np.empty(shape, own.dtype), np.empty(shape, np.uint8)
            total = np.zeros(shape, out.dtype)
            for i, word in enumerate(part):
                np.bitwise_xor(word, own[:, i, None], out=mixed)
                np.add(total, np.bitwise_count(mixed, out=ones), out=total)
            out[rows, filters] = total.T
    return out


class XnorLinear:
    """x W^T for x and W of +-1.

    Parameters
    ----------
    weight : int ndarray of shape (F, m)
    dtype : signed integer type of the results
    """

    def __init__(self, weight, dtype):
        self.terms, self.dtype = weight.shape[1], dtype
        self.weight = words(weight > 0).view(np.uint64)

    def __call__(self, x):
        """Products (N, F) for x (N, m)."""
        y = differences(words(x > 0).view(np.uint64), self.weight, self.dtype)
        y *= -2
        y += self.terms
        return y


class XnorConv2d:
    """A convolution of +-1 with +-1; outside of the image is 0.

    Parameters
    ----------
    layer : Conv2d
        Kernel, stride and padding.
    weight : int ndarray of shape (F, C, kh, kw)
    dtype : signed integer type of the results

    Notes
    -----
    A pixel's channels are one number of 1, 2, 4 or 8 bytes (or several of 8), so a patch is
    gathered with kh kw copies. A bit has no 0: outside of the image the bits are those of -1, which
    adds -1 times the sum of the weights that meet it; ``edge``, the same for every image, takes
    that back.
    """

    def __init__(self, layer, weight, dtype):
        self.layer, self.dtype = layer, dtype
        size = -(-weight.shape[1] // 8)  # bytes a pixel
        self.item = next((n for n in (1, 2, 4) if size <= n), 8)
        self.weight = self._patches(self._pixels(weight), (1, 1))
        self.sums = np.sum(weight, axis=(1, 2, 3), dtype=np.int64)
        self.terms = weight[0].size
        self.own = {"weight": weight.astype(np.float64)}
        self.edges = {}

    def _pixels(self, x):
        # (N, C, H, W) -> (N, H, W, C) -> bytes (N, H, W, B) -> items (N, H, W, B / item)
        return words(np.moveaxis(x, 1, -1) > 0, self.item).view(f"u{self.item}")

    def _patches(self, packed, stride):
        # items (N, H, W, items) -> words (N*H'*W', ...), one row a patch
        n, height, width, items = packed.shape
        kernel = self.layer.kernel
        rows, columns = (
            (pixels - k) // s + 1
            for pixels, k, s in zip((height, width), kernel, stride, strict=True)
        )
        used = kernel[0] * kernel[1] * items
        row = -(-used * self.item // 8) * (8 // self.item)
        patches = np.zeros((n, rows, columns, row), dtype=packed.dtype)
        places = np.ndindex(*kernel)
        for start, (i, j) in zip(range(0, used, items), places, strict=True):
            patches[..., start : start + items] = packed[
                :,
                i : i + (rows - 1) * stride[0] + 1 : stride[0],
                j : j + (columns - 1) * stride[1] + 1 : stride[1],
            ]
        # (N, H', W', row) -> (N*H'*W', row)
        return patches.reshape(-1, row).view(np.uint64)

    def edge(self, size):
        """Terms plus the weights that lie outside, for images of ``size``: (H', W', F)."""
        if size not in self.edges:
            ones = np.ones((1, self.layer.inputs, *size))
            inside = self.layer.forward(self.own, ones)[0][0]  # whole numbers far below 2^53
            outside = self.sums[:, None, None] - np.rint(inside)
            self.edges[size] = np.moveaxis(outside + self.terms, 0, -1).astype(self.dtype)
        return self.edges[size]

    def __call__(self, x):
        """Products (N, F, H', W') for x (N, C, H, W)."""
        top, left = self.layer.padding
        image = np.pad(self._pixels(x), ((0, 0), (top, top), (left, left), (0, 0)))
        y = differences(self._patches(image, self.layer.stride), self.weight, self.dtype)
        y *= -2
        # (N*H'*W', F) -> (N, H', W', F) -> (N, F, H', W')
        filters, height, width = self.layer.output_shape(x.shape[1:])
        y = y.reshape(x.shape[0], height, width, filters)
        y += self.edge(x.shape[2:])
        return np.moveaxis(y, -1, 1)


def product(layer, weight, dtype):
    """`XnorLinear` or `XnorConv2d`, whichever does the work of ``layer``."""
    if isinstance(layer, Conv2d):
        return XnorConv2d(layer, weight, dtype)
    return XnorLinear(weight, dtype)

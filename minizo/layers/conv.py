"""Two-dimensional convolution, as a few large matrix products.

Inside, a pixel's channels lie side by side: (N, H, W, C). Neighbouring pixels of a row are put side
by side, too ("row patches", kw times as many numbers), and a k x k convolution is then the sum of k
matrix products, one for each row i of the filter:

    y[n, h, w, :] = sum_i rows[n, h s + i, w, :] @ W_i,    W_i : (kw C, F)

The gradient with respect to x is a convolution again, of dy with the filters turned by 180 degrees
and inputs and outputs exchanged, so nothing is ever scattered. All of it is done in blocks of
examples that fit into a cache.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from .. import backend
from ..errors import InputError, is_whole, require
from .base import Layer


def pair(value):
    """A number as (rows, columns); a pair as it is.

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))
    """
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


@dataclass(frozen=True)
class Conv2d(Layer):
    """y[n, f, h, w] = b_f + sum_cij W[f, c, i, j] x[n, c, h s + i - p, w s + j - p].

    Parameters
    ----------
    inputs, outputs : int
        Channels C and F.
    kernel : int or (int, int)
        Rows and columns of a filter.
    stride, padding : int or (int, int)
        s and p; x is 0 outside.
    bias : bool
        Whether b is there.

    Notes
    -----
    W : (..., F, C, kh, kw), b : (..., F), x : (..., N, C, H, W), y : (..., N, F, H', W') with
    H' = floor((H + 2 p - kh) / s) + 1. y is stored with the channels of a pixel side by side; a
    layer above that works element by element keeps it so.

    Start: W ~ N(0, 2 / (C kh kw)), b = 0 (K. He et al., "Delving deep into rectifiers", ICCV 2015,
    equation 10).

    Cost: H' W' kh kw C F multiply-accumulates an example forward and for dW; for dx s^2 times as
    many, of which all but one in s^2 are with zeros and not counted.
    """

    inputs: int
    outputs: int
    kernel: int | tuple = 3
    stride: int | tuple = 1
    padding: int | tuple = 0
    bias: bool = False

    def __post_init__(self):
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0)):
            value = getattr(self, name)
            both = pair(value)
            right = len(both) == 2 and all(is_whole(part) and part >= least for part in both)
            remedy = f"it must be a whole number of at least {least}, or two of them"
            require(right, f"Conv2d.{name}", value, remedy)
            object.__setattr__(self, name, both)
        for name in ("inputs", "outputs"):
            value = getattr(self, name)
            right = is_whole(value) and value > 0
            require(right, f"Conv2d.{name}", value, "it must be a whole number above 0")

    @property
    def shapes(self):
        """Names and shapes of the parameters."""
        weight = {"weight": (self.outputs, self.inputs, *self.kernel)}
        return weight | {"bias": (self.outputs,)} if self.bias else weight

    def init(self, stream, like):
        """Initial parameters in the dtype of ``like``, NumPy arrays."""
        weight = stream.normal(np.empty(self.shapes["weight"], dtype=like.dtype))
        weight *= sqrt(2.0 / (self.inputs * self.kernel[0] * self.kernel[1]))
        bias = {"bias": np.zeros(self.outputs, dtype=like.dtype)} if self.bias else {}
        return {"weight": weight} | bias

    def output_shape(self, shape):
        """(C, H, W) -> (F, H', W')."""
        if len(shape) != 3 or shape[0] != self.inputs:
            raise InputError(
                f"Conv2d({self.inputs}, {self.outputs}) is fed examples of shape {shape}; it takes "
                f"({self.inputs}, H, W)"
            )
        size = tuple(
            (pixels + 2 * padding - kernel) // stride + 1
            for pixels, kernel, stride, padding in zip(
                shape[1:], self.kernel, self.stride, self.padding, strict=True
            )
        )
        if min(size) < 1:
            raise InputError(
                f"Conv2d with a kernel of {self.kernel} is fed images of {shape[1:]} pixels, which "
                f"are too small; choose a smaller kernel or more padding than {self.padding}"
            )
        return (self.outputs, *size)

    def macs(self, shape):
        """Multiply-accumulates of one forward, per example."""
        _, rows, columns = self.output_shape(shape)
        return rows * columns * self.outputs * self.inputs * self.kernel[0] * self.kernel[1]

    def forward(self, params, x):
        """y (..., N, F, H', W') for x (..., N, C, H, W)."""
        xp = backend.namespace(x)
        _, rows, columns = self.output_shape(x.shape[-3:])
        # (..., F, C, kh, kw) -> (..., kh, kw*C, F)
        weight = _as_matrices(xp.moveaxis(params["weight"], -4, -1))
        # (..., N, C, H, W) -> (..., N, H, W, C)
        image = xp.moveaxis(x, -3, -1)
        lead = _broadcast(weight.shape[:-3], x.shape[:-4])
        y = backend.empty((*lead, x.shape[-4], rows * columns, self.outputs), x)
        padded = tuple(n + 2 * p for n, p in zip(x.shape[-2:], self.padding, strict=True))

        def block(part):
            patches = _row_patches(
                image[..., part, :, :, :], padded, self.padding, (1, 1), self.kernel, self.stride
            )
            _multiply(y[..., part, :, :], patches, weight, rows, self.stride[0])
            if self.bias:
                y[..., part, :, :] += params["bias"][..., None, None, :]

        backend.share(block, self._blocks(padded, lead, x))
        return _images(y, (rows, columns)), x

    def backward(self, params, cache, dy, wanted=True):
        """dx and the gradients, for dy (..., N, F, H', W')."""
        xp = backend.namespace(dy)
        x = cache
        # (..., N, C, H, W) -> (..., N, H, W, C), and dy alike
        image, upstream = xp.moveaxis(x, -3, -1), xp.moveaxis(dy, -3, -1)
        padded = tuple(n + 2 * p for n, p in zip(x.shape[-2:], self.padding, strict=True))
        # where dy lies when it is spread out and padded so that turned filters meet it
        spread = tuple(n + k - 1 for n, k in zip(x.shape[-2:], self.kernel, strict=True))
        start = tuple(k - 1 - p for k, p in zip(self.kernel, self.padding, strict=True))
        # (..., F, C, kh, kw), turned -> (..., kh, kw*F, C)
        turned = xp.moveaxis(xp.flip(params["weight"], axis=(-2, -1)), -3, -1)
        turned = _as_matrices(turned)
        lead = dy.shape[:-4]
        if wanted:
            dx = backend.empty((*lead, x.shape[-4], x.shape[-2] * x.shape[-1], self.inputs), x)

        def block(part):
            d = upstream[..., part, :, :, :]
            patches = _row_patches(
                image[..., part, :, :, :], padded, self.padding, (1, 1), self.kernel, self.stride
            )
            partial = _weight_gradient(patches, d, self.kernel[0], self.stride[0])
            if wanted:
                patches = _row_patches(d, spread, start, self.stride, self.kernel, (1, 1))
                _multiply(dx[..., part, :, :], patches, turned, x.shape[-2], 1)
            return partial

        partials = backend.share(block, self._blocks(padded, lead, x))
        total = partials[0]
        for partial in partials[1:]:
            total = total + partial
        # (..., kh, kw*C, F) -> (..., kh, kw, C, F) -> (..., F, C, kh, kw)
        total = xp.reshape(total, (*lead, *self.kernel, self.inputs, self.outputs))
        grads = {"weight": xp.moveaxis(total, (-1, -2), (-4, -3))}
        if self.bias:
            grads["bias"] = xp.sum(dy, axis=(-4, -2, -1))
        return _images(dx, x.shape[-2:]) if wanted else None, grads

    def _blocks(self, padded, lead, x):
        # of examples, so that their row patches fit into a cache
        columns = padded[1] // self.stride[1]
        size = padded[0] * columns * self.kernel[1] * max(self.inputs, self.outputs)
        for axis in lead:
            size *= axis
        return backend.blocks(x.shape[-4], size, x)


def _broadcast(first, second):
    # the shape of leading axes of which one may be missing
    return tuple(np.broadcast_shapes(first, second))


def _as_matrices(filters):
    # (..., C, kh, kw, F) -> (..., kh, kw, C, F) -> (..., kh, kw*C, F)
    xp = backend.namespace(filters)
    *lead, channels, rows, columns, outputs = filters.shape
    moved = xp.moveaxis(filters, -4, -2)
    return xp.reshape(moved, (*lead, rows, columns * channels, outputs))


def _images(y, size):
    # (..., N, H*W, C) -> (..., N, H, W, C) -> (..., N, C, H, W)
    xp = backend.namespace(y)
    return xp.moveaxis(xp.reshape(y, (*y.shape[:-2], *size, y.shape[-1])), -1, -3)


def _overlap(count, size, start, step):
    # Pixel i of ``count`` goes to place start + i step of ``size``: slices of those that fit in
    first = max(0, -(start // step))
    last = min(count - 1, (size - 1 - start) // step)
    place = start + first * step
    return slice(first, max(first, last + 1)), slice(place, place + (last - first) * step + 1, step)


def _row_patches(x, size, start, step, kernel, stride):
    """Row patches of x put into zeros.

    Parameters
    ----------
    x : ndarray (..., n, H, W, C)
    size : (int, int)
        Rows and columns of the zeros.
    start, step : (int, int)
        Pixel (h, w) of x goes to start + step (h, w).
    kernel, stride : (int, int)
        Only their columns matter here.

    Returns
    -------
    ndarray (..., n, size[0], W', kw*C), in a scratch buffer
    """
    *lead, height, width, channels = x.shape
    padded = backend.scratch("padded", (*lead, *size, channels), x)
    padded[...] = 0.0
    from_rows, to_rows = _overlap(height, size[0], start[0], step[0])
    from_columns, to_columns = _overlap(width, size[1], start[1], step[1])
    padded[..., to_rows, to_columns, :] = x[..., from_rows, from_columns, :]
    windows = backend.windows(padded, kernel[1], stride[1])
    patches = backend.scratch("patches", windows.shape, x)
    patches[...] = windows
    return patches


def _slab(patches, i, rows, stride):
    # the row patches that row i of the filters meets: (..., n, rows*W', kw*C)
    slab = patches[..., i : i + (rows - 1) * stride + 1 : stride, :, :]
    xp = backend.namespace(patches)
    return xp.reshape(slab, (*slab.shape[:-3], rows * slab.shape[-2], slab.shape[-1]))


def _multiply(out, patches, weight, rows, stride):
    # out (..., n, rows*W', F) = sum_i slab_i @ W_i
    xp = backend.namespace(out)
    for i in range(weight.shape[-3]):
        # (..., kw*C, F) -> (..., 1, kw*C, F): the same for all examples
        matrix = weight[..., i, :, :][..., None, :, :]
        slab = _slab(patches, i, rows, stride)
        if i == 0:
            backend.into(out, xp.matmul, slab, matrix)
        else:
            product = backend.scratch("product", out.shape, out)
            out += backend.into(product, xp.matmul, slab, matrix)


def _weight_gradient(patches, dy, kernel_rows, stride):
    # dW_i = sum_n slab_i^T dy : (..., kh, kw*C, F)
    xp = backend.namespace(dy)
    rows = dy.shape[-3]
    # (..., n, H', W', F) -> (..., n, H'*W', F)
    dy = xp.reshape(dy, (*dy.shape[:-3], rows * dy.shape[-2], dy.shape[-1]))
    found = []
    for i in range(kernel_rows):
        slab = xp.matrix_transpose(_slab(patches, i, rows, stride))
        found.append(xp.sum(xp.matmul(slab, dy), axis=-3))
    return xp.stack(found, axis=-3)

"""How a convolution becomes a few large matrix products, in both directions.

A pixel's channels lie side by side: (N, H, W, C). Neighbouring pixels of a row are put side by
side, too ("row patches", kw times as many numbers), and a convolution is then the sum of kh matrix
products, one for each row i of the filters:

    y[n, h, w, :] = sum_i rows[n, h s + i, w, :] @ W_i,    W_i : (kw C, F)

Its gradient with respect to x is a convolution again, of dy with the filters turned by 180 degrees
and inputs and outputs exchanged, so nothing is ever scattered. With a stride s it is s^2 of them
("phases"): pixels whose places leave the same remainders when divided by s meet the same part of
the filters. The row patches of dy that give dx give dW, too:

    dW[f, c, i, j] = sum_nhw x[n, c, h s + i - p, w s + j - p] dy[n, f, h, w]

is a correlation of x and dy, and either of the two may be the one whose pixels lie side by side:
here dy, because dx has put them so already.
"""

from itertools import product as product_of
from typing import NamedTuple

from .. import backend


def matrices(filters):
    """Filters as the matrices W_i: (..., F, C, kh, kw) -> (..., kh, kw*C, F)."""
    xp = backend.namespace(filters)
    *lead, outputs, channels, rows, columns = filters.shape
    # (..., F, C, kh, kw) -> (..., kh, kw, C, F) -> (..., kh, kw*C, F)
    ordered = backend.empty((*lead, rows, columns, channels, outputs), filters)
    ordered[...] = xp.moveaxis(filters, (-4, -3), (-1, -2))
    return xp.reshape(ordered, (*lead, rows, columns * channels, outputs))


def row_patches(x, size, start, width, stride):
    """Neighbouring pixels of a row side by side, with zeros around x.

    Parameters
    ----------
    x : ndarray (..., n, H, W, C)
    size, start : (int, int)
        Rows and columns of the zeros, and the place of pixel (0, 0) of x in them; what lies
        outside is left out.
    width, stride : int
        Pixels in a patch, and from one patch to the next.

    Returns
    -------
    ndarray (..., n, size[0], W', width*C)
    """
    xp, padded = backend.namespace(x), backend.zeros((*x.shape[:-3], *size, x.shape[-1]), x)
    from_rows, to_rows = _overlap(x.shape[-3], size[0], start[0])
    from_columns, to_columns = _overlap(x.shape[-2], size[1], start[1])
    padded[..., to_rows, to_columns, :] = x[..., from_rows, from_columns, :]
    return xp.asarray(backend.windows(padded, width, stride), copy=True)


def _overlap(count, size, start):
    # pixel i of ``count`` goes to place start + i of ``size``: slices of those that fit in
    first = max(0, -start)
    last = max(first, min(count, size - start))
    return slice(first, last), slice(start + first, start + last)


def _slab(patches, i, rows, stride):
    # the row patches that row i of the filters meets: (..., n, rows*W', kw*C)
    xp = backend.namespace(patches)
    slab = patches[..., i : i + (rows - 1) * stride + 1 : stride, :, :]
    return xp.reshape(slab, (*slab.shape[:-3], rows * slab.shape[-2], slab.shape[-1]))


def product(patches, weight, rows, stride):
    """sum_i rows_i @ W_i: (..., n, H', W', F).

    patches : ndarray (..., n, H + 2 p, W', kw*C);  weight : ndarray (..., kh, kw*C, F);
    rows, stride : int, H' and how far from one to the next.
    """
    xp = backend.namespace(patches)

    def term(i):
        # (..., kw*C, F) -> (..., 1, kw*C, F): the same for all examples
        return xp.matmul(_slab(patches, i, rows, stride), weight[..., i, :, :][..., None, :, :])

    total = term(0)
    for i in range(1, weight.shape[-3]):
        total += term(i)
    # (..., n, H'*W', F) -> (..., n, H', W', F)
    return xp.reshape(total, (*total.shape[:-2], rows, patches.shape[-2], total.shape[-1]))


def correlation(patches, pixels, kernel_rows, stride):
    """[sum_n rows_i^T pixels for every row i of the filters], each (..., kw*C, F).

    patches : ndarray (..., n, H + 2 p, W', kw*C);  pixels : ndarray (..., n, H', W', F). This is
    dW; if the patches are those of dy and the pixels those of x, then with C and F exchanged, and
    rows and columns in reverse.
    """
    xp = backend.namespace(pixels)
    rows, columns, outputs = pixels.shape[-3:]
    # (..., n, H', W', F) -> (..., n, H'*W', F)
    pixels = xp.reshape(pixels, (*pixels.shape[:-3], rows * columns, outputs))
    found = []
    for i in range(kernel_rows):
        slab = xp.matrix_transpose(_slab(patches, i, rows, stride))
        found.append(xp.sum(xp.matmul(slab, pixels), axis=-3))
    return found


def weight_gradient(patches, dy, kernel, stride):
    """dW (..., F, C, kh, kw) from the row patches of x, where dx is not wanted.

    That is so in the lowest layer, which few channels enter: patches of dy would be many times as
    large, and nothing else would need them.
    """
    found = backend.stack(correlation(patches, dy, kernel[0], stride), axis=-3)
    *lead, _, _, outputs = found.shape
    # (..., kh, kw*C, F) -> (..., kh, kw, C, F) -> (..., F, C, kh, kw)
    found = backend.namespace(dy).reshape(found, (*lead, *kernel, -1, outputs))
    return backend.namespace(dy).moveaxis(found, (-1, -2), (-4, -3))


class _Along(NamedTuple):
    # One remainder r along one axis of x. Pixel h of x lies at place u = h + p = s q + r when there
    # is padding around it, and
    #     dx[h] = sum_t dy[q - t] W[r + s t],   t = 0, ..., taps - 1
    #
    # The k-th of these pixels has q = q0 + k. With the taps turned, tap j meets
    # dy[q - taps + 1 + j], so dy[0] stands at place taps - 1 - q0 of the zeros around it.
    pixels: slice  # of x, those with this remainder
    count: int  # how many
    taps: slice  # of the filter
    start: int  # place of dy's pixel 0 in the zeros around it
    size: int  # of these zeros


def _along(pixels, kernel, stride, padding):
    found = []
    for first in range(min(stride, pixels)):
        q, r = divmod(first + padding, stride)
        taps = len(range(r, kernel, stride))  # (q is q0 here)
        count = len(range(first, pixels, stride))
        part, own = slice(first, pixels, stride), slice(r, kernel, stride)
        found.append(_Along(part, count, own, taps - 1 - q, count + taps - 1))
    return found


def gradients(x, dy, weight, stride, padding):
    """dx (..., n, H, W, C) and dW (..., F, C, kh, kw) of a convolution.

    x : ndarray (..., n, H, W, C);  dy : ndarray (..., n, H', W', F);
    weight : ndarray (..., F, C, kh, kw);  stride, padding : (int, int).
    """
    xp, size, lead = backend.namespace(weight), x.shape[-3:-1], dy.shape[:-4]
    outputs, channels, *kernel = weight.shape[-4:]
    # (..., F, C, kh, kw) -> (..., C, F, kh, kw)
    exchanged = xp.moveaxis(weight, -4, -3)
    dx = backend.zeros((*dy.shape[:-3], *size, channels), dy)
    dweight = backend.zeros((*lead, outputs, channels, *kernel), dy)
    axes = [_along(*axis) for axis in zip(size, kernel, stride, padding, strict=True)]
    for rows, columns in product_of(*axes):
        turned = xp.flip(exchanged[..., rows.taps, columns.taps], axis=(-2, -1))
        taps = turned.shape[-2:]
        if 0 in taps:  # a filter smaller than the stride skips these pixels
            continue
        own = (..., rows.pixels, columns.pixels, slice(None))
        frame = (rows.size, columns.size), (rows.start, columns.start)
        patches = row_patches(dy, *frame, taps[1], 1)
        dx[own] = product(patches, matrices(turned), rows.count, 1)
        turned_rows = reversed(range(kernel[0])[rows.taps])
        for i, found in zip(turned_rows, correlation(patches, x[own], taps[0], 1), strict=True):
            # (..., tw*F, C) -> (..., tw, F, C) -> (..., F, C, tw), turned back
            found = xp.moveaxis(xp.reshape(found, (*lead, taps[1], outputs, channels)), -3, -1)
            dweight[..., i, columns.taps] = xp.flip(found, axis=-1)
    return dx, dweight

"""What arrays of a data set must be: images, tokens, labels, a floating-point type."""

from math import isfinite, prod

import numpy as np

from .. import backend
from ..errors import InputError, require
from ..settings import plain, real

FLOATS = ("float32", "float64")


def images(name, x):
    """Images (N, C, H, W) as floats of the processor's own byte order, row by row in memory."""
    xp = backend.namespace(x)
    require(len(x.shape) == 4, f"the shape of {name}", tuple(x.shape), "images are (N, C, H, W)")
    dtype = backend.numpy_dtype(x).newbyteorder("=")
    remedy = "images are float32 or float64: convert them, bytes with x.astype('float32') / 255"
    require(dtype.name in FLOATS, f"the dtype of {name}", str(x.dtype), remedy)
    if xp is np:
        x = np.ascontiguousarray(x, dtype)
    if prod(x.shape):
        ends = [float(xp.min(x)), float(xp.max(x))]  # both are NaN where a number is
        bad = [end for end in ends if not isfinite(end)]
        remedy = "images must be finite: replace or leave out those that are not"
        require(not bad, f"a number of {name}", *bad[:1] or [None], remedy)
    return x


def are_tokens(x):
    """Whether x holds whole numbers (N, T)."""
    backend.namespace(x)
    return len(x.shape) < 4 and backend.numpy_dtype(x).kind in "iu"


def tokens(name, x, classes):
    """Sequences (N, T) of tokens as int64."""
    remedy = "tokens are (N, T), N sequences of T; images are floats (N, C, H, W)"
    require(len(x.shape) == 2 and x.shape[1] > 0, f"the shape of {name}", tuple(x.shape), remedy)
    return labels(name, x, classes, "token")


def labels(name, y, classes, what="label"):
    """Labels (N,) or (N, T) as int64, in which nothing wraps round."""
    xp = backend.namespace(y)
    remedy = "labels are whole numbers: convert them with y.astype('int64')"
    require(backend.numpy_dtype(y).kind in "iu", f"the dtype of {name}", str(y.dtype), remedy)
    if prod(y.shape):
        low, high = int(xp.min(y)), int(xp.max(y))
        bad = low if low < 0 else high
        remedy = f"{what}s lie in 0 .. {classes - 1}"
        require(0 <= bad < classes, f"a {what} of {name}", bad, remedy)
    if xp is np:
        return np.ascontiguousarray(y, np.int64)
    return xp.astype(y, xp.int64, copy=False)


def channel_numbers(name, value, channels=None, interval="(-inf, inf)"):
    """A number for each channel: one for all, or as many as there are, as a tuple of floats.

    >>> channel_numbers("mean", (0.5, 0.25, 0.5), 3), channel_numbers("std", 2, 3)
    ((0.5, 0.25, 0.5), (2.0, 2.0, 2.0))
    """
    value = plain(value)
    several = isinstance(value, tuple | list | np.ndarray)
    if isinstance(value, np.ndarray):
        remedy = "it is one number for all channels, or a row of one for each"
        require(value.ndim == 1, f"the shape of {name}", value.shape, remedy)
    numbers = [real(name, number, interval) for number in (value if several else [value])]
    if channels is None or (len(numbers) == channels and several):
        return tuple(numbers)
    if several:
        raise InputError(
            f"{name} has {len(numbers)} numbers, but the images have {channels} channels; give one "
            "number for each channel, or one for all"
        )
    return tuple(numbers) * channels


def float_dtype(dtype):
    """``dtype`` as NumPy's float32 or float64, or an `InputError`.

    Examples
    --------
    >>> float_dtype("float32")
    dtype('float32')
    """
    try:
        result = None if dtype is None else np.dtype(dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        result = None
    require(
        result is not None and result.newbyteorder("=").name in FLOATS,
        "dtype",
        dtype,
        "images need the floating-point type 'float32' or 'float64'",
    )
    return result.newbyteorder("=")

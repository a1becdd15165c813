"""The pickles of CIFAR's batches, written by Python 2 and NumPy 1: see `minizo.pickles`."""

import io
from typing import NamedTuple

import numpy as np

from .. import pickles


def read_pickle(path, data):
    """What the pickle ``data``, found in the file ``path``, holds.

    Parameters
    ----------
    path : path-like
        Named in errors.
    data : bytes
        A pickle of protocol 2. Its strings become ``str``, a character a byte.

    Returns
    -------
    object
        Of dict, list, tuple, str, int, float, bool, None and uint8 ndarrays.

    Raises
    ------
    InputError
        If the pickle needs anything else, is cut off or damaged.
    """
    return pickles.read(path, io.BytesIO(data), NAMES, "a batch of images")


# How NumPy 1 pickles an array: _reconstruct(ndarray, (0,), 'b') and dtype('u1', 0, 1), each given
# its content as a state: (1, shape, dtype, Fortran order, bytes) and (3, '|', ...)


class _Dtype(NamedTuple):
    """A type of numbers, by its name."""

    name: str

    def build(self, state):
        """Byte order and the like: one byte has none."""
        return self


class _Array(NamedTuple):
    """An array whose content is still to come."""

    def build(self, state):
        """The ndarray."""
        _, shape, dtype, fortran, values = state
        if not isinstance(dtype, _Dtype) or dtype.name != "u1" or fortran is not False:
            raise ValueError("an array is not of unsigned bytes in C order")
        return np.frombuffer(values.encode("latin-1"), np.uint8).reshape(shape)


NAMES = {
    "numpy.core.multiarray _reconstruct": lambda kind, shape, code: _Array(),
    "numpy dtype": lambda name, align, copy: _Dtype(name),
    "numpy ndarray": None,
}

"""IDX, the file format of MNIST: a magic number, the sizes, then the bytes.

    offset 0      0x00 0x00 0x08 ndim     the magic number; 0x08 says "unsigned bytes"
    offset 4      size of axis 0          each size is a big-endian 32-bit integer
    ...
    offset 4 + 4 * ndim                   the data, last axis fastest

Labels have one axis (magic number 0x00000801), grey images three (0x00000803).  QMNIST's labels
have two, and are big-endian 32-bit integers (0x00000c02).  Files are commonly packed with gzip.
"""

import gzip
import math
from pathlib import Path

import numpy as np

from ..errors import require
from ..files import write_atomically
from ..types import FilePath
from .packed import read, require_file, unpack

# The usual names, in the order of `minizo.data.read_folder`'s result.
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# Number of axes -> (magic number, type of the numbers).
KINDS: dict = {1: ("00000801", np.uint8), 2: ("00000c02", ">i4"), 3: ("00000803", np.uint8)}


def read_idx(path: FilePath, ndim: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Read one IDX file, plain or packed with gzip.

    Parameters
    ----------
    path : str or path-like
        The file.  Its content tells whether it is packed, not its name: browsers like to unpack a
        download and leave the name as it was.
    ndim : {1, 2, 3} or tuple of them, optional
        The expected number of axes: 1 for labels, 2 for QMNIST's labels, 3 for images.

    Returns
    -------
    ndarray of uint8, or of int32 where there are two axes
        Labels of shape (N,) or (N, K), or images of shape (N, H, W).

    Raises
    ------
    InputError
        If the file cannot be read or is damaged.
    """
    data = unpack(path, read(path))
    require_file(len(data) > 0, path, "is empty", "fetch it again")

    expected = [KINDS[n][0] for n in np.atleast_1d(list(KINDS) if ndim is None else ndim)]
    found = data[:4].hex()
    require_file(
        found in expected,
        path,
        f"starts with the magic number 0x{found}, but "
        f"{' or '.join(f'0x{magic}' for magic in expected)} is expected",
        "it is not an IDX file of this kind",
    )
    axes = data[3]
    start = 4 + 4 * axes
    require_file(
        len(data) >= start,
        path,
        f"ends after {len(data)} bytes, inside its header of {start} bytes",
        "fetch it again",
    )

    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", count=axes, offset=4))
    kind = np.dtype(KINDS[axes][1])
    promised, held = kind.itemsize * math.prod(shape), len(data) - start
    require_file(
        held == promised,
        path,
        f"holds {held} bytes of data, but its header promises {promised} "
        f"({' x '.join(map(str, shape))})",
        f"it is too {'short' if held < promised else 'long'}: fetch it again",
    )
    # The copy can be written to; a view of `data` could not.
    array = np.frombuffer(data, kind, offset=start).reshape(shape)
    return array.astype(kind.newbyteorder("="))


def write_idx(path: FilePath, array: np.ndarray) -> None:
    """Write one IDX file; it appears whole or not at all.

    Parameters
    ----------
    path : str or path-like
        The file; a name that ends in ``.gz`` is packed.
    array : ndarray of uint8
        Labels of shape (N,), or images of shape (N, H, W).

    Raises
    ------
    InputError
        If the array is of another kind, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(folder + "/labels.gz", np.array([5, 0, 4], np.uint8))
    ...     read_idx(folder + "/labels.gz")
    array([5, 0, 4], dtype=uint8)
    """
    path, array = Path(path), np.asarray(array)
    require(
        array.dtype == np.uint8 and array.ndim in (1, 3),
        "array",
        f"{array.dtype} of shape {array.shape}",
        "an IDX file holds uint8 labels (N,) or images (N, H, W)",
    )
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # without the time: the same array, the same file
    write_atomically(path, lambda file: file.write(data))

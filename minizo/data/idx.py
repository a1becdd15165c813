"""IDX, the file format of MNIST: a magic number, the sizes, then the bytes.

    offset 0      0x00 0x00 0x08 ndim     the magic number; 0x08 says "unsigned bytes"
    offset 4      size of axis 0          each size is a big-endian 32-bit integer
    ...
    offset 4 + 4 * ndim                   the data, last axis fastest

Labels have one axis (magic number 0x00000801), grey images three (0x00000803).  Files are commonly
packed with gzip.
"""

import gzip
import math
from pathlib import Path

import numpy as np

from ..errors import require
from ..files import write_atomically
from .packed import names_in, read, require_file, unpack

# The usual names, in the order of `read_folder`'s result.
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path, ndim=None):
    """Read one IDX file, plain or packed with gzip.

    Parameters
    ----------
    path : str or path-like
        The file.  Its content tells whether it is packed, not its name: browsers like to unpack a
        download and leave the name as it was.
    ndim : {1, 3}, optional
        The expected number of axes: 1 for labels, 3 for images.

    Returns
    -------
    ndarray of uint8
        Labels of shape (N,), or images of shape (N, H, W).

    Raises
    ------
    InputError
        If the file cannot be read or is damaged.
    """
    data = unpack(path, read(path))
    require_file(len(data) > 0, path, "is empty", "fetch it again")

    expected = (1, 3) if ndim is None else (ndim,)
    found = data[:4].hex()
    require_file(
        found in [f"000008{n:02x}" for n in expected],
        path,
        f"starts with the magic number 0x{found}, but "
        f"{' or '.join(f'0x000008{n:02x}' for n in expected)} is expected",
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
    promised, held = math.prod(shape), len(data) - start
    require_file(
        held == promised,
        path,
        f"holds {held} bytes of data, but its header promises {promised} "
        f"({' x '.join(map(str, shape))})",
        f"it is too {'short' if held < promised else 'long'}: fetch it again",
    )
    # The copy can be written to; a view of `data` could not.
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def write_idx(path, array):
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


def read_folder(folder):
    """Read a data set in MNIST's layout: four IDX files in a folder.

    The files are ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each with or without ``.gz``; the
    spelling ``train-images.idx3-ubyte`` is understood too.

    Parameters
    ----------
    folder : str or path-like
        The folder.

    Returns
    -------
    x_train : ndarray of shape (n_train, H, W)
        Training images, uint8.
    y_train : ndarray of shape (n_train,)
        Training labels, uint8 with values in 0 .. 9.
    x_test, y_test : ndarray
        The same for the test set.

    Raises
    ------
    InputError
        If the folder or a file of it cannot be used.
    """
    paths = _find(Path(folder))
    arrays = [read_idx(path, ndim=3 if "images" in path.name else 1) for path in paths]
    for images, labels, i in (arrays[0], arrays[1], 0), (arrays[2], arrays[3], 2):
        require_file(
            images.size > 0,
            paths[i],
            f"holds no pixels (shape {images.shape})",
            "a data set needs images",
        )
        require_file(
            len(images) == len(labels),
            paths[i],
            f"holds {len(images)} images, but {paths[i + 1].name} holds {len(labels)} labels",
            "they belong to different data sets",
        )
        wrong = np.flatnonzero(labels > 9)
        require_file(
            len(wrong) == 0,
            paths[i + 1],
            f"holds the label {labels[wrong[:1]].sum()} at position {wrong[:1].sum()}",
            "labels lie in 0 .. 9",
        )
    train, test = arrays[0].shape[1:], arrays[2].shape[1:]
    require_file(
        train == test,
        paths[2],
        f"holds images of {test[0]} x {test[1]} pixels, but {paths[0].name} holds "
        f"{train[0]} x {train[1]}",
        "they belong to different data sets",
    )
    return tuple(arrays)


def _find(folder):
    """Paths of the four files in the order of `NAMES`."""
    present = names_in(folder, NAMES[0])
    require_file(present, folder, "the folder is empty", f"put {NAMES[0]} and its companions there")
    found, missing = [], []
    for name in NAMES:
        dotted = name.replace("-idx", ".idx")
        spelling = next(
            (n for n in (name, f"{name}.gz", dotted, f"{dotted}.gz") if n in present), None
        )
        if spelling:
            found.append(folder / spelling)
        else:
            missing.append(name)
    require_file(
        not missing, folder, f"lacks {', '.join(missing)}", "put them there, with or without .gz"
    )
    return found

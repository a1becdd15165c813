"""Data sets: MNIST, Fashion-MNIST, your own in their format, and digits drawn by the package.

>>> synthetic_digits(100, 50)
Dataset('synthetic digits (seed 0)': 100 + 50 images of shape (1, 28, 28), float32, 10 classes)
"""

import os
import sys
from pathlib import Path

from ..errors import InputError, nearest
from .dataset import Dataset, float_dtype, from_bytes
from .digits import synthetic_digits
from .download import Unavailable, fetch
from .idx import read_folder, read_idx, write_idx

__all__ = [
    "Dataset",
    "Unavailable",
    "fashion_mnist",
    "load",
    "mnist",
    "read_folder",
    "read_idx",
    "synthetic_digits",
    "write_idx",
]

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
NAMES = (*TITLES, "synthetic")


def to_stderr(line):
    """Print a line to standard error, as standard output may be reserved for results."""
    print(line, file=sys.stderr, flush=True)


def load(name, *, dtype="float32", progress=True, notice=to_stderr):
    """Load a data set by its name, or from a folder.

    ``"mnist"`` and ``"fashion-mnist"`` are looked for in the folder ``$MINIZO_DATA/<name>``, then
    in the user's cache, and then downloaded.  If none of this works, the reason is said aloud and
    synthetic digits take their place, so that everything runs without a network.

    Parameters
    ----------
    name : str or path-like
        ``"mnist"``, ``"fashion-mnist"``, ``"synthetic"``, or the path of a folder with four files
        in MNIST's format (`read_folder`); a folder called ``mnist`` is ``"./mnist"``.
    dtype : str or dtype, default "float32"
        Type of the images.
    progress : bool, default True
        Draw progress bars of a download on standard error.
    notice : callable, default prints to standard error
        Called with one line of text if synthetic digits take the place of another data set.

    Returns
    -------
    Dataset
        Its ``name`` says what it is: ``"MNIST"``, ``"Fashion-MNIST"``, ``"synthetic digits
        (seed 0)"`` or the name of the folder.

    Raises
    ------
    InputError
        If the name is neither known nor a folder, or files are there but damaged: they are never
        silently replaced.
    """
    float_dtype(dtype)  # before any work
    if not isinstance(name, (str, os.PathLike)):
        raise InputError(
            f"data set {name!r} is not a name; known are {', '.join(NAMES)}, and folders"
        )
    if name == "synthetic":
        return synthetic_digits(dtype=dtype)
    if name not in TITLES:
        if not os.path.exists(name):
            raise InputError(
                f"data set {str(name)!r} is neither known ({', '.join(NAMES)}) nor an "
                f"existing folder{nearest(str(name).lower(), NAMES)}"
            )
        return from_bytes(Path(name).resolve().name, *read_folder(name), dtype)

    root = os.environ.get("MINIZO_DATA")
    if root and os.path.lexists(os.path.join(root, name)):
        folder = Path(root, name)
    else:
        try:
            folder = fetch(name, progress)
        except Unavailable as reason:
            place = f"no folder {os.path.join(root, name)}" if root else "$MINIZO_DATA unset"
            notice(
                f"minizo: {TITLES[name]} not found ({place}, no cached copy, download failed: "
                f"{reason}); continuing with synthetic digits drawn by the package"
            )
            return synthetic_digits(dtype=dtype)
    return from_bytes(TITLES[name], *read_folder(folder), dtype)


def mnist(**options):
    """MNIST, handwritten digits; ``load("mnist", **options)``.

    Parameters
    ----------
    **options
        ``dtype``, ``progress`` and ``notice`` as in `load`.

    Returns
    -------
    Dataset
        60,000 training and 10,000 test images of shape (1, 28, 28).

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE, 1998.
    """
    return load("mnist", **options)


def fashion_mnist(**options):
    """Fashion-MNIST, pictures of clothes in MNIST's format; ``load("fashion-mnist", **options)``.

    Parameters
    ----------
    **options
        ``dtype``, ``progress`` and ``notice`` as in `load`.

    Returns
    -------
    Dataset
        60,000 training and 10,000 test images of shape (1, 28, 28).

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", 2017.
    """
    return load("fashion-mnist", **options)

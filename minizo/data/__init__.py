"""Data sets: MNIST, Fashion-MNIST, CIFAR-10, texts, your own in their formats, and drawn ones.

>>> synthetic_digits(100, 50)
Dataset('synthetic digits (seed 0)': 100 + 50 images of shape (1, 28, 28), float32, 10 classes)
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError, nearest
from .augment import AUGMENTATIONS, CropFlip
from .checks import float_dtype
from .cifar import MEAN, STD, holds_batches, read_batches
from .dataset import Dataset, from_bytes
from .digits import synthetic_digits
from .download import Unavailable, fetch
from .folders import find_set, names_a_set, read_folder, read_set
from .idx import read_idx, write_idx
from .shapes import synthetic_shapes
from .texts import Text, Vocabulary, read_text, synthetic_text, text

__all__ = [
    "AUGMENTATIONS",
    "CropFlip",
    "Dataset",
    "Text",
    "Unavailable",
    "Vocabulary",
    "cifar10",
    "fashion_mnist",
    "load",
    "mnist",
    "read_batches",
    "read_folder",
    "read_idx",
    "read_text",
    "synthetic_digits",
    "synthetic_shapes",
    "synthetic_text",
    "text",
    "write_idx",
]


class _Public(NamedTuple):
    """A public data set: what it is called, where it may lie in $MINIZO_DATA, its stand-in."""

    title: str
    places: tuple
    stand_in: str


PUBLIC = {
    "mnist": _Public("MNIST", ("mnist",), "digits"),
    "fashion-mnist": _Public("Fashion-MNIST", ("fashion-mnist",), "digits"),
    "cifar10": _Public(
        "CIFAR-10",
        ("cifar10", "cifar-10", "cifar-10-batches-py", "cifar-10-python.tar.gz"),
        "shapes",
    ),
}
DRAWN = {"synthetic": "digits", "synthetic-shapes": "shapes"}
NAMES = (*PUBLIC, *DRAWN)


def to_stderr(line):
    """Print a line to standard error, as standard output may be reserved for results."""
    if sys.stderr is not None:  # print would take standard output in its place
        print(line, file=sys.stderr, flush=True)


def load(name, *, dtype="float32", progress=True, notice=to_stderr):
    """Load a data set by its name, or from a folder.

    Public data sets are looked for in the folder ``$MINIZO_DATA/<name>``, then in the user's cache,
    and then downloaded.  If none of this works, the reason is said aloud and images that the
    package draws take their place, so that everything runs without a network.

    Parameters
    ----------
    name : str or path-like
        ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``; ``"synthetic"`` (digits),
        ``"synthetic-shapes"``; or the path of a folder with four files in MNIST's format, such as
        EMNIST, KMNIST or QMNIST (`read_folder`), or of a folder or an archive in CIFAR-10's
        (`read_batches`); a folder called ``mnist`` is ``"./mnist"``.
    dtype : str or dtype, default "float32"
        Type of the images.
    progress : bool, default True
        Draw progress bars of a download on standard error.
    notice : callable, default prints to standard error
        Called with one line of text if drawn images take the place of another data set.

    Returns
    -------
    Dataset
        Its ``name`` says what it is: ``"MNIST"``, ``"CIFAR-10"``, ``"synthetic digits (seed 0)"``
        or the name of the folder, with the number of classes where that is not 10, as in
        ``"emnist-letters (26 classes)"``. Grey images have values in [0, 1]; images in CIFAR-10's
        format, and drawn shapes, are normalised: (x - `minizo.data.cifar.MEAN`) /
        `minizo.data.cifar.STD`.

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
    if name in DRAWN:
        return _draw(DRAWN[name], dtype)
    if name not in PUBLIC:
        if not (os.path.exists(name) or names_a_set(name)):
            raise InputError(
                f"data set {str(name)!r} is neither known ({', '.join(NAMES)}) nor an "
                f"existing folder{nearest(str(name).lower(), NAMES)}"
            )
        if holds_batches(name):
            return _read_batches(Path(name).resolve().name, name, dtype)
        found = find_set(name)
        *arrays, classes = read_set(found)
        title = found.name if classes == 10 else f"{found.name} ({classes} classes)"
        return from_bytes(title, *arrays, dtype, classes=classes)

    title, places, stand_in = PUBLIC[name]
    root = os.environ.get("MINIZO_DATA")
    for folder in [Path(root, place) for place in places] if root else []:
        if os.path.lexists(folder):
            return _read_public(name, folder, dtype)
    try:
        return _read_public(name, fetch(name, progress), dtype)
    except Unavailable as reason:
        place = f"no folder {os.path.join(root, name)}" if root else "$MINIZO_DATA unset"
        notice(
            f"minizo: {title} not found ({place}, no cached copy, download failed: "
            f"{reason}); continuing with synthetic {stand_in} drawn by the package"
        )
        return _draw(stand_in, dtype)


def _draw(what, dtype):
    return synthetic_digits(dtype=dtype) if what == "digits" else synthetic_shapes(dtype=dtype)


def _read_public(name, place, dtype):
    title = PUBLIC[name].title
    if name == "cifar10":
        return _read_batches(title, place, dtype)
    *arrays, classes = read_set(find_set(place))
    if classes != 10:
        raise InputError(
            f"{place}: holds {classes} classes, but {title} has 10; put {title} there, or name "
            "that folder by its path"
        )
    return from_bytes(title, *arrays, dtype)


def _read_batches(title, place, dtype):
    return from_bytes(title, *read_batches(place), dtype, MEAN, STD)


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


def cifar10(**options):
    """CIFAR-10, small colour photographs of ten things; ``load("cifar10", **options)``.

    Parameters
    ----------
    **options
        ``dtype``, ``progress`` and ``notice`` as in `load`.

    Returns
    -------
    Dataset
        50,000 training and 10,000 test images of shape (3, 32, 32), normalised channel by channel.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto, 2009.
    """
    return load("cifar10", **options)

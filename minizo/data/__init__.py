"""Data sets: MNIST, Fashion-MNIST, CIFAR, texts, your own in their formats, and drawn ones.

>>> synthetic_digits(100, 50)
Dataset('synthetic digits (seed 0)': 100 + 50 images of shape (1, 28, 28), float32, 10 classes)
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import DTypeLike

from ..errors import InputError, nearest
from ..types import FilePath
from . import cifar, cifar_100, moments
from .augment import AUGMENTATIONS, CropFlip
from .checks import channel_numbers, float_dtype
from .cifar import CIFAR100, layout_of, read_batches
from .cifar_100 import class_names, read_cifar100
from .dataset import Dataset, from_bytes
from .digits import synthetic_digits
from .download import Unavailable, fetch
from .folders import find_set, names_a_set, read_folder, read_set
from .idx import read_idx, write_idx
from .language import synthetic_text
from .shapes import synthetic_shapes
from .texts import read_text, text
from .tokens import Text, Vocabulary

__all__ = [
    "AUGMENTATIONS",
    "CropFlip",
    "Dataset",
    "Text",
    "Unavailable",
    "Vocabulary",
    "cifar10",
    "cifar100",
    "class_names",
    "fashion_mnist",
    "load",
    "mnist",
    "read_batches",
    "read_cifar100",
    "read_folder",
    "read_idx",
    "read_text",
    "synthetic_digits",
    "synthetic_shapes",
    "synthetic_text",
    "text",
    "write_idx",
]


def __dir__():
    return __all__


class _Public(NamedTuple):
    """A public data set: what it is called, where it may lie in $MINIZO_DATA, its stand-in."""

    title: str
    places: tuple
    stand_in: str
    classes: int = 10


_CIFAR100 = (
    "CIFAR-100",
    ("cifar100", "cifar-100", "cifar-100-python", "cifar-100-python.tar.gz", "cifar-100-subset"),
    "shapes",
)
COARSE = ":coarse"  # after a name: the superclasses of CIFAR-100
PUBLIC = {
    "mnist": _Public("MNIST", ("mnist",), "digits"),
    "fashion-mnist": _Public("Fashion-MNIST", ("fashion-mnist",), "digits"),
    "cifar10": _Public(
        "CIFAR-10",
        ("cifar10", "cifar-10", "cifar-10-batches-py", "cifar-10-python.tar.gz"),
        "shapes",
    ),
    "cifar100": _Public(*_CIFAR100, 100),
    f"cifar100{COARSE}": _Public(*_CIFAR100, 20),
}
DRAWN = {"synthetic": "digits", "synthetic-shapes": "shapes"}
NAMES = (*PUBLIC, *DRAWN)


def to_stderr(line):
    """Print a line to standard error, as standard output may be reserved for results."""
    if sys.stderr is not None:  # print would take standard output in its place
        print(line, file=sys.stderr, flush=True)


def load(
    name: FilePath,
    *,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    dtype: DTypeLike = "float32",
    progress: bool = True,
    notice: Callable = to_stderr,
) -> Dataset:
    """Load a data set by its name, or from a folder.

    Public data sets are looked for in the folder ``$MINIZO_DATA/<name>``, then in the user's cache,
    and then downloaded.  If none of this works, the reason is said aloud and images that the
    package draws take their place, so that everything runs without a network.

    Parameters
    ----------
    name : str or path-like
        ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``, ``"cifar100"`` (100 classes),
        ``"cifar100:coarse"`` (20 superclasses); ``"synthetic"`` (digits), ``"synthetic-shapes"``;
        or the path of a folder with four files in MNIST's format, such as EMNIST, KMNIST or QMNIST
        (`read_folder`), or of a folder or an archive in CIFAR-10's (`read_batches`) or CIFAR-100's
        (`read_cifar100`), also with ``:coarse``; a folder called ``mnist`` is ``"./mnist"``. Behind
        a name may stand mean and std, for commands: ``"cifar100:mean=.5,std=.25/.25/.5"``.
    mean, std : float or sequence of float, optional
        Images are normalised channel by channel, (x - mean) / std for x in [0, 1], by one number
        for all channels or one for each. Default: for colour `minizo.data.cifar.MEAN` and ``STD``,
        or `minizo.data.cifar_100.MEAN` and ``STD`` for CIFAR-100 and drawn images in its place;
        grey images stay in [0, 1].
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
        ``"emnist-letters (26 classes)"``. A part of CIFAR-100 is called one: ``"CIFAR-100
        (partial: 16,000 of 50,000 training and 4,000 of 10,000 test images)"``.

    Raises
    ------
    InputError
        If the name is neither known nor a folder, a number is out of range, or files are there but
        damaged: they are never silently replaced.

    Examples
    --------
    >>> load("cifar100", mean=0.5, std=0.5)  # doctest: +SKIP
    Dataset('CIFAR-100': 50000 + 10000 images of shape (3, 32, 32), float32, 100 classes)
    """
    float_dtype(dtype)  # before any work
    if not isinstance(name, (str, os.PathLike)):
        raise InputError(
            f"data set {name!r} is not a name; known are {', '.join(NAMES)}, and folders"
        )
    name, given = moments.split(name)
    given |= {key: value for key, value in (("mean", mean), ("std", std)) if value is not None}
    for key, interval in ("mean", "(-inf, inf)"), ("std", "(0, inf)"):
        if key in given:
            channel_numbers(key, given[key], interval=interval)
    given["dtype"] = dtype
    if name in DRAWN:
        return _draw(DRAWN[name], 10, given)
    if name not in PUBLIC:
        return _read_place(name, given)

    title, places, stand_in, classes = PUBLIC[name]
    plain, root = str(name).removesuffix(COARSE), os.environ.get("MINIZO_DATA")
    for folder in [Path(root, place) for place in places] if root else []:
        if os.path.lexists(folder):
            return _read_public(name, folder, given)
    try:
        return _read_public(name, fetch(plain, progress), given)
    except Unavailable as reason:
        place = f"no folder {os.path.join(root, plain)}" if root else "$MINIZO_DATA unset"
        drawn = f"synthetic {stand_in}" + (f" in {classes} classes" if classes != 10 else "")
        notice(
            f"minizo: {title} not found ({place}, no cached copy, download failed: "
            f"{reason}); continuing with {drawn} drawn by the package"
        )
        return _draw(stand_in, classes, given)


def _draw(what, classes, given):
    if what == "digits":
        return synthetic_digits(**given)
    return synthetic_shapes(**given, classes=classes)


def _read_place(name, given):
    # what is known by its path
    exists = os.path.exists(name)
    coarse = not exists and str(name).endswith(COARSE)
    place = Path(str(name).removesuffix(COARSE)) if coarse else name
    if not (os.path.exists(place) or names_a_set(place)):
        raise InputError(
            f"data set {str(name)!r} is neither known ({', '.join(NAMES)}) nor an "
            f"existing folder{nearest(str(name).lower(), NAMES)}"
        )
    layout = layout_of(place)
    own = Path(place).resolve().name
    if layout is CIFAR100:
        return _read_cifar100(own, place, given, coarse)
    if coarse:
        raise InputError(
            f"data set {str(name)!r} has no coarse labels, which only CIFAR-100 has; leave "
            f"{COARSE!r} out"
        )
    if layout is not None:
        return _read_cifar10(own, place, given)
    found = find_set(place)
    *arrays, classes = read_set(found)
    title = found.name if classes == 10 else f"{found.name} ({classes} classes)"
    return from_bytes(title, *arrays, **given, classes=classes)


def _read_public(name, place, given):
    title = PUBLIC[name].title
    if name == "cifar10":
        return _read_cifar10(title, place, given)
    if title == "CIFAR-100":
        return _read_cifar100(title, place, given, name.endswith(COARSE))
    *arrays, classes = read_set(find_set(place))
    if classes != 10:
        raise InputError(
            f"{place}: holds {classes} classes, but {title} has 10; put {title} there, or name "
            "that folder by its path"
        )
    return from_bytes(title, *arrays, **given)


def _read_cifar10(title, place, given):
    return from_bytes(title, *read_batches(place), **{"mean": cifar.MEAN, "std": cifar.STD} | given)


def _read_cifar100(title, place, given, coarse):
    arrays = read_cifar100(place, coarse)
    title = cifar_100.title(title, (len(arrays[0]), len(arrays[2])), coarse)
    own = {"mean": cifar_100.MEAN, "std": cifar_100.STD, "classes": 20 if coarse else 100}
    return from_bytes(title, *arrays, **own | given)


def mnist(**options: Any) -> Dataset:
    """MNIST, handwritten digits; ``load("mnist", **options)``.

    Parameters
    ----------
    **options
        ``mean``, ``std``, ``dtype``, ``progress`` and ``notice`` as in `load`.

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


def fashion_mnist(**options: Any) -> Dataset:
    """Fashion-MNIST, pictures of clothes in MNIST's format; ``load("fashion-mnist", **options)``.

    Parameters
    ----------
    **options
        ``mean``, ``std``, ``dtype``, ``progress`` and ``notice`` as in `load`.

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


def cifar10(**options: Any) -> Dataset:
    """CIFAR-10, small colour photographs of ten things; ``load("cifar10", **options)``.

    Parameters
    ----------
    **options
        ``mean``, ``std``, ``dtype``, ``progress`` and ``notice`` as in `load`.

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


def cifar100(coarse: bool = False, **options: Any) -> Dataset:
    """CIFAR-100, photographs of 100 things in 20 superclasses; ``load("cifar100", **options)``.

    Parameters
    ----------
    coarse : bool, default False
        Labels are the 20 superclasses: ``load("cifar100:coarse", **options)``.
    **options
        ``mean``, ``std``, ``dtype``, ``progress`` and ``notice`` as in `load`. Default: mean
        (0.5071, 0.4865, 0.4409) and std (0.2673, 0.2564, 0.2762), those of the training images.
        Published networks may want others: those of MetaQuant and FSG are trained with 0.5 and 0.5,
        ``cifar100(mean=0.5, std=0.5)``.

    Returns
    -------
    Dataset
        50,000 training and 10,000 test images of shape (3, 32, 32), normalised channel by channel,
        or a part of them, which its name then says. `class_names` gives names to the labels.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto, 2009.

    S. Chen, W. Wang, S. J. Pan, "MetaQuant: learning to quantize by learning to penetrate
    non-differentiable quantization", NeurIPS 2019 (its code, for mean and std).

    Examples
    --------
    >>> cifar100(coarse=True).classes  # doctest: +SKIP
    20
    """
    return load(f"cifar100{COARSE}" if coarse else "cifar100", **options)

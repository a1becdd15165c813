"""CIFAR-10, and the official "python" form in which it and CIFAR-100 are stored.

A data set is a folder of files, or that folder packed into one tar.gz. A file is a pickled dict
whose ``data`` are bytes (N, 3072), an image a row: 1,024 reds, then the greens, then the blues,
each row by row. CIFAR-10 has six files, called batches, whose ``labels`` are N numbers 0 .. 9. They
mean, in this order: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

Reference: A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
University of Toronto, 2009.
"""

import io
import lzma
import os
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..types import FilePath
from .packed import names_in, read, require_file, unpack
from .pickles import read_pickle

NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
ARCHIVE, UNPACKED = "cifar-10-python.tar.gz", "cifar-10-batches-py"
SUFFIXES = ("", ".gz", ".xz")
SIDE, CLASSES = 32, 10

# What is taken away from red, green and blue in [0, 1], and what they are then divided by. MEAN is
# the mean of the training images. STD is the mean of the standard deviations of single images, a
# little less than the deviation over all images (0.247, 0.243, 0.262): the papers use these.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)


class Layout(NamedTuple):
    """What the files of a data set are called, and which labels each of them has."""

    title: str
    files: tuple  # the last one holds the test images
    archive: str
    unpacked: str  # the folder that comes out of the archive
    labels: dict  # entry of a file -> number of classes
    file: str  # what one is called in errors


class Batch(NamedTuple):
    """A file: images (N, 3, 32, 32), labels (N,) by entry, both uint8; what it calls itself."""

    images: np.ndarray
    labels: dict
    name: str


CIFAR10 = Layout("CIFAR-10", NAMES, ARCHIVE, UNPACKED, {"labels": CLASSES}, "batch")
CIFAR100 = Layout(
    "CIFAR-100",
    ("train", "test"),
    "cifar-100-python.tar.gz",
    "cifar-100-python",
    {"fine_labels": 100, "coarse_labels": 20},
    "file",
)
LAYOUTS = (CIFAR10, CIFAR100)


def layout_of(place):
    """The layout that an archive or a folder seems to have: CIFAR10, CIFAR100 or None.

    Raises
    ------
    InputError
        If a folder holds both.
    """
    place = Path(place)
    if not place.is_dir():
        return _layout_inside(place) if place.name.endswith((".tar.gz", ".tar", ".tgz")) else None
    present, files = names_in(place, NAMES[0]), _files_in(place)
    found = [
        layout
        for layout in LAYOUTS
        if present & {layout.archive, layout.unpacked}
        or files & {name + suffix for name in layout.files for suffix in SUFFIXES}
    ]
    both = " and ".join(layout.title for layout in found)
    require_file(len(found) < 2, place, f"holds {both}", "name the folder or archive of one")
    return found[0] if found else None


def _layout_inside(path):
    # by the name, else by the first file that tells; if none does, reading it says what is wrong
    for layout in LAYOUTS:
        if path.name == layout.archive:
            return layout
    try:
        with tarfile.open(path) as archive:
            names = (os.path.basename(member.name) for member in archive if member.isreg())
            telling = (layout for name in names for layout in LAYOUTS if name in layout.files)
            return next(telling, CIFAR10)
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError):
        return CIFAR10


def read_batches(place: FilePath) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read CIFAR-10 from a folder or an archive.

    Parameters
    ----------
    place : str or path-like
        ``cifar-10-python.tar.gz``; or a folder that holds the six batches, each as it is or packed
        with gzip or xz; or a folder that holds the archive, or the folder ``cifar-10-batches-py``
        that comes out of it. A batch may hold any number of images.

    Returns
    -------
    x_train : ndarray of shape (n_train, 3, 32, 32)
        Training images, uint8: red, green, blue.
    y_train : ndarray of shape (n_train,)
        Training labels, uint8 with values in 0 .. 9.
    x_test, y_test : ndarray
        The same for the test set.

    Raises
    ------
    InputError
        If a batch is missing, cut off, damaged, or needs more than plain data (`read_pickle`).
    """
    batches = read_layout(place, CIFAR10)
    images, labels = zip(*((b.images, b.labels["labels"]) for b in batches), strict=True)
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


def read_layout(place, layout):
    """The `Batch` of every file of a data set, in the order of ``layout.files``."""
    found = sources(place, layout, layout.files)
    # unpacking lets go of the interpreter lock, so that batches are unpacked side by side
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda source: read_file(*source, layout), found))


def read_file(path, data, layout):
    """The `Batch` of one file, packed or not; data are its content, or None if it is to be read."""
    content = read_entries(path, data)
    foreign = f"it is no {layout.file} of {layout.title}"
    good = isinstance(content, dict) and {"data", *layout.labels} <= set(content)
    names = " and ".join(["data", *layout.labels])
    require_file(good, path, f"is a pickle without {names}", foreign)
    images = content["data"]
    good = isinstance(images, np.ndarray) and images.ndim == 2 and images.shape[1] == 3 * SIDE**2
    require_file(good, path, "has no rows of 3072 bytes", foreign)
    require_file(len(images) > 0, path, "holds no images", "a data set needs images")
    labels = {}
    for entry, classes in layout.labels.items():
        numbers = content[entry]
        good = isinstance(numbers, list) and all(
            type(number) is int and 0 <= number < classes for number in numbers
        )
        words = entry.replace("_", " ")
        require_file(good, path, f"has other {words} than 0 .. {classes - 1}", foreign)
        require_file(
            len(images) == len(numbers),
            path,
            f"holds {len(images)} images and {len(numbers)} {words}",
            "fetch it again",
        )
        labels[entry] = np.array(numbers, np.uint8)
    # (N, 3*32*32) -> (N, 3, 32, 32)
    images = images.reshape(-1, 3, SIDE, SIDE)
    name = content.get("batch_label", "")
    return Batch(images, labels, name if isinstance(name, str) else "")


def read_entries(path, data=None):
    """What the pickle in a file holds; packed or not, its content read or not."""
    data = unpack(path, read(path) if data is None else data)
    require_file(len(data) > 0, path, "is empty", "fetch it again")
    return read_pickle(path, data)


def sources(place, layout, names):
    """(path, content) of files of a folder or an archive; content None where it was not read."""
    place = Path(place)
    if not place.is_dir():
        return _in_archive(place, names)
    files = _files_in(place)
    paths = {name: [place / f"{name}{s}" for s in SUFFIXES if name + s in files] for name in names}
    if not paths[names[0]]:
        present = names_in(place, names[0])
        inner = next((name for name in (layout.unpacked, layout.archive) if name in present), None)
        if inner:
            return sources(place / inner, layout, names)
    missing = [name for name in names if not paths[name]]
    require_file(
        not missing,
        place,
        f"lacks {', '.join(missing)}",
        f"put them there, or {layout.archive} in their place",
    )
    return [(paths[name][0], None) for name in names]


def _files_in(folder):
    # names of what is no folder
    return {name for name in names_in(folder, NAMES[0]) if not (folder / name).is_dir()}


def _in_archive(path, names):
    # nothing is written to the disk
    data, found = unpack(path, read(path)), {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if member.isreg() and name in names:
                    found[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: is no tar archive, or damaged ({error}); fetch it again"
        ) from error
    missing = [name for name in names if name not in found]
    require_file(not missing, path, f"lacks {', '.join(missing)}", "fetch it again")
    return [(f"{path}: {name}", found[name]) for name in names]

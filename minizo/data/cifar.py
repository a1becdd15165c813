"""CIFAR-10 in its official "python" form: six batches, in a folder or packed into one tar.gz.

A batch is a pickled dict whose ``data`` are bytes (N, 3072), an image a row: 1,024 reds, then the
greens, then the blues, each row by row; its ``labels`` are N numbers 0 .. 9. The labels mean, in
this order: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

Reference: A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
University of Toronto, 2009.
"""

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..errors import InputError
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


def holds_batches(place):
    """Whether ``place`` looks like CIFAR-10: an archive, or a folder with it or a batch in it."""
    place = Path(place)
    if not place.is_dir():
        return place.name.endswith((".tar.gz", ".tar", ".tgz"))
    inside = names_in(place, NAMES[0])
    return bool(inside & {ARCHIVE, UNPACKED, *(name + s for name in NAMES for s in SUFFIXES)})


def read_batches(place):
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
    place = Path(place)
    if place.is_dir():
        present = names_in(place, NAMES[0])
        if not any(f"{NAMES[0]}{suffix}" in present for suffix in SUFFIXES):
            inner = next((name for name in (UNPACKED, ARCHIVE) if name in present), None)
            if inner:
                return read_batches(place / inner)
        sources = _in_folder(place, present)
    else:
        sources = _in_archive(place)
    # unpacking lets go of the interpreter lock, so that batches are unpacked side by side
    with ThreadPoolExecutor() as pool:
        batches = list(pool.map(lambda source: read_batch(*source), sources))
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


def read_batch(path, data=None):
    """Images (N, 3, 32, 32) and labels (N,) of one batch, both uint8.

    Parameters
    ----------
    path : str or path-like
        The file, packed or not.
    data : bytes, optional
        Its content, where it has been read.
    """
    data = unpack(path, read(path) if data is None else data)
    require_file(len(data) > 0, path, "is empty", "fetch it again")
    batch = read_pickle(path, data)
    good = isinstance(batch, dict) and "data" in batch and "labels" in batch
    require_file(good, path, "is a pickle without data and labels", "it is no batch of CIFAR-10")
    images, labels = batch["data"], batch["labels"]
    good = isinstance(images, np.ndarray) and images.ndim == 2 and images.shape[1] == 3 * SIDE**2
    require_file(good, path, "has no rows of 3072 bytes", "it is no batch of CIFAR-10")
    require_file(len(images) > 0, path, "holds no images", "a data set needs images")
    good = isinstance(labels, list) and all(
        type(label) is int and 0 <= label < CLASSES for label in labels
    )
    require_file(good, path, "has other labels than 0 .. 9", "it is no batch of CIFAR-10")
    require_file(
        len(images) == len(labels),
        path,
        f"holds {len(images)} images and {len(labels)} labels",
        "fetch it again",
    )
    # (N, 3*32*32) -> (N, 3, 32, 32)
    return images.reshape(-1, 3, SIDE, SIDE), np.array(labels, np.uint8)


def _in_folder(folder, present):
    # (path,) of every batch
    missing = [name for name in NAMES if not any(name + s in present for s in SUFFIXES)]
    require_file(
        not missing,
        folder,
        f"lacks {', '.join(missing)}",
        f"put them there, or {ARCHIVE} in their place",
    )
    return [(folder / next(name + s for s in SUFFIXES if name + s in present),) for name in NAMES]


def _in_archive(path):
    # (name, content) of every batch; nothing is written to the disk
    data, found = unpack(path, read(path)), {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if member.isreg() and name in NAMES:
                    found[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: is no tar archive, or damaged ({error}); fetch it again"
        ) from error
    missing = [name for name in NAMES if name not in found]
    require_file(not missing, path, f"lacks {', '.join(missing)}", "fetch it again")
    return [(f"{path}: {name}", found[name]) for name in NAMES]

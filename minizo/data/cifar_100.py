"""CIFAR-100: photographs as those of CIFAR-10, of 100 things in 20 superclasses.

It is stored as `minizo.data.cifar` says, in two files, ``train`` and ``test``. Every image has a
fine label 0 .. 99, what it shows, and a coarse one 0 .. 19, the superclass; five fine classes make
one superclass, so that the fine label says the coarse one. A file ``meta`` has their names.

Images are normalised channel by channel, (x - MEAN) / STD for x in [0, 1], unless
``load("cifar100", mean=..., std=...)`` says otherwise. MetaQuant and FSG, and the full-precision
networks that MetaQuant's authors published, take HALF for both.

Reference: A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
University of Toronto, 2009.
"""

from typing import Any

import numpy as np

from ..types import FilePath
from .cifar import CIFAR100, read_entries, read_layout, sources
from .packed import require_file

FINE, COARSE = CIFAR100.labels.values()
SIZES = (50_000, 10_000)  # training and test images of the whole data set

# Mean and standard deviation of red, green and blue in [0, 1] over all training images.
MEAN = (0.5071, 0.4865, 0.4409)
STD = (0.2673, 0.2564, 0.2762)
# Of S. Chen, W. Wang, S. J. Pan, "MetaQuant", NeurIPS 2019 (its code), and of FSG, for CIFAR-100:
# (x - 0.5) / 0.5 lies in [-1, 1].
HALF = (0.5, 0.5, 0.5)


def read_cifar100(
    place: FilePath, coarse: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read CIFAR-100, or a part of it, from a folder or an archive.

    Parameters
    ----------
    place : str or path-like
        ``cifar-100-python.tar.gz``; or a folder that holds ``train`` and ``test``, each as it is or
        packed with gzip or xz; or a folder that holds the archive, or the folder
        ``cifar-100-python`` that comes out of it.
    coarse : bool, default False
        Labels are the 20 superclasses, and not the 100 classes.

    Returns
    -------
    x_train : ndarray of shape (n_train, 3, 32, 32)
        Training images, uint8: red, green, blue.
    y_train : ndarray of shape (n_train,)
        Training labels, uint8 with values in 0 .. 99, or 0 .. 19.
    x_test, y_test : ndarray
        The same for the test set.

    Raises
    ------
    InputError
        If a file is missing, cut off, damaged, in the other's place, needs more than plain data
        (`read_pickle`), or has fine and coarse labels that contradict each other.
    """
    batches = read_layout(place, CIFAR100)
    parts = ("train", "training"), ("test", "testing")
    for batch, (file, part), most in zip(batches, parts, SIZES, strict=True):
        remedy = "train and test seem to have changed places: fetch them again"
        others = {"training", "testing"} - {part}
        fault = f"{file} calls itself {batch.name[:40]!r}"
        require_file(not batch.name.startswith(tuple(others)), place, fault, remedy)
        count = len(batch.images)
        fault = f"{file} holds {count:,} images, but that of CIFAR-100 {most:,}"
        require_file(count <= most, place, fault, remedy)
    _require_agreement(place, batches)
    entry = "coarse_labels" if coarse else "fine_labels"
    train, test = batches
    return train.images, train.labels[entry], test.images, test.labels[entry]


def _require_agreement(place, batches):
    # all images of a fine class have one coarse label
    fine, coarse = (
        np.concatenate([batch.labels[entry] for batch in batches]) for entry in CIFAR100.labels
    )
    first = np.zeros(FINE, np.uint8)
    first[fine] = coarse  # of each fine class, that of one of its images
    wrong = np.flatnonzero(first[fine] != coarse)[:1]
    if len(wrong):
        own, others = sorted((int(coarse[wrong[0]]), int(first[fine[wrong[0]]])))
        fault = f"images of fine class {fine[wrong[0]]} have the coarse labels {own} and {others}"
        require_file(False, place, fault, "a class lies in one superclass: fetch it again")


def class_names(place: FilePath, coarse: bool = False) -> tuple[str, ...]:
    """Names of the classes, or of the superclasses, from the file ``meta`` of CIFAR-100.

    Parameters
    ----------
    place : str or path-like
        As in `read_cifar100`.
    coarse : bool, default False
        Those of the 20 superclasses.

    Returns
    -------
    tuple of str
        100 or 20 names, in the order of the labels.

    Raises
    ------
    InputError
        If ``meta`` is missing, damaged, or has other than 100 and 20 names.
    """
    [(path, data)] = sources(place, CIFAR100, ("meta",))
    content = read_entries(path, data)
    entry, count = ("coarse_label_names", COARSE) if coarse else ("fine_label_names", FINE)
    names: Any = content.get(entry) if isinstance(content, dict) else None
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    require_file(
        good and len(names) == count, path, f"has no {count} {entry}", "fetch the official file"
    )
    return tuple(names)


def title(name, sizes, coarse=False):
    """What a data set is called: with its classes, and with the part of CIFAR-100 that it is.

    Examples
    --------
    >>> title("CIFAR-100", (50_000, 10_000)), title("CIFAR-100", (50_000, 10_000), coarse=True)
    ('CIFAR-100', 'CIFAR-100 (20 superclasses)')
    >>> title("CIFAR-100", (16_000, 4_000))
    'CIFAR-100 (partial: 16,000 of 50,000 training and 4,000 of 10,000 test images)'
    """
    notes = [f"{COARSE} superclasses"] if coarse else [f"{FINE} classes"]
    if name == CIFAR100.title and not coarse:
        notes = []
    if tuple(sizes) != SIZES:
        (n_train, n_test), (all_train, all_test) = sizes, SIZES
        notes.append(
            f"partial: {n_train:,} of {all_train:,} training and {n_test:,} of {all_test:,} test "
            "images"
        )
    return f"{name} ({'; '.join(notes)})" if notes else name

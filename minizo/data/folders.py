"""Folders of IDX files, under the names and in the layouts in which the family of MNIST is found.

A data set is four files: images and labels, of training and of test. Their names are

    [SET-]{train,t10k,test}-{images,labels}-idx{1,2,3}-{ubyte,int}[.gz]

in small or capital letters, with ``.idx`` for ``-idx``, packed or not. SET names one of several
data sets in a folder: ``emnist-letters``, ``emnist-balanced``, ``qmnist``. In the place of a file
there may be a folder called like it that holds it, as some programs unpack archives; and the four
files may lie in a folder of the folder, such as torchvision's ``raw``.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..types import FilePath
from .idx import NAMES, read_idx
from .packed import names_in, require_file

FILE = re.compile(
    r"(?:(?P<set>.+?)[-_.])?(?P<part>train|t10k|test)[-_.](?P<kind>images|labels)"
    r"(?P<idx>[-_.]idx)[123](?:[-_.](?:ubyte|int))?(?P<packed>\.(?:gz|xz))?",
    re.IGNORECASE,
)
EMNIST = re.compile(r"(?:.*[-_.])?emnist")  # whose images are stored transposed
# Of which part, and what: the order of `NAMES`.
ROLES = (("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels"))
UNPACKED = ("raw", "gzip")  # what torchvision and EMNIST's archive call the folder of the files
DEPTH = 2  # how many folders below the one that is named: ``root/MNIST/raw``


class FileSet(NamedTuple):
    """Files of one data set: the folder, SET in small letters or ``""``, role -> path."""

    folder: Path
    prefix: str
    paths: dict

    @property
    def place(self):
        """The path by which `read_folder` knows it."""
        return self.folder / self.prefix if self.prefix else self.folder

    @property
    def name(self):
        """SET, or else the name of the folder."""
        folder = self.folder.resolve()
        if folder.name.lower() in UNPACKED:
            folder = folder.parent
        return self.prefix or folder.name

    @property
    def missing(self):
        """Usual names of the files that are not there."""
        usual = NAMES
        if self.prefix:
            labels = "idx2-int" if self.prefix.startswith("qmnist") else "idx1-ubyte"
            endings = {"images": "idx3-ubyte", "labels": labels}
            usual = [f"{self.prefix}-{part}-{kind}-{endings[kind]}" for part, kind in ROLES]
        return [name for role, name in zip(ROLES, usual, strict=True) if role not in self.paths]


def read_folder(folder: FilePath) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read a data set in MNIST's format: four IDX files in a folder.

    Parameters
    ----------
    folder : str or path-like
        A folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each with or without ``.gz``, or
        in another of the spellings and layouts above (`minizo.data.folders`). Of several data sets
        in one folder, such as the splits of EMNIST, one is named as if it were a folder of it:
        ``gzip/emnist-letters``.

    Returns
    -------
    x_train : ndarray of shape (n_train, H, W)
        Training images, uint8. Those of EMNIST, which are stored transposed, are upright: this is
        known by the names of their files.
    y_train : ndarray of shape (n_train,)
        Training labels, int64 with values in 0 .. 9, or in 0 .. K - 1 where K > 10 classes occur.
        Labels 1 .. K, as EMNIST's letters have, are moved down by one. Of labels with several
        columns, as QMNIST has, it is the first, the class.
    x_test, y_test : ndarray
        The same for the test set.

    Raises
    ------
    InputError
        If the folder or a file of it cannot be used, or holds several data sets.
    """
    return read_set(find_set(folder))[:4]


def read_set(found):
    """Images and labels of a `FileSet`, as `read_folder` gives them, and the number of classes."""
    paths = [found.paths[role] for role in ROLES]
    arrays = []
    for path, (_, kind) in zip(paths, ROLES, strict=True):
        array = read_idx(path, 3 if kind == "images" else (1, 2))
        if array.ndim == 2:
            require_file(array.shape[1] > 0, path, "has no columns", "fetch it again")
            array = array[:, 0]
        arrays.append(array)
    for i in (0, 2):
        images, labels = arrays[i : i + 2]
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
    train, test = (x.shape[1:] for x in arrays[0::2])
    require_file(
        train == test,
        paths[2],
        f"holds images of {test[0]} x {test[1]} pixels, but {paths[0].name} holds "
        f"{train[0]} x {train[1]}",
        "they belong to different data sets",
    )
    if EMNIST.match(found.prefix):  # (N, W, H) -> (N, H, W)
        arrays[0::2] = [np.ascontiguousarray(x.swapaxes(1, 2)) for x in arrays[0::2]]
    first, classes = _classes(arrays[1], arrays[3], paths[1], paths[3])
    arrays[1::2] = [labels.astype(np.int64) - first for labels in arrays[1::2]]
    return (*arrays, classes)


def _classes(train, test, *paths):
    # (the label of the first class, number of classes)
    both = np.unique(np.concatenate([train, test]))
    first, present = int(both[0] > 0), np.unique(train)
    # A wrong byte must not pass for the last of 256 classes: those above 9 must all occur.
    gaps = present != np.arange(first, first + len(present))
    occurring = int(np.append(gaps, True).argmax())
    last = max(9, first + occurring - 1)
    for labels, path in zip((train, test), paths, strict=True):
        wrong = np.flatnonzero((labels < 0) | (labels > last))
        require_file(
            len(wrong) == 0,
            path,
            f"holds the label {labels[wrong[:1]].sum()} at position {wrong[:1].sum()}",
            "labels lie in 0 .. 9, or in 0 .. K - 1 or 1 .. K where each of K classes occurs in "
            "training",
        )
    return (0, 10) if both[-1] <= 9 else (first, occurring)


def names_a_set(place):
    """Whether ``place`` names one of the data sets of a folder, such as ``gzip/emnist-letters``."""
    place = Path(place)
    wanted = place.name.lower()
    return place.parent.is_dir() and any(s.prefix == wanted for s in _sets(place.parent, 0))


def find_set(place):
    """The `FileSet` at ``place``, which `read_folder` describes."""
    place = Path(place)
    if not os.path.lexists(place) and names_a_set(place):
        wanted = place.name.lower()
        sets = [found for found in _sets(place.parent, 0) if found.prefix == wanted]
    else:
        sets = _sets(place, DEPTH)
    complete = [found for found in sets if not found.missing]
    # files without SET in the folder itself are the data set of the folder
    plain = [found for found in complete if found.place == place]
    if plain or len(complete) == 1:
        return (plain or complete)[0]
    if complete:
        choices = ", ".join(str(found.place) for found in complete)
        raise InputError(f"{place}: holds several data sets; name one of them: {choices}")
    if not sets:
        present = names_in(place, NAMES[0])
        companions = f"put {NAMES[0]} and its companions there"
        require_file(present, place, "the folder is empty", companions)
    nearest = min(sets, key=lambda s: len(s.missing), default=FileSet(place, "", {}))
    raise InputError(
        f"{nearest.folder}: lacks {', '.join(nearest.missing)}; put them there, with or without .gz"
    )


def _sets(folder, depth):
    # every FileSet of the folder; where it has none, those of its folders
    names = names_in(folder, NAMES[0])
    found = {}
    for (part, kind), prefix, path in _files(folder, names):
        found.setdefault(prefix, {}).setdefault((part, kind), path)
    sets = [FileSet(folder, prefix, paths) for prefix, paths in sorted(found.items())]
    if sets or depth == 0:
        return sets
    for name in sorted(names):
        inner = folder / name
        if not name.startswith((".", "__")) and inner.is_dir() and os.access(inner, os.R_OK):
            sets += _sets(inner, depth - 1)
    return sets


def _files(folder, names):
    # (role, SET, path) of every IDX file, those first that are preferred for a role
    files = []
    for name in names:
        match = None if name.startswith(".") else FILE.fullmatch(name)
        if match is None:
            continue
        part = "train" if match["part"].lower() == "train" else "test"
        role, path = (part, match["kind"].lower()), folder / name
        alone = not path.is_dir()
        if not alone:
            plain = [n for n in names_in(path, name) if not (path / n).is_dir()]
            inside = [f for f in _files(path, plain) if f[0] == role]
            if not inside:
                continue
            path = inside[0][2]
        rank = (not alone, match["part"].lower() == "test", match["idx"] == ".idx",
                match["packed"] is not None, name)  # fmt: skip
        files.append((rank, (role, (match["set"] or "").lower(), path)))
    return [file for _, file in sorted(files, key=lambda f: f[0])]

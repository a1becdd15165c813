"""A labelled image data set: four arrays and a name."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .. import backend
from ..errors import require


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test images with their labels.

    Parameters
    ----------
    name : str
        What tables and pictures print, such as ``"MNIST"``.
    x_train : ndarray of shape (n_train, C, H, W)
        Training images, float32 with values in [0, 1], or normalised channel by channel.
    y_train : ndarray of shape (n_train,)
        Training labels, int64 with values in 0 .. classes - 1.
    x_test : ndarray of shape (n_test, C, H, W)
        Test images.
    y_test : ndarray of shape (n_test,)
        Test labels.
    classes : int, default 10
        Number of classes.

    Raises
    ------
    InputError
        If the shapes do not fit together, or a label is not a class.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.zeros((4, 1, 28, 28), np.float32), np.arange(4)
    >>> Dataset("blank", x, y, x[:2], y[:2])
    Dataset('blank': 4 + 2 images of shape (1, 28, 28), float32, 10 classes)
    """

    name: str
    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any
    classes: int = 10

    def __post_init__(self):
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            require(
                len(x.shape) == 4,
                f"the shape of x_{part}",
                tuple(x.shape),
                "images have the shape (N, C, H, W)",
            )
            require(
                tuple(y.shape) == (x.shape[0],),
                f"the shape of y_{part}",
                tuple(y.shape),
                f"the {x.shape[0]} images of x_{part} need as many labels",
            )
            # Only on the host: on a device it would cost a synchronisation, and the data sets
            # there are made from ones that were checked here.
            if isinstance(y, np.ndarray) and len(y):
                low, high = int(y.min()), int(y.max())
                require(
                    low >= 0 and high < self.classes,
                    f"a label of y_{part}",
                    low if low < 0 else high,
                    f"labels lie in 0 .. {self.classes - 1}",
                )
        require(
            tuple(self.x_train.shape[1:]) == tuple(self.x_test.shape[1:]),
            "the shape of a test image",
            tuple(self.x_test.shape[1:]),
            f"the training images have the shape {tuple(self.x_train.shape[1:])}",
        )

    def __repr__(self):
        n_train, *shape = self.x_train.shape
        return (
            f"Dataset({self.name!r}: {n_train} + {self.x_test.shape[0]} images of shape "
            f"{tuple(shape)}, {self.x_train.dtype}, {self.classes} classes)"
        )

    @cached_property
    def digest(self):
        """16 hexadecimal digits of a SHA-256 over images, labels and number of classes.

        What tells data sets of one name apart. Computed when it is first asked for (a quarter of a
        second for MNIST) and the same on every backend; it takes the arrays for constant.
        """
        parts = [self.classes]
        for x, labels in (self.x_train, self.y_train), (self.x_test, self.y_test):
            labels = backend.to_numpy(labels).astype(np.int64, copy=False)
            parts += [tuple(x.shape), backend.numpy_dtype(x).name, backend.sha256(x)]
            parts += [backend.sha256(labels)]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def to(self, xp=np):
        """The same data set as arrays of another namespace.

        Parameters
        ----------
        xp : module, default numpy
            The namespace, for instance ``numpy`` or ``cupy``.

        Returns
        -------
        Dataset
        """

        def move(a):
            return xp.asarray(backend.to_numpy(a))

        return self._map(move, move)

    def astype(self, dtype):
        """The same data set with images of another floating-point type; labels stay int64.

        Parameters
        ----------
        dtype : str or dtype
            For instance ``"float64"``.

        Returns
        -------
        Dataset
        """
        dtype = float_dtype(dtype)
        return self._map(lambda x: x.astype(dtype, copy=False), lambda y: y)

    def head(self, n_train, n_test):
        """The first images only, for quick experiments.

        Parameters
        ----------
        n_train, n_test : int
            How many training and test images to keep.

        Returns
        -------
        Dataset
            Its arrays are views: nothing is copied.
        """
        for argument, n, x in (("n_train", n_train, self.x_train), ("n_test", n_test, self.x_test)):
            require(
                0 < n <= x.shape[0],
                argument,
                n,
                f"{self.name} has {x.shape[0]} such images: ask for 1 to {x.shape[0]}",
            )
        return replace(
            self,
            x_train=self.x_train[:n_train],
            y_train=self.y_train[:n_train],
            x_test=self.x_test[:n_test],
            y_test=self.y_test[:n_test],
        )

    def _map(self, images, labels):
        return replace(
            self,
            x_train=images(self.x_train),
            y_train=labels(self.y_train),
            x_test=images(self.x_test),
            y_test=labels(self.y_test),
        )


def float_dtype(dtype):
    """``dtype`` as a NumPy floating-point type, or an `InputError`.

    Examples
    --------
    >>> float_dtype("float32")
    dtype('float32')
    """
    try:
        result = None if dtype is None else np.dtype(dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        result = None
    require(
        result is not None and result.kind == "f",
        "dtype",
        dtype,
        "images need a floating-point type such as 'float32'",
    )
    return result


def from_bytes(
    name, x_train, y_train, x_test, y_test, dtype="float32", mean=None, std=None, classes=10
):
    """A `Dataset` from uint8 arrays as files hold them.

    Parameters
    ----------
    name : str
        Name of the data set.
    x_train, x_test : ndarray of shape (N, H, W) or (N, C, H, W)
        Images, uint8.
    y_train, y_test : ndarray of shape (N,)
        Labels, of any integer type.
    dtype : str or dtype, default "float32"
        Type of the images; bytes 0 .. 255 become 0 .. 1.
    mean, std : sequence of float, optional
        One number a channel: normalised images (x - mean) / std instead.
    classes : int, default 10
        Number of classes.

    Returns
    -------
    Dataset
    """
    dtype = float_dtype(dtype)

    def images(x):
        x = x[:, None] if x.ndim == 3 else x  # (N, H, W) -> (N, 1, H, W)
        # Working inside the ufunc avoids a second large array.
        if mean is None:
            return np.divide(x, dtype.type(255), dtype=dtype)
        # (x / 255 - mean) / std = (x - 255 mean) / (255 std)
        centre, width = (255 * np.array(v, dtype)[:, None, None] for v in (mean, std))
        centred = np.subtract(x, centre, dtype=dtype)
        centred /= width
        return centred

    return Dataset(
        name,
        images(x_train),
        y_train.astype(np.int64),
        images(x_test),
        y_test.astype(np.int64),
        classes,
    )

"""A labelled data set: four arrays and a name."""

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from .. import backend
from ..errors import require
from ..settings import whole
from ..types import Array
from . import checks
from .checks import float_dtype
from .scaling import channel_moments, scaled

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training and test images with their labels, or sequences of tokens with what follows each.

    Parameters
    ----------
    name : str
        What tables and pictures print, such as ``"MNIST"``.
    x_train : ndarray of shape (n_train, C, H, W), or of integers (n_train, T)
        Training images, float32 or float64, finite, with values in [0, 1] or normalised channel by
        channel; or sequences of T tokens 0 .. classes - 1, kept as int64.
    y_train : ndarray of shape (n_train,), or (n_train, T)
        Training labels of any integer type, with values in 0 .. classes - 1; kept as int64. A
        sequence has one for each of its places.
    x_test : ndarray of shape (n_test, C, H, W) or (n_test, T)
        Test images, or sequences.
    y_test : ndarray of shape (n_test,) or (n_test, T)
        Test labels.
    classes : int, default 10
        Number of classes, or of different tokens.
    dtype : {"float32", "float64"}, optional
        In which a network is trained with it: that of images, and float32 for tokens.

    Raises
    ------
    InputError
        If shapes, dtypes or libraries do not fit together, a label is not a class, or an image is
        not finite.

    Notes
    -----
    This is the one place where data are checked for what concerns them alone; whether they fit a
    network is looked at by `minizo.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.zeros((4, 1, 28, 28), np.float32), np.arange(4)
    >>> Dataset("blank", x, y, x[:2], y[:2])
    Dataset('blank': 4 + 2 images of shape (1, 28, 28), float32, 10 classes)
    >>> tokens = np.arange(12).reshape(4, 3) % 5
    >>> Dataset("count", tokens, (tokens + 1) % 5, tokens[:1], (tokens[:1] + 1) % 5, 5)
    Dataset('count': 4 + 1 sequences of 3 tokens, 5 different)
    """

    name: str
    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any
    classes: int = 10
    dtype: Any = None

    def __post_init__(self):
        object.__setattr__(self, "classes", whole("classes", self.classes))
        for part in ("train", "test"):
            x = getattr(self, f"x_{part}")
            y = checks.labels(f"y_{part}", getattr(self, f"y_{part}"), self.classes)
            if checks.are_tokens(x):
                x = checks.tokens(f"x_{part}", x, self.classes)
                wanted, remedy = tuple(x.shape), f"x_{part} has {x.shape}, one label a token"
            else:
                x = checks.images(f"x_{part}", x)
                wanted = (x.shape[0],)
                remedy = f"the {x.shape[0]} images of x_{part} need as many labels"
            require(tuple(y.shape) == wanted, f"the shape of y_{part}", tuple(y.shape), remedy)
            object.__setattr__(self, f"x_{part}", x)
            object.__setattr__(self, f"y_{part}", y)
        arrays = (self.x_train, self.y_train, self.x_test, self.y_test)
        backend.namespace(*arrays)  # of one library
        require(
            tuple(self.x_train.shape[1:]) == tuple(self.x_test.shape[1:]),
            f"the shape of a test {self._what}",
            tuple(self.x_test.shape[1:]),
            f"the training {self._what}s have the shape {tuple(self.x_train.shape[1:])}",
        )
        require(
            self.x_train.dtype == self.x_test.dtype,
            "the dtype of x_test",
            str(self.x_test.dtype),
            f"the training images have {self.x_train.dtype}",
        )
        own = "float32" if self.tokens else backend.numpy_dtype(self.x_train).name
        dtype = own if self.dtype is None else float_dtype(self.dtype).name
        remedy = f"the images have {own}: convert them with astype"
        require(self.tokens or dtype == own, "dtype", dtype, remedy)
        object.__setattr__(self, "dtype", dtype)

    @property
    def tokens(self) -> bool:
        """Whether x holds tokens, and not images."""
        return checks.are_tokens(self.x_train)

    @property
    def _what(self):
        # what an example is called
        return "sequence" if self.tokens else "image"

    @property
    def like(self) -> Array:
        """An empty array with the library, the device and the dtype of what is trained with it."""
        xp = backend.namespace(self.x_train)
        return backend.empty((0,), self.x_train, getattr(xp, self.dtype))

    def __repr__(self):
        n_train, *shape = self.x_train.shape
        if self.tokens:
            kind = type(self).__name__
            return (
                f"{kind}({self.name!r}: {n_train} + {self.x_test.shape[0]} sequences of {shape[0]} "
                f"tokens, {self.classes} different)"
            )
        return (
            f"Dataset({self.name!r}: {n_train} + {self.x_test.shape[0]} images of shape "
            f"{tuple(shape)}, {self.x_train.dtype}, {self.classes} classes)"
        )

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of a SHA-256 over images, labels and number of classes.

        What tells data sets of one name apart. Computed when it is first asked for (a quarter of a
        second for MNIST) and the same on every backend; it takes the arrays for constant.
        """
        parts: list = [self.classes]
        for x, labels in (self.x_train, self.y_train), (self.x_test, self.y_test):
            labels = backend.to_numpy(labels).astype(np.int64, copy=False)
            parts += [tuple(x.shape), backend.numpy_dtype(x).name, backend.sha256(x)]
            parts += [backend.sha256(labels)]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def to(self, xp: ModuleType = np) -> Self:
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

        return self._with({name: move(getattr(self, name)) for name in ARRAYS})

    def astype(self, dtype: DTypeLike) -> Self:
        """The same data set for training in another floating-point type; labels stay int64.

        Parameters
        ----------
        dtype : str or dtype
            For instance ``"float64"``.

        Returns
        -------
        Dataset
        """
        dtype = float_dtype(dtype)
        if self.tokens:
            return replace(self, dtype=dtype.name)
        x_train, x_test = (x.astype(dtype, copy=False) for x in (self.x_train, self.x_test))
        return replace(self, x_train=x_train, x_test=x_test, dtype=dtype.name)

    def standardized(self) -> Self:
        """Return the data set with (x - mean_c) / std_c for x, c the channel.

        Mean and standard deviation are those of the training images, for the test images, too, in
        float64 whatever the dtype, which stays. A channel whose training images hold one number
        only is centred and not divided.

        Returns
        -------
        Dataset
            With new images, and ``", standardised"`` after its name. Memory beside them: 8 MiB.

        Raises
        ------
        InputError
            If there is no training image, or the data are tokens.

        Examples
        --------
        >>> import numpy as np
        >>> x = np.array([1.0, 3.0, 5.0, 7.0]).reshape(4, 1, 1, 1)
        >>> data = Dataset("four", x, np.arange(4), x[:1], np.arange(1)).standardized()
        >>> data.x_train.reshape(-1).round(3), data.name  # mean 4, standard deviation sqrt(5)
        (array([-1.342, -0.447,  0.447,  1.342]), 'four, standardised')
        """
        remedy = "tokens have no scale: leave standardising out"
        require(not self.tokens, "the dtype of x_train", str(self.x_train.dtype), remedy)
        remedy = "their mean and standard deviation are needed: give some"
        require(prod(self.x_train.shape), "the shape of x_train", self.x_train.shape, remedy)
        moments = channel_moments(self.x_train)
        x_train, x_test = (scaled(x, *moments) for x in (self.x_train, self.x_test))
        return replace(self, name=f"{self.name}, standardised", x_train=x_train, x_test=x_test)

    def head(self, n_train: int, n_test: int) -> Self:
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
        kept = {}
        for part, n in (("train", n_train), ("test", n_test)):
            most = getattr(self, f"y_{part}").shape[0]
            n = whole(f"n_{part}", n)
            require(n <= most, f"n_{part}", n, f"{self.name} has {most} such {self._what}s")
            kept |= {name: getattr(self, name)[:n, ...] for name in (f"x_{part}", f"y_{part}")}
        return self._with(kept)

    def _with(self, arrays):
        # this data set with other arrays, whose numbers were looked at before
        other = object.__new__(type(self))
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        vars(other).update(own | arrays)
        return other


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
    mean, std : float or sequence of float, optional
        For all channels or each of them: normalised images (x - mean) / std instead; 0 and 1 where
        one of the two is not given.
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
        if mean is None and std is None:
            return np.divide(x, dtype.type(255), dtype=dtype)
        # (x / 255 - mean) / std = (x - 255 mean) / (255 std)
        moments = (
            checks.channel_numbers("mean", 0.0 if mean is None else mean, x.shape[1]),
            checks.channel_numbers("std", 1.0 if std is None else std, x.shape[1], "(0, inf)"),
        )
        centre, width = (255 * np.array(v, dtype)[:, None, None] for v in moments)
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

"""Reproducible randomness: (seed, purpose, step, block) identifies a random stream.

Nothing in the package holds a generator. Code that needs random numbers asks for the stream of its
place in the run. So the numbers do not depend on who asks, in which order, or on the number of
workers, and a resumed run draws the numbers of an uninterrupted one.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np

from . import backend, kernels
from .errors import choose, require
from .settings import Settings
from .types import Array

CHUNK = 2**16  # numbers drawn at a time; part of what a seed means

# Where the numbers of a stream are generated for a GPU. On the host there is one way.
SOURCES = ("device", "host")

SEEDS = "[0, 4294967295]"  # a larger one would take two of a stream's words

# Uses of random numbers. Different purposes never share a stream.
PURPOSES = {
    "init": 0, "data": 1, "noise": 2, "sign": 3, "test": 4, "layers": 5, "hypernet": 6, "beside": 7,
    "augment": 8, "sample": 9,
}  # fmt: skip


@dataclass(frozen=True)
class Stream(Settings):
    """A random stream, given by its place in a run; every draw starts at its beginning.

    Parameters
    ----------
    seed : int
        Seed of the run, below 2^32.
    purpose : str
        One of `PURPOSES`.
    path : tuple of int
        Place in the run, usually ``(step, block)``, each below 2^32. No path of a purpose may be
        the beginning of another: ``(3,)`` and ``(3, 0)`` are the same stream.
    source : {"device", "host"}
        For arrays on a GPU: numbers generated there, which differ from NumPy's, or NumPy's numbers,
        copied to it. The latter is slower and makes runs on two backends comparable.

    Examples
    --------
    >>> first = at(0, "noise", 3, 1).uniform(np.empty(2))
    >>> bool(np.all(first == at(0, "noise", 3, 1).uniform(np.empty(2))))
    True
    """

    seed: Annotated[int, SEEDS]
    purpose: str
    path: Annotated[tuple, SEEDS] = ()
    source: str = "device"

    def __post_init__(self):
        super().__post_init__()
        choose("purpose", self.purpose, PURPOSES)
        require(self.source in SOURCES, "rng", self.source, f"choose from {SOURCES}")

    def child(self, *path: int) -> Self:
        """Return the stream below, with ``path`` at the end of its own.

        Draw either from a stream or from its children, not from both.
        """
        return replace(self, path=(*self.path, *path))

    def words(self) -> tuple[int, ...]:
        """Return the integers that identify this stream."""
        return (self.seed, PURPOSES[self.purpose], *self.path)

    def philox(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return (key, place) of this stream in Philox 4x64-10, for `minizo.kernels.fill`.

        key = (seed + 2^32 purpose, length of the path) and place = the path, two of its numbers a
        word: another (key, place) for every stream. With one key, two places never give the same
        block at the same index, since Philox is a bijection of the counter.

        >>> at(7, "noise", 3, 1).philox()
        ((8589934599, 2), (4294967299, 0, 0))
        """
        path = (*self.path, *(0,) * (6 - len(self.path)))
        remedy = "on a GPU a stream has a path of at most 6 numbers from 0 to 2^32 - 1"
        require(len(path) == 6, "path", self.path, remedy)
        place = tuple(low + 2**32 * high for low, high in zip(path[::2], path[1::2], strict=True))
        return (self.seed + 2**32 * PURPOSES[self.purpose], len(self.path)), place

    def host(self) -> "np.random.Generator":  # imported when the first one is asked for
        """Return the NumPy generator of this stream (SFC64, NumPy's fastest for float32)."""
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.words())))

    def uniform(self, out: Array) -> Array:
        """Fill ``out`` with uniform numbers on [-1, 1], symmetric, never 0 and never +-1.

        c = k / 2^m, k uniform on the odd integers of (-2^m, 2^m); m = 24 for float32 and 53 for
        float64, so that every c is exact. The values are symmetric and never 0, so no law built on
        them (`minizo.laws`) has a bias, meets log(0), or puts a zero among +-1 signs.

        Parameters
        ----------
        out : ndarray, float32 or float64, contiguous
            Overwritten, and returned.
        """
        xp = backend.namespace(out)
        if self.source == "device" and backend.is_cupy(xp):
            return kernels.fill("uniform", out, *self.philox())
        host = out if backend.is_numpy(xp) else np.empty(out.shape, backend.numpy_dtype(out))
        integer, spare, m = (np.int32, 7, 24) if host.itemsize == 4 else (np.int64, 10, 53)
        generator, flat = self.host(), host.reshape(-1)
        for start in range(0, flat.size, CHUNK):  # a cacheful at a time
            c = flat[start : start + CHUNK]
            words = -(-c.size * host.itemsize // 8)
            k = generator.integers(0, 2**64, size=words, dtype=np.uint64).view(integer)[: c.size]
            k >>= spare  # keeps m + 1 bits, the sign among them
            k |= 1
            c[...] = k
            c *= 2.0**-m
        return _deliver(host, out)

    def normal(self, out: Array) -> Array:
        """Fill ``out`` with standard normal numbers; otherwise as `uniform`."""
        xp = backend.namespace(out)
        if self.source == "device" and backend.is_cupy(xp):
            return kernels.fill("normal", out, *self.philox())
        host = out if backend.is_numpy(xp) else np.empty(out.shape, backend.numpy_dtype(out))
        self.host().standard_normal(dtype=host.dtype, out=host)
        return _deliver(host, out)


def _deliver(host, out):
    if host is not out:
        out[...] = backend.asarray(host, out)
    return out


@dataclass(frozen=True)
class Rows:
    """Streams for the rows of an array (S, ...), one each."""

    streams: tuple

    def uniform(self, out: Array) -> Array:
        """Fill ``out`` row by row as `Stream.uniform` does."""
        for row, stream in enumerate(self.streams):
            stream.uniform(out[row, ...])
        return out

    def normal(self, out: Array) -> Array:
        """Fill ``out`` row by row as `Stream.normal` does."""
        for row, stream in enumerate(self.streams):
            stream.normal(out[row, ...])
        return out


def at(seed: int | tuple[int, ...], purpose: str, *path: int, source: str = "device") -> Any:
    """Return the stream for ``purpose`` at ``path`` of the run with ``seed``; see `Stream`.

    For a tuple of seeds it returns a stream for each, as `Rows`.

    Examples
    --------
    >>> at(0, "noise", 3, 1).normal(np.empty(2)).round(3)
    array([-0.955, -1.13 ])
    >>> at((0, 1), "noise", 3, 1).normal(np.empty((2, 4))).shape
    (2, 4)
    """
    if isinstance(seed, tuple):
        return Rows(tuple(Stream(one, purpose, path, source) for one in seed))
    return Stream(seed, purpose, path, source)

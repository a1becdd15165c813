"""Reproducible randomness: a stream is found again from (seed, purpose, step, block).

Nothing in the package holds a generator. Whoever needs random numbers asks for the stream of this
place in the run, so the numbers do not depend on who asks, in which order, or how many workers
there are, and a resumed run sees what the uninterrupted one would have seen.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from . import backend, kernels
from .errors import choose, require
from .settings import Settings

CHUNK = 2**16  # numbers drawn at a time; part of what a seed means

# Where the numbers of a stream are made on a GPU. On the host there is one way.
SOURCES = ("device", "host")

SEEDS = "[0, 4294967295]"  # a larger one would take two of a stream's words

# What the numbers are for. Different purposes never share a stream.
PURPOSES = {
    "init": 0, "data": 1, "noise": 2, "sign": 3, "test": 4, "layers": 5, "hypernet": 6, "beside": 7,
    "augment": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Stream(Settings):
    """The place of a random stream; drawing starts at its beginning every time.

    Parameters
    ----------
    seed : int
        Seed of the run, below 2^32.
    purpose : str
        One of `PURPOSES`.
    path : tuple of int
        Where in the run, usually ``(step, block)``, each below 2^32. Of two paths of one purpose
        none may be the other with more at its end: ``(3,)`` and ``(3, 0)`` are the same stream.
    source : {"device", "host"}
        For arrays on a GPU: numbers made there, in an order of its own, or NumPy's numbers, copied
        to it. The second is slower, and is what makes runs on two backends comparable.

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

    def child(self, index):
        """Return the stream one level below, with ``index`` at the end of its path.

        What has drawn from its children does not draw from the stream itself.
        """
        return replace(self, path=(*self.path, index))

    def words(self):
        """Return the integers that identify this stream."""
        return (self.seed, PURPOSES[self.purpose], *self.path)

    def philox(self):
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

    def host(self):
        """Return the NumPy generator of this stream (SFC64, NumPy's fastest for float32)."""
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.words())))

    def uniform(self, out):
        """Fill ``out`` with uniform numbers on [-1, 1], symmetric, never 0 and never +-1.

        c = k / 2^m, k uniform on the odd integers of (-2^m, 2^m); m = 24 for float32 and 53 for
        float64, so that every c is exact. As many values lie at +c as at -c: no law built on it
        (`minizo.laws`) can have a bias, meet log(0), or put a zero among +-1 signs.

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
            part = flat[start : start + CHUNK]
            words = -(-part.size * host.itemsize // 8)
            k = generator.integers(0, 2**64, size=words, dtype=np.uint64).view(integer)[: part.size]
            k >>= spare  # keeps m + 1 bits, the sign among them
            k |= 1
            part[...] = k
            part *= 2.0**-m
        return _deliver(host, out)

    def normal(self, out):
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
    """A stream for each row of the arrays that are filled: (S, ...)."""

    streams: tuple

    def uniform(self, out):
        """Fill ``out`` row by row as `Stream.uniform` does."""
        for row, stream in enumerate(self.streams):
            stream.uniform(out[row, ...])
        return out

    def normal(self, out):
        """Fill ``out`` row by row as `Stream.normal` does."""
        for row, stream in enumerate(self.streams):
            stream.normal(out[row, ...])
        return out


def at(seed, purpose, *path, source="device"):
    """Return the stream for ``purpose`` at ``path`` of the run with ``seed``; see `Stream`.

    For a tuple of seeds a stream for each: `Rows`.
    """
    if isinstance(seed, tuple):
        return Rows(tuple(Stream(own, purpose, path, source) for own in seed))
    return Stream(seed, purpose, path, source)

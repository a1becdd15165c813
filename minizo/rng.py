"""Reproducible randomness: a stream is found again from (seed, purpose, step, block).

Nothing in the package holds a generator. Whoever needs random numbers asks for the stream of this
place in the run, so the numbers do not depend on who asks, in which order, or how many workers
there are, and a resumed run sees what the uninterrupted one would have seen.
"""

from dataclasses import dataclass

import numpy as np

from . import backend

# What the numbers are for. Different purposes never share a stream.
PURPOSES = {"init": 0, "data": 1, "noise": 2, "sign": 3, "test": 4}


@dataclass(frozen=True)
class Stream:
    """The place of a random stream; drawing starts at its beginning every time.

    Parameters
    ----------
    seed : int
        Seed of the run.
    purpose : str
        One of `PURPOSES`.
    path : tuple of int
        Where in the run, usually ``(step, block)``.

    Examples
    --------
    >>> first = at(0, "noise", 3, 1).uniform(np.empty(2))
    >>> bool(np.all(first == at(0, "noise", 3, 1).uniform(np.empty(2))))
    True
    """

    seed: int
    purpose: str
    path: tuple = ()

    def words(self):
        """The integers that identify this stream."""
        return (self.seed, PURPOSES[self.purpose], *self.path)

    def host(self):
        """NumPy generator of this stream (SFC64: the fastest of NumPy's for float32)."""
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.words())))

    def uniform(self, out):
        """Fill ``out`` with uniform numbers on [-1, 1], symmetric, never 0 and never +-1.

        c = (2k + 1 - 2^m) / 2^m with k uniform on {0, ..., 2^m - 1}; m = 24 for float32 and 53 for
        float64. Exactly as many values lie at +c as at -c, so no law built on it (`minizo.laws`)
        can have a bias, meet log(0), or put a zero among +-1 signs.

        Parameters
        ----------
        out : ndarray, float32 or float64, contiguous
            Overwritten, and returned.
        """
        self._fill("random", out)
        half_step = 2.0**-24 if "32" in str(out.dtype) else 2.0**-53
        # p = k 2^-m in [0, 1)  ->  c = (2 p - 1) + 2^-m ; every operation here is exact
        out *= 2.0
        out -= 1.0 - half_step
        return out

    def normal(self, out):
        """Fill ``out`` with standard normal numbers; otherwise as `uniform`."""
        return self._fill("standard_normal", out)

    def _fill(self, method, out):
        xp = backend.namespace(out)
        dtype = np.dtype(str(out.dtype).rpartition(".")[2])
        if backend.is_numpy(xp):
            getattr(self.host(), method)(dtype=dtype, out=out)
        elif backend.is_cupy(xp):
            out[...] = backend.device_draw(xp, self.words(), method, out.shape, dtype)
        else:
            numbers = getattr(self.host(), method)(tuple(out.shape), dtype=dtype)
            out[...] = backend.asarray(numbers, out)
        return out


def at(seed, purpose, *path):
    """The stream for ``purpose`` at ``path`` of the run with ``seed``; see `Stream`."""
    return Stream(seed, purpose, path)

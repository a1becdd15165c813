"""Where blocks of directions run: in the caller, in threads, processes, or on other machines.

Blocks depend on sizes alone, and their results are added in their order, so the bits do not depend
on who computes them.
"""

import itertools
import os
from collections import deque
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from uuid import uuid4

import numpy as np

from . import sharing
from .settings import Count, Settings, whole

BLOCK_NUMBERS = 2**19  # in the largest array of a block: 2 MiB in float32, about one L2 cache
BLOCK_DIRECTIONS = 64


def blocks(n, numbers):
    """(number of the block, directions in it) of all blocks of n directions.

    A block holds min(64, 2^19 / numbers) directions, at least 1, where ``numbers`` is what the
    evaluation of one of them takes. That depends on sizes alone, because it defines the sums.

    >>> blocks(130, 7960), blocks(2, 2_000_000)
    ([(0, 64), (1, 64), (2, 2)], [(0, 1), (1, 1)])
    """
    size = max(1, min(BLOCK_DIRECTIONS, BLOCK_NUMBERS // numbers))
    return [(block, min(size, n - start)) for block, start in enumerate(range(0, n, size))]


@dataclass(frozen=True)
class Pool(Settings):
    """Where blocks run: an executor, and how many blocks it is handed at once.

    Parameters
    ----------
    executor : concurrent.futures.Executor, optional
        Threads, processes, or another library's (Dask, mpi4py). ``None`` computes in the caller.
        A worker process holds its BLAS to one thread from its first block on.
    in_flight : int
        Blocks handed to the executor at once. Twice as many as it has workers keep them busy while
        results are added up.
    memory : int
        Bytes that the blocks in flight may take together, where their size is known. One block is
        always allowed.
    """

    executor: Executor | None = None
    in_flight: Count = 1
    memory: Count = 256 * 2**20

    def map(self, function, calls, nbytes=1):
        """Results of ``function(*call)`` in the order of ``calls``, few enough at a time."""
        if self.executor is None:
            yield from itertools.starmap(function, calls)
            return
        limit = max(1, min(self.in_flight, self.memory // nbytes))
        pending = deque()
        try:
            for call in calls:
                if len(pending) == limit:
                    yield pending.popleft().result()
                work = (_run, _this_process(), np.geterr(), function, *call)
                pending.append(self.executor.submit(*work))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


_token = uuid4()  # another one in every process that imports this module, on whatever machine


def _this_process():
    return _token, os.getpid()  # a fork has its parent's token, but a number of its own


@cache
def _hold_blas():
    sharing.one_blas_thread().__enter__()  # for good


def _run(home, errors, function, *call):
    # In a worker process nobody has entered `sharing.one_blas_thread`, and a BLAS with several
    # threads adds up in another order. The process at home is its owner's business. What NumPy does
    # about an overflow (``errors``) is the caller's choice, wherever it happens.
    if home != _this_process():
        _hold_blas()
    with np.errstate(**errors):
        return function(*call)


@contextmanager
def threads(workers=None):
    """A `Pool` of ``workers`` threads (by default one a processor) for a ``with`` block.

    NumPy lets go of the interpreter lock inside its loops and products, so threads share the work:
    the blocks of a population, and the blocks of examples of a layer that is worth it
    (`sharing.share`).
    On a GPU one worker is right: the device itself is the parallel machine.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    workers = whole("workers", workers)
    if workers == 1:
        with sharing.one_blas_thread():
            yield Pool()
        return
    with (
        sharing.one_blas_thread(),
        ThreadPoolExecutor(workers, thread_name_prefix="minizo") as executor,
        sharing.crew(executor, workers),
    ):
        yield Pool(executor, 2 * workers)  # one waits for each that is under way

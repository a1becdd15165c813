"""The engine room: blocks of work, the threads that compute them, and the memory that they use.

Two kinds of blocks. *Blocks of directions* (`blocks`) are calls that know nothing of each other; a
`Pool` computes them in the caller, in threads, in processes or on other machines. *Blocks of
examples* (`together`) walk through a network side by side and meet where a layer needs a sum over
the whole batch. Both depend on sizes alone, and what they give is added in their order: the bits of
a result do not depend on who computes what.
"""

import ctypes
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from math import ceil
from uuid import uuid4

import numpy as np

from .settings import Count, Settings, whole

# Blocks of directions ----------------------------------------------------------------------------

BLOCK_NUMBERS = 2**19  # in the largest array of a block: 2 MiB in float32, about one L2 cache
BLOCK_DIRECTIONS = 64


def blocks(n, numbers):
    """(number of the block, directions in it) of all blocks of n directions.

    There are as few as can be with at most min(64, 2^19 / numbers) directions each, but one at
    least, where ``numbers`` is what the evaluation of a direction takes; and they are alike, so
    that two workers end together. All of it depends on sizes alone, because it defines the sums.

    >>> blocks(100, 7960), blocks(2, 2_000_000)
    ([(0, 50), (1, 50)], [(0, 1), (1, 1)])
    """
    most = max(1, min(BLOCK_DIRECTIONS, BLOCK_NUMBERS // numbers))
    size = ceil(n / ceil(n / most))
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

    def map(self, function: Callable, calls: Iterable[tuple], nbytes: int = 1) -> Iterator:
        """Results of ``function(*call)`` in the order of ``calls``, few enough at a time.

        Parameters
        ----------
        function : callable
        calls : iterable of tuple
            A single call is made in the caller, whose own helpers it may then use.
        nbytes : int
            What one call takes.
        """
        calls = list(calls)
        if self.executor is None or len(calls) == 1:
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
def _settle():
    # once in a worker process, for good
    one_blas_thread().__enter__()
    keep_memory()


def _run(home, errors, function, *call):
    # In a worker process nobody has entered `one_blas_thread`, and a BLAS with several threads adds
    # up in another order. The process at home is its owner's business. What NumPy does about an
    # overflow (``errors``) is the caller's choice, wherever it happens.
    if home != _this_process():
        _settle()
    with np.errstate(**errors):
        return function(*call)


@contextmanager
def threads(workers: int | None = None) -> Iterator[Pool]:
    """A `Pool` of ``workers`` threads (by default one a processor) for a ``with`` block.

    NumPy lets go of the interpreter lock inside its loops and products, so threads share the work:
    the blocks of directions of a population, and the blocks of examples of a network (`together`).
    On a GPU one worker is right: the device itself is the parallel machine.
    """
    workers = whole("workers", (os.cpu_count() or 1) if workers is None else workers)
    keep_memory()
    with one_blas_thread(), hands(workers):
        if workers == 1:
            yield Pool()
        else:
            with ThreadPoolExecutor(workers, thread_name_prefix="minizo") as executor:
                yield Pool(executor, 2 * workers)  # one waits for each that is under way


# Blocks of examples ------------------------------------------------------------------------------

_here = threading.local()  # of each thread: ``hands``, and the ``helpers`` that it has started


@contextmanager
def hands(count):
    """Let as many blocks of examples of this thread run at once; 1 where nothing is said."""
    before = getattr(_here, "hands", 1)
    _here.hands = count
    try:
        yield
    finally:
        _here.hands = before


def alone(*values):
    """The sums of ``values`` over all blocks of a batch, where there is one block.

    >>> alone(3.0), alone(1, 2.0)
    (3.0, (1, 2.0))
    """
    return values if len(values) > 1 else values[0]


_END = object()  # the value of a block that has no more


class _OtherFailed(Exception):
    # raised in blocks that wait for one in which something has gone wrong
    pass


class _Team:
    # Sums over blocks that are under way at once. Every block waits until all have brought their
    # values; as many as there are hands compute at a time. Who is free wakes exactly one that is
    # ready, and the last to bring its values goes on itself: a switch of threads costs as much as a
    # small layer.

    def __init__(self, count, at_once):
        self.values, self.totals, self.brought = [None] * count, None, 0
        self.lock, self.failed = threading.Lock(), False  # the lock of all that is in here
        self.free, self.ready = at_once, deque(range(count))
        self.turns = [threading.Lock() for _ in range(count)]  # held until it is a block's turn
        for turn in self.turns:
            turn.acquire()
        self._wake()

    def _wake(self):
        while self.free and self.ready and not self.failed:
            self.free -= 1
            self.turns[self.ready.popleft()].release()

    def _wait(self, block):
        self.turns[block].acquire()
        if self.failed:
            raise _OtherFailed

    def _fail(self):
        with self.lock:
            self.failed = True
            for turn in self.turns:
                if turn.locked():
                    turn.release()

    def _add(self):
        ended = [values[0] is _END for values in self.values]
        if any(ended) and not all(ended):
            raise RuntimeError("blocks of a batch ask for different numbers of sums")
        if any(ended):
            return
        totals = self.values[0]
        for values in self.values[1:]:
            totals = [total + value for total, value in zip(totals, values, strict=True)]
        self.totals = alone(*totals)

    def _bring(self, block, values):
        # whether they are the last
        with self.lock:
            self.values[block] = values
            self.brought += 1
            last = self.brought == len(self.values)
            if last:
                self._add()
                self.brought = 0
                self.ready.extend(other for other in range(len(self.values)) if other != block)
            else:
                self.free += 1
            self._wake()
        return last

    def walk(self, function, block):
        def reduce(*values):
            if not self._bring(block, values):
                self._wait(block)
            return self.totals

        try:
            self._wait(block)
            result = function(block, reduce)
            reduce(_END)  # whoever asks for one more sum is not left waiting
        except BaseException:
            self._fail()
            raise
        with self.lock:
            self.free += 1
            self._wake()
        return result


def together(function, count):
    """``[function(block, reduce) for block in range(count)]``, all of them under way at once.

    Parameters
    ----------
    function : callable
        ``reduce(*values)`` gives it, for each value, the sum over all blocks, added in their order.
        Every block must ask for as many sums as the others.
    count : int

    Notes
    -----
    The blocks run in threads that belong to the calling thread, in its context (`numpy.errstate`
    is part of that). What goes wrong in one ends all, and its error is raised.
    """
    if count == 1:
        return [function(0, alone)]
    helpers = getattr(_here, "helpers", None)
    if helpers is None or helpers._max_workers < count - 1:
        helpers = _here.helpers = ThreadPoolExecutor(count - 1, thread_name_prefix="minizo-block")
    team = _Team(count, getattr(_here, "hands", 1))
    others = [
        helpers.submit(copy_context().run, team.walk, function, block) for block in range(1, count)
    ]
    results, errors = [], []
    for ask in (lambda: team.walk(function, 0), *(other.result for other in others)):
        try:
            results.append(ask())
        except BaseException as error:
            errors.append(error)
    # those that waited for one that failed know only that it did
    errors.sort(key=lambda error: isinstance(error, _OtherFailed))
    if errors:
        raise errors[0]
    return results


# The BLAS and the memory -------------------------------------------------------------------------


class _BlasLimit:
    # The limit belongs to the process, not to whoever asks for it: the first to enter sets it, and
    # the last to leave lifts it, in whatever thread that happens.

    def __init__(self):
        self.lock, self.inside, self.limits = threading.Lock(), 0, None

    def __enter__(self):
        from threadpoolctl import threadpool_limits

        with self.lock:
            if self.inside == 0:
                self.limits = _in_any_thread(threadpool_limits, limits=1, user_api="blas")
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                _in_any_thread(self.limits.restore_original_limits)


def _in_any_thread(change, **options):
    # Since 3.8 threadpoolctl listens to the first thread that sets a limit, and silently ignores
    # all others until that thread gives its place away.
    from threadpoolctl import OpenBLASController

    give_away = getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)
    give_away(force=True)
    try:
        return change(**options)
    finally:
        give_away(force=True)


_blas_limit = _BlasLimit()


def one_blas_thread():
    """Hold the host's BLAS to one thread, for a ``with`` block.

    Blocks of work are spread over threads by the package itself. A BLAS that starts its own threads
    below them makes every product wait for the slowest core, and may add up in another order, which
    would change the bits. Several threads of a process may be in such blocks at once.
    """
    return _blas_limit


@cache
def keep_memory():
    """Let freed memory stay with the process: True where the system's library can be told so.

    glibc gives large freed arrays back to the system, and every step then pays for their pages
    again, with a third of its time and more. Here arrays up to 32 MiB come from the heap, and what
    is freed at its end stays. Called where training begins, not at import: what is freed while data
    are loaded should go back.
    """
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # another system, or another library
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3
    # the second alone would make it worse
    return bool(glibc and mallopt(mmap_threshold, 2**25) and mallopt(trim_threshold, 2**31 - 1))

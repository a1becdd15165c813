"""Large arrays in blocks of cache size, spread over the host's threads.

Blocks depend on sizes alone, and sums are taken block by block in order, so the bits do not depend
on who computes what. Off the host everything is one block: a device is parallel by itself.
"""

import threading
from collections import deque
from contextlib import contextmanager
from contextvars import copy_context
from math import ceil, prod

import numpy as np

from .backend import empty_like, namespace

BLOCK = 2**21  # numbers at work in a block of a large array: 8 MiB in float32

_crew = threading.local()


@contextmanager
def crew(executor, workers):
    """Let `share` use the threads of ``executor`` for calls from this thread, ``workers`` at once.

    Work that runs in those threads itself finds no crew and is done where it is: a large
    population, whose blocks are spread already, is not spread twice. ``crew(None, 1)`` is none.
    """
    before = getattr(_crew, "hands", None)
    _crew.hands = (executor, workers)
    try:
        yield
    finally:
        _crew.hands = before


def blocks(count, size, like):
    """Slices that cut ``count`` examples of ``size`` numbers each into blocks of about `BLOCK`.

    ``size`` is all that is at work for one example at once, so that a block fits into a cache. More
    than one are an even number and about equal, so that two threads have the same to do. They
    depend on nothing else, so sums taken block by block, in order, have the same bits whoever
    computes the blocks. Off the host everything is one block: the device is parallel by itself.

    >>> blocks(5, BLOCK // 2, np.empty(0))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    if namespace(like) is not np:
        return [slice(0, count)]
    number = ceil(count * size / BLOCK)
    number += number > 1 and number % 2
    step = max(1, ceil(count / max(1, number)))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def share(function, items):
    """[function(item) for item in items], with the crew of this thread where there is one."""
    executor, workers = getattr(_crew, "hands", None) or (None, 1)
    if executor is None or len(items) < 2:
        return [function(item) for item in items]
    results, waiting = [None] * len(items), deque(enumerate(items))

    def work():
        while True:
            try:
                index, item = waiting.popleft()
            except IndexError:
                return
            results[index] = function(item)

    # a helper sees the caller's context, of which NumPy's errstate is part
    helpers = [
        executor.submit(copy_context().run, work) for _ in range(min(workers, len(items)) - 1)
    ]
    try:
        work()
    finally:
        waiting.clear()
        for helper in helpers:
            helper.result()
    return results


def blockwise(function, *arrays):
    """A new array that ``function(out, *arrays)`` writes, block by block where it is large.

    Parameters
    ----------
    function : callable
        Elementwise; it is given blocks of the new array and of the ``arrays``, and overwrites the
        first.
    *arrays : ndarray
        Of one shape, or of shapes that broadcast.
    """
    xp = namespace(*arrays)
    if any(a.shape != arrays[0].shape for a in arrays):
        arrays = xp.broadcast_arrays(*arrays)
    out = empty_like(arrays[0])
    size = (1 + len(arrays)) * prod(out.shape[1:])
    parts = blocks(out.shape[0], size, out) if out.ndim else [...]
    if len(parts) == 1:
        function(out, *arrays)
    else:
        share(lambda part: function(out[part], *(a[part] for a in arrays)), parts)
    return out


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

    Blocks of work are spread over threads by the package itself (`minizo.population`). A BLAS that
    starts its own threads below them makes every product wait for the slowest core, and may add up
    in another order, which would change the bits. Several threads of a process may be in such
    blocks at once.
    """
    return _blas_limit

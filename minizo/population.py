"""The population engine: many two-point differences, block by block.

G = (1/n) sum_i [F(theta + eps v_i) - F(theta - eps v_i)] / (2 eps) v_i for n directions v_i. They
come in *blocks* of a size that depends on d alone (`block_size`). A block draws its directions from
the stream (seed, step, block), evaluates them through the population axis, and hands back one
partial sum; partial sums are added in block order. Therefore the result is the same, bit for bit,
whoever computes the blocks, in whatever order and however many at a time.

Where S seeds train at once, theta is (S, 1, d): every row draws its own directions from its own
stream, (S, P, d) in all, and the equations are the same.
"""

import itertools
import os
from collections import deque
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import prod, sqrt
from typing import NamedTuple
from uuid import uuid4

import numpy as np

from . import backend, rng, sharing
from .memory import in_parts
from .settings import Count, Settings, whole

BLOCK_ELEMENTS = 2**19  # of one block's (directions, d) array: 2 MiB in float32, about one L2 cache
BLOCK_DIRECTIONS = 64


def block_size(d):
    """Directions in a block: min(64, 2^19 / d), at least 1. Fixed, because it defines the sums.

    >>> block_size(7960), block_size(2_000_000)
    (64, 1)
    """
    return max(1, min(BLOCK_DIRECTIONS, BLOCK_ELEMENTS // d))


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
        Bytes that the blocks in flight may take together; default 256 MiB. One block is always
        allowed.
    """

    executor: Executor | None = None
    in_flight: Count = 1
    memory: Count = 256 * 2**20

    def map(self, function, calls, nbytes):
        """Results of ``function(*call)`` in the order of ``calls``, few enough at a time."""
        if self.executor is None:
            yield from itertools.starmap(function, calls)
            return
        limit = max(1, min(self.in_flight, self.memory // max(1, nbytes)))
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
def threads(workers=None, memory=Pool.memory):
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
            yield Pool(memory=memory)
        return
    with (
        sharing.one_blas_thread(),
        ThreadPoolExecutor(workers, thread_name_prefix="minizo") as executor,
        sharing.crew(executor, workers),
    ):
        yield Pool(executor, 2 * workers, memory)  # one waits for each that is under way


class Query(NamedTuple):
    """What all blocks of one step share.

    objective : Objective
    theta : ndarray (d,), or (S, 1, d)
    batch : Batch
    eps : ndarray like theta
        Size of the perturbation of each parameter; 0 leaves a parameter alone.
    law : Law
    seed, step : int
        With S rows, ``seed`` is a tuple of S.
    guide : ndarray like theta, or None
        Unit vector ghat mixed into every direction, with a random sign.
    beta : float
        v = sqrt(beta) s ghat + sqrt(1 - beta) u.
    workspace : int
        Numbers that the objective needs for one direction while it evaluates it, beside theta.
    rng : str
        Where random numbers are made: `minizo.rng.SOURCES`.
    most : int, optional
        Directions of a block that are evaluated at a time; by default all.
    """

    objective: object
    theta: object
    batch: object
    eps: object
    law: object
    seed: int
    step: int
    guide: object = None
    beta: float = 0.0
    workspace: int = 0
    rng: str = "device"
    most: int | None = None

    def fill(self, sample, purpose, block, out):
        """``sample(stream, out)`` from the stream of this step and block, for every row its own."""
        if not isinstance(self.seed, tuple):
            return sample(rng.at(self.seed, purpose, self.step, block, source=self.rng), out)
        for row, seed in enumerate(self.seed):
            stream = rng.at(seed, purpose, self.step, block, source=self.rng)
            sample(stream, out[row, ...])
        return out


def directions(query, block, count):
    """The ``count`` directions v of ``block``: (count, d) or (S, count, d), in a scratch buffer."""
    xp = backend.namespace(query.theta)
    *lead, d = query.theta.shape
    rows = lead[:-1]  # (d,) -> (), (S, 1, d) -> (S,)
    v = backend.scratch("directions", (*rows, count, d), query.theta)
    if query.beta == 1.0:
        v[...] = 0.0
    else:
        query.fill(query.law.sample, "noise", block, v)
    if query.guide is not None:
        # v = sqrt(beta) s ghat + sqrt(1 - beta) u,  s = +-1
        signs = backend.empty((*rows, count, 1), query.theta)
        s = xp.sign(query.fill(rng.Stream.uniform, "sign", block, signs))
        v *= sqrt(1.0 - query.beta)
        v += (sqrt(query.beta) * s) * query.guide
    return v


def block_sum(query, block, count):
    """Sum of [F(theta + eps v) - F(theta - eps v)] eps v over one block: like theta, and of F.

    Cost: 2 count forwards.
    """
    xp = backend.namespace(query.theta)
    pert = directions(query, block, count)
    pert *= query.eps

    def both_sides(part):
        own = pert[..., part, :]
        above = query.objective.evaluate(query.theta, query.batch, own)
        return above, query.objective.evaluate(query.theta, query.batch, own, sign=-1.0)

    size = (query.theta.shape, query.workspace)
    found = in_parts(both_sides, count, "directions", pert, query.most, size)
    above, below = found[0] if len(found) == 1 else map(_joined, zip(*found, strict=True))
    # (..., 1, count) @ (..., count, d) -> (..., 1, d) -> like theta
    total = xp.reshape(xp.matmul((above - below)[..., None, :], pert), query.theta.shape)
    return total, xp.sum(above, axis=-1) + xp.sum(below, axis=-1)


def _joined(parts):
    return backend.namespace(*parts).concat(parts, axis=-1)


def two_point_gradient(query, n, pool):
    """G = (1/n) sum_i [F(theta + eps v_i) - F(theta - eps v_i)] / (2 eps) v_i.

    With a different eps for different parameters, parameter l moves by eps_l v_l and
    G_l = (1/n) sum_i [F+ - F-] / (2 eps_l) v_il.

    Returns
    -------
    gradient : ndarray like theta
        0 where eps is 0.
    loss : ndarray (), or (S,)
        Mean of the 2n evaluations.
    """
    xp, n = backend.namespace(query.theta), whole("n", n)
    *lead, d = query.theta.shape
    size = block_size(d)
    counts = [min(size, n - start) for start in range(0, n, size)]
    # a block holds the directions, the point where it evaluates, and what the objective needs
    numbers = prod(lead) * counts[0] * (2 * d + query.workspace)
    nbytes = numbers * xp.finfo(query.theta.dtype).bits // 8
    if not backend.is_numpy(xp):  # on a device the budget holds within a block, too
        query = query._replace(most=max(1, pool.memory * counts[0] // nbytes))
    calls = ((query, block, count) for block, count in enumerate(counts))
    total = loss = None
    for partial, losses in pool.map(block_sum, calls, nbytes):
        total = partial if total is None else total + partial
        loss = losses if loss is None else loss + losses
    # block sums hold (F+ - F-) eps v, so the equation's 1 / (2 eps) becomes 1 / (2 eps^2)
    scale = xp.where(query.eps > 0.0, 2.0 * n * query.eps * query.eps, 1.0)
    return total / scale, loss / (2 * n)

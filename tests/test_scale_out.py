"""Blocks through any executor: threads, processes, a Dask cluster that loses a worker; same bits.

The bits of a block depend on the number of threads of the BLAS, so worker processes are started
here with two of them: what holds them to one must be the package.
"""

import multiprocessing
import os
import pickle
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from strategies import Query, two_point_gradient

from minizo import FOGZO, SPSA, Batch, Objective, Pool, Step, models, parallel, quantizers
from minizo.laws import LAWS

OWN_BLAS = True  # this process, too, has its own number of threads
N = 64 * 8 + 5  # nine blocks, the last one shorter


def query(n=N):
    """The 2-bit 784-10-10 on 100 random images in float32: its bits depend on the BLAS threads."""
    numbers = np.random.default_rng(0)
    net = models.mlp(784, 10, 10)
    theta = net.init(0)
    x = numbers.random((100, 1, 28, 28), dtype=np.float32)
    batch = Batch(x, numbers.integers(0, 10, 100))
    objective = Objective(net, quantizers.MidRise(bits=2)).calibrate(theta)
    eps = SPSA(n=n).init(objective, theta).eps
    return Query(objective, theta, batch, eps, objective.quantizer.law, 7, 3)


def alone(query):
    """Gradient and loss without an executor."""
    with parallel.one_blas_thread():
        return two_point_gradient(query, N, Pool())


def assert_same_bits(found, expected):
    """Gradient and loss."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("workers", [2, 3])
def test_threads(workers):
    """An executor of the user's own, and more blocks in flight than workers."""
    with parallel.one_blas_thread(), ThreadPoolExecutor(workers) as executor:
        found = two_point_gradient(query(), N, Pool(executor, in_flight=2 * workers))
    assert_same_bits(found, alone(query()))


def blas_threads():
    """Threads of every BLAS of this process."""
    import threadpoolctl

    return {
        library["num_threads"]
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    }


def test_processes(monkeypatch):
    """Two spawned processes whose BLAS starts with two threads, and is held to one by its work."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as executor:
        found = two_point_gradient(query(), N, Pool(executor, in_flight=4))
        assert executor.submit(blas_threads).result() == {1}
    assert_same_bits(found, alone(query()))


def test_own_process_keeps_its_blas_threads():
    """Outside a worker process nothing is limited behind the caller's back."""
    before = blas_threads()
    with ThreadPoolExecutor(1) as executor:
        two_point_gradient(query(), 5, Pool(executor))
    assert blas_threads() == before


def test_a_pickled_query_is_its_arrays():
    """Beside batch, theta and eps a query is a few kilobytes, also when the network was used."""
    q = query()
    with parallel.one_blas_thread():
        expected = two_point_gradient(q, 5, Pool())
    _ = q.objective.network.macs, q.objective.network.backward_macs  # everything that it caches
    pickled = pickle.dumps(q)
    arrays = q.theta.nbytes + q.eps.nbytes + q.batch.x.nbytes + q.batch.labels.nbytes
    assert arrays < len(pickled) < arrays + 4096
    with parallel.one_blas_thread():
        assert_same_bits(two_point_gradient(pickle.loads(pickled), 5, Pool()), expected)


@pytest.mark.parametrize("name", sorted(LAWS))
@pytest.mark.parametrize("kind", sorted(quantizers.QUANTIZERS))
def test_laws_and_quantizers_survive_pickling(name, kind):
    """They are what a query holds beside arrays; a law is compared by what it draws with."""
    assert pickle.loads(pickle.dumps(LAWS[name])) == LAWS[name]
    quantizer = quantizers.QUANTIZERS[kind]()
    assert pickle.loads(pickle.dumps(quantizer)) == quantizer


# Dask: a cluster of processes, one of which is killed

_evaluations = 0  # of this process


@dataclass(frozen=True)
class Mortal:
    """An objective; the first process to evaluate it five times kills itself, once in a test.

    Parameters
    ----------
    objective : Objective
    marker : Path
        File in which that process leaves its number.
    """

    objective: Objective
    marker: Path

    def footprint(self, batch):
        """The objective's."""
        return self.objective.footprint(batch)

    def evaluate(self, theta, batch):
        """The objective's loss, if the process lives."""
        global _evaluations
        _evaluations += 1
        time.sleep(0.02)  # nobody computes everything while the other still starts
        if _evaluations == 5:
            try:
                with open(self.marker, "x") as file:
                    file.write(str(os.getpid()))
            except FileExistsError:  # somebody died already
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.objective.evaluate(theta, batch)


@pytest.fixture(scope="module")
def dask_client():
    """Client of two worker processes; afterwards none of them may be left."""
    distributed = pytest.importorskip("distributed")
    import psutil

    @contextmanager
    def no_process_left():
        def children():
            found = psutil.Process().children(recursive=True)
            # multiprocessing's own helper; it stays until the interpreter ends
            return {p for p in found if "resource_tracker" not in " ".join(p.cmdline())}

        before = children()
        yield
        _, alive = psutil.wait_procs(children() - before, timeout=10)
        assert not alive

    with no_process_left(), pytest.MonkeyPatch.context() as patch:
        # left alone, Dask starts its workers with one BLAS thread
        patch.setenv("OPENBLAS_NUM_THREADS", "2")
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        )
        with cluster, distributed.Client(cluster) as client:
            yield client


def test_dask_cluster_that_loses_a_worker_in_the_middle_of_a_step(dask_client, tmp_path):
    """SIGKILL takes one of two processes; Dask runs its blocks again, and every bit is right."""
    expected = alone(query())
    workers = dask_client.run(os.getpid).values()
    marker = tmp_path / "killed"
    mortal = query()._replace(objective=Mortal(query().objective, marker))
    with dask_client.get_executor(pure=False) as executor:
        found = two_point_gradient(mortal, N, Pool(executor, in_flight=4))
        assert int(marker.read_text()) in workers
        assert_same_bits(found, expected)
        # the step after: the cluster is as good as before
        assert_same_bits(two_point_gradient(mortal, N, Pool(executor, in_flight=4)), expected)


def test_dask_runs_a_whole_estimate(dask_client):
    """FOGZO through its own interface, a guide among what travels."""
    q = query()
    fogzo = FOGZO(n=130, beta=0.9, beta_schedule="constant")
    state = fogzo.init(q.objective, q.theta)

    def estimate(pool):
        step = Step(seed=1, pool=pool)
        return fogzo.estimate(q.objective, q.theta, q.batch, state, step)[0][:2]

    with parallel.one_blas_thread(), dask_client.get_executor(pure=False) as executor:
        assert_same_bits(estimate(Pool(executor, in_flight=3)), estimate(Pool()))


def broken(query, block, count, *, error):
    """A block that cannot be computed."""
    raise ArithmeticError(f"{error} in block {block}")


def test_dask_hands_errors_back(dask_client):
    """What goes wrong in a worker is raised where the step was asked for."""
    with dask_client.get_executor(pure=False) as executor:
        calls = [(None, block, 1) for block in range(9)]
        with pytest.raises(ArithmeticError, match="no luck in block 0"):
            list(Pool(executor, in_flight=4).map(partial(broken, error="no luck"), calls, 1))

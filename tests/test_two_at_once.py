"""Two runs at once, in two threads of a process: the bits of one after the other.

Where they meet is decided by events and barriers, not by the clock.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
from conftest import blobs
from threadpoolctl import threadpool_info, threadpool_limits

from minizo import (
    FOGZO,
    SPSA,
    STE,
    Diverged,
    Objective,
    Pool,
    backend,
    fit,
    fit_many,
    models,
    optim,
    parallel,
    quantizers,
    sweep,
    threads,
)
from minizo.data.dataset import Dataset
from minizo.estimators import FSG
from minizo.memory import in_parts

OWN_BLAS = True  # what sets its limit, and lifts it, is tested here
PATIENCE = 60.0  # seconds until a test that hangs fails


def blas_threads():
    """Threads of every BLAS of this process."""
    return {own["num_threads"] for own in threadpool_info() if own["user_api"] == "blas"}


@pytest.fixture
def two_blas_threads():
    """A BLAS that uses two threads, however many processors there are."""
    with threadpool_limits(limits=2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this BLAS cannot be told to use two threads")
        yield


def train(toy, estimator=None, net=None, train=fit, **options):
    objective = Objective(net or models.mlp(12, 5, 3), quantizers.Sign())
    options = {"steps": 4, "batch": 50} | options
    if train is fit_many:
        pairs = [(optim.Adam(0.02), seed) for seed in (1, 2)]
        return fit_many(objective, toy, estimator or STE(), pairs, **options)[0]
    return fit(objective, toy, estimator or STE(), optim.Adam(0.02), seed=1, **options)


def together(*calls):
    """What the calls give, each in a thread of its own."""
    with ThreadPoolExecutor(len(calls)) as executor:
        return [future.result(PATIENCE) for future in [executor.submit(c) for c in calls]]


def digest(run):
    return backend.sha256(run.theta)


# The limit of the BLAS


def test_the_first_to_leave_does_not_lift_the_limit(toy, two_blas_threads):
    """The second run keeps one BLAS thread; afterwards the process has what it had before."""
    both_train, first_is_over, seen = Barrier(2, timeout=PATIENCE), Event(), []

    def first():
        def tick(step, loss):
            if step == 1:
                both_train.wait()

        run = train(toy, progress=tick)
        first_is_over.set()
        return run

    def second():
        def tick(step, loss):
            if step == 1:
                both_train.wait()
                assert first_is_over.wait(PATIENCE)
            seen.append(blas_threads())

        return train(toy, progress=tick)

    runs = together(first, second)
    assert seen == [{1}] * 4
    assert blas_threads() == {2}
    assert {digest(run) for run in runs} == {digest(train(toy))}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_limit_is_lifted_by_the_last_to_leave(two_blas_threads, order):
    blocks = [parallel.one_blas_thread() for _ in order]
    for block in blocks:
        block.__enter__()
        assert blas_threads() == {1}
    for left, index in enumerate(order, 1):
        blocks[index].__exit__(None, None, None)
        assert blas_threads() == ({2} if left == len(order) else {1})


def test_an_error_inside_gives_the_limit_back(toy, two_blas_threads):
    def stop(step, loss):
        raise KeyError

    for way in (fit, fit_many):
        with pytest.raises(KeyError):
            train(toy, train=way, progress=stop if way is fit else lambda rows: stop(0, 0))
        assert blas_threads() == {2}


def in_a_worker():
    """BLAS threads of a worker process, after a block of its own has ended."""
    with parallel.one_blas_thread():
        parallel._run((), np.geterr(), int)
    return blas_threads()


def test_a_worker_process_keeps_one_thread_when_a_run_in_it_ends(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert executor.submit(blas_threads).result() == {2}  # control
        assert executor.submit(in_a_worker).result() == {1}


# Everything else that belongs to the process

IMAGES = (1, 16, 16)


@pytest.fixture(scope="module")
def images():
    """200 noisy images."""
    x, y = blobs(200, 3, 256, 1)
    x = x.reshape(-1, *IMAGES)
    return Dataset("images", x, y, x[:50], y[:50], classes=3)


def convnet():
    return models.small((8, 8), 3, input_shape=IMAGES)


@pytest.mark.parametrize("way", [fit, fit_many])
@pytest.mark.parametrize(
    "estimator",
    [STE(), FOGZO(n=70, beta_schedule="constant"), FSG(expand=4, states=2, units=4)],
    ids=["ste", "fogzo", "fsg"],
)
def test_two_at_once_step_by_step(images, estimator, way):
    """Two runs whose steps wait for each other, of different networks: the bits of each alone."""
    meet = Barrier(2, timeout=PATIENCE)
    nets = convnet(), models.mlp(256, 40, 3, input_shape=IMAGES)
    alone = [digest(train(images, estimator, net, way)) for net in nets]

    def one(net):
        return train(images, estimator, net, way, progress=lambda *step: meet.wait())

    runs = together(*(lambda net=net: one(net) for net in nets))
    assert [digest(run) for run in runs] == alone


def test_two_at_once_share_a_pool(images):
    """Blocks of two runs on the same threads."""
    alone = digest(train(images, FOGZO(n=130, beta_schedule="constant"), convnet()))
    meet = Barrier(2, timeout=PATIENCE)
    with threads(2) as pool:

        def one():
            tick = lambda *step: meet.wait()  # noqa: E731
            return train(
                images, FOGZO(n=130, beta_schedule="constant"), convnet(), pool=pool, progress=tick
            )

        assert {digest(run) for run in together(one, one)} == {alone}


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_workers_do_about_an_overflow_what_the_caller_does(kind):
    """NumPy's errstate belongs to a thread; a block is computed under its caller's."""
    own = kind is ProcessPoolExecutor
    more = {"mp_context": multiprocessing.get_context("spawn")} if own else {}
    with kind(1, **more) as executor, np.errstate(all="ignore", over="raise"):
        wanted = np.geterr()
        assert list(Pool(executor, 2).map(np.geterr, [()] * 3, 1)) == [wanted] * 3
        assert executor.submit(np.geterr).result() != wanted  # control


def test_a_run_that_diverges_in_threads_does_not_warn(toy):
    objective = Objective(models.mlp(12, 5, 3), quantizers.FullPrecision())
    data = Dataset("large", 1e30 * toy.x_train, toy.y_train, toy.x_test, toy.y_test, 3)
    estimator, rule = SPSA(n=70, eps=1e5), optim.SGD(1e30)
    with ThreadPoolExecutor(2) as executor, pytest.raises(Diverged):
        fit(objective, data, estimator, rule, steps=3, pool=Pool(executor, in_flight=4))


def test_two_sweeps_at_once_keep_their_data(toy, tmp_path):
    """Each trains on what it was given, though both run in this process."""
    loaded = Barrier(2, timeout=PATIENCE)

    def sweeps(name, scale):
        x_train = scale * toy.x_train
        own = Dataset(name, x_train, toy.y_train, toy.x_test, toy.y_test, 3)

        def load():
            loaded.wait()
            return own

        cases = [sweep.Case(STE(), seed=seed, steps=3) for seed in (1, 2)]
        rows = sweep.run(cases, load, tmp_path / name, workers=1, quiet=True)
        alone = [case.train(own).final("train_loss") for case in cases]
        return rows, alone

    found = together(lambda: sweeps("one", np.float32(1)), lambda: sweeps("two", np.float32(2)))
    for name, (rows, alone) in zip(("one", "two"), found, strict=True):
        assert [row["data"] for row in rows] == [name] * 2
        losses = [row["records"]["train_loss"][-1] for row in rows]
        np.testing.assert_allclose(losses, alone, rtol=1e-5)
    assert found[0][1] != found[1][1]  # control: the data differ


def test_two_threads_halve_their_parts_at_once():
    """The sizes that fit are found side by side, and nothing is lost or done twice."""
    meet = Barrier(2, timeout=PATIENCE)

    def work(most):
        def some(part):
            if part.start == 0 and part.stop > most:
                meet.wait()
            if part.stop - part.start > most:
                raise MemoryError
            return list(range(part.start, part.stop))

        found = in_parts(some, 16, "numbers", np.empty(0), key=("two at once",))
        return [number for own in found for number in own]

    with pytest.warns(RuntimeWarning, match="memory ran out"):
        results = together(lambda: work(4), lambda: work(4))
    assert results == [list(range(16))] * 2

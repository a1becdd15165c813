"""The engine room: blocks of examples that walk through a network together, memory that is kept."""

import os
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from conftest import blobs

from minizo import (
    STE,
    Batch,
    Objective,
    batch_blocks,
    fit,
    fit_many,
    models,
    optim,
    parallel,
    quantizers,
    rng,
)
from minizo.batch_blocks import block_count, even_slices
from minizo.data.dataset import Dataset
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool2d,
    QuantizedActivation,
    ReLU,
    Residual,
)
from minizo.network import Network
from minizo.parallel import alone, hands, together

mixed = Network(
    {
        "conv1": Conv2d(2, 4, 3, padding=1, bias=True),
        "bn1": BatchNorm2d(4),
        "act1": ReLU(),
        "block": Residual({"conv": Conv2d(4, 4, 3, padding=1), "bn": BatchNorm2d(4)}),
        "pool": MaxPool2d(),
        "flatten": Flatten(),
        "fc1": Linear(24, 6),
        "norm": LayerNorm((6,)),
        # behind the pooling: maxima of discrete numbers tie, and rounding decides which is first
        "act2": QuantizedActivation(quantizers.Sign("hardtanh")),
        "drop": Dropout(0.3),
        "fc2": Linear(6, 3),
        "bn2": BatchNorm1d(3),
    },
    (2, 4, 6),
)
NETWORKS = {
    "lenet": models.lenet((3, 4)),
    "resnet": models.resnet(8, width=4, input_shape=(3, 8, 8)),
    "mixed": mixed,
}


@pytest.fixture
def in_blocks(monkeypatch):
    """in_blocks(count): cut every batch into so many blocks, whatever the work."""

    def cut(count):
        monkeypatch.setattr(batch_blocks, "BLOCKS", count)
        monkeypatch.setattr(batch_blocks, "BLOCK_MACS", 1)

    return cut


def problem(net, dtype=np.float64):
    """(objective, theta, batch) of 23 examples, which no number of blocks divides."""
    gen = np.random.default_rng(0)
    theta = net.init(1, np.empty(0, dtype))
    objective = Objective(net, quantizers.MidRise("tanh")).calibrate(theta)
    x = gen.normal(size=(23, *net.input_shape)).astype(dtype)
    noise = objective.noise(rng.at(0, "layers", 0), 23, x)
    return objective, theta, Batch(x, np.arange(23) % 3, noise)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("lead", [(), (1,)], ids=["one", "population of one"])
def test_blocks_are_the_whole(name, lead, in_blocks):
    """1, 2, 3, 4 and 7 blocks: loss, gradient, statistics to 1e-12; in use the outputs, too."""
    objective, theta, batch = problem(NETWORKS[name])
    theta, found = theta.reshape(*lead, -1), []
    state = objective.network.init_state(theta)
    for count in (1, 2, 3, 4, 7):
        in_blocks(count)
        loss, grad, seen = objective.ste_gradient(theta, batch)
        outputs = objective.outputs(theta, batch.x, state)
        found.append([loss, grad, objective.evaluate(theta, batch), outputs, *seen.values()])
    for other in found[1:]:
        for whole, cut in zip(found[0], other, strict=True):
            assert whole.shape == cut.shape
            np.testing.assert_allclose(cut, whole, rtol=1e-11, atol=1e-12)
    # negative control: without the sums over all blocks batch norm gives other numbers
    in_blocks(2)
    alone_too = [objective.loss.forward(objective.network.stack.forward(
        objective.training_params(theta, Batch(batch.x[part], batch.labels[part], {
            key: value[part] for key, value in (batch.noise or {}).items()} or None)),
        batch.x[part])[0], batch.labels[part])[0] for part in even_slices(23, 2)]  # fmt: skip
    assert not np.allclose(np.average(alone_too, weights=[11, 12], axis=0), found[0][0], rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_hands_do_not_change_the_bits(name, in_blocks):
    """Four blocks by 1, 2, 3 and 8 threads, float32."""
    objective, theta, batch = problem(NETWORKS[name], np.float32)
    in_blocks(4)
    found = []
    for count in (1, 2, 3, 8):
        with hands(count):
            found.append(objective.ste_gradient(theta, batch))
    for other in found[1:]:
        np.testing.assert_array_equal(other.gradient, found[0].gradient)
        np.testing.assert_array_equal(other.loss, found[0].loss)


def test_the_work_decides_how_many_blocks():
    """LeNet is cut, 784-10-10 is not; nor are a population and what learns an activation's step."""
    for net, count in ((models.mlp(784, 10, 10), 1), (models.lenet(), 2), (models.resnet(), 4)):
        images = np.empty((100, *net.input_shape), np.float32)
        theta = net.init(0)
        assert block_count(net, net.views(theta), images) == count
        assert block_count(net, net.views(np.stack([theta, theta])), images) == 1
        assert block_count(net, net.views(theta[None]), images) == count
    learned = models.lenet(activation=QuantizedActivation(quantizers.LSQ()))
    images = np.empty((100, *learned.input_shape), np.float32)
    assert block_count(learned, learned.views(learned.init(0)), images) == 1


def test_a_run_has_the_same_bits_with_any_number_of_threads(in_blocks):
    """Five steps of a network with batch norm and dropout: threads(1), (2), (3) and none."""
    in_blocks(3)
    x, labels = blobs(40, 3, 48, 1)
    data = Dataset("toy", *(x.reshape(-1, 2, 4, 6), labels) * 2, classes=3)
    objective, found = Objective(mixed, quantizers.MidRise()), []
    for within in (nullcontext(), *map(parallel.threads, (1, 2, 3))):
        with within:
            found.append(fit(objective, data, STE(), optim.Adam(0.01), steps=5, batch=20).theta)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


# Sums over blocks


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_sums_are_taken_in_the_order_of_the_blocks(at_once):
    """float32 numbers whose sum depends on the order; results in order, whoever computed them."""
    values = np.array([1e8, 1.0, -1e8, 1.0], np.float32)

    def walk(block, reduce):
        return block, [reduce(values[block]) for _ in range(50)]

    with hands(at_once):
        found = together(walk, 4)
    total = ((values[0] + values[1]) + values[2]) + values[3]
    assert found == [(block, [total] * 50) for block in range(4)]
    assert total != (values[0] + values[2]) + (values[1] + values[3])


def test_several_sums_are_taken_at_once():
    """A number and an array, by two hands."""
    with hands(2):
        found = together(lambda block, reduce: reduce(block, np.full(2, 0.5)), 4)
    for count, total in found:
        assert count == 6
        np.testing.assert_array_equal(total, [2.0, 2.0])


def test_one_block_is_alone():
    assert alone(3.0) == 3.0 and alone(1, 2.0) == (1, 2.0)
    assert together(lambda block, reduce: (block, reduce(7)), 1) == [(0, 7)]


def test_blocks_run_side_by_side_and_not_more_than_the_hands():
    """With two hands two of five blocks compute at a time, and at some time two do."""
    lock, inside, most = threading.Lock(), [0], [0]
    both = threading.Barrier(2, timeout=20)

    def walk(block, reduce):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        if block < 2:
            both.wait()
        with lock:
            inside[0] -= 1
        return reduce(1)

    with hands(2):
        assert together(walk, 5) == [5] * 5
    assert most[0] == 2


@pytest.mark.parametrize("bad", range(3))
def test_an_error_in_one_block_ends_all(bad):
    def walk(block, reduce):
        reduce(1)
        if block == bad:
            raise ZeroDivisionError(f"in block {block}")
        return reduce(1)

    with hands(2), pytest.raises(ZeroDivisionError, match=f"in block {bad}"):
        together(walk, 3)
    assert together(lambda block, reduce: reduce(1), 3) == [3, 3, 3]  # and the next goes well


def test_blocks_that_ask_for_different_sums_are_an_error_and_no_wait():
    with hands(3), pytest.raises(RuntimeError, match="different numbers of sums"):
        together(lambda block, reduce: [reduce(1) for _ in range(2 + (block == 1))], 3)


def test_blocks_see_the_callers_errstate():
    """NumPy's errstate is the caller's in every block; without it there is a warning."""

    def square(block, reduce):
        return np.float32(1e30) * np.float32(1e30)

    with np.errstate(all="ignore"):
        assert together(square, 3) == [np.inf] * 3
    with pytest.raises(RuntimeWarning, match="overflow"):
        together(square, 3)


def test_two_callers_do_not_wait_for_each_other():
    """Both in the middle of their blocks at once: helpers belong to the thread that called."""
    meet, results = threading.Barrier(2, timeout=20), {}

    def caller(name):
        def walk(block, reduce):
            if block == 1:
                meet.wait()
            return reduce(1)

        with hands(2):
            results[name] = together(walk, 2)

    callers = [threading.Thread(target=caller, args=(name,)) for name in "ab"]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(20)
    assert results == {"a": [2, 2], "b": [2, 2]}


# Memory


def test_freed_memory_is_kept():
    """Once told, the system's library gives no pages back for arrays of 8 MiB."""
    resource = pytest.importorskip("resource")
    if not parallel.keep_memory():
        pytest.skip("the C library of this system cannot be told")

    def faults(rounds):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(rounds):
            np.ones(2**21, np.float32)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults(3)
    pages = 2**23 // os.sysconf("SC_PAGESIZE")
    assert faults(10) < pages  # of 10 times as many


@pytest.mark.parametrize("workers", [1, 2])
def test_training_keeps_its_memory(monkeypatch, toy, toy_net, workers):
    """`fit` and `fit_many` ask for it themselves, in no ``with threads()``."""
    asked = []
    monkeypatch.setattr(parallel, "keep_memory", lambda: asked.append(1))
    objective = Objective(toy_net, quantizers.MidRise())
    fit_many(objective, toy, STE(), [(optim.Adam(0.01), 0)], steps=2, batch=10, workers=workers)
    assert asked == [1]
    fit(objective, toy, STE(), optim.Adam(0.01), steps=2, batch=10)
    assert asked == [1, 1]


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: "musl 1.2")
    assert parallel.keep_memory.__wrapped__() is False
    monkeypatch.setattr(os, "confstr", lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert parallel.keep_memory.__wrapped__() is False

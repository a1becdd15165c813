"""Running out of memory: parts are halved with a notice, and the numbers stay as they are."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest
from conftest import blobs

from minizo import STE, InputError, Objective, backend, fit_many, memory, optim, train
from minizo.data.dataset import Dataset
from minizo.memory import SmallerParts, in_parts
from minizo.models import mlp
from minizo.quantizers import MidRise

ZERO = np.zeros(1)


@pytest.fixture(autouse=True)
def nothing_remembered():
    memory.forget()
    yield
    memory.forget()


@dataclass
class Small:
    """Work on parts that needs memory for each of its items, and notes the parts it was given."""

    room: int
    tried: list = field(default_factory=list)

    def __call__(self, part):
        size = part.stop - part.start
        self.tried.append(size)
        if size > self.room:
            raise MemoryError(f"{size} are too many")
        return list(range(part.start, part.stop))


@pytest.mark.parametrize("count", [1, 7, 64, 100])
@pytest.mark.parametrize("room", [1, 3, 64])
def test_everything_is_done_once_and_in_order(count, room):
    """Whatever fits: the parts join to the whole, none larger than the room, none done twice."""
    work = Small(room)
    with pytest.warns(SmallerParts) if count > room else nullcontext():
        parts = in_parts(work, count, "items", ZERO)
    assert sum(parts, []) == list(range(count))
    assert max(map(len, parts)) <= room
    # the size that was found is where the next call begins
    again = Small(room)
    in_parts(again, count, "items", ZERO)
    assert max(again.tried) <= room


def test_the_notice_says_what_happened():
    with pytest.warns(SmallerParts, match="memory ran out with 10 things at once; going on with 5"):
        parts = in_parts(Small(5), 10, "things", ZERO)
    assert parts == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_what_fits_is_left_alone():
    """No notice (warnings are errors here), one part, or those of the size asked for."""
    assert len(in_parts(Small(10), 10, "items", ZERO)) == 1
    assert [len(p) for p in in_parts(Small(10), 10, "items", ZERO, most=4)] == [4, 4, 2]


def test_other_work_is_not_cut():
    """What was found for one kind of work, or one size of it, says nothing about another."""
    with pytest.warns(SmallerParts):
        in_parts(Small(1), 4, "items", ZERO, key=(8,))
    assert len(in_parts(Small(4), 4, "items", ZERO, key=(9,))) == 1
    assert len(in_parts(Small(4), 4, "others", ZERO, key=(8,))) == 1


@pytest.mark.filterwarnings("ignore::minizo.memory.SmallerParts")
def test_one_that_does_not_fit_is_an_error():
    with pytest.raises(InputError, match="does not suffice for one of the items.*smaller batch"):
        in_parts(Small(0), 4, "items", ZERO)


def test_other_errors_pass():
    def broken(part):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_parts(broken, 4, "items", ZERO)


# In a run ----------------------------------------------------------------------------------------


def test_a_sweep_goes_on(monkeypatch):
    """Runs that do not fit together are trained in halves, each as it would be in any case."""
    x, labels = blobs(60, 3, 8, 1, np.float64)
    data = Dataset("toy", x, labels, x, labels, classes=3)
    objective = Objective(mlp(8, 4, 3, input_shape=(1, 1, 8)), MidRise())
    pairs, options = [(optim.SGD(), seed) for seed in range(5)], {"steps": 3, "batch": 20}
    expected = fit_many(objective, data, STE(), pairs, **options)
    memory.forget()
    original = train.advance

    def advance(group, *args):
        if group.count > 2:
            raise MemoryError
        return original(group, *args)

    monkeypatch.setattr(train, "advance", advance)
    with pytest.warns(SmallerParts, match="runs at once"):
        found = fit_many(objective, data, STE(), pairs, **options)
    for own, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(own.theta, theirs.theta, atol=1e-12)


def test_memory_is_reported():
    """The process holds at least the array that it made; giving back does not fail."""
    before = backend.memory_used(np)
    if before is None:
        pytest.skip("this system does not tell")
    held = np.ones(2**24)
    assert backend.memory_used(np) >= held.nbytes
    backend.release(np)


@pytest.mark.gpu
def test_gpu_out_of_memory_is_a_memory_error(cupy):
    """CuPy's own error is one, its pool is emptied, and what it holds is reported."""
    xp = cupy
    assert issubclass(xp.cuda.memory.OutOfMemoryError, MemoryError)
    array = xp.zeros(2**20, dtype="float32")
    assert backend.memory_used(xp) >= array.nbytes
    del array
    backend.release(xp)
    assert backend.memory_used(xp) < 2**30

"""Running out of memory: parts are halved with a notice, and the numbers stay as they are."""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from conftest import blobs
from strategies import small_network

from minizo import SPSA, STE, InputError, Objective, backend, fit, fit_many, many, memory, optim
from minizo.data.dataset import Dataset
from minizo.estimators import Step
from minizo.memory import SmallerParts, in_parts
from minizo.models import mlp
from minizo.population import Pool
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


@dataclass(frozen=True, eq=False)
class Cramped(Objective):
    """An objective whose evaluation has no room for more than ``room`` directions."""

    room: int = 1

    def evaluate(self, theta, batch, shift=None, sign=1.0):
        """As any objective's, or `MemoryError`."""
        if shift is not None and shift.shape[-2] > self.room:
            raise MemoryError("out of memory")
        return super().evaluate(theta, batch, shift, sign)


def cramped(objective, room):
    settings = {n: getattr(objective, n) for n in ("network", "quantizer", "quantized", "scales")}
    return Cramped(**settings, room=room)


@pytest.mark.parametrize("n", [1, 20, 70])
def test_directions_in_parts_give_the_same_bits(n):
    """A block of 64 directions, evaluated 5 at a time: the estimate is the same, bit for bit."""
    objective, theta, batch = small_network()
    rule = SPSA(n=n)
    found = []
    for own in (objective, cramped(objective, 5)):
        state = rule.init(own, theta)
        with pytest.warns(SmallerParts) if own is not objective and n > 5 else nullcontext():
            found.append(rule.estimate(own, theta, batch, state, Step(seed=1))[0])
    np.testing.assert_array_equal(found[0].grad, found[1].grad)
    np.testing.assert_array_equal(found[0].loss, found[1].loss)


def test_a_run_goes_on():
    """One notice a halving, not one a step; the same weights at the end."""
    x, labels = blobs(60, 3, 8, 1)
    data = Dataset("toy", x, labels, x, labels, classes=3)
    objective = Objective(mlp(8, 4, 3, input_shape=(1, 1, 8)), MidRise())
    options = {"steps": 6, "batch": 20}
    expected = fit(objective, data, SPSA(n=16), optim.SGD(), **options)
    with pytest.warns(SmallerParts) as notices:
        found = fit(cramped(objective, 4), data, SPSA(n=16), optim.SGD(), **options)
    assert [str(n.message).rpartition(" ")[2] for n in notices] == ["8", "4"]
    np.testing.assert_array_equal(found.theta, expected.theta)


def test_a_sweep_goes_on(monkeypatch):
    """Runs that do not fit together are trained in halves, each as it would be in any case."""
    x, labels = blobs(60, 3, 8, 1, np.float64)
    data = Dataset("toy", x, labels, x, labels, classes=3)
    objective = Objective(mlp(8, 4, 3, input_shape=(1, 1, 8)), MidRise())
    pairs, options = [(optim.SGD(), seed) for seed in range(5)], {"steps": 3, "batch": 20}
    expected = fit_many(objective, data, STE(), pairs, **options)
    memory.forget()
    original = many._Rows._advance

    def advance(self, *args):
        if len(self.recipes) > 2:
            raise MemoryError
        return original(self, *args)

    monkeypatch.setattr(many._Rows, "_advance", advance)
    with pytest.warns(SmallerParts, match="runs at once"):
        found = fit_many(objective, data, STE(), pairs, **options)
    for own, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(own.theta, theirs.theta, atol=1e-12)


def test_the_budget_holds_on_a_device():
    """Off the host a block evaluates no more directions at a time than the budget allows."""
    pytest.importorskip("array_api_strict")
    from tracing import put

    objective, theta, batch = small_network(dtype=np.float64)
    moved = batch._replace(x=put(batch.x), labels=put(batch.labels))
    scales = {name: put(scale) for name, scale in objective.scales.items()}
    rule, theta_s = SPSA(n=20), put(theta)
    own = replace(cramped(objective, 3), scales=scales)
    state = rule.init(own, theta_s)
    each = 8 * (2 * theta.shape[0] + objective.workspace(batch))
    # room for 3 directions: no MemoryError, so no notice either
    step = Step(seed=1, pool=Pool(memory=3 * each))
    ours = rule.estimate(own, theta_s, moved, state, step)[0]
    expected = rule.estimate(objective, theta, batch, rule.init(objective, theta), step)[0]
    np.testing.assert_allclose(backend.to_numpy(ours.grad), expected.grad, rtol=1e-12)
    # negative control: with a larger budget it does not fit, which is noticed
    with pytest.warns(SmallerParts):
        rule.estimate(own, theta_s, moved, state, Step(seed=1, pool=Pool(memory=9 * each)))


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

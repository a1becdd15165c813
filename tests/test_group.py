"""Groups of runs: starts, statistics, watches and checkpoints of their own, for each row."""

import json

import numpy as np
import pytest
from conftest import pick, write_corners
from test_many import NETWORKS, RATES, SMALL, assert_same_run, data_for

from minizo import (
    STE,
    Diverged,
    InputError,
    Objective,
    checkpoint,
    fit,
    fit_many,
    mnist,
)
from minizo import group as groups
from minizo.estimators import ESTIMATORS
from minizo.group import Group
from minizo.inputs import prepare
from minizo.lab.flips import CountFlips
from minizo.optim import SGD, Adam
from minizo.quantizers import MidRise
from minizo.recipe import Recipe
from minizo.train import TrainState, start_state

PAIRS = [(rate, seed) for rate in RATES for seed in (3, 8)]
OPTIONS = {"steps": 9, "batch": 15, "record_every": 3}


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the package may catch it."""


def stopping(at):
    """A progress that kills after so many calls."""
    calls = []

    def progress(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            raise Killed

    return progress


def problem(network="convolutional"):
    return Objective(NETWORKS[network], MidRise("tanh")), data_for(NETWORKS[network])


@pytest.mark.parametrize("name", ["ste", "fogzo", "proxquant", "gain"])
@pytest.mark.parametrize("stop", [3, 5, 8])
def test_resumed_equals_never_stopped(name, stop, tmp_path):
    """The same bits, records and statistics, for rules that take rows and one that does not."""
    objective, data = problem("mlp" if name == "gain" else "convolutional")
    rule = pick(ESTIMATORS[name], SMALL)
    whole = fit_many(objective, data, rule, PAIRS, **OPTIONS)
    options = OPTIONS | {"path": tmp_path / "many.npz", "checkpoint_every": 2, "resume": True}
    with pytest.raises(Killed):
        fit_many(objective, data, rule, PAIRS, progress=stopping(stop), **options)
    taken = []
    found = fit_many(objective, data, rule, PAIRS, progress=taken.append, **options)
    assert sum(taken) < OPTIONS["steps"] * len(PAIRS)
    for ours, theirs in zip(found, whole, strict=True):
        np.testing.assert_array_equal(ours.theta, theirs.theta)
        assert_same_run(ours, theirs, tolerance=0)
    # a finished group is read back without another step
    again = fit_many(objective, data, rule, PAIRS, progress=stopping(1), **options)
    for ours, theirs in zip(again, whole, strict=True):
        assert_same_run(ours, theirs, tolerance=0)


def test_a_row_that_diverged_stays_so(tmp_path):
    """Its error is in the checkpoint, and the others go on; where all diverge none is written."""
    objective, data = problem("mlp")
    pairs = [(SGD(0.1), 0), (SGD(1e308), 0)]
    options = OPTIONS | {"path": tmp_path / "many.npz", "checkpoint_every": 3, "resume": True}
    whole = fit_many(objective, data, STE(), pairs, **OPTIONS)
    with pytest.raises(Killed):
        fit_many(objective, data, STE(), pairs, progress=stopping(7), **options)
    header, _ = checkpoint.load(tmp_path / "many-0-1.npz")
    assert [run["error"] is None for run in header["runs"]] == [True, False]
    kept, lost = fit_many(objective, data, STE(), pairs, **options)
    assert isinstance(lost, Diverged) and str(lost) == str(whole[1])
    assert_same_run(kept, whole[0], tolerance=0)
    options["path"] = tmp_path / "lost.npz"
    fit_many(objective, data, STE(), [pairs[1]] * 2, **options)
    assert not list(tmp_path.glob("lost*"))


@pytest.mark.parametrize(
    "pairs, sentence",
    [
        ([(Adam(0.01), 3), (Adam(0.01), 9)], "was made with seed = 8, this run has 9"),
        ([(Adam(0.01), 3), (Adam(0.02), 8)], "was made with optimizer = .Adam"),
    ],
)
def test_a_checkpoint_of_other_rows_is_refused(pairs, sentence, tmp_path):
    objective, data = problem("mlp")
    options = OPTIONS | {"path": tmp_path / "many.npz", "resume": True}
    fit_many(objective, data, STE(), [(Adam(0.01), 3), (Adam(0.01), 8)], **options)
    before = (tmp_path / "many-0-1.npz").read_bytes()
    with pytest.raises(InputError, match=sentence):
        fit_many(objective, data, STE(), pairs, **options)
    assert (tmp_path / "many-0-1.npz").read_bytes() == before
    # as a run alone, under the name that it would have
    (tmp_path / "many-0-1.npz").rename(tmp_path / "one.npz")
    with pytest.raises(InputError, match="holds 2 runs, and these are 1"):
        fit(objective, data, STE(), Adam(0.01), path=tmp_path / "one.npz", resume=True, **OPTIONS)


def test_groups_do_not_depend_on_the_workers(tmp_path, monkeypatch):
    """Begun by three workers, the sweep goes on with one, whatever the number of rows a group."""
    objective, data = problem("mlp")
    pairs = [(Adam(0.01), seed) for seed in range(7)]
    monkeypatch.setattr(groups, "rows_at_once", lambda *a: 2)
    options = OPTIONS | {"path": tmp_path / "many.npz", "resume": True}
    whole = fit_many(objective, data, STE(), pairs, workers=3, **options)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["many-0-1.npz", "many-2-3.npz", "many-4-5.npz", "many-6-6.npz"]
    again = fit_many(objective, data, STE(), pairs, progress=stopping(1), **options)
    for ours, theirs in zip(again, whole, strict=True):
        np.testing.assert_array_equal(ours.theta, theirs.theta)


@pytest.mark.parametrize("name", ["binaryconnect", "gain"])
def test_flips_are_counted_row_by_row(name):
    """A rule around another one takes rows where that does, and its state is watched."""
    objective, data = problem("mlp")
    rule = CountFlips(pick(ESTIMATORS[name], SMALL))
    assert rule.rowwise == (name == "binaryconnect")
    watch = {"flips": lambda objective, state: state.estimator.flips}
    found = fit_many(objective, data, rule, PAIRS, watch=watch, **OPTIONS)
    for row, (optimizer, seed) in zip(found, PAIRS, strict=True):
        alone = fit(objective, data, rule, optimizer, seed=seed, watch=watch, **OPTIONS)
        assert row.final("flips") > 0.0
        np.testing.assert_allclose(row.records["flips"], alone.records["flips"], rtol=1e-9)


@pytest.mark.parametrize("name", ["ste", "fogzo", "binaryconnect", "gain"])
def test_start_state_and_watch_of_each_row(name):
    """As `fit` with the row's own: the state that is watched is that of the run alone."""
    objective, data = problem("mlp" if name == "gain" else "convolutional")
    network, rule = objective.network, pick(ESTIMATORS[name], SMALL)
    starts = [1.5 * network.init(seed, like=data.x_train) for seed in range(len(PAIRS))]
    fresh = network.init_state(data.x_train)
    states = [{name: own + 0.1 * row for name, own in fresh.items()} for row in range(len(PAIRS))]
    states[1] = None  # those of the first batch

    def watch(scale):
        def seen(objective, state):
            assert isinstance(state, TrainState) and state.theta.shape == (network.d,)
            memory = sum(np.abs(part).sum() for part in state.optimizer if np.ndim(part))
            running = sum(np.sum(value) for value in state.running.values())
            return scale * (np.abs(state.theta).sum() + memory + running)

        return {"seen": seen, "steps": lambda objective, state: state.step}

    watches = [watch(row) for row in range(len(PAIRS))]
    given = {"start": starts, "state": states if fresh else None, "watch": watches}
    found = fit_many(objective, data, rule, PAIRS, **given, **OPTIONS)
    for row, (optimizer, seed) in enumerate(PAIRS):
        own = {name: values and values[row] for name, values in given.items()}
        alone = fit(objective, data, rule, optimizer, seed=seed, **own, **OPTIONS)
        assert found[row].records["steps"] == [0, 3, 6, 9]
        np.testing.assert_allclose(found[row].records["seen"], alone.records["seen"], rtol=1e-9)
        assert_same_run(found[row], alone)


def test_one_start_for_all_rows():
    objective, data = problem("mlp")
    start = 2.0 * objective.network.init(5, like=data.x_train)
    for row, (rule, seed) in zip(
        fit_many(objective, data, STE(), PAIRS, start=start, **OPTIONS), PAIRS, strict=True
    ):
        assert_same_run(row, fit(objective, data, STE(), rule, seed=seed, start=start, **OPTIONS))
    with pytest.raises(InputError, match="start's length is 2, but give one for all runs, or a li"):
        fit_many(objective, data, STE(), PAIRS, start=[start] * 2, **OPTIONS)


def test_a_row_is_taken_by_the_contract_and_not_by_sizes():
    """As many rows as parameters, and a number of the state that equals both."""
    objective, data = problem("mlp")
    count = 3
    recipes = [
        prepare(Recipe(objective, data, STE(), Adam(), steps=2, batch=count, seed=seed))
        for seed in range(count)
    ]
    own = Group(recipes)
    state = start_state(own)._replace(estimator=(np.arange(9.0).reshape(3, 1, 3), count))
    taken = own.take_run(state, 1)
    assert taken.estimator[0].tolist() == [3.0, 4.0, 5.0] and taken.estimator[1] == count
    alone = start_state(Group(recipes[1:2]))
    np.testing.assert_array_equal(taken.theta, alone.theta)
    assert type(taken.optimizer) is type(alone.optimizer[0])
    assert own.take_run(state, 1).optimizer.m.shape == alone.theta.shape


def test_seeds_of_a_command_are_resumed(command, tmp_path, monkeypatch):
    """`--seeds`: killed in its second estimator, the folder goes on to the same results."""
    (tmp_path / "corners").mkdir()
    flags = ["--estimator", "ste", "--estimator", "spsa:n=2", "--seeds", 3, "--steps", 12,
             "--batch", 10, "--checkpoint-every", 4, "--quiet", "--json",
             "--data", write_corners(tmp_path / "corners", 8)]  # fmt: skip

    def rows(*more):
        code, out, err = command(mnist.main, *flags, *more)
        assert code == 0, err
        drop = {"seconds": 0, "evaluation_seconds": 0, "memory_mib": 0}
        return [json.loads(line) | drop for line in out.splitlines()]

    whole = rows("--out", "whole")
    real, calls = ESTIMATORS["spsa"].estimate, []

    def estimate(self, *arguments):
        calls.append(arguments)
        if len(calls) == 7:
            raise Killed
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ESTIMATORS["spsa"], "estimate", estimate)
        with pytest.raises(Killed):
            command(mnist.main, *flags, "--out", "cut")
        names = sorted(path.name for path in (tmp_path / "cut").glob("*.npz"))
        assert names == ["spsa-n2-0-2.npz", "ste-0-2.npz"]
        calls[:] = [None] * 10
        assert rows("--resume", "cut") == whole
        assert len(calls) == 10 + 12 - 4

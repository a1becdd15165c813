"""Comparisons: tuned on some seeds, reported on others, paired, resumable, and honest about it."""

import json
import math
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import blobs

from minizo import FOGZO, SPSA, STE, Estimate, InputError, Objective, fit, models, quantizers
from minizo.compare import Candidate, Case, case, compare, comparison, intervals, paired, text
from minizo.compare.cases import edges
from minizo.compare.comparison import TUNING
from minizo.compare.costs import Cost, budget_of, length
from minizo.data.dataset import Dataset
from minizo.estimators import Estimator
from minizo.optim import Adam

OPTIONS = {"steps": 12, "batch": 20, "quiet": True, "workers": 1, "records": 4}


def rates(*values):
    return [Adam(value) for value in values]


def test_settings_are_chosen_on_tuning_seeds_and_reported_on_others(points, objective):
    """Every number equals that of `fit`, run by run."""
    optimizers = rates(0.001, 0.03, 0.1)
    found = compare(
        [case(STE(), objective, optimizers)], points, seeds=4, tuning_seeds=3, **OPTIONS
    )
    assert found.seeds == (0, 1, 2, 3) and found.tuning_seeds == (TUNING, TUNING + 1, TUNING + 2)

    def loss(optimizer, seed):
        run = fit(
            objective, points, STE(), optimizer, steps=12, batch=20, seed=seed, record_every=3
        )
        return run.final("train_loss")

    (row,) = found.tables[0].rows
    means = [np.mean([loss(o, seed) for seed in found.tuning_seeds]) for o in optimizers]
    np.testing.assert_allclose([mean for _, mean in row.tuning], means, rtol=1e-10)
    assert row.chosen.optimizer == optimizers[int(np.argmin(means))]
    wanted = [loss(row.chosen.optimizer, seed) for seed in found.seeds]
    np.testing.assert_allclose(row.ends("train_loss"), wanted, rtol=1e-10)
    assert len(set(row.ends("train_loss"))) == 4


def test_seeds_pair_starts_and_batches(points, objective):
    """The same rule under two names: every difference is 0, and the control's are not."""
    cases = [case(STE(), objective, rates(0.03)), case(STE(), objective, rates(0.03), "again"),
             case(STE(), objective, rates(0.05), "faster")]  # fmt: skip
    table = compare(cases, points, seeds=5, tuning_seeds=1, **OPTIONS).tables[0]
    assert table.row("again").difference.values == (0.0,) * 5
    assert table.row("again").difference.verdict == "not different"
    assert all(value != 0.0 for value in table.row("faster").difference.values)
    ours, theirs = (table.row(name).ends("test_accuracy") for name in ("faster", "STE"))
    assert table.row("faster").difference_beside == paired(ours, theirs)


@dataclass(frozen=True)
class OtherStreams(FOGZO):
    """FOGZO with other directions: the same law, the same starts, the same batches."""

    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        moved = [own + 10**7 for own in np.atleast_1d(step.seed).tolist()]
        seed = tuple(moved) if len(moved) > 1 else moved[0]
        return super().estimate(objective, theta, batch, state, replace(step, seed=seed))


@pytest.mark.slow
def test_a_rule_against_itself_is_not_different_and_a_planted_difference_is_found():
    """100 comparisons of 20 seeds: at most 8 false alarms, and at least 95 of a sd are found."""
    train, test = blobs(100, 3, 16, 1, np.float64), blobs(10, 3, 16, 2, np.float64)
    toy = Dataset("toy", *train, *test, classes=3)
    objective = Objective(models.mlp(16, 24, 3, input_shape=(1, 1, 16)), quantizers.MidRise())
    cases = [case(FOGZO(), objective, rates(0.01)),
             case(OtherStreams(), objective, rates(0.01), "other streams")]  # fmt: skip
    options = OPTIONS | {"steps": 10, "records": 1}
    table = compare(cases, toy, seeds=2000, tuning_seeds=[10**6], **options).tables[0]
    ours, theirs = (table.row(case.label).ends("train_loss") for case in cases)
    gaps = np.array(ours) - np.array(theirs)
    assert 0.0 < abs(gaps.mean()) < 5 * gaps.std() / math.sqrt(2000)
    same = planted = 0
    for first in range(0, 2000, 20):
        part = slice(first, first + 20)
        same += paired(ours[part], theirs[part]).verdict == "not different"
        moved = [loss + gaps.std() for loss in ours[part]]
        planted += paired(moved, theirs[part]).verdict == "higher"
    assert same >= 92 and planted >= 95


def test_equal_compute_and_equal_time_set_the_lengths(points, objective, tmp_path):
    cases = [case(STE(), objective, rates(0.03)), case(FOGZO(), objective, rates(0.03))]
    options = {"seeds": 5, "tuning_seeds": 1, "folder": tmp_path, **OPTIONS | {"steps": 60}}
    compare(cases, points, equal="time", **options)
    kept = json.loads((tmp_path / "seconds.json").read_text())
    (tmp_path / "seconds.json").write_text(json.dumps(kept | {"seconds": [0.001, 0.003]}))
    found = compare(cases, points, equal=("steps", "compute", "time"), **options)
    steps, compute, time = found.tables
    assert [row.steps for row in steps.rows] == [60, 60]
    assert [row.steps for row in time.rows] == [60, 20]
    one, other = (row.mean("macs") for row in compute.rows)
    assert abs(other - one) <= steps.row("FOGZO n=1").mean("macs") / 60  # a step
    assert compute.row("FOGZO n=1").steps < 60


def test_equal_time_is_measured_once_and_kept(points, objective, tmp_path):
    cases = [case(STE(), objective, rates(0.03)), case(SPSA(n=200), objective, rates(0.03))]
    options = {"seeds": 5, "tuning_seeds": 1, "equal": "time", "folder": tmp_path, **OPTIONS}
    (first,) = compare(cases, points, **options).tables
    assert first.row("STE").steps == 12 and first.row("n-SPSA n=200").steps < 12
    kept = (tmp_path / "seconds.json").read_text()
    (again,) = compare(cases, points, **options).tables
    assert (tmp_path / "seconds.json").read_text() == kept
    assert [row.steps for row in again.rows] == [row.steps for row in first.rows]


def test_lengths_by_hand():
    cheap, dear, free = Cost(1, 1, 100.0, 2.0), Cost(3, 1, 250.0, 3.0), Cost(0, 0, 0.0, 1e9)
    assert budget_of("steps", 50, cheap, "a") is None
    assert budget_of("compute", 50, cheap, "a") == 5000.0
    assert [length("compute", 50, 5000.0, cost) for cost in (cheap, dear, free)] == [50, 20, 50]
    assert length("compute", 50, 5249.0, dear) == 20  # as many as it allows
    assert [length("time", 50, 150.0, cost) for cost in (cheap, dear, free)] == [75, 50, 1]
    with pytest.raises(InputError, match="'a' takes no macs, so equal compute cannot be measured"):
        budget_of("compute", 50, free, "a")


def test_each_candidate_has_the_length_of_its_own_cost(points, objective):
    """Also where what is tuned changes the cost, and in whatever order candidates stand."""
    few, many = FOGZO(n=1), FOGZO(n=10)
    options = {"seeds": 5, "tuning_seeds": 2, "equal": "compute", **OPTIONS | {"steps": 60}}
    found = []
    for rules in ((few, many), (many, few)):
        own = [Candidate(r, objective, Adam(0.03), (("n", r.n),)) for r in rules]
        cases = [case(STE(), objective, rates(0.03)), Case("FOGZO", own)]
        (table,) = compare(cases, points, **options).tables
        row = table.row("FOGZO")
        assert row.mean("macs") <= row.budget == table.row("STE").mean("macs")
        found.append((row.chosen.setting, row.steps, row.ends("train_loss")))
    assert found[0] == found[1]


class Dearer(STE):
    """Takes ten looks from step 5 on."""

    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        times = 10 if step.index >= 5 else 1
        return estimate._replace(forwards=times, backwards=times), state


def test_a_budget_that_was_not_kept_is_said(points, objective):
    cases = [case(STE(), objective, rates(0.03)), case(Dearer(), objective, rates(0.03)),
             case(FOGZO(n=200), objective, rates(0.03))]  # fmt: skip
    report = text(compare(cases, points, seeds=5, tuning_seeds=1, equal="compute", **OPTIONS))
    assert re.search(r"! Dearer: a run took 6.* times the multiply-accumulates", report)
    assert re.search(r"! FOGZO n=200: a run took [\d,.]+ times", report)
    assert "! STE: a run" not in report


def test_what_is_equal_in_every_seed_and_few_seeds_are_said(points, objective):
    cases = [case(STE(), objective, rates(0.03)), case(STE(), objective, rates(0.03), "again")]
    report = text(compare(cases, points, seeds=6, tuning_seeds=1, **OPTIONS))
    assert "! again: equal to STE in every seed, up to rounding" in report
    assert "! fewer than 10 seeds" in report


def test_a_lone_setting_is_not_tuned(points, objective, tmp_path):
    cases = [case(STE(), objective, rates(0.03)), case(SPSA(), objective, rates(0.03, 0.1))]
    found = compare(cases, points, seeds=5, tuning_seeds=2, folder=tmp_path, **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0-0-12-report.json", "1-0-12-report.json", "1-0-12-tuning.json",
    ]  # fmt: skip
    assert found.tables[0].rows[0].tuning[0][1] is None and "not tuned*" in text(found)


def test_seconds_of_other_rules_are_not_taken_and_damage_is_said(points, objective, tmp_path):
    options = {"seeds": 5, "tuning_seeds": 1, "equal": "time", "folder": tmp_path, **OPTIONS}
    for n in (1, 300):
        cases = [case(STE(), objective, rates(0.03)), case(SPSA(n=n), objective, rates(0.03), "x")]
        (table,) = compare(cases, points, **options).tables
    assert table.row("x").steps == 1
    for damage in ('{"made_of', json.dumps({"made_of": "", "seconds": [math.nan, -1.0]})):
        (tmp_path / "seconds.json").write_text(damage)
        with pytest.raises(InputError, match="seconds.json is damaged; restore it"):
            compare(cases, points, **options)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [5, 16, 30, 45])
def test_a_stopped_comparison_ends_with_the_same_bits(
    points, objective, tmp_path, monkeypatch, after
):
    cases = [case(STE(), objective, rates(0.01, 0.1)), case(SPSA(), objective, rates(0.01))]
    options = {"seeds": 5, "tuning_seeds": 2, **OPTIONS}
    whole = compare(cases, points, folder=tmp_path / "whole", **options)
    steps, real = [], STE.estimate

    def stops(self, *args):
        steps.append(args[-1].index)
        if len(steps) == after:
            raise Stop
        return real(self, *args)

    monkeypatch.setattr(STE, "estimate", stops)
    if after < 28:  # 4 to look, 12 to tune, 12 to report
        with pytest.raises(Stop):
            compare(cases, points, folder=tmp_path / "cut", **options)
    again = compare(cases, points, folder=tmp_path / "cut", **options)
    for one, other in zip(whole.tables[0].rows, again.tables[0].rows, strict=True):
        assert one.ends("train_loss") == other.ends("train_loss")
        assert one.tuning == other.tuning
    assert not list((tmp_path / "cut").glob("*.npz"))


def test_what_is_kept_is_not_run_again_unless_something_changed(points, objective, tmp_path):
    cases, ticks = [case(STE(), objective, rates(0.03, 0.04))], []
    options = {"seeds": 5, "tuning_seeds": 1, "folder": tmp_path, **OPTIONS}

    class Counting(comparison.Trials):
        def __init__(self, *args):
            super().__init__(*args[:-1], lambda part, runs: ticks.append(runs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "Trials", Counting)
        first = compare(cases, points, **options)
        trained = len(ticks)
        assert compare(cases, points, **options).tables == first.tables or len(ticks) == trained
        assert trained == 24  # 12 steps of tuning, 12 of the report
        compare([case(STE(), objective, rates(0.04, 0.05), "STE")], points, **options)
        assert len(ticks) == 2 * trained
    damaged = tmp_path / "0-0-12-report.json"
    whole = damaged.read_text()
    other = [case(STE(), objective, rates(0.04, 0.05), "STE")]
    for damage in (whole[:-30], whole.replace("train_loss", "loss"), whole.replace("[", "{")):
        damaged.write_text(damage)
        assert compare(other, points, **options).tables[0].rows[0].loss is not None


def test_a_best_rate_at_the_edge_is_said(points, objective):
    found = compare([case(STE(), objective, rates(1e-5, 1e-4)),
                     case(STE(), objective, rates(1e-5, 0.05, 9.0), "inside")], points,
                    seeds=5, tuning_seeds=2, **OPTIONS)  # fmt: skip
    edge, inside = found.tables[0].rows
    assert edge.edges == ("lr 0.0001 is the largest of 2",) and inside.edges == ()
    assert "! STE: lr 0.0001 is the largest of 2" in text(found)


def test_edges_are_looked_for_in_every_number():
    def one(name, lr, scale):
        setting = (("optimizer", name), ("lr", lr), ("init_scale", scale))
        return Candidate(None, None, None, setting)

    own = Case("a", [one(o, lr, k) for o in ("adam", "sgd") for lr in (1.0, 2.0, 3.0)
                     for k in (0.5, 1.0, 2.0)])  # fmt: skip
    assert edges(own, one("sgd", 2.0, 1.0)) == ()
    assert edges(own, one("sgd", 3.0, 0.5)) == (
        "lr 3 is the largest of 3", "init_scale 0.5 is the smallest of 3",
    )  # fmt: skip
    assert edges(Case("a", [one("adam", 1.0, 1.0)]), one("adam", 1.0, 1.0)) == ()


class Diverging(Estimator):
    """Ends as NaN with odd seeds, or with all."""

    rowwise = False

    def __init__(self, every=False):
        self.every = every

    def __repr__(self):
        return f"Diverging({self.every})"

    def init(self, objective, theta):
        return ()

    def estimate(self, objective, theta, batch, state, step):
        bad = step.index > 4 and (self.every or step.seed % 2)
        grad = objective.ste_gradient(theta, batch).gradient
        return Estimate(grad * (math.nan if bad else 1.0), theta.sum(), 1, 1), state


def test_diverged_seeds_are_counted_left_out_and_said(points, objective):
    cases = [case(STE(), objective, rates(0.03)), case(Diverging(), objective, rates(0.03)),
             case(Diverging(True), objective, rates(0.03), "never")]  # fmt: skip
    found = compare(cases, points, seeds=12, tuning_seeds=[1000], **OPTIONS)
    _, some, never = found.tables[0].rows
    assert some.loss.diverged == 6 and some.difference.left_out == 6
    assert some.ends("train_loss")[1] is None and never.loss is None
    report = text(found)
    assert "! Diverging: 6 of 12 seeds diverged and are left out of its differences" in report
    assert "! never: every seed diverged at Adam, lr 0.03" in report and "12 of 12" in report


def test_a_reference_that_always_diverges_is_one_sentence(points, objective):
    cases = [case(Diverging(True), objective, rates(0.03)), case(STE(), objective, rates(0.03))]
    with pytest.raises(InputError, match="reference 'Diverging' diverged with every seed"):
        compare(cases, points, seeds=5, tuning_seeds=1, **OPTIONS)


def test_one_seed_has_no_interval_and_says_so(points, objective):
    cases = [case(STE(), objective, rates(0.03)), case(SPSA(), objective, rates(0.03))]
    found = compare(cases, points, seeds=1, tuning_seeds=1, **OPTIONS)
    report = text(found)
    assert "no interval from 1 seed" in report and "nan" not in report.lower()
    assert intervals(found.tables[0]) == {"STE": None, "n-SPSA n=1": None}


def test_a_rule_that_cannot_be_trained_is_found_before_anything_is_kept(
    points, objective, tmp_path
):
    class Broken(STE):
        def estimate(self, objective, theta, batch, state, step):
            return None

    with pytest.raises(InputError, match="Broken.estimate gives a NoneType"):
        compare([case(STE(), objective, rates(0.1)), case(Broken(), objective, rates(0.1))], points,
                seeds=5, tuning_seeds=1, folder=tmp_path, **OPTIONS)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_results_hold_every_number_and_no_nan(points, objective, tmp_path):
    from minizo.compare import files

    cases = [case(STE(), objective, rates(0.03)), case(Diverging(True), objective, rates(0.03))]
    found = compare(cases, points, seeds=5, tuning_seeds=1, **OPTIONS)
    files.write(tmp_path, found)
    kept = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    first, second = kept["tables"][0]["cases"]
    assert tuple(first["train_loss"]) == found.tables[0].rows[0].ends("train_loss")
    assert second["train_loss"] == [None] * 5 and len(second["diverged"]) == 5
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert len(lines) == 11 and lines[0].startswith("equal,label,setting,seed,step,train_loss")
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 1 + 5 * 5

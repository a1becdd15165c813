"""Sweeps and the commands built on them: resumable, damage noticed, numbers as defined."""

import csv
import gzip
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from minizo import FOGZO, SPSA, STE, InputError, ProxQuant, data, optim, quantizers, sweep
from minizo.compare import interval
from minizo.estimators import ESTIMATORS
from minizo.quantizers import Sign
from minizo.reproduce import compute796, compute796_report, fsg, mnist_grid, proxquant, zoo

CASES = [
    sweep.Case(STE(), optim.Adam(0.02), seed, steps=20, batch=50, widths=(5,)) for seed in (0, 1)
]


@pytest.fixture
def load(toy):
    """A loader that counts how often it is asked."""

    def loader():
        loader.calls += 1
        return toy

    loader.calls = 0
    return loader


def run(cases, load, folder, **options):
    return sweep.run(cases, load, folder, workers=1, quiet=True, **options)


def test_finished_cases_are_not_run_again(load, tmp_path, monkeypatch):
    first = run(CASES, load, tmp_path)
    assert [record["seed"] for record in first] == [0, 1]
    assert first[0]["records"]["train_loss"][-1] < first[0]["records"]["train_loss"][0]
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert run(CASES, load, tmp_path) == first


def test_a_record_cut_short_is_noticed_and_only_that_run_repeated(load, tmp_path, monkeypatch):
    first = run(CASES, load, tmp_path)
    path = tmp_path / f"{CASES[1].key(load())}.json"
    path.write_text(path.read_text()[:-20])
    ran, real = [], sweep.train
    monkeypatch.setattr(sweep, "train", lambda cases, *a: ran.append(cases) or real(cases, *a))
    again = run(CASES, load, tmp_path)
    assert ran == [[CASES[1]]]
    assert again[0] == first[0]
    # alone this time, in float32
    expected = pytest.approx(first[1]["records"]["train_loss"], rel=1e-4)
    assert again[1]["records"]["train_loss"] == expected


def interrupted_at_step_32(monkeypatch):
    """Let the 32nd step of the STE from now on raise KeyboardInterrupt; the list of all steps."""
    real, steps = STE.estimate, []

    def estimate(self, *args):
        steps.append(args[-1].index)
        if len(steps) == 32:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(STE, "estimate", estimate)
    return steps


def test_an_interrupted_case_goes_on_from_its_checkpoint(load, tmp_path, monkeypatch):
    """Stopped in the middle of the second run: the first is kept, the second resumed."""
    cases = [CASES[0], replace(CASES[1], batch=40)]  # not alike, so each for itself
    whole = run(cases, load, tmp_path / "whole")
    steps = interrupted_at_step_32(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(cases, load, tmp_path / "cut")
    resumed = run(cases, load, tmp_path / "cut")
    assert len(steps) == 32 + 20 - 11  # the second run goes on from its 11th step
    for a, b in zip(whole, resumed, strict=True):
        assert a["records"]["train_loss"] == b["records"]["train_loss"]


def test_an_interrupted_group_goes_on_from_its_checkpoint(load, tmp_path, monkeypatch):
    """Stopped in the second of two groups, though a record of the first is lost meanwhile."""
    cases = [replace(CASES[0], seed=seed, batch=batch) for batch in (50, 40) for seed in range(3)]
    whole = run(cases, load, tmp_path / "whole")
    steps = interrupted_at_step_32(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(cases, load, tmp_path / "cut")
    next((tmp_path / "cut").glob("*.json")).unlink()
    resumed = run(cases, load, tmp_path / "cut")
    # the first group's lost run alone, and the second group from its 11th step
    assert sorted(steps[32:]) == sorted([*range(20), *range(11, 20)])
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_allclose(
            a["records"]["train_loss"], b["records"]["train_loss"], rtol=1e-4
        )


def test_alike_cases_train_together(load, tmp_path, toy):
    """Seeds, rates and optimisers of a kind in one group: the records of each alone, in float32."""
    rules = [optim.Adam(0.02), optim.SGD(0.1), optim.SGD(1e300)]
    cases = [replace(CASES[0], optimizer=rule, seed=seed) for seed in (0, 1) for rule in rules]
    other = replace(CASES[0], steps=10)
    found = run([*cases, other], load, tmp_path)
    names = sorted(path.name.partition("-")[0] for path in tmp_path.glob("*.npz"))
    assert names == ["ste", "together"]  # a checkpoint of the other one, and one of the group
    assert [sorted(map(len, sweep.groups(own, toy))) for own in ([*cases, other], CASES[:1])] == [
        [1, 6],
        [1],
    ]
    for case, record in zip([*cases, other], found, strict=True):
        (outcome,) = sweep.train([case], toy)
        alone = case.record(toy, outcome)
        assert {**record, "records": None} == {**alone, "records": None}
        for column, values in alone.get("records", {}).items():
            if "seconds" not in column:
                np.testing.assert_allclose(record["records"][column], values, rtol=1e-4)
    assert sum("error" in record for record in found) == 2


def test_cases_that_cannot_train_together_do_not(toy):
    """Learned gradients, cases that others start from, populations that fill the cache."""

    def sizes(kind, estimator):
        cases = [kind(estimator, seed=seed, batch=50) for seed in range(3)]
        return [len(group) for group in sweep.groups(cases, toy)]

    assert sizes(sweep.Case, STE()) == [3]
    assert sizes(sweep.Case, ESTIMATORS["gain"]()) == [1, 1, 1]
    assert sizes(proxquant.ModelCase, STE()) == [1, 1, 1]  # others start from its checkpoint
    assert sizes(fsg.LearnedCase, STE()) == [3]
    warm = [proxquant.ModelCase(STE(), seed=seed) for seed in range(3)]
    for rule, count in ((ProxQuant(), [3]), (ESTIMATORS["gain"](), [1, 1, 1])):
        started = [proxquant.starting(rule, Sign(), optim.Adam(), case, 4, 4) for case in warm]
        assert [len(group) for group in sweep.groups(started, toy)] == count
    wide = partial(sweep.Case, widths=(200,))
    assert sizes(wide, STE()) == [3]
    assert sizes(wide, SPSA(n=100)) == [1, 1, 1]


def test_different_cases_never_share_a_file(toy):
    cases = [
        sweep.Case(STE()),
        sweep.Case(STE(), seed=1),
        sweep.Case(STE(), optim.SGD(0.01)),
        sweep.Case(STE(), steps=10),
        sweep.Case(STE(), quantizer=quantizers.Sign()),
        sweep.Case(SPSA(n=10)),
        sweep.Case(FOGZO(n=10, beta_schedule="constant")),
        sweep.Case(FOGZO(n=10, beta=0.9, beta_schedule="constant")),
    ]
    assert len({case.key(toy) for case in cases}) == len(cases)
    assert cases[0].key(toy) != cases[0].key(replace(toy, x_train=toy.x_train + 1))


def test_divergence_is_a_result(load, tmp_path):
    case = sweep.Case(
        STE(), optim.SGD(1e38), steps=20, batch=50, quantizer=quantizers.FullPrecision()
    )
    (record,) = run([case], load, tmp_path)
    assert "became NaN or infinite" in record["error"]
    assert run([case], load, tmp_path) == [record]


def test_cost_counts_forwards_and_a_backward_as_two():
    assert sweep.Case(STE(), steps=10).cost() == 30
    assert sweep.Case(SPSA(n=5), steps=10).cost() == 100
    assert sweep.Case(FOGZO(n=5, beta_schedule="constant"), steps=10).cost() == 130


def test_bad_sweeps_are_refused(load, tmp_path):
    with pytest.raises(InputError, match="workers is -1"):
        sweep.run(CASES, load, tmp_path, workers=-1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        sweep.run(CASES, load, tmp_path / "file" / "x", workers=1)


RECORDS = {
    "step": [0, 10, 20],
    "train_loss": [2.0, 1.0, 0.5],
    "forwards": [0, 210, 420],
    "backwards": [0, 10, 20],
    "macs": [0, 1000, 2000],
}


@pytest.mark.parametrize(
    "target, count, expected",
    [
        (1.0, "query forwards", 200),
        (1.5, "query forwards", 100),
        (0.5, "all passes", 460),
        (0.75, "multiply-accumulates", 1500),
        (2.0, "multiply-accumulates", 0),
        (0.4, "all passes", math.inf),
    ],
)
def test_compute_to_a_target(target, count, expected):
    """Linear between records; FOGZO's own forwards are not queries; never is infinite."""
    assert compute796_report.compute_to(RECORDS, target, count) == expected


def test_the_796_of_the_claim_is_arithmetic():
    """7960 / 10 and 796 / 1, queries alone; with all passes both are less."""
    for n, m in ((7960, 10), (796, 1)):
        assert 2 * n / (2 * m) == 796
        assert 2 * n / (2 * m + 3) < 796


def test_ratio_is_the_quotient_of_two_computations():
    """A made-up n-SPSA that takes 100 times FOGZO's computation is found 100 times worse."""
    slow = RECORDS | {"macs": [100 * x for x in RECORDS["macs"]]}
    spsa = compute796.Method("n-SPSA n=796", SPSA(n=796), (1,))
    fogzo = compute796.Method("FOGZO n=1", FOGZO(beta_schedule="constant"), (1,))
    results = {"n-SPSA n=796": {1: [{"records": slow}]}, "FOGZO n=1": {1: [{"records": RECORDS}]}}
    target, values = compute796_report.ratio(results, spsa, fogzo, "multiply-accumulates")
    assert target == 0.5 and values == [100.0]


@pytest.mark.parametrize(
    "values, text",
    [
        ([796.0], "796"),
        ([500.0, 2000.0], "1,000"),
        ([800.0] * 5, "800 (800 .. 800)"),
        ([0.0, 800.0, 1200.0], "800 (not there in 1 of 3)"),
        ([0.0, 0.0, 1200.0], "FOGZO not there in 2 of 3"),
    ],
)
def test_ratio_is_a_geometric_mean_and_undefined_where_fogzo_never_gets_there(values, text):
    assert compute796_report.ratio_text(values) == text


def test_ratio_has_the_interval_of_its_logarithm():
    values = [700.0, 800.0, 900.0, 1000.0, 1300.0]
    low, high = interval(np.log(values))
    mean = math.exp(np.log(values).mean())
    wanted = f"{mean:,.0f} ({math.exp(low):,.0f} .. {math.exp(high):,.0f})"
    assert compute796_report.ratio_text(values) == wanted


def test_ratio_of_a_fogzo_that_never_gets_there_is_zero():
    spsa = compute796.Method("n-SPSA n=796", SPSA(n=796), (1,))
    fogzo = compute796.Method("FOGZO n=1", FOGZO(beta_schedule="constant"), (1,))
    worse = RECORDS | {"train_loss": [2.0, 1.0, 0.6]}
    results = {"n-SPSA n=796": {1: [{"records": RECORDS}]}, "FOGZO n=1": {1: [{"records": worse}]}}
    assert compute796_report.ratio(results, spsa, fogzo, "all passes") == (0.5, [0.0])


def test_compute796_end_to_end(toy, tmp_path, monkeypatch, capsys):
    """A tiny version of the whole command: report, CSV and picture; a second call runs nothing."""
    monkeypatch.setattr(data, "mnist", lambda: toy)
    small = tuple(
        compute796.replace(m, grid=m.grid[-2:], estimator=tiny(m.estimator))
        for m in compute796.METHODS
        if "n=7960" not in m.name and (m.estimator != STE() or m.name == "STE")
    )
    monkeypatch.setattr(compute796, "quick", lambda methods: small)
    flags = ["--quick", "--steps", "20", "--workers", "1", "--quiet", "--folder", str(tmp_path)]
    flags += ["--seeds", "5"]
    assert compute796.main(flags) == 0
    out = capsys.readouterr().out
    assert "toy blobs: 2-bit midrise" in out and "measured to equal loss" in out
    with gzip.open(tmp_path / "compute796.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {m.name for m in small}
    assert {row["group"] for row in rows} == names | {f"tuning: {name}" for name in names}
    back = compute796_report.read_records(tmp_path / "compute796.csv.gz")
    assert compute796_report.best_table(back, small).splitlines()[2].split()[0] == "STE"
    for method in small:
        ((optimizer, group),) = back[method.name].items()
        assert len(group) == 5
        tuned = back[f"tuning: {method.name}"]
        means = {o: np.mean(compute796_report.final(runs)) for o, runs in tuned.items()}
        assert set(map(len, tuned.values())) == {5} and means[optimizer] == min(means.values())
    assert (tmp_path / "compute796.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert compute796.main(flags) == 0
    assert capsys.readouterr().out == out


def test_dear_methods_have_few_seeds_and_a_lone_optimiser_is_not_tuned():
    by_name = {method.name: method for method in compute796.METHODS}
    assert len(by_name["n-SPSA n=7960"].tuning_seeds) == 0
    assert list(by_name["n-SPSA n=796"].tuning_seeds) == [1000]
    assert list(by_name["STE"].tuning_seeds) == [1000, 1001, 1002, 1003, 1004]
    assert len(by_name["n-SPSA n=796"].seeds(20)) == 5 and len(by_name["STE"].seeds(20)) == 20
    assert set(by_name["STE"].seeds(20)).isdisjoint(by_name["STE"].tuning_seeds)


@pytest.mark.parametrize("largest", [796, 7960])
def test_the_study_of_causes_is_well_formed(largest):
    """Every row of every question is a case of its own; none is larger than asked for."""
    questions = compute796.study(10, largest)
    entries = compute796.reported({}, 20, 10, questions)
    rows = {(q, label) for q, rows in questions.items() for label, *_ in rows}
    assert {place for place, _ in entries} == rows
    assert len(rows) == sum(len(rows) for rows in questions.values())  # no label twice
    assert max(case.cost() for _, case in entries) == 2 * 10 * max(796, largest)
    for question, label in rows:
        cases = {case for place, case in entries if place == (question, label)}
        assert len(cases) == len({case.seed for case in cases}) and len(cases) in (3, 20)


def test_compute796_why_end_to_end(toy, tmp_path, monkeypatch, capsys):
    """The questions stand in the report with their seeds, below the comparison."""
    monkeypatch.setattr(data, "mnist", lambda: toy)
    few = [
        m for m in compute796.METHODS if m.name in ("STE", "n-SPSA n=796", "FOGZO n=1, beta .999")
    ]
    few = tuple(compute796.replace(m, grid=m.grid[:1], estimator=tiny(m.estimator)) for m in few)
    monkeypatch.setattr(compute796, "METHODS", few)
    question = {"law": [("gaussian", SPSA(n=2, law="gaussian"), {"optimizer": optim.SGD(0.1)})]}
    monkeypatch.setattr(compute796, "study", lambda steps, largest: question)
    flags = ["--why", "--steps", "20", "--seeds", "2", "--workers", "1", "--quiet"]
    assert compute796.main([*flags, "--folder", str(tmp_path)]) == 0
    *_, title, _, header, _, row, _, _ = capsys.readouterr().out.splitlines()
    assert title == "Why? law" and header.split()[-1] == "seeds"
    assert row.split()[0] == "gaussian" and row.split()[-1] == "2"


def tiny(estimator):
    n = getattr(estimator, "n", None)
    return estimator if n is None else compute796.replace(estimator, n=min(n, 20))


@pytest.mark.parametrize("comparison", [compute796, fsg, mnist_grid, proxquant, zoo])
def test_bad_flags(comparison, tmp_path, capsys):
    """A count of 0 or a file in place of the folder: one sentence, exit code 2."""
    (tmp_path / "file").write_text("")
    bad = {
        "--seeds is 0, but it must be at least 1": ["--seeds", "0"],
        "--steps is -3, but it must be at least 1": ["--steps", "-3"],
        "file cannot be made": ["--folder", str(tmp_path), "--out", str(tmp_path / "file")],
    }
    for sentence, flags in bad.items():
        assert comparison.main(flags) == 2
        assert sentence in capsys.readouterr().err


def test_mnist_grid_end_to_end(toy, tmp_path, monkeypatch, capsys):
    """Two methods, two optimisers: the best is chosen on tuning seeds, others are reported."""
    monkeypatch.setattr(data, "mnist", lambda: toy)
    monkeypatch.setattr(mnist_grid, "METHODS", {"STE": STE(), "n-SPSA n=10": SPSA(n=10)})
    monkeypatch.setattr(mnist_grid, "OPTIMIZERS", [optim.SGD(1e-6), optim.Adam(0.02)])
    flags = ["--steps", "40", "--seeds", "5", "--tuning-seeds", "2", "--workers", "1", "--quiet"]
    assert mnist_grid.main([*flags, "--folder", str(tmp_path / "f"), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    text = (tmp_path / "mnist_grid.txt").read_text()
    assert text in out and text.count("Adam, lr 0.02") == 3  # SGD 1e-6 does not move
    assert "minus STE" in text and (tmp_path / "mnist_grid.png").stat().st_size > 10_000
    with open(tmp_path / "mnist_grid.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == [*"01234"] * 2
    assert {row["setting"] for row in rows} == {"Adam, lr 0.02"}
    assert len(list((tmp_path / "f").glob("*.json"))) == 4


def test_records_of_other_data_with_the_same_name_are_not_taken(toy, tmp_path):
    """Also where a file has been renamed to fit: the record itself knows its data."""
    other = replace(toy, y_train=(toy.y_train + 1) % 3)
    first, second = (run(CASES[:1], lambda d=d: d, tmp_path)[0] for d in (toy, other))
    assert first["data"] == second["data"] and first["records"] != second["records"]
    paths = [tmp_path / f"{CASES[0].key(d)}.json" for d in (toy, other)]
    assert sweep.read(paths[0], CASES[0], toy) == first
    assert sweep.read(paths[0], CASES[0], other) is None

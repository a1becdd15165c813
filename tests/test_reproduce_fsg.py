"""The trace of learned gradients, and the comparison with controls, in small."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from minizo import STE, Objective, data, figures, sweep
from minizo.compare import TUNING, paired
from minizo.data.dataset import Dataset
from minizo.estimators import FSG, FCGrad, LayerGain
from minizo.lab.generated import COLUMNS, frozen
from minizo.optim import SGD, Adam
from minizo.reproduce import fsg, fsg_lenet, fsg_published, fsg_report

# The comparison --------------------------------------------------------------------------------


def group(*values):
    return [{"records": {"train_loss": [9.0, v], "test_accuracy": [0.1, 0.5], "step": [0, 10],
                         "seconds": [0.0, 0.1]}} for v in values]  # fmt: skip


def test_paired_differences():
    """Seed by seed, with the interval of `minizo.compare`; none for few seeds."""
    ours, theirs = (1.0, 2.0, 3.0, 2.0, 1.5), (0.5, 1.4, 2.3, 1.4, 0.8)
    mean, half = fsg_report.difference(group(*ours), group(*theirs))
    low, high = paired(ours, theirs).interval
    assert mean == pytest.approx(0.62) and (mean - half, mean + half) == pytest.approx((low, high))
    mean, half = fsg_report.difference(group(1.0), group(0.5))
    assert mean == 0.5 and math.isnan(half)
    assert all(map(math.isnan, fsg_report.difference([{"error": ""}], group(0.5))))


@pytest.mark.parametrize(
    "name, losses, words",
    [
        ("M", 0.002, "nothing that these seeds show"),
        ("M", 0.4, "worse than the STE"),
        ("gain", -0.2, "itself a control"),
        ("M", -0.2, "no more than gain"),
        ("M", -0.3, "learning"),
        ("N", -0.3, "not from learning"),
        ("unseen", -0.3, "better than gain"),
        ("M", math.inf, "diverged"),
    ],
)
def test_verdicts(name, losses, words):
    """Every way in which a difference can turn out; each is the STE's loss and a shift."""
    wobble = (0.01, -0.01, 0.0, 0.012, -0.008, 0.0)

    def seeds(shift, sign=1.0):
        return [0.6 + 0.05 * i + shift + sign * w for i, w in enumerate(wobble)]

    tuned = {
        "STE": seeds(0.0, 0.0), "gain": seeds(-0.2, -1.0), "M, frozen": seeds(0.0, -0.5),
        "N, frozen": seeds(-0.3, 0.5),
    }  # fmt: skip
    tuned |= {name: seeds(losses)}
    tuned = {(key, "SGD"): (SGD(1.0), group(*values)) for key, values in tuned.items()}
    assert fsg_report.verdict(name, "SGD", tuned, ("gain",)).startswith(words)


def test_runs_that_diverged_are_written_and_read(tmp_path):
    """No numbers in the file, an infinite loss when it is read."""
    bad = {"error": "diverged"}
    fsg_report.write_runs(tmp_path / "a.csv", [("M", SGD(1.0), 0, bad)])
    ((name, optimizer, seed, record),) = fsg_report.read_runs(tmp_path / "a.csv")
    assert (name, optimizer, seed, record) == ("M", SGD(1.0), 0, bad)
    tuned = {("M", "SGD"): (SGD(1.0), [*group(0.5), bad])}
    fsg_report.write_trace(tmp_path / "b.csv", tuned)
    _, found = fsg_report.read_trace(tmp_path / "b.csv")["M", "SGD"]
    assert fsg_report.losses(found) == [0.5, math.inf]


def test_best_setting_of_each_kind():
    found = {
        ("M", SGD(1.0), 0): group(0.4)[0], ("M", SGD(1.0), 1): group(0.6)[0],
        ("M", SGD(3.0), 0): group(0.3)[0], ("M", SGD(3.0), 1): {"error": "diverged"},
        ("M", Adam(0.1), 0): group(2.0)[0],
    }  # fmt: skip
    assert fsg_report.best_settings(found) == {("M", "SGD"): SGD(1.0), ("M", "Adam"): Adam(0.1)}


@pytest.mark.parametrize(
    "case, shape, weights",
    [(fsg.LearnedCase(STE()), (1, 28, 28), 7940), (fsg_lenet.LeNetCase(STE()), (1, 14, 14), 1620)],
    ids=["mlp", "lenet"],
)
def test_networks_of_the_comparison(case, shape, weights):
    """All weights are binary; a record for every seed."""
    x, labels = np.zeros((10, *shape), np.float32), np.arange(10)
    images = Dataset("images", x, labels, x, labels, classes=10)
    network = case.network(images)
    objective = Objective(network, case.quantizer)
    assert sum(int(np.prod(network.shapes[name])) for name in objective.quantized) == weights
    all_of_them = {name for name in network.shapes if name.endswith(".weight")}
    assert all_of_them == set(objective.quantized)
    assert case.key(images) != replace(case, seed=1).key(images)
    assert replace(case, estimator=FSG()).cost() > replace(case, estimator=FCGrad()).cost()


def test_every_method_is_tuned_on_one_grid():
    """The same optimisers for all; the controls are there; slow ones are marked."""
    table = fsg.methods(fsg.Sizes())
    assert {*fsg.CONTROLS, *fsg_lenet.FROZEN, *fsg_lenet.METHODS} < set(table)
    assert {name for name, (_, slow) in table.items() if slow} == {
        "FSG", "FSG, fast committed", "FSG, LSTM", "FSG, scaled", "FSG, LSTM scaled",
    }  # fmt: skip
    for name in fsg_lenet.FROZEN:
        frozen(table[name][0])
    assert isinstance(table["layer-gain"][0], LayerGain)


@pytest.fixture
def call(toy, tmp_path, monkeypatch, capsys):
    """Run the command on the toy data: call(*flags) -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "mnist", lambda: toy)

    def run(*flags):
        code = fsg.main([*flags, "--workers", "1", "--quiet"])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.mark.slow
def test_quick_command(call, tmp_path, monkeypatch):
    """Reports, CSV and pictures; nothing is run twice; what was written can be read."""
    code, out, _ = call("--quick", "--steps", "10")
    assert code == 0
    folder = tmp_path / "runs" / "fsg-quick"
    assert (folder / "fsg.txt").read_text() in out
    assert len(fsg_report.SHOWN) == len(fsg_report.TRACED) == len(figures.STYLES)
    for word in (
        "S is a multiple of the last gradient by R2 = ",
        "no verdict from few seeds",
        "uphill then",
        "beta = 0.9",
        "MetaQuant's logs",
    ):
        assert word in out
    for name in ("fsg.png", "fsg_trace.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    with open(folder / "fsg.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"STE", "gain", "FSG-gain", "FCGrad", "FSG"}
    assert len(rows) == 5 * 3
    tuned = fsg_report.read_trace(folder / "fsg_trace.csv")
    optimizer, (run,) = tuned["FSG", "Adam"]
    assert optimizer == Adam(0.03) and run["records"]["step"][-1] == 10
    assert math.isfinite(run["records"]["slow_r2"][-1]) and ("FSG, frozen", "SGD") in tuned
    assert math.isnan(tuned["STE", "SGD"][1][0]["records"]["gain"][-1])
    # the tables again, from the files
    every = fsg_report.read_runs(folder / "fsg.csv")
    again = fsg_report.comparison_text("x", tuned, every, fsg.CONTROLS, fsg.SMALL_RATE)
    assert again.partition("=\n")[2] in out
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert call("--quick", "--steps", "10") == (code, out, "")


def test_the_part_of_sizes(call):
    """The paper's slow-net beside smaller ones, with a tiny run."""
    code, out, _ = call("size", "--quick", "--steps", "2", "--short", "3")
    assert code == 0 and "Mamba 100 x 16 (paper)" in out and "every method at its best" not in out


def test_the_part_of_cheap_methods(call, tmp_path):
    """More steps, nothing slow in it."""
    code, out, _ = call("long", "--quick", "--steps", "2", "--long", "12")
    assert code == 0 and "12 steps, what costs little" in out
    tuned = fsg_report.read_trace(tmp_path / "runs" / "fsg-quick" / "fsg_long_trace.csv")
    assert ("FCGrad", "SGD") in tuned and ("FSG", "SGD") not in tuned


@pytest.fixture
def tiny(call, monkeypatch):
    """The same command; what it draws are a few digits and shapes."""
    monkeypatch.setattr(data, "mnist", lambda: data.synthetic_digits(120, 60))
    return call


def test_the_part_of_lenet(tiny, tmp_path, monkeypatch):
    """A report of its own, every rate of the grid, frozen networks; nothing is run twice."""
    code, out, _ = tiny("lenet", "--quick", "--steps", "4", "--seeds", "2")
    assert code == 0 and "784-10-10" not in out
    folder = tmp_path / "runs" / "fsg-quick"
    assert {path.name for path in folder.glob("fsg*.[tcp]*")} == {
        "fsg_lenet.txt", "fsg_lenet.csv", "fsg_lenet_trace.csv", "fsg_lenet.png",
    }  # fmt: skip
    text = (folder / "fsg_lenet.txt").read_text()
    assert text in out + "\n"
    for words in ("14x14", "1,620 of 1,664 parameters binary", "wall time on a machine shared"):
        assert words in text
    every = fsg_report.read_runs(folder / "fsg_lenet.csv")
    names = ["STE", "gain", "FSG-gain", "FCGrad", "FSG"]
    assert [(name, rate, seed) for name, rate, seed, _ in every] == [
        (name, rate, TUNING) for name in names for rate in fsg_lenet.RATES
    ]
    tuned = fsg_report.read_trace(folder / "fsg_lenet_trace.csv")
    assert {name for name, _ in tuned} == {*names, "FCGrad, frozen", "FSG, frozen"}
    for (name, _), (rate, group) in tuned.items():
        assert len(group) == 2
        own = {r: fsg_report.final(record) for n, r, _, record in every if n == name}
        assert not own or own[rate] == min(own.values())
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert tiny("lenet", "--quick", "--steps", "4", "--seeds", "2") == (code, out, "")


def test_methods_at_the_edge_of_the_grid():
    tuned = {("a", "Adam"): (Adam(0.01), []), ("b", "Adam"): (Adam(0.03), []),
             ("c", "Adam"): (Adam(0.1), []), ("c, frozen", "Adam"): (Adam(0.1), [])}  # fmt: skip
    assert fsg_lenet.at_the_edge(tuned) == ["a", "c"]


def test_bad_input_is_refused(call):
    for flags, sentence in (
        (["mpl"], "part 'mpl' is unknown (known: mlp, sweeps, long, size, lenet, cifar, "),
        (["lenet", "--full"], "--full is of the part cifar and ablations"),
        (["--quick", "--long", "9"], "--long is of the part long; name that part, too"),
        (["mlp", "--short", "9"], "--short is of the part size"),
        (["--seeds", "0"], "--seeds is 0, but it must be at least 1"),
        (["--short", "-1"], "--short is -1"),
    ):
        code, out, err = call(*flags)
        assert code == 2 and out == "" and sentence in err


def test_published_numbers():
    """As printed: FSG's gain over the STE is 20 points with SGD and 3 to 5 with Adam."""
    table = fsg_published.FSG_TABLE_2
    gaps = {key: found["FSG"] - found["STE"] for key, found in table.items()}
    assert all(gap > 20 for (_, kind), gap in gaps.items() if kind == "SGD")
    assert all(1 < gap < 5 for (_, kind), gap in gaps.items() if kind == "Adam")
    assert "one learning rate, 0.001" in fsg_published.text()


def test_pictures():
    """A line a method, one a seed where signs matter; NaN columns are left out."""
    nan = float("nan")
    records = {"step": [0, 10, 20], "train_loss": [2.0, 1.0, 0.5]}
    records |= {c: [nan, -0.5, 0.5] for c in COLUMNS}
    plain = records | {c: [nan] * 3 for c in COLUMNS if c.startswith("slow")}
    runs = {"FSG": [{"records": records}] * 2, "FCGrad": [{"records": plain}, {"error": "x"}],
            "STE": [{"records": {"step": [0], "train_loss": [1.0]}}]}  # fmt: skip
    figure = figures.generated(runs, "title")
    assert [len(axes.lines) for axes in figure.axes] == [2 + 1 + 1, 2, 1, 1, 1, 1]
    curves = {"SGD": [("a", records), ("a", records), ("b", records)], "Adam": [("a", records)]}
    figure = figures.learned_curves(curves, "title")
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]

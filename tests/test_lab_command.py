"""Verdicts, and ``python -m minizo.lab``: listing, running, writing, failing."""

import csv
import json
from functools import partial
from math import inf, nan

import numpy as np
import pytest
from matplotlib.figure import Figure

from minizo import InputError
from minizo.lab import runner
from minizo.lab.curves import Curve, Panel, picture, with_panels
from minizo.lab.experiments import EXPERIMENTS, PARTS
from minizo.lab.runner import Experiment, Report
from minizo.lab.verdicts import Claim, at_most, close, compare, describe, near, show

# Claims ----------------------------------------------------------------------------------------


def test_verdicts():
    def claim(distance, control):
        return Claim("text", "source", "1", "2", distance, 6.0, "s.e.", "control", control)

    assert claim(5.9, 6.1).verdict == "holds"
    assert claim(6.1, 7.0).verdict == "FAILS" and claim(float("nan"), 7.0).verdict == "FAILS"
    assert claim(1.0, 6.0).verdict == "control passes too"
    assert "[control passes too] text" in describe(claim(1.0, 6.0))
    assert "passes too" in describe(claim(1.0, 6.0)) and "rejected" in describe(claim(1.0, 7.0))
    assert claim(1.0, 7.0).row()["verdict"] == "holds"


def test_distances():
    """Standard errors beyond the slack; the worst excess; the worst gap."""
    found = close("t", "s", np.array([1.0, 2.5]), np.array([1.0, 2.0]), 0.1, np.array([1.0, 1.0]),
                  "c", slack=0.1)  # fmt: skip
    assert found.distance == pytest.approx(4.0) and found.control_distance == pytest.approx(14.0)
    assert found.verdict == "holds" and found.unit == "standard errors beyond the slack"
    found = at_most("t", "s", [1.0, 3.0], [2.0, 3.5], [0.5, 1.0], "c")
    assert found.distance == pytest.approx(-0.5) and found.control_distance == pytest.approx(2.0)
    assert found.verdict == "holds" and found.predicted == "<= 2 ... 3.5"
    found = near("t", "s", 1.0, 1.2, 0.1, 2.0, "c")
    assert found.distance == pytest.approx(0.2) and found.verdict == "FAILS"
    assert show(float("nan")) == "nan"
    with pytest.raises(InputError, match="every standard error must be above 0"):
        close("t", "s", 1.0, 1.0, 0.0, 2.0, "c")


@pytest.mark.parametrize(
    "relation, predicted, slack, good, bad, shown",
    [
        ("=", 1.0, 0.1, 1.05, 1.2, "1"),
        ("=", 0.0, 0.0, 0.0, 1e-300, "0"),
        ("<=", 18.0, 0.0, 18.0, 18.1, "<= 18"),
        ("<=", 0.0, 1e-12, 1e-12, 2e-12, "<= 0"),
        (">=", 5.0, 1.0, 4.0, 3.9, ">= 5"),
        ("<=", 1.0, 0.0, -5.0, inf, "<= 1"),
    ],
)
def test_one_number_against_a_wrong_setting(relation, predicted, slack, good, bad, shown):
    """Either side of the bound, for the claim and for its control; NaN fails."""

    def claim(measured, control):
        return compare("c", "this package", predicted, measured, "x", control, relation, slack)

    assert claim(good, bad).verdict == "holds" and claim(good, bad).predicted == shown
    assert claim(bad, bad).verdict == "FAILS" and claim(nan, bad).verdict == "FAILS"
    assert claim(good, good).verdict == "control passes too"
    assert claim(good, bad).control == f"x (measured {bad:.4g})"


def test_an_unknown_relation():
    with pytest.raises(InputError, match="relation is '<', but it must be one of =, <=, >="):
        compare("c", "s", 1.0, 1.0, "x", 2.0, "<")


# The command -----------------------------------------------------------------------------------


@pytest.fixture
def call(command):
    """call(*flags) -> (exit code, stdout, stderr)."""

    def run(*flags, table=EXPERIMENTS):
        return command(partial(runner.main, table, PARTS), "--quiet", *flags)

    return run


def test_the_command(call, tmp_path):
    """Three experiments: tables, claims, CSVs and pictures; --json has the same claims."""
    code, out, err = call("b-5", "A-6", "C-3", "--out", "a", "--workers", 1)
    assert code == 0 and err == ""
    assert (
        out.index("A-6  two functions") < out.index("B-5  the largest") < out.index("C-3  primal")
    )
    assert "7 of 7 claims hold" in out
    assert "[holds] Mean over data sets" in out and "rejected" in out
    assert "ProxQuant section 2" in out
    folder = tmp_path / "a"
    assert sorted(path.name for path in folder.iterdir()) == [
        "A-6.csv", "A-6.png", "B-5.csv", "B-5.png", "C-3.csv", "C-3.png", "claims.csv", "table.txt",
    ]  # fmt: skip
    assert (folder / "A-6.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "table.txt").read_text().strip() in out
    with open(folder / "claims.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["holds"] * 7
    with open(folder / "C-3.csv") as file:
        points = list(csv.DictReader(file))
    assert {point["kind"] for point in points} == {"predicted", "measured"} and len(points) > 1000
    code, out, _ = call("A-6", "B-5", "C-3", "--json", "--workers", 2, "--out", "b")
    objects = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [o["distance"] for o in objects] == [float(r["distance"]) for r in rows]
    for name in ("A-6", "B-5", "C-3"):
        again = (tmp_path / "b" / f"{name}.csv").read_bytes()
        assert (folder / f"{name}.csv").read_bytes() == again


def test_without_a_name_it_lists_and_runs_nothing(call, tmp_path):
    """Every experiment under its part, with its time; letters and numbers have no gaps."""
    code, out, _ = call()
    assert code == 0 and not list(tmp_path.iterdir())
    for name, experiment in EXPERIMENTS.items():
        assert f"  {name} " in out and experiment.title in out
    assert all(f"{letter}: {title}" in out for letter, title in PARTS.items())
    expected = [
        f"{letter}-{k + 1}"
        for letter in PARTS
        for k in range(sum(runner.part(name) == letter for name in EXPERIMENTS))
    ]
    assert list(EXPERIMENTS) == expected


def test_names_parts_and_all():
    """A letter is its part; the table's order whatever the order asked for."""
    named = [e.name for e in runner.chosen(["C-2", "a-1"], EXPERIMENTS)]
    assert named == ["A-1", "C-2"]
    whole = [e.name for e in runner.chosen(["b", "B-3"], EXPERIMENTS)]
    assert whole == [f"B-{k}" for k in range(1, 10)]
    assert runner.chosen([], EXPERIMENTS) == []


def false_table(value, control):
    """One experiment, X-1, that measures 2 + 2."""

    def run(setup):
        claim = near("2 + 2 = 5", "this package", value, 5.0, 0.1, control, "2 + 2 = 6")
        return Report([claim], [{"x": 1}], "table", {})

    return {"X-1": Experiment("X-1", "sums", 1, run, lambda report, title: Figure())}


def test_a_claim_that_fails_is_shown_as_failed(call, tmp_path):
    """Exit code 1, everything written all the same; so does a control that passes too."""
    for value, control, verdict in ((4.0, 6.0, "FAILS"), (5.0, 5.0, "control passes too")):
        code, out, _ = call("--all", "--out", verdict[:5], table=false_table(value, control))
        assert code == 1 and f"[{verdict}] 2 + 2 = 5" in out and "0 of 1 claims hold" in out
        assert (tmp_path / verdict[:5] / "claims.csv").exists()


def test_an_infinite_control_is_null_in_json(call):
    code, out, _ = call("X-1", "--json", table=false_table(5.0, inf))
    assert code == 0 and json.loads(out)["control_distance"] is None


def test_panels_become_rows_and_a_picture():
    """A row for each point; a log axis; labels as given."""
    curves = [Curve("c", [0, 1], [1, 2], True), Curve("m", [0], np.array([1.5]))]
    report = with_panels([], [Panel("p", "x", "y", curves, "linear", "log")])
    assert [tuple(row.values()) for row in report.rows] == [
        ("p", "c", "predicted", 0.0, 1.0),
        ("p", "c", "predicted", 1.0, 2.0),
        ("p", "m", "measured", 0.0, 1.5),
    ]
    (axes,) = picture(report, "title").axes
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "x"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["c", "m"]


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("B-10",), "experiment: unknown name 'B-10'; did you mean 'B-1'?"),
        (("--all", "--seed", -1), "--seed is -1, but it must lie between 0 and 2^32 - 1"),
        (("--all", "A-1"), "--all and A-1 both say which experiments; give one of them"),
        (("A-1", "--seed", "x"), "--seed: invalid int value"),
        (("A-1", "--workers", 0), "--workers is 0, but it must be at least 1"),
        (("A-1", "--backend", "jax"), "backend is 'jax', but it must be one of numpy, cupy, auto"),
        (("--larg",), "unknown flag --larg; did you mean --large?"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(call, tmp_path, flags, sentence):
    code, out, err = call(*flags)
    assert code == 2 and sentence in err and out == "" and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_left_alone(call, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    code, _, err = call("B-5", "--out", "full")
    assert code == 2 and "already holds something" in err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["x"]

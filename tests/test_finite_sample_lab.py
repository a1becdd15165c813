"""The finite-sample experiments at small sizes, their verdicts, and the command that runs them."""

import csv
import json
from math import sqrt

import numpy as np
import pytest
from matplotlib.figure import Figure

from minizo import InputError, threads
from minizo.lab import runner
from minizo.lab.finite_sample import (
    bounds,
    inputs,
    lemmas,
    one_step,
    predictions,
    recovery,
    recurrence,
    shapes,
    teacher,
)
from minizo.lab.finite_sample.experiments import EXPERIMENTS
from minizo.lab.finite_sample.model import STES
from minizo.lab.runner import Experiment, Report, Setup
from minizo.lab.verdicts import Claim, at_most, close, describe, near, show

PROG = "python -m minizo.lab.finite_sample"
SETUP = Setup(np.empty(0, np.float32))

# what makes the experiments small: module, constant, value
SMALL = (
    (lemmas, "SAMPLES", 60_000),
    (lemmas, "DESCENT", 400),
    (one_step, "SIZES", (16, 32)),
    (one_step, "TRIALS", 300),
    (recovery, "SIZES", (16, 64)),
    (recovery, "SETS", 8),
    (bounds, "PROBLEMS", 24),
    (bounds, "STEPS", 400),
    (bounds, "DIMENSIONS", (4, 6, 8)),
    (bounds, "SAMPLES", 2000),
    (recurrence, "CELLS", ((8, 500), (16, 1000))),
    (recurrence, "STEPS", 1500),
    (recurrence, "RELU_CELL", (16, 1000)),
    (recurrence, "RELU_DRAWS", 8),
    (inputs, "SAMPLES", 1000),
    (inputs, "SETS", 6),
    (inputs, "CORRELATIONS", (0.0, 0.98)),
    (inputs, "MEANS", (0.0, 8.0)),
    (inputs, "STARTS", 200),
    (teacher, "STEPS", 20_000),
)
CLAIMS = {"B-1": 8, "B-2": 3, "B-3": 4, "B-4": 3, "B-5": 2, "B-6": 5, "B-7": 2, "B-8": 5, "B-9": 4}


@pytest.fixture
def small(monkeypatch):
    """Every experiment at its small size."""
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_claim_holds_and_every_control_fails(small, name):
    """All verdicts, a row for everything, a table, and a picture whose axes say what they are."""
    experiment = EXPERIMENTS[name]
    report = experiment.run(SETUP)
    assert len(report.claims) == CLAIMS[name]
    for claim in report.claims:
        assert claim.verdict == "holds", describe(claim)
        assert claim.control_distance > claim.bound
        # nothing of ours is put into the paper's mouth
        assert "this package" in claim.source or "Yin et al. 2019" in claim.source or (
            "reported of arXiv 2505.18113 by third parties" in claim.source
        )  # fmt: skip
    assert report.rows and len({tuple(row) for row in report.rows}) == 1
    assert report.table
    figure = experiment.picture(report, name)
    assert figure.get_suptitle() == name
    assert all(axes.get_ylabel() for axes in figure.axes)


def test_there_are_more_than_25_claims():
    assert list(EXPERIMENTS) == list(CLAIMS) and sum(CLAIMS.values()) >= 25


def test_the_same_bits_whatever_the_workers(small):
    """One, two and three threads; another seed gives other numbers."""
    for name in ("B-2", "B-5"):
        reports = []
        for workers in (1, 2, 3):
            with threads(workers) as pool:
                reports.append(EXPERIMENTS[name].run(Setup(SETUP.like, pool=pool)))
        assert reports[0].rows == reports[1].rows == reports[2].rows
        assert EXPERIMENTS[name].run(Setup(SETUP.like, seed=1)).rows != reports[0].rows


# Figures that the specification measured -------------------------------------------------------


def test_one_step_success_is_that_of_the_specification():
    """Half of the threshold: .40, .35, .27, .22 (60 trials each) within 4 of its standard errors.

    Negative control: the formula at a quarter of the threshold is not.
    """
    for n, measured in ((16, 0.40), (32, 0.35), (64, 0.27), (128, 0.22)):
        samples = round(0.5 * predictions.one_step_threshold(n, STES["identity"]))
        found = one_step.sampled(3, 1000, n, samples, STES["identity"], SETUP.like).mean()
        se = sqrt(measured * (1 - measured) / 60)
        assert abs(found - measured) < 4 * se
        fewer = predictions.one_step_probability(n, samples / 2, STES["identity"])
        assert abs(fewer - measured) > 3 * se


def test_half_points_are_those_of_the_specification():
    """N50 / n of the last iterate, equal start: 1.5 and 2.1 at n = 32, 64 (16 trials), within 15 %.

    Negative control: 128's 3.5 is not within 15 % of either.
    """
    for n, measured in ((32, 1.5), (64, 2.1)):
        grid, last, average = recovery.sweep(SETUP, n, "equal")
        grid = np.array(grid, float)
        found = recovery.half_point(grid, last.mean(axis=1)) / n
        assert found == pytest.approx(measured, rel=0.15)
        assert found != pytest.approx(3.5, rel=0.15)
        assert recovery.half_point(grid, average.mean(axis=1)) <= found * n
        assert np.all(average >= last)


def test_time_at_the_optimum_is_that_of_the_specification():
    """n = 16, N = 1000, sigma = .4: .668 in one run; ours within 6 s.e. of our mean over 16."""
    ste = STES["identity"]
    found = recurrence.occupancy(SETUP, ste, 16, 1000, (0.4,), 4, 6)
    home = found["home"].ravel()
    assert abs(home.mean() - 0.668) < 6 * home.std(ddof=1) / sqrt(home.size)
    assert abs(home.mean() - 0.812) > 3 * home.std(ddof=1) / sqrt(home.size)  # N = 4000's
    assert np.all(np.abs(found["escapes"] - found["returns"]) <= 1)
    assert found["average"].all()


def test_success_on_other_inputs_is_that_of_the_specification():
    """Raw, standardised, whitened: exponential 0, 1, 1; correlated .6, .6, 1 (10 seeds) +- .4."""
    for name, expected in (("exponential", (0, 1, 1)), ("correlated", (0.6, 0.6, 1))):
        for mending, share in zip(shapes.MENDINGS, expected, strict=True):
            found = inputs.success(SETUP, shapes.LAWS[name], shapes.MENDINGS[mending], (9, 9))
            assert found.mean() == pytest.approx(share, abs=0.05 if share in (0, 1) else 0.4)


# Exponents -------------------------------------------------------------------------------------


def test_exponents_and_their_intervals():
    """N50 = 3 n^1.7 in, 1.7 out; the bootstrap interval covers it 85 to 100 times of 100."""
    sizes = (32, 64, 128)
    assert recovery.slope(sizes, 3.0 * np.array(sizes) ** 1.7) == pytest.approx(1.7)
    grid = 2.0 ** np.arange(4, 16, 0.25)
    gen, covered = np.random.default_rng(0), 0
    for _ in range(100):
        sweeps = []
        for n in sizes:
            # every data set has a threshold of its own, log-normal around 3 n^1.7
            own = 3.0 * n**1.7 * np.exp(0.3 * gen.normal(size=16))
            sweeps.append((grid, (grid[:, None] >= own).astype(float)))
        low, high = recovery.interval(
            recovery.slope(sizes, recovery.bootstrap(sweeps, gen, resamples=300))
        )
        covered += low <= 1.7 <= high
        assert high - low < 1.0
    assert 85 <= covered <= 100


def test_half_point():
    """Between neighbours in log N, after a dip on the hull, and before the grid's beginning."""
    grid = np.array([10.0, 20.0, 40.0])
    assert recovery.half_point(grid, np.array([0.0, 0.5, 1.0])) == pytest.approx(20)
    assert recovery.half_point(grid, np.array([0.0, 0.0, 1.0])) == pytest.approx(20 * sqrt(2))
    assert recovery.half_point(grid, np.array([0.6, 0.4, 1.0])) < 20
    both = recovery.half_point(grid, np.array([[0.0, 0.5, 1.0], [0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(both, [20, 20 * sqrt(2)])


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


# The command -----------------------------------------------------------------------------------


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: call(*flags) -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*flags, table=EXPERIMENTS):
        try:
            code = runner.main(table, PROG, "What it does.", ["--quiet", *map(str, flags)])
        except SystemExit as stop:
            code = stop.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_the_command(small, call, tmp_path):
    """Two experiments: tables, claims, CSVs and pictures; --json has the claims."""
    code, out, err = call("b-5", "B-4", "--out", "a", "--workers", 1)
    assert code == 0 and err == ""
    assert out.index("B-4  bounds") < out.index("B-5  the largest") and "5 of 5 claims hold" in out
    assert "[holds] Time that a coordinate is wrong" in out and "rejected" in out
    folder = tmp_path / "a"
    assert sorted(path.name for path in folder.iterdir()) == [
        "B-4.csv", "B-4.png", "B-5.csv", "B-5.png", "claims.csv", "table.txt",
    ]  # fmt: skip
    assert (folder / "B-4.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "table.txt").read_text().strip() in out
    with open(folder / "claims.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["holds"] * 5
    code, out, _ = call("B-4", "B-5", "--json", "--workers", 2, "--out", "b")
    objects = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [o["distance"] for o in objects] == [float(r["distance"]) for r in rows]
    assert (folder / "B-5.csv").read_bytes() == (tmp_path / "b" / "B-5.csv").read_bytes()


def test_listing_runs_nothing(call, tmp_path):
    code, out, _ = call("--list")
    assert code == 0 and len(out.splitlines()) == 9 and "B-9" in out
    assert call("--list", "B-3")[1].startswith("B-3")
    assert not list(tmp_path.iterdir())


def test_a_claim_that_fails_is_shown_as_failed(call, tmp_path):
    """Exit code 1, everything written all the same; so does a control that passes too."""

    def table(value, control):
        def run(setup):
            claim = near("2 + 2 = 5", "this package", value, 5.0, 0.1, control, "2 + 2 = 6")
            return Report([claim], [{"x": 1}], "table", {})

        return {"X-1": Experiment("X-1", "sums", 1, run, lambda report, title: Figure())}

    for value, control, verdict in ((4.0, 6.0, "FAILS"), (5.0, 5.0, "control passes too")):
        code, out, _ = call("--out", verdict[:5], table=table(value, control))
        assert code == 1 and f"[{verdict}] 2 + 2 = 5" in out and "0 of 1 claims hold" in out
        assert (tmp_path / verdict[:5] / "claims.csv").exists()


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("B-10",), "experiment: unknown name 'B-10'; did you mean 'B-1'? (known: all, B-1,"),
        (("--seed", -1), "--seed is -1, but it must lie between 0 and 2^32 - 1"),
        (("--seed", "x"), "argument --seed: invalid int value"),
        (("--workers", 0), "--workers is 0, but it must be at least 1"),
        (("--backend", "jax"), "backend is 'jax', but it must be one of numpy, cupy, auto"),
        (("--larg",), "unrecognized arguments"),
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

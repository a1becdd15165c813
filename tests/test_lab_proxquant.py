"""ProxQuant's theory against numbers: every claim holds, every negative control fails."""

import csv
import json
from itertools import product
from math import inf

import numpy as np
import pytest

from minizo.lab import claims, convergence, lineage, proxquant
from minizo.lab.claims import Curve, Experiment, Finding, Panel

BY_NAME = {experiment.name: experiment for experiment in proxquant.EXPERIMENTS}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_claim_holds_and_its_control_does_not(name):
    """As the command runs it, seed 0; every finding names its source; curves are finite."""
    findings, panels = BY_NAME[name].run(0)
    assert [f.verdict for f in findings] == ["holds"] * len(findings)
    assert all(f.source.startswith("paper: ") or f.source.startswith("this package")
               for f in findings)  # fmt: skip
    curves = [curve for panel in panels for curve in panel.curves]
    assert any(curve.predicted for curve in curves)
    for curve in curves:
        assert len(curve.x) == len(curve.y) and np.all(np.isfinite(np.asarray(curve.y, float)))


@pytest.mark.parametrize("name", ["dual-averaging", "stationarity", "mirror", "parq", "disguise"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_seeds_and_the_same_bits(name, seed):
    """The claims are no accident of seed 0, and a seed gives the same bits again."""
    first, panels = BY_NAME[name].run(seed)
    assert [f.verdict for f in first] == ["holds"] * len(first)
    second, again = BY_NAME[name].run(seed)
    assert first == second
    for panel, other in zip(panels, again, strict=True):
        for curve, same in zip(panel.curves, other.curves, strict=True):
            np.testing.assert_array_equal(curve.y, same.y)


# Pieces, independently of the experiments


@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_smoothed_w(delta):
    """Slope by central differences (1e-6), even, and at most delta/2 from the kinked W."""
    x, h = np.linspace(-2.5, 2.5, 997), 1e-6
    slope = (convergence.w_value(x + h, delta) - convergence.w_value(x - h, delta)) / (2 * h)
    np.testing.assert_allclose(convergence.w_slope(x, delta), slope, atol=2e-5)
    kinked = np.abs(np.abs(x) - 1.0)
    gap = np.abs(convergence.w_value(x, delta) - kinked)
    assert np.max(gap) <= delta / 2 + 1e-12
    np.testing.assert_array_equal(convergence.w_value(-x, delta), convergence.w_value(x, delta))


@pytest.mark.parametrize("lam", [0.01, 0.05, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_prox_of_the_smoothed_w_is_global(delta, lam):
    """No point of a grid of width 5e-4 is better, for lam below and above delta; 1.2 lam is not."""
    x = np.append(np.linspace(-3, 3, 121), [0.0, 1e-12, -1e-12])
    grid = np.arange(-6.5, 6.5, 5e-4)

    def cost(u):
        return 0.5 * (u - x) ** 2 + lam * convergence.w_value(u, delta)

    least = np.min([cost(u) for u in grid], axis=0)
    u = convergence.w_prox(x, lam, delta)
    assert np.all(cost(u) <= least + 1e-12)
    assert np.all(u[x > 0] >= 0) and np.all(u[x < 0] <= 0)
    assert np.any(cost(convergence.w_prox(x, 1.2 * lam + 0.01, delta)) > least + 1e-6)
    # also with a strength for each row
    rows = convergence.w_prox(np.stack([x, x]), np.array([[lam], [2 * lam]]), delta)
    np.testing.assert_array_equal(rows[0], u)
    np.testing.assert_array_equal(rows[1], convergence.w_prox(x, 2 * lam, delta))


def test_orbit_by_hand():
    """lambda = 1/2, eta = 2/5: phi = +-1/8, theta = +-5/8, |F'| = 1/8, for ever."""
    eta = np.array([0.4])
    thetas = convergence.lazy_orbit(0.5, eta, 7, lambda x, lam: np.where(x >= 0, x + lam, x - lam))[
        :, 0
    ]
    np.testing.assert_allclose(thetas, [0.625, -0.625] * 3 + [0.625], atol=1e-14)
    assert convergence.slope_of_f(np.array([-0.625]), 0.5) == pytest.approx(0.125)


def test_the_slopes_of_the_landscapes():
    """grad L by central differences, and beta bounds its change."""
    problem, x = convergence.landscapes(5, count=4, d=3)
    direction, h = np.random.default_rng(0).normal(size=x.shape), 1e-6
    plain = problem._replace(lam=0.0)
    numeric = (plain.value(x + h * direction) - plain.value(x - h * direction)) / (2 * h)
    exact = np.sum(problem.slope(x) * direction, axis=-1)
    np.testing.assert_allclose(numeric, exact, rtol=1e-6)
    change = np.linalg.norm(problem.slope(x + direction) - problem.slope(x), axis=-1)
    assert np.all(change <= problem.beta[:, 0] * np.linalg.norm(direction, axis=-1))


def test_fixed_points_of_a_small_problem_by_hand():
    """d = 2, A = 0, b = (1, -1): only (-1, 1) is never left; each other sign after its drift."""
    every = np.array(list(product([-1.0, 1.0], repeat=2)))
    a, b = np.zeros((1, 2, 2)), np.array([[1.0, -1.0]])
    left = proxquant.departures(a, b, every, rate=0.03, steps=50, latent=0.1)
    assert left.tolist() == [[4, 0, 4, 4]]


def test_toy_paths():
    """The first steps of both methods on f_1 from 0.3, by hand."""
    binary, proximal = proxquant.toy_paths(1, 0.3, steps=4)
    np.testing.assert_array_equal(binary, [1, 1, 1, 1])
    np.testing.assert_allclose(proximal, [0.3, 0.25, 0.2005, 0.1515], atol=1e-12)
    for x in (-0.6, -0.4, 0.2):
        assert proxquant.toy_slope(1, x) == np.sign(abs(x + 0.5 + 1e-6) - abs(x + 0.5 - 1e-6))


def test_drawing_streams_are_apart():
    """Different experiments with one seed do not share their numbers."""
    a, b = proxquant.generator(0, 1), lineage.generator(0, 10)
    assert not np.array_equal(a.normal(size=4), b.normal(size=4))


# Findings and the command


@pytest.mark.parametrize(
    "relation, predicted, slack, good, bad, target",
    [
        ("=", 1.0, 0.1, 1.05, 1.2, "= 1 +- 0.1"),
        ("=", 0.0, 0.0, 0.0, 1e-300, "= 0"),
        ("<=", 18.0, 0.0, 18.0, 18.1, "<= 18"),
        ("<=", 0.0, 1e-12, 1e-12, 2e-12, "<= 1e-12"),
        (">=", 5.0, 1.0, 4.0, 3.9, ">= 4"),
        ("<=", 1.0, 0.0, -5.0, inf, "<= 1"),
        ("=", 1.0, 0.1, 1.0, float("nan"), "= 1 +- 0.1"),
    ],
)
def test_verdicts(relation, predicted, slack, good, bad, target):
    def verdict(measured, control):
        return Finding("c", "this package", predicted, measured, "x", control, relation, slack)

    assert verdict(good, bad).verdict == "holds" and verdict(good, bad).target == target
    assert verdict(bad, bad).verdict == "FAILS"
    assert verdict(good, good).verdict == "control passes too"


def test_command(tmp_path, capsys, monkeypatch):
    """--list runs nothing; a run prints and writes table, CSV, picture; --json prints no more."""
    monkeypatch.chdir(tmp_path)
    assert proxquant.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in BY_NAME) and list(tmp_path.iterdir()) == []
    assert proxquant.main(["toy", "mirror", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "FAILS" not in out and "ProxQuant section 2" in out and "folder: run" in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"table.txt", "toy.csv", "toy.png", "mirror.csv", "mirror.png"}
    assert (tmp_path / "run" / "toy.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "run" / "mirror.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"predicted", "measured"} and len(rows) > 1000
    assert proxquant.main(["stationarity", "--json", "--out", "json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["verdict"] for row in rows] == ["holds", "holds"]
    assert rows[0]["control_measured"] is None  # infinite


def test_a_claim_that_fails_is_shown_and_ends_with_code_1(tmp_path, capsys):
    def run(seed):
        found = Finding("the moon is green", "this package", 0.0, 1.0, "grey", 2.0)
        return [found], [Panel("p", "x", "y", [Curve("c", [0, 1], [1, 2])], "linear", "log")]

    false = Experiment("moon", "A false claim", 0, run)
    assert claims.main([false], "minizo.lab.moon", "d", ["--out", str(tmp_path / "run")]) == 1
    assert "FAILS" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["toi"], "unknown name 'toi'; did you mean 'toy'?"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(argv, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert proxquant.main(argv) == 2
    assert sentence in capsys.readouterr().err and list(tmp_path.iterdir()) == []

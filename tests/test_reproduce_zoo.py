"""The comparison of the zoo: two stages, resumable, and a table that says what was run."""

import csv

import numpy as np
import pytest
from conftest import blobs

from minizo import data, figures, quantizers, sweep
from minizo.compare import paired
from minizo.data.dataset import Dataset
from minizo.optim import Adam
from minizo.reproduce import command, zoo


@pytest.fixture
def small(monkeypatch):
    """Two methods with two rates each, on blobs of 14 x 14."""

    def load():
        train, test = blobs(200, 3, 196, 1), blobs(60, 3, 196, 2)
        images = [(x.reshape(-1, 1, 14, 14), y) for x, y in (train, test)]
        return Dataset("blobs", *images[0], *images[1], classes=3)

    rates = (Adam(0.001), Adam(0.02))
    methods = (
        zoo.Method("a", "STE", quantizers.Sign(), optimizers=rates),
        zoo.Method("b", "LSQ", quantizers.LSQ(), optimizers=rates),
    )
    monkeypatch.setattr(zoo, "small_mnist", load)
    monkeypatch.setattr(zoo, "METHODS", methods)
    monkeypatch.setattr(zoo, "CHANNELS", (2, 3))
    return methods


def test_the_best_of_the_tuning_seeds_is_reported_on_others(small, tmp_path, capsys, monkeypatch):
    """2 x 2 settings with 2 tuning seeds, 5 seeds of the better rate; nothing runs twice."""
    out = tmp_path / "out"
    arguments = ["--folder", str(tmp_path / "runs"), "--steps", "12", "--workers", "1", "--quiet"]
    arguments += ["--seeds", "5"]
    assert zoo.main([*arguments, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "STE" in shown and "12 steps of 50, 5 seeds" in shown
    assert len(list((tmp_path / "runs").glob("*.json"))) == 2 * 2 * 2 + 2 * 5
    with open(out / "zoo.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for method in ("STE", "LSQ"):
        *tuned, final = [row for row in rows if row["method"] == method]
        assert [int(row["seeds"]) for row in (*tuned, final)] == [2, 2, 5]
        best = min(tuned, key=lambda row: float(row["train_loss"]))
        assert final["setting"] == best["setting"] and final["setting"] in shown
    assert (out / "zoo.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "zoo.txt").read_text().strip() in shown
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert zoo.main(arguments) == 0


def row(method, loss, rate=0.01):
    return zoo.Row(method, Adam(rate), loss, [90.0] * len(loss))


def test_best_is_by_mean_loss_and_a_diverged_setting_never_wins(small):
    first, second = small
    ends = {(first, 0.1): [0.5, 0.5], (first, 0.2): [0.4, 0.5], (first, 0.3): [0.1, None]}
    ends |= {(second, 0.1): [None, None], (second, 0.2): [None, None]}

    def run(cases):
        losses = [ends[method, rate][seed % 2] for method, rate, seed in cases]
        return [
            {"error": "diverged"} if x is None
            else {"records": {"train_loss": [9.0, x], "test_accuracy": [0.1, 0.9]}}
            for x in losses
        ]  # fmt: skip

    grid = {first: (0.1, 0.2, 0.3), second: (0.1, 0.2)}
    tried, reported = command.tuned(run, grid, lambda *case: case, (10, 11), (0, 1, 2))
    assert list(tried) == list(ends) and {len(group) for group in tried.values()} == {2}
    assert list(reported) == [(first, 0.2), (second, 0.1)]
    assert [r["records"]["train_loss"][-1] for r in reported[first, 0.2]] == [0.4, 0.5, 0.4]
    chosen = zoo.summarise({(m, Adam(rate)): group for (m, rate), group in reported.items()})
    assert "diverged" in zoo.show(chosen, {first: 1.0, second: 2.0})
    figure = figures.zoo(chosen[:1], "title")
    assert len(figure.axes) == 2


def test_differences_are_paired_with_the_groups_first(small):
    first, other = small[0], zoo.Method("a", "other", quantizers.Sign())
    base = zoo.Row(first, Adam(0.1), [0.1] * 5, [90.0, 91.0, 92.0, 93.0, 94.0])
    ahead = zoo.Row(other, Adam(0.1), [0.1] * 5, [91.0, 92.1, 93.0, 93.9, 95.0])
    assert zoo.apart(base, base) == ""
    low, high = paired(ahead.accuracy, base.accuracy).interval
    assert zoo.apart(ahead, base) == f"+1.00 ({low:+.2f} .. {high:+.2f}) *"
    assert "*" not in zoo.apart(zoo.Row(other, Adam(0.1), [0.1] * 5, base.accuracy), base)


def test_every_method_can_be_tuned(toy):
    """Names are unique within a group, and every method has four settings."""
    names = [(method.group, method.name) for method in zoo.METHODS]
    assert len(set(names)) == len(names)
    assert {len(method.optimizers) for method in zoo.METHODS} == {4}
    cases = [zoo.case(m, own, 0, 600) for m in zoo.METHODS for own in m.optimizers]
    assert len({case.key(toy) for case in cases}) == 4 * len(names)


def test_the_data_are_averaged_to_half_the_size(monkeypatch):
    x = np.arange(2 * 28 * 28, dtype=np.float32).reshape(2, 1, 28, 28)
    labels = np.array([0, 1])
    monkeypatch.setattr(data, "mnist", lambda: Dataset("MNIST", x, labels, x, labels))
    small = zoo.small_mnist()
    assert small.x_train.shape == (2, 1, 14, 14) and small.x_train.dtype == np.float32
    assert small.x_train[0, 0, 0, 0] == np.mean([0, 1, 28, 29])

"""Counting flips, warm starts, and the comparison of ProxQuant with BinaryConnect, in small."""

import csv
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator, seeds

from minizo import (
    STE,
    Batch,
    BinaryConnect,
    Objective,
    ProxQuant,
    Step,
    backend,
    data,
    figures,
    fit,
    models,
    optim,
    quantizers,
    rng,
    sweep,
)
from minizo.data.dataset import Dataset
from minizo.lab.flips import CountFlips, level_change
from minizo.records import evaluate
from minizo.reproduce import proxquant, proxquant_report, zoo
from minizo.reproduce.proxquant import ModelCase, WarmCase
from minizo.reproduce.proxquant_report import with_rates
from minizo.reproduce.proxquant_setups import METHODS, SETUPS, only, strength


def objective_of(quantizer=None):
    net = models.mlp(12, 5, 3)
    return Objective(net, quantizer or quantizers.Sign()).calibrate(net.init(0))


# Flips


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, share=st.floats(0.0, 1.0))
def test_level_change_is_a_distance_in_0_1(seed, share):
    """SignChange by its formula, symmetric, 0 with itself, and the triangle inequality."""
    objective, gen = objective_of(), generator(seed)
    x, y, z = gen.normal(size=(3, objective.network.d)).astype(np.float32)
    y = np.where(gen.uniform(size=x.size) < share, y, x)
    weights = [objective.network.slices[name] for name in objective.quantized]

    def by_formula(a, b):
        a, b = (np.concatenate([np.where(v[w] >= 0, 1, -1) for w in weights]) for v in (a, b))
        return np.abs(a - b).sum() / (2 * a.size)

    assert level_change(objective, x, y) == pytest.approx(by_formula(x, y), abs=1e-6)
    assert level_change(objective, x, y) == level_change(objective, y, x)
    assert level_change(objective, x, x) == 0.0
    far = level_change(objective, x, z)
    assert far <= level_change(objective, x, y) + level_change(objective, y, z) + 1e-6
    assert 0.0 <= far <= 1.0


def test_level_change_counts_levels_and_no_biases():
    """One of 75 weights to another of 4 levels is 1/75; biases and moves within a level are 0."""
    objective = objective_of(quantizers.MidRise())
    net, alpha = objective.network, float(objective.scales["fc1.weight"][0])
    theta = np.full(net.d, 0.2 * alpha, np.float32)
    other = theta.copy()
    other[net.slices["fc1.bias"]] = -5.0
    other[1] = 0.9 * alpha
    assert level_change(objective, theta, other) == 0.0
    other[0] = 1.1 * alpha
    assert level_change(objective, theta, other) == pytest.approx(1 / 75)
    strict = pytest.importorskip("array_api_strict")
    moved = [strict.asarray(v) for v in (theta, other)]
    ours = Objective(net, quantizers.MidRise()).calibrate(strict.asarray(net.init(0)))
    assert float(level_change(ours, *moved)) == pytest.approx(1 / 75)


class Killed(BaseException):
    """Stands for `kill -9`."""


@pytest.mark.parametrize("rule", [ProxQuant(lam=0.1, freeze=0.5), BinaryConnect(), STE()],
                         ids=["ProxQuant", "BinaryConnect", "STE"])  # fmt: skip
def test_counting_changes_nothing_and_counts_every_step(toy, rule, tmp_path):
    """theta bit for bit that of the rule; flips by hand from every theta; a resumed run too."""
    objective = Objective(models.mlp(12, 5, 3), quantizers.Sign())
    options = {"steps": 20, "batch": 50, "seed": 1, "record_every": 1}
    optimizer, thetas = optim.Adam(0.05), []
    plain = fit(objective, toy, rule, optimizer, **options,
                watch={"x": lambda o, state: thetas.append(state.theta) or 0})  # fmt: skip
    watch = {"flips": lambda o, state: state.estimator.flips}
    counted = fit(objective, toy, CountFlips(rule), optimizer, **options, watch=watch)
    assert backend.sha256(counted.theta) == backend.sha256(plain.theta)
    assert CountFlips(rule).label == rule.label
    steps = [float(level_change(plain.objective, a, b)) for a, b in pairwise(thetas)]
    expected = np.concatenate([[0.0, 0.0], np.cumsum(steps)[:-1]])
    np.testing.assert_allclose(counted.records["flips"], expected, atol=1e-6)
    assert expected[-1] > 0

    def kill(step, loss):
        if step == 13:
            raise Killed

    options |= {"path": tmp_path / "run.npz", "checkpoint_every": 7, "watch": watch}
    with pytest.raises(Killed):
        fit(objective, toy, CountFlips(rule), optimizer, **options, progress=kill)
    resumed = fit(objective, toy, CountFlips(rule), optimizer, **options, resume=True)
    assert resumed.records["flips"] == counted.records["flips"]


def test_flip_rates_of_records():
    records = {"step": [0, 10, 30], "flips": [0.0, 0.5, 0.6], "test_accuracy": [0.1, 0.8, 0.95]}
    found = with_rates(records)
    assert found["flip_rate"][1:] == pytest.approx([0.05, 0.005]) and np.isnan(
        found["flip_rate"][0]
    )
    assert found["test_error"] == pytest.approx([90.0, 20.0, 5.0])


# Strengths


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_the_strengths_add_up_to_the_pull(schedule):
    """A pull of 1 brings every |x| <= 2 alpha to its level without a gradient; 0.9 does not."""
    optimizer, quantizer = optim.Adam(0.01, schedule), quantizers.Sign()
    x = np.array([-2.0, -1.3, -1.0, -0.2, 0.0, 0.5, 2.0])
    for pull, all_there in ((1.0, True), (0.9, False)):
        rule, u = ProxQuant("l1", strength(optimizer, pull, 60)), 0.5 * x
        for index in range(40):
            step = Step(index=index, total=60)
            u = rule.after(u, quantizer, 0.5, step, optimizer.rate(step.progress))
        there = np.abs(np.abs(u) - 0.5) < 1e-12
        assert np.all(there) == all_there


# Warm starts and the sweep


def warm_case(seed=0, **options):
    return sweep.Case(STE(), optim.Adam(0.02), seed, steps=20, batch=50, widths=(5,),
                      quantizer=quantizers.FullPrecision(), **options)  # fmt: skip


def test_a_warm_case_starts_where_the_other_ended(toy, tmp_path):
    """Its first record is that of the quantised warm start; SignChange starts at 0."""
    warm = warm_case()
    case = WarmCase(CountFlips(BinaryConnect()), optim.Adam(0.02), 0, steps=20, batch=50,
                    widths=(5,), warm=warm)  # fmt: skip
    end = warm.train(toy).theta
    run = case.train(toy, tmp_path / "case.npz")
    objective = Objective(models.mlp(12, 5, 3), quantizers.Sign()).calibrate(end)
    for name, scale in objective.scales.items():
        np.testing.assert_array_equal(run.objective.scales[name], scale)
    assert run.records["sign_change"][0] == run.records["flips"][0] == 0.0
    assert run.final("sign_change") == level_change(objective, end, run.theta)
    # kept beside the case, and read back by the next one
    assert (tmp_path / f"{warm.key(toy)}.npz").exists()
    assert case.key(toy) != replace(case, warm=warm_case(1)).key(toy)
    again = case.train(toy)
    assert backend.sha256(again.theta) == backend.sha256(run.theta)


@pytest.fixture
def images():
    """200 training and 60 test images of 8 x 8 in 3 classes."""
    parts = [(x.reshape(-1, 1, 8, 8), y) for x, y in (blobs(200, 3, 64, 1), blobs(60, 3, 64, 2))]
    return Dataset("small blobs", *parts[0], *parts[1], classes=3)


@pytest.mark.parametrize("model", ["lenet", "small-resnet"])
def test_running_statistics_fit_the_quantised_start(images, model):
    """The first record has the statistics of the quantised start, not those of the real one."""
    warm = ModelCase(STE(), optim.Adam(0.02), 0, steps=12, batch=50, model=model,
                     quantizer=quantizers.FullPrecision())  # fmt: skip
    end = warm.train(images)
    case = WarmCase(BinaryConnect(), optim.Adam(0.02), 0, 2, 50, model=model, warm=warm)
    run = case.train(images)
    net = run.objective.network
    objective = Objective(net, quantizers.Sign()).calibrate(end.theta)
    chosen = rng.at(0, "data", 0).host().permutation(200)[:50]
    batch = Batch(images.x_train[chosen], images.y_train[chosen])
    seen = objective.statistics(end.theta, batch)
    fitting, real, fresh = (
        evaluate(objective, end.theta, images.x_train, images.y_train, state)[0]
        for state in (seen, end.state, net.init_state(end.theta))
    )
    assert run.records["train_loss"][0] == fitting
    assert fitting not in (real, fresh)
    assert set(run.state) == set(net.running) != set()


def test_best_setting_is_of_least_mean_loss():
    def group(*values):
        return [{"records": {"train_loss": [9.0, v]}} for v in values]

    constant, linear = optim.Adam(0.1, "constant"), optim.Adam(0.2)
    table = {
        (constant, "a"): group(0.5, 0.7),
        (linear, "a"): group(0.5, 0.5),
        (constant, "b"): [{"error": "diverged"}, *group(0.0)],
    }
    assert proxquant_report.best(table) == (linear, "a")
    assert proxquant_report.best(table, "constant") == (constant, "a")
    assert proxquant_report.cells(table[constant, "b"]) == ["diverged", "-", "-"]


@pytest.fixture
def call(toy, tmp_path, monkeypatch, capsys):
    """Run the command on the toy data: call(*flags) -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "mnist", lambda: toy)

    def run(*flags):
        code = proxquant.main([*flags, "--workers", "1", "--quiet"])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_quick_command(call, tmp_path, monkeypatch):
    """Report, CSV and picture; every method; nothing is run twice."""
    flags = ("--quick", "--steps", "12", "--model", "mlp:hidden=5")
    code, out, _ = call(*flags)
    assert code == 0
    for method in METHODS:
        assert out.count(f"\n{method.name} ") == 2
    assert "constant rate" in out and "pull 30" in out and "falling rate" in out
    folder = tmp_path / "runs" / "proxquant-quick"
    assert (folder / "proxquant.txt").read_text() in out
    assert (folder / "proxquant.png").read_bytes().startswith(b"\x89PNG")
    with open(folder / "proxquant.csv") as file:
        rows = list(csv.DictReader(file))
    assert 4 * 2 * 2 + 4 <= len(rows) <= 4 * 2 * 2 + 8 and {row["schedule"] for row in rows} == {
        "constant",
        "linear",
    }
    records = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    # a warm start for the tuning seed and one for the reported; the grid; the best; the flips
    assert len(records) == 2 + len(rows) + 8
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert call(*flags) == (code, out, "")


@pytest.mark.parametrize(
    ("model", "stem"), [("lenet", "proxquant_lenet"), ("small-resnet", "proxquant_resnet")]
)
def test_convolutional_networks_are_tuned_on_a_seed_of_their_own(
    call, images, model, stem, tmp_path, monkeypatch
):
    """As many settings for every method with the tuning seed; the shown ones alone with both."""
    setup = replace(SETUPS[model], rates=(0.01,), methods=only(METHODS, slice(1)))
    monkeypatch.setitem(SETUPS, model, setup)
    monkeypatch.setattr(zoo, "small_mnist", lambda: images)
    code, out, _ = call("--model", model, "--seeds", "2", "--steps", "4")
    assert code == 0 and f"--model {model}" in out and "mlp" not in out
    assert "2 settings a method (Adam at 0.01, constant or linear, the method's own)" in out
    assert "small blobs" in out and setup.name in out
    folder = tmp_path / "runs" / stem
    assert (folder / f"{stem}.txt").read_text() in out
    assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    with open(folder / f"{stem}.csv") as file:
        rows = list(csv.DictReader(file))
    for method in setup.methods:
        seeds = {schedule: [] for schedule in proxquant.SCHEDULES}
        loss = {}
        for row in rows:
            if row["method"] == method.name:
                seeds[row["schedule"]].append(row["seed"])
                loss[row["schedule"], row["seed"]] = float(row["train_loss"])
        # the constant one is always shown, the falling one where it is the better in the tuning
        falls = loss["linear", "1000"] < loss["constant", "1000"]
        shown = ["1000", "0", "1"]
        assert seeds == {"constant": shown, "linear": shown if falls else ["1000"]}


def test_the_convolutional_networks(images):
    """LeNet and ResNet-8 for images of the data's size."""
    for model, layer in (("lenet", "conv2"), ("small-resnet", "block3")):
        net = ModelCase(STE(), model=model).network(images)
        assert layer in net.layers and net.input_shape == (1, 8, 8)
        assert net.running


def test_bad_numbers_are_refused(call):
    code, out, err = call("--quick", "--model", "mlp:hidden=0")
    assert code == 2 and out == "" and "hidden is (0,), but it must be" in err
    code, out, err = call("--model", "lenet:hidden=5")
    assert code == 2 and out == "" and "hidden=5 has no effect; leave it out, or choose mlp" in err
    for model in "mlp:hidden=5,5", "lenet:channels=3,4":
        code, out, err = call("--model", model)
        assert code == 2 and out == "" and "the comparison has the networks" in err


@pytest.mark.parametrize("model", SETUPS)
def test_methods_have_equally_many_settings(model):
    """Tuned alike: four variants each, or two, all of them rules."""
    for method in SETUPS[model].methods:
        assert len(method.variants) == (2 if model == "small-resnet" else 4)
        for make in method.variants.values():
            assert make(optim.Adam(0.01), 100).label.split()[0] in method.name


def test_picture_of_several_seeds():
    """One curve a label, with a band; the first record has no flip rate yet."""
    records = {"step": [0, 10, 20], "test_error": [50.0, 20.0, 10.0],
               "sign_change": [0.0, 0.1, 0.2], "flip_rate": [float("nan"), 1e-2, 1e-3]}  # fmt: skip
    more = records | {"test_error": [60.0, 30.0, 20.0]}
    figure = figures.flips([("a", records), ("a", more), ("b", records)], "title")
    assert len(figure.axes) == 3
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [55.0, 25.0, 15.0])

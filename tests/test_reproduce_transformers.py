"""FOGZO on transformers: tuned on some seeds, reported on others; slopes and directions."""

import csv

import numpy as np
import pytest
from strategies import small_network

from minizo import FOGZO, STE, Batch, Objective, Step, data, fit, fit_many, models, optim, sweep
from minizo import quantizers as q
from minizo.lab.slopes import CountNegativeSlopes, LengthAlone, slope_along
from minizo.reproduce import transformers as main
from minizo.reproduce import transformers_report as show
from minizo.reproduce import transformers_tasks as tasks
from minizo.reproduce import transformers_why as why


def drawn():
    return data.synthetic_text(context=8, n_train=300, n_test=20)


@pytest.fixture
def small(monkeypatch):
    """A LLaMA of one layer on a drawn text, and three methods."""
    task = tasks.Task("LLaMA, drawn", drawn, lambda found, width, layers: models.llama(
        found.classes, width=8, layers=1, heads=2, context=8), (0.001, 0.01))  # fmt: skip
    monkeypatch.setattr(tasks, "TASKS", {"llama": task})
    monkeypatch.setitem(main.FLAGS, "task", {"llama": "llama"})
    methods = {name: main.METHODS[name] for name in ("STE", "STE, same time", *show.BETAS[:2])}
    monkeypatch.setattr(main, "METHODS", methods)
    return methods


def test_tuned_on_some_seeds_and_reported_on_others(small, tmp_path, capsys, monkeypatch):
    """Rates by training loss on the tuning seeds; nothing runs twice; files hold what is shown."""
    folder, out = tmp_path / "runs", tmp_path / "out"
    arguments = ["--folder", folder, "--steps", 20, "--seeds", 5, "--workers", 1, "--out", out]
    arguments += ["--task", "llama", "--quantizer", "midrise", "--surrogate", "tanh"]
    arguments = list(map(str, arguments))
    assert main.main(arguments) == 0
    shown, said = capsys.readouterr()
    assert "LLaMA, drawn: at most 45 runs, some" in said and "seconds on 1 core; finished" in said
    assert len(list(folder.glob("*.json"))) == 5 * (2 * 2 + 5)
    assert "VERDICT. Mean loss of FOGZO, beta chosen over all cells:" in shown
    assert (out / "transformers_llama.txt").read_text().strip() in shown
    assert (out / "transformers_llama.png").read_bytes()[:4] == b"\x89PNG"
    with open(out / "transformers_llama.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 5 and {row["lr"] for row in rows} <= {"0.001", "0.01"}
    assert {row["forwards"] for row in rows if row["method"] == "STE, same time"} == {"36"}
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert main.main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr() == (shown, "")


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("--task", "lama"), "--task: unknown name 'lama'; did you mean 'llama'"),
        (("--quantizer", "2-bits"), "unknown name '2-bits' (known: lsq, midrise"),
        (("--surrogate", "hardtan"), "--surrogate: unknown name 'hardtan'"),
        (("--steps", "0"), "--steps is 0"),
        (("--quick", "--task", "llama"), "--task llama has no effect with --quick; leave it out"),
        (("--why", "--surrogate", "tanh"), "--surrogate tanh has no effect with --why"),
        (("--why", "--tuning-seeds", "2"), "--tuning-seeds 2 has no effect with --why"),
        (("--tuning-seeds", "0"), "--tuning-seeds is 0"),
    ],
)
def test_bad_input_is_one_sentence(small, capsys, tmp_path, flags, sentence):
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main.main([*flags, "--folder", str(tmp_path / "runs")]))
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and sentence in err and len(err.splitlines()) == 1


# What the reports say --------------------------------------------------------------------------


def result(losses, tuned=1.0, rate=0.01):
    columns = {"test_loss": [9.0], "train_loss": [9.0], "test_accuracy": [0.5]}
    records = [
        {"error": "diverged"} if x is None else {"records": {**columns, "test_loss": [9.0, x]}}
        for x in losses
    ]
    return main.Result(rate, tuned, records)


BASE = np.array([2.0, 2.1, 1.9, 2.05, 1.95])


def made_up(shift, second=0.0):
    """Two cells in which FOGZO is ``shift`` from the STE, and a full precision."""
    noise = np.array([0.01, -0.01, 0.02, 0.0, -0.02])
    first, other = ("llama", "2 bits", "tanh"), ("llama", "1 bit", "tanh")
    return {
        (first, "STE"): result(BASE),
        (first, show.BETAS[0]): result(BASE + shift + noise, tuned=2.0),
        (first, show.BETAS[1]): result(BASE + second + noise, tuned=3.0),
        (other, "STE"): result(BASE + 0.3),
        (other, show.BETAS[0]): result(BASE + 0.3 + shift - noise, tuned=2.0),
        (other, show.BETAS[1]): result(BASE + 0.3 + second - noise, tuned=1.0),
        (("llama", "", ""), None): result(BASE - 0.2),
    }


METHODS = ("STE", *show.BETAS[:2])


def test_the_chosen_beta_is_that_of_least_training_loss():
    """A beta a cell, by its loss on the tuning seeds, whatever the held-out loss."""
    found, methods = show.with_chosen(made_up(-0.5, second=0.5), METHODS)
    assert methods == (*METHODS, show.CHOSEN)
    first, other = show.cells_of(found)
    assert found[first, show.CHOSEN] is found[first, show.BETAS[0]]
    assert found[other, show.CHOSEN] is found[other, show.BETAS[1]]


@pytest.mark.parametrize(
    "shift, word", [(-0.1, "below"), (0.1, "above"), (0.001, "cannot be told from")]
)
def test_the_verdict_is_that_of_the_differences(shift, word):
    """Means over cells, seed by seed: the noise of one cell is taken back by the other."""
    found, methods = show.with_chosen(made_up(shift, shift), METHODS)
    difference, ahead, behind, cells = show.pooled(found, show.BETAS[0], "STE")
    np.testing.assert_allclose(difference.values, shift)
    assert (ahead, behind, cells) == (2 * (word == "below"), 2 * (word == "above"), 2)
    # the five means are equal, so the pooled interval is a point
    text = show.verdict(found, methods)
    assert word in text or shift == 0.001
    assert f"of {cells} cells" in text and f"{shift:+.3f}" in text
    words = show.comparison_text(made_up(shift, shift), METHODS, "title", (0.01,), 2)
    assert "Full precision at 0.01^: 1.800 +- 0.079" in words and "Published" in words


def test_a_verdict_needs_an_interval():
    """Of two seeds there is none, which is said, and not that nothing was found."""
    few = {row: main.Result(r.rate, r.tuned, r.records[:2]) for row, r in made_up(-0.1).items()}
    text = show.verdict(*show.with_chosen(few, METHODS))
    assert "no interval from 2 seeds; give at least 5 seeds" in text and "told" not in text


def test_rates_at_the_edge_are_marked():
    for rates, mark in (((0.001, 0.01), "0.01^"), ((0.01, 0.1), "0.01^"), ((0.001, 0.01, 1), "")):
        text = show.comparison_text(made_up(0.0), METHODS, "title", rates, 2)
        assert ("0.01^" in text) == bool(mark)


def test_a_diverged_seed_is_left_out_and_a_diverged_method_said():
    found = made_up(0.0)
    cell = show.cells_of(found)[0]
    found[cell, show.BETAS[0]] = result([None, *BASE[1:]])
    assert "diverged" in show.table(found, METHODS, (0.01,))
    difference, *_ = show.pooled(found, show.BETAS[0], "STE")
    assert len(difference.values) == 5  # of the other cell


# Slopes and directions -------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (3, 1)])
def test_the_slope_is_that_of_the_two_points(lead):
    """[F(theta + eps ghat) - F(theta - eps ghat)] / 2 over the quantised weights, row by row."""
    objective, theta, batch = small_network(dtype=np.float64)
    rule = FOGZO(perturb="quantized")
    state = rule.init(objective, theta)
    thetas = theta + 0.1 * np.random.default_rng(0).normal(size=(*lead, theta.size))
    ghat = rule.ghat(objective.ste_gradient(thetas, batch).gradient, state)
    slope = slope_along(objective, thetas, batch, state.eps, ghat)
    assert slope.shape == lead and ghat.shape == thetas.shape
    for index in np.ndindex(*lead):
        g = state.moved * objective.ste_gradient(thetas[index], batch).gradient
        v = state.eps * g / np.linalg.norm(g)
        above, below = (objective.evaluate(thetas[index] + s * v, batch) for s in (1, -1))
        assert slope[index] == pytest.approx(0.5 * (above - below), abs=1e-12)


class Backwards(q.MidRise):
    """A quantiser whose STE is wrong everywhere: the slope along it is never positive."""

    def backward(self, x, scale, dw):
        return -dw, {}


@pytest.mark.parametrize("quantizer, share", [(q.MidRise(bits=4), 0.0), (Backwards(bits=4), 1.0)])
def test_negative_slopes_are_counted(quantizer, share, toy):
    """None of 4-bit weights with small steps; all where the gradient has the wrong sign."""
    net = models.mlp(toy.x_train[0].size, 6, toy.classes)
    rule = CountNegativeSlopes(STE(), FOGZO(perturb="quantized", eps=0.5))
    options = {"steps": 12, "batch": 20, "record_every": 4, "watch": why.watching()}
    objective, optimizer = Objective(net, quantizer), optim.SGD(1e-6)
    run = fit(objective, toy, rule, optimizer, **options)
    assert run.records["negative"] == [share * step for step in run.records["step"]]
    plain = fit(objective, toy, STE(), optimizer, steps=12, batch=20, record_every=4)
    np.testing.assert_array_equal(run.theta, plain.theta)
    assert run.records["forwards"][-1] == 4 * plain.records["forwards"][-1]
    parts, whole = why.shares({"records": run.records})
    assert whole == share and list(parts) == [share] * 3


def test_slopes_are_counted_row_by_row(toy):
    """Seeds trained together have the counts of each alone."""
    net = models.mlp(toy.x_train[0].size, 6, toy.classes)
    rule = CountNegativeSlopes(STE(), FOGZO(perturb="quantized", eps=0.1))
    options = {"steps": 20, "batch": 10, "record_every": 5, "watch": why.watching()}
    objective, adam = Objective(net, q.Sign()), optim.Adam(0.05)
    assert rule.rowwise
    rows = fit_many(objective, toy, rule, [(adam, seed) for seed in range(4)], **options)
    for seed, row in enumerate(rows):
        alone = fit(objective, toy, rule, adam, seed=seed, **options)
        assert row.records["negative"] == alone.records["negative"]
    assert len({row.records["negative"][-1] for row in rows}) > 1


def test_length_alone_is_fogzo_without_its_sign():
    """Where the slope is positive both are equal; where it is negative they are opposite."""
    for quantizer, sign in ((q.MidRise("hardtanh", bits=4), 1.0), (Backwards(bits=4), -1.0)):
        objective, theta, batch = small_network(quantizer, dtype=np.float64)
        common = {"perturb": "quantized", "eps": 0.5}
        fogzo = FOGZO(beta=1.0, beta_schedule="constant", **common)
        alone = LengthAlone(**common)
        state = fogzo.init(objective, theta)
        ghat = fogzo.ghat(objective.ste_gradient(theta, batch).gradient, state)
        assert np.sign(slope_along(objective, theta, batch, state.eps, ghat)) == sign
        ours, theirs = (
            rule.estimate(objective, theta, batch, rule.init(objective, theta), Step())[0]
            for rule in (alone, fogzo)
        )
        for name, part in objective.network.slices.items():
            factor = sign if name in objective.quantized else 1.0
            np.testing.assert_allclose(ours.grad[part], factor * theirs.grad[part], rtol=1e-9)
        assert (ours.forwards, ours.backwards) == (3, 1)
        rows = np.stack([theta, 1.1 * theta])[:, None]
        many = alone.estimate(objective, rows, batch, alone.init(objective, rows), Step())[0]
        np.testing.assert_allclose(many.grad[0, 0], ours.grad, rtol=1e-9)


@pytest.mark.slow
def test_why_in_small(small, tmp_path, capsys, monkeypatch):
    """Both tables, a picture, a CSV; the cosine of the STE with itself as reference is 1."""
    monkeypatch.setattr(why, "AXES", {"bits": (1, 2), "batch": (2,)})
    monkeypatch.setattr(why, "POINTS", ((2, "tanh"),))
    monkeypatch.setattr(why, "DIRECTIONS", 4000)
    monkeypatch.setattr(why, "EARLY", 10)
    real, looked = why.look, []
    monkeypatch.setattr(why, "look", lambda *args: looked.append(args) or real(*args))
    arguments = ["--why", "--folder", tmp_path / "runs", "--steps", 20, "--seeds", 2, "--quiet"]
    assert main.main([*map(str, arguments), "--workers", "1", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "bits 1" in shown and "batch 2" in shown and "2 bits, tanh" in shown
    assert (tmp_path / "transformers_why.txt").read_text().strip() in shown
    assert (tmp_path / "transformers_why.png").read_bytes()[:4] == b"\x89PNG"
    with open(tmp_path / "transformers_why.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3 * 2
    assert len(looked) == 2  # early and at the end; again, they are there
    assert main.main([*map(str, arguments), "--workers", "1"]) == 0
    assert capsys.readouterr().out.split("files:")[0] == shown.split("files:")[0]
    assert len(looked) == 2


def test_tasks_make_their_networks():
    """The inner weights of all blocks are quantised, and nothing else; a step is possible."""
    text = drawn()
    images = data.synthetic_shapes(40, 10)
    for name, found in (("llama", text), ("vit-mnist", data.synthetic_digits(40, 10)),
                        ("vit-cifar", images)):  # fmt: skip
        own = main.case((name, "QuEST", "identity"), "STE", 0.01, 0, 3)
        objective = own.objective(found)
        assert len(objective.quantized) in (8, 10)
        assert all(weight.startswith("layers.") for weight in objective.quantized)
        theta = objective.network.init(0)
        batch = Batch(found.x_train[:4], found.y_train[:4])
        loss = objective.calibrate(theta).ste_gradient(theta, batch).loss
        assert abs(float(loss) - np.log(found.classes)) < 1.0


@pytest.mark.slow
def test_the_quick_form(tmp_path, capsys):
    """As a user starts it, in processes, only shorter."""
    arguments = ["--quick", "--steps", 12, "--folder", tmp_path, "--quiet"]
    assert main.main([*map(str, arguments)]) == 0
    shown = capsys.readouterr().out
    for word in ("2 BITS, IDENTITY", "FOGZO's length alone", "VERDICT", "negative", "progress"):
        assert word in shown
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "transformers_llama.png", "transformers_why.png",
    }  # fmt: skip

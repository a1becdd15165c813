"""ProxQuant and BinaryConnect on an LSTM: binary and ternary weights, texts, the verdict."""

import csv
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from strategies import generator

from minizo import (
    STE,
    BinaryConnect,
    Objective,
    ProxQuant,
    figures,
    models,
    optim,
    quantizers,
    sweep,
)
from minizo.compare import paired
from minizo.data import read_text
from minizo.lab.flips import CountFlips, level_change, levels_of
from minizo.reproduce import proxquant, proxquant_report
from minizo.reproduce.proxquant import ModelCase, WarmCase
from minizo.reproduce.proxquant_setups import BINARY, TERNARY, TEXT_METHODS

VERSE = "shall i compare thee to a summer's day?\nthou art more lovely and more temperate:\n" * 9
SIZES = ("--model", "lstm:width=4", "--context", "8", "--batch", "10", "--steps", "4", "--quick")


# Levels that move


@pytest.mark.parametrize(
    "quantizer",
    [quantizers.Ternary(), TERNARY, quantizers.TWN(per="filter"), quantizers.MultiBit()],
    ids=["ternary", "ternary rows", "TWN rows", "two bits"],
)
def test_a_fitted_level_that_moves_is_no_change(quantizer, on_strict):
    """A larger weight moves the levels of its row; what changes its place in them is counted."""
    net = models.mlp(12, 5, 3)
    theta = generator(3).normal(size=net.d)
    objective = Objective(net, quantizer).calibrate(theta)
    moved = theta.copy()
    largest = np.argmax(np.abs(theta[net.slices["fc1.weight"]]))
    moved[largest] *= 1.02
    before, after = (objective.quantize(v)["fc1.weight"] for v in (theta, moved))
    assert np.sum(before != after) > 1  # the levels are other ones
    assert level_change(objective, theta, moved) == 0.0

    turned = theta.copy()
    turned[largest] *= -1.0
    assert level_change(objective, theta, turned) >= 1 / 75
    ours, theirs = (on_strict(v) for v in (theta, turned))
    strict = Objective(net, quantizer).calibrate(on_strict(theta))
    found = level_change(strict, ours, theirs)
    assert float(found) == pytest.approx(level_change(objective, theta, turned))


def test_places_of_ternary_levels_are_their_signs():
    """0, 1, 2 in a row where the level is negative, 0, positive; binary ones are the weights."""
    net = models.mlp(12, 5, 3)
    theta = generator(4).normal(size=net.d)
    for quantizer in (quantizers.Ternary(), TERNARY):
        objective = Objective(net, quantizer).calibrate(theta)
        places, weights = levels_of(objective, theta), objective.quantize(theta)
        for name in objective.quantized:
            wanted = 1 + np.sign(weights[name])
            np.testing.assert_array_equal(places[name].reshape(wanted.shape), wanted)
    objective = Objective(net, BINARY).calibrate(theta)
    for name, places in levels_of(objective, theta).items():
        np.testing.assert_array_equal(places, objective.quantize(theta)[name])


# Cases on a text


@pytest.fixture
def folder(tmp_path):
    """A folder of words in two parts, as Penn Treebank's."""
    place = tmp_path / "bank"
    place.mkdir()
    (place / "ptb.train.txt").write_text(VERSE)
    (place / "ptb.valid.txt").write_text(VERSE[:400])
    return place


@pytest.mark.parametrize("model", ["lstm:width=4", "lstm:width=4,dropout=0.5",
                                   "llama:width=8,layers=1,heads=2"])  # fmt: skip
def test_any_language_model_is_a_case(folder, model):
    """The network is that of the name; the warm start is found again; every weight is quantised."""
    text = read_text(folder, context=6, level="words", words=20)
    warm = ModelCase(STE(), optim.Adam(0.02), 0, 6, 5, model=model, examples=10,
                     quantizer=quantizers.FullPrecision())  # fmt: skip
    end = warm.train(text)
    case = WarmCase(CountFlips(ProxQuant(lam=0.1)), optim.Adam(0.02), 0, 6, 5, model=model,
                    examples=10, quantizer=TERNARY, warm=warm, record_every=2)  # fmt: skip
    run = case.train(text)
    net = run.objective.network
    assert net.output_shape == (6, text.classes) and net.input_shape == (6,)
    assert run.objective.quantized == tuple(n for n in net.shapes if n.endswith(".weight"))
    assert run.records["sign_change"][0] == 0.0 < run.records["sign_change"][-1]
    assert run.final("sign_change") == level_change(run.objective, end.theta, run.theta)
    # the end of a run is frozen: as many levels as rows have
    rows = run.weights["head.weight"]
    assert all(len(np.unique(row)) <= 3 for row in rows) and len(np.unique(rows)) > 3
    assert run.final("test_loss") > 0
    assert case.key(text) != replace(case, examples=11).key(text)


def test_cases_together_are_the_cases_alone(folder):
    """Rows of one array, ternary rows of levels included, up to rounding."""
    text = read_text(folder, context=6, level="words", words=20)
    full = quantizers.FullPrecision()
    warm = [ModelCase(STE(), optim.Adam(0.02), seed, 4, 5, model="lstm:width=4", quantizer=full)
            for seed in (0, 1)]  # fmt: skip
    for quantizer, rule in ((TERNARY, ProxQuant("l2", 1.0)), (BINARY, BinaryConnect(clip=1.0))):
        cases = [WarmCase(rule, optim.Adam(0.02), start.seed, 6, 5, model=start.model, warm=start,
                          quantizer=quantizer) for start in warm]  # fmt: skip
        assert cases[0].alike() == cases[1].alike()
        together = sweep.train(cases, text)
        for case, joint in zip(cases, together, strict=True):
            alone = case.train(text)
            np.testing.assert_allclose(joint.theta, alone.theta, rtol=1e-4, atol=1e-5)
            assert joint.final("test_loss") == pytest.approx(alone.final("test_loss"), rel=1e-4)


# The command


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """call(*flags) -> (exit code, stdout, stderr), in a folder with verse.txt."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verse.txt").write_text(VERSE)

    def run(*flags):
        code = proxquant.main([*map(str, flags), "--workers", "1"])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_command_by_words(call, folder, tmp_path, monkeypatch):
    """Cost first, then tables, a verdict from the CSV's numbers, and a picture; nothing twice."""
    flags = (*SIZES, "--data", "bank", "--words", "20", "--seeds", "5")
    code, out, err = call(*flags)
    assert code == 0
    bound = re.match(r"at most (\d+) runs of 4 steps \((.*)\): some \d+ seconds on 1 core;", err)
    place = tmp_path / "runs" / "proxquant_lstm-quick"
    records = [json.loads(path.read_text()) for path in place.glob("*.json")]
    assert sum(int(n) for n in re.findall(r"\d+", bound[2])) == int(bound[1]) >= len(records)
    assert len(records) >= int(bound[1]) - 4 * 5  # the best with any schedule may be constant
    assert (place / "proxquant_lstm.txt").read_text() in out
    assert (place / "proxquant_lstm.png").read_bytes().startswith(b"\x89PNG")
    lines = out.splitlines()
    assert lines[0].startswith("bank: binary and ternary LSTM of 4 units from a full-precision")
    again = "--seeds 5 --steps 4 --warm 4 --model lstm:width=4 --batch 10 --data bank --context 8 "
    assert lines[1].endswith(f"{again}--words 20 --quick")
    assert "Penn Treebank" in out and "perplexity" in out

    with open(place / "proxquant_lstm.csv") as file:
        rows = list(csv.DictReader(file))
    tuned = [row for row in rows if row["seed"] == "1000"]
    assert len(tuned) == 4 * 4 and {row["method"] for row in tuned} == {
        method.name for method in TEXT_METHODS
    }
    said = " ".join(out.split())
    for ours, theirs in (("ProxQuant L1", "BinaryConnect"),
                         ("ProxQuant L2, ternary", "BinaryConnect, ternary")):  # fmt: skip
        losses = []
        for name in (ours, theirs):
            own = [row for row in tuned if row["method"] == name]
            best = min(own, key=lambda row: float(row["train_loss"]))
            shown = [row for row in rows if all(row[key] == best[key] for key in (
                "method", "lr", "schedule", "variant")) and row["seed"] != "1000"]  # fmt: skip
            assert [row["seed"] for row in shown] == list("01234")
            losses.append([float(row["test_loss"]) for row in shown])
        gap = paired(*losses)
        assert gap.verdict in ("lower", "higher", "not different")
        order = {"lower": ", as in the paper", "higher": ", unlike in the paper"}
        order = order.get(gap.verdict, "") if ours == "ProxQuant L1" else ""
        ends = proxquant_report.ENDS[gap.verdict]
        begins = f"With any schedule, {ours} {ends} {theirs}{order}: validation loss "
        assert begins in said
        mean, factor = re.match(
            r"([+-][\d.]+) .*?perplexity times ([\d.]+);", said.split(begins)[1]
        ).groups()
        assert float(mean) == pytest.approx(gap.mean, abs=1e-4)
        assert float(factor) == pytest.approx(math.exp(gap.mean), abs=1e-3)

    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert call(*flags, "--quiet") == (code, out, "")


def test_command_by_characters_and_on_a_drawn_language(call):
    code, out, _ = call(*SIZES, "--data", "verse.txt", "--quiet")
    assert code == 0 and out.startswith("verse.txt: ") and "(no interval from 1 seed)" in out
    perplexity = re.search(r"Full precision .* validation loss (\S+), perplexity (\S+)", out)
    assert float(perplexity[2]) == pytest.approx(math.exp(float(perplexity[1])), rel=1e-2)
    code, out, _ = call(*SIZES, "--data", "synthetic", "--steps", "3", "--folder", "drawn",
                        "--quiet")  # fmt: skip
    assert code == 0 and "best possible: 1." in out


@pytest.mark.parametrize(("flags", "sentence"), [
    (("--model", "lstm", "--data", "verse.txt", "--context", "900"), "context is 900, but the"),
    (("--model", "lstm", "--data", "verse.txt", "--context", "60"),
     "--batch is 16, but verse.txt has only"),
    (("--model", "lstm", "--data", "nowhere"), "text 'nowhere' is neither known"),
    (("--model", "lstm", "--data", ""), "text '' is neither known"),
    (("--model", "lstm", "--data", "verse.txt", "--words", "1"), "--words is 1, but it must be"),
    (("--model", "lstm", "--data", "verse.txt", "--context", "0"), "--context is 0, but it must"),
    (("--model", "lstm", "--data", "synthetic", "--words", "50"), "the drawn language has no word"),
    (("--model", "lstm:width=0", "--data", "verse.txt", "--batch", "4"), "width is 0, but it must"),
    (("--model", "lstm:hidden=5"), "hidden=5 has no effect"),
    (("--model", "lstm", "--data", "verse.txt", "--batch", "0"), "--batch is 0, but it must be"),
    (("--model", "lstm", "--data", "verse.txt", "--steps", "2"), "--steps is 2, but ProxQuant"),
    (("--words", "50"), "--words 50 has no effect with --model mlp:hidden=32"),
    (("--model", "lenet", "--data", "verse.txt"), "--data verse.txt has no effect with --model le"),
    (("--model", "small-resnet", "--context", "8"), "leave it out, or choose --model lstm"),
    (("--model", "llama"), "--model: unknown name 'llama'"),
    (("--model", "gru"), "--model: unknown name 'gru'"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(call, tmp_path, monkeypatch, flags, sentence):
    monkeypatch.setattr(sweep, "run", lambda *a: pytest.fail("trained"))
    code, out, err = call(*flags)
    assert code == 2 and out == "" and err.count("\n") == 1 and sentence in err
    assert {path.name for path in tmp_path.iterdir()} == {"verse.txt"}


# What the numbers say


def ends(*losses, change=0.1):
    return [
        {"error": "diverged"} if loss is None else
        {"records": {"train_loss": [loss], "test_loss": [loss], "sign_change": [change]}}
        for loss in losses
    ]  # fmt: skip


@pytest.mark.parametrize(("shift", "words"), [
    (-0.1, "With any schedule, ProxQuant L1 ends lower than BinaryConnect, as in the paper: "
           "validation loss -0.1000 (-0.1000 .. -0.1000), so perplexity times 0.905; SignChange "
           "-0.050 (-0.050 .. -0.050)."),
    (0.1, "ProxQuant L1 ends higher than BinaryConnect, unlike in the paper: validation loss"),
    (None, "With any schedule, ProxQuant L1 and BinaryConnect never both came to an end."),
])  # fmt: skip
def test_the_verdict_in_words(shift, words):
    """Each sentence from made-up ends of six seeds."""
    base = [2.0, 2.1, 2.2, 2.0, 2.1, 2.3]
    key = (optim.Adam(0.1, "constant"), "")
    mine = [None if shift is None else x + shift for x in base]
    table = {"BinaryConnect": {key: ends(*base, change=0.25)},
             "ProxQuant L1": {key: ends(*mine, change=0.2)}}  # fmt: skip
    chosen = dict.fromkeys([(m, s) for m in table for s in (None, "constant")], key)
    said = proxquant_report.verdict(table, chosen, TEXT_METHODS[:2], ("ProxQuant L1",))
    assert words in " ".join(said.split())
    assert all(len(line) <= 100 for line in said.splitlines())
    plain = proxquant_report.verdict(table, chosen, TEXT_METHODS[:2])
    assert "paper" not in plain


def test_an_interval_that_holds_zero_tells_nothing():
    key = (optim.Adam(0.1, "constant"), "")
    table = {"BinaryConnect": {key: ends(2.0, 2.1, 2.2, 2.0, 2.1, 2.3)},
             "ProxQuant L1": {key: ends(2.1, 2.0, 2.3, 1.9, 2.2, 2.2)}}  # fmt: skip
    chosen = dict.fromkeys([(m, s) for m in table for s in (None, "constant")], key)
    said = proxquant_report.verdict(table, chosen, TEXT_METHODS[:2], ("ProxQuant L1",))
    assert "ProxQuant L1 is not told from BinaryConnect: validation loss +0.0" in said


def test_ternary_methods_are_compared_with_the_ternary_one():
    """Levels, references and clips of the methods; latent weights reach the ternary levels."""
    against = {method.name: method.against for method in TEXT_METHODS}
    assert against["ProxQuant L1"] == against["BinaryConnect"] == "BinaryConnect"
    assert against["ProxQuant L2, ternary"] == "BinaryConnect, ternary"
    x = generator(5).normal(size=(4, 500))
    for method in TEXT_METHODS:
        assert method.quantizer == (TERNARY if "ternary" in method.name else BINARY)
        levels = method.quantizer.quantize(x, scale := method.quantizer.scale(x))
        for make in method.variants.values():
            rule = make(optim.Adam(0.01), 100)
            assert rule.clip is None or np.all(np.abs(levels) <= rule.clip * scale)


def test_picture_of_losses_leaves_out_the_start():
    """A linear axis begins after the first record; the others have it."""
    records = {"step": [0, 10, 20], "validation_loss": [9.0, 2.0, 1.9],
               "sign_change": [0.0, 0.1, 0.2], "flip_rate": [float("nan"), 1e-2, 1e-3]}  # fmt: skip
    measure = "validation_loss", "validation loss (nats)", "linear"
    figure = figures.flips([("a", records)], "title", measure, "levels")
    loss, change, _ = figure.axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [2.0, 1.9])
    np.testing.assert_allclose(change.lines[0].get_xdata(), [0, 10, 20])
    assert loss.get_ylabel() == "validation loss (nats)" and "levels" in change.get_ylabel()


@pytest.mark.gpu
def test_levels_that_move_on_a_card(cupy):
    """The same share as on the host."""
    net = models.mlp(12, 5, 3)
    pair = generator(6).normal(size=(2, net.d))
    objective = Objective(net, TERNARY)
    host = level_change(objective.calibrate(pair[0]), *pair)
    ours, theirs = (cupy.asarray(v) for v in pair)
    found = level_change(objective.calibrate(ours), ours, theirs)
    assert float(found) == pytest.approx(float(host)) and 0.2 < float(host) < 1.0

"""Comparisons of texts, and by held-out loss: what is paired, what it is called, what is chosen."""

import json
import math
import re

import numpy as np
import pytest
from test_compare import OPTIONS, rates

from minizo import SPSA, STE, InputError, NormalisedSTE, Objective, fit, losses, models, quantizers
from minizo.compare import case, compare, comparison, files, paired, text
from minizo.compare.command import main
from minizo.data import synthetic_text

VERSE = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n" * 9


@pytest.fixture(scope="module")
def letters():
    """60 + 20 sequences of 6 letters of the drawn language."""
    return synthetic_text(context=6, n_train=60, n_test=20)


def of_text(data, loss=None):
    """The loss of a tiny 2-bit LLaMA."""
    network = models.llama(data.classes, width=8, layers=1, heads=2, context=6)
    options = {} if loss is None else {"loss": loss}
    return Objective(network, quantizers.MidRise(), **options)


def test_a_text_is_judged_by_validation_loss_and_its_settings_chosen_by_training_loss(letters):
    """Every number equals that of `fit`, run by run; the least mean *training* loss is chosen."""
    objective, optimizers = of_text(letters), rates(0.003, 0.03)
    cases = [case(rule, objective, optimizers) for rule in (STE(), NormalisedSTE())]
    found = compare(cases, letters, seeds=5, tuning_seeds=2, **OPTIONS)

    def end(rule, optimizer, seed, column):
        run = fit(objective, letters, rule, optimizer, steps=12, batch=20, seed=seed,
                  record_every=3)  # fmt: skip
        return run.final(column)

    rows, ends = found.tables[0].rows, []
    for row, rule in zip(rows, (STE(), NormalisedSTE()), strict=True):
        means = [np.mean([end(rule, o, seed, "train_loss") for seed in found.tuning_seeds])
                 for o in optimizers]  # fmt: skip
        np.testing.assert_allclose([mean for _, mean in row.tuning], means, rtol=1e-5)
        assert row.chosen.optimizer == optimizers[int(np.argmin(means))]
        ends.append([end(rule, row.chosen.optimizer, seed, "test_loss") for seed in found.seeds])
        np.testing.assert_allclose(row.ends("test_loss"), ends[-1], rtol=1e-5)
        assert row.loss.mean == pytest.approx(np.mean(ends[-1]), rel=1e-5)
    gaps = np.subtract(ends[1], ends[0])
    np.testing.assert_allclose(rows[1].difference.values, gaps, atol=1e-5)
    assert rows[1].difference == paired(rows[1].ends("test_loss"), rows[0].ends("test_loss"))


def test_held_out_loss_does_not_choose(points, objective, monkeypatch):
    """A test loss that would choose the other rate changes nothing."""
    real, picked = comparison.mean_loss, []

    def upside_down(outcomes):
        for one in outcomes:
            one["records"]["test_loss"] = [-loss for loss in one["records"]["train_loss"]]
        return real(outcomes)

    for replaced in (real, upside_down):
        monkeypatch.setattr(comparison, "mean_loss", replaced)
        found = compare([case(STE(), objective, rates(0.001, 0.1))], points, measure="test_loss",
                        seeds=5, tuning_seeds=2, **OPTIONS)  # fmt: skip
        picked.append(found.tables[0].rows[0].chosen.words)
    assert picked[0] == picked[1]


def test_the_measure_changes_what_is_told_and_no_run(points, objective):
    cases = [case(rule, objective, rates(0.03)) for rule in (STE(), SPSA())]
    options = {"seeds": 5, "tuning_seeds": 1, **OPTIONS}
    plain, held_out = (
        compare(cases, points, measure=measure, **options) for measure in (None, "test_loss")
    )
    for one, other in zip(plain.tables[0].rows, held_out.tables[0].rows, strict=True):
        columns = ("train_loss", "test_loss", "test_accuracy")
        assert [one.ends(c) for c in columns] == [other.ends(c) for c in columns]
    rows = held_out.tables[0].rows
    ours, theirs = (np.array(row.ends("test_loss")) for row in (rows[1], rows[0]))
    np.testing.assert_array_equal(rows[1].difference.values, ours - theirs)
    assert rows[1].difference != plain.tables[0].rows[1].difference
    said = str(plain), str(held_out)
    assert "training loss  " in said[0] and "test loss" not in said[0]
    assert "test loss   " in said[1] and "Cases are judged by test loss." in said[1]
    assert all("test accuracy" in one for one in said)
    with pytest.raises(InputError, match="measure: unknown name 'loss'; did you mean"):
        compare(cases, points, measure="loss", **options)


def test_perplexity_is_that_of_the_loss_and_its_ratio_that_of_the_difference(letters):
    cases = [case(rule, of_text(letters), rates(0.03)) for rule in (STE(), SPSA())]
    for measure in ("test_loss", "train_loss"):
        found = compare(cases, letters, measure=measure, seeds=6, tuning_seeds=1, **OPTIONS)
        first, second = found.tables[0].rows
        ours, theirs = (np.array(row.ends("test_loss")) for row in (second, first))
        gap = paired(ours.tolist(), theirs.tolist())
        low, high = (math.exp(x) for x in gap.interval)
        report = text(found)
        assert f"{math.exp((ours - theirs).mean()):.3f} ({low:.3f} .. {high:.3f})" in report
        assert f"{np.exp(ours).mean():.2f} +- {np.exp(ours).std(ddof=1):.2f}" in report
        name = {"test_loss": "validation loss", "train_loss": "training loss"}[measure]
        assert report.splitlines()[2].startswith(f"{name}  ") and "accuracy" not in report


def test_a_loss_without_a_perplexity_has_an_accuracy(letters):
    """exp(mean squared error) means nothing."""
    own = case(STE(), of_text(letters, losses.MeanSquaredError()), rates(0.03))
    report = text(compare([own], letters, seeds=5, tuning_seeds=1, **OPTIONS))
    assert "test accuracy" in report and "perplexity" not in report


def test_a_loss_beyond_all_numbers_is_a_diverged_one(letters):
    """A held-out loss that overflows where the training loss does not; and a huge perplexity."""
    cases = [case(rule, of_text(letters), rates(0.03)) for rule in (STE(), SPSA(), SPSA(n=2))]
    found = compare(cases, letters, seeds=5, tuning_seeds=1, **OPTIONS)
    first, second, third = found.tables[0].rows
    second.outcomes[2]["records"]["test_loss"][-1] = math.inf
    for end in third.outcomes:
        end["records"]["test_loss"][-1] = 800.0
    table = comparison.judged((first, second, third), "STE")
    assert table[1].loss.diverged == 1 and table[1].difference.left_out == 1
    report = text(comparison.replace(found, tables=(
        comparison.replace(found.tables[0], rows=table),
    )))  # fmt: skip
    assert "1 of 5 seeds diverged" in report
    assert re.search(r"n-SPSA n=2 .* inf  +inf \(inf \.\. inf\)", report)


def test_files_hold_the_measure(letters, tmp_path):
    cases = [case(rule, of_text(letters), rates(0.03)) for rule in (STE(), SPSA())]
    found = compare(cases, letters, seeds=5, tuning_seeds=1, **OPTIONS)
    files.write(tmp_path, found)
    kept = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    (table,) = kept["tables"]
    assert table["measure"] == "test_loss"
    assert table["cases"][1]["difference"].keys() == {"test_loss"}
    assert table["cases"][0]["spread"]["test_loss"]["mean"] == found.tables[0].rows[0].loss.mean
    page = (tmp_path / "report.html").read_text()
    assert "<th>validation loss</th>" in page and "<th>perplexity</th>" in page
    assert "training loss</th>" not in page and 'alt="Final validation loss' in page


SMALL = ("--model", "llama:width=8,layers=1,heads=2", "--steps", 6, "--batch", 10, "--quiet",
         "--seeds", 5, "--tuning-seeds", 1, "--workers", 1)  # fmt: skip


@pytest.fixture
def call(command, tmp_path):
    """call(*flags) -> (exit code, stdout, stderr) of a short comparison on a small text."""
    (tmp_path / "verse.txt").write_text(VERSE)
    return lambda *flags: command(main, "--data", "verse.txt", *SMALL, *flags)


def test_the_command_compares_on_a_text(call, tmp_path):
    """And goes on, with another measure too; the sequences have 8 letters."""
    flags = ("--context", 8, "--quantize", "layers.*", "--lr", ".01,.03")
    rules = ("--estimator", "ste", "fogzo:n=1,perturb=quantized")
    code, out, err = call(*flags, *rules, "--out", "run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "verse.txt: 2-bit midrise llama (layers.*), 6 steps of 10, adam, 5 seeds"
    assert lines[4].startswith("validation loss") and "perplexity" in out
    assert "tuning, training loss (seed 1000), * chosen" in out
    kept = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert kept["context"] == 8 and "measure" not in kept
    code, out, _ = call("--resume", "run", "--measure", "train_loss")
    assert code == 0 and out.splitlines()[4].startswith("training loss")
    code, _, err = call("--resume", "run", "--context", 9)
    assert code == 2 and "--context 9 differs from the run in run" in err


def test_words_and_the_usual_context(call, tmp_path):
    code, out, _ = call("--words", 20, "--context", 4, "--estimator", "ste", "spsa", "--lr", ".01")
    assert code == 0 and "validation loss" in out
    code, _, err = call("--estimator", "ste", "--lr", ".01", "--out", "run")
    assert (code, err) == (0, "")
    kept = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert kept["context"] == 64


def test_a_loss_of_0_is_drawn_and_told(call, tmp_path):
    """A text of one character: no warning, no division by 0; the cases are not different."""
    (tmp_path / "a.txt").write_text("a" * 400)
    flags = ("--data", "a.txt", "--context", 4, "--estimator", "ste", "normalised-ste")
    code, out, err = call(*flags, "--lr", ".01", "--out", "run")
    assert (code, err) == (0, "") and "not different" in out and "1.000 (1.000 .. 1.000)" in out
    assert (tmp_path / "run" / "comparison-steps.png").stat().st_size > 10_000


OWN = """
from minizo import models

def both(vocabulary=None, context=None, input_shape=None, classes=None):
    if vocabulary is None:
        return models.mlp(784, 5, classes, input_shape=input_shape)
    return models.llama(vocabulary, width=8, layers=1, heads=2, context=context)
"""


def test_a_model_of_the_users_own_is_trained_on_what_the_flags_say(call, tmp_path):
    (tmp_path / "own_models.py").write_text(OWN)
    flags = ("--model", "own_models.py:both", "--estimator", "ste", "--lr", ".01")
    assert "validation loss" in call(*flags, "--context", 8)[1]
    assert "training loss" in call(*flags, "--data", "synthetic")[1]


BAD = [
    (("--data", "mnist"), "--data mnist holds images, but --model llama takes text; choose tinysh"),
    (("--standardize",), "--standardize has no effect with a text"),
    (("--augment", "crop-flip"), "--augment crop-flip has no effect with a text"),
    (("--context", 900), "context is 900, but the validation part of verse.txt has 72"),
    (
        ("--model", "mlp"),
        "--model mlp does not take verse.txt, which holds text; choose llama | ls",
    ),
    (
        ("--model", "mlp", "--data", "synthetic", "--context", 5),
        "--context 5 has no effect with --model mlp, which takes",
    ),
    (
        ("--model", "vit", "--data", "synthetic", "--words", 5),
        "leave it out, or choose llama | lstm",
    ),
    (("--measure", "loss"), "--measure: unknown name 'loss'; did you mean 'test_loss'"),
    (("--data", "synthetic", "--words", 5), "--words 5 has no effect with --data synthetic"),
    (("--activation", "sign"), "--activation sign has no effect with --model llama"),
    (("--sample", "Thou"), "unknown flag --sample"),
]


@pytest.mark.parametrize("flags, sentence", BAD, ids=[str(flags) for flags, _ in BAD])
def test_bad_input_is_one_sentence_and_nothing_is_written(call, tmp_path, flags, sentence):
    code, out, err = call(*flags)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and sentence in err, err
    assert [path.name for path in tmp_path.iterdir()] == ["verse.txt"]

"""`python -m minizo.compare`: cases from flags, rules from files, a folder with everything."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import kill_once_there

from minizo.commands.settings import DEFAULTS
from minizo.commands.sources import settled
from minizo.compare.combinations import cases
from minizo.compare.command import OWN, main
from minizo.data import synthetic_digits

RULE = """
from dataclasses import dataclass
from minizo import STE

@dataclass(frozen=True)
class Half(STE):
    n: int = 2
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        return estimate._replace(grad=estimate.grad / self.n), state


class InPlace(STE):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        theta -= 0.01 * estimate.grad
        return estimate, state


class Free(STE):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        return estimate._replace(forwards=0, backwards=0), state


class Mixed(STE):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        return estimate._replace(grad=estimate.grad / abs(estimate.grad).max()), state


class Forgetful(STE):
    rowwise = True
    calls = []

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        self.calls.append(1)
        return estimate._replace(grad=estimate.grad / len(self.calls)), state


class Nothing:
    pass


class Late(STE):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        if step.index == 3:
            raise ValueError("too late")
        return super().estimate(objective, theta, batch, state, step)


class Leaves(STE):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        if step.index == 3:
            raise SystemExit(0)
        return super().estimate(objective, theta, batch, state, step)


class Talks(STE):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        if step.index == 8:
            print("later")
        return super().estimate(objective, theta, batch, state, step)


class Plain(STE):
    rowwise = True

    def __init__(self, h=0.1):
        self.h = h


from minizo import layers, models, network


class Twice(layers.Layer):
    def output_shape(self, shape):
        return shape

    def forward(self, params, x, reduce=None):
        return 2.0 * x, None

    def backward(self, params, cache, dy, wanted=True, reduce=None):
        return 1.9 * dy, {}


def with_twice(input_shape, classes, activation="relu"):
    net = models.mlp(64, 5, classes, input_shape=input_shape)
    return network.Network({**net.layers, "twice": Twice()}, input_shape)


class Global(STE):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        import numpy as np

        np.random.seed(0)
        return super().estimate(objective, theta, batch, state, step)
"""


@pytest.fixture
def compare(corners, command, tmp_path):
    """compare(*flags) -> (exit code, stdout, stderr) of a short comparison on small images."""
    (tmp_path / "rules_of_mine.py").write_text(RULE)
    sys.modules.pop("rules_of_mine", None)

    def run(*flags, seeds=("--seeds", 5), steps=12):
        own = ("--data", corners, "--steps", steps, "--batch", 30, "--quiet", *seeds,
               "--tuning-seeds", 2, "--workers", 1)  # fmt: skip
        return command(main, *own, *flags)

    return run


def labels(*flags):
    """label -> words of its candidates, for these flags, on a few images."""
    given = {}
    for flag in flags:
        name, _, value = flag.partition("=")
        given.setdefault(name, []).append(value)
    defaults = {name: v for name, v in (DEFAULTS | OWN).items() if v is not None}
    settings = settled(defaults, given)
    data = synthetic_digits(20, 10)
    return {c.label: [one.words for one in c.candidates] for c in cases(settings, data)}


def test_the_command_leaves_a_folder_with_everything(compare, tmp_path):
    flags = ("--estimator", "ste", "--estimator", "fogzo:n=2", "--lr", ".01,.1", "--out", "run")
    code, out, err = compare(*flags)
    assert code == 0 and err == ""
    folder = tmp_path / "run"
    made = {path.name for path in folder.iterdir()}
    assert made == {"settings.json", "table.txt", "comparison-steps.png", "report.html",
                    "results.json", "runs.csv", "curves.csv", "runs"}  # fmt: skip
    text = (folder / "table.txt").read_text()
    assert text.strip() in out and "minus STE" in out and "tuning (seeds 1000 .. 1001)" in out
    found = json.loads((folder / "results.json").read_text())
    (table,) = found["tables"]
    assert [case["label"] for case in table["cases"]] == ["STE", "FOGZO n=2"]
    assert found["settings"]["command"] == "minizo.compare" and found["numpy"] == np.__version__
    gap = np.subtract(table["cases"][1]["train_loss"], table["cases"][0]["train_loss"])
    assert abs(gap.mean() - table["cases"][1]["difference"]["train_loss"]["mean"]) < 1e-12


class Page(HTMLParser):
    """Counts what a page has, and what it loads from elsewhere."""

    def __init__(self):
        super().__init__()
        self.tags, self.loads = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [v for n, v in attributes if n in ("src", "href") and v[:5] != "data:"]


def test_the_page_is_self_contained_and_escapes_what_it_is_told(compare, tmp_path):
    code, _, _ = compare(
        "--estimator", "ste", "spsa", "--equal", "steps", "compute", "--out", "<b>"
    )
    assert code == 0
    page = Page()
    page.feed((tmp_path / "<b>" / "report.html").read_text())
    assert page.loads == [] and page.tags.count("img") == 2 and page.tags.count("table") == 4
    assert "b" not in page.tags


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_with_the_same_bits(compare, corners, tmp_path):
    flags = ["--estimator", "ste", "rules_of_mine.py:Half", "--lr", ".01", ".1"]
    code, out, _ = compare(*flags, "--out", "whole", steps=80)
    assert code == 0
    for place in ("0-0-80-tuning.json", "1-0-80-tuning.json", "1-0-80-report.json"):
        cut = tmp_path / f"cut-{place}"
        process = subprocess.Popen(
            [sys.executable, "-m", "minizo.compare", "--data", str(corners), "--batch", "30",
             "--quiet", "--seeds", "5", "--tuning-seeds", "2", "--workers", "1", *flags,
             "--steps", "80", "--out", str(cut)], cwd=tmp_path, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        kill_once_there(process, cut / "runs" / place)
        process.wait()
        assert compare("--resume", cut, steps=80)[0] == 0
        results = [json.loads((f / "results.json").read_text()) for f in (tmp_path / "whole", cut)]
        ours, theirs = ([c["train_loss"] for c in r["tables"][0]["cases"]] for r in results)
        assert ours == theirs


def test_json_prints_one_object_a_case(compare):
    code, out, _ = compare("--estimator", "ste", "fogzo", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["label"] for row in rows] == ["STE", "FOGZO n=1"]
    assert all(len(row["train_loss"]) == 5 and row["equal"] == "steps" for row in rows)


def test_what_a_rule_prints_is_not_among_the_results(compare):
    code, out, err = compare("--estimator", "ste", "rules_of_mine.py:Talks", "--json")
    assert code == 0 and len([json.loads(line) for line in out.splitlines()]) == 2
    assert set(err.split()) == {"later"}


def test_a_class_with_an_init_of_its_own_is_answered(compare):
    """Its settings would be forgotten by a checkpoint, which the sentence says."""
    code, _, err = compare("--estimator", "ste", "rules_of_mine.py:Plain,h=.2")
    assert code == 2 and "Plain" in err and "h" in err and len(err.splitlines()) == 1


def test_a_reference_may_be_another_when_it_goes_on(compare, tmp_path):
    flags = ("--estimator", "ste", "spsa:n=2", "--lr", ".01")
    assert compare(*flags, "--out", "run")[0] == 0
    code, out, _ = compare("--resume", "run", "--reference", "spsa:n=2")
    assert code == 0 and "minus n-SPSA n=2" in out


def test_cases_are_all_combinations_of_what_is_not_tuned():
    found = labels("estimator=ste", "estimator=fogzo", "quantizer=sign", "quantizer=midrise",
                   "lr=.1", "lr=.2")  # fmt: skip
    assert list(found) == ["STE, sign", "FOGZO n=1, sign", "STE, midrise", "FOGZO n=1, midrise"]
    assert set(map(tuple, found.values())) == {("adam, lr 0.1", "adam, lr 0.2")}


def test_anything_can_be_tuned():
    flags = ("estimator=ste", "optimizer=adam", "optimizer=sgd", "lr=.1", "lr=.2")
    assert list(labels(*flags)) == ["STE, adam", "STE, sgd"]
    found = labels(*flags, "tune=lr", "tune=optimizer")
    assert found == {"STE": ["adam, lr 0.1", "adam, lr 0.2", "sgd, lr 0.1", "sgd, lr 0.2"]}
    found = labels("estimator=fogzo:beta=.9", "estimator=fogzo:beta=.99", "lr=.1",
                   "init_scale=.5", "init_scale=1", "tune=beta", "tune=init-scale")  # fmt: skip
    assert found == {"FOGZO n=1": ["adam, beta 0.9, init_scale 0.5", "adam, beta 0.9, init_scale 1",
                                   "adam, beta 0.99, init_scale 0.5",
                                   "adam, beta 0.99, init_scale 1"]}  # fmt: skip
    found = labels("estimator=fogzo:n=1", "estimator=fogzo:n=10", "lr=.1", "tune=n")
    assert found == {"fogzo": ["adam, n 1", "adam, n 10"]}  # and not FOGZO n=1
    found = labels("estimator=fogzo:eps=.1", "estimator=fogzo:eps=.2", "lr=.1", "tune=eps")
    assert found == {"FOGZO n=1": ["adam, fogzo's eps 0.1, adam's eps 1e-08",
                                   "adam, fogzo's eps 0.2, adam's eps 1e-08"]}  # fmt: skip
    found = labels("estimator=ste", "quantizer=midrise:alpha_scale=1",
                   "quantizer=midrise:alpha_scale=2", "lr=.1", "tune=alpha_scale")  # fmt: skip
    assert found == {"STE": ["adam, alpha_scale 1", "adam, alpha_scale 2"]}


def test_initial_scales_are_cases_where_they_are_not_tuned():
    found = labels("estimator=ste", "init_scale=.5", "init_scale=2", "lr=.1")
    assert list(found) == ["STE, init scale 0.5", "STE, init scale 2"]


WRONG = {
    "reference": (["--reference", "FOGZO"], "--reference 'FOGZO' is not among the cases"),
    "twice": (["--estimator", "ste", "ste"], "--estimator ste is there twice"),
    "twice in words": (["--estimator", "fogzo", "fogzo:n=1"], "fogzo:n=1 is there twice"),
    "tune": (["--tune", "learning"], "--tune learning: there is no such setting"),
    "one value": (["--tune", "quantizer"], "--tune quantizer has no effect: all cases have the"),
    "late": (["--estimator", "ste", "rules_of_mine.py:Late"],
             "rules_of_mine.py: line \\d+: ValueError: too late"),
    "leaves": (["--estimator", "ste", "rules_of_mine.py:Leaves"], "line \\d+: SystemExit: 0"),
    "equal": (["--equal", "stesp"], "did you mean 'steps'"),
    "seeds": (["--seeds", "1001"], "seed 1000 is a tuning seed and a reported one"),
    "pretraining": (["--start", "pretrain:steps=5"], "unknown flag --start"),
    "batch": (["--batch=301"], "batch is 301, but there are only 300 examples"),
    "all diverge": (["--estimator", "ste", "--optimizer", "sgd", "--lr", "1e30"],
                    "the reference 'STE' diverged with every seed"),
    "in place": (["--estimator", "ste", "rules_of_mine.py:InPlace"], "InPlace.*theta"),
    "free": (["--estimator", "ste", "rules_of_mine.py:Free"], "Free.*forward"),
    "mixed": (["--estimator", "ste", "rules_of_mine.py:Mixed"], "Mixed.*rowwise = False"),
    "forgetful": (["--estimator", "ste", "rules_of_mine.py:Forgetful"], "Forgetful"),
    "global": (["--estimator", "ste", "rules_of_mine.py:Global"], "Global.*random"),
    "layer": (["--model", "rules_of_mine.py:with_twice"], "Twice.*wrong by 5"),
    "lacking": (["--estimator", "ste", "rules_of_mine.py:Nothing"], "Nothing.* no init"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_sentence_and_leaves_nothing(compare, tmp_path, name):
    flags, sentence = WRONG[name]
    code, out, err = compare("--out", "run", *flags)
    assert code == 2 and out == "" and len(err.strip().splitlines()) == 1
    assert err.startswith("minizo: ")
    assert re.search(sentence, err), err
    if name != "all diverge":  # which only training shows; its runs are kept
        assert not (tmp_path / "run").exists()


def test_one_seed_is_said_to_have_no_interval(compare):
    code, out, _ = compare("--estimator", "ste", "fogzo", seeds=("--seed", 7))
    assert code == 0 and "no interval from 1 seed" in out and "give at least 5 seeds" in out


def test_a_case_that_diverges_is_said_and_ends_in_code_1(compare):
    code, out, _ = compare(
        "--estimator", "ste", "--optimizer", "adam", "sgd:lr=1e30", "--lr", ".01"
    )
    assert code == 1 and "every seed diverged" in out


def test_settings_of_the_other_kind_of_command_are_refused(compare, tmp_path, call):
    assert compare("--estimator", "ste", "--out", "run")[0] == 0
    code, _, err = call("--settings", tmp_path / "run")
    assert code == 2 and "--tune is a flag of a comparison, and has no effect here" in err
    code, _, err = call("--init-scale", "1", "2")
    assert code == 2 and "a run has one; python -m minizo.compare takes several" in err

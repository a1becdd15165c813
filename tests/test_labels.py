"""Names of what is compared: labels say what differs, files of runs are told apart."""

import itertools

import pytest

from minizo.commands.cases import cases
from minizo.commands.running import runs
from minizo.commands.settings import DEFAULTS
from minizo.commands.sources import settled


def of(text):
    """The cases of flags as they are typed."""
    given = {}
    for word in text.split():
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            given[name] = []
        else:
            given[name].append(word)
    return settled(DEFAULTS, {k: v if k not in ("seeds", "start") else v[0]
                              for k, v in given.items()})  # fmt: skip


LABELS = {
    "": ["STE", "normalised STE", "n-SPSA n=1", "n-SPSA n=10", "FOGZO n=1", "FOGZO n=10"],
    "--estimator fogzo": ["FOGZO n=1"],
    "--estimator fogzo:n=10,beta=.999": ["FOGZO n=10"],
    "--estimator fogzo:beta=.9 fogzo ste": ["FOGZO n=1, beta 0.9", "FOGZO n=1, beta 0.999", "STE"],
    "--estimator fogzo --beta .9 1": ["FOGZO n=1, beta 0.9", "FOGZO n=1, beta 1"],
    "--estimator fogzo:beta-schedule=constant fogzo:n=2": ["FOGZO n=1", "FOGZO n=2"],
    "--estimator proxquant proxquant:prox=l2 proxquant:freeze=none": [
        "ProxQuant L1, freeze 0.666667", "ProxQuant L2", "ProxQuant L1, freeze none",
    ],
    "--estimator ste --lr .01 .03": ["STE, lr 0.01", "STE, lr 0.03"],
    "--estimator ste --optimizer sgd adam": ["STE, sgd", "STE, adam"],
    "--estimator ste --optimizer sgd adam --lr .1 .2": [
        "STE, sgd, lr 0.1", "STE, sgd, lr 0.2", "STE, adam, lr 0.1", "STE, adam, lr 0.2",
    ],
    "--estimator ste --quantizer sign midrise midrise:bits=3": [
        "STE, sign", "STE, midrise, bits 2", "STE, midrise, bits 3",
    ],
    "--estimator ste --quantizer midrise:bits=3 --start pretrain:steps=3": ["pre-training", "STE"],
    "--estimator fast-net fsg": ["fast-net alone", "FSG"],
    "--estimator ste binaryconnect --seed 3 4": ["STE", "BinaryConnect"],
}  # fmt: skip


@pytest.mark.parametrize("text", LABELS)
def test_a_label_says_what_differs(text):
    assert [case.label for case in cases(of(text))] == LABELS[text]


def test_labels_and_files_of_different_runs_differ():
    """All combinations of many parts: no two share a label or a name of a file."""
    text = "--estimator fogzo:n=1 fogzo:n=10 fogzo:beta=.9 spsa:law=gaussian spsa ste fsg fsg-ema "
    text += "--quantizer sign midrise midrise:bits=3 sign:surrogate=tanh --optimizer sgd adam "
    settings = of(text + "--lr .01 .1 --seeds 2")
    found = cases(settings)
    assert len(found) == 8 * 4 * 2 * 2
    for one, other in itertools.combinations(found, 2):
        assert one.label != other.label and one.slug != other.slug
    slugs = [run.slug for run in runs(settings, found, 100)]
    assert len(set(slugs)) == len(slugs) == 2 * len(found)
    assert not any(character in slug for slug in slugs for character in "/\\: ,'\"")


@pytest.mark.parametrize(
    "text, slugs",
    [
        ("--n 2", ["ste", "normalised-ste", "spsa-n2", "fogzo-n2"]),
        ("--estimator ste --lr .01 .1", ["ste-lr0.01", "ste-lr0.1"]),
        ("--estimator fogzo --beta .9 .5", ["fogzo-n1-beta0.9", "fogzo-n1-beta0.5"]),
        ("--estimator ste --start pretrain:steps=3", ["pretrain", "ste"]),
    ],
)
def test_names_of_files(text, slugs):
    assert [case.slug for case in cases(of(text))] == slugs

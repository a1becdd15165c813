"""The README's commands and code are those that work."""

import re
import shlex
from pathlib import Path

import pytest

import minizo
from minizo import __main__ as front
from minizo.commands import cases, training
from minizo.commands.sources import settled
from minizo.data import synthetic_digits

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_readme_code_runs(monkeypatch):
    """The example trains (on few drawn digits here) and ends with weights of four values."""
    code = "".join(re.findall(r"```python\n(.*?)```", README, re.S))
    monkeypatch.setattr(minizo.data, "mnist", lambda: synthetic_digits(2000, 500))
    names = {}
    exec(code.replace("steps=1200", "steps=100"), names)
    weights = names["run"].weights["fc1.weight"]
    assert weights.shape == (10, 784)
    assert len(set(weights.ravel().tolist())) == 4
    assert names["run"].final("train_loss") < 2.0
    assert names["clipped"].final("train_loss") < 2.0


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_readme_links_lead_somewhere(path):
    assert (Path(__file__).parent.parent / path).exists()


def test_readme_has_the_commands_that_ci_runs():
    """One line each, ending where `.ci/run` looks for them."""
    assert len(re.findall(r"^python3 -m venv .*-m minizo\.mnist$", README, re.M)) == 1
    assert len(re.findall(r"^python3 -m venv .*-m pytest -n auto$", README, re.M)) == 1
    assert not re.search(r"@[A-Z0-9]+@", README)  # no placeholder is left


def test_the_rule_is_compared(command, corners, tmp_path):
    """README's class as a file of its own, through README's command, on small images."""
    (rule,) = re.findall(r"^class ClippedSTE.*?(?=\n\n\n)", README, re.M | re.S)
    (tmp_path / "my_rule.py").write_text(f"import minizo\n\n\n{rule}\n")
    (line,) = re.findall(r"`minizo (compare .*?)`", README)
    small = ["--data", corners, "--steps", 10, "--batch", 30, "--seeds", 5, "--tuning-seeds", 1]
    small += ["--workers", 1, "--quiet", "--out", "run"]
    code, out, err = command(front.main, *line.split(), *small)
    assert (code, err) == (0, "") and "ClippedSTE" in out and "minus STE" in out
    assert (tmp_path / "run" / "report.html").exists()


def test_it_is_a_front_door():
    assert len(README.splitlines()) <= 130


@pytest.mark.parametrize("line", re.findall(r"^minizo (?:mnist|cifar|text).*", README, re.M))
def test_readme_commands_are_understood(line, monkeypatch, capsys):
    """Flags, names and settings of each; nothing is trained."""
    monkeypatch.setattr(training, "train", lambda command, defaults, given, kind: len(
        cases.cases(settled(defaults, given))) == 0)  # fmt: skip
    try:
        code = front.main(shlex.split(line, comments=True)[1:])
    except SystemExit as stop:  # --help
        code = stop.code
    assert code == 0, capsys.readouterr().err

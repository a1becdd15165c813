"""The pages in docs/: their code runs, their commands work, their links lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from minizo import testing
from minizo.compare import report
from minizo.compare.command import main
from minizo.compare.results import measure_of

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


def blocks(page, kind):
    """The code of one kind on a page."""
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.S)


def test_there_are_pages():
    assert ROOT / "docs" / "write-your-own-estimator.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link
    assert all(len(line) <= 100 for line in page.read_text().splitlines())


def test_the_rule_of_the_page_ends_in_a_report(command, corners, tmp_path, capsys):
    """The file, the check and the command as they stand there, on small images."""
    page = ROOT / "docs" / "write-your-own-estimator.md"
    rule, check = blocks(page, "python")
    lines = rule[rule.index("@dataclass") :].strip().splitlines()
    assert len(lines) < 25
    (tmp_path / "my_rule.py").write_text(rule)
    assert "print(testing.check_estimator(" in check
    (line,) = blocks(page, "sh")
    python, m, module, *flags = shlex.split(line.replace("\\\n", " "))
    assert (python, m, module) == ("python", "-m", "minizo.compare")
    small = ["--data", corners, "--steps", 10, "--batch", 30, "--seeds", 5, "--tuning-seeds", 1]
    code, out, err = command(main, *flags, *small, "--workers", 1, "--out", "run", "--quiet")
    assert (code, err) == (0, "") and "AheadSTE" in out and "At equal compute" in out
    assert "AheadSTE" in (tmp_path / "run" / "report.html").read_text()
    checked = testing.check_estimator(importlib.import_module("my_rule").AheadSTE())
    assert all(finding.passed is not False for finding in checked.checks)


def test_the_columns_are_explained():
    """Every column of the results stands in the table of the page, under its name."""
    text = (ROOT / "docs" / "write-your-own-estimator.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    explained = {name.strip() for row in rows for name in (row, *row.split(","))}

    class Table:
        reference = "REFERENCE"
        measure = measure_of("train_loss", False, [])

    assert set(report.headers(Table)) - {"training loss", "setting"} <= explained
    assert {*report.BESIDE["test_accuracy"], *report.BESIDE["test_loss"]} <= explained

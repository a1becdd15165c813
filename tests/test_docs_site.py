"""The pages that `docs/build.py` writes: names, numbers, links and pictures, without Sphinx."""

import csv
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev

import pytest

import minizo
from minizo.data import synthetic_digits
from minizo.estimators import ESTIMATORS
from minizo.quantizers import QUANTIZERS
from minizo.reproduce import mnist_grid, zoo

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def module_of(name, monkeypatch):
    """A module of `docs/`."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module(name)


@pytest.fixture
def gallery(monkeypatch):
    return module_of("gallery", monkeypatch)


@pytest.fixture
def gallery_records(monkeypatch):
    return module_of("gallery_records", monkeypatch)


@pytest.fixture
def reference(monkeypatch):
    return module_of("reference", monkeypatch)


def exporting():
    """Every module of the package with an `__all__`."""
    inner = pkgutil.walk_packages(minizo.__path__, "minizo.")
    names = ["minizo", *(one.name for one in inner if "__main__" not in one.name)]
    heavy = {"minizo.bench.rivals", "minizo.bench.torch_networks", "minizo.bench.rival_scan"}
    files = {name: ROOT / (name.replace(".", "/") + ".py") for name in names}
    files |= {n: ROOT / n.replace(".", "/") / "__init__.py" for n, p in files.items()
              if not p.exists()}  # fmt: skip
    return [n for n, p in files.items() if n not in heavy and "\n__all__ = " in p.read_text()]


@pytest.mark.parametrize("name", exporting())
def test_every_public_name_is_in_the_reference(name, reference):
    """Each name of each `__all__` is in a group, and where it is said to be there is a page."""
    module, pages = importlib.import_module(name), reference.pages()
    everything = "\n".join(pages.values())
    (shown,) = [group[name] for group in reference.entries().values() if name in group]
    assert set(shown) == set(module.__all__) - {"__version__"}
    for home in shown.values():
        page = f"reference/{home}.rst" in pages
        data, inner = f"py:data:: {home}\n" in everything, f"automodule:: {home}\n" in everything
        thing = getattr(importlib.import_module(name), home.rpartition(".")[2], None)
        where = getattr(thing, "__module__", "")  # the laboratory has a page a module
        assert page or data or inner or f"automodule:: {where}\n   :members:" in everything


def test_a_name_is_documented_once(reference):
    """Negative control of the above: `minizo.FOGZO` is a second name, and has no page."""
    pages = reference.pages()
    assert "reference/minizo.estimators.FOGZO.rst" in pages
    assert "reference/minizo.FOGZO.rst" not in pages
    assert "``minizo.FOGZO`` is `minizo.estimators.FOGZO`" in pages[
        "reference/training-fit-and-objective.rst"
    ]  # fmt: skip


def test_docstrings_keep_their_equations(monkeypatch):
    docstrings = module_of("docstrings", monkeypatch)
    lines = docstrings.rst(["Of x_:", "", "    |x| * 2", "    y_", "", "and |y| *now* 2 * 3."])
    assert lines[2:6] == [".. code-block:: text", "", "    |x| * 2", "    y_"]
    assert lines[0] == r"Of x\_:" and lines[-1] == r"and \|y\| *now* 2 \* 3."
    parts = docstrings.sections(minizo.SPSA)
    assert parts[""].startswith("G = ") and "Spall" in parts["References"]


def test_each_quantizer_has_a_page(gallery):
    """With a curve, a source, a row where there is one, and three lines that run."""
    for name, cls in QUANTIZERS.items():
        assert gallery.entries(cls), name
        noises = ["?"] * len(gallery.entries(cls))
        page = "\n".join(gallery.quantizer_page(name, cls, noises))
        for part in ("Equation", "Source", "Cost", "Three lines", "In the fair comparison"):
            assert f"\n{part}\n" in page, (name, part)
        assert page.count(":alt: ") == page.count(".. figure:: ") > 0
        assert f"minizo.quantizers.{cls.__name__}()" in page


def test_each_estimator_has_a_page(gallery, monkeypatch):
    """The counts of its cost are those of its run; one short run stands for all of them here."""
    run, quantizer = gallery.trained(minizo.STE)
    monkeypatch.setattr(gallery, "trained", lambda cls: (run, quantizer))
    for name, cls in ESTIMATORS.items():
        page = "\n".join(gallery.estimator_page(name, cls))
        for part in ("Equation", "Source", "Cost", "Three lines", "In the fair comparison"):
            assert f"\n{part}\n" in page, (name, part)
        assert page.count(":alt: ") == page.count(".. figure:: ") == 1
    assert "a step: 1 forwards, 1 backwards" in page
    assert gallery.draw_run(minizo.STE).startswith(b"\x89PNG")


def test_the_overview_shows_all(gallery):
    page = "\n".join(gallery.index_page())
    assert page.count(".. figure:: ") == len(QUANTIZERS) + len(ESTIMATORS) == page.count(":alt: ")


def records(name):
    with open(ROOT / "figures" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def numbers(text):
    """``95.77 +- 0.30 %`` -> (95.77, 0.3)."""
    return tuple(float(part) for part in text.removesuffix("%").split("+-"))


def test_rows_of_the_gallery_are_those_of_the_zoo(gallery_records):
    """Means, spreads and times on the pages equal the CSV's, to the digits that are shown."""
    found, seen = {}, set()
    for row in records("zoo"):
        if row["seeds"] == "10":
            found[f"{row['method']} ({row['group']})"] = row
    pages = [gallery_records.rows_of_quantizer(cls)["zoo"] for cls in QUANTIZERS.values()]
    pages += [gallery_records.rows_of_estimator(cls)["zoo"] for cls in ESTIMATORS.values()]
    for shown in (row for rows in pages for row in rows):
        row = found[shown[""]]
        seen.add(row["method"] + row["group"])
        pairs = [
            (numbers(shown["test accuracy"]), (row["test_accuracy"], row["accuracy_stdev"]), 0.005),
            (numbers(shown["training loss"]), (row["train_loss"], row["loss_stdev"]), 0.00005),
            ((float(shown["CPU ms a step"]),), (row["cpu_ms_a_step"],), 0.05),
        ]
        for said, measured, half in pairs:
            assert said == pytest.approx([float(m) for m in measured], abs=1.01 * half), shown
        assert shown["setting"] == row["setting"]
    # nobody is left out: all but Bop, an optimiser
    assert len(seen) == len(zoo.METHODS) - 1 and "Bopbinary weights" not in seen


def test_rows_of_the_gallery_are_those_of_the_grid(gallery_records):
    """The mean and the spread over the seeds of each method."""
    shown = [
        row
        for cls in ESTIMATORS.values()
        for row in gallery_records.rows_of_estimator(cls)["mnist_grid"]
    ]
    assert {row["training loss"] for row in shown} == set(mnist_grid.METHODS)
    for row in shown:
        key = row["training loss"], row["setting"]
        runs = [r for r in records("mnist_grid") if (r["label"], r["setting"]) == key]
        runs = [float(r["train_loss"]) for r in runs]
        assert len(runs) == 20
        assert float(row["mean"]) == pytest.approx(fmean(runs), abs=0.00051)
        assert float(row["sd"]) == pytest.approx(stdev(runs), abs=0.00051)


def test_a_table_is_read_by_its_dashes(gallery_records):
    text = "x\n\na      b c  loss\n-----  ---  ----\none    2 3   4.0\ntwo          5.0\n\nend"
    (rows,) = gallery_records.tables(text)
    assert rows == [
        {"a": "one", "b c": "2 3", "loss": "4.0"},
        {"a": "two", "b c": "", "loss": "5.0"},
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pictures_have_texts_and_pages_are_linked(page):
    text = page.read_text()
    for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text):
        assert len(alt) > 20 and (page.parent / path).exists(), path
    for target in re.findall(r"\{doc\}`[^<]*<([^>]+)>`", text):
        assert target in ("gallery/index", "reference/index")
    if page.stem != "index":  # the menu has every page
        assert re.search(rf"^{page.stem}$", (DOCS / "index.md").read_text(), re.M)


def test_the_course_takes_all_notebooks():
    text = (DOCS / "course.md").read_text()
    assert "notebooks/**" in text and ":glob:" in text


@pytest.mark.parametrize("page", ["using", "transformers"])
def test_the_code_of_the_pages_runs(page, monkeypatch):
    """On few drawn digits, and on the text of the package's own language."""
    text = (DOCS / f"{page}.md").read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.S))
    monkeypatch.setattr(minizo.data, "mnist", lambda: synthetic_digits(2000, 500))
    names = {"minizo": minizo}
    exec(code.replace("steps=1200", "steps=100").replace("steps=120,", "steps=20,"), names)
    run = names.get("run") or names["trained"]
    assert run.final("train_loss") < (2.0 if page == "using" else 5.0)


def build(*flags, code=""):
    """`docs/build.py` in a process of its own, after ``code``."""
    run = f"import sys, runpy; {code}; sys.argv = ['build.py', *{list(flags)!r}]; "
    run += f"runpy.run_path({str(DOCS / 'build.py')!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)


def test_without_sphinx_one_sentence():
    done = build("--no-open", code="sys.modules['sphinx'] = None")
    assert done.returncode == 2
    assert "sphinx" in done.stderr and "pip install -e '.[docs]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_links_that_lead_nowhere_are_found(monkeypatch, tmp_path):
    """The check of the built pages, on two of them."""
    build = module_of("build", monkeypatch)
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html#y">b</a><img src="c.png" alt="c">')
    (tmp_path / "b.html").write_text(
        '<p id="y"><a href="a.html#z">a</a><img src="c.png"><img src="c.png" alt="c.png">'
    )
    (tmp_path / "c.png").write_bytes(b"")
    assert build.faults(tmp_path) == [
        "b.html: the link a.html#z leads nowhere",
        *["b.html: the picture c.png has no alt text"] * 2,
    ]


def test_executed_notebooks_are_taken(monkeypatch, tmp_path):
    build = module_of("build", monkeypatch)
    one, *others = build.notebooks()
    assert others == sorted(others) and one.name.startswith("0")
    (tmp_path / one).write_text('{"execution_count": 1}')
    (tmp_path / others[0]).write_text('{"execution_count": null}')
    found = build.notebooks(tmp_path)
    assert found[one] == (tmp_path / one, True)
    assert found[others[0]] == (tmp_path / others[0], False)
    # the others as they are committed, with their outputs
    assert {found[name] for name in others[1:]} == {
        (ROOT / "notebooks" / name, True) for name in others[1:]
    }

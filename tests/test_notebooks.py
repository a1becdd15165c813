"""Every notebook runs from top to bottom, its own assertions hold, and it reads well.

With ``MINIZO_EXECUTED`` it stays, with its outputs, in the folder of that name: `docs/build.py`
takes it from there.
"""

import os
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
LARGEST = 600 * 1024


def read(path):
    return pytest.importorskip("nbformat").read(path, as_version=4)


def parts(notebook):
    """The cells of the lesson, and those of the exercises."""
    (start,) = [i for i, c in enumerate(notebook.cells) if c.source.startswith("## Exercises")]
    return notebook.cells[:start], notebook.cells[start:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_reads_well(path):
    """Set up in one line, cells that fit on a screen, and every picture told in words, too."""
    assert path.stat().st_size < LARGEST, "python docs/run_notebooks.py keeps pictures small"
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert "figures.style()" in code[0].source
    assert not any("plt.rc" in cell.source for cell in code)
    ran = [cell.execution_count for cell in code]
    assert ran == list(range(1, len(code) + 1)), "commit it as a run from top to bottom left it"
    for cell in code:
        lines = cell.source.splitlines()
        assert len(lines) <= 25, f"{len(lines)} lines: {lines[0]}"
        if re.search(r"plt\.show\(\)|^figures\.(?!style\b)\w+\(", cell.source, re.M):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 20, f"a picture without words for who cannot see it: {lines[0]}"
            shown = [output for output in cell.outputs if "image/png" in output.get("data", {})]
            assert shown, f"a picture that was not shown: {lines[0]}"


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the Jupyter machinery, not of ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    """Executed in a fresh kernel, at most 300 s; the last cell of the lesson asserts its claims."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    lesson = [cell.source for cell in parts(notebook)[0] if cell.cell_type == "code"]
    assert "assert" in lesson[-1], "the last cell asserts the notebook's claims"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # the other cores run other tests
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(path.parent))
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    if folder := os.environ.get("MINIZO_EXECUTED"):
        kept = Path(folder) / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, kept)

"""Every notebook runs from top to bottom, and its own assertions hold.

With ``MINIZO_EXECUTED`` it stays, with its outputs, in the folder of that name: `docs/build.py`
takes it from there, and does not run it again.
"""

import os
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the Jupyter machinery, not of ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    """Executed in a fresh kernel, at most 300 s; its last cell asserts its claims."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert "assert" in code[-1], "the last cell asserts the notebook's claims"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # the other cores run other tests
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(path.parent))
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    if folder := os.environ.get("MINIZO_EXECUTED"):
        kept = Path(folder) / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, kept)

"""Run notebooks and keep their outputs: ``python docs/run_notebooks.py [FILE ...]``.

Notebooks are committed with their outputs, so that they can be read where nothing is run; what a
kernel notes about time is left out, and pictures keep 256 colours, a third of their size. Needs
``pip install -e '.[test]'``.
"""

import base64
import io
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
COLORS = 256


def shrunk(png):
    """The PNG, both in base64, with a palette in place of three bytes a pixel."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    few, buffer = image.quantize(COLORS, dither=Image.Dither.NONE), io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def kept(output):
    """An output as it is committed, or ``None`` for what a library says on standard error."""
    if output.output_type == "stream" and output.name == "stderr":
        return None
    if "image/png" in output.get("data", {}):
        output.data["image/png"] = shrunk(output.data["image/png"])
    return output


def run(path):
    """Run a notebook and write it, if nothing in it fails."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(path.parent))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(kept, cell.outputs) if output is not None]
    nbformat.write(notebook, path)


def main(argv=None):
    """Run the given notebooks, or all."""
    given = sys.argv[1:] if argv is None else argv
    for path in map(Path, given) if given else sorted(NOTEBOOKS.glob("*.ipynb")):
        run(path.resolve())
        print(f"{path.name}  {path.stat().st_size // 1024} KiB", flush=True)


if __name__ == "__main__":
    main()

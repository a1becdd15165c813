"""Records of published figures: found in a clone and in an installed package alike."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from minizo import InputError, files
from minizo.files import published

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
FORCED = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
SHIPPED = {source: place for source, place in FORCED.items() if source != "notebooks"}


def cells(notebook):
    """The code of a notebook, as one text."""
    held = json.loads(notebook.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in held if cell["cell_type"] == "code")


@pytest.mark.parametrize("source", SHIPPED)
def test_what_a_wheel_holds_is_found(source):
    """Each is put where `published` looks for it, under its own name."""
    name = Path(source).name
    assert SHIPPED[source] == f"minizo/published/{name}"
    assert published(name).read_bytes() == (ROOT / source).read_bytes()


def test_a_wheel_holds_what_is_read():
    """No notebook and no module reads a record that an installed package has not."""
    texts = [cells(path) for path in (ROOT / "notebooks").glob("*.ipynb")]
    texts += [path.read_text() for path in (ROOT / "minizo").rglob("*.py")]
    read = {name for text in texts for name in re.findall(r"published\(\s*\"([^\"]+)\"", text)}
    assert read and read <= {Path(source).name for source in SHIPPED}
    assert not [text for text in texts if re.search(r"open\(\"[./]*figures/", text)]


def test_of_an_installed_package(tmp_path, monkeypatch):
    """The records lie in the package; a folder figures beside it is somebody else's."""
    package = tmp_path / "minizo"
    (package / "published").mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    shutil.copy(ROOT / "figures" / "zoo.csv", package / "published")
    shutil.copy(ROOT / "figures" / "zoo.csv", tmp_path / "figures" / "fsg.csv")
    monkeypatch.setattr(files, "__file__", str(package / "files.py"))
    assert published("zoo.csv") == package / "published" / "zoo.csv"
    with pytest.raises(InputError, match=r"no record 'fsg.csv'.*\(known: zoo.csv\)"):
        published("fsg.csv")


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(InputError, match="there is no record 'zo.csv'; did you mean 'zoo.csv'?"):
        published("zo.csv")


def test_the_wheel_says_that_it_is_typed():
    assert (ROOT / "minizo" / "py.typed").read_text() == ""

"""``minizo COMMAND`` and ``python -m minizo COMMAND``; tab completion."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minizo import __main__ as front
from minizo import gallery, mnist

HEAVY = ("matplotlib", "cupy", "pooch", "tqdm", "requests", "torch", "dask")


@pytest.mark.parametrize("name", front.COMMANDS)
def test_every_command_has_a_main(name):
    assert callable(front.module(name).main)
    assert front.split([*name.split("."), "--quick"]) == (name, ["--quick"])


def test_no_command_is_forgotten():
    """Whatever of the package can be started with -m stands in the table."""
    package = Path(front.__file__).parent
    files = [p for p in package.rglob("*.py") if "def main(argv=None" in p.read_text()]
    names = {".".join(p.relative_to(package).with_suffix("").parts) for p in files}
    names = {name.removesuffix(".__main__") for name in names} - {"__main__"}
    assert names - {"compare.command"} == set(front.COMMANDS) - {"compare"}


def test_a_command_is_the_module_of_its_name(command, corners, tmp_path):
    """The same flags, files, exit code and numbers; the usage says how it was called."""
    flags = ["--data", corners, "--estimator", "ste", "--steps", 3, "--batch", 10, "--quiet"]
    code, out, err = command(front.main, "mnist", *flags, "--out", "a")
    assert (code, err) == (0, "") and "STE" in out
    assert command(mnist.main, *flags, "--out", "b")[0] == 0
    kept = [(tmp_path / folder / "settings.json").read_text() for folder in "ab"]
    assert kept[0] == kept[1]
    assert command(front.main, "mnist", "--help")[1].startswith("usage: minizo mnist [flags]\n")
    assert command(mnist.main, "--help")[1].startswith("usage: python -m minizo.mnist [flags]\n")
    assert command(front.main, "reproduce", "fsg", "--help")[1].startswith("usage: minizo reprod")
    assert command(gallery.main, "--help")[1].startswith("usage: python -m minizo.gallery ")


@pytest.mark.parametrize(
    "words, hint",
    [
        ("mnits", "'mnits'; did you mean 'mnist'? (known: nano,"),
        ("reproduce fgs", "'reproduce fgs'; did you mean 'reproduce fsg'? (known: reproduce mn"),
        ("fsg", "'fsg'; did you mean 'reproduce fsg'?"),
        ("mnits --steps 3", "unknown flag --steps"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(command, words, hint):
    code, out, err = command(front.main, *words.split())
    assert (code, out, len(err.splitlines())) == (2, "", 1) and hint in err


def test_python_m_minizo():
    """As a process of its own: what the user types is what the usage says."""
    argv = [sys.executable, "-m", "minizo", "lab", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python -m minizo lab [-h]")


# Completion --------------------------------------------------------------------------------------


def asked(line, tmp_path, *python):
    """What a shell is offered for a line, by argcomplete's protocol; and the process."""
    answer = tmp_path / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    python = python or ("-X", "importtime", "-m", "minizo")
    done = subprocess.run(
        [sys.executable, *python], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    words = answer.read_text().split("\n") if answer.exists() else None
    return words, done


OFFERED = {
    "minizo ": ["mnist", "lab", "reproduce"],
    "minizo mn": ["mnist"],
    "minizo reproduce f": ["fsg"],
    "minizo mnist --estimato": ["--estimator"],
    "minizo mnist --estimator fog": ["fogzo"],
    "minizo mnist --steps 3 --quantizer ls": ["lsq"],
    "minizo cifar --recipe ir": ["ir-net"],
    "minizo text --help llam": ["llama"],
    "minizo lab A-": ["A-1", "A-6"],
    "minizo bench sc": ["scaling"],
    "minizo gallery --pi": ["--picture"],
    "minizo reproduce zoo --wor": ["--workers"],
}


@pytest.mark.parametrize("line", OFFERED)
def test_a_shell_is_offered_what_there_is(line, tmp_path):
    """Names and flags; no data are loaded, nothing is trained, nothing heavy is imported."""
    pytest.importorskip("argcomplete")
    words, done = asked(line, tmp_path)
    found = [word.strip() for word in words]
    assert set(OFFERED[line]) <= set(found) and all(
        w.startswith(line.split(" ")[-1]) for w in found
    )
    imported = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}
    assert "argcomplete" in imported and not {n.partition(".")[0] for n in imported} & set(HEAVY)
    assert done.stdout == "" and [path.name for path in tmp_path.iterdir()] == ["answer"]


def test_without_the_library_nothing_is_offered(tmp_path):
    """The command ends at once, whatever the line says."""
    code = "import sys; sys.modules['argcomplete'] = None; from minizo import {0}; {0}.main([])"
    for name in ("mnist", "__main__"):
        words, done = asked("minizo mnist ", tmp_path, "-c", code.format(name))
        assert (words, done.returncode, done.stdout, done.stderr) == (None, 1, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_library_is_not_imported_unasked(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    with pytest.raises(ImportError):
        importlib.import_module("argcomplete")
    assert command(front.main)[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("lern --help", "did you mean 'learn'?"),
        ("reproduce fgs -h", "did you mean 'reproduce fsg'?"),
    ],
)
def test_a_wrong_name_comes_before_help(command, words, sentence):
    code, out, err = command(front.main, *words.split())
    assert (code, out) == (2, "") and sentence in err

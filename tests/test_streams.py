"""Standard output and error that are full, closed or left: a sentence, a code, and all results."""

import io
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_corners

import minizo
from minizo import commands
from minizo.streams import Lasting, lasting

PACKAGE = Path(minizo.__file__).parent
# every module that is a command, by looking; minizo.nano is NumPy alone, and has none of this
COMMANDS = sorted(
    ".".join(("minizo", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if '__name__ == "__main__"' in path.read_text() and path.stem != "nano"
)
SENTENCE = "minizo: cannot write to standard output ({}); send it elsewhere (files that the command"
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def full():
    return open("/dev/full", "w")


def closed():
    return None


def left():
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


# what standard output is -> (exit code of --help, what standard error says)
STREAMS = {
    "full": (full, 2, SENTENCE.format("No space left on device")),
    "closed": (closed, 2, SENTENCE.format("Bad file descriptor")),
    "left": (left, 0, ""),
}


def test_the_commands_are_found():
    assert {"minizo.mnist", "minizo.lab.__main__", "minizo.reproduce.fsg"} <= set(COMMANDS)


@needs_full
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("stream", STREAMS)
def test_every_command_says_it_in_one_sentence(name, stream, monkeypatch):
    make, code, sentence = STREAMS[stream]
    out, err = make(), io.StringIO()
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(name, run_name="__main__")
    if out is not None:
        out.close()  # as the interpreter does at its exit: nothing is left to fail
    assert stop.value.code == code
    assert err.getvalue().startswith(sentence) and err.getvalue().count("\n") == bool(sentence)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small data set in IDX files."""
    return write_corners(tmp_path_factory.mktemp("streams"), 8)


# what the shell does -> (exit code, what standard error says)
SHELL = {
    "": (0, ""),
    ">/dev/full": (2, SENTENCE.format("No space left on device")),
    ">&-": (2, SENTENCE.format("Bad file descriptor")),
    ">/dev/full 2>&1": (2, None),
    ">&- 2>&-": (2, None),
    "<&- >&- 2>/dev/full": (2, None),
    "2>&-": (0, None),
    "2>/dev/full": (0, None),
}


@needs_full
@pytest.mark.parametrize("redirection", SHELL)
def test_a_run_is_finished_all_the_same(redirection, data, tmp_path):
    """In a process of its own, to its very end: also what the interpreter flushes at its exit."""
    code, sentence = SHELL[redirection]
    command = (
        f"{sys.executable} -m minizo.mnist --estimator ste --steps 4 --batch 20 --data {data} "
        f"--quiet --out run {redirection}"
    )
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == code
    kept = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert kept == ["records.csv", "results.json", "settings.json", "ste-seed0.npz", "table.txt",
                    "training.png"]  # fmt: skip
    if sentence is None:  # nobody can be told
        assert done.stderr == ""
    else:
        assert done.stderr.startswith(sentence)
        assert done.stderr.count("\n") == bool(sentence)
    # control: what can be printed is
    assert ("run folder: run" in done.stdout) == (redirection in ("", "2>&-", "2>/dev/full"))


@needs_full
def test_work_goes_on_after_the_failure(monkeypatch, capsys):
    """A command that prints in between does the rest of its work, and keeps its own code."""
    done = []

    def command():
        for i in range(3):
            print(i, flush=True)
            done.append(i)
        return 1

    assert commands.guarded(command) == 1 and capsys.readouterr().out == "0\n1\n2\n"  # control
    with full() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert commands.guarded(command) == 1
        assert sys.stdout is stream
    assert done == [0, 1, 2] * 2
    assert "cannot write to standard output (No space left" in capsys.readouterr().err


def test_closed_numbers_are_taken(tmp_path):
    """A file that is opened later never gets the number of standard output or error."""
    code = (
        "from minizo.streams import lasting\n"
        "with lasting(): number = open('first', 'w').fileno()\n"
        "open('number', 'w').write(str(number))"
    )
    subprocess.run(
        f'{sys.executable} -c "{code}" >&- 2>&-', shell=True, cwd=tmp_path, check=True,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)}, timeout=60,
    )  # fmt: skip
    assert int((tmp_path / "number").read_text()) > 2


def test_characters_that_a_stream_has_not():
    raw = io.BytesIO()
    stream = Lasting(io.TextIOWrapper(raw, encoding="ascii"))
    print("données \udcff", file=stream, flush=True)
    assert raw.getvalue() == b"donn\\xe9es \\udcff\n" and stream.failure is None


def test_streams_are_put_back(monkeypatch):
    streams = sys.stdout, sys.stderr
    with pytest.raises(KeyError), lasting() as inside:
        assert (sys.stdout, sys.stderr) == inside != streams
        raise KeyError
    assert (sys.stdout, sys.stderr) == streams

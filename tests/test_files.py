"""Files with the mode that they should have, and places that are looked at before the work."""

import errno
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import blobs, write_corners
from matplotlib.figure import Figure

from minizo import (
    STE,
    InputError,
    Objective,
    checkpoint,
    cifar,
    export,
    figures,
    files,
    fit,
    gallery,
    mnist,
    models,
    optim,
    quantizers,
    sweep,
)
from minizo.bench import __main__ as bench
from minizo.commands import running
from minizo.compare import command as comparing
from minizo.data import write_idx
from minizo.data.dataset import Dataset
from minizo.export import __main__ as exporting
from minizo.lab import experiments, microscope, runner
from minizo.reproduce import compute796, fsg, mnist_grid, proxquant, zoo

TOY = Dataset("toy blobs", *blobs(60, 3, 12, 1), *blobs(20, 3, 12, 2), classes=3)
RUN = fit(
    Objective(models.mlp(12, 5, 3), quantizers.MidRise()),
    TOY,
    STE(),
    optim.Adam(),
    steps=2,
    batch=9,
)
# every function of the package that makes a file: name -> f(path)
WRITERS = {
    "text": lambda path: files.write_text(path, "text"),
    "csv": lambda path: files.write_csv(path, ["a"], [[1], [2]]),
    "idx": lambda path: write_idx(path, np.zeros(3, np.uint8)),
    "checkpoint": lambda path: checkpoint.save(path, {}, {"a": np.zeros(3)}),
    "picture": lambda path: figures.save(Figure(), path),
    "export": lambda path: export.save(path, RUN),
}
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@every_writer
def test_mode_of_the_umask(write, tmp_path):
    before = os.umask(0)
    try:
        for mask in (0o077, 0o027, 0o002, 0o022, 0o000):
            os.umask(mask)
            path = tmp_path / f"{mask:o}"
            write(path)
            assert mode(path) == 0o666 & ~mask
    finally:
        os.umask(before)


@every_writer
def test_mode_of_a_file_that_is_there(write, tmp_path):
    path = tmp_path / "file"
    for own in (0o600, 0o664, 0o755):
        path.write_text("old")
        path.chmod(own)
        write(path)
        assert mode(path) == own and path.read_bytes() != b"old"


@every_writer
def test_links_are_written_through(write, tmp_path):
    """Relative, absolute, a chain of them, and one whose target is still to be made."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "there").write_text("old")
    (tmp_path / "chain").symlink_to("relative")
    for link, target in ("relative", "disk/there"), ("absolute", disk / "there"), ("new", "disk/n"):
        (tmp_path / link).symlink_to(target)
    for link in "relative", "absolute", "chain", "new":
        write(tmp_path / link)
        assert (tmp_path / link).is_symlink()
    assert sorted(os.listdir(disk)) == ["n", "there"]
    assert (disk / "n").is_file() and (disk / "there").read_bytes() != b"old"


@every_writer
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_written_to_and_stay(write, tmp_path):
    """A pipe or a device, such as /dev/stdout, is no file to put another in place of."""
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join(30)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and len(got[0]) > 0
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs /dev/fd")
def test_dev_stdout_into_a_pipe():
    """A link to a pipe that has no name: what ``--out /dev/stdout | jq`` is given."""
    reading, writing = os.pipe()
    path = f"/dev/fd/{writing}"
    files.require_writable(path, "--out")
    files.write_text(path, "text")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "text"


@every_writer
def test_failure_leaves_what_was_there(write, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def no_room(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(InputError, match="No space left on device; free some space"):
        write(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def bad_places(folder):
    """What is wrong -> path of a file that cannot be made."""
    (folder / "file").write_text("")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("gone/file")
    return {
        "No such file or directory": folder / "absent" / "x",
        "Not a directory": folder / "file" / "x",
        "it is a folder": folder / "folder",
        "Too many levels of symbolic links": folder / "loop",
        "No such file": folder / "dangling",
        "File name too long": folder / ("x" * 300),
        "embedded null byte": f"{folder}/a\0b",
    }


def test_the_longest_name_is_written(tmp_path):
    path = tmp_path / ("ü" * 127)  # 254 of 255 bytes
    files.write_text(path, "text")
    assert os.listdir(tmp_path) == [path.name]


def test_bad_places_are_found_when_asked_and_when_written(tmp_path):
    for reason, path in bad_places(tmp_path).items():
        with pytest.raises(InputError) as caught:
            files.require_writable(path, "--out")
        assert str(caught.value).startswith(f"--out {path} cannot be written ({reason}")
        with pytest.raises(InputError, match="cannot write"):
            files.write_text(path, "text")
    assert not (tmp_path / "gone").exists()
    inside = set(os.listdir(tmp_path))
    for good in tmp_path / "new", tmp_path / "file":  # control; nothing is left or touched
        files.require_writable(good, "--out")
    assert set(os.listdir(tmp_path)) == inside and (tmp_path / "file").read_text() == ""


def test_a_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("precious")
    path.chmod(0o444)
    if os.access(path, os.W_OK):  # root may
        monkeypatch.setattr(os, "access", lambda path, how: False)
    for refused in (
        lambda: files.write_text(path, "text"),
        lambda: files.require_writable(path, "--out"),
    ):
        with pytest.raises(InputError, match="it is write-protected"):
            refused()
    assert path.read_text() == "precious"


def test_fit_finds_a_bad_path_before_the_first_step(tmp_path):
    options = {"steps": 3, "batch": 9}
    objective = Objective(models.mlp(12, 5, 3), quantizers.MidRise())
    done = []
    options["progress"] = lambda step, loss: done.append(step)
    for reason, path in bad_places(tmp_path).items():
        for resume in False, True:
            if resume and reason == "it is a folder":
                continue  # no checkpoint: refused as such
            with pytest.raises(InputError, match="path .* cannot be written"):
                fit(objective, TOY, STE(), optim.Adam(), path=path, resume=resume, **options)
    assert done == []
    fit(objective, TOY, STE(), optim.Adam(), path=tmp_path / "run.npz", **options)  # control
    assert done == [1, 2, 3]


def test_a_finished_run_is_read_from_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    objective = Objective(models.mlp(12, 5, 3), quantizers.MidRise())
    options = {"steps": 3, "batch": 9, "path": tmp_path / "run.npz", "resume": True}
    run = fit(objective, TOY, STE(), optim.Adam(), **options)
    protect(monkeypatch, tmp_path)
    again = fit(objective, TOY, STE(), optim.Adam(), **options)
    np.testing.assert_array_equal(again.theta, run.theta)


def protect(monkeypatch, place):
    """No file can be made below ``place`` any more, as on a disk that is mounted read-only."""
    real = files._open_in

    def refuse(folder, mode):
        if Path(folder).is_relative_to(place):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(folder, mode)

    monkeypatch.setattr(files, "_open_in", refuse)


def lab(argv):
    return runner.main(experiments.EXPERIMENTS, experiments.PARTS, argv)


# command -> (main, its flags, what its work is, the flags that name a place)
COMMANDS = {
    "mnist": (mnist.main, ["--data", "corners"], (running, "fit"), ["--out"]),
    "mnist --seeds": (
        mnist.main, ["--data", "corners", "--seeds", "2"], (running, "fit_many"), ["--out"],
    ),
    "cifar": (cifar.main, ["--data", "corners"], (running, "fit"), ["--out"]),
    "compare": (comparing.main, ["--data", "corners"], (comparing, "compare"), ["--out"]),
    "mnist_grid": (mnist_grid.main, ["--quiet"], (mnist_grid, "compare"), ["--out", "--folder"]),
    "lab": (lab, ["A-1"], (runner, "Setup"), ["--out"]),
    "microscope": (
        microscope.main, ["--data", "corners"], (microscope, "trajectory"), ["--out"],
    ),
    "bench": (bench.main, ["scaling"], (bench.scaling, "run"), ["--out", "--picture"]),
    "gallery": (gallery.main, [], (gallery, "gallery"), ["--picture", "--csv"]),
    "export": (exporting.main, ["run"], (exporting, "compare"), ["--out"]),
    **{
        module.__name__.rpartition(".")[2]: (
            module.main, ["--quiet"], (sweep, "groups"), ["--out", "--folder"],
        )
        for module in (compute796, fsg, proxquant, zoo)
    },
}  # fmt: skip
PLACES = [(name, flag) for name, entry in COMMANDS.items() for flag in entry[3]]


@pytest.mark.parametrize("name, flag", PLACES)
@pytest.mark.parametrize("fault", ["below a file", "read only"])
def test_commands_find_a_bad_place_before_their_work(
    name, flag, fault, command, tmp_path, monkeypatch
):
    main, flags, (module, work), _ = COMMANDS[name]
    (tmp_path / "corners").mkdir()
    write_corners(tmp_path / "corners", 8)
    if name == "export":
        made = ["--estimator", "ste", "--steps", 2, "--quiet", "--out", "run"]
        assert command(mnist.main, "--data", "corners", *made)[0] == 0
    place = tmp_path / "place"
    if fault == "below a file":
        place.write_text("")
        place = place / "x"
    elif flag in ("--picture", "--csv") or name == "bench":
        place = place / "file"
        place.parent.mkdir()
    else:
        place.mkdir()
    if fault == "read only":
        protect(monkeypatch, tmp_path / "place")
    worked = []

    def stop(*args, **options):
        worked.append(name)
        raise InputError("it has begun to work")

    monkeypatch.setattr(module, work, stop)
    others = []
    if name == "gallery":  # its other file goes to a place that is there
        others = ["--csv", "c", "--picture", "p"]
    code, out, err = command(main, *flags, *others, flag, place)
    assert (code, out, worked) == (2, "", [])
    last = err.splitlines()[-1]
    assert last.startswith(f"minizo: {flag} {place} cannot be ")
    assert "name a folder you may write to" in last or "name a place you may write to" in last
    if fault == "below a file":  # control: with a place that is good, the work begins
        good = Path("good")
        code, _, err = command(main, *flags, *others, flag, good)
        assert worked == [name] and "it has begun to work" in err

"""The commands on a card, real or simulated: with the host's random numbers, NumPy's results."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cifar_files
import numpy as np
import pytest
import torch_writer
from conftest import kill_once_there, write_corners

from minizo import checkpoint, cifar, mnist, models, text
from minizo.compare import command as compare
from minizo.export import __main__ as export

pytestmark = pytest.mark.gpu

SAME = ("--rng", "host", "--dtype", "float64", "--quiet")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A small data set in IDX files."""
    return write_corners(tmp_path_factory.mktemp("corners"), 8)


@pytest.fixture(scope="module")
def large_digits(tmp_path_factory):
    """The same in 28 x 28 pixels."""
    return write_corners(tmp_path_factory.mktemp("large"), 28)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """60 training and 12 test images in CIFAR-10's format."""
    batches = cifar_files.contents(n=12, test=12)
    return cifar_files.write_folder(tmp_path_factory.mktemp("photos"), batches)


def losses(folder):
    """The column train_loss of a run folder's records."""
    with open(folder / "records.csv") as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


def assert_equal_runs(ours, reference):
    """Assert that two run folders hold the same losses, 1e-10, and the same quantised weights."""
    found, expected = losses(ours), losses(reference)
    assert len(set(expected)) > 1
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    files = sorted(path.name for path in reference.glob("*.npz"))
    assert files == sorted(path.name for path in ours.glob("*.npz"))
    for name in files:
        saved, known = (checkpoint.load(folder / name)[1] for folder in (ours, reference))
        assert list(saved) == list(known)
        for key in (key for key in known if key.startswith("quantized.")):
            if len(np.unique(known[key])) <= 4:
                # the levels are the scale's, which may differ in a last bit; which level, may not
                levels = [np.unique(x[key], return_inverse=True)[1] for x in (saved, known)]
                np.testing.assert_array_equal(*levels)
            np.testing.assert_allclose(saved[key], known[key], rtol=1e-9, atol=1e-12)


@pytest.fixture
def both(command, cupy, tmp_path):
    """both(main, *flags) -> the run folders of the command on CuPy and on NumPy."""

    def run(main, *flags):
        for name in ("numpy", "cupy"):
            code, out, err = command(main, *flags, *SAME, "--backend", name, "--out", name)
            assert code == 0 and err == "", err
        return tmp_path / "cupy", tmp_path / "numpy"

    return run


def test_compare(both, digits):
    """Cases, seeds and differences are NumPy's; what the card cannot change is not changed."""
    flags = ("--estimator", "ste", "fogzo:n=2,guide=scaled", "--lr", ".01", ".1",
             "--seeds", 5, "--tuning-seeds", 1, "--steps", 6, "--batch", 30)  # fmt: skip
    folders = both(compare.main, "--data", digits, *flags)
    found, expected = (json.loads((f / "results.json").read_text()) for f in folders)
    ours, theirs = (table["tables"][0]["cases"] for table in (found, expected))
    assert [case["setting"] for case in ours] == [case["setting"] for case in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one["train_loss"], other["train_loss"], rtol=1e-10)
    assert found["settings"]["backend"] == "cupy" and found["settings"]["device"] != "cpu"


def test_compare_on_a_text(both, tmp_path):
    """Validation losses and their differences are NumPy's."""
    (tmp_path / "verse.txt").write_text("Shall I compare thee to a summer's day?\n" * 20)
    flags = ("--data", "verse.txt", "--context", 8, "--model", "llama:width=8,layers=1,heads=2",
             "--estimator", "ste", "normalised-ste", "--lr", ".01", "--seeds", 5,
             "--tuning-seeds", 1, "--steps", 4, "--batch", 6, "--records", 2)  # fmt: skip
    folders = both(compare.main, *flags)
    ours, theirs = (
        json.loads((f / "results.json").read_text())["tables"][0]["cases"] for f in folders
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one["test_loss"], other["test_loss"], rtol=1e-10)
    gaps = [case["difference"]["test_loss"]["mean"] for case in (ours[1], theirs[1])]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-9)


METHODS = ("ste", "spsa:n=2", "fogzo:n=2", "fsg:units=3,expand=3,states=2,length=2", "proxquant")


@pytest.mark.parametrize("part", METHODS)
def test_methods(part, both, digits):
    """`minizo.mnist --backend cupy` with one method of each kind."""
    flags = ("--data", digits, "--steps", 12, "--batch", 30, "--records", 3)
    assert_equal_runs(*both(mnist.main, "--estimator", part, *flags))


def test_lenet(both, large_digits):
    """`--model lenet`: convolutions, pooling and batch norm."""
    flags = ("--steps", 4, "--batch", 8, "--records", 2, "--loss-examples", 20)
    flags += ("--data", large_digits, "--model", "lenet", "--estimator", "ste")
    assert_equal_runs(*both(mnist.main, *flags))


def test_text(both, tmp_path):
    """`minizo.text --backend cupy`: embedding, attention, norms, gates; what it writes, too."""
    (tmp_path / "verse.txt").write_text("Shall I compare thee to a summer's day?\n" * 20)
    flags = ("--data", "verse.txt", "--context", 8, "--batch", 6, "--steps", 4, "--records", 2,
             "--model", "llama:width=8,layers=1,heads=2,shared=2", "--n", 2)  # fmt: skip
    ours, reference = both(text.main, *flags)
    assert_equal_runs(ours, reference)
    found, expected = (json.loads((f / "results.json").read_text()) for f in (ours, reference))
    for one, other in zip(found, expected, strict=True):
        assert one["test_loss"] == pytest.approx(other["test_loss"], rel=1e-10)


def test_seeds_together(both, digits):
    """`--seeds 4`: four rows of one array."""
    flags = ("--data", digits, "--steps", 8, "--batch", 30, "--records", 2)
    folders = both(mnist.main, "--seeds", 4, "--estimator", "fogzo", "--n", 2, *flags)
    assert_equal_runs(*folders)
    found, expected = (json.loads((folder / "results.json").read_text()) for folder in folders)
    assert len(found) == 4 and found[0]["backend"] == "cupy"
    assert [row["test_accuracy"] for row in found] == [row["test_accuracy"] for row in expected]


def test_cifar_with_augmentation_and_export(both, photos, command):
    """`minizo.cifar --augment crop-flip`; its checkpoint goes through `minizo.export`."""
    flags = ("--steps", 4, "--batch", 6, "--records", 2, "--loss-examples", 12)
    folders = both(cifar.main, "--data", photos, "--augment", "crop-flip", *flags)
    assert_equal_runs(*folders)
    code, out, err = command(export.main, folders[0], "--json")
    assert code == 0 and err == ""
    row = json.loads(out)
    assert row["equal"] == row["images"] == 12


def test_weights_of_a_file(both, photos, tmp_path):
    """`minizo.cifar --start`: in full precision with the statistics of the file, and binary."""
    tensors, _ = torch_writer.state_dict(models.small())
    for name, tensor in tensors.items():
        numbers = tensor.storage.numbers
        drawn = np.random.default_rng(len(name)).normal(size=numbers.shape) / 8
        numbers[...] = 1 if name.endswith(("var", "tracked")) else drawn
    (tmp_path / "theirs.pth").write_bytes(torch_writer.zipped(tensors))
    flags = ("--steps", 3, "--batch", 6, "--records", 2, "--loss-examples", 12)
    start = ("--start", tmp_path / "theirs.pth", "--quantizer", "none", "sign")
    assert_equal_runs(*both(cifar.main, "--data", photos, *start, *flags))


@pytest.fixture
def started(request, cupy, tmp_path):
    """started(*flags) -> the running process of `python -m minizo.mnist` on this card."""
    simulated = request.config.getoption("--fakegpu")
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def start(*flags):
        module = ["fakegpu", "minizo.mnist"] if simulated else ["minizo.mnist"]
        command = [sys.executable, "-m", *module, "--backend", "cupy", *map(str, flags)]
        return subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE)

    return start


def test_killed_and_resumed_equals_never_stopped(started, digits, tmp_path):
    """`kill -9` after a checkpoint, then --resume, with the device's own random numbers."""
    flags = ("--data", digits, "--batch", 30, "--quiet", "--json", "--estimator", "fogzo")
    flags += ("--n", 2, "--steps", 120, "--records", 2, "--checkpoint-every", 10)

    def sha(*more):
        process = started(*flags, *more)
        out = process.communicate()[0]
        assert process.returncode == 0
        return json.loads(out)["theta_sha256"]

    whole = sha("--out", "whole")
    process, path = started(*flags, "--out", "cut"), tmp_path / "cut" / "fogzo-n2-seed0.npz"
    kill_once_there(process, path, 120)
    process.stdout.close()
    assert int(checkpoint.load(path)[1]["state.step"]) < 120  # it was in the middle
    assert not (tmp_path / "cut" / "results.json").exists()
    assert sha("--resume", "cut") == whole

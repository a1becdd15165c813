"""Standardised images: mean 0 and variance 1 of the training set, a channel each."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import blobs

from minizo import InputError, backend, cifar, mnist
from minizo.commands.sources import of_folder
from minizo.data import scaling as module
from minizo.data import synthetic_digits
from minizo.data.dataset import ARRAYS, Dataset
from minizo.export import __main__ as exporting

RNG = np.random.default_rng()


def coloured(dtype=np.float32, n=60):
    """Three channels of other means and widths; the third is constant in the training set."""
    x = RNG.normal(size=(n + 20, 3, 5, 4)) * [[[1.0]], [[30.0]], [[0.0]]] + [
        [[4.0]],
        [[-1.0]],
        [[0.1]],
    ]
    x = x.astype(dtype)
    x[n:, 2] += dtype(0.5)
    y = np.arange(n + 20) % 10
    return Dataset("colours", x[:n], y[:n], x[n:], y[n:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean_0_and_variance_1_of_the_training_set(dtype):
    """By NumPy in float64, to a few roundings; the test set gets the training set's numbers.

    Negative control: its own mean and standard deviation give other images.
    """
    data = coloured(dtype)
    found = data.standardized()
    assert found.x_train.dtype == found.x_test.dtype == dtype
    assert found.name == "colours, standardised" and data.name == "colours"
    assert found.y_train is data.y_train and found.digest != data.digest
    x, x_test = data.x_train.astype(float), data.x_test.astype(float)
    rounding = 4 * np.finfo(dtype).eps
    mean, std = x.mean((0, 2, 3), keepdims=True)[0], x.std((0, 2, 3), keepdims=True)[0]
    std[2] = 1.0
    for ours, images in ((found.x_train, x), (found.x_test, x_test)):
        np.testing.assert_allclose(ours, (images - mean) / std, rtol=rounding, atol=rounding)
    own = x_test - x_test.mean((0, 2, 3), keepdims=True)
    own[:, :2] /= x_test.std((0, 2, 3), keepdims=True)[:, :2]
    assert not np.allclose(found.x_test, own, rtol=1e-3)
    ours = found.x_train.astype(float)
    np.testing.assert_allclose(ours.mean((0, 2, 3)), 0.0, atol=100 * rounding)
    np.testing.assert_allclose(ours.var((0, 2, 3)), [1.0, 1.0, 0.0], atol=100 * rounding)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-40])
def test_a_constant_channel_is_centred(value):
    """Exactly 0, though a sum of 0.1 is rounded; a test image keeps its distance."""
    x = np.full((7, 1, 3, 3), value, np.float32)
    found = Dataset("grey", x, np.arange(7), x[:1] + np.float32(2.0), np.arange(1)).standardized()
    np.testing.assert_array_equal(found.x_train, 0.0)
    np.testing.assert_array_equal(found.x_test, x[:1] + np.float32(2.0) - x[:1])


def test_the_same_on_another_array_library(on_strict, monkeypatch):
    """On the device of array-api-strict, to rounding; in blocks of one image, too."""
    data = coloured()
    arrays = {name: on_strict(getattr(data, name)) for name in ARRAYS}
    wanted = data.standardized()
    for numbers in (module.BLOCK, 1):
        monkeypatch.setattr(module, "BLOCK", numbers)
        found = Dataset("colours", **arrays).standardized()
        for name in ("x_train", "x_test"):
            ours = getattr(found, name)
            assert ours.device == arrays[name].device and ours.dtype == arrays[name].dtype
            np.testing.assert_allclose(
                backend.to_numpy(ours), getattr(wanted, name), rtol=1e-6, atol=1e-6
            )


def test_twice_is_once_but_for_rounding_and_the_name():
    once = coloured().standardized()
    twice = once.standardized()
    np.testing.assert_allclose(twice.x_train, once.x_train, rtol=1e-5, atol=1e-6)
    assert twice.name == "colours, standardised, standardised"


def test_memory_is_the_new_images_and_a_block():
    """12 MB of images need 12 MB and less than 40 MB beside them, float64 copies of a block."""
    n = 4000
    x, y = np.zeros((n, 1, 28, 28), np.float32), np.arange(n) % 10
    data = Dataset("zeros", x, y, x[:1], y[:1])
    tracemalloc.start()
    data.standardized()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes + 5 * 8 * module.BLOCK < x.nbytes + 10 * x.nbytes


def test_nothing_to_take_a_mean_of():
    x, y = np.zeros((0, 1, 2, 2), np.float32), np.arange(0)
    with pytest.raises(InputError, match=r"x_train is \(0, 1, 2, 2\), but their mean and standard"):
        Dataset("none", x, y, x, y).standardized()


def test_a_test_image_out_of_reach_is_refused():
    x, labels = blobs(20, 2, 3, 0)
    x *= np.float32(1e-20)
    far = np.full_like(x, 1e25)
    with pytest.raises(InputError, match="a number of x_test is inf"), np.errstate(over="ignore"):
        Dataset("far", x, labels, far, labels).standardized()


# The flag ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", [mnist.main, cifar.main])
def test_the_flag(main, command, corners):
    """It reaches the network, is stored, resumed, and cannot be changed by --resume."""
    flags = ["--model", "mlp", "--quantizer", "midrise", "--estimator", "ste", "--steps", 5,
             "--data", corners, "--augment", "none", "--batch", 30, "--quiet",
             "--json"]  # fmt: skip
    rows = {}
    for name, own in (("plain", []), ("other", ["--standardize"])):
        code, out, err = command(main, *flags, *own, "--out", name)
        assert code == 0, err
        rows[name] = json.loads(out)
    assert rows["other"]["data"] == "corners, standardised" and rows["plain"]["data"] == "corners"
    assert rows["other"]["theta_sha256"] != rows["plain"]["theta_sha256"]
    assert of_folder("other").standardize and not of_folder("plain").standardize
    code, out, err = command(main, "--resume", "other", "--json", "--quiet")
    assert code == 0 and json.loads(out)["theta_sha256"] == rows["other"]["theta_sha256"]
    code, _, err = command(main, "--resume", "plain", "--standardize")
    assert code == 2 and err == (
        "minizo: --standardize differs from the run in plain, which was started with no "
        "--standardize; leave --standardize out to resume it, or start a new run\n"
    )


def test_an_exported_network_is_fed_standardised_images(command, corners):
    """Its predictions are those of training; without the flag in settings.json they are not."""
    flags = ("--estimator", "ste", "--steps", 30, "--data", corners, "--batch", 30, "--quiet")
    assert command(mnist.main, *flags, "--standardize", "--out", "run", "--json")[0] == 0
    trained = json.loads(Path("run/results.json").read_text())[0]
    code, out, err = command(exporting.main, "run", "--json")
    row = json.loads(out)
    assert code == 0 and row["equal"] == row["images"] == 100, err
    assert row["data"] == trained["data"] == "corners, standardised"


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_a_wrong_truth_in_a_file(value, command):
    Path("mine.json").write_text(json.dumps({"standardize": value, "steps": "none"}))
    code, _, err = command(mnist.main, "--settings", "mine.json")
    wanted = "steps is" if value is None else f"--standardize is {value!r}, but it must be True or"
    assert code == 2 and wanted in err and len(err.splitlines()) == 1


def test_digits_are_learned_from_standardised_images():
    """Real grey images: mean 0 and variance 1 to 1e-6, and no longer in [0, 1]."""
    data = synthetic_digits(500, 100).standardized()
    assert abs(float(np.mean(data.x_train, dtype=float))) < 1e-6
    assert abs(float(np.var(data.x_train, dtype=float)) - 1.0) < 1e-6
    assert data.x_train.min() < 0.0 and data.x_train.max() > 1.0

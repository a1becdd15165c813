"""The command of the microscope: what it prints, and what it refuses."""

import csv
import json

import numpy as np
import pytest
from conftest import write_corners

from minizo import STE, Objective, Step, quantizers
from minizo.lab import microscope
from minizo.models import mlp

# The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small data set in IDX files."""
    return write_corners(tmp_path_factory.mktemp("corners"), 6)


@pytest.fixture
def call(folder, command):
    """call(*flags) -> (exit code, stdout, stderr)."""

    def run(*flags, data=folder):
        return command(microscope.main, "--data", data, "--quiet", *flags)

    return run


def test_the_command(call, tmp_path):
    """Two looks at every estimator: table, CSV, picture; --json has the same rows."""
    flags = ("--steps", 40, "--reference", 20_000, "--draws", 4, "--workers", 1)
    code, out, err = call(*flags, "--out", "a")
    assert code == 0 and err == ""
    assert "corners0: 2-bit midrise 36-10-10" in out and "one fixed batch of 100" in out
    assert "Step 30" in out and "Step 40" in out and "(1 - beta) d" in out
    with open(tmp_path / "a" / "microscope.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(microscope.LINEUP)
    assert {row["step"] for row in rows} == {"30", "40"}
    assert (tmp_path / "a" / "microscope.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a" / "table.txt").read_text().strip() in out
    code, out, _ = call(*flags, "--out", "b", "--json")
    assert code == 0
    objects = [json.loads(line) for line in out.splitlines()]
    assert [o["cosine"] for o in objects] == [float(row["cosine"]) for row in rows]
    ste = objects[0]
    macs = 36 * 10 + 10 * 10
    assert ste["estimator"] == "STE" and (ste["forwards"], ste["backwards"]) == (1, 1)
    assert ste["macs"] == 100 * (macs + 2 * macs - 360) and ste["n"] is None


def test_theta_is_that_of_fit(folder):
    """The trajectory's end is `minizo.fit`'s, bit for bit, and the early point lies on it."""
    from minizo import fit
    from minizo.data import load
    from minizo.optim import Adam

    data = load(str(folder))
    network = mlp(36, 10, 10, input_shape=(1, 6, 6))
    objective = Objective(network, quantizers.MidRise(bits=2))
    run = fit(objective, data, STE(), Adam(0.01), steps=40, seed=2)
    calibrated = objective.calibrate(objective.network.init(2, like=data.x_train))
    thetas, batch = microscope.trajectory(
        calibrated, data, 40, (30, 40), 2, Step().pool, lambda: None
    )
    np.testing.assert_array_equal(thetas[1], run.theta)
    assert not np.array_equal(thetas[0], thetas[1]) and batch.labels.shape == (100,)


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("--steps", 30), "--steps is 30, but it must be above 30"),
        (("--draws", 2), "--draws is 2, but it must be at least 3"),
        (("--draws", 0), "--draws is 0"),
        (("--reference", 999), "--reference is 999"),
        (("--seed", -1), "--seed is -1"),
        (("--workers", 0), "--workers is 0, but it must be at least 1"),
        (("--reference", "many"), "--reference: invalid int value"),
        (("--drawz", 3), "unknown flag --drawz; did you mean --draws?"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(call, tmp_path, flags, sentence):
    code, out, err = call(*flags)
    assert code == 2 and sentence in err and out == "" and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_bad_data_and_a_full_folder(call, tmp_path):
    code, _, err = call(data=tmp_path / "absent")
    assert code == 2 and "absent" in err and len(err.splitlines()) == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    code, _, err = call("--out", "full")
    assert code == 2 and "already holds something" in err

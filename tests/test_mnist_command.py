"""``python -m minizo.mnist`` as a user meets it: outputs, settings that reach the network, bits."""

import csv
import json
import os

import numpy as np
import pytest

from minizo import checkpoint

FIELDS = [
    "label", "estimator", "quantizer", "optimizer", "backend", "device", "dtype", "data", "seed",
    "lr", "steps", "n", "beta", "forwards", "backwards", "macs", "train_loss", "test_accuracy",
    "test_loss", "seconds", "evaluation_seconds", "memory_mib", "theta_sha256",
]  # fmt: skip


def test_default_comparison(call, tmp_path):
    """Six rows, a picture, records, one checkpoint a run, and every name of the data."""
    code, out, err = call("--out", "first")
    assert code == 0 and err == ""
    rows = [line.split("  ")[0] for line in out.splitlines()[4:10]]
    assert rows == ["STE", "normalised STE", "n-SPSA n=1", "n-SPSA n=10", "FOGZO n=1", "FOGZO n=10"]
    assert "corners: 2-bit midrise 64-10-10, 20 steps of 30" in out
    assert f"run folder: first\npicture:    first{os.sep}training.png" in out
    files = {path.name for path in (tmp_path / "first").iterdir()}
    assert files == {
        "settings.json", "results.json", "records.csv", "table.txt", "training.png",
        "ste-seed0.npz", "spsa-n1-seed0.npz", "spsa-n10-seed0.npz", "fogzo-n1-seed0.npz",
        "fogzo-n10-seed0.npz", "normalised-ste-seed0.npz",
    }  # fmt: skip
    assert (tmp_path / "first" / "training.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "first" / "records.csv") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 6 * 21
    assert float(records[20]["train_loss"]) < float(records[0]["train_loss"])


def test_json_is_the_only_thing_on_standard_output(call):
    """One object a run with the documented fields, in the documented order."""
    code, out, _ = call("--json", "--estimator", "ste", "--estimator", "fogzo", "--n", 2)
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [list(row) for row in rows] == [FIELDS, FIELDS]
    ste, fogzo = rows
    assert (ste["estimator"], ste["n"], ste["beta"], ste["forwards"]) == ("ste", None, None, 20)
    assert (fogzo["n"], fogzo["beta"], fogzo["forwards"], fogzo["backwards"]) == (2, 0.999, 100, 20)
    assert fogzo["macs"] == 30 * (100 * 740 + 20 * 840)
    assert (ste["backend"], ste["device"], ste["dtype"]) == ("numpy", "cpu", "float32")
    assert len(ste["theta_sha256"]) == 64


def test_several_seeds_give_a_spread(call):
    code, out, _ = call("--estimator", "ste", "--seed", 0, 1, "--seed", 2)
    assert code == 0
    assert "+-" in out and "3 seeds" in out


def test_a_sweep_is_the_runs_one_by_one(call, tmp_path):
    """--seeds and two rates: one line a rate, each seed's loss that of the single run."""
    sweep = ("--estimator", "ste", "--estimator", "fogzo", "--n", 1, "--seeds", 3)
    sweep = (*sweep, "--lr", ".01", "0.03", "--dtype", "float64")
    code, out, err = call(*sweep, "--out", "sweep")
    assert code == 0 and err == "" and "3 seeds" in out
    assert [line.split("  ")[0] for line in out.splitlines()[4:8]] == [
        "STE, lr 0.01", "STE, lr 0.03", "FOGZO n=1, lr 0.01", "FOGZO n=1, lr 0.03",
    ]  # fmt: skip
    rows = json.loads((tmp_path / "sweep" / "results.json").read_text())
    assert [(row["lr"], row["seed"]) for row in rows[:6]] == [
        (lr, seed) for lr in (0.01, 0.03) for seed in range(3)
    ]
    flags = ("--estimator", "fogzo", "--n", 1, "--seed", 2, "--lr", 0.03, "--dtype", "float64")
    code, out, _ = call(*flags, "--json", "--out", "single")
    assert abs(json.loads(out)["train_loss"] - rows[-1]["train_loss"]) < 1e-8
    code, out, _ = call("--resume", "sweep", "--json")
    again = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [r["theta_sha256"] for r in again] == [r["theta_sha256"] for r in rows]


def test_a_sweep_reports_what_diverged(call):
    flags = ("--estimator", "ste", "--optimizer", "sgd", "--seeds", 2, "--lr", 0.1, "--lr", "1e39")
    code, out, err = call(*flags)
    assert code == 1 and "became NaN or infinite" in err and "checkpoint" not in err
    assert "diverged" in out and "STE, lr 0.1 " in out


def test_workers_do_not_change_the_bits(call):
    """theta_sha256 is one and the same for 1, 2, 3 workers; not for two seeds."""

    def sha(*flags):
        code, out, _ = call("--json", "--estimator", "fogzo", "--n", 150, *flags)
        assert code == 0
        return json.loads(out)["theta_sha256"]

    flags = [(), ("--workers", 1), ("--workers", 2), ("--workers", 3)]
    shas = {sha(*f, "--out", f"run{i}") for i, f in enumerate(flags)}
    assert len(shas) == 1
    assert sha("--seed", 1, "--out", "other") not in shas


def test_float64_and_other_networks(call):
    """Flags reach the network: dtype, widths, activation, quantiser, loss."""
    code, out, err = call(
        "--json", "--dtype", "float64", "--model", "mlp:hidden=7,5", "--activation", "hardtanh",
        "--quantizer", "sign:surrogate=tanh", "--loss", "squared-hinge",
        "--optimizer", "momentum:schedule=cosine", "--lr", 0.05, "--n", 3, "--estimator",
        "fogzo:law=gaussian,beta_schedule=constant,ste_share=.5,perturb=quantized,eps=.01",
    )  # fmt: skip
    assert code == 0, err
    row = json.loads(out)
    assert row["dtype"] == "float64"
    macs = 64 * 7 + 7 * 5 + 5 * 10
    backward = 2 * macs - 64 * 7
    assert row["macs"] == 30 * ((10 + 10 * 7) * macs + 20 * backward)


@pytest.mark.parametrize(
    "flags",
    [
        "--quantizer rbnn:detach-rotation=yes --estimator ste",
        "--quantizer xnor:rule=exact,per=layer --estimator fogzo --n 1",
        "--quantizer stochastic:in-use=sign --estimator binaryconnect:clip=1",
        "--quantizer sign:surrogate=ede --estimator ste spsa:eps=.1",
        "--quantizer sign --optimizer bop:gamma=.01,threshold=1e-7 --estimator ste",
        "--activation lsq:bits=3 --quantizer lsq --estimator fogzo",
        "--activation sign:surrogate=swish --quantizer fda --estimator ste",
        "--estimator fsg:units=4,expand=4,states=2 fast-net:units=4 --quantizer dorefa:bits=2",
    ],
)
def test_the_zoo(call, flags):
    """Quantisers, surrogates, activations and Bop by name; the settings reach them."""
    code, out, _ = call(*flags.split(), "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and all(row["train_loss"] > 0 for row in rows)


def test_the_convolutional_network(call, tmp_path):
    """--model lenet: binary everywhere, or without the first and the last layer."""
    flags = ("--model", "lenet", "--quantizer", "sign", "--estimator", "ste", "--records", 2)
    code, out, _ = call(*flags, "--activation", "sign", "--out", "all", steps=4)
    assert code == 0 and "binary-weight binary-activation lenet, 4 steps" in out
    code, out, _ = call(*flags, "--quantize", "inner", "--out", "inner", steps=4)
    assert code == 0 and "binary lenet (inner layers), 4 steps" in out
    layers = ("conv1", "conv2", "fc")
    for folder, levels in ("all", (True, True, True)), ("inner", (False, True, False)):
        header, saved = checkpoint.load(tmp_path / folder / "ste-seed0.npz")
        assert header["runs"][0]["records"]["step"] == [0, 2, 4]
        found = [len(np.unique(saved[f"quantized.{name}.weight"])) == 2 for name in layers]
        assert tuple(found) == levels
        assert "state.running.bn1.mean" in saved

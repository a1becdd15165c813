"""``python -m minizo.mnist`` as a user meets it: outputs, exit codes, killing and resuming."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import write_corners

from minizo import InputError, checkpoint, experiment, files, mnist

FIELDS = [
    "estimator", "backend", "device", "dtype", "data", "seed", "lr", "steps", "n", "beta",
    "forwards", "backwards", "macs", "train_loss", "test_accuracy", "seconds", "memory_mib",
    "theta_sha256",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small data set in IDX files."""
    return write_corners(tmp_path_factory.mktemp("corners", numbered=False), 8)


@pytest.fixture
def call(folder, command):
    """call(*flags) -> (exit code, stdout, stderr)."""

    def run(*flags, data=folder, steps=20, batch=30):
        own = ("--data", data, "--steps", steps, "--batch", batch, "--quiet")
        return command(mnist.main, *own, *flags)

    return run


def test_default_comparison(call, tmp_path):
    """Five rows, a picture, records, one checkpoint a run, and every name of the data."""
    code, out, err = call("--out", "first")
    assert code == 0 and err == ""
    rows = [line.split("  ")[0] for line in out.splitlines()[4:9]]
    assert rows == ["STE", "n-SPSA n=1", "n-SPSA n=10", "FOGZO n=1", "FOGZO n=10"]
    assert "corners: 2-bit midrise 64-10-10, 20 steps of 30" in out
    assert f"run folder: first\npicture:    first{os.sep}training.png" in out
    files = {path.name for path in (tmp_path / "first").iterdir()}
    assert files == {
        "settings.json", "results.json", "records.csv", "table.txt", "training.png",
        "ste-seed0.npz", "spsa-n1-seed0.npz", "spsa-n10-seed0.npz", "fogzo-n1-seed0.npz",
        "fogzo-n10-seed0.npz",
    }  # fmt: skip
    assert (tmp_path / "first" / "training.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "first" / "records.csv") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 5 * 21
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
    code, out, _ = call("--estimator", "ste", "--seed", 0, "--seed", 1, "--seed", 2)
    assert code == 0
    assert "+-" in out and "3 seeds" in out


def test_a_sweep_is_the_runs_one_by_one(call, tmp_path):
    """--seeds and --lr-grid: one line a rate, each seed's loss that of the single run."""
    sweep = ("--estimator", "ste", "--estimator", "fogzo", "--n", 1, "--seeds", 3)
    sweep = (*sweep, "--lr-grid", ".01,0.03", "--dtype", "float64")
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
    code, _, err = call("--resume", "sweep")
    assert code == 2 and "keep no checkpoints" in err


def test_a_sweep_reports_what_diverged(call):
    flags = ("--estimator", "ste", "--optimizer", "sgd", "--seeds", 2, "--lr-grid", "0.1,1e39")
    code, out, err = call(*flags)
    assert code == 1 and "became NaN or infinite" in err and "checkpoint" not in err
    assert "diverged" in out and "STE, lr 0.1 " in out


def test_workers_and_memory_do_not_change_the_bits(call):
    """theta_sha256 is one and the same for 1, 2, 3 workers and two budgets; not for two seeds."""

    def sha(*flags):
        code, out, _ = call("--json", "--estimator", "fogzo", "--n", 150, *flags)
        assert code == 0
        return json.loads(out)["theta_sha256"]

    flags = [(), ("--workers", 1), ("--workers", 2), ("--workers", 3, "--memory", 1)]
    shas = {sha(*f, "--out", f"run{i}") for i, f in enumerate(flags)}
    assert len(shas) == 1
    assert sha("--seed", 1, "--out", "other") not in shas


def test_float64_and_other_networks(call):
    """Flags reach the network: dtype, widths, activation, quantiser, loss."""
    code, out, err = call(
        "--json", "--dtype", "float64", "--hidden", "7,5", "--activation", "hardtanh",
        "--quantizer", "sign", "--surrogate", "tanh", "--loss", "squared-hinge",
        "--optimizer", "momentum", "--lr", 0.05, "--schedule", "cosine", "--estimator", "fogzo",
        "--law", "gaussian", "--beta-schedule", "constant", "--ste-share", 0.5, "--n", 3,
        "--perturb", "quantized", "--eps", 0.01,
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
        "--quantizer rbnn --estimator ste --detach-rotation",
        "--quantizer xnor --rule exact --per layer --estimator fogzo --n 1",
        "--quantizer stochastic --estimator binaryconnect --clip 1 --in-use sign",
        "--quantizer sign --surrogate ede --estimator ste --estimator spsa --n 1 --eps 0.1",
        "--quantizer sign --optimizer bop --gamma 0.01 --threshold 1e-7 --estimator ste",
        "--activation lsq --activation-bits 3 --quantizer lsq --estimator fogzo --n 1",
        "--activation sign --activation-surrogate swish --quantizer fda --estimator ste",
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


def test_a_folder_that_holds_something_is_not_written_to(call, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    code, _, err = call("--out", "full")
    assert code == 2 and "--out full already holds something" in err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


BAD = [
    (("--n", 0), "n is 0, but it must be a whole number of at least 1"),
    (("--n", -3), "n is -3"),
    (("--n", "x"), "argument --n: invalid int value: 'x'"),
    (("--beta", 1.5), "beta is 1.5, but it must lie in [0, 1]"),
    (("--beta", -0.1), "beta is -0.1"),
    (("--beta", "nan"), "beta is nan"),
    (("--bits", 0), "bits is 0, but it must be a whole number from 1 to 8"),
    (("--bits", 9), "bits is 9"),
    (("--lr", "nan"), "lr is nan, but it must be finite and above 0"),
    (("--lr", -1), "lr is -1.0"),
    (("--lr", 0), "lr is 0.0"),
    (("--eps", 0), "eps is 0.0"),
    (("--eps-scale", "inf"), "eps_scale is inf"),
    (("--ste-share", 2), "ste_share is 2.0"),
    (("--estimator", "fogso"), "unknown name 'fogso'; did you mean 'fogzo'?"),
    (("--law", "gausian"), "did you mean 'gaussian'?"),
    (("--surrogate", "hardtan"), "did you mean 'hardtanh'?"),
    (("--quantizer", "mid-rise"), "did you mean 'midrise'?"),
    (("--optimizer", "adm"), "did you mean 'adam'?"),
    (("--schedule", "cos"), "did you mean 'cosine'?"),
    (("--beta-schedule", "liner"), "did you mean 'linear'?"),
    (("--activation", "rellu"), "did you mean 'relu'?"),
    (("--loss", "crossentropy"), "did you mean 'cross-entropy'?"),
    (("--perturb", "some"), "perturb is 'some'"),
    (("--backend", "cuda"), "backend is 'cuda'"),
    (("--dtype", "float16"), "--dtype is 'float16', but it must be float32 or float64"),
    (("--hidden", "10,x"), "--hidden is '10,x', but it must be whole numbers"),
    (("--hidden", "0"), "--hidden is '0'"),
    (("--seed", -1), "seed is -1"),
    (("--seeds", 0), "--seeds is 0"),
    (("--lr-grid", "0.1;1"), "--lr-grid is '0.1;1', but it must be learning rates such as"),
    (("--lr-grid", "0.1,-1"), "lr is -1.0"),
    (("--rng", "gpu"), "--rng is 'gpu', but it must be device or host"),
    (("--workers", 0), "--workers is 0, but it must be at least 1"),
    (("--memory", 0), "--memory is 0"),
    (("--checkpoint-every", 0), "--checkpoint-every is 0"),
    (("--steps", 0), "--steps is 0"),
    (("--batch", 301), "batch is 301, but there are only 300 examples"),
    (("--quantizer", "none"), "eps is None, but FullPrecision weights imply no perturbation size"),
    (("--quantizer", "irnet"), "eps is None, but IRNet weights imply no perturbation size"),
    (("--quantizer", "xnor", "--rule", "exat"), "unknown name 'exat'; did you mean 'exact'?"),
    (("--optimizer", "bop"), "levels is 4, but Bop flips binary weights"),
    (("--activation", "sign", "--activation-surrogate", "eed"), "did you mean 'ede'?"),
    (("--optimizer", "bop", "--quantizer", "sign", "--pretrain-steps", 5), "Bop flips binary"),
    (("--resume", "nowhere"), "--resume nowhere: there is no readable settings.json in it"),
    (("--lerning-rate", 1), "unrecognized arguments: --lerning-rate"),
]


@pytest.mark.parametrize("flags, sentence", BAD, ids=[" ".join(map(str, f)) for f, _ in BAD])
def test_bad_input_is_one_sentence_and_code_2(call, tmp_path, flags, sentence):
    """Nothing on standard output, no traceback, nothing left behind."""
    code, out, err = call(*flags)
    assert code == 2
    assert sentence in err
    assert out == "" and "Traceback" not in err
    if "unrecognized" not in sentence and "argument" not in sentence:
        assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_code_2(call, tmp_path):
    code, _, err = call(data=tmp_path / "absent")
    assert code == 2 and "absent" in err and len(err.splitlines()) == 1


def test_unwritable_out(call, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, err = call("--out", "file/run")
    assert code == 2 and "--out file/run cannot be made" in err


def test_full_disk(call, tmp_path, monkeypatch):
    """The checkpoint of the first run cannot be written: a sentence, code 2, no stray file."""
    real, saves = os.fsync, []

    def full(handle):
        saves.append(handle)
        if len(saves) > 1:  # settings.json still fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = call("--out", "run")
    assert code == 2 and "No space left on device" in err and len(err.splitlines()) == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["settings.json"]


def test_cupy_without_a_gpu_is_one_sentence(call):
    """Skipped where there is a GPU: then there is nothing to complain about."""
    from minizo import backend

    if backend.get("auto").__name__ == "cupy":
        pytest.skip("a GPU is usable here")
    code, out, err = call("--backend", "cupy")
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert "pip install" in err or "nvidia-smi" in err


def test_divergence_is_reported_and_the_others_go_on(call):
    """The n-SPSA run diverges; the STE's result stands, the exit code is 1."""
    flags = ("--estimator", "ste", "--estimator", "spsa", "--n", 1, "--optimizer", "sgd")
    code, out, err = call(*flags, "--lr", 1e37, "--quantizer", "none", "--eps", 1e-3)
    assert code == 1
    assert "became NaN or infinite at step" in err and "learning rate 1e+37" in err
    assert "diverged" in out
    code, out, _ = call(*flags, "--lr", 1e37, "--quantizer", "none", "--eps", 1e-3, "--json",
                        "--out", "again")  # fmt: skip
    rows = [json.loads(line) for line in out.splitlines()]
    assert all(list(row) == [*FIELDS, "error"] and row["train_loss"] is None for row in rows)


def test_resume_refuses_other_settings(call):
    assert call("--out", "run", "--estimator", "ste")[0] == 0
    code, _, err = call("--resume", "run", "--lr", 0.5)
    assert code == 2 and "--lr is 0.5, but the run in run was started with None" in err
    code, _, err = call("--resume", "run", "--bits", 3)
    assert code == 2 and "--bits is 3, but the run in run was started with 2" in err


def test_resume_refuses_a_damaged_checkpoint(call, tmp_path):
    assert call("--out", "run", "--estimator", "ste")[0] == 0
    path = tmp_path / "run" / "ste-seed0.npz"
    path.write_bytes(path.read_bytes()[:-100])
    code, _, err = call("--resume", "run")
    assert code == 2 and "ste-seed0.npz is damaged" in err and len(err.splitlines()) == 1


def test_resume_refuses_another_commands_run(call, tmp_path):
    (tmp_path / "other").mkdir()
    text = json.dumps({"command": "minizo.other", "settings": {}})
    files.write_text(tmp_path / "other" / "settings.json", text)
    code, _, err = call("--resume", "other")
    assert code == 2 and "that is a run of `minizo.other`" in err


def test_killed_and_resumed_equals_never_stopped(folder, tmp_path):
    """`kill -9` after some checkpoints, then --resume: the SHA-256 of the uninterrupted runs."""
    command = [
        sys.executable, "-m", "minizo.mnist", "--data", str(folder), "--steps", "3000", "--batch",
        "30", "--quiet", "--json", "--checkpoint-every", "50", "--n", "2",
    ]  # fmt: skip

    def shas(*flags):
        done = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["theta_sha256"] for line in done.stdout.splitlines()]

    whole = shas("--out", "whole")
    process = subprocess.Popen([*command, "--out", "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "cut" / "spsa-n2-seed0.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    header, _ = checkpoint.load(tmp_path / "cut" / "spsa-n2-seed0.npz")
    assert header["runs"][0]["records"]["step"][-1] < 3000  # it was in the middle of its second run
    assert not (tmp_path / "cut" / "results.json").exists()
    assert shas("--resume", "cut") == whole


def test_interruption_by_hand(call, monkeypatch, tmp_path):
    """Ctrl-C in the second run: one line, code 130, and --resume ends with all five runs."""
    from minizo import experiment

    real, runs = experiment.fit, []

    def fit(*args, **options):
        runs.append(options["path"].stem)
        if len(runs) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(experiment, "fit", fit)
    code, out, err = call("--out", "run")
    assert code == 130 and out == ""
    assert err == "minizo: stopped; what was finished is kept\n"
    assert [path.name for path in (tmp_path / "run").glob("*.npz")] == ["ste-seed0.npz"]
    assert call("--resume", "run")[0] == 0
    assert len(list((tmp_path / "run").glob("*.npz"))) == 5


def test_run_folder_is_named_at_the_start(folder, tmp_path, monkeypatch, capsys):
    """Whoever stops a long run must know what to resume."""
    monkeypatch.chdir(tmp_path)
    flags = ["--data", str(folder), "--steps", "2", "--batch", "30", "--estimator", "ste"]
    assert mnist.main([*flags, "--out", "here"]) == 0
    assert capsys.readouterr().err.startswith("run folder: here (if interrupted")


def test_help_shows_every_flag_and_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        mnist.main(["--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    for flag in (
        "estimator backend data model hidden bits quantize surrogate law n beta beta-schedule "
        "optimizer lr schedule steps epochs batch augment pretrain-steps seed workers out records "
        "loss-examples checkpoint-every resume quiet json dtype"
    ).split():
        assert f"--{flag} " in out or f"--{flag}\n" in out, flag
    assert "(default: 1200)" in out and "(default: 0.999)" in out


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment.time, "strftime", lambda form: "20260101-000000")
    names = [experiment.new_folder(None, "mnist").name for _ in range(3)]
    assert names == [f"mnist-20260101-000000{end}" for end in ("", "-2", "-3")]
    monkeypatch.chdir(tmp_path / "runs" / names[0])
    (tmp_path / "runs" / names[0] / "runs").write_text("a file")
    with pytest.raises(InputError, match="runs cannot be made"):
        experiment.new_folder(None, "mnist")

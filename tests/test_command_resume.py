"""``--resume``: killed, stopped by hand, continued with the same bits, or refused."""

import json
import subprocess
import sys

import pytest
from conftest import kill_once_there

from minizo import InputError, checkpoint, files, mnist
from minizo.commands import running


def test_resume_refuses_other_settings(call):
    assert call("--out", "run", "--estimator", "ste")[0] == 0
    code, _, err = call("--resume", "run", "--lr", 0.5)
    assert code == 2 and err == (
        "minizo: --lr 0.5 differs from the run in run, which was started with --lr 0.01; leave "
        "--lr out to resume it, or start a new run\n"
    )
    code, _, err = call("--resume", "run", "--quantizer", "midrise:bits=3")
    assert code == 2 and "which was started with --quantizer midrise; leave --quantizer" in err
    code, _, err = call("--resume", "run", "--estimator", "STE", "--lr", 0.01, "--workers", 2)
    assert code == 0, err


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


@pytest.mark.slow
def test_killed_and_resumed_equals_never_stopped(corners, tmp_path):
    """`kill -9` after some checkpoints, then --resume: the SHA-256 of the uninterrupted runs."""
    command = [
        sys.executable, "-m", "minizo.mnist", "--data", str(corners), "--steps", "1200", "--batch",
        "30", "--quiet", "--json", "--checkpoint-every", "50", "--n", "2",
    ]  # fmt: skip

    def shas(*flags):
        done = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["theta_sha256"] for line in done.stdout.splitlines()]

    whole = shas("--out", "whole")
    process = subprocess.Popen([*command, "--out", "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    kill_once_there(process, tmp_path / "cut" / "spsa-n2-seed0.npz")
    header, _ = checkpoint.load(tmp_path / "cut" / "spsa-n2-seed0.npz")
    assert header["runs"][0]["records"]["step"][-1] < 1200  # it was in the middle of its second run
    assert not (tmp_path / "cut" / "results.json").exists()
    assert shas("--resume", "cut") == whole


def test_interruption_by_hand(call, monkeypatch, tmp_path):
    """Ctrl-C in the second run: one line, code 130, and --resume ends with all five runs."""
    real, runs = running.fit, []

    def fit(*args, **options):
        runs.append(options["path"].stem)
        if len(runs) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(running, "fit", fit)
    code, out, err = call("--out", "run")
    assert code == 130 and out == ""
    assert err == "minizo: stopped; what was finished is kept\n"
    assert [path.name for path in (tmp_path / "run").glob("*.npz")] == ["ste-seed0.npz"]
    assert call("--resume", "run")[0] == 0
    assert len(list((tmp_path / "run").glob("*.npz"))) == 6


def test_run_folder_is_named_at_the_start(corners, tmp_path, monkeypatch, capsys):
    """Whoever stops a long run must know what to resume."""
    monkeypatch.chdir(tmp_path)
    flags = ["--data", str(corners), "--steps", "2", "--batch", "30", "--estimator", "ste"]
    assert mnist.main([*flags, "--out", "here"]) == 0
    assert capsys.readouterr().err.startswith("run folder: here (if interrupted")


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running.time, "strftime", lambda form: "20260101-000000")
    names = [running.new_folder(None, "mnist").name for _ in range(3)]
    assert names == [f"mnist-20260101-000000{end}" for end in ("", "-2", "-3")]
    monkeypatch.chdir(tmp_path / "runs" / names[0])
    (tmp_path / "runs" / names[0] / "runs").write_text("a file")
    with pytest.raises(InputError, match="runs cannot be made"):
        running.new_folder(None, "mnist")

"""The export command: what it prints, and what it refuses."""

import json
from functools import partial

import numpy as np
import pytest
from conftest import write_corners

import minizo
from minizo import export, mnist, models, text
from minizo.export import __main__ as exporting
from minizo.sampling import write

# The command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of ``minizo.mnist`` on a small data set: 8x8 images, brighter where the label says."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "corners").mkdir()
    write_corners(folder / "corners", 8)
    argv = ["--data", str(folder / "corners"), "--estimator", "ste", "--estimator", "fogzo", "--n",
            "1", "--steps", "20", "--batch", "30", "--quiet", "--out", str(folder / "run"),
            "--quantizer", "sign", "--activation", "sign"]  # fmt: skip
    assert mnist.main(argv) == 0
    return folder / "run"


@pytest.fixture
def call(command):
    """call(*arguments) -> (exit code, stdout, stderr)."""
    return partial(command, exporting.main)


def test_the_command(run_folder, call):
    """A file and a line for each network, predictions compared on every test image."""
    code, out, err = call(run_folder)
    assert code == 0 and err == ""
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "network" and "ms whole" in lines[0]
    assert [line.split()[0] for line in lines[2:4]] == ["fogzo-n1-seed0", "ste-seed0"]
    assert all("100 of 100" in line for line in lines[2:4])
    assert "ste-seed0: 10 thresholds of whole numbers" in out
    for name in ("fogzo-n1-seed0", "ste-seed0"):
        assert export.load(run_folder / "export" / f"{name}.npz").bits == 1


def test_both_sets_of_weights_of_a_run_folder(run_folder):
    """Latent and quantised, by name, as the run wrote them."""
    network = models.mlp(64, 10, 10, activation="sign", input_shape=(1, 8, 8))
    found = export.read_run(run_folder, network)["ste-seed0"]
    latent, weights = found.latent["fc1.weight"], found.weights["fc1.weight"]
    assert np.unique(latent).size > 100 and np.unique(weights).size == 2
    np.testing.assert_array_equal(weights, np.abs(weights[0, 0]) * np.where(latent >= 0, 1, -1))
    np.testing.assert_array_equal(found.latent["fc2.bias"], found.weights["fc2.bias"])


def test_the_command_in_json(run_folder, call, tmp_path):
    code, out, err = call(run_folder, "--json", "--out", tmp_path / "here")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and err == "" and len(rows) == 2
    for row in rows:
        assert row["images"] == row["equal"] == 100 and row["data"] == "corners"
        assert row["bytes"] == (tmp_path / "here" / f"{row['network']}.npz").stat().st_size
        assert row["float_bytes"] > row["bytes"] and row["bits"] == 1
        assert 0 < row["float_ms"] and 0 < row["whole_ms"]
        assert row["largest_difference"] < 1e-4


def test_a_difference_is_exit_code_1(run_folder, call, tmp_path, monkeypatch):
    """The comparison can fail: here the weights in the file are others (negative control)."""
    load = exporting.load

    def wrong(path):
        net = load(path)
        net.steps[-1].b[...] = -net.steps[-1].b + np.arange(net.steps[-1].b.size)
        return net

    monkeypatch.setattr(exporting, "load", wrong)
    code, out, _ = call(run_folder, "--out", tmp_path / "here")
    assert code == 1 and "100 of 100" not in out


def copied(run_folder, tmp_path):
    new = tmp_path / "run"
    new.mkdir()
    for path in run_folder.iterdir():
        if path.is_file():
            (new / path.name).write_bytes(path.read_bytes())
    return new


def test_bad_input_is_one_sentence_and_exit_code_2(run_folder, call, tmp_path):
    def refused(sentence, *argv):
        code, out, err = call(*argv)
        assert code == 2 and out == "" and sentence in err and err.count("\n") == 1, err

    refused("there is no folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused("is not a run folder", tmp_path / "empty")
    (tmp_path / "file").write_text("")
    refused("--out", run_folder, "--out", tmp_path / "file")
    refused("is a run folder", run_folder, "--out", run_folder)
    new = copied(run_folder, tmp_path)
    checkpoint = new / "ste-seed0.npz"
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(good[:-100])
    refused("is damaged", new)
    checkpoint.write_bytes(good)
    text = (new / "settings.json").read_text()
    (new / "settings.json").write_text(text.replace(": [\n        10\n", ": [\n        11\n"))
    refused("holds another network", new)
    for bad in (text.replace('"command"', "command"), "[]"):
        (new / "settings.json").write_text(bad)
        refused("settings.json", new)
    (new / "settings.json").write_text(text)
    (new / "results.json").unlink()
    refused("is not finished", new)
    assert call()[0] == 2  # argparse: no run


def test_networks_that_came_to_no_end(run_folder, call, tmp_path):
    """A diverged run leaves a checkpoint from before: the others are exported."""
    new = copied(run_folder, tmp_path)
    header, arrays = minizo.checkpoint.load(new / "ste-seed0.npz")
    header["runs"][0]["records"]["step"][-1] = 19
    header.pop("format")
    minizo.checkpoint.save(new / "ste-seed0.npz", header, arrays)
    code, out, err = call(new)
    assert code == 0 and "ste-seed0" not in out and "fogzo-n1-seed0" in out
    assert "ste-seed0.npz did not come to its end" in err
    (new / "fogzo-n1-seed0.npz").unlink()
    code, _, err = call(new)
    assert code == 2 and "came to its end" in err


def test_convolutional_networks(run_folder, call, tmp_path):
    """LeNet from its run folder, folded; and a residual network, whose layers stay."""

    def train(model):
        argv = ["--data", run_folder.parent / "corners", "--model", model, "--estimator", "ste",
                "--quantizer", "xnor", "--activation", "sign", "--steps", "4", "--batch",
                "30", "--quiet", "--out", tmp_path / model]  # fmt: skip
        assert mnist.main([str(word) for word in argv]) == 0

    train("lenet")
    code, out, err = call(tmp_path / "lenet")
    assert code == 0 and err == "" and "100 of 100" in out
    assert "ste-seed0: 48 thresholds of whole numbers" in out
    train("small-resnet")
    code, out, err = call(tmp_path / "small-resnet")
    assert code == 0 and err == "" and "100 of 100" in out and "ms whole" not in out
    assert "  0.0e+00  " in out


def test_a_language_model(command, call, tmp_path):
    """Compared at every place of the validation part; the files write what the run would."""
    verse = "Shall I compare thee to a summer's day?\nThou art more lovely\n" * 9
    (tmp_path / "verse.txt").write_text(verse)
    code, _, err = command(
        text.main, "--data", tmp_path / "verse.txt", "--context", 8, "--batch", 10, "--steps", 4,
        "--estimator", "ste", "--quiet", "--model", "llama:width=8,layers=1,heads=2", "--out",
        tmp_path / "run",
    )  # fmt: skip
    assert (code, err) == (0, "")
    code, out, err = call(tmp_path / "run")
    assert code == 0 and err == "" and "48 of 48" in out and "validation part" in out
    code, out, err = call(tmp_path / "run", "--json", "--out", tmp_path / "there")
    full, ste = map(json.loads, out.splitlines())
    for row in (full, ste):
        assert row["tokens"] == row["equal"] == 48 and row["largest_difference"] == 0.0
        assert row["whole_ms"] is None and row["bytes"] < row["float_bytes"]
    assert full["bits"] == 32 and ste["bits"] < 16 and ste["bytes"] < full["bytes"]
    net = export.load(tmp_path / "there" / "ste-seed0.npz")
    data = minizo.data.read_text(tmp_path / "verse.txt", context=8)
    run = export.read_run(tmp_path / "run", models.llama(data.classes, width=8, layers=1, heads=2,
                                                         context=8))["ste-seed0"]  # fmt: skip
    assert net.write("Thou", 50) == write(run.network, run.weights, data, "Thou", 50)

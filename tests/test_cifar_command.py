"""``python -m minizo.cifar`` as a user meets it: data, pre-training, augmentation, resuming."""

import json
import subprocess
import sys

import cifar_files
import numpy as np
import pytest
from conftest import kill_once_there
from test_mnist_command import FIELDS

from minizo import STE, Objective, checkpoint, cifar, data, fit, models, optim, quantizers
from minizo.data import CropFlip, download, load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """200 training and 40 test images in CIFAR-10's format, a bright stripe for a label."""
    batches = cifar_files.contents(n=40, test=40)
    return cifar_files.write_folder(tmp_path_factory.mktemp("stripes", numbered=False), batches)


@pytest.fixture
def call(folder, command):
    """call(*flags) -> (exit code, stdout, stderr)."""

    def run(*flags, data=folder, steps=6, loss_examples=50):
        own = ["--data", data, "--batch", 20, "--quiet"]
        own += [] if steps is None else ["--steps", steps]
        own += [] if loss_examples is None else ["--loss-examples", loss_examples]
        return command(cifar.main, *own, *flags)

    return run


def arrays(folder, slug):
    """The arrays of a checkpoint by name."""
    return checkpoint.load(folder / f"{slug}.npz")[1]


def test_one_run_and_its_folder(call, tmp_path):
    code, out, err = call("--out", "run")
    assert code == 0 and err == ""
    assert out.startswith("stripes: binary small, 6 steps of 20, adam 0.01, seed 0\n")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "settings.json", "results.json", "records.csv", "table.txt", "training.png",
        "ste-seed0.npz",
    }  # fmt: skip
    saved = arrays(tmp_path / "run", "ste-seed0")
    for name in "conv1", "conv2", "conv3", "fc":
        assert len(np.unique(saved[f"quantized.{name}.weight"])) == 2
    assert np.all(saved["state.running.bn1.var"] > 0)


def test_json_has_the_fields_of_the_other_command(call):
    """And the counts: forward and backward multiply-accumulates of 6 steps of 20."""
    code, out, err = call("--json", "--estimator", "ste", "--estimator", "fogzo", "--n", 2)
    assert code == 0 and err == ""
    ste, fogzo = (json.loads(line) for line in out.splitlines())
    assert list(ste) == list(fogzo) == FIELDS
    net = models.small()
    assert ste["macs"] == 6 * 20 * (net.macs + net.backward_macs)
    # 2n evaluations, and the STE's forward
    assert (fogzo["forwards"], fogzo["backwards"]) == (6 * 5, 6)


def test_epochs_records_and_the_part_of_the_training_set(call, tmp_path):
    """2 epochs are 20 steps of 20; the recorded loss is that of the first 50 examples."""
    code, _, _ = call("--epochs", 2, "--records", 4, "--out", "run", steps=None)
    assert code == 0
    header, _ = checkpoint.load(tmp_path / "run" / "ste-seed0.npz")
    assert header["runs"][0]["records"]["step"] == [0, 5, 10, 15, 20]
    assert header["runs"][0]["settings"]["loss_examples"] == 50
    whole = call("--epochs", 2, "--records", 4, "--out", "whole", steps=None, loss_examples=200)
    assert whole[0] == 0
    other, _ = checkpoint.load(tmp_path / "whole" / "ste-seed0.npz")
    assert (
        other["runs"][0]["records"]["test_accuracy"]
        == header["runs"][0]["records"]["test_accuracy"]
    )
    assert other["runs"][0]["records"]["train_loss"] != header["runs"][0]["records"]["train_loss"]


def test_evaluation_is_rare_unless_asked_for(call, tmp_path):
    """7 records of a convolutional network; 21 of a multi-layer perceptron, over all examples."""
    assert call("--out", "conv", steps=12, loss_examples=None)[0] == 0
    assert call("--out", "mlp", "--model", "mlp", steps=40, loss_examples=None)[0] == 0
    header, _ = checkpoint.load(tmp_path / "conv" / "ste-seed0.npz")
    assert header["runs"][0]["records"]["step"] == list(range(0, 13, 2))
    assert (
        header["runs"][0]["settings"]["loss_examples"] == 200
    )  # at most 10,000, and there are 200
    header, _ = checkpoint.load(tmp_path / "mlp" / "ste-seed0.npz")
    assert header["runs"][0]["records"]["step"] == list(range(0, 41, 2))
    assert header["runs"][0]["settings"]["loss_examples"] is None


def test_pretraining_then_every_estimator(call, folder, tmp_path):
    """The same bits as two calls of `fit`: in full precision, then from where that ended."""
    flags = ("--start", "pretrain:steps=5", "--estimator", "ste", "--estimator", "binaryconnect")
    code, out, _ = call(*flags, "--json", "--out", "run", "--augment", "crop-flip")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["estimator"], row["steps"]) for row in rows] == [
        ("pretrain", 5), ("ste", 6), ("binaryconnect", 6),
    ]  # fmt: skip
    network, rest = models.small(), {"batch": 20, "loss_examples": 50, "augment": CropFlip()}
    whole = Objective(network, quantizers.FullPrecision())
    binary = Objective(network, quantizers.Sign())
    images = load(folder)
    first = fit(whole, images, STE(), optim.Adam(), steps=5, **rest)
    second = fit(binary, images, STE(), optim.Adam(), steps=6, start=first.theta, **rest)
    for slug, run in ("pretrain-seed0", first), ("ste-seed0", second):
        saved = arrays(tmp_path / "run", slug)
        np.testing.assert_array_equal(saved["state.theta"], run.theta)
        for name, values in run.state.items():
            np.testing.assert_array_equal(saved[f"state.running.{name}"], values)
    # the scales fit the weights that pre-training left
    np.testing.assert_array_equal(
        second.objective.scales["fc.weight"], binary.calibrate(first.theta).scales["fc.weight"]
    )
    code, out, _ = call(*flags, "--json", "--resume", "run", "--augment", "crop-flip")
    assert [json.loads(line)["theta_sha256"] for line in out.splitlines()] == [
        row["theta_sha256"] for row in rows
    ]


def test_pretraining_that_diverges_takes_its_runs_with_it(call):
    flags = ("--start", "pretrain:steps=3", "--optimizer", "sgd", "--lr", 1e38, "--json")
    code, out, err = call(*flags)
    assert code == 1 and "its pre-training diverged" in err
    assert all(json.loads(line)["theta_sha256"] is None for line in out.splitlines())


def test_the_seed_decides_about_augmentation(call):
    def sha(*flags):
        code, out, _ = call("--json", *flags)
        assert code == 0
        return json.loads(out)["theta_sha256"]

    crop = sha("--augment", "crop", "--out", "a")
    assert sha("--augment", "crop", "--out", "b") == crop
    others = [("--augment", "crop-flip"), ("--augment", "none"), ("--augment", "crop", "--seed", 1)]
    assert crop not in [sha(*flags, "--out", f"c{i}") for i, flags in enumerate(others)]


def test_killed_and_resumed_equals_never_stopped(folder, tmp_path):
    """`kill -9` in the second run: weights, running statistics and records as if nothing was."""
    command = [
        sys.executable, "-m", "minizo.cifar", "--data", str(folder), "--steps", "60", "--batch",
        "20", "--quiet", "--json", "--checkpoint-every", "7", "--start", "pretrain:steps=6",
        "--augment", "crop-flip", "--loss-examples", "50", "--activation", "sign",
    ]  # fmt: skip

    def finish(*flags):
        done = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        drop = ("seconds", "evaluation_seconds", "memory_mib")
        return [{k: v for k, v in row.items() if k not in drop} for row in rows]

    whole = finish("--out", "whole")
    process = subprocess.Popen([*command, "--out", "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    kill_once_there(process, tmp_path / "cut" / "ste-seed0.npz")
    assert 0 < int(arrays(tmp_path / "cut", "ste-seed0")["state.step"]) < 60
    assert finish("--resume", "cut") == whole
    ours, theirs = (arrays(tmp_path / name, "ste-seed0") for name in ("cut", "whole"))
    assert any(name.startswith("state.running.bn1") for name in ours)
    for name in set(ours) - {"state.seconds", "state.evaluation"}:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_other_networks(call, tmp_path):
    """A residual network with binary activations; the ends left in full precision."""
    flags = ("--model", "small-resnet", "--activation", "sign", "--quantize", "inner")
    code, out, _ = call(*flags, "--out", "run", steps=2)
    assert code == 0
    assert "binary-weight binary-activation small-resnet (inner layers), 2 steps" in out
    saved = arrays(tmp_path / "run", "ste-seed0")
    assert len(np.unique(saved["quantized.block1.conv1.weight"])) == 2
    for name in "conv1.weight", "fc.weight":
        np.testing.assert_array_equal(saved[f"quantized.{name}"], saved[f"latent.{name}"])


def test_quantised_activations(call, tmp_path):
    flags = ("--activation", "midtread:bits=3")
    code, out, _ = call(*flags, "--quantizer", "midrise:bits=3", steps=2)
    assert code == 0
    assert "3-bit midrise-weight 3-bit midtread-activation small" in out
    code, out, _ = call("--activation", "dorefa", "--quantizer", "dorefa:bits=2", steps=2)
    assert code == 0
    assert "2-bit dorefa-weight 2-bit dorefa-activation small" in out


def test_a_learned_step_fits_the_weights_of_pretraining(call, tmp_path):
    """LSQ: more parameters than pre-training has; theirs are set from where it ended."""
    flags = ("--start", "pretrain:steps=4", "--quantizer", "lsq:bits=3")
    code, out, err = call(*flags, "--out", "run")
    assert code == 0 and "3-bit lsq small, 6 steps" in out, err
    before = arrays(tmp_path / "run", "pretrain-seed0")
    after = arrays(tmp_path / "run", "ste-seed0")
    assert after["state.theta"].size == before["state.theta"].size + 4  # a step a layer
    network = models.small()
    objective = Objective(network, quantizers.LSQ(bits=3))
    values = {n.removeprefix("latent."): v for n, v in before.items() if n.startswith("latent.")}
    start = objective.network.init(0, values=values)
    np.testing.assert_array_equal(start[: network.d], before["state.theta"])
    step = objective.calibrate(start).scales["conv1.weight"]
    mean = np.mean(np.abs(values["conv1.weight"]))
    np.testing.assert_allclose(step, 2 * mean / np.sqrt(3), rtol=1e-6)


def test_without_data_and_network_it_says_so_and_draws(call, tmp_path, monkeypatch):
    def no_download(mirrors, file, digest, folder, progress):
        raise download.Unavailable("the test has no network")

    full = data.synthetic_shapes
    monkeypatch.delenv("MINIZO_DATA", raising=False)
    monkeypatch.setattr(download, "cache_folder", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(download, "_download", no_download)
    monkeypatch.setattr(data, "synthetic_shapes", lambda dtype, classes: full(100, 50, 0, dtype))
    code, out, err = call("--out", "run", data="cifar10", steps=2)
    assert code == 0 and out.startswith("synthetic shapes (seed 0): binary small")
    assert err == (
        "minizo: CIFAR-10 not found ($MINIZO_DATA unset, no cached copy, download failed: the test "
        "has no network); continuing with synthetic shapes drawn by the package\n"
    )


BAD = [
    (("--model", "resnet"), "--model: unknown name 'resnet'; did you mean 'resnet20'?"),
    (("--augment", "flip"), "--augment: unknown name 'flip'"),
    (("--quantize", "outer"), "--quantize is 'outer', but it is neither all nor inner"),
    (("--activation", "ternary"), "--activation: unknown name 'ternary'"),
    (("--activation", "midrise:bits=9"), "bits is 9"),
    (("--epochs", 2), "--steps and --epochs both say how long; give one of them"),
    (("--start", "pretrain:epochs=-1"), "the epochs of --start is -1"),
    (("--records", 0), "--records is 0"),
    (("--model", "mlp", "--quantize", "inner"), "mlp has no layer between its first and last"),
]


@pytest.mark.parametrize("flags, sentence", BAD, ids=[" ".join(map(str, f)) for f, _ in BAD])
def test_bad_input_is_one_sentence_and_code_2(call, tmp_path, flags, sentence):
    code, out, err = call(*flags)
    assert code == 2 and out == ""
    assert sentence in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_more_loss_examples_than_there_are(call, tmp_path):
    code, _, err = call(loss_examples=201)
    assert code == 2
    assert "loss_examples is 201, but there are only 200 examples" in err


def test_damaged_data_are_code_2(call, tmp_path):
    folder = cifar_files.write_folder(tmp_path / "cut", cifar_files.contents(n=2, test=2))
    path = folder / "data_batch_4"
    path.write_bytes(path.read_bytes()[:-5])
    code, out, err = call(data=folder)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert f"{path}: the pickle is damaged" in err

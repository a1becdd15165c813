"""Weights of a file, given to a network by role, shape and order; and --start in the commands."""

import csv
import json
import os
import re
from pathlib import Path

import cifar_files
import numpy as np
import pytest
import torch_writer

from minizo import STE, InputError, Objective, cifar, data, export, fit, mnist, models, optim, start
from minizo import quantizers as q
from minizo.backend import to_numpy

CHECKPOINTS = Path(os.environ.get("MINIZO_DATA", "none"), "metaquant-checkpoints")
PUBLISHED = {
    "ResNet20-CIFAR10": (20, 10), "ResNet32-CIFAR10": (32, 10), "ResNet44-CIFAR10": (44, 10),
    "ResNet56-CIFAR100": (56, 100),
}  # fmt: skip
SHAPE = (3, 8, 8)


def resnet(depth=14, **more):
    """A narrow residual network."""
    return models.resnet(depth, width=2, input_shape=SHAPE, **more)


def written(path, network, **more):
    """The file of a state dict of a network, and its values by our names."""
    tensors, values = torch_writer.state_dict(network, **more)
    path.write_bytes(torch_writer.zipped(tensors))
    return values


def message_of(*arguments):
    with pytest.raises(InputError) as caught:
        start.load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shortcuts_first(layers):
    """The layers with the shortcut of a block in front of its body."""
    return sorted(layers, key=lambda n: (layers.index(n.partition(".")[0] + ".conv1")
                                         if n.startswith("block") else layers.index(n),
                                         "shortcut" not in n))  # fmt: skip


@pytest.mark.parametrize("order", [lambda names: names, shortcuts_first], ids=["body", "shortcut"])
@pytest.mark.parametrize("network", [resnet(), models.small((2, 3), input_shape=SHAPE)])
def test_every_tensor_finds_its_place(tmp_path, network, order):
    """All numbers differ, so that a swap of two tensors of one shape would show."""
    if order is shortcuts_first and "block1" not in network.layers:
        order = list
    path, numbers = tmp_path / "theirs.pth", {}

    def rename(layer):
        return f"layer{numbers.setdefault(layer, len(numbers))}.unit"

    values = written(path, network, rename=rename, order=order)
    found = start.load(path, network)
    assert list(found.values) == list(network.layer_shapes)
    for name, value in (found.values | found.running).items():
        np.testing.assert_array_equal(value, values[name])
    assert len(found.table().splitlines()) == 2 + len({n.rpartition(".")[0] for n in values})


def test_the_order_above_is_another_one():
    """Otherwise the test above would show nothing."""
    layers = list(dict.fromkeys(n.rpartition(".")[0] for n in resnet().shapes))
    assert shortcuts_first(layers) != layers and sorted(layers) == sorted(shortcuts_first(layers))


def test_a_norm_that_the_file_has_not_is_new(tmp_path):
    """FSG's last norm is in no checkpoint: scale 1, shift 0, and no running statistics."""
    written(tmp_path / "a.pth", resnet())
    found = start.load(tmp_path / "a.pth", resnet(final_norm=True))
    assert found.running is None
    assert (found.values["bn.scale"] == 1).all() and (found.values["bn.shift"] == 0).all()
    assert found.origins["bn.scale"] == "" and "(new)" in found.table()


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    written(path, resnet())
    for network, words in (
        (resnet(20), "block3.conv1.weight (2, 2, 3, 3) it has 4 of the 6 that are wanted"),
        (resnet(classes=100), "of tensors like fc.weight (100, 8) it has none that are wanted"),
        (resnet(8), "and "), (resnet(shortcut="pad"), "have no place in it"),
        (models.mlp(192, 10), "like fc1.weight (10, 192) it has none"),
    ):  # fmt: skip
        message = message_of(path, network)
        assert "holds another network" in message and words in message
        head = "its head has 10 classes, the data 100: choose data of 10 classes, or another file"
        remedy = head if "(100, 8)" in words else "choose the model that it was saved from"
        assert message.endswith(remedy)


def test_the_depth_and_the_classes_of_a_residual_network(tmp_path):
    """As far as its shapes tell, and for images of the same channels."""
    path = tmp_path / "a.pth"
    written(path, models.resnet(32))
    for network, words in (
        (models.resnet(20), "; it is a ResNet-32, choose --model resnet32"),
        (models.resnet(20, 100), "resnet32 (its head has 10 classes, the data 100)"),
        (models.resnet(20, input_shape=(1, 28, 28)), "; choose the model that it was saved from"),
    ):
        assert message_of(path, network).endswith(words)


def test_float_types(tmp_path):
    """float16 becomes float32, float64 stays, and integers are no weights."""
    network = models.mlp(6, 4, 3)
    tensors, values = torch_writer.state_dict(network)
    for kind, wanted in (("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("i8", None), ("u1", None)):
        other = tensors["fc2.weight"].storage.numbers.astype(kind).reshape(3, 4)
        changed = tensors | {"fc2.weight": torch_writer.Tensor(other)}
        (tmp_path / "a.pth").write_bytes(torch_writer.zipped(changed))
        if wanted is None:
            assert "fc2.weight holds " in message_of(tmp_path / "a.pth", network)
            continue
        found = start.load(tmp_path / "a.pth", network).values["fc2.weight"]
        np.testing.assert_array_equal(found, values["fc2.weight"].astype(wanted), strict=True)


def test_numbers_that_are_none(tmp_path):
    tensors, _ = torch_writer.state_dict(resnet())
    tensors["fc.bias"].storage.numbers[3] = np.nan
    (tmp_path / "a.pth").write_bytes(torch_writer.old(tensors))
    assert "fc.bias holds NaN or infinite numbers" in message_of(tmp_path / "a.pth", resnet())


def trained(network, quantizer, folder, **more):
    """A short run that is kept in a folder."""
    shapes = data.synthetic_shapes(40, 20)
    few = data.Dataset("few", shapes.x_train[..., ::4, ::4], shapes.y_train,
                       shapes.x_test[..., ::4, ::4], shapes.y_test, classes=10)  # fmt: skip
    objective = Objective(network, quantizer, models.weights(network, ends=False))
    return few, fit(objective, few, STE(), optim.Adam(0.01), steps=3, batch=10,
                    path=folder / "run.npz", **more)  # fmt: skip


@pytest.mark.parametrize("quantizer", [q.FullPrecision(), q.LSQ(bits=2), q.Sign()])
def test_our_own_runs_and_exports(tmp_path, quantizer):
    """A checkpoint, its folder, an export: the latent weights, or the quantised ones."""
    _, run = trained(resnet(), quantizer, tmp_path)
    views = run.objective.network.views(run.theta)
    for place in (tmp_path, tmp_path / "run.npz"):
        found = start.load(place, resnet())
        for name, value in found.values.items():
            np.testing.assert_array_equal(value, views[name])
        for name, value in found.running.items():
            np.testing.assert_array_equal(value, run.state[name])
    export.save(tmp_path / "small.npz", run)
    message = message_of(tmp_path, resnet())
    assert "is a folder with 2 files of weights: run.npz, small.npz; name one of them" in message
    assert message.endswith(f"such as {tmp_path / 'run.npz'}")
    found = start.load(tmp_path / "small.npz", resnet())
    for name in found.values:
        np.testing.assert_array_equal(found.values[name], run.weights[name])


def test_what_cannot_be_a_start(tmp_path):
    small = models.small((2, 3), input_shape=SHAPE)
    few, run = trained(small, q.Sign(), tmp_path)
    export.save(tmp_path / "folded.npz", run)
    assert "whose norms are folded" in message_of(tmp_path / "folded.npz", small)
    (tmp_path / "run.npz").write_bytes(b"PK damaged")
    assert "is damaged or not a checkpoint" in message_of(tmp_path / "run.npz", small)
    assert "there is no such file" in message_of(tmp_path / "no.pth", small)
    (tmp_path / "nothing").mkdir()
    assert "is a folder with no checkpoints" in message_of(tmp_path / "nothing", small)
    (tmp_path / "nothing" / "a.pth").write_bytes(b"")
    assert message_of(tmp_path / "nothing", small).endswith("a.pth")
    assert "there is no such file" in message_of(tmp_path / "no.npz", small)


# ------------------------------------------------------------------ the commands


@pytest.fixture
def photos(tmp_path):
    """A folder in CIFAR-10's format."""
    return cifar_files.write_folder(tmp_path / "photos", cifar_files.contents(n=12, test=12))


@pytest.fixture
def begun(photos, tmp_path, capsys):
    """A run of `minizo.cifar` from a file: (exit code, printed, said, folder)."""
    number = iter(range(9))

    def begun(*flags, main=cifar.main, place=None):
        network = models.small_resnet()
        path = tmp_path / "theirs.pth"
        tensors, values = torch_writer.state_dict(network)
        for name, tensor in tensors.items():  # of a size that trains
            tensor.storage.numbers[...] = 1 if name.endswith(("var", "tracked")) else (
                np.random.default_rng(len(name)).normal(size=tensor.storage.numbers.shape) / 4
            )  # fmt: skip
        path.write_bytes(torch_writer.old(tensors))
        folder = tmp_path / f"run{next(number)}"
        code = main(list(map(str, [
            "--data", photos, "--model", "small-resnet", "--steps", 2, "--batch", 4,
            "--start", place or path, "--out", folder, *flags,
        ])))  # fmt: skip
        printed = capsys.readouterr()
        values = {n: to_numpy(v) for n, v in start.load(path, network).values.items()}
        return code, printed.out, printed.err, folder, values

    return begun


def test_a_run_from_a_file(begun):
    """The table of layers is said and kept, every seed starts alike, and it can be resumed."""
    code, out, err, folder, values = begun("--quantize", "inner", "--seed", 0, 1, "--lr", 1e-30)
    assert code == 0 and "from theirs.pth" in out
    assert "block2.shortcut.conv" in err and "weights from" in err
    *_, last, right = (folder / "start.txt").read_text().rstrip().splitlines()
    assert last.startswith("fc") and re.match(
        r"in full precision .* % of the first \d+ test", right
    )
    assert right in err
    for seed in (0, 1):  # at a rate of nearly 0 they end where they began
        with np.load(folder / f"ste-seed{seed}.npz") as arrays:
            for name, value in values.items():
                np.testing.assert_allclose(arrays[f"latent.{name}"], value, atol=1e-20)

    def digests():
        return [row["theta_sha256"] for row in json.loads((folder / "results.json").read_text())]

    before = digests()
    (folder / "results.json").unlink()
    assert cifar.main(["--resume", str(folder), "--quiet"]) == 0
    assert digests() == before


def test_seeds_that_are_trained_together(begun):
    code, _, _, folder, values = begun("--seeds", 2, "--lr", 1e-30)
    assert code == 0
    for path in folder.glob("ste*.npz"):
        with np.load(path) as arrays:
            for name, value in values.items():
                rows = arrays[f"latent.{name}"].reshape(-1, *value.shape)
                assert all(np.allclose(row, value, atol=1e-20) for row in rows)


def test_full_precision_has_the_statistics_of_the_file(begun):
    """Step 0 of a full-precision run is the file's network as it was; a binary one's are new."""
    code, _, _, folder, _ = begun(
        "--quantizer", "none", "sign", "--lr", 1e-30, "--dtype", "float64"
    )
    assert code == 0
    network = models.small_resnet()
    theirs = start.load(folder.parent / "theirs.pth", network)
    images = data.load(folder.parent / "photos")
    y = network.predict({**theirs.values, **theirs.running}, images.x_test)
    accuracy = float(np.mean(y.argmax(1) == images.y_test))
    with open(folder / "records.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    first = {row["label"]: float(row["test_accuracy"]) for row in reversed(rows)}
    assert abs(first["STE, none"] - accuracy) < 1e-6


def test_bad_starts_end_in_a_sentence(begun, tmp_path, capsys):
    """Exit code 2, one line, and no run folder."""
    (tmp_path / "hello.pth").write_text("hello")
    (tmp_path / "evil.pth").write_bytes(torch_writer.old({"a.b": print}))
    for flags, place, words in (
        ((), tmp_path / "hello.pth", "is no file of torch.save"),
        ((), tmp_path / "evil.pth", "the pickle asks for '__builtin__.print'"),
        ((), tmp_path / "no.pth", "there is no such file"),
        (("--model", "small"), None, "holds another network"),
        ((), "pretrane:steps=3", "did you mean pretrain:steps=T or pretrain:epochs=E?"),
    ):
        code, out, err, folder, _ = begun(*flags, place=place)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1
        assert err.startswith("minizo: --start ")
        assert not folder.exists()
    assert mnist.main(["--data", "synthetic", "--start", str(tmp_path / "hello.pth")]) == 2
    assert "is no file of torch.save" in capsys.readouterr().err


# ------------------------------------------------------------------ the published files


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_checkpoints(name):
    path = CHECKPOINTS / f"{name}-pretrain.pth"
    if not path.is_file():
        pytest.skip("needs the checkpoints of MetaQuant in $MINIZO_DATA")
    depth, classes = PUBLISHED[name]
    found = start.load(path, models.resnet(depth, classes))
    assert "" not in found.origins.values()
    assert "holds another network" in message_of(path, models.resnet(depth, 110 - classes))
    if depth == 20:
        assert found.origins["block4.shortcut.bn.var"] == "layer2.0.downsample.1.running_var"


@pytest.mark.slow
def test_the_published_resnet_56_wants_its_own_normalisation():
    """71.22 % of CIFAR-100's 10,000 test images are said; of 400, within five sigma of 2.3."""
    path = CHECKPOINTS / "ResNet56-CIFAR100-pretrain.pth"
    names = ("cifar100:mean=.5,std=.5", "cifar100") if path.is_file() else ()
    sets = [data.load(name) for name in names]
    if not sets or not sets[0].name.startswith("CIFAR-100"):
        pytest.skip("needs the checkpoint and CIFAR-100 in $MINIZO_DATA")
    network = models.resnet(56, 100)
    own, other = (
        100 * start.accuracy(start.load(path, network), network, images.head(100, 400))
        for images in sets
    )
    assert abs(own - 71.22) < 11.4
    assert own - other > 10  # with the moments of the data set itself


@pytest.mark.slow
def test_the_published_resnet_20_is_right_on_9150_of_10000_images():
    path = CHECKPOINTS / "ResNet20-CIFAR10-pretrain.pth"
    images = data.cifar10() if path.is_file() else None
    if images is None or images.name != "CIFAR-10" or len(images.y_test) != 10_000:
        pytest.skip("needs the checkpoint and CIFAR-10 in $MINIZO_DATA")
    network = models.resnet(20)
    found = start.load(path, network)
    right = 0
    for i in range(0, 10_000, 500):
        y = network.predict({**found.values, **found.running}, images.x_test[i : i + 500])
        right += int(np.sum(y.argmax(1) == images.y_test[i : i + 500]))
    # 91.50 %, as MetaQuant prints it; a library that adds in another order may move a tie
    assert abs(right - 9150) <= 3

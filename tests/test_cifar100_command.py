"""``python -m minizo.cifar --data cifar100``, and networks for other numbers of classes."""

import json
from pathlib import Path

import cifar_files
import numpy as np
import pytest

from minizo import checkpoint, cifar, data, mnist
from minizo.commands.flags import IMAGES, models_of
from minizo.data import download, load, write_idx
from minizo.data.cifar import CIFAR100
from minizo.data.idx import NAMES as IDX

PART = "partial: 200 of 50,000 training and 100 of 10,000 test images"
FILES = cifar_files.contents100()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A $MINIZO_DATA with 200 training and 100 test images as CIFAR-100."""
    root = tmp_path_factory.mktemp("data")
    cifar_files.write_folder(root / CIFAR100.unpacked, FILES)
    return root


@pytest.fixture
def call(root, command, monkeypatch):
    """call(*flags) -> (exit code, stdout, stderr), of two steps."""
    monkeypatch.setenv("MINIZO_DATA", str(root))

    def run(*flags, data="cifar100", main=cifar.main):
        own = ["--data", data, "--batch", 20, "--steps", 2, "--loss-examples", 20, "--quiet"]
        return command(main, *own, *flags)

    return run


def outputs(folder):
    """Lengths of the last parameters of the network, which belong to its outputs."""
    _, arrays = checkpoint.load(next(Path(folder).glob("ste-seed0.npz")))
    latent = [name for name in arrays if name.startswith("latent.")]
    return arrays[latent[-1]].shape[-1]


@pytest.mark.parametrize("name, classes", [("cifar100", 100), ("cifar100:coarse", 20)])
@pytest.mark.parametrize("model", ["small", "small-resnet", "lenet", "mlp", "vit"])
def test_every_network_has_as_many_outputs_as_classes(call, model, name, classes):
    code, out, err = call("--model", model, "--out", "run", data=name)
    assert code == 0 and err == ""
    part = f"20 superclasses; {PART}" if classes == 20 else PART
    assert out.startswith(f"CIFAR-100 ({part}): binary ")
    assert outputs("run") == classes


def test_every_network_for_images_was_looked_at():
    """The deeper residual networks have the same head as the small one."""
    deeper = {"resnet18", "resnet20", "resnet32", "resnet44", "resnet50", "resnet56", "resnet110"}
    assert set(models_of(IMAGES)) - deeper == {"small", "small-resnet", "lenet", "mlp", "vit"}


@pytest.mark.parametrize("classes", [10, 26, 47, 62])
def test_as_many_outputs_as_a_folder_of_idx_files_has_classes(call, tmp_path, classes):
    """SVHN has 10 classes; EMNIST 10, 26, 47 or 62."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in IDX:
        n = 2 * classes
        images = np.random.default_rng(n).integers(0, 256, (n, 8, 8), dtype=np.uint8)
        write_idx(folder / name, images if "images" in name else np.arange(n, dtype=np.uint8) // 2)
    model = ("--model", "small", "--quantizer", "sign", "--estimator", "ste", "--out", "run")
    code, out, err = call(*model, data=folder, main=mnist.main)
    assert code == 0, err
    title = "own" if classes == 10 else f"own ({classes} classes)"
    assert out.startswith(f"{title}: binary small") and outputs("run") == classes


def test_the_same_run_from_a_folder_or_the_archive(call, root, tmp_path):
    """By name, by folder, by archive: the same bits; other labels, other bits."""
    path = tmp_path / "own.tar.gz"
    path.write_bytes(cifar_files.archive(FILES, inner=CIFAR100.unpacked))
    rows = []
    for place in "cifar100", root / CIFAR100.unpacked, root, path, f"{path}:coarse":
        code, out, err = call("--json", "--out", f"run{len(rows)}", data=place)
        assert code == 0, err
        rows.append(json.loads(out))
    assert len({row["theta_sha256"] for row in rows[:4]}) == 1
    assert rows[4]["theta_sha256"] != rows[0]["theta_sha256"]
    assert rows[3]["data"] == f"own.tar.gz (100 classes; {PART})"
    assert rows[4]["data"] == f"own.tar.gz (20 superclasses; {PART})"


def test_resuming_needs_the_same_data(call, root, tmp_path):
    """A part that has grown is not what the run was started with."""
    own = cifar_files.write_folder(tmp_path / "own", FILES)
    assert call("--out", "run", data=own)[0] == 0
    assert call("--resume", "run", data=own)[0] == 0  # control
    cifar_files.write_folder(own, cifar_files.contents100(300, 100))
    code, _, err = call("--resume", "run", data=own)
    assert code == 2 and len(err.splitlines()) == 1


def test_without_data_and_network_it_says_so_and_draws(call, tmp_path, monkeypatch):
    def no_download(mirrors, file, digest, folder, progress):
        raise download.Unavailable("the test has no network")

    full = data.synthetic_shapes
    monkeypatch.delenv("MINIZO_DATA")
    monkeypatch.setattr(download, "cache_folder", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(download, "_download", no_download)
    monkeypatch.setattr(data, "synthetic_shapes", lambda **given: full(100, 50, **given))
    code, out, err = call("--out", "run")
    assert code == 0 and out.startswith("synthetic shapes (100 classes, seed 0): binary small")
    assert err == (
        "minizo: CIFAR-100 not found ($MINIZO_DATA unset, no cached copy, download failed: the "
        "test has no network); continuing with synthetic shapes in 100 classes drawn by the "
        "package\n"
    )


DAMAGE = {
    "cut": ("train", lambda data: data[:-5], "the pickle is damaged"),
    "empty": ("test", lambda data: b"", "is empty; fetch it again"),
    "a web page": ("test", lambda data: b"<html>not found</html>", "the pickle is damaged"),
    "of CIFAR-10": ("train", lambda data: cifar_files.batch(*cifar_files.draw(2)),
                    "is a pickle without data and fine_labels and coarse_labels"),
    "malicious": ("test", lambda data: b"cos\nsystem\n(S'echo'\ntR.",
                  "the pickle asks for 'os.system'"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("coarse", ["", ":coarse"])
def test_damaged_data_are_code_2(call, tmp_path, what, coarse):
    name, change, sentence = DAMAGE[what]
    folder = cifar_files.write_folder(tmp_path / "own", FILES | {name: change(FILES[name])})
    code, out, err = call(data=f"{folder}{coarse}")
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert f"{folder / name}: " in err and sentence in err


def test_help_names_both(command):
    out = " ".join(command(cifar.main, "--help")[1].split())
    assert "cifar100 | cifar100:coarse" in out and "CIFAR-100" in out


def test_a_language_model_does_not_take_it(call):
    for name in "cifar100", "cifar100:coarse":
        code, _, err = call("--model", "llama", data=name)
        assert code == 2 and len(err.splitlines()) == 1 and "llama" in err


def test_the_title_of_the_picture_fits(call, root):
    """It is broken into lines where it is too long for the picture."""
    from minizo.figures.looks import heading

    title = f"{load(root).name}: binary small-resnet, 100 steps of 128, adam 0.01, seed 0"
    lines = heading(title).splitlines()
    assert len(title) > 95 and max(map(len, lines)) <= 95 and " ".join(lines) == title
    assert heading("one\ntwo") == "one\ntwo"

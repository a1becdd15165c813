"""Folders as people have them: the names, labels and layouts of the sets of MNIST's family."""

import gzip
import os

import numpy as np
import pytest

from minizo import mnist
from minizo.data import load, read_folder, write_idx
from minizo.data.idx import NAMES
from minizo.errors import InputError

RNG = np.random.default_rng(0)
SPLITS = {"balanced": 47, "byclass": 62, "bymerge": 47, "digits": 10, "letters": 26, "mnist": 10}


def images(n):
    return RNG.integers(0, 256, (n, 6, 5), dtype=np.uint8)


def write_set(folder, names, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, arrays, strict=True):
        write_idx(folder / name, array)


def arrays(classes=10, first=0):
    """Training and test images and labels: every class twice, and the last once."""
    labels = np.tile(np.arange(first, first + classes, dtype=np.uint8), 2)
    test = labels[classes - 1 : classes]
    return images(len(labels)), labels, images(1), test


def emnist_names(split):
    return [
        f"emnist-{split}-{part}-{kind}-ubyte.gz"
        for part in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    ]


def write_emnist(folder, *splits):
    """Splits of EMNIST under the names of its archive; letters are labelled 1 to 26."""
    made = {split: arrays(SPLITS[split], first=int(split == "letters")) for split in splits}
    for split, own in made.items():
        write_set(folder, emnist_names(split), own)
    return made


# ------------------------------------------------------------------ EMNIST


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_of_emnist(tmp_path, split):
    made = write_emnist(tmp_path / "gzip", split)[split]
    found, classes = load(tmp_path / "gzip"), SPLITS[split]
    said = "" if classes == 10 else f" ({classes} classes)"
    assert (found.name, found.classes) == (f"emnist-{split}{said}", classes)
    assert found.y_train.tolist() == [*range(classes)] * 2 and found.y_test.tolist() == [
        classes - 1
    ]
    assert found.x_train.shape == (2 * classes, 1, 5, 6)
    # (H, W) in the file is (W, H)
    np.testing.assert_array_equal(read_folder(tmp_path / "gzip")[0], made[0].transpose(0, 2, 1))


def test_letters_are_upright(tmp_path):
    """An L, stored as EMNIST is said to be: inverted horizontally, rotated 90 degrees left."""
    upright = np.zeros((9, 7), np.uint8)
    upright[:, 1] = upright[-1, 1:] = 255
    stored = np.rot90(np.fliplr(upright))
    assert stored.shape == (7, 9)
    labels = np.arange(1, 27, dtype=np.uint8)
    own = np.repeat(stored[None], 26, axis=0), labels, stored[None], labels[11:12]
    write_set(tmp_path / "emnist", emnist_names("letters"), own)
    found = load(tmp_path / "emnist", dtype="float64")
    np.testing.assert_array_equal(255 * found.x_train[11, 0], upright)
    np.testing.assert_array_equal(255 * found.x_test[0, 0], upright)
    assert found.y_test.tolist() == [11]  # L is the twelfth
    # control: under other names the images are what the file says, which is not upright
    write_set(tmp_path / "plain", NAMES, own)
    np.testing.assert_array_equal(read_folder(tmp_path / "plain")[0][0], stored)
    assert load(tmp_path / "plain").name == "plain (26 classes)"


def test_several_splits_are_refused_and_chosen_by_name(tmp_path, monkeypatch):
    folder = tmp_path / "gzip"
    made = write_emnist(folder, "letters", "digits", "balanced")
    (folder / emnist_names("balanced")[0]).unlink()  # not whole, so no choice
    with pytest.raises(InputError) as caught:
        load(folder)
    places = [folder / f"emnist-{split}" for split in ("digits", "letters")]
    assert str(caught.value) == (
        f"{folder}: holds several data sets; name one of them: {places[0]}, {places[1]}"
    )
    for place, classes in zip(places, (10, 26), strict=True):
        assert load(place).classes == classes
    monkeypatch.chdir(folder)
    assert load("EMNIST-Letters").classes == 26
    np.testing.assert_array_equal(read_folder("emnist-digits")[1], made["digits"][1])
    with pytest.raises(InputError, match=r"lacks emnist-balanced-train-images-idx3-ubyte; put"):
        load("emnist-balanced")
    with pytest.raises(InputError, match="neither known .* nor an existing folder"):
        load("emnist-bymerge")
    with pytest.raises(InputError, match="there is no such folder"):
        read_folder("emnist-bymerge")


def test_a_command_trains_on_letters(command, tmp_path):
    """As many outputs as classes, from the folder to the exported file."""
    from minizo.export import __main__ as export

    write_emnist(tmp_path / "gzip", "letters", "digits")
    flags = ["--estimator", "ste", "--steps", 2, "--batch", 10, "--quiet", "--out", "run"]
    code, out, err = command(mnist.main, "--data", "gzip/emnist-letters", *flags)
    assert (code, err) == (0, "")
    assert out.startswith("emnist-letters (26 classes): 2-bit midrise 30-10-26, ")
    code, out, _ = command(export.main, "run")
    assert code == 0 and "1 of 1" in out
    code, _, err = command(mnist.main, "--data", "gzip", *flags[:-1], "other")
    assert code == 2 and "name one of them: gzip/emnist-digits, gzip/emnist-letters" in err
    assert not (tmp_path / "other").exists()


# ------------------------------------------------------------------ labels


def qmnist_labels(labels):
    """QMNIST's extended labels by hand: big-endian int32 (N, 8), the class in the first column."""
    rows = np.arange(1000, 1000 + 8 * len(labels)).reshape(-1, 8).astype(">i4")
    rows[:, 0] = labels
    header = bytes([0, 0, 0x0C, 2]) + len(labels).to_bytes(4, "big") + (8).to_bytes(4, "big")
    return header + rows.tobytes()


def test_qmnist(tmp_path):
    folder = tmp_path / "QMNIST" / "raw"
    x, y, test_x, test_y = arrays()
    for part, own, labels in ("train", x, y), ("test", test_x, test_y):
        write_set(folder, [f"qmnist-{part}-images-idx3-ubyte.gz"], [own])
        content = gzip.compress(qmnist_labels(labels))
        (folder / f"qmnist-{part}-labels-idx2-int.gz").write_bytes(content)
    (folder / "qmnist-test-labels.tsv.gz").write_bytes(b"")  # lies beside them
    found = load(folder)
    assert (found.name, found.classes) == ("qmnist", 10)
    assert found.y_train.tolist() == y.tolist() and found.y_test.tolist() == test_y.tolist()
    np.testing.assert_array_equal(read_folder(folder)[0], x)  # not transposed

    labels = folder / "qmnist-test-labels-idx2-int.gz"
    labels.write_bytes(gzip.compress(qmnist_labels([-1])))
    with pytest.raises(InputError, match="holds the label -1 at position 0; labels lie in 0 .. 9"):
        load(folder)
    labels.write_bytes(gzip.compress(qmnist_labels([1])[:-1]))
    with pytest.raises(InputError, match=r"holds 31 bytes .* promises 32 \(1 x 8\)"):
        load(folder)
    labels.write_bytes(bytes([0, 0, 0x0C, 2, 0, 0, 0, 1, 0, 0, 0, 0]))
    with pytest.raises(InputError, match="labels-idx2-int.gz: has no columns; fetch it again"):
        load(folder)
    labels.unlink()
    with pytest.raises(InputError, match="lacks qmnist-test-labels-idx2-int; put"):
        load(folder)


@pytest.mark.parametrize(
    "train, test, classes, first",
    [
        ([1, 2, 3], [3], 10, 0),  # of ten digits: no reason to rename them
        ([0, 9], [5], 10, 0),
        ([*range(11)], [10], 11, 0),
        ([*range(1, 12)], [11], 11, 1),
        ([*range(256)], [255], 256, 0),
        ([*range(1, 256)], [1], 255, 1),
    ],
)
def test_classes_are_found(tmp_path, train, test, classes, first):
    own = images(len(train)), np.array(train, np.uint8), images(1), np.array(test, np.uint8)
    write_set(tmp_path / "own", NAMES, own)
    found = load(tmp_path / "own")
    assert found.classes == classes
    assert found.y_train.tolist() == [label - first for label in train]
    assert found.y_test.tolist() == [label - first for label in test]


@pytest.mark.parametrize(
    "train, test, sentence",
    [
        ([0, 1, 255], [1], "train-labels-idx1-ubyte: holds the label 255 at position 2"),
        ([*range(10), 11], [1], "train-labels-idx1-ubyte: holds the label 11 at position 10"),
        ([*range(2, 13)], [5], "train-labels-idx1-ubyte: holds the label 10 at position 8"),
        ([0, 1, 2], [200], "t10k-labels-idx1-ubyte: holds the label 200 at position 0"),
        ([*range(1, 12)], [0], "train-labels-idx1-ubyte: holds the label 10 at position 9"),
        ([*range(11)], [11], "t10k-labels-idx1-ubyte: holds the label 11 at position 0"),
    ],
)
def test_labels_with_gaps_are_damage(tmp_path, train, test, sentence):
    """One wrong byte must not become a network with 256 outputs."""
    own = images(len(train)), np.array(train, np.uint8), images(1), np.array(test, np.uint8)
    write_set(tmp_path, NAMES, own)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert f"{sentence}; labels lie in 0 .. 9, or in" in str(caught.value)


def test_another_set_is_not_taken_for_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIZO_DATA", str(tmp_path))
    write_set(tmp_path / "mnist", NAMES, arrays(26, first=1))
    with pytest.raises(InputError, match="mnist: holds 26 classes, but MNIST has 10; put MNIST"):
        load("mnist")
    write_set(tmp_path / "mnist", NAMES, arrays())
    assert load("mnist").name == "MNIST"


# ------------------------------------------------------------------ layouts


def whole(folder, own):
    write_set(folder, NAMES, own)


def packed(folder, own):
    write_set(folder, [f"{name}.gz" for name in NAMES], own)


def dotted(folder, own):
    write_set(folder, [name.replace("-idx", ".idx") for name in NAMES], own)


def capitals(folder, own):
    write_set(folder, [f"{name}.gz".upper() for name in NAMES], own)


def called_test(folder, own):
    write_set(folder, [name.replace("t10k", "test") for name in NAMES], own)


def underscores(folder, own):
    write_set(folder, [name.replace("-", "_") for name in NAMES], own)


def folder_per_file(folder, own):
    for name, array in zip(NAMES, own, strict=True):
        write_set(folder / name, [name], [array])


def folder_per_dotted_file(folder, own):
    """As a packed file unpacks to a folder of its name that holds it under the dotted one."""
    for name, array in zip(NAMES, own, strict=True):
        write_set(folder / name, [name.replace("-idx", ".idx")], [array])


def folders_beside_dotted_files(folder, own):
    """The archive of a well-known copy; here the folders hold other images."""
    dotted(folder, own)
    folder_per_file(folder, arrays())


def both(folder, own):
    """torchvision leaves the packed files beside the plain ones."""
    whole(folder, own)
    packed(folder, own)


def raw(folder, own):
    both(folder / "raw", own)


def root(folder, own):
    both(folder / "FashionMNIST" / "raw", own)


def mac(folder, own):
    """With what macOS leaves behind when it packs or looks at a folder."""
    whole(folder / "data", own)
    for name in NAMES:
        (folder / "data" / f"._{name}").write_bytes(b"\0\5\26\7")
    write_set(folder / "__MACOSX" / "data", [f"._{name}" for name in NAMES], own)
    (folder / ".DS_Store").write_bytes(b"Bud1")


LAYOUTS = [
    whole, packed, dotted, capitals, called_test, underscores, folder_per_file,
    folder_per_dotted_file, folders_beside_dotted_files, both, raw, root, mac,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_layouts(tmp_path, layout):
    own = arrays()
    layout(tmp_path / "KMNIST", own)
    found = read_folder(tmp_path / "KMNIST")
    for ours, theirs in zip(own, found, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    inner = {"root": "FashionMNIST", "mac": "data"}.get(layout.__name__, "KMNIST")
    assert load(tmp_path / "KMNIST").name == inner


def test_a_root_with_several_data_sets(tmp_path):
    for name in "KMNIST", "MNIST":
        both(tmp_path / name / "raw", arrays())
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    places = [str(tmp_path / name / "raw") for name in ("KMNIST", "MNIST")]
    assert str(caught.value).endswith("; name one of them: " + ", ".join(places))
    assert load(places[0]).name == "KMNIST"


def test_the_files_of_the_folder_itself_are_its_data_set(tmp_path):
    """Files with a name before theirs, and folders, are then something else."""
    own = arrays()
    whole(tmp_path, own)
    write_emnist(tmp_path, "letters")
    whole(tmp_path / "older", arrays())
    np.testing.assert_array_equal(read_folder(tmp_path)[0], own[0])


def test_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "mnist_train.csv").write_text("label,1x1\n")
    (tmp_path / "folder" / NAMES[0]).mkdir(parents=True)  # empty, like the name of a file
    with pytest.raises(InputError, match=f"lacks {', '.join(NAMES)}; put them there"):
        load(tmp_path)
    (tmp_path / "folder" / NAMES[0] / NAMES[0]).symlink_to(NAMES[0])  # leads to itself
    with pytest.raises(InputError, match=f"folder: lacks {', '.join(NAMES[1:])}; put them there"):
        load(tmp_path)


def test_an_unreadable_folder_in_between(tmp_path, monkeypatch):
    whole(tmp_path / "data", arrays())
    (tmp_path / "lost+found").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, how: "lost" not in str(p) and real(p, how))
    assert load(tmp_path).name == "data"

"""CIFAR-100's two files: fine and coarse labels, parts of it, and what is refused in a sentence."""

import os
import pickle
import warnings
from functools import partial
from pathlib import Path

import cifar_files
import numpy as np
import pytest
from cifar_files import array, draw, hundred, integer, listing, pickle_of, string
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import error_of

from minizo.data import cifar_100, class_names, load, read_cifar100, write_idx
from minizo.data.cifar import CIFAR10, CIFAR100, layout_of, read_batches, read_file
from minizo.data.idx import NAMES as IDX
from minizo.errors import InputError

REAL = Path(os.environ.get("MINIZO_DATA", "none"), "cifar-100-subset")
FILES = cifar_files.contents100()
FINE = {"train": np.arange(200) * 11 % 100, "test": np.arange(100) * 11 % 100}
ONE = hundred(draw(2)[0], [7, 99])


def write(folder, suffix="", **changed):
    """The files in a folder, some of them changed, or left out where they are None."""
    files = {name: data for name, data in (FILES | changed).items() if data is not None}
    return cifar_files.write_folder(folder, files, suffix)


def pythons(name):
    """What Python's own reader finds in a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of newer NumPys, about where arrays were once made
        return pickle.loads(FILES[name], encoding="latin1")


def check(place, coarse):
    """``place`` holds FILES."""
    found = read_cifar100(place, coarse)
    for (images, labels), name in zip((found[:2], found[2:]), ("train", "test"), strict=True):
        theirs = pythons(name)
        assert images.dtype == labels.dtype == np.uint8
        np.testing.assert_array_equal(images.reshape(len(images), -1), theirs["data"])
        assert labels.tolist() == theirs["coarse_labels" if coarse else "fine_labels"]
        np.testing.assert_array_equal(labels, FINE[name] // 5 if coarse else FINE[name])


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("inner", ["", CIFAR100.unpacked])
def test_folders_packed_or_not(tmp_path, suffix, inner, coarse):
    write(tmp_path / "own" / inner, suffix)
    assert layout_of(tmp_path / "own") is CIFAR100
    check(tmp_path / "own", coarse)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w"])
@pytest.mark.parametrize("name", [CIFAR100.archive, "own.tar.gz", "own.tgz"])
def test_the_archive_by_itself_or_in_a_folder(tmp_path, name, mode):
    path = tmp_path / name
    path.write_bytes(cifar_files.archive(FILES, mode, CIFAR100.unpacked))
    for place in (path, tmp_path) if name == CIFAR100.archive else (path,):
        assert layout_of(place) is CIFAR100
        check(place, coarse=True)
    assert [p.name for p in tmp_path.iterdir()] == [name]  # nothing was written


def test_the_names_of_the_classes(tmp_path):
    folder = write(tmp_path / "own")
    path = tmp_path / "own.tar.gz"
    path.write_bytes(cifar_files.archive(FILES, inner=CIFAR100.unpacked))
    for place in folder, path:
        assert class_names(place) == tuple(f"fine {i}" for i in range(100))
        assert class_names(place, coarse=True) == tuple(f"coarse {i}" for i in range(20))
    few = pickle_of(fine_label_names=listing([string(b"apple")]))
    for data in few, pickle_of(), b"\x80\x02]q\x01.":
        write(folder, meta=data)
        sentence = f"{folder / 'meta'}: has no 100 fine_label_names; fetch the official file"
        assert error_of(class_names, folder) == sentence
    (folder / "meta").unlink()
    check(folder, coarse=False)  # which needs no names
    assert f"{folder}: lacks meta; put them there" in error_of(class_names, folder)


def test_names_say_which_part_it_is(tmp_path, monkeypatch):
    folder = write(tmp_path / "own")
    part = "partial: 200 of 50,000 training and 100 of 10,000 test images"
    assert load(folder).name == f"own (100 classes; {part})"
    coarse = load(f"{folder}:coarse")
    assert coarse.name == f"own (20 superclasses; {part})" and coarse.classes == 20
    np.testing.assert_array_equal(coarse.y_train, FINE["train"] // 5)
    monkeypatch.setattr(cifar_100, "SIZES", (200, 100))
    assert load(folder).name == "own (100 classes)"
    assert load(f"{folder}:coarse").name == "own (20 superclasses)"


def test_a_folder_whose_name_ends_so(tmp_path):
    """What exists is taken by its name as it is."""
    assert load(write(tmp_path / "own:coarse")).classes == 100
    assert load(f"{tmp_path / 'own:coarse'}:coarse").classes == 20


@pytest.mark.parametrize(
    "given, mean, std",
    [
        ({}, cifar_100.MEAN, cifar_100.STD),
        ({"mean": 0.5, "std": 0.5}, cifar_100.HALF, cifar_100.HALF),
        ({"mean": (0.1, 0.2, 0.3)}, (0.1, 0.2, 0.3), cifar_100.STD),
        ({"std": np.array([1, 2, 4])}, cifar_100.MEAN, (1.0, 2.0, 4.0)),
    ],
)
def test_images_are_normalised_by_channel(tmp_path, given, mean, std):
    data = load(write(tmp_path / "own"), dtype="float64", **given)
    mean, std = (np.array(v)[:, None, None] for v in (mean, std))
    for x, name in (data.x_train, "train"), (data.x_test, "test"):
        images = pythons(name)["data"].reshape(-1, 3, 32, 32)
        np.testing.assert_allclose(x, (images / 255 - mean) / std, rtol=1e-12, atol=1e-12)


def test_mean_and_std_of_other_data(tmp_path):
    """Grey images stay in [0, 1] unless they are given; drawn ones take them, too."""
    for name in IDX:
        images = np.arange(60, dtype=np.uint8).reshape(3, 5, 4)
        write_idx(tmp_path / name, images if "images" in name else np.arange(3, dtype=np.uint8))
    grey = load(tmp_path)
    assert grey.x_train.max() == np.float32(59 / 255)
    other = load(tmp_path, mean=0.5, std=[0.25])
    np.testing.assert_allclose(other.x_train, (grey.x_train - 0.5) / 0.25, rtol=1e-5)
    np.testing.assert_allclose(load(tmp_path, std=2).x_train, grey.x_train / 2, rtol=1e-6)


BAD_NUMBERS = [
    ({"mean": (0.5, 0.5)}, "mean has 2 numbers, but the images have 3 channels; give one number"),
    ({"mean": [0.5]}, "mean has 1 numbers, but the images have 3 channels"),
    ({"mean": "0.5"}, "mean is '0.5', but it must be a number; it must be finite"),
    ({"mean": (0.5, np.nan, 0.5)}, "mean is nan, but it must be finite"),
    ({"std": 0}, "std is 0, but it must be finite and above 0"),
    ({"std": (1, -1, 1)}, "std is -1, but it must be finite and above 0"),
    ({"std": np.ones((3, 3))}, "the shape of std is (3, 3), but it is one number for all channels"),
]


@pytest.mark.parametrize("given, sentence", BAD_NUMBERS, ids=[s for _, s in BAD_NUMBERS])
def test_bad_numbers(tmp_path, given, sentence):
    message = error_of(partial(load, **given), write(tmp_path / "own"))
    assert sentence in message and "\n" not in message


ROWS = array(np.zeros((2, 3072), np.uint8))
GOOD = {
    "data": ROWS,
    "fine_labels": listing([integer(1), integer(2)]),
    "coarse_labels": listing([integer(0), integer(0)]),
}
FOREIGN = "; it is no file of CIFAR-100"
WRONG = {
    "of CIFAR-10": ({"data": ROWS, "labels": GOOD["fine_labels"]},
                    f"is a pickle without data and fine_labels and coarse_labels{FOREIGN}"),
    "no coarse labels": ({k: v for k, v in GOOD.items() if k != "coarse_labels"},
                         "is a pickle without data and fine_labels and coarse_labels"),
    "other size": (GOOD | {"data": array(np.zeros((2, 784), np.uint8))},
                   f"has no rows of 3072 bytes{FOREIGN}"),
    "no images": ({"data": array(np.zeros((0, 3072), np.uint8)), "fine_labels": listing([]),
                   "coarse_labels": listing([])}, "holds no images; a data set needs images"),
    "fine label 100": (GOOD | {"fine_labels": listing([integer(1), integer(100)])},
                       f"has other fine labels than 0 .. 99{FOREIGN}"),
    "coarse label 20": (GOOD | {"coarse_labels": listing([integer(20), integer(0)])},
                        f"has other coarse labels than 0 .. 19{FOREIGN}"),
    "label -1": (GOOD | {"fine_labels": listing([integer(1), integer(-1)])},
                 "has other fine labels than 0 .. 99"),
    "label of text": (GOOD | {"coarse_labels": listing([string(b"fish")] * 2)},
                      "has other coarse labels than 0 .. 19"),
    "one label": (GOOD | {"fine_labels": listing([integer(1)])},
                  "holds 2 images and 1 fine labels; fetch it again"),
    "three coarse labels": (GOOD | {"coarse_labels": listing([integer(1)] * 3)},
                            "holds 2 images and 3 coarse labels; fetch it again"),
    "Fortran order": (GOOD | {"data": array(np.zeros((2, 3072), np.uint8), fortran=b"\x88")},
                      "the pickle is damaged (an array is not of unsigned bytes in C order)"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("name", ["train", "test"])
def test_wrong_files(tmp_path, name, case):
    entries, sentence = WRONG[case]
    folder = write(tmp_path / "own", **{name: pickle_of(**entries)})
    message = error_of(read_cifar100, folder)
    assert message.startswith(f"{folder / name}: ") and sentence in message


def test_fine_labels_must_agree_with_coarse_ones(tmp_path):
    """Within a file and between the two; they need not be the official superclasses."""
    images = draw(3)[0]
    for train, test in ((0, 0, 1), (0, 0, 0)), ((2, 0, 2), (2, 0, 0)):
        parts = {"train": hundred(images, [8, 9, 8], coarse=train),
                 "test": hundred(images, [8, 9, 9], b"testing batch 1 of 1", test)}  # fmt: skip
        folder = write(tmp_path / "own", **parts)
        agree = len(set(zip([8, 9, 8, 8, 9, 9], train + test, strict=True))) == 2
        if agree:
            assert read_cifar100(folder, coarse=True)[1].tolist() == [2, 0, 2]  # control
        else:
            assert error_of(read_cifar100, folder) == (
                f"{folder}: images of fine class 8 have the coarse labels 0 and 1; a class lies in "
                "one superclass: fetch it again"
            )


def test_labels_in_each_others_place(tmp_path):
    images, fine = draw(2)[0], np.array([7, 99])
    folder = write(tmp_path / "own", train=hundred(images, fine // 5, coarse=fine))
    assert "has other coarse labels than 0 .. 19" in error_of(read_cifar100, folder)


def test_train_and_test_in_each_others_place(tmp_path, monkeypatch):
    """Known by what they call themselves, or by their sizes."""
    remedy = "train and test seem to have changed places: fetch them again"
    swapped = write(tmp_path / "own", train=FILES["test"], test=FILES["train"])
    message = error_of(read_cifar100, swapped)
    assert message == f"{swapped}: train calls itself 'testing batch 1 of 1'; {remedy}"
    nameless = {n: hundred(draw(k)[0], np.arange(k) % 100, b"")
                for n, k in (("train", 10), ("test", 20))}  # fmt: skip
    folder = write(tmp_path / "nameless", **nameless)
    assert len(read_cifar100(folder)[0]) == 10  # control: a part
    monkeypatch.setattr(cifar_100, "SIZES", (20, 10))
    assert error_of(read_cifar100, folder) == (
        f"{folder}: test holds 20 images, but that of CIFAR-100 10; {remedy}"
    )


class Evil:
    """Its pickle runs a command when Python reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_foreign_pickle_is_refused_and_never_run(tmp_path, protocol, name):
    data = pickle.dumps({"data": Evil(tmp_path / "evil")}, protocol)
    folder = write(tmp_path / "own", **{name: data})
    assert "it is not read" in error_of(class_names if name == "meta" else read_cifar100, folder)
    assert not (tmp_path / "evil").exists()
    pickle.loads(data)  # control: Python runs it
    assert (tmp_path / "evil").exists()


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_file_cut_anywhere_is_refused(data):
    cut = data.draw(st.integers(0, len(ONE) - 1))
    assert error_of(read_file, "train", ONE[:cut], CIFAR100).startswith("train: ")


@given(place=st.integers(0, len(ONE) - 1), value=st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_never_crashes(place, value):
    changed = bytearray(ONE)
    changed[place] = value
    try:
        batch = read_file("train", bytes(changed), CIFAR100)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert batch.images.shape == (2, 3, 32, 32)
        assert batch.labels["fine_labels"].max() < 100 and batch.labels["coarse_labels"].max() < 20


def test_missing_files(tmp_path):
    remedy = f"put them there, or {CIFAR100.archive} in their place"
    folder = write(tmp_path / "some", test=None)
    for read in read_cifar100, load:
        assert error_of(read, folder) == f"{folder}: lacks test; {remedy}"
    ten = cifar_files.write_folder(tmp_path / "ten", cifar_files.contents(n=1, test=1))
    assert error_of(read_cifar100, ten) == f"{ten}: lacks train, test; {remedy}"
    assert "lacks data_batch_1, " in error_of(read_batches, write(tmp_path / "hundred"))
    path = tmp_path / CIFAR100.archive
    path.write_bytes(cifar_files.archive({"train": FILES["train"]}))
    assert error_of(read_cifar100, path) == f"{path}: lacks test; fetch it again"
    assert "there is no such file" in error_of(read_cifar100, tmp_path / "absent.tar.gz")


def test_folders_called_train_and_test_are_something_else(tmp_path):
    for name in "train", "test":
        (tmp_path / name).mkdir()
    assert layout_of(tmp_path) is None
    assert "lacks train-images-idx3-ubyte" in error_of(load, tmp_path)


def test_a_folder_that_holds_both(tmp_path):
    write(tmp_path / CIFAR100.unpacked)
    cifar_files.write_folder(tmp_path / CIFAR10.unpacked, cifar_files.contents(n=1, test=1))
    assert error_of(load, tmp_path) == (
        f"{tmp_path}: holds CIFAR-10 and CIFAR-100; name the folder or archive of one"
    )
    assert read_cifar100(tmp_path)[0].shape[0] == 200  # who says which is understood


@pytest.mark.skipif(not REAL.is_dir(), reason="$MINIZO_DATA/cifar-100-subset is not there")
def test_a_real_part_of_cifar100():
    """160 and 40 images a class; five classes a superclass; moments near the published ones."""
    x_train, y_train, x_test, y_test = read_cifar100(REAL)
    coarse_train, coarse_test = read_cifar100(REAL, coarse=True)[1::2]
    assert x_train.shape == (16000, 3, 32, 32) and x_test.shape == (4000, 3, 32, 32)
    assert np.bincount(y_train).tolist() == [160] * 100
    assert np.bincount(y_test).tolist() == [40] * 100
    pairs = set(zip(y_train.tolist(), coarse_train.tolist(), strict=True))
    assert pairs == set(zip(y_test.tolist(), coarse_test.tolist(), strict=True))
    assert np.bincount([coarse for _, coarse in pairs]).tolist() == [5] * 20
    names, above = class_names(REAL), class_names(REAL, coarse=True)
    fish = {names[fine] for fine, coarse in pairs if above[coarse] == "fish"}
    assert fish == {"aquarium_fish", "flatfish", "ray", "shark", "trout"}
    x = x_train / np.float32(255)
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), cifar_100.MEAN, atol=0.003)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3)), cifar_100.STD, atol=0.002)

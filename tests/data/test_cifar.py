"""CIFAR-10's batches: read packed or not, refused with one sentence where damaged or foreign."""

import io
import os
import pickle
import tarfile
import warnings
from pathlib import Path

import cifar_files
import numpy as np
import pytest
from cifar_files import array, batch, draw, integer, listing, pickle_of, string
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import error_of

from minizo.data import load, read_batches
from minizo.data.cifar import (
    ARCHIVE,
    CIFAR10,
    CIFAR100,
    MEAN,
    NAMES,
    STD,
    UNPACKED,
    layout_of,
    read_file,
)
from minizo.data.pickles import read_pickle
from minizo.errors import InputError

REAL = Path(os.environ.get("MINIZO_DATA", "none"), "cifar-10")
BATCHES = cifar_files.contents(n=4, test=3)
ONE = batch(*draw(2))


def read_batch(path, data=None):
    """Images and labels of one batch."""
    found = read_file(path, data, CIFAR10)
    return found.images, found.labels["labels"]


def expected():
    """What BATCHES hold."""
    parts = [draw(3 if name == NAMES[-1] else 4, i) for i, name in enumerate(NAMES)]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("inner", ["", UNPACKED])
def test_folders_packed_or_not(tmp_path, suffix, inner):
    cifar_files.write_folder(tmp_path / "cifar-10" / inner, BATCHES, suffix)
    assert layout_of(tmp_path / "cifar-10") is CIFAR10
    for found, wanted in zip(read_batches(tmp_path / "cifar-10"), expected(), strict=True):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w"])
def test_the_archive_by_itself_or_in_a_folder(tmp_path, mode):
    path = tmp_path / ARCHIVE
    path.write_bytes(cifar_files.archive(BATCHES, mode))
    for place in path, tmp_path:
        assert layout_of(place) is CIFAR10
        for found, wanted in zip(read_batches(place), expected(), strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert [p.name for p in tmp_path.iterdir()] == [ARCHIVE]  # nothing was written


def test_python_reads_the_same_from_our_files():
    """Control: these are pickles indeed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of newer NumPys, about where arrays were once made
        theirs = pickle.loads(ONE, encoding="latin1")
    ours = read_pickle("x", ONE)
    assert list(ours) == list(theirs) == ["batch_label", "labels", "data", "filenames"]
    np.testing.assert_array_equal(ours.pop("data"), theirs.pop("data"))
    assert ours == theirs


def test_images_are_normalised_by_channel(tmp_path):
    data = load(cifar_files.write_folder(tmp_path / "own", BATCHES), dtype="float64")
    images, labels, _, _ = expected()
    mean, std = (np.array(v)[:, None, None] for v in (MEAN, STD))
    np.testing.assert_allclose(data.x_train, (images / 255 - mean) / std, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(data.y_train, labels)
    assert repr(data) == ("Dataset('own': 20 + 3 images of shape (3, 32, 32), float64, 10 classes)")


class Evil:
    """Its pickle runs a command when Python reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_foreign_pickle_is_refused_and_never_run(tmp_path, protocol):
    data = pickle.dumps({"data": Evil(tmp_path / "evil")}, protocol)
    assert "it is not read" in error_of(read_batch, "batch", data)
    assert not (tmp_path / "evil").exists()
    pickle.loads(data)  # control: Python runs it
    assert (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["builtins eval", "os system", "numpy load", "numpy.core x"])
def test_only_three_names_are_known(name):
    data = pickle_of(data=b"c" + name.replace(" ", "\n").encode() + b"\n(U\x011tR")
    message = error_of(read_batch, "batch", data)
    assert f"the pickle asks for {name.replace(' ', '.')!r}" in message


OTHERS = {
    "FLOAT": b"F1.5\n", "PERSID": b"P1\n", "EXT1": b"\x82\x01", "INST": b"(ios\nsystem\n",
    "OBJ": b"(o", "NEWOBJ_EX": b"\x92", "POP": b"0", "DUP": b"2",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_instructions_are_refused(name):
    message = error_of(read_batch, "batch", pickle_of(data=OTHERS[name]))
    assert message == (
        f"batch: the pickle has the instruction {name}, which a batch of images has no use for; it "
        "is not read, fetch the official file"
    )


ROWS, LABELS = array(np.zeros((2, 3072), np.uint8)), listing([integer(1), integer(2)])
WRONG = {
    "no data": (pickle_of(labels=LABELS), "is a pickle without data and labels"),
    "no labels": (pickle_of(data=ROWS), "is a pickle without data and labels"),
    "no dict": (b"\x80\x02" + LABELS + b".", "is a pickle without data and labels"),
    "CIFAR-100": (pickle_of(data=ROWS, fine_labels=LABELS), "is a pickle without data and labels"),
    "other size": (
        pickle_of(data=array(np.zeros((2, 784), np.uint8)), labels=LABELS),
        "has no rows of 3072 bytes",
    ),
    "data of text": (pickle_of(data=string(b"x"), labels=LABELS), "has no rows of 3072 bytes"),
    "no images": (
        pickle_of(data=array(np.zeros((0, 3072), np.uint8)), labels=listing([])),
        "holds no images",
    ),
    "label 10": (
        pickle_of(data=ROWS, labels=listing([integer(1), integer(10)])),
        "has other labels than 0 .. 9",
    ),
    "label -1": (
        pickle_of(data=ROWS, labels=listing([integer(1), integer(-1)])),
        "has other labels than 0 .. 9",
    ),
    "label of text": (
        pickle_of(data=ROWS, labels=listing([string(b"cat")] * 2)),
        "has other labels than 0 .. 9",
    ),
    "one label": (
        pickle_of(data=ROWS, labels=listing([integer(1)])),
        "holds 2 images and 1 labels",
    ),
    "floats": (
        pickle_of(data=array(np.zeros((2, 3072), np.uint8), b"f4"), labels=LABELS),
        "the pickle is damaged (an array is not of unsigned bytes in C order)",
    ),
    "Fortran order": (
        pickle_of(data=array(np.zeros((2, 3072), np.uint8), fortran=b"\x88"), labels=LABELS),
        "the pickle is damaged (an array is not of unsigned bytes in C order)",
    ),
    "too few bytes": (
        pickle_of(data=ROWS.replace(integer(2) + integer(3072), integer(3) + integer(3072)),
                  labels=LABELS),
        "the pickle is damaged (cannot reshape array of size 6144",
    ),
    "empty": (b"", "is empty"),
    "a web page": (b"<html>not found</html>", "the pickle is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_batches(case):
    data, sentence = WRONG[case]
    assert sentence in error_of(read_batch, "batch", data)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_batch_cut_anywhere_is_refused(data):
    cut = data.draw(st.integers(0, len(ONE) - 1))
    assert error_of(read_batch, "batch", ONE[:cut]).startswith("batch: ")


@given(place=st.integers(0, len(ONE) - 1), value=st.integers(0, 255))
@example(place=90, value=ord("\\"))  # Python itself would warn about the escape sequence
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_never_crashes(place, value):
    changed = bytearray(ONE)
    changed[place] = value
    try:
        images, labels = read_batch("batch", bytes(changed))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert images.shape == (2, 3, 32, 32) and labels.max() < 10


@given(body=st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_junk_never_crashes(body):
    assert error_of(read_batch, "batch", b"\x80\x02" + body).startswith("batch")


def test_missing_files_and_folders(tmp_path):
    folder = cifar_files.write_folder(tmp_path / "some", BATCHES)
    (folder / NAMES[2]).unlink()
    assert error_of(read_batches, folder) == (
        f"{folder}: lacks data_batch_3; put them there, or {ARCHIVE} in their place"
    )
    short = {name: data for name, data in BATCHES.items() if name != "test_batch"}
    path = tmp_path / ARCHIVE
    path.write_bytes(cifar_files.archive(short))
    assert error_of(read_batches, path) == f"{path}: lacks test_batch; fetch it again"
    assert "there is no such file" in error_of(read_batches, tmp_path / "absent.tar.gz")


ARCHIVES = [  # their names, what is in them, and the names of their files
    (CIFAR10.archive, BATCHES, NAMES),
    (CIFAR100.archive, cifar_files.contents100(), ("train", "test")),
    ("own.tar.gz", cifar_files.contents100(), NAMES),  # taken for CIFAR-10 without files in it
]
EACH_ARCHIVE = pytest.mark.parametrize("name, files, names", ARCHIVES, ids=[a[0] for a in ARCHIVES])


@pytest.mark.parametrize("keep", [0, 1, 100, 2000, -1])
@EACH_ARCHIVE
def test_a_cut_archive_is_refused(tmp_path, name, files, names, keep):
    path = tmp_path / name
    path.write_bytes(cifar_files.archive(files)[:keep])
    message = error_of(load, path)
    assert message.startswith(f"{path}: ") and message.endswith("fetch it again")


@EACH_ARCHIVE
def test_a_link_in_an_archive_is_not_followed(tmp_path, name, files, names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        member = tarfile.TarInfo(names[0])
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member)
    path = tmp_path / name
    path.write_bytes(buffer.getvalue())
    assert error_of(load, path) == f"{path}: lacks {', '.join(names)}; fetch it again"


@pytest.mark.skipif(not REAL.is_dir(), reason="$MINIZO_DATA/cifar-10 is not there")
def test_a_batch_of_the_real_cifar10():
    images, labels = read_batch(REAL / "data_batch_1.xz")
    assert images.shape == (10000, 3, 32, 32)
    assert labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert images[0, :, 0, 0].tolist() == [59, 62, 63]
    mean = images.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(mean, MEAN, atol=0.005)

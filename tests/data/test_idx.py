"""The IDX format: what is written is read back, and every damage is named in one sentence."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import error_of

from minizo.data import read_folder, read_idx, write_idx
from minizo.errors import InputError

LABELS = np.array([5, 0, 4, 1, 9, 2], np.uint8)
IMAGES = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
PACKED = "packed.gz"


@pytest.fixture
def folder(tmp_path):
    """An intact data set: 6 training and 2 test images of 4 x 3 pixels."""
    folder = tmp_path / "small"
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte.gz", IMAGES)
    write_idx(folder / "train-labels-idx1-ubyte.gz", LABELS)
    write_idx(folder / "t10k-images-idx3-ubyte", IMAGES[:2])
    write_idx(folder / "t10k-labels-idx1-ubyte", LABELS[:2])
    return folder


shapes = st.one_of(
    hnp.array_shapes(min_dims=1, max_dims=1, min_side=0, max_side=50),
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=9),
)


@given(array=hnp.arrays(np.uint8, shapes), suffix=st.sampled_from(["", ".gz"]))
@settings(max_examples=60, deadline=None)
def test_round_trip(tmp_path_factory, array, suffix):
    path = tmp_path_factory.mktemp("idx") / f"array{suffix}"
    write_idx(path, array)
    back = read_idx(path, ndim=array.ndim)
    assert back.dtype == np.uint8 and back.flags.writeable
    np.testing.assert_array_equal(back, array)
    assert os.listdir(path.parent) == [path.name]


@given(data=st.data(), suffix=st.sampled_from(["", ".gz"]))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("idx") / f"array{suffix}"
    write_idx(path, IMAGES)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert error_of(read_idx, path).startswith(f"{path}: ")


@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=40).map(lambda b: b"\x1f\x8b\x08\x00" + b),
        st.binary(max_size=40).map(lambda b: b"\0\0\x08\x03" + b),
    )
)
@settings(max_examples=100, deadline=None)
def test_junk_is_refused_and_never_crashes(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "junk"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")
    else:  # a valid file by chance, for instance an empty array
        assert content.startswith(b"\0\0\x08") and array.dtype == np.uint8


def test_big_endian_layout(tmp_path):
    """The bytes of the specification, written out by hand."""
    write_idx(tmp_path / "a", np.array([[[1, 2]], [[3, 4]]], np.uint8))
    assert (tmp_path / "a").read_bytes().hex() == "0000080300000002000000010000000201020304"


def test_a_packed_file_without_the_suffix_and_the_reverse(tmp_path):
    write_idx(tmp_path / PACKED, LABELS)
    write_idx(tmp_path / "plain", LABELS)
    os.rename(tmp_path / PACKED, tmp_path / "no-suffix")
    os.rename(tmp_path / "plain", tmp_path / PACKED)
    np.testing.assert_array_equal(read_idx(tmp_path / "no-suffix"), LABELS)
    np.testing.assert_array_equal(read_idx(tmp_path / PACKED), LABELS)


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda b: gzip.compress(b)[:-20], "the gzip file is cut off; fetch it again"),
        (lambda b: gzip.compress(b)[:30] + bytes(40), "the gzip file is damaged"),
        (lambda b: gzip.compress(b)[:-8] + bytes(8), "the gzip file is damaged (CRC check failed"),
        (lambda b: gzip.compress(b""), "is empty; fetch it again"),
        (lambda b: b"", "is empty; fetch it again"),
        (
            lambda b: b"<html>Not found</html>",
            "starts with the magic number 0x3c68746d, but 0x00000803 is expected",
        ),
        (
            lambda b: bytes([0, 0, 8, 1]) + b[4:],
            "starts with the magic number 0x00000801, but 0x00000803 is expected",
        ),
        (
            lambda b: bytes([0, 0, 13, 3]) + b[4:],
            "starts with the magic number 0x00000d03, but 0x00000803 is expected",
        ),
        (lambda b: b[:3], "starts with the magic number 0x000008, but 0x00000803 is expected"),
        (lambda b: b[:10], "ends after 10 bytes, inside its header of 16 bytes"),
        (
            lambda b: b[:-5],
            "holds 67 bytes of data, but its header promises 72 (6 x 4 x 3); "
            "it is too short: fetch it again",
        ),
        (
            lambda b: b + b"xy",
            "holds 74 bytes of data, but its header promises 72 (6 x 4 x 3); "
            "it is too long: fetch it again",
        ),
        (
            lambda b: b[:4] + b"\xff" * 12 + b[16:],
            "holds 72 bytes of data, but its header promises 79228162458924105385300197375",
        ),
    ],
)
def test_damage_is_named(tmp_path, change, sentence):
    path = tmp_path / "images"
    write_idx(path, IMAGES)
    np.testing.assert_array_equal(read_idx(path, ndim=3), IMAGES)  # control: intact
    path.write_bytes(change(path.read_bytes()))
    assert error_of(read_idx, path, 3).startswith(f"{path}: {sentence}")


def test_either_kind_is_expected_by_default(tmp_path):
    path = tmp_path / "two-axes"
    path.write_bytes(bytes([0, 0, 8, 2]) + bytes(8))
    assert "0x00000802, but 0x00000801 or 0x00000c02 or 0x00000803 is expected" in error_of(
        read_idx, path
    )


def test_files_that_cannot_be_opened(tmp_path, monkeypatch):
    path = tmp_path / "labels"
    assert "there is no such file" in error_of(read_idx, path)
    assert "is a folder" in error_of(read_idx, tmp_path)

    write_idx(path, LABELS)
    read_idx(path)  # control

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert error_of(read_idx, path) == (
        f"{path}: cannot be read (Permission denied); check its permissions"
    )


def test_writing_refuses_other_arrays(tmp_path):
    for array in LABELS.astype(np.int64), IMAGES[0]:
        message = error_of(write_idx, tmp_path / "a", array)
        assert str(array.dtype) in message and "uint8 labels (N,) or images (N, H, W)" in message
    message = error_of(write_idx, tmp_path / "nowhere" / "a", LABELS)
    assert "cannot write" in message and "No such file or directory" in message
    assert os.listdir(tmp_path) == []


def test_writing_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "labels"
    write_idx(path, LABELS)

    def disk_full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    assert "No space left on device" in error_of(write_idx, path, LABELS[::-1])
    np.testing.assert_array_equal(read_idx(path), LABELS)
    assert os.listdir(tmp_path) == ["labels"]


def test_packing_is_reproducible(tmp_path):
    write_idx(tmp_path / "a.gz", LABELS)
    write_idx(tmp_path / "b.gz", LABELS)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_folder(folder):
    x_train, y_train, x_test, y_test = read_folder(str(folder))
    np.testing.assert_array_equal(x_train, IMAGES)
    np.testing.assert_array_equal(y_train, LABELS)
    np.testing.assert_array_equal(x_test, IMAGES[:2])
    np.testing.assert_array_equal(y_test, LABELS[:2])


def test_folder_with_dotted_names(folder):
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("-idx", ".idx"))
    np.testing.assert_array_equal(read_folder(folder)[0], IMAGES)


def test_folder_that_cannot_be_read(folder, tmp_path, monkeypatch):
    nowhere = tmp_path / "nowhere"
    assert error_of(read_folder, nowhere).startswith(f"{nowhere}: there is no such folder")
    file = folder / "t10k-labels-idx1-ubyte"
    assert error_of(read_folder, file).startswith(f"{file}: is a file")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert error_of(read_folder, empty).startswith(f"{empty}: the folder is empty")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    assert error_of(read_folder, folder) == (
        f"{folder}: the folder cannot be read (Permission denied); check its permissions"
    )


def test_missing_files_are_listed(folder):
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    (folder / "t10k-images-idx3-ubyte").unlink()
    assert error_of(read_folder, folder) == (
        f"{folder}: lacks train-labels-idx1-ubyte, t10k-images-idx3-ubyte; "
        "put them there, with or without .gz"
    )


@pytest.mark.parametrize(
    "file, array, sentence",
    [
        (
            "train-images-idx3-ubyte.gz",
            IMAGES[:5],
            "holds 5 images, but train-labels-idx1-ubyte.gz holds 6 labels",
        ),
        (
            "t10k-labels-idx1-ubyte",
            LABELS[:3],
            "holds 2 images, but t10k-labels-idx1-ubyte holds 3",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            np.array([1, 2, 12, 4, 10, 6], np.uint8),
            "holds the label 12 at position 2; labels lie in 0 .. 9",
        ),
        (
            "t10k-labels-idx1-ubyte",
            np.array([255, 3], np.uint8),
            "holds the label 255 at position 0",
        ),
        ("train-images-idx3-ubyte.gz", IMAGES[:0], "holds no pixels (shape (0, 4, 3))"),
        ("t10k-images-idx3-ubyte", IMAGES[:2, :, :0], "holds no pixels (shape (2, 4, 0))"),
        (
            "t10k-images-idx3-ubyte",
            IMAGES[:2, :2],
            "holds images of 2 x 3 pixels, but train-images-idx3-ubyte.gz holds 4 x 3",
        ),
        (
            "train-images-idx3-ubyte.gz",
            LABELS,
            "starts with the magic number 0x00000801, but 0x00000803 is expected",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            IMAGES,
            "starts with the magic number 0x00000803, but 0x00000801 or 0x00000c02 is expected",
        ),
    ],
)
def test_files_that_do_not_fit_together(folder, file, array, sentence):
    read_folder(folder)  # control: intact
    write_idx(folder / file, array)
    message = error_of(read_folder, folder)
    assert sentence in message and file in message and message.startswith(str(folder))

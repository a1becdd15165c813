"""The exported file: what is read is what was written, and damage is noticed."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
from exported import pictures, rewritten, small_lenet, trained

from minizo import InputError, export
from minizo.quantizers import (
    Sign,
)

# The file ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """(path, exported) of a small LeNet of signs."""
    path = tmp_path_factory.mktemp("export") / "net.npz"
    return path, export.save(path, trained(small_lenet("sign"), Sign()))


def test_what_is_read_is_what_was_written(file):
    path, written = file
    again, images = export.load(path), pictures(40, (1, 8, 8))[0]
    np.testing.assert_array_equal(again.outputs(images), written.outputs(images))
    assert [type(step) for step in again.steps] == [type(step) for step in written.steps]
    assert again.thresholds == written.thresholds and again.dtype == "float32"


def test_the_file_is_what_its_description_says(file):
    """Read by the description alone: NumPy's loader, JSON, SHA-256, bits."""
    path, written = file
    with np.load(path, allow_pickle=False) as archive:
        header, data = json.loads(archive["header.json"]), archive["data"].tobytes()
    theirs = header.pop("sha256")
    text = json.dumps(header, separators=(",", ":")).encode()
    assert hashlib.sha256(text + data).hexdigest() == theirs
    step = header["steps"][1]
    assert step["op"] == "Product" and step["weight"]["packed"] == [1, -1, 2]
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: 3 * 25]
    k = (2 * bits.astype(int) - 1).reshape(step["weight"]["shape"])
    np.testing.assert_array_equal(k, written.products["conv1.weight"].weight)
    np.testing.assert_array_equal(
        (step["step"] * k).astype(np.float32), written.weights["conv1.weight"]
    )


def test_a_flipped_bit_or_a_missing_end_is_noticed(file, tmp_path):
    """Every byte: it is refused with a sentence, or (dates and the like in ZIP) nothing changed."""
    path, written = file
    good, images = path.read_bytes(), pictures(10, (1, 8, 8))[0]
    wanted, bad, refused = written.outputs(images), tmp_path / "bad.npz", set()
    for place in range(len(good)):
        bad.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        try:
            np.testing.assert_array_equal(export.load(bad).outputs(images), wanted)
        except InputError as error:
            assert str(bad) in str(error)
            refused.add(place)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            start = member.header_offset + 30 + len(member.filename)
            # the last bits behind a deflated stream mean nothing
            assert refused >= set(range(start, start + member.compress_size - 2))
    for length in range(0, len(good), 7):
        bad.write_bytes(good[:length])
        with pytest.raises(InputError, match="is damaged or not an export of minizo"):
            export.load(bad)


@pytest.mark.parametrize(
    "change, checksum, sentence",
    [
        (lambda h: None, True, None),
        (lambda h: h["steps"][3].update(low=1), False, "its checksum is wrong"),
        (lambda h: h.update(version=3), True, "format version 3, but this minizo reads 1 and 2"),
        (lambda h: h.update(format="other"), True, "is not an export of minizo"),
        (lambda h: h["steps"][0].update(op="open"), True, "not a valid export of minizo"),
        (lambda h: h["steps"][3].update(extra=1), True, "not a valid export of minizo"),
        (lambda h: h["steps"].pop(), True, "data are left over"),
        (lambda h: h["steps"][1]["weight"].update(shape=[10**6]), True, "it ends too early"),
        (lambda h: h["steps"][1]["weight"].update(shape=[-1]), True, "not a valid export"),
        (lambda h: h.update(dtype="object"), True, "not a valid export of minizo"),
        (lambda h: h.pop("steps"), True, "not a valid export of minizo"),
        (lambda h: h["steps"][1]["weight"]["packed"].__setitem__(0, 0), True, "bits is 0"),
        (lambda h: h.update(version=2), True, "not a valid export of minizo"),
    ],
)
def test_a_sound_archive_with_other_contents_is_refused(file, tmp_path, change, checksum, sentence):
    new = tmp_path / "new.npz"
    rewritten(file[0], new, change, checksum)
    if sentence is None:
        export.load(new)
    else:
        with pytest.raises(InputError, match=sentence):
            export.load(new)


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", fc1=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", **{"header.json": np.zeros(2), "data": np.array([{}])})
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello")
    for path in tmp_path.iterdir():
        with pytest.raises(InputError, match="is damaged or not an export of minizo"):
            export.load(path)
    with pytest.raises(InputError, match="damaged or not an export"):
        export.load(tmp_path)
    with pytest.raises(InputError, match="there is no export"):
        export.load(tmp_path / "nothing.npz")


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        export.save(tmp_path / "no" / "net.npz", trained(small_lenet("relu"), Sign()))

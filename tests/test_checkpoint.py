"""Checkpoints: whole or not at all, and damage is always noticed."""

import errno
import os
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minizo import InputError, checkpoint, files, optim


class Inner(NamedTuple):
    m: object
    t: int


class Outer(NamedTuple):
    theta: object
    inner: Inner
    empty: tuple
    seconds: float


STATE = Outer(np.arange(3.0), Inner(np.ones((2, 2), np.float32), 7), (), 1.5)


def test_states_survive_the_round_trip(tmp_path):
    """Values, dtypes, Python numbers and the nesting come back."""
    path = tmp_path / "c.npz"
    checkpoint.save(path, {"settings": {"a": 1}}, checkpoint.flatten("state", STATE))
    header, arrays = checkpoint.load(path)
    blank = Outer(np.zeros(3), Inner(np.zeros((2, 2), np.float32), 0), (), 0.0)
    back = checkpoint.unflatten("state", blank, arrays, np.zeros(1))
    assert header["settings"] == {"a": 1}
    assert back.inner.t == 7 and type(back.inner.t) is int and back.seconds == 1.5
    np.testing.assert_array_equal(back.theta, STATE.theta)
    np.testing.assert_array_equal(back.inner.m, STATE.inner.m)
    assert back.inner.m.dtype == np.float32


@pytest.mark.parametrize("rule", [r() for r in optim.OPTIMIZERS.values()])
def test_optimizer_states_survive(rule):
    theta = np.arange(4.0)
    _, state = rule.update(theta, rule.init(theta), theta)
    back = checkpoint.unflatten("o", rule.init(theta), checkpoint.flatten("o", state), theta)
    assert type(back) is type(state)
    for ours, theirs in zip(back, state, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(position=st.floats(0, 1, exclude_max=True), cut=st.booleans(), bit=st.integers(0, 7))
@example(position=0.888671875, cut=False, bit=0)  # in the table of contents: hides an array
def test_damage_is_noticed(tmp_path_factory, position, cut, bit):
    """Cut short anywhere, or one flipped bit anywhere: refused, or every value still right."""
    path = tmp_path_factory.mktemp("c") / "c.npz"
    arrays = {"a": np.arange(50.0), "b": np.ones(3)}
    checkpoint.save(path, {"x": 1}, arrays)
    whole = bytearray(path.read_bytes())
    at = int(position * len(whole))
    if cut:
        path.write_bytes(whole[:at])
    else:
        whole[at] ^= 1 << bit
        path.write_bytes(whole)
    try:
        header, loaded = checkpoint.load(path)
    except InputError as error:
        assert "damaged" in str(error) or "not a checkpoint" in str(error)
    else:  # a flipped bit in a time stamp or an attribute changes nothing
        assert not cut and header["x"] == 1
        for name, value in arrays.items():
            np.testing.assert_array_equal(loaded[name], value)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "c.npz"
    for write in (
        lambda: path.write_bytes(b""),
        lambda: path.write_text("hello"),
        lambda: np.savez(path, a=np.ones(3)),
        lambda: np.savez(path, header=np.array('{"format": "something else"}')),
        lambda: np.savez(path, header=np.array("[1]")),
        lambda: np.savez(path, header=np.array("not json")),
        lambda: path.write_bytes(_npy()),
    ):
        write()
        with pytest.raises(InputError, match=r"not a checkpoint of minizo|is damaged"):
            checkpoint.load(path)
    with pytest.raises(InputError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "absent.npz")


def _npy():
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def test_pickles_are_never_opened(tmp_path):
    """An object array, which only pickle could read, is refused as damage."""
    path = tmp_path / "c.npz"
    np.savez(path, header=np.array([{"format": checkpoint.FORMAT}], dtype=object))
    with pytest.raises(InputError, match="is damaged or not a checkpoint"):
        checkpoint.load(path)


def test_state_of_another_kind_is_refused():
    with pytest.raises(InputError, match="no 'state.inner.m'"):
        checkpoint.unflatten("state", STATE, {"state.theta": np.ones(3)}, np.ones(1))


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    """ENOSPC in the middle of a save: a sentence, the old checkpoint whole, no stray file."""
    path = tmp_path / "c.npz"
    checkpoint.save(path, {"x": 1}, {"a": np.ones(3)})
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"No space left on device; free some space"):
        checkpoint.save(path, {"x": 2}, {"a": np.zeros(3)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_crash_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "c.txt"
    files.write_text(path, "old")

    def crash(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, crash)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]


def test_unwritable_folder(tmp_path):
    with pytest.raises(InputError, match="cannot write .*No such file or directory"):
        files.write_text(tmp_path / "absent" / "c.txt", "x")

"""Files made to stop, crash or fill the machine of whoever reads them: a sentence, and soon."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile

import pytest
import torch_writer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minizo import InputError, pickles, torch_files
from minizo.data.pickles import read_pickle

HEAD = b"".join(
    pickle.dumps(part, protocol=2)
    for part in (torch_writer.MAGIC, torch_writer.VERSION, {"little_endian": True})
)
NONE = pickle.dumps([], protocol=2)
STORAGE = (
    b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
    b"0X\x03\0\0\0cpuJ%sNtQ"
)  # its count is missing


def number(n):
    """BININT's argument, or LONG1's instruction."""
    return struct.pack("<i", n)


def tree(times):
    """t1 = (t0, t0), t2 = (t1, t1), ...: 2^times numbers, in five bytes each time."""
    parts = [b"K\0q\0"]
    parts += [b"h%c\x86q%c" % (i, i + 1) for i in range(times)]
    return b"".join(parts)


def tensor(size=b"K\1\x85", strides=b"K\1\x85", offset=b"K\0", count=1):
    """The call that makes a tensor of storage 0."""
    storage = STORAGE % number(count)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + strides + b"tR"


def text(name):
    return b"X" + number(len(name)) + name


def file_of(body, count=1):
    """An old file: what the pickle says, and a storage of so many zeros."""
    kept = pickle.dumps(["0"], protocol=2) + struct.pack("<q", count) + bytes(4 * count)
    return HEAD + b"\x80\x02" + body + b"." + kept


def one(**more):
    return file_of(b"}" + text(b"a.b") + tensor(**more) + b"s")


SIZE = b"J" + number(500_000_000) + b"\x85"
LIST = b"](" + b"K\0" * 20_000 + b"eq\0"
ATTACKS = {
    "a deep key": file_of(b"})" + b"\x85" * 50_000 + b"K\1s"),
    "a deep key among items": file_of(b"}()" + b"\x85" * 50_000 + b"K\1u"),
    "a deep key of an OrderedDict": file_of(
        b"ccollections\nOrderedDict\n](](" + b")" + b"\x85" * 50_000 + b"K\1ee\x85R"
    ),
    "a deep set": file_of(b"\x8f()" + b"\x85" * 50_000 + b"\x90"),
    "a deep name of a storage": file_of(
        b"(X\x07\0\0\0storagectorch\nFloatStorage\n)" + b"\x85" * 50_000 + text(b"cpu") + b"K\1NtQ"
    ),
    "a deep function": file_of(b")" + b"\x85" * 50_000 + b")R"),
    "a deep key of a storage": HEAD + b"\x80\x02}." + b"\x80\x02])" + b"\x85" * 50_000 + b"a.",
    "a doubled key": file_of(b"}" + tree(60) + b"K\1s"),
    "a doubled tuple": file_of(tree(60)),
    "a doubled tuple beside": file_of(
        b"}(" + text(b"a") + tensor() + text(b"b") + b"]q\x63(" + tree(60) + b"eu"
    ),
    "a doubled version": HEAD[:14] + b"\x80\x02" + tree(60) + b"." + HEAD[14:],
    "deep lists": file_of(b"]" * 50_000 + b"a" * 49_999),
    "a list of itself": file_of(b"]q\0h\0a"),
    "a state dict of itself": file_of(b"}q\0" + text(b"state_dict") + b"h\0s"),
    "keys of one hash": file_of(
        b"}(" + b"".join(
            pickle.dumps((2**61 - 1) * k, 2)[2:-1] + b"N" for k in range(2, 20_000)
        ) + b"u"
    ),
    "a list copied again and again": file_of(
        LIST + b"(ctorch\nSize\nq\1" + b"h\1h\0\x85R" * 20_000 + b"t"
    ),
    "a reference read again and again": file_of(LIST + b"(" + b"h\0Q" * 20_000 + b"t"),
    "a text as stride": one(size=SIZE, strides=text(b"ab") + b"\x85"),
    "a text as strides": one(size=b"K\1\x85", strides=text(b"a")),
    "a number as size": one(size=b"G" + struct.pack(">d", 1.0) + b"\x85"),
    "a truth as offset": one(offset=b"\x88"),
    "a huge size": one(size=b"K\0\x8a\xff" + b"\x7f" * 255 + b"\x86", strides=b"K\1K\1\x86"),
    "many axes": one(size=b"(" + b"K\1" * 99 + b"t", strides=b"(" + b"K\1" * 99 + b"t"),
    "one number many times": one(size=SIZE, strides=b"K\0\x85"),
    "many views of one storage": file_of(
        b"}(" + b"".join(
            text(b"a%d" % k) + tensor(b"J" + number(500_000) + b"\x85", count=500_000)
            for k in range(200)
        ) + b"u", 500_000,
    ),
    "a long text": HEAD + b"\x80\x02X\xff\xff\xff\xffabc",
    "a long name": file_of(b"}" + text(b"a." * 50_000) + tensor() + b"s"),
}  # fmt: skip


def archive(*members, kind=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with pytest.warns(UserWarning) if len(dict(members)) < len(members) else io.BytesIO():
        with zipfile.ZipFile(file, "w", kind) as made:
            for name, content in members:
                made.writestr(name, content)
    return file.getvalue()


EMPTY = ("x/data.pkl", b"\x80\x02}.")
BOMB = archive(("x/data.pkl", bytes(50_000_000)), kind=zipfile.ZIP_DEFLATED)
ATTACKS |= {
    "a bomb": BOMB,
    "a bomb that claims to be small": BOMB.replace(number(50_000_000), number(1000)),
    "a bomb of another kind": archive(("x/data.pkl", bytes(50_000_000)), kind=zipfile.ZIP_LZMA),
    "two pickles": archive(EMPTY, EMPTY),
    "two folders": archive(EMPTY, ("y/data.pkl", EMPTY[1])),
    "two storages of one name": archive(EMPTY, ("x/data/0", b""), ("x/data/0", b"1")),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_end_in_a_sentence(tmp_path, name):
    """Within a second of work, and in memory of some times the file."""
    data, path = ATTACKS[name], tmp_path / "weights.pth"
    path.write_bytes(data)
    begin = time.process_time()
    with pytest.raises(InputError) as caught:
        torch_files.read(path)
    assert time.process_time() - begin < 1.0
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and message.isprintable()
    assert len(message) < len(str(path)) + 250
    tracemalloc.start()
    with pytest.raises(InputError):
        torch_files.read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100 * len(data) + 10**6


def test_the_same_file_without_the_attack(tmp_path):
    """Otherwise the test above would show nothing."""
    path = tmp_path / "weights.pth"
    path.write_bytes(one())
    assert torch_files.read(path)["a.b"].shape == (1,)
    path.write_bytes(archive(EMPTY))
    with pytest.raises(InputError, match="holds no state dict, but an empty dict"):
        torch_files.read(path)


def test_too_little_memory(tmp_path, monkeypatch):
    def none(*_):
        raise MemoryError

    (tmp_path / "weights.pth").write_bytes(one())
    monkeypatch.setattr(torch_files.Tensor, "of", none)
    with pytest.raises(InputError, match="needs more memory than there is"):
        torch_files.read(tmp_path / "weights.pth")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner)
    | st.dictionaries(st.text() | st.integers(-5, 2**59), inner),
)  # fmt: skip


@settings(deadline=None)
@given(PLAIN, st.sampled_from([3, 4, 5]))
@example([[1, 2]] * 2, 4)
def test_plain_data_are_read_as_python_reads_them(value, protocol):
    try:
        data = pickle.dumps(value, protocol)
    except UnicodeEncodeError:
        return
    try:
        found = pickles.read("file", io.BytesIO(data), {}, "plain data")
    except InputError as error:  # integers of more than 255 bytes
        assert "LONG4" in str(error)
    else:
        assert found == value


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([
    b"}", b"]", b")", b"(", b"K\0", b"K\1", b"N", b"\x85", b"\x86", b"t", b"a", b"e", b"s", b"u",
    b"q\0", b"h\0", b"q\1", b"h\1", b"b", b"R", b"\x81", b"Q", b"\x94", b"\x8f", b"\x90", b"\x91",
    b"ctorch\nSize\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n",
    b"cargparse\nNamespace\n", b"ctorch\nFloatStorage\n", text(b"storage"), text(b"a"),
]), max_size=60))  # fmt: skip
def test_any_program_ends_in_a_sentence_or_a_dict(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "weights.pth"
    path.write_bytes(file_of(b"".join(parts)))
    try:
        assert isinstance(torch_files.read(path), dict)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    try:
        read_pickle("batch", b"\x80\x02" + b"".join(parts) + b".")
    except InputError as error:
        assert str(error).startswith("batch")

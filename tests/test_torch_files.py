"""Files of torch.save: both forms, and everything that can be wrong with one."""

import io
import os
import pickle
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch_writer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_writer import FORMS, Storage, Tensor

from minizo import InputError, torch_files

W = np.arange(6.0, dtype=np.float32).reshape(2, 3)


@pytest.fixture(params=FORMS)
def form(request):
    """What writes one of the two forms."""
    return FORMS[request.param]


@pytest.fixture
def read(tmp_path):
    """Bytes -> what the reader finds in a file of them."""

    def read(data):
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return torch_files.read(path)

    return read


def refused(read, data):
    """The sentence, which must be one line and name the file."""
    with pytest.raises(InputError) as caught:
        read(data)
    message = str(caught.value)
    assert "weights.pth" in message and "\n" not in message
    return message


@pytest.mark.parametrize("kind", torch_writer.KINDS)
def test_types(read, form, kind):
    """Every number, in its own type, in the order of the file."""
    numbers = np.arange(6).astype(kind).reshape(2, 3)
    found = read(form(OrderedDict(b=Tensor(numbers), a=Tensor(numbers.T.copy()))))
    assert list(found) == ["b", "a"]
    np.testing.assert_array_equal(found["b"], numbers, strict=True)
    np.testing.assert_array_equal(found["a"], numbers.T, strict=True)


def test_views_of_one_storage(read, form):
    """Offset, strides that are not those of C, a tensor without axes, an empty one."""
    storage = Storage(np.arange(8, dtype=np.float32))
    tensors = {
        "transposed": Tensor(W.T, storage, 1, (1, 3)),
        "tail": Tensor(np.empty(2), storage, 6),
        "scalar": Tensor(np.array(np.float32(2.5))),
        "empty": Tensor(np.empty((0, 3), np.float32)),
    }
    found = read(form(tensors))
    np.testing.assert_array_equal(found["transposed"], np.arange(1, 7).reshape(2, 3).T)
    np.testing.assert_array_equal(found["tail"], [6.0, 7.0])
    assert found["scalar"] == 2.5 and found["empty"].shape == (0, 3)
    found["tail"][0] = 9.0  # a copy of its own
    assert found["transposed"][2, 1] == 6.0


@pytest.mark.parametrize("name", torch_files.STATE_DICTS)
def test_a_state_dict_among_other_things(read, form, name):
    """Epochs, numbers, lists and the state of an optimiser beside it are passed over."""
    extra = {
        "epoch": 3, "best": 91.5, "big": 2**40, "arch": "resnet20", "lr": [0.1, None, True],
        "optimizer": {"state": {0: {"m": Tensor(W)}}, "param_groups": [{"params": [0]}]},
        "args": Namespace(lr=0.1, out=Path("runs")), "top1": np.float64(0.9), "seen": {1, 2},
        "key": b"abc", "none": b"", "schedule": Counter([30, 60]), "curve": np.zeros(3),
    }  # fmt: skip
    found = read(form({**extra, name: {"fc.weight": Tensor(W)}}))
    assert list(found) == ["fc.weight"]


@pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
def test_a_prefix_of_all_names(read, form, prefix):
    names = [f"{prefix}{name}" for name in ("conv.weight", "fc.weight", "fc.bias")]
    found = read(form({name: Tensor(W) for name in names}))
    assert list(found) == ["conv.weight", "fc.weight", "fc.bias"]


def test_big_endian(read):
    data = torch_writer.zipped({"fc.weight": Tensor(W)}, byteorder=b"big")
    np.testing.assert_array_equal(read(data)["fc.weight"], W, strict=True)


class Evil:
    """What a malicious pickle has in it."""

    def __reduce__(self):
        return os.system, ("touch touched",)


OTHERS = {
    "a call": (Evil(), "the pickle asks for 'posix.system'"),
    "another class": (Fraction(1, 2), "the pickle asks for 'fractions.Fraction'"),
    "a complex number": (1j, "the pickle asks for '__builtin__.complex'"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_refused_by_name(read, form, name, tmp_path, monkeypatch):
    """And nothing of it is run."""
    monkeypatch.chdir(tmp_path)
    value, words = OTHERS[name]
    message = refused(read, form({"fc.weight": Tensor(W), "more": value}))
    assert words in message and "a state dict of tensors has no use for" in message
    assert not (tmp_path / "touched").exists()


def test_no_state_dict(read, form):
    for value, words in (
        ({"epoch": 3}, "holds no state dict, but a dict of 'epoch'"), ([1, 2], "but one list"),
        ({0: Tensor(W)}, "holds tensors without proper names"), ({}, "but an empty dict"),
        ({"a\x1b[2J": Tensor(W)}, "holds tensors without proper names"), (Tensor(W), "one tensor"),
        ({"a." * 101: Tensor(W)}, "holds tensors without proper names"),
    ):  # fmt: skip
        assert words in refused(read, form(value))


def test_other_files(read):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("header.json", "{}")
    for data, words in (
        (b"", "is empty; fetch it again"), (b"hello", "is no file of torch.save"),
        (pickle.dumps({"a": 1}, protocol=2), "is no file of torch.save"),
        (torch_writer.old({}, magic=5), "is no file of torch.save"),
        (torch_writer.old({}, version=7), "has version 7"),
        (file.getvalue(), "is a ZIP archive without a data.pkl"),
    ):  # fmt: skip
        assert words in refused(read, data)


def test_a_storage_that_promises_too_much(read, form):
    """More numbers than there are, and views that reach beyond: no memory is read or asked for."""
    short = Storage(np.arange(4, dtype=np.float32), claimed=2**40)
    assert "damaged, or cut off" in refused(read, form({"a.b": Tensor(np.empty(4), short)}))
    own = Storage(np.arange(4, dtype=np.float32))
    for tensor in (
        Tensor(np.empty(5), own, 0, (1,)), Tensor(np.empty(2), own, 3, (1,)),
        Tensor(np.empty(2), own, -1, (1,)), Tensor(np.empty(2), own, 3, (-1,)),
        Tensor(np.empty((9, 1)), own, 0, (0, 1)),
    ):  # fmt: skip
        message = refused(read, form({"a.b": tensor}))
        assert "reaches beyond its storage" in message
    bomb = torch_writer.zipped({"a.b": Tensor(np.zeros(10**6))}, compression=zipfile.ZIP_DEFLATED)
    assert "it is compressed, which torch.save does not do" in refused(read, bomb)


GOOD = {
    name: make({"fc.weight": Tensor(W), "fc.bias": Tensor(W[0])}) for name, make in FORMS.items()
}


@settings(deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_damage_is_a_sentence_or_leaves_the_shapes(tmp_path_factory, name, data):
    """Cut anywhere, or with a byte changed: never anything but an `InputError`."""
    good = GOOD[name]
    place = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.booleans())
    byte = data.draw(st.integers(0, 255))
    changed = good[:place] if cut else good[:place] + bytes([byte]) + good[place + 1 :]
    path = tmp_path_factory.getbasetemp() / "weights.pth"
    path.write_bytes(changed)
    try:
        found = torch_files.read(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert not cut or len(found) == 2
        assert all(isinstance(value, np.ndarray) for value in found.values())


def test_folders_and_missing_files(tmp_path):
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "no.pth", "there is no such file")):
        with pytest.raises(InputError, match=words):
            torch_files.read(path)


@pytest.mark.torch
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_checkpoints_of_pytorch_itself(tmp_path, torch, new, protocol):
    """What its users keep beside the weights, in every protocol; and a whole model."""
    net = torch.nn.Linear(3, 2)
    rule = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    rule.step()
    checkpoint = {
        "state_dict": net.state_dict(), "optimizer": rule.state_dict(), "args": Namespace(lr=0.1),
        "scheduler": torch.optim.lr_scheduler.MultiStepLR(rule, [1, 2]).state_dict(),
        "device": torch.device("cuda:0"), "dtype": torch.float32, "best": np.float64(0.9),
        "random": (torch.get_rng_state(), np.random.get_state()), "seen": {1}, "key": b"a\xff",
    }  # fmt: skip
    how = {"_use_new_zipfile_serialization": new, "pickle_protocol": protocol}
    torch.save(checkpoint, tmp_path / "a.pth", **how)
    found = torch_files.read(tmp_path / "a.pth")
    assert list(found) == ["weight", "bias"]
    np.testing.assert_array_equal(found["weight"], net.weight.detach().numpy(), strict=True)
    torch.save(net, tmp_path / "a.pth", **how)
    with pytest.raises(InputError, match=r"Linear'.* save model.state_dict\(\) alone"):
        torch_files.read(tmp_path / "a.pth")


@pytest.mark.torch
@pytest.mark.parametrize("new", [True, False])
def test_files_of_pytorch_itself(tmp_path, torch, new):
    """Every type, views, shared and transposed tensors, parameters: as torch.load reads them."""
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    kinds = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
    tensors = {f"a.{kind}": whole.to(getattr(torch, kind)) for kind in kinds}
    tensors |= {"b.view": whole[1:3, ::2], "b.transposed": whole.T, "b.empty": whole[:0]}
    tensors["c.parameter"] = torch.nn.Parameter(whole)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    for value in (tensors, {"net": OrderedDict(tensors), "epoch": 3}, net.state_dict()):
        torch.save(value, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        found = torch_files.read(tmp_path / "a.pth")
        theirs = value.get("net", value)
        assert list(found) == list(theirs)
        for name, tensor in theirs.items():
            tensor = tensor.detach()
            tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
            np.testing.assert_array_equal(found[name], tensor.numpy(), strict=True)

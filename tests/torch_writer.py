"""Files as ``torch.save`` writes them, made without PyTorch: for tests of the reader.

A tensor is pickled as ``torch._utils._rebuild_tensor_v2`` of a storage, and a storage as a
persistent reference ``("storage", torch.FloatStorage, key, "cpu", count)``.
"""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from types import ModuleType
from unittest import mock

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
KINDS = {
    "f8": "DoubleStorage", "f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage",
    "i4": "IntStorage", "u1": "ByteStorage",
}  # fmt: skip


def modules():
    """A stand-in for ``torch`` with the names that the pickles mention."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in KINDS.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("nothing may be called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    torch._utils = utils
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    return {"torch": torch, "torch._utils": utils}


class Tensor:
    """An array as a view of a storage; by default one of its own."""

    def __init__(self, array, storage=None, offset=0, strides=None):
        array = np.asarray(array)
        self.storage = Storage(array.reshape(-1)) if storage is None else storage
        self.offset, self.size = offset, array.shape
        self.strides = strides or tuple(s // array.itemsize for s in array.copy().strides)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (
            self.storage, self.offset, self.size, self.strides, False, OrderedDict(),
        )  # fmt: skip


class Storage:
    """Numbers in a row; ``claimed`` is how many the file says there are."""

    def __init__(self, numbers, claimed=None):
        self.numbers = np.ascontiguousarray(numbers)
        self.claimed = len(self.numbers) if claimed is None else claimed


class _Pickler(pickle.Pickler):
    def __init__(self, file, found, tail):
        super().__init__(file, protocol=2)
        self.found, self.tail = found, tail

    def persistent_id(self, item):
        if not isinstance(item, Storage):
            return None
        key = str(next((k for k, v in self.found.items() if v is item), len(self.found)))
        self.found[key] = item
        kind = KINDS[item.numbers.dtype.str[1:]]
        own = getattr(sys.modules["torch"], kind)
        return ("storage", own, key, "cpu", item.claimed, *self.tail)


def _pickled(value, tail):
    found, file = {}, io.BytesIO()
    with mock.patch.dict(sys.modules, modules()):
        _Pickler(file, found, tail).dump(value)
    return file.getvalue(), found


def zipped(value, root="archive", byteorder=b"little", compression=zipfile.ZIP_STORED):
    """The bytes of a file as PyTorch writes it since 1.6."""
    data, found = _pickled(value, ())
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", data)
        if byteorder:
            archive.writestr(f"{root}/byteorder", byteorder)
        for key, storage in found.items():
            order = ">" if byteorder == b"big" else "<"
            numbers = storage.numbers.astype(storage.numbers.dtype.newbyteorder(order))
            archive.writestr(f"{root}/data/{key}", numbers.tobytes())
        archive.writestr(f"{root}/version", b"3\n")
    return file.getvalue()


def old(value, magic=MAGIC, version=VERSION):
    """The bytes of a file as PyTorch wrote it before 1.6."""
    data, found = _pickled(value, (None,))
    system = {"protocol_version": version, "little_endian": True, "type_sizes": {"long": 4}}
    parts = [pickle.dumps(head, protocol=2) for head in (magic, version, system)]
    parts += [data, pickle.dumps(list(found), protocol=2)]
    for storage in found.values():
        parts += [len(storage.numbers).to_bytes(8, "little"), storage.numbers.tobytes()]
    return b"".join(parts)


FORMS = {"zip": zipped, "old": old}


def state_dict(network, rename=lambda name: name, order=lambda names: names):
    """A state dict with PyTorch's names of roles, of a network with numbers that are all different.

    Returns
    -------
    tensors : OrderedDict of str to Tensor
    values : dict of str to ndarray, the same by the names of the network
    """
    state = network.init_state(np.empty(0, np.float32))
    shapes = network.layer_shapes | {name: value.shape for name, value in state.items()}
    roles = {"scale": "weight", "shift": "bias", "mean": "running_mean", "var": "running_var"}
    values, start = {}, 1
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        values[name] = np.arange(start, start + count, dtype=np.float32).reshape(shape)
        start += count
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in shapes))
    tensors = OrderedDict()
    for layer in order(layers):
        for name in (n for n in shapes if n.rpartition(".")[0] == layer):
            last = name.rpartition(".")[2]
            tensors[f"{rename(layer)}.{roles.get(last, last)}"] = Tensor(values[name])
        if f"{layer}.mean" in shapes:
            tensors[f"{rename(layer)}.num_batches_tracked"] = Tensor(np.array(7))
    return tensors, values

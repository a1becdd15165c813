"""Files of ``torch.save``, old and new, read without PyTorch and without running anything in them.

A file holds a pickle of dicts and tensors, and beside it the *storages*, plain arrays of which the
tensors are views: offset, size and strides. Since PyTorch 1.6 it is a ZIP archive, ``data.pkl`` and
a file for each storage; before, four pickles (a magic number, the version, properties of the
machine, and the object), the names of the storages, and their bytes. Both are read here with
`minizo.pickles`, which knows nothing but tensors, and a few things that stand beside them in
checkpoints (options, devices, numbers of NumPy), of which it keeps nothing: another class is
refused by its name.

Time and memory stay in proportion to the file, as in `minizo.pickles`: an archive has to hold its
files once each and as they are (``torch.save`` compresses none), and all tensors together may be
four times the storages that they are views of.
"""

import io
import reprlib
import zipfile
from collections.abc import Mapping
from itertools import islice
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import pickles
from .checkpoint import DAMAGE
from .data import packed
from .data.packed import require_file
from .errors import InputError

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the old files
HOLDS, REMEDY = "a state dict of tensors", "save model.state_dict() alone"
STATE_DICTS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
BFLOAT16 = "bfloat16"  # which NumPy does not know
MOST_AXES, MOST, LONGEST = 32, 2**48, 200  # of a tensor: axes; offset, size, stride; its name
SHARED = 4  # how many times the storages the tensors may be
STORAGES = {
    "torch DoubleStorage": "f8", "torch FloatStorage": "f4", "torch HalfStorage": "f2",
    "torch BFloat16Storage": BFLOAT16, "torch LongStorage": "i8", "torch IntStorage": "i4",
    "torch ShortStorage": "i2", "torch CharStorage": "i1", "torch ByteStorage": "u1",
    "torch BoolStorage": "b1",
}  # fmt: skip


class Tensor(NamedTuple):
    """A view of a storage whose content may still have to be read."""

    storage: str
    offset: int
    size: tuple
    strides: tuple

    @classmethod
    def checked(cls, storage, offset, size, strides, *_):
        """As the pickle says it; ``ValueError`` where it says anything but small integers."""
        axes = isinstance(size, tuple) and isinstance(strides, tuple)
        if not (axes and len(size) == len(strides) <= MOST_AXES and isinstance(storage, str)):
            raise ValueError("a tensor has no proper size and strides")
        if any(type(n) is not int or abs(n) > MOST for n in (offset, *size, *strides)):
            raise ValueError("the offset, size and strides of a tensor are no integers")
        return cls(storage, offset, size, strides)

    def of(self, numbers):
        """The array, a copy, given the numbers of the storage."""
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.strides, strict=True))
        count = prod(self.size)
        inside = min((self.offset, *self.size, *self.strides)) >= 0 and last < len(numbers)
        if count and not (inside and count <= len(numbers)):
            raise ValueError(f"a tensor of {self.size} reaches beyond its storage")
        if not count:
            return np.empty(self.size, numbers.dtype)
        width = numbers.itemsize
        strides = [width * s for s in self.strides]
        view = np.ndarray(self.size, numbers.dtype, numbers, width * self.offset, strides)
        return view.copy()


def read(path):
    """Tensors of a state dict: name -> ndarray, in their order.

    Parameters
    ----------
    path : str or path-like
        A file that ``torch.save`` wrote, with any ``pickle_protocol``: of a state dict, or of a
        dict that has one among other things (epoch, optimiser ...), as ``state_dict``,
        ``model_state_dict``, ``model``, ``net``, ``network`` or ``weights``. A prefix that all
        names share, such as the ``module.`` of parallel training, is left out.

    Returns
    -------
    dict of str to ndarray
        bfloat16 as float32, all else in its own type.

    Raises
    ------
    InputError
        If the file is missing, cut off or damaged, or holds anything but tensors, names and
        numbers; nothing in it is ever run.

    Notes
    -----
    PyTorch's own ``torch.load(weights_only=True)`` has the same purpose.
    """
    path, data = Path(path), packed.read(path)
    require_file(len(data) > 0, path, "is empty", "fetch it again")
    try:
        found, storages = (_zip if data.startswith(b"PK") else _old)(path, data)
        arrays = _arrays(_state_dict(path, found), storages)
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: needs more memory than there is; give a smaller file") from None
    except (*DAMAGE, IndexError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(f"{path}: is damaged, or cut off ({reason}); fetch it again") from error
    return _without_prefix(arrays)


def _state_dict(path, found):
    # the state dict, which may be one entry of a dict of other things
    for name in STATE_DICTS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    good = isinstance(found, Mapping) and any(isinstance(v, Tensor) for v in found.values())
    require_file(
        good, path, f"holds no state dict, but {_held(found)}",
        f"save model.state_dict(), by itself or as one of {', '.join(STATE_DICTS)}",
    )  # fmt: skip
    for name in found:
        good = isinstance(name, str) and name.isprintable() and len(name) <= LONGEST
        require_file(good, path, "holds tensors without proper names", "save model.state_dict()")
    return found


def _held(found):
    # what it is instead, in a few words
    if isinstance(found, Tensor):
        return "one tensor"
    if not isinstance(found, Mapping):
        return f"one {type(found).__name__}"
    keys = [reprlib.repr(key) for key in islice(found, 5)]
    return f"a dict of {', '.join(keys)}" if keys else "an empty dict"


def _arrays(found, storages):
    # the tensors of a state dict, unless many are views of one storage
    tensors = {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
    size = sum(prod(t.size) * storages[t.storage].itemsize for t in tensors.values())
    if size > SHARED * sum(numbers.nbytes for numbers in storages.values()):
        raise ValueError(f"its tensors are more than {SHARED} times its numbers")
    return {name: tensor.of(storages[tensor.storage]) for name, tensor in tensors.items()}


def _without_prefix(arrays):
    # "module.fc.weight" -> "fc.weight" where all names begin so
    while True:
        heads = {name.partition(".")[::2] for name in arrays}
        if len({first for first, _ in heads}) != 1 or not all("." in rest for _, rest in heads):
            return arrays
        arrays = {name.partition(".")[2]: value for name, value in arrays.items()}


# The two forms --------------------------------------------------------------------------------


class Beside(NamedTuple):
    """What stands beside the tensors, and is of no use here: nothing of it is kept."""

    def build(self, state):
        """Attributes, which are dropped."""
        return self


def _beside(*_):
    return Beside()


NAMES = {
    "collections OrderedDict": pickles.table,
    "torch._utils _rebuild_tensor_v2": Tensor.checked,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    "torch Size": tuple,
    **dict.fromkeys(STORAGES),
    # beside the tensors: options, counts of a schedule, bytes, sets, devices, numbers of NumPy
    **dict.fromkeys(
        (
            "argparse Namespace", "pathlib PosixPath", "pathlib WindowsPath",
            "collections Counter", "_codecs encode", "__builtin__ bytes",
            "__builtin__ set", "__builtin__ frozenset", "builtins set", "builtins frozenset",
            "torch device", "numpy dtype",
            "numpy.core.multiarray scalar", "numpy._core.multiarray scalar",
            "numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct",
            "numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer",
        ),
        _beside,
    ),
    **dict.fromkeys(
        ("numpy ndarray", "torch float64", "torch float32", "torch float16", "torch bfloat16")
    ),
}  # fmt: skip


def _pickle(path, file, kinds):
    # the next pickle; the type of each storage that it refers to is noted in ``kinds``
    def storage(said):
        word, kind, key, _, count, *view = said
        if word != "storage" or any(view):
            raise ValueError("it refers to something that is no storage, or a part of one")
        if not (isinstance(key, str) and isinstance(kind, pickles.Name) and type(count) is int):
            raise ValueError("it refers to a storage by no proper name")
        if kinds.setdefault(key, (STORAGES[kind.name], count)) != (STORAGES[kind.name], count):
            raise ValueError("a storage is of two types or sizes")
        return key

    return pickles.read(path, file, NAMES, HOLDS, storage, REMEDY)


def _numbers(data, kind, count, order):
    # the content of a storage of so many numbers
    stored = np.dtype(f"{order}{'u2' if kind == BFLOAT16 else kind}")
    if len(data) != count * stored.itemsize:
        raise ValueError(f"a storage of {count} numbers has {len(data)} bytes")
    numbers = np.frombuffer(data, stored)
    if kind == BFLOAT16:  # the upper half of a float32
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.astype(kind)


def _zip(path, data):
    # NAME/data.pkl, NAME/data/KEY, NAME/byteorder
    kinds = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed, which torch.save does not do")
        if sum(member.file_size for member in members) > len(data):
            raise ValueError("it unpacks to more than it can hold")
        inner = [name for name in names if name.endswith("/data.pkl")]
        require_file(
            inner, path, "is a ZIP archive without a data.pkl",
            "give a file that torch.save wrote (not torch.jit.save)",
        )  # fmt: skip
        if len(inner) > 1 or len(set(names)) < len(names):
            raise ValueError("it has two files of one name")
        root = inner[0].removesuffix("data.pkl")
        found = _pickle(path, io.BytesIO(archive.read(inner[0])), kinds)
        order = "<"
        if f"{root}byteorder" in names:
            order = {b"little": "<", b"big": ">"}[archive.read(f"{root}byteorder")]
        storages = {}
        for key, (kind, count) in kinds.items():
            storages[key] = _numbers(archive.read(f"{root}data/{key}"), kind, count, order)
    return found, storages


def _old(path, data):
    file, kinds = io.BytesIO(data), {}
    known = (
        MAGIC.to_bytes(10, "little") in data[:32] and pickles.read(path, file, {}, HOLDS) == MAGIC
    )
    require_file(
        known, path, "is no file of torch.save",
        "give one, or a checkpoint, an export or a run folder of minizo",
    )  # fmt: skip
    version = pickles.read(path, file, {}, HOLDS)
    require_file(version == VERSION, path, f"has version {reprlib.repr(version)}", "save it again")
    order = "<" if pickles.read(path, file, {}, HOLDS)["little_endian"] else ">"
    found = _pickle(path, file, kinds)
    storages = {}
    for key in pickles.read(path, file, {}, HOLDS):
        if not isinstance(key, str) or key in storages:
            raise ValueError("its list of storages is wrong")
        kind, count = kinds[key]
        held = int.from_bytes(file.read(8), "little" if order == "<" else "big")
        if held != count:
            raise ValueError(f"a storage of {count} numbers has {held}")
        width = 2 if kind == BFLOAT16 else np.dtype(kind).itemsize
        storages[key] = _numbers(file.read(count * width), kind, count, order)
    return found, storages

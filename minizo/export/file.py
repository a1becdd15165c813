"""Exports on disk: written whole or not at all, read without pickle.

The format is described in `minizo.export`.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from io import BytesIO
from math import prod

import numpy as np

from .. import layers, quantizers
from ..checkpoint import DAMAGE
from ..data import Vocabulary
from ..data.tokens import Text
from ..errors import InputError
from ..files import write_atomically
from ..layers.stack import Composite
from ..network import Network
from ..records import Run
from ..types import FilePath
from . import steps
from .fold import fold, folds
from .layers import ExportedLayers
from .pack import Codes, layout, pack, signed, unpack
from .steps import Exported
from .trained import Trained

FORMAT = "minizo export"
STEPS, LAYERS = 1, 2  # the versions of the format

# What may stand in a file under "op"; nothing else is ever built from it.
KINDS = {
    kind.__name__: kind
    for kind in (
        steps.Pixels, steps.Product, steps.Thresholds, steps.Affine, steps.Apply, steps.Encode,
        *(vars(layers)[name] for name in layers.__all__),
        *(vars(quantizers)[name] for name in quantizers.__all__), Codes, Vocabulary,
    )
    if isinstance(kind, type) and kind not in (layers.Layer, quantizers.Quantizer)
}  # fmt: skip
# What a network sets itself, and what only a backward takes.
LEFT_OUT = ("axes", "surrogate")


def require_exportable(network):
    """Raise an `InputError` for a layer, or a quantiser in one, that is none of minizo's own."""
    _require_known(network.layers, "")


def _require_known(way, above):
    for name, layer in way.items():
        for part in (layer, getattr(layer, "quantizer", layer)):
            kind = type(part)
            if KINDS.get(kind.__name__) is not kind:
                what = "is of" if part is layer else "quantises with"
                raise InputError(
                    f"layer {above + name!r} {what} {kind.__name__}, which cannot be exported: a "
                    "file builds nothing but minizo's own layers and quantisers; use one of these"
                )
        for inner in layer.ways if isinstance(layer, Composite) else ():
            _require_known(inner, f"{above}{name}.")


def encode(value, data):
    """``value`` as JSON; the bytes of its arrays are appended to the list ``data``."""
    if is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        # only what is not the default
        for field in fields(value):
            default = field.default
            if field.name in LEFT_OUT:
                del own[field.name]
            elif default is not MISSING and not hasattr(own[field.name], "shape"):
                if own[field.name] == default:
                    del own[field.name]
        return {"op": type(value).__name__} | {n: encode(v, data) for n, v in own.items()}
    if isinstance(value, Mapping):
        return {"named": {name: encode(part, data) for name, part in value.items()}}
    if isinstance(value, tuple):
        return [encode(part, data) for part in value]
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        data.append(value.astype(value.dtype.newbyteorder("<")).tobytes())
        return {"float": 8 * value.itemsize, "shape": list(value.shape)}
    bits, low, gap = layout(value)
    data.append(pack((value.astype(np.int64) - low) // gap, bits).tobytes())
    return {"packed": [bits, low, gap], "shape": list(value.shape)}


def decode(value, data):
    """The inverse of `encode`; ``data`` is a stream of bytes."""
    if isinstance(value, list):
        return tuple(decode(part, data) for part in value)
    if not isinstance(value, dict):
        return value
    if "named" in value:
        return {name: decode(part, data) for name, part in value["named"].items()}
    if "op" in value:
        own = {name: decode(part, data) for name, part in value.items() if name != "op"}
        return KINDS[value["op"]](**own)
    shape = tuple(value["shape"])
    count = prod(shape)
    if "float" in value:
        kind = np.dtype(f"<f{value['float'] // 8}")
        numbers = np.frombuffer(_take(data, count * kind.itemsize), kind)
        return numbers.astype(kind.newbyteorder("=")).reshape(shape)
    bits, low, gap = value["packed"]
    packed = np.frombuffer(_take(data, -(-count * bits // 8)), np.uint8)
    numbers = low + gap * unpack(packed, bits, count)
    # (count,) -> shape
    return numbers.astype(signed(max(abs(low), abs(low + gap * (2**bits - 1))))).reshape(shape)


def _take(data, size):
    taken = data.read(size)
    if len(taken) != size:
        raise ValueError("it ends too early")
    return taken


def digest(header, data):
    """Hexadecimal SHA-256 of the header, as JSON, and the data."""
    return hashlib.sha256(_text(header) + data).hexdigest()


def _text(header):
    return json.dumps(header, separators=(",", ":")).encode()


def save(
    path: FilePath, run: Run | Trained, pixels: bool = True, text: Text | Vocabulary | None = None
) -> Exported | ExportedLayers:
    """Write a trained network to ``path``, and return it as `Exported` or `ExportedLayers`.

    Networks of whole numbers are folded (`minizo.export.fold.folds` says which); of the others the
    layers stay as they are.

    Parameters
    ----------
    path : path
        Such as ``net.npz``.
    run : Run or Trained
        What `minizo.fit` gave, or what `minizo.export.read_run` found.
    pixels : bool
        Whether the images were bytes and lie in [0, 1], as MNIST's: then the first product is one
        of whole numbers. Otherwise its inputs are real numbers. Only folded networks look at it.
    text : Text or Vocabulary, optional
        What a language model was trained on: with its vocabulary in the file, it can write.

    Raises
    ------
    InputError
        For a layer that is none of minizo's own, a text of other tokens than the network's, or a
        place that cannot be written.
    """
    trained = run if isinstance(run, Trained) else Trained.of(run)
    network, parts = trained.network, []
    require_exportable(network)
    if text is None and folds(network):
        params = {**trained.weights, **trained.running}
        exported = fold(network, params, trained.quantized, pixels)
        version, inside = STEPS, {"steps": exported.steps}
    else:
        exported = ExportedLayers.of(trained, text)
        version = LAYERS
        inside = {"layers": network.layers, "tied": network.tied, "params": exported.params,
                  "text": exported.text}  # fmt: skip
    header = {
        "format": FORMAT,
        "version": version,
        "dtype": exported.dtype,
        "input_shape": list(network.input_shape),
        **{name: encode(part, parts) for name, part in inside.items()},
    }
    data = b"".join(parts)
    header["sha256"] = digest(header, data)
    array, whole = BytesIO(), BytesIO()
    np.lib.format.write_array(array, np.frombuffer(data, np.uint8), allow_pickle=False)
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, member in (("header.json", _text(header)), ("data.npy", array.getvalue())):
            # a ZipInfo of its own has no clock in it: the same network gives the same bytes
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            archive.writestr(info, member, zipfile.ZIP_DEFLATED, 9)
    write_atomically(path, lambda file: file.write(whole.getvalue()))
    return exported


def load(path: FilePath) -> Exported | ExportedLayers:
    """The network in the file at ``path``, `Exported` or `ExportedLayers`.

    Raises
    ------
    InputError
        If the file is missing, cut short, altered, of a newer format, or something else.
    """
    remedy = "export the run again, or restore the file from a copy"
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("header.json"))
            array = np.lib.format.read_array(BytesIO(archive.read("data.npy")), allow_pickle=False)
        data, theirs = array.tobytes(), header.pop("sha256")
        form, version = header["format"], header["version"]
    except FileNotFoundError:
        raise InputError(f"there is no export {path}") from None
    except (*DAMAGE, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged or not an export of minizo ({error}); {remedy}") from (
            error
        )
    if form != FORMAT:
        raise InputError(f"{path} is not an export of minizo; {remedy}")
    if version not in (STEPS, LAYERS):
        raise InputError(
            f"{path} has format version {version!r}, but this minizo reads {STEPS} and {LAYERS}; "
            "use the minizo that wrote it, or a newer one"
        )
    if digest(header, data) != theirs:
        raise InputError(f"{path} is damaged: its checksum is wrong; {remedy}")
    try:
        stream = BytesIO(data)
        names = ("steps",) if version == STEPS else ("layers", "tied", "params", "text")
        program, *rest = (decode(header[name], stream) for name in names)
        if stream.read(1):
            raise ValueError("data are left over")
        shape, dtype = tuple(header["input_shape"]), header["dtype"]
        if dtype not in ("float32", "float64"):
            raise ValueError(f"its dtype is {dtype!r}")
        if version == STEPS:
            return steps.Exported(program, shape, dtype)
        tied, params, text = rest
        return ExportedLayers(Network(program, shape, tied=tied), params, dtype, text)
    except (*DAMAGE, ArithmeticError, AttributeError, IndexError, TypeError) as error:
        raise InputError(f"{path} is not a valid export of minizo ({error}); {remedy}") from error

"""Checkpoints: one .npz a run, written whole or not at all, read without pickle.

A checkpoint is a JSON header (what made it, which settings) and named arrays. States are
NamedTuples whose fields are arrays, numbers, dicts or further states; they are stored field by
field under their path and put back into the shape of a freshly initialised state.
"""

import json
import zipfile
import zlib

import numpy as np

from . import backend
from .errors import InputError
from .files import write_atomically
from .records import Diverged

FORMAT = "minizo checkpoint"


# What zipfile, zlib and NumPy raise on altered files. RuntimeError and NotImplementedError come
# from flipped bits in a member's flags: "is encrypted", "compression method not supported".
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


def flatten(prefix, state):
    """Arrays of a nested state by path: ``Adam(m, v, t)`` -> {"opt.m": ..., "opt.v": ...}."""
    if isinstance(state, tuple):
        state = dict(zip(getattr(state, "_fields", range(len(state))), state, strict=True))
    if isinstance(state, dict):
        flat = {}
        for name, value in state.items():
            flat |= flatten(f"{prefix}.{name}", value)
        return flat
    return {prefix: backend.to_numpy(state)}


def unflatten(prefix, template, arrays, like):
    """The inverse of `flatten`, in the structure of ``template``, where ``like`` lives."""
    if isinstance(template, tuple):
        names = getattr(template, "_fields", range(len(template)))
        values = [
            unflatten(f"{prefix}.{name}", value, arrays, like)
            for name, value in zip(names, template, strict=True)
        ]
        return type(template)(*values) if hasattr(template, "_fields") else tuple(values)
    if isinstance(template, dict):
        return {
            name: unflatten(f"{prefix}.{name}", value, arrays, like)
            for name, value in template.items()
        }
    if prefix not in arrays:
        raise InputError(f"the checkpoint has no {prefix!r}: it belongs to another kind of run")
    value = arrays[prefix]
    if isinstance(template, int | float):
        return type(template)(value)
    return backend.asarray(value, like)


def save(path, header, arrays):
    """Write ``header`` (JSON) and ``arrays`` (name -> ndarray) to ``path``."""
    text = json.dumps({"format": FORMAT, "arrays": list(arrays), **header})
    host = {name: backend.to_numpy(value) for name, value in arrays.items()}
    write_atomically(path, lambda file: np.savez(file, header=np.array(text), **host))


def load(path):
    """(header, arrays) of the checkpoint at ``path``.

    Raises
    ------
    InputError
        If the file is missing, cut short, altered, or not a checkpoint of this package. (Every
        member of the archive carries a CRC-32, so a flipped bit is noticed.)
    """
    remedy = "delete it to start this run again, or restore it from a copy"
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            bad = archive.testzip()  # reads everything and compares every CRC-32
        if bad is not None:
            raise zipfile.BadZipFile(f"bad CRC-32 in {bad}")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint {path}") from None
    except DAMAGE as error:
        raise InputError(
            f"{path} is damaged or not a checkpoint of minizo ({error}); {remedy}"
        ) from error
    try:
        header = json.loads(str(arrays.pop("header")))
    except (KeyError, ValueError):
        raise InputError(f"{path} is not a checkpoint of minizo; {remedy}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of minizo; {remedy}")
    # the archive's table of contents has no CRC-32: one flipped bit there can hide a member
    if header.pop("arrays", None) != list(arrays):
        raise InputError(f"{path} is damaged: arrays are missing from it; {remedy}")
    return header, arrays


def save_group(path, group, state, records, errors):
    """Write what a group of runs is made of, its `TrainState`, and the weights by name.

    Of every row the settings, the records, and the error where it has diverged. Where all have,
    nothing is written, and the last good checkpoint stays.
    """
    if all(errors):
        return
    arrays = flatten("state", state)
    objective = group.objective.at(state.step / group.lead.steps)
    for name, weight in objective.in_use().quantize(state.theta).items():
        arrays[f"quantized.{name}"] = weight
    for name, weight in objective.network.views(state.theta).items():
        arrays[f"latent.{name}"] = weight
    rows = zip(group.recipes, records, errors, strict=True)
    runs = [
        {"settings": recipe.settings(), "records": own, "error": error and str(error)}
        for recipe, own, error in rows
    ]
    save(path, {"runs": runs}, arrays)


def restore_group(path, group, state):
    """(state, records, errors) as `save_group` wrote them; ``state`` is that of the start.

    Raises
    ------
    InputError
        If it is damaged, or was made with other settings: the sentence names the first that
        differs.
    """
    header, arrays = load(path)
    runs, remedy = header.get("runs", []), "resume with the settings it was made with"
    if len(runs) != group.count:
        raise InputError(
            f"checkpoint {path} holds {len(runs)} runs, and these are {group.count}; {remedy}, or "
            "start a new run"
        )
    for run, recipe in zip(runs, group.recipes, strict=True):
        for name, value in json.loads(json.dumps(recipe.settings())).items():
            theirs = run["settings"].get(name)
            if theirs != value:
                raise InputError(
                    f"checkpoint {path} was made with {name} = {theirs!r}, this run has {value!r}; "
                    f"{remedy}, or start a new run"
                )
    state = unflatten("state", state, arrays, state.theta)
    errors = [run["error"] and Diverged(run["error"]) for run in runs]
    return state, [run["records"] for run in runs], errors

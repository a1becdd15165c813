"""Where the settings of a training command come from: flags, a file, a recipe, a run folder.

`told` follows ``--settings`` and ``--resume``. A run folder keeps what determines the numbers in
``settings.json`` (`write`), with the command, the version, and the SHA-256 of the user's own files.
"""

import json
from pathlib import Path

from .. import __version__
from ..errors import InputError, nearest
from ..files import write_text
from . import own, recipes
from .flags import FLAGS, value, written
from .parts import KINDS
from .settings import (
    DEFAULTS,
    SHORT,
    Settings,
    filled,
    over,
    read_values,
    refuse_twice,
    refuse_useless,
)

CHANGEABLE = ("reference", "measure", "sample")  # kept in a folder, but no run depends on it
OUTSIDE = ("command", "version", "files")  # beside the settings, also in a file that has no head
HEAD = (*OUTSIDE, "recipe")


def settled(defaults, given):
    """The `Settings` of a command with these defaults, for the flags given (as text).

    ``--settings`` is followed.
    """
    given, below, recipe = read_values(given), read_values(defaults), None
    if given.get("settings") is not None:
        path = given["settings"]
        flag = getattr(path, "flag", "--settings")  # or --recipe
        below, recipe = over(below, read_file(path, flag)), recipe_of(path, flag)
    values = filled(over(below, given))
    refuse_useless(values, given)
    return Settings.of(values | {"recipe": recipe})


def recipe_of(path, flag="--settings"):
    """The recipe that a text names, or that a run folder was made by; ``None`` for others."""
    found = read_json(path, flag)[1]["recipe"]
    return found if found in recipes.NAMES else None


def changed(settings):
    """Names of the settings that a run of a recipe has otherwise than the recipe says.

    >>> settings = settled(DEFAULTS, {"settings": "ir-net", "steps": "2", "seed": ["3"]})
    >>> settings.recipe, changed(settings), changed(settled(DEFAULTS, {"settings": "ir-net"}))
    ('ir-net', ['epochs'], [])
    """
    published = read_file(settings.recipe)
    kept = Settings.of(filled(over(read_values(DEFAULTS), published))).kept()
    return [name for name in published if kept.get(name) != settings.kept().get(name)]


def read_json(path, flag):
    """The settings in a file of JSON, as they stand there, and the command that wrote them.

    Returns
    -------
    settings : dict
    head : dict
        ``command``, ``version``, ``files`` and ``recipe``, where a run folder's file says them; the
        last of a recipe, too.
    """
    recipe = recipes.called(str(path))
    if recipe:
        return recipes.read(recipe).settings, dict.fromkeys(HEAD) | {"recipe": recipe}
    path = Path(path)
    path = path / "settings.json" if path.is_dir() else path
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        why = error.strerror or error
        hint = nearest(path.name, recipes.NAMES) if flag != "--resume" else ""
        raise InputError(
            f"{flag} {path}: {why}; name a file of settings, or one of the recipes "
            f"{', '.join(recipes.NAMES)}{hint}"
        ) from None
    except ValueError as error:
        raise InputError(f"{flag} {path} is no JSON: {error}") from None
    inner = ("settings", "files")
    if not isinstance(found, dict) or not all(isinstance(found.get(n, {}), dict) for n in inner):
        raise InputError(
            f'{flag} {path} must hold one object of settings, such as {{"estimator": "fogzo:n=10"}}'
        )
    head = {name: found.get(name) for name in HEAD}
    return found.get("settings", {k: v for k, v in found.items() if k not in OUTSIDE}), head


def read_file(path, flag="--settings"):
    """The values of a file of settings, checked; `InputError` names the file and the key."""
    found, head = read_json(path, flag)
    belonging = [name for name in FLAGS if not FLAGS[name].free] + ["workers", "checkpoint_every"]
    values = {}
    for key, item in found.items():
        name = key.replace("-", "_").lower()
        if name not in belonging:
            made = f" (minizo {head['version']} wrote it)" if head["version"] else ""
            raise InputError(
                f"{flag} {path}: minizo {__version__} has no setting {key!r}"
                f"{nearest(name, belonging)}{made}"
            )
        if item is None:
            continue
        try:
            values[name] = value(name, item)
        except InputError as error:
            raise InputError(f"{flag} {path}: {error}") from None
    try:
        refuse_twice(values)
    except InputError as error:
        raise InputError(f"{flag} {path}: {error}") from None
    return values


def write(folder, command, settings):
    """Keep the settings that determine the numbers, so that the folder can be resumed."""
    kept = {
        "command": command, "version": __version__, "files": settings.files,
        **({} if settings.recipe is None else {"recipe": settings.recipe}),
        "settings": settings.kept(),
    }  # fmt: skip
    write_text(folder / "settings.json", json.dumps(kept, indent=2) + "\n")


def resumed(folder, command, defaults, given):
    """The `Settings` of the run in ``folder``; `InputError` where the flags given differ.

    Raises
    ------
    InputError
        If the folder holds no run of this command, the flags contradict its settings, or a file of
        the user's own has changed since.
    """
    flag = "--resume"
    if not (Path(folder) / "settings.json").is_file():
        raise InputError(
            f"{flag} {folder}: there is no settings.json in it; name the folder that the "
            "interrupted command printed"
        )
    _, head = read_json(folder, flag)
    if head["command"] != command:
        raise InputError(f"{flag} {folder}: that is a run of `{head['command']}`")
    for path, known in (head["files"] or {}).items():  # which a run of an earlier version has not
        if own.digest(path) != known:
            raise InputError(
                f"{flag} {folder}: {path} has changed since the run was started; put it back as it "
                "was, or start a new run"
            )
    stored, given = read_file(folder, flag), read_values(given)
    below = over(read_values(defaults), stored)
    before, after = filled(below), filled(over(below, given))
    for name, item in after.items():
        if name not in CHANGEABLE and not FLAGS[name].free and before.get(name) != item:
            said = next((n for n in given if n == name or SHORT.get(n) == name), name)
            raise InputError(
                f"{_in_flags(said, given.get(said, item))} differs from the run in {folder}, "
                f"which was started with {_in_flags(name, before.get(name), said)}; leave "
                f"{written(said)} out to resume it, or start a new run"
            )
    refuse_useless(after, given)
    return Settings.of(after | {"recipe": recipe_of(folder, flag)})


def told(command, defaults, given):
    """The `Settings` of a command for its flags, as text: of a new run, or of one that goes on."""
    refuse_twice(given)
    if given.get("resume") is None:
        return settled(defaults, given)
    return resumed(given["resume"], command, defaults, given)


def _in_flags(name, item, short=None):
    # a setting as on the command line; of parts, where a short flag was given, that one alone
    if item is None or item is False:
        return f"no {written(name)}"
    if item is True:
        return written(name)
    if short in SHORT:
        values = dict.fromkeys(part.get(short) for part in item)
        return _in_flags(short, [value for value in values if value is not None] or None)
    if name in KINDS:
        chosen = item if isinstance(item, list) else [item]
        return " ".join(part.brief().flag for part in chosen)
    return f"{written(name)} {' '.join(map(str, item if isinstance(item, list) else [item]))}"


def of_folder(folder):
    """The `Settings` of a run folder, for `minizo.export`.

    Raises
    ------
    InputError
        If there is no such folder, or it is not a run folder.
    """
    if not Path(folder).is_dir():
        raise InputError(f"there is no folder {folder}; name the one that the run printed")
    if not (Path(folder) / "settings.json").is_file():
        raise InputError(
            f"{folder} is not a run folder: there is no settings.json in it; name the one that the "
            "run printed"
        )
    values = filled(over(read_values(DEFAULTS), read_file(folder, "RUN")))
    return Settings.of(values)

"""One object for everything that a training command is told, from flags or from a file.

Settings come in layers, the defaults of the command, a file, flags, and each replaces what the ones
below it say (`over`). A short flag is a setting of parts: ``--n 5`` is the n of every estimator
that takes one, and it is written into them (`filled`).
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from .. import __version__
from ..errors import InputError, nearest
from ..files import write_text
from ..models import MODELS
from . import own, parts, recipes
from .flags import FLAGS, read_start, value, written
from .parts import KINDS

# Short flags -> the kind of part whose setting of that name they are.
SHORT = {"n": "estimator", "beta": "estimator", "lr": "optimizer"}
# Two flags that say the same thing in different ways.
ALTERNATIVES = {
    ("steps", "epochs"): "how long",
    ("seed", "seeds"): "which seeds",
    ("out", "resume"): "which folder",
    ("settings", "resume"): "which settings",
}
CHANGEABLE = ("reference", "measure", "sample")  # kept in a folder, but no run depends on it
DEFAULTS = {
    "estimator": ["ste", "normalised-ste", "spsa:n=1", "spsa:n=10", "fogzo:n=1", "fogzo:n=10"],
    "quantizer": ["midrise"],
    "optimizer": ["adam"],
    "seed": [0],
    "model": "mlp",
    "init_scale": [1.0],
    "activation": "relu",
    "quantize": "all",
    "loss": "cross-entropy",
    "steps": 1200,
    "batch": 100,
    "augment": "none",
    "data": "mnist",
    "backend": "numpy",
    "rng": "device",
    "dtype": "float32",
    "checkpoint_every": 200,
}


@dataclass(frozen=True)
class Settings:
    """What a training command is told: a section for each part, and what belongs to none.

    estimator, quantizer, optimizer : tuple of Part, all combinations of which are compared;
    model, activation, loss : Part;  recipe : str or None, the published recipe that they come from;
    the others are the values of the flags of that name.
    """

    estimator: tuple
    quantizer: tuple
    optimizer: tuple
    model: parts.Part
    init_scale: tuple
    activation: parts.Part
    loss: parts.Part
    batch: int
    quantize: str
    augment: str
    data: str
    backend: str
    rng: str
    dtype: str
    checkpoint_every: int = None
    tune: tuple = None
    tuning_seeds: int = None
    reference: str = None
    measure: str = None
    equal: tuple = None
    standardize: bool = False
    full_precision: str = None
    context: int = None
    words: int = None
    sample: str = None
    seed: tuple = None
    seeds: int = None
    steps: int = None
    epochs: int = None
    start: str = None
    records: int = None
    loss_examples: int = None
    workers: int = None
    out: str = None
    resume: str = None
    settings: str = None
    json: bool = False
    quiet: bool = False
    recipe: str = None

    @classmethod
    def of(cls, values):
        """From values that are `filled`."""
        return cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})

    @property
    def of_text(self):
        """Whether the data are a text."""
        return self.context is not None

    @property
    def all_seeds(self):
        """The seeds, as a tuple."""
        return self.seed if self.seeds is None else tuple(range(self.seeds))

    @property
    def pretraining(self):
        """How long runs are pre-trained, by its unit, ``steps`` or ``epochs``; else empty."""
        return {} if self.start is None else read_start(self.start)[1]

    @property
    def together(self):
        """Whether runs are rows of one array; then they keep no checkpoints."""
        return self.seeds is not None

    @property
    def files(self):
        """Path -> SHA-256 of the user's own files that parts come from, as they are now."""
        of_kind = [getattr(self, kind) for kind in KINDS]
        chosen = [p for item in of_kind for p in ([item] if isinstance(item, parts.Part) else item)]
        return {path: own.digest(path) for part in chosen for path in part.files}

    def kept(self):
        """What determines the numbers, as `write` keeps it: parts as sections."""
        found = {}
        for field in fields(self):
            item = getattr(self, field.name)
            if item is None or field.name not in FLAGS or FLAGS[field.name].free:
                continue
            if isinstance(item, tuple) and not isinstance(item, parts.Part):
                item = [x.section() if isinstance(x, parts.Part) else x for x in item]
            found[field.name] = item.section() if isinstance(item, parts.Part) else item
        return found


def read_values(given):
    """Flags or keys of a file -> checked values; parts become `Part`."""
    return {name: value(name, item) for name, item in given.items()}


def over(below, given):
    """The settings ``below`` with those ``given`` in their place.

    >>> below = read_values({"estimator": ["fogzo:n=1", "fogzo:n=10"], "steps": 9})
    >>> over(below, {"n": [5], "epochs": 2})
    {'estimator': [Part(kind='estimator', name='fogzo', settings=())], 'n': [5], 'epochs': 2}
    """
    gone = {name for pair in ALTERNATIVES if given.keys() & set(pair) for name in pair}
    gone -= {"out", "settings", "resume"}
    merged = {name: item for name, item in below.items() if name not in gone}
    for short, kind in SHORT.items():
        if kind in given:
            merged.pop(short, None)
        elif short in given and kind in merged:
            merged[kind] = list(dict.fromkeys(part.without(short) for part in merged[kind]))
    return merged | given


def filled(values):
    """The values with short flags written into the parts that take them, and every default stated.

    Raises
    ------
    InputError
        For a short flag that has no effect: no part takes it, or all say their own.
    """
    values = dict(values)
    for short, kind in SHORT.items():
        given = values.pop(short, None)
        if given is not None:
            values[kind] = _spread(short, kind, given, values[kind])
    for kind in KINDS:
        item = values[kind]
        for part in item if isinstance(item, list) else [item]:
            if kind != "model":  # which is built for the data
                parts.refuse_idle(part, parts.build(part))
        whole = [p.whole() for p in item] if isinstance(item, list) else item.whole()
        values[kind] = list(dict.fromkeys(whole)) if isinstance(item, list) else whole
    return values


def _spread(short, kind, given, chosen):
    taking = [part for part in chosen if short in parts.takes(part)]
    open_ones = [part for part in taking if part.get(short) is None]
    if not open_ones:
        words = f"{written(short)} {' '.join(map(parts.in_text, given))}"
        shown = " ".join(part.flag for part in chosen)
        if taking:
            raise InputError(f"{words} has no effect: {shown} says its own; leave one of them out")
        names = [n for n in KINDS[kind].choices if short in parts.takes(parts.Part(kind, n))]
        raise InputError(
            f"{words} has no effect with {shown}; leave it out, or choose --{kind} "
            f"{' | '.join(names)}"
        )
    return [
        new
        for part in chosen
        for new in ([part.having(short, v) for v in given] if part in open_ones else [part])
    ]


def refuse_twice(given):
    """Raise an `InputError` where two settings say the same thing."""
    for pair, what in ALTERNATIVES.items():
        if given.keys() >= set(pair):
            first, second = map(written, pair)
            raise InputError(f"{first} and {second} both say {what}; give one of them")


def settled(defaults, given):
    """The `Settings` of a command with these defaults, for the flags given (as text).

    ``--settings`` and ``--resume`` are followed; what a run folder says may not be changed.
    """
    given, below, recipe = read_values(given), read_values(defaults), None
    if given.get("settings") is not None:
        path = given["settings"]
        below, recipe = over(below, read_file(path)), recipe_of(path)
    values = filled(over(below, given))
    refuse_useless(values, given)
    return Settings.of(values | {"recipe": recipe})


def recipe_of(path, flag="--settings"):
    """The recipe that a text names, or that a run folder was made by; ``None`` for others."""
    found = recipes.called(path)
    found = read_json(path, flag)[1]["recipe"] if found is None else found
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


def refuse_useless(values, given):
    """Raise an `InputError` for settings that do not go together."""
    if values.get("seeds") is not None:
        if "start" in values and read_start(values["start"])[1]:
            raise InputError(
                f"--start is {values['start']}, but runs that are trained together (--seeds) are "
                "not pre-trained; leave it out, or give --seed"
            )
    for name in ("seeds", "json"):
        if given.get("sample") is not None and values.get(name):
            raise InputError(
                f"--sample has no effect with {written(name)}, which prints no text; leave it out"
            )
    file = values.get("start")
    if given.get("init_scale") is not None and file is not None and not read_start(file)[1]:
        raise InputError(
            f"--init-scale has no effect with --start {file}, which has weights of its own; leave "
            "one of them out"
        )
    model, activation = values["model"], values["activation"].brief()
    usual = activation.name == DEFAULTS["activation"]
    if model.name in MODELS and not (usual or parts.accepts(MODELS[model.name], "activation")):
        raise InputError(
            f"{activation.flag} has no effect with --model {model.name}, which has an activation "
            "of its own; leave it out"
        )
    if given.get("quantize", "all") != "all" and all(p.name == "none" for p in values["quantizer"]):
        raise InputError(
            f"--quantize {values['quantize']} has no effect with --quantizer none; leave it out, "
            "or choose another quantizer"
        )


OUTSIDE = ("command", "version", "files")  # beside the settings, also in a file that has no head
HEAD = (*OUTSIDE, "recipe")


def read_json(path, flag):
    """The settings in a file of JSON, as they stand there, and the command that wrote them.

    Returns
    -------
    settings : dict
    head : dict
        ``command``, ``version``, ``files`` and ``recipe``, where a run folder's file says them.
    """
    if recipes.called(str(path)):
        return recipes.read(recipes.called(str(path))).settings, dict.fromkeys(HEAD)
    path = Path(path)
    path = path / "settings.json" if path.is_dir() else path
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        why = error.strerror or error
        hint = nearest(path.name, recipes.NAMES) if flag == "--settings" else ""
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

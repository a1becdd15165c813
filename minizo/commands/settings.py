"""One object for everything that a training command is told, from flags or from a file.

Settings come in layers, the defaults of the command, a file, flags, and each replaces what the ones
below it say (`over`). A short flag is a setting of parts: ``--n 5`` is the n of every estimator
that takes one, and it is written into them (`filled`).
"""

from dataclasses import dataclass, fields

from ..errors import InputError
from ..models import MODELS
from . import own, parts
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

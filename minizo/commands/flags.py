"""The flags of the training commands, and the parser that reads them as text."""

import argparse
from pathlib import Path
from typing import NamedTuple

from .. import backend
from ..compare.comparison import EQUAL
from ..compare.results import MEASURES
from ..data import AUGMENTATIONS, NAMES
from ..data.texts import NAMES as TEXTS
from ..errors import InputError, close, require, spelt
from ..models import MODELS, QUANTIZED
from ..rng import SEEDS, SOURCES
from ..settings import real, truth, whole
from . import explain, parts, recipes
from .completion import offer
from .shell import Parser


class Flag(NamedTuple):
    """A flag.

    group : its heading in the help; metavar, text : what the help says;
    kind : ``part``, ``int``, ``float``, ``name``, ``text``, ``start`` or ``truth``;
    among : the names, of a name;
    many : whether it takes several values, and may be given several times;
    interval : where a number must lie;  free : whether it changes nothing about the numbers;
    only : the kinds of commands that have it, of ``IMAGES`` (training on images), ``TEXT`` and
        ``COMPARISON``; all of them, where none is named.
    """

    group: str
    metavar: str | None
    text: str
    kind: str = "text"
    among: tuple = ()
    many: bool = False
    interval: str = "[1, inf)"
    free: bool = False
    only: tuple = ()


def _part(kind, group, text, **more):
    return Flag(group, "PART", text, "part", tuple(parts.KINDS[kind].choices), **more)


def _count(group, metavar, text, **more):
    return Flag(group, metavar, text, "int", **more)


def _name(group, text, among, **more):
    return Flag(group, "NAME", text, "name", tuple(among), **more)


IMAGES, TEXT, COMPARISON = "a training on images", "a training on a text", "a comparison"
ALL_TRAINING = (IMAGES, TEXT)
OF_TEXT = "a file, a folder with train.txt and valid.txt, or: " + " | ".join(TEXTS)
DATA = {
    TEXT: OF_TEXT,
    COMPARISON: "images, a folder of IDX files or of CIFAR-10's or CIFAR-100's, or: "
    f"{' | '.join(NAMES)}; for a language model a text, {OF_TEXT}",
}
COMPARED, TRAINING = "what is compared", "training"
NETWORK, MACHINE, OUTPUT = "the quantised network", "data and machine", "output"
FLAGS = {
    "estimator": _part("estimator", COMPARED, "what stands in for the gradient", many=True),
    "n": _count(COMPARED, "N", "directions a step of spsa and fogzo", many=True),
    "beta": Flag(COMPARED, "B", "fogzo: share of the STE direction", "float", many=True,
                 interval="[0, 1]"),
    "quantizer": _part("quantizer", COMPARED, "of the weights", many=True),
    "optimizer": _part("optimizer", COMPARED, "of the latent weights", many=True),
    "full_precision": _name(COMPARED, "whether a network in full precision is trained, too",
                            ("yes", "no"), only=(TEXT,)),
    "lr": Flag(COMPARED, "RATE", "learning rate of the optimiser", "float", many=True,
               interval="(0, inf)"),
    "seed": _count(COMPARED, "S", "seed; with mean +- standard deviation of several", many=True,
                   interval=SEEDS),
    "seeds": _count(COMPARED, "N", "seeds 0 to N-1, trained together as rows of one array"),
    "tune": Flag(COMPARED, "NAME", "settings of which each case gets the best value: lr, "
                 "optimizer, init-scale, beta, ...", many=True, only=(COMPARISON,)),
    "tuning_seeds": _count(COMPARED, "N", "seeds on which that is found, 1000 to 999+N",
                           only=(COMPARISON,)),
    "reference": Flag(COMPARED, "LABEL", "the case to which differences are taken, by default the "
                      "first", only=(COMPARISON,)),
    "measure": _name(COMPARED, "the final loss that is compared, by default test_loss (validation) "
                     "of texts and train_loss of images", MEASURES, only=(COMPARISON,)),
    "equal": _name(COMPARED, "what is the same for all cases: --steps, or the compute or time that "
                   "the reference takes for them", EQUAL, many=True, only=(COMPARISON,)),
    "model": _part("model", NETWORK, "the network"),
    "init_scale": Flag(NETWORK, "K", "factor of the initial weights", "float", many=True,
                       interval="(0, inf)"),
    "activation": _part("activation", NETWORK, "between its layers", only=(IMAGES, COMPARISON)),
    "quantize": Flag(NETWORK, "WHICH", "which weights (inner: not the first and last; or by name, "
                     "such as layers.*, with bits of their own layers.*.down.*=4)",
                     among=tuple(QUANTIZED)),
    "loss": _part("loss", NETWORK, "what is minimised", only=(IMAGES, COMPARISON)),
    "steps": _count(TRAINING, "T", "steps of each run"),
    "epochs": _count(TRAINING, "E", "passes through the data, instead of --steps"),
    "batch": _count(TRAINING, "N", "examples a step"),
    "augment": _name(TRAINING, "random changes to training images", AUGMENTATIONS,
                     only=(IMAGES, COMPARISON)),
    "start": Flag(TRAINING, "WHERE", "where runs begin: a file of torch.save (.pth), a checkpoint, "
                  "a run folder or an export; or pretrain:steps=T or pretrain:epochs=E in full "
                  "precision first", "start", only=ALL_TRAINING),
    "data": Flag(MACHINE, "DATA", "a data set, or a folder of IDX files or of CIFAR-10's or "
                 "-100's, its moments behind it (cifar100:mean=.5,std=.5)", "text", NAMES),
    "context": _count(MACHINE, "T", "tokens of a sequence of a text", only=(TEXT, COMPARISON)),
    "words": _count(MACHINE, "N", "tokens are the N most frequent words, and not characters",
                    interval="[2, inf)", only=(TEXT, COMPARISON)),
    "backend": _name(MACHINE, "the library that computes", backend.NAMES),
    "rng": _name(MACHINE, "cupy: where random numbers are made (host: NumPy's)", SOURCES),
    "dtype": _name(MACHINE, "of all numbers", ("float32", "float64")),
    "standardize": Flag(MACHINE, None, "every channel with mean 0 and variance 1 over the training "
                        "images", "truth", only=(IMAGES, COMPARISON)),
    "workers": _count(MACHINE, "W", "threads, one a processor by default; changes nothing but time",
                      free=True),
    "out": Flag(OUTPUT, "FOLDER", "run folder, by default runs/ and a name from the clock",
                free=True),
    "records": _count(OUTPUT, "N", "evaluations a run, by default 20, of networks other than mlp "
                      "6, of texts 10"),
    "loss_examples": _count(OUTPUT, "N", "training examples that the recorded loss is of, by "
                            "default all, of networks other than mlp 10000, of texts 16000 tokens"),
    "checkpoint_every": _count(OUTPUT, "T", "steps between checkpoints", free=True,
                               only=ALL_TRAINING),
    "sample": Flag(OUTPUT, "TEXT", "how the text begins that the best quantised network writes, by "
                   "default a new line; with --resume, as the run was told", only=(TEXT,)),
    "resume": Flag(OUTPUT, "FOLDER", "continue the interrupted run in this folder", free=True),
    "settings": Flag(OUTPUT, "FILE", "settings.json of a run folder, or one that you wrote, or a "
                     f"published recipe ({', '.join(recipes.NAMES)}); flags beside it replace what "
                     "it says", free=True),
    "json": Flag(OUTPUT, None, "print one JSON object a run, no more", "truth", free=True),
    "quiet": Flag(OUTPUT, None, "no progress bar", "truth", free=True),
}  # fmt: skip


OTHERWISE = {"settings": ["--recipe"]}  # second spellings


def models_of(kind):
    """Names of the models that a kind of command can train; a comparison, all of them."""
    return [
        name for name, made in MODELS.items()
        if kind == COMPARISON or parts.accepts(made, "vocabulary") == (kind == TEXT)
    ]  # fmt: skip


def written(name):
    """A setting's flag: ``--loss-examples``."""
    return "--" + name.replace("_", "-")


def value(name, given):
    """The value of a flag, from a text or from a file; an `InputError` for a wrong one.

    >>> value("seed", ["0", "1"]), value("estimator", ["ste"])
    ([0, 1], [Part(kind='estimator', name='ste', settings=())])
    >>> value("lr", [".003,.01", ".03"])
    [0.003, 0.01, 0.03]
    """
    flag = FLAGS[name]
    if flag.many:
        items = given if isinstance(given, list | tuple) else [given]
        if not items:
            raise InputError(f"{written(name)} has no value; leave it out, or give one")
        items = [piece for item in items for piece in _pieces(name, flag, item)]
        return list(dict.fromkeys(_one(name, flag, item) for item in items))
    if isinstance(given, list):
        raise InputError(f"{written(name)} is {given!r}, but it takes one value")
    return _one(name, flag, given)


def _pieces(name, flag, item):
    # ".003,.01" is two numbers; a part has commas of its own
    if flag.kind == "part" or not isinstance(item, str) or "," not in item:
        return [item]
    pieces = [piece.strip() for piece in item.split(",")]
    if not all(pieces):
        known = ",".join(filter(None, pieces)) or "1,2"
        raise InputError(
            f"{written(name)} is {item!r}, but a number is missing beside a comma; write {known}"
        )
    return pieces


def _one(name, flag, given):
    if flag.kind == "part":
        return parts.read(name, given)
    if flag.kind == "name":
        return spelt(written(name), given, dict.fromkeys(flag.among))
    if flag.kind == "start":
        return read_start(given)[0]
    if flag.kind in ("int", "float"):
        kind, check = (int, whole) if flag.kind == "int" else (float, real)
        return check(written(name), _number(given, kind), flag.interval)
    if flag.kind == "truth":
        return truth(written(name), given)
    if not isinstance(given, str):
        raise InputError(f"{written(name)} is {given!r}, but it must be a text")
    return given.lower() if given.lower() in flag.among else given


def read_start(given):
    """What ``--start`` says, checked, and what of it is pre-training: its length by unit.

    >>> read_start("pretrain:epochs=3"), read_start("full.pth")
    (('pretrain:epochs=3', {'epochs': 3}), ('full.pth', {}))
    """
    right = isinstance(given, str) and given.strip()
    forms = "pretrain:steps=T or pretrain:epochs=E"
    remedy = f"name a file, or write {forms}"
    require(right, "--start", given, remedy)
    name, _, length = given.partition(":")
    if name != "pretrain":
        meant = length and close(name, ["pretrain"]) and not Path(given).exists()
        require(not meant, "--start", given, f"there is no such file; did you mean {forms}?")
        return given, {}
    unit, _, number = length.partition("=")
    require(unit in ("steps", "epochs"), "--start", given, remedy)
    count = whole(f"the {unit} of --start", _number(number, int), "[1, inf)")
    return f"pretrain:{unit}={count}", {unit: count}


def _number(given, kind):
    try:
        return kind(given) if isinstance(given, str) else given
    except ValueError:
        return given


def refuse_foreign(settings, kind, plain):
    """Raise an `InputError` for a setting that other kinds of commands have, as from a file.

    ``plain`` are the `Settings` of this command without any flags.
    """
    plain = vars(plain)
    for name, flag in FLAGS.items():
        if flag.only and kind not in flag.only and getattr(settings, name) != plain.get(name):
            remedy = "leave it out"
            if settings.recipe is not None:
                remedy = f"the recipe {settings.recipe} is for python -m minizo.cifar"
            raise InputError(
                f"{written(name)} is a flag of {' or '.join(flag.only)}, and has no effect here; "
                f"{remedy}"
            )


class _Explain(argparse.Action):
    """``--help``, and ``--help PART``."""

    def __call__(self, parser, namespace, topic, option=None):
        words = None if topic is None else explain.topic(topic, models_of(parser.kind))
        print(words or parser.format_help().rstrip())
        parser.exit()


class Typed(str):
    """A text, and the flag that it was given by, which errors name."""

    flag = "--settings"


class _Settings(argparse.Action):
    """``--settings`` or ``--recipe``."""

    def __call__(self, parser, namespace, given, option=None):
        given = Typed(given)
        given.flag = option
        setattr(namespace, self.dest, given)


class TrainingParser(Parser):
    """Says of a flag that there is not whether it is a setting of a part."""

    def unknown(self, word):
        """What is said about an argument that the command has not."""
        name = word.lstrip("-").replace("-", "_")
        for kind in parts.KINDS:
            takers = explain.takers(kind, name)
            if word.startswith("--") and takers:
                return (
                    f"unknown flag {word}; {name} is a setting of a part: --{kind} "
                    f"{takers[0]}:{name}=... (--help {takers[0]} lists them)"
                )
        return super().unknown(word)


def parser(prog, description, epilog, defaults, kind):
    """The parser of a command; it leaves out what was not given.

    Parameters
    ----------
    prog, description, epilog : str
    defaults : dict
        Of the command, for the help text.
    kind : {IMAGES, TEXT, COMPARISON}
        Which command it is.
    """
    made = TrainingParser(
        prog=prog, usage="%(prog)s [flags]", description=description, epilog=epilog,
        add_help=False, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    made.kind = kind
    explained = made.add_argument(
        "-h", "--help", action=_Explain, nargs="?", metavar="PART",
        help="print this, or what a part does and takes: --help fogzo",
    )  # fmt: skip
    offer(explained, [*parts.KINDS, *(n for k in parts.KINDS.values() for n in k.choices)])
    groups = {}
    for name, flag in FLAGS.items():
        if flag.only and kind not in flag.only:
            continue
        group = groups.setdefault(flag.group, None) or made.add_argument_group(flag.group)
        groups[flag.group] = group
        if flag.kind == "truth":
            group.add_argument(written(name), action="store_true", help=flag.text)
            continue
        among = models_of(kind) if name == "model" else flag.among
        words = f"{flag.text}: {' | '.join(among)}" if among else flag.text
        words = DATA.get(kind, words) if name == "data" else words
        words += " (several: 1 2 or 1,2)" if flag.many and flag.kind != "part" else ""
        default = defaults.get(name)
        if default is not None:
            default = default if isinstance(default, list) else [default]
            words += f" (default: {' '.join(map(str, default))})"
        how = {"action": "extend", "nargs": "+"} if flag.many else {}
        how = {"action": _Settings} if name in OTHERWISE else how
        action = group.add_argument(
            written(name),
            *OTHERWISE.get(name, ()),
            metavar=flag.metavar,
            help=words.replace("%", "%%"),
            **how,
        )
        if among or name == "settings":
            offer(action, among or recipes.NAMES)
    return made

"""What is compared: every combination of parts, learning rates and seeds, and what tells it apart.

A label says what differs between the cases that are compared, and nothing that they share.
"""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..data import load, text
from ..data.texts import DRAWN
from ..errors import InputError, require
from ..estimators import STE
from ..models import MODELS, bit_widths, chosen
from ..network import Network
from ..objective import Objective
from ..quantizers import FullPrecision, Quantizer
from ..settings import whole
from . import parts
from .flags import IMAGES, TEXT, models_of
from .own import FILE
from .sources import changed


@dataclass(frozen=True)
class Case:
    """One combination of parts, or the *pre-training* before all of them.

    quantizer, estimator, optimizer : objects;
    label : what tables and legends call it;
    slug : the beginning of the names of its files, such as ``fogzo-n10``;
    row : what a result says of it, by column;
    pretraining : whether it is the run in full precision, where the others of its seed begin;
    aside : how it is left out, where it is one that nobody asked for by its parts.
    """

    quantizer: object
    estimator: object
    optimizer: object
    label: str
    slug: str
    row: dict
    pretraining: bool = False
    aside: str = ""


def cases(settings):
    """The cases that the settings ask for, pre-training first."""
    combined = [
        (quantizer, estimator, optimizer)
        for quantizer in settings.quantizer
        for estimator in settings.estimator
        for optimizer in settings.optimizer
    ]
    made = {
        part: parts.build(part)
        for kind in (settings.quantizer, settings.estimator, settings.optimizer)
        for part in kind
    }
    found = []
    if settings.pretraining:
        first = settings.optimizer[0]
        row = {"estimator": "pretrain", "quantizer": "none", "optimizer": short(first.name)}
        rule = made[first]
        found.append(Case(FullPrecision(), STE(), rule, "pre-training", "pretrain", row, True))
    if settings.full_precision == "yes" and any(p.name != "none" for p in settings.quantizer):
        for part in settings.optimizer:
            words = differences(list(settings.optimizer))[settings.optimizer.index(part)]
            row = {"estimator": "backprop", "quantizer": "none", "optimizer": short(part.name)}
            label, slug = ", ".join(["full precision", *words]), _file_name(["full", *words])
            rule, aside = made[part], "--full-precision no"
            found.append(Case(FullPrecision(), STE(), rule, label, slug, row, aside=aside))
    names = [called(part, made[part]) for _, part, _ in combined]
    columns = [
        differences([part for _, part, _ in combined], names),
        differences([part for part, _, _ in combined]),
        differences([part for _, _, part in combined]),
    ]
    for (quantizer, estimator, optimizer), name, *words in zip(
        combined, names, *columns, strict=True
    ):
        n = estimator.get("n")
        words = [word for own in words for word in own]
        stem = [short(estimator.name), *([] if n is None else [f"n{n}"]), *words]
        row = {"estimator": short(estimator.name), "quantizer": short(quantizer.name),
               "optimizer": short(optimizer.name)}  # fmt: skip
        found.append(Case(
            made[quantizer], made[estimator], made[optimizer], ", ".join([name, *words]),
            _file_name(stem), row,
        ))  # fmt: skip
    return _told_apart(found)


def _told_apart(found):
    # two slugs that became alike as file names get a number
    slugs = [case.slug for case in found]
    return [
        case if slugs.count(case.slug) == 1 else _renamed(case, slugs[:i].count(case.slug) + 1)
        for i, case in enumerate(found)
    ]


def _renamed(case, number):
    return Case(**{**vars(case), "slug": f"{case.slug}-{number}"})


def called(part, made):
    """What an estimator is called: its label, or the name of its class."""
    return getattr(made, "label", None) or type(made).__name__


def short(name):
    """A name without the folder of a user's file: ``my_rule.py:MyRule`` -> ``MyRule``."""
    match = FILE.fullmatch(name)
    return match["name"] if match else name


def differences(chosen, names=None):
    """For each of some parts of one kind, in words, what it has that the others have not.

    Parameters
    ----------
    chosen : list of Part
        Every setting stated.
    names : list of str, optional
        What they are called; then the name is not one of the words, and settings are compared among
        those that are called alike.

    Returns
    -------
    list of list of str

    Examples
    --------
    >>> from minizo.commands.parts import read
    >>> differences([read("optimizer", t).whole() for t in ("adam:lr=.1", "adam:lr=.2", "sgd")])
    [['adam', 'lr 0.1'], ['adam', 'lr 0.2'], ['sgd']]
    """
    groups = [part.name for part in chosen] if names is None else names
    named = names is None and len(set(groups)) > 1
    found = []
    for part, group in zip(chosen, groups, strict=True):
        alike = {p for p, other in zip(chosen, groups, strict=True) if other == group}
        origins = {p.name for p in alike}
        words = [short(part.name)] if named or len(origins) > 1 else []
        if len({short(name) for name in origins}) < len(origins):
            words = [part.name]
        for setting, value in part.settings:
            if len({p.get(setting) for p in alike if p.name == part.name}) > 1:
                words.append(f"{setting} {in_words(value)}")
        found.append(words)
    return found


def in_words(value):
    """A value in a label: ``0.999``, ``none``."""
    return f"{value:g}" if isinstance(value, float) else parts.in_text(value)


def _file_name(words):
    return "-".join(re.sub(r"[^\w.+-]+", "-", word.replace(" ", "")) for word in words).strip("-")


def length(settings, examples):
    """(steps of each run, steps of pre-training or ``None``), for so many training examples.

    An epoch has as many steps as batches can be filled.
    """
    epoch = max(1, examples // settings.batch)

    def steps(given, epochs):
        return epochs * epoch if given is None and epochs is not None else given

    own = settings.pretraining
    return steps(settings.steps, settings.epochs), steps(own.get("steps"), own.get("epochs"))


def load_data(settings, **options):
    """The data of the settings, standardised where they say so; options as `minizo.data.load`."""
    if settings.of_text:
        words = {} if settings.words is None else {"level": "words", "words": settings.words}
        if words and settings.data == DRAWN:
            raise InputError(
                f"--words {settings.words} has no effect with --data {DRAWN}, whose tokens are "
                "letters; leave it out"
            )
        return text(
            settings.data, context=settings.context, dtype=settings.dtype, **words, **options
        )
    data = load(settings.data, dtype=settings.dtype, **options)
    return data.standardized() if settings.standardize else data


def build_network(settings, data, init_scale=1.0):
    """The network of the settings for ``data``, its initial weights scaled."""
    shape, fitting = tuple(data.x_train.shape[1:]), models_of(TEXT if data.tokens else IMAGES)
    if settings.model.name in MODELS and settings.model.name not in fitting:
        held = "text" if data.tokens else "images"
        raise InputError(
            f"--model {settings.model.name} does not take {data.name}, which holds {held}; choose "
            f"{' | '.join(fitting)}"
        )
    if data.tokens:
        given = {"vocabulary": data.classes, "context": shape[0]}
    else:
        given = {"input_shape": shape, "classes": data.classes}
    network = parts.build(settings.model, activation=parts.build(settings.activation), **given)
    if not isinstance(network, Network):
        kind = type(network).__name__
        raise InputError(f"{settings.model.flag} gives a {kind}, but it must give a minizo.Network")
    return replace(network, init_scale=init_scale * network.init_scale)


def build_objective(settings, network, quantizer):
    """The network with the loss of the settings, its weights quantised as they say."""
    patterns, widths = read_quantize(settings.quantize)
    names = chosen(network, patterns, "--quantize")
    if not names:
        raise InputError(
            f"--quantize is {settings.quantize!r}, but {settings.model.name} has no layer between "
            "its first and last; quantise all"
        )
    exceptions = {}
    if widths and not isinstance(quantizer, FullPrecision):
        exceptions = bit_widths(network, quantizer, widths, names, "--quantize")
    loss = parts.build(settings.loss)
    return Objective(network, quantizer, quantized=names, loss=loss, exceptions=exceptions)


def read_quantize(which):
    """The patterns that ``--quantize`` names, and the bit widths of those that have one.

    >>> read_quantize("layers.*, layers.*.down.weight=4")
    ('layers.*, layers.*.down.weight', {'layers.*.down.weight': 4})
    """
    patterns, widths = [], {}
    for piece in which.split(","):
        pattern, sign, bits = (word.strip() for word in piece.partition("="))
        if sign:
            right = bits.isdigit() and pattern
            remedy = "write PATTERN=BITS, such as layers.*.down.weight=4"
            require(right, "--quantize", piece.strip(), remedy)
            widths[pattern] = whole("the bits of --quantize", int(bits), "[1, 8]")
        patterns.append(pattern)
    return ", ".join(patterns), widths


def network_name(settings, data):
    """Such as ``lenet``, or ``784-10-10`` for a multi-layer perceptron."""
    if settings.model.name != "mlp":
        return short(settings.model.name)
    inputs = math.prod(data.x_train.shape[1:])
    return "-".join(map(str, [inputs, *settings.model.get("hidden"), data.classes]))


def title(settings, data, steps):
    """What the table and the picture show: what all cases share."""
    several = len(settings.quantizer)
    bits = quantized_in_words(settings.quantizer[0]) if several == 1 else f"{several} quantisers,"
    if isinstance(parts.thing(settings.activation), type) and issubclass(
        parts.thing(settings.activation), Quantizer
    ):
        acts = quantized_in_words(settings.activation)
        bits = f"{bits.rstrip(',')}{'-weight' if several == 1 else ','} {acts}-activation"
    inputs, width = settings.model.get("inputs"), settings.model.get("input_bits")
    if inputs is not None or width is not None:
        bits += f" {'' if width is None else f'{width}-bit '}{inputs or 'absmax'}-input"
    which = "" if settings.quantize == "all" else f" ({settings.quantize})"
    which = which.replace("(inner)", "(inner layers)")
    rules = [short(part.name) for part in settings.optimizer]
    shown = " and ".join(dict.fromkeys(rules))
    rates = {part.get("lr") for part in settings.optimizer}
    shown += f" {rates.pop():g}" if len(rates) == 1 and None not in rates else ""
    origin = ""
    if settings.start is not None and not settings.pretraining:
        origin = f" from {Path(settings.start).name}"
    own = settings.all_seeds
    seeds = f"seed {own[0]}" if len(own) == 1 else f"{len(own)} seeds"
    return (
        f"{data.name}: {bits} {network_name(settings, data)}{which}{origin}, {steps} steps of "
        f"{settings.batch}, {shown}, {seeds}{_recipe(settings)}"
    )


def _recipe(settings):
    # ", recipe fsg", and what is otherwise
    if settings.recipe is None:
        return ""
    other = [name.replace("_", " ") for name in changed(settings)]
    return f", recipe {settings.recipe}{' but for ' if other else ''}{', '.join(other)}"


def quantized_in_words(part):
    """Such as ``binary`` or ``2-bit midrise``."""
    bits = part.get("bits")
    name = short(part.name)
    if bits is not None:
        return f"{bits}-bit {name}"
    return {"none": "full-precision", "sign": "binary"}.get(name, name)

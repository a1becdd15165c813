"""What the settings of a command mean: runs, networks, objectives, optimisers, words."""

import math
import shlex
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from . import losses
from .errors import InputError, choose
from .estimators import ESTIMATORS, STE
from .layers import HardTanh, QuantizedActivation, ReLU
from .layers.base import Layer
from .models import MODELS, weights
from .objective import Objective
from .optim import OPTIMIZERS
from .quantizers import LSQ, QUANTIZERS, DoReFaActivation

# Activations: layers as they are, or what quantises, with a step of its own that is set once.
ACTIVATIONS = {"relu": ReLU, "hardtanh": HardTanh}
ACTIVATIONS |= {name: QUANTIZERS[name] for name in ("sign", "midrise", "midtread")}
ACTIVATIONS["dorefa"] = DoReFaActivation  # of [0, 1], as DoReFa's weights have another
ACTIVATIONS["lsq"] = LSQ  # from 0 up, its step learned
# Which weights are quantised: name -> with those of the first and the last layer?
QUANTIZED = {"all": True, "inner": False}


class Kind(NamedTuple):
    """One kind of part: the classes to choose from, and the field that each setting of it fills."""

    choices: dict
    fields: dict


def _named(text):
    # settings that are called like the field they fill
    return {name: name for name in text.split()}


# Each setting belongs to one kind, and a part is made of the settings of its kind alone: --eps is
# the perturbation of an estimator, and Adam's eps, a field of the same name, never sees it.
KINDS = {
    "estimator": Kind(
        ESTIMATORS,
        _named(
            "n law eps eps_scale perturb beta beta_schedule ste_share "
            "prox lam homotopy growth convention rounds harden freeze clip "
            "rho steepness centre sharpness final_sharpness "
            "lookahead hyper_lr slow_net slow_share length layout commit fast_lr slow_lr start "
            "units expand states"
        ),
    ),
    "quantizer": Kind(QUANTIZERS, _named("bits surrogate per rule in_use detach_rotation")),
    "activation": Kind(
        ACTIVATIONS, {"activation_bits": "bits", "activation_surrogate": "surrogate"}
    ),
    "optimizer": Kind(OPTIMIZERS, _named("lr schedule gamma threshold")),
    "model": Kind(MODELS, {}),  # functions, which have no fields
}


def settable(cls):
    """Names of the fields of a dataclass that may be given when an object of it is made."""
    return {field.name for field in fields(cls) if field.init}


# setting -> (its kind, the choices that take it)
TAKERS = {
    setting: (kind, [name for name, cls in choices.items() if field in settable(cls)])
    for kind, (choices, own) in KINDS.items()
    for setting, field in own.items()
}
TAKERS["hidden"] = "model", ["mlp"]


@dataclass(frozen=True)
class Planned:
    """One run to be made: name is the estimator's on the command line, slug its file's.

    A run of *pre-training* is one in full precision, in which the STE is the plain gradient; the
    other runs of its seed begin where it ends. ``in_grid`` says that the learning rate is one of
    several, and then it is part of the names.
    """

    name: str
    estimator: object
    seed: int
    steps: int
    optimizer: object
    pretraining: bool = False
    in_grid: bool = False

    @property
    def slug(self):
        """File name of the run without ending, such as ``fogzo-n10-seed0``."""
        n = getattr(self.estimator, "n", None)
        rate = f"-lr{self.optimizer.lr:g}" if self.in_grid else ""
        return f"{self.name}{'' if n is None else f'-n{n}'}{rate}-seed{self.seed}"

    @property
    def label(self):
        """What tables and legends call it."""
        rate = f", lr {self.optimizer.lr:g}" if self.in_grid else ""
        return "pre-training" if self.pretraining else f"{self.estimator.label}{rate}"


def pick(cls, values, **chosen):
    """Make an object of the dataclass ``cls`` from those of the named values that it takes."""
    own = {name: values[name] for name in settable(cls) if values.get(name) is not None}
    return cls(**own | chosen)


def build(kind, name, settings, **chosen):
    """Make the part of a kind that is called ``name`` from the settings of its kind alone."""
    choices, own = KINDS[kind]
    values = {field: settings[setting] for setting, field in own.items()}
    return pick(choose(f"--{kind}", name, choices), values, **chosen)


def chosen_names(kind, settings):
    """The choices of a kind that the settings name: one, but of estimators perhaps several."""
    names = settings[kind]
    return names if isinstance(names, list) else [names]


def refuse_useless(settings, given):
    """Raise an `InputError` for a setting that was given, but that nothing chosen takes.

    Parameters
    ----------
    settings : dict
        All of them.
    given : dict
        Those that the user gave; the defaults of the others may well be of no use.
    """
    for kind, (choices, _) in KINDS.items():
        for name in chosen_names(kind, settings):
            choose(f"--{kind}", name, choices)
    for setting in (name for name in given if name in TAKERS):
        kind, takers = TAKERS[setting]
        names = chosen_names(kind, settings)
        if not set(names) & set(takers):
            raise InputError(
                f"{in_flags(setting, given[setting])} has no effect with {in_flags(kind, names)}; "
                f"leave it out, or choose --{kind} {' | '.join(takers)}"
            )


def in_flags(setting, value):
    """Write a setting as the command line has it: ``--n 1 --n 10``, ``--detach-rotation``.

    >>> in_flags("eps_scale", 0.5), in_flags("n", [1, 10])
    ('--eps-scale 0.5', '--n 1 --n 10')
    """
    flag = "--" + setting.replace("_", "-")
    if isinstance(value, list):
        return " ".join(in_flags(setting, item) for item in value)
    return flag if value is True else f"{flag} {shlex.quote(str(value))}"


def plan(settings, examples):
    """The runs that the settings ask for: every estimator, n, learning rate and seed.

    Pre-training comes first. ``examples`` is the size of the training set: it turns epochs into
    steps, of which an epoch has as many as batches can be filled.
    """
    epoch = max(1, examples // settings["batch"])
    rules, grid = build_optimizers(settings), settings["lr_grid"] is not None

    def length(steps, epochs):
        return epochs * epoch if steps is None and epochs is not None else steps

    steps, runs = length(settings["steps"], settings["epochs"]), []
    first = length(settings["pretrain_steps"], settings["pretrain_epochs"])
    if first is not None:
        runs = [
            Planned("pretrain", STE(), seed, first, rules[0], pretraining=True)
            for seed in seeds(settings)
        ]
    for name in dict.fromkeys(settings["estimator"]):
        cls = choose("--estimator", name, ESTIMATORS)
        several = "n" in settable(cls)
        for n in dict.fromkeys(settings["n"]) if several else [None]:
            estimator = build("estimator", name, settings, **({} if n is None else {"n": n}))
            runs += [
                Planned(name, estimator, seed, steps, rule, in_grid=grid)
                for rule in rules
                for seed in seeds(settings)
            ]
    return runs


def seeds(settings):
    """The seeds of the settings, each once."""
    own = settings["seed"] if settings["seeds"] is None else range(settings["seeds"])
    return list(dict.fromkeys(own))


def is_sweep(settings):
    """Whether the runs are made together: several seeds or learning rates were asked for."""
    return settings["seeds"] is not None or settings["lr_grid"] is not None


def hidden_widths(text):
    """``"64,32"`` -> [64, 32]; an empty string is a network without hidden layers."""
    try:
        widths = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        widths = [0]
    if any(width < 1 for width in widths):
        raise InputError(f"--hidden is {text!r}, but it must be whole numbers such as 10 or 64,32")
    return widths


def build_activation(settings):
    """The activation of the settings."""
    kind = choose("--activation", settings["activation"], ACTIVATIONS)
    if issubclass(kind, Layer):
        return kind()
    chosen = {"signed": False} if kind is LSQ else {}
    quantizer = build("activation", settings["activation"], settings, **chosen)
    # Batch normalisation makes numbers of variance 1, and takes a common factor of two levels out
    # again. More levels take the step that fits such numbers.
    scale = 1.0 if quantizer.levels == 2 else float(quantizer.scale(np.ones(1))[0])
    return QuantizedActivation(quantizer, scale)


def build_network(settings, data):
    """The network of the settings for the images of ``data``."""
    build = choose("--model", settings["model"], MODELS)
    shape, hidden = tuple(data.x_train.shape[1:]), hidden_widths(settings["hidden"])
    return build(shape, data.classes, build_activation(settings), hidden)


def network_name(settings, data):
    """Such as ``lenet``, or ``784-10-10`` for a multi-layer perceptron."""
    if settings["model"] != "mlp":
        return settings["model"]
    inputs = math.prod(data.x_train.shape[1:])
    return "-".join(map(str, [inputs, *hidden_widths(settings["hidden"]), data.classes]))


def title(settings, data, steps):
    """What the table and the picture show."""
    bits = in_words(settings["quantizer"], settings["bits"])
    if settings["activation"] in QUANTIZERS:
        acts = in_words(settings["activation"], settings["activation_bits"])
        bits = f"{bits}-weight {acts}-activation"
    which = "" if settings["quantize"] == "all" else f" ({settings['quantize']} layers)"
    own = seeds(settings)
    shown = f"seed {own[0]}" if len(own) == 1 else f"{len(own)} seeds"
    return (
        f"{data.name}: {bits} {network_name(settings, data)}{which}, {steps} steps of "
        f"{settings['batch']}, {settings['optimizer']}, {shown}"
    )


def in_words(quantizer, bits):
    """Such as ``binary`` or ``2-bit midrise``."""
    if "bits" in settable(QUANTIZERS[quantizer]):
        return f"{bits}-bit {quantizer}"
    return {"none": "full-precision", "sign": "binary"}.get(quantizer, quantizer)


def build_objective(settings, network, quantizer=None):
    """The network with the loss of the settings, and their quantiser or the given one."""
    if quantizer is None:
        quantizer = build("quantizer", settings["quantizer"], settings)
    names = weights(network, ends=choose("--quantize", settings["quantize"], QUANTIZED))
    if not names:
        raise InputError(
            f"--quantize is {settings['quantize']!r}, but {settings['model']} has no layer between "
            "its first and last; quantise all"
        )
    loss = choose("--loss", settings["loss"], losses.LOSSES)()
    return Objective(network, quantizer, quantized=names, loss=loss)


def build_optimizers(settings):
    """The optimiser with each learning rate of the settings; without any, its own default."""
    name, grid = settings["optimizer"], settings["lr_grid"]
    if grid is None:
        return [build("optimizer", name, settings)]
    try:
        rates = [float(word) for word in grid.split(",")]
    except ValueError:
        remedy = f"--lr-grid is {grid!r}, but it must be learning rates such as .01,.03,.1"
        raise InputError(remedy) from None
    return [build("optimizer", name, settings, lr=rate) for rate in dict.fromkeys(rates)]

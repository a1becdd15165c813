"""What the commands share: flags, and errors that end in one sentence and a code."""

import argparse
import json
import sys

from . import backend, experiment, memory, planning
from .data import AUGMENTATIONS, load
from .errors import InputError, choose
from .estimators import ESTIMATORS
from .estimators.fsg import COMMITS, SLOW_NETS
from .estimators.learned import LOOKAHEADS
from .estimators.proximal import HOMOTOPIES, PROX
from .estimators.spsa import PERTURB
from .experiment import results_table, run_all, write_results
from .files import make_folder, reason
from .hypernets.mlp import STARTS
from .hypernets.slow import LAYOUTS
from .inputs import check_batch, check_data, check_numbers, check_seed
from .laws import LAWS
from .losses import LOSSES
from .models import MODELS
from .optim import OPTIMIZERS
from .planning import ACTIVATIONS, QUANTIZED
from .prox import CONVENTIONS
from .quantizers import QUANTIZERS, FullPrecision
from .quantizers.scaled import PER, RULES
from .quantizers.stochastic import IN_USE
from .rng import SOURCES
from .schedules import SHAPES
from .streams import lasting
from .surrogates import SURROGATES

DEFAULTS = {
    "estimator": ["ste", "spsa", "fogzo"],
    "n": [1, 10],
    "seed": [0],
    "model": "mlp",
    "hidden": "10",
    "activation": "relu",
    "activation_bits": 2,
    "activation_surrogate": "hardtanh",
    "quantize": "all",
    "quantizer": "midrise",
    "bits": 2,
    "surrogate": None,
    "loss": "cross-entropy",
    "law": "matched",
    "eps_scale": 1.0,
    "perturb": "all",
    "beta": 0.999,
    "beta_schedule": "linear",
    "ste_share": 0.0,
    "optimizer": "adam",
    "schedule": "linear",
    "steps": 1200,
    "batch": 100,
    "augment": "none",
    "backend": "numpy",
    "rng": "device",
    "dtype": "float32",
    "checkpoint_every": 200,
}


def guarded(command):
    """Run ``command()``; turn bad input into one sentence on standard error and exit code 2.

    Standard output that is full or closed does not stop the work; it is told at its end, with code
    2. A reader that has left, as in ``... | head``, wanted no more, and nothing is told.

    Returns the exit code: that of ``command``, 2 for bad input, 130 after Ctrl-C.
    """
    leave = False
    with lasting() as (out, err):
        try:
            code = command()
        except InputError as error:
            print(f"minizo: {error}", file=err)
            code = 2
        except MemoryError as error:
            print(f"minizo: {memory.sentence(error)}", file=err)
            code = 2
        except KeyboardInterrupt:
            print("minizo: stopped; what was finished is kept", file=err)
            code = 130
        except SystemExit as stop:  # argparse, after --help or a mistake
            code, leave = stop.code, True
        out.flush()
        if out.failure is not None and not isinstance(out.failure, BrokenPipeError):
            print(
                f"minizo: cannot write to standard output ({reason(out.failure)}); send it "
                "elsewhere (files that the command writes are whole)",
                file=err,
            )
            code = code or 2
    if leave:
        raise SystemExit(code)
    return code


def names(table):
    """The choices of a flag, for its help text."""
    return " | ".join(sorted(table))


def training_parser(prog, description, epilog):
    """An argument parser with the flags that every training command has."""
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [flags]",
        description=description,
        epilog=epilog,
        formatter_class=_Help,
        allow_abbrev=False,
    )

    def add(flag, metavar, text, kind=str, repeatable=False):
        action = "append" if repeatable else "store"
        text += "; repeatable" if repeatable else ""
        group.add_argument(flag, metavar=metavar, type=kind, action=action, help=text)

    group = parser.add_argument_group("what is compared")
    add("--estimator", "NAME", names(ESTIMATORS), repeatable=True)
    add("--n", "N", "directions a step of spsa and fogzo", int, repeatable=True)
    add("--seed", "S", "seed; several give mean +- standard deviation", int, repeatable=True)
    add("--seeds", "N", "seeds 0 to N-1 in the place of --seed, trained together", int)

    group = parser.add_argument_group("the quantised network")
    add("--model", "NAME", names(MODELS))
    add("--hidden", "WIDTHS", "mlp: widths of the hidden layers, such as 10 or 64,32")
    add("--activation", "NAME", names(ACTIVATIONS))
    add("--activation-bits", "B", "of midrise, midtread, dorefa, lsq activations, 1 to 8", int)
    add("--activation-surrogate", "NAME", "whose slope a quantised activation has backwards")
    add("--quantize", "WHICH", f"which weights: {' | '.join(QUANTIZED)} (not the first and last)")
    add("--quantizer", "NAME", f"{names(QUANTIZERS)} (none: full precision)")
    add("--bits", "B", "of midrise, midtread, dorefa, lsq, quest (to 8), multibit (to 4)", int)
    add(
        "--surrogate",
        "NAME",
        f"whose slope the STE uses: {names(SURROGATES)} (default: the quantizer's own; identity "
        "where it has none)",
    )
    add("--per", "WHAT", f"xnor, bireal, magnitude, reste: a scale for each {' | '.join(PER)}")
    add("--rule", "NAME", f"xnor and its kin, what the backward makes of the scale: {names(RULES)}")
    add("--in-use", "WHAT", f"stochastic: the weights outside training: {' | '.join(IN_USE)}")
    group.add_argument(
        "--detach-rotation", action="store_true", default=None,
        help="rbnn: the gradient of the authors' code, in which the rotation counts as constant",
    )  # fmt: skip
    add("--loss", "NAME", names(LOSSES))

    group = parser.add_argument_group("zeroth-order estimators (spsa, fogzo)")
    add("--law", "NAME", f"law of the directions: matched (to the surrogate) | {names(LAWS)}")
    add(
        "--eps",
        "E",
        "one perturbation size for all parameters (default: matched, by tensor)",
        float,
    )
    add("--eps-scale", "F", "factor on the perturbation size", float)
    add("--perturb", "WHICH", f"which parameters are perturbed: {' | '.join(PERTURB)}")
    add("--beta", "B", "fogzo: share of the STE direction, at the end where scheduled", float)
    add("--beta-schedule", "NAME", f"fogzo: how it falls from 1 to beta: {names(SHAPES)}")
    add("--ste-share", "R", "fogzo: first part of the run, 0 to 1, that uses the STE alone", float)

    group = parser.add_argument_group(
        "proximal rules (each has defaults of its own)",
        "proxquant, proxconnect, binaryrelax, binaryconnect, parq, mirror, blended",
    )
    add("--prox", "NAME", f"which regulariser: {' | '.join(PROX)}")
    add("--lam", "L", "its strength", float)
    add("--homotopy", "NAME", f"how the strength grows: {names(HOMOTOPIES)}")
    add("--growth", "F", "factor a step of the geometric homotopy", float)
    add("--convention", "NAME", f"factor 1/2 in the L2 regulariser or not: {names(CONVENTIONS)}")
    add("--rounds", "N", "alternations with levels that are fitted to the weights", int)
    add("--harden", "R", "proxconnect, binaryrelax: part of the run after which P = Q", float)
    add("--freeze", "R", "part of the run after which quantised weights stay", float)
    add("--clip", "C", "clip latent weights to this many alpha after each step", float)
    add("--rho", "R", "blended: share of the level", float)
    add("--steepness", "S", "parq: of the fall of iota", float)
    add("--centre", "R", "parq: part of the run at which it falls", float)
    add("--sharpness", "B", "mirror: of the tanh, at the start", float)
    add("--final-sharpness", "B", "mirror: at the end", float)

    group = parser.add_argument_group(
        "learned gradients (fcgrad, multifc, lstmfc, fsg and their controls)"
    )
    add("--lookahead", "WHERE", f"where the loss is measured: {' | '.join(LOOKAHEADS)}")
    add("--hyper-lr", "RATE", "learning rate of the network (default 0.001)", float)
    add("--slow-net", "NAME", f"fsg: {' | '.join(SLOW_NETS)} (default mamba)")
    add("--slow-share", "B", "fsg: beta, share of the slow gradient (default 0.3)", float)
    add("--length", "L", "fsg: gradients that the slow-net reads (default 6)", int)
    add("--layout", "NAME", f"fsg: what a sequence is: {' | '.join(LAYOUTS)} (default flat)")
    add("--commit", "NAME", f"fsg: what moves the weights: {' | '.join(COMMITS)} (default fsg)")
    add("--fast-lr", "RATE", "fsg: learning rate of the fast-net (default 0.001)", float)
    add("--slow-lr", "RATE", "fsg: learning rate of the slow-net (default 0.001)", float)
    add("--start", "NAME", f"fsg: of the fast-net: {' | '.join(STARTS)} (default orthogonal)")
    add("--units", "H", "width of multi-layer perceptrons and LSTMs (default 100)", int)
    add("--expand", "E", "fsg: channels of Mamba (default 100)", int)
    add("--states", "N", "fsg: states of Mamba (default 16)", int)

    group = parser.add_argument_group("training")
    add("--optimizer", "NAME", names(OPTIMIZERS))
    add("--lr", "RATE", "learning rate (default: adam, bop 0.01, sgd and momentum 0.1)", float)
    add("--lr-grid", "RATES", "several rates, such as .01,.03,.1, trained together")
    add("--gamma", "G", "bop: share of the new gradient (default 0.001)", float)
    add("--threshold", "T", "bop: where a weight flips (default 1e-8)", float)
    add("--schedule", "NAME", f"how it falls to 0: {names(SHAPES)}")
    add("--steps", "T", "steps of each run", int)
    add("--epochs", "E", "length of each run in passes through the data, instead of steps", int)
    add("--batch", "N", "examples a step", int)
    add("--augment", "NAME", f"random changes to training images: {names(AUGMENTATIONS)}")
    add("--pretrain-steps", "T", "steps in full precision first, where all runs then begin", int)
    add("--pretrain-epochs", "E", "the same, in passes through the data", int)

    group = parser.add_argument_group("data and machine")
    add(
        "--data",
        "DATA",
        "mnist | fashion-mnist | cifar10 | synthetic | synthetic-shapes | a "
        "folder of IDX files or of CIFAR-10's batches",
    )
    add("--backend", "NAME", " | ".join(backend.NAMES))
    add("--rng", "WHERE", "cupy: where random numbers are made, device | host (NumPy's numbers)")
    add("--dtype", "NAME", "float32 | float64")
    add("--workers", "W", "threads (default: one a processor); changes nothing but time", int)

    group = parser.add_argument_group("output")
    add("--out", "FOLDER", "run folder (default: runs/ and a name from the clock)")
    add("--records", "N", "evaluations a run (default: 20, of convolutional networks 6)", int)
    add(
        "--loss-examples",
        "N",
        "first training examples that the recorded loss is of (default: all, for convolutional "
        "networks 10000)",
        int,
    )
    add("--checkpoint-every", "T", "steps between checkpoints", int)
    add("--resume", "FOLDER", "continue the interrupted run in this folder")
    group.add_argument("--json", action="store_true", help="print one JSON object a run, no more")
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(**DEFAULTS)
    return parser


class _Help(argparse.HelpFormatter):
    """Shows the default of every flag that has one."""

    def _get_help_string(self, action):
        default = action.default
        if default is None or default is False or default == argparse.SUPPRESS:
            return action.help
        if isinstance(default, list):
            default = " ".join(map(str, default))
        return f"{action.help} (default: {default})".replace("%", "%%")


def parse(parser, argv):
    """(settings with defaults, settings given): argparse fills a default only where it finds none.

    Flags that were not given are found by parsing into a namespace full of ``None``.
    """
    defaults = vars(parser.parse_args([]))
    blank = argparse.Namespace(**dict.fromkeys(defaults))
    given = {k: v for k, v in vars(parser.parse_args(argv, blank)).items() if v is not None}
    return defaults, given


POSITIVE = ("steps", "epochs", "pretrain_steps", "pretrain_epochs", "batch", "records",
            "loss_examples", "checkpoint_every", "workers", "seeds")  # fmt: skip
# Two flags that say the same thing in different ways.
ALTERNATIVES = {
    ("steps", "epochs"): "how long",
    ("pretrain_steps", "pretrain_epochs"): "how long",
    ("seed", "seeds"): "which seeds",
    ("lr", "lr_grid"): "which learning rates",
    ("out", "resume"): "which folder",
}


def refuse_in_a_sweep(settings, given):
    """Raise an `InputError` for what runs that are trained together cannot do."""
    if settings["resume"] is not None:
        raise InputError(
            f"--resume {settings['resume']}: runs that are trained together keep no checkpoints; "
            "start the sweep again"
        )
    if "checkpoint_every" in given:
        raise InputError(
            f"--checkpoint-every is {given['checkpoint_every']}, but runs that are trained "
            "together (--seeds, --lr-grid) keep no checkpoints; leave it out"
        )
    for name in ("pretrain_steps", "pretrain_epochs"):
        if settings[name] is not None:
            raise InputError(
                f"--{name.replace('_', '-')} is {settings[name]}, but runs that are trained "
                "together (--seeds, --lr-grid) are not pre-trained; use --seed and --lr"
            )


def training_command(parser, argv, command):
    """A whole training command: settings, data, runs, table, picture. Returns the exit code.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        From `training_parser`, with the defaults of this command.
    argv : list of str or None
    command : str
        Name that is kept in the run folder.
    """
    defaults, given = parse(parser, argv)
    for pair, what in ALTERNATIVES.items():
        if given.keys() >= set(pair):
            first, second = (name.replace("_", "-") for name in pair)
            raise InputError(f"--{first} and --{second} both say {what}; give one of them")
    resume = given.get("resume")
    if resume is not None:
        settings = experiment.resumed_settings(resume, command, defaults, given)
    else:
        # --epochs, for example, takes the place of the default of --steps
        settings = defaults | given
        for pair in ALTERNATIVES:
            if given.keys() & set(pair):
                settings |= {name: given.get(name) for name in pair}

    def notice(line):
        print(line, file=sys.stderr, flush=True)

    # everything that can be wrong is looked at before anything is written or trained
    xp = backend.get(settings["backend"])
    for name in POSITIVE:
        value = settings[name]
        if value is not None and value < 1:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} is {value}, but it must be at least 1")
    if planning.is_sweep(settings):
        refuse_in_a_sweep(settings, given)
    planning.plan(settings, 1)
    planning.build_activation(settings)
    planning.refuse_useless(settings, given)
    choose("--augment", settings["augment"], AUGMENTATIONS)
    if settings["dtype"] not in ("float32", "float64"):
        raise InputError(f"--dtype is {settings['dtype']!r}, but it must be float32 or float64")
    if settings["rng"] not in SOURCES:
        raise InputError(f"--rng is {settings['rng']!r}, but it must be device or host")
    data = load(
        settings["data"], dtype=settings["dtype"], progress=not settings["quiet"], notice=notice
    )
    network = planning.build_network(settings, data)
    objective = planning.build_objective(settings, network)
    unquantized = planning.build_objective(settings, network, FullPrecision())
    theta = objective.network.init(0, like=data.x_train)
    check_data(network, data)
    runs = planning.plan(settings, data.y_train.shape[0])
    for run in runs:
        loss_examples = experiment.evaluation(settings, data)[1]
        check_numbers(data, run.steps, settings["batch"], None, loss_examples)
        check_seed(run.seed)
        check_batch(network, settings["batch"])
        run.estimator.init(objective.calibrate(theta), theta)
        run.optimizer.init(theta, unquantized if run.pretraining else objective)
    if resume is not None:
        folder = make_folder(resume, "--resume")
    else:
        folder = experiment.new_folder(settings["out"], command.rpartition(".")[2])
        experiment.write_settings(folder, command, settings)

    if not settings["quiet"]:
        way = f" (if interrupted, go on with --resume {folder})"
        notice(f"run folder: {folder}{'' if planning.is_sweep(settings) else way}")
    results, curves = run_all(settings, network, data.to(xp), folder, resume is not None, notice)
    heading = planning.title(settings, data, runs[-1].steps)
    text = results_table(results, [run.label for run in runs])
    picture = write_results(folder, results, curves, text, heading)
    if settings["json"]:
        for row in results:
            print(json.dumps(row))
    else:
        print(f"{heading}\n\n{text}\n\nrun folder: {folder}\npicture:    {picture}")
    return 1 if any("error" in row for row in results) else 0

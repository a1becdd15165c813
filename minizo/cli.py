"""What the commands share: flags, and errors that end in one sentence and a code."""

import argparse
import json
import os
import sys

from . import backend, experiment
from .errors import InputError
from .estimators import ESTIMATORS
from .experiment import results_table, run_all, write_results
from .laws import LAWS
from .losses import LOSSES
from .models import ACTIVATIONS
from .optim import OPTIMIZERS
from .quantizers import QUANTIZERS
from .schedules import SHAPES
from .surrogates import SURROGATES


def guarded(command):
    """Run ``command()``; turn bad input into one sentence on standard error and exit code 2.

    Returns the exit code: that of ``command``, 2 for bad input, 130 after Ctrl-C.
    """
    try:
        return command()
    except InputError as error:
        print(f"minizo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minizo: stopped; continue with --resume and the run folder", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def names(table):
    """The choices of a flag, for its help text."""
    return " | ".join(sorted(table))


def training_parser(prog, description, epilog):
    """An argument parser with the flags that every training command has."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("what is compared")
    add = group.add_argument
    add("--estimator", action="append", metavar="NAME", help=f"repeatable: {names(ESTIMATORS)}")
    add("--n", action="append", type=int, metavar="N",
        help="directions a step of spsa and fogzo; repeatable")  # fmt: skip
    add("--seed", action="append", type=int, metavar="S",
        help="seed of the run; repeatable: the table then shows mean +- standard deviation")  # fmt: skip

    group = parser.add_argument_group("the quantised network")
    add = group.add_argument
    add("--activation", metavar="NAME", help=names(ACTIVATIONS))
    add("--quantizer", metavar="NAME", help=f"{names(QUANTIZERS)} (none: full precision)")
    add("--bits", type=int, metavar="B", help="bits of midrise and midtread, 1 to 8")
    add("--surrogate", metavar="NAME", help=f"whose slope the STE uses: {names(SURROGATES)}")
    add("--loss", metavar="NAME", help=names(LOSSES))

    group = parser.add_argument_group("zeroth-order estimators (spsa, fogzo)")
    add = group.add_argument
    add("--law", metavar="NAME", help=f"law of the directions: matched (to the surrogate) | {names(LAWS)}")
    add("--eps", type=float, metavar="E",
        help="one perturbation size for all parameters (default: matched, tensor by tensor)")  # fmt: skip
    add("--eps-scale", type=float, metavar="F", help="factor on the perturbation size")
    add("--perturb", metavar="WHICH", help="all | quantized: which parameters are perturbed")
    add("--beta", type=float, metavar="B",
        help="fogzo: share of the STE direction, the last one where it is scheduled")  # fmt: skip
    add("--beta-schedule", metavar="NAME", help=f"fogzo: from 1 down to beta: {names(SHAPES)}")
    add("--ste-share", type=float, metavar="R",
        help="fogzo: first part of the run, 0 to 1, that uses the STE alone")  # fmt: skip

    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--optimizer", metavar="NAME", help=names(OPTIMIZERS))
    add("--lr", type=float, metavar="RATE",
        help="learning rate at the start (default: adam 0.01, sgd and momentum 0.1)")  # fmt: skip
    add("--schedule", metavar="NAME", help=f"how it falls to 0: {names(SHAPES)}")
    add("--steps", type=int, metavar="T", help="steps of each run")
    add("--batch", type=int, metavar="N", help="examples a step")

    group = parser.add_argument_group("data and machine")
    add = group.add_argument
    add("--data", metavar="DATA", help="mnist | fashion-mnist | synthetic | a folder of IDX files")
    add("--backend", metavar="NAME", help=" | ".join(backend.NAMES))
    add("--dtype", metavar="NAME", help="float32 | float64")
    add("--workers", type=int, metavar="W",
        help="threads that share the directions of a step (default: one a processor); "
        "changes nothing but the time")  # fmt: skip
    add("--memory", type=int, metavar="MIB",
        help="memory for blocks of directions; changes nothing but the time")  # fmt: skip

    group = parser.add_argument_group("output")
    add = group.add_argument
    add("--out", metavar="FOLDER", help="run folder (default: runs/ and a name from the clock)")
    add("--checkpoint-every", type=int, metavar="T", help="steps between checkpoints")
    add("--resume", metavar="FOLDER", help="continue the interrupted run in this folder")
    add("--json", action="store_true", help="print one JSON object a run and nothing else")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(
        seed=[0], quantizer="midrise", bits=2, surrogate="identity", loss="cross-entropy",
        activation="relu", law="matched", eps_scale=1.0, perturb="all", beta=0.999,
        beta_schedule="linear", ste_share=0.0, optimizer="adam", schedule="linear", steps=1200,
        batch=100, backend="numpy", dtype="float32", memory=256, checkpoint_every=200,
        estimator=["ste", "spsa", "fogzo"], n=[1, 10],
    )  # fmt: skip
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


def training_command(parser, argv, command, load_data, build_network, title):
    """A whole training command: settings, data, runs, table, picture. Returns the exit code.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    argv : list of str or None
    command : str
        Name that is kept in the run folder.
    load_data : callable
        ``load_data(settings, notice)`` -> Dataset.
    build_network : callable
        ``build_network(settings, data)`` -> Network.
    title : callable
        ``title(settings, data)`` -> str, over the table and the picture.
    """
    defaults, given = parse(parser, argv)
    resume = given.get("resume")
    if resume is not None:
        settings = experiment.resumed_settings(resume, command, defaults, given)
    else:
        settings = defaults | given

    def notice(line):
        print(line, file=sys.stderr, flush=True)

    # everything that can be wrong is looked at before anything is written or trained
    xp = backend.get(settings["backend"])
    runs = experiment.plan(settings)
    experiment.build_optimizer(settings)
    if settings["dtype"] not in ("float32", "float64"):
        raise InputError(f"--dtype is {settings['dtype']!r}, but it must be float32 or float64")
    for name in ("steps", "batch", "memory", "checkpoint_every", "workers"):
        value = settings[name]
        if value is not None and value < 1:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} is {value}, but it must be at least 1")
    data = load_data(settings, notice)
    network = build_network(settings, data)
    experiment.build_objective(settings, network)
    if resume is not None:
        folder = experiment.Path(resume)
    else:
        folder = experiment.new_folder(settings["out"], command.rpartition(".")[2])
        experiment.write_settings(folder, command, settings)

    results, curves = run_all(
        settings, command, network, data.to(xp), folder, resume is not None, notice
    )
    labels = [run.estimator.label for run in runs]
    heading, text = title(settings, data), results_table(results, labels)
    picture = write_results(folder, results, curves, text, heading)
    if settings["json"]:
        for row in results:
            print(json.dumps(row))
    else:
        print(f"{heading}\n\n{text}\n\nrun folder: {folder}\npicture:    {picture}")
    return 1 if any("error" in row for row in results) else 0

"""What the comparisons have in common as commands: their flags, and where runs and results go."""

from .. import data, sweep
from ..commands import Parser
from ..errors import InputError
from ..files import make_folder


def parser(module, description, steps, seeds="3", folder=None):
    """An argument parser with the flags of every comparison; each may add its own.

    Parameters
    ----------
    module : str
        The last part of its name.
    description, steps, seeds : str
        What it does, and what the defaults of two flags are, for the help text.
    folder : str, optional
        What the default of a third is; else ``runs/`` and the module.
    """
    found = Parser(prog=f"python -m minizo.reproduce.{module}", description=description)
    add = found.add_argument
    add("--folder", help=f"where runs are kept (default: {folder or f'runs/{module}'})")
    add("--seeds", type=int, help=f"seeds 0, 1, ... (default: {seeds})")
    add("--steps", type=int, help=f"steps a run (default: {steps})")
    add("--workers", type=int, help="processes (default: one a processor)")
    add("--out", metavar="FOLDER", help="where the results go (default: --folder)")
    add("--quiet", action="store_true", help="no progress bar")
    return found


def counts(arguments, **defaults):
    """The values of some flags, or their defaults; `InputError` for one below 1.

    >>> from argparse import Namespace
    >>> counts(Namespace(seeds=None, steps=40), seeds=3, steps=1200)
    [3, 40]
    """
    values = []
    for name, default in defaults.items():
        value = getattr(arguments, name)
        values.append(default if value is None else value)
        if values[-1] < 1:
            raise InputError(
                f"--{name.replace('_', '-')} is {values[-1]}, but it must be at least 1"
            )
    return values


def places(arguments, stem):
    """(function that does a list of cases, folder of the results).

    The function takes the cases and what loads their data, by default MNIST, as `minizo.sweep.run`
    does; runs are kept in ``--folder``, by default ``runs/`` and ``stem``.
    """
    folder = make_folder(arguments.folder or f"runs/{stem}", "--folder")

    def run(cases, load=None):
        return sweep.run(cases, load or data.mnist, folder, arguments.workers, arguments.quiet)

    return run, make_folder(arguments.out, "--out") if arguments.out else folder


def in_words(seeds):
    """``1 seed``, ``3 seeds``."""
    return f"{seeds} seed{'s' if seeds > 1 else ''}"

"""What the comparisons have in common as commands: their flags, and where runs and results go."""

import os
from dataclasses import replace
from functools import cache

from .. import data, sweep
from ..commands import Parser
from ..compare.comparison import mean_loss
from ..errors import InputError
from ..files import make_folder
from ..settings import whole

PROBED = 10  # steps that tell how long one takes


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
    loaded = cache(lambda load: load())  # once, and told once, whatever has to be drawn

    def run(cases, load=None):
        load = load or data.mnist
        return sweep.run(cases, load, folder, arguments.workers, arguments.quiet, data=loaded(load))

    return run, make_folder(arguments.out, "--out") if arguments.out else folder


def in_words(seeds):
    """``1 seed``, ``3 seeds``."""
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def grouped(run, rows, case, seeds):
    """Run every row with every seed: row -> list of record.

    Parameters
    ----------
    run : callable
        Makes a list of cases, as that of `places` does.
    rows : sequence
    case : callable
        ``case(row, seed)`` gives the `minizo.sweep.Case`.
    seeds : sequence of int
    """
    plan = {(row, seed): case(row, seed) for row in rows for seed in seeds}
    records = dict(zip(plan, run(list(plan.values())), strict=True))
    return {row: [records[row, seed] for seed in seeds] for row in rows}


def tuned(run, grid, case, tuning, seeds):
    """Choose a setting for each row on the tuning seeds, and run it with the others.

    Parameters
    ----------
    run : callable
        As in `grouped`.
    grid : dict of row to sequence of settings
    case : callable
        ``case(row, setting, seed)`` gives the `minizo.sweep.Case`.
    tuning, seeds : sequence of int

    Returns
    -------
    tried, reported : dict of (row, setting) to list of dict
        The records of the tuning seeds, for every setting; and those of the reported seeds, for the
        setting of least mean final training loss of each row. (One that diverged never wins.)
    """

    def of(pair, seed):
        return case(*pair, seed)

    pairs = [(row, setting) for row in grid for setting in grid[row]]
    tried = grouped(run, pairs, of, tuning)
    best = [
        (row, min(grid[row], key=lambda setting, row=row: mean_loss(tried[row, setting])))
        for row in grid
    ]
    return tried, grouped(run, best, of, seeds)


def expected(case, data, forwards, evaluations, workers=None):
    """About how long runs take, in words, from a few steps of one of them on a part of the data.

    Parameters
    ----------
    case : minizo.sweep.Case
    data : Dataset
    forwards : float
        Of a batch, in all runs, a backward counted as two.
    evaluations : int
        Of the test set, and of as many training examples as a case is evaluated on.
    workers : int, optional
        Processes; by default one a processor.
    """
    workers = whole("--workers", (os.cpu_count() or 1) if workers is None else workers)
    few = replace(case, steps=PROBED, record_every=PROBED)
    each = few.train(data.head(case.batch, 1)).final("seconds") / few.cost()
    seen = case.options(data, None).get("loss_examples") or data.y_train.shape[0]
    forwards += evaluations * (data.y_test.shape[0] + seen) / case.batch
    seconds = each * forwards / workers
    words = f"some {seconds:.0f} seconds" if seconds < 90 else f"some {seconds / 60:.0f} minutes"
    return f"{words} on {workers} core{'s' if workers > 1 else ''}; finished runs are kept"

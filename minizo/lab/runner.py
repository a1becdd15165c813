"""One command for a table of experiments: claims, predictions, measurements, verdicts.

An experiment is a function from a `Setup` to a `Report`. The command runs those that are named,
prints their tables and claims, and writes for each a CSV and a picture; a claim that fails is shown
as failed. The same seed gives the same numbers on the same backend, whatever the workers.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import backend, cli
from ..errors import InputError, nearest, require
from ..experiment import new_folder
from ..figures import save
from ..files import write_csv, write_text
from ..population import Pool, threads
from .verdicts import describe


@dataclass(frozen=True)
class Setup:
    """What every experiment is told.

    Attributes
    ----------
    like : ndarray (0,)
        Its backend and dtype are those of the samples.
    seed : int
    large : bool
        The large sizes, minutes rather than seconds.
    pool : Pool
        Blocks of independent runs go through it.
    say : callable
        ``say(text)``: what is being done now.
    """

    like: object
    seed: int = 0
    large: bool = False
    pool: Pool = Pool()
    say: Callable = lambda text: None


class Report(NamedTuple):
    """What an experiment found.

    claims : list of Claim
    rows : list of dict of the same keys, for the CSV
    table : str, for people
    curves : dict, what the picture needs beside the rows
    """

    claims: list
    rows: list
    table: str
    curves: dict


@dataclass(frozen=True)
class Experiment:
    """A named experiment.

    Attributes
    ----------
    name, title : str
    seconds : float
        About how long the default size takes on two cores.
    run : callable
        ``run(setup) -> Report``.
    picture : callable
        ``picture(report, title) -> Figure``.
    """

    name: str
    title: str
    seconds: float
    run: Callable
    picture: Callable


def chosen(names, table):
    """The experiments called ``names``, in the table's order; ``all`` or nothing means every one.

    Raises
    ------
    InputError
        For an unknown name.
    """
    known = {name.lower(): name for name in table}
    for name in names:
        if name.lower() not in (*known, "all"):
            raise InputError(
                f"experiment: unknown name {name!r}{nearest(name, table)} (known: all, "
                f"{', '.join(table)})"
            )
    wanted = {known.get(name.lower()) for name in names}
    everything = not names or None in wanted
    return [experiment for name, experiment in table.items() if everything or name in wanted]


def listing(table):
    """Names, times and titles as text."""
    width = max(len(name) for name in table)
    return "\n".join(
        f"{name:{width}}  {experiment.seconds:4.0f} s  {experiment.title}"
        for name, experiment in table.items()
    )


def work(arguments, table, command):
    """Run, print, write; returns the exit code."""
    whole = 0 <= arguments.seed < 2**32
    require(whole, "--seed", arguments.seed, "it must lie between 0 and 2^32 - 1")
    if arguments.workers is not None:
        require(arguments.workers >= 1, "--workers", arguments.workers, "it must be at least 1")
    experiments = chosen(arguments.names, table)
    if arguments.list:
        print(listing({experiment.name: experiment for experiment in experiments}))
        return 0
    xp = backend.get(arguments.backend)
    like = xp.empty(0, dtype=np.float32)
    workers = 1 if backend.is_cupy(xp) else arguments.workers
    folder = new_folder(arguments.out, command)
    claims, texts = [], []
    with threads(workers) as pool, _bar(len(experiments), arguments.quiet) as bar:
        for experiment in experiments:

            def say(text, name=experiment.name):
                bar.set_description(f"{name}: {text}")

            say("")
            begun = time.perf_counter()
            report = experiment.run(Setup(like, arguments.seed, arguments.large, pool, say))
            seconds = time.perf_counter() - begun
            write_report(folder, experiment, report)
            claims += [{"experiment": experiment.name} | claim.row() for claim in report.claims]
            lines = [describe(claim) for claim in report.claims]
            heading = f"{experiment.name}  {experiment.title}  ({seconds:.1f} s)"
            texts.append("\n".join([heading, "", report.table, "", *lines, ""]))
            if not arguments.json:
                bar.clear()
                print(texts[-1], flush=True)
            bar.update()
    held = sum(claim["verdict"] == "holds" for claim in claims)
    texts.append(f"{held} of {len(claims)} claims hold")
    write_csv(folder / "claims.csv", list(claims[0]), [claim.values() for claim in claims])
    write_text(folder / "table.txt", "\n".join(texts) + "\n")
    if arguments.json:
        for claim in claims:
            print(json.dumps(claim))
    else:
        print(f"{texts[-1]}\nfolder: {folder}")
    return 0 if held == len(claims) else 1


def write_report(folder, experiment, report):
    """CSV and picture of one experiment into ``folder``."""
    folder = Path(folder)
    header = list(report.rows[0])
    write_csv(folder / f"{experiment.name}.csv", header, [row.values() for row in report.rows])
    title = f"{experiment.name}: {experiment.title}"
    save(experiment.picture(report, title), folder / f"{experiment.name}.png")


def _bar(total, quiet):
    from tqdm import tqdm

    return tqdm(total=total, unit="experiment", disable=True if quiet else None)


def build_parser(prog, description):
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog="Writes for each experiment a CSV and a picture, and claims.csv and table.txt. "
        "Exit codes: 0 if every claim holds, 1 if one does not, 2 for bad input.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="experiments, or all (default: all)")
    add("--list", action="store_true", help="list the experiments with their times, run none")
    add("--large", action="store_true", help="the large sizes: minutes, not seconds")
    add("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    add("--backend", default="numpy", metavar="NAME", help=" | ".join(backend.NAMES))
    add("--workers", type=int, metavar="W", help="threads (default: one a processor)")
    add("--out", metavar="FOLDER", help="default: runs/ and a name from the clock")
    add("--json", action="store_true", help="print one JSON object for each claim, no more")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(table, prog, description, argv=None):
    """Run the command for the experiments of ``table``; returns its exit code."""
    arguments = build_parser(prog, description).parse_args(argv)
    return cli.guarded(lambda: work(arguments, table, prog.rpartition(".")[2]))

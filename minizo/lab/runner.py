"""One command for a table of experiments: claims, predictions, measurements, verdicts.

An experiment is a function from a `Setup` to a `Report`. The command runs those that are named,
prints their tables and claims, and writes for each a CSV and a picture; a claim that fails is shown
as failed. The same seed gives the same numbers on the same backend, whatever the workers.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import backend
from ..commands import Parser, guarded
from ..commands.completion import offer
from ..commands.running import new_folder
from ..errors import InputError, nearest, require
from ..figures import save
from ..files import write_csv, write_text
from ..parallel import Pool, threads
from ..progress import progress_bar
from ..types import Array, FilePath
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

    like: Array
    seed: int = 0
    large: bool = False
    pool: Pool = Pool()
    say: Callable = lambda text: None


class Report(NamedTuple):
    """What an experiment found.

    claims : list of Claim
    rows : list of dict of the same keys, for the CSV
    table : str, for people; may be empty
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
        ``name`` is a part's letter and a number, such as ``A-1``.
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


def part(name: str) -> str:
    """The part an experiment's name begins with: ``A`` of ``A-1``."""
    return name.partition("-")[0]


def chosen(names: Sequence[str], table: dict) -> list:
    """The experiments called ``names``, in the table's order; a part's letter means all of it.

    Raises
    ------
    InputError
        For an unknown name.
    """
    known = {name.lower() for name in table} | {part(name).lower() for name in table}
    for name in names:
        if name.lower() not in known:
            raise InputError(
                f"experiment: unknown name {name!r}{nearest(name.upper(), table)} (python -m "
                "minizo.lab lists them)"
            )
    wanted = {name.lower() for name in names}
    return [
        experiment
        for name, experiment in table.items()
        if name.lower() in wanted or part(name).lower() in wanted
    ]


def listing(table: dict, parts: dict) -> str:
    """Parts, names, times and titles as text."""
    width = max(len(name) for name in table)
    lines = []
    for letter, title in parts.items():
        own = [experiment for name, experiment in table.items() if part(name) == letter]
        if own:
            lines += ["", f"{letter}: {title}"]
        lines += [
            f"  {experiment.name:{width}}  {experiment.seconds:3.0f} s  {experiment.title}"
            for experiment in own
        ]
    return "\n".join(lines[1:])


def work(arguments: argparse.Namespace, table: dict, parts: dict) -> int:
    """List, or run, print and write; returns the exit code."""
    whole = 0 <= arguments.seed < 2**32
    require(whole, "--seed", arguments.seed, "it must lie between 0 and 2^32 - 1")
    if arguments.workers is not None:
        require(arguments.workers >= 1, "--workers", arguments.workers, "it must be at least 1")
    if arguments.all and arguments.names:
        raise InputError(
            f"--all and {' '.join(arguments.names)} both say which experiments; give one of them"
        )
    experiments = list(table.values()) if arguments.all else chosen(arguments.names, table)
    if not experiments:
        print(listing(table, parts))
        return 0
    xp = backend.get(arguments.backend)
    like = xp.empty(0, dtype=np.float32)
    workers = 1 if backend.is_cupy(xp) else arguments.workers
    folder = new_folder(arguments.out, "lab")
    claims, texts = [], []
    with (
        threads(workers) as pool,
        progress_bar(len(experiments), arguments.quiet, unit="experiment") as bar,
    ):
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
            shown = ["", report.table] if report.table else []
            texts.append("\n".join([heading, *shown, "", *lines, ""]))
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
            finite = {k: None if v in (inf, -inf) or v != v else v for k, v in claim.items()}
            print(json.dumps(finite))
    else:
        print(f"{texts[-1]}\nfolder: {folder}")
    return 0 if held == len(claims) else 1


def write_report(folder: FilePath, experiment: Experiment, report: Report) -> None:
    """CSV and picture of one experiment into ``folder``."""
    folder = Path(folder)
    header = list(report.rows[0])
    write_csv(folder / f"{experiment.name}.csv", header, [row.values() for row in report.rows])
    title = f"{experiment.name}: {experiment.title}"
    save(experiment.picture(report, title), folder / f"{experiment.name}.png")


def build_parser(table: dict, parts: dict) -> Parser:
    """The command's flags, and the names that a shell may offer."""
    parser = Parser(
        prog="python -m minizo.lab",
        description="Theory against numbers: without a name, lists the experiments; with names, "
        "runs them and prints for each claim what it predicts, what was measured, the verdict, and "
        "a wrong claim that the same measurement rejects.",
        epilog="Writes for each experiment a CSV and a picture, and claims.csv and table.txt. "
        "Exit codes: 0 if every claim holds, 1 if one does not, 2 for bad input.",
    )
    add = parser.add_argument
    help_text = "experiments (B-2), or a part of them (B)"
    offer(add("names", nargs="*", metavar="NAME", help=help_text), [*table, *parts])
    add("--all", action="store_true", help="every experiment")
    add("--large", action="store_true", help="the large sizes: minutes, not seconds")
    add("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    add("--backend", default="numpy", metavar="NAME", help=" | ".join(backend.NAMES))
    add("--workers", type=int, metavar="W", help="threads (default: one a processor)")
    add("--out", metavar="FOLDER", help="default: runs/ and a name from the clock")
    add("--json", action="store_true", help="print one JSON object for each claim, no more")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(table: dict, parts: dict, argv: Sequence[str] | None = None) -> int | str | None:
    """The command for the experiments of ``table``; returns its exit code.

    Parameters
    ----------
    table : dict
        name -> `Experiment`.
    parts : dict
        Letter -> title, in the order of the listing.
    argv : list of str, optional
    """
    return guarded(lambda: work(build_parser(table, parts).parse_args(argv), table, parts))

"""Claims as experiments: what is predicted, what is measured, and a wrong setting that must fail.

An `Experiment` answers with findings and with the curves of its picture. A `Finding` compares one
measured number with its prediction, and does the same with a deliberately wrong setting (the
negative control): a comparison that both pass says nothing. Sources are kept apart: "paper: ..."
is a statement of the paper named, "this package" one that was derived here.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from .. import cli, figures, report
from ..errors import choose, require
from ..experiment import new_folder
from ..files import write_csv, write_text

RELATIONS = {
    "=": lambda value, target, slack: abs(value - target) <= slack,
    "<=": lambda value, target, slack: value <= target + slack,
    ">=": lambda value, target, slack: value >= target - slack,
}


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Parameters
    ----------
    claim : str
        One sentence.
    source : str
        "paper: ..." or "this package".
    predicted, measured : float
    control : str
        What was set wrongly for the negative control.
    control_measured : float
        What was measured then.
    relation : {"=", "<=", ">="}
        How the measured number should stand to the predicted one.
    slack : float
        By how much it may miss: the rounding or the statistical bound.
    """

    claim: str
    source: str
    predicted: float
    measured: float
    control: str
    control_measured: float
    relation: str = "="
    slack: float = 0.0

    def agrees(self, value):
        """Whether ``value`` stands to the prediction as claimed."""
        return bool(RELATIONS[self.relation](value, self.predicted, self.slack))

    @property
    def target(self):
        """The prediction as text, such as ``<= 18`` or ``= 1 +- 0.3``."""
        if self.relation == "=":
            return f"= {self.predicted:.6g}" + (f" +- {self.slack:g}" if self.slack else "")
        shift = self.slack if self.relation == "<=" else -self.slack
        return f"{self.relation} {self.predicted + shift:.6g}"

    @property
    def verdict(self):
        """``"holds"``, ``"FAILS"``, or that the control passes too."""
        if not self.agrees(self.measured):
            return "FAILS"
        return "control passes too" if self.agrees(self.control_measured) else "holds"


class Curve(NamedTuple):
    """Points (x, y) of a picture; predicted ones are drawn as a line, measured ones as markers."""

    label: str
    x: object
    y: object
    predicted: bool = False


class Panel(NamedTuple):
    """Curves over common axes; ``xscale`` and ``yscale`` are those of matplotlib."""

    title: str
    xlabel: str
    ylabel: str
    curves: list
    xscale: str = "linear"
    yscale: str = "linear"


@dataclass(frozen=True)
class Experiment:
    """A claim that can be run.

    Parameters
    ----------
    name : str
        As it is asked for on the command line.
    claim : str
        In one sentence.
    seconds : float
        About what it takes on one core.
    run : callable
        ``run(seed)`` -> (list of Finding, list of Panel).
    """

    name: str
    claim: str
    seconds: float
    run: Callable


def show(findings):
    """Findings as text: claim, source, and the four numbers."""
    rows = [
        [
            f.claim,
            f.target,
            f"{f.measured:.6g}",
            f"{f.control_measured:.4g}",
            f.verdict,
        ]
        for f in findings
    ]
    text = report.table(["claim", "predicted", "measured", "control", "verdict"], rows)
    notes = [f"  {f.claim}: {f.source}; control: {f.control}" for f in findings]
    return "\n".join([text, "", *notes])


def write(folder, experiment, panels):
    """Write the curves as CSV and the picture of one experiment."""
    rows = [
        [
            panel.title,
            curve.label,
            "predicted" if curve.predicted else "measured",
            float(x),
            float(y),
        ]
        for panel in panels
        for curve in panel.curves
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    write_csv(folder / f"{experiment.name}.csv", ["panel", "curve", "kind", "x", "y"], rows)
    figures.save(figures.claim(panels, experiment.claim), folder / f"{experiment.name}.png")


def work(experiments, command, arguments):
    """Run what was asked for, print and write; returns the exit code."""
    table = {experiment.name: experiment for experiment in experiments}
    if arguments.list:
        rows = [[e.name, f"{e.seconds:g} s", e.claim] for e in experiments]
        print(report.table(["name", "about", "claim"], rows))
        return 0
    whole = 0 <= arguments.seed < 2**32
    require(whole, "--seed", arguments.seed, "it must lie between 0 and 2^32 - 1")
    chosen = [choose("experiment", name, table) for name in arguments.names] or experiments
    folder = new_folder(arguments.out, command)
    texts, good = [], True
    for experiment in chosen:
        began = time.perf_counter()
        findings, panels = experiment.run(arguments.seed)
        took = time.perf_counter() - began
        write(folder, experiment, panels)
        good = good and all(f.verdict == "holds" for f in findings)
        texts.append(f"{experiment.name}: {experiment.claim}\n\n{show(findings)}")
        if arguments.json:
            for f in findings:
                row = {"experiment": experiment.name, **vars(f), "verdict": f.verdict}
                print(json.dumps({k: None if v in (inf, -inf) else v for k, v in row.items()}))
        else:
            print(f"{texts[-1]}\n\n({took:.1f} s)\n", flush=True)
    write_text(folder / "table.txt", "\n\n\n".join(texts) + "\n")
    if not arguments.json:
        print(f"folder: {folder}")
    return 0 if good else 1


def main(experiments, command, description, argv=None):
    """The command around a list of experiments; returns its exit code.

    Parameters
    ----------
    experiments : list of Experiment
    command : str
        Such as ``"minizo.lab.proxquant"``.
    description : str
    argv : list of str, optional
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {command}",
        description=description,
        epilog="Writes table.txt, and a CSV and a picture for each experiment. Exit codes: 0, 1 if "
        "a claim fails or its negative control does not, 2 for bad input.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="experiments (default: all; see --list)")
    add("--list", action="store_true", help="list the experiments with their claims, run nothing")
    add("--seed", type=int, default=0, help="same seed, same bits (default: 0)")
    add("--out", metavar="FOLDER", help="default: runs/ and a name from the clock")
    add("--json", action="store_true", help="print one JSON object for each finding, no more")
    arguments = parser.parse_args(argv)
    last = command.rpartition(".")[2]
    return cli.guarded(lambda: work(experiments, last, arguments))

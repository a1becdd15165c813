"""What a comparison leaves in its folder: tables, pictures, a page, JSON and CSV.

``results.json`` holds everything that the tables say, with versions and settings; ``runs.csv`` one
line a reported run; ``curves.csv`` one line a record of these.
"""

import json
import math
import platform

import numpy as np

from .. import __version__, figures
from ..files import make_folder, write_atomically, write_csv, write_text
from ..records import COLUMNS
from ..types import FilePath
from .page import page
from .report import text
from .results import Comparison, intervals
from .statistics import spread


def results(comparison):
    """Everything that a `Comparison` says, as numbers and texts for JSON; NaN becomes ``None``."""
    return {
        "minizo": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "settings": comparison.settings,
        "seeds": comparison.seeds,
        "tuning_seeds": comparison.tuning_seeds,
        "tables": [
            {
                "equal": table.equal,
                "reference": table.reference,
                "measure": table.measure.column,
                "cases": [_row(row) for row in table.rows],
            }
            for table in comparison.tables
        ],
    }


def _row(row):
    column, beside = row.measure.column, row.measure.beside
    spreads = {name: spread(row.ends(name)) for name in (column, beside)}
    gaps = {column: row.difference, beside: row.difference_beside}
    return {
        "label": row.label,
        "setting": dict(row.chosen.setting),
        "at_edge": row.edges,
        "tuning": [
            {"setting": dict(candidate.setting), "train_loss": _number(loss)}
            for candidate, loss in row.tuning
        ],
        "steps": row.steps,
        "budget": row.budget,
        "seconds_a_step_alone": row.pace,
        **{name: row.ends(name) for name in COLUMNS if name != "step"},
        "diverged": [end.get("error") for end in row.outcomes if "error" in end],
        "spread": {name: None if s is None else vars(s) for name, s in spreads.items()},
        "difference": {
            name: None
            if gap is None
            else {
                "mean": _number(gap.mean),
                "interval": gap.interval,
                "smallest": gap.smallest,
                "verdict": gap.verdict,
                "left_out": gap.left_out,
            }
            for name, gap in gaps.items()
        },
    }


def _number(value):
    return value if value is not None and math.isfinite(value) else None


def runs(comparison):
    """(header, rows) of ``runs.csv``: the end of every reported run."""
    rows = []
    for place, end in _ends(comparison):
        columns = end.get("records")
        last = [""] * len(COLUMNS) if columns is None else [columns[c][-1] for c in COLUMNS]
        rows.append([*place, *last, end.get("error", "")])
    return [*PLACE, *COLUMNS, "error"], rows


def curves(comparison):
    """(header, rows) of ``curves.csv``: every record of the reported runs that ended."""
    rows = []
    for place, end in _ends(comparison):
        columns = end.get("records", dict.fromkeys(COLUMNS, []))
        rows += [[*place, *line] for line in zip(*(columns[c] for c in COLUMNS), strict=True)]
    return [*PLACE, *COLUMNS], rows


PLACE = ("equal", "label", "setting", "seed")


def _ends(comparison):
    for table in comparison.tables:
        for row in table.rows:
            for seed, end in zip(comparison.seeds, row.outcomes, strict=True):
                yield [table.equal, row.label, row.chosen.words, seed], end


def write(folder: FilePath, comparison: Comparison) -> str:
    """Write everything about a comparison into a folder, and return its tables as text.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    comparison : Comparison

    Returns
    -------
    str
        What ``table.txt`` holds. Beside it lie ``report.html``, a self-contained page; a picture
        for each table; ``results.json``, ``runs.csv`` and ``curves.csv``.
    """
    folder, report, pictures = make_folder(folder), text(comparison), {}
    for table in comparison.tables:
        title = comparison.settings.get("title", "")
        image = figures.png(figures.comparison(table, intervals(table), title))
        pictures[table.equal] = image
        place = folder / f"comparison-{table.equal}.png"
        write_atomically(place, lambda file, image=image: file.write(image))
    write_text(folder / "table.txt", report + "\n")
    write_csv(folder / "runs.csv", *runs(comparison))
    write_csv(folder / "curves.csv", *curves(comparison))
    write_text(folder / "results.json", json.dumps(results(comparison), indent=1) + "\n")
    write_text(folder / "report.html", page(comparison, pictures))
    return report

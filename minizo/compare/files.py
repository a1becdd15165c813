"""What a comparison leaves in its folder: ``results.json``, ``runs.csv``, ``curves.csv``.

``results.json`` holds everything that the tables say, with versions and settings; ``runs.csv`` one
line a run that is reported or tuned on; ``curves.csv`` one line a record of the reported runs.
"""

import json
import math
import platform

import numpy as np

from .. import __version__
from ..files import write_csv, write_text
from ..records import COLUMNS

SECONDS = "seconds.json"


def read_seconds(folder, labels):
    """Seconds a step by label, as an earlier part of the comparison measured them, or ``None``."""
    if folder is None:
        return None
    try:
        kept = json.loads((folder / SECONDS).read_text())
        return {label: float(kept[label]) for label in labels}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_seconds(folder, seconds):
    """Keep measured seconds a step: another measurement would change the lengths of runs."""
    if folder is not None:
        write_text(folder / SECONDS, json.dumps(seconds, indent=2) + "\n")


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
                "cases": [_row(row) for row in table.rows],
            }
            for table in comparison.tables
        ],
    }


def _row(row):
    spreads = {"train_loss": row.loss, "test_accuracy": row.accuracy}
    gaps = {"train_loss": row.difference, "test_accuracy": row.accuracy_difference}
    return {
        "label": row.label,
        "setting": dict(row.chosen.setting),
        "at_edge": row.edges,
        "tuning": [
            {"setting": dict(candidate.setting), "train_loss": _number(loss)}
            for candidate, loss in row.tuning
        ],
        "steps": row.steps,
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
    return value if math.isfinite(value) else None


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


def write(folder, comparison):
    """Write the three files."""
    write_csv(folder / "runs.csv", *runs(comparison))
    write_csv(folder / "curves.csv", *curves(comparison))
    write_text(folder / "results.json", json.dumps(results(comparison), indent=1) + "\n")

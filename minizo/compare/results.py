"""What a comparison found: a row for each case, a table for each thing that is held equal."""

import math
from dataclasses import dataclass, field, replace
from statistics import fmean

from ..errors import InputError, choose
from .cases import Candidate
from .statistics import Difference, interval, paired, spread

MEASURES = ("train_loss", "test_accuracy")


@dataclass(frozen=True)
class Row:
    """What a comparison says of one case.

    Attributes
    ----------
    label : str
    chosen : Candidate
        What its tuning chose.
    tuning : tuple of (Candidate, mean loss)
        All candidates, with their mean training loss over the tuning seeds, infinite where one
        diverged; ``None`` of a lone candidate, which is not tuned.
    edges : tuple of str
        Which chosen numbers lie at an edge of the grid.
    steps : int
        Of each run.
    outcomes : tuple of dict
        Of each seed: ``records`` by column, or ``error``.
    budget : float or None
        Multiply-accumulates or seconds that a run may take.
    pace : float or None
        Seconds a step, trained alone, by which equal time is meant.
    difference : Difference or None
        Of training loss to the reference; ``None`` of the reference itself.
    accuracy_difference : Difference or None
        The same of test accuracy.
    """

    label: str
    chosen: Candidate
    tuning: tuple
    edges: tuple
    steps: int
    outcomes: tuple
    budget: float | None = None
    pace: float | None = None
    difference: Difference | None = None
    accuracy_difference: Difference | None = None

    def ends(self, column):
        """The last record of a column for each seed; ``None`` where the run diverged."""
        return tuple(
            None if "error" in end else end["records"][column][-1] for end in self.outcomes
        )

    @property
    def loss(self):
        """`Spread` of the final training losses; ``None`` if all seeds diverged."""
        return spread(self.ends("train_loss"))

    @property
    def accuracy(self):
        """`Spread` of the final test accuracies; ``None`` if all seeds diverged."""
        return spread(self.ends("test_accuracy"))

    def mean(self, column):
        """Mean of the last record of a column over the seeds that ended; NaN if none did."""
        good = [value for value in self.ends(column) if value is not None]
        return fmean(good) if good else math.nan


@dataclass(frozen=True)
class Table:
    """A comparison at equal steps, compute or time.

    equal : str;  reference : str, the label;  rows : tuple of Row.
    """

    equal: str
    reference: str
    rows: tuple

    def row(self, label):
        """The row of a case."""
        return choose("label", label, {row.label: row for row in self.rows})


@dataclass(frozen=True)
class Comparison:
    """All that `compare` found.

    tables : tuple of Table;  seeds, tuning_seeds : tuple of int;  settings : dict, in words.
    """

    tables: tuple
    seeds: tuple
    tuning_seeds: tuple
    settings: dict = field(default_factory=dict)

    def __str__(self):
        """The tables as text; see `minizo.compare.report`."""
        from .report import text

        return text(self)


def judged(rows, reference):
    """The rows with their paired differences to the reference.

    Raises
    ------
    InputError
        If every seed of the reference diverged.
    """
    base = next(row for row in rows if row.label == reference)
    if base.loss is None:
        raise InputError(
            f"the reference {reference!r} diverged with every seed ({base.chosen.words}), so "
            "nothing can be compared with it; give another reference (finished runs are kept in "
            "the folder), or smaller rates"
        )
    found = []
    for row in rows:
        if row.label != reference:
            loss, accuracy = (paired(row.ends(m), base.ends(m)) for m in MEASURES)
            row = replace(row, difference=loss, accuracy_difference=accuracy)
        found.append(row)
    return tuple(found)


def intervals(table):
    """Interval of the mean loss of each case, by label; ``None`` for too few seeds."""
    found = {}
    for row in table.rows:
        values = [value for value in row.ends("train_loss") if value is not None]
        found[row.label] = interval(values) if values else None
    return found

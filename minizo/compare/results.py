"""What a comparison found: a row for each case, a table for each thing that is held equal."""

import math
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

from ..errors import InputError, choose
from ..losses import SoftmaxCrossEntropy
from .cases import Candidate
from .statistics import Difference, Spread, interval, paired, spread

MEASURES = ("train_loss", "test_loss")


class Measure(NamedTuple):
    """What cases are judged by, and what is told beside it.

    column : of the records, one of `MEASURES`;
    name : what it is called, such as ``"validation loss"``;
    beside : column of what the costs tell, too: ``"test_accuracy"``; of tokens and cross-entropy
        ``"test_loss"``, as the perplexity exp(test_loss).
    """

    column: str
    name: str
    beside: str


def measure_of(column, tokens, losses):
    """The `Measure` that is a column; by default training loss, and of tokens validation loss.

    Parameters
    ----------
    column : {"train_loss", "test_loss"} or None
    tokens : bool
        Whether the data are tokens, and not images.
    losses : sequence
        Those of all objectives. Of other losses than cross-entropy there is no perplexity.

    Examples
    --------
    >>> measure_of(None, True, [SoftmaxCrossEntropy()])
    Measure(column='test_loss', name='validation loss', beside='test_loss')
    >>> measure_of("test_loss", False, []).name
    'test loss'
    """
    column = ("test_loss" if tokens else "train_loss") if column is None else column
    held_out = "validation loss" if tokens else "test loss"
    name = choose("measure", column, dict(zip(MEASURES, ("training loss", held_out), strict=True)))
    perplexed = tokens and all(isinstance(loss, SoftmaxCrossEntropy) for loss in losses)
    return Measure(column, name, "test_loss" if perplexed else "test_accuracy")


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
    measure : Measure
        What the case is judged by.
    budget : float or None
        Multiply-accumulates or seconds that a run may take.
    pace : float or None
        Seconds a step, trained alone, by which equal time is meant.
    difference : Difference or None
        Of the measure to the reference; ``None`` of the reference itself.
    difference_beside : Difference or None
        The same of what is told beside it.
    """

    label: str
    chosen: Candidate
    tuning: tuple
    edges: tuple
    steps: int
    outcomes: tuple
    measure: Measure
    budget: float | None = None
    pace: float | None = None
    difference: Difference | None = None
    difference_beside: Difference | None = None

    def ends(self, column: str) -> tuple[float | None, ...]:
        """The last record of a column for each seed; ``None`` where the run, or it, diverged."""
        last = (None if "error" in end else end["records"][column][-1] for end in self.outcomes)
        return tuple(v if v is not None and math.isfinite(v) else None for v in last)

    @property
    def loss(self) -> Spread | None:
        """`Spread` of the final losses that are judged; ``None`` if all seeds diverged."""
        return spread(self.ends(self.measure.column))

    def mean(self, column: str) -> float:
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

    @property
    def measure(self) -> Measure:
        """The `Measure` by which all rows are judged."""
        return self.rows[0].measure

    def row(self, label: str) -> Row:
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
            columns = row.measure.column, row.measure.beside
            gap, beside = (paired(row.ends(column), base.ends(column)) for column in columns)
            row = replace(row, difference=gap, difference_beside=beside)
        found.append(row)
    return tuple(found)


def intervals(table: Table) -> dict[str, tuple[float, float] | None]:
    """Interval of the mean loss of each case, by label; ``None`` for too few seeds."""
    found = {}
    for row in table.rows:
        values = [value for value in row.ends(row.measure.column) if value is not None]
        found[row.label] = interval(values) if values else None
    return found

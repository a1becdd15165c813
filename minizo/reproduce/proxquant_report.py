"""Best settings, tables and CSV of `minizo.reproduce.proxquant`, from the records of its runs."""

import math
import textwrap
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from .. import figures, report
from ..compare import paired
from ..files import write_csv

SCHEDULES = ("constant", "linear")
SHOWN = (None, "constant")  # the best with any schedule, and with a constant learning rate


class Measure(NamedTuple):
    """How good a network is: a column of the records, and how it is shown.

    name : what tables call it;  column : of the records;  shown : what becomes of its numbers;
    unit, digits : behind them, and behind their point;  axis : what a picture says;
    scale : of that axis.
    """

    name: str
    column: str
    shown: Callable
    unit: str
    digits: int
    axis: str
    scale: str = "log"

    def ends(self, group):
        """The last numbers of the seeds; ``None`` where a run diverged."""
        return [None if "error" in r else self.shown(r["records"][self.column][-1]) for r in group]

    def cell(self, group):
        """Mean and deviation over the seeds as text."""
        return report.spread(self.ends(group), self.digits) + self.unit

    @property
    def key(self):
        """What its column is called where it is drawn."""
        return self.name.replace(" ", "_")


ERROR = Measure("test error", "test_accuracy", lambda share: 100.0 - 100.0 * share, " %", 2,
                "test error of the quantised network (%)")  # fmt: skip
LOSS = Measure("validation loss", "test_loss", float, "", 4,
               "validation loss of the quantised network (nats)", "linear")  # fmt: skip
PERPLEXITY = Measure("perplexity", "test_loss", report.perplexity, "", 2, "perplexity")
CHANGE = Measure("SignChange", "sign_change", float, "", 3, "SignChange", "linear")


def gather(cases, records):
    """method -> (optimiser, variant) -> the records of its seeds."""
    table = {}
    for (method, optimizer, variant, _), record in zip(cases, records, strict=True):
        table.setdefault(method, {}).setdefault((optimizer, variant), []).append(record)
    return table


def losses(group):
    """Final training losses of the seeds; infinite where a run diverged."""
    return [math.inf if "error" in r else r["records"]["train_loss"][-1] for r in group]


def best(settings, schedule=None):
    """The setting of least mean training loss, among those with one schedule if it is given."""
    chosen = {key: group for key, group in settings.items() if schedule in (None, key[0].schedule)}
    return min(chosen, key=lambda key: fmean(losses(chosen[key])))


def winners(table):
    """(method, schedule) -> its best setting; with a schedule of ``None`` the best with any."""
    return {
        (method, schedule): best(settings, schedule)
        for method, settings in table.items()
        for schedule in (None, *SCHEDULES)
    }


def with_rates(records, measure=ERROR):
    """Records with the measure, and flips a step between one record and the next."""
    spans = list(pairwise(zip(records["step"], records["flips"], strict=True)))
    rate = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in spans]
    shown = [measure.shown(x) for x in records[measure.column]]
    return records | {measure.key: shown, "flip_rate": [math.nan, *rate]}


def setting_name(optimizer, variant):
    """Such as ``Adam 0.01, linear, clipped``."""
    parts = [f"{type(optimizer).__name__} {optimizer.lr:g}", optimizer.schedule, variant]
    return ", ".join(part for part in parts if part)


def cells(group, measures=(ERROR,)):
    """Final loss, measures and SignChange as text."""
    if not all(map(math.isfinite, losses(group))):
        return ["diverged", *["-"] * len(measures), "-"]
    changes = [r["records"]["sign_change"][-1] for r in group]
    return [report.spread(losses(group), 4), *(own.cell(group) for own in measures),
            report.spread(changes, 3)]  # fmt: skip


def gap(measure, table, chosen, method, against, schedule):
    """The paired difference of a method at its best to another one at its own best."""
    ours, theirs = (table[name][chosen[name, schedule]] for name in (method, against))
    return paired(measure.ends(ours), measure.ends(theirs))


def best_table(table, chosen, count, methods, measures=(ERROR,)):
    """Every method at its best of ``count`` settings, with any schedule and a constant rate.

    Differences of the first measure, with 95 % intervals; * where 0 lies outside.
    """
    rows, first = [], measures[0]
    for schedule in SHOWN:
        for method in methods:
            key, apart = chosen[method.name, schedule], ""
            if method.name != method.against:
                found = gap(first, table, chosen, method.name, method.against, schedule)
                apart = found.in_words(first.digits) + found.star
            group = table[method.name][key]
            rows.append([method.name, setting_name(*key), str(count), *cells(group, measures),
                         apart])  # fmt: skip
    headers = ["", "best setting", "of", "training loss", *(own.name for own in measures),
               "SignChange", f"{first.name} minus {methods[0].name}'s"]  # fmt: skip
    return report.table(headers, rows)


ENDS = {"lower": "ends lower than", "higher": "ends higher than",
        "not different": "is not told from"}  # fmt: skip
ORDER = {"lower": ", as in the paper", "higher": ", unlike in the paper"}


def verdict(table, chosen, methods, better=()):
    """What the differences to BinaryConnect say, in nats, a sentence a method and schedule.

    ``better`` are the methods that the paper finds better.
    """
    lines = []
    for schedule in SHOWN:
        when = "any schedule" if schedule is None else f"a {schedule} learning rate"
        for method in methods:
            if method.name == method.against:
                continue
            pair = method.name, method.against, schedule
            loss, change = (gap(own, table, chosen, *pair) for own in (LOSS, CHANGE))
            begins = f"With {when}, {method.name}"
            if not loss.values:
                lines.append(f"{begins} and {method.against} never both came to an end.")
                continue
            ends = ENDS.get(loss.verdict, f"({loss.verdict}) stands beside")
            order = ORDER.get(loss.verdict, "") if method.name in better else ""
            lines.append(
                f"{begins} {ends} {method.against}{order}: validation loss "
                f"{loss.in_words(LOSS.digits)}, so perplexity times {math.exp(loss.mean):.3f}; "
                f"SignChange {change.in_words(CHANGE.digits)}."
            )
    return "\n".join(textwrap.fill(line, 100, subsequent_indent="  ") for line in lines)


def flips_table(runs, measures=(ERROR,)):
    """SignChange and flips a step near the end, of the runs in which nothing is forced."""
    rows, steps = [], runs[0][1]["step"]
    late = max(2, len(steps) // 10)
    end = "tenth" if 10 * late == len(steps) - 1 else f"{steps[-1] - steps[-1 - late]} steps"
    for label, group in figures.by_label(runs).items():
        changes = [r["sign_change"][-1] for r in group]
        rates = [fmean(r["flip_rate"][-late:]) for r in group]
        good = [own.cell([{"records": r} for r in group]) for own in measures]
        rows.append([label, *good, report.spread(changes, 3), f"{fmean(rates):.2e}",
                     f"{max(rates):.2e}"])  # fmt: skip
    names = [own.name for own in measures]
    headers = ["", *names, "SignChange", f"flips a step, last {end}", "at most"]
    return report.table(headers, rows)


def write_grid(path, *tables, measure=ERROR):
    """Final numbers of every run as CSV: of the tuning, and of the reported seeds."""
    header = ["method", "optimizer", "lr", "schedule", "variant", "seed", "train_loss",
              measure.column, "sign_change"]  # fmt: skip
    rows = [
        [method, type(optimizer).__name__, optimizer.lr, optimizer.schedule, variant, r["seed"],
         *(f"{r['records'][name][-1]:.6f}" for name in header[-3:])]
        for table in tables
        for method, settings in table.items()
        for (optimizer, variant), group in settings.items()
        for r in group
        if "error" not in r
    ]  # fmt: skip
    write_csv(path, header, rows)

"""Best settings, tables and CSV of `minizo.reproduce.proxquant`, from the records of its runs."""

import math
from itertools import pairwise
from statistics import fmean

from .. import figures, report
from ..compare import paired
from ..files import write_csv

SCHEDULES = ("constant", "linear")
SHOWN = (None, "constant")  # the best with any schedule, and with a constant learning rate


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


def with_rates(records):
    """Records with test error in per cent, and flips a step between one record and the next."""
    spans = list(pairwise(zip(records["step"], records["flips"], strict=True)))
    rate = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in spans]
    errors = [100.0 - 100.0 * x for x in records["test_accuracy"]]
    return records | {"test_error": errors, "flip_rate": [math.nan, *rate]}


def setting_name(optimizer, variant):
    """Such as ``Adam 0.01, linear, clipped``."""
    parts = [f"{type(optimizer).__name__} {optimizer.lr:g}", optimizer.schedule, variant]
    return ", ".join(part for part in parts if part)


def cells(group):
    """Final loss, test error and SignChange as text."""
    if not all(map(math.isfinite, losses(group))):
        return ["diverged", "-", "-"]
    errors = [100.0 - 100.0 * r["records"]["test_accuracy"][-1] for r in group]
    changes = [r["records"]["sign_change"][-1] for r in group]
    return [report.spread(losses(group), 4), report.spread(errors, 2) + " %",
            report.spread(changes, 3)]  # fmt: skip


def error_rates(group):
    """Final test errors of the seeds in per cent; ``None`` where a run diverged."""
    return [
        None if "error" in r else 100.0 - 100.0 * r["records"]["test_accuracy"][-1] for r in group
    ]


def apart(group, base):
    """The paired difference of test errors, with its 95 % interval; * where 0 lies outside."""
    gap = paired(error_rates(group), error_rates(base))
    return gap.in_words() + gap.star


def best_table(table, chosen, count):
    """Every method at its best of ``count`` settings, with any schedule and a constant rate."""
    rows, first = [], next(iter(table))
    for schedule in SHOWN:
        base = table[first][chosen[first, schedule]]
        for method, settings in table.items():
            key = chosen[method, schedule]
            gap = "" if method == first else apart(settings[key], base)
            rows.append([method, setting_name(*key), str(count), *cells(settings[key]), gap])
    headers = ["", "best setting", "of", "training loss", "test error", "SignChange",
               f"test error minus {first}'s"]  # fmt: skip
    return report.table(headers, rows)


def flips_table(runs):
    """SignChange and flips a step near the end, of the runs in which nothing is forced."""
    rows, steps = [], runs[0][1]["step"]
    late = max(2, len(steps) // 10)
    end = "tenth" if 10 * late == len(steps) - 1 else f"{steps[-1] - steps[-1 - late]} steps"
    for label, group in figures.by_label(runs).items():
        changes = [r["sign_change"][-1] for r in group]
        rates = [fmean(r["flip_rate"][-late:]) for r in group]
        errors = [r["test_error"][-1] for r in group]
        rows.append([label, report.spread(errors, 2) + " %", report.spread(changes, 3),
                     f"{fmean(rates):.2e}", f"{max(rates):.2e}"])  # fmt: skip
    headers = ["", "test error", "SignChange", f"flips a step, last {end}", "at most"]
    return report.table(headers, rows)


def write_grid(path, *tables):
    """Final numbers of every run as CSV: of the tuning, and of the reported seeds."""
    header = ["method", "optimizer", "lr", "schedule", "variant", "seed", "train_loss",
              "test_accuracy", "sign_change"]  # fmt: skip
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

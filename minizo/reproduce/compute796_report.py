"""What the records of compute796 say: computation to equal loss, tables, and the CSV."""

import csv
import gzip
import math
from statistics import fmean, median

from .. import report
from ..compare import interval, paired
from ..files import write_csv

TARGETS = (1.5, 1.2, 1.0, 0.8, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45)

COUNTS = {
    "query forwards": lambda records, i: records["forwards"][i] - records["backwards"][i],
    "all passes": lambda records, i: records["forwards"][i] + 2 * records["backwards"][i],
    "multiply-accumulates": lambda records, i: records["macs"][i],
}


def compute_to(records, target, count):
    """Computation until the training loss of the whole training set first is at most ``target``.

    Linear between two records; infinite where the run never gets there.

    Parameters
    ----------
    records : dict of str to list
        Columns of a run.
    target : float
    count : {"query forwards", "all passes", "multiply-accumulates"}
        Forwards of the queries alone (FOGZO's own forward is left out, and the STE has none); all
        passes with a backward as two forwards; or multiply-accumulates.
    """
    losses, amount = records["train_loss"], COUNTS[count]
    for i, loss in enumerate(losses):
        if loss <= target:
            if i == 0:
                return float(amount(records, 0))
            share = (losses[i - 1] - target) / (losses[i - 1] - loss)
            low, high = amount(records, i - 1), amount(records, i)
            return low + share * (high - low)
    return math.inf


def final(group):
    """Final training losses of the seeds; infinite where a run diverged."""
    return [
        math.inf if "error" in record else record["records"]["train_loss"][-1] for record in group
    ]


def best(results, method):
    """The optimiser that its tuning chose, and the records of its seeds."""
    ((optimizer, group),) = results[method.name].items()
    return optimizer, group


def reach(results, method, target, count):
    """Computation of each seed to ``target``; infinite where it never gets there."""
    _, group = best(results, method)
    return [
        math.inf if "error" in record else compute_to(record["records"], target, count)
        for record in group
    ]


def optimizer_name(optimizer):
    """Such as ``Adam 0.01``."""
    return f"{type(optimizer).__name__} {optimizer.lr:g}"


def cells(group):
    """Mean final loss with its spread, and mean accuracy, as text."""
    losses = final(group)
    if not all(map(math.isfinite, losses)):
        return ["diverged", "-"]
    accuracy = fmean(record["records"]["test_accuracy"][-1] for record in group)
    return [report.spread(losses, 3), f"{100 * accuracy:.1f} %"]


def apart(group, base):
    """The paired difference of final losses over common seeds, with its 95 % interval."""
    ours, theirs = ([x if math.isfinite(x) else None for x in final(g)] for g in (group, base))
    count = min(len(ours), len(theirs))
    return paired(ours[:count], theirs[:count]).in_words(3)


def best_table(results, methods):
    """Every method with the optimiser of its tuning, and its difference to the first."""
    rows, (_, base) = [], best(results, methods[0])
    for method in methods:
        optimizer, group = best(results, method)
        macs = group[0]["records"]["macs"][-1]
        gap = "" if method == methods[0] else apart(group, base)
        rows.append([method.name, optimizer, f"{len(method.grid)}", str(len(group)), *cells(group),
                     gap, report.engineering(macs)])  # fmt: skip
    headers = ["", "best", "of", "seeds", "training loss", "test accuracy",
               f"minus {methods[0].name}", "multiply-acc."]  # fmt: skip
    return report.table(headers, rows)


def targets_table(results, methods, count="multiply-accumulates"):
    """Median computation of the seeds to each target loss."""
    rows = []
    for method in methods:
        amounts = [median(reach(results, method, target, count)) for target in TARGETS]
        rows.append(
            [method.name, *("-" if math.isinf(a) else report.engineering(a) for a in amounts)]
        )
    return report.table(["to a loss of", *map(str, TARGETS)], rows)


def ratio(results, spsa, fogzo, count):
    """Computation of n-SPSA over FOGZO's at equal loss, for the seeds that both have.

    Equal loss is the one that n-SPSA has at the end of its run: the question is after how much
    computation FOGZO is there. A seed in which FOGZO never gets there has the ratio 0.
    """
    _, group = best(results, spsa)
    target = fmean(final(group))
    theirs = [compute_to(record["records"], target, count) for record in group]
    if any(map(math.isinf, theirs)):  # a seed that ends above the mean: what its whole run cost
        theirs = [
            COUNTS[count](r["records"], -1) if math.isinf(x) else x
            for r, x in zip(group, theirs, strict=True)
        ]
    ours = reach(results, fogzo, target, count)
    return target, [a / b for a, b in zip(theirs, ours, strict=False)]


def ratio_text(values):
    """Geometric mean of the seeds' ratios and its 95 % interval.

    Where FOGZO never gets there in some seeds, how many these are, and the median of all.
    """
    there = [value for value in values if value > 0.0]
    if len(there) < len(values):
        lost = f"not there in {len(values) - len(there)} of {len(values)}"
        middle = median(values)
        return f"{middle:,.0f} ({lost})" if middle > 0.0 else f"FOGZO {lost}"
    logs = [math.log(value) for value in values]
    within = interval(logs)
    spread = "" if within is None else " ({:,.0f} .. {:,.0f})".format(*map(math.exp, within))
    return f"{math.exp(fmean(logs)):,.0f}{spread}"


def ratios_table(results, methods):
    """n-SPSA : FOGZO at equal loss, for both readings of the claim and each way of counting."""
    by_name = {method.name: method for method in methods}
    pairs = [
        (spsa, fogzo)
        for spsa in by_name
        if spsa.startswith("n-SPSA n=79")
        for fogzo in by_name
        if fogzo.startswith("FOGZO")
    ]
    rows = []
    for spsa, fogzo in pairs:
        n, m = by_name[spsa].estimator.n, by_name[fogzo].estimator.n
        row = [f"{spsa} : {fogzo}", f"{2 * n / (2 * m):,.0f}", f"{2 * n / (2 * m + 3):,.0f}"]
        for count in COUNTS:
            target, values = ratio(results, by_name[spsa], by_name[fogzo], count)
            row.append(ratio_text(values))
        rows.append([*row[:3], f"{target:.3f}", *row[3:]])
    headers = ["n-SPSA : FOGZO", "a step, queries", "a step, all", "equal loss", *COUNTS]
    return report.table(headers, rows)


def show(results, methods, questions):
    """The whole report as text."""
    parts = ["Every method with its best optimiser", "", best_table(results, methods), ""]
    parts += [
        "Multiply-accumulates to reach a training loss (median of the seeds; - never)",
        "", targets_table(results, methods), "",
    ]  # fmt: skip
    parts += [
        "How many times more computation n-SPSA takes: a step (queries alone; all passes, a "
        "backward as two forwards), and measured to equal loss (geometric mean over seeds, 95 % "
        "interval)",
        "", ratios_table(results, methods), "",
    ]  # fmt: skip
    for question in questions:
        rows = [[label, *cells(group), len(group)] for label, group in results[question].items()]
        parts += [f"Why? {question}", ""]
        parts += [report.table(["", "training loss", "test accuracy", "seeds"], rows), ""]
    return "\n".join(parts)


def curves(results, methods):
    """(label, records) of every seed of every method's best setting, for the picture."""
    return [
        (method.name, record["records"])
        for method in methods
        for record in best(results, method)[1]
    ]


def rounded(record):
    """A record as its CSV has it, so that tables of both say the same."""
    if "error" in record:
        return record
    columns = record["records"]
    found = {name: [round(x, 4) for x in columns[name]] for name in ("train_loss", "test_accuracy")}
    return record | {"records": columns | found}


def write_records(path, entries, records):
    """All records as packed CSV, one line a record, to four digits."""
    rows = []
    for (place, case), record in zip(entries, records, strict=True):
        group, setting = place
        if "error" in record:
            continue
        columns = record["records"]
        for i, step in enumerate(columns["step"]):
            loss, accuracy = columns["train_loss"][i], columns["test_accuracy"][i]
            counts = [columns[name][i] for name in ("forwards", "backwards", "macs")]
            rows.append(
                [group, setting, case.seed, step, f"{loss:.4f}", f"{accuracy:.4f}", *counts]
            )
    header = ["group", "setting", "seed", "step", "train_loss", "test_accuracy",
              "forwards", "backwards", "macs"]  # fmt: skip
    write_csv(path, header, rows)


def read_records(path):
    """What `write_records` wrote, as ``results[group][setting]``: a list of one record a seed."""
    columns = {"step": int, "train_loss": float, "test_accuracy": float, "forwards": int,
               "backwards": int, "macs": int}  # fmt: skip
    seeds = {}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            run = seeds.setdefault((row["group"], row["setting"]), {}).setdefault(row["seed"], {})
            for name, kind in columns.items():
                run.setdefault(name, []).append(kind(row[name]))
    results = {}
    for (group, setting), runs in seeds.items():
        results.setdefault(group, {})[setting] = [{"records": run} for run in runs.values()]
    return results

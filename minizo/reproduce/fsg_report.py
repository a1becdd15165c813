"""Tables, verdicts and files of `minizo.reproduce.fsg`, from the records of its runs.

Losses are compared seed by seed (one seed is one start and one order of the examples): a difference
counts where its 95 % interval, by the bootstrap of `minizo.compare`, leaves out 0. Intervals are
not corrected for their number.
"""

import csv
import math
from itertools import pairwise
from statistics import fmean, stdev

from .. import report
from ..compare import paired
from ..files import write_csv
from ..lab.generated import COLUMNS as TRACE
from ..optim import SGD, Adam


def kind(optimizer):
    """ "SGD" or "Adam"."""
    return type(optimizer).__name__


def final(record, column="train_loss"):
    """The last entry of a column; an infinite loss where the run diverged."""
    if "error" in record:
        return math.inf if column == "train_loss" else math.nan
    return record["records"].get(column, [math.nan])[-1]


def losses(group):
    """Final training losses of the seeds."""
    return [final(record) for record in group]


def best_settings(found):
    """(method, kind) -> optimiser of least mean loss; given (method, optimiser, seed) -> record."""
    groups = {}
    for (name, optimizer, _), record in found.items():
        groups.setdefault((name, kind(optimizer)), {}).setdefault(optimizer, []).append(record)
    return {
        key: min(settings, key=lambda optimizer: fmean(losses(settings[optimizer])))
        for key, settings in groups.items()
    }


def difference(ours, theirs):
    """(mean, half of the 95 % interval) of the paired differences; NaN where there is none."""
    if not all(map(math.isfinite, [*losses(ours), *losses(theirs)])):
        return math.nan, math.nan
    found = paired(losses(ours), losses(theirs))
    if found.interval is None:
        return found.mean, math.nan
    return found.mean, (found.interval[1] - found.interval[0]) / 2.0


def verdict(name, which, tuned, controls):
    """What the loss of a method owes to what, in words."""
    ours = tuned[name, which][1]
    if name == "STE":
        return ""
    mean, half = difference(ours, tuned["STE", which][1])
    if not math.isfinite(half):
        return "no verdict from few seeds" if math.isfinite(mean) else "diverged"
    if abs(mean) <= half:
        return "nothing that these seeds show"
    if mean > 0.0:
        return "worse than the STE"
    if name in controls:
        return "itself a control"
    simple = best_control(name, which, tuned, controls)
    mean, half = difference(ours, tuned[simple, which][1])
    if not mean < -half:
        return f"no more than {simple}"
    still = tuned.get((f"{name}, frozen", which))
    if still is not None:
        mean, half = difference(ours, still[1])
        if not mean < -half:
            return "not from learning: frozen as good"
        return "learning"
    return f"better than {simple}"


def best_control(name, which, tuned, controls):
    """The control, other than ``name``, of least mean loss."""
    others = [c for c in controls if c != name and (c, which) in tuned]
    return min(others, key=lambda c: fmean(losses(tuned[c, which][1])))


def signed(value, half=math.nan):
    """Such as ``-0.012 +- 0.030``."""
    if not math.isfinite(value):
        return "-"
    return f"{value:+.3f}" + (f" +- {half:.3f}" if math.isfinite(half) else "")


def milliseconds(group):
    """Of a training step, the least of the seeds: others had the machine to share."""
    times = [
        1e3 * final(r, "seconds") / r["records"]["step"][-1] for r in group if "error" not in r
    ]
    return f"{min(times):.1f}" if times else "-"


SHARED = (
    "(ms a step: wall time on a machine shared with other jobs, the least of the seeds; to compare "
    "costs: python -m minizo.bench hypernets)"
)


def comparison_text(title, tuned, every, controls, small):
    """The main tables: tuned, at the small rate, and the trace."""
    parts = [title, "=" * len(title), ""]
    for which in dict.fromkeys(key[1] for key in tuned):
        rows = []
        for (name, k), (optimizer, group) in tuned.items():
            if k != which or name.endswith(", frozen"):
                continue
            still = tuned.get((f"{name}, frozen", which))
            apart = "-" if still is None else signed(*difference(group, still[1]))
            rows.append([
                name, f"{optimizer.lr:g}", report.spread(losses(group), 3),
                report.spread([100 * final(r, "test_accuracy") for r in group], 1),
                milliseconds(group),
                "" if name == "STE" else signed(*difference(group, tuned["STE", which][1])),
                apart,
                verdict(name, which, tuned, controls),
            ])  # fmt: skip
        headers = ["", "rate", "training loss", "test accuracy, %", "ms a step", "minus STE",
                   "minus frozen", "what its gain over the tuned STE is"]  # fmt: skip
        parts += [f"{which}, every method at its best rate", "", report.table(headers, rows), ""]
    parts += [
        SHARED,
        "",
    ]
    if small is not None:
        parts += [small_rate_text(tuned, every, small), ""]
    parts += [plainly(tuned, controls), ""]
    if any(key[0] == "FCGrad" for key in tuned):
        parts += [trace_text(tuned), ""]
    return "\n".join(parts)


def small_rate_text(tuned, every, small):
    """What every method makes of a rate that is too small, in parts of the STE's gain by tuning."""
    found = {}
    for name, optimizer, _, record in every:
        if optimizer == small and not name.endswith(", frozen"):
            found.setdefault(name, []).append(record)
    seeds, best = min(map(len, found.values())), tuned["STE", kind(small)][0]
    base = fmean(losses(found["STE"][:seeds]))
    at_best = [record for name, o, _, record in every if name == "STE" and o == best]
    reach = fmean(losses(at_best[:seeds]))
    rows = []
    for name, group in found.items():
        loss = fmean(losses(group[:seeds]))
        share = (base - loss) / (base - reach)
        rows.append([name, f"{loss:.3f}", f"{loss - base:+.3f}", f"{100 * share:.0f} %"])
    times = best.lr / small.lr
    first = min(seed for *_, seed, _ in every)
    head = (
        f"{kind(small)} at {small.lr:g}, {times:.0f} times below the STE's best rate; "
        "the papers, too, use one small rate for all; "
        f"seed{'s' if seeds > 1 else ''} "
        f"{', '.join(map(str, range(first, first + seeds)))}, of the tuning.\n"
        f"The STE gains {base - reach:.3f} by a better rate alone: {base:.3f} -> {reach:.3f}"
    )
    headers = ["", "training loss", "minus STE", "of that gain"]
    return f"{head}\n\n{report.table(headers, rows)}"


def plainly(tuned, controls):
    """The verdicts in words: what the gains over the tuned STE come from, and what S is."""
    lines = ["Plainly, from these numbers"]
    for which in dict.fromkeys(key[1] for key in tuned):
        said = {}
        for name, k in tuned:
            if k == which and name != "STE" and not name.endswith(", frozen"):
                said.setdefault(verdict(name, which, tuned, controls), []).append(name)
        lines += [f"  {which}: {words}: {'; '.join(names)}" for words, names in said.items()]
    for (name, which), (_, group) in tuned.items():
        ends = {c: [final(r, c) for r in group] for c in TRACE}
        still = name.endswith(", frozen")
        if not still and math.isfinite(ends["slow_history"][0]):
            means = {c: number(fmean(values)) for c, values in ends.items()}
            lines.append(
                f"  {name}, {which}: S is a multiple of the last gradient by R2 = "
                f"{means['slow_r2']}; it is {means['slow_share']} of G; with its older gradients "
                f"negated it changes by {means['slow_history']}, with another layer's embedding by "
                f"{means['slow_embedding']}"
            )
    return "\n".join(lines)


def trace_text(tuned):
    """Start and end of the trace, the mean of the seeds; see `minizo.lab.generated`."""
    rows = []
    for (name, which), (_, group) in tuned.items():
        good = [r["records"] for r in group if math.isfinite(final(r, "gain"))]
        if name.endswith(", frozen") or not good:
            continue
        ends = [[records[c][-1] for records in good] for c in TRACE]
        starts = [records["gain"][1] for records in good]
        negative = sum(any(a * b < 0 for a, b in pairwise(r["gain"][1:])) for r in good)
        rows.append([
            name, which, f"{sum(v < 0 for v in starts)} of {len(good)}", f"{negative}",
            f"{fmean(starts):+.3g}", *(number(fmean(values)) for values in ends),
        ])  # fmt: skip
    headers = ["", "", "uphill then", "changes sign", "gain, start", "gain, end", "R2",
               "c", "K", "R2 of S on K g", "share of S", "history", "embedding"]  # fmt: skip
    return (
        "What the generators became, at the settings above (minizo.lab.generated says what the "
        "columns are); start, and uphill then, at the first record after step 0, the rest at the "
        "end\n\n" + report.table(headers, rows)
    )


def number(value):
    """Three digits, or a dash for NaN."""
    return f"{value:.3g}" if math.isfinite(value) else "-"


def seed_spread(group):
    """Standard deviation of the loss over seeds, NaN for one."""
    return stdev(losses(group)) if len(group) > 1 else math.nan


def sweeps_text(varied, optimizer, sizes, spread):
    """FSG with one setting varied."""
    title = f"FSG with one setting varied, {kind(optimizer)} {optimizer.lr:g}, seed 0"
    rows = []
    for (what, value), record in varied.items():
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        rows.append([
            f"{what} = {shown}", f"{final(record):.3f}",
            f"{100 * final(record, 'test_accuracy'):.1f}",
            *(number(final(record, c)) for c in ("slow_gain", "slow_r2", "slow_share",
                                                 "slow_history", "slow_embedding")),
        ])  # fmt: skip
    headers = ["", "training loss", "test accuracy, %", "K", "R2 of S on K g",
               "share of S", "history", "embedding"]  # fmt: skip
    parts = [title, "=" * len(title), "", report.table(headers, rows), ""]
    for what in dict.fromkeys(key[0] for key in varied):
        values = [final(r) for key, r in varied.items() if key[0] == what]
        best = min((k for k in varied if k[0] == what), key=lambda k: final(varied[k]))[1]
        parts.append(f"{what}: best {best}, largest difference {max(values) - min(values):.3f}")
    if math.isfinite(spread):
        parts.append(f"(between the seeds of one setting the standard deviation is {spread:.3f})")
    return "\n".join([*parts, ""])


def size_text(found, optimizer, sizes):
    """The paper's slow-net beside smaller ones."""
    title = (
        f"The size of the slow-net, {sizes.small} steps, {kind(optimizer)} {optimizer.lr:g}, seed 0"
    )
    rows = [
        [name, f"{final(r):.3f}", f"{100 * final(r, 'test_accuracy'):.1f}", milliseconds([r]),
         *(number(final(r, c))
           for c in ("slow_gain", "slow_r2", "slow_share", "slow_history", "slow_embedding"))]
        for name, r in found.items()
    ]  # fmt: skip
    headers = ["", "training loss", "test accuracy, %", "ms a step", "K", "R2 of S on K g",
               "share of S", "history", "embedding"]  # fmt: skip
    return "\n".join([title, "=" * len(title), "", report.table(headers, rows), "", SHARED, ""])


SHOWN = ("STE", "gain", "FSG-EMA", "fast-net", "FCGrad", "MultiFC", "LSTMFC", "FSG",
         "FSG, fast committed", "FSG, LSTM")  # fmt: skip
TRACED = ("gain", "FSG-gain", "FSG-EMA", "FCGrad", "MultiFC", "LSTMFC", "FSG", "FSG, scaled",
          "FSG, LSTM", "FSG, LSTM scaled")  # fmt: skip


def traced(tuned, which):
    """method -> records of the methods in the picture of the trace: as many as it has styles."""
    return {name: tuned[name, which][1] for name in TRACED if (name, which) in tuned}


def curves(tuned):
    """kind -> list of (method, records), for the picture: as many as it has styles."""
    found = {}
    for (name, which), (optimizer, group) in tuned.items():
        if name in SHOWN:
            label = f"{name}, {optimizer.lr:g}"
            runs = [(label, r["records"]) for r in group if "error" not in r]
            found.setdefault(which, []).extend(runs)
    return found


# ------------------------------------------------------------------ files


OPTIMIZERS = {"SGD": SGD, "Adam": Adam}
KEY = ["method", "optimizer", "lr", "seed"]
MEASURED = ["train_loss", "test_accuracy", "seconds"]


def write_runs(path, every):
    """The end of every run of the tuning; a run that diverged has no numbers."""
    rows = []
    for name, optimizer, seed, r in every:
        columns = ["step", *MEASURED]
        values = [""] * 4 if "error" in r else [f"{final(r, c):.6g}" for c in columns]
        rows.append([name, kind(optimizer), optimizer.lr, seed, *values])
    write_csv(path, [*KEY, "step", *MEASURED], rows)


def read_runs(path):
    """What `write_runs` wrote: (method, optimiser, seed, record)."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    every = []
    for row in rows:
        records = {c: [float(row[c])] for c in ("step", *MEASURED) if row[c]}
        optimizer = OPTIMIZERS[row["optimizer"]](float(row["lr"]))
        found = {"records": records} if records else {"error": "diverged"}
        every.append((row["method"], optimizer, int(row["seed"]), found))
    return every


def write_trace(path, tuned):
    """Every record of the tuned runs, with the trace where there is one."""
    columns = ["step", *MEASURED, *TRACE]
    rows = []
    for (name, which), (optimizer, group) in tuned.items():
        for seed, r in enumerate(group):
            start = [name, which, optimizer.lr, seed]
            if "error" in r:
                rows.append([*start, *[""] * len(columns)])
                continue
            known = [c for c in columns if c in r["records"]]
            for values in zip(*(r["records"][c] for c in known), strict=True):
                row = dict(zip(known, values, strict=True))
                numbers = [row.get(c, math.nan) for c in columns]
                rows.append([*start, *(f"{v:.6g}" if math.isfinite(v) else "" for v in numbers)])
    write_csv(path, [*KEY, *columns], rows)


def read_trace(path):
    """What `write_trace` wrote: (method, kind) -> (optimiser, list of record)."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        optimizer = OPTIMIZERS[row["optimizer"]](float(row["lr"]))
        _, seeds = found.setdefault((row["method"], row["optimizer"]), (optimizer, {}))
        if not row["step"]:
            seeds[row["seed"]] = {"error": "diverged"}
            continue
        records = seeds.setdefault(row["seed"], {"records": {}})["records"]
        for column in ("step", *MEASURED, *TRACE):
            records.setdefault(column, []).append(float(row[column] or "nan"))
    return {key: (optimizer, list(seeds.values())) for key, (optimizer, seeds) in found.items()}


def write_sweeps(path, varied):
    """The end of every run of the sweeps."""
    header = ["what", "value", "train_loss", "test_accuracy", *TRACE]
    rows = [
        [what, value, *(f"{final(r, c):.6g}" for c in header[2:])]
        for (what, value), r in varied.items()
    ]
    write_csv(path, header, rows)

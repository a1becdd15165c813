"""The report of the trial of learned gradients: tables, verdicts in words, and a picture."""

import csv
import math
from dataclasses import dataclass
from statistics import fmean

from .. import report
from ..compare.statistics import paired
from ..figures.canvas import blank
from ..figures.comparison import dots, mean_interval
from ..figures.looks import STYLES
from ..optim import SGD, Adam
from .fsg_report import final

# test accuracy in per cent: MetaQuant's README, ResNet-20, CIFAR-10, DoReFa; 100 epochs of 128
PUBLISHED = {
    "Adam": {"STE": 89.782, "FCGrad": 89.979, "MultiFC": 89.941, "LSTMFC": 89.962},
    "SGD": {"STE": 80.745, "FCGrad": 88.840, "MultiFC": 88.942, "LSTMFC": 88.305},
}
# FSG, table 2, CIFAR-100: FSG minus STE
FSG_GAINS = {"Adam": "+4.70 (ResNet-56), +1.31 (-110)", "SGD": "+21.75 (ResNet-56), +21.81 (-110)"}
OF_CHANGES = {
    "beta": "best .3 of .1 to .9 (figure 2)",
    "length": "best 6 of 3 to 7 (figure 2)",
    "slow-net": "LSTM -.56 (ResNet-44), -.44 (-56) (table 3)",
    "embedding": "no numbers (table 4 of the text is lost)",
    "networks": "not tried",
}
OF_COST = {"STE": "1.00", "fast-net": "1.45", "FSG": "4.65"}  # table 5, seconds an epoch
NOTHING, FEW = "not told apart", "no verdict from few seeds"
AT_BEST = "STE, best rate"  # in the table of SGD


@dataclass
class Found:
    """What the trial found: name -> (optimiser, records of the seeds).

    adam, sgd : dict of method;  changes : dict of (what, value);  tried : dict of (method,
    optimiser) to the records of the tuning seed.
    """

    adam: dict
    sgd: dict
    changes: dict
    tried: dict


def accuracies(group):
    """Test accuracies of the seeds in per cent; NaN of one that diverged."""
    return [100.0 * final(record, "test_accuracy") for record in group]


def losses(group):
    """Training losses of the seeds."""
    return [final(record) for record in group]


def difference(ours, theirs, of=accuracies):
    """The `minizo.compare.statistics.Paired` of two groups, or ``None`` where a run diverged."""
    ours, theirs = of(ours), of(theirs)
    return paired(ours, theirs) if all(map(math.isfinite, [*ours, *theirs])) else None


def in_words(found, digits=2):
    """Such as ``+0.31 (-0.20 .. +0.82)``, with * where 0 lies outside."""
    if found is None:
        return "diverged"
    words = f"{found.mean:+.{digits}f}"
    if found.interval is None:
        return words
    low, high = found.interval
    star = " *" if low > 0 or high < 0 else ""
    return f"{words} ({low:+.{digits}f} .. {high:+.{digits}f}){star}"


def sign(found):
    """1 or -1 where the interval lies above or below 0, else 0."""
    if found is None or found.interval is None:
        return 0
    low, high = found.interval
    return int(low > 0) - int(high < 0)


def verdict(name, groups, against, controls):
    """What a method is, by its test accuracy, beside the STE and the best of the controls."""
    if name == against:
        return ""
    found = difference(groups[name], groups[against])
    if found is None:
        return "diverged"
    if found.interval is None:
        return FEW
    if sign(found) < 0:
        return "worse"
    if sign(found) == 0:
        return NOTHING
    known = [c for c in (*controls, AT_BEST) if c in groups and c != name]
    if name in (*controls, AT_BEST) or not known:
        return "better"
    best = max(known, key=lambda c: fmean(accuracies(groups[c])))
    beside = sign(difference(groups[name], groups[best]))
    return f"better, and than {best}" if beside > 0 else f"better, but no more than {best}"


def milliseconds(group):
    """Of a step, the least of the seeds: others had the machine to share."""
    good = [r["records"] for r in group if "error" not in r]
    return min((1e3 * r["seconds"][-1] / r["step"][-1] for r in good), default=math.nan)


def rows_of(results, which, against, controls):
    """The rows of a table of methods."""
    groups = {name: group for name, (_, group) in results.items()}
    unit = milliseconds(groups["STE"])
    published = PUBLISHED[which]
    rows = []
    for name, (optimizer, group) in results.items():
        gain = "" if name == against else in_words(difference(group, groups[against]))
        loss = "" if name == against else in_words(difference(group, groups[against], losses), 3)
        theirs = "-"
        if name in published:
            apart = f" ({published[name] - published['STE']:+.2f})" if name != "STE" else ""
            theirs = f"{published[name]:.2f}{apart}"
        elif name == "FSG":
            theirs = FSG_GAINS[which]
        rows.append([
            name, f"{optimizer.lr:g}", report.spread(losses(group), 3),
            report.spread(accuracies(group), 2), gain, loss,
            f"{milliseconds(group) / unit:.2f}", verdict(name, groups, against, controls), theirs,
        ])  # fmt: skip
    return rows


HEADERS = [
    "", "rate", "training loss", "test accuracy, %", "minus STE, points",
    "training loss minus STE's", "step / STE", "verdict", "published, % (minus STE)",
]  # fmt: skip


def alike(group, base):
    """The number of seeds that end with the same loss and accuracy, to the last digit."""
    pairs = zip(losses(group), losses(base), accuracies(group), accuracies(base), strict=True)
    return sum(ours == theirs and right == known for ours, theirs, right, known in pairs)


def changes_rows(found):
    """The rows of the table of changes to FSG."""
    rate, base = found.adam["FSG"]
    rows = [["as it is", report.spread(losses(base), 3), report.spread(accuracies(base), 2), "", "",
             "", ""]]  # fmt: skip
    for (what, value), (_, group) in found.changes.items():
        rows.append([
            f"{what}: {value}", report.spread(losses(group), 3),
            report.spread(accuracies(group), 2), in_words(difference(group, base)),
            in_words(difference(group, base, losses), 3), alike(group, base) or "-",
            OF_CHANGES[what],
        ])  # fmt: skip
    return rate, rows


def comparison_text(found, sizes, details, controls, rates, tuning):
    """The report of the comparison; ``details`` come first."""
    edge = [name for name, (rate, _) in found.adam.items() if rate in (rates[0], rates[-1])]
    unit = milliseconds(found.adam["STE"][1])
    heads = ["", "here, generators as above", "FSG, table 5 (ResNet-56, the paper's)"]
    cost = [
        [name, f"{milliseconds(found.adam[name][1]) / unit:.2f}", theirs]
        for name, theirs in OF_COST.items() if name in found.adam
    ]  # fmt: skip
    shown = ", ".join(f"{r.lr:g}" for r in rates)
    return "\n".join([
        details,
        "",
        f"1. Adam, every method at the best of {shown} by training loss on seed {tuning}, reported "
        f"on seeds 0 to {sizes.seeds - 1}",
        "Best at an end of the grid, so perhaps better beyond it: " + ("; ".join(edge) or "none"),
        "",
        report.table(HEADERS, rows_of(found.adam, "Adam", "STE", controls)),
        "",
        "2. SGD, every method at the published rate .001, and the STE also at its best of "
        ".001, .01, .1, 1",
        "",
        report.table(HEADERS, rows_of(found.sgd, "SGD", "STE", controls)),
        "",
        "3. What a step costs, in steps of the STE (the least of the seeds; other runs were beside "
        "it)",
        "",
        report.table(heads, cost),
        "",
        *trace(found),
        plainly(found, controls),
    ]) + "\n"  # fmt: skip


def trace(found):
    """The lines on what became of the slow part, where a method has one that was traced."""
    rows = []
    for which, results in (("Adam", found.adam), ("SGD .001", found.sgd)):
        for name, (_, group) in results.items():
            known = [r["records"] for r in group if math.isfinite(final(r, "slow_share"))]
            if known:
                ends = [[own[column][-1] for own in known] for column in TRACE]
                share, fit, history = ends
                rows.append([f"{name}, {which}", least_to_greatest(share), f"{min(fit):.6f}",
                             least_to_greatest(history)])  # fmt: skip
    if not rows:
        return []
    return [
        "4. The slow part S at the end, least and greatest of the seeds: its share in G, its fit "
        "by a multiple of",
        "the newest gradient g in each layer, and how far it moves, of its size, when the "
        "gradients before g are negated",
        "",
        report.table(["", *TRACE.values()], rows),
        "",
    ]  # fmt: skip


def least_to_greatest(values):
    """Such as ``3e-05 .. 0.0002``; a dash where there are none."""
    if not all(map(math.isfinite, values)):
        return "-"
    return f"{min(values):.2g} .. {max(values):.2g}"


def plainly(found, controls):
    """The verdicts of the comparison in words."""
    lines = ["Plainly, from these runs, test accuracy beside the STE's"]
    for which, results in (("Adam", found.adam), ("SGD, .001", found.sgd)):
        groups = {name: group for name, (_, group) in results.items()}
        said = {}
        for name in groups:
            if name != "STE":
                said.setdefault(verdict(name, groups, "STE", controls), []).append(name)
        lines += [f"  {which}: {words}: {'; '.join(names)}" for words, names in said.items()]
    rate, best = found.sgd[AT_BEST]
    ste = in_words(difference(best, found.sgd["STE"][1]))
    lines.append(f"  SGD: the STE gains {ste} points by a better rate, {rate.lr:g}, alone")
    return "\n".join(lines)


def ablations_text(found, details):
    """The report of the ablations; ``details`` come first."""
    rate, rows = changes_rows(found)
    base, said = found.adam["FSG"][1], {}
    for (what, value), (_, group) in found.changes.items():
        words = verdict("changed", {"changed": group, "FSG": base}, "FSG", ())
        said.setdefault(words, []).append(f"{what} {value}")
    headers = ["", "training loss", "test accuracy, %", "minus FSG, points",
               "training loss minus FSG's", "seeds the same", "published"]  # fmt: skip
    return "\n".join([
        details,
        "",
        f"Adam {rate.lr:g}, FSG's best rate of the trial; differences to FSG as it is (beta .3, "
        "length 6)",
        "",
        report.table(headers, rows),
        "",
        "Plainly, from these runs, test accuracy beside FSG's as it is",
        *(f"  {words}: {'; '.join(names)}" for words, names in said.items()),
    ]) + "\n"  # fmt: skip


TRACE = {  # of the slow part of G at the end; `minizo.lab.generated` says how they are found
    "slow_share": "share",
    "slow_r2": "R2 on K g, least",
    "slow_history": "moved by history",
}
COLUMNS = ["step", "seconds", "train_loss", "test_accuracy", *TRACE]
CSV = ["table", "name", "optimizer", "lr", "seed", *COLUMNS]
OPTIMIZERS = {"SGD": SGD, "Adam": Adam}


def csv_rows(found):
    """Every run as (header, rows); the seeds of the tuning among them."""
    tables = {"adam": found.adam, "sgd": found.sgd}
    tables["changes"] = {f"{what}: {v}": own for (what, v), own in found.changes.items()}
    rows = []
    for table, results in tables.items():
        for name, (rate, group) in results.items():
            rows += [_row(table, name, rate, r) for r in group]
    for (name, rate), group in found.tried.items():
        rows += [_row("tuning", name, rate, r) for r in group]
    return CSV, rows


def _row(table, name, rate, record):
    known = {} if "error" in record else record["records"]
    values = [repr(final(record, c)) if c in known else "" for c in COLUMNS]
    return [table, name, type(rate).__name__, f"{rate.lr:g}", record["seed"], *values]


def read(path):
    """The `Found` that `csv_rows` were written of."""
    adam, sgd, changes, tried = {}, {}, {}, {}
    tables = {"adam": adam, "sgd": sgd, "changes": changes}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            rate = OPTIMIZERS[row["optimizer"]](float(row["lr"]))
            known = {c: [float(row[c])] for c in COLUMNS if row[c]}
            record = {"records": known} if known else {"error": "diverged"}
            record["seed"] = int(row["seed"])
            if row["table"] == "tuning":
                tried.setdefault((row["name"], rate), []).append(record)
                continue
            key = row["name"]
            key = tuple(key.split(": ", 1)) if row["table"] == "changes" else key
            tables[row["table"]].setdefault(key, (rate, []))[1].append(record)
    return Found(adam, sgd, changes, tried)


def picture(found, title, controls=()):
    """Differences of the test accuracy with their intervals: to the STE, and to FSG."""
    if found.changes:
        panels = _near_and_far(found)
    else:
        panels = [
            ("Adam, each at its best rate:\nminus the STE", found.adam, "STE"),
            ("SGD .001, and the STE at its best:\nminus the STE", found.sgd, "STE"),
        ]
    looks = {False: STYLES[-1], True: STYLES[0]}  # of methods, and of controls
    figure = blank(2.5 + 4.5 * len(panels), 5.2)
    places = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (heading, results, against) in zip(places, panels, strict=True):
        names = [name for name in results if name != against]
        axes.axvline(0.0, color="#777777", lw=1)
        for place, name in enumerate(names):
            own = difference(results[name][1], results[against][1])
            if own is None:
                continue
            style = looks[name in (*controls, AT_BEST)]
            dots(axes, place, own.values, style)
            mean_interval(axes, place, own.mean, own.interval, style)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(heading, fontsize="medium")
        axes.set_xlabel("test accuracy, points (right: better)")
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    marks = f"; circles: controls, {AT_BEST}" if controls else ""
    figure.suptitle(f"{title}\nmean and 95 % interval over seeds; dots: single seeds{marks}",
                    fontsize="medium")  # fmt: skip
    return figure


def _near_and_far(found, points=5.0):
    # the panels of the changes: what differs little from FSG, and what is far from it
    base, near, far = found.adam["FSG"], {}, {}
    for (what, value), own in found.changes.items():
        apart = difference(own[1], base[1])
        side = near if apart is None or abs(apart.mean) < points else far
        side[f"{what}: {value}"] = own
    named = [
        ("FSG with one setting changed:\nminus FSG as it is", near),
        ("The same, far off", far),
    ]
    return [(heading, {"FSG": base} | side, "FSG") for heading, side in named if side]

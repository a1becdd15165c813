"""The rows of the fair comparisons in `figures/` that belong to a quantiser or an estimator."""

import re
from functools import cache
from pathlib import Path

from minizo import estimators, quantizers
from minizo.reproduce import fsg, mnist_grid, zoo

ROOT = Path(__file__).resolve().parent.parent

# What the records in figures/ are of: file -> what stands above its rows
RECORDS = {
    "zoo": "Ten seeds of a LeNet with 8 and 16 channels on MNIST at 14x14, 600 steps of 50, each "
    "method at the best of four settings (`minizo.reproduce.zoo`). The interval is of the "
    "difference to the first method of the group; \\* where it leaves out 0.",
    "mnist_grid": "Twenty seeds of the 2-bit 784-10-10 on MNIST, 1,200 steps of 100, each method "
    "at the best of eight optimisers and rates (`minizo.reproduce.mnist_grid`).",
    "fsg": "Ten seeds of a binary 784-10-10 with batch normalisation on MNIST, 100 steps of 100, "
    "each method at its best rate with SGD, then with Adam (`minizo.reproduce.fsg`).",
}
# columns of these that a page has no room for
LEFT_OUT = ("se", "median", "worst", "diverged", "could show", "minus frozen")


def tables(text):
    """Return the tables of a report: list of lists of dicts, column -> text.

    A line of dashes says where the columns are; the line above it has their names.
    """
    lines, found = text.splitlines(), []
    for index, line in enumerate(lines):
        if "--  --" not in line or set(line) - set("- "):
            continue
        spans = [match.span() for match in re.finditer("-+", line)]
        # a cell ends where the next column begins
        ends = [start for start, _ in spans[1:]] + [None]
        cuts = [slice(start, end) for (start, _), end in zip(spans, ends, strict=True)]
        names, rows = [lines[index - 1][cut].strip() for cut in cuts], []
        for row in lines[index + 1 :]:
            if not row.strip():
                break
            rows.append({n: row[c].strip() for n, c in zip(names, cuts, strict=True)})
        found.append(rows)
    return found


@cache
def records(name):
    """Return the tables of ``figures/NAME.txt``."""
    return tables((ROOT / "figures" / f"{name}.txt").read_text())


def zoo_rows(wanted):
    """Return the rows of the comparison of quantisers whose `zoo.Method` is wanted."""
    group, rows = "", []
    (table,) = records("zoo")
    methods = {(method.group.upper(), method.name): method for method in zoo.METHODS}
    for row in table:
        name = row[""]
        if name == name.upper() and not row["setting"]:
            group = name
        elif wanted(methods[group, name]):
            rows.append({"": f"{name} ({group.lower()})"} | {k: v for k, v in row.items() if k})
    return rows


def kin(cls):
    """Return the classes that the page of a quantiser shows: DoReFa has one for activations."""
    return {cls, quantizers.DoReFaActivation} if cls is quantizers.DoReFa else {cls}


def rows_of_quantizer(cls):
    """Return record -> rows of a quantiser, trained by the STE."""

    def wanted(method):
        used = getattr(method.activation, "quantizer", None), method.quantizer
        plain = type(method.estimator) in (estimators.STE, estimators.BinaryConnect)
        if cls is quantizers.Sign:
            plain = type(method.estimator) is estimators.STE and method.optimizers == zoo.ADAM
        if cls is quantizers.FullPrecision:
            return method.group == "full precision"
        return plain and bool(kin(cls) & set(map(type, used)))

    return {"zoo": zoo_rows(wanted)}


def rows_of_estimator(cls):
    """Return record -> rows of an estimator."""
    plain = "STE: sign, identity"

    def wanted(method):
        here = type(method.estimator) is cls
        return here and (cls is not estimators.STE or method.name == plain)

    (loss, *_) = records("mnist_grid")
    labels = [label for label, rule in mnist_grid.METHODS.items() if type(rule) is cls]
    grid = [row for row in loss if row["training loss"] in labels]
    named = fsg.methods(fsg.Sizes())
    names = [name for name, (rule, _) in named.items() if type(rule) is cls]
    learned = [
        {"": f"{row['']} ({optimizer})"} | {k: v for k, v in row.items() if k}
        for optimizer, table in zip(("SGD", "Adam"), records("fsg"), strict=False)
        for row in table
        if row[""] in names
    ]
    return {"mnist_grid": grid, "fsg": learned, "zoo": zoo_rows(wanted)}

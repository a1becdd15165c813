"""A page for each quantiser and each estimator, written from the package and from `figures/`.

Curves are computed here, by the package's own code; equations and sources are the docstrings'; the
rows of the fair comparisons are those that lie in `figures/`, word for word.
"""

import re
import sys
from functools import cache
from pathlib import Path

from docstrings import TEXT, rst, sections
from matplotlib.figure import Figure

from minizo import Objective, data, estimators, figures, fit, models, optim, quantizers
from minizo import gallery as curves
from minizo.errors import InputError
from minizo.estimators import ESTIMATORS
from minizo.quantizers import QUANTIZERS
from minizo.reproduce import fsg, mnist_grid, zoo

ROOT = Path(__file__).resolve().parent.parent
STAGES = ((0, "start"), (1, "middle"), (4, "end"))  # styles of a run's beginning, middle and end
STEPS, SHOWN = 40, 8  # of the run that an estimator's page shows, and weights of it

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


# The fair comparisons ---------------------------------------------------------------------------


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


# Curves -----------------------------------------------------------------------------------------


def axes_of(height=3.9):
    """Return a figure and two panels, one above the other, in letters that a phone shows."""
    figure = Figure(figsize=(4.4, height), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    return figure, panels


def entries(cls):
    """Return the entries of `minizo.gallery` that show a quantiser."""
    return [entry for entry in curves.ENTRIES if type(entry.quantizer) in kin(cls)]


def draw_curve(entry):
    """Return the forward map and the backward rule of an entry, as PNG, and the noise implied."""
    figure, (above, below) = axes_of()
    stages = [curves.look(entry, at) for at in entry.stages]
    for stage, (style, name) in zip(stages, STAGES, strict=False):
        color = figures.STYLES[style]["color"]
        above.plot(stage.x, stage.forward, ".", color=color, markersize=3)
        below.plot(
            stage.x, stage.slope, color=color, label=f"{name} of a run",
            linestyle=figures.STYLES[style]["linestyle"],
        )  # fmt: skip
    below.margins(y=0.12)
    below.set_ylim(bottom=min(0.0, below.get_ylim()[0]))
    above.set_ylabel("Q(x)")
    below.set_ylabel("dx / dw")
    below.set_xlabel("x")
    if len(stages) > 1:
        below.legend(fontsize=8, frameon=False)
    said = dict.fromkeys(str(stage.smoothing) for stage in stages)
    return figures.png(figure), "; ".join(said)


@cache
def problem():
    """Return drawn digits of 7x7 pixels: a small problem on which every rule takes a second."""
    digits = data.synthetic_digits(400, 100)
    small = [zoo.halved(zoo.halved(x)) for x in (digits.x_train, digits.x_test)]
    return data.Dataset(
        "drawn digits, 7x7", small[0], digits.y_train, small[1], digits.y_test, classes=10
    )


@cache
def trained(cls):
    """Return a short run of an estimator with its defaults, and its quantiser.

    The quantiser is the first of sign and DoReFa that the rule takes.
    """
    network = models.mlp(49, 5, 10, input_shape=(1, 7, 7))
    watch = {f"w{k}": lambda objective, state, k=k: float(state.theta[..., 24 + 7 * k].item())
             for k in range(SHOWN)}  # fmt: skip
    for quantizer in (quantizers.Sign(), quantizers.DoReFa()):
        try:
            rule = optim.Adam(0.03)
            objective = Objective(network, quantizer)
            run = fit(objective, problem(), cls(), rule, steps=STEPS, batch=50, record_every=2,
                      watch=watch)  # fmt: skip
        except InputError as error:
            refused = error
        else:
            return run, quantizer
    raise refused


def draw_run(cls):
    """Return what a short run of an estimator looks like, as PNG."""
    run, _ = trained(cls)
    reference, _ = trained(estimators.STE)
    figure, (above, below) = axes_of(4.4)
    steps = run.records["step"]
    if cls is not estimators.STE:
        above.plot(reference.records["step"], reference.records["train_loss"], ":", color="#777777",
                   label="STE")  # fmt: skip
    above.plot(
        steps, run.records["train_loss"], color=figures.STYLES[0]["color"], label=cls().label
    )
    for k in range(SHOWN):
        style = figures.STYLES[k]
        below.plot(steps, run.records[f"w{k}"], color=style["color"], linewidth=1.2)
    below.axhline(0.0, color="black", linewidth=0.8)
    above.set_ylabel("training loss")
    below.set_ylabel("latent weights")
    below.set_xlabel("step")
    above.legend(fontsize=8, frameon=False)
    return figures.png(figure)


# Pages ------------------------------------------------------------------------------------------


def heading(text, line):
    """Return a title in reStructuredText."""
    return [text, line * len(text), ""]


def block(text, indent=3):
    """Return lines of code or plain text, as a literal block's contents."""
    return [" " * indent + line if line else "" for line in text.splitlines()] + [""]


def listing(rows):
    """Return a table in reStructuredText."""
    names = list(rows[0])
    lines = [".. list-table::", "   :header-rows: 1", "   :class: records", ""]
    for row in [dict(zip(names, names, strict=True)), *rows]:
        for index, name in enumerate(names):
            mark = "* -" if index == 0 else "  -"
            cell = row[name].replace(" *", " \\*")
            lines.append(f"   {mark} {cell}".rstrip())
    return [*lines, ""]


def equation(cls):
    """Return the lines on what a class computes: its first line, set off, and its prose."""
    prose = sections(cls)[""]
    first, _, rest = prose.partition("\n")
    formula = re.search(r" = | <- ", first) and not first.startswith("`")
    lines = [TEXT, "", *block(first)] if formula else [*rst([first]), ""]
    return lines + rst(rest.splitlines()) + [""]


def source(cls):
    """Return the lines of the references: the class's own, or those of its file."""
    module = sys.modules[cls.__module__]
    found = sections(cls).get("References") or sections(module).get("References")
    return rst(found.splitlines()) + [""] if found else ["None: it is a control.", ""]


def file_lines(cls, table):
    """Return the lines on what a class shares with others, where its file explains it."""
    module = sys.modules[cls.__module__]
    inside = [one for one in table.values() if one.__module__ == cls.__module__]
    prose = sections(module)[""]
    if len(inside) < 2 and "see the module" not in (cls.__doc__ or ""):
        return []
    if "\n    " not in prose:
        return []
    return heading("What it shares with its relatives", "-") + rst(prose.splitlines()) + [""]


def comparison(found):
    """Return the lines of the fair comparisons."""
    lines = heading("In the fair comparison", "-")
    if not any(found.values()):
        return lines + ["It is in none of the comparisons whose records lie in ``figures/``.", ""]
    for name, rows in found.items():
        if rows:
            path = f"/figures/{name}.txt"
            lines += [RECORDS[name] + f" All of it: :download:`{name}.txt <{path}>`.", ""]
            lines += listing([{k: row[k] for k in row if k not in LEFT_OUT} for row in rows])
    return lines


def three_lines(quantizer, estimator):
    """Return the lines of code that train with a quantiser and an estimator."""
    return ["Three lines", "-----------", "", ".. code-block:: python", ""] + block(
        "objective = minizo.Objective(\n"
        f"    minizo.models.mlp(784, 10, 10), minizo.quantizers.{quantizer}()\n)\n"
        f"rule, optimizer = {estimator}(), minizo.optim.Adam(0.01)\n"
        "run = minizo.fit(objective, minizo.data.mnist(), rule, optimizer, steps=1200)"
    )


def command(flag):
    """Return the lines of a command."""
    return ["or", "", ".. code-block:: sh", "", *block(f"python -m minizo.mnist {flag}")]


def quantizer_page(name, cls, noises):
    """Return the text of a quantiser's page; ``noises``: the noise that each curve implies."""
    lines = heading(cls.__name__, "=")
    lines += [f"``--quantizer {name}``, in Python `minizo.quantizers.{cls.__name__}`.", ""]
    lines += [".. container:: curves", ""]
    for index, entry in enumerate(entries(cls)):
        lines += block(
            f".. figure:: {picture('quantiser', name, index)}\n"
            f"   :alt: {entry.name}: forward map Q(x) above and backward rule dx/dw below, "
            "for x from -2 to 2\n\n"
            f"   {entry.name}. The noise that the slope implies: {noises[index]}."
        )
    lines += heading("Equation", "-") + equation(cls) + file_lines(cls, QUANTIZERS)
    if notes := sections(cls).get("Notes"):
        lines += heading("Notes", "-") + rst(notes.splitlines()) + [""]
    lines += heading("Source", "-") + source(cls)
    lines += heading("Cost", "-") + cost_of_quantizer(cls)
    lines += three_lines(cls.__name__, "minizo.STE") + command(f"--quantizer {name}")
    return lines + comparison(rows_of_quantizer(cls))


def cost_of_quantizer(cls):
    """Return the lines on what a quantiser costs."""
    levels = cls().levels
    bits = (
        f"{levels} levels, {(levels - 1).bit_length()} bits a weight"
        if levels
        else ("The levels are not fixed" if cls is not quantizers.FullPrecision else "Real numbers")
    )
    more = "Cost in addition" in (cls.__doc__ or "") or "Cost: " in (cls.__doc__ or "")
    bits = bits.replace(" 1 bits", " 1 bit")
    return [f"{bits} with the defaults. No pass of the batch beyond those of the estimator"
            + ("; what it adds is said above." if more else "."), ""]  # fmt: skip


def estimator_page(name, cls):
    """Return the text of an estimator's page."""
    run, quantizer = trained(cls)
    which = type(quantizer).__name__
    lines = heading(cls.__name__, "=")
    lines += [f"``--estimator {name}``, in Python `minizo.estimators.{cls.__name__}`.", ""]
    lines += [".. container:: curves", ""] + block(
        f".. figure:: {picture('estimator', name)}\n"
        f"   :alt: Training loss and eight latent weights over a short run with {cls.__name__}\n\n"
        f"   {STEPS} steps on drawn digits of 7x7 pixels, quantiser `{which}`, Adam 0.03, the "
        "defaults, one seed: how it moves, and no comparison."
    )
    lines += heading("Equation", "-") + equation(cls) + file_lines(cls, ESTIMATORS)
    if notes := sections(cls).get("Notes"):
        lines += heading("Notes", "-") + rst(notes.splitlines()) + [""]
    lines += heading("Source", "-") + source(cls)
    lines += heading("Cost", "-") + cost_of_estimator(run)
    using = f"minizo.estimators.{cls.__name__}"
    lines += three_lines(which, using) + command(f"--estimator {name}")
    return lines + comparison(rows_of_estimator(cls))


def cost_of_estimator(run):
    """Return the lines on what an estimator costs, counted in its run."""
    ends = {key: run.records[key][-1] / STEPS for key in ("forwards", "backwards", "macs")}
    return [
        f"Counted in the run above, a step: {ends['forwards']:.3g} forwards, "
        f"{ends['backwards']:.3g} backwards, {ends['macs']:,.0f} multiply-accumulates for batches "
        "of 50.", "",
    ]  # fmt: skip


def picture(kind, name, index=0):
    """Return the file name of a picture."""
    return f"{kind}-{name}{'' if index == 0 else f'-{index}'}.png"


def index_page():
    """Return the lines of the overview."""
    lines = heading("Gallery", "=") + [
        "Every quantiser and every estimator, each with its curve, equation, source, cost, three "
        "lines of code, and its rows in the fair comparisons.", "",
    ]  # fmt: skip
    told = {
        "Quantisers": ("quantiser", QUANTIZERS, "the map Q above, its backward rule below"),
        "Estimators": ("estimator", ESTIMATORS, "training loss above, latent weights below"),
    }
    names = []
    for title, (kind, table, shows) in told.items():
        lines += heading(title, "-") + [shows[0].upper() + shows[1:] + ".", ""]
        lines += [".. container:: thumbnails", ""]
        for name, cls in table.items():
            lines += block(
                f".. figure:: {picture(kind, name)}\n   :target: {kind}-{name}.html\n"
                f"   :alt: {cls.__name__}: {shows}\n\n   {cls.__name__}"
            )
            names.append(f"{kind}-{name}")
    return lines + [".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""]


def files():
    """Return path -> bytes of all pages and pictures below ``gallery/``."""
    pages, pictures = {"index": index_page()}, {}
    for name, cls in QUANTIZERS.items():
        drawn = [draw_curve(entry) for entry in entries(cls)]
        for index, (image, _) in enumerate(drawn):
            pictures[picture("quantiser", name, index)] = image
        pages[f"quantiser-{name}"] = quantizer_page(name, cls, [noise for _, noise in drawn])
    for name, cls in ESTIMATORS.items():
        pictures[picture("estimator", name)] = draw_run(cls)
        pages[f"estimator-{name}"] = estimator_page(name, cls)
    written = {f"gallery/{name}.rst": "\n".join(lines).encode() for name, lines in pages.items()}
    return written | {f"gallery/{name}": image for name, image in pictures.items()}

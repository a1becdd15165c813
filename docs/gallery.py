"""A page for each quantiser and each estimator, written from the package and from `figures/`.

Curves are computed by the package's own code (`gallery_pictures`); equations and sources are the
docstrings'; the rows of the fair comparisons are those that lie in `figures/`, word for word
(`gallery_records`).
"""

import re
import sys

from docstrings import TEXT, rst, sections
from gallery_pictures import STEPS, draw_curve, draw_run, entries, trained
from gallery_records import LEFT_OUT, RECORDS, rows_of_estimator, rows_of_quantizer

from minizo import quantizers
from minizo.estimators import ESTIMATORS
from minizo.quantizers import QUANTIZERS


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
    none = "None: it is the reference in full precision, or a control."
    return [*(rst(found.splitlines()) if found else [none]), ""]


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

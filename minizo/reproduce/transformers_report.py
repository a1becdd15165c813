"""What the runs on transformers say: tables, differences, a verdict in words, a picture."""

from statistics import fmean

from .. import report
from ..compare import paired
from ..compare.statistics import FEWEST
from ..figures.canvas import blank
from ..figures.looks import MARKERS, styles

BETAS = ("FOGZO, beta 1 - 1e-7", "FOGZO, beta 1 - 1e-5", "FOGZO, beta 1 - 1e-4")
CHOSEN = "FOGZO, beta chosen"  # the one of least training loss on the tuning seeds
PUBLISHED = """\
Published (Yang and Aamodt 2025), STE -> FOGZO after as many steps; other networks, other data:
  fixed scale   DeiT-Tiny, ImageNet-100, accuracy  identity 62.72 -> 70.06, tanh 41.98 -> 46.8
                LLaMA 9M, C4, perplexity           identity 109.95 -> 105.64, tanh 123.97 -> 121.51
  LSQ, 2 bits   DeiT-Small 79.55 -> 80.06, LLaMA 20M 50.85 -> 50.61
  QuEST, 2 bits with activations: LLaMA 95M 37.75 -> 37.37, 300M 22.90 -> 22.72
  same time     LLaMA 30M 38.25 (STE) -> 37.93 (70 % STE, then FOGZO)"""


def ends(records, column):
    """The last value of a column of every record; ``None`` where a run diverged."""
    return [None if "error" in r else r["records"][column][-1] for r in records]


def with_chosen(results, methods):
    """The results with `CHOSEN` in every cell, and the methods with it behind the others."""
    found, betas = dict(results), [method for method in BETAS if method in methods]
    if len(betas) < 2:
        return found, tuple(methods)
    for cell in dict.fromkeys(cell for cell, method in results if method is not None):
        best = min(betas, key=lambda method, cell=cell: results[cell, method].tuned)
        found[cell, CHOSEN] = results[cell, best]
    return found, (*methods, CHOSEN)


def loss_of(result):
    """The held-out loss of every seed."""
    return ends(result.records, "test_loss")


def cell_in_words(cell):
    """``2 bits, tanh``."""
    return f"{cell[1]}, {cell[2]}"


def comparison_text(results, methods, title, rates, tuned):
    """Every cell of a task with all its methods, what all say together, and the published figures.

    Parameters
    ----------
    results : dict
        (cell, method) -> rate, tuning loss and records (`minizo.reproduce.transformers.Result`).
    methods : sequence of str
    title : str
    rates : tuple of float
    tuned : int
        Tuning seeds.
    """
    found, methods = with_chosen(results, methods)
    (full,) = (result for (_, method), result in found.items() if method is None)
    return "\n\n".join([
        title,
        f"AdamW at {', '.join(map(str, rates))}, the best by training loss over {tuned} tuning "
        f"seed{'s' if tuned > 1 else ''} (^: at an end of\nthe grid, so perhaps not the best). "
        "Loss: of the held-out part, in nats. Differences: seed by seed, with\n95 % intervals (not "
        "corrected for their number), * where 0 lies outside. 'Same time': 1.8 times the steps,\n"
        "about FOGZO's time. 'Beta chosen': of the three, by training loss on the tuning seeds, so "
        "of nine settings,\nwhere the other methods have three.",
        f"Full precision at {marked(full.rate, rates)}: {report.spread(loss_of(full), 3)}",
        table(found, methods, rates),
        together(found, methods),
        verdict(found, methods),
        PUBLISHED,
    ])  # fmt: skip


def marked(rate, rates):
    """A rate as text, with a mark where it lies at an end of the grid.

    >>> marked(0.01, (0.003, 0.01, 0.03)), marked(0.03, (0.003, 0.01, 0.03))
    ('0.01', '0.03^')
    """
    return f"{rate:g}{'^' if rate in (rates[0], rates[-1]) else ''}"


def cells_of(found):
    """The cells, in order."""
    return list(dict.fromkeys(cell for cell, method in found if method is not None))


def table(found, methods, rates):
    """All cells, a line a method."""
    of_text = cells_of(found)[0][0] == "llama"
    lines = []
    for cell in cells_of(found):
        lines.append([cell_in_words(cell).upper(), *[""] * 5])
        for method in methods:
            rate, _, records = found[cell, method]
            losses = ends(records, "test_loss")
            if None in losses:
                lines.append(["  " + method, f"{rate:g}", "diverged", *["-"] * 3])
                continue
            accuracy = 100.0 * fmean(ends(records, "test_accuracy"))
            other = report.perplexity(fmean(losses)) if of_text else accuracy
            lines.append([
                "  " + method, marked(rate, rates),
                report.spread(losses, 3), f"{other:.2f}",
                *(gap(found, cell, method, base) for base in ("STE", "normalised STE")),
            ])  # fmt: skip
    headers = ["", "rate", "loss", "perplexity" if of_text else "accuracy, %", "minus the STE",
               "minus the normalised STE"]  # fmt: skip
    return report.table(headers, lines)


def gap(found, cell, method, base):
    """The paired difference to another method of the cell, in words."""
    if method == base or (cell, base) not in found:
        return ""
    difference = paired(loss_of(found[cell, method]), loss_of(found[cell, base]))
    return difference.in_words(3) + difference.star


BASES = ("STE", "STE, same time", "normalised STE")


def pooled(found, method, base):
    """The difference of two methods, its mean over all cells, seed by seed.

    Returns
    -------
    difference : Difference
    ahead, behind, cells : int
        In how many cells the interval lies below 0, above 0; and of how many.
    """
    each = [
        paired(loss_of(found[cell, method]), loss_of(found[cell, base])) for cell in cells_of(found)
    ]
    means = [fmean(v) for v in zip(*(d.values for d in each if not d.left_out), strict=True)]
    words = [difference.verdict for difference in each]
    difference = paired(means, [0.0] * len(means))
    return difference, words.count("lower"), words.count("higher"), len(each)


def together(found, methods):
    """A line a method: its difference to the others, over all cells."""
    bases = [base for base in BASES if base in methods]
    lines = []
    for method in methods[1:]:
        line = ["  " + method]
        for base in bases:
            difference, ahead, behind, _ = pooled(found, method, base)
            words = [difference.in_words(3) + difference.star, f"{ahead}, {behind}"]
            line += ["", ""] if method == base else words
        lines.append(line)
    count = len(cells_of(found))
    headers = [f"MEAN OF {count} CELLS" if count > 1 else "THE CELL"]
    for base in bases:
        headers += [f"minus {base}", "ahead, behind"]
    return report.table(headers, lines)


def verdict(found, methods):
    """In words: whether FOGZO, with beta chosen, is ahead of the STE and of its direction."""
    ours = CHOSEN if CHOSEN in methods else next(m for m in methods if m in BETAS)
    lines = [f"VERDICT. Mean loss of {ours} over all cells:"]
    for base in (base for base in BASES if base in methods):
        difference, ahead, behind, count = pooled(found, ours, base)
        if difference.interval is None:
            lines.append(
                f"  beside that of '{base}': {difference.in_words(3)} nats, {difference.verdict}; "
                f"give at least {FEWEST} seeds"
            )
            continue
        word = {"lower": "below", "higher": "above"}.get(difference.verdict, "cannot be told from")
        lines.append(
            f"  {word} that of '{base}': {difference.in_words(3)} nats; ahead in {ahead}, behind "
            f"in {behind} of {count} cells"
        )
    return "\n".join(lines)


def rows(results):
    """Header and rows of the CSV: one a run that is reported."""
    header = ["task", "quantizer", "surrogate", "method", "lr", "seed", "test_loss",
              "test_accuracy", "train_loss", "forwards", "backwards", "seconds"]  # fmt: skip
    lines = []
    for (cell, method), (rate, _, records) in results.items():
        for seed, record in enumerate(records):
            end = {} if "error" in record else {c: v[-1] for c, v in record["records"].items()}
            lines.append([*cell, method or "full precision", rate, seed,
                          *(end.get(column, "") for column in header[6:])])  # fmt: skip
    return header, lines


def picture(results, methods, title):
    """Differences to the STE with their intervals, a row a cell; a marker a method."""
    results, methods = with_chosen(results, methods)
    shown, cells = [m for m in methods if m != "STE"], cells_of(results)
    figure = blank(9.0, 2.4 + 0.75 * len(cells))
    axes, style = figure.subplots(), styles(methods)
    axes.axvline(0.0, color="#777777", lw=1)
    for place, cell in enumerate(cells):
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color="#F2F2F2", zorder=0)
        base = loss_of(results[cell, "STE"])
        for i, method in enumerate(shown):
            difference = paired(loss_of(results[cell, method]), base)
            if not difference.values:
                continue
            at, own = place + 0.8 * ((i + 0.5) / len(shown) - 0.5), style[method]
            if difference.interval:
                axes.plot(difference.interval, [at, at], color=own["color"], lw=1.4)
            axes.plot(
                [difference.mean], [at], linestyle="none", color=own["color"],
                marker=MARKERS[i], markersize=5, label=method if place == 0 else None,
            )  # fmt: skip
    axes.set_yticks(range(len(cells)), [cell_in_words(cell) for cell in cells])
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlabel("held-out loss minus the STE's, nats (left: better than the STE)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3)
    figure.suptitle(f"{title}\nmean and 95 % interval, seed by seed", fontsize="medium")
    return figure

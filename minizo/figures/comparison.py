"""A comparison: one dot a seed, paired differences with their intervals, and the curves."""

from statistics import fmean

from ..compare.results import Table
from ..types import Figure
from .canvas import blank, ticker
from .looks import heading, styles
from .runs import MANY, band, scale_losses

EQUALLY = {"steps": "equal steps", "compute": "equal compute", "time": "equal time"}


def comparison(
    table: Table, intervals: dict[str, tuple[float, float] | None], title: str
) -> Figure:
    """Final losses and paired differences of the seeds, and the loss on the way.

    Parameters
    ----------
    table : minizo.compare.Table
    intervals : dict of str to (low, high) or None
        Of the mean loss of each case, by label.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Above: the final loss of each seed with the mean and its interval; the difference of each
        seed to the reference, with the interval that the table gives. Below: mean over seeds, with
        their `band`, against steps and against compute. Of a held-out loss the record before
        training, far above all others, is left out of the curves.
    """
    measure = table.measure
    rows = [row for row in table.rows if row.loss is not None]
    style = styles([row.label for row in table.rows])
    height = 1.8 + 0.34 * len(rows)
    figure = blank(11, height + 3.9)
    above, below = figure.subfigures(2, 1, height_ratios=[height, 3.9])
    left, right = above.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        own = style[row.label]
        values = [value for value in row.ends(measure.column) if value is not None]
        dots(left, place, values, own)
        mean_interval(left, place, fmean(values), intervals.get(row.label), own)
        if row.difference is None:
            right.text(0.0, place, " reference", va="center", fontsize="small", color="#555555")
        elif row.difference.values:
            dots(right, place, row.difference.values, own)
            mean_interval(right, place, row.difference.mean, row.difference.interval, own)
    left.set_yticks(range(len(rows)), [f"{row.label}\n{row.chosen.words}" for row in rows])
    left.tick_params(axis="y", labelsize="small")
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel(f"final {measure.name}\n(a dot a seed; mean, 95 % interval)")
    right.axvline(0.0, color="#555555", linewidth=1)
    right.set_xlabel(f"minus {table.reference}, seed by seed\n(mean, 95 % interval)")
    curves = below.subplots(1, 2, sharey=True)
    for axes, column in zip(curves, ("step", "macs"), strict=True):
        drawn = [_curve(axes, row, column, style[row.label]) for row in rows]
        scale_losses(axes, [loss for losses in drawn for loss in losses])
    curves[0].set_xlabel("step")
    curves[0].set_ylabel(f"{measure.name}\n(mean; band: {held(table.rows)} of the seeds)")
    curves[1].set_xlabel("compute (multiply-accumulates)")
    curves[1].set_xscale("log")
    within_a_decade = ticker("LogLocator", subs=(2.0, 5.0))  # labelled there, too
    curves[1].xaxis.set_minor_locator(within_a_decade)
    for axes in (left, right, *curves):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (left, right):
        axes.xaxis.set_major_locator(ticker("MaxNLocator", 6))
        axes.tick_params(axis="y", length=0)
    handles, labels = curves[0].get_legend_handles_labels()
    below.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False
    )
    title = f"{title}, {EQUALLY[table.equal]}" if title else EQUALLY[table.equal]
    figure.suptitle(heading(title))
    return figure


def held(rows):
    """What the band of the curves holds, in words."""
    return "middle half" if max(len(row.outcomes) for row in rows) >= MANY else "range"


def dots(axes, place, values, style):
    """The seeds of a row: two rows of dots, so that neighbours are told apart."""
    heights = [place + (0.14 if index % 2 else -0.14) for index in range(len(values))]
    axes.plot(
        values, heights, linestyle="none", color=style["color"], marker=style["marker"],
        markersize=4, alpha=0.5, markeredgewidth=0,
    )  # fmt: skip


def mean_interval(axes, place, mean, interval, style):
    """The mean of a row, and its interval if there is one."""
    if interval is not None:
        axes.plot(interval, [place, place], color="black", linewidth=2.2, solid_capstyle="butt")
    axes.plot(
        [mean], [place], marker=style["marker"], color=style["color"], markersize=8,
        markeredgecolor="black", linestyle="none",
    )  # fmt: skip


def _curve(axes, row, column, style):
    # the least loss at each record, which is drawn with the mean and the band
    runs = [end["records"] for end in row.outcomes if "error" not in end]
    length = min(len(run["step"]) for run in runs)
    judged = row.measure.column
    losses = list(zip(*(run[judged][:length] for run in runs), strict=True))
    # no compute has no place on a logarithmic axis
    start = 1 if column == "macs" or judged == "test_loss" else 0
    x, losses = runs[0][column][start:length], losses[start:]
    axes.plot(
        x, list(map(fmean, losses)), label=row.label, markersize=4, linewidth=1.5,
        markevery=max(1, length // 8), **style,
    )  # fmt: skip
    if len(runs) > 1:
        low, high = zip(*map(band, losses), strict=True)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)
    return [min(own) for own in losses]

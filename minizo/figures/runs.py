"""Training runs."""

from statistics import quantiles

from ..types import Figure
from .canvas import blank, ticker
from .looks import heading, styles


def by_label(runs: list) -> dict[str, list]:
    """Runs of the same label (its seeds), in order of appearance: label -> list of records."""
    groups = {}
    for label, records in runs:
        groups.setdefault(label, []).append(records)
    return groups


MEASURES = {"train_loss": "training loss", "test_loss": "validation loss"}


def training(runs: list, title: str, column: str = "train_loss") -> Figure:
    """A loss against steps and against compute.

    Parameters
    ----------
    runs : list of (label, records)
        Records as `minizo.fit` makes them. Runs of one label are drawn as their mean, with a
        `band`.
    title : str
        Names the data, the network and the number of seeds.
    column : {"train_loss", "test_loss"}
        Of the validation loss the record before training, far above all others, is left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    groups = by_label(runs)
    many, own = len(groups) > 4, styles(groups)  # too many for a legend on the curves
    figure = blank(9, 5.2 if many else 4.4)
    left, right = figure.subplots(1, 2, sharey=True)
    drawn = []
    for label, group in groups.items():
        style = own[label]
        length = min(len(records["step"]) for records in group)
        columns = list(zip(*(records[column][:length] for records in group), strict=True))
        low, high = zip(*map(band, columns), strict=True)
        mean = [sum(c) / len(c) for c in columns]
        for axes, along in ((left, "step"), (right, "macs")):
            x = group[0][along][:length]
            # no compute has no place on a log axis
            start = 1 if along == "macs" or column == "test_loss" else 0
            drawn += low[start:]
            axes.plot(
                x[start:], mean[start:], label=label, markersize=4, linewidth=1.5,
                markevery=max(1, length // 8), **style,
            )  # fmt: skip
            if len(group) > 1:
                axes.fill_between(
                    x[start:], low[start:], high[start:], color=style["color"], alpha=0.15, lw=0
                )
    left.set_xlabel("step")
    most = max(map(len, groups.values()), default=1)
    shown = (
        "" if most == 1 else f"\nmean; band: {'middle half' if most >= MANY else 'range'} of seeds"
    )
    left.set_ylabel(f"{MEASURES[column]} (cross-entropy, nats){shown}")
    right.set_xlabel("compute (multiply-accumulates)")
    right.set_xscale("log")
    within_a_decade = ticker("LogLocator", subs=(2.0, 5.0))  # labelled there, too
    right.xaxis.set_minor_locator(within_a_decade)
    for axes in (left, right):
        scale_losses(axes, drawn)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    if many:
        widest = max(map(len, labels))
        columns = 3 if widest > 20 else 5 if len(labels) == 5 else 4
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    elif labels:
        left.legend(frameon=False)
    figure.suptitle(heading(title))
    return figure


MANY = 5  # seeds whose middle half says more than their range


def band(values):
    """(low, high) of the values of seeds: their range, or of five and more the middle half."""
    if len(values) < MANY:
        return min(values), max(values)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def scale_losses(axes, losses):
    """Make the vertical axis one for these losses: logarithmic, or linear where some are 0."""
    if min(losses, default=1.0) > 0.0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticks())
        axes.yaxis.set_minor_formatter("")
    else:
        axes.set_ylim(bottom=0.0)
    axes.yaxis.set_major_formatter("{x:g}")


def ticks():
    """Ticks of a logarithmic axis that spans less than a decade or two."""
    return ticker("LogLocator", subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))

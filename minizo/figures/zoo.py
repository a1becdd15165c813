"""Many methods side by side: one dot a seed."""

from itertools import cycle
from statistics import fmean

from ..types import Figure
from .canvas import blank, ticker
from .looks import STYLES


def zoo(rows: list, title: str) -> Figure:
    """Every method at its best setting, one dot a seed, grouped; a line at the group's first.

    Parameters
    ----------
    rows : list
        Each with ``method.group``, ``method.name``, ``accuracy`` (list, per cent, over the seeds)
        and ``loss``; as `minizo.reproduce.zoo.summarise` gives them.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    groups = {}
    for row in rows:
        groups.setdefault(row.method.group, []).append(row)
    height = 1.8 + 0.23 * (len(rows) + len(groups))
    figure = blank(10.5, height)
    left, right = figure.subplots(1, 2, sharey=True)
    names, place = [], 0
    styles = cycle(STYLES)
    for group, members in groups.items():
        style = next(styles)
        names.append((place, group, True))
        place += 1
        for axes, values in ((left, members[0].accuracy), (right, members[0].loss)):
            if values:
                axes.vlines(fmean(values), place, place + len(members) - 1, color="#777777", lw=1)
        for row in members:
            names.append((place, row.method.name, False))
            for axes, values in ((left, row.accuracy), (right, row.loss)):
                axes.plot(
                    values, [place] * len(values), linestyle="none", color=style["color"],
                    marker=style["marker"], markersize=5, alpha=0.8,
                )  # fmt: skip
            place += 1
    left.set_yticks([at for at, *_ in names], [name for _, name, _ in names])
    for label, (_, _, heading) in zip(left.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if heading else "normal")
    left.set_ylim(place - 0.5, -0.5)
    left.set_xlabel("test accuracy, %")
    right.set_xlabel("training loss, nats")
    right.set_xscale("log")
    right.xaxis.set_major_locator(ticker("LogLocator", subs=(1.0, 2.0, 5.0)))
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter(ticker("NullFormatter"))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    figure.suptitle(f"{title}\none dot a seed; line: mean of a group's first", fontsize="medium")
    return figure

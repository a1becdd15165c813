"""Forward maps and pseudo-gradients, a panel each."""

from math import ceil

from ..types import Figure
from .canvas import blank
from .looks import STYLES, heading

COLUMNS = 6


def gallery(shown: dict[str, list], title: str, columns: int = COLUMNS) -> Figure:
    """Above the forward map, below the pseudo-gradient, of every entry.

    Parameters
    ----------
    shown : dict of str to list
        name -> stages, each with ``progress``, arrays ``x``, ``forward``, ``slope`` and a
        ``smoothing``; as `minizo.gallery.gallery` makes them.
    title : str
    columns : int
        Entries beside each other. With three the picture fits into a notebook.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = ceil(len(shown) / columns)
    wider = min(COLUMNS / columns, 1.5)  # fewer panels, larger text
    figure = blank(2.75 * columns, 3.0 * wider * rows)
    panels = figure.subplots(
        2 * rows, columns, sharex=True, squeeze=False,
        gridspec_kw={"height_ratios": [1.0, 1.0] * rows},
    )  # fmt: skip
    entries = [*shown.items()]
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        above, below = panels[2 * row][column], panels[2 * row + 1][column]
        if index >= len(entries):
            above.axis("off")
            below.axis("off")
            continue
        name, stages = entries[index]
        for stage, style in zip(stages, (STYLES[0], STYLES[1], STYLES[4]), strict=False):
            look = dict(color=style["color"], linestyle="none", marker=".", markersize=2.5)
            above.plot(stage.x, stage.forward, **look)
            line = dict(color=style["color"], linestyle=style["linestyle"], linewidth=1.4)
            below.plot(stage.x, stage.slope, **line)
        said = [str(stage.smoothing) for stage in stages]
        text = said[0] if len(set(said)) == 1 else f"{said[0]} ...\n... {said[-1]}"
        above.set_title(name, fontsize="small", fontweight="bold", pad=20 * wider)
        above.text(0.5, 1.02, text, transform=above.transAxes, ha="center", fontsize=6.5 * wider)
        for axes in (above, below):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7 * wider)
            axes.margins(y=0.12)
        below.set_ylim(bottom=min(0.0, below.get_ylim()[0]))
        if column == 0:
            above.set_ylabel("Q(x)", fontsize="small")
            below.set_ylabel("dx / dw", fontsize="small")
        if index + columns >= len(entries):
            below.set_xlabel("x", fontsize="small")
            below.tick_params(labelbottom=True)
    for style, label in zip(
        (STYLES[0], STYLES[1], STYLES[4]), ("start", "middle", "end"), strict=True
    ):
        line = dict(color=style["color"], linestyle=style["linestyle"])
        panels[0][0].plot([], [], label=f"{label} of a run", **line)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    says = "forward map (above), pseudo-gradient (below), and the noise that the slope implies"
    figure.suptitle(heading(f"{title}: {says}", 25 * columns))
    return figure

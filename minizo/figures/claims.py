"""A claim: predicted curves and what was measured."""

from itertools import cycle

from ..types import Figure
from .canvas import blank
from .looks import STYLES


def claim(panels: list, title: str) -> Figure:
    """Predicted curves as lines, measured ones as markers of the same colour order.

    Three panels a row.

    Parameters
    ----------
    panels : list of minizo.lab.curves.Panel
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = blank(5.5 * columns, 5.4 * rows)
    several = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in several[len(panels) :]:
        empty.set_visible(False)
    for axes, panel in zip(several, panels, strict=False):
        styles = {True: cycle(STYLES), False: cycle(STYLES)}
        for curve in panel.curves:
            style: dict[str, object] = dict(next(styles[curve.predicted]))
            if curve.predicted:
                style |= {"marker": "", "linewidth": 1.6}
            else:
                few = len(curve.x) <= 60
                style |= {"linestyle": "" if few else style["linestyle"], "markersize": 5}
                every = 1 if few else len(curve.x) // 25
                style |= {"linewidth": 1.0, "markevery": every, "markerfacecolor": "none"}
            axes.plot(curve.x, curve.y, label=curve.label, **style)
        axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
        axes.set(xscale=panel.xscale, yscale=panel.yscale)
        for axis, scale in ((axes.xaxis, panel.xscale), (axes.yaxis, panel.yscale)):
            if scale == "log":
                axis.set_minor_formatter("")
        axes.set_title(panel.title, fontsize="medium")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        below = dict(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
        axes.legend(frameon=False, fontsize="small", **below)
    figure.suptitle(title, fontsize="large")
    return figure

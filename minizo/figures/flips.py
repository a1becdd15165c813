"""How often quantised weights flip while they are trained."""

from ..types import Figure
from .canvas import blank
from .looks import styles
from .runs import by_label, ticks

ERROR = ("test_error", "test error of the quantised network (%)", "log")


def flips(
    runs: list, title: str, measure: tuple[str, str, str] = ERROR, of: str = "signs"
) -> Figure:
    """How good, SignChange since the start, and weights that flip in a step, against steps.

    Parameters
    ----------
    runs : list of (label, records)
        Records with ``step``, the measure, ``sign_change`` and ``flip_rate``. Runs of one label are
        drawn as their mean, with a band from the smallest to the largest.
    title : str
    measure : (str, str, str)
        A column of the records that says how good the network is, what its axis says, and the
        axis's scale. On a linear one the record before training, far above all others, is left
        out.
    of : {"signs", "levels"}
        What flips: ``"levels"`` where there are more than two.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = blank(13, 5.2)
    panels = (
        measure,
        ("sign_change", f"SignChange: share of {of} unlike the start's", "linear"),
        ("flip_rate", f"share of {of} that flip in a step (linear below 1e-5)", "symlog"),
    )
    groups = by_label(runs)
    own = styles(groups)
    for axes, (column, label, scale) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, group in groups.items():
            style = own[name]
            start = 1 if column == measure[0] and scale == "linear" else 0
            x = group[0]["step"][start:]
            values = list(zip(*(records[column][start:] for records in group), strict=True))
            mean = [sum(v) / len(v) for v in values]
            axes.plot(
                x, mean, label=name, markersize=4, linewidth=1.5, markevery=max(1, len(x) // 8),
                **style,
            )  # fmt: skip
            if len(group) > 1:
                low, high = [min(v) for v in values], [max(v) for v in values]
                axes.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)
        axes.set(xlabel="step", ylabel=label)
        # shares of exactly 0 are to be seen
        axes.set_yscale(scale, **({"linthresh": 1e-5} if scale == "symlog" else {}))
        if scale == "log":
            axes.yaxis.set_major_locator(ticks())
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title)
    return figure

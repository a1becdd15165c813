"""Estimators under the microscope."""

from ..types import Figure
from .canvas import blank
from .looks import styles


def microscope(rows: list[dict], title: str) -> Figure:
    """Cosine of one estimate with the reference against its cost, one panel for each step.

    Parameters
    ----------
    rows : list of dict
        As `minizo.lab.microscope.look` makes them, with the step.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    steps = list(dict.fromkeys(row["step"] for row in rows))
    figure = blank(11, 5.4)
    panels = figure.subplots(1, len(steps), sharey=True, squeeze=False)[0]
    for axes, step in zip(panels, steps, strict=True):
        here = [row for row in rows if row["step"] == step]
        families = _families(here)
        own = styles(families)
        for family, group in families.items():
            style = own[family]
            shown = [row for row in group if row["cosine"] > 2.0 * row["cosine_se"]]
            if family == "STE":  # what it costs is what FOGZO starts from
                for row in shown:
                    axes.axhline(row["cosine"], color=style["color"], linewidth=0.8, alpha=0.6)
            axes.errorbar(
                [row["cost"] for row in shown], [row["cosine"] for row in shown],
                yerr=[2.0 * row["cosine_se"] for row in shown],
                label=family, markersize=6, linewidth=1.5, capsize=2, **style,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"step {step}", fontsize="medium")
        axes.set_xlabel("cost of one estimate (forwards; a backward counts as 2)")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(
        "cosine of one estimate with the q-smoothed gradient\n"
        "(bars: 2 s.e.; points nearer to 0 are left out)"
    )
    panels[0].yaxis.set_major_formatter("{x:g}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title)
    return figure


def _families(rows):
    """Rows of one family, in order of appearance: family -> list of rows."""
    groups = {}
    for row in rows:
        groups.setdefault(row["family"], []).append(row)
    return groups

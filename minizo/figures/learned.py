"""Learned gradients: how they train, and what their generators became."""

from math import isfinite, nan

from ..types import Figure
from .canvas import blank
from .looks import styles
from .runs import by_label, ticks


def learned_curves(curves: dict[str, list], title: str) -> Figure:
    """Training loss against steps, a panel for each optimiser.

    Parameters
    ----------
    curves : dict of str to list of (label, records)
        Runs of one label are drawn as their mean, from the first record after the start.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = blank(13, 6.4)
    for axes, (name, runs) in zip(
        figure.subplots(1, len(curves), sharey=True, squeeze=False)[0], curves.items(), strict=True
    ):
        groups = by_label(runs)
        own = styles(groups)
        for label, group in groups.items():
            style = own[label]
            x = group[0]["step"][1:]
            mean = _mean([records["train_loss"][1:] for records in group])
            axes.plot(x, mean, label=label, markersize=4, linewidth=1.3,
                      markevery=max(1, len(x) // 8), **style)  # fmt: skip
        axes.set(xlabel="step", yscale="log", title=f"{name}, every method at its best rate")
        axes.yaxis.set_major_locator(ticks())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.set_ylabel("training loss (cross-entropy, nats)")
        _plain(axes)
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    figure.suptitle(title)
    return figure


PANELS = (
    ("gain", "gain of G on the STE's direction", "symlog"),
    ("r2", "R2 of G on the STE's direction", "linear"),
    ("slow_r2", "R2 of S on K g", "linear"),
    ("slow_share", "share of S in G", "linear"),
    ("slow_history", "change of S: older gradients negated", "log"),
    ("slow_embedding", "change of S: another layer's embedding", "log"),
)


def generated(groups: dict[str, list], title: str, columns: int = 3) -> Figure:
    """The trace of `minizo.lab.generated` over training: six panels, one line a method.

    Parameters
    ----------
    groups : dict of str to list of dict
        Lists of dicts with ``records``, by method; those without the column of a panel are not in
        it. Seeds are lines of one style in the first panel, where their signs matter; in the others
        their mean is.
    title : str
    columns : int
        Panels side by side, of 4.4 inches each: 1, 2, 3 or 6.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = -(-len(PANELS) // columns)
    figure = blank(4.4 * columns, 4 * rows)
    names = [name for name in groups if _known([r for r in groups[name] if "records" in r], "gain")]
    seen, own = {}, styles(names)
    for axes, (column, label, scale) in zip(
        figure.subplots(rows, columns).flat, PANELS, strict=True
    ):
        for name in names:
            runs = [r for r in groups[name] if "records" in r]
            if not _known(runs, column):
                continue
            x = runs[0]["records"]["step"][1:]
            values = [r["records"][column][1:] for r in runs]
            options = {"markersize": 4, "markevery": max(1, len(x) // 6), "linewidth": 1.3}
            for line in values if column == "gain" else [_mean(values)]:
                (seen[name],) = axes.plot(x, line, **options, **own[name])
        axes.set(xlabel="step", ylabel=label)
        axes.set_yscale(scale, **({"linthresh": 0.01} if scale == "symlog" else {}))
        if column == "gain":
            axes.axhline(0.0, color="black", linewidth=0.8)
        _plain(axes)
    columns = 2 * columns
    figure.legend(seen.values(), seen, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(title)
    return figure


def _known(runs, column):
    # whether every record but the first has a number there
    lines = [r["records"].get(column, [nan, nan])[1:] for r in runs]
    return bool(lines) and all(isfinite(v) for line in lines for v in line)


def _mean(lines):
    return [sum(v) / len(v) for v in zip(*lines, strict=True)]


def _plain(axes):
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)

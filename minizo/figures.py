"""Every picture of the package, drawn from records. The only file that uses matplotlib."""

import io
from statistics import median

from matplotlib.figure import Figure

from .files import write_atomically

# Okabe and Ito's colours, then three of Tol's, told apart by readers of every colour vision; with a
# marker and a line style of its own, a curve is also told apart in grey.
STYLES = tuple(
    dict(color=color, marker=marker, linestyle=line)
    for color, marker, line in (
        ("#0072B2", "o", "-"),
        ("#E69F00", "v", "--"),
        ("#D55E00", "^", "--"),
        ("#56B4E9", "s", "-."),
        ("#009E73", "D", "-"),
        ("#CC79A7", "P", ":"),
        ("#000000", "X", "-."),
        ("#882255", "<", "-"),
        ("#999933", ">", "--"),
        ("#777777", "h", ":"),
    )
)


def save(figure, path):
    """Write ``figure`` to ``path`` as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def by_label(runs):
    """Runs of the same label (its seeds), in order of appearance: label -> list of records."""
    groups = {}
    for label, records in runs:
        groups.setdefault(label, []).append(records)
    return groups


def training(runs, title):
    """Training loss against steps and against compute.

    Parameters
    ----------
    runs : list of (label, records)
        Records as `minizo.train.fit` makes them. Runs of one label are drawn as their mean, with a
        band from the smallest to the largest.
    title : str
        Names the data, the network and the number of seeds.

    Returns
    -------
    matplotlib.figure.Figure
    """
    many = len(by_label(runs)) > 6  # too many for a legend that lies on the curves
    figure = Figure(figsize=(10, 5.2 if many else 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for style, (label, group) in zip(_endless(STYLES), by_label(runs).items(), strict=False):
        length = min(len(records["step"]) for records in group)
        columns = list(zip(*(records["train_loss"][:length] for records in group), strict=True))
        low, high = [min(c) for c in columns], [max(c) for c in columns]
        mean = [sum(c) / len(c) for c in columns]
        for axes, column in ((left, "step"), (right, "macs")):
            x = group[0][column][:length]
            start = 1 if column == "macs" else 0  # no compute has no place on a log axis
            axes.plot(
                x[start:], mean[start:], label=label, markersize=4, linewidth=1.5,
                markevery=max(1, length // 8), **style,
            )  # fmt: skip
            if len(group) > 1:
                axes.fill_between(
                    x[start:], low[start:], high[start:], color=style["color"], alpha=0.15, lw=0
                )
    left.set_xlabel("step")
    left.set_ylabel("training loss (cross-entropy, nats)")
    right.set_xlabel("compute (multiply-accumulates)")
    right.set_xscale("log")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(_ticks())
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    if many:
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    elif labels:
        left.legend(frameon=False)
    figure.suptitle(title)
    return figure


def scaling(record):
    """Seconds of one n-SPSA gradient against n and against d, both axes logarithmic.

    Parameters
    ----------
    record : dict
        From `minizo.bench.scaling.run`.

    Returns
    -------
    matplotlib.figure.Figure
        One style a number of workers; the grey line is proportional to n or d and ends in the
        last point of the first of them.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    labels = {"n": "directions n", "d": "parameters d"}
    for axes, axis in zip(figure.subplots(1, 2), ("n", "d"), strict=True):
        points = sorted((p for p in record["points"] if p["axis"] == axis), key=lambda p: p[axis])
        x = [point[axis] for point in points]
        for count, style in zip(record["workers"], STYLES, strict=False):
            y = [median(point["seconds"][str(count)]) for point in points]
            plural = "s" if count > 1 else ""
            axes.plot(x, y, label=f"{count} worker{plural}", markersize=5, linewidth=1.5, **style)
        last = median(points[-1]["seconds"][str(record["workers"][0])])
        ideal = [last * value / x[-1] for value in x]
        axes.plot(x, ideal, color="0.6", linewidth=1, zorder=0, label=f"proportional to {axis}")
        axes.set(xscale="log", yscale="log", xlabel=labels[axis], ylabel="seconds a gradient")
        other = "d" if axis == "n" else "n"
        axes.set_title(f"{other} = {points[0][other]:,}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def microscope(rows, title):
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
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    panels = figure.subplots(1, len(steps), sharey=True, squeeze=False)[0]
    for axes, step in zip(panels, steps, strict=True):
        here = [row for row in rows if row["step"] == step]
        for (family, group), style in zip(_families(here).items(), STYLES, strict=False):
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


def _ticks():
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))


def _endless(items):
    while True:
        yield from items


def claim(panels, title):
    """Predicted curves as lines, measured ones as markers of the same colour order.

    Parameters
    ----------
    panels : list of minizo.lab.claims.Panel
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(5.5 * len(panels), 5.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        styles = {True: _endless(STYLES), False: _endless(STYLES)}
        for curve in panel.curves:
            style = dict(next(styles[curve.predicted]))
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


def flips(runs, title):
    """Test error, SignChange since the start, and weights that flip in a step, against steps.

    Parameters
    ----------
    runs : list of (label, records)
        Records with ``step``, ``test_error`` (per cent), ``sign_change`` and ``flip_rate``. Runs of
        one label are drawn as their mean, with a band from the smallest to the largest.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    panels = (
        ("test_error", "test error of the quantised network (%)", "log"),
        ("sign_change", "SignChange: share of signs unlike the start's", "linear"),
        ("flip_rate", "share of signs that flip in a step (linear below 1e-5)", "symlog"),
    )
    for axes, (column, label, scale) in zip(figure.subplots(1, 3), panels, strict=True):
        for style, (name, group) in zip(_endless(STYLES), by_label(runs).items(), strict=False):
            x = group[0]["step"]
            values = list(zip(*(records[column] for records in group), strict=True))
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
        if column == "test_error":
            axes.yaxis.set_major_locator(_ticks())
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title)
    return figure

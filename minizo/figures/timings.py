"""What a gradient costs."""

from statistics import median

from matplotlib.figure import Figure

from .style import STYLES


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

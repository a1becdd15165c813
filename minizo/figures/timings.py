"""What a gradient costs."""

from statistics import median

from ..types import Figure
from .canvas import blank, ticker
from .looks import STYLES


def scaling(record: dict) -> Figure:
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
    figure = blank(10, 4.4)
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


def steps(record, floors):
    """Milliseconds of a training step of every network, method and library, and its floors.

    Parameters
    ----------
    record : dict
        From `minizo.bench.steps.run`.
    floors : callable
        ``floors(record, cell)`` -> seconds of the products and of the memory traffic.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a network, one row a method, one marker a library, logarithmic; the grey bar ends
        at the larger floor of the CPU, below which nothing can lie.
    """
    cells = record["cells"]
    networks = list(dict.fromkeys(cell["network"] for cell in cells))
    libraries = list(dict.fromkeys(cell["library"] for cell in cells))
    styles = dict(zip(libraries, STYLES, strict=False))
    figure = blank(3.6 + 3.2 * len(networks), 4.2)
    panels = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    methods = list(dict.fromkeys(cell["method"] for cell in cells))
    for axes, network in zip(panels, networks, strict=True):
        for cell in (cell for cell in cells if cell["network"] == network):
            place = methods.index(cell["method"])
            if cell["library"] == "NumPy":
                axes.barh(
                    place, 1e3 * max(floors(record, cell)), height=0.7, color="0.85", zorder=0
                )
            if cell["seconds"] is not None:
                style = styles[cell["library"]] | {"linestyle": ""}
                axes.plot(1e3 * median(cell["seconds"]), place, markersize=7, **style)
        axes.set(xscale="log", xlabel="milliseconds a step", title=network)
        low, high = axes.get_xlim()
        few = high > 1000 * low  # ticks at decades alone, where 3s between them would touch
        axes.xaxis.set_major_locator(ticker("LogLocator", subs=(1.0,) if few else (1.0, 3.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(ticker("NullFormatter"))
        axes.set_yticks(range(len(methods)), methods)
        axes.grid(alpha=0.3, axis="x")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    measured = {cell["library"] for cell in cells if cell["seconds"] is not None}
    for library in libraries:
        note = "" if library in measured else ": not measured"
        panels[0].plot([], [], label=library + note, **(styles[library] | {"linestyle": ""}))
    panels[0].barh(0, 0, color="0.85", label="larger floor of the CPU")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure

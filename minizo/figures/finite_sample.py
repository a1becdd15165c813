"""The finite-sample laboratory: measurements as points, predictions as black lines over them."""

import numpy as np

from .canvas import blank, ticker
from .looks import STYLES

LINE = dict(color="black", linewidth=1.2)


def panels(count, title, width=5.4, height=4.3):
    """A figure with ``count`` axes side by side, in inches each."""
    figure = blank(width * count, height)
    several = figure.subplots(1, count, squeeze=False)[0]
    figure.suptitle(title)
    for axes in several:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, several


def dots(style):
    """Markers without a line, in one of `STYLES`."""
    return dict(color=style["color"], marker=style["marker"], linestyle="", markersize=5)


def _column(rows, name):
    return np.array([row[name] for row in rows])


def lemmas(report, title):
    """B-1: standard errors between samples and closed forms; f along both coarse gradients."""
    figure, (left, right) = panels(2, title)
    for k, (quantity, style) in enumerate(
        zip(dict.fromkeys(row["quantity"] for row in report.rows), STYLES, strict=False)
    ):
        z = [row["z"] for row in report.rows if row["quantity"] == quantity]
        spots = k + np.linspace(-0.25, 0.25, len(z))
        left.plot(spots, z, label=quantity, **dots(style))
    for bound in (-6.0, 6.0):
        left.axhline(bound, linestyle="--", **LINE)
    left.set(ylabel="(mean of samples - closed form) / s.e.", ylim=(-8, 11), xticks=[])
    left.set_title("closed forms; dashed: what is allowed")
    left.legend(frameon=False, ncols=2, loc="upper center")
    for (name, losses), style in zip(report.curves["descent"].items(), STYLES, strict=False):
        right.plot(losses, label=f"{name} STE", color=style["color"], linestyle=style["linestyle"])
    right.set(xlabel="step", ylabel="population loss f", title="from beside the spurious minimum")
    right.legend(frameon=False)
    return figure


def one_step(report, title):
    """B-2: success against N / threshold."""
    stes = list(dict.fromkeys(row["ste"] for row in report.rows))
    figure, several = panels(len(stes), title)
    for axes, ste in zip(several, stes, strict=True):
        here = [row for row in report.rows if row["ste"] == ste]
        sizes = dict.fromkeys(row["n"] for row in here)
        for n, style in zip(sizes, STYLES, strict=False):
            own = [row for row in here if row["n"] == n]
            ratio = _column(own, "ratio")
            axes.errorbar(
                ratio, _column(own, "success"), yerr=2.0 * _column(own, "se"), label=f"n = {n}",
                capsize=2, **dots(style),
            )  # fmt: skip
            axes.plot(
                *report.curves[ste, n], color=style["color"], linewidth=1.2,
                linestyle=style["linestyle"],
            )  # fmt: skip
        constant = "2" if ste == "identity" else "4"
        axes.set(
            xlabel=rf"samples $N\,/\,({constant}\pi\, n \ln n)$", ylabel="P(all signs right)",
            title=f"{ste} STE (lines: Proposition 3; bars: 2 s.e.)",
        )  # fmt: skip
        axes.title.set_fontsize("medium")
        axes.legend(frameon=False, loc="lower right")
    return figure


def recovery(report, title):
    """B-3: success against N for one start, and N50 against n with the fitted exponents."""
    figure, (left, right) = panels(2, title, width=6.2)
    sizes = np.array(report.curves["sizes"])
    for n, style in zip(sizes, STYLES, strict=False):
        for criterion, fill in (("last iterate", style["color"]), ("time average", "none")):
            own = [
                row for row in report.rows
                if (row["start"], row["criterion"], row["n"]) == ("equal", criterion, n)
            ]  # fmt: skip
            left.plot(
                _column(own, "samples") / n, _column(own, "success"), color=style["color"],
                marker=style["marker"], markersize=5, markerfacecolor=fill, linewidth=0.8,
                linestyle="-" if fill != "none" else ":",
                label=f"n = {n}" if fill != "none" else None,
            )  # fmt: skip
    left.axhline(0.5, linestyle="--", **LINE)
    left.set(xscale="log", xlabel="samples a coordinate, N / n", ylabel="share of the runs")
    left.set_title("w* found: last iterate (full), time average (open)", fontsize="medium")
    left.xaxis.set_major_locator(ticker("LogLocator", base=2.0))
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter("")
    left.legend(frameon=False)
    for (law, criterion), style in zip(report.curves["points"], STYLES, strict=False):
        points, low, high, (slope, bottom, top) = report.curves["points"][law, criterion]
        right.errorbar(
            sizes, points, yerr=np.maximum([points - low, high - points], 0.0), capsize=2,
            label=f"{criterion}, {law} start: {slope:.2f} [{bottom:.2f}, {top:.2f}]",
            **dots(style),
        )  # fmt: skip
        middle = np.exp(np.mean(np.log(sizes)))
        level = np.exp(np.mean(np.log(points)))
        right.plot(sizes, level * (sizes / middle) ** slope, color=style["color"], linewidth=1.0,
                   linestyle=style["linestyle"])  # fmt: skip
    enough = 2.0 * np.pi * np.log(2.0) * sizes.astype(float) ** 2
    right.plot(sizes, enough, label=r"$2\pi\ln 2\; n^2$: enough for the average", **LINE)
    right.set(xscale="log", yscale="log", xlabel="coordinates n", ylabel="N at which half succeed")
    right.set_ylim(top=40.0 * enough[-1])  # room for the legend
    right.set_title("measured exponents with 95 % bootstrap intervals", fontsize="medium")
    right.set_xticks(sizes, [str(n) for n in sizes])
    right.xaxis.set_minor_formatter("")
    right.legend(frameon=False, fontsize="small", loc="upper left")
    return figure


def bounds(report, title):
    """B-4: wrong time of every coordinate against its bound."""
    figure, (axes,) = panels(1, title, width=6.0, height=4.8)
    for sigma, style in zip(sorted({row["sigma"] for row in report.rows}), STYLES, strict=False):
        own = [row for row in report.rows if row["sigma"] == sigma]
        label = "no label noise" if sigma == 0.0 else f"label noise {sigma:g}"
        axes.plot(
            _column(own, "bound"), _column(own, "wrong"), label=label,
            **(dots(style) | dict(markersize=3, alpha=0.6)),
        )  # fmt: skip
    axes.plot([0.0, 1.0], [0.0, 1.0], label="equal", **LINE)
    axes.set(xlabel="bound of Proposition 1", xlim=(0.0, 2.0), ylim=(-0.03, 1.05))
    axes.set(ylabel="share of the time that the coordinate is wrong")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.98))
    return figure


def uniform(report, title):
    """B-5: supremum and median over all sign vectors against n."""
    figure, (axes,) = panels(1, title, width=6.0, height=4.8)
    curves, n = report.curves, np.array(report.curves["sizes"])
    axes.plot(
        _column(report.rows, "n"), _column(report.rows, "sup"), label="largest over q",
        **(dots(STYLES[0]) | dict(markersize=4, alpha=0.7)),
    )  # fmt: skip
    axes.plot(n, curves["median"], label="median over q", **(STYLES[1] | dict(linestyle="")))
    axes.plot(n, curves["union"], label="union bound of the mean", **LINE)
    axes.plot(n, curves["alone"], linestyle=":", label="median at one q, predicted", **LINE)
    axes.plot(n, curves["simple"], linestyle="--", label=r"$\sqrt{2\pi(n\ln 2+\ln n)}$", **LINE)
    axes.set(xlabel="coordinates n", ylabel=r"$\sqrt{N}\;\max_i |\delta_i(q)|$", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def recurrence(report, title):
    """B-6: time at w* against the prediction, wrong times against p_i, and a raster."""
    figure, (left, middle, right) = panels(3, title, width=5.0)
    cells = dict.fromkeys((row["n"], row["samples"]) for row in report.rows)
    for (n, samples), style in zip(cells, STYLES, strict=False):
        own = [row for row in report.rows if (row["n"], row["samples"]) == (n, samples)]
        x = n**1.5 * _column(own, "sigma") / np.sqrt(samples)
        left.errorbar(
            x, _column(own, "home"), yerr=2.0 * _column(own, "se"), label=f"n={n}, N={samples:,}",
            capsize=2, **dots(style),
        )  # fmt: skip
    x = np.linspace(0.0, left.get_xlim()[1], 100)
    left.plot(x, np.exp(-0.5 * x), label="exp(-x / 2)", **LINE)
    left.set(xlabel=r"$x = n^{3/2}\sigma\,/\,\sqrt{N}$", ylabel="share of the time at w*")
    left.set_title("bars: 2 s.e.", fontsize="medium")
    left.legend(frameon=False, fontsize="small")
    n, samples = report.curves["cell"]
    p, wrong = report.curves["p"], report.curves["wrong"]
    middle.plot(p, wrong, **(dots(STYLES[0]) | dict(markersize=2, alpha=0.4)))
    middle.plot([0.0, p.max()], [0.0, p.max()], label="Proposition 4", **LINE)
    middle.set(xlabel="$p_i$", ylabel="share of the time that coordinate i is wrong")
    middle.set_title(f"every coordinate of every run, n={n}, N={samples:,}", fontsize="medium")
    middle.legend(frameon=False)
    n, samples, sigma = report.curves["raster_cell"]
    shown = report.curves["raster"][:400]
    right.imshow(shown.T, aspect="auto", cmap="gray_r", interpolation="nearest", origin="lower")
    right.grid(False)
    right.set(xlabel="step", ylabel="coordinate")
    right.set_title(f"wrong (black): n={n}, N={samples:,}, sigma={sigma:g}", fontsize="medium")
    return figure


def relu(report, title):
    """B-7: the same label noise under both STEs of the activation."""
    figure, (left, right) = panels(2, title)
    for (name, found), style in zip(report.curves.items(), STYLES, strict=False):
        left.plot(found["product"].ravel(), found["home"].ravel(), label=f"{name} STE",
                  **dots(style))  # fmt: skip
        right.plot(found["p"].ravel(), found["wrong"].ravel(), label=f"{name} STE",
                   **(dots(style) | dict(markersize=2.5, alpha=0.6)))  # fmt: skip
    every = np.concatenate([found["product"].ravel() for found in report.curves.values()])
    left.plot([every.min(), every.max()], [every.min(), every.max()], label="equal", **LINE)
    top = max(found["p"].max() for found in report.curves.values())
    right.plot([0.0, top], [0.0, top], label="equal", **LINE)
    left.set(
        xlabel=r"product law $\prod_i (1 - p_i)$ of each run", ylabel="share of the time at w*"
    )
    right.set(xlabel="$p_i$", ylabel="share of the time that coordinate i is wrong")
    for axes in (left, right):
        axes.legend(frameon=False)
    return figure


def inputs(report, title):
    """B-8: success of each law, raw and mended, and two sweeps with their prediction."""
    figure, (left, middle, right) = panels(3, title, width=5.0)
    rows = [row for row in report.rows if row["what"] == "law"]
    laws = list(dict.fromkeys(row["value"] for row in rows))
    mendings = list(dict.fromkeys(row["mending"] for row in rows))
    for k, (mending, style) in enumerate(zip(mendings, STYLES, strict=False)):
        own = [row["success"] for row in rows if row["mending"] == mending]
        left.bar(np.arange(len(laws)) + 0.27 * (k - 1), own, width=0.25, color=style["color"],
                 hatch=("", "//", "..")[k], edgecolor="white", label=mending)  # fmt: skip
    left.set_xticks(range(len(laws)), laws, rotation=30, ha="right")
    left.set(ylabel="share of the runs that find w*", ylim=(0, 1.25), yticks=np.linspace(0, 1, 6))
    left.legend(frameon=False, ncols=3, loc="upper center")
    labels = {"correlation": "correlation of neighbours", "mean": "mean of every input, in sd"}
    for axes, what, style in zip((middle, right), labels, STYLES, strict=False):
        own = [row for row in report.rows if row["what"] == what]
        axes.errorbar(_column(own, "value"), _column(own, "success"), yerr=2.0 * _column(own, "se"),
                      capsize=2, label="on samples (2 s.e.)", **dots(style))  # fmt: skip
        axes.plot(_column(own, "value"), _column(own, "predicted"),
                  label="Proposition 5, without sampling", **LINE)  # fmt: skip
        axes.set(xlabel=labels[what], ylabel="share of the runs that find w*", ylim=(-0.05, 1.1))
        axes.set_title("Gaussian inputs, raw", fontsize="medium")
        axes.legend(frameon=False, loc="lower left")
    return figure


def teacher(report, title):
    """B-9: time at the best binary weights against the product law and the union bound."""
    figure, (left, right) = panels(2, title)
    for n, style in zip(dict.fromkeys(row["n"] for row in report.rows), STYLES, strict=False):
        own = [row for row in report.rows if row["n"] == n]
        left.plot(_column(own, "product"), _column(own, "home"), label=f"n = {n}", **dots(style))
        right.plot(_column(own, "union"), _column(own, "home"), label=f"n = {n}", **dots(style))
    for axes, name in ((left, "product"), (right, "union")):
        low = min(_column(report.rows, name).min(), 0.0)
        axes.plot([low, 1.0], [low, 1.0], label="equal", **LINE)
        axes.set(ylabel="share of the time at the optimum")
        axes.legend(frameon=False)
    left.set(xlabel=r"product law $\prod_i (1 - p_i)$")
    right.set(xlabel=r"union bound $1 - \sum_i p_i$")
    return figure

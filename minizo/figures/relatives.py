"""Relatives of the finite-sample laboratory: the mean field, and cones."""

import numpy as np

from .finite_sample import LINE, dots, panels
from .looks import STYLES


def mean_field(report, title):
    """C-8: error of simulated networks against time, and the predicted curves."""
    figure, (axes,) = panels(1, title, width=7.0, height=4.8)
    for (name, curves), style in zip(report.curves.items(), STYLES, strict=False):
        tau, mean, se, predicted = curves
        axes.errorbar(tau, mean, yerr=2.0 * se, label=name, capsize=2, **dots(style))
        axes.plot(tau, predicted, color=style["color"], linestyle=style["linestyle"], linewidth=1.2)
    axes.plot([], [], label="predicted (same colour)", **LINE)
    axes.set(yscale="log", xlabel="time tau = step / d", ylabel=r"error $E\,(\psi(w) - w^*)^2$")
    axes.legend(frameon=False)
    return figure


def cones(report, title):
    """C-3: mean loss against steps, for every STE."""
    groups = list(dict.fromkeys(key[:2] for key in report.curves))
    figure, several = panels(len(groups), title, width=4.8)
    for axes, (kind, bits) in zip(several, groups, strict=True):
        own = {key[2]: loss for key, loss in report.curves.items() if key[:2] == (kind, bits)}
        for (name, loss), style in zip(own.items(), STYLES, strict=False):
            axes.plot(
                np.arange(len(loss)), loss, label=name, color=style["color"],
                linestyle=style["linestyle"], marker=style["marker"], markersize=4,
                markevery=max(1, len(loss) // 8),
            )  # fmt: skip
        axes.set(xlabel="step", ylabel="hinge loss, mean of the runs", title=f"{kind}, {bits} bit")
        axes.legend(frameon=False)
    return figure

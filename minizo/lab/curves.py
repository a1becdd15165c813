"""Experiments on the host in float64 whose picture is panels of curves.

They answer with claims and panels; picture and CSV follow from the panels, so that such an
experiment is one function. Predicted curves are drawn as lines, measured ones as markers.
"""

from typing import NamedTuple

import numpy as np

from ..figures import claim as draw
from ..types import Array, Figure
from .runner import Report

OURS = "this package"


class Curve(NamedTuple):
    """Points (x, y) of a picture; predicted ones are drawn as a line, measured ones as markers."""

    label: str
    x: Array
    y: Array
    predicted: bool = False


class Panel(NamedTuple):
    """Curves over common axes; ``xscale`` and ``yscale`` are those of matplotlib."""

    title: str
    xlabel: str
    ylabel: str
    curves: list
    xscale: str = "linear"
    yscale: str = "linear"


def with_panels(claims: list, panels: list) -> Report:
    """A `Report` of claims and panels; a row of its CSV is a point of a curve."""
    rows = [
        {
            "panel": panel.title,
            "curve": curve.label,
            "kind": "predicted" if curve.predicted else "measured",
            "x": float(x),
            "y": float(y),
        }
        for panel in panels
        for curve in panel.curves
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    return Report(claims, rows, "", {"panels": panels})


def picture(report: Report, title: str) -> Figure:
    """The picture of a report made by `with_panels`."""
    return draw(report.curves["panels"], title)


def generator(seed: int, *words: int) -> "np.random.Generator":
    """NumPy's generator for one use of ``seed``."""
    return np.random.default_rng((seed, *words))


def sign(x: Array) -> np.ndarray:
    """sign(x) with sign(0) = +1."""
    return np.where(x >= 0.0, 1.0, -1.0)

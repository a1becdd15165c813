"""``python -m minizo.gallery``: forward map, pseudo-gradient and implied smoothing of everything.

For each quantiser and surrogate, computed from the package's own code on 160 weights spread evenly
over [-2, 2] as one filter: what it makes of each weight, the diagonal of its backward rule at each
(what dL/dw is multiplied by on the way to that weight), and, for schedules, both at the start, the
middle and the end of a run.

The *implied smoothing* is the noise u for which gain E[sign(x + u)] has the surrogate's slope, for
a staircase with each of its steps in place of the sign. Its density is that slope over its
area, so it exists where the slope is nowhere negative and its area is finite.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt

import numpy as np

from . import __version__, figures, report, rng
from . import quantizers as q
from .commands import Parser, guarded
from .files import make_place, write_csv
from .laws import LAWS
from .surrogates import SURROGATES

POINTS = 160  # on [-2, 2]; a number with two factors, for RBNN's rotations
STAGES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Entry:
    """One panel.

    Parameters
    ----------
    name : str
    quantizer : quantizer
    slope : callable, optional
        slope(progress, x): whose area says what smoothing is implied, where that is not the
        surrogate's slope.
    none : str
        Why no smoothing is implied, where slopes do not show it.
    """

    name: str
    quantizer: object
    slope: Callable | None = None
    none: str = ""

    @property
    def stages(self):
        """Where in a run it is looked at."""
        return STAGES if self.quantizer.scheduled else STAGES[:1]


@dataclass(frozen=True)
class Stage:
    """An entry at one point of a run: arrays (POINTS,), and the implied `Smoothing`."""

    progress: float
    x: object
    forward: object
    slope: object
    smoothing: object


@dataclass(frozen=True)
class Smoothing:
    """The noise that a slope implies.

    Attributes
    ----------
    law : str or None
        A name of `minizo.laws`, or ``"its own law"``; None where there is none.
    eps : float or None
        Its standard deviation, in units of x.
    why : str
        Why there is none.
    """

    law: str | None = None
    eps: float | None = None
    why: str = ""

    def __str__(self):
        return f"none: {self.why}" if self.law is None else f"{self.law}, eps {self.eps:.3g}"


def implied(slope, end=1e3):
    """The `Smoothing` that a slope(x) on the real line implies, by quadrature.

    Parameters
    ----------
    slope : callable
        Elementwise, even.
    end : float
        What counts as far out.

    Examples
    --------
    >>> str(implied(SURROGATES["tanh"].derivative))
    'logistic, eps 0.907'
    >>> str(implied(SURROGATES["swish"].derivative))
    'none: the slope is negative in places'
    """
    # midpoints, ever further apart: the slopes are at most 1/20 wide and at most 1000 long
    edges = np.concatenate([np.linspace(0.0, 4.0, 40_001), np.geomspace(4.0, end, 40_001)[1:]])
    x, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    s = slope(x)
    if s.min() < -1e-9 * s.max():
        return Smoothing(why="the slope is negative in places")
    if s[-1] > 1e-9 * s.max():
        return Smoothing(why="the slope never ends")
    p = s / (2.0 * np.sum(s * width))
    eps = sqrt(2.0 * np.sum(x * x * p * width))
    for name, law in LAWS.items():
        if law.pdf is None:
            continue
        difference = np.sum(np.abs(p - law.pdf(x / eps) / eps) * width)
        if difference < 1e-3:
            return Smoothing(name, eps)
    return Smoothing("its own law", eps)


def look(entry, progress):
    """The `Stage` of an entry at one point of a run."""
    quantizer = entry.quantizer.at(progress)
    x = np.linspace(-2.0, 2.0, POINTS)
    one = x[None, :] if quantizer.by_filter else x  # one filter
    scale = np.ones_like(one[..., :1])
    if quantizer.shapes(one.shape):
        scale = {"alpha": scale, **quantizer.init(one, rng.at(0, "init"))}
        scale |= quantizer.refresh(one, scale)
    # the diagonal of the backward rule: dw = each unit vector in turn
    units = np.eye(POINTS)
    units = units[:, None, :] if quantizer.by_filter else units
    many = np.broadcast_to(one, units.shape)
    rows, _ = quantizer.backward(many, scale, units)
    diagonal = np.diagonal(rows.reshape(POINTS, POINTS)).copy()
    forward = quantizer.quantize(one.copy(), _with_coins(quantizer, one, scale)).reshape(-1)
    return Stage(progress, x, forward, diagonal, _smoothing(entry, quantizer, progress))


def _smoothing(entry, quantizer, progress):
    if entry.none:
        return Smoothing(why=entry.none)
    found = implied(partial(entry.slope, progress) if entry.slope else quantizer.curve.derivative)
    if found.law is None:
        return found
    # a step of half height w is the sign in units of w
    return replace(found, eps=found.eps * getattr(quantizer, "half_step", 1.0))


def _with_coins(quantizer, x, scale):
    if not quantizer.random:
        return scale
    return {"alpha": scale, **quantizer.noise(rng.at(0, "test"), x.shape, x)}


def _c(progress, x):
    # DoReFa's calibration, but for its factor 1/M
    return 1.0 - np.tanh(x) ** 2


def _xnor_paper(progress, x):
    # 1/n + the gate
    return 1.0 / POINTS + SURROGATES["hardtanh"].derivative(x)


ENTRIES = (
    *(Entry(f"sign, {name}", q.Sign(name)) for name in SURROGATES),
    Entry("bnn", q.BNN()),
    Entry("stochastic", q.Stochastic()),
    Entry("xnor, constant", q.Xnor()),
    Entry("xnor, exact", q.Xnor(rule="exact")),
    Entry("xnor, paper", q.Xnor(rule="paper"), _xnor_paper),
    Entry("bireal", q.BiReal()),
    Entry("magnitude", q.MagnitudeAware()),
    Entry("irnet", q.IRNet()),
    Entry("rbnn", q.RBNN()),
    Entry("rbnn, detached", q.RBNN(detach_rotation=True)),
    Entry("reste", q.ReSTE()),
    Entry("fda", q.FDA()),
    Entry("quantnet", q.QuantNet(), none="training needs no surrogate"),
    Entry("dorefa, 1 bit", q.DoReFa(bits=1), _c),
    Entry("dorefa, 2 bits", q.DoReFa(bits=2), none="steps are unequal in x"),
    Entry("dorefa-activation", q.DoReFaActivation(bits=2)),
    Entry("twn", q.TWN()),
    Entry("ternary", q.Ternary()),
    Entry("multibit", q.MultiBit()),
    Entry("midrise, identity", q.MidRise()),
    Entry("midrise, hardtanh", q.MidRise("hardtanh")),
    Entry("midtread, tanh", q.MidTread("tanh")),
    Entry("lsq", q.LSQ()),
    Entry("quest", q.QuEST(), none="the gate is wider than the steps"),
    Entry("absmean", q.AbsMean(), none="the steps follow the weights"),
    Entry("absmax", q.AbsMax(bits=3), none="the steps follow the weights"),
    Entry("none", q.FullPrecision()),
)


def gallery():
    """name -> list of `Stage`, in order."""
    return {entry.name: [look(entry, stage) for stage in entry.stages] for entry in ENTRIES}


def write_gallery(path, shown):
    """All curves as CSV: one line a weight, stage and entry."""
    rows = [
        [name, stage.progress, *(f"{v:.4g}" for v in numbers)]
        for name, stages in shown.items()
        for stage in stages
        for numbers in zip(stage.x, stage.forward, stage.slope, strict=True)
    ]
    header = ["name", "progress", "x", "forward", "pseudo_gradient"]
    write_csv(path, header, rows)


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = Parser(
        prog="python -m minizo.gallery",
        description=__doc__.partition("\n\n")[2],
    )
    words = "%(default)s in the current folder by default"
    parser.add_argument("--picture", default="gallery.png", metavar="FILE", help=words)
    parser.add_argument("--csv", default="gallery.csv", metavar="FILE", help=words)

    def command():
        arguments = parser.parse_args(argv)
        for flag in ("picture", "csv"):
            make_place(getattr(arguments, flag), f"--{flag}")
        shown = gallery()
        write_gallery(arguments.csv, shown)
        title = f"Quantisers and surrogates of minizo {__version__}"
        figures.save(figures.gallery(shown, title), arguments.picture)
        lines = [
            [name, "; ".join(dict.fromkeys(str(stage.smoothing) for stage in stages))]
            for name, stages in shown.items()
        ]
        print(report.table(["", "the noise that the slope implies (start; middle; end)"], lines))
        print(f"\npicture: {arguments.picture}\ncurves:  {arguments.csv}")
        return 0

    return guarded(command)


if __name__ == "__main__":
    sys.exit(main())

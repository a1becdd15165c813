"""The map of the course: which notebook builds on which."""

import textwrap

from ..course import LESSONS
from ..types import Figure
from .canvas import blank
from .looks import BLACK, BLUE, GREEN, ORANGE, PINK

KINDS = {"basis": BLUE, "method": ORANGE, "theory": GREEN, "practice": PINK}
WIDTH, HEIGHT = 1.0, 0.74  # of a box, in columns and rows
STEP = 1.32  # from column to column


def course(here: int | None = None) -> Figure:
    """Draw the map of the course.

    Parameters
    ----------
    here : int, optional
        The notebook to point out: the one that is being read.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> course(here=1).axes[0].get_title()
    'You are in notebook 1'
    """
    places = _places(LESSONS)
    figure = blank(9, 5.8)
    axes = figure.subplots()
    for number, lesson in LESSONS.items():
        for needed in lesson.needs:
            _arrow(axes, places[needed], places[number])
    for number, lesson in LESSONS.items():
        _box(axes, places[number], number, lesson, number == here)
    columns, rows = (max(place[axis] for place in places.values()) for axis in (0, 1))
    axes.set(xlim=(-0.55, columns + 0.55), ylim=(rows + 1.0, -0.55))
    axes.set_axis_off()
    axes.set_title("The course" if here is None else f"You are in notebook {here}", fontsize=13)
    for kind, color in KINDS.items():
        axes.plot([], [], "s", color=color, ms=10, alpha=0.45, label=kind)
    axes.legend(loc="lower center", ncols=len(KINDS), fontsize=12, frameon=False)
    return figure


def _places(lessons):
    # (x, y) of each: a column further than what it builds on
    column = {}
    for number, lesson in lessons.items():
        column[number] = 1 + max((column[needed] for needed in lesson.needs), default=-1)
    return {number: (STEP * column[number], lesson.row) for number, lesson in lessons.items()}


def _arrow(axes, start, end):
    axes.annotate(
        "", (end[0] - WIDTH / 2, end[1]), (start[0] + WIDTH / 2, start[1]),
        arrowprops=dict(arrowstyle="-|>", color="#777777", lw=1.2, shrinkA=0, shrinkB=0),
    )  # fmt: skip


def _box(axes, place, number, lesson, here):
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2 + 0.05, y - HEIGHT / 2 + 0.05), WIDTH - 0.1, HEIGHT - 0.1,
            boxstyle="round,pad=0.05", facecolor=KINDS[lesson.kind] + ("88" if here else "2E"),
            edgecolor=BLACK if here else KINDS[lesson.kind], linewidth=2.5 if here else 1.2,
        )
    )  # fmt: skip
    words = "\n".join(textwrap.wrap(f"{number}  {lesson.title}", 19))
    axes.text(x, y, words, ha="center", va="center", fontsize=12)

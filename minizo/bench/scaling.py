"""``python -m minizo.bench scaling``: how the cost of one n-SPSA gradient grows with n and d."""

import os
from contextlib import ExitStack
from statistics import median

from .. import SPSA, parallel, report
from ..parallel import threads
from . import timing
from .step import our_step, problem, products_alone

DIRECTIONS = (1, 10, 100, 796, 7960, 79600)  # with 10 hidden units: d = 7960
HIDDEN = (10, 40, 160, 640, 2500)  # d = 795 hidden + 10: 8 k, 32 k, 127 k, 509 k, 2 M
FIXED = 128  # directions where d grows: at least two blocks, so that two workers have work
ONCE = 20_000  # from so many directions on, one measurement without a warm-up
QUICK = {"rounds": 1, "directions": DIRECTIONS[:4], "hidden": HIDDEN[:3]}


def run(rounds=3, directions=DIRECTIONS, hidden=HIDDEN, fixed=FIXED, workers=None):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each.
    directions : tuple of int
        n, for the 2-bit 784-10-10.
    hidden : tuple of int
        Widths of the hidden layer, for ``fixed`` directions.
    workers : tuple of int, optional
        Numbers of threads; by default 1 and one a processor.

    Returns
    -------
    dict
        ``machine``, ``workers``, and ``points``: one a size, with ``axis`` ("n" or "d"), ``n``,
        ``d``, and ``seconds`` and ``floor`` (the matrix products alone): workers -> list.
    """
    workers = sorted({1, os.cpu_count() or 1}) if workers is None else workers
    record = {"machine": timing.machine(), "workers": list(workers), "points": []}
    sizes = [("n", n, 10) for n in directions] + [("d", fixed, width) for width in hidden]
    with parallel.one_blas_thread(), ExitStack() as stack:
        pools = {count: stack.enter_context(threads(count)) for count in workers}
        for axis, n, width in sizes:
            candidates = {}
            for count, pool in pools.items():
                candidates["seconds", count] = our_step(SPSA(n=n), pool, hidden=width)
                candidates["floor", count] = products_alone(n, pool, width)
            once = n >= ONCE
            found = timing.in_turn(candidates, 1 if once else rounds, warm_up=not once)
            point = {"axis": axis, "n": n, "d": problem(hidden=width)[1].shape[0]}
            for what in ("seconds", "floor"):
                point[what] = {str(count): found[what, count] for count in workers}
            record["points"].append(point)
    return record


def show(record):
    """The record as text: one table a direction of growth."""
    parts = []
    titles = {
        "n": "Growing n: one n-SPSA gradient of the 2-bit 784-10-10, batch 100, float32",
        "d": "Growing d: the same with wider hidden layers",
    }
    headers = ["n", "d", "workers", "seconds", "us a direction", "products alone", "their share"]
    for axis, title in titles.items():
        rows = []
        for point in record["points"]:
            for count in record["workers"] if point["axis"] == axis else ():
                took, floor = (median(point[what][str(count)]) for what in ("seconds", "floor"))
                each = f"{took / point['n'] * 1e6:,.0f}"
                cells = [f"{point['n']:,}", f"{point['d']:,}", count, f"{took:.3g}", each]
                rows.append([*cells, f"{floor:.3g}", f"{floor / took:.0%}"])
        parts += [title, "", report.table(headers, rows), ""]
    parts.append(", ".join(f"{k} {v}" for k, v in record["machine"].items()))
    return "\n".join(parts)


def picture(record):
    """The record as a `matplotlib.figure.Figure`."""
    from ..figures import scaling  # matplotlib is slow to import

    return scaling(record)

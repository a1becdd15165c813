"""Fair timings: the candidates in turn, medians of many, ratios within one run."""

import platform
import time
from statistics import median

import numpy as np


def in_turn(candidates, rounds=30, least=0.02):
    """Median seconds of each candidate, A B C A B C ...

    Parameters
    ----------
    candidates : dict of str to callable
        Each does one unit of work and waits for its device.
    rounds : int
        Measurements of each.
    least : float
        Seconds that one measurement lasts at least: short work is repeated within it.

    Returns
    -------
    dict of str to list of float
        Seconds a unit, one entry a round, after a warm-up that is not counted. Taking turns
        spreads a machine's slow moments evenly, so ratios hold when single times do not.
    """
    repeats = {}
    for name, work in candidates.items():
        work()  # compilation, caches, first touch of memory
        began = time.perf_counter()
        work()
        repeats[name] = max(1, round(least / (time.perf_counter() - began)))
    seconds = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            began = time.perf_counter()
            for _ in range(repeats[name]):
                work()
            seconds[name].append((time.perf_counter() - began) / repeats[name])
    return seconds


def row(name, seconds, reference=None):
    """Table cells: name, median with unit, spread, and the ratio to ``reference`` (a median)."""
    middle = median(seconds)
    low, high = np.percentile(seconds, [10, 90])
    cells = [name, duration(middle), f"{duration(low)} .. {duration(high)}"]
    return [*cells, "" if reference is None else f"{middle / reference:.2f}"]


def duration(seconds):
    """Seconds with three digits and a unit.

    >>> duration(0.000123), duration(0.0456), duration(7.8)
    ('123 us', '45.6 ms', '7.80 s')
    """
    for scale, unit in ((1e-6, "us"), (1e-3, "ms")):
        if seconds < 999.5 * scale:
            return f"{seconds / scale:#.3g}".rstrip(".") + f" {unit}"
    return f"{seconds:.2f} s"


def machine():
    """Processor and versions, for the foot of a table."""
    import os

    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
        cpu = names[0] if names else cpu
    except OSError:
        pass
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }

"""Fair timings: the candidates in turn, medians of many, ratios within one run."""

import platform
import time
from statistics import median

import numpy as np


def in_turn(candidates, rounds=30, least=None, warm_up=True):
    """Seconds of each candidate, A B C A B C ...

    Parameters
    ----------
    candidates : dict of str to callable
        Each does one unit of work and waits for its device.
    rounds : int
        Measurements of each.
    least : float, optional
        Seconds that one measurement lasts at least, by default `LEAST`: short work is repeated
        within it, as the steps of a training are, because a first one after a rest takes longer.
    warm_up : bool
        Do each once or twice before anything is counted. Without, nothing is repeated either.

    Returns
    -------
    dict of str to list of float
        Seconds a unit, one entry a round. Taking turns spreads a machine's slow moments evenly, so
        ratios hold when single times do not.
    """
    repeats, least = dict.fromkeys(candidates, 1), LEAST if least is None else least
    for name, work in candidates.items() if warm_up else ():
        took = clock(work)  # compilation, caches, first touch of memory
        if took < 1.0:
            took = clock(work)
        repeats[name] = max(1, round(least / took))
    seconds = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            # threads of the candidate before may still be spinning, waiting for more to do
            time.sleep(SETTLE)
            seconds[name].append(clock(work, repeats[name]))
    return seconds


SETTLE = 0.05  # seconds of rest before each measurement
LEAST = 0.2  # seconds that a measurement lasts


def clock(work, repeats=1):
    """Seconds of ``work()``, the mean of so many."""
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - began) / repeats


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


def load():
    """How many programs were running in the last minute, ours among them; 0 where unknown."""
    import os

    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0


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

"""``python -m minizo.bench hypernets``: the selective scan, and what a learned gradient costs."""

import cProfile
import pstats
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from .. import (
    FSG,
    LSTMFC,
    STE,
    FCGrad,
    Objective,
    Step,
    optim,
    parallel,
    quantizers,
    report,
)
from ..hypernets import Mamba, chunked, scan
from ..parallel import Pool, threads
from . import rival_scan, rivals, step, timing

STEPS = {
    "STE": STE(),
    "FCGrad": FCGrad(),
    "LSTMFC": LSTMFC(),
    "FSG, Mamba 8 x 4": FSG(expand=8, states=4),
    "FSG, Mamba 100 x 16 (paper)": FSG(),
}
QUICK = {"rounds": 2, "length": 2000, "steps": dict(list(STEPS.items())[:4])}


def problem(length, channels=100, states=16, dtype=np.float32):
    """(Selected, dy) of random numbers, with the step sizes that Mamba starts with."""
    rng = np.random.default_rng(0)
    x = scan.Selected(
        rng.normal(size=(length, channels)),
        0.001 * 100.0 ** rng.random((length, channels)),
        -np.tile(np.arange(1.0, states + 1.0), (channels, 1)),
        rng.normal(size=(length, states)),
        rng.normal(size=(length, states)),
    )
    return scan.Selected(*(v.astype(dtype) for v in x)), rng.normal(size=x.u.shape).astype(dtype)


def in_chunks(x, dy):
    """Forward and backward of ours: y and the derivatives."""
    _, _, starts = chunked.forward(x)
    dx, _, y = chunked.backward(x, starts, dy)
    return y, dx


def by_steps(x, dy):
    """The same by `minizo.hypernets.scan`."""
    y, states = scan.forward(x)
    return y, scan.backward(x, states, dy)[0]


def peak(x, dy):
    """Bytes at the peak of a forward and backward, beside the inputs, in a thread of its own."""

    def work():
        tracemalloc.start()
        in_chunks(x, dy)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(work).result()


def training_step(estimator, pool, warm=8):
    """One step of the binary 784-10-10 with Adam, after ``warm`` steps that fill the history."""
    objective, theta, batch = step.problem()
    objective = Objective(objective.network, quantizers.DoReFa(bits=1)).calibrate(theta)
    rule = optim.Adam(0.01, schedule="constant")
    memory = [theta, rule.init(theta), estimator.init(objective, theta), 0]

    def work():
        theta, adam, state, index = memory
        here = Step(0, index, 10**9, pool, optimizer=rule, optimizer_state=adam)
        estimate, state = estimator.estimate(objective, theta, batch, state, here)
        theta, adam = estimator.update(objective, rule, estimate.grad, adam, theta, here)
        memory[:] = theta, adam, state, index + 1
        return estimate.loss

    for _ in range(warm):
        work()
    return work


def profile(work):
    """Where the time of a step goes: part -> seconds, by Python's profiler, in one thread.

    ``work`` is from `training_step` with a `Pool` that works in the caller.
    """
    with cProfile.Profile() as profiler:
        work()
    stats = pstats.Stats(profiler)

    def inside(function):
        code = function.__code__
        place = (code.co_filename, code.co_firstlineno, code.co_name)
        return stats.stats.get(place, (0, 0, 0.0, 0.0))[3]

    scans = inside(chunked.forward), inside(chunked.backward)
    parts = {
        "the network's own forward and backward": inside(Objective.weight_gradient),
        "scan, forward": scans[0],
        "scan, backward, its states again": scans[1],
        "rest of Mamba, forward": inside(Mamba.forward) - scans[0],
        "rest of Mamba, backward": inside(Mamba.backward) - scans[1],
    }
    return parts | {"everything else": stats.total_tt - sum(parts.values())}


def run(rounds=5, length=13_825, steps=None):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each.
    length : int
        Of the sequence that is scanned; 13,825 is a layer of 2,304 weights at l = 6.
    steps : dict of str to estimator, optional
        Whose training steps are timed, "STE" among them; by default `STEPS`.

    Returns
    -------
    dict
        ``machine``; ``scan`` and ``step``: name -> list of seconds; ``memory``: length -> bytes;
        ``profile``: of the last of the steps, part -> seconds.
    """
    import os

    cores = os.cpu_count() or 1
    torch = rivals.torch_or_none()
    x, dy = problem(length)
    work = {
        "minizo, chunked": lambda: in_chunks(x, dy),
        "minizo, step by step": lambda: by_steps(x, dy),
        "a NumPy loop": lambda: rival_scan.loop(x, dy),
    }
    record = {"machine": timing.machine(), "length": length}
    with parallel.one_blas_thread(), threads(cores) as pool:
        if torch is not None:
            record["machine"]["torch"] = torch.__version__
            for count in sorted({1, cores}):
                for chunk in (256, 1024):
                    theirs = rival_scan.torch_chunks(torch, x, dy, chunk)
                    name = f"PyTorch, chunks of {chunk}, {count} thread{'s' * (count > 1)}"
                    work[name] = step.with_threads(torch, count, theirs)
        record["scan"] = timing.in_turn(work, rounds)
        record["memory"] = {n: peak(*problem(n)) for n in (length, 10 * length)}
        candidates = {
            name: training_step(estimator, pool) for name, estimator in (steps or STEPS).items()
        }
        record["step"] = timing.in_turn(candidates, rounds)
        slowest = list(steps or STEPS)[-1]
        parts = profile(training_step((steps or STEPS)[slowest], Pool()))
        record["profile"] = {"of": slowest, "parts": parts}
    return record


def show(record):
    """The record as text: the scan, its memory, and a training step."""
    ours = median(record["scan"]["minizo, chunked"])
    rows = [timing.row(name, values, ours) for name, values in record["scan"].items()]
    parts = [
        f"Selective scan, forward and backward: length {record['length']:,}, 100 channels, 16 "
        "states, float32",
        "",
        report.table(["", "median", "10 % .. 90 %", "/ chunked"], rows),
        "",
    ]
    rows = [
        [f"{int(length):,}", f"{used / 2**20:.1f} MiB", f"{_results(int(length)) / 2**20:.1f} MiB"]
        for length, used in record["memory"].items()
    ]
    parts += [report.table(["length", "peak beside inputs", "of which results"], rows), ""]
    base = median(record["step"]["STE"])
    rows = [timing.row(name, values, base) for name, values in record["step"].items()]
    parts += [
        "One training step: binary (DoReFa) 784-10-10, batch 100, Adam, l = 6",
        "",
        report.table(["", "median", "10 % .. 90 %", "/ STE"], rows),
        "",
    ]
    spent = record["profile"]["parts"]
    total = sum(spent.values())
    rows = [[k, timing.duration(v), f"{100 * v / total:.0f} %"] for k, v in spent.items()]
    parts += [
        f"Where it goes in a step of {record['profile']['of']}, one thread, under the profiler",
        "",
        report.table(["", "time", "share"], rows),
        "",
        ", ".join(f"{k} {v}" for k, v in record["machine"].items()),
    ]
    return "\n".join(parts)


def _results(length):
    # y, du, d(dt) and dB, dC in float32
    return 4 * length * (3 * 100 + 2 * 16)

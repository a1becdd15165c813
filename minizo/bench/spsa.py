"""``python -m minizo.bench spsa``: one n-SPSA gradient with n = d = 7960, its time and memory."""

import os
import subprocess
import sys
from statistics import median

from .. import SPSA, parallel, report
from ..parallel import threads
from . import rivals, timing
from .step import our_step, problem, products_alone, with_threads

CHUNKS = (8, 16, 32, 64, 128, 256, 512)  # directions that PyTorch evaluates at a time
QUICK = {"rounds": 1, "n": 796, "memory": (796, 7960), "screen": 256, "chunks": (32, 128)}
BARS = {"PyTorch": 0.2, "products": 3.0, "MiB": 256}  # what the package wants to stay below


def extra_memory(n, hidden=10, workers=None):
    """MiB that one gradient adds to this process: its peak afterwards, less what it held before.

    ``None`` where the system has no ``/proc``. (``resource.getrusage`` will not do: a process
    inherits the peak of the one that started it.)
    """
    with threads(workers) as pool:
        gradient = our_step(SPSA(n=n), pool, hidden=hidden)
        before = resident("VmRSS")
        gradient()
        after = resident("VmHWM")
    return None if before is None else (after - before) / 1024


def resident(field):
    """KiB of this process: VmRSS, what it holds; VmHWM, the most that it ever held."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(field))
    except OSError:
        return None


def measured_alone(n, hidden, workers):
    """`extra_memory` in a new process, where nothing else has been computed before."""
    code = f"from minizo.bench.spsa import extra_memory as m; print(m({n}, {hidden}, {workers}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return None if done.stdout.strip() == "None" else float(done.stdout)


def rounds_of_pytorch(torch, cores, n, hidden, screen, chunks):
    """(candidates for n directions, seconds of every chunk size for ``screen`` directions).

    For each number of threads: the loop, for ``screen`` directions only, and `torch.func.vmap` with
    all n directions at once and with the chunk size that was the fastest for ``screen`` directions.
    """
    objective, theta, batch = problem(hidden=hidden)
    given = (torch, objective, theta, batch, SPSA().init(objective, theta).eps)
    counts = sorted({1, cores})
    screened = timing.in_turn(
        {
            (count, chunk): with_threads(torch, count, rivals.spsa_chunks(*given, screen, chunk))
            for chunk in sorted({*(c for c in chunks if c < screen), screen})
            for count in counts
        },
        rounds=2,
        least=0.0,
    )
    found = {key: median(seconds) for key, seconds in screened.items()}
    candidates = {}
    for count in counts:
        best = min((c for k, c in found if k == count), key=lambda c: found[count, c])
        for chunk in (best, n):
            work = rivals.spsa_chunks(*given, n, chunk)
            name = f"torch.func.vmap {chunk:,} at a time, {label(count, 'thread')}"
            candidates[name] = with_threads(torch, count, work)
        work = with_threads(torch, count, rivals.spsa_loop(*given, screen))
        candidates[f"PyTorch loop, {label(count, 'thread')}"] = work
    seconds = {f"{chunk} at a time, {label(k, 'thread')}": s for (k, chunk), s in found.items()}
    return candidates, seconds


def label(count, noun):
    """``1 thread``, ``2 threads``."""
    return f"{count} {noun}{'s' if count > 1 else ''}"


def run(rounds=5, n=7960, hidden=10, memory=(7960, 79600), screen=1024, chunks=CHUNKS):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each.
    n, hidden : int
        Directions, and width of the hidden layer: d = 795 hidden + 10.
    memory : tuple of int
        Numbers of directions for which the memory is measured.
    screen : int
        Directions with which PyTorch's chunk sizes are compared, and its loop timed.
    chunks : tuple of int
        Chunk sizes; ``screen`` is always among them.

    Returns
    -------
    dict
        ``machine``, ``n``, ``d``, ``screened_with``; ``seconds``: name -> list; ``screen``:
        chunk size -> seconds; ``memory``: n -> MiB.
    """
    cores = os.cpu_count() or 1
    screen = min(screen, n)
    record = {"machine": timing.machine(), "n": n, "d": problem(hidden=hidden)[1].shape[0]}
    record["memory"] = {str(m): measured_alone(m, hidden, cores) for m in memory}
    record |= {"screened_with": screen, "screen": {}}
    torch = rivals.torch_or_none()
    with parallel.one_blas_thread(), threads(1) as one, threads(cores) as every:
        candidates = {}
        for count, pool in {1: one, cores: every}.items():
            name = f"minizo, {label(count, 'worker')}"
            candidates[name] = our_step(SPSA(n=n), pool, hidden=hidden)
            name = f"the matrix products alone, {label(count, 'thread')}"
            candidates[name] = products_alone(n, pool, hidden)
        if torch is not None:
            record["machine"]["torch"] = torch.__version__
            theirs, record["screen"] = rounds_of_pytorch(torch, cores, n, hidden, screen, chunks)
            candidates |= theirs
        record["seconds"] = timing.in_turn(candidates, rounds)
    for name, seconds in record["seconds"].items():
        if "loop" in name:
            seconds[:] = [s * n / screen for s in seconds]
    return record


def fastest(record, word):
    """(name, median seconds) of the fastest whose name holds ``word``; ``None`` without any."""
    found = [(name, median(s)) for name, s in record["seconds"].items() if word in name]
    return min(found, key=lambda pair: pair[1], default=None)


def show(record):
    """The record as text: times, ratios to the best of PyTorch's and to the floor, memory."""
    n, d, screen = record["n"], record["d"], record["screened_with"]
    ours_name, ours = fastest(record, "minizo")
    rows = [timing.row(name, seconds, ours) for name, seconds in record["seconds"].items()]
    title = f"One n-SPSA gradient, n = {n:,}, d = {d:,}: 2-bit, batch 100, float32"
    headers = ["", "median", "10 % .. 90 %", "/ minizo"]
    parts = [title, "", report.table(headers, rows), ""]
    best = fastest(record, "orch")
    if best is None:
        parts += ["PyTorch is not installed: nothing to compare with (pip install torch)"]
    else:
        parts += [
            f"PyTorch's loop was timed with {screen:,} directions, times {n / screen:.3g}; the "
            "chunk sizes were",
            f"compared with {screen:,} directions, the best ones timed with all {n:,}.",
            "",
            f"minizo / best of PyTorch ({ours_name} / {best[0]}): {ours / best[1]:.2f} "
            f"(wanted: at most {BARS['PyTorch']})",
        ]
    for count in sorted({name.split()[-2] for name in record["seconds"] if "minizo" in name}):
        mine = fastest(record, f"minizo, {count} ")
        floor = fastest(record, f"alone, {count} ")
        parts.append(
            f"minizo / matrix products ({mine[0]}): {mine[1] / floor[1]:.2f} "
            f"(wanted: at most {BARS['products']})"
        )
    for m, mib in record["memory"].items():
        text = "not measured here (no /proc)" if mib is None else f"{mib:.0f} MiB"
        parts.append(f"peak extra memory, n = {int(m):,}: {text} (wanted: below {BARS['MiB']} MiB)")
    parts += ["", ", ".join(f"{k} {v}" for k, v in record["machine"].items())]
    return "\n".join(parts)

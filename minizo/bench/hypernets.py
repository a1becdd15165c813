"""``python -m minizo.bench hypernets``: the selective scan, and what a learned gradient costs.

On ResNet-20 an FSG step is shown beside its floor: the scans of all layers alone, on random numbers
with step sizes as at the start, in the same pieces and the same threads.
"""

import cProfile
import pstats
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from statistics import median

import numpy as np

from .. import (
    FSG,
    LSTMFC,
    STE,
    FCGrad,
    Objective,
    Step,
    models,
    optim,
    parallel,
    quantizers,
    report,
)
from ..hypernets import Mamba, advance, chunked, pieces, scan
from ..parallel import Pool, threads
from . import cnn, rival_scan, rivals, step, timing

STEPS = {
    "STE": STE(),
    "FCGrad": FCGrad(),
    "LSTMFC": LSTMFC(),
    "FSG, Mamba 8 x 4": FSG(expand=8, states=4),
    "FSG, Mamba 100 x 16 (paper)": FSG(),
}
QUICK = {"rounds": 2, "length": 2000, "steps": dict(list(STEPS.items())[:4]), "resnet": None}
SNAPSHOTS = 6  # of the gradient in FSG's sequence, of whose outputs only the last part is read
BAR = 3.0  # STE steps that an FSG step on ResNet-20 may take beside its scans


def problem(length, channels=100, states=16, dtype=np.float32):
    """(Selected, dy) of random numbers; step sizes as Mamba's at the start, a channel each."""
    rng = np.random.default_rng(0)
    x = scan.Selected(
        rng.normal(size=(length, channels)),
        0.001 * 100.0 ** rng.random(channels) * (0.9 + 0.2 * rng.random((length, channels))),
        -np.tile(np.arange(1.0, states + 1.0), (channels, 1)),
        rng.normal(size=(length, states)),
        rng.normal(size=(length, states)),
    )
    return scan.Selected(*(v.astype(dtype) for v in x)), rng.normal(size=x.u.shape).astype(dtype)


def part(x, time):
    """``x`` in the steps ``time``, a slice."""
    return x._replace(**{name: getattr(x, name)[time, :] for name in ("u", "dt", "B", "C")})


def last_read(x, dy):
    """Forward and backward where only the last `SNAPSHOTS`-th of y is wanted, as in FSG.

    Returns y and its ``dy``'s derivatives as `in_chunks` for a ``dy`` that is 0 before.
    """
    read = len(dy) - len(dy) // SNAPSHOTS
    early, late = part(x, slice(0, read)), part(x, slice(read, len(dy)))
    h, _ = advance.forward(early)
    y, _, starts = chunked.forward(late, h)
    dlate, dh, _ = chunked.backward(late, starts, dy[read:])
    dearly, _ = advance.backward(early, dh)
    joined = [np.concatenate(pair) for pair in zip(dearly[:2] + dearly[3:4], dlate[:2] + dlate[3:4],
                                                   strict=True)]  # fmt: skip
    return y, scan.Selected(joined[0], joined[1], dearly.A + dlate.A, joined[2], dlate.C)


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


def resnet(make=models.resnet):
    """(objective, theta, batch): 1-bit DoReFa of the inner layers of ResNet-20, 128 images."""
    theta, batch = cnn.problem("resnet20")[1:]
    net = make()
    inner = models.weights(net, ends=False)
    objective = Objective(net, quantizers.DoReFa(bits=1), quantized=inner)
    theta = net.init(0, like=theta)
    return objective.calibrate(theta), theta, batch


def mlp():
    """(objective, theta, batch) of the 1-bit 784-10-10."""
    objective, theta, batch = step.problem()
    return Objective(objective.network, quantizers.DoReFa(bits=1)).calibrate(theta), theta, batch


def layer_scan(x, dy, weights, snapshots):
    """Do the scans of one layer alone, in pieces as Mamba takes them, all of the same numbers."""
    early, late = (ceil(n / len(dy)) for n in ((snapshots - 1) * weights, weights))
    h, behind, jumped, starts = 0.0, None, [], []
    for _ in range(early):
        if behind is not None and not advance.alive(x.A, behind).any():
            break
        jumped.append(behind)
        share, behind = advance.forward(x, behind)
        h = share + h
    for _ in range(late):
        _, h, kept = chunked.forward(x, h)
        starts.append(kept)
    dh = before = None
    for kept in reversed(starts):
        _, dh, _ = chunked.backward(x, kept, dy, dh)
    for behind in reversed(jumped):
        _, before = advance.backward(x, dh, behind, before)


def scans_alone(objective, estimator, pool):
    """The scans of a step of FSG, of every quantised layer: the floor of that step."""
    slices = [objective.network.slices[name] for name in objective.quantized]
    numbers = estimator.expand * estimator.states
    piece = pieces.PIECE * chunked.chunk_size(None, numbers, np.empty(0))
    calls = []
    for layer in slices:
        weights = layer.stop - layer.start
        x, dy = problem(min(piece, weights), estimator.expand, estimator.states)
        calls.append((x, dy, weights, estimator.length))

    def work():
        for _ in pool.map(layer_scan, calls):
            pass

    return work


def training_step(estimator, pool, warm=8, problem=mlp):
    """One step with Adam, after ``warm`` steps that fill the history."""
    objective, theta, batch = problem()
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
    jumps = inside(advance.forward), inside(advance.backward)
    parts = {
        "the network's own forward and backward": inside(Objective.weight_gradient),
        "scan, forward": scans[0],
        "scan, backward, its states again": scans[1],
        "jump to what is read, forward": jumps[0],
        "jump, backward": jumps[1],
        "rest of Mamba, forward": inside(Mamba.forward) - scans[0] - jumps[0],
        "rest of Mamba, backward": inside(Mamba.backward) - scans[1] - jumps[1],
    }
    return parts | {"everything else": stats.total_tt - sum(parts.values())}


def run(rounds=5, length=13_825, steps=None, resnet=resnet):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each.
    length : int
        Of the sequence that is scanned; 13,825 is a layer of 2,304 weights at l = 6.
    steps : dict of str to estimator, optional
        Whose training steps are timed, "STE" among them; by default `STEPS`.
    resnet : callable, optional
        Makes the problem of the convolutional network; ``None`` leaves it out.

    Returns
    -------
    dict
        ``machine``; ``scan`` and ``step``: name -> list of seconds; ``memory``: length -> bytes;
        ``profile``: of the last of the steps, part -> seconds; ``resnet``: name -> list of
        seconds.
    """
    import os

    cores = os.cpu_count() or 1
    torch = rivals.torch_or_none()
    x, dy = problem(length)
    work = {
        "minizo, chunked": lambda: in_chunks(x, dy),
        "minizo, chunked, forward": lambda: chunked.forward(x),
        "minizo, a sixth read": lambda: last_read(x, dy),
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
        if resnet is not None:
            paper = (steps or STEPS)[slowest]
            candidates = {
                "STE": training_step(STE(), pool, 1, resnet),
                "FSG": training_step(paper, pool, paper.length + 1, resnet),
                "its scans alone": scans_alone(resnet()[0], paper, pool),
            }
            record["resnet"] = timing.in_turn(candidates, rounds, warm_up=False)
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
        *_resnet(record.get("resnet")),
        ", ".join(f"{k} {v}" for k, v in record["machine"].items()),
    ]
    return "\n".join(parts)


def _results(length):
    # y, du, d(dt) and dB, dC in float32
    return 4 * length * (3 * 100 + 2 * 16)


def _resnet(seconds):
    if seconds is None:
        return []
    middle = {name: min(values) for name, values in seconds.items()}
    beside = (middle["FSG"] - middle["its scans alone"]) / middle["STE"]
    rows = [timing.row(name, values, median(seconds["STE"])) for name, values in seconds.items()]
    return [
        "One training step of ResNet-20: inner layers binary (DoReFa), batch 128, Adam, l = 6",
        "",
        report.table(["", "median", "10 % .. 90 %", "/ STE"], rows),
        "",
        f"FSG less its scans, fastest rounds: {beside:.1f} STE steps (wanted: at most {BAR:.0f})",
        "",
    ]

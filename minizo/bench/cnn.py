"""``python -m minizo.bench cnn``: one STE step of the LeNet and of ResNet-20, binary weights."""

import os
import subprocess
import sys
from statistics import median

import numpy as np

from .. import STE, Batch, Objective, Step, models, optim, parallel, quantizers, report
from ..parallel import threads
from . import rivals, timing, torch_networks
from .spsa import label, resident
from .step import with_threads

QUICK = {"rounds": 2}
MANY = 8  # threads, which may share fewer processors
NETWORKS = {"lenet": (models.lenet, 100), "resnet20": (models.resnet, 128)}  # and the batch
TITLES = {"lenet": "the LeNet, batch 100", "resnet20": "ResNet-20, batch 128"}
BARS = {"lenet": 1.0, "resnet20": 2.0, "memory": 1.5}  # what the package wants to stay below


def problem(name, dtype=np.float32):
    """(calibrated objective, theta, batch) of random images, the same every time."""
    make, examples = NETWORKS[name]
    rng = np.random.default_rng(0)
    net = make()
    theta = net.init(0, like=np.empty(0, dtype))
    x = rng.random((examples, *net.input_shape)).astype(dtype)
    batch = Batch(x, rng.integers(0, 10, examples))
    return Objective(net, quantizers.Sign()).calibrate(theta), theta, batch


def our_step(name):
    """One training step of ours: estimate, running statistics, Adam."""
    objective, theta, batch = problem(name)
    optimizer, net = optim.Adam(0.01), objective.network
    memory = [theta, optimizer.init(theta), net.init_state(theta)]

    def work():
        estimate, _ = STE().estimate(objective, memory[0], batch, (), Step())
        memory[2] = net.next_state(memory[2], estimate.statistics)
        memory[:2] = optimizer.update(estimate.grad, memory[1], memory[0])
        return estimate.loss

    return work


def peak(side, name, count):
    """MiB that three steps add to this process: its peak afterwards, less what it held before."""
    torch = rivals.torch_or_none()
    with threads(count):
        if side == "minizo":
            work = our_step(name)
        else:
            work = with_threads(torch, count, torch_networks.ste_step(torch, *problem(name)))
        before = resident("VmRSS")
        for _ in range(3):
            work()
        after = resident("VmHWM")
    return None if before is None else (after - before) / 1024


def measured_alone(side, name, count):
    """`peak` in a new process, where nothing else has been computed before."""
    code = f"from minizo.bench.cnn import peak as p; print(p({side!r}, {name!r}, {count}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return None if done.stdout.strip() == "None" else float(done.stdout)


def run(rounds=10, names=tuple(NETWORKS)):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each.
    names : tuple of str
        Which of `NETWORKS`.

    Returns
    -------
    dict
        ``machine``; for each name ``seconds``: candidate -> list, and ``memory``: side -> MiB.
    """
    cores = os.cpu_count() or 1
    torch = rivals.torch_or_none()
    record = {"machine": timing.machine(), "networks": {}}
    if torch is not None:
        record["machine"]["torch"] = torch.__version__
    for name in names:
        sides = ["minizo"] + ["PyTorch"] * (torch is not None)
        memory = {side: measured_alone(side, name, cores) for side in sides}
        with threads(cores):
            counts = sorted({1, cores, MANY})
            candidates = {
                f"minizo, {label(count, 'thread')}": _handed(count, our_step(name))
                for count in counts
            }
            for count in counts if torch is not None else ():
                for how, order in (("eager", False), ("eager, channels_last", True)):
                    work = torch_networks.ste_step(torch, *problem(name), channels_last=order)
                    key = f"PyTorch {how}, {label(count, 'thread')}"
                    candidates[key] = with_threads(torch, count, work)
            seconds = timing.in_turn(candidates, rounds)
        record["networks"][name] = {"seconds": seconds, "memory": memory}
    return record


def _handed(count, work):
    # with so many threads
    def inside():
        with parallel.hands(count):
            return work()

    return inside


def fastest(seconds, start, exclude="\0"):
    """(name, median seconds) of the fastest that begins with ``start``; ``None`` without any."""
    found = [(n, median(s)) for n, s in seconds.items() if n.startswith(start) and exclude not in n]
    return min(found, key=lambda pair: pair[1], default=None)


def show(record):
    """The record as text: a table a network, and the ratios with what they should be."""
    parts = []
    for name, found in record["networks"].items():
        seconds, memory = found["seconds"], found["memory"]
        ours, theirs = fastest(seconds, "minizo"), fastest(seconds, "PyTorch eager,", "channels")
        rows = [timing.row(key, values, ours[1]) for key, values in seconds.items()]
        parts += [f"One STE step with Adam, 1-bit weights: {TITLES[name]}, float32", ""]
        parts += [report.table(["", "median", "10 % .. 90 %", "/ minizo"], rows), ""]
        if theirs is None:
            parts += ["PyTorch is not installed: nothing to compare with (pip install torch)"]
        else:
            parts.append(
                f"minizo / PyTorch eager ({ours[0]} / {theirs[0]}): {ours[1] / theirs[1]:.2f} "
                f"(wanted: at most {BARS[name]})"
            )
            best = fastest(seconds, "PyTorch")
            parts.append(f"minizo / best of PyTorch ({best[0]}): {ours[1] / best[1]:.2f}")
        shown = {side: mib for side, mib in memory.items() if mib is not None}
        text = ", ".join(f"{side} {mib:.0f} MiB" for side, mib in shown.items())
        if len(shown) == 2:
            ratio = shown["minizo"] / shown["PyTorch"]
            text += f", ratio {ratio:.2f} (wanted: at most {BARS['memory']})"
        parts += [f"peak memory beside parameters and batch: {text or 'not measured here'}", ""]
    parts.append(", ".join(f"{key} {value}" for key, value in record["machine"].items()))
    return "\n".join(parts)

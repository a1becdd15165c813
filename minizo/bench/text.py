"""``python -m minizo.bench text``: steps of transformers with 2-bit weights beside PyTorch's."""

import os
import subprocess
import sys
from statistics import median

import numpy as np

from .. import FOGZO, SPSA, STE, Batch, Objective, Step, models, optim, parallel, quantizers, report
from ..parallel import threads
from . import rivals, timing, torch_transformers
from .spsa import resident
from .step import with_threads

N, CHUNK = 64, 16  # directions of n-SPSA, and at a time in PyTorch
QUICK = {"rounds": 2, "names": ("small",), "n": 8}
THREADS = 2
BARS = {"step": 1.0, "memory": 1.0, "fogzo": 1.75, "spsa": 0.5}  # to stay below
TITLES = {
    "llama": "LLaMA, width 128, 4 layers, 4 heads, context 128, batch 16",
    "vit": "ViT, width 64, 4 layers, 49 patches, batch 128",
    "small": "LLaMA, width 64, 2 layers, 4 heads, context 64, batch 16",
}


def problem(name, dtype=np.float32):
    """(calibrated objective, theta, batch) of random examples, the same every time."""
    rng, letters = np.random.default_rng(0), 65
    if name == "vit":
        net = models.vit(patch=4, width=64, layers=4, heads=4)
        batch = Batch(rng.random((128, 1, 28, 28)).astype(dtype), rng.integers(0, 10, 128))
    else:
        sizes = {"llama": (128, 4, 128), "small": (64, 2, 64)}[name]
        width, layers, context = sizes
        net = models.llama(letters, width=width, layers=layers, context=context)
        tokens = rng.integers(letters, size=(16, context + 1))
        batch = Batch(tokens[:, :-1].copy(), tokens[:, 1:].copy())
    theta = net.init(0, like=np.empty(0, dtype))
    names = models.chosen(net, "layers.*")
    objective = Objective(net, quantizers.MidRise(), quantized=names).calibrate(theta)
    return objective, theta, batch


def our_step(name, rule=None):
    """One training step of ours, estimate and Adam, as a callable."""
    rule = STE() if rule is None else rule
    objective, theta, batch = problem(name)
    optimizer, known = optim.Adam(0.01), rule.init(objective, theta)
    memory = [theta, None]

    def work():
        if memory[1] is None:  # made in the first step, as PyTorch's is
            memory[1] = optimizer.init(theta)
        estimate, _ = rule.estimate(objective, memory[0], batch, known, Step())
        memory[:] = optimizer.update(estimate.grad, memory[1], memory[0])
        return estimate.loss

    return work


def peak(side, name):
    """MiB that three steps add to this process: its peak afterwards, less what it held before."""
    torch = rivals.torch_or_none()
    with threads(THREADS):
        if side == "minizo":
            work = our_step(name)
        else:
            step = torch_transformers.ste_step(torch, *problem(name))
            work = with_threads(torch, THREADS, step)
        before = resident("VmRSS")
        for _ in range(3):
            work()
        after = resident("VmHWM")
    return None if before is None else (after - before) / 1024


def measured_alone(side, name):
    """`peak` in a new process, where nothing else has been computed before."""
    code = f"from minizo.bench.text import peak as p; print(p({side!r}, {name!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return None if done.stdout.strip() == "None" else float(done.stdout)


def run(rounds=10, names=("llama", "vit"), n=N):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each.
    names : tuple of str
        Which of `TITLES`.
    n : int
        Directions of n-SPSA, on the small LLaMA.

    Returns
    -------
    dict
        ``machine``; for each name ``seconds``: candidate -> list, and ``memory``: side -> MiB;
        ``spsa``: candidate -> list.
    """
    torch = rivals.torch_or_none()
    record = {"machine": timing.machine(), "n": n, "networks": {}}
    if torch is not None:
        record["machine"]["torch"] = torch.__version__
    for name in names:
        sides = ["minizo"] + ["PyTorch"] * (torch is not None)
        memory = {side: measured_alone(side, name) for side in sides}
        fogzo = FOGZO(n=1, perturb="quantized")
        with threads(THREADS):
            candidates = {
                "minizo, STE": _handed(our_step(name)),
                "minizo, FOGZO n=1": _handed(our_step(name, fogzo)),
            }
            if torch is not None:
                step = torch_transformers.ste_step(torch, *problem(name))
                candidates["PyTorch eager, STE"] = with_threads(torch, THREADS, step)
            seconds = timing.in_turn(candidates, rounds)
        record["networks"][name] = {"seconds": seconds, "memory": memory}
    record["spsa"] = spsa(torch, n, max(1, rounds // 3))
    return record


def spsa(torch, n, rounds):
    """Seconds of n-SPSA on the small LLaMA, by the population axis and by `torch.func.vmap`."""
    objective, theta, batch = problem("small")
    with threads(THREADS) as pool:
        rule = SPSA(n=n)
        known = rule.init(objective, theta)

        def ours():
            return rule.estimate(objective, theta, batch, known, Step(pool=pool))[0].loss

        candidates = {"minizo": ours}
        if torch is not None:
            given = (torch, objective, theta, batch, known.eps, n, min(CHUNK, n))
            step = torch_transformers.spsa_vmap(*given)
            candidates["torch.func.vmap"] = with_threads(torch, THREADS, step)
        return timing.in_turn(candidates, rounds)


def _handed(work):
    # with as many threads as PyTorch has
    def inside():
        with parallel.hands(min(THREADS, os.cpu_count() or 1)):
            return work()

    return inside


def show(record):
    """The record as text: a table a network, and the ratios with what they should be."""
    parts = []
    for name, found in record["networks"].items():
        seconds = found["seconds"]
        middle = {key: median(values) for key, values in seconds.items()}
        ours, theirs = middle["minizo, STE"], middle.get("PyTorch eager, STE")
        rows = [timing.row(key, values, ours) for key, values in seconds.items()]
        parts += [f"One step with Adam, 2-bit weights, {THREADS} threads: {TITLES[name]}", ""]
        parts += [report.table(["", "median", "10 % .. 90 %", "/ minizo"], rows), ""]
        fogzo = middle["minizo, FOGZO n=1"] / ours
        parts.append(f"FOGZO n=1 / STE: {fogzo:.2f} (wanted: at most {BARS['fogzo']})")
        if theirs is None:
            parts += ["PyTorch is not installed: nothing to compare with (pip install torch)"]
        else:
            ratio = ours / theirs
            parts.append(f"minizo / PyTorch eager: {ratio:.2f} (wanted: at most {BARS['step']})")
        shown = {side: mib for side, mib in found["memory"].items() if mib is not None}
        text = ", ".join(f"{side} {mib:.0f} MiB" for side, mib in shown.items())
        if len(shown) == 2:
            ratio = shown["minizo"] / shown["PyTorch"]
            text += f", ratio {ratio:.2f} (wanted: at most {BARS['memory']})"
        parts += [f"peak memory beside parameters and batch: {text or 'not measured here'}", ""]
    rows = [timing.row(k, v, median(record["spsa"]["minizo"])) for k, v in record["spsa"].items()]
    parts += [f"n-SPSA, n = {record['n']}: {TITLES['small']}", ""]
    parts += [report.table(["", "median", "10 % .. 90 %", "/ minizo"], rows), ""]
    if "torch.func.vmap" in record["spsa"]:
        ratio = median(record["spsa"]["minizo"]) / median(record["spsa"]["torch.func.vmap"])
        parts += [f"minizo / vmap: {ratio:.2f} (wanted: at most {BARS['spsa']})", ""]
    parts.append(", ".join(f"{key} {value}" for key, value in record["machine"].items()))
    return "\n".join(parts)

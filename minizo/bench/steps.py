"""``python -m minizo.bench steps``: training steps of three networks, beside what they must cost.

Two floors stand beside each time. *Products*: its multiply-accumulates, at the speed of a large
matrix product on this device. *Memory*: the numbers that must at least pass through memory once, at
the speed of a large copy. No step is faster than either; how far it is away says what is left.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from .. import (
    FOGZO,
    FSG,
    SPSA,
    STE,
    Batch,
    Objective,
    Step,
    backend,
    models,
    optim,
    parallel,
    quantizers,
    report,
)
from ..layers.stack import shapes_through
from ..parallel import Pool, threads
from . import rivals, timing, torch_networks
from .step import with_threads

NETWORKS = {
    "784-10-10, batch 100": (lambda: models.mlp(784, 10, 10), 100),
    "LeNet, batch 100": (models.lenet, 100),
    "ResNet-20, batch 128": (models.resnet, 128),
}
METHODS = {
    "STE": STE(),
    "n-SPSA n=1": SPSA(n=1),
    "FOGZO n=1": FOGZO(n=1, beta_schedule="constant"),
    "FSG, Mamba 8 x 4": FSG(expand=8, states=4),
}
LIBRARIES = ("NumPy", "CuPy", "PyTorch eager", "PyTorch compiled")
QUICK = {"rounds": 2, "networks": ("784-10-10, batch 100",), "compiled": False}
NUMBERS = 2**24  # of the array whose copy is timed
SIDE = 1024  # of the product that is timed


def problem(name, xp=np):
    """(calibrated objective, theta, batch) of random images, the same every time."""
    make, examples = NETWORKS[name]
    rng, net = np.random.default_rng(0), make()
    x = xp.asarray(rng.random((examples, *net.input_shape)).astype("float32"))
    theta = net.init(0, like=x)
    batch = Batch(x, xp.asarray(rng.integers(0, 10, examples)))
    return Objective(net, quantizers.Sign("hardtanh")).calibrate(theta), theta, batch


def our_step(name, method, pool, xp=np, warm=8):
    """(a training step with Adam that waits for its device, what one estimate costs)."""
    objective, theta, batch = problem(name, xp)
    estimator, rule = METHODS[method], optim.Adam(0.01, schedule="constant")
    net = objective.network
    memory = [theta, rule.init(theta), estimator.init(objective, theta), 0, net.init_state(theta)]
    costs = []

    def work():
        theta, adam, state, index, running = memory
        here = Step(0, index, 10**9, pool, optimizer=rule, optimizer_state=adam)
        estimate, state = estimator.estimate(objective, theta, batch, state, here)
        theta, adam = estimator.update(objective, rule, estimate.grad, adam, theta, here)
        running = net.next_state(running, estimate.statistics)
        memory[:] = theta, adam, state, index + 1, running
        costs[:] = [estimate]
        backend.synchronize(xp)

    # a learned gradient fills its history first
    for _ in range(warm if isinstance(estimator, FSG) else 1):
        work()
    return work, cost(objective, batch, costs[0])


def cost(objective, batch, estimate):
    """(multiply-accumulates, bytes) of a step with Adam: the least that it must do and move.

    Bytes in float32: theta, m, v and the gradient read, three of them written; the images once;
    what a layer gives out written and read in each forward, and its derivative in each backward. A
    residual block counts as one layer.
    """
    net, examples = objective.network, batch.labels.shape[0]
    inputs, *outputs = (int(np.prod(s)) for s in shapes_through(net.layers, net.input_shape))
    passes = 2 * estimate.forwards + 2 * estimate.backwards
    numbers = 7 * net.d + examples * (inputs + passes * sum(outputs))
    macs = objective.cost(estimate.forwards, estimate.backwards, examples) + estimate.macs
    return macs, 4 * numbers


def rates(xp, rounds=5):
    """(multiply-accumulates, bytes) a second: a large product and a large copy, on all threads."""
    share = os.cpu_count() or 1 if backend.is_numpy(xp) else 1
    a = [xp.ones((SIDE, SIDE), dtype="float32") for _ in range(share)]
    x = [xp.ones(NUMBERS // share, dtype="float32") for _ in range(share)]
    y = [xp.empty_like(part) for part in x]

    def product():
        list(executor.map(lambda i: xp.matmul(a[i], a[i]), range(share)))
        backend.synchronize(xp)

    def copy():
        list(executor.map(lambda i: backend.into(y[i], xp.add, x[i], 1.0), range(share)))
        backend.synchronize(xp)

    with ThreadPoolExecutor(share) as executor:
        found = timing.in_turn({"product": product, "copy": copy}, rounds)
    least = {name: min(seconds) for name, seconds in found.items()}
    # read and written
    return share * SIDE**3 / least["product"], 2 * 4 * NUMBERS / least["copy"]


def run(rounds=10, networks=tuple(NETWORKS), compiled=True):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each; every one lasts 20 ms at least.
    networks : tuple of str
        Of `NETWORKS`.
    compiled : bool
        Whether to try ``torch.compile``, which takes minutes where it works.

    Returns
    -------
    dict
        ``machine``; ``devices``: library -> name, and speeds where they were measured; ``cells``: a
        list of dicts with network, method, library, macs, bytes, and seconds, ``None`` where it was
        not measured.
    """
    cores, torch = os.cpu_count() or 1, rivals.torch_or_none()
    machine = timing.machine() | {"load before": timing.load()}
    record = {"machine": machine, "devices": {}, "cells": []}
    with parallel.one_blas_thread(), threads(cores) as pool:
        ours = {"NumPy": np}
        gpu = backend.get("auto")
        if gpu is not np:
            ours["CuPy"] = gpu
        for library, xp in ours.items():
            macs, nbytes = rates(xp)
            found = {"name": backend.device_name(xp), "macs": macs, "bytes": nbytes}
            record["devices"][library] = found | {"version": xp.__version__}
        if torch is not None:
            record["machine"]["torch"] = torch.__version__
        for network in networks:
            work, costs = {}, {}
            for method in METHODS:
                for library, xp in ours.items():
                    own = pool if library == "NumPy" else Pool()
                    key = (method, library)
                    work[key], costs[method] = our_step(network, method, own, xp)
            if torch is not None:
                problem_here = problem(network)
                for library in LIBRARIES[2:]:
                    made = _theirs(torch, problem_here, library, cores, compiled)
                    if made is not None:
                        work["STE", library] = made
            seconds = timing.in_turn(work, rounds)
            for method in METHODS:
                for library in LIBRARIES if method == "STE" else LIBRARIES[:2]:
                    macs, nbytes = costs[method]
                    cell = {"network": network, "method": method, "library": library}
                    cell |= {"macs": macs, "bytes": nbytes}
                    record["cells"].append(cell | {"seconds": seconds.get((method, library))})
    return record


def _theirs(torch, given, library, cores, compiled):
    # PyTorch's STE step, or None where torch.compile is not wanted or does not work here
    if library == "PyTorch eager":
        return with_threads(torch, cores, torch_networks.ste_step(torch, *given))
    if not compiled:
        return None
    try:
        work = with_threads(torch, cores, torch_networks.ste_step(torch, *given, compiled=True))
        work()
    except Exception as error:  # whatever a compiler may raise: no compiler, a bug, a time limit
        print(f"torch.compile does not work here: {type(error).__name__}")
        return None
    return work


def floors(record, cell):
    """(seconds of the products, seconds of the memory traffic); NumPy's where not on a GPU."""
    device = record["devices"].get(cell["library"], record["devices"]["NumPy"])
    return cell["macs"] / device["macs"], cell["bytes"] / device["bytes"]


def show(record):
    """The record as text: one table."""
    rows = []
    for cell in record["cells"]:
        names = [cell[name] for name in ("network", "method", "library")]
        if cell["seconds"] is None:
            rows.append([*names, "not measured", "", "", "", ""])
            continue
        middle, both = median(cell["seconds"]), floors(record, cell)
        low, high = np.percentile(cell["seconds"], [10, 90])
        spread = f"{timing.duration(low)} .. {timing.duration(high)}"
        parts = [timing.duration(part) for part in both]
        rows.append([*names, timing.duration(middle), spread, *parts, f"{middle / max(both):.1f}"])
    headers = ["network", "method", "library", "median", "10 % .. 90 %", "products", "memory"]
    speeds = [
        f"{library} {device['version']} on {device['name']}: {device['macs'] / 1e9:.0f} "
        f"G multiply-accumulates/s in a product of {SIDE} x {SIDE}, {device['bytes'] / 1e9:.1f} "
        "GB/s in a copy"
        for library, device in record["devices"].items()
    ]
    return "\n".join(
        [
            "One training step: binary weights, Adam, float32",
            "",
            report.table([*headers, "/ larger floor"], rows),
            "",
            *speeds,
            ", ".join(f"{k} {v}" for k, v in record["machine"].items()),
        ]
    )


def picture(record):
    """The record as a figure."""
    from ..figures.timings import steps

    return steps(record, floors)

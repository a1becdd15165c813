"""``python -m minizo.bench step``: one training step of the 2-bit 784-10-10, batch 100."""

from statistics import median

import numpy as np

from .. import (
    SPSA,
    STE,
    Batch,
    Objective,
    Step,
    models,
    optim,
    parallel,
    quantizers,
    report,
)
from ..parallel import Pool, blocks, threads
from . import rivals, timing

QUICK = {"rounds": 3}


def problem(dtype=np.float32, hidden=10):
    """(calibrated objective, theta, batch) of random images, the same every time."""
    rng = np.random.default_rng(0)
    net = models.mlp(784, hidden, 10)
    theta = net.init(0, like=np.empty(0, dtype))
    batch = Batch(rng.random((100, 1, 28, 28)).astype(dtype), rng.integers(0, 10, 100))
    return Objective(net, quantizers.MidRise(bits=2)).calibrate(theta), theta, batch


def our_step(estimator, pool, optimizer=None, hidden=10):
    """One step of ours, with an optimiser or (n-SPSA's comparison) without."""
    objective, theta, batch = problem(hidden=hidden)
    state = estimator.init(objective, theta)
    step = Step(pool=pool)
    memory = None if optimizer is None else [theta, optimizer.init(theta)]

    def work():
        if memory is None:
            return estimator.estimate(objective, theta, batch, state, step)[0].grad
        estimate, _ = estimator.estimate(objective, memory[0], batch, state, step)
        memory[:] = optimizer.update(estimate.grad, memory[1], memory[0])
        return estimate.loss

    return work


def with_threads(torch, count, work):
    """``work`` run with PyTorch held to ``count`` threads."""

    def limited():
        torch.set_num_threads(count)
        return work()

    return limited


def products_alone(n, pool=None, hidden=10):
    """The matrix products of 2n forwards, block by block in ``pool``: the floor of n-SPSA."""
    pool = Pool() if pool is None else pool
    objective, theta, batch = problem(hidden=hidden)
    parts = [(count,) for _, count in blocks(n, objective.footprint(batch))]
    size = parts[0][0]
    x = np.ascontiguousarray(batch.x.reshape(100, 784).T)
    weights = objective.quantize(theta)
    # every direction has weights of its own, in memory of their own
    w1 = np.repeat(weights["fc1.weight"][None], size, axis=0)
    w2 = np.repeat(weights["fc2.weight"][None], size, axis=0)
    h = np.matmul(w1, x)

    def block(count):
        for _ in range(2):  # theta + eps v and theta - eps v
            np.matmul(w1[:count], x)
            np.matmul(w2[:count], h[:count])

    def work():
        for _ in pool.map(block, parts):
            pass

    return work


def run(rounds=30, n=100):
    """Measure, and return the record that the command prints and saves.

    Returns
    -------
    dict
        ``machine``, and ``ste`` and ``spsa``: name -> list of seconds.
    """
    import os

    cores = os.cpu_count() or 1
    torch = rivals.torch_or_none()
    objective, theta, batch = problem()
    record = {"machine": timing.machine(), "n": n}
    with parallel.one_blas_thread(), threads(cores) as pool:
        ste = {"minizo": our_step(STE(), pool, optim.Adam(0.01))}
        spsa = {
            "minizo": our_step(SPSA(n=n), pool),
            "floor: the matrix products, 1 thread": products_alone(n),
        }
        if torch is not None:
            record["machine"]["torch"] = torch.__version__
            eps = SPSA().init(objective, theta).eps
            for count in sorted({1, cores}):
                label = f"{count} thread{'s' if count > 1 else ''}"
                for name, options in (("", {}), (", fused Adam", {"fused": True})):
                    work = rivals.ste_step(torch, objective, theta, batch, **options)
                    ste[f"PyTorch eager{name}, {label}"] = with_threads(torch, count, work)
                loop = rivals.spsa_loop(torch, objective, theta, batch, eps, n)
                spsa[f"PyTorch loop, {label}"] = with_threads(torch, count, loop)
                for chunk in (None, 16, 64):
                    work = rivals.spsa_vmap(torch, objective, theta, batch, eps, n, chunk)
                    size = "whole" if chunk is None else f"chunk {chunk}"
                    spsa[f"torch.func.vmap {size}, {label}"] = with_threads(torch, count, work)
        record["ste"] = timing.in_turn(ste, rounds)
        record["spsa"] = timing.in_turn(spsa, rounds)
    return record


def show(record):
    """The record as text: two tables, and the ratio to the best of PyTorch's ways."""
    parts = []
    for key, title in (
        ("ste", "One STE step with Adam: 2-bit 784-10-10, batch 100, float32"),
        ("spsa", f"One n-SPSA gradient, n = {record['n']}: the same network and batch"),
    ):
        seconds = record[key]
        ours = median(seconds["minizo"])
        rows = [timing.row(name, values, ours) for name, values in seconds.items()]
        parts += [title, "", report.table(["", "median", "10 % .. 90 %", "/ minizo"], rows), ""]
        theirs = {name: median(v) for name, v in seconds.items() if "orch" in name}
        if theirs:
            best = min(theirs, key=theirs.get)
            parts += [f"minizo / best of PyTorch ({best}): {ours / theirs[best]:.2f}", ""]
        else:
            parts += ["PyTorch is not installed: nothing to compare with (pip install torch)", ""]
    parts.append(", ".join(f"{k} {v}" for k, v in record["machine"].items()))
    return "\n".join(parts)

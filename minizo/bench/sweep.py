"""``python -m minizo.bench sweep``: seeds trained together, and one by one."""

import os
import time

from .. import STE, Objective, data, fit, fit_many, models, optim, quantizers, report
from . import timing

QUICK = {"rounds": 1, "runs": 4, "steps": 100}
BAR = 1 / 3  # of the time one by one, what the package wants to stay below


def run(rounds=1, runs=32, steps=1200, dtype="float32"):
    """Measure, and return the record that the command prints and saves.

    Parameters
    ----------
    rounds : int
        Measurements of each.
    runs : int
        Seeds 0, 1, ... of a 2-bit 784-10-10 that the STE trains with Adam on MNIST.
    steps : int
    dtype : str

    Returns
    -------
    dict
        ``machine``, ``runs``, ``steps``; ``seconds`` and ``processor``: name -> list of seconds,
        by the clock and of processor time, 20 records of each run among them; ``gap``: largest
        difference of a final training loss between the two ways.
    """
    cores = os.cpu_count() or 1
    digits = data.mnist().astype(dtype)
    objective = Objective(models.mlp(784, 10, 10), quantizers.MidRise())
    rule = optim.Adam(0.01)

    def one_by_one():
        return [fit(objective, digits, STE(), rule, steps=steps, seed=s) for s in range(runs)]

    def together(workers):
        def work():
            pairs = [(rule, seed) for seed in range(runs)]
            return fit_many(objective, digits, STE(), pairs, steps=steps, workers=workers)

        return work

    ways = {"one by one": one_by_one}
    for count in sorted({1, cores}):
        ways[f"together, {count} thread{'s' * (count > 1)}"] = together(count)
    machine = timing.machine() | {"load before": timing.load()}
    record = {"machine": machine, "runs": runs, "steps": steps, "dtype": dtype}
    record |= {"seconds": {name: [] for name in ways}, "processor": {name: [] for name in ways}}
    losses = {}
    for _ in range(rounds):
        for name, work in ways.items():
            began, spent = time.perf_counter(), time.process_time()
            found = work()
            record["seconds"][name].append(time.perf_counter() - began)
            record["processor"][name].append(time.process_time() - spent)
            losses[name] = [own.final("train_loss") for own in found]
    record["gap"] = max(
        abs(own - other)
        for name in ways
        for own, other in zip(losses[name], losses["one by one"], strict=True)
    )
    return record


def show(record):
    """The record as text."""
    rows = [
        [
            name,
            timing.duration(min(values)),
            timing.duration(min(record["processor"][name])),
            f"{min(values) / min(record['seconds']['one by one']):.2f}",
        ]
        for name, values in record["seconds"].items()
    ]
    return "\n".join(
        [
            f"{record['runs']} runs of {record['steps']} steps: STE, 2-bit 784-10-10, batch 100, "
            f"{record['dtype']}, MNIST, 20 records each",
            "",
            report.table(["", "least of the clock", "of the processor", "/ one by one"], rows),
            "",
            f"largest difference of a final training loss: {record['gap']:.1e}",
            f"the package wants the last line to stay below {BAR:.2f}",
            ", ".join(f"{k} {v}" for k, v in record["machine"].items()),
        ]
    )

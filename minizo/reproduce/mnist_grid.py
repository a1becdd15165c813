"""``python -m minizo.reproduce.mnist_grid``: every estimator on one grid of optimisers and rates.

The grid behind the defaults of ``python -m minizo.mnist`` and the table of the README: SGD and
Adam with four learning rates each, the same for every method, three seeds.
"""

import sys
from statistics import fmean, stdev

from .. import FOGZO, SPSA, STE, __version__, report, sweep
from ..commands import guarded
from ..files import write_csv, write_text
from ..optim import SGD, Adam
from . import command

METHODS = {
    "STE": STE(),
    "n-SPSA n=10": SPSA(n=10),
    "FOGZO n=1, beta constant": FOGZO(n=1, beta_schedule="constant"),
    "FOGZO n=1, beta decayed": FOGZO(n=1, beta_schedule="linear"),
    "FOGZO n=10, beta constant": FOGZO(n=10, beta_schedule="constant"),
    "FOGZO n=10, beta decayed": FOGZO(n=10, beta_schedule="linear"),
}
DETAIL = 20  # steps between records of the methods whose early steps matter
OPTIMIZERS = [SGD(lr) for lr in (0.03, 0.1, 0.3, 1.0)] + [
    Adam(lr) for lr in (0.001, 0.003, 0.01, 0.03)
]


def cases(seeds, steps):
    """(method, optimiser, seed) -> Case, for the whole grid."""
    return {
        (method, optimizer, seed): sweep.Case(
            estimator, optimizer, seed, steps, record_every=None if "SPSA" in method else DETAIL
        )
        for method, estimator in METHODS.items()
        for optimizer in OPTIMIZERS
        for seed in range(seeds)
    }


def summarise(plan, records):
    """(method, optimiser) -> (mean final loss, its standard deviation, mean accuracy).

    A setting with a seed that diverged has an infinite loss.
    """
    groups = {}
    for (method, optimizer, _), record in zip(plan, records, strict=True):
        groups.setdefault((method, optimizer), []).append(record)
    table = {}
    for key, group in groups.items():
        if any("error" in record for record in group):
            table[key] = (float("inf"), 0.0, 0.0)
            continue
        losses = [record["records"]["train_loss"][-1] for record in group]
        accuracy = fmean(record["records"]["test_accuracy"][-1] for record in group)
        table[key] = (fmean(losses), stdev(losses) if len(losses) > 1 else 0.0, accuracy)
    return table


def show(table):
    """The grid and the best setting of each method, as text."""
    names = [f"{type(o).__name__} {o.lr:g}" for o in OPTIMIZERS]
    grid, best = [], []
    for method in METHODS:
        losses = [table[method, optimizer][0] for optimizer in OPTIMIZERS]
        least = min(range(len(losses)), key=losses.__getitem__)
        marks = [f"{x:.3f}{'*' if i == least else ' '}" for i, x in enumerate(losses)]
        grid.append([method, *marks])
        mean, spread, accuracy = table[method, OPTIMIZERS[least]]
        best.append(
            [method, names[least], f"{mean:.3f} +- {spread:.3f}", f"{100 * accuracy:.2f} %"]
        )
    return (
        "Mean training loss (* the best of its row)\n\n"
        + report.table(["", *(f"{name} " for name in names)], grid)
        + "\n\nEvery method at its best\n\n"
        + report.table(["", "optimiser, rate", "training loss", "test accuracy"], best)
    )


def write_grid(path, table):
    """The grid as CSV: one line a method, optimiser and rate."""
    rows = [
        [method, type(optimizer).__name__, optimizer.lr, *(f"{x:.6f}" for x in numbers)]
        for (method, optimizer), numbers in table.items()
    ]
    header = ["method", "optimizer", "lr", "train_loss", "stdev", "test_accuracy"]
    write_csv(path, header, rows)


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser("mnist_grid", __doc__.partition("\n\n")[2], "1200")
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The sweep and the table."""
    seeds, steps = command.counts(arguments, seeds=3, steps=1200)
    run, out = command.places(arguments, "mnist_grid")
    plan = cases(seeds, steps)
    records = run(list(plan.values()))
    table = summarise(plan, records)
    text = (
        f"{records[0]['data']}: 2-bit midrise 784-10-10, {steps} steps of 100, "
        f"{command.in_words(seeds)}, minizo {__version__}\n\n{show(table)}\n"
    )
    write_text(out / "mnist_grid.txt", text)
    write_grid(out / "mnist_grid.csv", table)
    print(f"{text}\nfiles: {out / 'mnist_grid'}.txt and .csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())

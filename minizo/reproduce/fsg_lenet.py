"""The part ``lenet`` of `minizo.reproduce.fsg`: a small convolutional network on MNIST.

Every method trains with Adam at every rate of one grid with a tuning seed; the rate of least
training loss is the method's, and the seeds that are reported train with it alone. The network is
so small, at half of the images' resolution, that all of it takes ten minutes on two cores.
"""

from dataclasses import dataclass
from math import prod

from .. import Objective, __version__, figures, models, sweep
from ..compare import TUNING
from ..estimators.learned import Learned
from ..files import write_text
from ..lab.generated import frozen, watches
from ..optim import Adam
from ..quantizers import DoReFa
from ..settings import Count
from . import command, fsg_report
from .zoo import small_mnist

METHODS = ("STE", "gain", "FSG-gain", "fast-net", "FCGrad", "MultiFC", "LSTMFC", "FSG")
FROZEN = ("fast-net", "FCGrad", "MultiFC", "LSTMFC", "FSG")
RATES = tuple(map(Adam, (0.01, 0.03, 0.1)))
STEPS, BATCH = 300, 50
EXAMPLES = 5000  # training images that the loss of a record is measured on
RECORDS = 5  # a run


@dataclass(frozen=True)
class LeNetCase(sweep.Case):
    """A run of the LeNet of 4 and 8 channels, all of whose weights are binary."""

    batch: Count = BATCH
    quantizer: object = DoReFa(bits=1)

    def network(self, data):
        """The network."""
        return models.lenet((4, 8), data.classes, input_shape=tuple(data.x_train.shape[1:]))

    def objective(self, data):
        """Its loss with binary weights."""
        network = self.network(data)
        return Objective(network, self.quantizer, quantized=models.weights(network))

    def cost(self):
        """Seconds on one core, about: for the order of the runs and the time that is left."""
        step = 0.002
        if isinstance(self.estimator, Learned):
            parts = self.estimator.parts(4)
            step += 1e-9 * sum(p.net.macs(1600, self.estimator.length) for p in parts)
        return self.steps * step

    def options(self, data, path):
        """The trace, and how many examples a record looks at."""
        return {
            "loss_examples": min(EXAMPLES, len(data.y_train)),
            "watch": watches(self.estimator),
        }


def comparison(table, steps, seeds, run):
    """Tune every method on a seed of its own, then run its best rate with the others.

    Parameters
    ----------
    table : dict of str to estimator
    steps, seeds : int
    run : callable
        list of case -> list of record.

    Returns
    -------
    tuned, every
        As `minizo.reproduce.fsg.comparison` returns them.
    """

    def case(estimator, optimizer, seed):
        every = max(1, steps // RECORDS)
        return LeNetCase(estimator, optimizer, seed, steps, record_every=every)

    tried, reported = command.tuned(
        run, dict.fromkeys(table, RATES), lambda name, rate, seed: case(table[name], rate, seed),
        [TUNING], range(seeds),
    )  # fmt: skip
    tuned = {(name, "Adam"): (rate, group) for (name, rate), group in reported.items()}
    still = {name: tuned[name, "Adam"][0] for name in FROZEN if name in table}
    groups = command.grouped(
        run, list(still), lambda name, seed: case(frozen(table[name]), still[name], seed),
        range(seeds),
    )  # fmt: skip
    tuned |= {(f"{name}, frozen", "Adam"): (still[name], group) for name, group in groups.items()}
    return tuned, [(name, rate, TUNING, record) for (name, rate), (record,) in tried.items()]


def at_the_edge(tuned):
    """Methods whose best rate is the least or the greatest of the grid: they may be tuned badly."""
    ends = RATES[0], RATES[-1]
    return [name for (name, _), (rate, _) in tuned.items() if rate in ends and "frozen" not in name]


def part(table, controls, rate, run, out, *, steps=None, seeds=10):
    """Run the part, write its report, CSV and picture, and return the report.

    Parameters
    ----------
    table : dict of str to estimator
        Those of `METHODS` are compared.
    controls : tuple of str
    rate : float
        Of the hypernetworks, for the report.
    run : callable
        (list of case, callable that loads the data) -> list of record.
    out : Path
    steps : int, optional
        By default 300.
    seeds : int
    """
    steps = steps or STEPS
    chosen = {method: table[method] for method in METHODS if method in table}
    images = small_mnist()
    tuned, every = comparison(chosen, steps, seeds, lambda cases: run(cases, small_mnist))
    objective = LeNetCase(chosen["STE"]).objective(images)
    binary = sum(prod(objective.network.shapes[w]) for w in objective.quantized)
    edge = at_the_edge(tuned)
    title = f"LeNet of 4 and 8 channels, {steps} steps of {BATCH}, Adam"
    text = "\n".join([
        f"minizo {__version__}, {images.name}: {binary:,} of {objective.network.d:,} parameters "
        f"binary (DoReFa); learning rates fall linearly to 0, hypernetworks Adam {rate:g}",
        f"The grid: {', '.join(f'Adam {o.lr:g}' for o in RATES)}; every method tuned on seed "
        f"{TUNING} by training loss, its best rate then run with seeds 0 to {seeds - 1}. Training "
        f"loss over the first {min(EXAMPLES, len(images.y_train)):,} training images, test "
        f"accuracy over {len(images.y_test):,}",
        "Best at an end of the grid, so perhaps better beyond it: "
        + ("; ".join(edge) if edge else "none"),
        "python -m minizo.reproduce.fsg lenet",
        "",
        fsg_report.comparison_text(title, tuned, every, controls, None),
    ])  # fmt: skip
    write_text(out / "fsg_lenet.txt", text.rstrip("\n") + "\n")
    fsg_report.write_runs(out / "fsg_lenet.csv", every)
    fsg_report.write_trace(out / "fsg_lenet_trace.csv", tuned)
    curves = fsg_report.curves(tuned)
    figures.save(figures.learned_curves(curves, f"{images.name}: {title}"), out / "fsg_lenet.png")
    return text

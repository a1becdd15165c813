"""The parts ``lenet`` and ``cifar`` of `minizo.reproduce.fsg`: convolutional networks, in small.

Every method trains with Adam at every rate of one grid with a tuning seed; the rate of least
training loss is the method's, and the seeds that are reported train with it alone. The networks are
so small that a part takes some ten minutes on two cores; ``--full`` is the network, the data and
the length of training of the papers, for a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

from .. import Objective, __version__, backend, data, figures, models, sweep
from ..compare import TUNING
from ..data.augment import CropFlip
from ..estimators.learned import Learned
from ..files import write_text
from ..lab.generated import frozen, watches
from ..optim import Adam
from ..quantizers import DoReFa
from . import fsg_report
from .zoo import halved, small_mnist

PARTS = ("lenet", "cifar")
METHODS = ("STE", "gain", "FSG-gain", "fast-net", "FCGrad", "MultiFC", "LSTMFC", "FSG")
FROZEN = ("fast-net", "FCGrad", "MultiFC", "LSTMFC", "FSG")
RATES = tuple(map(Adam, (0.01, 0.03, 0.1)))
RECORDS = 5  # a run


def small_cifar():
    """The first 10,000 training and 2,000 test images of CIFAR-10, 2x2 pixels averaged into one."""
    whole = data.cifar10()
    n, m = min(10_000, len(whole.y_train)), min(2000, len(whole.y_test))
    few = whole.head(n, m)
    return replace(
        few,
        name=f"{whole.name} (16x16, first {n:,} training and {m:,} test images)",
        x_train=halved(few.x_train),
        x_test=halved(few.x_test),
    )


def cifar_on_gpu():
    """All of CIFAR-10 in the memory of a GPU."""
    return data.cifar10().to(backend.get("cupy"))


@dataclass(frozen=True)
class Setting:
    """A network, its data and how it trains.

    title : str;  load : callable, the data set;  build : callable (input_shape, classes) -> Network
    ends : bool, whether the first and the last layer are binary, too;  steps, batch : int
    examples : int, training images that the loss of a record is measured on
    still : bool, whether methods also run with their networks as they were drawn
    augment : callable, see `minizo.fit`
    """

    title: str
    load: Callable
    build: Callable
    ends: bool
    steps: int
    batch: int
    examples: int
    still: bool
    augment: Callable | None = None


def _lenet(shape, classes):
    return models.lenet((4, 8), classes, input_shape=shape)


def _resnet8(shape, classes):
    return models.resnet(8, classes, width=4, shortcut="pad", input_shape=shape)


def _resnet20(shape, classes):
    return models.resnet(20, classes, shortcut="pad", input_shape=shape)


SETTINGS = {
    "lenet": Setting("LeNet of 4 and 8 channels", small_mnist, _lenet, True, 300, 50, 5000, True),
    "cifar": Setting(
        "ResNet-8 of 4, 8 and 16 channels", small_cifar, _resnet8, False, 200, 50, 2000, False
    ),
    "cifar-full": Setting(
        "ResNet-20", cifar_on_gpu, _resnet20, False, 39_100, 128, 10_000, False, CropFlip()
    ),  # 100 epochs
}


@dataclass(frozen=True)
class ConvCase(sweep.Case):
    """A run of one of the `SETTINGS`, which ``model`` names."""

    model: str = "lenet"
    quantizer: object = DoReFa(bits=1)

    def network(self, data):
        """The network of the setting."""
        return SETTINGS[self.model].build(tuple(data.x_train.shape[1:]), data.classes)

    def objective(self, data):
        """Its loss with binary weights: all, or all but the first and the last layer's."""
        network = self.network(data)
        names = models.weights(network, ends=SETTINGS[self.model].ends)
        return Objective(network, self.quantizer, quantized=names)

    def cost(self):
        """Seconds on one core, about: for the order of the runs and the time that is left."""
        step, weights = {"lenet": (0.002, 1600), "cifar": (0.01, 4600)}.get(self.model, (1.0, 3e5))
        if isinstance(self.estimator, Learned):
            parts = self.estimator.parts(4)
            step += 1e-9 * sum(p.net.macs(weights, self.estimator.length) for p in parts)
        return self.steps * step

    def options(self, data, path):
        """The trace, and what the setting says of records and images."""
        setting = SETTINGS[self.model]
        return {
            "loss_examples": min(setting.examples, len(data.y_train)),
            "augment": setting.augment,
            "watch": watches(self.estimator),
        }


def comparison(table, model, steps, seeds, run):
    """Tune every method on a seed of its own, then run its best rate with the others.

    Parameters
    ----------
    table : dict of str to estimator
    model : str
        Of `SETTINGS`.
    steps, seeds : int
    run : callable
        list of case -> list of record.

    Returns
    -------
    tuned, every
        As `minizo.reproduce.fsg.comparison` returns them.
    """
    setting = SETTINGS[model]

    def case(estimator, optimizer, seed):
        every = max(1, steps // RECORDS)
        return ConvCase(
            estimator, optimizer, seed, steps, setting.batch, record_every=every, model=model
        )

    plan = {
        (name, rate, TUNING): case(table[name], rate, TUNING) for name in table for rate in RATES
    }
    found = dict(zip(plan, run(list(plan.values())), strict=True))
    best = fsg_report.best_settings(found)
    variants = {(name, ""): estimator for name, estimator in table.items()}
    if setting.still:
        variants |= {(name, ", frozen"): frozen(table[name]) for name in FROZEN if name in table}
    last = {
        (name, suffix, seed): case(estimator, best[name, "Adam"], seed)
        for (name, suffix), estimator in variants.items()
        for seed in range(seeds)
    }
    tuned = {}
    for (name, suffix, _), record in zip(last, run(list(last.values())), strict=True):
        key = name + suffix, "Adam"
        tuned.setdefault(key, (best[name, "Adam"], []))[1].append(record)
    return tuned, [(*key, record) for key, record in found.items()]


def at_the_edge(tuned):
    """Methods whose best rate is the least or the greatest of the grid: they may be tuned badly."""
    ends = RATES[0], RATES[-1]
    return [name for (name, _), (rate, _) in tuned.items() if rate in ends and "frozen" not in name]


def part(name, table, controls, rate, run, out, *, steps=None, seeds=10, full=False):
    """Run a part, write its report, CSV and picture, and return the report.

    Parameters
    ----------
    name : {"lenet", "cifar"}
    table : dict of str to estimator
        Those of `METHODS` are compared.
    controls : tuple of str
    rate : float
        Of the hypernetworks, for the report.
    run : callable
        (list of case, callable that loads the data) -> list of record.
    out : Path
    steps : int, optional
        By default those of the setting.
    seeds : int
    full : bool
        The network of the papers in place of the small one; ``cifar`` only.
    """
    model = f"{name}-full" if full else name
    setting = SETTINGS[model]
    steps = steps or setting.steps
    chosen = {method: table[method] for method in METHODS if method in table}
    images = setting.load()
    tuned, every = comparison(chosen, model, steps, seeds, lambda cases: run(cases, setting.load))
    objective = ConvCase(chosen["STE"], model=model).objective(images)
    binary = sum(prod(objective.network.shapes[w]) for w in objective.quantized)
    edge = at_the_edge(tuned)
    title = f"{setting.title}, {steps} steps of {setting.batch}, Adam"
    text = "\n".join([
        f"minizo {__version__}, {images.name}: {binary:,} of {objective.network.d:,} parameters "
        f"binary (DoReFa{'' if setting.ends else '; first and last layer real'}); learning rates "
        f"fall linearly to 0, hypernetworks Adam {rate:g}",
        f"The grid: {', '.join(f'Adam {o.lr:g}' for o in RATES)}; every method tuned on seed "
        f"{TUNING} by training loss, its best rate then run with seeds 0 to {seeds - 1}. Training "
        f"loss over the first {min(setting.examples, len(images.y_train)):,} training images, test "
        f"accuracy over {len(images.y_test):,}",
        "Best at an end of the grid, so perhaps better beyond it: "
        + ("; ".join(edge) if edge else "none"),
        f"python -m minizo.reproduce.fsg {name}{' --full' if full else ''}",
        "",
        fsg_report.comparison_text(title, tuned, every, controls, None),
    ])  # fmt: skip
    stem = f"fsg_{model.replace('-', '_')}"
    write_text(out / f"{stem}.txt", text.rstrip("\n") + "\n")
    fsg_report.write_runs(out / f"{stem}.csv", every)
    fsg_report.write_trace(out / f"{stem}_trace.csv", tuned)
    curves = fsg_report.curves(tuned)
    figures.save(figures.learned_curves(curves, f"{images.name}: {title}"), out / f"{stem}.png")
    return text

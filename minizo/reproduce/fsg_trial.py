"""The parts ``cifar`` and ``ablations`` of `minizo.reproduce.fsg`: where gains are claimed.

MetaQuant and FSG report their gains on deep residual networks, each started from weights in full
precision. This is that setting, as far as two cores go: ResNet-20 from the checkpoint that the
authors of MetaQuant published, DoReFa with one bit in all layers but the first and the last.

    cifar        1. Adam, every method at the best of three rates, found by training loss on a
                    tuning seed;
                 2. SGD, every method at the published rate .001, and the STE also at its best rate;
                 3. what a step costs;
    ablations    FSG with another beta, length, slow-net, without its embedding, never trained.

Differences of the test accuracy are taken seed by seed. The published numbers stand beside.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import Objective, __version__, backend, data, figures, fit, models, start, sweep
from ..commands.shell import notice
from ..compare import TUNING
from ..data.augment import CropFlip
from ..errors import InputError
from ..estimators import STE
from ..estimators.learned import Learned
from ..files import write_csv, write_text
from ..lab.generated import frozen, watches
from ..optim import SGD, Adam, Momentum
from ..quantizers import DoReFa, FullPrecision
from ..settings import Count
from . import command
from . import fsg_trial_report as show

CHECKPOINT = "metaquant-checkpoints/ResNet20-CIFAR10-pretrain.pth"
DEPTHS = (20, 32, 44, 56, 110)
RATES = tuple(map(Adam, (0.0003, 0.001, 0.003)))
PUBLISHED = SGD(0.001)
SGD_RATES = (PUBLISHED, *map(SGD, (0.01, 0.1, 1.0)))
TITLES = {"cifar": "The trial of learned gradients", "ablations": "FSG with one setting changed"}
CONTROLS = ("gain", "layer-gain", "FSG-gain", "FSG-EMA")
ADAM = ("STE", *CONTROLS, "fast-net", "FCGrad", "MultiFC", "LSTMFC", "FSG")
INHERIT = ("FSG, fast committed",)  # at FSG's rate
AT_SGD = ("STE", "gain", "FCGrad", "MultiFC", "LSTMFC", "FSG")


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    depth, width : int, of the network;  steps, batch, seeds : int;
    train, test : int, images of the data set, the first ones; loss : int, training images that the
    recorded loss is of;  pretrain : int, steps in full precision where there is no checkpoint;
    betas, lengths : tuple, of FSG, beside its own.
    """

    depth: int = 20
    width: int = 16
    steps: int = 100
    batch: int = 32
    seeds: int = 5
    train: int = 10_000
    test: int = 2_000
    loss: int = 1_000
    pretrain: int = 600
    betas: tuple = (0.1, 0.5, 0.7, 0.9)
    lengths: tuple = (3, 4, 5, 7)


QUICK = Sizes(8, 4, 4, 10, 2, 200, 100, 100, 10, (0.9,), (3,))
FULL = Sizes(steps=39_100, batch=128, train=50_000, test=10_000, loss=10_000)  # 100 epochs, a GPU


@dataclass(frozen=True)
class Weights:
    """The file that runs start from, and the SHA-256 of its bytes, which tells it from others."""

    path: str = field(repr=False)
    sha256: str

    @classmethod
    def of(cls, path):
        """Those of a file."""
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
        return cls(str(path), backend.sha256(content)[:16])


@dataclass(frozen=True)
class TrialCase(sweep.Case):
    """A run of the trial.

    Parameters
    ----------
    weights : Weights, optional
        Where it starts; by default from weights that are drawn.
    depth, width : int
        Of the residual network.
    loss : int
        Training images that the recorded loss is of.
    quantizer : Quantizer
        Of all layers but the first and the last.
    """

    weights: Any = None
    depth: Count = 20
    width: Count = 16
    loss: Count = 1_000
    quantizer: object = field(default_factory=partial(DoReFa, bits=1))

    def network(self, data):
        """The residual network for the data."""
        return models.resnet(
            self.depth, data.classes, width=self.width, input_shape=tuple(data.x_train.shape[1:])
        )

    def objective(self, data):
        """Its loss, the inner weights binary."""
        network = self.network(data)
        return Objective(network, self.quantizer, models.weights(network, ends=False))

    def cost(self):
        """Forwards of the run, a backward counted as two, and the generators in forwards, too."""
        forwards = 3.0
        if isinstance(self.estimator, Learned):
            network = models.resnet(self.depth, width=self.width)
            parts, length = self.estimator.parts(20), self.estimator.length
            macs = sum(part.net.macs(network.d, length) for part in parts)
            # a scan makes some fifteen times fewer of them a second than a product does
            forwards += 15.0 * macs / (network.macs * self.batch)
        return self.steps * forwards

    def options(self, data, path):
        """Start, augmentation, and the trace of the generators."""
        found = {
            "loss_examples": min(self.loss, data.y_train.shape[0]),
            "augment": CropFlip(),
            "watch": watches(self.estimator),
        }
        if self.weights is not None:
            network = self.objective(data).network
            begin = start.load(self.weights.path, self.network(data))
            found["start"] = network.init(self.seed, like=data.like, values=begin.values)
        return found


def images(sizes, classes=10, xp=None):
    """The first images of CIFAR-10 (or -100), or of what is drawn in its place.

    MetaQuant and FSG normalise CIFAR-100 to -1 ... 1, and so does the published ResNet-56.
    """
    whole = data.cifar10() if classes == 10 else data.cifar100(mean=0.5, std=0.5)
    train, test = whole.y_train.shape[0], whole.y_test.shape[0]
    few = whole.head(min(train, sizes.train), min(test, sizes.test))
    return few if xp is None else few.to(xp)


def known(place):
    """(depth, classes) of the residual network whose weights a file holds."""
    problem = None
    for depth in DEPTHS:
        for classes in (10, 100):
            try:
                start.load(place, models.resnet(depth, classes), "--start")
            except InputError as error:
                problem = problem or error
            else:
                return depth, classes
    raise problem


def weights(place, sizes, folder, quiet):
    """Where runs start: (`Weights`, the sizes with the depth and width of their network, classes).

    ``place``, or the published checkpoint in $MINIZO_DATA; where there is none, a network is
    trained in full precision first, and kept in the folder.
    """
    root = os.environ.get("MINIZO_DATA")
    if place is None and root and Path(root, CHECKPOINT).is_file() and sizes.depth == 20:
        place = Path(root, CHECKPOINT)
    if place is not None:
        depth, classes = known(place)
        return Weights.of(place), replace(sizes, depth=depth, width=16), classes
    path = Path(folder, f"full-precision-{sizes.depth}-{sizes.width}-{sizes.pretrain}.npz")
    if not quiet:
        what = f"a ResNet-{sizes.depth} of width {sizes.width}"
        if sizes.depth == 20:
            what = f"no published checkpoint ($MINIZO_DATA/{CHECKPOINT}, or --start FILE)"
        notice(
            f"{what}: {sizes.pretrain} steps in full precision first, which are far from the "
            "published ResNet-20's 91.50 %"
        )
    found = images(sizes)
    network = TrialCase(STE(), depth=sizes.depth, width=sizes.width).network(found)
    fit(
        Objective(network, FullPrecision()), found, STE(), Momentum(0.05), steps=sizes.pretrain,
        batch=sizes.batch, augment=CropFlip(), path=path, resume=path.exists(),
        record_every=sizes.pretrain, loss_examples=min(sizes.loss, found.y_train.shape[0]),
    )  # fmt: skip
    return Weights.of(path), sizes, found.classes


def changed(table, sizes):
    """(what varies, its value in words) -> estimator: FSG with one setting changed."""
    base = table["FSG"]
    found = {("beta", f"{b:g}"): replace(base, slow_share=b) for b in sizes.betas}
    found |= {("length", f"{n}"): replace(base, length=n) for n in sizes.lengths}
    others = {
        ("slow-net", "LSTM"): "FSG, LSTM",
        ("slow-net", "k g"): "FSG-gain",
        ("slow-net", "none (fast-net)"): "fast-net",
    }
    found |= {key: table[name] for key, name in others.items() if name in table}
    found["embedding", "off"] = replace(base, embedding=False)
    found["networks", "as drawn, never trained"] = frozen(base)
    return found


@dataclass(frozen=True)
class Trial:
    """What is compared, on what, and how runs are made.

    table : dict of str to estimator;  sizes : Sizes;  begin : Weights or None;
    run : callable, list of case -> list of record.
    """

    table: dict
    sizes: Sizes
    begin: Weights | None
    run: Callable

    @property
    def tuned_at_adam(self):
        """The methods that are tuned."""
        return [name for name in ADAM if name in self.table]

    @property
    def at_sgd(self):
        """The methods at the published rate, by name."""
        return {name: self.table[name] for name in AT_SGD if name in self.table}

    @property
    def inheriting(self):
        """What runs at FSG's rate, by name."""
        return {name: self.table[name] for name in INHERIT if name in self.table}

    def case(self, estimator, optimizer, seed):
        """One run."""
        sizes = self.sizes
        return TrialCase(
            estimator, optimizer, seed, sizes.steps, sizes.batch, record_every=sizes.steps,
            weights=self.begin, depth=sizes.depth, width=sizes.width, loss=sizes.loss,
        )  # fmt: skip

    def tuned(self, grid):
        """(records of the tuning seed, name -> (rate, records)), each at its best rate."""

        def case(name, rate, seed):
            return self.case(self.table[name], rate, seed)

        seeds = range(self.sizes.seeds)
        tried, reported = command.tuned(self.run, grid, case, [TUNING], seeds)
        return tried, {name: (rate, group) for (name, rate), group in reported.items()}

    def straight(self, estimators, optimizer):
        """Name -> (optimizer, records), without tuning."""

        def case(name, seed):
            return self.case(estimators[name], optimizer, seed)

        seeds = range(self.sizes.seeds)
        found = command.grouped(self.run, list(estimators), case, seeds)
        return {name: (optimizer, group) for name, group in found.items()}

    def comparison(self):
        """Every method, as a `fsg_trial_report.Found`."""
        tried, adam = self.tuned(dict.fromkeys(self.tuned_at_adam, RATES))
        adam |= self.straight(self.inheriting, adam["FSG"][0])
        more, ste = self.tuned({"STE": SGD_RATES})
        sgd = {show.AT_BEST: ste["STE"]} | self.straight(self.at_sgd, PUBLISHED)
        return show.Found(adam, sgd, {}, tried | more)

    def ablations(self):
        """FSG with one setting changed, as a `fsg_trial_report.Found`."""
        tried, adam = self.tuned({"FSG": RATES})
        rate = adam["FSG"][0]
        return show.Found(adam, {}, self.straight(changed(self.table, self.sizes), rate), tried)

    def forecast(self, name, found, workers):
        """How many runs a part makes, and how long they take, in words."""
        sizes, lead = self.sizes, self.case(STE(), RATES[0], 0)

        def times(estimators, count):
            return [(self.case(e, RATES[0], 0).cost(), count) for e in estimators]

        tuned, ste = len(RATES) + sizes.seeds, [self.table["STE"]]
        if name == "cifar":
            runs = times([self.table[n] for n in self.tuned_at_adam], tuned)
            runs += times(self.inheriting.values(), sizes.seeds)
            runs += times(ste, len(SGD_RATES) + sizes.seeds)
            runs += times(self.at_sgd.values(), sizes.seeds)
        else:
            runs = times([self.table["FSG"]], tuned)
            runs += times(changed(self.table, sizes).values(), sizes.seeds)
        count, forwards = sum(n for _, n in runs), sum(each * n for each, n in runs)
        words = command.expected(lead, found, forwards, 2 * count, workers)
        return f"{TITLES[name]}: {count} runs, {words}"


def generators(table):
    """How large the generators are, beside the papers', in words."""
    fsg = table["FSG"]
    words = f"FSG's slow-net: Mamba, expand {fsg.expand}, {fsg.states} states, rate {fsg.slow_lr:g}"
    paper = type(fsg)()
    words += f" (the paper's: {paper.expand}, {paper.states}, {paper.slow_lr:g})"
    if "LSTMFC" in table:
        lstm = table["LSTMFC"]
        words += f"; LSTMFC: {lstm.units} units, rate {lstm.hyper_lr:g}"
    return f"Generators are trained by Adam at a constant rate. {words}."


def part(
    name, table, sizes, run, folder, out, *, place=None, full=False, quiet=False, workers=None
):
    """Run a part, write its report, CSV and picture, and return the report.

    Parameters
    ----------
    name : {"cifar", "ablations"}
    table : dict of str to estimator
    sizes : Sizes
    run : callable
        (list of case, callable that loads the data) -> list of record.
    folder, out : path
        Of the runs, and of the results.
    place : path, optional
        A file with the weights to start from.
    full : bool
        On a GPU.
    quiet : bool
        Nothing is said before the runs.
    workers : int, optional
        For the forecast.
    """
    begin, sizes, classes = weights(place, sizes, folder, quiet)
    load = partial(images, sizes, classes, backend.get("cupy") if full else None)
    found = load()
    trial = Trial(table, sizes, begin, lambda cases: run(cases, load))
    if not quiet:
        notice(trial.forecast(name, found, workers))
    results = trial.comparison() if name == "cifar" else trial.ablations()
    objective = trial.case(STE(), RATES[0], 0).objective(found)
    binary = sum(prod(objective.network.shapes[own]) for own in objective.quantized)
    best = start.accuracy(start.load(begin.path, objective.network), objective.network, found)
    title = (
        f"{TITLES[name]}: ResNet-{sizes.depth}, {found.name}, {sizes.steps} steps of "
        f"{sizes.batch}, {command.in_words(sizes.seeds)}"
    )
    details = "\n".join([
        f"{title}, minizo {__version__}",
        f"From {Path(begin.path).name}, which in full precision has {100 * best:.2f} % of these "
        f"test images right; {binary:,} of {objective.network.d:,} parameters binary (DoReFa).",
        f"Images: training {found.y_train.shape[0]:,}, crops and mirror images of them; loss over "
        f"the first {min(sizes.loss, found.y_train.shape[0]):,}, test accuracy over "
        f"{found.y_test.shape[0]:,}. Rates fall linearly to 0.",
        generators(table),
        "Differences are of the same seeds, with 95 % intervals (not corrected for their number), "
        "* where 0 lies outside.",
        f"python -m minizo.reproduce.fsg {name}{' --full' if full else ''}",
    ])  # fmt: skip
    if name == "cifar":
        text = show.comparison_text(results, sizes, details, CONTROLS, RATES, TUNING)
    else:
        text = show.ablations_text(results, details)
    stem = f"fsg_{name}{'_full' if full else ''}"
    write_text(out / f"{stem}.txt", text)
    write_csv(out / f"{stem}.csv", *show.csv_rows(results))
    controls = CONTROLS if name == "cifar" else ()
    figures.save(show.picture(results, title, controls), out / f"{stem}.png")
    return text

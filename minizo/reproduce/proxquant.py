"""``python -m minizo.reproduce.proxquant``: ProxQuant against BinaryConnect from one warm start.

The ProxQuant paper finds that it ends at a lower error than BinaryConnect and nearer to the
full-precision weights that both start from, and that BinaryConnect's signs go on changing until
they are frozen. This command asks the same of binary networks on MNIST, a multi-layer perceptron or
a small convolutional one: all methods start from the same trained full-precision weights, are tuned
over as many settings each (learning rates, schedules, and variants), and are compared by error, by
SignChange(theta_0, theta_t), and by the share of weights that flip in a step. It stops and goes on:
every finished run is kept.

References
----------
Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant: quantized neural networks via proximal operators", ICLR
2019, arXiv 1810.00861, section 4.
"""

import sys
from dataclasses import dataclass, replace

import numpy as np

from .. import (
    STE,
    BinaryConnect,
    ProxConnect,
    ProxQuant,
    __version__,
    figures,
    models,
    report,
    sweep,
)
from ..commands import guarded
from ..commands.parts import read
from ..compare import TUNING
from ..errors import InputError, choose
from ..files import write_text
from ..lab.flips import CountFlips, level_change
from ..models import perceptron
from ..optim import Adam
from ..quantizers import FullPrecision, Sign
from . import command, zoo
from . import proxquant_report as show
from .proxquant_report import SCHEDULES, SHOWN, gather

FREEZE = 2 / 3
WARM = Adam(0.003)  # trains the full-precision start


@dataclass(frozen=True)
class ModelCase(sweep.Case):
    """A run of one of the networks that are compared.

    Parameters
    ----------
    model : {"mlp", "lenet", "small-resnet"}
        ``"mlp"`` has the hidden layers ``widths``.
    """

    model: str = "mlp"

    def alike(self):
        """None: each leaves its checkpoint, from which others start."""
        return None

    def network(self, data):
        """The network, for images of the size of the data's."""
        shape = tuple(data.x_train.shape[1:])
        if self.model == "lenet":
            return models.lenet(zoo.CHANNELS, data.classes, input_shape=shape)
        if self.model == "small-resnet":
            return models.small_resnet(data.classes, shape)
        return super().network(data)


@dataclass(frozen=True)
class WarmCase(ModelCase):
    """A run from the end of another one, with SignChange and flips in its records.

    Parameters
    ----------
    warm : ModelCase
        The run whose latent weights this one starts from; made by whoever needs it first. (Its
        running statistics, if its network has any, do not fit the quantised weights.)
    """

    warm: object = None
    quantizer: object = Sign()

    def alike(self):
        """The same for all that differ in seed, optimiser and warm start, where the rule allows."""
        return sweep.Case.alike(replace(self, warm=None))

    def options(self, data, path):
        """The warm start, and what is watched."""
        stored = None if path is None else path.parent / f"{self.warm.key(data)}.npz"
        warm = self.warm.train(data, stored)
        start = warm.theta
        watch = {
            "sign_change": lambda objective, state: level_change(objective, start, state.theta)
        }
        if isinstance(self.estimator, CountFlips):
            watch["flips"] = lambda objective, state: state.estimator.flips
        return {"start": start, "watch": watch}


# ------------------------------------------------------------------ what is compared


def strength(optimizer, pull, steps, freeze=FREEZE):
    """lam whose homotopy adds up to ``pull``: sum over t < freeze steps of eta_t lam t = pull.

    So one grid of pulls suits all learning rates and lengths. With L1, a pull of p moves a weight
    by up to p alpha in all.
    """
    total = sum(optimizer.rate(t / steps) * t for t in range(round(freeze * steps)))
    return pull / total


@dataclass(frozen=True)
class Method:
    """Variants of one method, by name; each makes its rule from (optimizer, steps)."""

    name: str
    variants: dict


def proxquant(power, pulls):
    """Variants of ProxQuant with clipped latent weights, as in the authors' code."""
    return {
        f"pull {pull:g}": lambda optimizer, steps, pull=pull: ProxQuant(
            power, strength(optimizer, pull, steps), clip=1.0, freeze=FREEZE
        )
        for pull in pulls
    }


METHODS = (
    Method("BinaryConnect", {
        "": lambda optimizer, steps: BinaryConnect(),
        "frozen": lambda optimizer, steps: BinaryConnect(freeze=FREEZE),
        "clipped": lambda optimizer, steps: BinaryConnect(clip=1.0),
        "clipped, frozen": lambda optimizer, steps: BinaryConnect(clip=1.0, freeze=FREEZE),
    }),
    Method("ProxQuant L1", proxquant("l1", (1, 3, 10, 30))),
    Method("ProxQuant L2", proxquant("l2", (1, 3, 10, 30))),
    Method("ProxConnect L1 (lazy)", {
        f"to {most}": lambda optimizer, steps, most=most: ProxConnect("l1", most / steps)
        for most in (30, 100, 300, 1000)
    }),
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """What is run on one network.

    Parameters
    ----------
    name : str
        As titles call it.
    stem : str
        Of the files' names.
    steps, batch : int
        Of a run.
    rates : tuple of float
        Learning rates of the grid.
    methods : tuple of Method
        With the variants of the grid.
    records : int
        Of the runs whose flips are counted; of the others only the end is looked at.
    tuned : int
        Tuning seeds, with which the grid is run. The best settings run with the reported seeds.
    """

    name: str
    stem: str
    steps: int
    batch: int
    rates: tuple
    methods: tuple
    records: int
    tuned: int = 1


def only(methods, part):
    """The methods with a part of their variants, a slice."""
    return tuple(Method(m.name, dict(list(m.variants.items())[part])) for m in methods)


# The convolutional networks meet MNIST at half its resolution: see `zoo.small_mnist`.
SETUPS = {
    "mlp": Setup("784-{hidden}-10", "proxquant", 2000, 100, (0.001, 0.003, 0.01, 0.03), METHODS,
                 records=40, tuned=3),
    "lenet": Setup("LeNet of {} and {} channels".format(*zoo.CHANNELS), "proxquant_lenet", 600, 50,
                   (0.01, 0.03), METHODS, records=10),
    "small-resnet": Setup("ResNet-8 of 8, 16 and 32 channels", "proxquant_resnet", 300, 50,
                          (0.01, 0.03), only(METHODS, slice(1, 3)), records=5),
}  # fmt: skip


def grid(methods, rates):
    """(method, optimiser, variant) of every setting."""
    return [
        (method, Adam(rate, schedule), variant)
        for method in methods
        for rate in rates
        for schedule in SCHEDULES
        for variant in method.variants
    ]


def starting(rule, optimizer, case, steps, record_every):
    """The `WarmCase` of a rule that starts from the end of ``case``."""
    return WarmCase(rule, optimizer, case.seed, steps, case.batch, case.widths, model=case.model,
                    warm=case, record_every=record_every)  # fmt: skip


def plan(settings, warm, steps):
    """(method, optimiser, variant, seed) -> case, for (method, optimiser, variant) each."""
    return {
        (method.name, optimizer, variant, case.seed): starting(
            method.variants[variant](optimizer, steps), optimizer, case, steps, steps
        )
        for method, optimizer, variant in settings
        for case in warm
    }


def watched(methods, chosen, warm, steps, records):
    """label -> cases whose flips are counted, at a constant learning rate and with nothing frozen.

    Each method's best setting of the grid with a constant rate, so that neither a schedule nor
    freezing stops the signs; ProxQuant L1 with all its pulls at that rate; and, for comparison,
    BinaryConnect with its best falling rate.
    """
    rules = {}
    for method in methods:
        optimizer, variant = chosen[method.name, "constant"]
        every = method.variants if method.name == "ProxQuant L1" else [variant]
        for name in every:
            detail = f", {name}" if len(every) > 1 else ""
            label = f"{method.name}, constant rate {optimizer.lr:g}{detail}"
            rules[label] = method.variants[name], optimizer
    binary = methods[0]
    optimizer, variant = chosen[binary.name, "linear"]
    label = f"{binary.name}, falling rate {optimizer.lr:g}"
    rules[label] = binary.variants[variant], optimizer
    return {
        label: [
            starting(CountFlips(replace(make(optimizer, steps), freeze=None)), optimizer, case,
                     steps, max(1, steps // records))
            for case in warm
        ]
        for label, (make, optimizer) in rules.items()
    }  # fmt: skip


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser(
        "proxquant", __doc__.split("\n\n")[1],
        "mlp 2000, lenet 600, small-resnet 300; --quick: at most 600", "10; --quick: 1",
        "runs/proxquant or such, or -quick",
    )  # fmt: skip
    add = parser.add_argument
    add(
        "--model",
        metavar="PART",
        default="mlp:hidden=32",
        help="the network: mlp:hidden=32 on MNIST, or lenet or small-resnet on 10,000 images of it "
        "at half the resolution, with a shorter grid (default: mlp:hidden=32)",
    )
    add(
        "--quick",
        action="store_true",
        help="under 3 minutes on 2 cores: at most 600 steps, 1 seed, 2 rates or 1, 1 variant each",
    )
    add("--warm", type=int, help="steps of the warm start (default: as many)")
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The sweeps and the report."""
    small, network = arguments.quick, read("model", arguments.model)
    model, hidden = network.name, network.get("hidden") or (32,)
    setup = choose("--model", model, SETUPS)
    if network.without("hidden").settings or len(hidden) != 1:
        raise InputError(
            f"{network.flag}: the comparison has the networks mlp:hidden=32, of any one width, "
            "lenet and small-resnet as they are"
        )
    perceptron(hidden)  # its width is looked at
    seeds, steps = command.counts(
        arguments,
        seeds=1 if small else 10,
        steps=min(600, setup.steps) if small else setup.steps,
    )
    (warm_steps,) = command.counts(arguments, warm=steps)
    rates, methods = setup.rates, setup.methods
    if small:
        rates, methods = rates[1:3], only(METHODS, slice(2, 3))
    sweep_of, out = command.places(arguments, f"{setup.stem}{'-quick' if small else ''}")

    def run(cases):
        return sweep_of(cases, None if model == "mlp" else zoo.small_mnist)

    def starts(first, count):
        return [
            ModelCase(STE(), WARM, seed, warm_steps, setup.batch, hidden, model=model,
                      quantizer=FullPrecision(), record_every=warm_steps)
            for seed in range(first, first + count)
        ]  # fmt: skip

    settings = grid(methods, rates)
    tuning, warm = starts(TUNING, 1 if small else setup.tuned), starts(0, seeds)
    full = run([*tuning, *warm])[len(tuning) :]
    cases = plan(settings, tuning, steps)
    tuned = gather(cases, run(list(cases.values())))
    chosen = show.winners(tuned)
    shown = {(method, *key) for (method, schedule), key in chosen.items() if schedule in SHOWN}
    cases = plan([(m, *key) for m, *key in settings if (m.name, *key) in shown], warm, steps)
    table = gather(cases, run(list(cases.values())))
    counted = watched(setup.methods, chosen, warm, steps, setup.records)
    found = run([case for group in counted.values() for case in group])
    labels = [label for label, group in counted.items() for _ in group]
    runs = [
        (label, show.with_rates(record["records"]))
        for label, record in zip(labels, found, strict=True)
        if "error" not in record
    ]
    title = (
        f"{full[0]['data']}: binary {setup.name.format(hidden=hidden[0])} from a full-precision "
        f"start, {steps} steps of {setup.batch}, {command.in_words(seeds)}"
    )
    flags = f"--model mlp:hidden={hidden[0]}" if model == "mlp" else f"--model {model}"
    words = (
        f"{len(tuned[methods[0].name])} settings a method (Adam at {' or '.join(map(str, rates))}, "
        f"{' or '.join(SCHEDULES)}, the method's own), tuned by training loss on "
        f"seed{'s' if len(tuning) > 1 else ''} {', '.join(str(case.seed) for case in tuning)};\n"
        "the best of them with the reported seeds. Differences: seed by seed, 95 % intervals.\n\n"
    )
    best = show.best_table(table, chosen, len(tuned[methods[0].name]))
    errors = [100.0 - 100.0 * record["records"]["test_accuracy"][-1] for record in full]
    text = "\n".join([
        f"{title}, minizo {__version__}, NumPy {np.__version__}",
        f"python -m minizo.reproduce.proxquant --seeds {seeds} --steps {steps} --warm {warm_steps} "
        f"{flags}{' --quick' if small else ''}", "",
        f"{words}Full precision after {warm_steps} steps: training loss "
        f"{report.spread(show.losses(full), 4)}, test error {report.spread(errors, 2)} %", "",
        "Every method at its best of the grid, by training loss: first with any schedule,\n"
        "then with a constant learning rate", "", best, "",
        "The best settings with a constant rate again, nothing frozen", "",
        show.flips_table(runs), "",
    ])  # fmt: skip
    write_text(out / f"{setup.stem}.txt", text)
    show.write_grid(out / f"{setup.stem}.csv", tuned, table)
    figures.save(figures.flips(runs, title), out / f"{setup.stem}.png")
    print(f"{text}\nfiles: {out / setup.stem}.txt, .csv and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())

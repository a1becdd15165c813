"""``python -m minizo.reproduce.fsg``: MetaQuant and FSG, and what is left of them beside controls.

Both papers report that a network which generates the gradient trains binary networks better than
the STE. This command trains small binary networks on MNIST with the STE, with their methods and
with controls, all over one grid of optimisers and learning rates, and asks of every difference:
does the STE with another step size do the same? A simpler rule? The method with its networks as
they were drawn, never trained? It stops and goes on: every finished run is kept.

Parts: ``mlp`` is the comparison; ``sweeps`` varies FSG's beta, its memory length and the rate of
its networks; ``long`` compares the methods that cost little, with more steps; ``size`` has the
slow-net of the paper, and few steps. ``lenet`` is a small convolutional network, some ten minutes
on two cores. ``cifar`` is the trial where the claims were made: ResNet-20 from the published
checkpoint in full precision, an hour on two cores (``--full``: as long as in the papers, on a GPU);
``ablations`` changes one setting of FSG there, an hour and a half.

References
----------
X. Chen et al., "Fast and slow gradient approximation for binary neural network optimization", AAAI
2025; S. Chen, W. Wang, S. J. Pan, "MetaQuant", NeurIPS 2019.
"""

import sys
from dataclasses import dataclass, replace

from .. import STE, FCGrad, MultiFC, __version__, figures, sweep
from ..commands import guarded
from ..compare import TUNING
from ..errors import InputError
from ..estimators import (
    FSG,
    LSTMFC,
    FastOnly,
    FSGAverage,
    FSGGain,
    FSGScaled,
    Gain,
    LayerGain,
)
from ..estimators.learned import Learned
from ..files import make_folder, write_text
from ..lab.generated import frozen, watches
from ..layers import BatchNorm1d, Flatten, Linear, ReLU
from ..network import Network
from ..optim import SGD, Adam
from ..quantizers import DoReFa
from . import command, fsg_lenet, fsg_published, fsg_report, fsg_trial

MLP_PARTS = ("mlp", "sweeps", "long", "size")
TRIAL_PARTS = tuple(fsg_trial.TITLES)
PARTS = (*MLP_PARTS, "lenet", *TRIAL_PARTS)
SMALL_RATE = SGD(0.01)  # far below the STE's best, as in the papers: shown by itself
OPTIMIZERS = [SMALL_RATE, *map(SGD, (1.0, 3.0, 10.0, 30.0)), *map(Adam, (0.01, 0.03, 0.1, 0.3))]
RECORDS = 15  # a run
SLOW = "slow"  # tuned on the first tuning seed only


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    seeds, tuning : int, seeds that are reported, and those of the tuning;
    steps, long, small : steps of a run, in the part ``long``, and in ``size``;
    rate : learning rate of the hypernetworks;  mamba : expand and states;  units : LSTMFC's width;
    slow_units : that of the LSTM that reads the history, and of the fast-net beside it.
    """

    seeds: int = 10
    tuning: int = 3
    steps: int = 100
    long: int = 600
    small: int = 25
    rate: float = 0.01
    mamba: tuple = (4, 4)
    units: int = 20
    slow_units: int = 8


AS_PUBLISHED = Sizes(rate=0.001, mamba=(100, 16), units=100, slow_units=100)


@dataclass(frozen=True)
class LearnedCase(sweep.Case):
    """A run with the trace of its generators in the records."""

    quantizer: object = DoReFa(bits=1)

    def network(self, data):
        """784-10-10 with batch normalisation behind both layers.

        Without normalisation sums of 784 signs leave a binary network that does not train.
        """
        inputs = data.x_train[0].size
        layers = {
            "flatten": Flatten(),
            "fc1": Linear(inputs, 10, bias=False),
            "bn1": BatchNorm1d(10),
            "act1": ReLU(),
            "fc2": Linear(10, data.classes, bias=False),
            "bn2": BatchNorm1d(data.classes),
        }
        return Network(layers, tuple(data.x_train.shape[1:]))

    def cost(self):
        """Seconds on one core, about: for the time that is left."""
        step = 0.001
        if isinstance(self.estimator, Learned):
            length = self.estimator.length
            step += 1e-9 * sum(p.net.macs(8000, length) for p in self.estimator.parts(2))
        return self.steps * step + 0.3

    def options(self, data, path):
        """The trace."""
        return {"watch": watches(self.estimator)}


def methods(sizes, quick=False):
    """name -> (estimator, whether it is slow)."""
    rate = {"hyper_lr": sizes.rate}
    rates = {"fast_lr": sizes.rate, "slow_lr": sizes.rate}
    expand, states = sizes.mamba
    mamba = rates | {"expand": expand, "states": states}
    lstm = rates | {"slow_net": "lstm", "units": sizes.slow_units}
    table = {
        "STE": (STE(), ""),
        "gain": (Gain(**rate), ""),
        "layer-gain": (LayerGain(**rate), ""),
        "FSG-gain": (FSGGain(**rates), ""),
        "FSG-EMA": (FSGAverage(**rates), ""),
        "fast-net": (FastOnly(**rates), ""),
        "FCGrad": (FCGrad(**rate), ""),
        "MultiFC": (MultiFC(**rate), ""),
        "LSTMFC": (LSTMFC(**rate, units=sizes.units), ""),
        "FSG": (FSG(**mamba), SLOW),
        "FSG, fast committed": (FSG(**mamba, commit="fast_only"), SLOW),
        "FSG, LSTM": (FSG(**lstm), SLOW),
        "FSG, scaled": (FSGScaled(**mamba), SLOW),
        "FSG, LSTM scaled": (FSGScaled(**lstm), SLOW),
    }
    wanted = ("STE", "gain", "FSG-gain", "FCGrad", "FSG")
    return {name: table[name] for name in (wanted if quick else table)}


CONTROLS = ("gain", "layer-gain", "FSG-gain", "FSG-EMA", "fast-net")
INHERIT = ("FSG, fast committed", "FSG, scaled", "FSG, LSTM scaled")


def comparison(table, optimizers, sizes, run, steps=None):
    """Tune every method on seeds of their own, then run its best settings with the others.

    Methods that `INHERIT` are not tuned: they run at the best rates of FSG.

    Returns
    -------
    tuned : dict of (method, kind) to (optimizer, list of record)
        ``kind`` is "SGD" or "Adam"; records in the order of seeds.
    every : list of (method, optimizer, seed, record)
        Of the tuning.
    """
    steps = steps or sizes.steps

    def case(estimator, optimizer, seed, every):
        return LearnedCase(estimator, optimizer, seed, steps, record_every=every)

    plan = {
        (name, optimizer, seed): case(table[name][0], optimizer, seed, steps)
        for name in table
        if name not in INHERIT
        for optimizer in optimizers
        for seed in range(TUNING, TUNING + (1 if table[name][1] == SLOW else sizes.tuning))
    }
    found = dict(zip(plan, run(list(plan.values())), strict=True))
    best = fsg_report.best_settings(found)
    best |= {
        (name, k): best["FSG", k] for name in table if name in INHERIT for k in ("SGD", "Adam")
    }
    variants = {(name, ""): table[name][0] for name in table}
    variants |= {
        (name, ", frozen"): frozen(table[name][0]) for name in fsg_lenet.FROZEN if name in table
    }
    records = max(1, steps // RECORDS)
    last = {
        (name, suffix, k, seed): case(estimator, best[name, k], seed, records)
        for (name, suffix), estimator in variants.items()
        for k in ("SGD", "Adam")
        if (name, k) in best
        for seed in range(sizes.seeds)
    }
    tuned = {}
    for (name, suffix, k, _), record in zip(last, run(list(last.values())), strict=True):
        tuned.setdefault((name + suffix, k), (best[name, k], []))[1].append(record)
    return tuned, [(*key, record) for key, record in found.items()]


def sweeps(base, optimizer, sizes, run, quick=False):
    """(what varies, value) -> record of FSG, seed 0, all else as in ``base``."""
    varied = {
        "beta": [("slow_share", b) for b in ((0.1, 0.9) if quick else (0.1, 0.3, 0.5, 0.7, 0.9))],
        "l": [("length", n) for n in ((3,) if quick else (3, 4, 5, 6, 7))],
        "networks' rate": [] if quick else [("rate", r) for r in (1e-30, 0.001, 0.01, 0.1)],
        "layout": [] if quick else [("layout", name) for name in ("flat", "coord")],
    }
    plan = {}
    for what, settings in varied.items():
        for name, value in settings:
            changed = {"fast_lr": value, "slow_lr": value} if name == "rate" else {name: value}
            plan[what, value] = LearnedCase(
                replace(base, **changed), optimizer, 0, sizes.steps,
                record_every=max(1, sizes.steps // RECORDS),
            )  # fmt: skip
    return dict(zip(plan, run(list(plan.values())), strict=True))


def by_size(table, optimizer, sizes, run):
    """name -> record: FSG with small and with the paper's Mamba, and the STE; seed 0."""
    base = table["FSG"][0]
    chosen = {
        "STE": STE(),
        "FSG, Mamba 4 x 4": replace(base, expand=4, states=4),
        "FSG, Mamba 8 x 4": replace(base, expand=8, states=4),
        "FSG, Mamba 100 x 16 (paper)": replace(base, expand=100, states=16),
    }
    every = max(1, sizes.small // RECORDS)
    plan = [
        LearnedCase(estimator, optimizer, 0, sizes.small, record_every=every)
        for estimator in chosen.values()
    ]
    return dict(zip(chosen, run(plan), strict=True))


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser(
        "fsg", __doc__.split("\n\n")[1],
        "100; lenet 300, --full 39,100; --quick: 40, cifar and ablations 4",
        "10, cifar and ablations 5; --quick: 1, these 2",
        "runs/fsg, or -quick",
    )  # fmt: skip
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"{' | '.join(PARTS)} (default: all)")
    add(
        "--quick",
        action="store_true",
        help="under 3 minutes on 2 cores: 40 steps, 1 seed, fewer methods, parts mlp and sweeps "
        "unless others are named",
    )
    add("--long", type=int, help="steps a run in the part long (default: 600)")
    add("--short", type=int, help="steps a run in the part size (default: 25)")
    add(
        "--start",
        metavar="FILE",
        help="cifar, ablations: weights in full precision of a ResNet-20, -32, -44, -56 or -110 "
        "(default: the published ResNet-20 in $MINIZO_DATA)",
    )
    add(
        "--full",
        action="store_true",
        help="cifar, ablations: all images, 39,100 steps, generators of the papers' size, on a GPU "
        "(CuPy)",
    )
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The sweeps and the report."""
    quick = arguments.quick
    parts = arguments.parts or (PARTS[:2] if quick else PARTS)
    for name in parts:
        if name not in PARTS:
            raise InputError(f"part {name!r} is unknown (known: {', '.join(PARTS)})")
    of_parts = {"start": TRIAL_PARTS, "full": TRIAL_PARTS, "long": ("long",), "short": ("size",)}
    for flag, own in of_parts.items():
        if getattr(arguments, flag) and not set(own) & set(parts):
            raise InputError(f"--{flag} is of the part {' and '.join(own)}; name that part, too")
    seeds, steps, long, short = command.counts(
        arguments, seeds=1 if quick else 10, steps=40 if quick else 100, long=600, short=25
    )
    sizes = Sizes(seeds, 1 if quick else 3, steps, long, short)
    run, out = command.places(arguments, f"fsg{'-quick' if quick else ''}")
    table = methods(sizes, quick)
    texts = []
    if any(name in MLP_PARTS for name in parts):
        texts.append(mlp_parts(parts, table, sizes, run, out, quick))
    if "lenet" in parts:
        estimators = {key: entry[0] for key, entry in table.items()}
        steps = sizes.steps if quick else arguments.steps
        texts.append(fsg_lenet.part(
            estimators, CONTROLS, sizes.rate, run, out, steps=steps, seeds=sizes.seeds
        ))  # fmt: skip
    texts += [trial(name, arguments, table, run, out) for name in TRIAL_PARTS if name in parts]
    print("\n\n".join(texts) + f"\n\nfiles: fsg*.txt, CSV and pictures in {out}")
    return 0


def trial(name, arguments, table, run, out):
    """A part of the trial."""
    quick, full = arguments.quick, arguments.full
    sizes = fsg_trial.QUICK if quick else fsg_trial.FULL if full else fsg_trial.Sizes()
    seeds, steps = command.counts(arguments, seeds=sizes.seeds, steps=sizes.steps)
    table = methods(AS_PUBLISHED) if full else table
    estimators = {name: entry[0] for name, entry in table.items()}
    folder = make_folder(arguments.folder or f"runs/fsg{'-quick' if quick else ''}", "--folder")
    return fsg_trial.part(
        name, estimators, replace(sizes, seeds=seeds, steps=steps), run, folder, out,
        place=arguments.start, full=full, quiet=arguments.quiet, workers=arguments.workers,
    )  # fmt: skip


def mlp_parts(parts, table, sizes, run, out, quick=False):
    """The parts with the small perceptron; writes ``fsg.txt``, CSV and pictures, returns the text.

    The other parts start from FSG's best rate with Adam, which the first finds.
    """
    optimizers = [SGD(1.0), SMALL_RATE, Adam(0.03)] if quick else OPTIMIZERS
    tuned, every = comparison(table, optimizers, sizes, run)
    shown = [name for name in parts if name in MLP_PARTS]
    text = [
        f"minizo {__version__}, {every[0][3]['data']}: binary (DoReFa) weights, batches of 100, "
        f"learning rates fall linearly to 0, hypernetworks Adam {sizes.rate:g}, "
        f"{command.in_words(sizes.seeds)}; Mamba of {sizes.mamba[0]} channels and "
        f"{sizes.mamba[1]} states, LSTMFC of {sizes.units} units, slow LSTM of {sizes.slow_units}",
        "The grid: "
        + ", ".join(f"{type(o).__name__} {o.lr:g}" for o in optimizers)
        + f". FSG and its LSTM are tuned on seed {TUNING}, the rest on {sizes.tuning} from there; "
        + "; ".join(INHERIT)
        + " run at FSG's rates",
        f"python -m minizo.reproduce.fsg {' '.join(shown)}",
        "",
    ]
    if "mlp" in parts:
        title = f"784-10-10 with batch normalisation, {sizes.steps} steps"
        text += [fsg_report.comparison_text(title, tuned, every, CONTROLS, SMALL_RATE)]
        fsg_report.write_runs(out / "fsg.csv", every)
        fsg_report.write_trace(out / "fsg_trace.csv", tuned)
        curves = fsg_report.curves(tuned)
        figures.save(figures.learned_curves(curves, title), out / "fsg.png")
        shown = fsg_report.traced(tuned, "Adam")
        figures.save(figures.generated(shown, f"{title}, Adam"), out / "fsg_trace.png")
    optimizer = tuned["FSG", "Adam"][0]
    if "sweeps" in parts:
        varied = sweeps(table["FSG"][0], optimizer, sizes, run, quick)
        spread = fsg_report.seed_spread(tuned["FSG", "Adam"][1])
        text += [fsg_report.sweeps_text(varied, optimizer, sizes, spread)]
        fsg_report.write_sweeps(out / "fsg_sweeps.csv", varied)
    if "long" in parts:
        cheap = {name: entry for name, entry in table.items() if entry[1] != SLOW}
        found = comparison(cheap, optimizers, sizes, run, steps=sizes.long)
        title = f"784-10-10 with batch normalisation, {sizes.long} steps, what costs little"
        text += [fsg_report.comparison_text(title, *found, CONTROLS, SMALL_RATE)]
        fsg_report.write_runs(out / "fsg_long.csv", found[1])
        fsg_report.write_trace(out / "fsg_long_trace.csv", found[0])
    if "size" in parts:
        text += [fsg_report.size_text(by_size(table, optimizer, sizes, run), optimizer, sizes)]
    text += ["Published, on networks and data that are out of reach here", "", fsg_published.text()]
    text = "\n".join(text) + "\n"
    write_text(out / "fsg.txt", text)
    return text


if __name__ == "__main__":
    sys.exit(main())

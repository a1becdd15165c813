"""``python -m minizo.reproduce.proxquant``: ProxQuant against BinaryConnect from one warm start.

The ProxQuant paper finds that it ends at a lower error than BinaryConnect and nearer to the
full-precision weights that both start from, and that BinaryConnect's signs go on changing until
they are frozen. This command asks the same of binary networks on MNIST, a multi-layer perceptron or
a small convolutional one, and of an LSTM that learns a text, binary and ternary: all methods start
from the same trained full-precision weights, are tuned over as many settings each (learning rates,
schedules, and variants), and are compared by error, by SignChange(theta_0, theta_t), and by the
share of weights that flip in a step. It stops and goes on: every finished run is kept.

References
----------
Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant: quantized neural networks via proximal operators", ICLR
2019, arXiv 1810.00861, section 4.
"""

import sys
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .. import STE, __version__, data, figures, models, report, sweep
from ..commands import guarded, language
from ..commands.parts import build, read
from ..commands.shell import notice
from ..compare import TUNING
from ..data.texts import PUBLIC
from ..errors import InputError, choose, require
from ..files import write_text
from ..lab.flips import CountFlips, level_change
from ..models import perceptron
from ..optim import Adam
from ..quantizers import FullPrecision, Sign
from ..settings import Count, whole
from . import command, zoo
from . import proxquant_report as show
from .proxquant_report import SCHEDULES, SHOWN, gather
from .proxquant_setups import METHODS, SETUPS, TEXT_METHODS, only

CONTEXT, WIDTH = 32, 64  # of a text: tokens of a sequence, units of the LSTM


@dataclass(frozen=True)
class ModelCase(sweep.Case):
    """A run of one of the networks that are compared.

    Parameters
    ----------
    model : str
        ``"mlp"``, which has the hidden layers ``widths``, ``"lenet"``, ``"small-resnet"``, or a
        model of a text with its settings, such as ``"lstm:width=64"``.
    examples : int, optional
        How many training examples the training loss of the records is of; by default all.
    """

    model: str = "mlp"
    examples: Count | None = None

    def alike(self):
        """None: each leaves its checkpoint, from which others start."""
        return None

    def options(self, data, path):
        """How many examples are evaluated, no more than there are."""
        return {"loss_examples": self.examples and min(self.examples, data.y_train.shape[0])}

    def network(self, data):
        """The network, for images of the size of the data's, or for its tokens."""
        shape = tuple(data.x_train.shape[1:])
        if data.tokens:
            return build(read("model", self.model), vocabulary=data.classes, context=shape[0])
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
        return super().options(data, path) | {"start": start, "watch": watch}


def grid(methods, rates):
    """(method, optimiser, variant) of every setting."""
    return [
        (method, Adam(rate, schedule), variant)
        for method in methods
        for rate in rates
        for schedule in SCHEDULES
        for variant in method.variants
    ]


def starting(rule, quantizer, optimizer, case, steps, record_every):
    """The `WarmCase` of a rule that starts from the end of ``case``."""
    return WarmCase(rule, optimizer, case.seed, steps, case.batch, case.widths, model=case.model,
                    examples=case.examples, quantizer=quantizer, warm=case,
                    record_every=record_every)  # fmt: skip


def plan(settings, warm, steps):
    """(method, optimiser, variant, seed) -> case, for (method, optimiser, variant) each."""
    return {
        (method.name, optimizer, variant, case.seed): starting(
            method.variants[variant](optimizer, steps), method.quantizer, optimizer, case, steps,
            steps,
        )
        for method, optimizer, variant in settings
        for case in warm
    }  # fmt: skip


def watched(methods, chosen, warm, steps, records):
    """label -> cases whose flips are counted, at a constant learning rate and with nothing frozen.

    Each method's best setting of the grid with a constant rate, so that neither a schedule nor
    freezing stops the signs; ProxQuant L1 with all its pulls at that rate; and, for comparison,
    BinaryConnect with its best falling rate.
    """
    rules = {}
    for method in methods:
        optimizer, variant = chosen[method.name, "constant"]
        for name in method.variants if method.pulled else [variant]:
            detail = f", {name}" if method.pulled and len(method.variants) > 1 else ""
            label = f"{method.name}, constant rate {optimizer.lr:g}{detail}"
            rules[label] = method, name, optimizer
    binary = methods[0]
    optimizer, variant = chosen[binary.name, "linear"]
    label = f"{binary.name}, falling rate {optimizer.lr:g}"
    rules[label] = binary, variant, optimizer
    every, found = max(1, steps // records), {}
    for label, (method, variant, optimizer) in rules.items():
        rule = CountFlips(replace(method.variants[variant](optimizer, steps), freeze=None))
        found[label] = [
            starting(rule, method.quantizer, optimizer, case, steps, every) for case in warm
        ]
    return found


# ------------------------------------------------------------------------------ the command


def silent(line):
    """Say nothing: what there is to say about the data has been said."""


def loader(arguments, of_text, say=silent):
    """What loads the data, also in other processes."""
    if not of_text:
        for name in ("data", "context", "words"):
            given = getattr(arguments, name)
            if given is not None:
                raise InputError(
                    f"--{name} {given} has no effect with --model {arguments.model}, which learns "
                    "the images of MNIST; leave it out, or choose --model lstm"
                )
        return data.mnist if read("model", arguments.model).name == "mlp" else zoo.small_mnist
    words = {}
    if arguments.words is not None:
        words = {"level": "words", "words": whole("--words", arguments.words, "[2, inf)")}
    context = CONTEXT if arguments.context is None else whole("--context", arguments.context)
    name = PUBLIC if arguments.data is None else arguments.data
    return partial(data.text, name, context=context, progress=False, notice=say, **words)


def sized(network, setup):
    """The network with its size, looked at; the widths of a perceptron; and what titles say."""
    if setup.of_text:
        network = network if network.get("width") is not None else network.having("width", WIDTH)
        return network, ModelCase.widths, setup.name.format(width=network.get("width"))
    hidden = network.get("hidden") or (32,)
    if network.without("hidden").settings or len(hidden) != 1:
        raise InputError(
            f"{network.flag}: the comparison has the networks mlp:hidden=32, of any one width, "
            "lenet and small-resnet as they are, and lstm"
        )
    perceptron(hidden)  # its width is looked at
    return network, hidden, setup.name.format(hidden=hidden[0])


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser(
        "proxquant", __doc__.split("\n\n")[1],
        "mlp 2000, lenet 600, small-resnet 300, lstm 1000; --quick: at most 600",
        "10; --quick: 1", "runs/proxquant or such, or -quick",
    )  # fmt: skip
    add = parser.add_argument
    add(
        "--model",
        metavar="PART",
        default="mlp:hidden=32",
        help="the network: mlp:hidden=32 on MNIST, or lenet or small-resnet on 10,000 images of it "
        "at half the resolution, with a shorter grid, or lstm:width=64 on a text "
        "(default: mlp:hidden=32)",
    )
    add(
        "--quick",
        action="store_true",
        help="under 3 minutes on 2 cores: at most 600 steps, 1 seed, 2 rates or 1, 1 variant each",
    )
    add("--warm", type=int, help="steps of the warm start (default: those of --steps)")
    add("--batch", type=int, help="examples a step (default: mlp 100, lstm 16, others 50)")
    add("--data", help="lstm: a file, a folder with train.txt and valid.txt, or: tinyshakespeare | "
        "synthetic (default: tinyshakespeare)")  # fmt: skip
    add("--context", type=int, help=f"lstm: tokens of a sequence (default: {CONTEXT})")
    add("--words", type=int, help="lstm: tokens are the N most frequent words, not characters")
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The sweeps and the report."""
    small, part = arguments.quick, read("model", arguments.model)
    setup = choose("--model", part.name, SETUPS)
    network, hidden, name = sized(part, setup)
    of_text = setup.of_text
    seeds, steps, batch = command.counts(
        arguments,
        seeds=1 if small else 10,
        steps=min(600, setup.steps) if small else setup.steps,
        batch=setup.batch,
    )
    (warm_steps,) = command.counts(arguments, warm=steps)
    remedy = "ProxQuant pulls from the second step to two thirds of a run: give at least 3"
    require(steps >= 3, "--steps", steps, remedy)
    rates, methods = setup.rates, setup.methods
    if small:
        rates = rates[1:3]
        methods = only(TEXT_METHODS if of_text else METHODS, slice(2, 3))
    held, load = loader(arguments, of_text, notice)(), loader(arguments, of_text)
    count = held.y_train.shape[0]
    remedy = f"{held.name} has only {count} training examples; give a smaller --batch"
    remedy += ", a smaller --context, or a longer text" if of_text else ""
    require(batch <= count, "--batch", batch, remedy)

    def starts(first, number):
        return [
            ModelCase(STE(), setup.warm, seed, warm_steps, batch, hidden,
                      model=str(network) if of_text else network.name,
                      examples=setup.examples,
                      quantizer=FullPrecision(), record_every=warm_steps)
            for seed in range(first, first + number)
        ]  # fmt: skip

    settings = grid(methods, rates)
    tuning, warm = starts(TUNING, 1 if small else setup.tuned), starts(0, seeds)
    cost = planned(setup, methods, settings, tuning, warm, steps, held, arguments.workers)
    sweep_of, out = command.places(arguments, f"{setup.stem}{'-quick' if small else ''}")
    if not arguments.quiet:
        notice(cost)

    def run(cases):
        return sweep_of(cases, load)

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
        (label, show.with_rates(record["records"], setup.measures[0]))
        for label, record in zip(labels, found, strict=True)
        if "error" not in record
    ]
    title = (
        f"{full[0]['data']}: {setup.levels} {name} from a full-precision start, {steps} steps of "
        f"{batch}, {command.in_words(seeds)}"
    )
    tried = len(tuned[methods[0].name])
    goodness = ", ".join(f"{own.name} {own.cell(full)}" for own in setup.measures)
    text = "\n".join([
        f"{title}, minizo {__version__}, NumPy {np.__version__}",
        "python -m minizo.reproduce.proxquant "
        f"{flags(arguments, network, seeds, steps, warm_steps)}", "",
        how(tried, methods, rates, tuning), "",
        f"Full precision after {warm_steps} steps: training loss "
        f"{report.spread(show.losses(full), 4)}, {goodness}",
        *([language.best_possible(held)] if of_text and held.entropy else []), "",
        "Every method at its best of the grid, by training loss: first with any schedule,\n"
        "then with a constant learning rate", "",
        show.best_table(table, chosen, tried, methods, setup.measures), "",
        *([show.verdict(table, chosen, methods, setup.better), ""] if of_text else []),
        *([setup.published, ""] if of_text else []),
        "The best settings with a constant rate again, nothing frozen", "",
        show.flips_table(runs, setup.measures), "",
    ])  # fmt: skip
    write_text(out / f"{setup.stem}.txt", text)
    show.write_grid(out / f"{setup.stem}.csv", tuned, table, measure=setup.measures[0])
    drawn = setup.measures[0].key, setup.measures[0].axis, setup.measures[0].scale
    picture = figures.flips(runs, title, drawn, "levels" if of_text else "signs")
    figures.save(picture, out / f"{setup.stem}.png")
    print(f"{text}\nfiles: {out / setup.stem}.txt, .csv and .png")
    return 0


def planned(setup, methods, settings, tuning, warm, steps, held, workers):
    """What is about to be run, and how long it takes, in words."""
    labels = 1 + sum(len(m.variants) if m.pulled else 1 for m in setup.methods)
    counts = {
        "warm starts": len(tuning) + len(warm),
        "to tune": len(settings) * len(tuning),
        "reported": len(SHOWN) * len(methods) * len(warm),
        "whose flips are counted": labels * len(warm),
    }
    runs, starts = sum(counts.values()), counts["warm starts"]
    evaluations = 2 * runs + (setup.records - 1) * counts["whose flips are counted"]
    lead = warm[0]
    forwards = lead.cost() * (starts + (runs - starts) * steps / lead.steps)
    parts = ", ".join(f"{number} {what}" for what, number in counts.items())
    words = command.expected(lead, held, forwards, evaluations, workers)
    return f"at most {runs} runs of {steps} steps ({parts}): {words}"


def flags(arguments, network, seeds, steps, warm_steps):
    """The flags that give the same again."""
    if network.name == "mlp" and not network.settings:
        network = network.having("hidden", (32,))
    given = [(name, getattr(arguments, name)) for name in ("batch", "data", "context", "words")]
    more = "".join(f" --{name} {value}" for name, value in given if value is not None)
    quick = " --quick" if arguments.quick else ""
    return f"--seeds {seeds} --steps {steps} --warm {warm_steps} --model {network}{more}{quick}"


def how(tried, methods, rates, tuning):
    """How settings were chosen, and how differences are taken."""
    others = {m.name: m.against for m in methods if m.against not in (m.name, methods[0].name)}
    against = "".join(f",\nof {name} to {other}'s" for name, other in others.items())
    return (
        f"{tried} settings a method (Adam at {' or '.join(map(str, rates))}, "
        f"{' or '.join(SCHEDULES)}, the method's own), tuned by training loss on "
        f"seed{'s' if len(tuning) > 1 else ''} {', '.join(str(case.seed) for case in tuning)};\n"
        f"the best of them with the reported seeds. Differences: seed by seed, 95 % intervals"
        f"{against}."
    )


if __name__ == "__main__":
    sys.exit(main())

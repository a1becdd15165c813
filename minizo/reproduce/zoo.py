"""``python -m minizo.reproduce.zoo``: what hand-designed surrogates buy, on one small CNN.

Every quantiser and surrogate of the package on the same convolutional network, data and budget;
each with four settings of its optimiser (four learning rates of Adam, the same for all; for Bop
four of its own). The best setting is the one of least mean training loss over two tuning seeds;
what is reported comes from other seeds, and differences of test accuracy to the first method of a
group are taken seed by seed (`minizo.compare.paired`). The data are MNIST, its first 10,000
training images and all test images, at half the resolution: a run takes some seconds on one core.
It stops and goes on: every finished run is kept.
"""

import sys
import time
from dataclasses import dataclass
from statistics import fmean, stdev

from .. import FOGZO, STE, BinaryConnect, NormalisedSTE, __version__, data, figures, report, sweep
from .. import quantizers as q
from ..commands import guarded
from ..compare import TUNING, paired
from ..data.dataset import Dataset
from ..files import write_csv, write_text
from ..layers import QuantizedActivation
from ..models import lenet
from ..optim import Adam, Bop
from . import command

CHANNELS = (8, 16)
EXAMPLES = 10_000
BATCH = 50
TUNED = 2  # seeds of the tuning
RATES = (0.003, 0.01, 0.03, 0.1)
ADAM = tuple(Adam(lr) for lr in RATES)
BOP = tuple(
    Bop(0.01, gamma=g, threshold=t)
    for g, t in ((3e-4, 1e-8), (1e-3, 1e-8), (1e-2, 1e-8), (1e-2, 1e-5))
)


@dataclass(frozen=True)
class Method:
    """One row: a quantiser of the weights, or of the activations, and who trains it."""

    group: str
    name: str
    quantizer: object = q.FullPrecision()
    activation: object = "relu"
    estimator: object = STE()
    optimizers: tuple = ADAM


def _binary_activation(surrogate):
    return QuantizedActivation(q.Sign(surrogate))


BINARY = "binary weights"
METHODS = (
    Method("full precision", "full precision"),
    Method(BINARY, "STE: sign, identity", q.Sign()),
    Method(BINARY, "sign, hardtanh", q.Sign("hardtanh")),
    Method(BINARY, "sign, tanh", q.Sign("tanh")),
    Method(BINARY, "sign, ApproxSign", q.Sign("approxsign")),
    Method(BINARY, "sign, SwishSign", q.Sign("swish")),
    Method(BINARY, "sign, EDE", q.Sign("ede")),
    Method(BINARY, "BNN: +-1, gate", q.BNN()),
    Method(BINARY, "BinaryConnect, clipped", q.Sign(), estimator=BinaryConnect(clip=1.0)),
    Method(
        BINARY,
        "stochastic BinaryConnect",
        q.Stochastic(in_use="sign"),
        estimator=BinaryConnect(clip=1.0),
    ),
    Method(BINARY, "XNOR, scale held", q.Xnor()),
    Method(BINARY, "XNOR, exact rule", q.Xnor(rule="exact")),
    Method(BINARY, "XNOR, the paper's rule", q.Xnor(rule="paper")),
    Method(BINARY, "XNOR, identity", q.Xnor("identity")),
    Method(BINARY, "Bi-Real weights", q.BiReal()),
    Method(BINARY, "IR-Net", q.IRNet()),
    Method(BINARY, "RBNN", q.RBNN()),
    Method(BINARY, "RBNN, rotation detached", q.RBNN(detach_rotation=True)),
    Method(BINARY, "ReSTE", q.ReSTE()),
    Method(BINARY, "FDA", q.FDA()),
    Method(BINARY, "DoReFa, 1 bit", q.DoReFa()),
    Method(BINARY, "Bop", q.Sign(), optimizers=BOP),
    Method(BINARY, "normalised STE, identity", q.Sign(), estimator=NormalisedSTE()),
    Method(BINARY, "FOGZO n=1, identity", q.Sign(), estimator=FOGZO(beta_schedule="linear")),
    Method("ternary weights", "TWN", q.TWN()),
    Method("ternary weights", "two-sided", q.Ternary()),
    Method("2-bit weights", "mid-rise, identity", q.MidRise()),
    Method("2-bit weights", "mid-rise, hardtanh", q.MidRise("hardtanh")),
    Method("2-bit weights", "LSQ", q.LSQ()),
    Method("2-bit weights", "QuEST", q.QuEST()),
    Method("2-bit weights", "DoReFa", q.DoReFa(bits=2)),
    Method("2-bit weights", "multi-bit", q.MultiBit()),
    *(
        Method("binary activations", label, activation=_binary_activation(surrogate))
        for label, surrogate in (
            ("sign, identity", "identity"),
            ("sign, hardtanh (BNN)", "hardtanh"),
            ("sign, tanh", "tanh"),
            ("sign, ApproxSign (Bi-Real)", "approxsign"),
            ("sign, SwishSign", "swish"),
            ("sign, EDE (IR-Net)", "ede"),
            ("sign, RBNN", "rbnn-activation"),
            ("sign, ReSTE", "reste"),
            ("sign, FDA", "fda"),
        )
    ),
    Method(
        "2-bit activations",
        "DoReFa",
        activation=QuantizedActivation(q.DoReFaActivation(bits=2)),
    ),
    Method(
        "2-bit activations",
        "LSQ",
        activation=QuantizedActivation(q.LSQ(bits=2, signed=False), 0.5),
    ),
)


@dataclass(frozen=True)
class Case(sweep.Case):
    """A run on the small CNN."""

    def network(self, data):
        """The LeNet."""
        return lenet(
            CHANNELS, data.classes, activation=self.activation, input_shape=data.x_train.shape[1:]
        )


def halved(x):
    """Images at half the resolution: the mean of 2x2 pixels, (N, C, H, W) -> (N, C, H/2, W/2)."""
    n, c, h, w = x.shape
    # (N, C, H, W) -> (N, C, H/2, 2, W/2, 2) -> (N, C, H/2, W/2)
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))


def small_mnist():
    """The first 10,000 training and all test images of MNIST, 2x2 pixels averaged into one."""
    whole = data.mnist()
    return Dataset(
        f"{whole.name} (14x14, {EXAMPLES} training images)",
        halved(whole.x_train[:EXAMPLES]),
        whole.y_train[:EXAMPLES],
        halved(whole.x_test),
        whole.y_test,
        classes=whole.classes,
    )


def case(method, optimizer, seed, steps):
    """The `Case` of a method, setting and seed."""
    return Case(
        method.estimator, optimizer, seed, steps, BATCH,
        activation=method.activation, quantizer=method.quantizer, record_every=steps,
    )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Of one method and setting: a list over the seeds each of loss and accuracy, in per cent."""

    method: Method
    optimizer: object
    loss: list
    accuracy: list


def summarise(records):
    """A `Row` a method and setting, from (method, optimiser) -> the records of its seeds."""
    rows = []
    for (method, optimizer), group in records.items():
        if any("error" in record for record in group):
            rows.append(Row(method, optimizer, [], []))
            continue
        ends = [{name: column[-1] for name, column in r["records"].items()} for r in group]
        loss = [end["train_loss"] for end in ends]
        rows.append(Row(method, optimizer, loss, [100.0 * end["test_accuracy"] for end in ends]))
    return rows


def cost(method, data, steps=40, repeats=3):
    """Milliseconds of processor time a step takes: the least of some short runs.

    Processor time, because it depends less than the clock on what else the machine does.
    """
    x, y = data.x_train[:BATCH], data.y_train[:BATCH]
    few = Dataset("a batch", x, y, x, y, classes=data.classes)
    took = []
    for _ in range(repeats):
        began = time.process_time()
        case(method, method.optimizers[0], 0, steps).train(few)
        took.append(time.process_time() - began)
    return 1e3 * min(took) / steps


def setting(optimizer):
    """Such as ``lr 0.01``, or Bop's ``gamma 0.001, 1e-08``."""
    if isinstance(optimizer, Bop):
        return f"gamma {optimizer.gamma:g}, {optimizer.threshold:g}"
    return f"lr {optimizer.lr:g}"


def show(rows, costs):
    """The table of the reported rows as text, a block a group; ``costs`` by method."""
    lines, head = [], None
    for row in rows:
        if head is None or row.method.group != head.method.group:
            head = row
            lines.append([row.method.group.upper(), *[""] * 5])
        if not row.loss:
            lines.append(["  " + row.method.name, "diverged", *["-"] * 4])
            continue
        lines.append([
            "  " + row.method.name,
            setting(row.optimizer),
            report.spread(row.accuracy, 2) + " %",
            apart(row, head),
            report.spread(row.loss, 4),
            f"{costs[row.method]:.1f}",
        ])  # fmt: skip
    headers = ["", "setting", "test accuracy", "minus the group's first, points", "training loss",
               "CPU ms a step"]  # fmt: skip
    return report.table(headers, lines)


def apart(row, head):
    """The paired difference of test accuracy to the first of the group, with its 95 % interval."""
    if row is head or not head.accuracy:
        return ""
    gap = paired(row.accuracy, head.accuracy)
    return gap.in_words() + gap.star


def write_rows(path, rows, costs):
    """Rows as CSV."""
    spread = [
        [
            row.method.group,
            row.method.name,
            setting(row.optimizer),
            len(row.loss),
            *(
                [f"{fmean(values):.6f}", f"{stdev(values) if len(values) > 1 else 0.0:.6f}"]
                if values
                else ["", ""]
                for values in (row.accuracy, row.loss)
            ),
            f"{costs[row.method]:.3f}",
        ]
        for row in rows
    ]
    flat = [[*r[:4], *r[4], *r[5], r[6]] for r in spread]
    header = ["group", "method", "setting", "seeds", "test_accuracy", "accuracy_stdev",
              "train_loss", "loss_stdev", "cpu_ms_a_step"]  # fmt: skip
    write_csv(path, header, flat)


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser("zoo", __doc__.partition("\n\n")[2], "600", "10")
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The sweeps and the report."""
    seeds, steps = command.counts(arguments, seeds=10, steps=600)
    run, out = command.places(arguments, "zoo")

    tried, reported = command.tuned(
        lambda cases: run(cases, small_mnist),
        {method: method.optimizers for method in METHODS},
        lambda method, optimizer, seed: case(method, optimizer, seed, steps),
        range(TUNING, TUNING + TUNED),
        range(seeds),
    )
    rows, small = summarise(reported), small_mnist()
    title = (
        f"{small.name}: LeNet with {CHANNELS[0]} and {CHANNELS[1]} channels, {steps} steps of "
        f"{BATCH}, {command.in_words(seeds)}, minizo {__version__}"
    )
    costs = {method: cost(method, small) for method in METHODS}
    text = (
        f"{title}\n\n{show(rows, costs)}\n\nSettings: best of four by training loss over seeds "
        f"{TUNING} and {TUNING + 1}. Differences: seed by seed, 95 % intervals (bootstrap, not "
        "corrected\nfor their number); * where 0 lies outside.\n"
    )
    write_text(out / "zoo.txt", text)
    write_rows(out / "zoo.csv", [*summarise(tried), *rows], costs)
    figures.save(figures.zoo(rows, title), out / "zoo.png")
    print(f"{text}\nfiles: {out / 'zoo'}.txt, .csv and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m minizo.reproduce.zoo``: what hand-designed surrogates buy, on one small CNN.

Every quantiser and surrogate of the package on the same convolutional network, data and budget;
each with three settings of its optimiser (three learning rates of Adam, the same for all; for Bop
three of its own) and the same seeds. The best setting is the one of least mean training loss; what
is reported of it is the test accuracy. The data are MNIST, its first 10,000 training images and all
test images, at half the resolution: a run takes some seconds on one core. It stops and goes on:
every finished run is kept.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from statistics import fmean, stdev

from .. import FOGZO, STE, BinaryConnect, Objective, __version__, cli, data, figures, report, sweep
from .. import quantizers as q
from ..data.dataset import Dataset
from ..files import write_csv, write_text
from ..layers import QuantizedActivation
from ..models import lenet
from ..optim import Adam, Bop

CHANNELS = (8, 16)
EXAMPLES = 10_000
BATCH = 50
RATES = (0.003, 0.01, 0.03)
ADAM = tuple(Adam(lr) for lr in RATES)
BOP = tuple(Bop(0.01, gamma=g, threshold=t) for g, t in ((1e-3, 1e-8), (1e-2, 1e-8), (1e-2, 1e-5)))


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

    def train(self, data, path=None):
        """Train, and return the `minizo.Run`; see `minizo.sweep.Case`."""
        network = lenet(
            CHANNELS, data.classes, activation=self.activation, input_shape=data.x_train.shape[1:]
        )
        return sweep.fit(
            Objective(network, self.quantizer),
            data,
            self.estimator,
            self.optimizer,
            steps=self.steps,
            batch=self.batch,
            seed=self.seed,
            record_every=self.steps,
            path=path,
            resume=True,
        )


def small_mnist():
    """The first 10,000 training and all test images of MNIST, 2x2 pixels averaged into one."""
    whole = data.mnist()

    def halved(x):
        n, c, h, w = x.shape
        # (N, C, H, W) -> (N, C, H/2, 2, W/2, 2) -> (N, C, H/2, W/2)
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))

    return Dataset(
        f"{whole.name} (14x14, {EXAMPLES} training images)",
        halved(whole.x_train[:EXAMPLES]),
        whole.y_train[:EXAMPLES],
        halved(whole.x_test),
        whole.y_test,
        classes=whole.classes,
    )


def cases(seeds, steps):
    """(method, optimiser, seed) -> Case, for the whole table."""
    return {
        (method, optimizer, seed): Case(
            method.estimator,
            optimizer,
            seed,
            steps,
            BATCH,
            activation=method.activation,
            quantizer=method.quantizer,
        )
        for method in METHODS
        for optimizer in method.optimizers
        for seed in range(seeds)
    }


@dataclass(frozen=True)
class Row:
    """Of one method and setting: a list over the seeds each of loss, accuracy, ms a step."""

    method: Method
    optimizer: object
    loss: list
    accuracy: list
    milliseconds: list

    @property
    def key(self):
        """What the best setting has least of; infinite where a seed diverged."""
        return fmean(self.loss) if self.loss else math.inf


def summarise(plan, records):
    """A `Row` a method and setting, in the order of the plan."""
    groups = {}
    for (method, optimizer, _), record in zip(plan, records, strict=True):
        groups.setdefault((method, optimizer), []).append(record)
    rows = []
    for (method, optimizer), group in groups.items():
        if any("error" in record for record in group):
            rows.append(Row(method, optimizer, [], [], []))
            continue
        ends = [{name: column[-1] for name, column in r["records"].items()} for r in group]
        rows.append(
            Row(
                method,
                optimizer,
                [end["train_loss"] for end in ends],
                [100.0 * end["test_accuracy"] for end in ends],
                [1e3 * end["seconds"] / end["step"] for end in ends],
            )
        )
    return rows


def best(rows):
    """The row of least mean training loss of each method, in order."""
    chosen = {}
    for row in rows:
        if row.method not in chosen or row.key < chosen[row.method].key:
            chosen[row.method] = row
    return list(chosen.values())


def setting(optimizer):
    """Such as ``lr 0.01``, or Bop's ``gamma 0.001, 1e-08``."""
    if isinstance(optimizer, Bop):
        return f"gamma {optimizer.gamma:g}, {optimizer.threshold:g}"
    return f"lr {optimizer.lr:g}"


def show(rows):
    """The table of the best settings as text, a block a group.

    Time a step is the least over all runs of a method: what it takes where nothing else runs.
    """
    lines, group = [], None
    fastest = {}
    for row in rows:
        fastest.setdefault(row.method, []).extend(row.milliseconds)
    for row in best(rows):
        if row.method.group != group:
            group = row.method.group
            lines.append([group.upper(), "", "", "", ""])
        if not row.loss:
            lines.append(["  " + row.method.name, "diverged", "-", "-", "-"])
            continue
        lines.append([
            "  " + row.method.name,
            setting(row.optimizer),
            report.spread(row.accuracy, 2) + " %",
            report.spread(row.loss, 4),
            f"{min(fastest[row.method]):.1f}",
        ])  # fmt: skip
    return report.table(["", "setting", "test accuracy", "training loss", "ms a step"], lines)


def write_rows(path, rows):
    """All settings as CSV."""
    spread = [
        [
            row.method.group,
            row.method.name,
            setting(row.optimizer),
            *(
                [f"{fmean(values):.6f}", f"{stdev(values) if len(values) > 1 else 0.0:.6f}"]
                if values
                else ["", ""]
                for values in (row.accuracy, row.loss)
            ),
            f"{min(row.milliseconds):.3f}" if row.milliseconds else "",
        ]
        for row in rows
    ]
    flat = [[*r[:3], *r[3], *r[4], r[5]] for r in spread]
    header = ["group", "method", "setting", "test_accuracy", "accuracy_stdev",
              "train_loss", "loss_stdev", "ms_a_step"]  # fmt: skip
    write_csv(path, header, flat)


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m minizo.reproduce.zoo",
                                     description=__doc__.partition("\n\n")[2])  # fmt: skip
    parser.add_argument("--folder", default="runs/zoo", help="where records are kept")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default: 3)")
    parser.add_argument("--steps", type=int, default=600, help="steps a run (default: 600)")
    parser.add_argument("--workers", type=int, help="processes (default: one a processor)")
    parser.add_argument("--csv", metavar="FILE", help="also write all settings to this file")
    parser.add_argument("--text", metavar="FILE", help="also write the table to this file")
    parser.add_argument("--picture", metavar="FILE", help="also draw the best settings")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = parser.parse_args(argv)

    def command():
        for name in ("seeds", "steps"):
            value = getattr(arguments, name)
            if value < 1:
                raise cli.InputError(f"--{name} is {value}, but it must be at least 1")
        plan = cases(arguments.seeds, arguments.steps)
        records = sweep.run(
            list(plan.values()), small_mnist, arguments.folder, arguments.workers, arguments.quiet
        )
        rows = summarise(plan, records)
        title = (
            f"{records[0]['data']}: LeNet with {CHANNELS[0]} and {CHANNELS[1]} channels, "
            f"{arguments.steps} steps of {BATCH}, {arguments.seeds} seeds, minizo {__version__}"
        )
        text = f"{title}\n\n{show(rows)}"
        print(text)
        if arguments.text:
            write_text(arguments.text, text + "\n")
        if arguments.csv:
            write_rows(arguments.csv, rows)
        if arguments.picture:
            figures.save(figures.zoo(best(rows), title), arguments.picture)
        return 0

    return cli.guarded(command)


if __name__ == "__main__":
    sys.exit(main())

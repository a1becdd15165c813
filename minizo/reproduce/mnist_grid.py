"""``python -m minizo.reproduce.mnist_grid``: where does FOGZO win, and how sure is that?

Every estimator over the same grid of optimisers, SGD and Adam with four learning rates each. The
best of the grid is chosen on tuning seeds, the results come from other seeds, and differences to
the STE are taken seed by seed (`minizo.compare`). Two controls stand beside FOGZO: the normalised
STE, which has its direction and measures nothing, and FOGZO with its guide in the coordinates of
the perturbation. It stops and goes on: what was finished is kept.
"""

import sys

from .. import FOGZO, SPSA, STE, NormalisedSTE, __version__, data, figures, models, quantizers
from ..commands import guarded
from ..compare import case, compare, files, intervals, text
from ..files import make_folder, write_csv, write_text
from ..objective import Objective
from ..optim import SGD, Adam
from . import command

METHODS = {
    "STE": STE(),
    "normalised STE": NormalisedSTE(),
    "n-SPSA n=10": SPSA(n=10),
    "FOGZO n=1, beta constant": FOGZO(n=1, beta_schedule="constant"),
    "FOGZO n=1": FOGZO(n=1),
    "FOGZO n=1, scaled guide": FOGZO(n=1, guide="scaled"),
    "FOGZO n=10, beta constant": FOGZO(n=10, beta_schedule="constant"),
    "FOGZO n=10": FOGZO(n=10),
    "FOGZO n=10, scaled guide": FOGZO(n=10, guide="scaled"),
}
DETAIL = 20  # steps between records of methods whose early steps matter
OPTIMIZERS = [SGD(lr) for lr in (0.03, 0.1, 0.3, 1.0)] + [
    Adam(lr) for lr in (0.001, 0.003, 0.01, 0.03)
]


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser("mnist_grid", __doc__.partition("\n\n")[2], "1200", "20")
    parser.add_argument("--tuning-seeds", type=int, help="seeds of the tuning (default: 5)")
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The comparison and its files."""
    seeds, steps, tuning = command.counts(arguments, seeds=20, steps=1200, tuning_seeds=5)
    folder = make_folder(arguments.folder or "runs/mnist_grid", "--folder")
    out = make_folder(arguments.out, "--out") if arguments.out else folder
    images = data.mnist()
    network = models.mlp(images.x_train[0].size, 10, images.classes,
                         input_shape=tuple(images.x_train.shape[1:]))  # fmt: skip
    objective = Objective(network, quantizers.MidRise())
    title = (
        f"{images.name}: 2-bit midrise 784-10-10, {steps} steps of 100, {command.in_words(seeds)}, "
        f"minizo {__version__}"
    )
    found = compare(
        [case(rule, objective, OPTIMIZERS, label) for label, rule in METHODS.items()], images,
        steps=steps, seeds=seeds, tuning_seeds=tuning, folder=folder, workers=arguments.workers,
        quiet=arguments.quiet, settings={"title": title},
    )  # fmt: skip
    report = text(found)
    (table,) = found.tables
    write_text(out / "mnist_grid.txt", report + "\n")
    write_csv(out / "mnist_grid.csv", *files.runs(found))
    figures.save(figures.comparison(table, intervals(table), title), out / "mnist_grid.png")
    print(f"{report}\n\nfiles: {out / 'mnist_grid'}.txt, .csv and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())

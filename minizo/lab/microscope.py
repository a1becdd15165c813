"""``python -m minizo.lab.microscope``: the estimators at an early and a late point of one run.

What is measured, and for which function, is said in `minizo.lab.measure`.
"""

import json
import sys
from math import isfinite, sqrt

import numpy as np

from .. import FOGZO, SPSA, STE, Step, models, optim, quantizers, report, train
from ..backend import to_numpy
from ..commands import Parser, guarded
from ..commands.running import new_folder
from ..data import load
from ..errors import require
from ..figures import microscope as picture
from ..figures import save
from ..files import write_csv, write_text
from ..group import Group
from ..objective import Objective
from ..parallel import threads
from ..recipe import Recipe
from ..records import check
from .exact import effective_dimension, law_of, predict, sizes
from .layerwise import LayerwiseSPSA, allocate
from .measure import draw, measure, quality, reference

EARLY = 30  # the step of the first look
BATCH = 100  # examples, in training and under the microscope
LINEUP = (
    STE(),
    *(SPSA(n=n) for n in (1, 10, 100, 796)),
    *(LayerwiseSPSA(n=n) for n in (10, 100, 796)),
    *(FOGZO(n=n, beta=0.9, beta_schedule="constant") for n in (1, 10)),
    *(FOGZO(n=n, beta=0.99, beta_schedule="constant") for n in (1, 10, 100)),
    *(FOGZO(n=n, beta=0.999, beta_schedule="constant") for n in (1, 10)),
    *(FOGZO(n=n, beta=0.9999, beta_schedule="constant") for n in (1, 10)),
)
FOOT = """\
g is the gradient of the q-smoothed loss on one fixed batch of {batch} training examples: the mean
of n-SPSA with matched law and eps, each coordinate smoothed by the zero-bias law of u. n-SPSA (also
by layer) estimates just that and has no bias; the STE and FOGZO aim elsewhere, and their numbers
say how far that is from g, not how well they train. G: one estimate; E G: the mean of many.
  cost      forwards of one estimate, a backward counted as 2
  bias      ||E G - g|| / ||g|| ("<": not told from 0, the bound of 2 s.e.)
  variance  E||G - E G||^2 / ||g||^2; beside it, what the formula for a linear loss gives
  progress  <g, E G>^2 / (E||G||^2 ||g||^2): gain of the best step length, 1 for g itself
+- is one standard error: jackknife over estimates and over parts of the reference."""


def repeats(estimator, draws):
    """Estimates to draw: ``draws``, and up to 10 times as many of those of few directions.

    >>> repeats(SPSA(n=1), 100), repeats(SPSA(n=50), 100), repeats(STE(), 100)
    (1000, 200, 100)
    """
    return draws * min(10, max(1, 100 // getattr(estimator, "n", 100)))


def family(estimator):
    """What a curve of the picture is: the method without its number of directions.

    >>> family(FOGZO(n=10, beta=0.99)), family(SPSA(n=10))
    ('FOGZO beta=0.99', 'n-SPSA')
    """
    beta = f" beta={estimator.beta:g}" if hasattr(estimator, "beta") else ""
    return estimator.label.partition(" n=")[0] + beta


def trajectory(objective, data, steps, looks, seed, pool, tick):
    """Latent parameters of an STE + Adam(0.01) run at some of its steps, and a batch to look at.

    Returns
    -------
    thetas : list of ndarray (d,)
        One for each of ``looks``, ascending; the run is that of `minizo.fit`.
    batch : Batch
        The one that the run would have met next.
    """
    recipe = Recipe(objective, data, STE(), optim.Adam(0.01), steps, BATCH, seed)
    group, errors = Group((recipe,)), [None]
    state, feed, thetas = train.start_state(group), group.batches(0), []
    for look in looks:
        state, losses = train.advance(group, state, feed, look, pool, lambda step: tick())
        check(group, state, losses, errors)
        if errors[0] is not None:
            raise errors[0]
        thetas.append(state.theta)
    return thetas, next(group.batches(steps))


def linear(estimator, gradient, squares, objective, theta, batch):
    """(variance, progress) that the formulas for a linear loss give; see `predict`.

    gradient, squares : ndarray (d,), the reference and unbiased estimates of its squares.
    """
    ste = to_numpy(objective.ste_gradient(theta, batch).gradient).astype(np.float64)
    if not hasattr(estimator, "n"):
        return 0.0, float(gradient @ ste) ** 2 / float(ste @ ste * squares.sum())
    state, kappa = estimator.init(objective, theta), law_of(estimator, objective).kurtosis
    eps = sizes(estimator, objective, theta).astype(np.float64)
    if isinstance(estimator, LayerwiseSPSA):
        masks = to_numpy(state.masks).astype(np.float64)
        variance = 0.0
        for mask, n in zip(masks, allocate(estimator.n, masks.sum(axis=1)), strict=True):
            one = predict(gradient * mask, eps * mask, n, kappa, squares=squares * mask)
            variance += one.variance * (squares * mask).sum() / squares.sum()
        return variance, 1.0 / (1.0 + variance)
    guide = ste / np.linalg.norm(ste)
    beta = getattr(estimator, "beta", 0.0)
    found = predict(gradient, eps, estimator.n, kappa, guide, beta, squares)
    return found.variance, found.progress


def look(objective, theta, batch, target, lineup, draws, seed, pool, tick):
    """Measure every estimator at theta against the reference ``target``; one flat dict each."""
    parts = target.vectors
    gradient = parts.mean(axis=0)
    # unbiased g_i^2: from products of different parts
    squares = (parts.sum(axis=0) ** 2 - (parts**2).sum(axis=0)) / (len(parts) * (len(parts) - 1))
    rows = []
    for estimator in lineup:
        count = repeats(estimator, draws)
        sample = draw(estimator, objective, theta, batch, count, seed, step=Step(pool=pool),
                      tick=tick)  # fmt: skip
        found = measure(sample, target)
        macs = objective.cost(sample.forwards, sample.backwards, batch.labels.shape[0])
        variance, progress = linear(estimator, gradient, squares, objective, theta, batch)
        n, length2 = getattr(estimator, "n", None), found.length2
        # n-SPSA is unbiased for g, so its ||E G||^2 / ||g||^2 is 1 and need not be measured
        guided = hasattr(estimator, "beta")
        signal = length2.value if guided else 1.0
        told = n is not None and (not guided or signal > 4.0 * length2.se)
        row = {
            "estimator": f"{family(estimator)}{'' if n is None else f' n={n}'}",
            "family": family(estimator),
            "n": n,
            "beta": getattr(estimator, "beta", None),
            "draws": count,
            "forwards": sample.forwards,
            "backwards": sample.backwards,
            "cost": found.cost,
            "macs": macs,
            "spread": found.spread,
            "bias": found.bias,
        }
        for name in ("cosine", "mean_cosine", "bias2", "variance", "total", "length2", "progress"):
            row[name], row[f"{name}_se"] = getattr(found, name)
        row |= {
            "progress_per_forward": found.progress.value / found.cost,
            "progress_per_mac": found.progress.value / macs,
            # n at which E||G - E G||^2 = ||E G||^2
            "crossover": n * found.variance.value / signal if told else None,
            "linear_variance": float(variance),
            "linear_progress": float(progress),
        }
        rows.append({k: v if _finite(v) else None for k, v in row.items()})
    return rows


def _finite(value):
    return not isinstance(value, float) or isfinite(value)


def show(rows):
    """The rows of one look as text."""

    def pm(row, name, digits):
        if row[name] is None or row[f"{name}_se"] is None or row[f"{name}_se"] > 0.5:
            return "-"
        return f"{row[name]:.{digits}f} +- {row[f'{name}_se']:.{digits}f}"

    lines = []
    for row in rows:
        value, se = row["bias2"], row["bias2_se"]
        small = value < 2.0 * se
        bias = f"< {sqrt(max(0.0, value) + 2.0 * se):.2f}" if small else f"{row['bias']:.2f}"
        lines.append([
            row["estimator"], f"{row['cost']:,.0f}", pm(row, "cosine", 4), f"{row['spread']:.4f}",
            pm(row, "mean_cosine", 3), bias, f"{round(max(0.0, row['variance']), 9):.4g}",
            f"{row['linear_variance']:.4g}", f"{max(0.0, row['progress']):.2e}",
            f"{row['progress_se']:.0e}", f"{max(0.0, row['progress_per_forward']):.1e}",
        ])  # fmt: skip
    headers = ["estimator", "cost", "cos(G, g)", "spread", "cos(E G, g)", "bias", "variance",
               "linear", "progress", "+-", "per forward"]  # fmt: skip
    return report.table(headers, lines)


def crossovers(rows, d):
    """Where noise equals signal: the formula (1 - beta) d / n = 1 beside the measured n."""
    ste = next((row for row in rows if row["n"] is None), None)
    largest = {row["family"]: row for row in rows if row["n"] is not None}  # its last, largest n
    lines = []
    for name, row in largest.items():
        simple = (1.0 - (row["beta"] or 0.0)) * d
        found = "-" if row["crossover"] is None else f"{row['crossover']:,.1f}"
        level = "-"
        if row["beta"] is None and ste is not None and 0.0 < ste["progress"] < 1.0:
            # unbiased, progress 1 / (1 + V / n): equal to the STE's at n = V P / (1 - P)
            n = row["n"] * row["variance"] * ste["progress"] / (1.0 - ste["progress"])
            level = f"{n:,.0f}"
        lines.append([name, f"{simple:,.1f}", found, level])
    headers = ["n where noise = signal", "(1 - beta) d", "measured", "n with the STE's progress"]
    return report.table(headers, lines)


def work(arguments):
    """Train, look twice, print, write; returns the exit code."""
    draws = arguments.draws
    if draws is None:
        draws = 20 if arguments.quick else 100
    directions = arguments.reference
    if directions is None:
        directions = 20_000 if arguments.quick else 200_000
    require(arguments.steps > EARLY, "--steps", arguments.steps, f"it must be above {EARLY}")
    require(draws >= 3, "--draws", draws, "it must be at least 3")
    require(directions >= 1000, "--reference", directions, "it must be at least 1000 directions")
    whole = 0 <= arguments.seed < 2**32
    require(whole, "--seed", arguments.seed, "it must lie between 0 and 2^32 - 1")
    if arguments.workers is not None:
        require(arguments.workers >= 1, "--workers", arguments.workers, "it must be at least 1")

    data = load(arguments.data, progress=not arguments.quiet)
    images = data.y_train.shape[0]
    require(images >= BATCH, "the number of training images", images, f"{BATCH} are needed")
    net = models.mlp(data.x_train[0].size, 10, data.classes, input_shape=data.x_train.shape[1:])
    objective = Objective(net, quantizers.MidRise(bits=2))
    objective = objective.calibrate(net.init(arguments.seed, like=data.x_train))
    folder = new_folder(arguments.out, "microscope")
    looks = (EARLY, arguments.steps)
    each = sum(repeats(e, draws) * (2 * getattr(e, "n", 0) + 3) for e in LINEUP) + 2 * directions
    rows, texts = [], []
    with threads(arguments.workers) as pool, _bar(2 * each, arguments.quiet) as bar:
        thetas, batch = trajectory(
            objective, data, arguments.steps, looks, arguments.seed, pool, lambda: None
        )
        for step, theta in zip(looks, thetas, strict=True):
            bar.set_description(f"step {step}")
            target = reference(objective, theta, batch, directions, seed=arguments.seed,
                               step=Step(pool=pool), tick=bar.update)  # fmt: skip
            known = quality(target)
            found = look(objective, theta, batch, target, LINEUP, draws, arguments.seed, pool,
                         bar.update)  # fmt: skip
            loss = float(objective.evaluate(theta, batch))
            parts = target.vectors
            squares = parts.mean(axis=0) ** 2 - parts.var(axis=0, ddof=1) / len(parts)
            width = effective_dimension(sizes(SPSA(), objective, theta), squares)
            texts.append(
                f"Step {step}: loss of the batch {loss:.3f}; reference of {directions:,} "
                f"directions: ||g|| = {sqrt(known.norm2.value):.4f} (||g||^2 in [{known.low:.4f}, "
                f"{known.high:.4f}], 95 %),\nits relative error {known.error:.3f}, cosine of its "
                f"halves {known.reliability:.3f}; d = {net.d}, effective for n-SPSA {width:,.0f}\n"
                f"\n{show(found)}\n\n{crossovers(found, net.d)}"
            )
            rows += [{"data": data.name, "seed": arguments.seed, "step": step} | r for r in found]
    title = f"{data.name}: 2-bit midrise {data.x_train[0].size}-10-{data.classes}, STE + Adam(0.01)"
    text = "\n\n".join([title, *texts, FOOT.format(batch=BATCH)])
    write_csv(folder / "microscope.csv", list(rows[0]), [row.values() for row in rows])
    write_text(folder / "table.txt", text + "\n")
    save(picture(rows, f"{title}, seed {arguments.seed}"), folder / "microscope.png")
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(f"{text}\n\nfolder: {folder}")
    return 0


def _bar(total, quiet):
    from tqdm import tqdm

    return tqdm(total=total, unit="forward", unit_scale=True, disable=True if quiet else None)


def build_parser():
    """The command's flags."""
    parser = Parser(
        prog="python -m minizo.lab.microscope",
        description="Train the 2-bit network with the STE, stop early and late, and measure there "
        "what every estimator says: cosine with a reference gradient, bias, variance, and the "
        "progress of one step for its cost.",
        epilog="Writes microscope.csv, microscope.png and table.txt. Exit codes: 0, 2 for bad "
        "input.",
    )
    add = parser.add_argument
    add("--data", default="mnist", help="mnist | fashion-mnist | synthetic | a folder of IDX files")
    add("--seed", type=int, default=0, help="seed of the run and of all estimates (default: 0)")
    add("--steps", type=int, default=1200, help=f"of the run, above {EARLY} (default: 1200)")
    add("--reference", type=int, metavar="N",
        help="directions of the reference (default: 200000; with --quick 20000)")  # fmt: skip
    add("--draws", type=int, metavar="R",
        help="estimates of each estimator, 10 times as many where n is at most 10 (default: 100; "
        "with --quick 20)")  # fmt: skip
    add("--quick", action="store_true", help="fewer directions and draws: under a minute")
    add("--workers", type=int, metavar="W", help="threads (default: one a processor)")
    add("--out", metavar="FOLDER", help="default: runs/ and a name from the clock")
    add("--json", action="store_true", help="print one JSON object for each row, no more")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(argv=None):
    """Run the command; returns its exit code."""
    return guarded(lambda: work(build_parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())

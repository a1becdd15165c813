"""Why FOGZO is, or is not, better than the STE on a transformer: slopes and directions.

Two things can make FOGZO better: the slope along the STE's direction is sometimes negative, so that
FOGZO turns around where the STE goes wrong; or the noise adds something of the gradient that the
STE's direction has not. Runs are kept; directions are looked at anew each time, some five minutes.
"""

import numpy as np
from matplotlib.figure import Figure

from .. import FOGZO, SPSA, STE, Batch, Step, fit, models, report
from .. import quantizers as q
from ..compare import interval
from ..figures.style import STYLES
from ..lab.measure import Sample, draw, measure, reference
from ..lab.slopes import CountNegativeSlopes
from ..objective import Objective
from ..parallel import threads
from ..progress import progress_bar
from . import transformers_tasks as tasks

RATE = 0.01
RECORDS = 10  # of a run: in which tenth slopes were negative
EARLY = 30  # steps before the first look at directions
DIRECTIONS, ESTIMATES = 20_000, 30  # of a reference; of an estimator
BASE = {
    "bits": 2, "surrogate": "tanh", "width": tasks.WIDTH, "layers": 2, "batch": 16, "eps": 1.0,
}  # fmt: skip
AXES = {
    "bits": (1, 2, 4),
    "surrogate": ("identity", "tanh", "approxsign"),
    "width": (4, 8, 16, 32),
    "layers": (1, 2, 4, 8),
    "batch": (1, 4, 16, 64),
    "eps": (0.25, 1.0, 4.0),
}
POINTS = ((2, "identity"), (2, "tanh"), (1, "tanh"))  # bits and surrogate of the directions


def watching():
    """What a run watches: the number of negative slopes so far."""
    return {"negative": lambda objective, state: state.estimator.negative}


def case(setting, seed, steps):
    """A run of the STE that counts its negative slopes."""
    bits, surrogate = setting["bits"], setting["surrogate"]
    quantizer = q.Sign(surrogate) if bits == 1 else q.MidRise(surrogate, bits=bits)
    sizes = FOGZO(perturb="quantized", eps_scale=setting["eps"])
    return tasks.Case(
        CountNegativeSlopes(STE(), sizes), tasks.adamw(RATE), seed, steps, setting["batch"],
        quantizer=quantizer, record_every=max(1, steps // RECORDS), layers=setting["layers"],
        width=setting["width"], watch=watching,
    )  # fmt: skip


def slopes(run, seeds, steps, small=False):
    """(name, value) -> records of the seeds, for each value of `AXES`, the others as in `BASE`.

    Parameters
    ----------
    run : callable
        Makes a list of cases.
    seeds, steps : int
    small : bool
        A narrow network, and the extreme values alone.
    """
    base = {**BASE, "width": 8} if small else BASE
    plan = {
        (name, value, seed): case({**base, name: value}, seed, steps)
        for name, values in AXES.items()
        for value in ((values[0], values[-1]) if small else values)
        for seed in range(seeds)
    }
    records = dict(zip(plan, run(list(plan.values())), strict=True))
    found = {}
    for (name, value, _), record in records.items():
        found.setdefault((name, value), []).append(record)
    return found


def shares(record):
    """Share of negative slopes in each part between two records of a run, and in the whole run."""
    steps, negative = record["records"]["step"], record["records"]["negative"]
    parts = np.diff(negative) / np.diff(steps)
    return parts, negative[-1] / steps[-1]


def cosines(steps, small=False, quiet=False):
    """How near the STE and FOGZO come to the gradient of the smoothed loss, early and late.

    Returns
    -------
    list of dict
        ``bits``, ``surrogate``, ``step``, ``estimator``; ``cosine`` of the mean estimate, and
        ``progress``, what one estimate gains (`minizo.lab.measure`), each with a standard error.
    """
    data = tasks.TASKS["llama"].load()
    width, count = (8, 1000) if small else (tasks.WIDTH, DIRECTIONS)
    rules = {
        "STE": STE(),
        **{
            f"FOGZO, beta 1 - {gap:g}": FOGZO(
                beta=1.0 - gap, beta_schedule="constant", perturb="quantized"
            )
            for gap in (1e-5, 1e-4, 1e-3)
        },
    }
    rows = []
    points = POINTS[1:2] if small else POINTS
    looks = (EARLY, steps)
    with (
        threads() as pool,
        progress_bar(
            len(points) * len(looks) * 2 * count, quiet, desc="directions", unit="forward"
        ) as bar,
    ):
        for bits, surrogate in points:
            quantizer = q.Sign(surrogate) if bits == 1 else q.MidRise(surrogate, bits=bits)
            network = tasks.llama(data, width, tasks.LAYERS)
            names = models.chosen(network, "layers.*")
            objective = Objective(network, quantizer, names)
            objective = objective.calibrate(network.init(0, like=data.like))
            batch = Batch(data.x_train[-tasks.BATCH :], data.y_train[-tasks.BATCH :])
            for look in looks:
                run = fit(objective, data, STE(), tasks.adamw(RATE), steps=look, batch=tasks.BATCH,
                          record_every=look, loss_examples=1)  # fmt: skip
                spsa = SPSA(perturb="quantized")
                step = Step(pool=pool)
                target = reference(objective, run.theta, batch, count, spsa, step=step,
                                   tick=bar.update)  # fmt: skip
                mask = spsa.init(objective, run.theta).moved
                for name, rule in rules.items():
                    sample = draw(rule, objective, run.theta, batch, ESTIMATES, step=step)
                    own = Sample(sample.vectors * mask, sample.forwards, sample.backwards)
                    found = measure(own, target)
                    rows.append({"bits": bits, "surrogate": surrogate, "step": look,
                                 "estimator": name, "cosine": found.mean_cosine,
                                 "progress": found.progress})  # fmt: skip
    return rows


def text(found, rows, title):
    """Both tables in words."""
    lines = []
    for (name, value), records in found.items():
        whole = [100.0 * shares(record)[1] for record in records if "error" not in record]
        parts = [100.0 * shares(record)[0] for record in records if "error" not in record]
        if not whole:
            lines.append([f"{name} {value}", "diverged", "", ""])
            continue
        thirds = np.array_split(np.mean(parts, axis=0), 3)
        reach = interval(whole)
        words = f"{np.mean(whole):.2f}"
        words += f" ({reach[0]:.2f} .. {reach[1]:.2f})" if reach else ""
        lines.append([f"{name} {value}", words, *(f"{np.mean(third):.2f}" for third in thirds)])
    slopes_table = report.table(["", "of all steps, %", "first third", "second", "last"], lines)
    directions = report.table(
        ["", "after", "", "cosine of the mean", "progress of one"],
        [
            [f"{row['bits']} bit{'s' if row['bits'] > 1 else ''}, {row['surrogate']}",
             f"{row['step']} steps", row["estimator"],
             f"{row['cosine'].value:+.3f} +- {row['cosine'].se:.3f}",
             f"{row['progress'].value:.4f} +- {row['progress'].se:.4f}"]
            for row in rows
        ],
    )  # fmt: skip
    usual = ", ".join(f"{name} {value}" for name, value in BASE.items())
    return "\n\n".join([
        title,
        "Steps of the STE (AdamW .01) at which the slope along its own direction is negative; one "
        f"setting\nchanged, the others {usual}\n(eps: times the matched one):",
        slopes_table,
        "Directions of the quantised weights beside the gradient of the smoothed loss (the mean of "
        "n-SPSA,\non one batch): the cosine of the mean estimate, and the progress that one "
        "estimate makes (1: the\ngradient itself), with standard errors:",
        directions,
    ])  # fmt: skip


def rows(found):
    """Header and rows of the CSV: share of negative slopes of every run and part of it."""
    lines = [
        [name, value, seed, *(f"{share:.6f}" for share in (shares(record)[1], *shares(record)[0]))]
        for (name, value), records in found.items()
        for seed, record in enumerate(records)
        if "error" not in record
    ]
    parts = max((len(line) for line in lines), default=4) - 4
    return ["setting", "value", "seed", "all", *(f"part_{i + 1}" for i in range(parts))], lines


def picture(found, title):
    """The share of negative slopes over the run, a panel a setting."""
    names = list(dict.fromkeys(name for name, _ in found))
    figure = Figure(figsize=(2.6 * len(names) + 0.6, 3.6), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True)
    for axes, name in zip(panels, names, strict=True):
        values = [value for own, value in found if own == name]
        for style, value in zip(STYLES, values, strict=False):
            parts = [100 * shares(r)[0] for r in found[name, value] if "error" not in r]
            if not parts:
                continue
            mean = np.mean(parts, axis=0)
            middles = (np.arange(len(mean)) + 0.5) / len(mean)
            axes.plot(100 * middles, mean, markersize=4, label=str(value), **style)
        axes.set_title(name)
        axes.set_xlabel("part of the run, %")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize="small")
    panels[0].set_ylabel("steps with a negative slope, %")
    panels[0].set_ylim(bottom=0.0)
    figure.suptitle(f"Slopes along the STE's direction: {title}", fontsize="medium")
    return figure

"""Why FOGZO is, or is not, better than the STE on a transformer: slopes and directions.

Two things can make FOGZO better: the slope that it measures is sometimes negative, so that it turns
around where the STE goes wrong; or the noise adds something of the gradient that the STE's
direction lacks.
"""

import json

import numpy as np

from .. import FOGZO, SPSA, STE, Batch, Step, fit, models, report
from .. import quantizers as q
from ..compare import interval
from ..figures.canvas import blank
from ..figures.looks import STYLES
from ..files import write_text
from ..lab.measure import draw, measure, reference
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
POINTS = ((2, "identity"), (2, "tanh"), (1, "tanh"), (1, "approxsign"))  # bits, surrogate


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


def fogzo(gap, **more):
    """FOGZO with a constant beta = 1 - gap."""
    return FOGZO(beta=1.0 - gap, beta_schedule="constant", perturb="quantized", **more)


RULES = {
    "STE": STE(),
    "FOGZO, scaled guide, beta 1 - 1e-05": fogzo(1e-5, guide="scaled"),
    **{f"FOGZO, beta 1 - {gap:g}": fogzo(gap) for gap in (1e-5, 1e-4, 1e-3)},
}


def cosines(steps, folder, small=False, quiet=False):
    """How near the STE and FOGZO come to the gradient of the smoothed loss, early and late.

    Parameters
    ----------
    steps : int
        Of the run of the STE, of seed 0, that is looked at after `EARLY` steps and at its end.
    folder : Path
        Where what was measured is kept.
    small, quiet : bool

    Returns
    -------
    list of dict
        ``bits``, ``surrogate``, ``step``, ``estimator``; ``cosine`` of the mean estimate, and
        ``progress``, what one estimate gains (`minizo.lab.measure`), each a pair of the number and
        its standard error.
    """
    data = tasks.TASKS["llama"].load()
    width, count = (8, 1000) if small else (tasks.WIDTH, DIRECTIONS)
    looks = [(*point, step) for point in (POINTS[1:2] if small else POINTS)
             for step in (EARLY, steps)]  # fmt: skip
    rows = []
    with threads() as pool, progress_bar(len(looks), quiet, desc="directions", unit="look") as bar:
        for bits, surrogate, step in looks:
            words = f"{bits}-{surrogate}-{step}-{width}-{count}-{data.digest[:8]}"
            path = folder / f"directions-{words}.json"
            try:
                found = json.loads(path.read_text())
            except (OSError, ValueError):
                found = look(data, bits, surrogate, step, width, count, pool)
                write_text(path, json.dumps(found) + "\n")
            rows += found
            bar.update(1)
    return rows


def look(data, bits, surrogate, steps, width, count, pool):
    """The rows of `cosines` of one network after so many steps."""
    quantizer = q.Sign(surrogate) if bits == 1 else q.MidRise(surrogate, bits=bits)
    network = tasks.llama(data, width, tasks.LAYERS)
    objective = Objective(network, quantizer, models.chosen(network, "layers.*"))
    objective = objective.calibrate(network.init(0, like=data.like))
    batch = Batch(data.x_train[-tasks.BATCH :], data.y_train[-tasks.BATCH :])
    run = fit(objective, data, STE(), tasks.adamw(RATE), steps=steps, batch=tasks.BATCH,
              record_every=steps, loss_examples=1)  # fmt: skip
    spsa, step = SPSA(perturb="quantized"), Step(pool=pool)
    target = reference(objective, run.theta, batch, count, spsa, step=step)
    mask, rows = spsa.init(objective, run.theta).moved, []
    for name, rule in RULES.items():
        sample = draw(rule, objective, run.theta, batch, ESTIMATES, step=step)
        found = measure(sample._replace(vectors=sample.vectors * mask), target)
        rows.append({"bits": bits, "surrogate": surrogate, "step": steps, "estimator": name,
                     "cosine": found.mean_cosine, "progress": found.progress})  # fmt: skip
    return rows


def slope_line(records):
    """Share of negative slopes in per cent, its mean, interval (low, high) or None, and thirds."""
    good = [shares(record) for record in records if "error" not in record]
    if not good:
        return None
    whole = [100.0 * share for _, share in good]
    parts = np.mean([100.0 * own for own, _ in good], axis=0)
    reach = interval(whole)
    reach = None if reach is None else (max(0.0, reach[0]), min(100.0, reach[1]))
    return float(np.mean(whole)), reach, [float(own.mean()) for own in np.array_split(parts, 3)]


def text(found, rows, title):
    """Both tables in words."""
    lines = []
    for (name, value), records in found.items():
        line = slope_line(records)
        if line is None:
            lines.append([f"{name} {value}", "diverged", *["-"] * 3])
            continue
        mean, reach, thirds = line
        words = f"{mean:.2f}" + (f" ({reach[0]:.2f} .. {reach[1]:.2f})" if reach else "")
        lines.append([f"{name} {value}", words, *(f"{third:.2f}" for third in thirds)])
    slopes_table = report.table(["", "of all steps, %", "first third", "second", "last"], lines)
    directions = report.table(
        ["", "after", "", "cosine of the mean", "progress of one"],
        [
            [f"{row['bits']} bit{'s' if row['bits'] > 1 else ''}, {row['surrogate']}",
             f"{row['step']} steps", row["estimator"],
             "{:+.3f} +- {:.3f}".format(*row["cosine"]),
             "{:.4f} +- {:.4f}".format(*row["progress"])]
            for row in rows
        ],
    )  # fmt: skip
    usual = ", ".join(f"{name} {value}" for name, value in BASE.items())
    return "\n\n".join([
        title,
        "Steps of the STE (AdamW .01) at which the slope that FOGZO measures, along eps ghat, is "
        f"negative; one\nsetting changed, the others {usual}\n(eps: times the matched one):",
        slopes_table,
        "Directions of the quantised weights beside the gradient of the smoothed loss (the mean of "
        "n-SPSA), of one\nrun and one batch: the cosine of the mean estimate, and the progress of "
        "one, <g, E G>^2 / (E||G||^2 ||g||^2),\nwhich is 1 for the gradient g itself. Errors: over "
        "estimates and directions. The default guide, g / ||g||, is turned\nby the different eps "
        "of the tensors; the scaled one keeps the STE's direction.",
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
    """The share of negative slopes in a run, a row a setting, with its interval."""
    lines = [(name, value, slope_line(records)) for (name, value), records in found.items()]
    figure = blank(8.0, 1.6 + 0.27 * len(lines))
    axes, names = figure.subplots(), list(dict.fromkeys(name for name, *_ in lines))
    for place, (name, _, line) in enumerate(lines):
        style = STYLES[names.index(name) % len(STYLES)]
        if names.index(name) % 2:
            axes.axhspan(place - 0.5, place + 0.5, color="#F2F2F2", zorder=0, lw=0)
        if line is None:
            continue
        mean, reach, _ = line
        if reach:
            axes.plot(reach, [place, place], color=style["color"], lw=1.6)
        axes.plot([mean], [place], linestyle="none", color=style["color"], marker=style["marker"],
                  markersize=6)  # fmt: skip
    axes.set_yticks(range(len(lines)), [f"{name} {value}" for name, value, _ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel("steps at which the slope that FOGZO measures is negative, %")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    usual = ", ".join(f"{name} {value}" for name, value in BASE.items())
    figure.suptitle(f"{title}\none setting changed, the others: {usual}", fontsize="medium")
    return figure

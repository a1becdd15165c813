"""Several runs of one command: built from its settings, kept in a run folder, put in a table.

A run folder holds ``settings.json`` (written first), one checkpoint a run, and at the end
``results.json``, ``records.csv``, ``table.txt`` and ``training.png``.
"""

import itertools
import json
import math
import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock

from . import __version__, backend, figures, losses, report
from .errors import InputError, choose
from .estimators import ESTIMATORS
from .files import write_csv, write_text
from .many import fit_many
from .objective import Objective
from .optim import OPTIMIZERS
from .population import threads
from .quantizers import QUANTIZERS
from .train import COLUMNS, Diverged, fit

# Settings that change nothing about the numbers, and may therefore differ when a run is resumed.
FREE = {"workers", "memory", "out", "quiet", "json", "checkpoint_every", "resume"}


@dataclass(frozen=True)
class Planned:
    """One run to be made: name is the estimator's on the command line, slug its file's.

    ``in_grid`` says whether the learning rate is one of several, and then part of the names.
    """

    name: str
    estimator: object
    seed: int
    optimizer: object
    in_grid: bool = False

    @property
    def label(self):
        """What tables and pictures call it."""
        rate = f", lr {self.optimizer.lr:g}" if self.in_grid else ""
        return f"{self.estimator.label}{rate}"

    @property
    def slug(self):
        """File name of the run without ending, such as ``fogzo-n10-seed0``."""
        n = getattr(self.estimator, "n", None)
        rate = f"-lr{self.optimizer.lr:g}" if self.in_grid else ""
        return f"{self.name}{'' if n is None else f'-n{n}'}{rate}-seed{self.seed}"


def pick(cls, settings, **chosen):
    """An object of the dataclass ``cls`` from those settings that are fields of it."""
    names = {field.name for field in fields(cls)}
    values = {name: settings[name] for name in names if settings.get(name) is not None}
    return cls(**values | chosen)


def plan(settings):
    """The runs that the settings ask for: every estimator, n, learning rate and seed."""
    runs, grid = [], settings.get("lr_grid") is not None
    rules = build_optimizers(settings)
    for name in dict.fromkeys(settings["estimator"]):
        cls = choose("--estimator", name, ESTIMATORS)
        several = any(field.name == "n" for field in fields(cls))
        for n in dict.fromkeys(settings["n"]) if several else [None]:
            estimator = pick(cls, settings, **({} if n is None else {"n": n}))
            runs += [
                Planned(name, estimator, seed, rule, grid)
                for rule in rules
                for seed in seeds(settings)
            ]
    return runs


def seeds(settings):
    """The seeds of the settings, each once."""
    own = settings["seed"] if settings.get("seeds") is None else range(settings["seeds"])
    return list(dict.fromkeys(own))


def build_objective(settings, network):
    """The network with the quantiser and the loss of the settings."""
    quantizer = pick(choose("--quantizer", settings["quantizer"], QUANTIZERS), settings)
    return Objective(network, quantizer, loss=choose("--loss", settings["loss"], losses.LOSSES)())


def build_optimizers(settings):
    """The optimiser with each learning rate of the settings; without any, its own default."""
    cls = choose("--optimizer", settings["optimizer"], OPTIMIZERS)
    grid = settings.get("lr_grid")
    if grid is None:
        return [pick(cls, settings)]
    try:
        rates = [float(word) for word in grid.split(",")]
    except ValueError:
        remedy = f"--lr-grid is {grid!r}, but it must be learning rates such as .01,.03,.1"
        raise InputError(remedy) from None
    return [pick(cls, settings, lr=rate) for rate in dict.fromkeys(rates)]


def is_sweep(settings):
    """Whether the runs are made together: several seeds or learning rates were asked for."""
    return settings.get("seeds") is not None or settings.get("lr_grid") is not None


def new_folder(out, command):
    """An empty folder for a new run: ``out``, or ``runs/<command>-<time>``."""
    folder = Path(out or f"runs/{command}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(
                f"--out {folder} already holds something; name a new folder, or continue that run "
                f"with --resume {folder}"
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--out {folder} cannot be made ({error.strerror}); name a folder you may write to"
        ) from error
    return folder


def write_settings(folder, command, settings):
    """Keep the settings that determine the numbers, so that the folder can be resumed."""
    kept = {name: value for name, value in settings.items() if name not in FREE}
    text = json.dumps({"command": command, "version": __version__, "settings": kept}, indent=2)
    write_text(folder / "settings.json", text + "\n")


def resumed_settings(folder, command, defaults, given):
    """Settings of the run in ``folder``, with those of ``given`` that may still be chosen.

    Raises
    ------
    InputError
        If the folder holds no run of this command, or ``given`` contradicts its settings.
    """
    path = Path(folder) / "settings.json"
    try:
        stored = json.loads(path.read_text())
        if stored["command"] != command:
            raise InputError(f"--resume {folder}: that is a run of `{stored['command']}`")
        stored = stored["settings"]
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"--resume {folder}: there is no readable settings.json in it ({error}); name the "
            "folder that the interrupted command printed"
        ) from None
    for name, value in given.items():
        if name not in FREE and stored.get(name) != value:
            flag = "--" + name.replace("_", "-")
            raise InputError(
                f"{flag} is {value!r}, but the run in {folder} was started with "
                f"{stored.get(name)!r}; leave {flag} out to resume it, or start a new run"
            )
    return defaults | stored | given


def run_all(settings, network, data, folder, resume=False, notice=print):
    """Make every planned run; return (results, records by label).

    One after the other, or together where a sweep was asked for. A run whose loss diverges is
    reported through ``notice`` and in its result (``error``), and the others go on. With
    ``resume``, finished runs are read back and the unfinished one goes on from its checkpoint.
    """
    objective = build_objective(settings, network)
    runs, results, curves = plan(settings), [], []
    with _bar(len(runs) * settings["steps"], settings["quiet"]) as bar:
        if is_sweep(settings):
            outcomes = _together(settings, objective, data, runs, bar)
        else:
            outcomes = _one_by_one(settings, objective, data, runs, folder, resume, bar)
        for run, outcome in outcomes:
            error = None
            if isinstance(outcome, Diverged):
                error, outcome = str(outcome), None
                kept = "" if is_sweep(settings) else " (the last good checkpoint is kept)"
                notice(f"minizo: {error}{kept}")
            else:
                curves.append((run.label, outcome.records))
            results.append(summary(run, settings, data, outcome, error))
    return results, curves


def _workers(settings, data):
    # threads are for the host; a device is parallel by itself
    on_host = backend.is_numpy(backend.namespace(data.x_train))
    return settings["workers"] if on_host else 1


def _one_by_one(settings, objective, data, runs, folder, resume, bar):
    # (planned, Run or Diverged) of each
    with threads(_workers(settings, data), settings["memory"] * 2**20) as pool:
        for number, run in enumerate(runs):
            done = number * settings["steps"]
            bar.set_description(run.label)

            def progress(step, loss, done=done):
                bar.update(done + step - bar.n)
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

            try:
                outcome = fit(
                    objective, data, run.estimator, run.optimizer,
                    steps=settings["steps"], batch=settings["batch"], seed=run.seed, pool=pool,
                    path=folder / f"{run.slug}.npz", resume=resume, progress=progress,
                    checkpoint_every=settings["checkpoint_every"], rng=settings["rng"],
                )  # fmt: skip
            except Diverged as problem:
                outcome = problem
                bar.update(done + settings["steps"] - bar.n)
            yield run, outcome


def _together(settings, objective, data, runs, bar):
    # the same; all seeds and learning rates of an estimator are trained at once
    lock = Lock()

    def progress(rows):
        with lock:
            bar.update(rows)

    for estimator, group in itertools.groupby(runs, lambda run: run.estimator):
        group = list(group)
        bar.set_description(estimator.label)
        outcomes = fit_many(
            objective, data, estimator,
            dict.fromkeys(run.optimizer for run in group),
            dict.fromkeys(run.seed for run in group),
            steps=settings["steps"], batch=settings["batch"], rng=settings["rng"],
            workers=_workers(settings, data) or os.cpu_count() or 1, progress=progress,
        )  # fmt: skip
        yield from zip(group, outcomes, strict=True)


def summary(run, settings, data, result, error):
    """One run as the flat record that ``--json`` prints."""
    xp = backend.namespace(data.x_train)

    used = backend.memory_used(xp)

    def final(column):
        return None if result is None else result.final(column)

    row = {
        "estimator": run.name,
        "backend": xp.__name__,
        "device": backend.device_name(xp),
        "dtype": str(data.x_train.dtype),
        "data": data.name,
        "seed": run.seed,
        "lr": run.optimizer.lr,
        "steps": settings["steps"],
        "n": getattr(run.estimator, "n", None),
        "beta": getattr(run.estimator, "beta", None),
        "forwards": final("forwards"),
        "backwards": final("backwards"),
        "macs": final("macs"),
        "train_loss": final("train_loss"),
        "test_accuracy": final("test_accuracy"),
        "seconds": final("seconds"),
        "memory_mib": None if used is None else round(used / 2**20),
        "theta_sha256": None if result is None else backend.sha256(result.theta),
    }
    return row if error is None else row | {"error": error}


def results_table(results, labels):
    """The comparison as text: one line an estimator, means over its seeds."""
    headers = ["estimator", "training loss", "test accuracy", "forwards", "backwards",
               "multiply-acc.", "seconds"]  # fmt: skip
    rows = []
    for label in dict.fromkeys(labels):
        group = [row for row, own in zip(results, labels, strict=True) if own == label]
        good = [row for row in group if "error" not in row]
        if not good:
            rows.append([label, "diverged", *["-"] * 5])
            continue
        lost = len(group) - len(good)
        rows.append([
            label + (f" ({lost} of {len(group)} diverged)" if lost else ""),
            report.spread([row["train_loss"] for row in good], 3),
            report.spread([100 * row["test_accuracy"] for row in good], 2) + " %",
            f"{good[0]['forwards']:,}",
            f"{good[0]['backwards']:,}",
            report.engineering(good[0]["macs"]),
            f"{math.fsum(row['seconds'] for row in good) / len(good):.1f}",
        ])  # fmt: skip
    return report.table(headers, rows)


def write_results(folder, results, curves, text, title):
    """Write results.json, records.csv, table.txt and training.png; return the picture's path."""
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")
    rows = [
        [label, *row]
        for label, records in curves
        for row in zip(*(records[column] for column in COLUMNS), strict=True)
    ]
    write_csv(folder / "records.csv", ["label", *COLUMNS], rows)
    write_text(folder / "table.txt", f"{title}\n\n{text}\n")
    picture = folder / "training.png"
    figures.save(figures.training(curves, title), picture)
    return picture


def _bar(total, quiet):
    from tqdm import tqdm

    # disable=None: shown on a terminal, silent where standard error goes to a file
    return tqdm(total=total, unit="step", disable=True if quiet else None, smoothing=0.1)

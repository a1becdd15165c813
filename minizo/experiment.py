"""Several runs of one command: built from its settings, kept in a run folder, put in a table.

A run folder holds ``settings.json`` (written first), one checkpoint a run, and at the end
``results.json``, ``records.csv``, ``table.txt`` and ``training.png``.
"""

import json
import math
import time
from dataclasses import dataclass, fields
from pathlib import Path

from . import __version__, backend, figures, losses, report
from .errors import InputError, choose
from .estimators import ESTIMATORS
from .files import write_csv, write_text
from .objective import Objective
from .optim import OPTIMIZERS
from .population import threads
from .quantizers import QUANTIZERS
from .train import COLUMNS, Diverged, fit

# Settings that change nothing about the numbers, and may therefore differ when a run is resumed.
FREE = {"workers", "memory", "out", "quiet", "json", "checkpoint_every", "resume"}


@dataclass(frozen=True)
class Planned:
    """One run to be made: name is the estimator's on the command line, slug its file's."""

    name: str
    estimator: object
    seed: int

    @property
    def slug(self):
        """File name of the run without ending, such as ``fogzo-n10-seed0``."""
        n = getattr(self.estimator, "n", None)
        return f"{self.name}{'' if n is None else f'-n{n}'}-seed{self.seed}"


def pick(cls, settings, **chosen):
    """An object of the dataclass ``cls`` from those settings that are fields of it."""
    names = {field.name for field in fields(cls)}
    values = {name: settings[name] for name in names if settings.get(name) is not None}
    return cls(**values | chosen)


def plan(settings):
    """The runs that the settings ask for: every estimator, every n, every seed."""
    runs = []
    for name in dict.fromkeys(settings["estimator"]):
        cls = choose("--estimator", name, ESTIMATORS)
        several = any(field.name == "n" for field in fields(cls))
        for n in dict.fromkeys(settings["n"]) if several else [None]:
            estimator = pick(cls, settings, **({} if n is None else {"n": n}))
            runs += [Planned(name, estimator, seed) for seed in dict.fromkeys(settings["seed"])]
    return runs


def build_objective(settings, network):
    """The network with the quantiser and the loss of the settings."""
    quantizer = pick(choose("--quantizer", settings["quantizer"], QUANTIZERS), settings)
    return Objective(network, quantizer, loss=choose("--loss", settings["loss"], losses.LOSSES)())


def build_optimizer(settings):
    """The optimiser of the settings; no learning rate means its own default."""
    return pick(choose("--optimizer", settings["optimizer"], OPTIMIZERS), settings)


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
    """Make every planned run, one after the other; return (results, records by label).

    A run whose loss diverges is reported through ``notice`` and in its result (``error``), and
    the others go on. With ``resume``, finished runs are read back and the unfinished one goes on
    from its checkpoint.
    """
    objective = build_objective(settings, network)
    optimizer = build_optimizer(settings)
    runs, results, curves = plan(settings), [], []
    xp = backend.namespace(data.x_train)
    workers = 1 if not backend.is_numpy(xp) else settings["workers"]
    with threads(workers, settings["memory"] * 2**20) as pool:
        with _bar(len(runs) * settings["steps"], settings["quiet"]) as bar:
            for number, run in enumerate(runs):
                done = number * settings["steps"]
                bar.set_description(run.estimator.label)

                def progress(step, loss, done=done):
                    bar.update(done + step - bar.n)
                    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

                error = None
                try:
                    result = fit(
                        objective, data, run.estimator, optimizer,
                        steps=settings["steps"], batch=settings["batch"], seed=run.seed, pool=pool,
                        path=folder / f"{run.slug}.npz", resume=resume, progress=progress,
                        checkpoint_every=settings["checkpoint_every"], rng=settings["rng"],
                    )  # fmt: skip
                    curves.append((run.estimator.label, result.records))
                except Diverged as problem:
                    error, result = str(problem), None
                    notice(f"minizo: {error} (the last good checkpoint is kept)")
                    bar.update(done + settings["steps"] - bar.n)
                results.append(summary(run, settings, data, result, error))
    return results, curves


def summary(run, settings, data, result, error):
    """One run as the flat record that ``--json`` prints."""
    xp = backend.namespace(data.x_train)

    def final(column):
        return None if result is None else result.final(column)

    row = {
        "estimator": run.name,
        "backend": xp.__name__,
        "device": backend.device_name(xp),
        "dtype": str(data.x_train.dtype),
        "data": data.name,
        "seed": run.seed,
        "steps": settings["steps"],
        "n": getattr(run.estimator, "n", None),
        "beta": getattr(run.estimator, "beta", None),
        "forwards": final("forwards"),
        "backwards": final("backwards"),
        "macs": final("macs"),
        "train_loss": final("train_loss"),
        "test_accuracy": final("test_accuracy"),
        "seconds": final("seconds"),
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

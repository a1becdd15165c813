"""Several runs of one command: built from its settings, kept in a run folder, put in a table.

A run folder holds ``settings.json`` (written first), one checkpoint a run (those of pre-training
included) or group of runs that are trained together, and at the end ``results.json``,
``records.csv``, ``table.txt`` and ``training.png``.
"""

import itertools
import json
import math
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from . import __version__, backend, figures, report
from .data import AUGMENTATIONS
from .errors import InputError
from .files import make_folder, write_csv, write_text
from .parallel import threads
from .planning import build_objective, is_sweep, plan
from .quantizers import FullPrecision
from .records import COLUMNS, Diverged
from .train import fit, fit_many

# Settings that change nothing about the numbers, and may therefore differ when a run is resumed.
FREE = {"workers", "out", "quiet", "json", "checkpoint_every", "resume"}


def new_folder(out, command):
    """An empty folder for a new run: ``out``, or a new one ``runs/<command>-<time>``."""
    if out is None:
        return _unused(make_folder("runs", "--out"), f"{command}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder = make_folder(out, "--out")
    try:
        held = os.listdir(folder)
    except PermissionError:
        held = "something that nobody may see"
    if held:
        raise InputError(
            f"--out {folder} already holds something; name a new folder, or continue that run "
            f"with --resume {folder}"
        )
    return folder


def _unused(parent, name):
    # two runs may begin in the same second: making the folder decides whose it is
    for own in itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2))):
        with suppress(FileExistsError):
            (parent / own).mkdir()
            return parent / own


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
        version, stored = stored.get("version"), stored["settings"]
        settings = defaults | stored
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"--resume {folder}: there is no readable settings.json in it ({error}); name the "
            "folder that the interrupted command printed"
        ) from None
    unknown = sorted(stored.keys() - defaults.keys())
    if unknown:
        raise InputError(
            f"--resume {folder}: minizo {version} made that run with settings that minizo "
            f"{__version__} does not know ({', '.join(unknown)}); resume it with the version that "
            "began it, or start a new run"
        )
    for name, value in given.items():
        if name not in FREE and stored.get(name) != value:
            flag = "--" + name.replace("_", "-")
            raise InputError(
                f"{flag} is {value!r}, but the run in {folder} was started with "
                f"{stored.get(name)!r}; leave {flag} out to resume it, or start a new run"
            )
    return settings | given


def evaluation(settings, data):
    """(records a run, how many training examples their loss is of; ``None`` is all).

    Unless the settings say so, a convolutional network, whose evaluation is dear beside its
    training, is evaluated less often, and on fewer training examples.
    """
    dear = settings["model"] != "mlp"
    records, examples = settings["records"], settings["loss_examples"]
    if records is None:
        records = 6 if dear else 20
    if examples is None and dear:
        examples = min(data.y_train.shape[0], 10000)
    return records, examples


def weights_of(run, objective, seed):
    """The latent parameters of ``run`` for ``objective``: what its quantiser learns fits them."""
    values = run.objective.network.views(run.theta)
    return objective.network.init(seed, like=run.theta, values=values)


def run_all(settings, network, data, folder, resume=False, notice=print):
    """Make every planned run, one after the other; return (results, records by label).

    A run whose loss diverges is reported through ``notice`` and in its result (``error``), and
    the others go on, except those that begin where it should have ended. With ``resume``, finished
    runs are read back and the unfinished one goes on from its checkpoint.
    """
    objective = build_objective(settings, network)
    unquantized = build_objective(settings, network, FullPrecision())
    if is_sweep(settings):
        return _together(settings, objective, data, folder, resume, notice)
    runs, results, curves, starts = plan(settings, data.y_train.shape[0]), [], [], {}
    records, loss_examples = evaluation(settings, data)
    with threads(_workers(settings, data)) as pool:
        with _bar(sum(run.steps for run in runs), settings["quiet"]) as bar:
            done = 0
            for run in runs:
                bar.set_description(run.label)

                def progress(step, loss, done=done):
                    bar.update(done + step - bar.n)
                    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

                error = result = None
                path = folder / f"{run.slug}.npz"
                try:
                    begin = starts.get(run.seed)
                    if begin is None and run.seed in starts:
                        raise Diverged(f"{run.label}: its pre-training diverged")
                    result = fit(
                        unquantized if run.pretraining else objective, data, run.estimator,
                        run.optimizer, steps=run.steps, batch=settings["batch"], seed=run.seed,
                        pool=pool, path=path, resume=resume,
                        record_every=max(1, run.steps // records),
                        loss_examples=loss_examples,
                        augment=AUGMENTATIONS[settings["augment"]],
                        start=None if begin is None else weights_of(begin, objective, run.seed),
                        checkpoint_every=settings["checkpoint_every"], progress=progress,
                        rng=settings["rng"],
                    )  # fmt: skip
                    curves.append((run.label, result.records))
                except Diverged as problem:
                    error = str(problem)
                    kept = " (the last good checkpoint is kept)" if path.exists() else ""
                    notice(f"minizo: {error}{kept}")
                if run.pretraining:
                    starts[run.seed] = result
                done += run.steps
                bar.update(done - bar.n)
                results.append(summary(run, data, result, error))
    return results, curves


def _workers(settings, data):
    # threads are for the host; a device is parallel by itself
    on_host = backend.is_numpy(backend.namespace(data.x_train))
    return settings["workers"] if on_host else 1


def _together(settings, objective, data, folder, resume, notice):
    # `run_all` where all seeds and learning rates of an estimator are trained at once
    runs, results, curves = plan(settings, data.y_train.shape[0]), [], []
    records, loss_examples = evaluation(settings, data)
    lock, done = Lock(), 0
    with _bar(sum(run.steps for run in runs), settings["quiet"]) as bar:

        def progress(rows):
            with lock:
                bar.update(rows)

        for estimator, group in itertools.groupby(runs, lambda run: run.estimator):
            group = list(group)
            bar.set_description(estimator.label)
            outcomes = fit_many(
                objective, data, estimator, [(run.optimizer, run.seed) for run in group],
                steps=group[0].steps, batch=settings["batch"], rng=settings["rng"],
                record_every=max(1, group[0].steps // records), loss_examples=loss_examples,
                augment=AUGMENTATIONS[settings["augment"]],
                workers=_workers(settings, data) or os.cpu_count() or 1, progress=progress,
                path=folder / f"{_stem(group[0])}.npz", resume=resume,
                checkpoint_every=settings["checkpoint_every"],
            )  # fmt: skip
            done += sum(run.steps for run in group)
            bar.update(done - bar.n)  # a resumed run has less to do
            for run, result in zip(group, outcomes, strict=True):
                error = str(result) if isinstance(result, Diverged) else None
                if error is None:
                    curves.append((run.label, result.records))
                else:
                    notice(f"minizo: {error}")
                results.append(summary(run, data, None if error else result, error))
    return results, curves


def _stem(run):
    # file name of what is trained together, such as ``fogzo-n10``
    return replace(run, in_grid=False).slug.removesuffix(f"-seed{run.seed}")


def summary(run, data, result, error):
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
        "steps": run.steps,
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

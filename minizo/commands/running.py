"""Cases trained, one after the other or together, kept in a run folder and put in a table.

A run folder holds ``settings.json`` (written first), ``recipe.txt`` where they come from a recipe,
one checkpoint a run (those of pre-training included), and at the end ``results.json``,
``records.csv``, ``table.txt`` and ``training.png``.
"""

import itertools
import json
import math
import os
import time
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from .. import backend, figures, report
from ..data import AUGMENTATIONS
from ..errors import InputError
from ..files import make_folder, write_csv, write_text
from ..fitting import fit, fit_many
from ..parallel import threads
from ..progress import progress_bar
from ..quantizers import FullPrecision
from ..records import COLUMNS, Diverged
from ..start import Start
from . import recipes
from .cases import Case, build_objective, length
from .sources import write


class Run(NamedTuple):
    """A case with a seed and a number of steps."""

    case: Case
    seed: int
    steps: int

    @property
    def slug(self):
        """File name of the run without ending, such as ``fogzo-n10-seed0``."""
        return f"{self.case.slug}-seed{self.seed}"


def runs(settings, cases, examples):
    """The runs of the cases, for so many training examples."""
    steps, first = length(settings, examples)
    return [
        Run(case, seed, first if case.pretraining else steps)
        for case in cases
        for seed in settings.all_seeds
    ]


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


def opened(command, settings, resume, notice):
    """The run folder of a command: the one that is resumed, or a new one with its settings."""
    if resume is None:
        folder = new_folder(settings.out, command.rpartition(".")[2])
        write(folder, command, settings)
        if settings.recipe is not None:
            write_text(folder / "recipe.txt", recipes.explained(settings.recipe) + "\n")
            if not settings.quiet:
                notice(recipes.departures(settings.recipe))
    else:
        folder = make_folder(resume, "--resume")
    if not settings.quiet:
        notice(f"run folder: {folder} (if interrupted, go on with --resume {folder})")
    return folder


def _unused(parent, name):
    # two runs may begin in the same second: making the folder decides whose it is
    for own in itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2))):
        with suppress(FileExistsError):
            (parent / own).mkdir()
            return parent / own


def evaluation(settings, data):
    """(records a run, how many training examples their loss is of; ``None`` is all).

    Unless the settings say so, a convolutional network, whose evaluation is dear beside its
    training, is evaluated less often, and on fewer training examples.
    """
    dear = settings.model.name != "mlp"
    records, examples = settings.records, settings.loss_examples
    if records is None:
        records = 10 if data.tokens else 6 if dear else 20
    if examples is None and dear:
        most = 16000 // data.x_train.shape[1] if data.tokens else 10000
        examples = min(data.y_train.shape[0], max(1, most))
    return records, examples


def begun(begin, objective, seed, like):
    """What `minizo.fit` is told of a `minizo.start.Start`, or nothing without one.

    Running statistics of a file fit the weights in full precision alone: of others they are those
    of the first batch.
    """
    if begin is None:
        return {}
    theta = objective.network.init(seed, like=like, values=begin.values)
    full = isinstance(objective.quantizer, FullPrecision)
    return {"start": theta, "state": begin.state(like) if full else None}


def run_all(settings, cases, network, data, folder, resume=False, notice=print, begin=None):
    """Make every run; return (results, (label, records) of those that ended).

    ``begin`` is the `minizo.start.Start` of all of them, if they have one.

    A run whose loss diverges is reported through ``notice`` and in its result (``error``), and
    the others go on, except those that begin where it should have ended. With ``resume``, finished
    runs are read back and the unfinished one goes on from its checkpoint.
    """
    planned = runs(settings, cases, data.y_train.shape[0])
    records, loss_examples = evaluation(settings, data)
    objectives = {id(c): build_objective(settings, network, c.quantizer) for c in cases}
    options = {
        "batch": settings.batch, "rng": settings.rng, "loss_examples": loss_examples,
        "augment": AUGMENTATIONS[settings.augment],
    }  # fmt: skip
    total = sum(run.steps for run in planned)
    with progress_bar(total, settings.quiet, unit="step", smoothing=0.1) as bar:
        if settings.together:
            outcomes = _together(
                settings, planned, objectives, data, records, options, bar, folder, resume, begin
            )
        else:
            outcomes = _in_turn(
                settings, planned, objectives, data, records, options, bar, folder, resume, begin
            )
        results, curves = [], []
        for run, result in outcomes:
            error = str(result) if isinstance(result, Diverged) else None
            if error is None:
                curves.append((run.case.label, result.records))
            else:
                kept = (folder / f"{run.slug}.npz").exists()
                notice(f"minizo: {error}{' (the last good checkpoint is kept)' if kept else ''}")
            results.append(summary(run, data, None if error else result, error))
    return results, curves


def _in_turn(settings, planned, objectives, data, records, options, bar, folder, resume, begin):
    # (run, what became of it), one after the other
    begins, done = {}, 0  # of the pre-training, by seed
    with threads(_workers(settings, data)) as pool:
        for run in planned:
            case, path = run.case, folder / f"{run.slug}.npz"
            objective = objectives[id(case)]
            bar.set_description(case.label)

            def progress(step, loss, done=done):
                bar.update(done + step - bar.n)
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

            first = begin if case.pretraining else begins.get(run.seed, begin)
            try:
                if isinstance(first, Diverged):
                    raise Diverged(f"{case.label}: its pre-training diverged")
                own = begun(first, objective, run.seed, data.like)
                result = fit(
                    objective, data, case.estimator, case.optimizer, steps=run.steps,
                    seed=run.seed, pool=pool, path=path, resume=resume, **own,
                    record_every=max(1, run.steps // records),
                    checkpoint_every=settings.checkpoint_every, progress=progress, **options,
                )  # fmt: skip
            except Diverged as problem:
                result = problem
            if case.pretraining:
                begins[run.seed] = result if isinstance(result, Diverged) else Start.of(result)
            done += run.steps
            bar.update(done - bar.n)
            yield run, result


def _together(settings, planned, objectives, data, records, options, bar, folder, resume, begin):
    # (run, what became of it), all optimisers and seeds of an estimator at once
    lock, done = Lock(), 0

    def progress(rows):
        with lock:
            bar.update(rows)

    def rows_of(run):
        return id(run.case.quantizer), id(run.case.estimator)

    for _, group in itertools.groupby(planned, rows_of):
        group = list(group)
        case, steps = group[0].case, group[0].steps
        bar.set_description(case.label)
        objective = objectives[id(case)]
        owns = [begun(begin, objective, run.seed, data.like) for run in group]
        given = {name: [own[name] for own in owns] for name in owns[0]}
        outcomes = fit_many(
            objective, data, case.estimator,
            [(run.case.optimizer, run.seed) for run in group], steps=steps,
            record_every=max(1, steps // records), progress=progress,
            workers=_workers(settings, data) or os.cpu_count() or 1, resume=resume,
            path=folder / f"{case.slug}.npz", checkpoint_every=settings.checkpoint_every,
            **given, **options,
        )  # fmt: skip
        done += sum(run.steps for run in group)
        bar.update(done - bar.n)  # a resumed run has less to do
        yield from zip(group, outcomes, strict=True)


def check(settings, cases, network, data):
    """Raise an `InputError` for cases that cannot be trained, before anything is."""
    for case in cases:
        objective = build_objective(settings, network, case.quantizer)
        theta = objective.network.init(0, like=data.like)
        try:
            case.estimator.init(objective.calibrate(theta), theta)
            case.optimizer.init(theta, objective)
        except InputError as error:
            if not case.aside:
                raise
            remedy = f"or leave that network out, {case.aside}"
            raise InputError(f"{case.label}: {error}; {remedy}") from None


def _workers(settings, data):
    # threads are for the host; a device is parallel by itself
    on_host = backend.is_numpy(backend.namespace(data.x_train))
    return settings.workers if on_host else 1


def summary(run, data, result, error):
    """One run as the flat record that ``--json`` prints."""
    xp, case = backend.namespace(data.x_train), run.case
    used = backend.memory_used(xp)

    def final(column):
        return None if result is None else result.final(column)

    row = {
        "label": case.label,
        **case.row,
        "backend": xp.__name__,
        "device": backend.device_name(xp),
        "dtype": str(data.like.dtype),
        "data": data.name,
        "seed": run.seed,
        "lr": getattr(case.optimizer, "lr", None),
        "steps": run.steps,
        "n": getattr(case.estimator, "n", None),
        "beta": getattr(case.estimator, "beta", None),
        "forwards": final("forwards"),
        "backwards": final("backwards"),
        "macs": final("macs"),
        "train_loss": final("train_loss"),
        "test_accuracy": final("test_accuracy"),
        "test_loss": final("test_loss"),
        "seconds": final("seconds"),
        "evaluation_seconds": final("evaluation_seconds"),
        "memory_mib": None if used is None else round(used / 2**20),
        "theta_sha256": None if result is None else backend.sha256(result.theta),
    }
    return row if error is None else row | {"error": error}


def measures_of(data):
    """What a table says of the runs of a case: header -> function(their results) -> text.

    Of a text the loss of the validation part, in nats and in bits, and its perplexity, exp(loss).
    """

    def of(column, digits, unit=1.0):
        return lambda good: report.spread([row[column] / unit for row in good], digits)

    if not data.tokens:
        return {
            "training loss": of("train_loss", 3),
            "test accuracy": lambda good: of("test_accuracy", 2, 0.01)(good) + " %",
        }
    return {
        "training loss": of("train_loss", 3),
        f"validation, nats a {data.unit}": of("test_loss", 3),
        "bits": of("test_loss", 3, math.log(2.0)),
        "perplexity": lambda good: report.spread(
            [report.perplexity(r["test_loss"]) for r in good], 2
        ),
    }


def results_table(results, data):
    """The comparison as text: one line a case, means over its seeds; what evaluation took."""
    measures = measures_of(data)
    headers = ["estimator", *measures, "forwards", "backwards", "multiply-acc.", "seconds"]
    rows = []
    for label in dict.fromkeys(row["label"] for row in results):
        group = [row for row in results if row["label"] == label]
        good = [row for row in group if "error" not in row]
        if not good:
            rows.append([label, "diverged", *["-"] * (len(headers) - 2)])
            continue
        lost = len(group) - len(good)
        rows.append([
            label + (f" ({lost} of {len(group)} diverged)" if lost else ""),
            *(measure(good) for measure in measures.values()),
            f"{good[0]['forwards']:,}",
            f"{good[0]['backwards']:,}",
            report.engineering(good[0]["macs"]),
            f"{math.fsum(row['seconds'] for row in good) / len(good):.1f}",
        ])  # fmt: skip
    return "\n".join([report.table(headers, rows), *_evaluation(results)])


def _evaluation(results):
    # what the column of seconds leaves out
    good = [row for row in results if "error" not in row]
    if not good:
        return []
    seconds, more = (
        math.fsum(row[column] for row in good) for column in ("seconds", "evaluation_seconds")
    )
    share = more / (seconds + more) if seconds + more else 0.0
    return [
        f"seconds: of a run's training alone; its evaluation took {more / len(good):.1f} s more, "
        f"{100 * share:.0f} % of the time"
    ]


def write_results(folder, results, curves, text, title, tokens=False):
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
    column = "test_loss" if tokens else "train_loss"
    figures.save(figures.training(curves, title, column), picture)
    return picture

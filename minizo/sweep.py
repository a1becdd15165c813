"""Many runs, each kept as a record of its own, over several processes, resumable.

A sweep is a list of `Case`. Every finished case leaves one JSON file in the sweep's folder; a case
whose file is there and whole is not run again, one whose file is damaged is. Cases that differ in
nothing but their seed and optimiser, and in what they start from and watch, are trained together by
`minizo.fit_many` where the network is small enough for that to pay. Beside the files lies the
checkpoint of every case that is trained alone, and of every group of others, from which it goes on.
So a sweep that is stopped loses at most the last twentieth of the runs that were under way.
"""

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import MISSING, dataclass, field, fields, replace
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

from . import group, quantizers
from .files import make_folder, write_text
from .fitting import fit_many
from .models import mlp
from .objective import Objective
from .optim import Adam
from .progress import progress_bar
from .recipe import in_words
from .records import Diverged
from .rng import SEEDS
from .settings import Count, Settings, whole


@dataclass(frozen=True)
class Case(Settings):
    """One run of a sweep: what `minizo.fit` is given.

    Parameters
    ----------
    estimator, optimizer, quantizer : dataclasses
    seed, steps, batch : int
    widths : tuple of int
        Hidden layers.
    activation : str
    record_every : int, optional
        Steps between records; by default 20 records a run.
    """

    estimator: object
    optimizer: object = field(default_factory=Adam)
    seed: Annotated[int, SEEDS] = 0
    steps: Count = 1200
    batch: Count = 100
    widths: Annotated[tuple, "[1, inf)"] = (10,)
    activation: str = "relu"
    quantizer: object = field(default_factory=quantizers.MidRise)
    record_every: Count | None = None

    def settings(self):
        """The settings that differ from the defaults, as text: what tells cases apart."""
        parts = []
        for item in fields(self):
            value = getattr(self, item.name)
            default = (
                item.default_factory()
                if item.default is MISSING and (item.default_factory is not MISSING)
                else item.default
            )
            if value != default:
                parts.append(f"{item.name}={in_words(value)}")
        return ", ".join(parts)

    def key(self, data):
        """File name: readable, and different for every different case and data set."""
        text = f"{self.settings()} {data.digest}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        label = self.estimator.label.replace(" ", "-").replace("=", "").lower()
        return f"{label}-{type(self.optimizer).__name__.lower()}{self.optimizer.lr:g}-{digest}"

    def cost(self):
        """Forwards of the whole run, a backward counted as two: what its time goes with."""
        n = getattr(self.estimator, "n", 0)
        guided = hasattr(self.estimator, "beta") or n == 0
        return self.steps * (2 * n + 3 * guided)

    def options(self, data, path):
        """More of what `minizo.fit` is given: nothing here.

        Of cases that are `alike` ``start``, ``state`` and ``watch`` may differ, and nothing else.
        """
        return {}

    def alike(self):
        """The same for all cases that can be trained together; ``None`` if this one is for itself.

        They may differ in seed, optimiser and `options`, and the estimator must treat rows on their
        own.
        """
        return replace(self, optimizer=None, seed=0) if self.estimator.rowwise else None

    def network(self, data):
        """The network that is trained."""
        return mlp(
            data.x_train[0].size,
            *self.widths,
            data.classes,
            activation=self.activation,
            input_shape=tuple(data.x_train.shape[1:]),
        )

    def objective(self, data):
        """The loss that is trained: every weight of `network` quantised."""
        return Objective(self.network(data), self.quantizer)

    def train(self, data, path=None):
        """Train, and return the `minizo.Run`.

        With a ``path`` the checkpoint is kept there, and one that is there already is resumed.
        """
        (outcome,) = train([self], data, path)
        if isinstance(outcome, Diverged):
            raise outcome
        return outcome

    def record(self, data, outcome):
        """Settings and, of a `Run`, ``records`` by column, or of a `Diverged` its ``error``."""
        record = {
            "label": self.estimator.label,
            "estimator": repr(self.estimator),
            "optimizer": repr(self.optimizer),
            "lr": self.optimizer.lr,
            "seed": self.seed,
            "case": self.settings(),
            "data": data.name,
            "data_sha256": data.digest,
        }
        if isinstance(outcome, Diverged):
            return record | {"error": str(outcome)}
        return record | {"records": outcome.records}


def read(path, case, data):
    """The record at ``path`` if it is whole and of this case and data set; otherwise ``None``."""
    try:
        record = json.loads(Path(path).read_text())
        same = (record["case"], record["data_sha256"]) == (case.settings(), data.digest)
        return record if same and ("error" in record or record["records"]["step"]) else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


_data = None  # of a worker process: loaded once, used by every case that it is given


def _start(load):
    global _data
    # the caller has loaded the same, and said what there is to say
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        _data = load()


def _work_there(cases, paths):
    return _work(cases, paths, _data)


def _work(cases, paths, data):
    outcomes = train(cases, data, checkpoint(paths))
    records = [case.record(data, found) for case, found in zip(cases, outcomes, strict=True)]
    for record, path in zip(records, paths, strict=True):
        write_text(path, json.dumps(record) + "\n")
    return records


def checkpoint(paths):
    """Where the checkpoint of cases with these records lies: for the same cases the same place."""
    if len(paths) == 1:
        return paths[0].with_suffix(".npz")
    names = " ".join(path.name for path in paths)
    return paths[0].with_name(f"together-{hashlib.sha256(names.encode()).hexdigest()[:10]}.npz")


OF_A_ROW = ("start", "state", "watch")  # what runs that are trained together may have of their own


def train(cases, data, path=None):
    """Train cases that are alike; a `minizo.Run`, or the `Diverged` it ended with, for each.

    With a ``path`` checkpoints are kept there, and those that are there already are resumed.
    """
    lead = cases[0]
    own = [case.options(data, path) for case in cases]
    shared = {name: value for name, value in own[0].items() if name not in OF_A_ROW}
    return fit_many(
        lead.objective(data),
        data,
        lead.estimator,
        [(case.optimizer, case.seed) for case in cases],
        steps=lead.steps,
        batch=lead.batch,
        record_every=lead.record_every,
        path=path,
        checkpoint_every=max(1, lead.steps // 20),
        resume=path is not None,
        **shared,
        **{name: [options.get(name) for options in own] for name in OF_A_ROW},
    )


def groups(cases, data):
    """The cases, in lists of those that are trained together, the most expensive first."""
    kinds = {}
    for case in cases:
        kind = case.alike()
        kinds.setdefault(case if kind is None else kind, []).append(case)
    found = []
    for kind in kinds.values():
        # in the order of their optimisers, so that neighbours are updated together
        kind.sort(key=lambda case: repr(case.optimizer))
        lead, network = kind[0], kind[0].objective(data).network
        rules = (lead.estimator, *(case.optimizer for case in kind))
        parts = group.groups(len(kind), network, data, rules, lead.batch)
        found += [kind[part] for part in parts]
    return sorted(found, key=lambda own: sum(case.cost() for case in own), reverse=True)


def run(cases, load, folder, workers=None, quiet=False, data=None):
    """Run every case that has no record yet; return the records in the order of ``cases``.

    Parameters
    ----------
    cases : list of Case
    load : callable
        Gives the data set; called once in every process, so it must be importable.
    folder : path
        Where the records are kept.
    workers : int, optional
        Processes; by default one a processor. 1 runs everything in the caller.
    quiet : bool
        No progress bar.
    data : Dataset, optional
        What ``load`` gives, where the caller has it already.

    Returns
    -------
    list of dict
        As `Case.run` makes them.
    """
    workers = (os.cpu_count() or 1) if workers is None else whole("workers", workers)
    folder = make_folder(folder)
    data = load() if data is None else data
    paths = {case: folder / f"{case.key(data)}.json" for case in cases}
    records = {case: read(path, case, data) for case, path in paths.items()}
    missing = [case for case in paths if records[case] is None]
    # the most expensive first, so that no processor waits long at the end; groups of all cases, so
    # that those of an interrupted sweep are found again
    planned = [[case for case in together if case in missing] for together in groups(paths, data)]
    waiting = [(own, [paths[case] for case in own]) for own in planned if own]

    with ExitStack() as stack:
        total, left = (sum(case.cost() for case in own) for own in (cases, missing))
        bar = progress_bar(
            total, quiet, initial=total - left, desc=f"{len(missing)} runs", unit="forward",
            unit_scale=True, smoothing=0.02,
        )  # fmt: skip
        stack.enter_context(bar)
        if workers == 1:
            finished = ((own, _work(own, places, data)) for own, places in waiting)
        else:
            context = get_context("spawn")  # a forked BLAS may hang
            pool = stack.enter_context(
                ProcessPoolExecutor(workers, context, initializer=_start, initargs=(load,))
            )
            futures = {pool.submit(_work_there, *item): item[0] for item in waiting}
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            finished = ((futures[f], f.result()) for f in as_completed(futures))
        for own, made in finished:
            for case, record in zip(own, made, strict=True):
                records[case] = record
                bar.update(case.cost())
            bar.set_postfix_str(made[0]["label"], refresh=False)
    return [records[case] for case in cases]

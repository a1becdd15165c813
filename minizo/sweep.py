"""Many runs, each kept as a record of its own, over several processes, resumable.

A sweep is a list of `Case`. Every finished case leaves one JSON file in the sweep's folder; a case
whose file is there and whole is not run again, one whose file is damaged is. Cases that differ in
nothing but their seed and optimiser are trained together by `minizo.fit_many` where the network is
small enough for that to pay. Beside the file of one that is trained alone lies its checkpoint, from
which it goes on. So a sweep that is stopped loses at most the last twentieth of the long runs that
were under way, and the groups of short ones.
"""

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import MISSING, dataclass, field, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

from . import quantizers
from .files import make_folder, write_text
from .many import fit_many, rows_at_once
from .models import mlp
from .objective import Objective
from .optim import Adam
from .recipe import Diverged, in_words
from .rng import SEEDS
from .settings import Count, Settings, whole
from .train import fit


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
        """More of what `minizo.fit` is given: nothing here, a start or a watch in other cases."""
        return {}

    def alike(self):
        """The same for all cases that can be trained together; ``None`` if this one is for itself.

        They may differ in seed and optimiser, the estimator must treat rows on their own, and
        nothing may be asked of `minizo.fit` that `minizo.fit_many` does not do.
        """
        if self.estimator.rowwise and type(self).options is Case.options:
            return replace(self, optimizer=None, seed=0)
        return None

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
        return fit(
            self.objective(data),
            data,
            self.estimator,
            self.optimizer,
            steps=self.steps,
            batch=self.batch,
            seed=self.seed,
            record_every=self.record_every,
            path=path,
            checkpoint_every=max(1, self.steps // 20),
            resume=True,
            **self.options(data, path),
        )

    def run(self, data, path=None):
        """`train`, and return the `record`."""
        try:
            return self.record(data, self.train(data, path))
        except Diverged as error:
            return self.record(data, error)

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
    _data = load()


def _work_there(cases, paths):
    return _work(cases, paths, _data)


def _work(cases, paths, data):
    if len(cases) == 1:
        records = [cases[0].run(data, paths[0].with_suffix(".npz"))]
    else:
        first = cases[0]
        outcomes = fit_many(
            first.objective(data),
            data,
            first.estimator,
            [(case.optimizer, case.seed) for case in cases],
            steps=first.steps,
            batch=first.batch,
            record_every=first.record_every,
        )
        records = [case.record(data, found) for case, found in zip(cases, outcomes, strict=True)]
    for record, path in zip(records, paths, strict=True):
        write_text(path, json.dumps(record) + "\n")
    return records


def groups(cases, data):
    """The cases, in lists of those that are trained together, the most expensive first."""
    kinds = {}
    for case in cases:
        kind = case.alike()
        kinds.setdefault(case if kind is None else kind, []).append(case)
    found = []
    for kind in kinds.values():
        first = kind[0]
        size = 1
        if len(kind) > 1:
            size = rows_at_once(first.objective(data), data, first.estimator, first.batch)
        # in the order of their optimisers, so that neighbours are updated together
        kind.sort(key=lambda case: repr(case.optimizer))
        found += [kind[i : i + size] for i in range(0, len(kind), size)]
    return sorted(found, key=lambda group: sum(case.cost() for case in group), reverse=True)


def run(cases, load, folder, workers=None, quiet=False):
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

    Returns
    -------
    list of dict
        As `Case.run` makes them.
    """
    workers = (os.cpu_count() or 1) if workers is None else whole("workers", workers)
    folder = make_folder(folder)
    data = load()
    paths = {case: folder / f"{case.key(data)}.json" for case in cases}
    records = {case: read(path, case, data) for case, path in paths.items()}
    missing = [case for case in paths if records[case] is None]
    # the most expensive first, so that no processor waits long at the end
    waiting = [(group, [paths[case] for case in group]) for group in groups(missing, data)]

    with ExitStack() as stack:
        bar = stack.enter_context(_bar(cases, missing, quiet))
        if workers == 1:
            finished = ((group, _work(group, own, data)) for group, own in waiting)
        else:
            context = get_context("spawn")  # a forked BLAS may hang
            pool = stack.enter_context(
                ProcessPoolExecutor(workers, context, initializer=_start, initargs=(load,))
            )
            futures = {pool.submit(_work_there, *item): item[0] for item in waiting}
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            finished = ((futures[f], f.result()) for f in as_completed(futures))
        for group, own in finished:
            for case, record in zip(group, own, strict=True):
                records[case] = record
                bar.update(case.cost())
            bar.set_postfix_str(own[0]["label"], refresh=False)
    return [records[case] for case in cases]


def _bar(cases, missing, quiet):
    from tqdm import tqdm

    total = sum(case.cost() for case in cases)
    done = total - sum(case.cost() for case in missing)
    return tqdm(
        total=total,
        initial=done,
        desc=f"{len(missing)} runs",
        unit="forward",
        unit_scale=True,
        smoothing=0.02,
        disable=True if quiet else None,
    )

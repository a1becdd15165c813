"""Fair comparisons: rates chosen on some seeds, results from others, differences seed by seed.

    tuning    every candidate of every case, on the tuning seeds; the least mean loss is chosen
    report    the chosen candidate of every case, on other seeds, the same for all cases
    judgement d_s = loss of the case - loss of the reference, for each seed s; its mean and interval

A rate that is chosen on the seeds that are reported profits from their luck: the more candidates,
the more. Here it cannot.
"""

import math
import os
from dataclasses import dataclass, field
from statistics import fmean
from threading import Lock

from .. import backend
from ..errors import InputError, choose, require
from ..files import make_folder
from ..memory import told
from ..parallel import threads
from ..rng import SEEDS
from ..settings import whole, wholes
from .cases import Candidate, check_cases, edges, probe, timed
from .statistics import Difference, interval, paired, spread
from .trials import Trials, bar, read_seconds, write_seconds

TUNING = 1000  # the first tuning seed
EQUAL = ("steps", "compute", "time")
OPTIONS = ("batch", "loss_examples", "augment", "rng")
MEASURES = ("train_loss", "test_accuracy")


@dataclass(frozen=True)
class Row:
    """What a comparison says of one case.

    Attributes
    ----------
    label : str
    chosen : Candidate
        What its tuning chose.
    tuning : tuple of (Candidate, mean loss)
        All candidates, with their mean training loss over the tuning seeds, infinite where one
        diverged.
    edges : tuple of str
        Which chosen numbers lie at an edge of the grid.
    steps : int
        Of each run.
    outcomes : tuple of dict
        Of each seed: ``records`` by column, or ``error``.
    difference : Difference or None
        Of training loss to the reference; ``None`` of the reference itself.
    accuracy_difference : Difference or None
        The same of test accuracy.
    """

    label: str
    chosen: Candidate
    tuning: tuple
    edges: tuple
    steps: int
    outcomes: tuple
    difference: Difference | None = None
    accuracy_difference: Difference | None = None

    def ends(self, column):
        """The last record of a column for each seed; ``None`` where the run diverged."""
        return tuple(
            None if "error" in end else end["records"][column][-1] for end in self.outcomes
        )

    @property
    def loss(self):
        """`Spread` of the final training losses; ``None`` if all seeds diverged."""
        return spread(self.ends("train_loss"))

    @property
    def accuracy(self):
        """`Spread` of the final test accuracies; ``None`` if all seeds diverged."""
        return spread(self.ends("test_accuracy"))

    def mean(self, column):
        """Mean of the last record of a column over the seeds that ended; NaN if none did."""
        good = [value for value in self.ends(column) if value is not None]
        return fmean(good) if good else math.nan


@dataclass(frozen=True)
class Table:
    """A comparison at equal steps, compute or time.

    equal : str;  reference : str, the label;  rows : tuple of Row.
    """

    equal: str
    reference: str
    rows: tuple

    def row(self, label):
        """The row of a case."""
        return choose("label", label, {row.label: row for row in self.rows})


@dataclass(frozen=True)
class Comparison:
    """All that `compare` found.

    tables : tuple of Table;  seeds, tuning_seeds : tuple of int;  settings : dict, in words.
    """

    tables: tuple
    seeds: tuple
    tuning_seeds: tuple
    settings: dict = field(default_factory=dict)

    def __str__(self):
        """The tables as text; see `minizo.compare.report`."""
        from .report import text

        return text(self)


@told
def compare(
    cases,
    data,
    *,
    steps,
    seeds=20,
    tuning_seeds=5,
    reference=None,
    equal=("steps",),
    folder=None,
    workers=None,
    records=20,
    quiet=False,
    settings=None,
    **options,
):
    """Compare cases on equal terms.

    Parameters
    ----------
    cases : sequence of Case
        From `case`, or of candidates of your own.
    data : Dataset
    steps : int
        Of a run of the reference, and with ``equal="steps"`` of every run.
    seeds, tuning_seeds : int or sequence of int
        Those that are reported, 0, 1, ... for a number; and those on which settings are chosen,
        from 1000 for a number. No seed may be both.
    reference : str, optional
        Label of the case to which differences are taken; by default the first.
    equal : {"steps", "compute", "time"} or several of them
        What is the same for all: the number of steps; or the multiply-accumulates, or seconds, that
        the reference takes for ``steps``, in which every case takes as many steps as it can.
    folder : path, optional
        Where runs are kept, so that a comparison that was stopped goes on.
    workers : int, optional
        Threads, by default one a processor. They change nothing but time.
    records : int
        Evaluations a run.
    quiet : bool
        No progress bar.
    settings : dict, optional
        Words about the comparison that its files are to hold.
    **options
        As in `minizo.fit`: ``batch``, ``loss_examples``, ``augment``, ``rng``.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        For what cannot be compared, and where all seeds of the reference diverge.

    Notes
    -----
    Settings are chosen by training loss: to choose by test accuracy would use the test set up.
    Cost: (candidates x tuning seeds + seeds) runs a case, and as many for each of ``equal``.

    Examples
    --------
    >>> from minizo import STE, NormalisedSTE, Objective, data, models, optim, quantizers
    >>> from minizo.compare import case
    >>> digits = data.synthetic_digits(200, 50)
    >>> objective = Objective(models.mlp(784, 10, 10), quantizers.MidRise())
    >>> rates = [optim.Adam(0.003), optim.Adam(0.01), optim.Adam(0.03)]
    >>> cases = [case(rule, objective, rates) for rule in (STE(), NormalisedSTE())]
    >>> found = compare(cases, digits, steps=30, seeds=6, tuning_seeds=2, quiet=True)
    >>> [row.label for row in found.tables[0].rows]
    ['STE', 'normalised STE']
    """
    cases = check_cases(cases)
    seeds, tuning = check_seeds(seeds, tuning_seeds, data)
    labels = {own.label: own for own in cases}
    reference = cases[0].label if reference is None else reference
    choose("reference", reference, labels)
    equal = (equal,) if isinstance(equal, str) else tuple(equal)
    for name in equal:
        choose("equal", name, dict.fromkeys(EQUAL))
    steps, records = whole("steps", steps), whole("records", records)
    workers = (os.cpu_count() or 1) if workers is None else whole("workers", workers)
    if not backend.is_numpy(backend.namespace(data.x_train)):
        workers = 1  # a device is parallel by itself
    for name in options:
        choose("an option of compare", name, dict.fromkeys(OPTIONS))
    batch = options.setdefault("batch", 100)
    folder = None if folder is None else make_folder(folder)

    # a few steps of each case: what cannot be trained is found before anything is kept
    extra = {name: options[name] for name in ("augment", "rng") if name in options}
    costs = {own.label: probe(own.candidates[0], data, batch, **extra) for own in cases}
    if "time" in equal:
        costs = with_seconds(cases, costs, data, batch, folder, workers, extra)
    lengths = {name: lengths_of(name, steps, costs, reference) for name in equal}
    work = sum(
        lengths[name][own.label] * effort(costs[own.label])
        * (len(own.candidates) * len(tuning) + len(seeds))
        for name in equal
        for own in cases
    )  # fmt: skip
    lock = Lock()
    with bar(work, quiet) as shown:
        tables, done = [], 0.0
        for name in equal:
            rows = []
            for index, own in enumerate(cases):
                share = effort(costs[own.label])
                shown.set_description(own.label, refresh=False)

                def tick(runs, share=share):
                    with lock:
                        shown.update(runs * share)

                trials = Trials(data, options, records, folder, workers, tick)
                length = lengths[name][own.label]
                rows.append(measured(own, f"{name}-{index}", trials, seeds, tuning, length))
                done += length * share * (len(own.candidates) * len(tuning) + len(seeds))
                shown.update(done - shown.n)  # what was kept has nothing to do
            tables.append(Table(name, reference, judged(rows, reference)))
    return Comparison(tuple(tables), seeds, tuning, settings or {})


def check_seeds(seeds, tuning_seeds, data):
    """(seeds, tuning seeds) as tuples; an `InputError` for seeds that are both, or too many."""
    given = (("seeds", seeds, 0), ("tuning_seeds", tuning_seeds, TUNING))
    found = []
    for name, value, first in given:
        if isinstance(value, int) and not isinstance(value, bool):
            value = range(first, first + whole(name, value))
        values = wholes(name, value, SEEDS)
        require(len(values) > 0, name, value, "at least one seed is needed")
        for seed in values:
            require(values.count(seed) == 1, name, seed, "each seed must be there once")
        found.append(values)
    both = sorted(set(found[0]) & set(found[1]))
    if both:
        raise InputError(
            f"seed {both[0]} is a tuning seed and a reported one, so the choice would profit from "
            f"its luck; report fewer than {TUNING} seeds, or give other tuning_seeds"
        )
    examples, count = data.y_train.shape[0], len(found[0]) + len(found[1])
    orders = math.factorial(examples) if examples < 20 else math.inf
    if orders < count:
        raise InputError(
            f"{count} seeds (with tuning) are more than the {orders} orders that {examples} "
            "training examples have, so some runs would be alike; give fewer seeds or more data"
        )
    return tuple(found)


def effort(cost):
    """Passes of a step, a backward counted as two, and one for what every step does besides."""
    return 1.0 + cost.forwards + 2.0 * cost.backwards


def lengths_of(equal, steps, costs, reference):
    """Steps of each case, by label.

    >>> from minizo.compare.cases import Cost
    >>> costs = {"STE": Cost(1, 1, 100.0), "FOGZO": Cost(3, 1, 200.0)}
    >>> lengths_of("compute", 50, costs, "STE"), lengths_of("steps", 50, costs, "STE")
    ({'STE': 50, 'FOGZO': 25}, {'STE': 50, 'FOGZO': 50})
    """
    if equal == "steps":
        return dict.fromkeys(costs, steps)
    column = {"compute": "macs", "time": "seconds"}[equal]
    budget = steps * getattr(costs[reference], column)
    return {
        label: max(1, round(budget / getattr(cost, column))) if getattr(cost, column) else steps
        for label, cost in costs.items()
    }


def with_seconds(cases, costs, data, batch, folder, workers, extra):
    """The costs with measured seconds a step, which a folder keeps: resuming must not measure."""
    kept = read_seconds(folder, costs)
    if kept is None:
        with threads(workers) as pool:
            leads = [own.candidates[0] for own in cases]
            kept = dict(zip(costs, timed(leads, data, batch, pool, **extra), strict=True))
        write_seconds(folder, kept)
    return {label: cost._replace(seconds=kept[label]) for label, cost in costs.items()}


def measured(case, name, trials, seeds, tuning, steps):
    """The `Row` of a case, without differences: tuned on some seeds, run with the others."""
    losses, parts = {}, {}
    for index, candidate in enumerate(case.candidates):
        parts.setdefault((id(candidate.estimator), id(candidate.objective)), []).append(index)
    for part, indices in enumerate(parts.values()):
        own = [case.candidates[index] for index in indices]
        ends = trials.outcomes(f"{name}-tuning-{part}", own, tuning, steps)
        losses |= {index: mean_loss(group) for index, group in zip(indices, ends, strict=True)}
    best = min(losses, key=losses.__getitem__)
    chosen = case.candidates[best]
    (outcomes,) = trials.outcomes(f"{name}-report", [chosen], seeds, steps)
    table = tuple((candidate, losses[i]) for i, candidate in enumerate(case.candidates))
    return Row(case.label, chosen, table, edges(case, chosen), steps, tuple(outcomes))


def mean_loss(outcomes):
    """Mean final training loss; infinite where a run diverged."""
    if any("error" in end for end in outcomes):
        return math.inf
    return fmean(end["records"]["train_loss"][-1] for end in outcomes)


def judged(rows, reference):
    """The rows with their paired differences to the reference.

    Raises
    ------
    InputError
        If every seed of the reference diverged.
    """
    base = next(row for row in rows if row.label == reference)
    if base.loss is None:
        raise InputError(
            f"the reference {reference!r} diverged with every seed ({base.chosen.words}), so "
            "nothing can be compared with it; give smaller rates, or another reference"
        )
    found = []
    for row in rows:
        if row.label != reference:
            loss, accuracy = (paired(row.ends(m), base.ends(m)) for m in MEASURES)
            row = Row(**{**vars(row), "difference": loss, "accuracy_difference": accuracy})
        found.append(row)
    return tuple(found)


def intervals(table):
    """Interval of the mean loss of each case, by label; ``None`` for too few seeds."""
    found = {}
    for row in table.rows:
        values = [value for value in row.ends("train_loss") if value is not None]
        found[row.label] = interval(values) if values else None
    return found

"""Fair comparisons: rates chosen on some seeds, results from others, differences seed by seed.

    tuning    every candidate of every case, on the tuning seeds; the least mean loss is chosen
    report    the chosen candidate of every case, on other seeds, the same for all cases
    judgement d_s = loss of the case - loss of the reference, for each seed s; its mean and interval

A rate that is chosen on the seeds that are reported profits from their luck: the more candidates,
the more. Here it cannot.
"""

import hashlib
import math
import os
from dataclasses import dataclass, field, replace
from statistics import fmean
from threading import Lock

from .. import backend
from ..errors import InputError, choose, require
from ..files import make_folder
from ..memory import told
from ..parallel import threads
from ..rng import SEEDS
from ..settings import plain, whole, wholes
from .cases import TIMED, Candidate, check_cases, edges, made_of, probe, timed
from .statistics import Difference, interval, paired, spread
from .trials import Trials, bar, measured_once

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
        diverged; ``None`` of a lone candidate, which is not tuned.
    edges : tuple of str
        Which chosen numbers lie at an edge of the grid.
    steps : int
        Of each run.
    outcomes : tuple of dict
        Of each seed: ``records`` by column, or ``error``.
    budget : float or None
        Multiply-accumulates or seconds that a run may take.
    pace : float or None
        Seconds a step, trained alone, by which equal time is meant.
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
    budget: float | None = None
    pace: float | None = None
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
        the reference (its first candidate) takes for ``steps``, in which every candidate takes as
        many steps as it can, at least one.
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
    if not hasattr(data, "x_train"):
        raise InputError(f"data is {data!r}, but it must be a Dataset, such as minizo.data.mnist()")
    seeds, tuning = check_seeds(seeds, tuning_seeds, data)
    labels = {own.label: own for own in cases}
    reference = cases[0].label if reference is None else reference
    choose("reference", reference, labels)
    equal = check_equal(equal)
    steps, records = whole("steps", steps), whole("records", records)
    workers = (os.cpu_count() or 1) if workers is None else whole("workers", workers)
    if not backend.is_numpy(backend.namespace(data.x_train)):
        workers = 1  # a device is parallel by itself
    for name in options:
        choose("an option of compare", name, dict.fromkeys(OPTIONS))
    batch = options["batch"] = whole("batch", options.get("batch", 100))
    require(settings is None or isinstance(settings, dict), "settings", settings, "give a dict")
    folder = None if folder is None else make_folder(folder)

    # a few steps of each candidate: what cannot be trained is found before anything is kept
    extra = {name: options[name] for name in ("augment", "rng") if name in options}
    leads = [[own.candidates[part[0]] for part in own.parts] for own in cases]
    costs = [[probe(lead, data, batch, **extra) for lead in own] for own in leads]
    if "time" in equal:
        costs = with_seconds(leads, costs, data, batch, folder, workers, extra)
    base = costs[list(labels).index(reference)][0]
    budgets = {name: budget_of(name, steps, base, reference) for name in equal}
    plans = {
        name: [[length(name, steps, budgets[name], cost) for cost in own] for own in costs]
        for name in equal
    }

    counts = {
        name: [
            passes(*own, len(tuning), len(seeds)) for own in zip(cases, costs, plan, strict=True)
        ]
        for name, plan in plans.items()
    }
    lock = Lock()
    with bar(sum(map(sum, counts.values())), quiet) as shown:
        tables, done = [], 0.0
        for name, plan in plans.items():
            rows = []
            for index, (own, lengths) in enumerate(zip(cases, plan, strict=True)):
                shown.set_description(own.label, refresh=False)

                def tick(part, runs, index=index):
                    with lock:
                        shown.update(runs * effort(costs[index][part]))

                trials = Trials(data, options, records, folder, workers, tick)
                row = measured(own, index, trials, seeds, tuning, lengths)
                part = part_of(own, row.chosen)
                pace = costs[index][part].seconds if name == "time" else None
                rows.append(replace(row, budget=budgets[name], pace=pace))
                done += counts[name][index]
                shown.update(done - shown.n)  # what was kept has nothing to do
            tables.append(Table(name, reference, judged(rows, reference)))
    return Comparison(tuple(tables), seeds, tuning, settings or {})


def check_equal(equal):
    """``equal`` as a tuple of different names of `EQUAL`, or an `InputError`."""
    names = (equal,) if isinstance(equal, str) else equal
    listed = isinstance(names, list | tuple) and len(names) > 0
    require(listed, "equal", equal, f"choose one or several of {EQUAL}")
    for name in names:
        choose("equal", name, dict.fromkeys(EQUAL))
    return tuple(dict.fromkeys(names))


def check_seeds(seeds, tuning_seeds, data):
    """(seeds, tuning seeds) as tuples; an `InputError` for seeds that are both, or too many."""
    given = (("seeds", seeds, 0), ("tuning_seeds", tuning_seeds, TUNING))
    found = []
    for name, value, first in given:
        if isinstance(plain(value), int) and not isinstance(plain(value), bool):
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


def passes(case, costs, lengths, tuning, seeds):
    """Efforts of all runs of a case; the report, of a part not known yet, counts as the dearest."""
    efforts = [steps * effort(cost) for steps, cost in zip(lengths, costs, strict=True)]
    tuned = sum(one * len(part) for one, part in zip(efforts, case.parts, strict=True))
    return seeds * max(efforts) + tuning * tuned * (len(case.candidates) > 1)


COUNTED = {"compute": "macs", "time": "seconds"}


def budget_of(equal, steps, cost, reference):
    """What a run of the reference takes: multiply-accumulates or seconds; ``None`` at equal steps.

    Raises
    ------
    InputError
        If it takes nothing.
    """
    if equal == "steps":
        return None
    budget = steps * getattr(cost, COUNTED[equal])
    if not budget:
        raise InputError(
            f"the reference {reference!r} takes no {COUNTED[equal]}, so equal {equal} cannot be "
            "measured by it; choose another reference"
        )
    return budget


def length(equal, steps, budget, cost):
    """Steps of a run: ``steps``, or as many as the budget allows, at least 1.

    >>> from minizo.compare.cases import Cost
    >>> length("compute", 50, 5000.0, Cost(3, 1, 200.0)), length("steps", 50, None, None)
    (25, 50)
    """
    step = 0.0 if equal == "steps" else getattr(cost, COUNTED[equal])
    return max(1, math.floor(budget / step + 1e-9)) if step else steps


def with_seconds(leads, costs, data, batch, folder, workers, extra):
    """The costs with measured seconds a step."""
    every = [lead for own in leads for lead in own]
    parts = [made_of(lead, data, [(lead.optimizer, 0)], TIMED, {"batch": batch}) for lead in every]
    made = hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def measure():
        with threads(workers) as pool:
            return timed(every, data, batch, pool, **extra)

    seconds = iter(measured_once(folder, made, measure))
    return [[cost._replace(seconds=next(seconds)) for cost in own] for own in costs]


def part_of(case, chosen):
    """The number of the part of a case to which a candidate belongs."""
    index = case.candidates.index(chosen)
    return next(number for number, part in enumerate(case.parts) if index in part)


def measured(case, index, trials, seeds, tuning, lengths):
    """The `Row` of a case, without differences: tuned on some seeds, run with the others.

    Runs are kept under the number of the case, of its part, and their length, so that what two
    tables have in common is trained once.
    """
    losses = dict.fromkeys(range(len(case.candidates)))
    if len(losses) > 1:
        for part, indices in enumerate(case.parts):
            own = [case.candidates[i] for i in indices]
            name = f"{index}-{part}-{lengths[part]}-tuning"
            ends = trials.outcomes(name, part, own, tuning, lengths[part])
            losses |= {i: mean_loss(group) for i, group in zip(indices, ends, strict=True)}
    chosen = case.candidates[min(losses, key=losses.__getitem__) if len(losses) > 1 else 0]
    part = part_of(case, chosen)
    steps = lengths[part]
    (outcomes,) = trials.outcomes(f"{index}-{part}-{steps}-report", part, [chosen], seeds, steps)
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
            "nothing can be compared with it; give another reference (finished runs are kept in "
            "the folder), or smaller rates"
        )
    found = []
    for row in rows:
        if row.label != reference:
            loss, accuracy = (paired(row.ends(m), base.ends(m)) for m in MEASURES)
            row = replace(row, difference=loss, accuracy_difference=accuracy)
        found.append(row)
    return tuple(found)


def intervals(table):
    """Interval of the mean loss of each case, by label; ``None`` for too few seeds."""
    found = {}
    for row in table.rows:
        values = [value for value in row.ends("train_loss") if value is not None]
        found[row.label] = interval(values) if values else None
    return found

"""Fair comparisons: rates chosen on some seeds, results from others, differences seed by seed.

    tuning    every candidate of every case, on the tuning seeds; the least mean training loss is
              chosen
    report    the chosen candidate of every case, on other seeds, the same for all cases
    judgement d_s = loss of the case - loss of the reference, for each seed s; its mean and interval

A rate that is chosen on the seeds that are reported profits from their luck: the more candidates,
the more. Here it cannot.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from threading import Lock
from typing import Any

from .. import backend
from ..data.dataset import Dataset
from ..errors import InputError, choose, require
from ..files import make_folder
from ..memory import told
from ..progress import progress_bar
from ..rng import SEEDS
from ..settings import plain, whole, wholes
from ..types import FilePath
from .cases import Case, check_cases, edges
from .costs import budget_of, effort, length, probe, with_seconds
from .results import Comparison, Row, Table, judged, measure_of
from .trials import Trials

TUNING = 1000  # the first tuning seed
EQUAL = ("steps", "compute", "time")
OPTIONS = ("batch", "loss_examples", "augment", "rng")


@told
def compare(
    cases: Sequence[Case],
    data: Dataset,
    *,
    steps: int,
    seeds: int | Sequence[int] = 20,
    tuning_seeds: int | Sequence[int] = 5,
    reference: str | None = None,
    measure: str | None = None,
    equal: str | Sequence[str] = ("steps",),
    folder: FilePath | None = None,
    workers: int | None = None,
    records: int = 20,
    quiet: bool = False,
    settings: dict | None = None,
    **options: Any,
) -> Comparison:
    """Compare cases on equal terms.

    Parameters
    ----------
    cases : sequence of Case
        From `case`, or of candidates of your own.
    data : Dataset
    steps : int
        Of a run of the reference's first candidate, and with ``equal="steps"`` of every run.
    seeds, tuning_seeds : int or sequence of int
        Those that are reported, 0, 1, ... for a number; and those on which settings are chosen,
        from 1000 for a number. No seed may be both.
    reference : str, optional
        Label of the case to which differences are taken; by default the first.
    measure : {"train_loss", "test_loss"}, optional
        The final loss that is reported and whose differences are taken: that of the training
        examples, or of the test set, which of tokens is the validation part. By default
        ``"test_loss"`` for tokens and ``"train_loss"`` for images. No run depends on it.
    equal : {"steps", "compute", "time"} or several of them
        What is the same for all: the number of steps; or the multiply-accumulates, or seconds, that
        the first candidate of the reference takes for ``steps``. In these every candidate, of the
        reference too, takes as many steps as it can, at least one.
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
    Settings are chosen by training loss on the tuning seeds, whatever ``measure`` is. All seeds
    share one test set: a setting that is chosen by it has been fitted to it, and the loss reported
    there would no longer be that of examples nobody has looked at. Where training and held-out loss
    disagree about the best setting, as in a long run that overfits, what is reported is not the
    least held-out loss that a case could reach.
    Cost: (candidates x tuning seeds + seeds) runs a case, and as many for each of ``equal``; a lone
    candidate is not tuned, and runs that two tables share are trained once. Candidates of a case
    that differ in their optimiser alone are a *group*, and trained together.

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
    losses = [candidate.objective.loss for own in cases for candidate in own.candidates]
    measure = measure_of(measure, data.tokens, losses)
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
    leads = [[own.candidates[group[0]] for group in own.groups] for own in cases]
    costs = [[probe(lead, data, batch, **extra) for lead in own] for own in leads]
    if "time" in equal:
        costs = with_seconds(leads, costs, data, batch, folder, workers, extra)
    base = costs[list(labels).index(reference)][0]
    budgets = {name: budget_of(name, steps, base, reference) for name in equal}
    plans = {
        name: [[length(name, steps, budgets[name], cost) for cost in own] for own in costs]
        for name in equal
    }

    many = len(tuning), len(seeds)
    counts = {
        name: [total_effort(*own, *many) for own in zip(cases, costs, plan, strict=True)]
        for name, plan in plans.items()
    }
    lock = Lock()
    total = sum(map(sum, counts.values()))
    with progress_bar(total, quiet, unit="pass", unit_scale=True, smoothing=0.05) as shown:
        tables, done = [], 0.0
        for name, plan in plans.items():
            rows = []
            for index, (own, lengths) in enumerate(zip(cases, plan, strict=True)):
                shown.set_description(own.label, refresh=False)

                def tick(group, runs, index=index):
                    with lock:
                        shown.update(runs * effort(costs[index][group]))

                trials = Trials(data, options, records, folder, workers, tick)
                row = measured(own, index, trials, seeds, tuning, lengths, measure)
                group = group_of(own, row.chosen)
                pace = costs[index][group].seconds if name == "time" else None
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


def total_effort(case, costs, lengths, tuning, seeds):
    """Efforts of all runs of a case; the report, of a group not known yet, as of the dearest."""
    efforts = [steps * effort(cost) for steps, cost in zip(lengths, costs, strict=True)]
    tuned = sum(one * len(group) for one, group in zip(efforts, case.groups, strict=True))
    return seeds * max(efforts) + tuning * tuned * (len(case.candidates) > 1)


def group_of(case, chosen):
    """The number of the group of a case to which a candidate belongs."""
    index = case.candidates.index(chosen)
    return next(number for number, group in enumerate(case.groups) if index in group)


def measured(case, index, trials, seeds, tuning, lengths, measure):
    """The `Row` of a case, without differences: tuned on some seeds, run with the others.

    Runs are kept under the number of the case, of its group, and their length, so that what two
    tables have in common is trained once.
    """
    losses = dict.fromkeys(range(len(case.candidates)))
    if len(losses) > 1:
        for group, indices in enumerate(case.groups):
            own = [case.candidates[i] for i in indices]
            name = f"{index}-{group}-{lengths[group]}-tuning"
            ends = trials.outcomes(name, group, own, tuning, lengths[group])
            losses |= {i: mean_loss(group) for i, group in zip(indices, ends, strict=True)}
    chosen = case.candidates[min(losses, key=losses.__getitem__) if len(losses) > 1 else 0]
    group = group_of(case, chosen)
    steps = lengths[group]
    (outcomes,) = trials.outcomes(f"{index}-{group}-{steps}-report", group, [chosen], seeds, steps)
    table = tuple((candidate, losses[i]) for i, candidate in enumerate(case.candidates))
    return Row(case.label, chosen, table, edges(case, chosen), steps, tuple(outcomes), measure)


def mean_loss(outcomes):
    """Mean final training loss; infinite where a run diverged."""
    if any("error" in end for end in outcomes):
        return math.inf
    return fmean(end["records"]["train_loss"][-1] for end in outcomes)

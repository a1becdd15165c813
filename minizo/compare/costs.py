"""What a step costs, measured before anything is compared, and how many steps that allows.

compute   steps = floor(multiply-accumulates of the reference's run / those of a step)
time      steps = floor(seconds of the reference's run / those of a step), trained alone
"""

import hashlib
import json
import math
from typing import NamedTuple

from ..errors import InputError
from ..files import write_text
from ..fitting import fit
from ..optim import SGD
from ..parallel import threads
from ..records import Diverged
from ..settings import real
from .trials import made_of

PROBED = 4  # steps that tell what a step costs
TIMED, ROUNDS = 20, 3  # steps that are timed, and how often
SECONDS = "seconds.json"
COUNTED = {"compute": "macs", "time": "seconds"}


class Cost(NamedTuple):
    """What a step costs: forwards, backwards, multiply-accumulates; seconds where measured."""

    forwards: float
    backwards: float
    macs: float
    seconds: float | None = None


def probe(candidate, data, batch, **options):
    """The `Cost` of a step, from a few on a part of the data; finds what cannot be trained at all.

    Errors are those of `minizo.fit`; a run that diverges is none.
    """
    run = _short_run(candidate, data, batch, PROBED, **options)
    return Cost(*(run.final(name) / PROBED for name in ("forwards", "backwards", "macs")))


def _short_run(candidate, data, batch, steps, **options):
    few = data.head(min(data.y_train.shape[0], batch), min(data.y_test.shape[0], 1))
    own = candidate.objective, few, candidate.estimator
    options |= {"steps": steps, "batch": batch, "record_every": steps}
    try:
        return fit(*own, candidate.optimizer, **options)
    except Diverged:  # a step costs the same with a rate that does not
        return fit(*own, SGD(1e-30), **options)


def timed(candidates, data, batch, pool, **options):
    """Seconds a step of each candidate, trained alone: the least of some rounds in turn."""
    best = [float("inf")] * len(candidates)
    for _ in range(ROUNDS):
        for index, candidate in enumerate(candidates):
            run = _short_run(candidate, data, batch, TIMED, pool=pool, **options)
            best[index] = min(best[index], real("seconds", run.final("seconds")) / TIMED)
    return best


def effort(cost):
    """Passes of a step, a backward counted as two, and one for what every step does besides."""
    return 1.0 + cost.forwards + 2.0 * cost.backwards


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

    >>> from minizo.compare.costs import Cost
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


def measured_once(folder, made, measure):
    """Seconds a step of some candidates: what the folder keeps, or ``measure()``, which it keeps.

    Another measurement would change the lengths of runs.

    Raises
    ------
    InputError
        If the file is damaged: lengths that belong to the runs in the folder are then unknown.
    """
    path = None if folder is None else folder / SECONDS
    if path is not None and path.exists():
        try:
            kept = json.loads(path.read_text())
            seconds = [real("seconds a step", value, "(0, inf)") for value in kept["seconds"]]
            if kept["made_of"] == made:
                return seconds
        except (InputError, OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"{path} is damaged; restore it from a copy, or delete it to measure again, with "
                "other lengths of the runs at equal time"
            ) from None
    seconds = measure()
    if path is not None:
        write_text(path, json.dumps({"made_of": made, "seconds": seconds}, indent=2) + "\n")
    return seconds

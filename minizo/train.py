"""The training loop: one for every estimator, optimiser and backend, for one run or many.

`advance` takes the steps, `train` makes a run of them; how it is fed, recorded, kept and checked
stands below. `fit` and `fit_many`, in `minizo.fitting`, are the doors. The loop never looks at the
rows of theta: (d,), of one run, and (S, 1, d), of S runs that are trained together, are the same to
it. What differs from row to row is in the `minizo.group.Group`.
"""

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from . import backend, checkpoint, parallel
from .contracts import check_estimate, check_state
from .estimators import Step
from .files import require_writable
from .parallel import Pool
from .records import COLUMNS, Run, check, record


class TrainState(NamedTuple):
    """Everything that changes while a group of runs is trained; what a checkpoint holds.

    Arrays have the leading axes of theta, and numbers are those of every row.

    theta : ndarray (d,) or (S, 1, d); optimizer : tuple, a state for each of `Group.shares`;
    estimator : its state; step : int, steps done; forwards, backwards : int, passes done;
    seconds : float, spent in training steps; running : dict of str to ndarray, the network's
    running statistics; macs : int, multiply-accumulates of the estimator's own, beside the passes;
    evaluation : float, seconds spent in records.
    """

    theta: object
    optimizer: tuple
    estimator: object
    step: int
    forwards: int
    backwards: int
    seconds: float
    running: Mapping
    macs: int
    evaluation: float = 0.0


def advance(group, state, feed, end, pool, tick):
    """Train to step ``end``: the state, and the losses of all steps on the host (steps, S).

    theta <- project(optimizer(refresh(theta), G)), where most networks need neither `refresh` (of
    what a quantiser keeps, once an epoch) nor `project` (of what must stay positive).
    """
    recipe, objective, network = group.lead, group.objective, group.objective.network
    per_epoch = recipe.data.y_train.shape[0] // recipe.batch
    optimizer = recipe.optimizer if group.count == 1 else None  # no estimator of many looks ahead
    first, began = state.step, time.perf_counter()
    losses = backend.empty((end - first, group.count), state.theta)
    for index in range(first, end):
        step = Step(
            group.seed, index, recipe.steps, pool, per_epoch, optimizer, state.optimizer[0],
            recipe.rng,
        )  # fmt: skip
        theta = objective.refresh(state.theta) if index % per_epoch == 0 else state.theta
        answer = recipe.estimator.estimate(
            objective.at(step.progress), theta, next(feed), state.estimator, step
        )
        estimate, estimator = check_estimate(recipe.estimator, answer, theta, group.count)
        theta, memories = group.update(estimate.grad, state.optimizer, theta, step)
        state = TrainState(
            network.project(theta),
            memories,
            estimator,
            index + 1,
            state.forwards + estimate.forwards,
            state.backwards + estimate.backwards,
            state.seconds,
            network.next_state(state.running, estimate.statistics),
            state.macs + estimate.macs,
            state.evaluation,
        )
        losses[index - first, :] = backend.namespace(theta).reshape(estimate.loss, (group.count,))
        tick(index + 1)
    losses = backend.to_numpy(losses)
    return state._replace(seconds=state.seconds + time.perf_counter() - began), losses


def silent(records, step):
    """Report no progress."""


def train(group, pool=None, path=None, checkpoint_every=None, resume=False, progress=silent):
    """Train a group from its start, or its checkpoint, to the end: a `Run` or `Diverged` each.

    ``progress(records, step)`` is called after every step; all else is as in `fit`.
    """
    steps, record_every = group.lead.steps, group.lead.record_every
    checkpoint_every = checkpoint_every or steps
    parallel.keep_memory()
    # NaN and infinity are looked for in `check` and `record`, not warned about everywhere
    with parallel.one_blas_thread(), np.errstate(all="ignore"):
        resumed = resume and path is not None and os.path.exists(path)
        state, records, errors = (restore if resumed else begin)(path, group)
        feed, tick = group.batches(state.step), partial(progress, records)
        while state.step < steps and not all(errors):
            due = [(state.step // every + 1) * every for every in (record_every, checkpoint_every)]
            end = min(steps, *due)
            state, losses = advance(group, state, feed, end, pool or Pool(), tick)
            check(group, state, losses, errors)
            if end % record_every == 0 or end == steps:
                state = record(group, state, records, errors)
            if path is not None and (end % checkpoint_every == 0 or end == steps):
                checkpoint.save_group(path, group, state, records, errors)
    return [error or finished(group, state, records, row) for row, error in enumerate(errors)]


# The beginning and the end ---------------------------------------------------------------------


def start_state(group):
    """The `TrainState` before the first step, but for `first_statistics`."""
    theta = group.stack([recipe.first_theta() for recipe in group.recipes])
    rule = group.lead.estimator
    return TrainState(
        theta,
        tuple(
            check_state(s.optimizer, s.optimizer.init(theta[s.rows], s.objective))
            for s in group.shares
        ),
        check_state(rule, rule.init(group.objective, theta)),
        step=0,
        forwards=0,
        backwards=0,
        seconds=0.0,
        running=group.objective.network.init_state(theta),
        macs=0,
    )


def first_statistics(group, theta):
    """Running statistics before the first step, for latent parameters ``theta``.

    These are the given ones, or those of the first batch, met with the quantised weights in
    training mode. (A first state of mean 0 and variance 1 fits no quantised network: its outputs in
    use grow by a factor a layer, and overflow in a deep one.)
    """
    objective, given = group.objective, [recipe.state for recipe in group.recipes]
    names = objective.network.running
    if not names:
        return {}
    seen = {}
    if any(own is None for own in given):
        seen = objective.at(0.0).statistics(theta, next(group.batches(0)))
        seen = [group.take(seen, row) for row in range(group.count)]
    given = [own or seen[row] for row, own in enumerate(given)]
    return {name: group.stack([own[name] for own in given]) for name in names}


def begin(path, group):
    """(state, records, errors) before the first step, with the first record."""
    if path is not None:
        require_writable(path, "path")
    state, errors = start_state(group), [None] * group.count
    state = state._replace(running=first_statistics(group, state.theta))
    records = [{name: [] for name in (*COLUMNS, *recipe.watch)} for recipe in group.recipes]
    state = record(group, state, records, errors)
    return state, records, errors


def restore(path, group):
    """(state, records, errors) from the checkpoint at ``path``."""
    state, records, errors = checkpoint.restore_group(path, group, start_state(group))
    if state.step < group.lead.steps:
        require_writable(path, "path")
    return state, records, errors


def finished(group, state, records, row):
    """The `Run` of a row."""
    recipe = group.recipes[row]
    theta, running = group.take((state.theta, state.running), row)
    return Run(recipe.objective.at(1.0), theta, records[row], recipe.settings(), running)

"""The training loop: one for every estimator, optimiser and backend, for one run or many.

`advance` takes the steps, `train` makes a run of them; how it is fed, recorded, kept and checked
stands below, and `fit` and `fit_many` are the doors. The loop never looks at the rows of theta:
(d,), of one run, and (S, 1, d), of S runs that are trained together, are the same to it. What
differs from row to row is in the `minizo.group.Group`.
"""

import itertools
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import backend, checkpoint, parallel
from .errors import require
from .estimators import Step
from .files import require_writable
from .group import Group, groups
from .inputs import check_gradient, prepare
from .memory import in_parts, told
from .parallel import Pool
from .records import COLUMNS, Diverged, Run, check, record
from .settings import whole


class TrainState(NamedTuple):
    """Everything that changes while a group of runs is trained; what a checkpoint holds.

    Arrays have the leading axes of theta, and numbers are those of every row.

    theta : ndarray (d,) or (S, 1, d); optimizer : tuple, a state for each of `Group.shares`;
    estimator : its state; step : int, steps done; forwards, backwards : int, passes done;
    seconds : float, spent in training steps; running : dict of str to ndarray, the network's
    running statistics; macs : int, multiply-accumulates of the estimator's own, beside the passes.
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
        estimate, estimator = recipe.estimator.estimate(
            objective.at(step.progress), theta, next(feed), state.estimator, step
        )
        check_gradient(recipe.estimator, estimate.grad, theta)
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
                record(group, state, records, errors)
            if path is not None and (end % checkpoint_every == 0 or end == steps):
                checkpoint.save_group(path, group, state, records, errors)
    return [error or finished(group, state, records, row) for row, error in enumerate(errors)]


# The beginning and the end ---------------------------------------------------------------------


def start_state(group):
    """The `TrainState` before the first step, but for `first_statistics`."""
    theta = group.stack([recipe.first_theta() for recipe in group.recipes])
    return TrainState(
        theta,
        tuple(share.optimizer.init(theta[share.rows], share.objective) for share in group.shares),
        group.lead.estimator.init(group.objective, theta),
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
    record(group, state, records, errors)
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


# fit and fit_many ------------------------------------------------------------------------------


@told
def fit(
    objective,
    data,
    estimator,
    optimizer,
    *,
    steps,
    batch=100,
    seed=0,
    pool=None,
    record_every=None,
    loss_examples=None,
    augment=None,
    start=None,
    state=None,
    path=None,
    checkpoint_every=None,
    resume=False,
    progress=None,
    watch=None,
    rng="device",
):
    """Train a quantised network: theta <- optimizer(theta, G(theta)), G the estimator's gradient.

    A rule that owns the update (`minizo.estimators.Estimator`) makes that step in its own way.

    Parameters
    ----------
    objective : Objective
        Its quantiser scales are set from the initial weights where they are not set yet.
    data : Dataset
        Decides the library, the device and the dtype of the run.
    estimator, optimizer
        From `minizo.estimators` and `minizo.optim`.
    steps, batch : int
        Number of steps, and of examples in each.
    seed : int
        Same seed, same bits, on the same machine and library versions, whatever the pool.
    pool : Pool, optional
        Where blocks of directions are evaluated; by default in the caller.
    record_every : int, optional
        Steps between records; by default 20 records a run.
    loss_examples : int, optional
        The training loss of the records is that of the first so many training examples; by default
        of all.
    augment : callable, optional
        ``augment(x, stream)`` -> images like x (N, C, H, W), such as `minizo.data.CropFlip`.
        Applied to the batches of training steps, not in evaluation.
    start : ndarray (d,), optional
        Latent parameters to start from, in the library and dtype of the data, such as
        ``run.theta`` of a run in full precision; by default those that the network draws from
        ``seed``. The quantiser scales fit them.
    state : dict of str to ndarray, optional
        Running statistics to start from, taken as they are. They must be those of the network with
        its *quantised* weights: ``run.state`` of a run that goes on with the same quantiser. Those
        of a run in full precision are not: leave them out. By default they are those of the first
        batch, which the quantised network sees in training.
    path : path, optional
        Where the checkpoint goes.
    checkpoint_every : int, optional
        Steps between checkpoints. With a ``path``, the end of the run is always one.
    resume : bool
        Go on from the checkpoint at ``path``, if there is one.
    progress : callable, optional
        Called after every step as ``progress(steps_done, loss)``, with the training loss of the
        latest record.
    watch : dict of str to callable, optional
        More columns of the records: ``function(objective, state)`` -> float for each record, with
        the `TrainState` of that moment.
    rng : {"device", "host"}
        On a GPU: whether random numbers are made there, or are NumPy's, with which a run can be
        compared with one on the CPU. Elsewhere it changes nothing.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        For values out of range, data that do not fit the network (sizes, labels beyond its outputs,
        an empty set), a ``path`` that cannot be written, or a checkpoint that is damaged or was
        made with other settings or data.
    Diverged
        When a loss or a parameter is NaN or infinite. This is looked for where a record or a
        checkpoint is due, so that a GPU is not stopped at every step; the sentence names the exact
        step, and the checkpoint is still the last good one.

    Notes
    -----
    Cost: that of ``steps`` estimates, and two evaluations of the data sets a record. Neither these
    nor the one forward of the first running statistics are counted in the records.
    """
    recipe = prepare(
        objective, data, estimator, optimizer, steps=steps, batch=batch, seed=seed,
        record_every=record_every, loss_examples=loss_examples, augment=augment, start=start,
        state=state, watch=watch, rng=rng,
    )  # fmt: skip
    if checkpoint_every is not None:
        checkpoint_every = whole("checkpoint_every", checkpoint_every)

    def tell(records, step):
        if progress is not None:
            progress(step, records[0]["train_loss"][-1])

    (outcome,) = train(Group((recipe,)), pool, path, checkpoint_every, resume, tell)
    if isinstance(outcome, Diverged):
        raise outcome
    return outcome


@told
def fit_many(
    objective,
    data,
    estimator,
    pairs,
    *,
    start=None,
    state=None,
    watch=None,
    workers=1,
    path=None,
    checkpoint_every=None,
    resume=False,
    progress=None,
    **options,
):
    """Train with each of several pairs of an optimiser and a seed, as `fit` would.

        theta_s <- optimizer_s(theta_s, G(theta_s; batch_s)),    s = 1, ..., S

    Parameters
    ----------
    objective, data, estimator
        As in `fit`. Runs of an estimator that is not ``rowwise``, as those with a learned gradient
        are not, are trained each for itself.
    pairs : sequence of (optimizer, seed)
        Optimisers from `minizo.optim`, such as one for each learning rate, of one kind or several.
        Neighbours with the same optimiser are updated together.
    start, state, watch
        As in `fit`, for all runs, or a list with one for each.
    workers : int
        Threads; each trains groups of its own. The result does not depend on it.
    path, checkpoint_every, resume
        As in `fit`. Of several runs every group has a checkpoint of its own, with the numbers of
        its first and last run in its name: ``seeds.npz`` becomes ``seeds-0-15.npz``.
    progress : callable, optional
        Called as ``progress(runs)`` after every step of so many runs, by whichever thread took it.
    **options
        As in `fit`: ``steps``, ``batch``, ``record_every``, ``loss_examples``, ``augment`` and
        ``rng``.

    Returns
    -------
    list of Run or Diverged
        In the order of ``pairs``. A run that diverges ends as the error that `fit` would raise, and
        the others go on. ``seconds`` in the records is a row's equal share of the time of those
        that were trained with it.

    Raises
    ------
    InputError
        As in `fit`.

    Notes
    -----
    Cost: that of the runs, with fewer calls; memory: `minizo.group.rows_at_once` runs a worker.

    Examples
    --------
    >>> from minizo import STE, Objective, data, models, optim, quantizers
    >>> digits = data.synthetic_digits(300, 100)
    >>> objective = Objective(models.mlp(784, 10, 10), quantizers.MidRise())
    >>> pairs = [(optim.Adam(lr), seed) for lr in (0.003, 0.01) for seed in range(4)]
    >>> runs = fit_many(objective, digits, STE(), pairs, steps=20)
    >>> len(runs), runs[7].settings["seed"], runs[7].settings["optimizer"][:12]
    (8, 3, 'Adam(lr=0.01')
    """
    pairs = tuple(pairs)
    require(len(pairs) > 0, "pairs", pairs, "at least one is needed")
    workers = whole("workers", workers)
    if checkpoint_every is not None:
        checkpoint_every = whole("checkpoint_every", checkpoint_every)
    owns = for_each(len(pairs), start=start, state=state, watch=watch)
    recipes = [
        prepare(objective, data, estimator, rule, seed=seed, **own, **options)
        for (rule, seed), own in zip(pairs, owns, strict=True)
    ]
    lead = recipes[0]

    def train_rows(first, last):
        group, own = Group(tuple(recipes[first : last + 1])), path
        if path is not None and len(pairs) > 1:
            own = Path(path).with_stem(f"{Path(path).stem}-{first}-{last}")

        def tell(records, step):
            if progress is not None:
                progress(group.count)

        return train(group, None, own, checkpoint_every, resume, tell)

    def train_group(rows):
        def some(part):
            return train_rows(rows.start + part.start, rows.start + part.stop - 1)

        key = (lead.objective.network.d, lead.batch)
        found = in_parts(some, rows.stop - rows.start, "runs", data.x_train, key=key)
        return itertools.chain.from_iterable(found)

    parts = groups(len(pairs), lead.objective.network, data, estimator, lead.batch)
    with parallel.one_blas_thread():
        if workers == 1:
            found = list(map(train_group, parts))
        else:
            with ThreadPoolExecutor(workers, thread_name_prefix="minizo") as executor:
                found = list(executor.map(train_group, parts))
    return list(itertools.chain.from_iterable(found))


def for_each(count, **given):
    """Values that are for all of so many runs, or lists with one for each, as a dict a run."""
    for name, value in given.items():
        given[name] = value if isinstance(value, list | tuple) else [value] * count
        remedy = f"give one for all runs, or a list of {count}"
        require(len(given[name]) == count, f"{name}'s length", len(given[name]), remedy)
    return [dict(zip(given, own, strict=True)) for own in zip(*given.values(), strict=True)]

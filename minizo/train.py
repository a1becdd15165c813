"""The training loop: one for every estimator, optimiser and backend."""

import itertools
import json
import os
import time
from math import isfinite

import numpy as np

from . import backend, checkpoint, memory, rng, sharing
from .divergence import CALLED, diverged, finite
from .errors import InputError, require
from .estimators import Step
from .evaluation import evaluate
from .files import require_writable
from .inputs import check_batch, check_data, check_numbers, check_parts, check_seed, check_start
from .objective import Batch
from .population import Pool
from .recipe import COLUMNS, Recipe, Run, TrainState
from .settings import whole


def batches(recipe, start):
    """The batches of steps ``start``, ``start + 1``, ...

    Every epoch visits the examples in an order of its own, found from (seed, epoch); the last
    examples that do not fill a batch are left out. What is random about a batch comes from (seed,
    step), so a resumed run meets the same batches.
    """
    x, labels = recipe.data.x_train, recipe.data.y_train
    take = backend.namespace(labels).take
    step = start
    n = labels.shape[0]
    per_epoch = n // recipe.batch
    epoch, skip = divmod(start, per_epoch)
    while True:
        order = rng.at(recipe.seed, "data", epoch).host().permutation(n)
        order = backend.asarray(order, labels)
        for position in range(skip, per_epoch):
            chosen = order[position * recipe.batch : (position + 1) * recipe.batch]
            stream = rng.at(recipe.seed, "layers", step, source=recipe.rng)
            noise = recipe.objective.noise(stream, recipe.batch, x)
            images = take(x, chosen, axis=0)
            if recipe.augment is not None:
                stream = rng.at(recipe.seed, "augment", step, source=recipe.rng)
                images = recipe.augment(images, stream)
            yield Batch(images, take(labels, chosen, axis=0), noise)
            step += 1
        epoch, skip = epoch + 1, 0


def first_statistics(recipe, theta):
    """Running statistics before the first step, for latent parameters ``theta`` (d,).

    Those given, or what the quantised network sees of the first batch in training. (A first state
    of mean 0 and variance 1 fits no quantised network: its outputs in use grow by a factor a layer,
    and overflow in a deep one.)
    """
    objective = recipe.objective
    if recipe.state is not None or not objective.network.running:
        return recipe.state or {}
    return objective.at(0.0).statistics(theta, next(batches(recipe, 0)))


def start_state(recipe, theta):
    """The state before the first step, from latent parameters ``theta`` (d,).

    Running statistics are not yet those of `first_statistics`.
    """
    return TrainState(
        theta,
        recipe.optimizer.init(theta, recipe.objective),
        recipe.estimator.init(recipe.objective, theta),
        step=0,
        forwards=0,
        backwards=0,
        seconds=0.0,
        running=recipe.objective.network.init_state(theta),
        macs=0,
    )


def advance(recipe, state, feed, end, pool, tick):
    """Train from ``state.step`` to step ``end``; `Diverged` if something is not finite."""
    xp = backend.namespace(state.theta)
    first = state.step
    per_epoch = recipe.data.y_train.shape[0] // recipe.batch
    losses = backend.empty((end - first,), state.theta)
    began = time.perf_counter()
    for index in range(first, end):
        step = Step(
            recipe.seed, index, recipe.steps, pool, per_epoch, recipe.optimizer, state.optimizer,
            recipe.rng,
        )  # fmt: skip
        if index % per_epoch == 0:
            state = state._replace(theta=recipe.objective.refresh(state.theta))
        estimate, estimator = recipe.estimator.estimate(
            recipe.objective.at(step.progress), state.theta, next(feed), state.estimator, step
        )
        theta, optimizer = recipe.estimator.update(
            recipe.objective, recipe.optimizer, estimate.grad, state.optimizer, state.theta, step
        )
        losses[index - first] = estimate.loss
        state = TrainState(
            recipe.objective.network.project(theta),
            optimizer,
            estimator,
            index + 1,
            state.forwards + estimate.forwards,
            state.backwards + estimate.backwards,
            state.seconds,
            recipe.objective.network.next_state(state.running, estimate.statistics),
            state.macs + estimate.macs,
        )
        tick()
    bad = backend.to_numpy(~xp.isfinite(losses))
    if bad.any():
        step = first + int(bad.argmax())
        raise diverged(recipe, "loss", step, updates=step)
    for what in ("theta", "optimizer", "estimator", "running"):
        if not finite(getattr(state, what)):
            raise diverged(recipe, CALLED[what], end - 1, updates=end)
    return state._replace(seconds=state.seconds + time.perf_counter() - began)


def record(records, recipe, state):
    """Add a row: evaluate the state on the test set and the training set, or the part asked for."""
    objective, data = recipe.objective.at(state.step / recipe.steps), recipe.data
    part = slice(recipe.loss_examples)
    x, labels = data.x_train[part, ...], data.y_train[part]
    train_loss, _ = evaluate(objective, state.theta, x, labels, state.running)
    if not isfinite(train_loss):
        raise diverged(recipe, "training loss", state.step, updates=state.step)
    _, accuracy = evaluate(objective, state.theta, data.x_test, data.y_test, state.running)
    macs = objective.cost(state.forwards, state.backwards, recipe.batch) + state.macs
    row = (state.step, train_loss, accuracy, state.forwards, state.backwards, macs, state.seconds)
    for column, value in zip(COLUMNS, row, strict=True):
        records[column].append(value)
    for column, function in recipe.watch.items():
        records[column].append(float(function(objective, state)))


def save(path, recipe, state, records):
    """Write the checkpoint of ``state``, with the latent and the quantised weights by name."""
    arrays = checkpoint.flatten("state", state)
    objective = recipe.objective.at(state.step / recipe.steps)
    for name, weight in objective.quantize(state.theta).items():
        arrays[f"quantized.{name}"] = weight
    for name, weight in objective.network.views(state.theta).items():
        arrays[f"latent.{name}"] = weight
    header = {"settings": recipe.settings(), "records": records}
    checkpoint.save(path, header, arrays)


def restore(path, recipe, state):
    """(state, records) from the checkpoint at ``path``, made with the same recipe.

    Raises
    ------
    InputError
        If it is damaged, or was made with other settings: the sentence names the first that
        differs.
    """
    header, arrays = checkpoint.load(path)
    theirs, ours = header.get("settings", {}), json.loads(json.dumps(recipe.settings()))
    for name, value in ours.items():
        if theirs.get(name) != value:
            raise InputError(
                f"checkpoint {path} was made with {name} = {theirs.get(name)!r}, this run has "
                f"{value!r}; resume with the settings it was made with, or start a new run"
            )
    state = checkpoint.unflatten("state", state, arrays, state.theta)
    return state, header["records"]


@memory.told
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
    steps, batch, record_every, loss_examples = check_numbers(
        data, steps, batch, record_every, loss_examples, rng
    )
    seed = check_seed(seed)
    checkpoint_every = (
        steps if checkpoint_every is None else whole("checkpoint_every", checkpoint_every)
    )
    check_parts(objective, estimator, optimizer)
    check_batch(objective.network, batch)
    check_data(objective.network, data)
    check_start(objective.network, data, start, state)
    pool = pool or Pool()

    watch = {} if watch is None else watch
    for name in watch:
        require(name not in COLUMNS, "watch", name, "this column is recorded already; rename it")
    theta = objective.network.init(seed, like=data.x_train) if start is None else start
    objective = objective.calibrate(theta)
    recipe = Recipe(
        objective, data, estimator, optimizer, steps, batch, seed, record_every, loss_examples,
        augment, start, state, watch, rng,
    )  # fmt: skip
    state = start_state(recipe, theta)
    records = {name: [] for name in (*COLUMNS, *watch)}
    if resume and path is not None and os.path.exists(path):
        state, records = restore(path, recipe, state)
    if path is not None and state.step < steps:
        require_writable(path, "path")

    # NaN and infinity are looked for in `advance` and `record`, not warned about everywhere
    with sharing.one_blas_thread(), np.errstate(all="ignore"):
        if not records["step"]:
            state = state._replace(running=first_statistics(recipe, theta))
            record(records, recipe, state)
        feed = batches(recipe, state.step)
        done = itertools.count(state.step + 1)

        def tick():
            if progress is not None:
                progress(next(done), records["train_loss"][-1])

        while state.step < steps:
            due = [(state.step // every + 1) * every for every in (record_every, checkpoint_every)]
            end = min(steps, *due)
            state = advance(recipe, state, feed, end, pool, tick)
            if end % record_every == 0 or end == steps:
                record(records, recipe, state)
            if path is not None and (end % checkpoint_every == 0 or end == steps):
                save(path, recipe, state, records)
    final = objective.at(state.step / steps)
    return Run(final, state.theta, records, recipe.settings(), state.running)

"""Many runs at once: seeds and learning rates as rows of one array.

A small network wastes a machine: a step is some hundred short array operations, and what they cost
is mostly the calling. Here S runs that differ in their seed and optimiser take their steps
together. theta has shape (S, 1, d), the batch (S, 1, N, ...), the quantiser's scales (S, 1, 1), and
every operation does its work for S runs in one call. The axis of length 1 is the population's: with
P directions a row, theta + eps v is (S, P, d).

Every seed keeps its own start, its own order of the examples and its own random streams, so each
row is the run that `minizo.fit` makes of it, up to the rounding of sums. (Were the batch shared by
all rows, one product would serve them all. But then the runs would not be independent, and a
standard deviation over seeds would leave out what the order of the examples does.)
"""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil, isfinite, prod

import numpy as np

from . import backend, sharing
from .divergence import CALLED, diverged, finite_rows
from .errors import require
from .estimators import Step
from .evaluation import EVALUATION_BATCH, EVALUATION_NUMBERS, totals
from .inputs import check_batch, check_data, check_numbers, check_parts, check_seed
from .memory import in_parts, told
from .objective import Batch
from .population import BLOCK_DIRECTIONS, Pool
from .recipe import COLUMNS, Diverged, Recipe, Run
from .settings import whole
from .train import batches, fit

ROW_NUMBERS = 2**22  # of all the runs that are trained together: 16 MiB in float32


@told
def fit_many(
    objective,
    data,
    estimator,
    pairs,
    *,
    steps,
    batch=100,
    record_every=None,
    loss_examples=None,
    augment=None,
    workers=1,
    rng="device",
    progress=None,
):
    """Train with each of several pairs of an optimiser and a seed, as `minizo.fit` would.

        theta_s <- optimizer_s(theta_s, G(theta_s; batch_s)),    s = 1, ..., S

    Parameters
    ----------
    objective, data, estimator
        As in `minizo.fit`. Estimators that are not ``rowwise`` (those with a learned gradient)
        train one run after the other.
    pairs : sequence of (optimizer, seed)
        Optimisers from `minizo.optim`, such as one for each learning rate, of one kind or several.
        Neighbours with the same optimiser are updated together.
    steps, batch, record_every, loss_examples, augment, rng
        As in `minizo.fit`. There are no checkpoints.
    workers : int
        Threads; each takes rows of its own. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(rows)`` after every step of so many rows, by whichever thread took it.

    Returns
    -------
    list of Run or Diverged
        In the order of ``pairs``. A run that diverges ends as the error that `minizo.fit` would
        raise, and the others go on. ``seconds`` in the records is a row's equal share of the time
        of those that were trained with it.

    Raises
    ------
    InputError
        For values out of range, or data that do not fit the network.

    Notes
    -----
    Cost: that of the runs, with fewer calls; memory: `rows_at_once` runs a worker.

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
    pairs = tuple((optimizer, check_seed(seed)) for optimizer, seed in pairs)
    steps, batch, record_every, loss_examples = check_numbers(
        data, steps, batch, record_every, loss_examples, rng
    )
    for optimizer, _ in pairs:
        check_parts(objective, estimator, optimizer)
    check_batch(objective.network, batch)
    check_data(objective.network, data)
    if not estimator.rowwise:
        options = {"steps": steps, "batch": batch, "record_every": record_every, "rng": rng}
        options |= {"loss_examples": loss_examples, "augment": augment}
        return [_alone(objective, data, estimator, *pair, options, progress) for pair in pairs]
    starts = {seed: objective.network.init(seed, like=data.x_train) for _, seed in pairs}
    more = {"loss_examples": loss_examples, "augment": augment, "rng": rng}
    recipes = [
        Recipe(
            objective.calibrate(starts[seed]), data, estimator, optimizer, steps, batch, seed,
            record_every, **more,
        )
        for optimizer, seed in pairs
    ]  # fmt: skip
    most = rows_at_once(objective, data, estimator, batch)
    # as many rows for each worker, and a multiple of the workers where the rows suffice
    size = ceil(len(recipes) / (workers * ceil(len(recipes) / (workers * most))))
    groups = [recipes[i : i + size] for i in range(0, len(recipes), size)]

    def train(group):
        def some(part):
            own = group[part]
            return _Rows(own, [starts[recipe.seed] for recipe in own]).train(progress)

        key = (objective.network.d, batch)
        found = in_parts(some, len(group), "runs", data.x_train, key=key)
        return itertools.chain.from_iterable(found)

    with sharing.one_blas_thread():
        if workers == 1:
            found = [train(group) for group in groups]
        else:
            with ThreadPoolExecutor(workers, thread_name_prefix="minizo") as executor:
                found = list(executor.map(train, groups))
    return list(itertools.chain.from_iterable(found))


def rows_at_once(objective, data, estimator, batch):
    """How many runs are trained together: on the host, as many as a cache has room for.

    The numbers of one row: its batch, the widest outputs of the network, and some arrays of d; the
    last two once for each direction that is evaluated at a time. `ROW_NUMBERS` in all.
    """
    if not backend.is_numpy(backend.namespace(data.x_train)):
        return 2**16
    network = objective.network
    directions = min(BLOCK_DIRECTIONS, getattr(estimator, "n", 1))
    own = 8 * network.d + 4 * batch * network.widest
    return max(1, ROW_NUMBERS // (batch * prod(network.input_shape) + directions * own))


def _alone(objective, data, estimator, optimizer, seed, options, progress):
    tick = None if progress is None else lambda step, loss: progress(1)
    try:
        return fit(objective, data, estimator, optimizer, seed=seed, progress=tick, **options)
    except Diverged as error:
        return error


class _Rows:
    """Runs that are trained together; they are alike but for their seed and optimiser."""

    def __init__(self, recipes, starts):
        xp = backend.namespace(starts[0])
        self.recipes, self.lead = recipes, recipes[0]
        self.seeds = tuple(recipe.seed for recipe in recipes)
        # (d,) -> (S, 1, d)
        self.theta = xp.stack(starts)[:, None, :]
        self.objective = self._scaled(slice(0, len(recipes)))
        # neighbours with the same optimiser are updated together
        self.parts = []
        for optimizer, rows in itertools.groupby(range(len(recipes)), self._optimizer):
            rows = list(rows)
            part = slice(rows[0], rows[-1] + 1)
            own = self._scaled(part)
            memory = optimizer.init(self.theta[part, ...], own)
            self.parts.append([part, optimizer, own, memory])
        self.state = self.lead.estimator.init(self.objective, self.theta)
        self.running = self.objective.network.init_state(self.theta)
        self.forwards = self.backwards = self.macs = 0
        self.seconds = 0.0
        self.records = [{name: [] for name in COLUMNS} for _ in recipes]
        self.errors = [None] * len(recipes)

    def _optimizer(self, row):
        return self.recipes[row].optimizer

    def _scaled(self, rows):
        # the objective with the scales of some rows: (..., 1) each -> (S, 1, ..., 1)
        own = [recipe.objective.scales for recipe in self.recipes[rows]]
        xp = backend.namespace(self.theta)
        joint = {name: xp.stack([scales[name] for scales in own])[:, None, ...] for name in own[0]}
        return replace(self.lead.objective, scales=joint)

    def train(self, progress):
        """All steps and records; a `Run` or `Diverged` for each row."""
        steps, every = self.lead.steps, self.lead.record_every
        with np.errstate(all="ignore"):
            if self.running:  # as `minizo.train.first_statistics`
                objective, batch = self.objective.at(0.0), next(self._batches())
                self.running = objective.statistics(self.theta, batch)
            self._record(0)
            feed = self._batches()
            for first in range(0, steps, every):
                end = min(first + every, steps)
                self._advance(first, end, feed, progress)
                self._record(end)
                if all(self.errors):
                    break
        return [error or self._run(row) for row, error in enumerate(self.errors)]

    def _batches(self):
        # one feed a seed, whatever the number of optimisers
        feeds = {
            recipe.seed: batches(recipe, 0)
            for recipe in {recipe.seed: recipe for recipe in self.recipes}.values()
        }

        def rows(values):
            # (N, ...) each -> (S, 1, N, ...)
            return backend.stack(values)[:, None, ...]

        while True:
            own = {seed: next(feed) for seed, feed in feeds.items()}
            x, labels, noise = zip(*(own[seed] for seed in self.seeds), strict=True)
            if noise[0] is not None:
                noise = {name: rows([masks[name] for masks in noise]) for name in noise[0]}
            else:
                noise = None
            yield Batch(rows(x), rows(labels), noise)

    def _advance(self, first, end, feed, progress):
        # as `minizo.train.advance`, for all rows
        xp, recipe = backend.namespace(self.theta), self.lead
        per_epoch = recipe.data.y_train.shape[0] // recipe.batch
        pool, count = Pool(), len(self.recipes)
        losses = backend.empty((end - first, count), self.theta)
        began = time.perf_counter()
        for index in range(first, end):
            if index % per_epoch == 0:
                self.theta = self.objective.refresh(self.theta)
            step = Step(self.seeds, index, recipe.steps, pool, per_epoch, rng=recipe.rng)
            estimate, self.state = recipe.estimator.estimate(
                self.objective.at(step.progress), self.theta, next(feed), self.state, step
            )
            moved = []
            for part in self.parts:
                rows, optimizer, objective, memory = part
                theta, part[3] = recipe.estimator.update(
                    objective, optimizer, estimate.grad[rows, ...], memory,
                    self.theta[rows, ...], step,
                )  # fmt: skip
                moved.append(theta)
            moved = moved[0] if len(moved) == 1 else xp.concat(moved)
            self.theta = self.objective.network.project(moved)
            losses[index - first, :] = xp.reshape(estimate.loss, (count,))
            self.running = self.objective.network.next_state(self.running, estimate.statistics)
            self.forwards += estimate.forwards
            self.backwards += estimate.backwards
            self.macs += estimate.macs
            if progress is not None:
                progress(count)
        bad = backend.to_numpy(~xp.isfinite(losses))
        memories = [(memory, part.stop - part.start) for part, _, _, memory in self.parts]
        kept = {
            "theta": finite_rows(self.theta, count),
            "optimizer": np.concatenate([finite_rows(*own) for own in memories]),
            "estimator": finite_rows(self.state, count),
            "running": finite_rows(self.running, count),
        }
        self.seconds += time.perf_counter() - began
        for row in range(count):
            if bad[:, row].any():
                step = first + int(bad[:, row].argmax())
                self._fail(row, "loss", step, updates=step)
            for part, good in kept.items():
                if not good[row]:
                    self._fail(row, CALLED[part], end - 1, updates=end)

    def _fail(self, row, what, step, updates):
        self.errors[row] = self.errors[row] or diverged(self.recipes[row], what, step, updates)

    def _record(self, step):
        # as `minizo.train.record`, for all rows
        recipe, data, count = self.lead, self.lead.data, len(self.recipes)
        objective = self.objective.at(step / recipe.steps)
        most, measured = self._examples(), []
        part = slice(recipe.loss_examples)
        sets = (data.x_train[part, ...], data.y_train[part]), (data.x_test, data.y_test)
        for x, labels in sets:
            sums = totals(objective, self.theta, x, labels, self.running, most)
            n = labels.shape[0]
            measured.append([backend.to_numpy(s).reshape(count) / n for s in sums])
        (losses, _), (_, accuracies) = measured
        macs = objective.cost(self.forwards, self.backwards, recipe.batch) + self.macs
        for row, records in enumerate(self.records):
            loss, accuracy = float(losses[row]), float(accuracies[row])
            if not isfinite(loss):
                self._fail(row, "training loss", step, updates=step)
            if self.errors[row] is None:
                passes = (self.forwards, self.backwards, macs, self.seconds / count)
                for column, value in zip(COLUMNS, (step, loss, accuracy, *passes), strict=True):
                    records[column].append(value)

    def _examples(self):
        # how many are evaluated at once
        most = EVALUATION_NUMBERS // (self.objective.network.widest * len(self.recipes))
        return max(1, min(EVALUATION_BATCH, most))

    def _run(self, row):
        recipe = self.recipes[row]
        # running statistics (S, 1, ...) -> (...), theta (S, 1, d) -> (d,)
        state = {name: value[row, 0, ...] for name, value in self.running.items()}
        final = recipe.objective.at(1.0)
        return Run(final, self.theta[row, 0, :], self.records[row], recipe.settings(), state)

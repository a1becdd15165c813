"""Runs that are trained together, as rows of one array.

A small network wastes a machine: a step is some hundred short array operations, and what they cost
is mostly the calling. So S runs that are alike take their steps together. theta has shape
(S, 1, d), the batch (S, 1, N, ...), the quantiser's scales (S, 1, 1), and every operation does its
work for S runs in one call. The axis of length 1 is the population's: with P directions a row,
theta + eps v is (S, P, d). One run alone is a group, too, and has no axis for rows: theta is (d,).

Every row keeps its own start, its own order of the examples and its own random streams, so it is
the run that it would be alone, up to the rounding of sums. (Were the batch shared by all rows, one
product would serve them all. But then the runs would not be independent, and a standard deviation
over seeds would leave out what the order of the examples does.)
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from . import backend, rng
from .estimators import Step
from .objective import Batch
from .parallel import BLOCK_DIRECTIONS
from .records import finite

ROW_NUMBERS = 2**21  # of all the runs of a group: 8 MiB in float32


class Share(NamedTuple):
    """Neighbouring rows of a group with the same optimiser.

    count : int, how many; rows : index of theta's first axis; optimizer; objective : Objective,
    with the quantiser scales of these rows.
    """

    count: int
    rows: object
    optimizer: object
    objective: object


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that are trained together.

    Parameters
    ----------
    recipes : sequence of Recipe
        Alike but for seed, optimiser, start, running statistics and what is watched. Of an
        estimator that is not ``rowwise`` only one.
    """

    recipes: tuple

    def __len__(self):
        return len(self.recipes)

    @property
    def lead(self):
        """The first recipe: what all have in common can be read there."""
        return self.recipes[0]

    @cached_property
    def objective(self):
        """The objective of all rows, with the quantiser scales of each."""
        return self._scaled(self.recipes)

    @cached_property
    def shares(self):
        """A `Share` for neighbours with the same optimiser: they are updated at once."""
        if len(self) == 1:
            return (Share(1, ..., self.lead.optimizer, self.objective),)
        shares, stop = [], 0
        for optimizer, recipes in itertools.groupby(self.recipes, lambda recipe: recipe.optimizer):
            recipes = tuple(recipes)
            start, stop = stop, stop + len(recipes)
            rows = slice(start, stop), ...
            shares.append(Share(len(recipes), rows, optimizer, self._scaled(recipes)))
        return tuple(shares)

    @cached_property
    def settings(self):
        """What determines each run, in words."""
        return [recipe.settings() for recipe in self.recipes]

    def _scaled(self, recipes):
        # the scales of some rows: (..., 1) each -> (S, 1, ..., 1)
        scales = [recipe.objective.scales for recipe in recipes]
        joint = {name: self.stack([own[name] for own in scales]) for name in scales[0]}
        return replace(self.lead.objective, scales=joint)

    def stack(self, values):
        """An array of each row as one array of all: (...) each -> (S, 1, ...)."""
        return values[0] if len(self) == 1 else backend.stack(values)[:, None, ...]

    def take(self, state, row):
        """A row of a nested state whose arrays are (S, 1, ...): (...) each; numbers as they are."""
        if len(self) == 1 or isinstance(state, int | float):
            return state
        if isinstance(state, Mapping):
            return {name: self.take(value, row) for name, value in state.items()}
        if isinstance(state, tuple):
            parts = [self.take(value, row) for value in state]
            return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
        return state[row, 0, ...]

    def take_run(self, state, row):
        """The `TrainState` of a row, as the run alone would have it, with one optimiser."""
        own, within = self.take(state._replace(optimizer=()), row), row
        for share, memory in zip(self.shares, state.optimizer, strict=True):
            if 0 <= within < share.count:
                own = own._replace(optimizer=self.take(memory, within))
            within -= share.count
        return own

    def finite(self, state):
        """Part of a `TrainState` -> whether no number of each row is NaN or infinite, (S,)."""
        memories = zip(self.shares, state.optimizer, strict=True)
        return {
            "theta": finite(state.theta, len(self)),
            "optimizer": np.concatenate([finite(own, share.count) for share, own in memories]),
            "estimator": finite(state.estimator, len(self)),
            "running": finite(state.running, len(self)),
        }

    def batches(self, start):
        """The `batches` of all rows; runs of one seed share them."""
        feeds = {recipe.seed: recipe for recipe in self.recipes}
        feeds = {seed: batches(recipe, start) for seed, recipe in feeds.items()}
        while True:
            found = {seed: next(feed) for seed, feed in feeds.items()}
            x, labels, noise = zip(*(found[recipe.seed] for recipe in self.recipes), strict=True)
            if noise[0] is not None:
                noise = {name: self.stack([own[name] for own in noise]) for name in noise[0]}
            else:
                noise = None
            yield Batch(self.stack(x), self.stack(labels), noise)

    def step(self, index, state, pool):
        """The `Step` of number ``index``; the optimiser is shown to estimators of single runs."""
        recipe = self.lead
        seed, own = recipe.seed, (recipe.optimizer, state.optimizer[0])
        if len(self) > 1:
            seed, own = tuple(recipe.seed for recipe in self.recipes), (None, None)
        per_epoch = recipe.data.y_train.shape[0] // recipe.batch
        return Step(seed, index, recipe.steps, pool, per_epoch, *own, recipe.rng)

    def init_optimizers(self, theta):
        """The state of the optimiser of each of the `shares`."""
        return tuple(s.optimizer.init(theta[s.rows], s.objective) for s in self.shares)

    def update(self, grad, states, theta, step):
        """theta <- optimizer(theta, g), by the optimiser of each row.

        Returns
        -------
        theta : ndarray
        states : tuple
            Of the optimisers of the `shares`.
        """
        update = self.lead.estimator.update
        moved = [
            update(s.objective, s.optimizer, grad[s.rows], state, theta[s.rows], step)
            for s, state in zip(self.shares, states, strict=True)
        ]
        thetas, states = zip(*moved, strict=True)
        return thetas[0] if len(thetas) == 1 else backend.concat(thetas), states


def groups(count, network, data, estimator, batch):
    """Slices that cut so many runs, which are alike, into those that are trained together.

    They depend on the sizes of the problem alone, so that an interrupted group is found again.
    """
    number = ceil(count / rows_at_once(network, data, estimator, batch))
    number += number > 1 and number % 2  # two threads have the same to do
    size = ceil(count / number)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def rows_at_once(network, data, estimator, batch):
    """How many runs are trained together: on the host, as many as a cache has room for.

    The numbers of one row: its batch, the widest outputs of the network, and some arrays of d; the
    last two once for each direction that is evaluated at a time. `ROW_NUMBERS` in all.
    """
    if not estimator.rowwise:
        return 1
    if not backend.is_numpy(backend.namespace(data.x_train)):
        return 2**16
    directions = min(BLOCK_DIRECTIONS, getattr(estimator, "n", 1))
    own = 8 * network.d + 4 * batch * network.widest
    return max(1, ROW_NUMBERS // (batch * prod(network.input_shape) + directions * own))


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

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
from dataclasses import replace
from math import ceil, prod
from typing import NamedTuple

from . import backend, rng
from .contracts import check_like, check_pair
from .objective import Batch
from .parallel import BLOCK_DIRECTIONS

ROW_NUMBERS = 5 * 2**19  # of all the runs of a group: 10 MiB in float32


class Share(NamedTuple):
    """Neighbouring rows of a group with the same optimiser.

    count : int, how many; rows : index of theta's first axis; optimizer; objective : Objective,
    with the quantiser scales of these rows.
    """

    count: int
    rows: object
    optimizer: object
    objective: object


class Group:
    """Runs that are trained together.

    Parameters
    ----------
    recipes : sequence of Recipe
        Alike but for seed, optimiser, start, running statistics and what is watched. Of an
        estimator that is not ``rowwise`` only one.

    Attributes
    ----------
    lead : Recipe
        The first: what all have in common can be read there.
    count : int
        S.
    seed : int, or tuple of int
        Of each row, where there are several.
    objective : Objective
        With the quantiser scales of every row, (S, 1, ..., 1).
    shares : tuple of Share
        Neighbours with the same optimiser, which are updated at once.
    """

    def __init__(self, recipes):
        self.recipes, self.lead, self.count = tuple(recipes), recipes[0], len(recipes)
        if self.count == 1:
            self.seed, self.objective = self.lead.seed, self.lead.objective
            self.shares = (Share(1, ..., self.lead.optimizer, self.objective),)
            return
        self.seed = tuple(recipe.seed for recipe in recipes)
        self.objective = self._scaled(slice(0, self.count))
        self.shares, stop = (), 0
        for optimizer, own in itertools.groupby(recipe.optimizer for recipe in recipes):
            start, stop = stop, stop + len(list(own))
            rows = slice(start, stop)
            share = Share(stop - start, (rows, ...), optimizer, self._scaled(rows))
            self.shares += (share,)

    def _scaled(self, rows):
        # (..., 1) each -> (S, 1, ..., 1)
        scales = [recipe.objective.scales for recipe in self.recipes[rows]]
        joint = {name: self.stack([own[name] for own in scales]) for name in scales[0]}
        return replace(self.lead.objective, scales=joint)

    def stack(self, values):
        """An array of each row as one array of all: (...) each -> (S, 1, ...)."""
        return values[0] if self.count == 1 else backend.stack(values)[:, None, ...]

    def take(self, state, row):
        """A row of a nested state, as `row_of` gives it; of one run alone the state itself."""
        return state if self.count == 1 else row_of(state, row)

    def take_run(self, state, row):
        """The `TrainState` of a row, as the run alone would have it, with one optimiser."""
        own, within = self.take(state._replace(optimizer=()), row), row
        for share, memory in zip(self.shares, state.optimizer, strict=True):
            if 0 <= within < share.count:
                own = own._replace(optimizer=self.take(memory, within))
            within -= share.count
        return own

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

    def update(self, grad, states, theta, step):
        """theta <- optimizer(theta, g), by the optimiser of each row.

        Returns
        -------
        theta : ndarray
        states : tuple
            Of the optimisers of the `shares`.
        """
        moved = [
            self._moved(s, grad[s.rows], state, theta[s.rows], step)
            for s, state in zip(self.shares, states, strict=True)
        ]
        thetas, states = zip(*moved, strict=True)
        return thetas[0] if len(thetas) == 1 else backend.concat(thetas), states

    def _moved(self, share, grad, state, theta, step):
        # (theta, state) of a share after the step
        objective, update = share.objective.at(step.progress), self.lead.estimator.update
        answer = update(objective, share.optimizer, grad, state, theta, step)
        new, state = check_pair(share.optimizer, "update", answer, "theta", object)
        check_like(f"theta after {type(share.optimizer).__name__}", new, "theta before", theta)
        return new, state


def row_of(state, row):
    """A row of a nested state whose arrays are (S, 1, ...): (...) each; numbers as they are."""
    if isinstance(state, Mapping):
        return {name: row_of(value, row) for name, value in state.items()}
    if isinstance(state, tuple):
        parts = [row_of(value, row) for value in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state[row, 0, ...] if hasattr(state, "shape") else state


def groups(count, network, data, rules, batch):
    """Slices that cut so many runs, which are alike, into those that are trained together.

    They depend on the sizes of the problem alone, so that an interrupted group is found again.
    """
    number = ceil(count / rows_at_once(network, data, rules, batch))
    number += number > 1 and number % 2  # two threads have the same to do
    size = ceil(count / number)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def rows_at_once(network, data, rules, batch):
    """How many runs are trained together: on the host, as many as a cache has room for.

    One, if one of the ``rules``, the estimator and the optimisers, is not ``rowwise``. The numbers
    of one row: its batch, the widest outputs of the network, and some arrays of d; the last two
    once for each direction that is evaluated at a time. `ROW_NUMBERS` in all.
    """
    if not all(getattr(rule, "rowwise", False) for rule in rules):
        return 1
    if not backend.is_numpy(backend.namespace(data.x_train)):
        return 2**16
    n = getattr(rules[0], "n", 1)
    directions = min(BLOCK_DIRECTIONS, n) if isinstance(n, int) else 1
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
            noise = recipe.objective.noise(stream, recipe.batch, recipe.data.like)
            images = take(x, chosen, axis=0)
            if recipe.augment is not None:
                stream = rng.at(recipe.seed, "augment", step, source=recipe.rng)
                images = recipe.augment(images, stream)
            yield Batch(images, take(labels, chosen, axis=0), noise)
            step += 1
        epoch, skip = epoch + 1, 0

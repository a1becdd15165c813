"""What a run leaves behind: records of its progress, or the error that it ended with."""

import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any

import numpy as np

from . import backend
from .errors import choose
from .memory import in_parts, told
from .objective import Objective
from .types import Array, Arrays

COLUMNS = (
    "step", "train_loss", "test_accuracy", "test_loss", "forwards", "backwards", "macs",
    "seconds", "evaluation_seconds",
)  # fmt: skip
WIDTH = 88  # of a printed run
EVALUATION_BATCH = 5000
EVALUATION_NUMBERS = 2**22  # in the widest layer's output: 16 MiB in float32


@dataclass
class Run:
    """A finished run.

    Attributes
    ----------
    objective : Objective
        With the quantiser scales of this run.
    theta : ndarray (d,)
        The latent parameters at the end; ``weights`` are the quantised ones by name.
    records : dict of str to list
        Columns `COLUMNS`, one entry every ``record_every`` steps. Training loss is that of the
        whole training set, or of its first ``loss_examples``; evaluation is in neither
        ``forwards`` nor ``seconds``, but in ``evaluation_seconds``.
    settings : dict
        What determines the result.
    state : dict of str to ndarray
        The network's running statistics at the end, for ``objective.outputs(theta, x, state)``;
        empty for a network without batch normalisation.
    """

    objective: Objective
    theta: Array
    records: dict
    settings: dict = field(default_factory=dict)
    state: dict = field(default_factory=dict)

    @property
    def weights(self) -> Arrays:
        """The quantised weights by name, as the network computes with them."""
        return self.objective.quantize(self.theta)

    def final(self, column: str) -> Any:
        """The last entry of a column of the records.

        ``"train_loss"`` is the loss of the quantised network over the training examples (the first
        ``loss_examples`` of them), not that of the last batch.
        """
        return choose("column", column, self.records)[-1]

    def __repr__(self):
        """What was trained, and how it ended, in a few lines; arrays and records are left out."""
        known = [name for name in ("estimator", "optimizer", "seed") if name in self.settings]
        ends = [f"{name}={column[-1]:.4g}" for name, column in self.records.items() if column]
        parts = [*(f"{name}={self.settings[name]}," for name in known), f"{', '.join(ends)})"]
        shape = {"subsequent_indent": " " * 4, "max_lines": 4, "placeholder": " ..."}
        lines = [line for part in parts for line in textwrap.wrap(part, WIDTH - 4, **shape)]
        return "Run(" + "\n    ".join(lines)


@told
def evaluate(objective, theta, x, labels, state=None):
    """Mean loss and accuracy over a whole data set, with running statistics ``state``.

    In batches of `EVALUATION_BATCH` examples, fewer where the outputs of a layer, for all thetas
    together, are large.

    Parameters
    ----------
    theta : ndarray of shape (..., d)
        They share the examples x (N, *input_shape) and their labels (N,), or (N, T) where every
        place of a sequence has one, over all of which the means are.

    Returns
    -------
    loss, accuracy : float, or float64 ndarray of shape (...) on the host
    """
    xp, n = backend.namespace(theta), labels.shape[0]
    axes = len(objective.network.output_shape)
    weights = objective.weights_in_use(theta, state)

    def sums(part):
        outputs = objective.network.predict(weights, x[part, ...])
        own = labels[part, ...]
        loss = prod(own.shape) * objective.loss_of(outputs, own)[0]
        hits = xp.astype(xp.argmax(outputs, axis=-1) == own, theta.dtype)
        return loss, xp.sum(hits, axis=tuple(range(-axes, 0)))

    widest = objective.network.widest * prod(theta.shape[:-1])
    most = max(1, min(EVALUATION_BATCH, EVALUATION_NUMBERS // widest))
    key = (theta.shape, x.shape)
    loss = right = 0.0
    for part_loss, part_right in in_parts(sums, n, "examples to evaluate", theta, most, key):
        loss, right = loss + part_loss, right + part_right
    places = prod(labels.shape)
    return tuple(backend.to_numpy(total).astype(float)[()] / places for total in (loss, right))


def record(group, state, records, errors):
    """Evaluate a group, and add to the records of each of its rows that lives.

    Returns
    -------
    TrainState
        With the seconds that this took.
    """
    began = time.perf_counter()
    lead, data, progress = group.lead, group.lead.data, state.step / group.lead.steps
    objective, part = group.objective.at(progress), slice(lead.loss_examples)
    x, labels = data.x_train[part, ...], data.y_train[part]
    losses, _ = evaluate(objective, state.theta, x, labels, state.running)
    tests, accuracies = evaluate(objective, state.theta, data.x_test, data.y_test, state.running)
    macs = objective.cost(state.forwards, state.backwards, lead.batch) + state.macs
    state = state._replace(evaluation=state.evaluation + time.perf_counter() - began)
    seconds = state.seconds / group.count, state.evaluation / group.count
    passes = (state.forwards, state.backwards, macs, *seconds)
    for row, recipe in enumerate(group.recipes):
        loss, *on_test = (float(m.reshape(-1)[row]) for m in (losses, accuracies, tests))
        if not isfinite(loss):
            note(errors, group, row, "training loss", state.step, updates=state.step)
        if errors[row] is not None:
            continue
        for column, value in zip(COLUMNS, (state.step, loss, *on_test, *passes), strict=True):
            records[row][column].append(value)
        for column, function in recipe.watch.items():
            value = function(recipe.objective.at(progress), group.take_run(state, row))
            records[row][column].append(float(value))
    return state


# NaN and infinity --------------------------------------------------------------------------------


class Diverged(ArithmeticError):
    """The loss, the parameters or the state of an estimator became NaN or infinite."""


def finite(state, rows=1):
    """Whether no number of each row of a nested state is NaN or infinite: bool (rows,).

    Where there are several rows, arrays are (rows, ...), and numbers, such as counts of updates,
    are everybody's.
    """
    if isinstance(state, tuple | Mapping):
        good = np.full(rows, True)
        for part in state.values() if isinstance(state, Mapping) else state:
            good &= finite(part, rows)
        return good
    if isinstance(state, int | float):
        return np.full(rows, isfinite(state))
    xp = backend.namespace(state)
    apart = xp.reshape(xp.isfinite(state), (rows, -1))
    return backend.to_numpy(xp.all(apart, axis=-1))


def not_finite(data):
    """The first training image that holds a NaN or infinity, or ``None``."""
    x = data.x_train
    xp = backend.namespace(x)
    if data.tokens:
        return None
    # (N, *shape) -> (N,)
    bad = ~xp.all(xp.isfinite(x), axis=tuple(range(1, x.ndim)))
    return int(xp.argmax(xp.astype(bad, x.dtype))) if bool(xp.any(bad)) else None


def diverged(recipe, what, step, updates):
    """The `Diverged` error that says where it happened, whether after an update, and what to do."""
    image, what_comes_in = not_finite(recipe.data), "tokens" if recipe.data.tokens else "images"
    if image is not None:
        cause = f"; training image {image} holds a NaN or infinity: mend the data"
    elif updates == 0 and recipe.state is not None:
        cause = (
            f"; the {what_comes_in} and the weights are finite, so leave out the running "
            "statistics given as state, which need not fit the quantised weights"
        )
    elif updates == 0:
        cause = (
            f"; the {what_comes_in} and the weights are finite, but the network overflows: use "
            f"smaller {'' if recipe.data.tokens else 'images, '}weights or perturbations"
        )
    else:
        rule = type(recipe.optimizer).__name__
        lr = getattr(recipe.optimizer, "lr", "unknown")
        cause = f" with learning rate {lr} ({rule}); try a smaller learning rate"
        if not type(recipe.estimator).__module__.startswith("minizo."):
            cause += f", or look at the gradient of {recipe.estimator.label}"
    done = f"after {updates} update{'s' if updates > 1 else ''}"
    done = "before anything was updated" if updates == 0 else done
    return Diverged(
        f"{recipe.estimator.label}: the {what} became NaN or infinite at step {step} of "
        f"{recipe.steps} ({done}){cause}"
    )


# What a part of the `TrainState` is called where it is found not to be finite.
CALLED = {
    "theta": "parameters",
    "optimizer": "optimiser's state",
    "estimator": "estimator's state",
    "running": "running statistics",
}


def check(group, state, losses, errors):
    """Note the rows whose ``losses`` (steps, S) or state are not finite; the others go on."""
    bad, memories = ~np.isfinite(losses), zip(group.shares, state.optimizer, strict=True)
    good = {
        "theta": finite(state.theta, group.count),
        "optimizer": np.concatenate([finite(own, share.count) for share, own in memories]),
        "estimator": finite(state.estimator, group.count),
        "running": finite(state.running, group.count),
    }
    for row in range(group.count):
        if bad[:, row].any():
            step = state.step - losses.shape[0] + int(bad[:, row].argmax())
            note(errors, group, row, "loss", step, updates=step)
        for part, name in CALLED.items():
            if not good[part][row]:
                note(errors, group, row, name, state.step - 1, updates=state.step)


def note(errors, group, row, what, step, updates):
    """Put down that a row has diverged, where it has not yet."""
    if errors[row] is None:
        errors[row] = diverged(group.recipes[row], what, step, updates)

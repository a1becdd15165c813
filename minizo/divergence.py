"""NaN and infinity in a run: where they are looked for, and what the error says."""

from collections.abc import Mapping
from math import isfinite

import numpy as np

from . import backend
from .recipe import Diverged

# What a part of the `TrainState` is called where it is found not to be finite.
CALLED = {
    "theta": "parameters",
    "optimizer": "optimiser's state",
    "estimator": "estimator's state",
    "running": "running statistics",
}


def finite(state):
    """Whether no number of a nested state is NaN or infinite."""
    if isinstance(state, tuple | Mapping):
        return all(map(finite, state.values() if isinstance(state, Mapping) else state))
    if isinstance(state, int | float):
        return isfinite(state)
    xp = backend.namespace(state)
    return bool(xp.all(xp.isfinite(state)))


def finite_rows(state, count):
    """Whether no number of each row of a nested state is NaN or infinite: bool (count,).

    Its arrays are (count, ...), and its numbers, such as counts of updates, are everybody's.
    """
    if isinstance(state, tuple | Mapping):
        good = np.full(count, True)
        for part in state.values() if isinstance(state, Mapping) else state:
            good &= finite_rows(part, count)
        return good
    if isinstance(state, int | float):
        return np.full(count, isfinite(state))
    xp = backend.namespace(state)
    rows = xp.reshape(xp.isfinite(state), (count, -1))
    return backend.to_numpy(xp.all(rows, axis=-1))


def diverged(recipe, what, step, updates):
    """The `Diverged` error that says where it happened, whether after an update, and what to do."""
    x = recipe.data.x_train
    xp = backend.namespace(x)
    # (N, *shape) -> (N,)
    bad = ~xp.all(xp.isfinite(x), axis=tuple(range(1, x.ndim)))
    if backend.to_numpy(xp.any(bad)):
        image = int(backend.to_numpy(xp.argmax(xp.astype(bad, x.dtype))))
        cause = f"; training image {image} holds a NaN or infinity: mend the data"
    elif updates == 0 and recipe.state is not None:
        cause = (
            "; the images and the weights are finite, so leave out the running statistics given as "
            "state, which need not fit the quantised weights"
        )
    elif updates == 0:
        cause = (
            "; the images and the weights are finite, but the network overflows: use smaller "
            "images, weights or perturbations"
        )
    else:
        rule = type(recipe.optimizer).__name__
        cause = f" with learning rate {recipe.optimizer.lr} ({rule}); try a smaller learning rate"
    done = f"after {updates} update{'s' if updates > 1 else ''}"
    done = "before anything was updated" if updates == 0 else done
    return Diverged(
        f"{recipe.estimator.label}: the {what} became NaN or infinite at step {step} of "
        f"{recipe.steps} ({done}){cause}"
    )

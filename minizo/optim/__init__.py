"""Optimisers: update rules as init / update pairs, in order of complexity.

init(theta, objective) -> state
update(grad, state, theta, progress) -> (theta, state)
rate(progress) -> float, the learning rate

They are pure: they return new arrays and leave their arguments unchanged. State fields are arrays
of the shape and dtype of theta, or the number of updates so far. ``progress`` = t / T in [0, 1]
sets the learning rate lr(t) = lr shape(t / T). ``init(theta, objective)`` is always given both;
only `Bop` uses the objective, to learn which weights are binary.

theta and grad are (d,), or (S, 1, d) where S runs are trained together and the rule is ``rowwise``
(`minizo.rules.Rule`).
"""

from .adam import Adam, AdamState, AdamW, AdamWState
from .bop import Bop, BopState
from .sgd import SGD, Momentum, MomentumState

__all__ = [
    "Adam",
    "AdamState",
    "AdamW",
    "AdamWState",
    "Bop",
    "BopState",
    "Momentum",
    "MomentumState",
    "OPTIMIZERS",
    "SGD",
]


def __dir__():
    return __all__


OPTIMIZERS = {"sgd": SGD, "momentum": Momentum, "adam": Adam, "adamw": AdamW, "bop": Bop}

"""Gradient estimators: one file a method, all with the same two functions.

init(objective, theta) -> state
estimate(objective, theta, batch, state, step) -> (Estimate, state)

An estimator is a frozen dataclass of hyper-parameters; its state is a NamedTuple of arrays.
"""

from .base import Estimate, Step
from .fogzo import FOGZO
from .spsa import SPSA
from .ste import STE

ESTIMATORS = {"ste": STE, "spsa": SPSA, "fogzo": FOGZO}

__all__ = ["ESTIMATORS", "FOGZO", "SPSA", "STE", "Estimate", "Step"]

"""The names that annotations use for what Python has no short name for.

They say what a function takes and gives, to readers and to mypy; nothing checks them when the code
runs. Shapes are said in the docstrings.
"""

import os
from typing import TYPE_CHECKING, Any, Protocol

# An array of NumPy, CuPy or another array-API library: no class is common to all of them.
Array = Any

# Arrays by name, such as the parameters of a layer.
Arrays = dict[str, Array]

# The sizes of the axes of an array, and those of several arrays by name.
Shape = tuple[int, ...]
Shapes = dict[str, Shape]

# The argument ``scale`` of a quantiser: an array, or several by name (`minizo.quantizers`).
Scale = Any

# What an estimator or an optimiser hands on to its next step: arrays, numbers, or tuples of them.
State = Any

# Where a file or a folder is.
FilePath = str | os.PathLike[str]

# What would be imported in a circle, or is slow to import, is a name for mypy alone.
if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure

    from .objective import Batch as Batch
    from .objective import Objective as Objective
else:
    Batch = Figure = Objective = Any


class Optimizer(Protocol):
    """What an optimiser has: those of `minizo.optim`, or one of your own.

    >>> from minizo.optim import SGD
    >>> rule: Optimizer = SGD(0.5, schedule="constant")
    >>> rule.update(4.0, rule.init(1.0), 1.0)
    (-1.0, ())
    """

    def init(self, theta: Array, objective: Any = None) -> State:
        """Return the state of a new run."""

    def update(
        self, grad: Array, state: State, theta: Array, progress: float = 0.0
    ) -> tuple[Array, State]:
        """Return the new theta and the next state."""

    def rate(self, progress: float) -> float:
        """Return the learning rate when the part ``progress`` of a run is over."""


class Loss(Protocol):
    """What a loss has: those of `minizo.losses`, or one of your own.

    >>> from minizo.losses import SoftmaxCrossEntropy
    >>> loss: Loss = SoftmaxCrossEntropy()
    """

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """Return the loss of outputs, and the cache."""

    def backward(self, cache: Any) -> Array:
        """Return the derivative of the loss with respect to the outputs."""

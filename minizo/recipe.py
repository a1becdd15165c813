"""What determines a run, what changes while it lasts, and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from . import backend
from .objective import Objective

COLUMNS = ("step", "train_loss", "test_accuracy", "forwards", "backwards", "macs", "seconds")


class Diverged(ArithmeticError):
    """The loss, the parameters or the state of an estimator became NaN or infinite."""


class TrainState(NamedTuple):
    """Everything that changes during a run; what a checkpoint holds.

    theta : ndarray (d,); optimizer, estimator : their states; step : int, steps done;
    forwards, backwards : int, passes done; seconds : float, spent in training steps;
    running : dict of str to ndarray, the network's running statistics;
    macs : int, multiply-accumulates of the estimator's own, beside the passes.
    """

    theta: object
    optimizer: object
    estimator: object
    step: int
    forwards: int
    backwards: int
    seconds: float
    running: Mapping
    macs: int


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
        ``forwards`` nor ``seconds``.
    settings : dict
        What determines the result.
    state : dict of str to ndarray
        The network's running statistics at the end, for ``objective.outputs(theta, x, state)``;
        empty for a network without batch normalisation.
    """

    objective: Objective
    theta: object
    records: dict
    settings: dict = field(default_factory=dict)
    state: dict = field(default_factory=dict)

    @property
    def weights(self):
        """The quantised weights by name, as the network computes with them."""
        return self.objective.quantize(self.theta)

    def final(self, column):
        """The last entry of a column of the records."""
        return self.records[column][-1]


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a run is made of: everything that determines its result."""

    objective: Objective
    data: object
    estimator: object
    optimizer: object
    steps: int
    batch: int
    seed: int
    record_every: int
    loss_examples: int | None = None
    augment: object = None
    start: object = None
    state: Mapping | None = None
    watch: dict = field(default_factory=dict)
    rng: str = "device"

    def settings(self):
        """The recipe in words, for records and for refusing a checkpoint of another run."""
        like = self.data.x_train  # theta has its library and dtype
        network = self.objective.network
        layers = {name: repr(layer) for name, layer in network.layers.items()}
        state = None
        if self.state:
            parts = [self.state[name] for name in network.running]
            state = backend.sha256(backend.namespace(like).concat(parts))
        return {
            "network": layers,
            "quantizer": repr(self.objective.quantizer),
            "quantized": list(self.objective.quantized),
            "loss": repr(self.objective.loss),
            "data": f"{self.data.name}, {self.data.y_train.shape[0]} training examples",
            "estimator": repr(self.estimator),
            "optimizer": repr(self.optimizer),
            "steps": self.steps,
            "batch": self.batch,
            "seed": self.seed,
            "record_every": self.record_every,
            "loss_examples": self.loss_examples,
            "augment": None if self.augment is None else repr(self.augment),
            "start": None if self.start is None else backend.sha256(self.start),
            "state": state,
            "watch": sorted(self.watch) or None,
            "backend": backend.namespace(like).__name__,
            "dtype": str(like.dtype),
            "rng": "host" if backend.is_numpy(backend.namespace(like)) else self.rng,
        }

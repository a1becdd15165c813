"""What a run is made of: everything that determines its result, in objects and in words."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from . import backend
from .objective import Objective


def in_words(part):
    """The ``repr`` of a part of a recipe, equal in every process and different for different parts.

    Functions are called by their names, without an address, no array is abridged, and an object
    without a ``repr`` of its own is its class and its attributes.

    >>> def double(x):
    ...     return 2 * x
    >>> in_words(double), in_words(None), in_words({"step": np.arange(2.0)})
    ('<function double>', 'None', "{'step': array([0., 1.])}")
    """
    if type(part).__repr__ is object.__repr__ and hasattr(part, "__dict__"):
        own = ", ".join(f"{name}={in_words(value)}" for name, value in vars(part).items())
        return f"{type(part).__qualname__}({own})"
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return re.sub(r"(<\w+ \S+) at 0x[0-9a-fA-F]+>", r"\1>", repr(part))


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a run is made of: everything that determines its result.

    All of it is as in `minizo.fit`, which has the same defaults.
    """

    objective: Objective
    data: object
    estimator: object
    optimizer: object
    steps: int
    batch: int = 100
    seed: int = 0
    record_every: int | None = None
    loss_examples: int | None = None
    augment: object = None
    start: object = None
    state: Mapping | None = None
    watch: Mapping | None = field(default_factory=dict)
    rng: str = "device"

    def first_theta(self):
        """Latent parameters (d,) before the first step: the start, or what the seed draws."""
        if self.start is not None:
            return backend.namespace(self.start).asarray(self.start, copy=True)
        return self.objective.network.init(self.seed, like=self.data.like)

    def settings(self):
        """The recipe in words, for records and for refusing a checkpoint of another run."""
        like = self.data.like
        xp = backend.namespace(like)
        scales = [xp.reshape(s, (-1,)) for s in self.objective.scales.values()]
        network = self.objective.network
        layers = {name: in_words(layer) for name, layer in network.layers.items()}
        state = None
        if self.state:
            parts = [self.state[name] for name in network.running]
            state = backend.sha256(xp.concat(parts))
        return {
            "network": layers,
            "tied": dict(network.tied) or None,
            "init_scale": network.init_scale,
            "quantizer": in_words(self.objective.quantizer),
            "quantized": list(self.objective.quantized),
            "exceptions": {n: in_words(own) for n, own in self.objective.exceptions.items()}
            or None,
            "loss": in_words(self.objective.loss),
            "data": f"{self.data.name}, {self.data.y_train.shape[0]} training examples",
            "data_sha256": self.data.digest,
            "estimator": in_words(self.estimator),
            "optimizer": in_words(self.optimizer),
            "steps": self.steps,
            "batch": self.batch,
            "seed": self.seed,
            "record_every": self.record_every,
            "loss_examples": self.loss_examples,
            "augment": None if self.augment is None else in_words(self.augment),
            "start": None if self.start is None else backend.sha256(self.start),
            "state": state,
            "watch": sorted(self.watch) or None,
            "backend": xp.__name__,
            "dtype": str(like.dtype),
            "rng": "host" if backend.is_numpy(xp) else self.rng,
            # after what they come from, so that a refusal names the cause
            "scales": backend.sha256(xp.concat(scales))[:16] if scales else None,
        }

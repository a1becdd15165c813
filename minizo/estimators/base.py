"""What every gradient estimator receives (`Step`) and returns (`Estimate`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from ..errors import require
from ..parallel import Pool
from ..rules import Rule
from ..settings import Count, Natural, Settings
from ..types import Array, Objective, Optimizer, State


class Estimate(NamedTuple):
    """An estimate of the gradient of F at theta, and what it cost.

    Parameters
    ----------
    grad : ndarray like theta
        The gradient for the optimiser.
    loss : ndarray of shape (), or (S,) or (S, 1) for theta (S, 1, d)
        Loss of the quantised network at theta, or (n-SPSA) the mean of the perturbed losses. It
        stays on the device, because reading it would make the device wait.
    forwards, backwards : int
        Cost in passes of the batch through the network.
    statistics : dict of str to ndarray
        Batch statistics of a forward at theta, for the running statistics of batch normalisation;
        empty for a network without any.
    macs : int
        The estimator's multiply-accumulates in addition to those passes.

    Examples
    --------
    >>> import numpy as np
    >>> estimate = Estimate(np.zeros(2), np.array(0.5), forwards=1, backwards=1)
    >>> estimate.forwards, estimate.macs
    (1, 0)
    """

    grad: Array
    loss: Array
    forwards: int
    backwards: int
    statistics: Mapping = MappingProxyType({})
    macs: int = 0


@dataclass(frozen=True)
class Step(Settings):
    """The point of a run at which an estimate is made: randomness, progress, workers, optimiser.

    Parameters
    ----------
    seed : int, or tuple of int
        Seed of the run; of each row where several runs are trained at once.
    index : int
        Number of the step, from 0.
    total : int
        Steps in the whole run.
    pool : Pool
        Where blocks of directions are evaluated; the result does not depend on it.
    per_epoch : int
        Steps in an epoch.
    optimizer, optimizer_state
        The rule that receives the gradient, and its state, for estimators that look ahead.
    rng : {"device", "host"}
        Where random numbers are made: `minizo.rng.Stream`.

    Examples
    --------
    >>> Step(seed=0, index=250, total=1000, per_epoch=100).progress
    0.25
    >>> Step(seed=0, index=250, total=1000, per_epoch=100).epoch
    2
    """

    seed: int = 0
    index: Natural = 0
    total: Count = 1
    pool: Pool = field(default_factory=Pool)
    per_epoch: Count = 1
    optimizer: Any = None
    optimizer_state: State = None
    rng: str = "device"

    @property
    def lr(self) -> float:
        """The optimiser's learning rate at this step."""
        self._require_optimizer()
        return self.optimizer.rate(self.progress)

    def ahead(self, grad: Array, theta: Array) -> Array:
        """Return where the optimiser would move ``theta`` if it were given ``grad`` now."""
        self._require_optimizer()
        return self.optimizer.update(grad, self.optimizer_state, theta, self.progress)[0]

    def _require_optimizer(self):
        if isinstance(self.seed, tuple):
            remedy = "runs trained together share none, but this rule reads it: rowwise = False"
        else:
            remedy = "this estimator looks ahead along the optimiser's step: Step(optimizer=...)"
        require(self.optimizer is not None, "step.optimizer", None, remedy)

    @property
    def progress(self) -> float:
        """t / T in [0, 1)."""
        return self.index / self.total

    @property
    def epoch(self) -> int:
        """Number of the epoch, from 0."""
        return self.index // self.per_epoch


class Estimator(Rule):
    """Base of every estimator: its gradient goes to the optimiser, and that is the step.

    A rule that *owns the update* replaces `update`: it takes a proximal step after the optimiser's,
    or starts from parameters other than theta. It depends on (theta, state, step) alone, so that a
    resumed run equals an uninterrupted one.

    Attributes
    ----------
    rowwise : bool
        Whether `estimate` takes theta of S runs, (S, 1, d), see `minizo.rules.Rule`. Then
        ``step.seed`` is a tuple of S seeds, and ``step.lr`` and ``step.ahead`` are not there. If
        the rule has an ``n``, that is how many directions it looks at.

    Notes
    -----
    A state is a tuple, a dict, arrays like theta, Python numbers, or nested ones of these; a
    checkpoint holds it. Write a rule as a frozen dataclass: a checkpoint knows its run by the
    rule's ``repr``.

    Examples
    --------
    The shortest rule of one's own changes what another gives:

    >>> from minizo.estimators import STE
    >>> class ClippedSTE(STE):
    ...     def estimate(self, objective, theta, batch, state, step):
    ...         estimate, state = super().estimate(objective, theta, batch, state, step)
    ...         return estimate._replace(grad=estimate.grad.clip(-0.01, 0.01)), state
    >>> ClippedSTE().label
    'ClippedSTE'

    The smallest from nothing, which measures the loss and gives no gradient:

    >>> import numpy as np
    >>> class Nothing(Estimator):
    ...     def init(self, objective, theta):
    ...         return ()
    ...     def estimate(self, objective, theta, batch, state, step):
    ...         return Estimate(0.0 * theta, objective.evaluate(theta, batch), 1, 0), state
    >>> from minizo.optim import SGD
    >>> Nothing().update(None, SGD(0.1), np.ones(2), (), np.array([1.0, 2.0]), Step())[0]
    array([0.9, 1.9])
    """

    init: ClassVar[Callable[..., State]]
    estimate: ClassVar[Callable[..., tuple[Estimate, State]]]

    @property
    def label(self) -> str:
        """Return the name that tables and legends show: the class's unless a rule says more."""
        return type(self).__name__

    def update(
        self,
        objective: Objective,
        optimizer: Optimizer,
        grad: Array,
        state: State,
        theta: Array,
        step: Step,
    ) -> tuple[Array, State]:
        """Return theta <- optimizer(theta, g), and the optimiser's next state.

        Parameters
        ----------
        objective : Objective
            Calibrated, at this point of the run; it knows which slices of theta are quantised, and
            how.
        optimizer
            From `minizo.optim`; ``state`` is its state.
        grad, theta : ndarray (d,)
            The gradient that `estimate` returned at theta, and theta.
        step : Step

        Returns
        -------
        theta : ndarray (d,)
            A new array; the old one is unchanged.
        state
            The optimiser's next state.
        """
        return optimizer.update(grad, state, theta, step.progress)

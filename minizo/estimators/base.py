"""What every gradient estimator is given and gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..population import Pool


class Estimate(NamedTuple):
    """What an estimator says about F at theta.

    grad : ndarray like theta
        Goes to the optimiser in the place of a gradient.
    loss : ndarray of shape ()
        The loss it met: of the quantised network at theta, or (n-SPSA) the mean over the perturbed
        ones. Left on the device: reading it would make the device wait.
    forwards, backwards : int
        What the estimate cost, in passes of the batch through the network.
    statistics : dict of str to ndarray
        What a forward at theta saw of the batch, for the running statistics of batch
        normalisation; empty for a network without.
    """

    grad: object
    loss: object
    forwards: int
    backwards: int
    statistics: Mapping = MappingProxyType({})


@dataclass(frozen=True)
class Step:
    """Where in a run an estimate is made: its randomness, its progress, and its workers.

    Parameters
    ----------
    seed : int
        Seed of the run.
    index : int
        Number of the step, from 0.
    total : int
        Steps in the whole run.
    pool : Pool
        Where blocks of directions are evaluated. The result does not depend on it.
    """

    seed: int = 0
    index: int = 0
    total: int = 1
    pool: Pool = field(default_factory=Pool)

    @property
    def progress(self):
        """t / T in [0, 1)."""
        return self.index / self.total

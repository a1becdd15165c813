"""The small problems on which rules are checked."""

import copy
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from .. import models, optim, quantizers
from ..contracts import check_estimate, check_like, check_pair, check_state
from ..errors import InputError
from ..estimators import Step
from ..group import row_of
from ..layers import BatchNorm1d, Flatten, Layer, Linear, ReLU
from ..losses import MeanSquaredError
from ..network import Network
from ..objective import Batch, Objective
from ..parallel import alone
from .common import stacked

INPUTS, CLASSES, EXAMPLES, STEPS = 6, 3, 10, 3
QUANTIZERS = (
    quantizers.MidRise("hardtanh"),
    quantizers.Sign("hardtanh"),
    quantizers.DoReFa("hardtanh"),
    quantizers.FullPrecision(),
)


@dataclass(frozen=True)
class Meter(Layer):
    """A layer that passes everything on, and counts the examples that go through it."""

    seen: object = field(default_factory=lambda: SimpleNamespace(forward=0, backward=0))

    def forward(self, params, x, reduce=alone):
        """x itself; of (..., N, K) all but the last axis count."""
        self.seen.forward += int(np.prod(x.shape[:-1]))
        return x, None

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dy itself."""
        self.seen.backward += int(np.prod(dy.shape[:-1]))
        return dy, {}


@dataclass(frozen=True)
class Flat:
    """A loss that is 0 everywhere."""

    def forward(self, outputs, labels):
        """0 for each network, like a loss of outputs (..., N, K)."""
        return 0.0 * outputs[..., 0, 0], outputs

    def backward(self, cache):
        """Zeros."""
        return 0.0 * cache


class Problem(NamedTuple):
    """objective : Objective, calibrated; theta : ndarray (d,); batches : list of Batch."""

    objective: Objective
    theta: object
    batches: list


def problem(quantizer, dtype=np.float64, seed=0, network=None, loss=None, quantized=None):
    """Return a calibrated objective on random data, theta, and a few batches."""
    gen = np.random.default_rng(seed)
    network = models.mlp(INPUTS, 5, CLASSES) if network is None else network
    options = {} if loss is None else {"loss": loss}
    objective = Objective(network, quantizer, quantized, **options)
    theta = objective.network.init(seed, like=np.empty(0, dtype))
    # biases away from 0
    theta = (theta + 0.1 * gen.normal(size=theta.shape)).astype(dtype)
    batches = [
        Batch(
            gen.normal(size=(EXAMPLES, 1, 1, INPUTS)).astype(dtype),
            gen.integers(0, CLASSES, EXAMPLES),
        )
        for _ in range(STEPS)
    ]
    return Problem(objective.calibrate(theta), theta, batches)


def quadratic():
    """Return a `Problem` in full precision with a loss that is quadratic in theta."""
    layers = {"flatten": Flatten(), "fc": Linear(INPUTS, CLASSES)}
    network = Network(layers, (1, 1, INPUTS))
    return problem(quantizers.FullPrecision(), network=network, loss=MeanSquaredError())


def metered(normalised=False):
    """Return a network that counts examples, and what it has counted."""
    meter, norm = Meter(), {"bn": BatchNorm1d(5)} if normalised else {}
    layers = {"flatten": Flatten(), "fc1": Linear(INPUTS, 5), **norm, "act": ReLU()}
    layers |= {"fc2": Linear(5, CLASSES), "meter": meter}
    return Network(layers, (1, 1, INPUTS)), meter.seen


def accepted(rule, dtype=np.float64, **options):
    """Return the `Problem` of the first quantiser that ``rule.init`` accepts."""
    for quantizer in QUANTIZERS:
        found = problem(quantizer, dtype, **options)
        try:
            rule.init(*arguments_of_init(rule, found))
        except InputError as error:
            refused = error
        else:
            return found
    raise refused


def arguments_of_init(rule, problem):
    """Return what ``rule.init`` is called with: an estimator's, or an optimiser's."""
    pair = problem.objective, problem.theta
    return pair if hasattr(rule, "estimate") else pair[::-1]


class Visit(NamedTuple):
    """One step of an estimator: what it was given, and what it answered."""

    objective: Objective
    theta: object
    batch: Batch
    state: object
    step: Step
    estimate: object
    after: object
    theta_after: object
    optimizer_state: object

    def given(self):
        """The arguments of ``estimate``, by name."""
        names = "objective", "theta", "batch", "state", "step"
        return {name: getattr(self, name) for name in names}


def walk(rule, problem, seed=5, steps=STEPS, ahead=True):
    """Take some steps of Adam with an estimator's gradients: a list of `Visit`.

    Parameters
    ----------
    rule : estimator
    problem : Problem
        Of one run, or, with a tuple of seeds, of several as `rows` gives it.
    seed : int, or tuple of int
    steps : int
    ahead : bool
        Whether the estimator may look ahead along the optimiser's step.
    """
    objective, theta, batches = problem
    optimizer, runs = optim.Adam(0.02), len(seed) if isinstance(seed, tuple) else 1
    state = check_state(rule, rule.init(objective, theta))
    memory, visits = optimizer.init(theta), []
    for index in range(steps):
        pair = {"optimizer": optimizer, "optimizer_state": memory} if ahead else {}
        step = Step(seed, index, steps + 1, per_epoch=2, **pair)
        here = objective.at(step.progress)
        # copies, so that what is kept here stays as it is, whatever a rule does
        answer = rule.estimate(here, *copy.deepcopy((theta, batches[index], state)), step)
        estimate, after = check_estimate(rule, answer, theta, runs)
        given = copy.deepcopy((estimate.grad, memory, theta))
        answer = rule.update(here, optimizer, *given, step)
        new, memory_after = check_pair(rule, "update", answer, "theta", object)
        check_like(f"theta after {type(rule).__name__}.update", new, "theta before", theta)
        visits.append(Visit(here, theta, batches[index], state, step, estimate, after, new, memory))
        theta, state, memory = new, after, memory_after
    return visits


def rows(problems):
    """Return the `Problem` of several runs in one, theta (S, 1, d), batches (S, 1, N, ...)."""
    scales = stacked([one.objective.scales for one in problems])
    objective = replace(problems[0].objective, scales=scales)
    batches = [stacked(list(batch)) for batch in zip(*(p.batches for p in problems), strict=True)]
    return Problem(objective, stacked([one.theta for one in problems]), batches)


def alone_of(visit, row):
    """Return what a row of a visit has to show: gradient, loss, theta and state."""
    estimate = visit.estimate
    shown = {"grad": estimate.grad, "theta": visit.theta_after, "state": visit.after}
    shown = row_of(shown, row)
    return shown | {"loss": np.reshape(np.asarray(estimate.loss), (-1,))[row]}

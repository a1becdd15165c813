"""Proximal rules: maps towards the levels, before or after a step of the optimiser.

One update of any of these rules, on the quantised weights, is

    theta <- after(optimiser(before(theta), g)),    g = dL/dw at w = seen(theta)

with three maps towards the levels. Each rule has one or two; the others are identities:

    rule                    seen(theta)               before(theta)    after(theta)
    ProxQuant               theta                     theta            prox_{eta lam_t R}(theta)
    ProxConnect (lazy)      prox_{lam_t R}(theta)     theta            theta
    BinaryConnect           Q(theta)                  theta            theta
    BinaryRelax             prox_{lam_t R_2}, then Q  theta            theta
    PARQ                    ramp_{iota(t)}(theta)     theta            theta
    mirror descent          tanh(sharpness(t) theta)  theta            theta
    blended coarse gradient Q(theta)                  blend_rho(theta) theta

In the lazy rules theta keeps what the map takes away, and the method is dual averaging:
theta_0 - theta is the sum of all steps so far, and seen(theta) minimises that linear loss plus a
proximal term. Parameters that are not quantised follow the optimiser alone. Records and weights are
always those of the quantised network, L(Q(theta)).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log
from types import MappingProxyType
from typing import Annotated

from .. import backend, prox
from ..errors import InputError, choose, require, resolve
from ..quantizers import FullPrecision
from ..quantizers.base import Quantizer
from ..quantizers.fitted import Fitted
from ..settings import Count
from ..types import Array, Batch, Objective, Optimizer, State
from .base import Estimate, Estimator, Step

PROX = ("l1", "l2")
MOST = 700.0  # exp of more overflows


@dataclass(frozen=True, eq=False)
class RuleAsQuantizer:
    """A rule's map ``seen``, presented to the objective as its quantiser.

    Its derivative counts as 1, as in all of these methods: the gradient at seen(theta) is used as
    that of the latent weights.
    """

    rule: object
    quantizer: object
    step: object

    def quantize(self, x, alpha):
        """Return seen(x): (..., m) -> (..., m)."""
        return self.rule.seen(x, self.quantizer, alpha, self.step)

    def backward(self, x, alpha, dw):
        """Return dw: the derivative counts as 1."""
        return dw, {}

    def __getattr__(self, name):  # everything else is the quantiser's
        return getattr(self.quantizer, name)


def on_quantized(objective, theta, function):
    """Return a copy of theta whose quantised slices are function(slice, quantizer, alpha)."""
    xp = backend.namespace(theta)
    new = xp.asarray(theta, copy=True)
    for name in objective.quantized:
        target = new[..., objective.network.slices[name]]
        x, quantizer = objective.cut(theta, name), objective.quantizer_of(name)
        weights = function(x, quantizer, objective.scales[name])
        target[...] = xp.reshape(weights, target.shape)  # (..., m) or (..., F, n) -> (..., m)
    return new


@dataclass(frozen=True, kw_only=True)
class Proximal(Estimator):
    """A rule with maps towards the levels, all three of which are identities here.

    Parameters
    ----------
    freeze : float, optional
        Part of the run, in (0, 1], after which the quantised weights are fixed at Q(theta) while
        everything else trains on. ``None``: never.
    clip : float, optional
        Clip the quantised weights to +-clip alpha after each step (1 in the code of ProxQuant and
        BinaryConnect). Clipped weights are not a sum of steps, so a lazy rule is then not dual
        averaging.
    """

    rowwise = True

    freeze: Annotated[float, "(0, 1]"] | None = None
    clip: Annotated[float, "(0, inf]"] | None = None

    tosses = False  # whether `seen` is Q alone, so that Q may draw its levels

    def seen(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return the weights at which the gradient is taken: (..., m) -> (..., m)."""
        return x

    def sees_levels(self, step: Step) -> bool:
        """Return whether `seen` is Q in this step: its forward is then the quantised network's."""
        return False

    def before(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return where the optimiser's step begins: (..., m) -> (..., m)."""
        return x

    def after(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step, rate: float) -> Array:
        """Return where the step, of learning rate ``rate``, ends: (..., m) -> (..., m)."""
        return x

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the empty state; refuse a quantiser that learns or draws."""
        learning = [type(own).__name__ for own in objective.network.companions.values()]
        if learning:
            raise InputError(
                f"{self.label} treats the gradient at the weights as that of the latent ones, but "
                f"{learning[0]} learns parameters of its own: use the estimator ste, spsa or fogzo"
            )
        drawn = [type(own).__name__ for own in objective.quantizers if own.random]
        if drawn and not self.tosses:
            raise InputError(
                f"{self.label} moves weights towards levels that stay, and {drawn[0]} draws them: "
                "use the estimator binaryconnect, ste, spsa or fogzo"
            )
        return ()

    def freezes(self, step: Step) -> int:
        """Return the number of the first step with frozen weights."""
        if self.freeze is None:
            return step.total + 1
        return max(1, round(self.freeze * step.total))

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state.

        Cost: 1 forward, 1 backward. A network with running statistics takes one more forward, at
        Q(theta), for the statistics, unless seen(theta) is Q(theta).
        """
        frozen = step.index >= self.freezes(step)

        def view(quantizer):
            return FullPrecision() if frozen else RuleAsQuantizer(self, quantizer, step)

        viewed = replace(
            objective,
            quantizer=view(objective.quantizer),
            exceptions={name: view(own) for name, own in objective.exceptions.items()},
        )
        loss, grad, seen = viewed.ste_gradient(theta, batch)
        if not seen or frozen or self.sees_levels(step):
            return Estimate(grad, loss, forwards=1, backwards=1, statistics=seen), state
        seen = objective.statistics(theta, batch)
        return Estimate(grad, loss, forwards=2, backwards=1, statistics=seen), state

    def update(
        self,
        objective: Objective,
        optimizer: Optimizer,
        grad: Array,
        state: State,
        theta: Array,
        step: Step,
    ) -> tuple[Array, State]:
        """Return the next theta and the optimiser's next state; see `Estimator.update`."""
        slices = objective.network.slices
        start = on_quantized(
            objective, theta, lambda x, quantizer, alpha: self.before(x, quantizer, alpha, step)
        )
        new, state = optimizer.update(grad, state, start, step.progress)
        first = self.freezes(step)
        if step.index >= first:
            for name in objective.quantized:
                new[..., slices[name]] = theta[..., slices[name]]
            return new, state
        rate = optimizer.rate(step.progress)

        def settle(x, quantizer, alpha):
            x = self.after(x, quantizer, alpha, step, rate)
            if self.clip is not None:
                x = backend.namespace(x).clip(x, -self.clip * alpha, self.clip * alpha)
            return quantizer.quantize(x, alpha) if step.index + 1 == first else x

        return on_quantized(objective, new, settle), state


@dataclass(frozen=True)
class Homotopy(Proximal):
    """A rule with a W-shaped regulariser whose strength lam_t grows over the run.

    Parameters
    ----------
    freeze, clip
        As in `Proximal`.
    prox : {"l1", "l2"}
        Regulariser, from `minizo.prox`, in units of the quantiser's scale alpha: R_1 is alpha
        sum|x - q|, so that both are alpha^2 times their value at x / alpha and one strength suits
        tensors of all scales (this package's choice; the paper has alpha = 1).
    lam : float
        Strength; infinity is allowed.
    homotopy : {"step", "epoch", "constant", "geometric"} or callable
        lam_t = lam t with t the number of the step, from 0 (the paper), or of the epoch, from 0
        (the authors' code); lam; or lam growth^t, t the number of the step.
    growth : float
        Factor a step of the geometric homotopy, at least 1.
    convention : {"half", "full"}
        Whether R_2 has its factor 1/2; see `minizo.prox`.
    rounds : int
        For a quantiser whose levels are fitted to the weights: how often to alternate between
        fitting the levels and moving towards them (2 in the paper, 1 in the authors' ternary code).
        Fixed levels need one round.
    """

    prox: str = "l1"
    lam: Annotated[float, "[0, inf]"] = 1e-2
    homotopy: str = "step"
    growth: Annotated[float, "[1, inf)"] = 1.01
    convention: str = "half"
    rounds: Count = 2

    # settings that have an effect only with some values of another
    only_with = MappingProxyType(
        {"growth": ("homotopy", ("geometric",)), "convention": ("prox", ("l2",))}
    )

    def __post_init__(self):
        super().__post_init__()
        known = " or ".join(PROX)
        require(self.prox in PROX, "prox", self.prox, f"it must be {known}")
        resolve("homotopy", self.homotopy, HOMOTOPIES, Callable)
        choose("convention", self.convention, prox.CONVENTIONS)

    def strength(self, step: Step) -> float:
        """Return lam_t."""
        factor = resolve("homotopy", self.homotopy, HOMOTOPIES, Callable)(step, self.growth)
        return self.lam * factor if factor else 0.0  # also for an infinite lam

    def towards(self, x: Array, quantizer: Quantizer, alpha: Array, strength: float) -> Array:
        """Return the prox of ``strength`` times the regulariser: (..., m) -> (..., m)."""
        u = x
        for _ in range(self.rounds if isinstance(quantizer, Fitted) else 1):
            # q = Q(u),  u = prox towards q from x
            q = quantizer.quantize(u, alpha)
            if self.prox == "l1":
                u = prox.prox_l1(x, q, strength * alpha)
            else:
                u = prox.prox_l2(x, q, strength, self.convention)
        return u


HOMOTOPIES = {
    "step": lambda step, growth: step.index,
    "epoch": lambda step, growth: step.epoch,
    "constant": lambda step, growth: 1,
    "geometric": lambda step, growth: exp(min(MOST, step.index * log(growth))),
}


def needs_equal_steps(rule, objective):
    """Refuse an objective with a quantiser that is not a staircase of equal steps."""
    for quantizer in objective.quantizers:
        if getattr(quantizer, "half_step", None) is None:
            raise InputError(
                f"{rule} needs levels at equal distances, and {type(quantizer).__name__} has none: "
                "use the quantiser sign, midrise or midtread"
            )

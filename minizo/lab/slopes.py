"""The sign of the slope that FOGZO measures along its guide.

    ghat = g / ||g||,    slope = [F(theta + eps ghat) - F(theta - eps ghat)] / 2

g is the straight-through gradient over the parameters that are perturbed, and eps holds a size for
each of them. At beta = 1 FOGZO's gradient is slope / eps ghat, entry by entry. Where the slope is
positive the loss rises along eps ghat, as the STE expects; where it is negative the STE is wrong
there, and FOGZO turns around. If it never is negative, FOGZO at beta = 1 changes the length alone:
with the scaled guide, ghat = eps g / ||eps g||, of the STE's own direction g; with the default one
of g / eps, which the different eps of tensors turn away from g.
"""

from dataclasses import dataclass
from typing import NamedTuple

from .. import backend
from ..estimators import Estimate
from ..estimators.base import Step
from ..estimators.fogzo import FOGZO
from ..estimators.spsa import SPSAState, both_sides
from ..types import Array, Batch, Objective, State
from .beside import Beside


class SlopeState(NamedTuple):
    """rule : its own state; fogzo : `SPSAState`; negative : ndarray (...), steps so far."""

    rule: State
    fogzo: SPSAState
    negative: Array


def slope_along(objective: Objective, theta: Array, batch: Batch, eps: Array, ghat: Array) -> Array:
    """Return the slope (...) of F along ghat at theta, both (..., d). Cost: 2 forwards."""
    # one direction: (d,) -> (1, d); (S, 1, d) is one direction a row already
    v = ghat if ghat.ndim > 1 else ghat[None, :]
    above, below = both_sides(objective, theta, batch, eps, v)
    return backend.namespace(theta).reshape(0.5 * (above - below), theta.shape[:-1])


@dataclass(frozen=True)
class CountNegativeSlopes(Beside):
    """An estimator, unchanged, whose state also counts the steps of negative slope along ghat.

    Parameters
    ----------
    rule
        As in `Beside`.
    fogzo : FOGZO
        Whose ``eps``, ``eps_scale``, ``perturb`` and ``guide`` define the slope.

    Notes
    -----
    Cost of an estimate: the rule's, and 3 forwards and 1 backward, which are counted.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> objective = minizo.Objective(minizo.models.mlp(784, 10, 10), minizo.quantizers.MidRise())
    >>> rule = CountNegativeSlopes(minizo.STE(), minizo.FOGZO(eps=2.0))  # far beyond all weights
    >>> run = minizo.fit(
    ...     objective, data, rule, minizo.optim.Adam(0.01), steps=20, record_every=10,
    ...     watch={"negative": lambda objective, state: state.estimator.negative},
    ... )
    >>> run.records["negative"]
    [0.0, 1.0, 3.0]
    """

    fogzo: FOGZO = FOGZO(perturb="quantized")
    rowwise = Beside.rowwise

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the state of a new run."""
        xp = backend.namespace(theta)
        zero = xp.zeros_like(xp.sum(theta, axis=-1))
        fogzo = self.fogzo.init(objective, theta)
        return SlopeState(self.rule.init(objective, theta), fogzo, zero)

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Return the rule's own estimate, and the next state."""
        g = objective.ste_gradient(theta, batch).gradient
        ghat = self.fogzo.ghat(g, state.fogzo)
        slope = slope_along(objective, theta, batch, state.fogzo.eps, ghat)
        negative = state.negative + backend.namespace(theta).astype(slope < 0.0, theta.dtype)
        estimate, rule = self.rule.estimate(objective, theta, batch, state.rule, step)
        estimate = estimate._replace(
            forwards=estimate.forwards + 3, backwards=estimate.backwards + 1
        )
        return estimate, SlopeState(rule, state.fogzo, negative)


@dataclass(frozen=True)
class LengthAlone(FOGZO):
    """G = |F(theta + eps ghat) - F(theta - eps ghat)| / (2 eps) ghat: FOGZO's length, STE's sign.

    The control for the sign: FOGZO at beta = 1 with every negative slope taken as positive. Where
    no slope is negative the two are equal. With ``guide="scaled"`` it has the STE's direction (see
    the module), and is also the control for the length: it differs from the normalised STE in that
    alone. Parameters that are not perturbed keep their
    back-propagated gradient.

    Parameters
    ----------
    eps, eps_scale, perturb, guide
        As in `FOGZO`; the others have no effect.

    Notes
    -----
    Cost of an estimate: 3 forwards, 1 backward.

    Examples
    --------
    >>> LengthAlone(perturb="quantized").label
    "FOGZO's length alone"
    """

    rowwise = True

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "FOGZO's length alone"

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state."""
        loss, g, seen = objective.ste_gradient(theta, batch)
        ghat = self.ghat(g, state)
        slope = slope_along(objective, theta, batch, state.eps, ghat)
        # G = |F+ - F-| / (2 eps) ghat
        length = backend.namespace(theta).abs(slope)[..., None] / state.eps
        grad = length * ghat + (1.0 - state.moved) * g
        return Estimate(grad, loss, forwards=3, backwards=1, statistics=seen), state

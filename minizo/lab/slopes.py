"""The sign of the slope that FOGZO measures along the straight-through gradient.

    ghat = g / ||g||,    slope = [F(theta + eps ghat) - F(theta - eps ghat)] / 2

eps holds a size for each parameter, and g is taken over the parameters that are perturbed. Where
the slope is positive, the loss rises along the STE's direction and the STE's step goes down. Where
it is negative, the STE is wrong, and FOGZO at beta = 1 turns around. If it never is, FOGZO is the
STE with other lengths.
"""

from dataclasses import dataclass
from typing import NamedTuple

from .. import backend
from ..estimators import Estimate, Estimator
from ..estimators.fogzo import FOGZO
from ..estimators.spsa import SPSAState, both_sides
from ..norms import unit


class SlopeState(NamedTuple):
    """rule : its own state; sizes : `SPSAState`; negative : ndarray (...), steps so far."""

    rule: object
    sizes: SPSAState
    negative: object


def along_guide(objective, theta, batch, sizes):
    """Return the slope (...) of F along ghat at theta (..., d), and ghat.

    Cost: 3 forwards, 1 backward.
    """
    xp = backend.namespace(theta)
    ghat = unit(sizes.moved * objective.ste_gradient(theta, batch).gradient)
    # one direction: (d,) -> (1, d); (S, 1, d) is one direction a row already
    v = ghat if ghat.ndim > 1 else ghat[None, :]
    above, below = both_sides(objective, theta, batch, sizes.eps, v)
    return xp.reshape(0.5 * (above - below), theta.shape[:-1]), ghat


@dataclass(frozen=True)
class CountNegativeSlopes(Estimator):
    """An estimator, unchanged, whose state also counts the steps of negative slope along ghat.

    Parameters
    ----------
    rule : estimator
        From `minizo.estimators`.
    sizes : FOGZO
        Whose ``eps``, ``eps_scale`` and ``perturb`` define the slope.

    Notes
    -----
    Cost of an estimate: the rule's, and 3 forwards and 1 backward, which are counted.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> objective = minizo.Objective(minizo.models.mlp(784, 10, 10), minizo.quantizers.MidRise())
    >>> rule = CountNegativeSlopes(minizo.STE())
    >>> run = minizo.fit(
    ...     objective, data, rule, minizo.optim.Adam(0.01), steps=20, record_every=10,
    ...     watch={"negative": lambda objective, state: state.estimator.negative},
    ... )
    >>> run.records["negative"]
    [0.0, 0.0, 0.0]
    """

    rule: object
    sizes: FOGZO = FOGZO(perturb="quantized")

    @property
    def rowwise(self):
        """Whether the rule is."""
        return self.rule.rowwise

    @property
    def label(self):
        """Return the label of the rule."""
        return self.rule.label

    def init(self, objective, theta):
        """Return the state of a new run."""
        xp = backend.namespace(theta)
        zero = xp.zeros_like(xp.sum(theta, axis=-1))
        sizes = self.sizes.init(objective, theta)
        return SlopeState(self.rule.init(objective, theta), sizes, zero)

    def estimate(self, objective, theta, batch, state, step):
        """Return the rule's own estimate, and the next state."""
        slope, _ = along_guide(objective, theta, batch, state.sizes)
        negative = state.negative + backend.namespace(theta).astype(slope < 0.0, theta.dtype)
        estimate, rule = self.rule.estimate(objective, theta, batch, state.rule, step)
        estimate = estimate._replace(
            forwards=estimate.forwards + 3, backwards=estimate.backwards + 1
        )
        return estimate, SlopeState(rule, state.sizes, negative)

    def update(self, objective, optimizer, grad, state, theta, step):
        """Return the rule's own update."""
        return self.rule.update(objective, optimizer, grad, state, theta, step)


@dataclass(frozen=True)
class LengthAlone(FOGZO):
    """G = |F(theta + eps ghat) - F(theta - eps ghat)| / (2 eps) ghat: FOGZO's length, STE's sign.

    The control for the sign: FOGZO at beta = 1 with every negative slope taken as positive. Where
    no slope is negative the two are equal. Parameters that are not perturbed keep their
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
    def label(self):
        """Return the label that tables and legends show."""
        return "FOGZO's length alone"

    def estimate(self, objective, theta, batch, state, step):
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state."""
        xp = backend.namespace(theta)
        loss, g, seen = objective.ste_gradient(theta, batch)
        guide = g if self.guide == "gradient" else state.eps * g
        ghat = unit(state.moved * guide)
        v = ghat if ghat.ndim > 1 else ghat[None, :]
        above, below = both_sides(objective, theta, batch, state.eps, v)
        # G = |F+ - F-| / (2 eps) ghat
        length = xp.reshape(xp.abs(above - below), (*theta.shape[:-1], 1))
        grad = length / (2.0 * state.eps) * ghat + (1.0 - state.moved) * g
        return Estimate(grad, loss, forwards=3, backwards=1, statistics=seen), state

"""The straight-through estimator, and its direction alone."""

from dataclasses import dataclass

from ..norms import unit
from ..types import Array, Batch, Objective, State
from .base import Estimate, Estimator, Step
from .spsa import moved


@dataclass(frozen=True)
class STE(Estimator):
    """g = J(theta)^T dL/dw at w = Q(theta), J the derivative of the quantiser's surrogate.

    The forward pass uses the quantised weights; the backward pass treats the quantiser as the
    surrogate. The estimate is biased: in general it is the gradient of no function.

    Cost of an estimate: 1 forward, 1 backward.

    References
    ----------
    G. Hinton, "Neural networks for machine learning", lecture 9c, 2012.
    Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic
    neurons for conditional computation", 2013, section 4.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.MidRise(bits=2))
    >>> run = minizo.fit(objective, data, minizo.STE(), minizo.optim.Adam(0.01), steps=30)
    >>> round(run.final("train_loss"), 1), run.records["backwards"][-1]
    (1.2, 30)
    """

    rowwise = True

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the empty state."""
        return ()

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state."""
        loss, grad, seen = objective.ste_gradient(theta, batch)
        return Estimate(grad, loss, forwards=1, backwards=1, statistics=seen), state


@dataclass(frozen=True)
class NormalisedSTE(STE):
    """G = g / ||g||: the direction of the STE gradient g, without its length.

    Parameters
    ----------
    over : str
        Which parameters g is normalised over: ``"all"``, ``"quantized"``, or patterns of names, as
        ``perturb`` of `FOGZO`, whose control has the same. The others keep their gradient.

    Notes
    -----
    It is FOGZO's guide alone: FOGZO at beta = 1 with one eps measures the slope of F along this
    direction (with an eps for each tensor, along eps ghat), and this rule measures nothing. So it
    is the control for a comparison of FOGZO with the STE, in which a part of the difference may be
    due to the missing length. G does not depend on the scale of the loss, and is 0 where g is 0.
    With several runs at once, each has its own ||g||.

    Cost of an estimate: 1 forward, 1 backward, as for `STE`.

    References
    ----------
    N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order
    information", NeurIPS 2025, arXiv 2510.23926 (the guide of FOGZO).

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.MidRise(bits=2))
    >>> rule = minizo.NormalisedSTE()
    >>> run = minizo.fit(objective, data, rule, minizo.optim.Adam(0.01), steps=30)
    >>> round(run.final("train_loss"), 1), run.records["backwards"][-1]
    (1.2, 30)
    """

    over: str = "all"
    rowwise = True

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "normalised STE"

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the state: 1 where a parameter is normalised, 0 where it is not, like theta."""
        return moved(objective, theta, self.over)

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state."""
        estimate, state = super().estimate(objective, theta, batch, state, step)
        g, m = estimate.grad, state
        # G = g / ||g||; what is not normalised keeps its gradient
        grad = unit(g) if self.over == "all" else unit(m * g) + (1.0 - m) * g
        return estimate._replace(grad=grad), state

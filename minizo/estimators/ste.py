"""The straight-through estimator."""

from dataclasses import dataclass

from .base import Estimate, Estimator


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

    def init(self, objective, theta):
        """Return the empty state."""
        return ()

    def estimate(self, objective, theta, batch, state, step):
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state."""
        loss, grad, seen = objective.ste_gradient(theta, batch)
        return Estimate(grad, loss, forwards=1, backwards=1, statistics=seen), state

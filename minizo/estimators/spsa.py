"""n-SPSA: the zeroth-order estimator."""

from dataclasses import dataclass
from typing import NamedTuple

from .. import backend
from ..errors import choose, require
from ..laws import LAWS
from ..population import Query, two_point_gradient
from ..settings import Count, Positive
from .base import Estimate, Estimator

PERTURB = ("all", "quantized")


class SPSAState(NamedTuple):
    """eps : ndarray like theta, size of each parameter's perturbation, 0 where it is left alone."""

    eps: object


@dataclass(frozen=True)
class SPSA(Estimator):
    """G = (1/n) sum_i [F(theta + eps u_i) - F(theta - eps u_i)] / (2 eps) u_i.

    The coordinates of u_i are independent, symmetric, of zero mean and unit variance.

    Parameters
    ----------
    n : int
        Directions a step.
    law : {"matched", "rademacher", "uniform", "triangular", "gaussian", "logistic"}
        Law of the coordinates; ``"matched"`` takes the one that the quantiser's surrogate implies.
    eps : float, optional
        One perturbation size for every parameter. By default each tensor has its own, matched to
        the quantiser's surrogate: eps = alpha epsbar.
    eps_scale : float
        Factor on eps.
    perturb : {"all", "quantized"}
        Which parameters are perturbed. The others get a zero gradient: they stay as they are.

    Raises
    ------
    InputError
        For parameters out of range.

    Notes
    -----
    For which function is it unbiased? Not for F, whose gradient is 0 almost everywhere, and not
    for F smoothed by the law p of u either, unless that is Gaussian. Coordinate i of E[G] is the
    i-th partial derivative of F smoothed by p in the other coordinates and by the *zero-bias* law
    q(z) = int_z^inf s p(s) ds in coordinate i. For a linear or quadratic F that is the gradient
    itself.

    How noisy is it? For a linear F with gradient g and one eps, E||G - g||^2 / ||g||^2 is about
    d / n. With an eps of its own for each tensor it is about d_eff / n,
    d_eff = ||eps g||^2 ||1/eps||^2 / ||g||^2: the difference that one layer makes is divided by the
    eps of another. For the 784-10-10 network, whose two eps differ by a factor of 9, d_eff is some
    20 to 30 times d (`python -m minizo.lab.microscope` measures it).

    Cost of an estimate: 2n forwards, no backward. For a network with running statistics one more
    forward, at theta itself, sees what goes into them.

    References
    ----------
    J. C. Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
    approximation", IEEE Transactions on Automatic Control, 1992, equation 2.2.
    N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order
    information", NeurIPS 2025 (n-SPSA with the law matched to the STE).
    """

    rowwise = True

    n: Count = 1
    law: str = "matched"
    eps: Positive | None = None
    eps_scale: Positive = 1.0
    perturb: str = "all"

    def __post_init__(self):
        super().__post_init__()
        if self.law != "matched":
            choose("law", self.law, LAWS | {"matched": None})
        require(self.perturb in PERTURB, "perturb", self.perturb, f"choose from {PERTURB}")

    @property
    def label(self):
        """What tables and legends call it."""
        return f"n-SPSA n={self.n}"

    def init(self, objective, theta):
        """The perturbation sizes, from the calibrated objective."""
        if self.eps is None:
            eps = objective.matched_eps(theta)
        else:
            eps = backend.empty(theta.shape, theta)
            eps[...] = self.eps
        eps *= self.eps_scale
        for name in objective.kept:
            eps[..., objective.network.slices[name]] = 0.0
        if self.perturb == "quantized":
            for name, part in objective.network.slices.items():
                if name not in objective.quantized:
                    eps[..., part] = 0.0
        return SPSAState(eps)

    def estimate(self, objective, theta, batch, state, step):
        """The `Estimate` at theta (d,), and the next state."""
        grad, loss = two_point_gradient(
            self.query(objective, theta, batch, state, step), self.n, step.pool
        )
        seen = objective.statistics(theta, batch)
        forwards = 2 * self.n + bool(seen)
        return Estimate(grad, loss, forwards, backwards=0, statistics=seen), state

    def query(self, objective, theta, batch, state, step):
        """What the blocks of this step have in common; without a guide."""
        law = objective.quantizer.law if self.law == "matched" else LAWS[self.law]
        return Query(
            objective, theta, batch, state.eps, law, step.seed, step.index,
            workspace=objective.workspace(batch), rng=step.rng,
        )  # fmt: skip

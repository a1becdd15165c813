"""FOGZO: n-SPSA whose directions are tilted towards the STE gradient g.

ghat = g / ||g||,    v_i = sqrt(beta) s_i ghat + sqrt(1 - beta) u_i,    s_i = +-1
G    = (1/n) sum_i [F(theta + eps v_i) - F(theta - eps v_i)] / (2 eps) v_i

eps holds a size for each parameter; products and quotients with it are entry by entry.
"""

from dataclasses import dataclass
from math import sqrt

from .. import backend, rng
from ..errors import require
from ..norms import unit
from ..schedules import schedule, shape_of
from ..settings import Settings, Share
from ..types import Array, Batch, Objective, State
from .base import Estimate, Step
from .spsa import SPSA, Noise, two_point_gradient

GUIDES = ("gradient", "scaled")


@dataclass(frozen=True)
class Guided(Settings):
    """Directions v = sqrt(beta) s ghat + sqrt(1 - beta) u, with a random sign s of each.

    Parameters
    ----------
    u : Noise
        The noise; its seed, step and source are also those of the signs.
    ghat : ndarray like theta
        The guide, a unit vector.
    beta : float
        Share of the guide, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from minizo.laws import LAWS
    >>> u = Noise(LAWS["gaussian"], seed=2, step=0)
    >>> v = Guided(u, ghat=np.array([0.6, -0.8]), beta=1.0)
    >>> v(0, np.zeros(2), 3)  # beta = 1: the guide with random signs
    array([[-0.6,  0.8],
           [ 0.6, -0.8],
           [-0.6,  0.8]])
    """

    u: Noise
    ghat: Array
    beta: Share

    def __call__(self, block, theta, count):
        """Draw ``count`` directions: (count, d) for theta (d,), or (S, count, d) for (S, 1, d)."""
        u = self.u
        signs = rng.at(u.seed, "sign", u.step, block, source=u.source)
        s = signs.uniform(backend.empty((*theta.shape[:-2], count, 1), theta))
        s = backend.namespace(s).sign(s)  # of numbers in (-1, 1), never 0
        return sqrt(self.beta) * s * self.ghat + sqrt(1 - self.beta) * u(block, theta, count)


@dataclass(frozen=True)
class FOGZO(SPSA):
    """n-SPSA whose directions are tilted towards the STE gradient g.

        ghat = g / ||g||,    v_i = sqrt(beta) s_i ghat + sqrt(1 - beta) u_i,    s_i = +-1
        G    = (1/n) sum_i [F(theta + eps v_i) - F(theta - eps v_i)] / (2 eps) v_i

    Parameters
    ----------
    n, law, eps, eps_scale, perturb
        As in `SPSA`, except that parameters that ``perturb`` leaves out keep their back-propagated
        gradient. ghat is the unit vector over the perturbed ones, or 0 where all of g is 0:
        directions are then n-SPSA's, shortened.
    beta : float
        Share of the STE direction, in [0, 1]: where it ends, unless it is constant.
    beta_schedule : {"constant", "linear", "cosine", "step", "milestones:.3/.6/.9"} or callable
        How it falls from 1 to beta over the run. Linear: beta(t) = beta + (1 - t/T)(1 - beta), as
        in the paper (whether its MNIST run did is not public); ``"constant"``: beta throughout.
    ste_share : float
        First part of the run, 0 to 1, that uses the STE alone ("r % STE, then FOGZO").
    guide : {"gradient", "scaled"}
        ghat = g / ||g||, or the unit vector of eps g, entry by entry: ghat = eps g / ||eps g||.
        They are equal where eps is one number.

    Notes
    -----
    For linear and quadratic F, exactly, and with quotients by eps entry by entry,

        E[G] = (beta ghat ghat^T + (1 - beta) I) (eps grad F) / eps

    With one eps that is beta ghat ghat^T grad F + (1 - beta) grad F: beta = 1 is then the guide's
    direction with a measured, signed length. beta = 0 is n-SPSA. For a quantised loss grad F is the
    gradient of a smoothed F; see `SPSA`.

    With a separate eps for each tensor (the default) the perturbation theta + eps v is one of
    phi = theta / eps, in which the gradient is eps grad F. Let g = grad F. The scaled guide is the
    unit vector of that gradient, so ghat ghat^T (eps g) = eps g and

        E[G] = beta g + (1 - beta) g = g

    whatever beta, while ghat = g / ||g|| gives (ghat / eps) (ghat . eps g) at beta = 1, which is
    not parallel to g: tensors with a small eps weigh more. An optimiser that is invariant to the
    scale of each number, as Adam is, hides most of this; SGD does not. (The paper's choice is
    unknown.)

    Cost of an estimate: 2n + 1 forwards, 1 backward (1 and 1 in the STE's share of the run).

    References
    ----------
    N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order
    information", NeurIPS 2025, arXiv 2510.23926.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.MidRise(bits=2))
    >>> estimator = minizo.FOGZO(n=10, beta=0.999, beta_schedule="linear")
    >>> run = minizo.fit(objective, data, estimator, minizo.optim.Adam(0.01), steps=30)
    >>> round(run.final("train_loss"), 1), run.records["forwards"][-1]
    (1.2, 630)
    """

    beta: Share = 0.999
    beta_schedule: str = "linear"
    ste_share: Share = 0.0
    guide: str = "gradient"
    rowwise = True

    def __post_init__(self):
        super().__post_init__()
        shape_of("beta_schedule", self.beta_schedule)
        require(self.guide in GUIDES, "guide", self.guide, f"choose from {GUIDES}")

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return f"FOGZO n={self.n}"

    def beta_at(self, progress: float) -> float:
        """Return beta at this point of the run."""
        if self.beta_schedule == "constant":
            return self.beta
        return schedule(self.beta_schedule, 1.0, self.beta, progress)

    def ghat(self, g: Array, state: State) -> Array:
        """Return the guide for a gradient g like theta: a unit vector over what is perturbed."""
        # ghat = g / ||g||, or eps g / ||eps g||: the gradient's unit vector in phi = theta / eps
        return unit(state.moved * (g if self.guide == "gradient" else state.eps * g))

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state."""
        loss, g, seen = objective.ste_gradient(theta, batch)
        if step.progress < self.ste_share:
            return Estimate(g, loss, forwards=1, backwards=1, statistics=seen), state
        u, beta = self.noise(objective, state, step), self.beta_at(step.progress)
        v = Guided(u, self.ghat(g, state), beta)
        grad, _ = two_point_gradient(objective, theta, batch, state.eps, v, self.n, step.pool)
        # what is not perturbed keeps its back-propagated gradient
        grad = grad if self.perturb == "all" else grad + (1.0 - state.moved) * g
        return Estimate(grad, loss, 2 * self.n + 1, backwards=1, statistics=seen), state

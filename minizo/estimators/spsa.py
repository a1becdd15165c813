"""n-SPSA: the gradient from differences of the loss at perturbed weights.

    G = (1/n) sum_i [F(theta + eps u_i) - F(theta - eps u_i)] / (2 eps) u_i

eps holds a size for each parameter; products and quotients with it are entry by entry.

`two_point_gradient` is this quotient for any directions v_i. `SPSA` draws them from a law of
independent coordinates; `minizo.estimators.fogzo` tilts them towards a guide. Directions come in
blocks, each from its own stream, and the sums of the blocks are added in order. So the result has
the same bits, whoever computes the blocks and however many at a time.
"""

from dataclasses import dataclass
from typing import NamedTuple

from .. import backend, rng
from ..errors import fitting, require, resolve
from ..laws import LAWS, Law
from ..parallel import blocks
from ..settings import Count, Natural, Positive, Settings, whole
from ..types import Array, Batch, Objective, State
from .base import Estimate, Estimator, Step


@dataclass(frozen=True)
class Noise(Settings):
    """Directions u with independent coordinates, each block from its own stream.

    Parameters
    ----------
    law : minizo.laws.Law
    seed : int, or tuple of int
        Of the run; of each row, where theta is (S, 1, d).
    step : int
    source : {"device", "host"}
        Where random numbers are made: `minizo.rng.Stream`.
    moved : ndarray like theta, optional
        1 where a parameter is perturbed, and 0 where u is 0; by default all are perturbed.

    Examples
    --------
    >>> import numpy as np
    >>> u = Noise(LAWS["rademacher"], seed=0, step=3)
    >>> u(0, np.zeros(4), 2)
    array([[-1., -1., -1., -1.],
           [-1., -1., -1.,  1.]])
    >>> Noise(LAWS["rademacher"], seed=(0, 1), step=3)(0, np.zeros((2, 1, 4)), 5).shape
    (2, 5, 4)
    """

    law: object
    seed: object
    step: Natural
    source: str = "device"
    moved: object = None

    def __call__(self, block, theta, count):
        """Draw ``count`` directions: (count, d) for theta (d,), or (S, count, d) for (S, 1, d)."""
        u = backend.empty((*theta.shape[:-2], count, theta.shape[-1]), theta)
        u = self.law.sample(rng.at(self.seed, "noise", self.step, block, source=self.source), u)
        return u if self.moved is None else self.moved * u


def both_sides(objective, theta, batch, eps, v):
    """Return F(theta + eps v) and F(theta - eps v), (..., P) each, for directions v (..., P, d)."""
    move = eps * v
    return objective.evaluate(theta + move, batch), objective.evaluate(theta - move, batch)


def block_sum(objective, theta, batch, eps, directions, block, count):
    """Return sum_i [F(theta + eps v_i) - F(theta - eps v_i)] v_i over a block, and the sum of F."""
    xp = backend.namespace(theta)
    v = directions(block, theta, count)
    above, below = both_sides(objective, theta, batch, eps, v)
    # (..., 1, P) @ (..., P, d) -> (..., 1, d) -> like theta
    total = xp.reshape(xp.matmul((above - below)[..., None, :], v), theta.shape)
    return total, xp.sum(above, axis=-1) + xp.sum(below, axis=-1)


def two_point_gradient(objective, theta, batch, eps, directions, n, pool):
    """Estimate G = (1/n) sum_i [F(theta + eps v_i) - F(theta - eps v_i)] / (2 eps) v_i.

    Parameters
    ----------
    objective : Objective
    theta : ndarray (d,), or (S, 1, d)
    batch : Batch
    eps : ndarray like theta
        Size of the perturbation of each parameter, above 0. With different sizes parameter l moves
        by eps_l v_l, and G_l = (1/n) sum_i [F+ - F-] / (2 eps_l) v_il.
    directions : callable
        ``directions(block, theta, count)`` -> v of shape (count, d), or (S, count, d); the same for
        the same block whenever it is asked, and picklable where ``pool`` has processes.
    n : int
        Number of directions.
    pool : minizo.Pool

    Returns
    -------
    gradient : ndarray like theta
    loss : ndarray (), or (S,)
        Mean of the 2n evaluations. Cost: 2n forwards.

    Examples
    --------
    Of a linear loss, (2, -1) . theta, along both axes:

    >>> import numpy as np
    >>> from minizo import Pool
    >>> class Linear:
    ...     def evaluate(self, theta, batch):
    ...         return theta @ np.array([2.0, -1.0])
    ...     def footprint(self, batch):
    ...         return 2
    >>> def axes(block, theta, count):
    ...     return np.eye(2)
    >>> g, loss = two_point_gradient(Linear(), np.zeros(2), None, np.full(2, 0.1), axes, 2, Pool())
    >>> 2 * g
    array([ 2., -1.])
    """
    n, shared = whole("n", n), (objective, theta, batch, eps, directions)
    calls = [(*shared, *call) for call in blocks(n, objective.footprint(batch))]
    total = loss = 0.0
    for block_total, block_loss in pool.map(block_sum, calls):
        total, loss = total + block_total, loss + block_loss
    return total / (2 * n * eps), loss / (2 * n)


def block_differences(objective, theta, batch, eps, directions, block, count):
    """Return F(theta + eps v_i) - F(theta - eps v_i) over one block, (..., P)."""
    above, below = both_sides(objective, theta, batch, eps, directions(block, theta, count))
    return above - below


def differences(objective, theta, batch, eps, directions, n, pool):
    """Return F(theta + eps v_i) - F(theta - eps v_i) of each direction, (n,) or (S, n).

    Use it in estimators that weigh directions by something other than their difference, such as its
    rank (`minizo.estimators` shows one); `weighted_sum` adds up the weighted directions. Parameters
    as in `two_point_gradient`. Cost: 2n forwards.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Pool
    >>> class Linear:
    ...     def evaluate(self, theta, batch):
    ...         return theta @ np.array([2.0, -1.0])
    ...     def footprint(self, batch):
    ...         return 2
    >>> def axes(block, theta, count):
    ...     return np.eye(2)
    >>> differences(Linear(), np.zeros(2), None, np.full(2, 0.25), axes, 2, Pool())
    array([ 1. , -0.5])
    """
    n, shared = whole("n", n), (objective, theta, batch, eps, directions)
    calls = [(*shared, *call) for call in blocks(n, objective.footprint(batch))]
    return backend.concat(pool.map(block_differences, calls), axis=-1)


def block_weighted(theta, directions, weights, block, count):
    """Return sum_i w_i v_i over one block, like theta."""
    xp = backend.namespace(theta)
    v = directions(block, theta, count)
    return xp.reshape(xp.matmul(weights[..., None, :], v), theta.shape)


def weighted_sum(objective, theta, batch, directions, weights, pool):
    """Return sum_i w_i v_i for weights (n,) or (S, n), like theta; v is drawn once more.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Pool
    >>> class Small:
    ...     def footprint(self, batch):
    ...         return 2
    >>> def axes(block, theta, count):
    ...     return np.eye(2)
    >>> weighted_sum(Small(), np.zeros(2), None, axes, np.array([3.0, -1.0]), Pool())
    array([ 3., -1.])
    """
    calls, start = [], 0
    for block, count in blocks(weights.shape[-1], objective.footprint(batch)):
        w = weights[..., start : start + count]
        calls.append((theta, directions, w, block, count))
        start += count
    total = 0.0
    for block_total in pool.map(block_weighted, calls):
        total = total + block_total
    return total


class SPSAState(NamedTuple):
    """State of `SPSA`: arrays like theta.

    eps : size of each parameter's perturbation, above 0
    moved : 1 where a parameter is perturbed, 0 where it is not
    """

    eps: object
    moved: object


@dataclass(frozen=True)
class SPSA(Estimator):
    """G = (1/n) sum_i [F(theta + eps u_i) - F(theta - eps u_i)] / (2 eps) u_i.

    The coordinates of u_i are independent, symmetric, of zero mean and unit variance.

    Parameters
    ----------
    n : int
        Directions a step.
    law : str or Law
        Law of the coordinates: rademacher, uniform, triangular, gaussian, logistic, laplace, or
        ``"matched"``, the one that the quantiser's surrogate implies.
    eps : float, optional
        Perturbation size of every parameter. By default each tensor has its own size, matched to
        the quantiser's surrogate: eps = alpha epsbar.
    eps_scale : float
        Factor on eps.
    perturb : str
        Which parameters are perturbed: ``"all"``, ``"quantized"``, or patterns of their names with
        commas, such as ``"layers.*, head.*"``. The others get a zero gradient and stay as they are.

    Raises
    ------
    InputError
        If a parameter is out of range or a name unknown.

    Notes
    -----
    Bias. G is unbiased neither for F, whose gradient is 0 almost everywhere, nor, unless the law p
    of u is Gaussian, for F smoothed by p. Coordinate i of E[G] is the i-th partial derivative of F
    smoothed by p in the other coordinates and by the *zero-bias* law q(z) = int_z^inf s p(s) ds in
    coordinate i. For a linear or quadratic F that is the gradient itself.

    Variance. For a linear F with gradient g and one eps, E||G - g||^2 / ||g||^2 is about d / n.
    With a separate eps for each tensor it is about d_eff / n,
    d_eff = ||eps g||^2 ||1/eps||^2 / ||g||^2: the difference that one layer makes is divided by the
    eps of another. For the 784-10-10 network, whose two eps differ by a factor of 9, d_eff is 20 to
    30 times d (`python -m minizo.lab.microscope` measures it).

    Cost of an estimate: 2n forwards, no backward. A network with running statistics takes one more
    forward, at theta itself, for the statistics.

    References
    ----------
    J. C. Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
    approximation", IEEE Transactions on Automatic Control, 1992, equation 2.2.
    N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order
    information", NeurIPS 2025 (n-SPSA with the law matched to the STE).

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.MidRise(bits=2))
    >>> run = minizo.fit(objective, data, minizo.SPSA(n=20), minizo.optim.Adam(0.01), steps=10)
    >>> run.records["forwards"][-1], run.records["backwards"][-1]  # 2n a step
    (400, 0)
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
            resolve("law", self.law, LAWS | {"matched": None}, Law)
        given = isinstance(self.perturb, str) and self.perturb.strip() != ""
        remedy = "it is all, quantized, or patterns of names such as layers.*"
        require(given, "perturb", self.perturb, remedy)

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return f"n-SPSA n={self.n}"

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the perturbation sizes, from the calibrated objective, and what is perturbed."""
        ones = backend.namespace(theta).ones_like(theta)
        eps = objective.matched_eps(theta) if self.eps is None else self.eps * ones
        return SPSAState(self.eps_scale * eps, moved(objective, theta, self.perturb))

    def noise(self, objective: Objective, state: State, step: Step) -> Noise:
        """Return the directions u of this step."""
        matched = self.law == "matched"
        law = objective.law if matched else resolve("law", self.law, LAWS, Law)
        return Noise(law, step.seed, step.index, step.rng, state.moved)

    def estimate(
        self, objective: Objective, theta: Array, batch: Batch, state: State, step: Step
    ) -> tuple[Estimate, State]:
        """Estimate the gradient at theta (d,) or (S, 1, d); return it and the next state."""
        u = self.noise(objective, state, step)
        grad, loss = two_point_gradient(objective, theta, batch, state.eps, u, self.n, step.pool)
        seen = objective.statistics(theta, batch)
        forwards = 2 * self.n + bool(seen)
        return Estimate(grad, loss, forwards, backwards=0, statistics=seen), state


def moved(objective, theta, perturb="all"):
    """Return an array like theta: 1 where a parameter is perturbed, 0 where it is left alone.

    Parameters
    ----------
    objective : Objective
    theta : ndarray (d,), or (S, 1, d)
    perturb : str
        As in `SPSA`. Entries that only the quantiser changes (`Objective.kept`) are left alone in
        any case.

    Raises
    ------
    InputError
        If a pattern fits no parameter.
    """
    mask, still = backend.namespace(theta).ones_like(theta), set(objective.kept)
    if perturb != "all":
        slices = objective.network.slices
        special = {"all": slices, "quantized": objective.quantized}
        still |= set(slices) - set(fitting(slices, perturb, "perturb", special))
    for name in still:
        mask[..., objective.network.slices[name]] = 0.0
    return mask

"""Lazy rules: theta adds up all steps, and the gradient is taken at a map of theta.

    theta <- theta - eta g,    g = dL/dw at w = P_t(theta)

As theta_0 - theta is the sum G of all steps, P = prox_{lam R} makes this dual averaging: w is the
minimiser of <G, w> + 1/2 ||w - theta_0||^2 + lam R(w). With an optimiser other than SGD, G is the
sum of its steps.

References
----------
Y. Nesterov, "Primal-dual subgradient methods for convex problems", Mathematical Programming, 2009
(dual averaging).
Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant", ICLR 2019, section 2 (BinaryConnect is dual averaging).
T. Dockhorn, Y. Yu, E. Sari, M. Zolnouri, V. Partovi Nia, "Demystifying and generalizing
BinaryConnect", NeurIPS 2021 (ProxConnect: any proximal map instead of the sign).
"""

from dataclasses import dataclass
from math import exp, log
from typing import Annotated

from .. import prox
from ..quantizers.base import Quantizer
from ..settings import Positive, Share
from ..types import Array, Objective, State
from .base import Step
from .proximal import Homotopy, Proximal, needs_equal_steps


@dataclass(frozen=True)
class BinaryConnect(Proximal):
    """P = Q, the nearest level: dual averaging on the quantised set, and the STE with identity.

    With the identity surrogate and no clipping, theta has the same bits as with `STE`.

    Parameters
    ----------
    freeze, clip
        As in `Proximal`; the authors clip to 1.

    References
    ----------
    M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect: training deep neural networks with
    binary weights during propagations", NeurIPS 2015, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Step
    >>> from minizo.quantizers import Sign
    >>> BinaryConnect().seen(np.array([0.25, -1.5]), Sign(), 1.0, Step())
    array([ 1., -1.])
    """

    tosses = True

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "BinaryConnect"

    def seen(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return Q(x)."""
        return quantizer.quantize(x, alpha)

    def sees_levels(self, step: Step) -> bool:
        """Return True: `seen` is always Q."""
        return True


@dataclass(frozen=True)
class ProxConnect(Homotopy):
    """P = prox_{lam_t R}: lazy ProxQuant.

    ``lam=inf`` with a constant homotopy is `BinaryConnect`; lam = 0 is training without
    quantisation. With a constant lam it need not converge (theorem 5.2 of the ProxQuant paper; see
    `python -m minizo.lab A`).

    Parameters
    ----------
    prox, lam, homotopy, growth, convention, rounds, freeze, clip
        As in `Homotopy`. The strength is lam_t, without the learning rate.
    harden : float
        Part of the run, in [0, 1], from which on P = Q.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Step
    >>> from minizo.quantizers import Sign
    >>> rule = ProxConnect("l1", lam=0.25, homotopy="constant")
    >>> rule.seen(np.array([0.25, -1.5, 0.9]), Sign(), 1.0, Step())
    array([ 0.5 , -1.25,  1.  ])
    """

    harden: Share = 1.0

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return f"ProxConnect {self.prox.upper()}"

    def sees_levels(self, step: Step) -> bool:
        """Return whether the run has passed ``harden``."""
        return step.progress >= self.harden

    def seen(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return prox_{lam_t R}(x), and Q(x) after ``harden``."""
        if self.sees_levels(step):
            return quantizer.quantize(x, alpha)
        return self.towards(x, quantizer, alpha, self.strength(step))


@dataclass(frozen=True)
class BinaryRelax(ProxConnect):
    """P = (x + lam_t Q(x)) / (1 + lam_t) with lam_t = lam growth^t, and P = Q at the end.

    A `ProxConnect` with the L2 regulariser and a geometric homotopy. The growth of 1.01 a step and
    the last fifth with P = Q suit the short runs of this package; the paper counts epochs.

    References
    ----------
    P. Yin, S. Zhang, J. Lyu, S. Osher, Y. Qi, J. Xin, "BinaryRelax: a relaxation approach for
    training deep neural networks with quantized weights", SIAM Journal on Imaging Sciences, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Step
    >>> from minizo.quantizers import Sign
    >>> rule, x = BinaryRelax(), np.array([0.25, -1.5])
    >>> rule.seen(x, Sign(), 1.0, Step(index=0, total=10))
    array([ 0.625, -1.25 ])
    >>> rule.seen(x, Sign(), 1.0, Step(index=8, total=10))  # the last fifth of the run
    array([ 1., -1.])
    """

    prox: str = "l2"
    lam: Annotated[float, "[0, inf]"] = 1.0
    homotopy: str = "geometric"
    harden: Share = 0.8

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "BinaryRelax"


@dataclass(frozen=True)
class PARQ(Proximal):
    """P = the staircase with ramps of slope 1 / iota, iota falling from 1 to 0 over the run.

    P goes from the identity (between the lowest and the highest level) to the nearest level. It is
    the proximal map of a convex, piecewise affine regulariser (`minizo.prox.piecewise_affine`); the
    split into theta and P(theta) is the paper's AProx.

    Parameters
    ----------
    steepness, centre : float
        Of the logistic fall of iota; see `minizo.prox.logistic_fall`.
    freeze, clip
        As in `Proximal`.

    References
    ----------
    L. Jin, J. Ma, Z. Liu, A. Gromov, A. Defazio, L. Xiao, "PARQ: piecewise-affine regularized
    quantization", ICML 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Step
    >>> from minizo.quantizers import Sign
    >>> rule, x = PARQ(), np.array([-0.25, 0.125, 1.5])
    >>> rule.seen(x, Sign(), 1.0, Step(index=0, total=10))  # the identity, clipped
    array([-0.25 ,  0.125,  1.   ])
    >>> rule.seen(x, Sign(), 1.0, Step(index=5, total=10))  # ramps of slope 2
    array([-0.5 ,  0.25,  1.  ])
    """

    steepness: Annotated[float, "(0, 100]"] = 10.0
    centre: Share = 0.5

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "PARQ"

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the empty state; refuse levels at unequal distances."""
        needs_equal_steps(self.label, objective)
        return super().init(objective, theta)

    def seen(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return x mapped through the ramps at iota(t)."""
        iota = prox.logistic_fall(step.progress, self.steepness, self.centre)
        return prox.ramp(x, quantizer, alpha, iota)


@dataclass(frozen=True)
class MirrorDescent(Proximal):
    """P = alpha tanh(sharpness(t) x / alpha): mirror descent, theta in the dual space.

    The sharpness grows geometrically over the run. The same steps without theta, on the weights w
    themselves and for alpha = 1:  (1 + w) / (1 - w) <- (1 + w) / (1 - w) exp(-2 sharpness eta g).

    Parameters
    ----------
    sharpness : float
        Sharpness of the tanh at the start, above 0.
    final_sharpness : float
        Sharpness at the end, above 0. In the limit of infinity it is `BinaryConnect`.
    freeze, clip
        As in `Proximal`.

    References
    ----------
    T. Ajanthan, K. Gupta, P. Torr, R. Hartley, P. Dokania, "Mirror descent view for neural network
    quantization", AISTATS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Step
    >>> from minizo.quantizers import Sign
    >>> rule, x = MirrorDescent(), np.array([-0.25, 0.125, 1.5])
    >>> rule.seen(x, Sign(), 1.0, Step(index=0, total=10)).round(3)
    array([-0.245,  0.124,  0.905])
    >>> rule.seen(x, Sign(), 1.0, Step(index=8, total=10)).round(3)
    array([-1.,  1.,  1.])
    """

    sharpness: Positive = 1.0
    final_sharpness: Positive = 100.0

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "Mirror descent"

    def init(self, objective: Objective, theta: Array) -> State:
        """Return the empty state; refuse levels at unequal distances."""
        needs_equal_steps(self.label, objective)
        return super().init(objective, theta)

    def sharpness_at(self, progress: float) -> float:
        """Return sharpness (final_sharpness / sharpness)^progress."""
        if progress == 0:
            return self.sharpness
        share = log(self.final_sharpness / self.sharpness)
        return self.sharpness * exp(share * progress)

    def seen(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return x mapped through the tanh at the sharpness of this step."""
        return prox.soft_staircase(x, quantizer, alpha, self.sharpness_at(step.progress))

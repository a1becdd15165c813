"""ProxQuant: a proximal step towards the levels after every step of the optimiser."""

from dataclasses import dataclass, field
from typing import Annotated

from ..quantizers.base import Quantizer
from ..types import Array
from .base import Step
from .proximal import Homotopy


@dataclass(frozen=True)
class ProxQuant(Homotopy):
    """theta <- prox_{eta_t lam_t R}(optimiser(theta, g)),  g = grad L(theta) at the real weights.

    The regulariser R pulls every weight to its nearest level, with a strength that grows from 0:
    the homotopy lam_t = lam t. From ``freeze`` on, the weights stay quantised while everything else
    trains. With ``lam=inf`` and a constant homotopy the rule is projected gradient descent. That is
    not BinaryConnect, because it forgets every step that does not reach the next level. The lazy
    form, which forgets nothing, is `ProxConnect`.

    Parameters
    ----------
    prox, lam, homotopy, growth, convention, rounds, clip
        As in `Homotopy`.
    freeze : float
        As in `Proximal`; 2/3 of the run in the paper.

    Notes
    -----
    The paper leaves open whether t counts from 0, and what happens at a weight of exactly 0. Here t
    counts from 0, and Q(0) decides. The authors' code differs from the paper: ``homotopy="epoch"``,
    ``clip=1``, and for ternary weights ``rounds=1``. The rule is meant to start from trained
    full-precision weights (``start`` of `minizo.fit`).

    Without gradients, L1 brings a weight at distance D from its level exactly there once the
    strengths eta_t lam_t add up to D / alpha; L2 shrinks the distance by 1 / (1 + eta_t lam_t) a
    step and never reaches 0.

    Cost of an estimate: 1 forward, 1 backward (with running statistics: see `Proximal.estimate`).

    References
    ----------
    Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant: quantized neural networks via proximal operators",
    ICLR 2019, arXiv 1810.00861, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Step
    >>> from minizo.quantizers import Sign
    >>> rule, x = ProxQuant("l1", lam=0.25), np.array([0.25, -1.5, 0.9])
    >>> rule.after(x, Sign(), 1.0, Step(index=0, total=10), rate=0.5)  # lam_0 = 0
    array([ 0.25, -1.5 ,  0.9 ])
    >>> rule.after(x, Sign(), 1.0, Step(index=2, total=10), rate=0.5)  # lam_2 = 0.5
    array([ 0.5 , -1.25,  1.  ])
    """

    freeze: Annotated[float, "(0, 1]"] | None = field(default=2 / 3, kw_only=True)

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return f"ProxQuant {self.prox.upper()}"

    def after(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step, rate: float) -> Array:
        """Return prox_{eta_t lam_t R}(x)."""
        return self.towards(x, quantizer, alpha, rate * self.strength(step))

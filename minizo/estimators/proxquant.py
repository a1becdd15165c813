"""ProxQuant: a proximal step towards the levels after every step of the optimiser."""

from dataclasses import dataclass, field
from typing import Annotated

from .proximal import Homotopy


@dataclass(frozen=True)
class ProxQuant(Homotopy):
    """theta <- prox_{eta_t lam_t R}(optimiser(theta, g)),  g = grad L(theta) at the real weights.

    The regulariser R pulls every weight to its nearest level, first not at all and then ever more:
    the homotopy lam_t = lam t. At ``freeze`` the weights are quantised for good and everything else
    trains on. With ``lam=inf`` and a constant homotopy it is projected gradient descent, which is
    not BinaryConnect: it forgets every step that does not reach the next level. Its lazy form,
    which forgets nothing, is `ProxConnect`.

    Parameters
    ----------
    prox, lam, homotopy, growth, convention, rounds, clip
        As in `Homotopy`.
    freeze : float
        As in `Proximal`; 2/3 of the run in the paper.

    Notes
    -----
    The paper leaves open whether t counts from 0, and what happens at a weight of exactly 0; here t
    does, and Q(0) decides. The authors' code differs from the paper: ``homotopy="epoch"``,
    ``clip=1``, and for ternary weights ``rounds=1``. It is meant to start from trained
    full-precision weights (``start`` of `minizo.fit`).

    With L1, a weight of distance D to its level is there exactly once the strengths eta_t lam_t
    add up to D / alpha; with L2 the distance shrinks by 1 / (1 + eta_t lam_t) a step and never
    ends. (Both where no gradient interferes.)

    Cost of an estimate: 1 forward, 1 backward (a network with running statistics: `Proximal`).

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
    def label(self):
        """Return the label that tables and legends show."""
        return f"ProxQuant {self.prox.upper()}"

    def after(self, x, quantizer, alpha, step, rate):
        """Return prox_{eta_t lam_t R}(x)."""
        return self.towards(x, quantizer, alpha, rate * self.strength(step))

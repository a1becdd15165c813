"""Blended coarse gradient descent: the STE, with a pull of the latent weights to their levels."""

from dataclasses import dataclass

from .. import prox
from ..quantizers.base import Quantizer
from ..settings import Share
from ..types import Array
from .base import Step
from .proximal import Proximal


@dataclass(frozen=True)
class BlendedCoarseGradient(Proximal):
    """theta <- (1 - rho) theta + rho Q(theta) - eta g,  g = dL/dw at w = Q(theta).

    The blending is prox_{lam R_2} with lam = rho / (1 - rho): an L2 ProxQuant step before each step
    of BinaryConnect. If rho is too large, no weight leaves its level.

    Parameters
    ----------
    rho : float
        Share of the level, in [0, 1]; 0 is `BinaryConnect`.
    freeze, clip
        As in `Proximal`.

    References
    ----------
    P. Yin, S. Zhang, J. Lyu, S. Osher, Y. Qi, J. Xin, "Blended coarse gradient descent for full
    quantization of deep neural networks", Research in the Mathematical Sciences, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import Step
    >>> from minizo.quantizers import Sign
    >>> rule, x = BlendedCoarseGradient(rho=0.5), np.array([0.5, -1.5])
    >>> rule.before(x, Sign(), 1.0, Step()), rule.seen(x, Sign(), 1.0, Step())
    (array([ 0.75, -1.25]), array([ 1., -1.]))
    """

    rho: Share = 1e-5

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "Blended coarse gradient"

    def seen(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return Q(x)."""
        return quantizer.quantize(x, alpha)

    def sees_levels(self, step: Step) -> bool:
        """Return True: `seen` is always Q."""
        return True

    def before(self, x: Array, quantizer: Quantizer, alpha: Array, step: Step) -> Array:
        """Return (1 - rho) x + rho Q(x)."""
        return prox.blend(x, quantizer.quantize(x, alpha), self.rho)

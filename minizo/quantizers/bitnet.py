"""BitNet b1.58: ternary weights by their mean absolute value, activations by their largest one."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from .. import backend
from ..types import Array, Scale
from .base import mean_abs
from .fitted import Ternary
from .staircase import MidTread


@dataclass(frozen=True)
class AbsMean(Ternary):
    """Q(x) = g clip(floor(x/g + 1/2), -1, 1),  g = mean|x| of the layer or filter at every call.

    With the identity surrogate, BitNet's choice, dx = dw.

    Parameters
    ----------
    surrogate, per
        As in `Ternary`.

    Notes
    -----
    The authors round x/g = 1/2 to 0, as ties go to even; here it is rounded to 1, as in all
    staircases of this package.

    References
    ----------
    S. Ma, H. Wang, L. Ma, L. Wang, W. Wang, S. Huang, L. Dong, R. Wang, J. Xue, F. Wei, "The era of
    1-bit LLMs: all large language models are in 1.58 bits", 2024, equations 1 to 3.

    Examples
    --------
    >>> import numpy as np
    >>> AbsMean().quantize(np.array([-1.6, -0.4, 0.1, 1.1, 0.8]), None)  # g = 0.8
    array([-0.8,  0. ,  0. ,  0.8,  0.8])
    """

    def fit(self, x: Array) -> tuple[Array, Array]:
        """Return the levels (..., 3) and thresholds (..., 2)."""
        xp, g = backend.namespace(x), mean_abs(x)
        # clip(floor(x/g + 1/2), -1, 1) jumps at x = -g/2 and g/2
        return xp.concat([-g, xp.zeros_like(g), g], axis=-1), xp.concat(
            [-0.5 * g, 0.5 * g], axis=-1
        )


@dataclass(frozen=True)
class AbsMax(MidTread):
    """Q(x) = s floor(x/s + 1/2),  s = max|x| / (2^(b-1) - 1) of a row at every call.

    The largest number of a row becomes the last level. A row of activations is a token (or an
    example that is a vector), one of weights a layer or a filter. With the identity surrogate,
    BitNet's choice, dx = dw; s is held in any case.

    Parameters
    ----------
    surrogate
        As in `Quantizer`.
    bits : int
        b, 2 to 8.
    per
        As in `PerRow`, of weights.

    References
    ----------
    H. Wang, S. Ma, L. Dong, S. Huang, H. Wang, L. Ma, F. Yang, R. Wang, Y. Wu, F. Wei, "BitNet:
    scaling 1-bit transformers for large language models", 2023, equations 4 and 5; S. Ma et al.,
    "The era of 1-bit LLMs", 2024, section 2 (a token at a time).

    Examples
    --------
    >>> import numpy as np
    >>> AbsMax(bits=3).quantize(np.array([[3.0, -1.6], [0.4, 0.1]]), None).round(3)
    array([[ 3.   , -2.   ],
           [ 0.4  ,  0.133]])
    """

    bits: Annotated[int, "[2, 8]"] = 8
    alpha_scale: ClassVar = 1.0  # no setting: the step follows the numbers
    epsbar = None
    pointwise = False
    live = True

    def step(self, x: Array, scale: Scale) -> Array:
        """Return s = max|x| / hi, 1 where all x are 0."""
        xp = backend.namespace(x)
        s = xp.max(xp.abs(x), axis=-1, keepdims=True) / self.bounds[1]
        return xp.where(s > 0.0, s, xp.ones_like(s))

"""Signs with a live scale: XNOR-Net and binary-weight networks, Bi-Real, magnitude-aware, ReSTE.

All of them compute Q(x) = a sign(x) with a = mean|x| over a filter or a layer. They differ in the
treatment of a in the backward; published codes use one of four rules:

    constant   dx_j = a dw_j s'(x_j)                                 a held
    exact      dx_j = a dw_j s'(x_j) + sign(x_j)/n sum_i dw_i sign(x_i)    the product rule
    paper      dx_j = dw_j (1/n + a s'(x_j))                         XNOR-Net's elementwise form
    plain      dx_j = dw_j s'(x_j)                                   a left out

s' is the slope of the surrogate, 1[-1 <= x < 1] for hardtanh. The paper's form would be the product
rule if it summed the gradient of a over all weights that share a.
"""

from dataclasses import dataclass
from typing import ClassVar

from .. import backend
from ..errors import choose
from ..types import Array, Arrays, Scale
from .base import PER, Quantizer, mean_abs, sign, total
from .staircase import Sign

RULES = ("constant", "exact", "paper", "plain")


@dataclass(frozen=True)
class Xnor(Quantizer):
    """Q(x) = a sign(x), a = mean|x| over a filter or a layer at every call; sign(0) = +1.

    Parameters
    ----------
    surrogate : str
        Surrogate of the sign, in the units of x: hardtanh is the gate |x| <= 1.
    per : {"filter", "layer"}
        Weights that share a scale: the n weights of one output, or the whole tensor.
    rule : {"constant", "exact", "paper", "plain"}
        Treatment of a in the backward; see the module.

    Notes
    -----
    The noise that the surrogate implies is that of the sign: E[a sign(x + eps u)] = a s(x) with a
    held, and eps in the units of x (alpha is 1). Most weights are far smaller than 1, so this noise
    drowns them, and `SPSA` measures little per direction; ``eps_scale`` reduces it.

    References
    ----------
    M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net: ImageNet classification using binary
    convolutional neural networks", ECCV 2016, equations 6 and 12 (scale a filter, paper rule).
    S. Chen, W. Wang, S. J. Pan, "MetaQuant", NeurIPS 2019 (scale a layer, constant).

    Examples
    --------
    >>> import numpy as np
    >>> x, dw = np.array([[1.5, -0.5], [0.2, 0.4]]), np.ones((2, 2))  # two filters of two weights
    >>> Xnor().quantize(x, 1.0)
    array([[ 1. , -1. ],
           [ 0.3,  0.3]])
    >>> Xnor().backward(x, 1.0, dw)[0]
    array([[0. , 1. ],
           [0.3, 0.3]])
    >>> Xnor(rule="exact").backward(x, 1.0, dw)[0]
    array([[0. , 1. ],
           [1.3, 1.3]])
    """

    surrogate: str = "hardtanh"
    per: str = "filter"
    rule: str = "constant"
    pointwise = False
    levels = 2

    def __post_init__(self):
        super().__post_init__()
        choose("per", self.per, PER)
        choose("rule", self.rule, dict.fromkeys(RULES))

    @property
    def by_filter(self) -> bool:
        """Whether a row of x is one filter."""
        return PER[self.per]

    @property
    def diagonal(self) -> bool:
        """Whether the backward is the diagonal rule of `derivative`."""
        return self.rule != "exact"

    @property
    def epsbar(self) -> float | None:
        """Standard deviation of the noise, in the units of x."""
        return None if self.scheduled else self.curve.epsbar

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x); see `Quantizer`."""
        # Q(x) = mean|x| sign(x)
        return mean_abs(x) * sign(x)

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return a s(x)."""
        return mean_abs(x) * self.curve.value(x)

    def derivative(self, x: Array, scale: Scale) -> Array | None:
        """Return the diagonal of the rule; for ``exact``, its part with a held."""
        slope = self.curve.derivative(x)
        if self.rule == "plain":
            return slope
        # a s'(x), or 1/n + a s'(x)
        slope = mean_abs(x) * slope
        return slope + 1.0 / x.shape[-1] if self.rule == "paper" else slope

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx by the rule; see `Quantizer`."""
        dx, grads = super().backward(x, scale, dw)
        if self.rule == "exact":
            # da/dx_j = sign(x_j) / n,  dL/da = sum_i dw_i sign(x_i)
            s = sign(x)
            dx = dx + s * (total(dw * s) / x.shape[-1])
        return dx, grads


@dataclass(frozen=True)
class BiReal(Xnor):
    """`Xnor` with the backward of Bi-Real Net's code: dx = dw 1[|x| <= 1], without the scale.

    Notes
    -----
    The paper's magnitude-aware gradient multiplies by the scale, as ``rule="constant"`` does, and
    so does larq's magnitude-aware sign. Its activations have the slope of ApproxSign:
    ``QuantizedActivation(Sign("approxsign"))``.

    References
    ----------
    Z. Liu et al., "Bi-Real Net: enhancing the performance of 1-bit CNNs with improved
    representational capability and advanced training algorithm", ECCV 2018, equation 9.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.5, -0.5], [0.2, 0.4]])
    >>> BiReal().quantize(x, 1.0)
    array([[ 1. , -1. ],
           [ 0.3,  0.3]])
    >>> BiReal().backward(x, 1.0, np.ones((2, 2)))[0]
    array([[0., 1.],
           [1., 1.]])
    """

    rule: str = "plain"


@dataclass(frozen=True)
class MagnitudeAware(Xnor):
    """`Xnor` with a held in the backward, as larq's magnitude-aware sign and Bi-Real Net's paper.

    References
    ----------
    L. Geiger, Plumerai team, "Larq: an open-source library for training binarized neural
    networks", Journal of Open Source Software, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.5, -0.5], [0.2, 0.4]])
    >>> MagnitudeAware().quantize(x, 1.0)
    array([[ 1. , -1. ],
           [ 0.3,  0.3]])
    >>> MagnitudeAware().backward(x, 1.0, np.ones((2, 2)))[0]
    array([[0. , 1. ],
           [0.3, 0.3]])
    """


@dataclass(frozen=True)
class ReSTE(Xnor):
    """Q(x) = a sign(x), a = mean|x| over the layer, with the backward of a sign(x) |x|^(1/o).

        dx = a dw s'(x) + sign(x)/n sum(dw sign(x)),    s(x) = sign(x) |x|^(1/o)

    with o from 1 (the gate |x| <= 1.5) to 3 over the run; see `minizo.surrogates`.

    References
    ----------
    X.-M. Wu, D. Zheng, Z. Liu, W.-S. Zheng, "Estimator meets equilibrium perspective: a rectified
    straight through estimator for binary neural networks training", ICCV 2023, equations 7 to 9
    (the scale is not detached in their code).

    Examples
    --------
    >>> import numpy as np
    >>> q, x = ReSTE(), np.array([2.0, -0.5, 0.5])
    >>> q.quantize(x, 1.0)
    array([ 1., -1.,  1.])
    >>> q.backward(x, 1.0, np.array([1.0, 0.0, 0.0]))[0].round(3)
    array([ 0.333, -0.333,  0.333])
    >>> q.at(1.0).backward(x, 1.0, np.ones(3))[0].round(3)  # o = 3 at the end of the run
    array([0.333, 0.196, 0.862])
    """

    surrogate: str = "reste"
    per: str = "layer"
    rule: str = "exact"


@dataclass(frozen=True)
class BNN(Sign):
    """Q(x) = sign(x) with levels +-1 whatever the weights, sign(0) = +1; gate |x| <= 1.

    Notes
    -----
    Binarised networks clip the latent weights to [-1, 1] and omit the gate of weights, but not that
    of activations: use the estimator `BinaryConnect` with ``clip=1``.

    References
    ----------
    I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio, "Binarized neural networks",
    NeurIPS 2016, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = BNN(), np.array([-1.5, -0.2, 0.0, 0.7])
    >>> q.quantize(x, q.scale(x))
    array([-1., -1.,  1.,  1.])
    >>> q.backward(x, 1.0, np.ones(4))[0]
    array([0., 1., 1., 1.])
    """

    surrogate: str = "hardtanh"
    alpha_scale: ClassVar = 1.0  # no settings: the levels are +-1
    per: ClassVar = "layer"

    def scale(self, w: Array) -> Array:
        """Return 1: (..., m) -> (..., 1)."""
        return backend.namespace(w).ones_like(w[..., :1])

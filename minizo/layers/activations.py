"""Activations, elementwise; among them those that quantise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import pi, sqrt
from typing import Any

import numpy as np

from .. import backend
from ..errors import InputError, require
from ..parallel import alone
from ..quantizers.base import Quantizer, advances
from ..rng import Stream
from ..settings import Natural, Positive
from ..special import erf, sigmoid, silu, silu_slope
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer

FAR = 1e6  # GELU is 0 or x to rounding long before
CUBIC = 0.044715 * sqrt(2.0 / pi)  # of the cube in GELU's tanh form


@dataclass(frozen=True)
class ReLU(Layer):
    """y = max(x, 0); the derivative at exactly 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> y, cache = ReLU().forward({}, np.array([[-1.0, 2.0]]))
    >>> dx, grads = ReLU().backward({}, cache, np.ones((1, 2)))
    >>> y, dx
    (array([[0., 2.]]), array([[0., 1.]]))
    """

    cuts = True

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y, elementwise."""
        xp = backend.namespace(x)
        # against zeros of one example: faster than against a number
        y = xp.maximum(x, xp.zeros_like(x[:1, ...]))
        return y, y

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy where x > 0, else 0."""
        return dy * backend.namespace(dy).astype(cache > 0.0, dy.dtype), {}


@dataclass(frozen=True)
class HardTanh(Layer):
    """y = clip(x, -1, 1); the derivative at exactly -1 and 1 is 1.

    Examples
    --------
    >>> import numpy as np
    >>> y, cache = HardTanh().forward({}, np.array([[-1.0, 2.0]]))
    >>> dx, grads = HardTanh().backward({}, cache, np.ones((1, 2)))
    >>> y, dx
    (array([[-1.,  1.]]), array([[1., 0.]]))
    """

    cuts = True

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y, elementwise."""
        return backend.namespace(x).clip(x, -1.0, 1.0), x

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy where |x| <= 1, else 0."""
        xp = backend.namespace(dy)
        return dy * xp.astype(xp.abs(cache) <= 1.0, dy.dtype), {}


@dataclass(frozen=True)
class GELU(Layer):
    """y = x Phi(x), Phi the standard normal distribution function.

    Parameters
    ----------
    form : {"tanh", "exact"}
        ``"tanh"`` takes tanh(sqrt(2 / pi) (x + 0.044715 x^3)) for 2 Phi(x) - 1, which is cheaper
        and differs by less than 0.001.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[-1.0, 2.0]])
    >>> GELU("exact").forward({}, x)[0].round(4), GELU().forward({}, x)[0].round(4)
    (array([[-0.1587,  1.9545]]), array([[-0.1588,  1.9546]]))
    """

    cuts = True

    form: str = "tanh"

    def __post_init__(self):
        super().__post_init__()
        require(self.form in ("tanh", "exact"), "GELU.form", self.form, "it is tanh or exact")

    def _phi(self, x):
        # Phi(x), and x^2 clipped
        xp = backend.namespace(x)
        near = xp.clip(x, -FAR, FAR)
        square = near * near
        if self.form == "exact":
            phi = erf(x * sqrt(0.5))
        else:
            # tanh(sqrt(2 / pi) (x + 0.044715 x^3))
            phi = CUBIC * square
            phi += sqrt(2.0 / pi)
            phi *= near
            phi = backend.into(phi, xp.tanh, phi)
        phi *= 0.5
        phi += 0.5
        return phi, square

    def predict(self, params: Arrays, x: Array, reduce: Callable = alone) -> Array:
        """y alone."""
        y, _ = self._phi(x)
        y *= x
        return y

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y, elementwise; the slope Phi(x) + x Phi'(x) is kept in place of x."""
        xp, (phi, slope) = backend.namespace(x), self._phi(x)
        y = x * phi
        if self.form == "exact":
            # Phi' = exp(-x^2 / 2) / sqrt(2 pi)
            slope *= -0.5
            slope = backend.into(slope, xp.exp, slope)
            slope *= 1.0 / sqrt(2.0 * pi)
            slope *= x
        else:
            # Phi = (1 + tanh u) / 2:   x Phi' = 2 x Phi (1 - Phi) du/dx
            slope *= 6.0 * CUBIC
            slope += 2.0 * sqrt(2.0 / pi)
            slope *= 1.0 - phi
            slope *= y
        slope += phi
        return y, slope

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy (Phi(x) + x Phi'(x))."""
        return dy * cache, {}


@dataclass(frozen=True)
class SiLU(Layer):
    """y = x sigmoid(x), also called swish.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", Neural Networks, 2018, equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> y, cache = SiLU().forward({}, np.array([[-1.0, 0.0, 2.0]]))
    >>> dx, grads = SiLU().backward({}, cache, np.ones((1, 3)))
    >>> y.round(4), dx.round(4)
    (array([[-0.2689,  0.    ,  1.7616]]), array([[0.0723, 0.5   , 1.0908]]))
    """

    cuts = True

    def predict(self, params: Arrays, x: Array, reduce: Callable = alone) -> Array:
        """y alone."""
        y = sigmoid(x)
        y *= x
        return y

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y, elementwise; the slope is kept in place of x."""
        y, s = silu(x)
        return y, silu_slope(y, s)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = dy s (1 + x (1 - s)),   s = sigmoid(x)."""
        return dy * cache, {}


@dataclass(frozen=True)
class QuantizedActivation(Layer):
    """y = Q(x), and backwards the quantiser's own rule, mostly dx = dy Q_smooth'(x).

    Parameters
    ----------
    quantizer : quantizer
        From `minizo.quantizers`, one that quantises number by number, or one whose scale is that of
        a row at every use (``live``): a row is a token of a sequence, or an example that is a
        vector. ``Sign("hardtanh")`` is the activation of binarised networks, ``AbsMax(bits=8)``
        that of BitNet.
    scale : float
        Its alpha: the distance from 0 to a level for a sign, between two levels for k bits.
    axes : int, optional
        How many axes an example has, which a `Network` tells it. Only a quantiser that learns, with
        parameters that have population axes, must know which axes of x are those.

    Raises
    ------
    InputError
        For a scale that is not positive, a quantiser that fits itself to a whole tensor, or images
        of which a row would be a line of pixels.

    Notes
    -----
    Its true derivative is zero almost everywhere, as that of quantised weights is; the backward is
    a straight-through estimator. Zeroth-order estimators evaluate the forward alone.

    References
    ----------
    I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio, "Binarized neural networks",
    NeurIPS 2016, equation 4 (sign with the slope of hardtanh).

    Examples
    --------
    >>> import numpy as np
    >>> from minizo.quantizers import Sign
    >>> layer = QuantizedActivation(Sign("hardtanh"))
    >>> y, cache = layer.forward({}, np.array([[-0.5, 2.0]]))
    >>> dx, grads = layer.backward({}, cache, np.ones((1, 2)))
    >>> y, dx
    (array([[-1.,  1.]]), array([[1., 0.]]))
    """

    quantizer: Quantizer
    scale: Positive = 1.0
    axes: Natural | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self):
        super().__post_init__()
        q = self.quantizer
        right = (q.pointwise or q.live) and not q.by_filter and not q.random
        remedy = (
            "activations need one per layer that quantises number by number, such as Sign or LSQ, "
            "or token by token, such as AbsMax"
        )
        require(right, "QuantizedActivation.quantizer", q, remedy)

    @property
    def cuts(self) -> bool:
        """Not where something is learned: its gradient looks at all numbers of the layer."""
        return not self.shapes

    @property
    def shapes(self) -> Shapes:
        """What the quantiser learns: LSQ's step, one for the whole layer."""
        return self.quantizer.shapes((1,))

    @property
    def least(self) -> Mapping[str, float]:
        """The quantiser's."""
        return self.quantizer.least

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Initial values of what the quantiser learns."""
        return self.quantizer.init(np.ones(1), stream)

    @property
    def scheduled(self) -> bool:
        """The quantiser's."""
        return advances(self.quantizer)

    def at(self, progress: float) -> Layer:
        """With the quantiser at this point of the run."""
        quantizer = self.quantizer.at(progress)
        return self if quantizer is self.quantizer else replace(self, quantizer=quantizer)

    def fed(self, shape: Shape) -> Layer:
        """With ``axes``, where they matter."""
        if self.quantizer.live and len(shape) > 2:
            raise InputError(
                f"{type(self.quantizer).__name__} quantises the numbers of a token together, but "
                f"is fed examples of shape {shape}; take one that quantises number by number, such "
                "as MidTread or LSQ"
            )
        same = not self.shapes or self.axes == len(shape)
        return self if same else replace(self, axes=len(shape))

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y, elementwise."""
        scale = self._beside(params)
        return self._unrolled(self.quantizer.quantize(self._rows(x), scale), x), x

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx by the quantiser's backward rule, and the gradients of what it learns."""
        x, scale = cache, self._beside(params)
        dx, grads = self.quantizer.backward(self._rows(x), scale, self._rows(dy))
        return self._unrolled(dx, x), grads

    def _beside(self, params):
        # what the quantiser is given beside x
        if not self.shapes:
            return self.scale
        own = {name: params[name] for name in self.shapes}
        if self.axes is None:
            population = max(value.ndim - 1 for value in own.values())
            remedy = "parameters with population axes need it: give the number of an example's axes"
            require(population == 0, "QuantizedActivation.axes", None, remedy)
        return {"alpha": self.scale, **own}

    def _lead(self, x):
        # how many population axes x has
        return 0 if self.axes is None else x.ndim - 1 - self.axes

    def _rows(self, x):
        # (..., N, C, H, W) -> (..., N*C*H*W): a row is what shares what is learned
        if not self.shapes:
            return x
        return backend.namespace(x).reshape(x, (*x.shape[: self._lead(x)], -1))

    def _unrolled(self, rows, x):
        # the inverse; rows may have population axes that x has not
        if not self.shapes:
            return rows
        shape = (*rows.shape[:-1], *x.shape[self._lead(x) :])
        return backend.namespace(rows).reshape(rows, shape)

"""Two ways from one input, added (residual blocks) or multiplied; a shortcut without parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from ..errors import InputError, require
from ..parallel import alone
from ..settings import Count
from ..types import Array, Arrays, Shape
from .base import Layer, zeros
from .stack import (
    Composite,
    Stack,
    backward_through,
    by_layer,
    forward_through,
    predict_through,
    shapes_through,
)


class TwoWays(Composite):
    """What goes along a ``body`` and, from the same input, along a second way of a name of its own.

    A class says with ``second`` which field that is and with ``unequal`` what helps where the two
    give different shapes; `both` is what came out of them.
    """

    body: Mapping
    second: ClassVar[str]
    unequal: ClassVar[str]

    def __post_init__(self):
        super().__post_init__()
        free = self.second not in self.body
        remedy = f"none of its layers may be called {self.second}"
        require(free, "body", list(self.body), remedy)

    @cached_property
    def ways(self) -> tuple[Mapping, ...]:
        """The layers of the body, and the second way as one layer."""
        return self.body, {self.second: Stack(getattr(self, self.second))}

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one example that goes out, the same along both ways."""
        found = (self.body, getattr(self, self.second))
        ours, theirs = (shapes_through(way, shape)[-1] for way in found)
        if ours != theirs:
            raise InputError(
                f"the body gives examples of shape {ours}, the {self.second} {theirs}; "
                f"{self.unequal}"
            )
        return ours

    def both(self, params: Arrays, x: Array, reduce: Callable) -> tuple[Array, Array, list]:
        """Return what comes out of each way, and the caches of all layers."""
        given, (body, second) = by_layer(params), self.ways
        y, caches = forward_through(body, given, x, reduce)
        z, others = forward_through(second, given, x, reduce)
        return y, z, caches + others

    def both_predicted(self, params: Arrays, x: Array, reduce: Callable) -> list[Array]:
        """`both` without caches."""
        given = by_layer(params)
        return [predict_through(way, given, x, reduce) for way in self.ways]

    def both_back(
        self, params: Arrays, caches: Any, dy: Array, dz: Array, wanted: bool, reduce: Callable
    ) -> tuple[Array, Arrays]:
        """dx = the sum of what comes back along both ways, and the gradients of all layers."""
        given, (body, second) = by_layer(params), self.ways
        dx, grads = backward_through(body, given, caches[: len(body)], dy, wanted, reduce)
        also, others = backward_through(second, given, caches[len(body) :], dz, wanted, reduce)
        return (dx + also if wanted else None), grads | others


@dataclass(frozen=True)
class Residual(TwoWays):
    """y = body(x) + shortcut(x).

    Parameters
    ----------
    body : dict of str to layer
        One on top of the other; their names stay as they are: ``"conv1.weight"``.
    shortcut : dict of str to layer
        Their names begin with ``"shortcut."``. Empty for the identity.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    equations 1 (identity) and 2 (a linear shortcut where the shape changes).

    Examples
    --------
    >>> import numpy as np
    >>> from minizo.layers import ReLU
    >>> Residual({"act": ReLU()}).forward({}, np.array([[-1.0, 2.0]]))[0]
    array([[-1.,  4.]])
    """

    body: Mapping
    shortcut: Mapping = field(default_factory=dict)
    second = "shortcut"
    unequal = "use a 1 x 1 convolution or a ZeroPad as shortcut"

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y, and the caches along both ways."""
        y, z, caches = self.both(params, x, reduce)
        return y + z, caches

    def predict(self, params: Arrays, x: Array, reduce: Callable = alone) -> Array:
        """y alone."""
        y, z = self.both_predicted(params, x, reduce)
        return y + z

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = what comes back along the body and along the shortcut, of dy each."""
        return self.both_back(params, cache, dy, dy, wanted, reduce)


@dataclass(frozen=True)
class Gated(TwoWays):
    """y = body(x) * gate(x), number by number.

    With ``{"up": Linear(C, F, bias=False)}`` for a body and ``{"fc": Linear(C, F, bias=False),
    "act": SiLU()}`` for a gate it is SwiGLU.

    Parameters
    ----------
    body : dict of str to layer
        One on top of the other; their names stay as they are: ``"up.weight"``.
    gate : dict of str to layer
        Their names begin with ``"gate."``: ``"gate.fc.weight"``.

    References
    ----------
    N. Shazeer, "GLU variants improve transformer", 2020, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo.layers import ReLU
    >>> Gated({}, {"act": ReLU()}).forward({}, np.array([[-1.0, 3.0]]))[0]
    array([[-0.,  9.]])
    """

    body: Mapping
    gate: Mapping
    second = "gate"
    unequal = "they are multiplied number by number and must be the same"

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y; the cache is that of both ways, and what they gave."""
        y, z, caches = self.both(params, x, reduce)
        return y * z, [*caches, (y, z)]

    def predict(self, params: Arrays, x: Array, reduce: Callable = alone) -> Array:
        """y alone."""
        y, z = self.both_predicted(params, x, reduce)
        return y * z

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx = what comes back along the body, of dy gate(x), and along the gate, of dy body(x)."""
        *caches, (y, z) = cache
        return self.both_back(params, caches, dy * z, dy * y, wanted, reduce)


@dataclass(frozen=True)
class ZeroPad(Layer):
    """Every ``stride``-th pixel, and zeros for the channels that are missing ("option A").

    Parameters
    ----------
    inputs, outputs : int
        Channels; half of the new ones are put before the old ones, the rest behind.
    stride : int

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    section 3.3 (A) and section 4.2: the shortcut of the CIFAR-10 networks.

    Examples
    --------
    >>> import numpy as np
    >>> y, _ = ZeroPad(1, 3).forward({}, np.ones((1, 1, 1, 1)))
    >>> y.ravel()
    array([0., 1., 0.])
    """

    cuts = True

    inputs: Count
    outputs: Count
    stride: Count = 1

    def __post_init__(self):
        super().__post_init__()
        enough = self.outputs >= self.inputs
        require(enough, "ZeroPad.outputs", self.outputs, f"it must be at least {self.inputs}")

    def output_shape(self, shape: Shape) -> Shape:
        """(inputs, H, W) -> (outputs, H', W')."""
        if len(shape) != 3 or shape[0] != self.inputs:
            raise InputError(
                f"ZeroPad({self.inputs}, {self.outputs}) is fed examples of shape {shape}; it "
                f"takes ({self.inputs}, H, W)"
            )
        return (self.outputs, *(-(-size // self.stride) for size in shape[1:]))

    def _kept(self, y):
        # the channels of y that come from x
        first = (self.outputs - self.inputs) // 2
        return y[..., first : first + self.inputs, :, :]

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, outputs, H', W') for x (..., N, inputs, H, W)."""
        kept = x[..., :: self.stride, :: self.stride]
        y = zeros((*x.shape[:-3], self.outputs, *kept.shape[-2:]), x)
        self._kept(y)[...] = kept
        return y, x.shape[-3:]

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx: dy where a pixel of a channel was kept, 0 elsewhere."""
        dx = zeros((*dy.shape[:-3], *cache), dy)
        dx[..., :: self.stride, :: self.stride] = self._kept(dy)
        return dx, {}

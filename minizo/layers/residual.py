"""Two ways from one input, added (residual blocks) or multiplied; and a shortcut of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import InputError, require
from ..parallel import alone
from ..settings import Count
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


@dataclass(frozen=True)
class Residual(Composite):
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

    def __post_init__(self):
        super().__post_init__()
        taken = "shortcut" not in self.body
        require(taken, "body", list(self.body), "none of its layers may be called shortcut")

    @cached_property
    def ways(self):
        """The layers of the body, and the shortcut as one layer."""
        return self.body, {"shortcut": Stack(self.shortcut)}

    def output_shape(self, shape):
        """Shape of one example that goes out, the same along both ways."""
        ours, theirs = (shapes_through(way, shape)[-1] for way in (self.body, self.shortcut))
        if ours != theirs:
            raise InputError(
                f"the body gives examples of shape {ours}, the shortcut {theirs}; use a 1 x 1 "
                "convolution or a ZeroPad as shortcut"
            )
        return ours

    def forward(self, params, x, reduce=alone):
        """y, and the caches along both ways."""
        given, (body, shortcut) = by_layer(params), self.ways
        y, caches = forward_through(body, given, x, reduce)
        z, others = forward_through(shortcut, given, x, reduce)
        return y + z, caches + others

    def predict(self, params, x, reduce=alone):
        """y alone."""
        given, (body, shortcut) = by_layer(params), self.ways
        y = predict_through(body, given, x, reduce)
        return y + predict_through(shortcut, given, x, reduce)

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dx = the sum of what comes back along both ways."""
        given, (body, shortcut) = by_layer(params), self.ways
        dx, grads = backward_through(body, given, cache[:-1], dy, wanted, reduce)
        dz, others = backward_through(shortcut, given, cache[-1:], dy, wanted, reduce)
        return (dx + dz if wanted else None), grads | others


@dataclass(frozen=True)
class Gated(Composite):
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

    def __post_init__(self):
        super().__post_init__()
        free = "gate" not in self.body
        require(free, "body", list(self.body), "none of its layers may be called gate")

    @cached_property
    def ways(self):
        """The layers of the body, and the gate as one layer."""
        return self.body, {"gate": Stack(self.gate)}

    def output_shape(self, shape):
        """Shape of one example that goes out, the same along both ways."""
        ours, theirs = (shapes_through(way, shape)[-1] for way in (self.body, self.gate))
        if ours != theirs:
            raise InputError(
                f"the body gives examples of shape {ours}, the gate {theirs}; they are multiplied "
                "number by number and must be the same"
            )
        return ours

    def forward(self, params, x, reduce=alone):
        """y; the cache is that of both ways, and what they gave."""
        given, (body, gate) = by_layer(params), self.ways
        y, caches = forward_through(body, given, x, reduce)
        z, others = forward_through(gate, given, x, reduce)
        return y * z, [*caches, *others, (y, z)]

    def predict(self, params, x, reduce=alone):
        """y alone."""
        given, (body, gate) = by_layer(params), self.ways
        y = predict_through(body, given, x, reduce)
        return y * predict_through(gate, given, x, reduce)

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dx = what comes back along the body, of dy gate(x), and along the gate, of dy body(x)."""
        given, (body, gate), (*caches, other, (y, z)) = by_layer(params), self.ways, cache
        dx, grads = backward_through(body, given, caches, dy * z, wanted, reduce)
        dz, others = backward_through(gate, given, [other], dy * y, wanted, reduce)
        return (dx + dz if wanted else None), grads | others


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

    def output_shape(self, shape):
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

    def forward(self, params, x, reduce=alone):
        """y (..., N, outputs, H', W') for x (..., N, inputs, H, W)."""
        kept = x[..., :: self.stride, :: self.stride]
        y = zeros((*x.shape[:-3], self.outputs, *kept.shape[-2:]), x)
        self._kept(y)[...] = kept
        return y, x.shape[-3:]

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dx: dy where a pixel of a channel was kept, 0 elsewhere."""
        dx = zeros((*dy.shape[:-3], *cache), dy)
        dx[..., :: self.stride, :: self.stride] = self._kept(dy)
        return dx, {}

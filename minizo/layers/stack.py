"""Layers made of named layers: what they share, and the stack, one on top of the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ..errors import InputError, require
from ..parallel import alone
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer


@dataclass(frozen=True)
class Composite:
    """What is made of named layers: no layer itself, but the ways of the data through layers.

    Every field is a mapping of names to layers, one on top of the other, which may be composites
    in their turn. One has ``ways``, all of which start from what the composite is fed,
    ``output_shape``, ``forward``, ``predict`` (the forward without caches) and ``backward``.

    The names of what a layer has (parameters, running statistics, random arrays) get the layer's as
    a prefix: ``"weight"`` of ``"fc1"`` becomes ``"fc1.weight"``. The cache is the list of those of
    the layers.
    """

    # mappings of layers, each from what the composite is fed to what it gives
    ways: ClassVar[tuple[Mapping, ...]] = ()

    def __post_init__(self):
        for way in self.ways:
            remedy = "it must be a dict of name to layer, in the order of the data"
            require(isinstance(way, Mapping), "layers", way, remedy)
            for name, layer in way.items():
                check_layer(name, layer)

    @cached_property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters of all layers."""
        return {
            f"{name}.{part}": shape
            for way in self.ways
            for name, layer in way.items()
            for part, shape in layer.shapes.items()
        }


def check_layer(name, layer):
    """Raise an `InputError` for a name with a dot, or for what is no layer."""
    right = isinstance(name, str) and "." not in name
    require(right, "the name of a layer", name, "it must be a string without dots")
    if isinstance(layer, type):
        cls = layer.__name__
        raise InputError(f"layer {name!r} is the class {cls}, but it must be an object: {cls}(...)")
    for method in ("forward", "backward", "output_shape"):
        if not callable(getattr(layer, method, None)):
            raise InputError(
                f"layer {name!r} is a {type(layer).__name__}, which has no {method}; write it, or "
                "inherit from minizo.layers.Layer"
            )
    if not isinstance(layer, Composite):
        needed = ("init_state", "statistics", "next_state")
        cls = type(layer)
        own = [m for m in needed if getattr(cls, m) is not getattr(Layer, m)]
        if len(own) not in (0, 3) or bool(layer.running) != bool(own):
            raise InputError(
                f"layer {name!r}: {cls.__name__} has {', '.join(own) or 'no init_state'}, "
                f"and running is {layer.running!r}; a layer with running statistics has running, "
                f"{', '.join(needed)}"
            )


def shapes_through(layers, shape):
    """Shapes of an example before the first of ``layers``, between them, and after the last."""
    shapes = [tuple(shape)]
    for name, layer in layers.items():
        try:
            shapes.append(tuple(layer.output_shape(shapes[-1])))
        except InputError as error:
            raise InputError(f"layer {name!r}: {error}") from None
    return shapes


def by_layer(params):
    """What each layer is given, under its own names.

    >>> by_layer({"fc1.weight": 1, "block.fc.weight": 2})
    {'fc1': {'weight': 1}, 'block': {'fc.weight': 2}}
    """
    given = {}
    for name, value in params.items():
        layer, _, part = name.partition(".")
        given.setdefault(layer, {})[part] = value
    return given


def forward_through(layers, given, x, reduce=alone):
    """What comes out of the last of ``layers``, and the caches of all; given: `by_layer`."""
    caches = []
    for name, layer in layers.items():
        x, cache = layer.forward(given.get(name, {}), x, reduce)
        caches.append(cache)
    return x, caches


def predict_through(layers, given, x, reduce=alone):
    """`forward_through` without the caches, whose memory is then free at once."""
    for name, layer in layers.items():
        own = given.get(name, {})
        if hasattr(layer, "predict"):
            x = layer.predict(own, x, reduce)
        else:
            x, _ = layer.forward(own, x, reduce)
    return x


def backward_through(layers, given, caches, dy, wanted=True, reduce=alone):
    """dx and the gradients of all ``layers``; without dx, nothing below the lowest parameter."""
    learning = [index for index, layer in enumerate(layers.values()) if layer.shapes]
    bottom = 0 if wanted else min(learning, default=len(layers))
    named, walk = {}, list(zip(layers.items(), caches, strict=True))
    for index in range(len(walk) - 1, bottom - 1, -1):
        (name, layer), cache = walk[index]
        dy, grads = layer.backward(given.get(name, {}), cache, dy, wanted or index > bottom, reduce)
        named |= {f"{name}.{part}": grad for part, grad in grads.items()}
    return (dy if wanted else None), named


@dataclass(frozen=True)
class Stack(Composite):
    """Named layers, one on top of the other.

    Parameters
    ----------
    layers : dict of str to layer
        In the order in which the data pass. A layer may itself be a stack. Empty for the identity.

    Examples
    --------
    >>> from minizo.layers import Linear, ReLU
    >>> stack = Stack({"act": ReLU(), "fc": Linear(2, 1)})
    >>> stack.shapes, stack.output_shape((2,))
    ({'fc.weight': (1, 2), 'fc.bias': (1,)}, (1,))
    """

    layers: Mapping

    @property
    def ways(self) -> tuple[Mapping, ...]:
        """One, through all layers."""
        return (self.layers,)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one example that goes out."""
        return shapes_through(self.layers, shape)[-1]

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """Outputs, and the caches of all layers."""
        return forward_through(self.layers, by_layer(params), x, reduce)

    def predict(self, params: Arrays, x: Array, reduce: Callable = alone) -> Array:
        """`forward` without the caches, whose memory is then free at once."""
        return predict_through(self.layers, by_layer(params), x, reduce)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx, and the gradients of all layers."""
        return backward_through(self.layers, by_layer(params), cache, dy, wanted, reduce)

"""Layers made of named layers: what they all share, and the stack, one on top of the other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from ..errors import InputError
from ..parallel import alone
from .base import Layer


class Part(NamedTuple):
    """A layer in a composite one: its ``parameters``, and all that it may be given (``names``).

    Both are lists of pairs (the layer's own name, the composite's name).
    """

    layer: Layer
    parameters: list
    names: list


class Composite(Layer):
    """What layers made of named ``layers`` share, however the data pass through them.

    The names of what a layer has (parameters, running statistics, random arrays) get the layer's
    as a prefix: ``"weight"`` of ``"fc1"`` becomes ``"fc1.weight"``. A composite says with
    ``inputs(shape)`` what shapes its layers are fed; its cache is the list of theirs.
    """

    @cached_property
    def parts(self):
        """A `Part` for every layer."""
        parts = []
        for name, layer in self.layers.items():
            own = [(part, f"{name}.{part}") for part in layer.shapes]
            more = [(part, f"{name}.{part}") for part in (*layer.running, *layer.random)]
            parts.append(Part(layer, own, own + more))
        return parts

    def _renamed(self, found):
        # one dict a layer, by the layer's names -> one dict by ours
        return {
            f"{name}.{part}": value
            for name, named in zip(self.layers, found, strict=True)
            for part, value in named.items()
        }

    @cached_property
    def shapes(self):
        """Names and shapes of the parameters of all layers."""
        return self._renamed([layer.shapes for layer in self.layers.values()])

    @cached_property
    def cuts(self):
        """Whether all layers allow it."""
        return all(layer.cuts for layer in self.layers.values())

    @cached_property
    def least(self):
        """Parameters of all layers that training keeps above a value."""
        return self._renamed([layer.least for layer in self.layers.values()])

    @cached_property
    def running(self):
        """Names of the running statistics of all layers."""
        return tuple(f"{name}.{p}" for name, layer in self.layers.items() for p in layer.running)

    @cached_property
    def random(self):
        """Names of the random arrays of all layers."""
        return tuple(f"{name}.{p}" for name, layer in self.layers.items() for p in layer.random)

    def macs(self, shape):
        """Multiply-accumulates of one forward, per example."""
        pairs = zip(self.layers.values(), self.inputs(shape), strict=True)
        return sum(layer.macs(own) for layer, own in pairs)

    def least_batch(self, shape):
        """The most that any layer needs."""
        pairs = zip(self.layers.values(), self.inputs(shape), strict=True)
        return max((layer.least_batch(own) for layer, own in pairs), default=1)

    def init(self, stream, like):
        """Initial parameters of all layers, each from a stream of its own."""
        layers = self.layers.values()
        return self._renamed([layer.init(stream.child(i), like) for i, layer in enumerate(layers)])

    def init_state(self, like):
        """Running statistics of all layers before the first batch."""
        return self._renamed([layer.init_state(like) for layer in self.layers.values()])

    def statistics(self, cache):
        """What the batch says about the running statistics of all layers."""
        pairs = zip(self.layers.values(), cache, strict=True)
        return self._renamed([layer.statistics(own) for layer, own in pairs])

    def next_state(self, state, statistics):
        """Running statistics of all layers after the batch."""
        after = []
        for name, layer in self.layers.items():
            own = {part: state[f"{name}.{part}"] for part in layer.running}
            seen = {part: statistics[f"{name}.{part}"] for part in layer.running}
            after.append(layer.next_state(own, seen))
        return self._renamed(after)

    def noise(self, stream, shape, examples, like):
        """Random arrays of all layers for one batch, each from a stream of its own."""
        pairs = zip(self.layers.values(), self.inputs(shape), strict=True)
        return self._renamed(
            [layer.noise(stream.child(i), s, examples, like) for i, (layer, s) in enumerate(pairs)]
        )


def shapes_through(layers, shape):
    """Shapes of an example before the first of ``layers``, between them, and after the last."""
    shapes = [tuple(shape)]
    for name, layer in layers.items():
        try:
            shapes.append(layer.output_shape(shapes[-1]))
        except InputError as error:
            raise InputError(f"layer {name!r}: {error}") from None
    return shapes


def fed(layers, shapes):
    """The layers where each is fed examples of its shape; the same mapping where none looks."""
    pairs = zip(layers.items(), shapes, strict=True)
    new = {name: layer.fed(tuple(shape)) for (name, layer), shape in pairs}
    return layers if all(new[name] is layer for name, layer in layers.items()) else new


def advanced(layers, progress):
    """The layers at this point of the run; the same mapping where none depends on it."""
    new = {name: layer.at(progress) for name, layer in layers.items()}
    return layers if all(new[name] is layer for name, layer in layers.items()) else new


def lowest(parts):
    """Place of the lowest layer that has parameters; without any, one above the last."""
    return next((i for i, part in enumerate(parts) if part.parameters), len(parts))


def forward_through(parts, params, x, reduce=alone):
    """What comes out of the last of ``parts``, and the caches of all."""
    caches = []
    for layer, _, names in parts:
        own = {part: params[name] for part, name in names if name in params}
        x, cache = layer.forward(own, x, reduce)
        caches.append(cache)
    return x, caches


def backward_through(parts, params, caches, dy, wanted=True, reduce=alone):
    """dx and the gradients of all ``parts``; without dx, nothing below the lowest parameter."""
    named, bottom = {}, -1 if wanted else lowest(parts)
    for index in range(len(parts) - 1, max(bottom, 0) - 1, -1):
        layer, parameters, names = parts[index]
        own = {part: params[name] for part, name in names if name in params}
        dy, grads = layer.backward(own, caches[index], dy, index > bottom, reduce)
        for part, name in parameters:
            named[name] = grads[part]
    return (dy if wanted else None), named


def backward_macs_through(parts, shapes, wanted=True):
    """Multiply-accumulates of `backward_through`; ``shapes`` of what each part is fed."""
    bottom = -1 if wanted else lowest(parts)
    return sum(
        parts[index].layer.backward_macs(shapes[index], index > bottom)
        for index in range(max(bottom, 0), len(parts))
    )


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

    def inputs(self, shape):
        """Shapes of the examples that the layers are fed."""
        return shapes_through(self.layers, shape)[:-1]

    def fed(self, shape):
        """With every layer fed what comes out of the one below; itself where none looks."""
        layers = fed(self.layers, self.inputs(shape))
        return self if layers is self.layers else replace(self, layers=layers)

    def output_shape(self, shape):
        """Shape of one example that goes out."""
        return shapes_through(self.layers, shape)[-1]

    def backward_macs(self, shape, wanted=True):
        """Multiply-accumulates of one backward, per example."""
        return backward_macs_through(self.parts, self.inputs(shape), wanted)

    def at(self, progress):
        """With every layer at this point of the run; itself where none depends on it."""
        layers = advanced(self.layers, progress)
        return self if layers is self.layers else replace(self, layers=layers)

    def forward(self, params, x, reduce=alone):
        """Outputs, and the caches of all layers."""
        return forward_through(self.parts, params, x, reduce)

    def predict(self, params, x, reduce=alone):
        """`forward` without the caches, whose memory is then free at once."""
        for layer, _, names in self.parts:
            own = {part: params[name] for part, name in names if name in params}
            x, _ = layer.forward(own, x, reduce)
        return x

    def backward(self, params, cache, dy, wanted=True, reduce=alone):
        """dx, and the gradients of all layers."""
        return backward_through(self.parts, params, cache, dy, wanted, reduce)

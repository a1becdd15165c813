"""What the layers of a network say of themselves, read off one list of their places.

`places` walks through the layers, those inside of composites too, and notes for each its name, what
it is fed, and what else only its place decides. Names, starts, running statistics, random arrays
and costs of a `minizo.Network` come from that list.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod
from operator import getitem
from typing import Annotated, Any, NamedTuple, Self

from .errors import InputError, require
from .layers import Layer, Stack
from .layers.stack import Composite, shapes_through
from .rng import Stream
from .settings import Settings
from .types import Array, Arrays, Shape


class Place(NamedTuple):
    """A layer that is not made of layers, and what only its place in a network decides.

    Parameters
    ----------
    name : str
        With which its parameters' names begin: ``"block1.conv1."``.
    layer : Layer
    shape : tuple of int
        Of an example that it is fed.
    path : tuple of int
        Its place in every composite around it, which finds its random stream and its cache.
    wanted : bool
        Whether its dx is wanted: something below it has parameters.
    """

    name: str
    layer: Layer
    shape: tuple
    path: tuple
    wanted: bool


def places(layer, shape, name="", path=(), wanted=True):
    """A `Place` for every layer in ``layer``, in the order of their parameters.

    Whatever a network must know of its layers is read off this list: names, starts, running
    statistics, random arrays, costs.

    >>> from minizo.layers import Linear, ReLU, Residual
    >>> block = Residual({"fc": Linear(2, 2), "act": ReLU()}, {"fc": Linear(2, 2)})
    >>> [(place.name, place.path) for place in places(block, (2,))]
    [('fc.', (0,)), ('act.', (1,)), ('shortcut.fc.', (2, 0))]
    """
    if not isinstance(layer, Composite):
        return [Place(name, layer, shape, path, wanted)]
    found, index = [], 0
    for way in layer.ways:
        below = wanted
        for (part, own), fed in zip(way.items(), shapes_through(way, shape), strict=False):
            found += places(own, fed, f"{name}{part}.", (*path, index), below)
            below = below or bool(own.shapes)
            index += 1
    return found


def rebuilt(layer, change, shape):
    """``layer`` with ``change(layer, shape it is fed)`` for every one that is no composite."""
    if not isinstance(layer, Composite):
        return change(layer, shape)
    new = {}
    for way in fields(layer):
        layers = getattr(layer, way.name)
        fed = zip(layers.items(), shapes_through(layers, shape), strict=False)
        new[way.name] = {name: rebuilt(own, change, own_shape) for (name, own), own_shape in fed}
    return replace(layer, **new)


@dataclass(frozen=True, eq=False)
class Layered(Settings):
    """Named layers, one on top of the other, and the shape of an example that the first is fed.

    Parameters
    ----------
    layers : dict of str to layer
    input_shape : tuple of int
    """

    layers: Mapping
    input_shape: Annotated[tuple, "[1, inf)"]

    def __post_init__(self):
        super().__post_init__()
        require(len(self.layers) > 0, "layers", self.layers, "a network needs at least one")
        _ = self.stack  # what is wrong is refused when it is built, not when it runs

    @cached_property
    def stack(self) -> Stack:
        """The layers as one, each of which knows what it is fed."""
        return rebuilt(Stack(self.layers), lambda layer, shape: layer.fed(shape), self.input_shape)

    @cached_property
    def shapes_between(self) -> list[Shape]:
        """Shapes of an example before the first layer, between them, and after the last."""
        return shapes_through(self.layers, self.input_shape)

    @cached_property
    def output_shape(self) -> Shape:
        """Shape of the output for one example."""
        return self.shapes_between[-1]

    @cached_property
    def places(self) -> list[Place]:
        """A `Place` for every layer, inside composites too."""
        return places(self.stack, self.input_shape, wanted=False)

    def _named(self, found):
        # one dict for each place, by the layer's names -> one dict by the network's
        return {
            place.name + part: value
            for place, own in zip(self.places, found, strict=True)
            for part, value in own.items()
        }

    @cached_property
    def running(self) -> tuple[str, ...]:
        """Names of the running statistics, such as ``"bn1.mean"``; empty for most networks."""
        return tuple(place.name + part for place in self.places for part in place.layer.running)

    @cached_property
    def random(self) -> tuple[str, ...]:
        """Names of the random arrays that layers need in training, such as ``"drop1.mask"``."""
        return tuple(place.name + part for place in self.places for part in place.layer.random)

    @cached_property
    def cuts(self) -> bool:
        """Whether a batch may be cut into blocks of examples: all layers allow it."""
        return all(place.layer.cuts for place in self.places)

    @cached_property
    def scheduled(self) -> bool:
        """Whether a layer depends on the part of the run that is over."""
        return any(place.layer.scheduled for place in self.places)

    @cached_property
    def least_batch(self) -> int:
        """Examples that a batch needs in training: 2 where one alone has nothing to normalise."""
        return max((place.layer.least_batch(place.shape) for place in self.places), default=1)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one forward, per example."""
        return sum(place.layer.macs(place.shape) for place in self.places)

    @cached_property
    def backward_macs(self) -> int:
        """Multiply-accumulates of one backward, per example.

        dx is not computed below the lowest layer that has parameters.
        """
        return sum(place.layer.backward_macs(place.shape, place.wanted) for place in self._above)

    @cached_property
    def widest(self) -> int:
        """Size of the largest output that depends on theta, per example."""
        outputs = [place.layer.output_shape(place.shape) for place in self._above]
        return max((prod(shape) for shape in outputs), default=1)

    @property
    def _above(self):
        # the layers whose outputs depend on theta
        return [place for place in self.places if place.wanted or place.layer.shapes]

    def at(self, progress: float) -> Self:
        """This network at a point of the run; itself where no layer depends on it."""
        if not self.scheduled:
            return self
        stack = rebuilt(self.stack, lambda layer, _: layer.at(progress), self.input_shape)
        return replace(self, layers=stack.layers)

    # Running statistics, and random arrays

    def init_state(self, like: Array) -> Arrays:
        """Running statistics before the first batch: name -> array, where ``like`` lives.

        Empty for a network without any. `minizo.fit` starts from those of the first batch.
        """
        return self._named([place.layer.init_state(like) for place in self.places])

    def next_state(self, state: Arrays, statistics: Mapping[str, Array]) -> Arrays:
        """Running statistics after a batch whose own `statistics` are given."""
        if not self.running:
            return state
        for name in self.running:
            if name not in statistics:
                raise InputError(
                    f"there are no batch statistics for {name}; an estimator of a network with "
                    "running statistics hands on those that the objective gave it, "
                    "Estimate(..., statistics=objective.statistics(theta, batch))"
                )
        after = []
        for name, layer, *_ in self.places:
            own, seen = ({p: of[name + p] for p in layer.running} for of in (state, statistics))
            after.append(self._all_running(name, layer, "next_state", layer.next_state(own, seen)))
        return self._named(after)

    @staticmethod
    def _all_running(name, layer, method, found):
        # what a layer says of its running statistics names all of them
        if set(found) != set(layer.running):
            raise InputError(
                f"layer {name[:-1]!r}: {method} gives {sorted(found)}, but running says "
                f"{sorted(layer.running)}"
            )
        return found

    def statistics(self, caches: Any) -> Arrays:
        """What the batch of these ``caches`` says about the running statistics: name -> array."""
        if not self.running:
            return {}
        # every block of examples knows them; a composite's cache is the list of its layers'
        own = [functools.reduce(getitem, place.path, caches[0]) for place in self.places]
        found = []
        for (name, layer, *_), cache in zip(self.places, own, strict=True):
            seen = layer.statistics(cache)
            found.append(self._all_running(name, layer, "statistics", seen) if seen else seen)
        return self._named(found)

    def noise(self, stream: Stream, examples: int, like: Array) -> Arrays:
        """Random arrays that layers (Dropout) need in training on a batch: name -> array."""
        if not self.random:
            return {}
        return self._named(
            [
                place.layer.noise(stream.child(*place.path), place.shape, examples, like)
                for place in self.places
            ]
        )

"""A stack of layers over one parameter vector theta, with named views of its slices."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from operator import getitem
from typing import Annotated

import numpy as np

from . import backend, rng
from .errors import InputError, require
from .layers import Stack
from .layers.stack import places, rebuilt, shapes_through
from .parallel import together
from .settings import Settings

BLOCKS = 4  # into which a batch is cut at most
BLOCK_MACS = 100_000_000  # multiply-accumulates of a block at least: some milliseconds, and
BLOCK_EXAMPLES = 2  # so many examples


def even_slices(n, count):
    """Slices that cut n examples into ``count`` blocks of about the same size.

    >>> even_slices(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]


@dataclass(frozen=True, eq=False)
class Network(Settings):
    """Named layers, one on top of the other.

    Parameters
    ----------
    layers : dict of str to layer
        In the order in which the data pass; ``"fc1"`` with a weight gives the parameter
        ``"fc1.weight"``.
    input_shape : tuple of int
        Shape of one example, ``(1, 28, 28)`` for MNIST.
    companions : dict of str to quantizer, optional
        Quantisers that learn something beside a parameter. A step beside ``"fc1.weight"`` is called
        ``"fc1.weight.step"``; all of these are the last entries of theta. `minizo.Objective` sets
        them; the layers do not look at them.

    Raises
    ------
    InputError
        If a layer does not take what the one below it gives.

    Notes
    -----
    theta has shape (d,), or (..., d) with leading *population* axes; ``forward`` then answers with
    the same leading axes. One forward costs ``macs`` multiply-accumulates an example, one backward
    ``backward_macs``: the gradient with respect to the data is never computed.
    """

    layers: Mapping
    input_shape: Annotated[tuple, "[1, inf)"]
    companions: Mapping = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        require(len(self.layers) > 0, "layers", self.layers, "a network needs at least one")
        _ = self.stack  # what is wrong is refused when it is built, not when it runs

    @cached_property
    def stack(self):
        """The layers as one, each of which knows what it is fed."""
        return rebuilt(Stack(self.layers), lambda layer, shape: layer.fed(shape), self.input_shape)

    @cached_property
    def shapes_between(self):
        """Shapes of an example before the first layer, between them, and after the last."""
        return shapes_through(self.layers, self.input_shape)

    @cached_property
    def output_shape(self):
        """Shape of the output for one example."""
        return self.shapes_between[-1]

    # What the layers say of themselves, read off the list of their places

    @cached_property
    def places(self):
        """A `minizo.layers.stack.Place` for every layer, inside composites too."""
        return places(self.stack, self.input_shape, wanted=False)

    def _named(self, found):
        # one dict for each place, by the layer's names -> one dict by the network's
        return {
            place.name + part: value
            for place, own in zip(self.places, found, strict=True)
            for part, value in own.items()
        }

    @cached_property
    def shapes(self):
        """Parameter name -> shape, in the order of theta."""
        return self.stack.shapes | {
            f"{name}.{part}": shape
            for name, companion in self.companions.items()
            for part, shape in companion.shapes(self.rows(name, companion)).items()
        }

    @cached_property
    def least(self):
        """Parameter name -> the value that training keeps it at or above, such as LSQ's steps."""
        return self._named([place.layer.least for place in self.places]) | {
            f"{name}.{part}": value
            for name, companion in self.companions.items()
            for part, value in companion.least.items()
        }

    def rows(self, name, quantizer):
        """Shape in which ``quantizer`` sees a parameter: (m,), or (F, n) if it works by filter.

        >>> from minizo import models, quantizers
        >>> models.lenet().rows("conv2.weight", quantizers.Sign())
        (12800,)
        """
        shape = self.stack.shapes[name]
        if not quantizer.by_filter:
            return (prod(shape),)
        return shape[0], prod(shape[1:])

    @cached_property
    def running(self):
        """Names of the running statistics, such as ``"bn1.mean"``; empty for most networks."""
        return tuple(place.name + part for place in self.places for part in place.layer.running)

    @cached_property
    def random(self):
        """Names of the random arrays that layers need in training, such as ``"drop1.mask"``."""
        return tuple(place.name + part for place in self.places for part in place.layer.random)

    @cached_property
    def cuts(self):
        """Whether a batch may be cut into blocks of examples: all layers allow it."""
        return all(place.layer.cuts for place in self.places)

    @cached_property
    def scheduled(self):
        """Whether a layer depends on the part of the run that is over: on the way it is another."""
        return any(place.layer.at(0.5) is not place.layer for place in self.places)

    @cached_property
    def slices(self):
        """Parameter name -> the slice of theta that holds it."""
        slices, start = {}, 0
        for name, shape in self.shapes.items():
            slices[name] = slice(start, start + prod(shape))
            start += prod(shape)
        return slices

    @cached_property
    def d(self):
        """Number of parameters."""
        return sum(prod(shape) for shape in self.shapes.values())

    @cached_property
    def least_batch(self):
        """Examples that a batch needs in training: 2 where one alone has nothing to normalise."""
        return max((place.layer.least_batch(place.shape) for place in self.places), default=1)

    @cached_property
    def macs(self):
        """Multiply-accumulates of one forward, per example."""
        return sum(place.layer.macs(place.shape) for place in self.places)

    @cached_property
    def backward_macs(self):
        """Multiply-accumulates of one backward, per example: dW of every layer, dx of all but one.

        dx is not computed below the lowest layer that has parameters.
        """
        return sum(place.layer.backward_macs(place.shape, place.wanted) for place in self._above)

    @cached_property
    def widest(self):
        """Size of the largest output that depends on theta, per example."""
        outputs = [place.layer.output_shape(place.shape) for place in self._above]
        return max((prod(shape) for shape in outputs), default=1)

    @property
    def _above(self):
        # the layers whose outputs depend on theta
        return [place for place in self.places if place.wanted or place.layer.shapes]

    def at(self, progress):
        """This network at a point of the run; itself where no layer depends on it."""
        if not self.scheduled:
            return self
        stack = rebuilt(self.stack, lambda layer, _: layer.at(progress), self.input_shape)
        return replace(self, layers=stack.layers)

    def init(self, seed=0, like=None, values=None):
        """Initial theta: (d,) in the library and dtype of ``like`` (NumPy float32 by default).

        Drawn on the host, so that one seed starts from the same weights on every backend.

        Parameters
        ----------
        seed : int
        like : ndarray, optional
        values : dict of str to ndarray, optional
            Parameters of the layers to start from instead of new ones, such as those of a run in
            full precision. What quantisers learn beside them is made to fit.
        """
        like = np.empty(0, dtype=np.float32) if like is None else like
        theta = np.empty(self.d, dtype=backend.numpy_dtype(like))
        if values is None:
            stream = rng.at(seed, "init")
            found = [place.layer.init(stream.child(*place.path), theta) for place in self.places]
            values = self._named(found)
        else:
            values = {name: backend.to_numpy(values[name]) for name in self.stack.shapes}
        for index, (name, companion) in enumerate(self.companions.items()):
            w = values[name].reshape(self.rows(name, companion))
            own = companion.init(w, rng.at(seed, "beside", index))
            shapes = {part: tuple(np.shape(value)) for part, value in own.items()}
            wanted = companion.shapes(self.rows(name, companion))
            remedy = f"its shapes say {dict(wanted)}"
            require(shapes == dict(wanted), f"{type(companion).__name__}.init", shapes, remedy)
            values |= {f"{name}.{part}": value for part, value in own.items()}
        for name, part in self.slices.items():
            theta[part] = values[name].reshape(-1)
        return backend.asarray(theta, like)

    def init_state(self, like):
        """Running statistics before the first batch: name -> array, where ``like`` lives.

        Empty for a network without any. `minizo.fit` starts from those of the first batch.
        """
        return self._named([place.layer.init_state(like) for place in self.places])

    def next_state(self, state, statistics):
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

    def project(self, theta):
        """theta with what must not fall below a value raised to it; theta itself where nothing is.

        The training loop does this after every step.
        """
        if not self.least:
            return theta
        xp = backend.namespace(theta)
        new = xp.asarray(theta, copy=True)
        for name, value in self.least.items():
            own = new[..., self.slices[name]]
            own[...] = xp.clip(own, value, None)
        return new

    def noise(self, stream, examples, like):
        """Random arrays that layers (Dropout) need in training on a batch: name -> array."""
        if not self.random:
            return {}
        return self._named(
            [
                place.layer.noise(stream.child(*place.path), place.shape, examples, like)
                for place in self.places
            ]
        )

    def views(self, theta):
        """Named views of theta: name -> (..., *shape). They share its memory."""
        xp = backend.namespace(theta)
        if theta.shape[-1] != self.d:
            raise InputError(
                f"theta has shape {tuple(theta.shape)}, but this network takes (..., {self.d})"
            )
        lead = theta.shape[:-1]
        return {
            name: xp.reshape(theta[..., self.slices[name]], (*lead, *shape))
            for name, shape in self.shapes.items()
        }

    def flatten(self, named):
        """The inverse of `views`: name -> (..., *shape) to one new array (..., d)."""
        values = [named[name] for name in self.shapes]
        xp = backend.namespace(*values)
        axes = [len(shape) for shape in self.shapes.values()]
        return backend.concat(
            [
                xp.reshape(value, (*value.shape[: value.ndim - n], -1))
                for value, n in zip(values, axes, strict=True)
            ],
            axis=-1,
        )

    def forward(self, params, x):
        """Outputs (..., N, *output_shape) and the caches that `backward` takes.

        Parameters
        ----------
        params : dict of str to ndarray of shape (..., *shape)
            As `views` gives them, or the quantised ones; with running statistics among them the
            network is in use, without them in training; with the arrays of `noise` it is random.
        x : ndarray of shape (N, *input_shape)
        """
        found = self._in_blocks(self.stack.forward, params, x)
        outputs, caches = zip(*found, strict=True)
        return self._joined(outputs), caches

    def predict(self, params, x):
        """`forward` without the caches, whose memory is then free at once."""
        return self._joined(self._in_blocks(self.stack.predict, params, x))

    def statistics(self, caches):
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

    def backward(self, params, caches, dy):
        """Gradients of every parameter of the layers: name -> (..., *shape)."""
        after = (slice(None),) * len(self.output_shape)
        parts = even_slices(dy.shape[-1 - len(after)], len(caches))

        def block(k, reduce):
            share = dy[(..., parts[k], *after)]
            return self.stack.backward(params, caches[k], share, False, reduce)[1]

        first, *others = together(block, len(caches))
        return {name: sum((own[name] for own in others), share) for name, share in first.items()}

    # A large batch is cut into blocks of examples, which walk through the layers side by side.

    def _blocks(self, params, x):
        # How many: by the work alone. A population, many runs and a device have enough at once.
        examples = x.shape[0]
        most = min(BLOCKS, examples * self.macs // BLOCK_MACS, examples // BLOCK_EXAMPLES)
        if most < 2 or not (self.cuts and backend.is_numpy(backend.namespace(x))):
            return 1
        known = self.stack.shapes.items()
        return most if all(params[name].size == prod(shape) for name, shape in known) else 1

    def _in_blocks(self, walk, params, x):
        # walk(params, x, reduce) for every block
        parts = even_slices(x.shape[0], self._blocks(params, x))
        random = [name for name in self.random if name in params]

        def block(k, reduce):
            if len(parts) == 1:
                return walk(params, x, reduce)
            noise = {name: params[name][parts[k], ...] for name in random}
            return walk({**params, **noise}, x[parts[k], ...], reduce)

        return together(block, len(parts))

    def _joined(self, outputs):
        axis = -1 - len(self.output_shape)
        return outputs[0] if len(outputs) == 1 else backend.concat(outputs, axis)

    def describe(self):
        """A short table of the layers, for people.

        >>> from minizo.models import mlp
        >>> print(mlp(784, 10, 10).describe())  # doctest: +NORMALIZE_WHITESPACE
        flatten    Flatten    (784,)         0 parameters
        fc1        Linear     (10,)       7850 parameters
        act1       ReLU       (10,)          0 parameters
        fc2        Linear     (10,)        110 parameters
        total 7960 parameters, 7940 multiply-accumulates a forward and example
        """
        rows = [
            f"{name:10} {type(layer).__name__:10} {shape!s:10} "
            f"{sum(prod(s) for s in layer.shapes.values()):5} parameters"
            for (name, layer), shape in zip(
                self.layers.items(), self.shapes_between[1:], strict=True
            )
        ]
        rows += [
            f"{name:10} {shape!s:21} {prod(shape):5} parameters"
            for name, shape in self.shapes.items()
            if name not in self.stack.shapes
        ]
        total = f"total {self.d} parameters, {self.macs} multiply-accumulates a forward and example"
        return "\n".join([*rows, total])

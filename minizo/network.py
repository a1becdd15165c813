"""A stack of layers over one parameter vector theta, with named views of its slices."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from . import backend, rng
from .errors import InputError, require


@dataclass(frozen=True, eq=False)
class Network:
    """Named layers, one on top of the other.

    Parameters
    ----------
    layers : dict of str to layer
        In the order in which the data pass; ``"fc1"`` with a weight gives the parameter
        ``"fc1.weight"``.
    input_shape : tuple of int
        Shape of one example, ``(1, 28, 28)`` for MNIST.

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
    input_shape: tuple

    def __post_init__(self):
        require(len(self.layers) > 0, "layers", self.layers, "a network needs at least one")
        _ = self.output_shape  # a wrong stack is refused when it is built, not when it runs

    @cached_property
    def _shapes_between(self):
        shapes = [tuple(self.input_shape)]
        for name, layer in self.layers.items():
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except InputError as error:
                raise InputError(f"layer {name!r}: {error}") from None
        return shapes

    @property
    def output_shape(self):
        """Shape of the output for one example."""
        return self._shapes_between[-1]

    @cached_property
    def shapes(self):
        """Parameter name -> shape, in the order of theta."""
        return {
            f"{name}.{part}": shape
            for name, layer in self.layers.items()
            for part, shape in layer.shapes.items()
        }

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
    def macs(self):
        """Multiply-accumulates of one forward, per example."""
        pairs = zip(self.layers.values(), self._shapes_between, strict=False)
        return sum(layer.macs(shape) for layer, shape in pairs)

    @cached_property
    def backward_macs(self):
        """Multiply-accumulates of one backward, per example: dW of every layer, dx of all but one.

        dx is not computed below the lowest layer that has parameters.
        """
        pairs = list(zip(self.layers.values(), self._shapes_between, strict=False))
        lowest = next(layer.macs(shape) for layer, shape in pairs if layer.shapes)
        return 2 * self.macs - lowest

    @cached_property
    def widest(self):
        """Size of the largest output that depends on theta, per example."""
        lowest = next(i for i, layer in enumerate(self.layers.values()) if layer.shapes)
        return max(prod(shape) for shape in self._shapes_between[lowest + 1 :])

    @cached_property
    def _plan(self):
        # (layer, [(its own name of a parameter, the network's name of it)]), bottom to top
        return [
            (layer, [(part, f"{name}.{part}") for part in layer.shapes])
            for name, layer in self.layers.items()
        ]

    def init(self, seed=0, like=None):
        """Initial theta: (d,) in the library and dtype of ``like`` (NumPy float32 by default).

        Drawn on the host, so that one seed starts from the same weights on every backend.
        """
        like = np.empty(0, dtype=np.float32) if like is None else like
        theta = np.empty(self.d, dtype=backend.numpy_dtype(like))
        for index, (layer, names) in enumerate(self._plan):
            values = layer.init(rng.at(seed, "init", index), theta)
            for part, name in names:
                theta[self.slices[name]] = values[part].reshape(-1)
        return backend.asarray(theta, like)

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
        return xp.concat(
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
            As `views` gives them, or the quantised ones.
        x : ndarray of shape (N, *input_shape)
        """
        caches = []
        for layer, names in self._plan:
            x, cache = layer.forward({part: params[name] for part, name in names}, x)
            caches.append(cache)
        return x, caches

    def predict(self, params, x):
        """`forward` without the caches, whose memory is then free at once."""
        for layer, names in self._plan:
            x, _ = layer.forward({part: params[name] for part, name in names}, x)
        return x

    def backward(self, params, caches, dy):
        """Gradients of every parameter: name -> (..., *shape)."""
        named = {}
        lowest = next(i for i, (layer, _) in enumerate(self._plan) if layer.shapes)
        for index in range(len(self._plan) - 1, lowest - 1, -1):
            layer, names = self._plan[index]
            own = {part: params[name] for part, name in names}
            dy, grads = layer.backward(own, caches[index], dy, wanted=index > lowest)
            for part, name in names:
                named[name] = grads[part]
        return named

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
                self.layers.items(), self._shapes_between[1:], strict=True
            )
        ]
        total = f"total {self.d} parameters, {self.macs} multiply-accumulates a forward and example"
        return "\n".join([*rows, total])

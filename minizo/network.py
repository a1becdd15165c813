"""A network: layers over one parameter vector theta, with named views of its slices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from . import backend, rng
from .batch_blocks import cut, even_slices, joined
from .errors import InputError, require
from .layered import Layered
from .parallel import together
from .quantizers.base import Quantizer
from .settings import Positive
from .types import Array, Arrays, Shape, Shapes


@dataclass(frozen=True, eq=False)
class Network(Layered):
    """Named layers, one on top of the other, and theta, which holds their parameters.

    What the layers say of themselves (names, shapes, running statistics, costs) is in `Layered`.

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
    tied : dict of str to str, optional
        Parameters that are others: ``{"head.weight": "embedding.weight"}``, both of one shape. Only
        the second is in theta; its gradient is the sum of both.
    init_scale : float
        Factor above 0 of the initial weights, the parameters called ``"weight"`` with two axes or
        more: those of `Linear`, `Conv2d`, `Embedding` and `LSTM`. Values that `init` is given are
        not multiplied.

    Raises
    ------
    InputError
        If a layer does not take what the one below it gives, or parameters that are tied differ in
        shape.

    Notes
    -----
    theta has shape (d,), or (..., d) with leading *population* axes; ``forward`` then answers with
    the same leading axes. One forward costs ``macs`` multiply-accumulates an example, one backward
    ``backward_macs``: the gradient with respect to the data is never computed.
    """

    companions: Mapping = field(default_factory=dict)
    init_scale: Positive = 1.0
    tied: Mapping = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        known = self.stack.shapes
        for name, other in self.tied.items():
            right = name in known and other in known and known[name] == known[other]
            remedy = f"{other} must be a parameter of its shape that is not tied itself"
            require(right and other not in self.tied, "tied", name, remedy)

    @cached_property
    def layer_shapes(self) -> Shapes:
        """Name -> shape of the parameters of the layers, without those `tied` to others."""
        return {n: shape for n, shape in self.stack.shapes.items() if n not in self.tied}

    @cached_property
    def shapes(self) -> Shapes:
        """Parameter name -> shape, in the order of theta."""
        return self.layer_shapes | {
            f"{name}.{part}": shape
            for name, companion in self.companions.items()
            for part, shape in companion.shapes(self.rows(name, companion)).items()
        }

    @cached_property
    def least(self) -> dict[str, float]:
        """Parameter name -> the value that training keeps it at or above, such as LSQ's steps."""
        return self._named([place.layer.least for place in self.places]) | {
            f"{name}.{part}": value
            for name, companion in self.companions.items()
            for part, value in companion.least.items()
        }

    def rows(self, name: str, quantizer: Quantizer) -> Shape:
        """Shape in which ``quantizer`` sees a parameter: (m,), or (F, n) if it works by filter.

        >>> from minizo import models, quantizers
        >>> models.lenet().rows("conv2.weight", quantizers.Sign())
        (12800,)
        """
        shape = self.layer_shapes[name]
        if not quantizer.by_filter:
            return (prod(shape),)
        return shape[0], prod(shape[1:])

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Parameter name -> the slice of theta that holds it."""
        slices, start = {}, 0
        for name, shape in self.shapes.items():
            slices[name] = slice(start, start + prod(shape))
            start += prod(shape)
        return slices

    @cached_property
    def d(self) -> int:
        """Number of parameters."""
        return sum(prod(shape) for shape in self.shapes.values())

    def init(self, seed: int = 0, like: Array | None = None, values: Arrays | None = None) -> Array:
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
            values = {
                # W <- init_scale W
                name: self.init_scale * value if self.is_weight(name) else value
                for name, value in self._named(found).items()
                if name not in self.tied
            }
        else:
            values = {name: backend.to_numpy(values[name]) for name in self.layer_shapes}
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

    def is_weight(self, name: str) -> bool:
        """Whether a parameter is called ``weight`` and has two axes or more."""
        return name.endswith(".weight") and len(self.layer_shapes.get(name, ())) > 1

    def project(self, theta: Array) -> Array:
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

    def views(self, theta: Array) -> Arrays:
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

    def flatten(self, named: Arrays) -> Array:
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

    def with_tied(self, params: Arrays) -> Arrays:
        """The parameters with those that are tied to others."""
        return {**params, **{n: params[other] for n, other in self.tied.items()}}

    def forward(self, params: Arrays, x: Array) -> tuple[Array, Any]:
        """Outputs (..., N, *output_shape) and the caches that `backward` takes.

        Parameters
        ----------
        params : dict of str to ndarray of shape (..., *shape)
            As `views` gives them, or the quantised ones; with running statistics among them the
            network is in use, without them in training; with the arrays of `noise` it is random.
        x : ndarray of shape (N, *input_shape)
        """
        blocks = cut(self, self.with_tied(params), x)
        walk = self.stack.forward
        found = together(lambda k, reduce: walk(*blocks[k], reduce), len(blocks))
        outputs, caches = zip(*found, strict=True)
        return joined(outputs, len(self.output_shape)), caches

    def predict(self, params: Arrays, x: Array) -> Array:
        """`forward` without the caches, whose memory is then free at once."""
        blocks = cut(self, self.with_tied(params), x)
        walk = self.stack.predict
        outputs = together(lambda k, reduce: walk(*blocks[k], reduce), len(blocks))
        return joined(outputs, len(self.output_shape))

    def backward(self, params: Arrays, caches: Any, dy: Array) -> Arrays:
        """Gradients of every parameter of the layers: name -> (..., *shape)."""
        params = self.with_tied(params)
        after = (slice(None),) * len(self.output_shape)
        parts = even_slices(dy.shape[-1 - len(after)], len(caches))

        def block(k, reduce):
            share = dy[(..., parts[k], *after)]
            return self.stack.backward(params, caches[k], share, False, reduce)[1]

        first, *others = together(block, len(caches))
        grads = {name: sum((own[name] for own in others), share) for name, share in first.items()}
        for name, other in self.tied.items():
            # W = W1 = W2:   dL/dW = dL/dW1 + dL/dW2
            grads[other] = grads[other] + grads.pop(name)
        return grads

    def describe(self) -> str:
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
            if name not in self.layer_shapes
        ]
        total = f"total {self.d} parameters, {self.macs} multiply-accumulates a forward and example"
        return "\n".join([*rows, total])

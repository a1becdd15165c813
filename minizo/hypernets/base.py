"""The base of hypernetworks: named parameters, their initial values, and one vector of them.

And the linear maps of every row and time that they are made of, each one matrix product.
"""

from collections.abc import Callable
from math import prod
from typing import ClassVar

import numpy as np

from .. import backend
from ..settings import Settings
from ..types import Array, Arrays, Shapes


class Hypernet(Settings):
    """A small network with a hand-written backward, pure as the layers are.

    forward(params, ...)          -> (output, ..., cache)
    backward(params, cache, ...)  -> (derivatives of what went in, grads)

    ``params`` and ``grads`` map the names in ``shapes`` to arrays. One set of parameters serves
    every row of the input (one row a weight, or a layer); their gradients are sums over the rows.
    dtype in is dtype out. ``flatten`` and ``views`` change between the dictionary and one vector
    phi, to which the optimisers of `minizo.optim` apply.
    """

    shapes: ClassVar[Shapes]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(prod(shape) for shape in self.shapes.values())

    def views(self, phi: Array) -> Arrays:
        """Return phi (size,) as name -> array; the arrays share its memory."""
        xp = backend.namespace(phi)
        named, start = {}, 0
        for name, shape in self.shapes.items():
            named[name] = xp.reshape(phi[start : start + prod(shape)], shape)
            start += prod(shape)
        return named

    def flatten(self, named: Arrays) -> Array:
        """Return the inverse of `views`: one new vector (size,)."""
        values = [named[name] for name in self.shapes]
        xp = backend.namespace(*values)
        return backend.concat([xp.reshape(value, (-1,)) for value in values])

    def draw(self, fill: Callable, like: Array) -> Arrays:
        """Draw random numbers for every parameter on the host, in one go: name -> ndarray.

        ``fill`` is a stream's ``uniform`` or ``normal``. One draw, because a stream starts at its
        beginning whenever it is asked; on the host, so that a seed means one start everywhere.
        """
        return self.views(fill(np.empty(self.size, dtype=backend.numpy_dtype(like))))

    def placed(self, values: Arrays, like: Array) -> Arrays:
        """Convert host arrays by name to the dtype and device of ``like``."""
        dtype = backend.numpy_dtype(like)
        return {name: backend.asarray(values[name].astype(dtype), like) for name in self.shapes}


def product(x, w):
    """Return x w^T at every row and time: (..., k) and (c, k) -> (..., c).

    >>> product(np.array([[[1.0, 2.0]]]), np.array([[1.0, 1.0], [3.0, 0.0], [0.0, 1.0]]))
    array([[[3., 3., 2.]]])
    """
    xp = backend.namespace(x)
    # (..., k) -> (R, k)
    y = xp.matmul(xp.reshape(x, (-1, x.shape[-1])), xp.matrix_transpose(w))
    return xp.reshape(y, (*x.shape[:-1], w.shape[0]))


def product_back(d, w):
    """Return d w at every row and time, dl/dx of `product` for dl/dy = d: (..., c) -> (..., k)."""
    return product(d, backend.namespace(w).matrix_transpose(w))


def summed(d, x):
    """Return the sum of d^T x over rows and time, dl/dw of `product`: (..., c), (..., k) -> (c, k).

    >>> summed(np.array([[[1.0], [2.0]]]), np.array([[[1.0, 1.0], [0.0, 3.0]]]))
    array([[1., 7.]])
    """
    xp = backend.namespace(d)
    # (..., c) -> (R, c)
    d, x = xp.reshape(d, (-1, d.shape[-1])), xp.reshape(x, (-1, x.shape[-1]))
    return xp.matmul(xp.matrix_transpose(d), x)


def with_one(x):
    """Return x (..., c) with a 1 behind the features, for a `product` with a constant in it."""
    xp = backend.namespace(x)
    return xp.concat([x, xp.ones_like(x[..., :1])], axis=-1)

"""The base of hypernetworks: named parameters, their initial values, and one vector of them."""

from math import prod

import numpy as np

from .. import backend
from ..settings import Settings


class Hypernet(Settings):
    """A small network with a hand-written backward, pure as the layers are.

    forward(params, ...)          -> (output, ..., cache)
    backward(params, cache, ...)  -> (derivatives of what went in, grads)

    ``params`` and ``grads`` map the names in ``shapes`` to arrays. One set of parameters serves
    every row of the input (one row a weight, or a layer); their gradients are sums over the rows.
    dtype in is dtype out. ``flatten`` and ``views`` change between the dictionary and one vector
    phi, to which the optimisers of `minizo.optim` apply.
    """

    @property
    def size(self):
        """Number of parameters."""
        return sum(prod(shape) for shape in self.shapes.values())

    def views(self, phi):
        """Return phi (size,) as name -> array; the arrays share its memory."""
        xp = backend.namespace(phi)
        named, start = {}, 0
        for name, shape in self.shapes.items():
            named[name] = xp.reshape(phi[start : start + prod(shape)], shape)
            start += prod(shape)
        return named

    def flatten(self, named):
        """Return the inverse of `views`: one new vector (size,)."""
        values = [named[name] for name in self.shapes]
        xp = backend.namespace(*values)
        return backend.concat([xp.reshape(value, (-1,)) for value in values])

    def draw(self, fill, like):
        """Draw random numbers for every parameter on the host, in one go: name -> ndarray.

        ``fill`` is a stream's ``uniform`` or ``normal``. One draw, because a stream starts at its
        beginning whenever it is asked; on the host, so that a seed means one start everywhere.
        """
        return self.views(fill(np.empty(self.size, dtype=backend.numpy_dtype(like))))

    def placed(self, values, like):
        """Convert host arrays by name to the dtype and device of ``like``."""
        dtype = backend.numpy_dtype(like)
        return {name: backend.asarray(values[name].astype(dtype), like) for name in self.shapes}

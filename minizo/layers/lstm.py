"""A layer of long short-term memory, with back-propagation through all of time.

    [i f g o] = x_t W^T + b + h_{t-1} R^T,   i, f, o through a sigmoid, g through tanh
    c_t = f c_{t-1} + i g,     h_t = o tanh(c_t)

and backwards, from dh (what reaches h_t: from the output, and from step t + 1) and dc:

    dc <- dc + dh o (1 - tanh^2 c_t)
    da = [dc g i (1 - i),  dc c_{t-1} f (1 - f),  dc i (1 - g^2),  dh tanh(c_t) o (1 - o)]
    dW = sum da^T x_t,  dR = sum da^T h_{t-1},  db = sum da
    dx_t = da W,  dh <- da R,  dc <- dc f

`recur` and `recur_back` are these steps for a ``driven`` input x_t W^T + b. They serve this layer
and the hypernetwork `minizo.hypernets.LSTM`.

References
----------
S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation, 1997.
F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation, 2000 (the gate f).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from .. import backend
from ..errors import InputError
from ..parallel import alone
from ..rng import Stream
from ..settings import Count
from ..special import sigmoid
from ..types import Array, Arrays, Shape, Shapes
from .base import Layer, rows, unrolled


def recur(driven, recurrent, h, c):
    """Take all steps: outputs (..., T, H), the last (h, c), and a cache.

    Parameters
    ----------
    driven : ndarray (..., T, 4 H)
        x_t W^T + b, gates i, f, g, o side by side.
    recurrent : ndarray (..., H, 4 H)
        R^T.
    h, c : ndarray (..., H)
        Before the first step.
    """
    xp, n = backend.namespace(driven), h.shape[-1]
    cache, outputs = [], []
    for t in range(driven.shape[-2]):
        before = (h, c)
        a = driven[..., t, :] + xp.matmul(h, recurrent)
        i, f, o = (sigmoid(a[..., k * n : (k + 1) * n]) for k in (0, 1, 3))
        g = xp.tanh(a[..., 2 * n : 3 * n])
        # c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)
        c = f * c + i * g
        squashed = xp.tanh(c)
        h = o * squashed
        cache.append((before, (i, f, g, o), squashed))
        outputs.append(h)
    return backend.stack(outputs, axis=-2), (h, c), cache


def recur_back(weight, cache, dy, dh, dc):
    """Return da (..., T, 4 H), h_{t-1} (..., T, H), and (dh, dc) before the first step.

    Parameters
    ----------
    weight : ndarray (..., 4 H, H)
        R.
    cache
        Of `recur`.
    dy : ndarray (..., T, H)
    dh, dc : ndarray (..., H)
        With respect to the last state.
    """
    xp, rising = backend.namespace(dy), []
    for t in range(len(cache) - 1, -1, -1):
        (_, c), (i, f, g, o), squashed = cache[t]
        dh = dh + dy[..., t, :]
        dc = dc + dh * o * (1.0 - squashed * squashed)
        # da = [dc g i (1 - i), dc c_{t-1} f (1 - f), dc i (1 - g^2), dh tanh(c_t) o (1 - o)]
        da = xp.concat(
            [
                dc * g * i * (1.0 - i),
                dc * c * f * (1.0 - f),
                dc * i * (1.0 - g * g),
                dh * squashed * o * (1.0 - o),
            ],
            axis=-1,
        )
        rising.append(da)
        dh, dc = xp.matmul(da, weight), dc * f
    before = backend.stack([h for (h, _), _, _ in cache], axis=-2)
    return backend.stack(rising[::-1], axis=-2), before, (dh, dc)


@dataclass(frozen=True)
class LSTM(Layer):
    """h_1 ... h_T of x_1 ... x_T: (T, inputs) -> (T, hidden), from h_0 = c_0 = 0.

    Parameters
    ----------
    inputs, hidden : int
        Numbers of x_t and of h_t.

    Notes
    -----
    W ("input.weight") : (..., 4 hidden, inputs); R ("recurrent.weight") : (..., 4 hidden, hidden);
    b ("bias") : (..., 4 hidden). Start: W and R ~ N(0, 1 / hidden), b = 0 but 1 for the gate f, so
    that the memory lasts (R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of
    recurrent network architectures", ICML 2015, section 2.2). Cost: 4 hidden (inputs + hidden)
    multiply-accumulates a place forward, twice that backward; steps follow one another, so they
    are T small products.

    Examples
    --------
    >>> layer = LSTM(inputs=1, hidden=2)
    >>> params = {name: np.ones(shape) for name, shape in layer.shapes.items()}
    >>> layer.forward(params, np.zeros((1, 3, 1)))[0].round(3)
    array([[[0.37 , 0.37 ],
            [0.727, 0.727],
            [0.893, 0.893]]])
    """

    cuts = True

    inputs: Count
    hidden: Count

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        gates = 4 * self.hidden
        return {
            "input.weight": (gates, self.inputs),
            "recurrent.weight": (gates, self.hidden),
            "bias": (gates,),
        }

    def init(self, stream: Stream, like: Array) -> Arrays:
        """W and R ~ N(0, 1 / hidden), b = 0, of the gate f 1."""
        made = {}
        for index, name in enumerate(("input.weight", "recurrent.weight")):
            weight = stream.child(index).normal(np.empty(self.shapes[name], dtype=like.dtype))
            made[name] = weight / np.asarray(sqrt(self.hidden), weight.dtype)
        bias = np.zeros(4 * self.hidden, dtype=like.dtype)
        bias[self.hidden : 2 * self.hidden] = 1.0
        return made | {"bias": bias}

    def output_shape(self, shape: Shape) -> Shape:
        """(T, inputs) -> (T, hidden)."""
        if len(shape) != 2 or shape[-1] != self.inputs:
            raise InputError(
                f"LSTM({self.inputs}, {self.hidden}) is fed examples of shape {shape}; it takes "
                f"sequences (T, {self.inputs})"
            )
        return (shape[0], self.hidden)

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates of one forward, per example."""
        return shape[0] * 4 * self.hidden * (self.inputs + self.hidden)

    def backward_macs(self, shape: Shape, wanted: bool = True) -> int:
        """As many for W and R, for dh, and for dx where it is wanted."""
        products = self.inputs * (2 if wanted else 1) + 2 * self.hidden
        return shape[0] * 4 * self.hidden * products

    def forward(self, params: Arrays, x: Array, reduce: Callable = alone) -> tuple[Array, Any]:
        """y (..., N, T, hidden) for x (..., N, T, inputs)."""
        xp = backend.namespace(x)
        # all x_t W^T + b at once: (..., N*T, 4H) -> (..., N, T, 4H)
        driven = xp.matmul(rows(x, 2), xp.matrix_transpose(params["input.weight"]))
        driven = unrolled(driven + params["bias"][..., None, :], x, 2)
        zeros = backend.zeros((*driven.shape[:-2], self.hidden), x)
        recurrent = xp.matrix_transpose(params["recurrent.weight"])
        y, _, cache = recur(driven, recurrent, zeros, zeros)
        return y, (x, cache)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, wanted: bool = True, reduce: Callable = alone
    ) -> tuple[Array, Arrays]:
        """dx, and the gradients of W, R and b, as sums over examples and steps."""
        xp, (x, steps) = backend.namespace(dy), cache
        zeros = backend.zeros((*dy.shape[:-2], self.hidden), dy)
        da, before, _ = recur_back(params["recurrent.weight"], steps, dy, zeros, zeros)
        flat = rows(da, 2)
        turned = xp.matrix_transpose(flat)
        grads = {
            "input.weight": xp.matmul(turned, rows(x, 2)),
            "recurrent.weight": xp.matmul(turned, rows(before, 2)),
            "bias": xp.sum(flat, axis=-2),
        }
        if not wanted:
            return None, grads
        return unrolled(xp.matmul(flat, params["input.weight"]), dy, 2), grads

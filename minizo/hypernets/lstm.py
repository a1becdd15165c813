"""A single-layer LSTM with back-propagation through all of time.

    [i f g o] = x_t Wih^T + bih + h_{t-1} Whh^T + bhh,   i, f, o through a sigmoid, g through tanh
    c_t = f c_{t-1} + i g,     h_t = o tanh(c_t)

and backwards, from dh (what reaches h_t: from the output, and from step t + 1) and dc:

    do = dh tanh(c_t),   dc <- dc + dh o (1 - tanh^2 c_t)
    da = [dc g i (1 - i),  dc c_{t-1} f (1 - f),  dc i (1 - g^2),  do o (1 - o)]
    dWih = sum da^T x_t,  dWhh = sum da^T h_{t-1},  db = sum da (either bias)
    dx_t = da Wih,  dh <- da Whh,  dc <- dc f

References
----------
S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation, 1997.
F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation, 2000 (the gate f).
Order of the gates, two biases, and the start: PyTorch's, which MetaQuant and FSG use.
"""

from dataclasses import dataclass
from math import sqrt

from .. import backend
from ..settings import Count
from ..special import sigmoid
from .base import Hypernet


@dataclass(frozen=True)
class LSTM(Hypernet):
    """h_1 ... h_L for x_1 ... x_L; see the module for the equations.

    Parameters
    ----------
    inputs, hidden : int
        Features of x_t and of h_t.

    Notes
    -----
    Wih (4 hidden, inputs), Whh (4 hidden, hidden), bih and bhh (4 hidden). Start: all
    U(-1, 1) / sqrt(hidden). Cost: 4 hidden (inputs + hidden) multiply-accumulates a step and row
    forward, twice that backward; memory: 6 hidden numbers a step and row.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> net = LSTM(inputs=1, hidden=3)
    >>> params = net.init(rng.at(0, "hypernet", 0), np.empty(0))
    >>> y, (h, c), cache = net.forward(params, np.ones((5, 7, 1)))  # 5 sequences of 7 steps
    >>> y.shape, h.shape, net.size, net.macs(5 * 7)
    ((5, 7, 3), (5, 3), 72, 1680)
    """

    inputs: Count = 1
    hidden: Count = 100

    @property
    def shapes(self):
        """Names and shapes of the parameters."""
        gates = 4 * self.hidden
        return {
            "Wih": (gates, self.inputs),
            "Whh": (gates, self.hidden),
            "bih": (gates,),
            "bhh": (gates,),
        }

    def macs(self, tokens):
        """Count the multiply-accumulates of one forward, ``tokens`` steps and rows in all."""
        return tokens * 4 * self.hidden * (self.inputs + self.hidden)

    def init(self, stream, like):
        """Draw initial parameters in the dtype and on the device of ``like``."""
        numbers = self.draw(stream.uniform, like)
        return self.placed({name: v / sqrt(self.hidden) for name, v in numbers.items()}, like)

    def rest(self, x):
        """Return the state (h, c) before the first step: zeros (..., hidden)."""
        zeros = backend.namespace(x).zeros_like(backend.empty((*x.shape[:-2], self.hidden), x))
        return zeros, zeros

    def forward(self, params, x, state=None):
        """Return all outputs, the last state, and the cache.

        Parameters
        ----------
        params : dict of str to ndarray
        x : ndarray (..., L, inputs)
        state : tuple of 2 ndarrays (..., hidden), optional
            (h, c) before the first step; zeros by default.

        Returns
        -------
        y : ndarray (..., L, hidden)
        state : tuple of 2 ndarrays (..., hidden)
        cache
        """
        xp = backend.namespace(x)
        h, c = self.rest(x) if state is None else state
        recurrent = xp.matrix_transpose(params["Whh"])
        # all x_t Wih^T at once: (..., L, I) @ (I, 4H) -> (..., L, 4H)
        driven = xp.matmul(x, xp.matrix_transpose(params["Wih"])) + params["bih"] + params["bhh"]
        cache, outputs = [], []
        for t in range(x.shape[-2]):
            before = (h, c)
            i, f, g, o = self._gates(driven[..., t, :] + xp.matmul(h, recurrent))
            # c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)
            c = f * c + i * g
            squashed = xp.tanh(c)
            h = o * squashed
            cache.append((before, (i, f, g, o), squashed))
            outputs.append(h)
        return backend.stack(outputs, axis=-2), (h, c), (x, cache)

    def _gates(self, a):
        xp, n = backend.namespace(a), self.hidden
        i, f, g, o = (a[..., k * n : (k + 1) * n] for k in range(4))
        return sigmoid(i), sigmoid(f), xp.tanh(g), sigmoid(o)

    def backward(self, params, cache, dy, dstate=None):
        """Return the derivatives of `forward`, through every step.

        Parameters
        ----------
        params : dict of str to ndarray
        cache
            As `forward` returned it.
        dy : ndarray (..., L, hidden)
        dstate : tuple of 2 ndarrays (..., hidden), optional
            With respect to the last state; zeros by default.

        Returns
        -------
        dx : ndarray (..., L, inputs)
        dstate : tuple of 2 ndarrays (..., hidden)
            With respect to the state before the first step.
        grads : dict of str to ndarray
        """
        xp = backend.namespace(dy)
        x, steps = cache
        dh, dc = self.rest(x) if dstate is None else dstate
        rows = []
        for t in range(len(steps) - 1, -1, -1):
            (_, c), (i, f, g, o), squashed = steps[t]
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
            rows.append(da)
            dh, dc = xp.matmul(da, params["Whh"]), dc * f
        da = backend.stack(rows[::-1], axis=-2)  # (..., L, 4H)
        before = backend.stack([h for (h, _), _, _ in steps], axis=-2)
        # sums over rows and time as products: (..., L, c) -> (R*L, c)
        turned = xp.matrix_transpose(xp.reshape(da, (-1, da.shape[-1])))
        total = xp.sum(turned, axis=-1)
        grads = {
            "Wih": xp.matmul(turned, xp.reshape(x, (-1, x.shape[-1]))),
            "Whh": xp.matmul(turned, xp.reshape(before, (-1, self.hidden))),
            "bih": total,
            "bhh": total,
        }
        return xp.matmul(da, params["Wih"]), (dh, dc), grads

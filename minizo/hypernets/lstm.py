"""A single-layer LSTM as a hypernetwork: of any rows of sequences, with a state that goes on.

Its steps, forward and backward, are those of `minizo.layers.lstm`, with Wih for W, Whh for R, and
two biases in the place of one. Order of the gates, two biases, and the start: PyTorch's, which
MetaQuant and FSG use.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

from .. import backend
from ..layers.lstm import recur, recur_back
from ..rng import Stream
from ..settings import Count
from ..types import Array, Arrays, Shapes
from .base import Hypernet, summed


@dataclass(frozen=True)
class LSTM(Hypernet):
    """h_1 ... h_L for x_1 ... x_L; see `minizo.layers.lstm` for the equations.

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
    def shapes(self) -> Shapes:
        """Names and shapes of the parameters."""
        gates = 4 * self.hidden
        return {
            "Wih": (gates, self.inputs),
            "Whh": (gates, self.hidden),
            "bih": (gates,),
            "bhh": (gates,),
        }

    def macs(self, tokens: int) -> int:
        """Count the multiply-accumulates of one forward, ``tokens`` steps and rows in all."""
        return tokens * 4 * self.hidden * (self.inputs + self.hidden)

    def init(self, stream: Stream, like: Array) -> Arrays:
        """Draw initial parameters in the dtype and on the device of ``like``."""
        numbers = self.draw(stream.uniform, like)
        return self.placed({name: v / sqrt(self.hidden) for name, v in numbers.items()}, like)

    def rest(self, x: Array) -> tuple[Array, Array]:
        """Return the state (h, c) before the first step: zeros (..., hidden)."""
        zeros = backend.namespace(x).zeros_like(backend.empty((*x.shape[:-2], self.hidden), x))
        return zeros, zeros

    def forward(
        self, params: Arrays, x: Array, state: tuple[Array, Array] | None = None
    ) -> tuple[Array, tuple[Array, Array], Any]:
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
        recurrent = xp.matrix_transpose(params["Whh"])
        # all x_t Wih^T at once: (..., L, I) @ (I, 4H) -> (..., L, 4H)
        driven = xp.matmul(x, xp.matrix_transpose(params["Wih"])) + params["bih"] + params["bhh"]
        y, state, cache = recur(driven, recurrent, *(self.rest(x) if state is None else state))
        return y, state, (x, cache)

    def backward(
        self, params: Arrays, cache: Any, dy: Array, dstate: tuple[Array, Array] | None = None
    ) -> tuple[Array, tuple[Array, Array], Arrays]:
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
        ends = self.rest(x) if dstate is None else dstate
        da, before, dstate = recur_back(params["Whh"], steps, dy, *ends)
        # dWih = sum da_t^T x_t,  dWhh = sum da_t^T h_{t-1},  dbih = dbhh = sum da_t
        total = xp.sum(xp.reshape(da, (-1, da.shape[-1])), axis=0)
        grads = {
            "Wih": summed(da, x),
            "Whh": summed(da, before),
            "bih": total,
            "bhh": total,
        }
        return xp.matmul(da, params["Wih"]), dstate, grads

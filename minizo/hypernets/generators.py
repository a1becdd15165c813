"""Generators: networks that turn the last gradient of a layer's weights into the next one.

    generate(params, given, carried)  -> (F, carried, cache)     F (xi,), for xi weights
    pull_back(params, cache, dF)      -> grads

One set of parameters serves every layer. `Given` is the input of a generator. It is constant in the
derivative, as is the state carried from one step to the next (``rest`` returns it before the first
step). The gradients g are taken with respect to the quantised weights.

    FCGrad    F = c g                c is the number that a bias-free linear MLP amounts to
    MultiFC   F = c g Wh
    LSTMFC    F = g fc(h)            h from an LSTM that sees Wh, one step a call
    Gain      F = k g                one learned number, or one a layer
    Average   F <- mu F + (1 - mu) g    nothing is learned

References
----------
S. Chen, W. Wang, S. J. Pan, "MetaQuant: learning to quantize by learning to penetrate
non-differentiable quantization", NeurIPS 2019, section 3.4 and its code.
A. G. Baydin, R. Cornish, D. Martinez Rubio, M. Schmidt, F. Wood, "Online learning rate adaptation
with hypergradient descent", ICLR 2018, equation 5 (what learning k amounts to).
"""

from dataclasses import dataclass, field
from math import sqrt
from typing import Annotated, NamedTuple

from .. import backend
from ..settings import Count
from ..types import Array
from .base import Hypernet
from .lstm import LSTM
from .mlp import MLP


class Given(NamedTuple):
    """Input of a generator: what is known of one layer before a step.

    layer : int
        Its number among the quantised layers.
    gradient : ndarray (xi,)
        g of the step before.
    squashed : ndarray (xi,)
        Wh = A(W) where g was taken.
    history : ndarray (m, xi)
        The last m gradients, oldest first, ``gradient`` last.
    """

    layer: int
    gradient: Array
    squashed: Array
    history: Array


class Generator(Hypernet):
    """A hypernetwork with ``generate`` and ``pull_back``; see the module."""

    def rest(self, weights, like):
        """Return what a layer of this many weights carries before the first step: nothing."""
        return ()


@dataclass(frozen=True)
class Factor(Generator):
    """F = c g, or F = c g Wh, with c = W_k ... W_1 of an MLP with one input and one output.

    Parameters
    ----------
    mlp : MLP
    by_weight : bool
        Whether Wh is a factor (MultiFC, and FSG's fast-net).

    Notes
    -----
    With kappa = sum dF g (Wh), dc = kappa. Cost: one or two multiplications a weight, and the
    MLP's size; through the layers it would be that size for every weight.

    Examples
    --------
    >>> import numpy as np
    >>> given = Given(0, np.array([1.0, -2.0]), np.array([0.5, 1.0]), np.array([[1.0, -2.0]]))
    >>> params = {"W1": np.array([[2.0], [1.0]]), "W2": np.array([[3.0, -1.0]])}  # c = 5
    >>> Factor(MLP((1, 2, 1)), by_weight=False).generate(params, given, ())[0]
    array([  5., -10.])
    >>> Factor(MLP((1, 2, 1)), by_weight=True).generate(params, given, ())[0]
    array([  2.5, -10. ])
    """

    mlp: MLP
    by_weight: bool

    @property
    def shapes(self):
        """The MLP's."""
        return self.mlp.shapes

    def init(self, stream, like):
        """Draw the MLP's initial parameters."""
        return self.mlp.init(stream, like)

    def macs(self, weights, length):
        """Count the multiply-accumulates of a forward and a backward for one layer."""
        return 4 * weights + 3 * self.size

    def generate(self, params, given, carried):
        """Return F = c g (Wh)."""
        x = given.gradient * given.squashed if self.by_weight else given.gradient
        return self.mlp.product(params)[0, 0] * x, carried, x

    def pull_back(self, params, cache, df):
        """Return the gradients by the closed form, from kappa = sum dF x."""
        xp = backend.namespace(df)
        return self.mlp.product_backward(params, xp.reshape(xp.sum(df * cache), (1, 1)))


@dataclass(frozen=True)
class LSTMFC(Generator):
    """F = g fc(h), h of an LSTM that takes one step a call with Wh as its input.

    Parameters
    ----------
    lstm : LSTM
        One input.

    Notes
    -----
    Carries (h, c) of every weight: 2 hidden numbers a weight. With m = fc(h): dm = g dF,
    dWfc = sum dm h, dbfc = sum dm, dh = dm Wfc; the state that comes in is constant.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> net, like = LSTMFC(LSTM(1, 4)), np.empty(0)
    >>> params = net.init(rng.at(0, "hypernet", 0), like)
    >>> given = Given(0, np.array([1.0, 0.0]), np.array([0.5, 1.0]), np.array([[1.0, 0.0]]))
    >>> f, (h, c), _ = net.generate(params, given, net.rest(2, like))
    >>> f.shape, f[1] == 0.0, h.shape
    ((2,), np.True_, (2, 4))
    """

    lstm: LSTM = field(default_factory=LSTM)

    @property
    def shapes(self):
        """The LSTM's, and those of fc."""
        return self.lstm.shapes | {"Wfc": (1, self.lstm.hidden), "bfc": (1,)}

    def init(self, stream, like):
        """Draw all parameters from U(-1, 1) / sqrt(hidden)."""
        numbers = self.draw(stream.uniform, like)
        return self.placed({n: v / sqrt(self.lstm.hidden) for n, v in numbers.items()}, like)

    def macs(self, weights, length):
        """Count the multiply-accumulates of a forward and a backward for one layer."""
        return 3 * (self.lstm.macs(weights) + weights * self.lstm.hidden)

    def rest(self, weights, like):
        """Return (h, c) = 0, each (weights, hidden)."""
        zeros = backend.namespace(like).zeros_like(backend.empty((weights, self.lstm.hidden), like))
        return zeros, zeros

    def generate(self, params, given, carried):
        """Return F, the LSTM's next state, and the cache."""
        xp = backend.namespace(given.squashed)
        # (xi,) -> (xi, 1, 1): every weight a row, one step, one feature
        y, carried, cache = self.lstm.forward(params, given.squashed[:, None, None], carried)
        h = y[:, 0, :]
        m = xp.matmul(h, params["Wfc"][0, :]) + params["bfc"]
        return given.gradient * m, carried, (cache, h, given.gradient)

    def pull_back(self, params, cache, df):
        """Return the gradients through fc and one step of the LSTM."""
        xp = backend.namespace(df)
        inner, h, gradient = cache
        dm = gradient * df
        # (xi, 1) (1, H) -> (xi, 1, H): the output of the one step
        dh = (dm[:, None] * params["Wfc"])[:, None, :]
        _, _, grads = self.lstm.backward(params, inner, dh)
        # dWfc = sum dm h,  dbfc = sum dm
        total = xp.reshape(xp.sum(dm), (1,))
        return grads | {"Wfc": xp.matmul(dm, h)[None, :], "bfc": total}


@dataclass(frozen=True)
class Gain(Generator):
    """F = k g, from k = 1: with one k for all layers, or one for each.

    Parameters
    ----------
    layers : int
        Number of k; a single one is shared by all layers.

    Notes
    -----
    dk = sum dF g. This is a control: the networks above, reduced to the one number that they are.
    With a k for each layer it is the step size of hypergradient descent.

    Examples
    --------
    >>> import numpy as np
    >>> given = Given(1, np.array([1.0, -2.0]), None, None)  # of the second layer
    >>> f, _, cache = Gain(2).generate({"k": np.array([1.0, 3.0])}, given, ())
    >>> f, Gain(2).pull_back({"k": np.array([1.0, 3.0])}, cache, np.ones(2))["k"]
    (array([ 3., -6.]), array([ 0., -1.]))
    """

    layers: Count = 1

    @property
    def shapes(self):
        """k (layers,)."""
        return {"k": (self.layers,)}

    def init(self, stream, like):
        """Return ones; nothing is drawn."""
        ones = backend.namespace(like).ones_like(backend.empty((self.layers,), like))
        return {"k": ones}

    def macs(self, weights, length):
        """Count the multiply-accumulates of a forward and a backward for one layer."""
        return 2 * weights

    def generate(self, params, given, carried):
        """Return F = k g."""
        index = given.layer if self.layers > 1 else 0
        return params["k"][index] * given.gradient, carried, (index, given.gradient)

    def pull_back(self, params, cache, df):
        """Return dk = sum dF g, at this layer's place."""
        xp = backend.namespace(df)
        index, gradient = cache
        dk = xp.zeros_like(params["k"])
        dk[index] = xp.sum(df * gradient)
        return {"k": dk}


@dataclass(frozen=True)
class Average(Generator):
    """F <- mu F + (1 - mu) g: an exponential moving average; nothing is learned.

    Parameters
    ----------
    mu : float
        Decay, in [0, 1); the average remembers 1 / (1 - mu) steps. It starts at 0.

    Examples
    --------
    >>> import numpy as np
    >>> net, given = Average(0.5), Given(0, np.array([1.0, -2.0]), None, None)
    >>> f, carried, _ = net.generate({}, given, net.rest(2, np.empty(0)))
    >>> f, net.generate({}, given, carried)[0]
    (array([ 0.5, -1. ]), array([ 0.75, -1.5 ]))
    """

    mu: Annotated[float, "[0, 1)"] = 0.9
    shapes = {}

    def init(self, stream, like):
        """Return no parameters."""
        return {}

    def macs(self, weights, length):
        """Count the multiply-accumulates of a forward for one layer."""
        return 2 * weights

    def rest(self, weights, like):
        """Return the average so far: zeros."""
        return (backend.namespace(like).zeros_like(backend.empty((weights,), like)),)

    def generate(self, params, given, carried):
        """Return the next average, which is also carried."""
        f = self.mu * carried[0] + (1.0 - self.mu) * given.gradient
        return f, (f,), None

    def pull_back(self, params, cache, df):
        """Return no gradients: nothing is learned."""
        return {}

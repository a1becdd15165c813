"""FSG's slow-net: a sequence model that reads a layer's identity and its latest gradients.

For a layer i of xi weights, with its m latest gradients h (m, xi), oldest first (the historical
gradient storage), and a learned vector e_i (the layer recognition embedding):

    flat     one sequence over time and weights:  [e_i; h_1 ... h_m]   (1 + m xi, D)
             S = the last xi outputs
    coord    one sequence a weight:  [e_i; h_{1,j}; ...; h_{m,j}]      (xi, 1 + m, D)
             S_j = the last output of sequence j

Each number of h is one token, a vector of D numbers: itself where D = 1, times Wa (1, D) otherwise.
The outputs (C numbers each) become one number: themselves where the model is Mamba and C = 1, times
Wb (1, C) otherwise, plus bb with an LSTM.

`flat` is FSG; the weights of one snapshot are then neighbours in "time". `coord`, where time is the
only axis of a sequence, is an ablation (and what earlier versions of FSG's code did).

References
----------
X. Chen, J. Gao, B. Qi, D. Li, Y. Luo, F. Li, P. Li, "Fast and slow gradient approximation for
binary neural network optimization", AAAI 2025, equations 8, 10 and 11, and their code. (The code
has D = 1 and neither Wa nor Wb.)
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from .. import backend
from ..errors import require
from ..norms import rms
from ..settings import Count
from .generators import Generator
from .lstm import LSTM

LAYOUTS = ("flat", "coord")


@dataclass(frozen=True)
class SlowNet(Generator):
    """S from the history of gradients; see the module.

    Parameters
    ----------
    model : Mamba or LSTM
    layers : int
        Number of layers that the embedding distinguishes.
    layout : {"flat", "coord"}
        What forms a sequence; see the module.
    scaled : bool
        Divide a layer's history by its root mean square, and multiply S by it. This is our
        extension: gradients are so small that the model is otherwise linear in them.
    embedding : bool
        Whether e_i stands before the gradients; without it (an ablation) no layer is told from
        another.

    Notes
    -----
    Initial values: the embedding N(0, 1), Wa U(-1, 1), Wb and bb U(-1, 1) / sqrt(C); the model's
    are its own.
    With Mamba, S_j = 0 wherever the newest gradient is 0, whatever the parameters and the history
    (see `Mamba`); with an LSTM it is not.

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> from minizo.hypernets import Mamba
    >>> from minizo.hypernets.generators import Given
    >>> net = SlowNet(Mamba(1, 4, 2, 2), layers=3)
    >>> params = net.init(rng.at(0, "hypernet", 0), np.empty(0))
    >>> history = np.array([[1.0, 1.0], [2.0, 0.0]])  # two gradients of two weights
    >>> s, _, cache = net.generate(params, Given(0, history[-1], None, history), ())
    >>> s.shape, s[1] == 0.0  # the newest gradient of the second weight is 0
    ((2,), np.True_)
    """

    model: object
    layers: Count
    layout: str = "flat"
    scaled: bool = False
    embedding: bool = True

    def __post_init__(self):
        super().__post_init__()
        require(self.layout in LAYOUTS, "layout", self.layout, f"choose from {LAYOUTS}")

    @property
    def token(self):
        """D."""
        return self.model.inputs if isinstance(self.model, LSTM) else self.model.width

    @property
    def shapes(self):
        """Names and shapes: the embedding, what is around the model, and the model's."""
        shapes = {"LRE": (self.layers, self.token)} if self.embedding else {}
        if self.token > 1:
            shapes["Wa"] = (1, self.token)
        if isinstance(self.model, LSTM):
            shapes |= {"Wb": (1, self.model.hidden), "bb": (1,)}
        elif self.token > 1:
            shapes["Wb"] = (1, self.token)
        return shapes | self.model.shapes

    def init(self, stream, like):
        """Draw initial parameters, from the stream's children, in the dtype of ``like``."""
        numbers = self.draw(stream.child(0).uniform, like)
        values = self.model.init(stream.child(2), np.empty(0, backend.numpy_dtype(like)))
        if self.embedding:
            values["LRE"] = stream.child(1).normal(np.empty((self.layers, self.token)))
        for name in ("Wa", "Wb", "bb"):
            if name in numbers:
                values[name] = numbers[name] / sqrt(1 if name == "Wa" else self.shapes["Wb"][1])
        return self.placed(values, like)

    def macs(self, weights, length):
        """Count the multiply-accumulates of a forward and a backward for one layer."""
        first = int(self.embedding)
        flat = self.layout == "flat"
        tokens = first + length * weights if flat else weights * (first + length)
        if isinstance(self.model, LSTM):
            return 3 * self.model.macs(tokens)
        return self.model.macs(tokens, weights) + self.model.backward_macs(tokens, weights)

    def generate(self, params, given, carried):
        """Return S (xi,), nothing carried, and the cache."""
        xp = backend.namespace(given.history)
        m, xi = given.history.shape
        scale = 1.0
        if self.scaled:
            size = xp.reshape(rms(given.history, axis=None), ())
            scale = xp.where(size > 0.0, size, xp.ones_like(size))  # a history of zeros stays so
        h = given.history / scale
        if self.layout == "flat":
            # (m, xi) -> (m*xi, 1), time outside, weights inside
            tokens = xp.reshape(h, (m * xi, 1))
            axis = 0
        else:
            # (m, xi) -> (xi, m, 1)
            tokens = xp.matrix_transpose(h)[..., None]
            axis = 1
        x = tokens * params["Wa"] if "Wa" in params else tokens
        if self.embedding:
            first = params["LRE"][given.layer : given.layer + 1, :]  # (1, D)
            if axis == 1:
                # (1, D) -> (xi, 1, D)
                first = xp.broadcast_to(first, (xi, 1, self.token))
            x = xp.concat([first, x], axis=axis)
        # (xi, C): the last xi outputs, or the last output of every sequence
        last = xi if self.layout == "flat" else 1
        y, cache = self._last_outputs(params, x, last)
        read = y if self.layout == "flat" else y[:, 0, :]
        s = xp.matmul(read, params["Wb"][0, :]) if "Wb" in params else read[:, 0]
        if "bb" in params:
            s = s + params["bb"]
        return scale * s, (), (given.layer, scale, h, read, cache)

    def pull_back(self, params, cache, ds):
        """Return the gradients: through the model, into the embedding of this layer."""
        xp = backend.namespace(ds)
        layer, scale, h, read, inner = cache
        m, xi = h.shape
        ds = scale * ds
        grads = {}
        dread = ds[:, None]
        if "Wb" in params:
            grads["Wb"] = xp.matmul(ds, read)[None, :]
            dread = dread * params["Wb"]
        if "bb" in params:
            grads["bb"] = xp.reshape(xp.sum(ds), (1,))
        dy = dread if self.layout == "flat" else dread[:, None, :]
        dx, inner = self._through(params, inner, dy)
        if self.embedding:
            lre = xp.zeros_like(params["LRE"])
            lre[layer, :] = dx[0, :] if self.layout == "flat" else xp.sum(dx[:, 0, :], axis=0)
            grads["LRE"] = lre
        if "Wa" in params:
            flat = self.layout == "flat"
            # dWa = sum of token times dx: (m, xi) and (xi, m) -> (m*xi,)
            numbers = xp.reshape(h if flat else xp.matrix_transpose(h), (m * xi,))
            dtokens = dx[-m * xi :, :] if flat else dx[:, -m:, :]
            dtokens = xp.reshape(dtokens, (m * xi, self.token))
            grads["Wa"] = xp.matmul(numbers, dtokens)[None, :]
        return grads | inner

    def _last_outputs(self, params, x, last):
        # (..., last, C), and a cache; Mamba computes no others
        if not isinstance(self.model, LSTM):
            return self.model.forward(params, x, last)
        y, _, cache = self.model.forward(params, x)
        return y[..., -last:, :], (cache, y)

    def _through(self, params, cache, dy):
        # dx and the model's gradients from those of the last outputs
        if not isinstance(self.model, LSTM):
            return self.model.backward(params, cache, dy)
        cache, y = cache
        full = backend.namespace(dy).zeros_like(y)
        full[..., -dy.shape[-2] :, :] = dy
        dx, _, grads = self.model.backward(params, cache, full)
        return dx, grads

"""Layers: pure forward / backward pairs that accept parameters with leading population axes.

    forward(params, x, reduce)                  -> (y, cache)
    backward(params, cache, dy, wanted, reduce) -> (dx, grads); dx may be None where not ``wanted``

x has shape (N, ...) or (..., N, ...): the examples of one batch, with as many leading population
axes as the layers below have made. ``params`` and ``grads`` map names to arrays whose leading axes
are the population's. Nothing is accumulated and no input is changed; dtype in is dtype out.
A layer that has no parameters has empty ``shapes``. Sizes (``output_shape``, ``macs``) are per
example, without batch and population axes.

What a layer needs beside its parameters is put into ``params``, too. Whether it is there decides
what the layer does:

    BatchNorm   ``mean``, ``var``   there: running statistics, it is in use
                                    absent: it is trained, with the batch's
    Dropout     ``mask``            there: it multiplies by it (training);  absent: nothing to do

A network may hand a layer a block of its batch. ``reduce(value)`` is then the sum of ``value`` over
all blocks, and by default the value itself; of several values it gives all sums at once, for all
blocks must meet: batch normalisation asks for its means in this way, and nothing else in a layer
knows of blocks. ``grads`` are the block's share; the network adds them. A layer that can be cut
says so, ``cuts = True``. It then takes every sum over examples, forward and backward, from
``reduce``, and `statistics` gives the totals, because only the first block is asked.

A layer that must know how many axes an example has is told by the network, with ``fed(shape)``:
which axes are the population's is never guessed from their sizes.

So no layer has a mode, a memory or a generator of its own. The running statistics are the caller's,
who gets a first state from ``init_state``, what the batch had to say from ``statistics(cache)``,
and the next state from ``next_state(state, statistics)``. The masks are drawn by ``noise``.

A `Stack` of named layers passes the data through them, under their names with a prefix
(``conv1.weight``); a `Residual` is made of two stacks. They are no more than ways of the data:
what a network must know of its layers it reads off the list of their `minizo.layered.places`.
"""

from .activations import GELU, HardTanh, QuantizedActivation, ReLU, SiLU
from .attention import Attention
from .base import Layer
from .conv import Conv2d
from .dropout import Dropout
from .embedding import Embedding
from .flatten import Flatten
from .layer_norm import LayerNorm, RMSNorm
from .linear import Linear
from .lstm import LSTM
from .norm import BatchNorm1d, BatchNorm2d
from .pooling import AvgPool2d, GlobalAvgPool, MaxPool2d
from .residual import Gated, Residual, ZeroPad
from .stack import Stack
from .tokens import ClassToken, FirstToken, MeanToken, Patches, Positions

__all__ = [
    "GELU",
    "LSTM",
    "Attention",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "ClassToken",
    "Conv2d",
    "Dropout",
    "Embedding",
    "FirstToken",
    "Flatten",
    "Gated",
    "GlobalAvgPool",
    "HardTanh",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "MeanToken",
    "Patches",
    "Positions",
    "QuantizedActivation",
    "RMSNorm",
    "ReLU",
    "Residual",
    "SiLU",
    "Stack",
    "ZeroPad",
]


def __dir__():
    return __all__

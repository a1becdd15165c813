"""What the tests of the zoo of quantisers share."""

import numpy as np
from strategies import generator

from minizo import rng
from minizo.quantizers import LSQ, QUANTIZERS, TWN, MidRise, QuantNet, QuEST

# Every quantiser as it is, and what settings make of some
EVERY = {
    **{name: kind() for name, kind in QUANTIZERS.items()},
    "midrise, filters": MidRise("tanh", per="filter"),
    "lsq, filters": LSQ(per="filter"),
    "quantnet, filters": QuantNet(per="filter", expand=0.5),
    "twn, filters": TWN(per="filter"),
    "quest, blocks": QuEST(block=4, trust=1.3, per="filter"),
}

RNG = generator(4, 1)
SHAPE = (3, 12)  # filters of 3 x 4 weights
PROGRESS = (0.0, 0.3, 1.0)


def weights(lead=(), size=0.7, shape=SHAPE):
    """Gaussian weights, few of them near a kink."""
    return size * RNG.normal(size=(*lead, *shape))


def beside(quantizer, x, lead=()):
    """What a quantiser is given beside x, with learned parts away from their special values."""
    alpha = quantizer.scale(x)
    names = quantizer.shapes(x.shape[len(lead) :])
    if not names:
        return alpha
    own = {}
    for index in np.ndindex(*lead):
        start = quantizer.init(x[index] if index else x, rng.at(1, "test", *index))
        for name, value in start.items():
            rotation = name in quantizer.kept
            moved = value if rotation else value * (1 + 0.3 * RNG.normal(size=value.shape))
            own.setdefault(name, []).append(moved)
    return {"alpha": alpha} | {
        name: np.reshape(values, (*lead, *names[name])) for name, values in own.items()
    }


def error(function, gradient, x, h=1e-6):
    """Relative error of <gradient, direction> against a central difference, random direction."""
    direction = RNG.normal(size=x.shape)
    numeric = (function(x + h * direction) - function(x - h * direction)) / (2 * h)
    return abs(np.sum(gradient * direction) - numeric) / (1e-4 + abs(numeric))


def assert_gradient(function, gradient, x, bound=1e-5):
    """Right within ``bound``, and a gradient 1 % too large is not."""
    assert error(function, gradient, x) < bound
    assert error(function, 1.01 * gradient, x) > 1e-3

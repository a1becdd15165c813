"""What the tests of the finite-sample theory share."""

import numpy as np
from strategies import generator

from minizo.lab.finite_sample.closed_forms import Network
from minizo.lab.finite_sample.model import (
    STES,
)

LIKE = np.empty(0)
NAMES = list(STES)


def network(m, n, *words):
    """A random network with w* of length 1."""
    gen = generator(m, n, *words)
    w_true = gen.normal(size=n)
    return Network(gen.normal(size=m), gen.normal(size=n), gen.normal(size=m),
                   w_true / np.linalg.norm(w_true))  # fmt: skip

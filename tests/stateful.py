"""What the tests of networks with state share."""

from minizo import (
    FOGZO,
    SPSA,
    STE,
)
from minizo.layers import (
    BatchNorm1d,
    Dropout,
    Flatten,
    Linear,
    ReLU,
    Residual,
)
from minizo.network import Network

ESTIMATORS = [
    STE(),
    SPSA(n=40),
    FOGZO(n=8, beta_schedule="constant"),
    FOGZO(n=3, ste_share=0.5, beta_schedule="constant"),
]
IDS = ["ste", "spsa", "fogzo", "fogzo-scheduled"]


def network(rate=0.2, act=None):
    """12-8-8-3 with normalisation, dropout, and a residual block that has both, too."""
    block = {"fc": Linear(8, 8), "bn": BatchNorm1d(8), "drop": Dropout(rate), "act": ReLU()}
    layers = {
        "flatten": Flatten(),
        "fc1": Linear(12, 8),
        "bn1": BatchNorm1d(8),
        "act1": ReLU() if act is None else act,
        "drop1": Dropout(rate),
        "block": Residual(block),
        "fc2": Linear(8, 3),
    }
    return Network(layers, (1, 1, 12))

"""Training networks whose weights are quantised, by hand: STE, n-SPSA, FOGZO and their kin."""

from importlib import import_module

from . import backend, data, laws, layers, losses, models, optim, prox, quantizers, surrogates
from .errors import InputError
from .estimators import (
    FOGZO,
    FSG,
    LSTMFC,
    PARQ,
    SPSA,
    STE,
    BinaryConnect,
    BinaryRelax,
    BlendedCoarseGradient,
    Estimate,
    Estimator,
    FCGrad,
    MirrorDescent,
    MultiFC,
    NormalisedSTE,
    ProxConnect,
    ProxQuant,
    Step,
)
from .fitting import fit, fit_many
from .network import Network
from .objective import Batch, Objective
from .parallel import Pool, threads
from .records import Diverged, Run

__version__ = "0.2.0"

# Imported when first used
LATER = ("compare", "exercises", "export", "figures", "lab", "sampling", "testing")


def __getattr__(name):
    """Import ``minizo.export`` and such where they are asked for."""
    if name in LATER:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "FOGZO",
    "FSG",
    "LSTMFC",
    "PARQ",
    "SPSA",
    "STE",
    "Batch",
    "BinaryConnect",
    "BinaryRelax",
    "BlendedCoarseGradient",
    "Diverged",
    "Estimate",
    "Estimator",
    "FCGrad",
    "InputError",
    "MirrorDescent",
    "MultiFC",
    "Network",
    "NormalisedSTE",
    "Objective",
    "Pool",
    "ProxConnect",
    "ProxQuant",
    "Run",
    "Step",
    "__version__",
    "backend",
    "data",
    "fit",
    "fit_many",
    "laws",
    "layers",
    "losses",
    "models",
    "optim",
    "prox",
    "quantizers",
    "surrogates",
    "threads",
]


def __dir__():
    return [*__all__, *LATER]

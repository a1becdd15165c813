"""Training networks whose weights are quantised, by hand: STE, n-SPSA, FOGZO and their kin."""

from . import backend, data, laws, losses, models, optim, quantizers, surrogates
from .errors import InputError
from .estimators import FOGZO, FSG, LSTMFC, SPSA, STE, Estimate, FCGrad, MultiFC, Step
from .objective import Batch, Objective
from .population import Pool, threads
from .train import Diverged, Run, fit

__version__ = "0.1.0"

__all__ = [
    "FOGZO",
    "FSG",
    "LSTMFC",
    "SPSA",
    "STE",
    "Batch",
    "Diverged",
    "Estimate",
    "FCGrad",
    "InputError",
    "MultiFC",
    "Objective",
    "Pool",
    "Run",
    "Step",
    "__version__",
    "backend",
    "data",
    "fit",
    "laws",
    "losses",
    "models",
    "optim",
    "quantizers",
    "surrogates",
    "threads",
]

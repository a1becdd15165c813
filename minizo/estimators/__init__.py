"""Gradient estimators: one file a method, all with the same functions.

init(objective, theta) -> state
estimate(objective, theta, batch, state, step) -> (Estimate, state)
update(objective, optimizer, grad, optimizer_state, theta, step) -> (theta, optimizer_state)

An estimator is a frozen dataclass of hyper-parameters; its state is a NamedTuple of arrays.
``update`` hands the gradient to the optimiser (`Estimator`); only a rule that owns the update has
one of its own.
"""

from .base import Estimate, Estimator, Step
from .blended import BlendedCoarseGradient
from .controls import FastOnly, FSGAverage, FSGGain, FSGScaled, Gain, LayerGain
from .dual_averaging import PARQ, BinaryConnect, BinaryRelax, MirrorDescent, ProxConnect
from .fogzo import FOGZO
from .fsg import FSG
from .metaquant import LSTMFC, FCGrad, MultiFC
from .proxquant import ProxQuant
from .spsa import SPSA
from .ste import STE

ESTIMATORS = {
    "ste": STE,
    "spsa": SPSA,
    "fogzo": FOGZO,
    "proxquant": ProxQuant,
    "proxconnect": ProxConnect,
    "binaryconnect": BinaryConnect,
    "binaryrelax": BinaryRelax,
    "parq": PARQ,
    "mirror": MirrorDescent,
    "blended": BlendedCoarseGradient,
    "fcgrad": FCGrad,
    "multifc": MultiFC,
    "lstmfc": LSTMFC,
    "fsg": FSG,
    "gain": Gain,
    "layer-gain": LayerGain,
    "fast-net": FastOnly,
    "fsg-gain": FSGGain,
    "fsg-ema": FSGAverage,
    "fsg-scaled": FSGScaled,
}

__all__ = [
    "ESTIMATORS",
    "FOGZO",
    "FSG",
    "LSTMFC",
    "PARQ",
    "SPSA",
    "STE",
    "BinaryConnect",
    "BinaryRelax",
    "BlendedCoarseGradient",
    "Estimate",
    "Estimator",
    "FCGrad",
    "FSGAverage",
    "FSGGain",
    "FSGScaled",
    "FastOnly",
    "Gain",
    "LayerGain",
    "MirrorDescent",
    "MultiFC",
    "ProxConnect",
    "ProxQuant",
    "Step",
]

"""Quantisers: a forward map and the backward rule that training uses instead of its derivative.

One idea a file, from the top down:

    base          the contract (`Quantizer`), and full precision
    staircase     sign, mid-rise, mid-tread: equal steps in units of a scale fixed at the start
    dorefa        DoReFa's staircases: of tanh(x) for weights, of [0, 1] for activations
    fitted        ternary and multi-bit: levels fitted to the weights at each use
    scaled        signs with a live scale: XNOR, Bi-Real, magnitude-aware, ReSTE; BNN without one
    standardised  signs of standardised filters: IR-Net, RBNN with its rotations
    fda           the sign as a Fourier series with a noise-adaptation network
    quantnet      a network that maps weights to nearly binary ones: QuantNet, approximated
    learned_step  LSQ, whose step is learned; QuEST, whose step follows the weights
    bitnet        BitNet b1.58: ternary weights, activations a token at a time
    stochastic    stochastic BinaryConnect
"""

from ..norms import rms
from .base import FullPrecision, Quantizer
from .bitnet import AbsMax, AbsMean
from .dorefa import DoReFa, DoReFaActivation
from .fda import FDA
from .fitted import TWN, MultiBit, Ternary
from .learned_step import LSQ, QuEST
from .quantnet import QuantNet
from .scaled import BNN, BiReal, MagnitudeAware, ReSTE, Xnor
from .staircase import MidRise, MidTread, Sign
from .standardised import RBNN, IRNet
from .stochastic import Stochastic

QUANTIZERS = {
    "midrise": MidRise,
    "midtread": MidTread,
    "sign": Sign,
    "bnn": BNN,
    "stochastic": Stochastic,
    "xnor": Xnor,
    "bireal": BiReal,
    "magnitude": MagnitudeAware,
    "irnet": IRNet,
    "rbnn": RBNN,
    "reste": ReSTE,
    "fda": FDA,
    "quantnet": QuantNet,
    "dorefa": DoReFa,
    "twn": TWN,
    "ternary": Ternary,
    "multibit": MultiBit,
    "absmean": AbsMean,
    "absmax": AbsMax,
    "lsq": LSQ,
    "quest": QuEST,
    "none": FullPrecision,
}

__all__ = [
    "BNN",
    "FDA",
    "LSQ",
    "QUANTIZERS",
    "RBNN",
    "AbsMax",
    "AbsMean",
    "TWN",
    "BiReal",
    "DoReFa",
    "DoReFaActivation",
    "FullPrecision",
    "IRNet",
    "MagnitudeAware",
    "MidRise",
    "MidTread",
    "MultiBit",
    "QuEST",
    "QuantNet",
    "Quantizer",
    "ReSTE",
    "Sign",
    "Stochastic",
    "Ternary",
    "Xnor",
    "rms",
]


def __dir__():
    return __all__

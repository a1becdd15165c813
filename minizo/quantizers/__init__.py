"""Quantisers: a forward map and the backward rule that training uses instead of its derivative.

One idea a file, from the top down:

    base        what all of them share (`Quantizer`), and full precision
    staircase   sign, mid-rise, mid-tread: equal steps in units of a scale fixed at the start
    dorefa      DoReFa's staircase of tanh(x)
    fitted      ternary and multi-bit: levels fitted to the weights at each use
"""

from .base import FullPrecision, Quantizer, rms
from .dorefa import DoReFa
from .fitted import MultiBit, Ternary
from .staircase import MidRise, MidTread, Sign

QUANTIZERS = {
    "midrise": MidRise,
    "midtread": MidTread,
    "sign": Sign,
    "dorefa": DoReFa,
    "ternary": Ternary,
    "multibit": MultiBit,
    "none": FullPrecision,
}

__all__ = [
    "QUANTIZERS",
    "DoReFa",
    "FullPrecision",
    "MidRise",
    "MidTread",
    "MultiBit",
    "Quantizer",
    "Sign",
    "Ternary",
    "rms",
]

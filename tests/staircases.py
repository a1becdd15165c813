"""What the tests of the staircases share."""

import numpy as np

from minizo.quantizers import MidRise, MidTread, Sign

BITS = range(1, 9)
ALL = [Sign(), *(MidRise(bits=b) for b in BITS), *(MidTread(bits=b) for b in BITS)]
ONE = np.array(1.0)


def name_of(quantizer):
    """A short name for the test's id."""
    return f"{type(quantizer).__name__}{getattr(quantizer, 'bits', '')}-{quantizer.surrogate}"


def levels_of(quantizer):
    """The levels in units of alpha, from the definitions in words."""
    if isinstance(quantizer, Sign):
        return np.array([-1.0, 1.0])
    codes = np.arange(2**quantizer.bits) - 2.0 ** (quantizer.bits - 1)
    return codes + 0.5 if isinstance(quantizer, MidRise) else codes

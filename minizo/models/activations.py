"""What stands between the layers of a network: by name, as a quantiser, or as the layer it is."""

import numpy as np

from ..errors import choose
from ..layers import HardTanh, QuantizedActivation, ReLU
from ..quantizers import LSQ, DoReFaActivation, MidRise, MidTread, Quantizer, Sign

# What stands between layers: layers as they are, and quantisers, each with a step of its own.
ACTIVATIONS = {
    "relu": ReLU,
    "hardtanh": HardTanh,
    "sign": Sign,
    "midrise": MidRise,
    "midtread": MidTread,
    "dorefa": DoReFaActivation,  # of [0, 1], as DoReFa's weights have another
    "lsq": LSQ,
}
# What a quantiser is by default where it quantises activations; LSQ's are never negative.
ACTIVATION_DEFAULTS = {"surrogate": "hardtanh", "signed": False}


def activation_layer(given):
    """The layer for an activation: from its name, from a quantiser, or the layer that it is.

    >>> activation_layer("sign")
    QuantizedActivation(quantizer=Sign(surrogate='hardtanh', alpha_scale=1.0), scale=1.0)
    """
    if isinstance(given, str):
        cls = choose("activation", given, ACTIVATIONS)
        known = cls.__dataclass_fields__
        given = cls(**{name: v for name, v in ACTIVATION_DEFAULTS.items() if name in known})
    if not isinstance(given, Quantizer):
        return given
    # Batch normalisation makes numbers of variance 1, and takes a common factor of two levels out
    # again. More levels take the step that fits such numbers.
    two = getattr(given, "alpha_scale", 1.0)
    scale = two if given.levels == 2 else float(given.scale(np.ones(1))[0])
    return QuantizedActivation(given, scale)


def binary():
    """y = sign(x) with the slope of hardtanh: the activation of binarised networks."""
    return activation_layer("sign")

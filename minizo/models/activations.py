"""What stands between the layers of a network: by name, as a quantiser, or as the layer it is."""

import numpy as np

from ..errors import choose, require
from ..layers import HardTanh, QuantizedActivation, ReLU
from ..layers.base import Layer
from ..quantizers import LSQ, QUANTIZERS, DoReFaActivation, MidRise, MidTread, Quantizer, Sign

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

# What quantises the activations that the inner linear layers of a transformer take.
INPUTS = {
    name: QUANTIZERS[name] for name in ("absmax", "quest", "lsq", "midtread", "midrise", "sign")
}


# A name of `ACTIVATIONS` (or of `INPUTS`), a quantiser, or a layer as it is.
Activation = str | Quantizer | Layer


def activation_layer(given: Activation) -> Layer:
    """The layer for an activation: from its name, from a quantiser, or the layer that it is.

    >>> activation_layer("hardtanh"), activation_layer(LSQ(bits=4)).quantizer.bits
    (HardTanh(), 4)
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


def input_layer(inputs, bits=None):
    """The layer in front of the inner linear layers of a transformer, or ``None`` for none.

    Parameters
    ----------
    inputs : quantizer, layer, str or None
        A name of ``INPUTS``, or what it names.
    bits : int, optional
        Of a quantiser that is named, by default its own; without a name, of absmax.

    Examples
    --------
    >>> input_layer("absmax", 4).quantizer.bits, input_layer(None)
    (4, None)
    """
    inputs = "absmax" if inputs is None and bits is not None else inputs
    if isinstance(inputs, str):
        cls = choose("inputs", inputs, INPUTS)
        known = "bits" in cls.__dataclass_fields__
        require(bits is None or known, "input_bits", bits, f"{inputs} has none; leave it out")
        inputs = cls() if bits is None else cls(bits=bits)
    else:
        remedy = "it belongs to inputs that are a name, such as absmax; leave it out"
        require(bits is None, "input_bits", bits, remedy)
    return None if inputs is None else activation_layer(inputs)


def binary() -> Layer:
    """y = sign(x) with the slope of hardtanh: the activation of binarised networks."""
    return activation_layer("sign")

"""Which weights of a network are quantised: by their place, or by patterns of their names."""

from dataclasses import replace

from ..errors import fitting, require
from ..network import Network
from ..quantizers.base import Quantizer

# Which weights are quantised: name -> with those of the first and the last layer?
QUANTIZED = {"all": True, "inner": False}


def chosen(network: Network, which: str, argument: str = "quantized") -> tuple[str, ...]:
    """Names of the weights that a text says: ``"all"``, ``"inner"``, or patterns with commas.

    Parameters
    ----------
    network : Network
    which : str
        A pattern has ``*`` for any characters and ``?`` for one: ``"layers.*.weight,head.weight"``.
    argument : str
        What an error calls it.

    Raises
    ------
    InputError
        For a pattern that fits no weight.

    Examples
    --------
    >>> from minizo.models import llama
    >>> chosen(llama(65, layers=1), "layers.*.attention.*, head.weight")
    ('layers.1.attention.qkv.weight', 'layers.1.attention.out.weight', 'head.weight')
    """
    special = {word: weights(network, ends=ends) for word, ends in QUANTIZED.items()}
    return fitting(weights(network), which, argument, special)


def bit_widths(
    network: Network,
    quantizer: Quantizer,
    widths: dict[str, int],
    quantized: tuple[str, ...] | None = None,
    argument: str = "widths",
) -> dict[str, Quantizer]:
    """Quantisers of bit widths of their own, for ``Objective(..., exceptions=...)``.

    Parameters
    ----------
    network : Network
    quantizer : quantizer
        Of all other weights; one with ``bits``.
    widths : dict of str to int
        Pattern of names, as `chosen` takes them -> bits. A later one overrides an earlier one.
    quantized : tuple of str, optional
        Names of the weights that are quantised; by default all.
    argument : str
        What an error calls it.

    Raises
    ------
    InputError
        For a pattern that fits no weight, or one that is not quantised, and for a quantiser without
        ``bits``.

    Examples
    --------
    >>> from minizo.models import llama
    >>> from minizo.quantizers import MidRise
    >>> found = bit_widths(llama(65, layers=1), MidRise(), {"layers.*": 4, "*.down.*": 8})
    >>> {name: own.bits for name, own in found.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'layers.1.attention.qkv.weight': 4, 'layers.1.attention.out.weight': 4,
     'layers.1.mlp.gated.up.weight': 4, 'layers.1.mlp.gated.gate.fc.weight': 4,
     'layers.1.mlp.down.weight': 8}
    """
    quantized, found = weights(network) if quantized is None else quantized, {}
    remedy = "a bit width needs a quantiser that has one: midrise, midtread, lsq, quest, dorefa"
    for pattern, bits in widths.items():
        require(hasattr(quantizer, "bits"), argument, f"{pattern}={bits}", remedy)
        names = chosen(network, pattern, argument)
        outside = [name for name in names if name not in quantized]
        known = f"{', '.join(outside)} is not quantised"
        require(len(outside) < len(names), argument, pattern, known)
        own = replace(quantizer, bits=bits)  # type: ignore[call-arg]
        found |= {name: own for name in names if name in quantized}
    return found


def weights(network: Network, ends: bool = True, shortcuts: bool = True) -> tuple[str, ...]:
    """Names of the weights of a network, for ``Objective(..., quantized=...)``.

    Parameters
    ----------
    network : Network
    ends : bool
        With the first and the last, which many papers leave in full precision.
    shortcuts : bool
        With those of shortcuts.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from minizo.models import lenet
    >>> weights(lenet(), ends=False)
    ('conv2.weight',)
    """
    names = [name for name in network.shapes if name.endswith(".weight")]
    names = names if ends else names[1:-1]
    return tuple(name for name in names if shortcuts or ".shortcut." not in name)

"""Which weights of a network are quantised: by their place, or by patterns of their names."""

import fnmatch

from ..errors import nearest, require

# Which weights are quantised: name -> with those of the first and the last layer?
QUANTIZED = {"all": True, "inner": False}


def chosen(network, which, argument="quantized"):
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
    require(isinstance(which, str), argument, which, "it must be a text, such as 'layers.*'")
    known, found = weights(network), set()
    for pattern in which.replace(",", " ").split() or [which]:
        if pattern in QUANTIZED:
            fitting = weights(network, ends=QUANTIZED[pattern])
        else:
            fitting = fnmatch.filter(known, pattern)
            hint = "" if set(pattern) & set("*?[") else nearest(pattern, [*QUANTIZED, *known])
            hint = hint or f"; a pattern fits a whole name: {', '.join(known)}"
            remedy = f"it is neither all nor inner, and fits no weight{hint}"
            require(fitting, argument, pattern, remedy)
        found |= set(fitting)
    return tuple(name for name in known if name in found)


def weights(network, ends=True, shortcuts=True):
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

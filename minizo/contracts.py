"""What an object must have to be an estimator, an optimiser, a quantiser or a loss."""

import inspect

from .errors import InputError, close
from .estimators import ESTIMATORS
from .losses import LOSSES
from .optim import OPTIMIZERS
from .quantizers import QUANTIZERS

# kind of part -> (its names, what an object of it must have, where that is to be had)
CONTRACTS = {
    "estimator": (ESTIMATORS, "init estimate update", "minizo.estimators.Estimator, which has "
                  "update"),
    "optimizer": (OPTIMIZERS, "init update rate", "minizo.optim.SGD"),
    "quantizer": (QUANTIZERS, "quantize backward scale shapes noise at", "minizo.quantizers."
                  "Quantizer, which has all but quantize"),
    "loss": (LOSSES, "forward backward", "minizo.losses.MeanSquaredError"),
    "activation": ({}, "", ""),
}  # fmt: skip


def check_part(kind, value):
    """``value``, an object of that kind, or an `InputError` for a class, a name or anything else.

    >>> from minizo.optim import Adam
    >>> check_part("optimizer", Adam)
    Traceback (most recent call last):
    minizo.errors.InputError: optimizer is the class Adam, but it must be an object: Adam()
    """
    table, needed, base = CONTRACTS[kind]
    if isinstance(value, str):
        cls = table.get(close(value, table))
        hint = "" if cls is None else f", such as {cls.__name__}()"
        raise InputError(f"{kind} is the name {value!r}, but it must be an object{hint}")
    if inspect.isclass(value):
        name = value.__name__
        raise InputError(f"{kind} is the class {name}, but it must be an object: {name}()")
    missing = [name for name in needed.split() if not callable(getattr(value, name, None))]
    if missing:
        raise InputError(
            f"{kind} is a {type(value).__name__}, which has no {' or '.join(missing)}; write "
            f"{'it' if len(missing) == 1 else 'them'}, or inherit from {base}"
        )
    return value

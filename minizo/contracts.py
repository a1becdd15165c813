"""What an estimator, an optimiser, a quantiser or a loss must have, and what they must give."""

import inspect
from collections.abc import Mapping
from math import prod

from .errors import InputError, close, require
from .estimators import ESTIMATORS, Estimate
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
    if not missing and kind == "estimator" and not hasattr(value, "label"):
        missing = ["label"]
    if missing:
        raise InputError(
            f"{kind} is a {type(value).__name__}, which has no {' or '.join(missing)}; write "
            f"{'it' if len(missing) == 1 else 'them'}, or inherit from {base}"
        )
    for name, arguments in SIGNATURES.get(kind, {}).items():
        try:
            inspect.signature(getattr(value, name)).bind(*arguments)
        except TypeError:
            raise InputError(
                f"{type(value).__name__}.{name} is called with ({', '.join(arguments)}), which it "
                "does not take"
            ) from None
    return value


# What the methods of a rule are called with
SIGNATURES = {
    "estimator": {
        "init": ("objective", "theta"),
        "estimate": ("objective", "theta", "batch", "state", "step"),
        "update": ("objective", "optimizer", "grad", "state", "theta", "step"),
    },
    "optimizer": {
        "init": ("theta", "objective"),
        "update": ("grad", "state", "theta", "progress"),
        "rate": ("progress",),
    },
}


def check_pair(rule, method, answer, first, kind):
    """``answer``, a pair of a ``kind`` called ``first`` and a state; or an `InputError`."""
    if type(answer) is not tuple or len(answer) != 2 or not isinstance(answer[0], kind):
        raise InputError(
            f"{type(rule).__name__}.{method} gives a {type(answer).__name__}, but it must give "
            f"({first}, state)"
        )
    return answer


def check_like(what, value, name, like):
    """Raise an `InputError` where ``value`` has not the shape and dtype of ``like``, by its name.

    >>> import numpy as np
    >>> try:
    ...     check_like("dx", np.zeros(2), "x", np.zeros(2, np.float32))
    ... except InputError as error:
    ...     print(str(error).partition(" (a number")[0])
    dx is (2,) float64, but x is (2,) float32: keep shape and dtype
    """
    shape, dtype = getattr(value, "shape", ()), getattr(value, "dtype", type(value).__name__)
    if (shape, dtype) != (like.shape, like.dtype):
        raise InputError(
            f"{what} is {tuple(shape)} {dtype}, but {name} is {tuple(like.shape)} {like.dtype}: "
            "keep shape and dtype (a number of NumPy's turns float32 into float64, one of Python's "
            "does not)"
        )


def check_estimate(rule, answer, theta, runs):
    """(Estimate, state), as ``rule.estimate`` gave them for theta of so many runs; or an error."""
    check_pair(rule, "estimate", answer, "Estimate(...)", Estimate)
    check_like(f"the gradient of {rule.label}", answer[0].grad, "theta", theta)
    found = tuple(getattr(answer[0].loss, "shape", ()))
    remedy = "it must be one number a run"
    require(prod(found) == runs, f"the shape of {rule.label}'s loss", found, remedy)
    return answer


def check_state(rule, state):
    """``state``, as ``rule.init`` gave it, or an `InputError` where a checkpoint cannot hold it."""
    if state is None or isinstance(state, list | str):
        raise InputError(
            f"{type(rule).__name__}.init gives {state!r}, but a state is a tuple, a dict, an array "
            "or a number; one that is empty is ()"
        )
    return state


def check_learned(quantizer, shapes):
    """``quantizer.shapes``, or an `InputError` where it does not say what is learned."""
    argument = f"{type(quantizer).__name__}.shapes"
    remedy = "it must be a dict of name to a tuple of sizes, such as {'step': (1,)}"
    require(isinstance(shapes, Mapping), argument, shapes, remedy)
    for shape in shapes.values():
        require(isinstance(shape, tuple) and len(shape) > 0, argument, dict(shapes), remedy)
    remedy = "that is the scale's name: call what it learns otherwise"
    require("alpha" not in shapes, argument, dict(shapes), remedy)
    least = dict(getattr(quantizer, "least", {}))
    remedy = f"{argument} has {', '.join(shapes) or 'nothing'}"
    require(set(least) <= set(shapes), f"{type(quantizer).__name__}.least", least, remedy)
    return shapes


def check_backward(quantizer, answer, x, scale, learned):
    """(dx, grads), as ``quantizer.backward`` gave them for x and ``scale``; or an `InputError`."""
    rule, (dx, grads) = f"{type(quantizer).__name__}.backward", answer
    check_like(f"dx of {rule}", dx, "x", x)
    if set(grads) != set(learned):
        raise InputError(
            f"{rule} gives gradients of {sorted(grads)}, but shapes has {sorted(learned)}: give "
            "one for each"
        )
    for part, grad in grads.items():
        check_like(f"the gradient of {part} of {rule}", grad, part, scale[part])
    return answer

"""Errors for bad input: one sentence that names the argument, its value and the remedy."""

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Hashable

# What others call a thing -> what it may be called here, in the order in which it is suggested.
SYNONYMS = {
    "backprop": ("ste",),
    "bce": ("cross-entropy",),
    "binary": ("sign",),
    "bitnet": ("absmean", "absmax"),
    "ce": ("cross-entropy",),
    "cnn": ("lenet", "small"),
    "cpu": ("numpy",),
    "cuda": ("cupy",),
    "double": ("float64",),
    "fp": ("none",),
    "fp32": ("none", "float32"),
    "float": ("none", "float32"),
    "fullprecision": ("none",),
    "gpt": ("llama",),
    "gpu": ("cupy", "device"),
    "hinge": ("squared-hinge",),
    "identity": ("none",),
    "metaquant": ("multifc",),
    "mirrordescent": ("mirror",),
    "nll": ("cross-entropy",),
    "normal": ("gaussian",),
    "nspsa": ("spsa",),
    "off": ("none",),
    "resnet": ("resnet20", "small-resnet"),
    "single": ("float32",),
    "softmax": ("cross-entropy",),
    "squarederror": ("mse",),
    "straightthrough": ("ste",),
    "stochasticgradientdescent": ("sgd",),
    "transformer": ("llama", "vit"),
    "zerothorder": ("spsa",),
}


class InputError(ValueError):
    """Bad input that the caller can correct; commands print it and exit with code 2."""


def folded(name):
    """``name`` without what people spell differently: case, hyphens, underscores, spaces.

    >>> folded("Mid-Rise")
    'midrise'
    """
    return "".join(c for c in str(name).lower() if c not in "-_ ")


def close(word, names):
    """The name that ``word`` probably means, or ``None``: the same folded, a synonym, or like it.

    >>> close("fogso", ["ste", "spsa", "fogzo"]), close("Binary", ["sign", "midrise"])
    ('fogzo', 'sign')
    """
    same = {folded(name): name for name in reversed(list(names))}
    for candidate in (word, *SYNONYMS.get(folded(word), ())):
        if folded(candidate) in same:
            return same[folded(candidate)]
    alike = difflib.get_close_matches(folded(word), list(same), n=1, cutoff=0.4)
    return same[alike[0]] if alike else None


def fitting(names, patterns, argument, special=None):
    """Those of ``names`` that a text of patterns with commas says, in their own order.

    Parameters
    ----------
    names : iterable of str
    patterns : str
        ``*`` stands for any characters and ``?`` for one: ``"layers.*.weight,head.weight"``.
    argument : str
        What an error calls it.
    special : dict of str to iterable of str, optional
        Words that are no patterns -> the names that they stand for.

    Raises
    ------
    InputError
        If it is no text, or a pattern fits none.

    Examples
    --------
    >>> fitting(["fc1.weight", "fc1.bias", "fc2.weight"], "*.bias, fc2.*", "perturb")
    ('fc1.bias', 'fc2.weight')
    """
    require(isinstance(patterns, str), argument, patterns, "it must be a text, such as 'layers.*'")
    names, special, found = tuple(names), special or {}, set()
    for pattern in patterns.replace(",", " ").split() or [patterns]:
        if pattern in special:
            found |= set(special[pattern])
            continue
        fits = fnmatch.filter(names, pattern)
        hint = "" if set(pattern) & set("*?[") else nearest(pattern, [*special, *names])
        hint = hint or f"; a pattern fits a whole name: {', '.join(names)}"
        neither = f"is neither {' nor '.join(special)}, and " if special else ""
        require(fits, argument, pattern, f"it {neither}fits no name{hint}")
        found |= set(fits)
    return tuple(name for name in names if name in found)


def nearest(word, names):
    """Return a hint ``"; did you mean 'x'?"`` for a mistyped name, or an empty string.

    >>> nearest("fogso", ["ste", "spsa", "fogzo"])
    "; did you mean 'fogzo'?"
    """
    found = close(word, names)
    return "" if found is None else f"; did you mean {found!r}?"


def choose(argument, name, table):
    """Look ``name`` up in ``table``, or refuse it and suggest the nearest name.

    Parameters
    ----------
    argument : str
        What the name chooses, as the user knows it (``"--law"``).
    name : str
        The name looked up.
    table : dict
        The known names.

    Raises
    ------
    InputError
        If ``name`` is not a key of ``table``.

    Examples
    --------
    >>> choose("--law", "gaussian", {"gaussian": 1.0})
    1.0
    """
    if isinstance(name, Hashable) and name in table:
        return table[name]
    known = ", ".join(sorted(table))
    raise InputError(f"{argument}: unknown name {name!r}{nearest(name, table)} (known: {known})")


def resolve(argument, value, table, kind):
    """What ``value`` stands for: what ``table`` calls so, or ``value`` itself, if it is a ``kind``.

    >>> resolve("law", "one", {"one": 1}, int), resolve("law", 2, {"one": 1}, int)
    (1, 2)
    """
    if isinstance(value, str):
        return choose(argument, value, table)
    if not isinstance(value, kind):
        what = "function" if kind is Callable else kind.__name__
        known = ", ".join(sorted(table))
        raise InputError(
            f"{argument} is {_what(value)}, but it must be a {what}, or one of the names {known}"
        )
    return value


def _what(value):
    # a value in a sentence, without an address
    if inspect.isclass(value) or inspect.isroutine(value):
        return f"the {'class' if inspect.isclass(value) else 'function'} {value.__name__}"
    return repr(value) if type(value).__module__ == "builtins" else f"a {type(value).__name__}"


def spelt(argument, name, table):
    """The key of ``table`` that ``name`` is, without regard to case; otherwise as `choose`.

    >>> spelt("--estimator", "FOGZO", {"fogzo": None})
    'fogzo'
    """
    keys = {key.lower(): key for key in table}
    key = keys.get(str(name).lower(), name)
    choose(argument, key, table)
    return key


def require(condition, argument, value, remedy):
    """Raise an `InputError` naming ``argument``, ``value`` and ``remedy`` unless ``condition``.

    Examples
    --------
    >>> require(-1 > 0, "n", -1, "it must be above 0")
    Traceback (most recent call last):
    minizo.errors.InputError: n is -1, but it must be above 0
    """
    if not condition:
        raise InputError(f"{argument} is {value!r}, but {remedy}")

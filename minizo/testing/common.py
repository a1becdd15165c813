"""Checks that every kind of rule shares: pure, quiet, deterministic, picklable, checkpointable."""

import contextlib
import copy
import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property

import numpy as np

from .. import backend, checkpoint
from ..errors import InputError
from ..recipe import in_words
from .findings import Fault, Unjudged, name_of, require

DTYPES = (np.float64, np.float32)


def leaves(value, path=""):
    """Yield (path, leaf) of nested tuples, lists and dicts, such as a state.

    Examples
    --------
    >>> list(leaves({"m": 1.0, "v": (2.0, 3.0)}, "state"))
    [('state.m', 1.0), ('state.v.0', 2.0), ('state.v.1', 3.0)]
    """
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", range(len(value)))
        value = dict(zip(names, value, strict=True))
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}".strip("."))
    else:
        yield path, value


def difference(before, after, path=""):
    """Return the first difference of two nested values in words, or None where all bits are equal.

    Examples
    --------
    >>> difference(np.array([1.0, 2.0]), np.array([1.0, 2.5]), "theta")
    'theta[1] is 2.0, then 2.5'
    """
    first, second = dict(leaves(before, path)), dict(leaves(after, path))
    if list(first) != list(second):
        return f"{path} has {sorted(first)}, then {sorted(second)}"
    for name, value in first.items():
        words = _difference(name, value, second[name])
        if words:
            return words
    return None


def _difference(name, before, after):
    if not hasattr(before, "shape") and not hasattr(after, "shape"):
        # other objects cannot be compared; `restored` refuses them
        known = isinstance(before, bool | int | float | str) and before == before
        return f"{name} is {before!r}, then {after!r}" if known and before != after else None
    a, b = np.asarray(before), np.asarray(after)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{name} is {a.shape} {a.dtype}, then {b.shape} {b.dtype}"
    unequal = np.argwhere(~((a == b) | ((a != a) & (b != b))))
    if not len(unequal):
        return None
    place = tuple(int(index) for index in unequal[0])
    where = "" if not place else f"[{', '.join(map(str, place))}]"
    return f"{name}{where} is {a[place].item()!r}, then {b[place].item()!r}"


def apart(expected, found, rtol, path=""):
    """Return the largest relative deviation of nested numbers, and where it is.

    Every array is compared in units of its own largest number.

    Examples
    --------
    >>> apart(np.array([1.0, 2.0]), np.array([1.0, 2.5]), 1e-3, "theta")
    (0.25, 'theta[1] is 2.5 instead of 2')
    """
    first, second = dict(leaves(expected, path)), dict(leaves(found, path))
    if list(first) != list(second):
        return np.inf, f"{path} has {sorted(second)} instead of {sorted(first)}"
    worst, words = 0.0, ""
    for name, value in first.items():
        a, b = np.asarray(value, float), np.asarray(second[name], float)
        if a.shape != b.shape:
            return np.inf, f"{name} has shape {b.shape} instead of {a.shape}"
        if not a.size:
            continue
        gap = np.abs(b - a) / max(float(np.max(np.abs(a))), 1e-9)
        gap = np.where(np.isfinite(gap), gap, np.where((a == b) | ((a != a) & (b != b)), 0, np.inf))
        place = np.unravel_index(int(np.argmax(gap)), gap.shape)
        if gap[place] > max(worst, rtol):
            where = "" if not place else f"[{', '.join(str(int(i)) for i in place)}]"
            words = f"{name}{where} is {b[place]:.6g} instead of {a[place]:.6g}"
        worst = max(worst, float(gap[place]))
    return worst, words


def state_in_dtype(rule, state, dtype):
    """Raise a `Fault` where an array of floats in a state has another dtype than theta."""
    for path, value in leaves(state, "state"):
        kind = getattr(value, "dtype", None)
        require(
            kind is None or kind.kind != "f" or kind == dtype,
            f"{name_of(rule)}: {path} is {kind}, but theta is {np.dtype(dtype)}: a number of "
            "NumPy's turns float32 into float64, one of Python's does not",
        )


def unchanged(what, call, arguments):
    """Return ``call(*arguments.values())``; raise a `Fault` where one is changed in place."""
    kept = copy.deepcopy(arguments)
    answer = call(*arguments.values())
    words = difference(kept, arguments)
    require(
        words is None,
        f"{what} changes its arguments in place: {words}; make a new array (theta = theta - ..., "
        "not theta -= ...)",
    )
    return answer


UNUSUAL = 3_141_592_653  # no seed that a rule would set


def quiet(what, call):
    """Return ``call()``; raise a `Fault` where it prints or uses NumPy's global random state."""
    output, kept = io.StringIO(), np.random.get_state()
    np.random.seed(UNUSUAL)  # so that a rule which sets a seed of its own is seen, too
    before = np.random.get_state()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            answer = call()
        after, text = np.random.get_state(), output.getvalue()
    finally:
        np.random.set_state(kept)
    require(not text, f"{what} prints {text[:40]!r}: leave out its print, records hold the losses")
    require(
        difference(before, after) is None,
        f"{what} draws from NumPy's global random state, which is another in every run: draw from "
        "a stream, such as minizo.rng.at(step.seed, 'noise', step.index)",
    )
    return answer


def again(what, call, answers):
    """Raise a `Fault` unless ``call(k)`` gives the bits of ``answers[k]`` again, last one first.

    In the other order, because what is remembered from one call to the next then shows.
    """
    for index in reversed(range(len(answers))):
        for _ in range(2):
            words = difference(answers[index], call(index), "its answer")
            require(
                words is None,
                f"{what} gives two answers to the same arguments: {words}; keep what changes in "
                "the state, and draw random numbers from minizo.rng.at(...)",
            )


def closeness(worst):
    """Return how well two things agree, in words.

    >>> closeness(0.0), closeness(3e-12)
    ('bit for bit', 'to 3e-12')
    """
    return "bit for bit" if worst == 0.0 else f"to {worst:.0e}"


REMEDY = "write rowwise = False, or take sums over the last axis, with keepdims=True"


def check_rows(rule, runs, together, alone, tolerance):
    """Raise a `Fault` unless several runs in one array are those of each alone; else say so.

    Parameters
    ----------
    rule
        Which says ``rowwise``, or is not judged.
    runs : int
    together : callable
        Without arguments; what each row found in each step, or an error where theta (S, 1, d) is
        not taken.
    alone : callable
        ``alone(row)``: what the run of that row finds in each step.
    tolerance : float
    """
    name = name_of(rule)
    if not getattr(rule, "rowwise", False):
        raise Unjudged(
            "rowwise is False (what has a method of its own says it anew): runs are trained one by "
            "one; with rowwise = True it is looked at"
        )
    try:
        joint = together()
    except (InputError, ValueError, IndexError, TypeError) as error:
        raise Fault(
            f"{name} says rowwise = True, but theta (S, 1, d) of {runs} runs ends in "
            f"{type(error).__name__}: {error}; {REMEDY}"
        ) from None
    worst = 0.0
    for row in range(runs):
        for index, (own, found) in enumerate(zip(alone(row), joint[row], strict=True)):
            gap, words = apart(own, found, tolerance)
            require(
                gap <= tolerance,
                f"{name} says rowwise = True, but row {row} of {runs} is not the run that it is "
                f"alone (step {index}: {words}): {REMEDY}",
            )
            worst = max(worst, gap)
    return f"{runs} runs in one array are those of each alone, {closeness(worst)}"


def check_pickle(rule):
    """Raise a `Fault` where a rule cannot be pickled, or its ``repr`` is not that of its copy."""
    name, words = name_of(rule), in_words(rule)
    known = {own.name for own in fields(rule)} if is_dataclass(rule) else set()
    for part in sorted(vars(rule).keys() - known) if hasattr(rule, "__dict__") else ():
        cached = isinstance(getattr(type(rule), part, None), cached_property)
        require(
            cached or f"{part}=" in words,
            f"the repr of {name}, {words}, does not say its {part}, but a checkpoint knows its run "
            f"by the repr: write @dataclass(frozen=True) above the class, and '{part}: type'",
        )
    address = re.search(r"0x[0-9a-fA-F]{6,}", words)
    require(
        address is None,
        f"the repr of {name} has an address in it ({words}), which is another in every run, but a "
        "checkpoint knows its run by the repr: write @dataclass(frozen=True) above the class",
    )
    try:
        twin = pickle.loads(pickle.dumps(rule))
    except Exception as error:
        raise Fault(
            f"{name} cannot be pickled, as processes and other machines need it "
            f"({type(error).__name__}: {error}): put classes and functions at the top of a module, "
            "and use no lambda"
        ) from None
    require(
        in_words(twin) == words,
        f"{name} is {words}, but once pickled {in_words(twin)}: a checkpoint knows its run by the "
        "repr, so all that makes the rule must be in its attributes",
    )
    return "can be pickled, and its repr is the same afterwards"


def restored(rule, template, state, like):
    """Return a state as a checkpoint gives it back; raise a `Fault` where that is another one."""
    name = name_of(rule)
    arrays = {}
    for path, value in leaves(state, "state"):
        right = isinstance(value, bool | int | float) or hasattr(value, "shape")
        require(
            right and not isinstance(value, list),
            f"{name}: {path} is a {type(value).__name__}, but a checkpoint holds arrays and "
            "numbers, in tuples and dicts",
        )
    arrays = checkpoint.flatten("state", state)
    try:
        back = checkpoint.unflatten("state", template, arrays, like)
    except (TypeError, ValueError):
        raise Fault(
            f"{name}: `init` gives another kind of state than the rule has later: a number where "
            "an array comes must be an array of the same shape, such as 0.0 * theta"
        ) from None
    words = difference(state, back, "state")
    require(
        words is None,
        f"{name}: a checkpoint does not give its state back: {words}; `init` must give every part "
        "that the state has later, with its type and shape",
    )
    return back


def stacked(rows):
    """Stack nested values of several runs, (...) each, to (S, 1, ...); numbers stay as they are."""
    first = rows[0]
    if isinstance(first, Mapping):
        return {name: stacked([row[name] for row in rows]) for name in first}
    if isinstance(first, tuple):
        parts = [stacked(list(part)) for part in zip(*rows, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    if first is None or isinstance(first, int | float):
        return first
    return backend.stack(rows)[:, None, ...]


def member(value, index, axes):
    """Return what ``value`` (..., axes) has for one member; an axis of length 1 is shared by all.

    Examples
    --------
    >>> member(np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), (1, 2), axes=1)
    array([3., 4.])
    """
    lead = value.shape[: value.ndim - axes]
    return value[tuple(i if n > 1 else 0 for i, n in zip(index, lead, strict=False))]

"""Pickles of plain data, read without unpickling: nothing is imported and nothing is called.

A pickle is a program for a stack machine, and Python's own reader runs whatever it says. CIFAR-10's
batches, written by Python 2, need two dozen instructions and three names, all of them for NumPy
arrays. This reader knows those instructions, and builds dicts, lists, tuples, strings, integers and
arrays of bytes; every other instruction or name is refused.
"""

import io
import pickletools
from typing import NamedTuple

import numpy as np

from ..errors import InputError


class _Name(NamedTuple):
    """A function or class that the pickle names; never looked up."""

    name: str


class _Call(NamedTuple):
    """A call that the pickle asks for; never made."""

    name: str
    arguments: tuple


# How NumPy 1 pickles an array: _reconstruct(ndarray, (0,), 'b') and dtype('u1', 0, 1), each given
# its content as a state: (1, shape, dtype, Fortran order, bytes) and (3, '|', ...)
_ARRAY, _DTYPE = "numpy.core.multiarray _reconstruct", "numpy dtype"
_NAMES = (_ARRAY, _DTYPE, "numpy ndarray")
_CONSTANTS = ("BININT", "BININT1", "BININT2", "BINSTRING", "SHORT_BINSTRING")
_LITERALS = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORE, _FETCH = ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
_KNOWN = {
    "PROTO", "EMPTY_DICT", "EMPTY_LIST", "MARK", "APPENDS", "SETITEMS", "TUPLE", "GLOBAL", "REDUCE",
    "BUILD", "STOP", *_CONSTANTS, *_LITERALS, *_TUPLES, *_STORE, *_FETCH,
}  # fmt: skip


def read_pickle(path, data):
    """What the pickle ``data``, found in the file ``path``, holds.

    Parameters
    ----------
    path : path-like
        Named in errors.
    data : bytes
        A pickle of protocol 2. Its strings become ``str``, a character a byte.

    Returns
    -------
    object
        Of dict, list, tuple, str, int, bool, None and uint8 ndarrays.

    Raises
    ------
    InputError
        If the pickle needs anything else, is cut off or damaged.
    """
    try:
        return _run(path, data)
    except InputError:
        raise
    except (ValueError, IndexError, TypeError, AttributeError, KeyError, MemoryError) as error:
        # a cut or unknown instruction, or a stack that holds something else
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(f"{path}: the pickle is damaged ({reason}); fetch it again") from error


def _instructions(path, data):
    # (name, argument) of each; the argument of one that is not known is not even read
    file = io.BytesIO(data)
    while code := file.read(1):
        instruction = pickletools.code2op.get(code.decode("latin-1"))
        if instruction is None:
            raise ValueError(f"there is no instruction {code!r}")
        name, argument = instruction.name, instruction.arg
        if name not in _KNOWN:
            raise InputError(
                f"{path}: the pickle has the instruction {name}, which a batch of images has no "
                "use for; it is not read, fetch the official file"
            )
        if name == "GLOBAL":
            yield name, _two_lines(file)
        else:
            yield name, None if argument is None else argument.reader(file)


def _two_lines(file):
    # pickletools would look for escape sequences in them, and warn about wrong ones
    lines = [file.readline(), file.readline()]
    if not all(line.endswith(b"\n") for line in lines):
        raise ValueError("a name is cut off")
    return b" ".join(line[:-1] for line in lines).decode("latin-1")


def _run(path, data):
    # the content of a list, dict or tuple is put on a new stack, from MARK to what collects it
    stack, below, memo = [], [], {}
    for name, argument in _instructions(path, data):
        if name in _CONSTANTS:
            stack.append(argument)
        elif name in _LITERALS:
            stack.append(_LITERALS[name])
        elif name in _STORE:
            memo[argument] = stack[-1]
        elif name in _FETCH:
            stack.append(memo[argument])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name == "APPENDS":
            items, stack = stack, below.pop()
            stack[-1].extend(items)
        elif name == "SETITEMS":
            items, stack = stack, below.pop()
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "TUPLE":
            items, stack = stack, below.pop()
            stack.append(tuple(items))
        elif name in _TUPLES:
            count = _TUPLES[name]
            items = tuple(stack[-count:])
            if len(items) < count:
                raise IndexError("a tuple lacks items")
            stack[-count:] = [items]
        elif name == "GLOBAL" and argument in _NAMES:
            stack.append(_Name(argument))
        elif name == "GLOBAL":
            raise InputError(
                f"{path}: the pickle asks for {argument.replace(' ', '.')!r}, which a batch of "
                "images has no use for; it is not read, fetch the official file"
            )
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_Call(function.name, arguments))
        elif name == "BUILD":
            state, call = stack.pop(), stack.pop()
            stack.append(_array(state) if call.name == _ARRAY else call)
        elif name == "STOP":
            return stack.pop()
    raise ValueError("no end")


def _array(state):
    # (version, shape, dtype, Fortran order, bytes) -> ndarray of uint8
    _, shape, dtype, fortran, values = state
    if dtype.name != _DTYPE or dtype.arguments[0] != "u1" or fortran is not False:
        raise ValueError("an array is not of unsigned bytes in C order")
    return np.frombuffer(values.encode("latin-1"), np.uint8).reshape(shape)

"""Pickles of plain data, read without unpickling: nothing is imported and nothing is called.

A pickle is a program for a stack machine, and Python's own reader runs whatever it says. Files of
arrays, such as the batches of CIFAR or the checkpoints of PyTorch, need three dozen instructions
and a few names. `read` knows those instructions, and builds dicts, lists, tuples, strings and
numbers; what a name stands for is told by its caller, in functions of this package. Every other
instruction or name is refused.
"""

import pickletools
from typing import NamedTuple

from .errors import InputError


class Name(NamedTuple):
    """A function or class that the pickle names, such as ``"torch FloatStorage"``."""

    name: str


_CONSTANTS = (
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING",
    "BINUNICODE",
)  # fmt: skip
_LITERALS = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORE, _FETCH = ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
_KNOWN = {
    "PROTO", "MARK", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "TUPLE", "GLOBAL", "REDUCE",
    "BUILD", "BINPERSID", "STOP", *_CONSTANTS, *_LITERALS, *_EMPTY, *_TUPLES, *_STORE, *_FETCH,
}  # fmt: skip


def read(path, file, names, holds, persistent=None):
    """The next pickle of a file.

    Parameters
    ----------
    path : path-like
        Named in errors.
    file : binary file
        At the beginning of a pickle of protocol 2; afterwards behind its end. Strings of bytes
        become ``str``, a character a byte.
    names : dict of str to callable or None
        What the pickle may name, as ``"module name"``, and what takes the place of a call of it; a
        name that may be mentioned only has ``None``. A callable returns what the call makes. Where
        that has a method ``build``, the state that the pickle sets afterwards is given to it, and
        what ``build`` returns takes its place; of a dict such a state (its attributes) is dropped.
    holds : str
        What the file should be, such as ``"a batch of images"``, for errors.
    persistent : callable, optional
        Given the number, or tuple, that the pickle says of something that lies outside of it;
        returns that thing.

    Returns
    -------
    object

    Raises
    ------
    InputError
        If the pickle needs anything else, is cut off or damaged.

    Examples
    --------
    >>> import io, pickle
    >>> data = pickle.dumps({"epoch": 3, "names": ["a", "b"]}, protocol=2)
    >>> read("file", io.BytesIO(data), {}, "a list of names")
    {'epoch': 3, 'names': ['a', 'b']}
    >>> read("file", io.BytesIO(pickle.dumps(print, protocol=2)), {}, "a list of names")
    Traceback (most recent call last):
        ...
    minizo.errors.InputError: file: the pickle asks for '__builtin__.print', which a list of n...
    """
    try:
        return _run(path, file, names, holds, persistent)
    except InputError:
        raise
    except (ValueError, IndexError, TypeError, AttributeError, KeyError, MemoryError) as error:
        # a cut or unknown instruction, or a stack that holds something else
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(f"{path}: the pickle is damaged ({reason}); fetch it again") from error


def _instructions(path, file, holds):
    # (name, argument) of each; the argument of one that is not known is not even read
    while code := file.read(1):
        instruction = pickletools.code2op.get(code.decode("latin-1"))
        if instruction is None:
            raise ValueError(f"there is no instruction {code!r}")
        name, argument = instruction.name, instruction.arg
        if name not in _KNOWN:
            raise InputError(
                f"{path}: the pickle has the instruction {name}, which {holds} has no use for; it "
                "is not read, fetch the official file"
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


def _run(path, file, names, holds, persistent):
    # the content of a list, dict or tuple is put on a new stack, from MARK to what collects it
    stack, below, memo = [], [], {}
    for name, argument in _instructions(path, file, holds):
        if name in _CONSTANTS:
            stack.append(argument)
        elif name in _LITERALS:
            stack.append(_LITERALS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _STORE:
            memo[argument] = stack[-1]
        elif name in _FETCH:
            stack.append(memo[argument])
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name == "APPENDS":
            items, stack = stack, below.pop()
            stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1].update({key: value})
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
        elif name == "GLOBAL" and argument in names:
            stack.append(Name(argument))
        elif name == "GLOBAL":
            raise InputError(
                f"{path}: the pickle asks for {argument.replace(' ', '.')!r}, which {holds} has no "
                "use for; it is not read, fetch the official file"
            )
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(names[function.name](*arguments))
        elif name == "BUILD":
            state, made = stack.pop(), stack.pop()
            stack.append(made if isinstance(made, dict) else made.build(state))
        elif name == "BINPERSID":
            if persistent is None:
                raise ValueError("it refers to something outside of it")
            stack.append(persistent(stack.pop()))
        elif name == "STOP":
            return stack.pop()
    raise ValueError("no end")

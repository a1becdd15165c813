"""Pickles of plain data, read without unpickling: nothing is imported and nothing is called.

A pickle is a program for a stack machine, and Python's own reader runs whatever it says. Files of
arrays, such as the batches of CIFAR or the checkpoints of PyTorch, need four dozen instructions
and a few names. `read` knows those instructions, and builds dicts, lists, tuples, strings and
numbers; what a name stands for is told by its caller, in functions of this package. Every other
instruction or name is refused.

Time and memory stay in proportion to the file, although a pickle may say much in a few bytes:

    the key of a dict is a text, or a number below 2^60: a tuple of tuples of tuples ... is hashed
        in a time, and on a stack, that no file should decide about; a set is read as a list;
    what is handed to functions, all calls together, is at most four times what was read so far;
    what is read is nested at most `DEEPEST` deep, and, written out as a tree (where a thing that
        stands in two places counts twice), has at most four items an instruction.
"""

import pickletools
from collections.abc import Sized
from typing import NamedTuple

from .errors import InputError


class Name(NamedTuple):
    """A function or class that the pickle names, such as ``"torch FloatStorage"``."""

    name: str


DEEPEST = 100
_CONSTANTS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8",
}  # fmt: skip
_LITERALS = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORE, _FETCH = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
_KNOWN = {
    "PROTO", "FRAME", "MARK", "APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS", "TUPLE",
    "FROZENSET", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID",
    "STOP", *_CONSTANTS, *_LITERALS, *_EMPTY, *_TUPLES, *_STORE, *_FETCH,
}  # fmt: skip
_CODES = {
    code.code.encode("latin-1"): (code.name, code.arg and code.arg.reader)
    for code in pickletools.opcodes
}


def table(pairs=()):
    """A dict of pairs whose keys are texts or numbers; ``ValueError`` for others.

    >>> table([("a", 1), (0, 2)])
    {'a': 1, 0: 2}
    """
    made = {}
    for key, value in pairs:
        small = isinstance(key, int) and abs(key) < 2**60  # larger ones can share a hash
        if not (small or isinstance(key, str | bytes | float)):
            raise ValueError(f"the key of a dict is a {type(key).__name__}")
        made[key] = value
    return made


def read(path, file, names, holds, persistent=None, remedy="fetch the official file"):
    """The next pickle of a file.

    Parameters
    ----------
    path : path-like
        Named in errors.
    file : binary file
        At the beginning of a pickle of protocol 2 to 5; afterwards behind its end. Strings of
        Python 2 become ``str``, a character a byte.
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
    remedy : str
        What an error about an instruction or a name advises.

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
        return _run(file, names, persistent)
    except _ForeignError as error:
        raise InputError(
            f"{path}: the pickle {error}, which {holds} has no use for; it is not read, {remedy}"
        ) from None
    except (ValueError, IndexError, TypeError, AttributeError, KeyError, OverflowError) as error:
        # a cut or unknown instruction, or a stack that holds something else
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(f"{path}: the pickle is damaged ({reason}); fetch it again") from error


class _ForeignError(Exception):
    """An instruction or a name that is not known."""


def _instructions(file):
    # (name, argument) of each; the argument of one that is not known is not even read
    while code := file.read(1):
        if code not in _CODES:
            raise ValueError(f"there is no instruction {code!r}")
        name, reader = _CODES[code]
        if name not in _KNOWN:
            raise _ForeignError(f"has the instruction {name}")
        if name == "GLOBAL":
            yield name, _two_lines(file)
        else:
            yield name, reader and reader(file)


def _two_lines(file):
    # pickletools would look for escape sequences in them, and warn about wrong ones
    lines = [file.readline(), file.readline()]
    if not all(line.endswith(b"\n") for line in lines):
        raise ValueError("a name is cut off")
    return b" ".join(line[:-1] for line in lines).decode("latin-1")


def _known(name, names):
    if name not in names:
        raise _ForeignError(f"asks for {name[:100].replace(' ', '.')!r}")
    return Name(name)


def _run(file, names, persistent):
    # the content of a list, dict or tuple is put on a new stack, from MARK to what collects it
    stack, below, memo, begin, given = [], [], {}, file.tell(), 0

    def lent(arguments):
        # what a function is about to be given, and how much all were given
        nonlocal given
        given += 1 + sum(len(a) for a in (arguments, *arguments) if isinstance(a, Sized))
        if given > 4 * (file.tell() - begin) + 100:
            raise ValueError("it makes more than it holds")
        return arguments

    for count, (name, argument) in enumerate(_instructions(file)):
        if name in _CONSTANTS:
            stack.append(argument)
        elif name in _LITERALS:
            stack.append(_LITERALS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _STORE:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in _FETCH:
            stack.append(memo[argument])
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name in ("APPENDS", "ADDITEMS"):
            items, stack = stack, below.pop()
            stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1].update(table([(key, value)]))
        elif name == "SETITEMS":
            items, stack = stack, below.pop()
            stack[-1].update(table(zip(items[::2], items[1::2], strict=True)))
        elif name in ("TUPLE", "FROZENSET"):
            items, stack = stack, below.pop()
            stack.append(tuple(items))
        elif name in _TUPLES:
            items = tuple(stack[-_TUPLES[name] :])
            if len(items) < _TUPLES[name]:
                raise IndexError("a tuple lacks items")
            stack[-len(items) :] = [items]
        elif name == "GLOBAL":
            stack.append(_known(argument, names))
        elif name == "STACK_GLOBAL":
            own, module = stack.pop(), stack.pop()
            if not (isinstance(own, str) and isinstance(module, str)):
                raise TypeError("a name is no text")
            stack.append(_known(f"{module[:200]} {own[:200]}", names))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            if not isinstance(function, Name):
                raise TypeError("what it calls is no name")
            stack.append(names[function.name](*lent(arguments)))
        elif name == "BUILD":
            state, made = stack.pop(), stack.pop()
            stack.append(made if isinstance(made, dict) else made.build(lent(state)))
        elif name == "BINPERSID":
            if persistent is None:
                raise ValueError("it refers to something outside of it")
            stack.append(persistent(lent(stack.pop())))
        elif name == "STOP":
            _measure(stack[-1], 4 * count + 100)
            return stack.pop()
    raise ValueError("no end")


def _measure(thing, most):
    # ValueError unless it is small as a tree: nobody who walks through it meets a surprise
    level = [thing]
    for _ in range(DEEPEST):
        inner = []
        for item in level:
            items = item.values() if isinstance(item, dict) else item
            most -= len(items) if isinstance(item, dict | list | tuple) else 0
            if most < 0:
                raise ValueError("it repeats itself without end, or nearly so")
            if isinstance(item, dict | list | tuple):
                inner += [i for i in items if isinstance(i, dict | list | tuple)]
        if not inner:
            return
        level = inner
    raise ValueError(f"it is nested more than {DEEPEST} deep")

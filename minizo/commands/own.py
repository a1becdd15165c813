"""A user's own rule from a file: ``my_rule.py:MyRule``.

A setting may come from a file, too: ``spsa:n=10,law=my_law.py:Tent``. A file's folder is put at the
end of ``sys.path``, so that the file imports its neighbours, and a worker process what it is sent.
"""

import hashlib
import importlib.util
import inspect
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from ..errors import InputError, nearest
from ..files import reason

# A path, a name, and what follows; "spsa:law=" or "spsa,law=" begins no path.
FILE = re.compile(
    r"(?![\w-]+[:,]\s*[\w-]+\s*=)(?P<path>.+?\.py):(?P<name>[^:,]*)(?:[:,](?P<rest>.*))?", re.DOTALL
)
SHOWN = 40  # characters of what a file prints


def load(flag, path, name):
    """What is called ``name`` in the Python file at ``path``.

    Parameters
    ----------
    flag : str
        Where the file was named, for the sentence.
    path, name : str

    Raises
    ------
    InputError
        If there is no such file or name, or the file does not run.
    """
    module = _module(flag, path)
    if not hasattr(module, name):
        own = [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and _is_its(module, value)
        ]
        known = f"it has {', '.join(own)}" if own else "it defines no class"
        hint = nearest(name, own)
        raise InputError(f"{flag} {path}:{name}: {path} has no {name!r}{hint} ({known})")
    return getattr(module, name)


def _is_its(module, value):
    # a class or function that the module defines, or an object, which does not say where it is from
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__module__ == module.__name__
    return not inspect.ismodule(value)


def resolved(flag, value):
    """The object that a setting's value names, ``my_law.py:Tent``; any other value as it is.

    Parameters
    ----------
    flag : str
        The part and the setting, for the sentence.
    value
        A class is called without arguments; an object or a function is taken.

    Raises
    ------
    InputError
        As `load`, and if the class needs arguments.
    """
    match = FILE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    found = load(flag, match["path"], match["name"])
    try:
        return found() if inspect.isclass(found) else found
    except Exception as error:  # whatever a user's class may raise
        raise InputError(
            f"{flag} {value}: {_words(error)}; name an object, or a class that needs no arguments"
        ) from None


def digest(path):
    """The SHA-256 of a file, in hexadecimal digits.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {reason(error)}; give a path from this folder") from None


def _module(flag, path):
    file = Path(path).resolve()
    if not file.is_file():
        raise InputError(f"{flag} {path}: there is no such file; give a path from this folder")
    # worker processes find a pickled object by the name of its module, so that is the file's
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    other = known or importlib.util.find_spec(file.stem)
    if other is not None and getattr(other, "origin", None) != str(file):
        raise InputError(
            f"{flag} {path}: a module called {file.stem} is there already; rename the file"
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    printed, before = StringIO(), np.random.get_state()
    try:
        with redirect_stdout(printed):
            spec.loader.exec_module(module)
    except SyntaxError as error:
        sys.modules.pop(file.stem)
        raise InputError(f"{flag} {path}: line {error.lineno}: {error.msg}") from None
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        sys.modules.pop(file.stem)
        raise InputError(f"{flag} {path}: {_line(error, file)}{_words(error)}") from None
    effect = _effect(printed.getvalue().strip(), before)
    if effect:
        sys.modules.pop(file.stem)
        raise InputError(f"{flag} {path} {effect}")
    return module


def _effect(printed, before):
    # what a file does beside defining things, and the remedy: what it prints would stand among the
    # results, and whatever draws from the global state would draw other numbers
    remedy = "put what the file runs under `if __name__ == '__main__':`"
    if printed:
        first = printed.partition("\n")[0]
        first = first if len(first) <= SHOWN else first[:SHOWN] + "..."
        return f"prints {first!r} when it is loaded; {remedy}"
    if any(np.any(one != other) for one, other in zip(before, np.random.get_state(), strict=True)):
        np.random.set_state(before)
        return (
            "changes NumPy's global random state when it is loaded; draw from "
            f"np.random.default_rng(seed), or {remedy}"
        )
    return ""


def place(paths, error):
    """``my_rule.py: line 7: ValueError: ...`` of an error raised in a file, or ``None``."""
    for path in paths:
        line = _line(error, Path(path).resolve())
        if line:
            return f"{path}: {line}{_words(error)}"
    return None


def _line(error, file):
    # the last line of the file that was running when the error was raised
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"line {lines[-1]}: " if lines else ""


def _words(error):
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

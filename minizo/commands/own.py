"""A user's own rule from a file: ``my_rule.py:MyRule``."""

import importlib.util
import re
import sys
from pathlib import Path

from ..errors import InputError, nearest

FILE = re.compile(r"(?P<path>.+?\.py):(?P<name>[^:,]*)(?:[:,](?P<rest>.*))?", re.DOTALL)


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
            if not key.startswith("_") and getattr(value, "__module__", "") == module.__name__
        ]
        known = f"it has {', '.join(own)}" if own else "it defines no class"
        hint = nearest(name, own)
        raise InputError(f"{flag} {path}:{name}: {path} has no {name!r}{hint} ({known})")
    return getattr(module, name)


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
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        sys.modules.pop(file.stem)
        raise InputError(f"{flag} {path}: line {error.lineno}: {error.msg}") from None
    except Exception as error:  # whatever a user's file may raise
        sys.modules.pop(file.stem)
        raise InputError(f"{flag} {path}: {_line(error, file)}{_words(error)}") from None
    return module


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

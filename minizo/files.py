"""Folders that are made, files that are written whole or not at all, records that are published.

Every file that the package writes goes through `write_atomically`: to a temporary file beside the
target, which then takes the target's name. As with any other program's files, the mode is the one
that the umask asks for, that of a file already there stays, symbolic links are written through,
and a device or a pipe is written to, not replaced.
"""

import csv
import gzip
import io
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from .errors import InputError, nearest


def published(name):
    """Where a record of a published figure lies: a CSV or JSON file that notebooks read.

    An installed package holds those that the notebooks read; in a clone it is the folder
    ``figures`` beside the package, and all of them are there.

    Parameters
    ----------
    name : str

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is no record of this name.

    Examples
    --------
    >>> published("compute796.csv.gz").name
    'compute796.csv.gz'
    """
    package = Path(__file__).parent
    folder = package / "published"  # where a wheel puts them: see pyproject.toml
    folder = folder if folder.is_dir() else package.parent / "figures"
    known = [path.name for path in sorted(folder.glob("*.*")) if path.suffix != ".png"]
    if name not in known:
        raise InputError(
            f"there is no record {name!r}{nearest(name, known)} (known: {', '.join(known)})"
        )
    return folder / name


def make_folder(path, name="folder"):
    """Make the folder ``path`` where it is not there yet, and see that files can be made in it.

    Parameters
    ----------
    path : path
    name : str
        What the sentence calls it, such as the flag that it comes from.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If it cannot be made, or nothing can be written to it.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _try(path)
    except (OSError, ValueError) as error:
        what = "written to" if os.path.isdir(path) else "made"
        raise InputError(
            f"{name} {path} cannot be {what} ({reason(error)}); name a folder you may write to"
        ) from error
    return path


def require_writable(path, name):
    """Raise an `InputError` if the file ``path`` could not be written; asked before long work.

    Parameters
    ----------
    path : path
        Nothing is left there, and a file that is there already is not touched.
    name : str
        What the sentence calls it, such as the flag that it comes from.
    """
    try:
        target, mode = _target(path)
        if _regular(mode):
            _try(os.path.dirname(target))
    except OSError as error:
        raise InputError(
            f"{name} {path} cannot be written ({reason(error)}); name a place you may write to, "
            "in a folder that is there"
        ) from error


def make_place(path, name):
    """Make the folder of the file ``path`` where it is not there yet, and `require_writable`.

    Parameters
    ----------
    path : path
    name : str
        What the sentence calls it, such as the flag that it comes from.

    Raises
    ------
    InputError
        If the file could not be written.
    """
    with suppress(OSError, ValueError):  # what is wrong is said below
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    require_writable(path, name)


def write_atomically(path, write):
    """Call ``write(file)`` on a temporary file beside ``path``, then give it that name.

    Whatever happens, ``path`` holds either what it held before or all of the new content.

    Raises
    ------
    InputError
        If the folder cannot be written or the disk is full.
    """
    try:
        target, mode = _target(path)
        if not _regular(mode):
            with open(target, "wb") as file:
                write(file)
            return
        # one that replaces a private file is private from the beginning
        handle, temporary = _open_in(os.path.dirname(target), 0o666 if mode is None else 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            os.replace(temporary, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {reason(error)}; free some space or choose another "
            "place (what was there before is untouched)"
        ) from error


def _target(path):
    # (path with all links followed, mode of what is there or None)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return os.path.realpath(path), None
    except ValueError as error:  # a null byte
        raise OSError(str(error)) from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("it is a folder")
    if not os.access(path, os.W_OK):
        raise PermissionError("it is write-protected")
    # the links of /dev/stdout end in something that has no name
    return os.path.realpath(path) if _regular(mode) else path, mode


def _regular(mode):
    return mode is None or stat.S_ISREG(mode)


def _try(folder):
    # OSError where no file can be made
    handle, temporary = _open_in(folder, 0o600)
    os.close(handle)
    os.unlink(temporary)


def _open_in(folder, mode):
    # a new file, its mode as the umask wants it: (descriptor, path)
    while True:
        # short, whatever the target is called: a name has at most 255 bytes
        temporary = os.path.join(folder, f".minizo-{secrets.token_hex(8)}.tmp")
        with suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            return os.open(temporary, flags, mode), temporary


def reason(error):
    """What went wrong with a file or stream, in a few words: ``No space left on device``."""
    return getattr(error, "strerror", None) or str(error)


def write_text(path, text):
    """Write ``text`` to ``path`` as UTF-8, all of it or nothing."""
    # names of files may hold bytes that are no text: written out as escapes
    content = text.encode(errors="backslashreplace")
    write_atomically(path, lambda file: file.write(content))


def write_csv(path, header, rows):
    """Write a table as CSV, all of it or nothing; packed where ``path`` ends with ``.gz``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(rows)
    text = buffer.getvalue().encode(errors="backslashreplace")
    # no time of day in the file: the same table, the same bytes
    content = gzip.compress(text, mtime=0) if Path(path).suffix == ".gz" else text
    write_atomically(path, lambda file: file.write(content))

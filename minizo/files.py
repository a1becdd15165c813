"""Folders that are made, and files that are written whole or not at all."""

import csv
import gzip
import io
import os
import tempfile
from pathlib import Path

from .errors import InputError


def make_folder(path, name="folder"):
    """The folder ``path``, made where it is not there yet; `InputError` if it cannot be.

    ``name`` is what the sentence calls it, such as the flag that it comes from.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{name} {path} cannot be made ({error.strerror}); name a folder you may write to"
        ) from error
    return path


def write_atomically(path, write):
    """Call ``write(file)`` on a temporary file beside ``path``, then put it in the place of it.

    Whatever happens, ``path`` holds either what it held before or all of the new content.

    Raises
    ------
    InputError
        If the folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another "
            "place (what was there before is untouched)"
        ) from error


def write_text(path, text):
    """Write ``text`` to ``path``, all of it or nothing."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_csv(path, header, rows):
    """Write a table as CSV, all of it or nothing; packed where ``path`` ends with ``.gz``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(rows)
    text = buffer.getvalue().encode()
    # no time of day in the file: the same table, the same bytes
    content = gzip.compress(text, mtime=0) if Path(path).suffix == ".gz" else text
    write_atomically(path, lambda file: file.write(content))

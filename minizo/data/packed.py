"""Files as bytes, packed or not, with errors in one sentence."""

import gzip
import lzma
import zlib
from pathlib import Path

from ..errors import InputError

GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"  # what every file of the kind starts with


def require_file(condition, path, fault, remedy):
    """Raise an `InputError` that names the file, its fault and the remedy unless ``condition``."""
    if not condition:
        raise InputError(f"{path}: {fault}; {remedy}")


def read(path):
    """The bytes of a file, or an `InputError`."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; check the name") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; name a file in it") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error


def unpack(path, data):
    """``data`` unpacked if it was packed with gzip or xz, else as it is.

    The content tells, not the name: browsers like to unpack a download and leave the name. All of
    it is unpacked, so that its checksum is compared.
    """
    if data[:2] == GZIP:
        kind, function = "gzip", gzip.decompress
    elif data[:6] == XZ:
        kind, function = "xz", lzma.decompress
    else:
        return data
    try:
        return function(data)
    except EOFError:
        raise InputError(f"{path}: the {kind} file is cut off; fetch it again") from None
    except (zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise InputError(f"{path}: the {kind} file is damaged ({error}); fetch it again") from error


def names_in(folder, example):
    """Names of what lies in a folder that should hold ``example`` and its companions."""
    folder = Path(folder)
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        raise InputError(
            f"{folder}: there is no such folder; name one that holds {example} and its companions"
        ) from None
    except NotADirectoryError:
        raise InputError(f"{folder}: is a file; name the folder that holds it") from None
    except OSError as error:
        raise InputError(
            f"{folder}: the folder cannot be read ({error.strerror}); check its permissions"
        ) from error

"""Standard output and error that never fail in the middle of a command's work.

A full disk, a closed descriptor or a reader that has left (``| head``) must not cost a run: what
cannot be printed is dropped, the work goes on, and the failure is told at the end.
"""

import errno
import io
import os
import sys
from contextlib import contextmanager, suppress


class Lasting(io.TextIOBase):
    """A text stream that keeps its first failure, as ``failure``, instead of raising it.

    Parameters
    ----------
    stream : text stream or None
        What is written to; ``None`` for one that was closed before the program began.
    """

    def __init__(self, stream):
        self._stream = stream
        self.failure = None
        if stream is None:
            self.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))

    def write(self, text):
        """Write ``text``; characters that the stream cannot show become escapes."""
        try:
            if self.failure is None:
                self._stream.write(text)
        except UnicodeEncodeError:
            code = self._stream.encoding
            self.write(text.encode(code, "backslashreplace").decode(code))
        except (OSError, ValueError) as error:  # ValueError: it was closed in the meantime
            self._fail(error)
        return len(text)

    def flush(self):
        """Hand on what is still held back."""
        try:
            if self.failure is None:
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._fail(error)

    def _fail(self, error):
        self.failure = error
        # what the stream still holds goes nowhere, or the interpreter would fail on it at its exit
        with suppress(OSError, ValueError):
            _to_nowhere(self._stream.fileno())

    # as the stream is: tqdm looks at the first two, argparse at the others
    def isatty(self):
        return self.failure is None and self._stream.isatty()

    def fileno(self):
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    @property
    def encoding(self):
        return getattr(self._stream, "encoding", "utf-8")


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _to_nowhere(number):
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


@contextmanager
def lasting():
    """Standard output and error as `Lasting` streams, which it gives, while it lasts."""
    before = sys.stdout, sys.stderr
    for number, stream in enumerate(before, start=1):
        if stream is None and not _is_open(number):
            # or the next file that is opened would get the number that messages of libraries and
            # of child processes go to
            with suppress(OSError):
                _to_nowhere(number)
    streams = sys.stdout, sys.stderr = tuple(map(Lasting, before))
    try:
        yield streams
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before

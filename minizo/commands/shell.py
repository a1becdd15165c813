"""Errors that end in one sentence and an exit code; the parser of every command."""

import argparse
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from .. import __version__, memory
from ..errors import InputError, close
from ..files import reason
from ..streams import lasting
from . import completion

_words = ContextVar("words", default=None)  # what the running command was called by, if not -m


@contextmanager
def called(words):
    """Have the usage of commands that are started meanwhile say ``words``: ``minizo mnist``."""
    token = _words.set(words)
    try:
        yield
    finally:
        _words.reset(token)


def notice(line):
    """Print a line to standard error, as standard output may be reserved for results."""
    print(line, file=sys.stderr, flush=True)


def guarded(command: Callable) -> int | str | None:
    """Run ``command()``; turn bad input into one sentence on standard error and exit code 2.

    Standard output that is full or closed does not stop the work; it is told at its end, with code
    2. A reader that has left, as in ``... | head``, wanted no more, and nothing is told.

    Returns the exit code: that of ``command``, 2 for bad input, 130 after Ctrl-C.
    """
    leave = False
    with lasting() as (out, err):
        try:
            code = command()
        except InputError as error:
            print(f"minizo: {error}", file=err)
            code = 2
        except MemoryError as error:
            print(f"minizo: {memory.sentence(error)}", file=err)
            code = 2
        except KeyboardInterrupt:
            print("minizo: stopped; what was finished is kept", file=err)
            code = 130
        except SystemExit as stop:  # argparse, after --help or --version
            code, leave = stop.code, True
        out.flush()
        if out.failure is not None and not isinstance(out.failure, BrokenPipeError):
            print(
                f"minizo: cannot write to standard output ({reason(out.failure)}); send it "
                "elsewhere (files that the command writes are whole)",
                file=err,
            )
            code = code or 2
    if leave:
        raise SystemExit(code)
    return code


class _Format(argparse.HelpFormatter):
    """Help of 80 columns; paragraphs of a description stay paragraphs."""

    def __init__(self, prog):
        super().__init__(prog, width=80, max_help_position=26)

    def _split_lines(self, text, width):
        # names with hyphens stay whole
        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text, width, indent):
        fill = super()._fill_text
        return "\n\n".join(fill(part, width, indent) for part in text.split("\n\n"))


class Parser(argparse.ArgumentParser):
    """The parser of a command: flags are written out, mistakes are one sentence, ``--version``.

    ``prog`` is how the command is called by its module, unless it was `called` otherwise.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        prog = _words.get() or prog
        super().__init__(prog, formatter_class=_Format, allow_abbrev=False, **options)
        self.add_argument(
            "--version", action="version", version=f"minizo {__version__}",
            help="print the version",
        )  # fmt: skip

    @property
    def flags(self) -> list[str]:
        """Every flag that the command has."""
        return [flag for action in self._actions for flag in action.option_strings]

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The arguments; an `InputError` for one that there is not. Answers a shell that asks."""
        completion.answer(self)
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            raise InputError(self.unknown(rest[0].partition("=")[0]))
        return found

    def unknown(self, word: str) -> str:
        """What is said about an argument that the command has not."""
        if not word.startswith("-"):
            return f"unexpected argument {word!r} (--help lists what there is)"
        long_ones = [flag for flag in self.flags if flag.startswith("--")]
        alike = close(word, long_ones)
        hint = "" if alike is None else f"; did you mean {alike}?"
        return f"unknown flag {word}{hint} (--help lists what there is)"

    def error(self, message: str) -> NoReturn:
        """Raise an `InputError`, with argparse's words."""
        raise InputError(message.removeprefix("argument "))

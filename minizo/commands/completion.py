"""Tab completion in bash and zsh, by the library argcomplete where that is installed.

``eval "$(register-python-argcomplete minizo)"`` makes the shell start the command at every tab,
with the line in its environment. Its parser then answers, and nothing is read or trained.
"""

import os

MARK = "_ARGCOMPLETE"  # set by the shell; how many words of the line lead to the command


def asked():
    """Whether the command was started by a shell that asks what can stand next."""
    return MARK in os.environ


def _library():
    try:
        import argcomplete
    except ImportError:
        raise SystemExit(1) from None  # the shell offers nothing
    return argcomplete


def words():
    """The finished words of the line, after the command's own name."""
    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    *_, found, _ = _library().split_line(line, point)
    return found[int(os.environ[MARK]) :]


def skip(count):
    """Have so many words more of the line lead to the command."""
    os.environ[MARK] = str(int(os.environ[MARK]) + count)


def offer(action, names):
    """Offer ``names`` for the values of an argument of a parser.

    Parameters
    ----------
    action : argparse.Action
    names : iterable of str, or callable
        A function of the values that stand on the line already.
    """

    def completer(parsed_args, **others):
        given = getattr(parsed_args, action.dest, None) or []
        return names(given) if callable(names) else names

    action.completer = completer


def answer(parser):
    """Answer the shell from the flags of a parser, and end; nothing where no shell asks."""
    if asked():
        _library().autocomplete(parser, default_completer=None)

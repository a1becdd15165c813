# PYTHON_ARGCOMPLETE_OK
"""``minizo``, or ``python -m minizo``: the commands of the package."""

import sys
from importlib import import_module
from pathlib import Path

from .commands import Parser, completion, guarded
from .commands.shell import called
from .errors import InputError, nearest

# Each is a module with a function main(argv), or a package with a module __main__ that has one.
# `minizo reproduce fsg` starts minizo.reproduce.fsg.
COMMANDS = {
    "nano": "the whole idea in one file of NumPy",
    "learn": "the course: its notebooks beside you, with exercises",
    "mnist": "estimators compared on a 2-bit network and MNIST",
    "cifar": "a convolutional network with binary weights on CIFAR",
    "text": "a transformer with 2-bit weights that learns to write",
    "compare": "is my rule better? many seeds, intervals, a report",
    "export": "the networks of a run as small files, checked",
    "gallery": "every quantiser and surrogate, drawn",
    "lab": "theory against numbers: experiments and their claims",
    "lab.microscope": "bias and variance of estimators at a point of a run",
    "bench": "timings beside PyTorch",
    "reproduce.mnist_grid": "estimators on one grid of rates, 20 seeds",
    "reproduce.compute796": "the claim of 796 times less computation, measured",
    "reproduce.zoo": "what hand-designed surrogates buy",
    "reproduce.fsg": "learned gradients beside the STE, and controls",
    "reproduce.proxquant": "ProxQuant and BinaryConnect from one warm start",
    "reproduce.transformers": "2-bit transformers by many estimators",
}
DESCRIPTION = """\
Train networks with quantised weights, and see what stands in for their missing gradient. Without a
command, lists them."""


def main(argv=None):
    """Start a command, or list them; returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    front = "python -m minizo" if Path(sys.argv[0]) == Path(__file__) else "minizo"
    name, given = split(argv)
    if completion.asked():
        name, _ = split(completion.words())
        if name is not None:
            completion.skip(len(name.split(".")))
    if name is None:
        named = argv and not argv[0].startswith("-")  # `minizo lern --help`: the name comes first
        words = [word for word in argv if word not in ("-h", "--help")] if named else argv
        return listed(front, words)
    with called(f"{front} {name.replace('.', ' ')}"):
        return module(name).main(given)


def split(words):
    """The command that some words begin with, or ``None``; and the words after it.

    >>> split(["reproduce", "fsg", "--quick"]), split(["reproduce.fsg"]), split(["fsg"])
    (('reproduce.fsg', ['--quick']), ('reproduce.fsg', []), (None, ['fsg']))
    """
    for count in (2, 1):
        name = ".".join(words[:count])
        if len(words) >= count and name in COMMANDS:
            return name, words[count:]
    return None, words


def module(name):
    """The module of a command, which has its ``main``."""
    found = import_module(f"minizo.{name}")
    return import_module(f"minizo.{name}.__main__") if hasattr(found, "__path__") else found


def listed(front, argv):
    """Print the commands, all of them or those below one word; returns the exit code."""
    parser = Parser(prog=front, usage="%(prog)s COMMAND [flags]", description=DESCRIPTION)
    names = list(dict.fromkeys(name.partition(".")[0] for name in COMMANDS))
    action = parser.add_argument("command", nargs="*", metavar="COMMAND", help=" | ".join(names))
    completion.offer(action, lambda words: [n.split(".")[1] for n in below(words)] or names)

    def command():
        words = parser.parse_args(argv).command
        known = {name.replace(".", " "): text for name, text in COMMANDS.items()}
        rows = {name.replace(".", " "): COMMANDS[name] for name in below(words)} or known
        if len(words) > 1 or (words and rows is known):
            said = " ".join(words[: 1 if rows is known else 2])
            raise InputError(
                f"there is no command {said!r}{nearest(said, rows)} (known: {', '.join(rows)})"
            )
        width = max(map(len, rows))
        print(f"{front} COMMAND --help says what a command takes\n")
        print("\n".join(f"  {name:{width}}  {text}" for name, text in rows.items()))
        return 0

    return guarded(command)


def below(words):
    """The commands of two words whose first is the only one of ``words``."""
    return [name for name in COMMANDS if words and name.startswith(f"{words[0]}.")]


if __name__ == "__main__":
    sys.exit(main())

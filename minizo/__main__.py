"""``python -m minizo``: the commands of the package."""

import sys

from .commands import Parser, guarded
from .errors import InputError, nearest

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
}


def main(argv=None):
    """List the commands; returns the exit code."""
    parser = Parser(
        prog="python -m minizo",
        description="Train networks with quantised weights, and see what stands in for their "
        "missing gradient. Lists the commands.",
    )
    parser.add_argument("name", nargs="*", metavar="COMMAND", help="say how one is started")

    def command():
        names = parser.parse_args(argv).name
        for name in names:
            if name.removeprefix("minizo.") not in COMMANDS:
                known = ", ".join(COMMANDS)
                raise InputError(
                    f"there is no command {name!r}{nearest(name, COMMANDS)} (known: {known})"
                )
        if names:
            raise InputError(f"write it with a dot: python -m minizo.{names[0]}")
        width = max(map(len, COMMANDS))
        print("python -m minizo.COMMAND --help says what a command takes\n")
        print("\n".join(f"  {name:{width}}  {text}" for name, text in COMMANDS.items()))
        return 0

    return guarded(command)


if __name__ == "__main__":
    sys.exit(main())

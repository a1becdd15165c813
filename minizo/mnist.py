"""``python -m minizo.mnist``: STE, n-SPSA and FOGZO on a 2-bit MLP, compared on real digits."""

import sys

from . import cli, experiment
from .data import load
from .errors import InputError
from .models import mlp

DESCRIPTION = """\
Train a multi-layer perceptron with quantised weights on MNIST, with each estimator in turn, and
compare them: training loss over the whole training set, test accuracy, and what it cost.
Without flags: the 2-bit 784-10-10 network of the FOGZO paper, 1,200 steps of 100 examples."""

EPILOG = """\
MNIST is looked for in $MINIZO_DATA/mnist, then in the user's cache, then downloaded; where none of
this works the command says so and draws digits of its own. Exit codes: 0, 1 if a run diverged,
2 for bad input."""


def build_parser():
    """The command's flags."""
    parser = cli.training_parser("python -m minizo.mnist", DESCRIPTION, EPILOG)
    parser.set_defaults(data="mnist")
    return parser


def hidden_widths(text):
    """``"64,32"`` -> [64, 32]; an empty string is a network without hidden layers."""
    try:
        widths = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        widths = [0]
    if any(width < 1 for width in widths):
        raise InputError(f"--hidden is {text!r}, but it must be whole numbers such as 10 or 64,32")
    return widths


def network_name(settings, data):
    """Such as ``784-10-10``."""
    inputs = data.x_train[0].size
    return "-".join(map(str, [inputs, *hidden_widths(settings["hidden"]), data.classes]))


def build_network(settings, data):
    """The MLP of the settings for the images of ``data``."""
    shape = data.x_train.shape[1:]
    widths = [data.x_train[0].size, *hidden_widths(settings["hidden"]), data.classes]
    return mlp(*widths, activation=settings["activation"], input_shape=shape)


def title(settings, data):
    """What the table and the picture show."""
    bits = {"none": "full-precision", "sign": "binary", "ternary": "ternary"}.get(
        settings["quantizer"], f"{settings['bits']}-bit {settings['quantizer']}"
    )
    seeds = experiment.seeds(settings)
    shown = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return (
        f"{data.name}: {bits} {network_name(settings, data)}, {settings['steps']} steps of "
        f"{settings['batch']}, {settings['optimizer']}, {shown}"
    )


def load_data(settings, notice):
    """The data set of the settings."""
    return load(
        settings["data"], dtype=settings["dtype"], progress=not settings["quiet"], notice=notice
    )


def main(argv=None):
    """Run the command; returns its exit code."""
    return cli.guarded(
        lambda: cli.training_command(
            build_parser(), argv, "minizo.mnist", load_data, build_network, title
        )
    )


if __name__ == "__main__":
    sys.exit(main())

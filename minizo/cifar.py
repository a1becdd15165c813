"""``python -m minizo.cifar``: a convolutional network with binary weights on CIFAR."""

import sys

from .commands import training

DESCRIPTION = """\
Train a convolutional network with quantised weights on CIFAR-10, or with --data cifar100 on
CIFAR-100, with each estimator in turn, and compare them: training loss over the first 10,000
training images, test accuracy with running statistics, and what it cost.

A PART is a name and its settings: --estimator fogzo:n=10,beta=.999 --quantizer lsq:bits=2. Several
are compared. --help fogzo says what fogzo does and takes, --help estimator which there are.

Without flags: the STE on a small network with binary weights, a few minutes on two processor cores.
The setting of the papers, for a GPU: --backend cupy --model resnet20 --epochs 100 --batch 128
--augment crop-flip --start pretrain:epochs=100."""

EPILOG = """\
CIFAR-10 is looked for in $MINIZO_DATA (cifar10, cifar-10, cifar-10-batches-py or
cifar-10-python.tar.gz), then in the user's cache, then downloaded; so is CIFAR-100 (cifar100,
cifar-100, cifar-100-python, cifar-100-python.tar.gz, or a part of it in cifar-100-subset), with 100
classes, or 20 superclasses as cifar100:coarse. Where none of this works the command says so and
draws coloured shapes of its own. Exit codes: 0, 1 if a run diverged, 2 for bad input."""

DEFAULTS = {
    "data": "cifar10",
    "estimator": ["ste"],
    "model": "small",
    "quantizer": ["sign"],
    "steps": None,
    "epochs": 6,
}


def main(argv=None):
    """Run the command; returns its exit code."""
    return training.main("minizo.cifar", DESCRIPTION, EPILOG, DEFAULTS, argv)


if __name__ == "__main__":
    sys.exit(main())

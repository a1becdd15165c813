"""``python -m minizo.mnist``: STE, n-SPSA and FOGZO on a 2-bit MLP, compared on real digits."""

import sys

from .commands import training

DESCRIPTION = """\
Train a network with quantised weights on MNIST, with each estimator in turn, and compare them:
training loss over the whole training set, test accuracy, and what it cost.

A PART is a name and its settings: --estimator fogzo:n=10,beta=.999 --quantizer lsq:bits=2. Several
are compared. --help fogzo says what fogzo does and takes, --help estimator which there are, and
--estimator my_rule.py:MyRule,n=10 takes one from a file of yours.

Without flags: the 2-bit 784-10-10 network of the FOGZO paper, 1,200 steps of 100 examples. A
convolutional network of binary weights, to 99 % in two minutes on two cores: --model lenet
--quantizer sign --estimator ste --epochs 2; --activation sign makes its activations binary, too."""

EPILOG = """\
MNIST is looked for in $MINIZO_DATA/mnist, then in the user's cache, then downloaded; where none of
this works the command says so and draws digits of its own. Exit codes: 0, 1 if a run diverged,
2 for bad input."""


def main(argv=None):
    """Run the command; returns its exit code."""
    return training.main("minizo.mnist", DESCRIPTION, EPILOG, {}, argv)


if __name__ == "__main__":
    sys.exit(main())

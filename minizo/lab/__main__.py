"""``python -m minizo.lab``: theory against numbers."""

import sys

from . import runner
from .experiments import EXPERIMENTS, PARTS


def main(argv=None):
    """Run the command; returns its exit code."""
    return runner.main(EXPERIMENTS, PARTS, argv)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m minizo.lab``: theory against numbers."""

import sys

from .experiments import EXPERIMENTS, PARTS
from .runner import main

if __name__ == "__main__":
    sys.exit(main(EXPERIMENTS, PARTS))

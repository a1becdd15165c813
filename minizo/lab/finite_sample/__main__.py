"""``python -m minizo.lab.finite_sample [B-1 ... | all]``."""

import sys

from ..runner import main
from .experiments import EXPERIMENTS

if __name__ == "__main__":
    sys.exit(
        main(
            EXPERIMENTS,
            "python -m minizo.lab.finite_sample",
            "How many samples does a straight-through estimator need to find binary weights, and "
            "what does label noise do to it? Nine experiments with closed forms beside the "
            "measured curves.",
        )
    )

"""``python -m minizo.lab.relatives``: theory of STEs near the finite-sample question.

C-1 (Yin et al.) and C-4 (recurrence with a real teacher) are B-1 and B-9 of
`minizo.lab.finite_sample`.
"""

import sys

from ..figures import relatives as pictures
from . import cones, mean_field
from .runner import Experiment, main

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("C-3", "coarse gradients that classify perfectly", 4, cones.run, pictures.cones),
        Experiment(
            "C-8", "many quantised weights, learned online: a stochastic differential equation", 8,
            mean_field.run, pictures.mean_field,
        ),
    )
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(
        main(
            EXPERIMENTS,
            "python -m minizo.lab.relatives",
            "Two theories of straight-through estimators against numbers: perfect classification "
            "of cones, and the mean field of many quantised weights.",
        )
    )

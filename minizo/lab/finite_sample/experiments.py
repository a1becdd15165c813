"""The table of B-1 to B-9: name, what it shows, seconds on two cores, and how it is drawn."""

from ...figures import finite_sample as pictures
from ..runner import Experiment
from . import bounds, inputs, lemmas, one_step, recovery, recurrence, teacher

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("B-1", "closed forms of the coarse gradients", 2, lemmas.run, pictures.lemmas),
        Experiment(
            "B-2", "one step recovers the signs from about 2 pi n ln n samples", 4,
            one_step.run, pictures.one_step,
        ),
        Experiment(
            "B-3", "samples until the last iterate, or the time average, is right", 10,
            recovery.run, pictures.recovery,
        ),
        Experiment("B-4", "bounds that hold for every run", 2, bounds.run_bounds, pictures.bounds),
        Experiment(
            "B-5", "the largest deviation over all sign vectors", 1,
            bounds.run_uniform, pictures.uniform,
        ),
        Experiment(
            "B-6", "label noise: the optimum is left and reached again", 9,
            recurrence.run_noise, pictures.recurrence,
        ),
        Experiment(
            "B-7", "label noise under the ReLU and the identity STE", 5,
            recurrence.run_relu, pictures.relu,
        ),
        Experiment(
            "B-8", "inputs that defeat the STE, and how to mend them", 6,
            inputs.run_inputs, pictures.inputs,
        ),
        Experiment(
            "B-9", "a teacher with real weights: its best signs are left for ever", 4,
            teacher.run_teacher, pictures.teacher,
        ),
    )
}  # fmt: skip

"""The table of `python -m minizo.lab`: part, title, seconds on two cores, and what runs it.

An experiment is called by its part and number, `A-1`; a part's letter means all of it.
"""

from ..figures import finite_sample as drawn
from ..figures import relatives
from . import cones, convergence, fast_slow, lineage, mean_field, proxquant, smoothing
from .curves import picture
from .finite_sample import bounds, inputs, lemmas, one_step, recovery, recurrence, teacher
from .runner import Experiment

PARTS = {
    "A": "ProxQuant and dual averaging",
    "B": "how many samples does a straight-through estimator need?",
    "C": "relatives of both",
    "D": "smoothing: which gradient do two-point and straight-through estimates aim at?",
}

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("A-1", "the proximal operators of W-shaped regularisers", 1,
                   proxquant.operators, picture),
        Experiment("A-2", "BinaryConnect is dual averaging on the quantised set", 1,
                   proxquant.dual_averaging, picture),
        Experiment("A-3", "theorem 5.1: ProxQuant converges at the rate 1/T", 1,
                   convergence.stationarity, picture),
        Experiment("A-4", "theorem 5.2: lazy prox-gradient need not converge", 1,
                   convergence.orbit, picture),
        Experiment("A-5", "theorem 5.3: the fixed points of BinaryConnect, enumerated", 3,
                   proxquant.fixed_points, picture),
        Experiment("A-6", "two functions that BinaryConnect cannot tell apart", 1,
                   proxquant.toy, picture),
        Experiment("B-1", "closed forms of the coarse gradients", 2, lemmas.run, drawn.lemmas),
        Experiment("B-2", "one step recovers the signs from about 2 pi n ln n samples", 4,
                   one_step.run, drawn.one_step),
        Experiment("B-3", "samples until the last iterate, or the time average, is right", 10,
                   recovery.run, drawn.recovery),
        Experiment("B-4", "bounds that hold for every run", 2, bounds.run_bounds, drawn.bounds),
        Experiment("B-5", "the largest deviation over all sign vectors", 1,
                   bounds.run_uniform, drawn.uniform),
        Experiment("B-6", "label noise: the optimum is left and reached again", 9,
                   recurrence.run_noise, drawn.recurrence),
        Experiment("B-7", "label noise under the ReLU and the identity STE", 5,
                   recurrence.run_relu, drawn.relu),
        Experiment("B-8", "inputs that defeat the STE, and how to mend them", 6,
                   inputs.run_inputs, drawn.inputs),
        Experiment("B-9", "a teacher with real weights: its best signs are left for ever", 4,
                   teacher.run_teacher, drawn.teacher),
        Experiment("C-1", "blending is an L2 prox; where it freezes signs", 2,
                   lineage.blending, picture),
        Experiment("C-2", "PARQ's piecewise-affine map is an exact prox", 1,
                   lineage.parq, picture),
        Experiment("C-3", "primal and dual mirror descent agree", 1, lineage.mirror, picture),
        Experiment("C-4", "periodic surrogates are the STE in disguise", 2,
                   lineage.disguise, picture),
        Experiment("C-5", "coarse gradients that classify perfectly", 4,
                   cones.run, relatives.cones),
        Experiment("C-6", "many quantised weights, learned online: a stochastic differential "
                   "equation", 8, mean_field.run, relatives.mean_field),
        Experiment("C-7", "FSG's theorem 1 as printed is false; a bound that is proved", 5,
                   fast_slow.run, picture),
        Experiment("D-1", "six laws: uniform noise gives a parabola, not a box", 2,
                   smoothing.zero_bias, picture),
        Experiment("D-2", "the mean of SPSA need not be a gradient", 1, smoothing.curl, picture),
        Experiment("D-3", "the score as a factor: smoothing with the noise's own density", 2,
                   smoothing.score_weights, picture),
        Experiment("D-4", "how much SPSA and FOGZO scatter", 2, smoothing.scatter, picture),
        Experiment("D-5", "the bias of the straight-through estimator of a sign", 1,
                   smoothing.ste_bias, picture),
        Experiment("D-6", "noise designed for a surrogate's slope, and one that has none", 2,
                   smoothing.design, picture),
    )
}  # fmt: skip

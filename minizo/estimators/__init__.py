"""Gradient estimators: one file a method, all with the same functions.

init(objective, theta) -> state
estimate(objective, theta, batch, state, step) -> (Estimate, state)
update(objective, optimizer, grad, optimizer_state, theta, step) -> (theta, optimizer_state)

An estimator is a frozen dataclass of hyper-parameters; its state is a NamedTuple of arrays.
``update`` hands the gradient to the optimiser (`Estimator`). Only a rule that owns the update
defines its own.

An estimator of your own is one class, and `minizo.fit` takes an object of it. The shortest, in
four lines, stands in `Estimator`. `RankedES`, below, are antithetic evolution strategies whose 2n
losses are replaced by ranks: only the order of the losses counts, so that no outlier dominates.
The rank of the difference d_i among all +-d_j, divided by n and centred, is
w_i = sign(d_i) (rank|d_i| - 1/2) / n, and G = (1/n) sum_i w_i v_i. `spsa.differences` and
`spsa.weighted_sum` work in blocks, over any executor, and in many seeds at once.

References
----------
T. Salimans, J. Ho, X. Chen, S. Sidor, I. Sutskever, "Evolution strategies as a scalable alternative
to reinforcement learning", 2017, section 2 (mirrored sampling and fitness shaping by ranks).

Examples
--------
>>> from dataclasses import dataclass
>>> from minizo import backend, data, fit, laws, models, Objective, optim, quantizers, threads
>>> from minizo.estimators import Estimate, Estimator, spsa
>>> @dataclass(frozen=True)
... class RankedES(Estimator):
...     n: int = 50
...     eps: float = 0.05
...     rowwise = True  # takes theta of shape (S, 1, d), a row for each of S seeds
...     def init(self, objective, theta):
...         return ()
...     def estimate(self, objective, theta, batch, state, step):
...         xp, law = backend.namespace(theta), laws.LAWS["gaussian"]
...         v = spsa.Noise(law, step.seed, step.index, step.rng, spsa.moved(objective, theta))
...         eps = self.eps * xp.ones_like(theta)
...         d = spsa.differences(objective, theta, batch, eps, v, self.n, step.pool)
...         rank = xp.argsort(xp.argsort(xp.abs(d), axis=-1), axis=-1)  # 0, ..., n - 1
...         w = xp.sign(d) * (xp.astype(rank, d.dtype) + 0.5) / self.n
...         g = spsa.weighted_sum(objective, theta, batch, v, w / self.n, step.pool)
...         loss, seen = objective.evaluate(theta, batch), objective.statistics(theta, batch)
...         return Estimate(g, loss, 2 * self.n + 1 + bool(seen), 0, seen), state
>>> objective = Objective(models.mlp(784, 10, 10), quantizers.MidRise(bits=2))
>>> digits = data.synthetic_digits(200, 50)
>>> with threads(2) as pool:
...     run = fit(objective, digits, RankedES(), optim.Adam(0.01), steps=20, pool=pool)
>>> run.records["train_loss"][0] > run.final("train_loss"), run.records["forwards"][-1]
(True, 2020)
"""

from .base import Estimate, Estimator, Step
from .blended import BlendedCoarseGradient
from .controls import FastOnly, FSGAverage, FSGGain, FSGScaled, Gain, LayerGain
from .dual_averaging import PARQ, BinaryConnect, BinaryRelax, MirrorDescent, ProxConnect
from .fogzo import FOGZO
from .fsg import FSG
from .metaquant import LSTMFC, FCGrad, MultiFC
from .proxquant import ProxQuant
from .spsa import SPSA
from .ste import STE, NormalisedSTE

ESTIMATORS = {
    "ste": STE,
    "normalised-ste": NormalisedSTE,
    "spsa": SPSA,
    "fogzo": FOGZO,
    "proxquant": ProxQuant,
    "proxconnect": ProxConnect,
    "binaryconnect": BinaryConnect,
    "binaryrelax": BinaryRelax,
    "parq": PARQ,
    "mirror": MirrorDescent,
    "blended": BlendedCoarseGradient,
    "fcgrad": FCGrad,
    "multifc": MultiFC,
    "lstmfc": LSTMFC,
    "fsg": FSG,
    "gain": Gain,
    "layer-gain": LayerGain,
    "fast-net": FastOnly,
    "fsg-gain": FSGGain,
    "fsg-ema": FSGAverage,
    "fsg-scaled": FSGScaled,
}

__all__ = [
    "ESTIMATORS",
    "FOGZO",
    "FSG",
    "LSTMFC",
    "PARQ",
    "SPSA",
    "STE",
    "BinaryConnect",
    "BinaryRelax",
    "BlendedCoarseGradient",
    "Estimate",
    "Estimator",
    "FCGrad",
    "FSGAverage",
    "FSGGain",
    "FSGScaled",
    "FastOnly",
    "Gain",
    "LayerGain",
    "MirrorDescent",
    "MultiFC",
    "NormalisedSTE",
    "ProxConnect",
    "ProxQuant",
    "Step",
]


def __dir__():
    return __all__

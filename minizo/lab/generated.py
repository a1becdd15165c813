"""What a learned gradient is made of, seen from outside: how much of it is a step size.

With g the last gradient with respect to the quantised weights and c(W) the quantiser's slope, the
STE would go along d = c(W) g. Of the direction G that a learned gradient generates next, and of
FSG's slow gradient S, over all quantised layers i:

    gain     k = <G, d> / <d, d>                     G as a multiple of the STE's direction
    R^2      1 - |G - k d|^2 / |G|^2                 what of G that multiple explains
    slow gain   K = sum_i <S_i, g_i> / sum_i <g_i, g_i>
    slow R^2    1 - sum_i |S_i - K_i g_i|^2 / sum_i |S_i|^2,  K_i = <S_i, g_i> / <g_i, g_i>
    share    |beta S| / (|beta S| + |(1 - beta) c(W) F|)
    history     |S' - S| / |S|,  S' from the history with all older gradients negated
    embedding   |S' - S| / |S|,  S' with the embedding of the next layer

A change of the history that changes nothing in S says that the slow-net does not read it.
"""

from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import Any

from .. import backend
from ..estimators.base import Estimator
from ..estimators.learned import Learned, layer_slopes
from ..hypernets.slow import SlowNet
from ..types import Objective, State

COLUMNS = ("gain", "r2", "fast_gain", "slow_gain", "slow_r2", "slow_share", "slow_history",
           "slow_embedding")  # fmt: skip


def trace(estimator: Learned, objective: Objective, state: State) -> dict[str, float]:
    """The numbers of the module by name, for the step after ``state``; NaN where there is none.

    Parameters
    ----------
    estimator : Learned
    objective : Objective
    state : TrainState

    Returns
    -------
    dict of str to float
        `COLUMNS`; ``fast_gain`` is the gain of the first part of G before its weight: on d for
        FCGrad, on d Wh for MultiFC and FSG's fast-net, where it is their number c exactly.
        Cost: a forward of the generators, and two more of a slow-net. No forward of the network.
    """
    found = dict.fromkeys(COLUMNS, nan)
    learned = state.estimator
    if learned.seen == 0:
        return found
    known = estimator.known(objective, learned)
    parts = estimator.parts(len(known))
    slopes = layer_slopes(objective, state.theta)
    made = [
        _generated(part.net, part.net.views(phi), known, carried)
        for part, phi, carried in zip(parts, learned.phi, learned.carried, strict=True)
    ]
    terms = [
        [part.weight * f * (c if part.calibrated else 1.0) for f, c in zip(fs, slopes, strict=True)]
        for part, fs in zip(parts, made, strict=True)
    ]
    direct = [c * one.gradient for c, one in zip(slopes, known, strict=True)]
    whole = [sum(layer) for layer in zip(*terms, strict=True)]
    found["gain"], found["r2"] = _explained(whole, direct)
    by_weight = getattr(parts[0].net, "by_weight", False)
    base = [one.gradient * (one.squashed if by_weight else 1.0) for one in known]
    found["fast_gain"] = _explained(made[0], base)[0]
    if len(parts) == 1:
        return found

    net, slow, g = parts[1].net, made[1], [one.gradient for one in known]
    found["slow_gain"] = _explained(slow, g)[0]
    total = _square(slow)
    alone = [_explained([s], [own])[0] for s, own in zip(slow, g, strict=True)]
    rest = [s - k * own for k, s, own in zip(alone, slow, g, strict=True)]
    found["slow_r2"] = 1.0 - _square(rest) / total if total else nan
    sizes = [_square(term) ** 0.5 for term in terms]
    found["slow_share"] = sizes[1] / sum(sizes) if sum(sizes) else nan
    if isinstance(net, SlowNet) and total:
        params, carried = net.views(learned.phi[1]), learned.carried[1]
        others = {"slow_history": [_older_negated(one) for one in known]}
        next_layer = [one._replace(layer=(one.layer + 1) % len(known)) for one in known]
        if net.embedding:
            others["slow_embedding"] = next_layer
        for name, changed in others.items():
            moved = _generated(net, params, changed, carried)
            difference = [a - b for a, b in zip(moved, slow, strict=True)]
            found[name] = (_square(difference) / total) ** 0.5
    return found


def watches(estimator: Estimator) -> dict[str, Callable]:
    """`trace` as columns for ``minizo.fit(watch=...)``; nothing for estimators that learn nothing.

    The columns of one record share one computation.
    """
    if not isinstance(estimator, Learned):
        return {}
    last = {}

    def column(name):
        def value(objective, state):
            if last.get("state") is not state:
                last.update(trace(estimator, objective, state), state=state)
            return last[name]

        return value

    return {name: column(name) for name in COLUMNS}


def frozen(estimator: Learned) -> Learned:
    """The same estimator whose networks stay as they were drawn: learning rates of 1e-30."""
    names = [n for n in ("hyper_lr", "fast_lr", "slow_lr") if hasattr(estimator, n)]
    rates: dict[str, Any] = dict.fromkeys(names, 1e-30)
    return replace(estimator, **rates)


def _generated(net, params, known, carried):
    return [net.generate(params, one, own)[0] for one, own in zip(known, carried, strict=True)]


def _older_negated(one):
    xp = backend.namespace(one.history)
    return one._replace(history=xp.concat([-one.history[:-1, :], one.history[-1:, :]]))


def _square(layers):
    return sum(float(backend.namespace(v).sum(v * v)) for v in layers)


def _explained(layers, base):
    # (k, R^2) of the least squares fit layers = k base
    xp = backend.namespace(*base)
    size = _square(base)
    if not size:
        return nan, nan
    k = sum(float(xp.sum(v * b)) for v, b in zip(layers, base, strict=True)) / size
    total = _square(layers)
    rest = _square([v - k * b for v, b in zip(layers, base, strict=True)])
    return k, 1.0 - rest / total if total else nan

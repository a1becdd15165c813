"""Checks of a quantiser."""

from functools import partial

import numpy as np

from .. import rng
from ..contracts import check_backward, check_learned, check_like, check_part
from ..errors import InputError
from ..quantizers.base import Quantizer
from .common import DTYPES, again, apart, check_pickle, closeness, member, quiet, unchanged
from .derivatives import BOUND, central, gradient_error, jumps
from .findings import Fault, Findings, Unjudged, name_of, require, run_checks

FILTERS, SIZE = 4, 24
TOLERANCE = 1e-9  # of a member of a population beside itself alone, in float64
LEADS = ((3,), (2, 3), (2, 1))  # a population; seeds and a population; seeds
SIGMA, POINTS, DRAWS = 6.0, 15, 20_000


def check_quantizer(quantizer: Quantizer) -> Findings:
    """Check a quantiser: return `Findings`, or raise `CheckFailed`.

    Parameters
    ----------
    quantizer : quantizer
        With what `minizo.quantizers.Quantizer` has.

    Raises
    ------
    CheckFailed
        If a check fails; a sentence says where, and what to do.

    Examples
    --------
    >>> from minizo.quantizers import MidRise
    >>> found = check_quantizer(MidRise("tanh", bits=2))
    >>> {finding.name: finding.sentence for finding in found.checks}["levels"]
    '4 levels, as levels says'
    """
    checks = {
        "contract": partial(_contract, quantizer),
        "pure": partial(_pure, quantizer),
        "quiet": partial(_quiet, quantizer),
        "deterministic": partial(_deterministic, quantizer),
        "pickle": partial(check_pickle, quantizer),
        "population": partial(_population, quantizer),
        "levels": partial(_levels, quantizer),
        "order": partial(_order, quantizer),
        "linear": partial(_linear, quantizer),
        "surrogate": partial(_surrogate, quantizer),
        "learned": partial(_learned, quantizer),
        "noise": partial(_noise, quantizer),
    }
    return run_checks(quantizer, checks)


def weights(quantizer, dtype=np.float64, lead=(), seed=0):
    """Return random x (..., m), or (..., F, n), and dw like it."""
    gen = np.random.default_rng((seed, len(lead)))
    shape = (FILTERS, SIZE) if quantizer.by_filter else (FILTERS * SIZE,)
    x = 0.7 * gen.normal(size=(*lead, *shape))
    return x.astype(dtype), gen.normal(size=x.shape).astype(dtype)


def beside(quantizer, x, lead=(), moved=0.3):
    """Return the argument ``scale`` for x: alpha, or a dict with what is learned and drawn.

    Of a population (P,) alpha and random arrays are one for all; of seeds and a population (S, P)
    they are one a seed. What is learned is each member's own, and ``moved`` away from its start,
    where gradients may be 0.
    """
    shape, seeds = x.shape[len(lead) :], lead[:1] if len(lead) == 2 else ()
    # alpha (..., 1), of the first member
    alpha = quantizer.scale(x[:, :1] if seeds else x[(0,) * len(lead)])
    own = {}
    for index in np.ndindex(*lead):
        gen = np.random.default_rng((1, *index))
        for name, value in quantizer.init(x[index], rng.at(0, "test", *index)).items():
            change = 0.0 if name in quantizer.kept else moved * gen.random(np.shape(value))
            own.setdefault(name, []).append(np.asarray(value * (1.0 + change), x.dtype))
    given = {name: np.reshape(v, (*lead, *np.shape(v[0]))) for name, v in own.items()}
    drawn = [quantizer.noise(rng.at(seed, "layers", 0), shape, x) for seed in range(*seeds or (1,))]
    for name in drawn[0]:
        each = np.stack([noise[name] for noise in drawn])
        given[name] = each[:, None] if seeds else each[0]
    return {"alpha": alpha, **given} if given else alpha


def scale_of(quantizer, scale, index):
    """Return the argument ``scale`` of the member at ``index`` alone."""
    row = 2 if quantizer.by_filter else 1
    if not isinstance(scale, dict):
        return member(scale, index, row)
    shape = (FILTERS, SIZE) if quantizer.by_filter else (FILTERS * SIZE,)
    axes = {name: len(own) for name, own in quantizer.shapes(shape).items()}
    return {name: member(value, index, axes.get(name, row)) for name, value in scale.items()}


def both(quantizer, x, scale, dw):
    """Return what the forward and the backward give, by name."""
    dx, grads = quantizer.backward(x, scale, dw)
    return {"w": quantizer.quantize(x, scale), "dx": dx, "grads": grads}


def _contract(quantizer):
    check_part("quantizer", quantizer)
    name = name_of(quantizer)
    for dtype in DTYPES:
        x, dw = weights(quantizer, dtype)
        learned = check_learned(quantizer, quantizer.shapes(x.shape))
        alpha = quantizer.scale(x)
        check_like(f"{name}.scale", alpha, "one number a row of x", x[..., :1])
        require(
            bool(np.all(np.isfinite(alpha) & (alpha > 0.0))),
            f"{name}.scale gives {alpha}, but it must be finite and above 0",
        )
        start = quantizer.init(x, rng.at(0, "test"))
        shapes = {part: np.shape(value) for part, value in start.items()}
        require(
            shapes == dict(learned),
            f"{name}.init gives {shapes}, but shapes says {dict(learned)}: they must be the same",
        )
        drawn = quantizer.noise(rng.at(0, "layers", 0), x.shape, x)
        require(
            set(drawn) == set(quantizer.random),
            f"{name}.noise gives {sorted(drawn)}, but random says {sorted(quantizer.random)}: they "
            "must be the same",
        )
        for part, value in drawn.items():
            check_like(f"{part} of {name}.noise", value, "x", x)
        scale = beside(quantizer, x)
        check_like(f"{name}.quantize", quantizer.quantize(x, scale), "x", x)
        answer = quantizer.backward(x, scale, dw)
        check_backward(quantizer, answer, x, scale, learned)
        finite = all(np.all(np.isfinite(value)) for value in (answer[0], *answer[1].values()))
        require(finite, f"{name}.backward gives a NaN or an infinity for ordinary weights")
    return "quantize and backward keep shape and dtype, float64 and float32"


def _pure(quantizer):
    name = name_of(quantizer)
    for dtype in DTYPES:
        x, dw = weights(quantizer, dtype)
        given = {"x": x, "scale": beside(quantizer, x)}
        unchanged(f"{name}.quantize", quantizer.quantize, given)
        unchanged(f"{name}.backward", quantizer.backward, given | {"dw": dw})
    return "quantize and backward change none of their arguments in place"


def _quiet(quantizer):
    x, dw = weights(quantizer)
    scale = beside(quantizer, x)
    quiet(name_of(quantizer), lambda: both(quantizer, x, scale, dw))
    return "prints nothing, and leaves NumPy's global random state alone"


def _deterministic(quantizer):
    given = []
    for seed in range(3):
        x, dw = weights(quantizer, seed=seed)
        given.append((x, beside(quantizer, x), dw))
    answers = [both(quantizer, *one) for one in given]
    again(name_of(quantizer), lambda index: both(quantizer, *given[index]), answers)
    return "the same arguments give the same bits, in whatever order it is asked"


def _population(quantizer):
    name, worst = name_of(quantizer), 0.0
    remedy = "take sums over the last axis, with keepdims=True, and count axes from the end"
    for lead in LEADS:
        x, dw = weights(quantizer, lead=lead)
        scale = beside(quantizer, x, lead)
        try:
            together = both(quantizer, x, scale, dw)
            check_like(f"{name}.quantize", together["w"], "x", x)
            shapes = quantizer.shapes(x.shape[len(lead) :])
            answer = (together["dx"], together["grads"])
            check_backward(quantizer, answer, x, scale, shapes)
        except (InputError, ValueError, IndexError, TypeError) as error:
            raise Fault(
                f"{name} does not take x of shape {x.shape}, with population axes in front "
                f"({type(error).__name__}: {error}): {remedy}"
            ) from None
        for index in np.ndindex(*lead):
            alone = both(quantizer, x[index], scale_of(quantizer, scale, index), dw[index])
            grads = {part: value[index] for part, value in together["grads"].items()}
            found = {"w": together["w"][index], "dx": together["dx"][index], "grads": grads}
            gap, words = apart(alone, found, TOLERANCE)
            require(
                gap <= TOLERANCE,
                f"{name} mixes the members of a population: of x {x.shape}, member {index} is not "
                f"what it is alone ({words}): {remedy}",
            )
            worst = max(worst, gap)
    return f"members of a population are those of each alone, {closeness(worst)}"


def sweep(quantizer):
    """Return (x, scale) of a fine sweep, in units of alpha, for a pointwise quantiser."""
    x, _ = weights(quantizer)
    scale = beside(quantizer, x, moved=0.0)
    alpha = scale["alpha"] if isinstance(scale, dict) else scale
    steps = np.concatenate([np.linspace(-300, 300, 30_001), np.linspace(-2, 2, 10_001)])
    x = alpha * np.sort(steps)
    drawn = quantizer.noise(rng.at(0, "layers", 0), x.shape, x)
    return x, ({**scale, **drawn} if drawn else scale)


def _levels(quantizer):
    name, levels = name_of(quantizer), quantizer.levels
    if levels is None:
        raise Unjudged("levels is None")
    swept = quantizer.pointwise and not quantizer.by_filter
    if swept:
        x, scale = sweep(quantizer)
    else:
        x, _ = weights(quantizer)
        scale = beside(quantizer, x)
    found = 0
    for row in np.atleast_2d(quantizer.quantize(x, scale)):
        gaps = np.diff(np.sort(row))
        found = max(found, 1 + int(np.sum(gaps > 1e-9 * np.max(np.abs(row)))))
    right = found == levels if swept else found <= levels
    require(
        right,
        f"{name}.levels is {levels}, but quantize gives {found} values in a row: say how many "
        "there are, or None",
    )
    return f"{found} levels, as levels says" if swept else f"{found} of {levels} levels in a row"


def _order(quantizer):
    if not quantizer.pointwise or quantizer.by_filter:
        raise Unjudged("looks at a whole row: order and Q(Q(x)) are not looked at")
    x, scale = sweep(quantizer)
    if quantizer.random:
        raise Unjudged("random: order and Q(Q(x)) are not looked at")
    w = quantizer.quantize(x, scale)
    rising = "rises with x" if np.all(np.diff(w) >= 0.0) else "falls somewhere as x rises"
    same = np.allclose(quantizer.quantize(w, scale), w, rtol=1e-9)
    raise Unjudged(f"Q {rising}; Q(Q(x)) is {'' if same else 'not '}Q(x)")


def _linear(quantizer):
    x, first = weights(quantizer)
    scale, second = beside(quantizer, x), weights(quantizer, seed=1)[1]
    parts = [quantizer.backward(x, scale, dw) for dw in (first, second, 3.0 * first - second)]
    names = parts[0][1]
    wanted = {
        "dx": 3.0 * parts[0][0] - parts[1][0],
        **{part: 3.0 * names[part] - parts[1][1][part] for part in names},
    }
    gap, words = apart(wanted, {"dx": parts[2][0], **parts[2][1]}, TOLERANCE)
    require(
        gap <= TOLERANCE,
        f"{name_of(quantizer)}.backward is not linear in dw: for 3 u - v, {words}; clip gradients "
        "in an estimator",
    )
    return "backward is linear in dw"


def _surrogate(quantizer):
    if not hasattr(quantizer, "smooth"):
        raise Unjudged("no smooth to compare the backward with")
    x, dw = weights(quantizer)
    scale = beside(quantizer, x)
    if not quantizer.pointwise:
        direction = np.random.default_rng(2).normal(size=x.shape)
        dx = quantizer.backward(x, scale, dw)[0]
        slope = central(lambda x: np.sum(dw * quantizer.smooth(x, scale)), x, direction)
        ours = float(np.sum(dx * direction))
        raise Unjudged(
            f"looks at a whole row, of which parts may be held: the backward is {ours:.4g} along a "
            f"direction, and the derivative of smooth {slope:.4g}"
        )
    dx, h = quantizer.backward(x, scale, np.ones_like(x))[0], 1e-6
    here = quantizer.smooth(x, scale)
    sides = [(quantizer.smooth(x + step, scale) - here) / step for step in (-h, h)]
    # between the slopes of both sides, which differ at a kink
    low, high = np.minimum(*sides), np.maximum(*sides)
    outside = np.maximum(np.maximum(low - dx, dx - high), 0.0)
    worst = np.unravel_index(np.argmax(outside), x.shape)
    bound = BOUND * max(1.0, float(np.max(np.abs(dx))))
    require(
        outside[worst] <= bound,
        f"{name_of(quantizer)}.backward is not the derivative of smooth: at x = {x[worst]:.4g} it "
        f"is {dx[worst]:.6g}, but the central difference is {0.5 * (low + high)[worst]:.6g}",
    )
    return f"backward is the derivative of smooth, to {max(outside[worst], 1e-12):.0e}"


def _learned(quantizer):
    x, dw = weights(quantizer)
    parts = [part for part in quantizer.shapes(x.shape) if part not in quantizer.kept]
    if not parts:
        raise Unjudged("learns nothing")
    gen, scale = np.random.default_rng(3), beside(quantizer, x)
    grads, judged, jumping = quantizer.backward(x, scale, dw)[1], [], []
    for part in parts:
        value = scale[part]

        def forward(value, part=part):
            return quantizer.quantize(x, {**scale, part: value})

        if jumps(forward, value, 0.3 * np.abs(value) * gen.normal(size=value.shape)):
            jumping.append(part)
            continue
        judged.append(part)
        error, words = gradient_error(
            lambda value, forward=forward: np.sum(dw * forward(value)), grads[part], value, gen
        )
        require(
            error <= BOUND,
            f"the gradient of {part} of {name_of(quantizer)}.backward is wrong by "
            f"{100 * error:.3g} %: {words}",
        )
    words = f"; not judged, as Q jumps in it: {', '.join(jumping)}" if jumping else ""
    if not judged:
        raise Unjudged(words[2:])
    return f"gradients of {', '.join(judged)} are central differences{words}"


def _noise(quantizer):
    name, epsbar = name_of(quantizer), quantizer.epsbar
    if epsbar is None:
        raise Unjudged("epsbar is None: no noise is implied")
    if quantizer.random or not quantizer.pointwise or not hasattr(quantizer, "smooth"):
        raise Unjudged("looks at a whole row, is random, or has no smooth to compare with")
    if quantizer.by_filter:
        raise Unjudged("of filters it is not looked at")
    x, _ = weights(quantizer)
    scale = beside(quantizer, x, moved=0.0)
    alpha = scale["alpha"] if isinstance(scale, dict) else scale
    ends = quantizer.quantize(np.array([-1e3, 1e3]) * alpha, scale)
    points = alpha * np.linspace(-2.2, 2.2, POINTS)
    if quantizer.surrogate == "identity":  # which has no ends, unlike the levels
        points = points[(points > ends[0]) & (points < ends[1])]
    u = quantizer.law.sample(rng.at(0, "test", 1), np.empty((len(points), DRAWS)))
    w = quantizer.quantize(points[:, None] + alpha * epsbar * u, scale)
    wanted, mean = quantizer.smooth(points, scale), w.mean(axis=-1)
    # the last term is for levels that are met too seldom to be seen
    bound = SIGMA * w.std(axis=-1) / np.sqrt(DRAWS) + 20.0 * (ends[1] - ends[0]) / DRAWS
    share = np.abs(mean - wanted) / bound
    worst = int(np.argmax(share))
    require(
        share[worst] <= 1.0,
        f"{name}: the mean of Q(x + alpha epsbar u) is not smooth(x): at x = {points[worst]:.4g} "
        f"it is {mean[worst]:.4g} +- {bound[worst] / SIGMA:.1g}, but smooth is "
        f"{wanted[worst]:.4g}: write smooth and derivative for this map, correct epsbar or law, or "
        "set epsbar to None",
    )
    return f"the mean of Q(x + alpha epsbar u) is smooth(x), within {SIGMA:.0f} standard errors"

"""C-8: online learning of d quantised weights, as d grows, is a stochastic differential equation.

    y = x . w* / sqrt(d) + sigma xi,   w <- w - (eta / sqrt(d)) (x . psi(w) / sqrt(d) - y) x

with psi the quantiser, an STE for it, and fresh x ~ N(0, I) at every step. With time tau = step / d
every coordinate follows the same equation, to which the others are a field:

    dw = -eta (psi(w) - w*) dtau + eta sqrt(eps(tau) + sigma^2) dB,   eps = E (psi(w) - w*)^2

That high-dimensional STE training has such a limit is reported of Ichikawa et al. (abstract); the
equation for this model, its closed forms and the comparison were worked out for this package.

References
----------
Y. Ichikawa, S. Kashiwamura, A. Sakata, "High-dimensional learning dynamics of quantized models with
straight-through estimator", arXiv 2510.10693, 2025.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log, pi, sqrt

import numpy as np

from .. import backend, report, rng
from ..quantizers import MidRise, Sign
from .runner import Report
from .verdicts import close, near

D, RUNS = 800, 16
PARTICLES, STEP = 40_000, 0.01
TAU, LOOKS = 10.0, 20  # how long, and how often the error is noted
SIGMA = 0.2
SLACK = 0.03  # for d = 800 and the initial draw, in units of the error at the start


@dataclass(frozen=True)
class Case:
    """A quantiser, a teacher's law, and a learning rate.

    Attributes
    ----------
    name : str
    psi : callable
        The quantiser, elementwise.
    levels : tuple of float or None
        What it can answer; ``None`` for no quantiser.
    binary : bool
        Whether the teacher's weights are +-1; else they are N(0, 1).
    rate : float
        eta.
    """

    name: str
    psi: Callable
    levels: tuple | None
    binary: bool
    rate: float


def _levels(quantizer, scale):
    wide = np.linspace(-50.0 * scale, 50.0 * scale, 1001)
    return tuple(np.unique(quantizer.quantize(wide, scale)).tolist())


BEST = sqrt(2.0 / pi)  # the scale of a sign that is nearest to N(0, 1)
CASES = (
    Case("no quantiser", lambda w: w, None, False, 0.5),
    Case("1 bit, binary teacher", lambda w: Sign().quantize(w, 1.0), (-1.0, 1.0), True, 0.3),
    Case("1 bit", lambda w: Sign().quantize(w, BEST), (-BEST, BEST), False, 0.3),
    Case("2 bits", lambda w: MidRise(bits=2).quantize(w, 1.0), _levels(MidRise(bits=2), 1.0),
         False, 0.5),
    Case("3 bits", lambda w: MidRise(bits=3).quantize(w, 0.5), _levels(MidRise(bits=3), 0.5),
         False, 0.5),
)  # fmt: skip


def full_precision(tau, start, rate, sigma):
    """eps(tau) = (eps_0 - eps_inf) e^(-(2 eta - eta^2) tau) + eps_inf, without a quantiser.

    eps_inf = eta sigma^2 / (2 - eta); stable if and only if eta < 2.
    """
    final = rate * sigma**2 / (2.0 - rate)
    return (start - final) * np.exp(-(2.0 * rate - rate**2) * tau) + final


def stationary_error(levels, points=200_001):
    """Error that remains with a teacher of N(0, 1) weights and few levels, whatever eta and sigma.

        E (q+ - w*) (w* - q-),   q-, q+ the levels on both sides of w*; (w* - q)^2 beyond the last

    A coordinate stays near the threshold between two levels, and is on each so often that the mean
    of psi is w*: the variance of stochastic rounding. To leading order in the noise, which must not
    carry w further than one level. The best levels would have E min_q (q - w*)^2.

    Returns
    -------
    (float, float)
        That error, and the error of the best levels. Midpoint rule on [-10, 10].
    """
    w = (np.arange(points) + 0.5) / points * 20.0 - 10.0
    weight = np.exp(-0.5 * w * w) / sqrt(2.0 * pi) * 20.0 / points
    q = np.sort(np.array(levels))
    k = np.clip(np.searchsorted(q, w), 1, len(q) - 1)
    low, high = q[k - 1], q[k]
    inside = (w > q[0]) & (w < q[-1])
    nearest = np.minimum(np.abs(w - low), np.abs(w - high)) ** 2
    rounded = np.where(inside, (high - w) * (w - low), nearest)
    return float(rounded @ weight), float(nearest @ weight)


def teacher(seed, shape, case, like):
    """w* of ``shape``."""
    xp = backend.namespace(like)
    w = rng.at(seed, "data", 0).normal(backend.empty(shape, like))
    return xp.sign(w) if case.binary else w


def simulate(seed, case, like, d, runs, tau, sigma=SIGMA):
    """eps of ``runs`` networks of d weights at `LOOKS` times: host array (LOOKS + 1, runs).

    Cost: tau d steps of a few ``runs`` d.
    """
    xp, steps = backend.namespace(like), round(tau * d)
    w_true = teacher(seed, (runs, d), case, like)
    w = rng.at(seed, "init", 0).normal(backend.empty((runs, d), like))
    errors = []
    for t in range(steps + 1):
        gap = case.psi(w) - w_true
        if t % (steps // LOOKS) == 0:
            errors.append(backend.to_numpy(xp.mean(gap * gap, axis=1)))
        draws = rng.at(seed, "noise", t, 0).normal(backend.empty((runs, d + 1), like))
        x, xi = draws[:, :d], draws[:, d]
        # w <- w - (eta / sqrt(d)) (x . (psi(w) - w*) / sqrt(d) - sigma xi) x
        residual = xp.sum(gap * x, axis=1) / sqrt(d) - sigma * xi
        w = w - (case.rate / sqrt(d)) * residual[:, None] * x
    return np.array(errors, np.float64)


def particles(seed, case, like, count, tau, step, sigma=SIGMA, coupled=True):
    """eps of the stochastic differential equation at `LOOKS` times: host array (LOOKS + 1,).

    Euler's scheme on ``count`` coordinates, which see each other through eps only.

    Parameters
    ----------
    coupled : bool
        False leaves eps out of the noise: the wrong equation of the negative control.
    """
    xp, steps = backend.namespace(like), round(tau / step)
    w_true = teacher(seed, (count,), case, like)
    w = rng.at(seed, "init", 1).normal(backend.empty((count,), like))
    errors = []
    for t in range(steps + 1):
        gap = case.psi(w) - w_true
        error = xp.mean(gap * gap)
        if t % (steps // LOOKS) == 0:
            errors.append(float(error))
        noise = rng.at(seed, "noise", t, 1).normal(backend.empty((count,), like))
        # dw = -eta (psi(w) - w*) dtau + eta sqrt(eps + sigma^2) dB
        spread = xp.sqrt(((error if coupled else 0.0 * error) + sigma**2) * step)
        w = w - case.rate * step * gap + case.rate * spread * noise
    return np.array(errors)


def run(setup):
    """C-8: simulation against the equation for five quantisers; returns a `Report`."""

    def work(number):
        case, seed = CASES[number], int(setup.seed)
        setup.say(case.name)
        own = int(np.random.SeedSequence(seed, spawn_key=(8, number)).generate_state(1)[0])
        networks = simulate(own, case, setup.like, 4 * D if setup.large else D, RUNS, TAU)
        fields = (
            particles(own + 1, case, setup.like, PARTICLES, TAU, STEP, coupled=coupled)
            for coupled in (True, False)
        )
        return networks, *fields

    found = list(setup.pool.map(work, ((i,) for i in range(len(CASES))), 2**24))
    tau = np.linspace(0.0, TAU, LOOKS + 1)
    rows, claims, curves = [], [], {}
    for case, (networks, right, wrong) in zip(CASES, found, strict=True):
        mean, se = networks.mean(axis=1), networks.std(axis=1, ddof=1) / sqrt(RUNS)
        formula = full_precision(tau, 2.0, case.rate, SIGMA)
        predicted = formula if case.levels is None else right
        source = "the limit: reported of Ichikawa et al., abstract; its equation: this package"
        what = "the closed form" if case.levels is None else "the coordinate's equation"
        claims.append(
            close(
                f"{case.name}: the error of {networks.shape[1]} networks follows {what}",
                f"{source}; slack {SLACK} of the error at the start",
                mean,
                predicted,
                se,
                wrong,
                "noise without eps",
                slack=SLACK * mean[0],
            )  # fmt: skip
        )
        curves[case.name] = (tau, mean, se, predicted)
        rows += [
            {"case": case.name, "tau": t, "error": e, "se": s, "equation": q, "predicted": p}
            for t, e, s, q, p in zip(tau, mean, se, right, predicted, strict=True)
        ]
    claims += [lasting(setup), stability(setup)]
    lines = []
    for case, (networks, right, _) in zip(CASES, found, strict=True):
        last, best = (None, None) if case.levels is None or case.binary else stationary_error(
            case.levels)  # fmt: skip
        cells = ["-" if value is None else f"{value:.4f}" for value in (last, best)]
        mean = networks.mean(axis=1)
        lines.append([case.name, *(f"{mean[k]:.4f}/{right[k]:.4f}" for k in (2, 8, LOOKS)), *cells])
    headers = ["simulated/equation", "tau 1", "tau 4", f"tau {TAU:g}", "rounding", "best levels"]
    return Report(claims, rows, report.table(headers, lines), curves)


def lasting(setup, rate=0.1, sigma=0.05):
    """What remains with a real teacher is the error of stochastic rounding."""
    setup.say("what remains")
    ends, expected, best = [], [], []
    for case in CASES:
        if case.levels is not None and not case.binary:
            slow = replace(case, rate=rate)
            # a weight whose w* is nearly a level comes to its threshold slowly
            errors = particles(setup.seed, slow, setup.like, PARTICLES // 4, 400.0, 0.2, sigma)
            ends.append(errors[-LOOKS // 5 :].mean())
            last, least = stationary_error(case.levels)
            expected.append(last)
            best.append(least)
    return near(
        "With a real teacher the error of stochastic rounding remains, not that of the best levels",
        f"this package, to leading order in eta, here {rate}: 5 % allowed",
        np.array(ends) / expected, np.ones(len(ends)), 0.05, np.array(best) / expected,
        "the best levels are kept", unit="share of the predicted error",
    )  # fmt: skip


def stability(setup, d=400, tau=4.0):
    """Without a quantiser the error grows if and only if eta > 2: its rate is 2 eta - eta^2."""
    slopes, rates = [], (1.5, 2.5)
    for rate in rates:
        case = Case("", lambda w: w, None, False, rate)
        errors = simulate(setup.seed, case, setup.like, d, RUNS, tau, sigma=0.0).mean(axis=1)
        slopes.append(log(errors[-1] / errors[0]) / tau)
    expected = [rate**2 - 2.0 * rate for rate in rates]
    return near(
        "Without a quantiser and noise, log eps grows at the rate eta^2 - 2 eta: stable below 2",
        "this package; d = 400: 15 % allowed", slopes / np.abs(expected), np.sign(expected), 0.15,
        -np.array([2.0 * rate for rate in rates]) / np.abs(expected), "without the noise's eta^2",
        unit="share of the rate",
    )  # fmt: skip

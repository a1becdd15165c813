"""Checks of a law of the perturbation."""

from functools import partial
from math import factorial, sqrt

import numpy as np

from .. import rng
from ..laws import Law
from .common import DTYPES, again, check_pickle, quiet
from .findings import Findings, Unjudged, require, run_checks

DRAWS = 200_000
SIGMAS = 6.0
GRID = np.linspace(-60.0, 60.0, 600_001)  # of a density: steps of 2e-4


def check_law(law: Law) -> Findings:
    """Check a law: return `Findings`, or raise `CheckFailed`.

    Its numbers must have mean 0, variance 1, no skewness and the kurtosis that it states, and its
    densities must be those of its numbers: what a zeroth-order estimator averages to follows from
    them (`minizo.laws`).

    Parameters
    ----------
    law : minizo.laws.Law

    Raises
    ------
    CheckFailed
        If a check fails; a sentence says which number is off, by how many standard errors.

    Examples
    --------
    >>> from minizo.laws import LAWS
    >>> found = check_law(LAWS["laplace"])
    >>> [finding.name for finding in found.checks if finding.passed]
    ['contract', 'quiet', 'deterministic', 'pickle', 'moments', 'density', 'zero-bias density']
    """
    checks = {
        "contract": partial(_contract, law),
        "quiet": partial(_quiet, law),
        "deterministic": partial(_deterministic, law),
        "pickle": partial(check_pickle, law),
        "moments": partial(_moments, law),
        "density": partial(_density, law),
        "zero-bias density": partial(_zero_bias, law),
    }
    return run_checks(law, checks)


def _draw(law, count, dtype=np.float64, seed=0):
    return law.sample(rng.at(seed, "noise", 0, 0), np.empty(count, dtype))


def _contract(law):
    require(isinstance(law, Law), f"the law is a {type(law).__name__}, but must be a minizo Law")
    for dtype in DTYPES:
        out = np.empty((3, 50), dtype)
        u = law.sample(rng.at(0, "noise", 0, 0), out)
        require(
            u is out and u.dtype == dtype,
            f"{law.name}.sample must fill the array that it is given, keep its dtype, {dtype}, and "
            "return it",
        )
        require(bool(np.all(np.isfinite(u))), f"{law.name}.sample gives a NaN or an infinity")
    return "fills the array that it is given, float64 and float32"


def _quiet(law):
    quiet(f"{law.name}.sample", lambda: _draw(law, 100))
    return "prints nothing, and draws from the stream alone"


def _deterministic(law):
    answers = [_draw(law, 50, seed=k) for k in range(3)]
    again(f"{law.name}.sample", lambda k: _draw(law, 50, seed=k), answers)
    different = not np.array_equal(_draw(law, 50, seed=0), _draw(law, 50, seed=1))
    require(different, f"{law.name}.sample gives the same numbers for two seeds: use the stream")
    return "the same stream gives the same bits, another one others"


def _moments(law):
    u = _draw(law, DRAWS)
    wanted = {1: ("mean", 0.0), 2: ("variance", 1.0), 3: ("third moment", 0.0),
              4: ("kurtosis", law.kurtosis)}  # fmt: skip
    for power, (what, value) in wanted.items():
        powers = u**power
        error = float(powers.std()) / sqrt(DRAWS)
        gap = float(powers.mean()) - value
        require(
            abs(gap) <= SIGMAS * error + 1e-9 * factorial(power),
            f"the {what} of {law.name} is {powers.mean():.4g} +- {error:.2g}, but it must be "
            f"{value:g}: scale the numbers, or state what they are",
        )
    return f"mean 0, variance 1, no skewness, kurtosis {law.kurtosis:g}"


def _area(values):
    return float(np.sum(values)) * (GRID[1] - GRID[0])


def _density(law):
    if law.pdf is None:
        raise Unjudged("it has no density of its own")
    p = law.pdf(GRID)
    _is_density(law, "pdf", p)
    u = np.sort(_draw(law, DRAWS))
    # Kolmogorov and Smirnov: the largest gap between the two distribution functions
    cumulative = np.interp(u, GRID, np.cumsum(p) * (GRID[1] - GRID[0]))
    gap = float(np.abs(cumulative - (np.arange(DRAWS) + 0.5) / DRAWS).max())
    require(
        gap < SIGMAS / 2.0 / sqrt(DRAWS) + 1e-3,
        f"{law.name}.pdf is not the density of its numbers: the distributions differ by {gap:.2g}",
    )
    return "area 1, and that of the numbers"


def _zero_bias(law):
    q = law.zero_bias_pdf(GRID)
    _is_density(law, "zero_bias_pdf", q)
    variance = _area(GRID**2 * q)
    require(
        abs(variance - law.kurtosis / 3.0) < 0.01 * law.kurtosis,
        f"the variance of {law.name}.zero_bias_pdf is {variance:.4g}, but it must be kurtosis / 3, "
        f"{law.kurtosis / 3.0:.4g}: q(z) = integral from z of s p(s) ds",
    )
    return f"area 1, variance kurtosis / 3 = {law.kurtosis / 3.0:g}"


def _is_density(law, what, values):
    least = float(np.min(values))
    require(
        least >= 0.0, f"{law.name}.{what} is {least:.3g} somewhere, but it must not be negative"
    )
    area = _area(values)
    require(abs(area - 1.0) < 2e-3, f"the area of {law.name}.{what} is {area:.4g}, but must be 1")

"""What seeds say: spread, paired differences with their intervals, and what they could have shown.

Two methods that are compared share their seeds: seed s gives both the same start and the same
batches. So the difference is taken seed by seed, d_s = a_s - b_s, and what a lucky start does for
both falls out of it. Its interval comes from the bootstrap over seeds, studentised and symmetric:

    t* = |mean(d*) - mean(d)| / (sd(d*) / sqrt n),    d* drawn from d with replacement, n of n
    interval = mean(d) -+ t*_(.95) sd(d) / sqrt n

Of 20 normal numbers it holds the mean in 95 of 100 cases, and of 20 heavy-tailed ones, as
differences of losses are, in 96 to 98. Of fewer than `FEW` numbers the bootstrap knows too little:
where three of five nearly agree, one resample in thirteen consists of these alone, and t* has no
end. There t*_(.95) is Student's, which is exact for normal numbers and holds the mean of
heavy-tailed ones more often. (The percentile interval of 5 holds it in some 83 of 100;
tests/test_compare_statistics.py looks at all of this.)

References
----------
P. Hall, "On symmetric bootstrap confidence intervals", Journal of the Royal Statistical Society B,
1988. B. Efron and R. J. Tibshirani, "An introduction to the bootstrap", 1993, section 12.5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

import numpy as np

from ..settings import real, whole

CONFIDENCE = 0.95
POWER = 0.8
FEWEST = 5  # seeds for an interval
FEW = 10  # seeds for the bootstrap; Student's t for fewer
RESAMPLES = 10_000
STREAM = 19_930  # of the bootstrap, the same for every comparison


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Interval of the mean, or ``None`` for fewer than `FEWEST` values.

    Parameters
    ----------
    values : sequence of float
        One of each seed.
    confidence : float
        Share of intervals that hold the true mean, in (0, 1).

    Returns
    -------
    (low, high) : tuple of float, or None
        Equal where all values are. By Student's t of fewer than `FEW` values, and by the bootstrap
        of others, whose resamples are the same at every call.

    Examples
    --------
    >>> low, high = interval([0.1, 0.3, 0.2, 0.4, 0.2, 0.3])
    >>> round(low, 2), round(high, 2)
    (0.14, 0.36)
    >>> interval([0.1, 0.3]) is None
    True
    """
    d = np.asarray(values, dtype=np.float64)
    confidence = real("confidence", confidence, "(0, 1)")
    n, mean = len(d), float(d.mean())
    if n < FEWEST:
        return None
    scale = float(np.ptp(d))
    if scale == 0.0:
        return mean, mean
    # t has no unit: in that of the range, squares of tiny differences do not vanish
    d = (d - d.min()) / scale
    half = scale * _quantile(d, confidence) * float(d.std(ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def _quantile(d, confidence):
    # of |mean(d) - mu| / (sd(d) / sqrt n)
    n = len(d)
    if n < FEW:
        return student(n - 1, confidence)
    drawn = np.random.default_rng(STREAM).integers(0, n, (RESAMPLES, n))
    again = d[drawn]
    deviation, sd = again.std(axis=1, ddof=1), float(d.std(ddof=1))
    # a resample of one value alone (up to rounding) says nothing of the spread: it is left out
    spread_out = deviation > 1e-6 * sd
    t = np.abs(again.mean(axis=1) - d.mean())[spread_out] / (deviation[spread_out] / math.sqrt(n))
    return float(np.quantile(t, confidence))


def student(degrees, confidence=CONFIDENCE):
    """The t with P(abs(T) < t) = confidence for Student's T of so many degrees of freedom.

    References
    ----------
    M. Abramowitz, I. A. Stegun, "Handbook of mathematical functions", 1964, 26.7.3 and 26.7.4.

    Examples
    --------
    >>> round(student(4), 3), round(student(9), 3)
    (2.776, 2.262)
    """

    def within(t):
        angle = math.atan(t / math.sqrt(degrees))
        cosine = math.cos(angle)
        # sin a (1 + 1/2 cos^2 a + (1 3)/(2 4) cos^4 a + ...) for even degrees, and for odd ones
        # 2/pi (a + sin a (cos a + 2/3 cos^3 a + (2 4)/(3 5) cos^5 a + ...))
        odd = degrees % 2
        total, term = 0.0, cosine if odd else 1.0
        for k in range(odd, degrees - 1, 2):
            total += term
            term *= cosine**2 * (k + 1) / (k + 2)
        total *= math.sin(angle)
        return 2.0 / math.pi * (angle + total) if odd else total

    low, high = 0.0, 1.0
    while within(high) < confidence:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if within(middle) < confidence else (low, middle)
    return high


@dataclass(frozen=True)
class Difference:
    """A paired difference between two methods, ours minus theirs.

    Attributes
    ----------
    values : tuple of float
        d_s = ours_s - theirs_s, of the seeds on which neither diverged.
    left_out : int
        Seeds on which at least one diverged.
    mean : float
    interval : (low, high), or None
        See `interval`; ``None`` for fewer than `FEWEST` seeds.
    smallest : float or None
        An estimate of the smallest true difference that so many seeds would have told from 0 with
        a probability of `POWER`: (1 + z_.8 / z_.975) = 1.43 times half the interval. Of 5 and 6
        seeds it is as uncertain as the interval.

    Examples
    --------
    >>> d = paired([0.40, 0.42, 0.39, 0.44, 0.41], [0.45, 0.46, 0.46, 0.47, 0.45])
    >>> round(d.mean, 3), d.verdict
    (-0.046, 'lower')
    >>> paired([0.4], [0.5]).verdict
    'no interval from 1 seed'
    """

    values: tuple
    left_out: int
    mean: float
    interval: tuple | None
    smallest: float | None

    @property
    def verdict(self) -> str:
        """``lower``, ``higher``, ``not different``, or why there is none."""
        if self.interval is None:
            count = len(self.values)
            return f"no interval from {count} seed{'' if count == 1 else 's'}"
        low, high = self.interval
        return "lower" if high < 0.0 else "higher" if low > 0.0 else "not different"

    def in_words(self, digits: int = 2, unit: float = 1.0) -> str:
        """Mean and interval in units of ``unit``: ``+0.32 (+0.24 .. +0.41)``."""
        if not self.values:
            return "-"
        mean, *ends = (f"{x / unit:+.{digits}f}" for x in (self.mean, *(self.interval or ())))
        return f"{mean} ({' .. '.join(ends)})" if ends else mean

    @property
    def star(self) -> str:
        """``" *"`` where 0 lies outside of the interval, else nothing."""
        return " *" if self.verdict in ("lower", "higher") else ""


def paired(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Difference:
    """The `Difference` of two methods over their common seeds.

    Parameters
    ----------
    ours, theirs : sequence of float or None
        One value a seed, in the same order; ``None`` where a run diverged. Such seeds are left out
        of both, which favours the method that diverges.
    """
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    values = tuple(a - b for a, b in pairs)
    left_out = whole("seeds left out", len(ours) - len(pairs), "[0, inf)")
    if not values:
        return Difference((), left_out, math.nan, None, None)
    found = interval(values)
    smallest = None
    if found is not None:
        z = NormalDist().inv_cdf
        smallest = (1.0 + z(POWER) / z(0.5 + CONFIDENCE / 2.0)) * (found[1] - found[0]) / 2.0
    return Difference(values, left_out, fmean(values), found, smallest)


@dataclass(frozen=True)
class Spread:
    """What the seeds of one method give.

    mean, median : float; deviation, error : standard deviation and standard error, ``None`` for one
    seed; largest : of a loss the worst; diverged : how many of them have no value.

    Examples
    --------
    >>> s = spread([0.4, 0.5, None])
    >>> round(s.mean, 3), round(s.error, 3), s.largest, s.diverged
    (0.45, 0.05, 0.5, 1)
    """

    mean: float
    median: float
    deviation: float | None
    error: float | None
    largest: float
    diverged: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """The `Spread` of the values of seeds, ``None`` where a run diverged; ``None`` if all did."""
    good = sorted(value for value in values if value is not None)
    if not good:
        return None
    n = len(good)
    deviation = stdev(good) if n > 1 else None
    error = None if deviation is None else deviation / math.sqrt(n)
    median = (good[(n - 1) // 2] + good[n // 2]) / 2.0
    return Spread(fmean(good), median, deviation, error, good[-1], len(values) - n)

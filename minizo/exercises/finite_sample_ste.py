"""Exercises of notebook 7, *How many samples does a straight-through estimator need?*"""

from math import comb, log, pi, sqrt
from statistics import NormalDist

import numpy as np

from .exercise import judged
from .judging import ask, close, need, same, unlike


def c_of_plus_minus_one():
    """Give c of the identity STE for a neuron that answers -1 or +1, in place of 0 or 1.

    That is the c of E g(q) = c (q - w*), if teacher and student answer sign(x . q).
    """
    return sqrt(2 / pi)


@judged(
    "7.1",
    "A neuron of -1 and +1",
    "a line",
    c_of_plus_minus_one,
    "sign(a) = 2 1{a > 0} - 1. What happens to the difference of two of them?",
)
def _c_of_plus_minus_one(answer):
    same("c", answer, sqrt(2 / pi), 1e-3)
    return "0.798: the answers differ by 2 where they differed by 1, and a wrong sign moves as far."


def samples_of_one_step(n, success, share):
    """Return the N with which one big step finds all n signs with this probability.

    Invert Proposition 3. ``share`` is 1 for the identity STE and 1/2 for the ReLU STE. The inverse
    of Phi is statistics.NormalDist().inv_cdf.
    """
    return pi * n / share * NormalDist().inv_cdf(success ** (1 / n)) ** 2


@judged(
    "7.2",
    "One step, with certainty",
    "ten minutes",
    samples_of_one_step,
    "Each sign has to be right with the n-th root of the probability.",
    "sqrt(N share / (pi n)) is the quantile of that root.",
)
def _samples_of_one_step(answer):
    for n, success, share in ((16, 0.5, 1.0), (16, 0.5, 0.5), (64, 0.99, 1.0), (512, 0.9, 0.5)):
        got = ask(answer, n, success, share)
        wanted = samples_of_one_step(n, success, share)
        unlike(
            got,
            pi * n / share * NormalDist().inv_cdf(success) ** 2,
            "with so many samples *one* sign is right with this probability; all n have to be",
            1e-3,
        )
        need(
            not close(got, sqrt(wanted), 1e-3)
            and not close(got, pi * n / share * NormalDist().inv_cdf(success ** (1 / n)), 1e-3),
            "Phi's argument is the root of N / (pi n): square it",
        )
        same(f"N for n = {n}, a success of {success} and a share of {share:g}", got, wanted, 1e-3)
    return "At n = 64, 1,062 samples find all signs half of the time, and 2,611 in 99 of 100 runs."


def samples_to_stay(n, sigma, home):
    """Return the N with which a share ``home`` of the time is spent at w*, in the mean.

    The labels have noise of standard deviation ``sigma`` (section 5; the identity STE).
    """
    return n**3 * sigma**2 / (4 * log(home) ** 2)


@judged(
    "7.3",
    "Enough samples to stay",
    "a line",
    samples_to_stay,
    "home = exp(-n^(3/2) sigma / (2 sqrt(N))): take the logarithm.",
    "sqrt(N) = -n^(3/2) sigma / (2 ln home)",
)
def _samples_to_stay(answer):
    for n, sigma, home in ((16, 0.4, 0.9), (32, 0.4, 0.9), (16, 0.1, 0.5)):
        got = ask(answer, n, sigma, home)
        wanted = samples_to_stay(n, sigma, home)
        unlike(np.abs(got), sqrt(wanted), "this is the root of N: square it", 1e-3)
        same(f"N for n = {n}, noise {sigma:g} and {home:.0%} of the time at w*", got, wanted, 1e-3)
    return "n^3: twice as many weights ask for 8 times as many samples to be left alone."


def escapes():
    """Let the step of section 5 be ten times as large. By which number are the escapes multiplied?

    Latent weights start within a step of 0, so that they, too, are ten times as large. Try
    ``recurrence.occupancy(setup, identity, 16, 1000, (0.4,), 3, 6, move=0.317)``.
    """
    return 1


@judged(
    "7.4",
    "Ten times the step",
    "a line",
    escapes,
    "p_i is a ratio of two lengths. Both grow with eta.",
)
def _escapes(answer):
    same("the factor", answer, 1)
    return (
        "Nothing but signs is computed with, and w / eta moves in the same way whatever eta is. "
        "A smaller step does not calm the recurrence: more samples do."
    )


def majority(p, k):
    """Return the probability that a majority of ``k`` stops gets every sign right; k is odd.

    The noisy run is stopped at k times, far apart, and each sign is what it was at more than half
    of them. Coordinate i is wrong at a stop with probability p_i, ``p`` is (n,), independently of
    the other coordinates and stops.
    """
    return np.prod(
        [
            sum(comb(k, wrong) * q**wrong * (1 - q) ** (k - wrong) for wrong in range((k + 1) // 2))
            for q in p
        ]
    )


@judged(
    "7.5",
    "Stop at three times",
    "ten minutes",
    majority,
    "How many of k stops are wrong at coordinate i is binomial.",
    "The coordinates are independent: take the product over them.",
)
def _majority(answer):
    p = np.array([0.0, 0.1, 0.3, 0.45, 0.05])
    got = ask(answer, p, 1)
    need(np.shape(got) != p.shape, "this is of each coordinate: all of them have to be right")
    same("the probability of a single stop", got, np.prod(1 - p))
    for k in (3, 9, 51):
        got = np.asarray(ask(answer, p, k))
        wanted = majority(p, k)
        unlike(got, np.prod(1 - p) ** k, "this asks that every stop is right everywhere", 1e-3)
        unlike(
            got,
            1 - (1 - np.prod(1 - p)) ** k,
            "this asks that one stop at least is right everywhere, but nobody knows which",
            1e-3,
        )
        unlike(
            got,
            majority(np.array([1 - np.prod(1 - p)]), k),
            "this asks that more than half of the stops are right everywhere; each coordinate has "
            "a majority of its own",
            1e-3,
        )
        same(f"the probability with {k} stops", got, wanted)
    return "Three stops beat one as soon as some p_i > 0, if all p_i < 1/2: 3 p^2 - 2 p^3 < p."


def together(a, k, n):
    """Return the time at sgn(w*) if k weights of a real teacher have one magnitude, a / sqrt(n).

    ``a`` is below 1, and all the other weights are larger than 1 / sqrt(n). The latent weights
    start at equal distances from 0, on the right side (section 5.1). To try it, give teachers of
    your own to ``teacher.run_teacher(setup, w)``: w is (teachers, n), each row of length 1.
    """
    return 1 - (1 - a) / 2


@judged(
    "7.6",
    "Equal magnitudes",
    "ten minutes",
    together,
    "p_i = (1 - a) / 2 for each of the k, and 0 for the others.",
    "Two coordinates with one start and one step make the same moves.",
)
def _together(answer):
    for a, k, n in ((0.4, 3, 8), (0.8, 5, 16)):
        got, p = ask(answer, a, k, n), (1 - a) / 2
        unlike(
            got,
            (1 - p) ** k,
            "this is the product law, which asks that the p_i be rationally independent; these "
            "coordinates go round together",
            1e-3,
        )
        unlike(
            got,
            1 - k * p,
            "this is the union bound, which is met if no two are ever wrong at the same time; "
            "these are wrong at the same times",
            1e-3,
        )
        unlike(got, p, "this is the time away from it", 1e-3)
        same(f"the time for {k} weights with a = {a:g}", got, 1 - p)
    return "Other starts reach as little as 1 - k p: it depends on the start for ever."


def ratio_of_starts():
    """With ``"gaussian"`` for ``"equal"`` in section 3, some latent weights start very near 0.

    By which factor does that multiply N_50 of the last iterate at n = 64? Guess, then measure:
    ``recovery.sweep`` takes the start as its last argument, and the cell there has the rest.
    """
    return 1.04


@judged(
    "7.7",
    "Starts near zero",
    "ten minutes",
    ratio_of_starts,
    'recovery.sweep(setup, 64, "gaussian") returns the grid of N and the shares.',
    "recovery.half_point(np.array(grid, float), last.mean(axis=1))",
)
def _ratio_of_starts(answer):
    same("the factor", answer, 1.05, 0.15)
    return "Hardly at all: it is 0.99, 1.03 and 1.04 at n = 16, 32 and 64, for the seed here."

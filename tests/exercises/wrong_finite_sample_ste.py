"""Wrong answers to the exercises of notebook 7, each with a part of what is said of it."""

from math import comb, log, pi, sqrt
from statistics import NormalDist

import numpy as np

quantile = NormalDist().inv_cdf


def of_one_sign(n, success, share):
    return pi * n / share * quantile(success) ** 2


def not_squared(n, success, share):
    return pi * n / share * quantile(success ** (1 / n))


def share_upside_down(n, success, share):
    return pi * n * share * quantile(success ** (1 / n)) ** 2


def root(n, sigma, home):
    return -(n**1.5) * sigma / (2 * log(home))


def no_two(n, sigma, home):
    return n**3 * sigma**2 / log(home) ** 2


def n_squared(n, sigma, home):
    return n**2 * sigma**2 / (4 * log(home) ** 2)


def stops(q, k):
    return sum(comb(k, wrong) * q**wrong * (1 - q) ** (k - wrong) for wrong in range((k + 1) // 2))


def of_each(p, k):
    return np.array([stops(q, k) for q in p])


def every_stop(p, k):
    return np.prod(1 - p) ** k


def one_stop(p, k):
    return 1 - (1 - np.prod(1 - p)) ** k


def of_whole_vectors(p, k):
    return stops(1 - np.prod(1 - p), k)


def wrong_majority(p, k):
    return 1 - np.prod(of_each(p, k))


def product_law(a, k, n):
    return (1 - (1 - a) / 2) ** k


def union_bound(a, k, n):
    return 1 - k * (1 - a) / 2


def away(a, k, n):
    return (1 - a) / 2


def without_half(a, k, n):
    return a


WRONG = {
    "7.1": [(1 / sqrt(2 * pi), "half of"), (2 * sqrt(2 / pi), "twice"), (1.0, "too large")],
    "7.2": [
        (of_one_sign, "*one* sign is right"),
        (not_squared, "square it"),
        (share_upside_down, "a share of 0.5 is a quarter of what it should be"),
    ],
    "7.3": [
        (root, "the root of N"),
        (no_two, "four times what it should be"),
        (n_squared, "too small"),
    ],
    "7.4": [(10, "too large"), (0.1, "too small")],
    "7.5": [
        (of_each, "all of them have to be right"),
        (every_stop, "every stop is right everywhere"),
        (one_stop, "nobody knows which"),
        (of_whole_vectors, "a majority of its own"),
        (wrong_majority, "the probability of a single stop"),
    ],
    "7.6": [
        (product_law, "go round together"),
        (union_bound, "wrong at the same times"),
        (away, "the time away"),
        (without_half, "too small"),
    ],
    "7.7": [(2, "too large"), (0.5, "too small")],
}

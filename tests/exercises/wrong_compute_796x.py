"""Wrong answers to the exercises of notebook 2, each with a part of what is said of it."""

import numpy as np


def by_argmax(amounts, losses, goal):
    return amounts[np.argmax(losses <= goal)]


def last_above(amounts, losses, goal):
    there = losses <= goal
    return amounts[np.flatnonzero(~there)[-1] + 1] if there[-1] else np.inf


def strictly(amounts, losses, goal):
    there = np.flatnonzero(losses < goal)
    return amounts[there[0]] if len(there) else np.inf


def for_good(amounts, losses, goal):  # where it stays below
    above = np.flatnonzero(losses > goal)
    if not len(above):
        return amounts[0]
    return amounts[above[-1] + 1] if above[-1] + 1 < len(losses) else np.inf


def arithmetic(spsa, fogzo):
    return np.mean(spsa / fogzo)


def of_sums(spsa, fogzo):
    return np.sum(spsa) / np.sum(fogzo)


def middle(spsa, fogzo):
    return np.median(spsa / fogzo)


def each(spsa, fogzo):
    return spsa / fogzo


def plain_interval(ratios, t):
    half = t * np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    return np.mean(ratios) - half, np.mean(ratios) + half


def _around(ratios, half):
    middle = np.mean(np.log(ratios))
    return np.exp(middle - half), np.exp(middle + half)


def population(ratios, t):
    return _around(ratios, t * np.std(np.log(ratios)) / np.sqrt(len(ratios)))


def of_seeds(ratios, t):
    return _around(ratios, t * np.std(np.log(ratios), ddof=1))


def one_error(ratios, t):
    return _around(ratios, np.std(np.log(ratios), ddof=1) / np.sqrt(len(ratios)))


def remaining(loss, n, lower, more):
    return lower - (loss - lower) / (more / n - 1)


def from_the_first(loss, n, lower, more):
    return (loss - lower) / (1 - n / more)


def no_guide_length(slope, guide, beta):
    unit = guide / np.linalg.norm(guide)
    return beta * unit + (1 - beta) * slope


def long_guide(slope, guide, beta):
    return beta * (slope @ guide) * guide + (1 - beta) * slope


def rooted(slope, guide, beta):
    unit = guide / np.linalg.norm(guide)
    return np.sqrt(beta) * (slope @ unit) * unit + np.sqrt(1 - beta) * slope


def squared_sizes(sizes, eps, lengths):
    return np.sum((eps * lengths) ** 2) * np.sum((sizes / eps) ** 2) / np.sum(lengths**2)


def no_sizes(sizes, eps, lengths):
    return np.sum((eps * lengths) ** 2) * np.sum(1 / eps**2) / np.sum(lengths**2)


def not_weighted(sizes, eps, lengths):
    return np.mean(eps**2) * np.sum(sizes / eps**2)


WRONG = {
    "2.1": [(16, "a tenth of the queries"), (10, "3 passes of 23"), (15, "too large")],
    "2.2": [
        (by_argmax, "infinity is asked for"),
        (strictly, "exactly a record's loss"),
        (for_good, "in a run that rises again"),
        (last_above, "in a run that rises again"),
    ],
    "2.3": [
        (arithmetic, "whose product is not 1"),
        (of_sums, "average the logarithms"),
        (middle, "average the logarithms"),
        (each, "the mean of equal ratios has the shape (7,)"),
    ],
    "2.4": [
        (plain_interval, "low times high should be its square"),
        (population, "divide by n - 1"),
        (of_seeds, "95 % of seeds"),
        (one_error, "0.36 times as wide"),
    ],
    "2.5": [(remaining, "the loss that remains"), (from_the_first, "is 0.04444: too large")],
    "2.6": [
        (no_guide_length, "the length is lost"),
        (long_guide, "the guide's length counts"),
        (rooted, "E[G] at beta = 0.7 differs"),
    ],
    "2.7": [
        (squared_sizes, "with one eps everywhere,"),
        (no_sizes, "too small"),
        (not_weighted, "nine times as large"),
    ],
    "2.8": [(0.6, "at 0.6 it is 736"), (0.45, "none of the losses"), (1.5, "1084")],
}

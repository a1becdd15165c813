"""Exercises of notebook 2, *796 times less computation?*."""

import numpy as np

from .exercise import judged
from .judging import ask, need, same, times, unlike


def cheap_guide():
    """From which n on does the STE gradient take less than a tenth of FOGZO's step?

    Count passes: 2n queries, one forward, and one backward that costs two forwards.
    """
    return 14


@judged(
    "2.1",
    "When the guide is cheap",
    "a line",
    cheap_guide,
    "A step takes 2n + 3 passes, of which 3 are the guide's.",
)
def _cheap_guide(answer):
    need(answer != 16, "that is a tenth of the queries; the step has the guide's passes, too")
    need(answer != 10, "with n = 10 it is 3 passes of 23, or 13 %: that is why 692 is not 796")
    same("n", answer, cheap_guide())
    return "3 passes of 31. With one direction they are 3 of 5: there 796 becomes 318."


def cost_to(amounts, losses, goal):
    """Return the first of ``amounts``, (records,), at which the loss is at most ``goal``.

    ``losses`` is (records,); ``numpy.inf`` where the run never gets there.
    """
    there = np.flatnonzero(losses <= goal)
    return amounts[there[0]] if len(there) else np.inf


@judged(
    "2.2",
    "Cost to a loss",
    "a line",
    cost_to,
    "losses <= goal says where; np.flatnonzero has the places.",
    "np.argmax of an array in which nothing is true is 0: take care of that case.",
)
def _cost_to(answer):
    amounts = np.array([0.0, 10, 20, 30, 40, 50])
    losses = np.array([2.3, 1.4, 0.9, 1.2, 0.8, 1.1])
    need(
        ask(answer, amounts, losses, 0.5) == np.inf,
        "a run that never gets to a loss of 0.5 has a cost: infinity is asked for",
    )
    says = "the cost to a loss of 1.0, in a run that rises again,"
    same(says, ask(answer, amounts, losses, 1.0), 20.0)
    same("the cost to exactly a record's loss", ask(answer, amounts, losses, 1.4), 10.0)
    same("the cost to the loss of the start", ask(answer, amounts, losses, 3.0), 0.0)
    return "A noisy run gets there early by luck, which is one more decision in a ratio."


def mean_ratio(spsa, fogzo):
    """Return one number for the ratio spsa : fogzo of the seeds, (seeds,) each.

    It is to be such that ``mean_ratio(fogzo, spsa)`` is 1 over it, and is the ratio itself where
    that is the same for all seeds.
    """
    return np.exp(np.mean(np.log(spsa / fogzo)))


@judged(
    "2.3",
    "The mean of ratios",
    "a line",
    mean_ratio,
    "2 and 1/2 should give 1.",
    "The logarithm of 1/r is minus that of r.",
)
def _mean_ratio(answer):
    random = np.random.default_rng(21)
    spsa, fogzo = 900 * np.exp(random.standard_normal((2, 7)))
    same("the mean of equal ratios", ask(answer, 796 * fogzo, fogzo), 796.0)
    forth, back = ask(answer, spsa, fogzo), ask(answer, fogzo, spsa)
    need(np.shape(forth) == (), "one number is asked for, for all seeds together")
    need(
        abs(forth * back - 1) < 1e-9,
        f"it is {forth:.3g} the one way round and {back:.3g} the other, whose product is not 1",
    )
    need(
        abs(forth - np.median(spsa / fogzo)) > 1e-9
        and abs(forth - np.sum(spsa) / np.sum(fogzo)) > 1e-9,
        "it does turn over, but it is not the geometric mean: average the logarithms",
    )
    same("the mean ratio", forth, mean_ratio(spsa, fogzo))
    return "The geometric mean: the mean of ratios would favour whoever stands above the line."


def ratio_interval(ratios, t):
    """Return (low, high), the 95 % interval of the geometric mean of ``ratios``, (seeds,).

    ``t`` is Student's quantile: 2.776 for five seeds.
    """
    logs = np.log(ratios)
    half = t * np.std(logs, ddof=1) / np.sqrt(len(logs))
    return np.exp(np.mean(logs) - half), np.exp(np.mean(logs) + half)


@judged(
    "2.4",
    "Its interval",
    "ten minutes",
    ratio_interval,
    "Take the usual interval of a mean, for the logarithms.",
    "mean +- t s / sqrt(n), with s^2 the sum of squares over n - 1. Then np.exp.",
)
def _ratio_interval(answer):
    ratios = np.array([870.0, 1200.0, 2100.0, 640.0, 1500.0])
    got, wanted = ask(answer, ratios, 2.776), ratio_interval(ratios, 2.776)
    need(np.shape(got) == (2,), "two numbers are asked for, low and high")
    middle, width = np.mean(np.log(ratios)), np.log(wanted[1] / wanted[0])
    need(got[0] > 0, "low is not even positive: a ratio's interval is one of its logarithm")
    need(
        abs(np.log(got[0] * got[1]) / 2 - middle) < 1e-6,
        "the geometric mean is not in its middle: low times high should be its square",
    )
    factor = float(np.log(got[1] / got[0]) / width)
    need(
        abs(factor - np.sqrt(0.8)) > 1e-3,
        "the deviation is that of 5 numbers with a known mean: divide by n - 1",
    )
    need(
        abs(factor - np.sqrt(5)) > 1e-3,
        "this holds 95 % of seeds, not of means: a mean of n varies less",
    )
    need(abs(factor - 1) < 1e-6, f"the interval is {times(factor)} as wide, in logarithms")
    return "With five seeds the ends are a factor of 3 apart: 796 could be 450, or 1,400."


def still_to_gain(loss, n, lower, more):
    """Return by how much infinitely many directions would lower the loss ``lower``.

    n directions ended at ``loss``, and ``more`` at ``lower``; the noise's part falls with 1/n.
    """
    return (loss - lower) / (more / n - 1)


@judged(
    "2.5",
    "Is it variance?",
    "ten minutes",
    still_to_gain,
    "L(n) = L + c/n, with two unknown numbers and two equations.",
    "loss - lower = c (1/n - 1/more), and c/more is asked for.",
)
def _still_to_gain(answer):
    for loss, n, lower, more in ((0.55, 796, 0.51, 7960), (1.0, 1, 0.8, 2), (0.7, 100, 0.4, 400)):
        got = ask(answer, loss, n, lower, more)
        wanted = still_to_gain(loss, n, lower, more)
        says = f"what is left at n = {more}, with n = {n} before,"
        need(
            abs(got - (lower - wanted)) > 1e-9 or abs(got - wanted) < 1e-9,
            f"{says} is to be the gain, and this is the loss that remains",
        )
        same(says, got, wanted)
    return "0.004 nats for the first: variance is not what keeps n-SPSA above the STE."


def mean_direction(slope, guide, beta):
    """Return E[G], (d,), of FOGZO for a linear loss F(x) = slope . x.

    G = 1/n sum_i (slope . v_i) v_i, with v_i = sqrt(beta) s_i guide/||guide|| + sqrt(1 - beta) u_i,
    E u_i = 0 and E u_i u_i^T = 1. ``slope`` and ``guide`` are (d,).
    """
    unit = guide / np.linalg.norm(guide)
    return beta * (slope @ unit) * unit + (1 - beta) * slope


@judged(
    "2.6",
    "What FOGZO estimates",
    "ten minutes",
    mean_direction,
    "E[G] = E[v v^T] slope.",
    "s^2 = 1, and the products of s with u average to 0.",
)
def _mean_direction(answer):
    random = np.random.default_rng(22)
    slope, guide = random.standard_normal((2, 6))
    same("E[G] at beta = 0", ask(answer, slope, guide, 0.0), slope)
    unit = guide / np.linalg.norm(guide)
    at_one = ask(answer, slope, guide, 1.0)
    unlike(at_one, unit, "at beta = 1 the length is lost: it is the slope along the guide")
    unlike(
        at_one,
        (slope @ guide) * guide,
        "at beta = 1 the guide's length counts: in v it has the length 1",
    )
    same("E[G] at beta = 1", at_one, (slope @ unit) * unit)
    same("E[G] at beta = 0.7", ask(answer, slope, guide, 0.7), mean_direction(slope, guide, 0.7))
    return "For a guide that is right this is the slope itself. Else beta hides the rest of it."


def effective(sizes, eps, lengths):
    """Return d_eff of section 5. Layer l has sizes[l] parameters, one eps[l], and the gradient's
    length lengths[l] (all three: arrays of one number a layer).

    The norms of section 5 run over parameters: ||1/eps||^2 sums 1/eps^2 over all of them.
    """
    return np.sum((eps * lengths) ** 2) * np.sum(sizes / eps**2) / np.sum(lengths**2)


@judged(
    "2.7",
    "Effective parameters",
    "ten minutes",
    effective,
    "||eps g||^2 is the sum over layers of eps^2 times the squared length.",
    "A layer adds sizes/eps^2 to ||1/eps||^2.",
)
def _effective(answer):
    sizes, lengths = np.array([7850.0, 110.0]), np.array([0.3, 0.5])
    same("d_eff, with one eps everywhere,", ask(answer, sizes, np.full(2, 0.05), lengths), 7960.0)
    eps = np.array([0.02, 0.18])
    got, wanted = ask(answer, sizes, eps, lengths), effective(sizes, eps, lengths)
    once = np.sum((eps * lengths) ** 2) * np.sum((sizes / eps) ** 2) / np.sum(lengths**2)
    need(abs(got - once) > 1, "the sizes are squared: sum over parameters, many in a layer")
    same("d_eff, with an eps nine times as large in the second layer,", got, wanted)
    three = np.array([10.0, 20, 30]), np.array([1.0, 2, 3]), np.array([3.0, 2, 1])
    same("d_eff of three layers", ask(answer, *three), effective(*three))
    return f"{wanted:,.0f} in place of 7,960, with a ratio of 9 between two layers."


def least_ratio():
    """In the last table of section 3, at which of its losses is the ratio of computations least?

    n-SPSA n=796 : FOGZO n=1, beta 1 to .999.
    """
    return 0.65


@judged(
    "2.8",
    "At which loss?",
    "ten minutes",
    least_ratio,
    "Divide two rows of the table. Mind G and M.",
)
def _least_ratio(answer):
    ratios = {1.5: 1084, 1.2: 864, 1.0: 836, 0.8: 692, 0.7: 653, 0.65: 645, 0.6: 736}
    need(answer in ratios, f"{answer} is none of the losses to which both get: {[*ratios]}")
    need(answer == least_ratio(), f"at {answer} it is {ratios[answer]}, and there is a smaller one")
    return "645 there, 836 at a loss of 1.0 and 1,084 at 1.5: one number is a point of this curve."

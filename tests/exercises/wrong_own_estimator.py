"""Wrong answers to the exercises of notebook 10, each with a part of what is said of it."""

import math
from dataclasses import dataclass

import numpy as np

from minizo import STE, Estimate
from minizo.exercises.own_estimator import AheadIfLower, AheadMomentum
from minizo.norms import unit


def two_groups(ours, theirs):
    return np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / len(ours))


def of_n(ours, theirs):
    return np.std(ours - theirs) / np.sqrt(len(ours))


def no_root(ours, theirs):
    return np.std(ours - theirs, ddof=1)


def one_seed(mean, sd, n):
    return 0.5 * math.erfc(abs(mean) / sd / math.sqrt(2))


def right_sign(mean, sd, n):
    return 1 - 0.5 * math.erfc(abs(mean) * math.sqrt(n / 2) / sd)


def both_tails(mean, sd, n):
    return math.erfc(abs(mean) * math.sqrt(n / 2) / sd)


def no_power(effect, sd):
    return math.ceil((1.960 * sd / effect) ** 2)


def not_whole(effect, sd):
    return ((1.960 + 0.842) * sd / effect) ** 2


def not_squared(effect, sd):
    return math.ceil((1.960 + 0.842) * sd / effect)


def least(k, sd, seeds):
    draws = np.random.default_rng(0).standard_normal((100_000, k))
    return np.min(draws, axis=1).mean() * sd / np.sqrt(seeds)


def no_seeds(k, sd, seeds):
    return -least(k, sd, 1)


def by_passes(network, forwards, backwards, steps):
    return 2 * steps // (forwards + backwards)


def forwards_only(network, forwards, backwards, steps):
    return steps // forwards


class Empty: ...


@dataclass(frozen=True)
class Forgetful(AheadMomentum):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, _ = super().estimate(objective, theta, batch, 0.0 * theta, step)
        return estimate, state


@dataclass(frozen=True)
class Cheap(AheadMomentum):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        return estimate._replace(forwards=1, backwards=1), state


@dataclass(frozen=True)
class OnlyEstimate(AheadMomentum):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        return super().estimate(objective, theta, batch, state, step)[0]


@dataclass(frozen=True)
class Always(STE):
    h: float = 0.03
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        loss, g, seen = objective.ste_gradient(theta, batch)
        grad = objective.ste_gradient(theta - self.h * unit(g), batch).gradient
        return Estimate(grad, loss, forwards=2, backwards=2, statistics=seen), state


@dataclass(frozen=True)
class Thrice(AheadIfLower):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        loss, g, seen = objective.ste_gradient(theta, batch)
        place = theta - self.h * unit(g)
        there = objective.evaluate(place, batch)
        ahead = objective.ste_gradient(place, batch).gradient
        grad = np.where((there < loss)[..., None], ahead, g)
        return Estimate(grad, loss, forwards=3, backwards=2, statistics=seen), state


@dataclass(frozen=True)
class ForAll(AheadIfLower):
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        loss, g, seen = objective.ste_gradient(theta, batch)
        there, ahead, _ = objective.ste_gradient(theta - self.h * unit(g), batch)
        grad = ahead if np.mean(there) < np.mean(loss) else g
        return Estimate(grad, loss, forwards=2, backwards=2, statistics=seen), state


WRONG = {
    "10.1": [
        (two_groups, "two groups that share no seeds"),
        (of_n, "divide by n - 1"),
        (no_root, "smaller by sqrt(n)"),
    ],
    "10.2": [
        (one_seed, "that of one seed alone"),
        (right_sign, "that of the right sign"),
        (both_tails, "counts both tails"),
    ],
    "10.3": [
        (no_power, "one of two comparisons"),
        (not_whole, "not whole"),
        (not_squared, "too small"),
    ],
    "10.4": [(least, "is below 0"), (no_seeds, "three seeds, is 0.0")],
    "10.5": [(by_passes, "counts a backward pass"), (forwards_only, "half of")],
    "10.6": [
        (Empty, "nothing is there yet"),
        (Forgetful, "nothing of the first is in the state"),
        (Cheap, "check_estimator says"),
        (OnlyEstimate, "two things"),
    ],
    "10.7": [
        (Empty, "nothing is there yet"),
        (Always, "your rule looks ahead in 12 of 12 steps"),
        (Thrice, "takes 3 forwards"),
        (ForAll, "each is to decide alone"),
    ],
}

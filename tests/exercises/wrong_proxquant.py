"""Wrong answers to the exercises of notebook 6, each with a part of what is said of it."""

import numpy as np


def sign(x):
    return np.where(x >= 0, 1.0, -1.0)


def clipped_sum(gradient, theta0, rate, clip, steps):
    theta, start, agree = theta0, theta0, 0
    for t in range(steps):
        agree += np.array_equal(sign(theta), sign(start))
        step = rate * gradient(sign(theta), t)
        theta = np.clip(theta - step, -clip, clip)
        start = np.clip(start - step, -clip, clip)
    return agree / steps


def at_latents(gradient, theta0, rate, clip, steps):
    for t in range(steps):
        gradient(theta0, t)
    return 1.0


def sum_starts_late(gradient, theta0, rate, clip, steps):
    theta, total, agree = theta0, 0.0, 0
    for t in range(steps):
        step = rate * gradient(sign(theta), t)
        total = total + step
        agree += np.array_equal(sign(theta), sign(theta0 - total))
        theta = np.clip(theta - step, -clip, clip)
    return agree / steps


def prox_two(x, lam):
    return x - np.clip(x - sign(x), -lam, lam)


def unstopped(x, lam):
    q = np.clip(np.round(x), -1, 1)
    return x - lam * np.sign(x - q)


def unclipped_levels(x, lam):
    return x - np.clip(x - np.round(x), -lam, lam)


def steps_of_l1(distance, lam, tolerance):
    return int(np.ceil((distance - tolerance) / lam))


def not_whole(distance, lam, tolerance):
    return np.log(distance / tolerance) / np.log(1 + lam)


def rounded_down(distance, lam, tolerance):
    return int(np.log(distance / tolerance) / np.log(1 + lam))


def phi(lam, eta, a):
    return lam * eta * a / (2 - eta * a)


def without_a(lam, eta, a):
    return 2 * lam / (2 - eta)


def fixed_point(A, b, s):
    return bool(np.all(s * (A @ s + b) <= 0))


def half_curvature(A, b, s):
    return bool(np.all(s * (A @ s + b) <= np.diag(A) / 2))


def always(A, b, s):
    return True


WRONG = {
    "6.1": [(1000, "1,000 = 8 * 125"), (1001, "is 1001: too small"), (2048, "twice")],
    "6.2": [
        (clipped_sum, "the share with clip = 0.2"),
        (at_latents, "and BinaryConnect at their signs"),
        (sum_starts_late, "the share without a clip"),
    ],
    "6.3": [
        (prox_two, "away from 0, which is a level"),
        (unstopped, "goes beyond the level"),
        (unclipped_levels, "differs in"),
    ],
    "6.4": [
        (steps_of_l1, "the number of steps of L1"),
        (not_whole, "not a whole number"),
        (rounded_down, "too small"),
    ],
    "6.5": [(phi, "is 0.125: too small"), (without_a, "that of a = 1")],
    "6.6": [
        (fixed_point, "theorem 5.3's condition"),
        (half_curvature, "of 200 answers are wrong"),
        (always, "you find 200 signs"),
    ],
    "6.7": [
        (lambda pull, rate, steps: pull / (rate * steps), "for a constant lambda"),
        (lambda pull, rate, steps: 2 * pull / (rate * steps * (steps + 1)), "stop one before"),
        (lambda pull, rate, steps: pull / (rate * steps * (steps - 1)), "half of"),
    ],
    "6.8": [("hardness", "so that it is not hard"), ("both", "neither laziness nor hardness")],
}

"""Wrong answers to the exercises of notebook 5, each with a part of what is said of it."""

import numpy as np


def product_of_sums(matrices):
    return float(np.prod([matrix.sum() for matrix in matrices]))


def other_order(matrices):
    c = np.eye(1)
    for matrix in matrices:
        c = c @ matrix
    return float(c[0, 0])


def of_c(r, slope, g, a, eta):
    return -eta * np.sum(r * slope * g)


def no_slope(r, slope, g, a, eta):
    return -eta * np.exp(a) * np.sum(r * g)


def uphill(r, slope, g, a, eta):
    return eta * np.exp(a) * np.sum(r * slope * g)


def each(r, slope, g, a, eta):
    return -eta * np.exp(a) * r * slope * g


def first_order(u, v, delta):
    return delta * np.sum(np.abs(u) + np.abs(v))


def all_upwards(u, v, delta):
    return np.sum((u + delta) * (v + delta)) - np.sum(u * v)


def by_halves(a, x):
    return 1 / a.max(), 2 / (a.min() + a.max())


def stable(a, x):
    g = a * x
    return g @ g / (g @ (a * g)), 2 / a.max()


WRONG = {
    "5.1": [(product_of_sums, "the matrices' sums"), (other_order, "stops with")],
    "5.2": [
        (of_c, "exp(a) is missing"),
        (no_slope, "forgets the slope"),
        (uphill, "the wrong sign"),
        (each, "one number"),
    ],
    "5.3": [
        (first_order, "the product of both moves is missing"),
        (all_upwards, "not all derivatives are positive"),
        (lambda u, v, delta: delta, "one number"),
    ],
    "5.4": [
        (lambda y, w: y * w, "half closed"),
        (lambda y, w: y / 2, "the chain rule"),
        (lambda y, w: 0.0, "is 0"),
    ],
    "5.5": [("i", "closes the gate"), ("both", "neither i nor ii")],
    "5.6": [
        (lambda a, eta: 2 / (eta * a), "what it was before"),
        (lambda a, eta: 1 / a, "too small"),
    ],
    "5.7": [
        (stable, "the largest curvature alone"),
        (by_halves, "the rate for one step"),
        (lambda a, x: 0.1, "two numbers"),
    ],
}

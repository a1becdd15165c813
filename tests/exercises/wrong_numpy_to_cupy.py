"""Wrong answers to the exercises of notebook 9, each with a part of what is said of it."""

import numpy as np


def one_norm(g, xp):
    norm = xp.sqrt(xp.sum(g * g))
    return g / xp.where(norm > 0.0, norm, xp.ones_like(norm))


def by_zero(g, xp):
    return g / xp.sqrt(xp.sum(g * g, axis=-1, keepdims=True))


def looking(g, xp):
    rows = []
    for i in range(g.shape[0]):
        norm = xp.sqrt(xp.sum(g[i, :] * g[i, :]))
        rows.append(g[i, :] / norm if norm > 0.0 else g[i, :])
    return xp.stack(rows)


def only_numpy(g, xp):
    norm = xp.sqrt(xp.sum(g * g, axis=-1))[:, None]
    return g / np.where(norm > 0.0, norm, 1.0)


def plain_sum(x):
    total = np.float32(0)
    for number in x:
        total = total + number
    return total


def wrong_way(x):
    total = lost = np.float32(0)
    for number in x:
        number = number + lost
        new = total + number
        lost = (new - total) - number
        total = new
    return total


WRONG = {
    "9.1": [
        ((100, 100), "one operation still"),
        ((1, 1000), "the second factor"),
        (1, "2 numbers are asked for"),
    ],
    "9.2": [
        (lambda o, s, m, v, t, b: o * s + m / v + t / b, "at the same time"),
        (lambda o, s, m, v, t, b: max(m / v, t / b), "too small"),
    ],
    "9.3": [
        (lambda o, s, m, v: m / (o * s * v), "turn it over"),
        (lambda o, s, m, v: s * v / m, "too small"),
    ],
    "9.4": [
        (one_norm, "that of the whole array"),
        (by_zero, "divided by 0"),
        (looking, "the host looks at one (__bool__)"),
        (only_numpy, "the strict library says"),
    ],
    "9.5": [(1e-45, "a subnormal"), (1.19209290e-07, "`eps`"), (1e-30, "too large")],
    "9.6": [
        (lambda d, itemsize: 4 * d * itemsize, "what is written is missing"),
        (lambda d, itemsize: 7 * d, "itemsize bytes"),
        (lambda d, itemsize: 6 * d * itemsize, "too small"),
    ],
    "9.7": [
        (plain_sum, "what was rounded away is lost"),
        (wrong_way, "what was rounded away is lost"),
        (lambda x: np.sum(x, dtype=np.float64), "float64"),
    ],
}

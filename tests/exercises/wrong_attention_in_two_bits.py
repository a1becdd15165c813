"""Wrong answers to the exercises of notebook 11, each with a part of what is said of it."""

import numpy as np


def diagonal(p, dp):
    return p * (1 - p) * dp


def no_sum(p, dp):
    return p * dp


def down_the_columns(p, dp):
    return p * (dp - np.sum(p * dp, axis=0, keepdims=True))


def last_only(predict, x):
    other = x.copy()
    other[0, -1] = (x[0, -1] + 1) % 5
    return bool(np.any(predict(other)[0, :-1] != predict(x)[0, :-1]))


def own_place_too(predict, x):
    other = x.copy()
    other[0, -1] = (x[0, -1] + 1) % 5
    return bool(np.any(predict(other) != predict(x)))


def amount(predict, x):
    return np.abs(predict((x + 1) % 5) - predict(x)).max()


def _halves(x, base, sign=1, first=0):
    T, D = x.shape
    angle = sign * np.arange(first, T + first)[:, None] * base ** (-2 * np.arange(D // 2) / D)
    return x[:, : D // 2], x[:, D // 2 :], np.cos(angle), np.sin(angle)


def _turned(x, base, sign=1, first=0):
    a, b, cos, sin = _halves(x, base, sign, first)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=1)


def back(x, base):
    return _turned(x, base, -1)


def from_one(x, base):
    return _turned(x, base, 1, 1)


def stretched(x, base):
    a, b, cos, sin = _halves(x, base)
    return np.concatenate([a * cos + b * sin, a * sin + b * cos], axis=1)


def neighbours(x, base):
    order = np.argsort(np.arange(x.shape[1]) % 2, kind="stable")
    turned = np.empty_like(x)
    turned[:, order] = _turned(x[:, order], base)
    return turned


def half_the_exponent(x, base):
    return _turned(x, base**0.5)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gate_held(a, b, dy):
    return dy * b * sigmoid(a), dy * a * sigmoid(a)


def slope_of_sigmoid(a, b, dy):
    return dy * b * sigmoid(a) * (1 - sigmoid(a)), dy * a * sigmoid(a)


def sigmoid_only(a, b, dy):
    return dy * b * sigmoid(a) * (1 + a * (1 - sigmoid(a))), dy * sigmoid(a)


def alike(o1, l1, o2, l2):
    return (o1 + o2) / 2, np.logaddexp(l1, l2)


def summed(o1, l1, o2, l2):
    return merged(o1, l1, o2, l2)[0], l1 + l2


def merged(o1, l1, o2, l2):
    w1, w2 = np.exp(l1)[:, None], np.exp(l2)[:, None]
    return (w1 * o1 + w2 * o2) / (w1 + w2), np.log(w1 + w2)[:, 0]


def from_the_first(o1, l1, o2, l2):  # nan where l1 is -inf
    w2 = np.exp(l2 - l1)[:, None]
    return (o1 + w2 * o2) / (1 + w2), l1 + np.log1p(w2)[:, 0]


WRONG = {
    "11.1": [(np.log2(65), "this is in bits"), (1 / 65, "too small")],
    "11.2": [
        (diagonal, "the Jacobian's diagonal alone"),
        (no_sum, "each row of da sums to 0"),
        (down_the_columns, "each row of da sums to 0"),
    ],
    "11.3": [
        (last_only, "whose second output alone"),
        (own_place_too, "up to its own does not look ahead, and you say that it does"),
        (amount, "True or False"),
    ],
    "11.4": [
        (back, "this is the backward"),
        (from_one, "place 0 is turned"),
        (stretched, "a rotation keeps lengths"),
        (neighbours, "it pairs neighbours"),
        (half_the_exponent, "differs in"),
    ],
    "11.5": [
        (2 * np.pi * 1e4, "not j = D/2"),
        (10_000 ** (14 / 16), "one radian"),
        (2 * np.pi, "the fastest pair"),
    ],
    "11.6": [
        (gate_held, "the sigmoid is held constant"),
        (slope_of_sigmoid, "not that of a times"),
        (sigmoid_only, "db differs"),
    ],
    "11.7": [(2304, "one block"), (6912, "queries are as many"), (9216, "twice")],
    "11.8": [
        (alike, "both halves count alike"),
        (summed, "not a sum of logarithms"),
        (merged, "with l near 5000 it is not finite"),
        (from_the_first, "all masked, is not finite"),
    ],
}

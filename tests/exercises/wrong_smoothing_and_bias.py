"""Wrong answers to the exercises of notebook 8, each with a part of what is said of it."""

from math import pi, sqrt

import numpy as np


def smoothed_with_p(x, eps, kurtosis):
    return 3 * x**2 + 3 * eps**2


def slope_of_the_cubic(x, eps, kurtosis):
    return 3 * x**2


def no_square(x, eps, kurtosis):
    return 3 * x**2 + kurtosis * eps


def density(z):
    return np.maximum(sqrt(6) - np.abs(z), 0) / 6


def unfolded(z):  # z for |z|
    return (sqrt(6) - sqrt(6) * z**2 / 2 + z**3 / 3) / 6


def without_end(z):
    a = np.abs(z)
    return (sqrt(6) - sqrt(6) * a**2 / 2 + a**3 / 3) / 6


def from_minus_to_z(z):
    return -without_end(np.minimum(np.abs(z), sqrt(6)))


def ratio(eps, kurtosis):
    return eps * 3 / kurtosis


def turned_over(eps, kurtosis):
    return eps * sqrt(kurtosis / 3)


def unchanged(eps, kurtosis):
    return eps


def short(L, x, eps):
    return (L(x + eps) - L(x - eps)) / (2 * eps)


def no_half(L, x, eps):
    return (L(x + sqrt(3) * eps) - L(x - sqrt(3) * eps)) / (sqrt(3) * eps)


def short_below(L, x, eps):
    return (L(x + sqrt(3) * eps) - L(x - sqrt(3) * eps)) / (2 * eps)


def q_of_the_sine(w):
    return pi / 4 * np.cos(pi * w / 2) * (np.abs(w) < 1)


def sine_not_normalised(w):
    return np.sin(pi * np.abs(w) / 2) / np.abs(w) * (np.abs(w) < 1)


def sine_signed(w):
    return 0.365 * np.sin(pi * w / 2) / np.abs(w) * (np.abs(w) < 1)


def sine_for_ever(w):
    return 0.36486 * np.sin(pi * np.abs(w) / 2) / np.abs(w)


def on_sphere(normal, uniform):
    return sqrt(normal.shape[1]) * normal / np.linalg.norm(normal, axis=1, keepdims=True)


def crowded(normal, uniform):
    return uniform[:, None] * on_sphere(normal, uniform)


def unit_ball(normal, uniform):
    d = normal.shape[1]
    return uniform[:, None] ** (1 / d) * on_sphere(normal, uniform) / sqrt(d)


def too_large(normal, uniform):
    d = normal.shape[1]
    return uniform[:, None] ** (1 / d) * on_sphere(normal, uniform) * sqrt(d)


def lopsided(normal, uniform):
    d = normal.shape[1]
    return uniform[:, None] ** (1 / d) * np.abs(on_sphere(normal, uniform))


def mean_only(L, dL, value, slope):
    return slope * ((1 + value) / 2 * dL(1.0) + (1 - value) / 2 * dL(-1.0))


def whole_chord(L, dL, value, slope):
    return mean_only(L, dL, value, slope) - slope * (L(1.0) - L(-1.0))


def at_the_mean(L, dL, value, slope):
    return slope * (dL(value) - (L(1.0) - L(-1.0)) / 2)


def signed(L, dL, value, slope):
    return slope * (L(1.0) - L(-1.0)) / 2 - mean_only(L, dL, value, slope)


WRONG = {
    "8.1": [
        (smoothed_with_p, "the slope of L smoothed with p"),
        (slope_of_the_cubic, "the slope of L itself"),
        (no_square, "E G at eps = 0.5"),
    ],
    "8.2": [
        (density, "this is p itself"),
        (unfolded, "at x = -0.5"),
        (without_end, "where p has ended, q is not 0"),
        (from_minus_to_z, "has the wrong sign"),
    ],
    "8.3": [
        (ratio, "the step for a kurtosis of 1"),
        (turned_over, "turn the ratio over"),
        (unchanged, "compare the widths of q"),
    ],
    "8.4": [
        (short, "the noise reaches farther"),
        (no_half, "twice what it should be"),
        (short_below, "1.73 times what it should be"),
    ],
    "8.5": [
        ("logistic", "the q of the logistic law is not"),
        ("none", "there is one"),
        ("normal", "none of the laws"),
    ],
    "8.6": [
        (q_of_the_sine, "this is q"),
        (sine_not_normalised, "2.74 times what it should be"),
        (sine_signed, "negative"),
        (sine_for_ever, "not 0 beyond |w| = 1"),
    ],
    "8.7": [
        (on_sphere, "not in the ball"),
        (crowded, "the ball is not filled evenly"),
        (unit_ball, "(|z| / radius)^d"),
        (too_large, "times as long as the ball's radius"),
        (lopsided, "which should be 0"),
    ],
    "8.8": [
        (mean_only, "still to be taken off"),
        (whole_chord, "a rise over a length of 2"),
        (at_the_mean, "takes two values only"),
        (signed, "has the wrong sign"),
    ],
}

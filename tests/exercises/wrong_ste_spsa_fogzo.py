"""Wrong answers to the exercises of notebook 1, each with a part of what is said of it."""

import numpy as np


def rounded(x, alpha):
    return alpha * np.clip(np.round(x / alpha), -2, 1)


def unclipped(x, alpha):
    return alpha * (np.floor(x / alpha) + 0.5)


def without_alpha(x, alpha):
    return np.clip(np.floor(x / alpha), -2, 1) + 0.5


def no_mean(F, theta, eps, u):
    return (F(theta + eps * u) - F(theta - eps * u)) / (2 * eps) @ u


def no_half(F, theta, eps, u):
    return (F(theta + eps * u) - F(theta - eps * u)) / eps @ u / len(u)


def downhill(F, theta, eps, u):
    return (F(theta - eps * u) - F(theta + eps * u)) / (2 * eps) @ u / len(u)


def weighted_with_u(F, x, eps, u):
    return (F(x + eps * u) - F(x - eps * u)) / (2 * eps) * u


def twice_the_weight(F, x, eps, u):
    e = np.pi / np.sqrt(12)
    return (F(x + eps * u) - F(x - eps * u)) / eps * 2 * e * np.tanh(e * u)


def log_slope(F, x, eps, u):  # p'/p, without the minus
    e = np.pi / np.sqrt(12)
    return -(F(x + eps * u) - F(x - eps * u)) / (2 * eps) * 2 * e * np.tanh(e * u)


def averaged(F, x, eps, u):
    return np.mean(weighted_with_u(F, x, eps, u))


def no_unit(g, u, s, beta):
    return np.sqrt(beta) * s[:, None] * g + np.sqrt(1 - beta) * u


def no_roots(g, u, s, beta):
    return beta * s[:, None] * g / np.linalg.norm(g) + (1 - beta) * u


def no_sign(g, u, s, beta):
    return np.sqrt(beta) * g / np.linalg.norm(g) + np.sqrt(1 - beta) * u


def not_squared(cosine, d, kurtosis):
    return (d + kurtosis - 2) / (1 / cosine - 1)


def upside_down(cosine, d, kurtosis):
    return (d + kurtosis - 2) * (1 / cosine**2 - 1)


WRONG = {
    "1.1": [
        (rounded, "differs in"),
        (unclipped, "at x = -9 it is -8.5, and should be -1.5"),
        (without_alpha, "at alpha = 0.25 is four times what it should be"),
    ],
    "1.2": [
        ("uniform", "the uniform law is not a tanh"),
        ("tanh", "none of the laws"),
        (2, "a name is asked for"),
    ],
    "1.3": [
        (no_mean, "n = 7, is 7 times what it should be"),
        (no_half, "twice what it should be"),
        (downhill, "has the wrong sign"),
    ],
    "1.4": [
        (weighted_with_u, "the weight is still u"),
        (twice_the_weight, "has twice the mean"),
        (log_slope, "the mean"),
        (averaged, "one estimate for each u"),
    ],
    "1.5": [
        (no_unit, "the length of g is still in your v"),
        (no_roots, "your v at beta = 0.3 differs"),
        (no_sign, "differs"),
    ],
    "1.6": [
        (0.1, "is 0.1: too small"),
        ((0.1 * 7960) ** 0.5, "is 28.21"),
        (np.sqrt(0.1) * 7960, "is 2517"),
    ],
    "1.7": [(-1, "v_i stands twice"), (0, "the factor is 0")],
    "1.8": [(not_squared, "n for a cosine of 0.5"), (upside_down, "too large")],
}

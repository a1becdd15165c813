"""Wrong answers to the exercises of notebook 3, each with a part of what is said of it."""

import numpy as np


def signed_mean(x):
    return np.mean(x)


def gate_only(x):
    return np.clip(x, -1, 1)


def distribution(x):
    near = np.clip(x, -1, 1)
    return (1 + near * (2 - np.abs(near))) / 2


def no_sign(x):
    near = np.clip(x, -1, 1)
    return 2 * near - near**2


def without_gain(x, slope):
    step = x[1] - x[0]
    return np.sqrt(np.sum(slope / 2 * x**2) * step)


def about_zero(x, slope):
    return np.sqrt(np.sum(slope * x**2) / np.sum(slope))


def variance(x, slope):
    return about_zero(x, slope) ** 2


def constant(x, dw, slope):
    return np.abs(x).mean() * dw * slope


def paper(x, dw, slope):
    return dw * (1 / len(x) + np.abs(x).mean() * slope)


def summed(x, dw, slope):
    return np.abs(x).mean() * dw * slope + np.sign(x) * np.sum(dw * np.sign(x))


def scale_only(x, dw, slope):
    return np.sign(x) * np.mean(dw * np.sign(x))


def held(x, dy):
    return dy / x.std(1, keepdims=True)


def mean_only(x, dy):
    return (dy - dy.mean(1, keepdims=True)) / x.std(1, keepdims=True)


def whole(x, dy):  # mean and deviation of everything
    y = (x - x.mean()) / x.std()
    return (dy - dy.mean() - y * (dy * y).mean()) / x.std()


def not_divided(x, dy):
    return x.std(1, keepdims=True) * _backward(x, dy)


def _backward(x, dy):
    y = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return (dy - dy.mean(1, keepdims=True) - y * (dy * y).mean(1, keepdims=True)) / x.std(
        1, keepdims=True
    )


def uphill(w, m, gradient, gamma, threshold):
    m = (1 - gamma) * m + gamma * gradient
    return np.where(w * m < -threshold, -w, w), m


def either(w, m, gradient, gamma, threshold):
    m = (1 - gamma) * m + gamma * gradient
    return np.where(np.abs(m) > threshold, -w, w), m


def momentum(w, m, gradient, gamma, threshold):
    m = gamma * m + (1 - gamma) * gradient
    return np.where(w * m > threshold, -w, w), m


def too_early(w, m, gradient, gamma, threshold):
    return np.where(w * m > threshold, -w, w), (1 - gamma) * m + gamma * gradient


def weights_only(w, m, gradient, gamma, threshold):
    return np.where(w * m > threshold, -w, w)


WRONG = {
    "3.1": [
        (np.std, "keeps the length"),
        (lambda x: np.sqrt(np.mean(x**2)), "keeps the length"),
        (np.abs, "is to be one number"),
        (signed_mean, "the scale is"),
    ],
    "3.2": [(8, "8 is the area"), (0.25, "too small")],
    "3.3": [
        (gate_only, "the uniform law"),
        (distribution, "at x = 0 it is 0.5"),
        (no_sign, "at x = -3 it is -3, and should be -1"),
    ],
    "3.4": [
        (without_gain, "with a gain of 5, is 0.9129: too large"),
        (variance, "this is the variance"),
        (about_zero, "of a bell over 0.5"),
    ],
    "3.5": [
        (constant, "the scale is a constant"),
        (paper, "the sum over all weights of the filter is lost"),
        (summed, "a sum stands where a mean belongs"),
        (scale_only, "only the scale moves"),
    ],
    "3.6": [
        (held, "the mean's part is missing"),
        (mean_only, "the deviation's part is missing"),
        (whole, "the mean's part is missing"),
        (not_divided, "differs in"),
    ],
    "3.7": [
        (uphill, "the weight's own sign"),
        (either, "right already"),
        (momentum, "the average m differs"),
        (too_early, "before the step"),
        (weights_only, "two things"),
    ],
    "3.8": [
        (np.cosh(0.1), "this is cosh"),
        (np.cosh(3) ** 2, "for a = mean|x|"),
        (1, "is 1: too small"),
    ],
}

"""Central differences, and whether there is a derivative to compare with."""

import numpy as np

STEP = 1e-6
BOUND = 1e-5  # relative error of a gradient in float64


def central(function, x, direction):
    """Return the central difference of a number-valued function at x along ``direction``.

    Examples
    --------
    >>> round(float(central(lambda x: np.sum(x**2), np.array([1.0, 2.0]), np.ones(2))), 6)
    6.0
    """
    return (function(x + STEP * direction) - function(x - STEP * direction)) / (2 * STEP)


def jumps(function, x, direction):
    """Return whether an array-valued function jumps between x - direction and x + direction.

    The half in which it changes more is halved again and again. What is left of a change over
    2^-40 of the way is a jump.

    Examples
    --------
    >>> jumps(np.floor, np.zeros(1), np.ones(1)), jumps(np.abs, np.zeros(1), np.ones(1))
    (True, False)
    """
    for share in (1.0, 0.4, 0.1):  # a step up and one down may hide each other
        low, high = x - share * direction, x + share * direction
        at_low, at_high = function(low), function(high)
        largest = np.max(np.abs(at_high - at_low), initial=0.0)
        for _ in range(40):
            middle = low + 0.5 * (high - low)
            at_middle = function(middle)
            below = np.max(np.abs(at_middle - at_low), initial=0.0)
            above = np.max(np.abs(at_high - at_middle), initial=0.0)
            largest = max(largest, below, above)
            if below >= above:
                high, at_high = middle, at_middle
            else:
                low, at_low = middle, at_middle
        if np.max(np.abs(at_high - at_low), initial=0.0) > 1e-6 * largest:
            return True
    return False


def gradient_error(function, gradient, x, gen):
    """Return the largest relative error of a gradient, and where it is.

    Along every coordinate where there are at most 24, otherwise along five random directions.

    Examples
    --------
    >>> x, gen = np.array([1.0, 2.0]), np.random.default_rng(0)
    >>> error, where = gradient_error(lambda x: np.sum(x**2), np.array([2.0, 4.2]), x, gen)
    >>> round(error, 3), where
    (0.05, 'at [1] it is 4.2, but the central difference is 4')
    """
    if x.size <= 24:
        units = np.eye(x.size).reshape(x.size, *x.shape)
        places = (f"at [{', '.join(map(str, place))}]" for place in np.ndindex(*x.shape))
        directions = list(zip(places, units, strict=True))
    else:
        directions = [("along a random direction", gen.normal(size=x.shape)) for _ in range(5)]
    slopes = [
        (float(np.sum(gradient * direction)), float(central(function, x, direction)), where)
        for where, direction in directions
    ]
    # in units of the largest, as a slope of 0 has no relative error
    floor = 1e-2 * max(abs(numeric) for _, numeric, _ in slopes) + 1e-4
    worst, words = 0.0, ""
    for ours, numeric, where in slopes:
        error = abs(ours - numeric) / max(abs(numeric), floor)
        if not error <= worst:
            worst = error
            words = f"{where} it is {ours:.6g}, but the central difference is {numeric:.6g}"
    return worst, words

"""Propositions 1 to 5 *of this package* about the model in `minizo.lab.finite_sample.model`.

They are derived for this package, not taken from Jeong, Xin and Yin (arXiv 2505.18113), whose
theorems are not known here beyond the abstracts. What is reported of that paper, by third parties:
O(n^2) samples for the time average and O(n^4) for the last iterate. Propositions 1 and 2 give these
exponents as sufficient conditions; whether by the paper's argument is not known.

Notation: n coordinates, N samples, c = ste.slope, delta(q) = g(q) / c - (q - w*), sigma the label
noise, Phi the standard normal distribution function. Host floats and NumPy arrays.
"""

from math import comb, erf, erfc, exp, log, pi, sqrt

import numpy as np

from ...errors import require


def normal_cdf(z):
    """Phi(z).

    >>> normal_cdf(0.0)
    0.5
    """
    return 0.5 * (1.0 + erf(z / sqrt(2.0)))


# Proposition 1: a deterministic bound for the time average -------------------------------------


def wrong_time_bound(excess, start, eta, ste, steps):
    """At most this fraction of ``steps`` is coordinate i wrong, whatever the step size.

        sqrt(n) d_i / 2 + sqrt(n) |w_0i| / (2 eta c T) + 1 / T,  d_i = max_t (delta_i(q_t) s*_i)_+

    From the recursion of w_i, summed to the last time that i is wrong. So if every d_i is below
    1 / sqrt(n), the sign of the time average is s* from some time on.

    Parameters
    ----------
    excess, start : ndarray (..., n)
        d and w_0.
    eta : float
    ste : ActivationSTE
    steps : int
        T.
    """
    root = sqrt(excess.shape[-1])
    drift = 2.0 * eta * ste.slope * steps
    return 0.5 * root * excess + root * np.abs(start) / drift + 1.0 / steps


def samples_for_average(n, angle=0.5 * pi):
    """N ~ 4 theta ln 2 n^2: then |delta|_inf < 1 / sqrt(n) at all 2^n q, to leading order.

    By the union bound, sqrt(N) sup_q |delta(q)|_inf ~ 2 sqrt(theta n ln 2). So the sign of the time
    average is s* from some time on, whatever the start and the step size.
    """
    return 4.0 * angle * log(2.0) * n * n


# Proposition 2: the last iterate, without label noise ------------------------------------------


def visits_optimum(bounds):
    """Whether sum_i b_i < 1, b the bounds of Proposition 1 (..., n): then q_t = w* at some t < T.

    For if no q_t is w*, at every step some coordinate is wrong, and the times add up to T at least.
    Without label noise w* is not left again: the last iterate is w*.
    """
    return np.sum(bounds, axis=-1) < 1.0


def samples_for_last(n, angle=0.5 * pi):
    """N ~ theta ln 2 n^4: then |delta|_inf < 2 / n^(3/2) at all 2^n q, to leading order.

    That is n sqrt(n) |delta|_inf / 2 < 1, and Proposition 2 holds with T large enough.
    """
    return angle * log(2.0) * n**4


# Proposition 3: one step -----------------------------------------------------------------------


def one_step_probability(n, samples, ste):
    """P(sgn w_1 = s*) ~ Phi(sqrt(N / (pi n)) sqrt(share))^n from w_0 = a s_0, eta = a sqrt(n) / c.

    Then w_1 / (a sqrt(n)) = w* - delta(q_0): every delta_i s*_i must be below 1 / sqrt(n). To
    leading order they are independent of variance 2 theta / (N share), theta = pi / 2.

    >>> from minizo.lab.finite_sample.model import STES
    >>> round(one_step_probability(16, 279, STES["identity"]), 2)
    0.86
    """
    return normal_cdf(sqrt(samples * ste.share / (pi * n))) ** n


def one_step_threshold(n, ste):
    """N ~ 2 pi n ln n / share, around which that probability rises from 0 to 1."""
    return 2.0 * pi * n * log(n) / ste.share


def delta_variance(n, wrong, ste):
    """N Var delta_i(q) of a wrong and of a right coordinate, for q with ``wrong`` wrong ones.

    Exact for every n, for the identity STE:

        wrong: 2 theta + 2 sin(theta) / k - 4 / n,    right: 2 theta - 2 sin(theta) / (n - k)

    with k = ``wrong`` and cos(theta) = 1 - 2 k / n; the ReLU STE keeps half of the samples, and its
    c is half as large: 4 theta + 4 sin(theta) / k - 4 / n and 4 theta - 4 sin(theta) / (n - k). The
    samples that count lie in the double wedge between q and w*, where E[x_i^2 1] = theta / pi +
    (sin(theta) / pi) (a_i^2 - b_i^2), a and b the unit vectors along q - w* and q + w*.

    Returns
    -------
    (float, float)
        NaN for a kind of coordinate that there is none of.
    """
    require(0 <= wrong <= n, "wrong", wrong, f"it must lie between 0 and {n}")
    theta = np.arccos(1.0 - 2.0 * wrong / n)
    nan = float("nan")
    off = (2.0 * theta + 2.0 * np.sin(theta) / wrong) / ste.share - 4.0 / n if wrong else nan
    right = (2.0 * theta - 2.0 * np.sin(theta) / (n - wrong)) / ste.share if wrong < n else nan
    return float(off), float(right)


# Uniform control of delta ----------------------------------------------------------------------


def simple_uniform_bound(n):
    """sqrt(2 pi (n ln 2 + ln n)), a rough sqrt(N) sup_q |delta(q)|_inf.

    As for 2^n n variables of standard deviation sqrt(pi), as if every theta were pi / 2; for the
    identity STE.
    """
    return sqrt(2.0 * pi * (n * log(2.0) + log(n)))


def exceeding(n, t):
    """sum_q sum_i P(|delta_i(q)| sqrt(N) > t): expected number above t, delta_i(q) as if normal.

        sum_k C(n, k) n 2 Phi(-t / sqrt(2 theta_k)),  cos(theta_k) = 1 - 2 k / n

    With the angle that each of the 2^n sign vectors really has; for the identity STE.
    """
    # 2 Phi(-t / s) = erfc(t / (s sqrt 2)),  s^2 = 2 theta
    angles = (np.arccos(1.0 - 2.0 * k / n) for k in range(1, n + 1))
    tails = (erfc(t / sqrt(4.0 * angle)) for angle in angles)
    return sum(comb(n, k) * n * tail for k, tail in enumerate(tails, start=1))


def uniform_bound(n, failure):
    """t that sqrt(N) sup_q |delta(q)|_inf exceeds with probability ``failure`` at most.

    Union bound: `exceeding` (n, t) = failure, by bisection.
    """
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if exceeding(n, middle) > failure else (low, middle)
    return high


def mean_uniform_bound(n):
    """Bound of the mean of sqrt(N) sup_q |delta(q)|_inf: integral of min(1, exceeding(n, t)) dt.

    Midpoint rule with 2000 points up to 50.
    """
    width = 50.0 / 2000
    return width * sum(min(1.0, exceeding(n, width * (i + 0.5))) for i in range(2000))


# Proposition 4: label noise --------------------------------------------------------------------


def wrong_fractions(noise, optimum, ste):
    """p_i = sqrt(n) (e_i s*_i)_+ / (2 c): the time that coordinate i is wrong, e = g(w*) given.

    Each coordinate near 0 is a rotation of a circle of length 2 eta c / sqrt(n) by eta e_i; where
    p_i >= 1 it is lost for good.

    Parameters
    ----------
    noise, optimum : ndarray (..., n)
        e and s*.
    """
    root = sqrt(noise.shape[-1])
    return root * np.maximum(noise * optimum, 0.0) / (2.0 * ste.slope)


def teacher_fractions(teacher):
    """p_i = (1 - sqrt(n) |w*_i|) / 2 for a real teacher w* (..., n): by population gradients."""
    root = sqrt(teacher.shape[-1])
    return np.clip(0.5 * (1.0 - root * np.abs(teacher)), 0.0, None)


def product_law(fractions):
    """Time at w*: prod_i (1 - p_i), where 1 and all p_i > 0 are rationally independent (Weyl)."""
    return np.prod(1.0 - np.minimum(fractions, 1.0), axis=-1)


def union_bound(fractions):
    """Time at w* is at least 1 - sum_i p_i, whatever the p_i."""
    return 1.0 - np.sum(fractions, axis=-1)


def mean_occupancy(n, samples, sigma, ste):
    """Mean time at w* over label noise: exp(-n^(3/2) sigma / (2 sqrt(N share))).

    e_i ~ N(0, sigma^2 share / N), so E p_i = sqrt(n) sigma / (2 sqrt(N share)), and (1 - E p_i)^n
    is near that exponential where E p_i is small.

    >>> from minizo.lab.finite_sample.model import STES
    >>> round(mean_occupancy(16, 1000, 0.4, STES["identity"]), 3)
    0.667
    """
    return exp(-(n**1.5) * sigma / (2.0 * sqrt(samples * ste.share)))


# Proposition 5: inputs that are not N(0, I) ----------------------------------------------------


def mean_response(mean, covariance, s):
    """E x 1{x . q > 0} = mu Phi(t) + S q phi(t) / l  for x ~ N(mu, S) and q = s / sqrt(n).

    l^2 = q^T S q, t = mu . q / l, phi = Phi'. What is not along q drives coordinates that are
    right. A diagonal S with mu = 0 is harmless for signs: its entries rescale the coordinates, and
    l is the same for all q.

    Parameters
    ----------
    mean : ndarray (n,)
    covariance : ndarray (n, n)
    s : ndarray (..., n)

    Returns
    -------
    ndarray (..., n)
    """
    q = s / sqrt(s.shape[-1])
    moved = q @ covariance
    length = np.sqrt(np.sum(q * moved, axis=-1, keepdims=True))
    t = np.sum(q * mean, axis=-1, keepdims=True) / length
    density = np.exp(-0.5 * t * t) / sqrt(2.0 * pi)
    return mean * np.vectorize(normal_cdf, otypes=[float])(t) + moved * density / length

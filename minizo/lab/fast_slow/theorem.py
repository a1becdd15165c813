"""FSG's theorem 1 is false as printed: a 2-cycle, a run with momentum, and a bound that is proved.

The theorem is about fast and slow gradients on a convex f with a minimiser x*,

    x_{k+1} = x_k - alpha phi_k g_k + beta M_k,   k = 0 ... t,   x_{-1} = x_0,   phi_k = phi_f(x_k)

with E g_k in df(x_k), |df| <= G, E|g_k - E g_k|^2 <= delta^2, kappa <= |x_k - x*| <= rho, Omega
|x_k| <= phi_f(x_k) <= Theta |x_k|, and E[M_k - (x_k - x_{k-1})] = 0. Write a = Omega kappa,
b = Theta rho, D = |x_0 - x*|, F_k = f(x_k) - f(x*), S^2 = G^2 + delta^2. It says of the mean xhat
of the t + 1 iterates, with alpha = C / sqrt(t + 1), that E[f(xhat) - f(x*)] is at most

    beta F_0 / ((1-beta)(t+1)) + (1-beta) D^2 / (2 alpha a (t+1)) + alpha b S^2 / (2 a (1-beta))
                                                                            (printed, equation 18)

What is wrong with it:

1. Its own lemma 2 has b^2 where (18) has b. The printed bound has no units: phi -> s phi and
   alpha -> alpha / s leave every iterate as it is, and divide the last term by s. `cycle` violates
   it 85 times, with beta = 0, no noise, and all that is assumed.
2. The square alone (`squared`) does not mend it once there is momentum. Lemma 2 bounds
   phi_k (f(x_k) - f(x_{k-1})) from below by a (f(x_k) - f(x_{k-1})), which is true where f rises
   and false where it falls. `lopsided` violates (18) with the square, within all assumptions.
3. kappa and rho bound |x_k - x*| but phi_f is bounded by |x_k|: they fit for x* = 0 only. A kappa
   above 0 says that no iterate comes near x*.
4. Assumption 5 has the slow-net's output equal the momentum in the mean, whatever has been read.
   FSG's slow-net gives 0 wherever the newest gradient is 0 (`minizo.hypernets.slow.SlowNet`): it
   becomes a gain on the newest gradient. Lemma 2 also drops the variance of its error.
5. The proof treats phi_f(x_k), a matrix, as a number: it needs (x_k - x*)^T phi g >= a (x_k - x*)^T
   g, which is false for most matrices.

The bound that holds (`corrected`). Assume only: f is convex with a minimiser x*, and subgradients
at most G; phi_k is a number in [a, b], a > 0, fixed before g_k is drawn; E_k g_k in df(x_k), where
E_k is the mean given all up to x_k, and the noise of g_k has E_k|.|^2 <= delta^2; M_k = v_k + e_k,
v_k = x_k - x_{k-1}, with E_k e_k = 0, E_k|e_k|^2 <= sigma^2, and e_k uncorrelated with g_k. Then

    E[f(xhat) - f(x*)] <= beta F_0 / ((1-beta)(t+1)) + (1-beta) D^2 / (2 alpha a (t+1))
        + alpha b^2 S^2 / (2 a (1-beta)) + alpha beta b (b-a) G S / (a (1-beta)^2)
        + beta^2 sigma^2 / (2 alpha a (1-beta)) + beta^2 (b-a) G sigma / (a (1-beta)^2)

Not assumed: bounded iterates, a kappa > 0, a phi that is a function of x_k, any smoothness, any
particular alpha, x* = 0.

Proof. (i) z_k = x_k + beta/(1-beta) v_k has z_0 = x_0 and, from the recursion,
z_{k+1} = z_k - (alpha phi_k g_k - beta e_k) / (1-beta). (ii) With h_k = E_k g_k, and as e_k has
mean 0 and no covariance with g_k,

    E_k|z_{k+1} - x*|^2 <= |z_k - x*|^2 - 2 alpha phi_k/(1-beta) (z_k - x*)^T h_k
                           + (alpha b S / (1-beta))^2 + (beta sigma / (1-beta))^2

(iii) h_k is a subgradient at x_k, used towards x* and towards x_{k-1}:
(z_k - x*)^T h_k >= F_k + beta/(1-beta) (F_k - F_{k-1}). (iv) phi_k F_k >= a F_k, as F_k >= 0. The
other difference has no sign, but |F_k - F_{k-1}| <= G |v_k|, so that
phi_k (F_k - F_{k-1}) >= a (F_k - F_{k-1}) - (b-a) G |v_k|. (v) From v_0 = 0 and
v_{k+1} = beta v_k - alpha phi_k g_k + beta e_k, the root mean square of |v_k| is at most
(alpha b S + beta sigma) / (1-beta). (vi) Sum (ii) over k = 0 ... t with F_{-1} = F_0: the left side
telescopes and is at least 0, sum (F_k - F_{k-1}) = F_t - F_0 >= -F_0, and

    2 alpha a/(1-beta) sum E F_k <= D^2 + 2 alpha beta a/(1-beta)^2 F_0 + (t+1) ((alpha b S)^2 +
        (beta sigma)^2 + 2 alpha beta (b-a) G (alpha b S + beta sigma) / (1-beta)) / (1-beta)^2

(vii) Divide by 2 alpha a (t+1) / (1-beta); f(xhat) is at most the mean of f(x_k), as f is convex.

Consequences. For beta = 0, or a constant phi, and an exact momentum it is (18) with b^2. With
alpha = C / sqrt(t+1) it falls as 1 / sqrt(t+1) if sigma falls as alpha does; a slow-net whose error
stays makes the bound rise as sqrt(t+1).

References
----------
X. Chen, J. Gao, B. Qi, D. Li, Y. Luo, F. Li, P. Li, "Fast and slow gradient approximation for
binary neural network optimization", AAAI 2025, theorem 1, lemma 2, equations 18 and 24 to 28.
Y. Yan, T. Yang, Z. Li, Q. Lin, Y. Yang, "A unified analysis of stochastic momentum methods for deep
learning", IJCAI 2018 (z_k, for a constant phi).
"""

from typing import NamedTuple

import numpy as np


class Known(NamedTuple):
    """What the bounds are made of; numbers, or arrays of one shape.

    steps is t + 1, the number of iterates; gap is F_0, distance |x_0 - x*|, low and high a and b,
    slope G, noise delta, error sigma.
    """

    steps: object
    alpha: object
    beta: object
    gap: object
    distance: object
    low: object
    high: object
    slope: object = 1.0
    noise: object = 0.0
    error: object = 0.0


def start_terms(k):
    """The two terms that all bounds share."""
    # beta F_0 / ((1-beta)(t+1)) + (1-beta) D^2 / (2 alpha a (t+1))
    first = k.beta * k.gap / ((1.0 - k.beta) * k.steps)
    return first + (1.0 - k.beta) * k.distance**2 / (2.0 * k.alpha * k.low * k.steps)


def printed(k):
    """Equation 18 as printed, with b in the last term.

    >>> round(printed(Known(2**20, 3 / 1024, 0.0, 1.0, 1.0, 1024.0, 2048.0)), 5)
    0.00293
    """
    # ... + alpha b S^2 / (2 a (1-beta))
    square = k.slope**2 + k.noise**2
    return start_terms(k) + k.alpha * k.high * square / (2.0 * k.low * (1.0 - k.beta))


def squared(k):
    """Equation 18 with the square that lemma 2 has.

    >>> round(squared(Known(2**20, 3 / 1024, 0.0, 1.0, 1.0, 1024.0, 2048.0)), 5)
    6.0
    """
    # ... + alpha b^2 S^2 / (2 a (1-beta))
    square = k.slope**2 + k.noise**2
    return start_terms(k) + k.alpha * k.high**2 * square / (2.0 * k.low * (1.0 - k.beta))


def corrected(k):
    """The bound that is proved in the module's text.

    >>> exact = Known(100, 0.1, 0.5, 1.0, 1.0, 1.0, 2.0)
    >>> # alpha beta b (b-a) G S / (a (1-beta)^2)
    >>> round(float(corrected(exact) - squared(exact)), 6)
    0.4
    >>> float(corrected(exact._replace(beta=0.0)) - squared(exact._replace(beta=0.0)))
    0.0
    """
    rest, apart = 1.0 - k.beta, k.high - k.low
    s = np.sqrt(k.slope**2 + k.noise**2)
    # alpha beta b (b-a) G S / (a (1-beta)^2)
    falls = k.alpha * k.beta * k.high * apart * k.slope * s / (k.low * rest**2)
    # beta^2 sigma^2 / (2 alpha a (1-beta)) + beta^2 (b-a) G sigma / (a (1-beta)^2)
    errs = k.beta**2 * k.error**2 / (2.0 * k.alpha * k.low * rest)
    errs = errs + k.beta**2 * apart * k.slope * k.error / (k.low * rest**2)
    return squared(k) + falls + errs

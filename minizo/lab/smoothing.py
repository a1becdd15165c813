"""Which gradient does a two-point estimate average to, and how much does it scatter?

    G = (L(x + eps u) - L(x - eps u)) / (2 eps) u,    u with independent coordinates of law p

Coordinate i of E[G] is dL/dx_i smoothed with p in the other coordinates and with the zero-bias
density q(z) = integral_z^inf s p(s) ds in its own: uniform noise smooths a step with a parabola,
not with a box. Only for the Gaussian is q = p. With the score psi = -p'/p in place of the
factor u the estimate averages to the gradient smoothed with p.

The zero-bias law is Goldstein's and Reinert's, the two-point estimate Spall's and the directions
with a guide Yang's and Aamodt's; the statements below were worked out for this package.

References
----------
L. Goldstein and G. Reinert, "Stein's method and the zero bias transformation with application to
simple random sampling", Annals of Applied Probability, 1997.
J. C. Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
approximation", IEEE Transactions on Automatic Control, 1992.
N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order information",
NeurIPS 2025.
"""

from itertools import product
from math import cos, sin, sqrt

import numpy as np

from .. import rng
from ..laws import LAWS, law_for
from ..surrogates import SURROGATES
from .curves import OURS, Curve, Panel, sign, with_panels
from .verdicts import close, compare, near

SAMPLES = 400_000
EPS = 0.7
ZERO_BIAS = "zero-bias law: Goldstein, Reinert 1997; for SPSA: this package"


def draws(setup, name, shape, *path):
    """Numbers of the law called ``name``, float64: the stream of this experiment and place."""
    place = rng.at(setup.seed, "noise", *path)
    return LAWS[name].sample(place, np.empty(shape))


def mean_and_se(samples):
    """Mean over axis 0 and its standard error."""
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / sqrt(samples.shape[0])


def of_a_sign(u, x, eps, weights):
    """Two-point estimates for L(x) = sign(x): u (N,), x (K,) -> means and standard errors (K,)."""
    found = [
        mean_and_se((sign(y + eps * u) - sign(y - eps * u)) / (2.0 * eps) * weights) for y in x
    ]
    return np.array(found).T


# D-1: q, not p


def zero_bias(setup):
    """Six laws on a sign: E G = 2 q(x / eps) / eps; the same law's p is rejected."""
    x = np.linspace(-1.6, 1.6, 17)
    fine = np.linspace(-1.8, 1.8, 721)
    claims, panels = [], []
    for number, (name, law) in enumerate(LAWS.items()):
        u = draws(setup, name, SAMPLES, 1, number)
        mean, se = of_a_sign(u, x, EPS, u)
        q = 2.0 * law.zero_bias_pdf(x / EPS) / EPS
        # where nothing or everything is counted there is no spread: 1 of N decides
        se = np.maximum(se, 2.0 / EPS / SAMPLES)
        other = LAWS["uniform"] if law.pdf is None or name == "gaussian" else law
        wrong = "smoothed with its own density p" if other is law else "smoothed with a box"
        claims.append(
            close(
                f"{name}: two-point estimates of a sign average to 2 q(x / eps) / eps",
                ZERO_BIAS,
                mean,
                q,
                se,
                2.0 * other.pdf(x / EPS) / EPS,
                wrong,
            )  # fmt: skip
        )
        curves = [Curve("q, predicted", fine, 2.0 * law.zero_bias_pdf(fine / EPS) / EPS, True)]
        if law.pdf is not None:
            curves.append(Curve("p, not this", fine, 2.0 * law.pdf(fine / EPS) / EPS, True))
        panels.append(Panel(name, "x", "mean of G", [*curves, Curve("measured", x, mean)]))
    return with_panels(claims, panels)


# D-2: a field with a curl


def field(x, a, b, eps, u, weights):
    """E G of L = sin(a x_1 + b x_2), a sum over the atoms u (K, 2) of weights (K,): (2,)."""
    slope = np.array([a, b])
    gap = np.sin((x + eps * u) @ slope) - np.sin((x - eps * u) @ slope)
    return (weights * gap / (2.0 * eps)) @ u


def curl_of(x, a, b, eps, u, weights, h=1e-5):
    """d E[G]_2 / dx_1 - d E[G]_1 / dx_2 by central differences."""
    first, second = np.array([h, 0.0]), np.array([0.0, h])
    around = [field(x + s, a, b, eps, u, weights) for s in (first, -first, second, -second)]
    return float((around[0][1] - around[1][1] - around[2][0] + around[3][0]) / (2.0 * h))


def curl(setup, a=1.3, b=0.6):
    """The mean of SPSA with Rademacher directions is no gradient; with Gaussian ones it is.

    curl = sin(a x_1 + b x_2) [b sin(a eps) cos(b eps) - a sin(b eps) cos(a eps)] / eps
    """
    corners = np.array(list(product([-1.0, 1.0], repeat=2)))
    even = np.full(4, 0.25)
    nodes, mass = np.polynomial.hermite_e.hermegauss(40)
    normal = np.array(list(product(nodes, repeat=2)))
    bell = np.array([p * q for p, q in product(mass / mass.sum(), repeat=2)])
    gen = rng.at(setup.seed, "test", 4, 2).host()
    places, epss = gen.uniform(-2.0, 2.0, (20, 2)), np.linspace(0.1, 2.5, 25)

    def formula(x, eps):
        twist = b * sin(a * eps) * cos(b * eps) - a * sin(b * eps) * cos(a * eps)
        return sin(a * x[0] + b * x[1]) * twist / eps

    cases = [(x, eps) for x in places for eps in (0.5, 1.0, 1.5)]
    exact = [formula(x, eps) for x, eps in cases]
    found = [curl_of(x, a, b, eps, corners, even) for x, eps in cases]
    calm = [curl_of(x, a, b, eps, normal, bell) for x, eps in cases]
    x = np.array([0.8, 0.5])
    claims = [
        near("Rademacher directions: the mean field of sin(a x_1 + b x_2) has the curl of the "
             "formula", OURS, found, exact, 1e-8, np.zeros(len(exact)), "no curl"),
        near("Gaussian directions: no curl, their mean field is a gradient", OURS, calm,
             np.zeros(len(calm)), 1e-8, exact, "the curl of Rademacher directions"),
    ]  # fmt: skip
    panel = Panel(f"L = sin({a} x1 + {b} x2) at (0.8, 0.5)", "eps", "curl of E G", [
        Curve("formula, Rademacher", epss, [formula(x, e) for e in epss], True),
        Curve("no curl", epss, 0.0 * epss, True),
        Curve("Rademacher", epss, [curl_of(x, a, b, e, corners, even) for e in epss]),
        Curve("Gaussian", epss, [curl_of(x, a, b, e, normal, bell) for e in epss]),
    ])  # fmt: skip
    return with_panels(claims, [panel])


# D-3: the score in place of u


def score_weights(setup):
    """psi(u) for u: the mean is smoothed with p. Uniform noise: a difference at the two ends."""
    x, fine = np.linspace(-1.6, 1.6, 16), np.linspace(-1.8, 1.8, 401)
    claims, panels = [], []
    for number, name in enumerate(("logistic", "laplace")):
        law, u = LAWS[name], draws(setup, name, SAMPLES, 3, number)
        mean, se = of_a_sign(u, x, EPS, law.score(u))
        plain, _ = of_a_sign(u, x, EPS, u)
        p, q = (2.0 * f(x / EPS) / EPS for f in (law.pdf, law.zero_bias_pdf))
        claims.append(
            close(
                f"{name}: with the score psi(u) for u, estimates of a sign average to "
                "2 p(x / eps) / eps",
                OURS,
                mean,
                p,
                se,
                q,
                "2 q(x / eps) / eps",
            )  # fmt: skip
        )
        panels.append(Panel(name, "x", "mean of the estimate", [
            Curve("smoothed with p", fine, 2.0 * law.pdf(fine / EPS) / EPS, True),
            Curve("smoothed with q", fine, 2.0 * law.zero_bias_pdf(fine / EPS) / EPS, True),
            Curve("factor psi(u)", x, mean), Curve("factor u", x, plain),
        ]))  # fmt: skip
    # d/dx E L(x + eps u) = [L(x + eps sqrt 3) - L(x - eps sqrt 3)] / (2 eps sqrt 3)
    end = EPS * sqrt(3.0)
    ends = (np.sin(2.0 * (x + end)) - np.sin(2.0 * (x - end))) / (2.0 * end)
    u = draws(setup, "uniform", SAMPLES, 3, 9)
    slopes = np.array([mean_and_se(2.0 * np.cos(2.0 * (y + EPS * u))) for y in x]).T
    by_u = np.array([
        np.mean((np.sin(2.0 * (y + EPS * u)) - np.sin(2.0 * (y - EPS * u))) / (2.0 * EPS) * u)
        for y in x
    ])  # fmt: skip
    claims.append(
        close("uniform: the difference at the two ends is the slope smoothed with p", OURS,
              slopes[0], ends, slopes[1], by_u, "two-point estimates with the factor u")
    )  # fmt: skip
    panels.append(Panel("uniform, L = sin 2x", "x", "slope", [
        Curve("difference at the ends", x, ends, True), Curve("E L'(x + eps u)", x, slopes[0]),
        Curve("factor u", x, by_u)]))  # fmt: skip
    return with_panels(claims, panels)


# D-4: scatter


def scatter(setup, d=12, n=3, count=100_000):
    """E||G||^2 of n-SPSA, and mean and E||G||^2 of FOGZO, for a linear loss."""
    gen = rng.at(setup.seed, "test", 4, 4).host()
    g, guide = gen.normal(size=d), gen.normal(size=d)
    guide /= np.linalg.norm(guide)
    g += (3.0 - g @ guide) * guide  # so that gamma = 3
    size, gamma = g @ g, guide @ g
    found, rows = [], {}
    for number, (name, law) in enumerate(LAWS.items()):
        u = draws(setup, name, (count, n, d), 4, number)
        # a linear loss: (L+ - L-) / (2 eps) = u . g
        mean = np.einsum("knd,kn->kd", u, u @ g) / n
        rows[name] = mean_and_se(np.sum(mean**2, axis=1) / size)
        found.append((*rows[name], 1.0 + (d + law.kurtosis - 2.0) / n,
                      (d + law.kurtosis - 1.0) / n))  # fmt: skip
    found = np.array(found).T
    betas, kappa = np.linspace(0.0, 0.95, 6), LAWS["rademacher"].kurtosis
    means, squares, exact, short = [], [], [], []
    for number, beta in enumerate(betas):
        u = draws(setup, "rademacher", (count, d), 5, number)
        v = sqrt(beta) * guide + sqrt(1.0 - beta) * u  # the guide's random sign is idle
        estimate = (v @ g)[:, None] * v
        means.append(mean_and_se(estimate))
        squares.append(mean_and_se(np.sum(estimate**2, axis=1)))
        cross = beta * (1.0 - beta)
        noise = (1.0 - beta) ** 2 * (d + kappa - 1.0) * size
        # E||G||^2 = beta^2 gamma^2 + beta (1 - beta) [(d + 4) gamma^2 + ||g||^2]
        #            + (1 - beta)^2 (d + kappa - 1) ||g||^2
        exact.append(beta**2 * gamma**2 + cross * ((d + 4.0) * gamma**2 + size) + noise)
        short.append(beta**2 * gamma**2 + cross * (d * gamma**2 + size) + noise)
    # M = beta gamma ghat + (1 - beta) g
    centres = betas[:, None] * gamma * guide + (1.0 - betas[:, None]) * g
    unweighted = np.sqrt(betas)[:, None] * gamma * guide + (1.0 - betas[:, None]) * g
    squares = np.array(squares).T
    claims = [
        close(f"{n}-SPSA, six laws: E||G||^2 / ||g||^2 = 1 + (d + kappa - 2) / n, d = {d}", OURS,
              found[0], found[2], found[1], found[3], "(d + kappa - 1) / n"),
        close("FOGZO, one direction: E G = beta gamma ghat + (1 - beta) g", OURS,
              np.array([m for m, _ in means]), centres, np.array([s for _, s in means]),
              unweighted, "sqrt(beta) for beta"),
        close("FOGZO, one direction: E||G||^2 by its formula", OURS, squares[0], exact, squares[1],
              short, "d for d + 4"),
    ]  # fmt: skip
    kappas = [law.kurtosis for law in LAWS.values()]
    order = np.argsort(kappas)
    return with_panels(claims, [
        Panel(f"{n}-SPSA, linear loss, d = {d}", "kurtosis of the law", "E||G||² / ||g||²", [
            Curve("1 + (d + kappa − 2) / n", np.sort(kappas), found[2][order], True),
            Curve("(d + kappa − 1) / n", np.sort(kappas), found[3][order], True),
            Curve("six laws", kappas, found[0])]),
        Panel("FOGZO, Rademacher noise", "beta", "E||G||²", [
            Curve("formula", betas, exact, True), Curve("with d for d + 4", betas, short, True),
            Curve("measured", betas, squares[0])]),
    ])  # fmt: skip


# D-5: the bias of the STE


def ste_bias(setup, a=0.4, h=0.8, k=1.5):
    """Mean STE slope less the slope of the smoothed loss, for a sign and its matched surrogates.

    L(q) = a q + h q^2 / 2 + k q^3 / 6;  bias = (2 p(x / eps) / eps) (h E q + k / 2 - k / 6)
    """
    x, fine = np.linspace(-0.75, 0.75, 7), np.linspace(-0.9, 0.9, 181)
    claims, panels = [], []

    def formula(surrogate, x):
        return surrogate.derivative(x) * (h * surrogate.value(x) + k / 2.0 - k / 6.0)

    for number, name in enumerate(("hardtanh", "tanh", "approxsign")):
        surrogate = SURROGATES[name]
        u = draws(setup, surrogate.law, SAMPLES, 6, number)
        jacobian = surrogate.derivative(x)
        found = []
        for y, slope in zip(x, jacobian, strict=True):
            q = sign(y + surrogate.epsbar * u)
            found.append(mean_and_se(slope * (a + h * q + 0.5 * k * q * q)))
        mean, se = np.array(found).T
        # d/dx E L(sign(x + eps u)) = (L(1) - L(-1)) p(x / eps) / eps, and jacobian = 2 p / eps
        smoothed = 0.5 * jacobian * (2.0 * a + k / 3.0)
        bias = formula(surrogate, x)
        claims.append(
            close(f"{name}: the STE of a sign misses the slope of the smoothed loss by its formula",
                  OURS, mean - smoothed, bias, se, 0.0 * bias, "no bias")
        )  # fmt: skip
        panels.append(Panel(name, "x", "bias of the STE", [
            Curve("formula", fine, formula(surrogate, fine), True),
            Curve("measured", x, mean - smoothed),
        ]))  # fmt: skip
    return with_panels(claims, panels)


# D-6: noise for a given slope


def design(setup):
    """`minizo.laws.law_for`: noise whose two-point estimate of a sign averages to a given slope."""
    x, fine = np.linspace(-1.55, 1.55, 16), np.linspace(-1.8, 1.8, 721)
    claims, panels = [], []
    for number, name in enumerate(("hardtanh", "tanh")):
        surrogate = SURROGATES[name]
        found, matched = law_for(surrogate), LAWS[surrogate.law]
        u = found.law.sample(rng.at(setup.seed, "noise", 7, number), np.empty(SAMPLES))
        mean, se = of_a_sign(u, x, found.epsbar, u)
        own = draws(setup, surrogate.law, SAMPLES, 7, 5 + number)
        tabled, _ = of_a_sign(own, x, surrogate.epsbar, own)
        wrong = 2.0 * matched.zero_bias_pdf(x / surrogate.epsbar) / surrogate.epsbar
        se = np.maximum(se, 2.0 / found.epsbar / SAMPLES)
        claims.append(
            close(
                f"{name}: two-point estimates with the law designed for it average to its slope",
                OURS + "; slack 0.002 for the table",
                mean,
                surrogate.derivative(x),
                se,
                wrong,
                f"with {surrogate.law} noise, which smooths a sign into it",
                slack=0.002,
            )  # fmt: skip
        )
        panels.append(Panel(f"{name}: {found.law.name}, epsbar {found.epsbar:.3f}", "x",
                            "mean of G", [
            Curve(f"slope of {name}", fine, surrogate.derivative(fine), True),
            Curve("designed law", x, mean), Curve(f"{surrogate.law} noise", x, tabled),
        ]))  # fmt: skip
    # ApproxSign: what the density would have to hold beyond |z| = delta grows without end
    grid = np.geomspace(1e-5, 1.0, 2001)
    middle = np.sqrt(grid[1:] * grid[:-1])

    def held(slope):
        pieces = -np.diff(0.5 * slope(grid)) / middle
        return 2.0 * np.cumsum(pieces[::-1])[::-1]

    beyond, fine_one = (held(SURROGATES[name].derivative) for name in ("approxsign", "tanh"))
    slopes = [(m[0] - m[800]) / np.log(grid[800] / grid[0]) for m in (beyond, fine_one)]
    why = law_for(SURROGATES["approxsign"]).why
    claims.append(
        compare(f"approxsign has no such law: {why}; what it would hold grows by 2 per e-fold",
                OURS, 2.0, slopes[0], "tanh", slopes[1], "=", 0.01)
    )  # fmt: skip
    panels.append(Panel("integral of −s'(x) / x beyond delta", "delta", "what p would hold", [
        Curve("approxsign: 2 ln(1 / delta)", grid[:-1], -2.0 * np.log(grid[:-1]), True),
        Curve("approxsign", grid[:-1], beyond), Curve("tanh", grid[:-1], fine_one),
    ], "log"))  # fmt: skip
    return with_panels(claims, panels)

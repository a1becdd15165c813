"""Exercises of notebook 1, *Learning through a staircase*."""

import numpy as np

from ..laws import LAWS
from ..rng import at
from .exercise import judged
from .judging import ask, moments, need, same, unlike


def midrise(x, alpha):
    """Return the 2-bit mid-rise quantiser of ``x``: the nearest of -3/2, -1/2, 1/2, 3/2 alpha.

    On a threshold (-alpha, 0, alpha) the upper level is taken.
    """
    return alpha * (np.clip(np.floor(x / alpha), -2, 1) + 0.5)


@judged(
    "1.1",
    "A staircase of your own",
    "a line",
    midrise,
    "The steps are alpha wide, and floor finds the step.",
    "A step's middle is half a step above its beginning. How many steps are there below 0?",
)
def _midrise(answer):
    x = np.array([-9.0, -1.01, -1.0, -0.3, 0.0, 0.3, 0.99, 1.0, 1.7, 9.0])
    same("the value of midrise", ask(answer, x, 1.0), midrise(x, 1.0), at=x)
    same("the value of midrise at alpha = 0.25", ask(answer, x, 0.25), midrise(x, 0.25), at=x)
    return "Its derivative is 0 wherever it has one: that is the trouble of this whole course."


def law_of_tanh():
    """Name the law from which n-SPSA draws with ``MidRise(bits=2, surrogate="tanh")``.

    One of "gaussian", "uniform", "logistic", "laplace", "triangular", "rademacher".
    """
    return "logistic"


@judged(
    "1.2",
    "Which noise?",
    "a line",
    law_of_tanh,
    "Blur sign(x) with noise of density p. What is the slope of the result?",
    "The slope of tanh is 1/cosh^2. Whose density is that?",
)
def _law_of_tanh(answer):
    name = answer
    need(name in LAWS, f"{answer!r} is none of the laws: {', '.join(sorted(LAWS))}")
    need(
        name == "logistic",
        f"the distribution function of the {name} law is not a tanh, and blurring a step gives the "
        "distribution function of the noise",
    )
    return "P(u < x) = (1 + tanh(...)) / 2: a step blurred with logistic noise is a tanh."


def spsa(F, theta, eps, u):
    """Return the n-SPSA estimate at ``theta``, (d,), for the directions ``u``, (n, d).

        G = 1/n sum_i [F(theta + eps u_i) - F(theta - eps u_i)] / (2 eps) u_i

    ``F`` takes points (n, d) and returns their losses (n,).
    """
    difference = F(theta + eps * u) - F(theta - eps * u)
    return difference / (2 * eps) @ u / len(u)


@judged(
    "1.3",
    "n-SPSA",
    "ten minutes",
    spsa,
    "F(theta + eps * u) are all n losses at once.",
    "A sum over i of numbers (n,) times rows (n, d) is a product: c @ u.",
)
def _spsa(answer):
    def cubic(points):
        return np.sum(points**3, axis=-1) + points[..., 0] * points[..., 1]

    random = np.random.default_rng(11)
    theta, u = random.standard_normal(5), random.standard_normal((7, 5))
    for directions in (u, u[:1]):
        wanted = spsa(cubic, theta, 0.3, directions)
        same(
            f"your estimate, n = {len(directions)},",
            ask(answer, cubic, theta, 0.3, directions),
            wanted,
        )
    return "2n evaluations and no backward pass, whatever F is made of."


def smoothed_slope(F, x, eps, u):
    """Return estimates, one for each ``u`` of the logistic law, of the slope of E F(x + eps u).

    That is the slope of F blurred with the density p of u itself, and not with q: weight the
    difference by the score, -p'(u)/p(u) = 2 e tanh(e u) with e = pi/sqrt(12), in place of u.
    """
    e = np.pi / np.sqrt(12)
    return (F(x + eps * u) - F(x - eps * u)) / (2 * eps) * 2 * e * np.tanh(e * u)


@judged(
    "1.4",
    "The slope that the blur has",
    "ten minutes",
    smoothed_slope,
    "Integrate E F(x + eps u) by parts: the derivative falls on p.",
    "Two points, x + eps u and x - eps u: each has half of the weight.",
)
def _smoothed_slope(answer):
    logistic, eps, x = LAWS["logistic"], 0.8, 0.1
    u = logistic.sample(at(5, "test"), np.empty(200_000))
    draws = ask(answer, np.sign, x, eps, u)
    slope = 2 / eps * float(logistic.pdf(np.array(x / eps)))
    need(np.shape(draws) == u.shape, f"there is to be one estimate for each u, {u.shape}")
    need(np.isfinite(draws).all(), "your estimate is not finite")
    zero_bias = 2 / eps * float(logistic.zero_bias_pdf(np.array(x / eps)))
    error = np.std(draws) / np.sqrt(len(u))
    need(
        abs(np.mean(draws) - zero_bias) > 6 * error,
        "this follows 2 q(x/eps)/eps, the zero-bias density: the weight is still u",
    )
    moments("your estimate", draws, slope)
    return "The uniform law has no such weight: its density is flat, and all of p' is at its ends."


def directions(g, u, s, beta):
    """Return FOGZO's directions (n, d) for the guide ``g``, (d,), ``u``, (n, d), and ``s``, (n,).

    v_i = sqrt(beta) s_i g/||g|| + sqrt(1 - beta) u_i
    """
    return np.sqrt(beta) * s[:, None] * g / np.linalg.norm(g) + np.sqrt(1 - beta) * u


@judged(
    "1.5",
    "FOGZO's directions",
    "a line",
    directions,
    "s is (n,), and g is (d,): s[:, None] * g is (n, d).",
    "At beta = 1 every v has the length 1, and at beta = 0 it is u.",
)
def _directions(answer):
    random = np.random.default_rng(12)
    g, u, s = 3 * random.standard_normal(4), random.standard_normal((3, 4)), np.array([1.0, -1, 1])
    quiet, loud = (np.asarray(ask(answer, times * g, u, s, 1.0)) for times in (1, 10))
    unlike(
        loud, 10 * quiet, "the length of g is still in your v: ten times g gives ten times its part"
    )
    for beta in (0.0, 1.0, 0.3):
        same(f"your v at beta = {beta:g}", ask(answer, g, u, s, beta), directions(g, u, s, beta))
    same(
        "your v, when g is ten times as long,",
        ask(answer, 10 * g, u, s, 0.9),
        directions(g, u, s, 0.9),
    )
    return "The length of g is gone: FOGZO trusts its direction and measures the rest."


def squared_length():
    """Give the mean squared length of the random part of v, for beta = 0.9 and d = 7,960.

    (That of the guide's part is beta. Compare the two before you train.)
    """
    return (1 - 0.9) * 7960


@judged(
    "1.6",
    "How much of v is noise?",
    "a line",
    squared_length,
    "The u_i have the mean 0 and the variance 1. What is E ||u||^2?",
)
def _squared_length(answer):
    same("the squared length", answer, squared_length(), 1e-3)
    return "884 times that of the guide: with beta = 0.9 FOGZO is all but n-SPSA in this network."


def turned():
    """Suppose that g had the wrong sign at every step. By which number is E[G] multiplied?"""
    return 1


@judged(
    "1.7",
    "A guide that lies",
    "a line",
    turned,
    "Write G down with -g for g, then with -s_i for s_i. What is as likely as before?",
)
def _turned(answer):
    need(answer != -1, "in G, v_i stands twice: as the direction, and where the loss is measured")
    same("the factor", answer, 1)
    return "g and -g give the same law of v, so FOGZO learns as well. The STE would not."


def needed(cosine, d, kurtosis):
    """Return how many directions n give n-SPSA this mean cosine with a linear loss's gradient.

    cosine = 1 / sqrt(1 + (d + kurtosis - 2) / n)
    """
    return (d + kurtosis - 2) / (1 / cosine**2 - 1)


@judged(
    "1.8",
    "How many directions?",
    "ten minutes",
    needed,
    "Square the cosine, and turn both sides over.",
    "1/cosine^2 - 1 = (d + kurtosis - 2) / n",
)
def _needed(answer):
    for cosine, d, kurtosis in ((0.5, 7960, 1.8), (0.9, 100, 3.0), (0.1, 7960, 1.0)):
        got = ask(answer, cosine, d, kurtosis)
        if np.ndim(got) == 0 and abs(got - needed(cosine, d, kurtosis)) < 1:
            continue  # rounded
        same(f"n for a cosine of {cosine} and d = {d}", got, needed(cosine, d, kurtosis), 1e-3)
    return "For a cosine of one half, a third of d: 2,653 directions here, and FOGZO asks for one."

"""Exercises of notebook 8, *Smoothing and bias*."""

from math import pi, sqrt

import numpy as np

from ..laws import LAWS
from ..rng import at
from .exercise import judged
from .judging import ask, close, moments, need, same, unlike


def cubic_mean(x, eps, kurtosis):
    """Return E G, the mean of the two-point estimate, of the loss L(x) = x^3.

    The noise has the mean 0, the variance 1 and the fourth moment E u^4 = ``kurtosis``.
    """
    return 3 * x**2 + kurtosis * eps**2


@judged(
    "8.1",
    "The smallest loss that tells",
    "a line",
    cubic_mean,
    "(x + h)^3 - (x - h)^3 = 6 x^2 h + 2 h^3, here with h = eps u.",
    "E u^2 = 1, and E u^4 is the kurtosis.",
)
def _cubic_mean(answer):
    x = np.array([-1.0, 0.0, 0.3, 2.0])
    for eps, kurtosis in ((0.5, 1.8), (0.5, 1.0), (2.0, 6.0)):
        got = ask(answer, x, eps, kurtosis)
        unlike(
            got,
            3 * (x**2 + eps**2),
            "this is the slope of L smoothed with p, E L'(x + eps u); it knows nothing of the "
            "kurtosis, and E G does",
        )
        unlike(got, 3 * x**2, "this is the slope of L itself, without any smoothing")
        same(
            f"E G at eps = {eps:g} and kurtosis {kurtosis:g}",
            got,
            cubic_mean(x, eps, kurtosis),
            at=x,
        )
    return "Smoothed with p it is 3 x^2 + 3 eps^2: they agree if the kurtosis is the Gaussian's."


def triangular_q(z):
    """Return the zero-bias density of the triangular law, whose density is

    p(z) = (sqrt(6) - |z|) / 6    for |z| < sqrt(6), and 0 elsewhere.
    """
    a = np.minimum(np.abs(z), sqrt(6))
    return (sqrt(6) - sqrt(6) * a**2 / 2 + a**3 / 3) / 6


@judged(
    "8.2",
    "A zero-bias density by hand",
    "ten minutes",
    triangular_q,
    "q is even: integrate s p(s) from a = |z| to sqrt(6).",
    "The integral of s (sqrt(6) - s) / 6 is (sqrt(6) s^2 / 2 - s^3 / 3) / 6.",
    "Beyond sqrt(6) q is 0: let a be at most sqrt(6).",
)
def _triangular_q(answer):
    law = LAWS["triangular"]
    z = np.array([0.0, 0.5, -0.5, 1.5, -2.0, 2.4])
    got = ask(answer, z)
    unlike(got, law.pdf(z), "this is p itself; integrate s p(s) from |z| to the end")
    same("q", got, law.zero_bias_pdf(z), at=z)
    far = np.array([-9.0, 2.5, 4.0])
    need(close(ask(answer, far), np.zeros(3)), "beyond sqrt(6), where p has ended, q is not 0")
    return "p has a corner at 0 and q has none, since q' = -z p."


def equal_blur(eps, kurtosis):
    """Return the step at which noise of this kurtosis blurs as widely as Gaussian noise at ``eps``.

    As widely: in one dimension E G is the slope of L smoothed with eps z, z of density q. Let the
    standard deviation of eps z be the same for both.
    """
    return eps * sqrt(3 / kurtosis)


@judged(
    "8.3",
    "Which law blurs least?",
    "a line",
    equal_blur,
    "The variance of q is kurtosis / 3.",
    "So eps z has the variance eps^2 kurtosis / 3, and for the Gaussian eps^2.",
)
def _equal_blur(answer):
    for kurtosis in (3.0, 1.0, 6.0):
        got = ask(answer, 0.7, kurtosis)
        need(
            kurtosis == 3 or not close(got, 0.7),
            "this makes p as wide as the Gaussian, which it is already; compare the widths of q",
        )
        need(
            kurtosis == 3 or not close(got, 0.7 * sqrt(kurtosis / 3)),
            "this widens what is wide already: turn the ratio over",
        )
        same(f"the step for a kurtosis of {kurtosis:g}", got, equal_blur(0.7, kurtosis))
    return "Rademacher numbers blur least at a given eps, and may take a step 1.73 times as long."


def ends(L, x, eps):
    """Return the slope at ``x`` of E L(x + eps u), with u uniform on [-sqrt(3), sqrt(3)].

    Two values of ``L`` are enough, and exact whatever ``L`` is: no noise is drawn.
    """
    end = sqrt(3) * eps
    return (L(x + end) - L(x - end)) / (2 * end)


@judged(
    "8.4",
    "Two values and no noise",
    "a line",
    ends,
    "E L(x + eps u) is an integral of L over an interval. What is its derivative in x?",
    "The interval is x - sqrt(3) eps to x + sqrt(3) eps.",
)
def _ends(answer):
    x = np.array([-1.2, -0.5, 0.1, 0.9, 2.0])
    for loss in (np.sin, np.exp, np.sign):
        got = ask(answer, loss, x, 0.7)
        unlike(
            got,
            (loss(x + 0.7) - loss(x - 0.7)) / 1.4,
            "this is a difference over x - eps to x + eps: the noise reaches farther",
        )
        same(f"the slope of the blurred {loss.__name__}", got, ends(loss, x, 0.7), at=x)
    return "A central difference, with a step that is not small, is exact for another function."


def law_of_erf():
    """Name the law whose two-point estimates of a sign average to the slope of erf(x / sqrt 2).

    One of "rademacher", "uniform", "triangular", "gaussian", "logistic", "laplace", or "none".
    """
    return "gaussian"


@judged(
    "8.5",
    "The law of an erf",
    "a line",
    law_of_erf,
    "The slope is sqrt(2 / pi) exp(-x^2 / 2), and half of it is to be q.",
    "p(z) = -q'(z) / z.",
)
def _law_of_erf(answer):
    name = str(answer).lower()
    need(
        name in LAWS or name == "none",
        f"{answer!r} is none of the laws: {', '.join(sorted(LAWS))}, and it is not 'none'",
    )
    need(
        name != "none",
        "there is one: the slope falls with |x|, and smoothly at 0. (One that rises would ask for "
        "a negative density)",
    )
    need(
        name == "gaussian",
        f"the q of the {name} law is not exp(-z^2 / 2) / sqrt(2 pi), half of the slope of "
        "erf(x / sqrt 2)",
    )
    return "The only law with p = q: here the surrogate's noise and the estimate's are the same."


EPSBAR_SINE = 2 / (pi * sqrt(1.3707621681544881))  # 2 / (pi sqrt(Si(pi / 2)))


def sine_noise(w):
    """Return the density of noise w whose two-point estimates average to the slope of a sine.

    The surrogate of the sign is sin(pi x / 2) for |x| < 1, and +-1 beyond; the points are x + w
    and x - w. Up to a constant the density is -s'(w) / w, with s the slope that is wanted. The
    constant, which makes its area 1, may be found by numerical integration. ``w`` is never 0.
    """
    epsbar = 0.5438  # 1 / epsbar^2 = pi^2 / 8 times the area of sin(pi |w| / 2) / |w|
    inside = np.abs(w) < 1
    return inside * epsbar**2 * pi**2 / 8 * np.sin(pi * np.abs(w) / 2) / np.abs(w)


@judged(
    "8.6",
    "Noise for a sine",
    "ten minutes",
    sine_noise,
    "s'(w) is, up to a factor, -sin(pi w / 2) for |w| < 1.",
    "The density is c sin(pi |w| / 2) / |w| for |w| < 1. Integrate numerically to find c.",
    "c = 0.365",
)
def _sine_noise(answer):
    w = np.array([-0.95, -0.5, -0.1, 0.01, 0.3, 0.7, 0.99])
    a, factor = np.abs(w), EPSBAR_SINE**2 * pi**2 / 8
    got = np.asarray(ask(answer, w))
    unlike(
        got,
        pi / 4 * np.cos(pi * w / 2),
        "this is q, half of the slope that is wanted; the noise has p",
        1e-3,
    )
    need(
        got.shape != w.shape or (got >= 0).all(),
        "the density is negative at some w: -s'(w) and w have the same sign",
    )
    same("the density", got, factor * np.sin(pi * a / 2) / a, 2e-3, at=w)
    outside = ask(answer, np.array([-1.5, 1.2, 3.0]))
    need(close(outside, np.zeros(3)), "the density is not 0 beyond |w| = 1")
    return "At 0 it is flat and at 1 it breaks off; its standard deviation is epsbar = 0.544."


def in_ball(normal, uniform):
    """Return draws z, (n, d), of the noise with which L is smoothed if u is drawn from a sphere.

    Let u be uniform on the *sphere* of radius sqrt(d), in place of independent coordinates. Then
    E G is a gradient, that of E L(x + eps z) with z uniform in the *ball* of the same radius
    (by the divergence theorem). ``normal`` has the shape (n, d), and ``uniform``, (n,), is uniform
    on (0, 1).
    """
    d = normal.shape[1]
    radius = sqrt(d) * uniform ** (1 / d)
    return radius[:, None] * normal / np.linalg.norm(normal, axis=1, keepdims=True)


@judged(
    "8.7",
    "The sphere and the ball",
    "ten minutes",
    in_ball,
    "A normal vector divided by its length is a uniform direction.",
    "The ball of r times the radius holds r^d of the volume. So how is |z| distributed?",
)
def _in_ball(answer):
    for d in (2, 5):
        stream = at(8, "test", d)
        normal = stream.normal(np.empty((40_000, d)))
        uniform = np.abs(stream.uniform(np.empty(40_000)))
        z = np.asarray(ask(answer, normal, uniform))
        need(z.shape == normal.shape, f"your z has the shape {z.shape}, not {normal.shape}")
        length = np.linalg.norm(z, axis=1)
        need(length.max() > 0 and np.isfinite(length).all(), "your z is 0, or not finite")
        need(
            np.ptp(length) > 1e-6 * length.max(),
            "all your z have the same length: they lie on a sphere, as u does, not in the ball",
        )
        share = length / sqrt(d)
        need(
            share.max() <= 1 + 1e-9,
            f"some of your z are {share.max():.3g} times as long as the ball's radius",
        )
        error = 6 * np.std(share) / sqrt(len(share))
        need(
            abs(share.mean() - 0.5) > error,
            "the distance from the centre is uniform, and the ball is not filled evenly: of its "
            "volume, a share r^d lies within a share r of the radius",
        )
        moments("(|z| / radius)^d, which should be uniform,", share**d, 1 / 2, 1 / 12)
        unit = z / length[:, None]
        moments("the first coordinate of z / |z|", unit[:, 0], 0.0, 1 / d)
        # E t^4 = 3 / (d (d + 2)) of a coordinate t of a uniform direction
        spread = 3 / (d * (d + 2)) - 1 / d**2
        moments("the square of the first coordinate of z / |z|", unit[:, 0] ** 2, 1 / d, spread)
    return "In high dimensions nearly all of the ball is at its surface, and the two blur alike."


def bias_of_ste(L, dL, value, slope):
    """Return the bias of the STE of a sign: its mean, less the slope of E L(sign(x + eps u)).

    ``value`` and ``slope`` are those of the matched surrogate at x, so that E sign(x + eps u) is
    ``value`` and its slope is ``slope``. The STE returns ``slope`` times the derivative ``dL`` of
    ``L`` at the quantised weight, which is sign(x + eps u). ``L`` may be any function.
    """
    up, down = (1 + value) / 2, (1 - value) / 2
    return slope * (up * dL(1.0) + down * dL(-1.0) - (L(1.0) - L(-1.0)) / 2)


@judged(
    "8.8",
    "Two tangents and a chord",
    "ten minutes",
    bias_of_ste,
    "sign(x + eps u) is 1 with the probability (1 + value) / 2.",
    "E L(sign(x + eps u)) is a straight line in value: what is its slope in x?",
)
def _bias_of_ste(answer):
    value, slope = np.array([-0.9, -0.2, 0.0, 0.5]), np.array([0.3, 1.2, 1.5, 0.8])

    def cubic(w):
        return 0.4 * w + 0.4 * w**2 + 0.25 * w**3

    def its_slope(w):
        return 0.4 + 0.8 * w + 0.75 * w**2

    losses = {
        "a cubic": (cubic, its_slope),
        "exp": (np.exp, np.exp),
        "cos": (np.cos, lambda w: -np.sin(w)),
    }
    for name, (loss, derivative) in losses.items():
        got = ask(answer, loss, derivative, value, slope)
        mean = slope * ((1 + value) / 2 * derivative(1.0) + (1 - value) / 2 * derivative(-1.0))
        chord = loss(1.0) - loss(-1.0)
        wanted = bias_of_ste(loss, derivative, value, slope)
        need(
            not close(got, mean) or close(got, wanted),
            "this is the mean of the STE; the slope is still to be taken off",
        )
        need(
            not close(got, mean - slope * chord) or close(got, wanted),
            "L(1) - L(-1) is a rise over a length of 2",
        )
        unlike(
            got,
            slope * (derivative(value) - chord / 2),
            "dL is taken at the mean of the quantised weight, which takes two values only: "
            "average dL over them",
        )
        same(f"the bias for {name}", got, wanted)
    linear = ask(answer, lambda w: 3 * w, lambda w: 3.0, value, slope)
    need(close(linear, np.zeros(4)), "the bias for a linear loss is not 0")
    return "Two tangents against the chord: for a linear loss they agree, and for no other kind."

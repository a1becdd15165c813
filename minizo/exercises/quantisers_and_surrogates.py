"""Exercises of notebook 3, *Quantisers and surrogates*."""

import numpy as np

from .exercise import judged
from .judging import ask, is_pair, need, same, unlike


def best_scale(x):
    """Return the scale a for which a sign(x) is nearest to ``x``, (n,), in squared error."""
    return np.mean(np.abs(x))


@judged(
    "3.1",
    "The nearest binary filter",
    "a line",
    best_scale,
    "Write sum (x_i - a sign(x_i))^2 as a parabola in a.",
    "x_i sign(x_i) is |x_i|, and sign(x_i)^2 is 1.",
)
def _best_scale(answer):
    random = np.random.default_rng(31)
    for x in (random.standard_normal(50), 0.1 * random.standard_normal(7) + 0.05):
        a = ask(answer, x)
        need(np.shape(a) == (), f"the scale is to be one number, and has the shape {np.shape(a)}")
        for other in (np.std(x), np.sqrt(np.mean(x**2))):
            need(
                abs(a - other) > 1e-9,
                "this is the scale that keeps the length of x, and a shorter one is nearer",
            )
        same("the scale", a, best_scale(x))
    return "XNOR-Net's scale: where the error is least, and not a matter of taste."


def gain_of_dorefa():
    """The largest of |tanh w| in a layer is 0.25. Give the gain of DoReFa's calibration there.

    (The gain: the area below the slope, divided by the 2 that the slope of a smoothed sign has.)
    """
    return 1 / 0.25


@judged(
    "3.2",
    "The gain of a calibration",
    "a line",
    gain_of_dorefa,
    "c(x) = (1 - tanh(x)^2) / max|tanh|. What is the integral of 1 - tanh(x)^2?",
)
def _gain_of_dorefa(answer):
    need(answer != 8, "8 is the area; the smoothing of a sign has the area 2 already")
    same("the gain", answer, 4, 1e-3)
    return "While weights are small, DoReFa is an STE whose learning rate is four times as large."


def blurred_sign(x):
    """Return E sign(x + u) for ``u`` of the triangular law on [-1, 1], density 1 - |u|.

    ``x`` is an array of any shape.
    """
    near = np.clip(x, -1, 1)
    return near * (2 - np.abs(near))


@judged(
    "3.3",
    "A step, blurred",
    "ten minutes",
    blurred_sign,
    "E sign(x + u) = 1 - 2 P(u < -x) = 2 P(u < x) - 1.",
    "For 0 <= x <= 1, P(u < x) is 1/2 and the integral of 1 - u from 0 to x.",
    "That is 1/2 + x - x^2/2. And below 0 everything has the other sign.",
)
def _blurred_sign(answer):
    x = np.array([-3.0, -1.0, -0.5, -0.1, 0.0, 0.2, 0.7, 1.0, 1.5])
    got = ask(answer, x)
    need(
        np.shape(got) != x.shape or abs(got[4] - 0.5) > 1e-6,
        "at x = 0 it is 0.5: this is P(u < x), and the sign goes from -1 to 1",
    )
    unlike(got, np.clip(x, -1, 1), "this is the sign blurred with the uniform law (hardtanh)")
    same("the blurred sign", got, blurred_sign(x), at=x)
    return "This is Bi-Real Net's ApproxSign, found by its authors as a parabola that fits."


def spread(x, slope):
    """Return the standard deviation of the noise that a slope implies.

    ``slope``, (n,), are its values on the even grid ``x``, (n,), outside of which it is 0. Its gain
    may be any.
    """
    density = slope / np.sum(slope)
    mean = np.sum(density * x)
    return np.sqrt(np.sum(density * (x - mean) ** 2))


@judged(
    "3.4",
    "How much noise?",
    "ten minutes",
    spread,
    "Make a density of the slope: it sums to 1.",
    "The noise may have a mean of its own, which is not part of its spread.",
)
def _spread(answer):
    x = np.linspace(-3, 3, 1201)
    for slope, gain in ((1.0 * (np.abs(x) <= 1), 1), (2 * np.maximum(1 - np.abs(x), 0), 5)):
        slope = gain * slope
        got, wanted = ask(answer, x, slope), spread(x, slope)
        need(
            np.shape(got) != () or abs(got - wanted**2) > 1e-4,
            f"this is the variance, {wanted**2:.3f}; its root is asked for",
        )
        says = "the standard deviation" + f", with a gain of {gain}," * (gain > 1)
        same(says, got, wanted, 5e-3)
    x, slope = x + 0.5, np.maximum(1 - np.abs(x), 0)  # a bell that is not over 0
    same("the standard deviation of a bell over 0.5", ask(answer, x, slope), spread(x, slope), 5e-3)
    return "The gain is a learning rate; the spread is what a surrogate says about the network."


def exact_backward(x, dw, slope):
    """Return dL/dx for the weights w = mean|x| sign(x), both factors of which move.

    ``x`` and ``dw`` are (n,); ``slope``, (n,), stands for the derivative of sign at x.
    """
    return np.mean(np.abs(x)) * dw * slope + np.sign(x) * np.mean(dw * np.sign(x))


@judged(
    "3.5",
    "The exact rule",
    "ten minutes",
    exact_backward,
    "w_i = a s_i is a product: its derivative by x_j has two terms.",
    "da/dx_j = sign(x_j)/n, and a stands in every w_i: sum over i.",
)
def _exact_backward(answer):
    random = np.random.default_rng(32)
    x, dw = random.standard_normal((2, 12))
    a, s, slope = np.mean(np.abs(x)), np.sign(x), (np.abs(x) <= 1).astype(float)
    got = ask(answer, x, dw, slope)
    others = {
        "here the scale is a constant": a * dw * slope,
        "this is the paper's rule: the sum over all weights of the filter is lost": dw
        * (1 / len(x) + a * slope),
        "a sum stands where a mean belongs: dw is to be multiplied by 1/n": a * dw * slope
        + s * np.sum(dw * s),
        "only the scale moves here; sign has a slope, too": s * np.mean(dw * s),
    }
    for says, other in others.items():
        unlike(got, other, says)
    same("dL/dx", got, exact_backward(x, dw, slope))
    return "One number, mean(dw sign(x)), reaches every weight of the filter: the scale's part."


def standardised_backward(x, dy):
    """Return dL/dx for y = (x - mean(x)) / std(x), given ``dy`` = dL/dy.

    ``x`` and ``dy`` are (filters, n); mean and standard deviation are those of each filter.
    """
    deviation = np.std(x, axis=1, keepdims=True)
    y = (x - np.mean(x, axis=1, keepdims=True)) / deviation
    along = np.mean(dy * y, axis=1, keepdims=True)
    return (dy - np.mean(dy, axis=1, keepdims=True) - y * along) / deviation


@judged(
    "3.6",
    "Through mean and deviation",
    "an hour",
    standardised_backward,
    "Two directions of x do not change y. Which? Along them dL/dx must vanish.",
    "With m and d for mean and deviation: dm/dx_j = 1/n and dd/dx_j = y_j/n.",
    "dy_i/dx_j = ([i = j] - 1/n - y_i y_j/n) / d. Now sum dy_i times this over i.",
)
def _standardised_backward(answer):
    random = np.random.default_rng(33)
    x, dy = random.standard_normal((2, 3, 20))
    x = 0.3 * x + 1
    dx = np.asarray(ask(answer, x, dy))
    need(dx.shape == x.shape, f"dL/dx has the shape {dx.shape}, and should have {x.shape}")
    size = np.max(np.abs(dx))
    need(
        np.allclose(np.sum(dx, axis=1), 0, atol=1e-8 * size),
        "y does not change when a number is added to the whole filter, and this gradient says "
        "that it does: the mean's part is missing",
    )
    need(
        np.allclose(np.sum(dx * x, axis=1), 0, atol=1e-8 * size),
        "y does not change when the filter is made longer, and this gradient says that it does: "
        "the deviation's part is missing",
    )
    same("dL/dx", dx, standardised_backward(x, dy))
    return "What the forward map throws away, mean and length, the backward takes out of dy."


def bop_step(w, m, gradient, gamma, threshold):
    """Return the weights and the average after a step of Bop: ``(w, m)``.

    m <- (1 - gamma) m + gamma gradient; a weight, +1 or -1, turns where |m| is above the threshold
    and m has its sign, so that turning makes the loss smaller.
    """
    m = (1 - gamma) * m + gamma * gradient
    return np.where(w * m > threshold, -w, w), m


@judged(
    "3.7",
    "Weights without latent weights",
    "ten minutes",
    bop_step,
    "w * m is positive where m has the sign of w.",
    "Where w m is above the threshold, -w, elsewhere w: np.where.",
)
def _bop_step(answer):
    random = np.random.default_rng(34)
    m, gradient = 0.02 * random.standard_normal(40), random.standard_normal(40)
    w = np.where(random.random(40) < 0.5, 1.0, -1.0)
    got = ask(answer, w, m, gradient, 0.1, 0.05)
    need(is_pair(got), "two things are to be returned, w and m")
    new, after = got
    right, average = bop_step(w, m, gradient, 0.1, 0.05)
    same("the average m", after, average)
    need(np.shape(new) == w.shape and np.all(np.abs(new) == 1), "a weight is not +1 or -1")
    uphill = np.where(w * average < -0.05, -w, w)
    need(
        not np.array_equal(new, uphill),
        "the loss rises along the gradient, and so does this: "
        "a weight turns if m has the weight's own sign",
    )
    both = np.where(np.abs(average) > 0.05, -w, w)
    need(not np.array_equal(new, both), "it turns weights that are right already: look at m's sign")
    old = np.where(w * m > 0.05, -w, w)
    need(not np.array_equal(new, old), "it decides with m as it was before the step")
    same("w", new, right)
    return "No latent weight and no learning rate: what remains of both is the average m."


def thirty():
    """``Sign("tanh")`` has the slope 1/cosh^2(x/a). Give a the value 30 mean|x|.

    By what factor does the slope of the smallest weights exceed that of one with |x| = 3 mean|x|?
    """
    return np.cosh(3 / 30) ** 2


@judged(
    "3.8",
    "A very wide tanh",
    "a line",
    thirty,
    "The smallest weights are at the top of the bell.",
    "1/cosh^2(0) is 1.",
)
def _thirty(answer):
    need(abs(answer - np.cosh(0.1)) > 1e-4, "this is cosh; the slope has its square")
    need(abs(answer - np.cosh(3) ** 2) > 1, "this is the factor for a = mean|x|")
    same("the factor", answer, thirty(), 1e-3)
    return (
        "1.01: with noise that wide the tanh is an identity, and batch normalisation takes the "
        "levels' size away. The network does not notice."
    )

"""Exercises of notebook 4, *A convolutional network of signs*."""

import numpy as np

from .exercise import judged
from .judging import ask, is_pair, need, same, unlike


def _convolution(W, x):
    # (F, C, k, k), (N, C, H, W) -> (N, F, H', W')
    windows = np.lib.stride_tricks.sliding_window_view(x, W.shape[2:], axis=(2, 3))
    return np.einsum("ncijab,fcab->nfij", windows, W)


def filters_gradient(x, dy):
    """Return dL/dW, (F, C, k, k), of the convolution y of section 1, given ``dy`` = dL/dy.

    ``x`` is (N, C, H, H) and ``dy`` (N, F, H - k + 1, H - k + 1): k is found from the two shapes.
    """
    k = x.shape[2] - dy.shape[2] + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
    return np.einsum("nfij,ncijab->fcab", dy, windows)


@judged(
    "4.1",
    "What a filter is told",
    "ten minutes",
    filters_gradient,
    "y is linear in W: what W[f, c, a, b] is multiplied by, times dy, summed.",
    "sliding_window_view of section 1 has all x[n, c, i + a, j + b]; np.einsum sums them.",
)
def _filters_gradient(answer):
    random = np.random.default_rng(41)
    for k in (3, 4):
        x, dy = random.standard_normal((2, 3, 7, 7)), random.standard_normal((2, 5, 8 - k, 8 - k))
        got, wanted = ask(answer, x, dy), filters_gradient(x, dy)
        unlike(
            got,
            wanted[:, :, ::-1, ::-1],
            "the filters are turned by half a turn: W[a, b] meets x[i + a, j + b], not x[i - a, "
            "j - b]",
        )
        same(f"dL/dW for k = {k}", got, wanted)
    return "A convolution again: of the picture, with dy as its filter."


def picture_gradient(W, dy):
    """Return dL/dx, (N, C, H, H), of the same convolution, given ``dy`` = dL/dy.

    ``W`` is (F, C, k, k), and ``dy`` (N, F, H - k + 1, H - k + 1).
    """
    (_, C, k, _), (N, _, h, _) = W.shape, dy.shape
    dx = np.zeros((N, C, h + k - 1, h + k - 1))
    for a in range(k):
        for b in range(k):
            dx[:, :, a : a + h, b : b + h] += np.einsum("fc,nfij->ncij", W[:, :, a, b], dy)
    return dx


@judged(
    "4.2",
    "What the picture is told",
    "an hour",
    picture_gradient,
    "Which y does one number of x stand in? Or, easier: where does one dy go back to?",
    "dy[n, f, i, j] W[f, c, a, b] is added at x[n, c, i + a, j + b].",
    "Two loops over a and b; for each, all n, f, i and j at once.",
)
def _picture_gradient(answer):
    random = np.random.default_rng(42)
    W, dy = random.standard_normal((4, 2, 3, 3)), random.standard_normal((2, 4, 5, 5))
    got, wanted = ask(answer, W, dy), picture_gradient(W, dy)
    unlike(
        got,
        picture_gradient(W[:, :, ::-1, ::-1], dy),
        "the filter stands the wrong way round: dx[i + a, j + b] gets W[a, b] dy[i, j]",
    )
    same("dL/dx", got, wanted)
    x = random.standard_normal(wanted.shape)
    gap = abs(np.sum(dy * _convolution(W, x)) - np.sum(np.asarray(got) * x))
    need(gap < 1e-8, "the sum of dy * y is not that of dx * x, as for every linear map")
    return "Where windows overlap, what they send back adds up."


def sign_backward(x, dy):
    """Return what an activation sign(x) of this network hands back, given ``dy``.

    The straight-through estimator with the slope of `hardtanh`, -1 and 1 included.
    """
    return dy * (np.abs(x) <= 1)


@judged(
    "4.3",
    "Through an activation",
    "a line",
    sign_backward,
    "hardtanh(x) is x between -1 and 1, and constant outside.",
)
def _sign_backward(answer):
    x = np.array([-2.5, -1.0, -0.3, 0.0, 0.6, 1.0, 1.7])
    dy = np.array([1.0, 2.0, -3.0, 0.5, 1.5, -1.0, 2.5])
    got = ask(answer, x, dy)
    unlike(got, dy, "this is the identity, as for weights: beyond -1 and 1 nothing comes back")
    unlike(
        got, dy * np.clip(x, -1, 1), "this multiplies with hardtanh itself, and not with its slope"
    )
    same("what comes back", got, sign_backward(x, dy), at=x)
    return "An activation comes back with the next picture; a weight that is stopped stays away."


def behind_norm():
    """Batch normalisation takes 3 y in place of y. By which number is its dL/d(input) multiplied?

    (Its small number beside the variance is 0.)
    """
    return 1 / 3


@judged(
    "4.4",
    "A scale in front of a norm",
    "a line",
    behind_norm,
    "bn(3 y) = bn(y). Differentiate both sides by y.",
)
def _behind_norm(answer):
    need(answer != 1, "the output is the same, and an input three times as large moves it less")
    need(answer != 3, "upside down: a step of the same size now moves the output less")
    same("the factor", answer, 1 / 3, 1e-3)
    return (
        "Going on to the weights, 3 w in place of w, it is multiplied by 3 again: "
        "alpha drops out of the gradient, too."
    )


def threshold(gamma, beta, mean, deviation):
    """Return t and s, (channels,) each, such that sign(bn(y)) = s sign(y - t) for every y.

    bn(y) = gamma (y - mean) / deviation + beta, all of them (channels,), deviation > 0, gamma not 0
    but of either sign.
    """
    return mean - beta * deviation / gamma, np.sign(gamma)


@judged(
    "4.5",
    "A norm that is a threshold",
    "ten minutes",
    threshold,
    "At which y is bn(y) zero?",
    "If gamma is negative, bn falls.",
)
def _threshold(answer):
    random = np.random.default_rng(43)
    gamma, beta, mean, deviation = random.standard_normal((4, 9))
    deviation = np.abs(deviation) + 0.3
    got = ask(answer, gamma, beta, mean, deviation)
    need(is_pair(got), "two things are to be returned, t and s")
    t, s = threshold(gamma, beta, mean, deviation)
    unlike(
        got[0],
        2 * mean - t,
        "beta stands on the wrong side: where bn(y) = 0, gamma (y - mean) / deviation is -beta",
    )
    same("t", got[0], t)
    need(not np.all(np.asarray(got[1]) == 1), "s is 1 everywhere, and gamma may be negative")
    same("s", got[1], s)
    return "Four numbers a channel become one comparison: normalisation costs a chip nothing."


def masked_product(w_bits, x_bits, inside):
    """Return w . x for each row of ``x_bits``, where x is 0 at the places outside of the picture.

    All three hold 8 places a byte, as np.packbits makes them. ``w_bits`` is (B,), ``x_bits`` and
    ``inside`` are (N, B); a bit of ``inside`` is 0 where x is 0 (there x_bits says nothing).
    """
    known = np.bitwise_count(inside).sum(axis=1, dtype=np.int64)
    different = np.bitwise_count((w_bits ^ x_bits) & inside).sum(axis=1, dtype=np.int64)
    return known - 2 * different


@judged(
    "4.6",
    "Zeros at the border",
    "ten minutes",
    masked_product,
    "Only places inside can agree or differ.",
    "a ^ b has the differences; & keeps some.",
)
def _masked_product(answer):
    random = np.random.default_rng(44)
    # 400 places of which most differ: a count in bytes would overflow
    w = np.where(random.random(400) < 0.9, 1, -1)
    x = np.where(random.random((30, 400)) < 0.2, 1, -1)
    inside = random.random((30, 400)) < 0.95
    w_bits, x_bits, mask = np.packbits(w > 0), np.packbits(x > 0, axis=1), np.packbits(inside, 1)
    full = np.full_like(mask, 255)
    got = np.asarray(ask(answer, w_bits, x_bits, full))
    need(
        got.dtype.kind != "u",
        "the result is unsigned, and a product may be negative: sum with dtype=np.int64",
    )
    unlike(got, -x @ w, "the sign is wrong: bits that differ make the product smaller")
    same("the product, with no zeros,", got, x @ w)
    got, wanted = np.asarray(ask(answer, w_bits, x_bits, mask)), (x * inside) @ w
    need(
        not np.array_equal(got, wanted + np.sum(~inside, 1)),
        "zeros are counted as places that agree: K is the number of places inside",
    )
    same("the product, with zeros,", got, wanted)
    return "Three operations for 8 places, or 64: with a mask, bits do for -1, 0 and 1."


def smaller():
    """How many times smaller than in float32 is this network, if conv2 alone is binary?

    conv1, fc and batch normalisation stay in float32: ``quantized=models.weights(net, ends=False)``
    means that. (With all three layers binary it is 28 times. The sizes are in section 2.)
    """
    return 28_996 * 32 / (12_800 + (28_996 - 12_800) * 32)


@judged(
    "4.7",
    "Ends in full precision",
    "a line",
    smaller,
    "Count bits: 32 for a number, 1 for a weight of conv2.",
)
def _smaller(answer):
    need(
        abs(answer - 28_880 / 16_080) > 2e-3,
        "the bits of conv2 and the numbers of batch normalisation take room, too",
    )
    same("the factor", answer, smaller(), 1e-2)
    return "1.75: more than half of the weights are in the last layer."


def rough_outputs():
    """Leave the last batch normalisation out. Give the standard deviation of an output at first.

    fc sums 1,568 activations of -1 or 1, times weights of -1 or 1 (alpha = 1): take them as
    independent and both signs as equally likely.
    """
    return np.sqrt(1568)


@judged(
    "4.8",
    "Without the last norm",
    "a line",
    rough_outputs,
    "Each product is -1 or 1: its mean is 0, and its variance 1.",
    "Variances of independent numbers add up.",
)
def _rough_outputs(answer):
    need(answer != 1568, "1,568 is the variance, and the largest sum there can be")
    same("the standard deviation", answer, rough_outputs(), 1e-2)
    return (
        "40 nats between two classes: with levels of -1 and 1 the loss of the first steps is in "
        "the tens. The alpha of this network's fc, 0.028, makes 40 into 1.1."
    )

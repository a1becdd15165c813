"""Exercises of notebook 0, *Backpropagation by hand*."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .exercise import judged
from .judging import ask, need, same, unlike


def numbers(*shape, seed=0):
    """Random numbers that the judges ask with."""
    return np.random.default_rng(seed).standard_normal(shape)


def sigmoid_backward(s, ds):
    """Return dL/dx of s = 1 / (1 + exp(-x)), for the output ``s`` and ``ds`` = dL/ds."""
    return ds * s * (1 - s)


@judged(
    "0.1",
    "Sigmoid",
    "a line",
    sigmoid_backward,
    "What is ds/dx? Write it with s.",
    "exp(-x) = 1/s - 1.",
)
def _sigmoid_backward(answer):
    s, ds = 1 / (1 + np.exp(-numbers(3, 4))), numbers(3, 4, seed=1)
    got = ask(answer, s, ds)
    unlike(
        got, s * (1 - s), "this is ds/dx; the chain rule multiplies it by what comes from above, ds"
    )
    same("dL/dx", got, sigmoid_backward(s, ds))
    return "The output is enough: a sigmoid need not keep its input for the backward."


def squared_error_backward(z, t):
    """Return dL/dz of L = 1/N sum_n ||z_n - t_n||^2 / 2, for ``z`` and ``t`` of shape (N, K)."""
    return (z - t) / len(z)


@judged(
    "0.2",
    "Squared error",
    "a line",
    squared_error_backward,
    "z_nk stands in one term of the sum alone.",
)
def _squared_error_backward(answer):
    z, t = numbers(5, 3), numbers(5, 3, seed=1)
    same("dL/dz", ask(answer, z, t), squared_error_backward(z, t))
    return "Output minus target, over N: as for softmax with cross-entropy, with p in place of z."


def cost():
    """A linear layer's forward takes M multiply-accumulates: how many M does its backward take?

    It has to give dL/dW and dL/dx.
    """
    return 2


@judged(
    "0.3",
    "What a backward costs",
    "a line",
    cost,
    "Each of dL/dW = dy^T x and dL/dx = dy W is a product of two matrices.",
    "Which three sizes does each product run over?",
)
def _cost(answer):
    need(answer != 1, "dL/dW alone takes M of them, and dL/dx is wanted, too")
    need(answer != 3, "a forward and a backward together take 3 M")
    same("the number", answer, 2)
    return "The first layer can save half of it: nobody asks for dL/d(image)."


def max_pool_backward(x, dy):
    """Return dL/dx of 2 x 2 max pooling, for ``x`` (N, H, W) and ``dy`` (N, H/2, W/2).

    No two numbers of a window are equal.
    """
    n, height, width = x.shape
    windows = x.reshape(n, height // 2, 2, width // 2, 2)
    largest = windows == windows.max(axis=(2, 4), keepdims=True)
    return (largest * dy[:, :, None, :, None]).reshape(x.shape)


@judged(
    "0.4",
    "Max pooling",
    "ten minutes",
    max_pool_backward,
    "x.reshape(n, H/2, 2, W/2, 2) has a window on the axes 2 and 4.",
    "Compare the windows with their maxima, kept as axes of length 1.",
)
def _max_pool_backward(answer):
    x, dy = numbers(2, 4, 6), numbers(2, 2, 3, seed=1)
    got, wanted = np.asarray(ask(answer, x, dy)), max_pool_backward(x, dy)
    spread = np.repeat(np.repeat(dy, 2, 1), 2, 2)
    for share in (1, 0.25):
        unlike(
            got, share * spread, "every number of a window gets a share; only the largest reached y"
        )
    same("dL/dx", got, wanted)
    return "The others moved nothing, so they get 0: a max is a switch."


def twice_backward(W, x, dy):
    """Return dL/dW of y = W (W x): the same ``W`` (d, d) twice, ``x`` and ``dy`` of shape (d,)."""
    return np.outer(dy, W @ x) + np.outer(W.T @ dy, x)


@judged(
    "0.5",
    "A weight used twice",
    "ten minutes",
    twice_backward,
    "Call the two W's A and B: y = A (B x). What are dL/dA and dL/dB?",
    "L(W) = L(A = W, B = W): add the two.",
)
def _twice_backward(answer):
    W, x, dy = numbers(4, 4), numbers(4, seed=1), numbers(4, seed=2)
    got = np.asarray(ask(answer, W, x, dy))
    for one, which in ((np.outer(dy, W @ x), "outer"), (np.outer(W.T @ dy, x), "inner")):
        unlike(
            got, one, f"this is the {which} W's share alone: a weight that is used twice gets both"
        )
    same("dL/dW", got, twice_backward(W, x, dy))
    return "Shares of all uses add up. A convolution is this, with a use for each place."


def rms_norm_backward(x, dy):
    """Return dL/dx of y = x / r, r = sqrt(mean x^2) over the last axis, for (N, d)."""
    r = np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    y = x / r
    return (dy - y * np.mean(dy * y, axis=-1, keepdims=True)) / r


@judged(
    "0.6",
    "RMS normalisation",
    "ten minutes",
    rms_norm_backward,
    "dr/dx_i = x_i / (d r).",
    "x_i reaches L through its own y_i, and through r through all of them.",
)
def _rms_norm_backward(answer):
    x, dy = 2 * numbers(3, 5), numbers(3, 5, seed=1)
    r = np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    got = np.asarray(ask(answer, x, dy))
    unlike(got, dy / r, "this holds r fast: r depends on every x of the row, too")
    same("dL/dx", got, rms_norm_backward(x, dy))
    return "It is orthogonal to x: y does not change where x grows, so neither does L."


def step_exponent():
    """Central differences of a loss near 1 are off by about h^2 + u/h, u being the rounding error.

    The best h is u to which power?
    """
    return 1 / 3


@judged(
    "0.7",
    "How far to step",
    "ten minutes",
    step_exponent,
    "Set the derivative of h^2 + u/h to 0.",
)
def _step_exponent(answer):
    unlike(answer, 0.5, "that is the best step of a one-sided difference, off by h + u/h")
    same("the power", answer, 1 / 3, 1e-2)
    return "h = 6e-6 in float64, with an error of 4e-11; in float32 4e-3, with one of 1e-5."


def conv_input_backward(W, dy):
    """Return dL/dx of a convolution with ``W`` (O, C, k, k) and stride 1, for ``dy`` (N, O, H, W).

    Write it without a loop over places: as a convolution of ``dy``, padded by k - 1 zeros, with
    the kernel turned by 180 degrees and its two channel axes exchanged.
    """
    k = W.shape[-1]
    padded = np.pad(dy, ((0, 0), (0, 0), (k - 1, k - 1), (k - 1, k - 1)))
    windows = sliding_window_view(padded, (k, k), axis=(2, 3))
    return np.einsum("nohwab,ocab->nchw", windows, W[:, :, ::-1, ::-1])


@judged(
    "0.8",
    "The backward of a convolution is one",
    "an hour",
    conv_input_backward,
    "Do one channel and one dimension on paper: y_i = sum_a W_a x_(i+a).",
    "x_j stands in y_(j-a) with W_a: dx_j = sum_a W_a dy_(j-a).",
    "Pad dy, take sliding_window_view over (k, k), and turn W with W[:, :, ::-1, ::-1].",
)
def _conv_input_backward(answer):
    W, dy = numbers(2, 3, 3, 3), numbers(2, 2, 4, 5, seed=1)
    got, wanted = np.asarray(ask(answer, W, dy)), conv_input_backward(W, dy)
    unturned = conv_input_backward(W[:, :, ::-1, ::-1], dy)
    unlike(
        got,
        unturned,
        "the kernel is not turned: the pixel that W[a, b] saw lies at +a, so dy is asked at -a",
    )
    same("dL/dx", got, wanted)
    return "The backward of a convolution is one: what frameworks call a transposed convolution."

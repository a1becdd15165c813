"""Exercises of notebook 5, *Learned gradients*."""

from itertools import pairwise

import numpy as np

from .exercise import judged
from .judging import ask, need, same, unlike


def collapsed(matrices):
    """Return the one number that a generator without biases and nonlinearity multiplies g with.

    ``matrices`` are those of its layers from g to G, each (outputs, inputs); the first has one
    input and the last one output, and there may be any number between them.
    """
    c = np.eye(1)
    for matrix in matrices:
        c = matrix @ c
    return float(c[0, 0])


@judged(
    "5.1",
    "Two hundred weights, one number",
    "a line",
    collapsed,
    "g goes through the first matrix, then the second: W2 @ (W1 @ g).",
    "The matrix nearest to G stands on the left.",
)
def _collapsed(answer):
    random = np.random.default_rng(51)
    for widths in ((1, 5, 1), (1, 1), (1, 4, 3, 1)):
        layers = [random.standard_normal(pair[::-1]) for pair in pairwise(widths)]
        got = ask(answer, layers)
        need(np.size(got) == 1, f"one number is asked for, and yours has the shape {np.shape(got)}")
        sums = float(np.prod([layer.sum() for layer in layers]))
        need(
            len(layers) == 1 or not np.allclose(got, sums),
            "this is the product of the matrices' sums: every hidden number has weights of its own",
        )
        same(f"c for the widths {widths}", np.reshape(got, ()), collapsed(layers))
    return "However many layers: what cannot bend g can only scale it."


def log_gain_slope(r, slope, g, a, eta):
    """Return dL/da for a gain that cannot change its sign, c = exp(a).

    The step is W - eta exp(a) c(W) g with c(W) = ``slope``, (d,), and the gradient of the loss at
    its end is ``r``, (d,).
    """
    return -eta * np.exp(a) * np.sum(r * slope * g)


@judged(
    "5.2",
    "A gain that keeps its sign",
    "ten minutes",
    log_gain_slope,
    "Section 1 has dL/dc. What is dc/da?",
)
def _log_gain_slope(answer):
    random = np.random.default_rng(52)
    W, slope, g = random.normal(size=5), random.uniform(0.2, 1, 5), random.normal(size=5)
    for a, eta in ((0.0, 0.1), (1.5, 0.1), (-0.7, 0.02)):
        r = 3 * (W - eta * np.exp(a) * slope * g) ** 2  # of L = sum W^3
        got, wanted = ask(answer, r, slope, g, a, eta), log_gain_slope(r, slope, g, a, eta)
        need(np.ndim(got) == 0, f"dL/da is one number, and yours has the shape {np.shape(got)}")
        what = f"dL/da at a = {a:g}"
        need(
            a == 0 or not np.isclose(got, wanted / np.exp(a)),
            f"{what} is that of c: exp(a) is missing",
        )
        unlike(got, -eta * np.exp(a) * np.sum(r * g), f"{what} forgets the slope c(W)")
        same(what, got, wanted)
    return "Half of FCGrad's seeds begin uphill. None of these does."


def first_move(u, v, delta):
    """Return by how much c = sum_k u_k v_k changes in Adam's first step.

    ``u`` and ``v`` are the two layers' weights, (100,). The first step of Adam moves every weight
    by delta, whatever the size of its derivative; let c be asked to grow.
    """
    return np.sum((u + delta * np.sign(v)) * (v + delta * np.sign(u))) - np.sum(u * v)


@judged(
    "5.3",
    "Why FCGrad's gain is so fast",
    "ten minutes",
    first_move,
    "dc/du_k = v_k: u_k moves by delta sign(v_k), if c is to grow.",
    "(u + du)(v + dv) - u v = u dv + v du + du dv",
)
def _first_move(answer):
    random = np.random.default_rng(53)
    for size, delta in ((0.1, 0.01), (1.0, 0.001)):
        u, v = size * random.standard_normal((2, 100))
        got, wanted = ask(answer, u, v, delta), first_move(u, v, delta)
        first = delta * np.sum(np.abs(u) + np.abs(v))
        unlike(got, delta, "so far moves a gain that is written as one number")
        unlike(
            got,
            np.sum((u + delta) * (v + delta)) - np.sum(u * v),
            "not all derivatives are positive: that of u_k is v_k, up to a positive factor",
        )
        second = wanted - first
        unlike(got, first, f"the product of both moves is missing, {second:.2g} here", 1e-9)
        same("the change of c", got, wanted)
    return (
        "Some 16 times delta for weights of .1, where the plain gain moves by delta: it is a rate."
    )


def gate_gain(y, w):
    """Return the slope at g = 0 of S(g) = y silu(w g), where silu(z) = z / (1 + exp(-z)).

    It is the last line of a Mamba block for one channel; y holds what is remembered.
    """
    return y * w / 2


@judged(
    "5.4",
    "The gate",
    "a line",
    gate_gain,
    "silu(z) = z s(z), with s the logistic function. What is s(0)?",
)
def _gate_gain(answer):
    for y, w in ((1.0, 1.0), (-0.3, 2.0), (5.0, 0.1)):
        got, wanted = ask(answer, y, w), gate_gain(y, w)
        unlike(got, y * w, "the slope of silu at 0 is not 1: the gate is half closed there")
        if w != 1:
            unlike(got, y / 2, "the chain rule: the gate is silu(w g)")
        same(f"the slope for y = {y:g}, w = {w:g}", got, wanted)
    return "The memory y can change the gain, and S(0) = 0 whatever it holds: no momentum."


def changed():
    """``FSGScaled`` divides the history by its size before the slow-net sees it.

    Section 3 says (i) g = 0 gives S = 0, and (ii) S = K g + O(g^2) for small gradients. Which of
    the two does that change? Answer "i" or "ii".
    """
    return "ii"


@judged(
    "5.5",
    "Scaled histories",
    "a line",
    changed,
    "What is 0 divided by a size, and what becomes of 0.001 beside others of 0.001?",
)
def _changed(answer):
    name = str(answer).strip("()").lower()
    need(name in ("i", "ii"), f"{answer!r} is neither i nor ii")
    need(name == "ii", "a present gradient of 0 is still 0 after the division, and closes the gate")
    return "The net never sees small gradients then, so it may bend, and does read a little."


def resting_gain(a, eta):
    """Return the c at which a learned gain stops growing on L(w) = a w^2 / 2.

    Its step is w - eta c L'(w), and c follows the loss after the step.
    """
    return 1 / (eta * a)


@judged(
    "5.6",
    "Where a gain stops",
    "a line",
    resting_gain,
    "dL/dc = 0 at the end of the step: where is the gradient 0?",
)
def _resting_gain(answer):
    for a, eta in ((1.0, 0.01), (4.0, 0.1), (0.5, 1.0)):
        got, wanted = ask(answer, a, eta), resting_gain(a, eta)
        unlike(
            got, 2 * wanted, "at twice the right c the loss after the step is what it was before"
        )
        same(f"c for a = {a:g} and eta = {eta:g}", got, wanted)
    return "With it the step is Newton's. A larger rate of the gain only brings it there sooner."


def rates(a, x):
    """Return two rates of gradient descent on L(x) = sum_i a_i x_i^2 / 2, from ``x``.

    The first makes L least after *one* step, and the second lets the slowest of the coordinates
    shrink fastest in *many*: the largest of |1 - eta a_i| is least.
    """
    g = a * x
    return g @ g / (g @ (a * g)), 2 / (a.min() + a.max())


@judged(
    "5.7",
    "One step, or a hundred",
    "ten minutes",
    rates,
    "For one step: L(x - eta g) is a parabola in eta.",
    "For many: |1 - eta a_i| is largest at one of the two ends of the a_i. Make these equal.",
)
def _rates(answer):
    for a, x in (([1.0, 100.0], [1.0, 1.0]), ([1.0, 3.0, 10.0], [5.0, 0.1, 0.1])):
        a, x = np.array(a), np.array(x)
        got, wanted = ask(answer, a, x), rates(a, x)
        need(np.size(got) == 2, "two numbers are asked for")
        one, many = got
        need(
            not np.isclose(many, 1 / a.max()) and not np.isclose(many, 2 / a.max()),
            "your rate for many steps looks at the largest curvature alone, and the slowest "
            "coordinate is that of the least",
        )
        same(f"the rate for one step, a = {a.tolist()}, x = {x.tolist()},", one, wanted[0])
        same(f"the rate for many steps, a = {a.tolist()},", many, wanted[1])
    return (
        "One step's best is half of the better rate first, and then four times it: short-sighted."
    )

"""Exercises of notebook 11, *Attention by hand, in two bits*."""

import numpy as np

from .exercise import judged
from .judging import ask, is_pair, need, same, unlike


def untrained():
    """A network that knows nothing holds all 65 characters for equally likely. Give its loss.

    (In nats a character. Compare with the first loss of a training run.)
    """
    return np.log(65)


@judged(
    "11.1",
    "The loss of knowing nothing",
    "a line",
    untrained,
    "The loss is -log of the probability of what came.",
)
def _untrained(answer):
    need(abs(answer - np.log2(65)) > 1e-2, "this is in bits; a nat is the natural logarithm's unit")
    same("the loss", answer, untrained(), 2e-3)
    return "4.17. A first loss far above it says that the network is sure of things it cannot know."


def softmax_backward(p, dp):
    """Return da, (T, T), for p = softmax(a) of each row, given ``p`` and ``dp``, (T, T) each."""
    return p * (dp - np.sum(p * dp, axis=1, keepdims=True))


@judged(
    "11.2",
    "Through the softmax",
    "a line",
    softmax_backward,
    "Section 3 has the Jacobian of a row.",
    "keepdims=True lets a sum stand beside its row.",
)
def _softmax_backward(answer):
    random = np.random.default_rng(111)
    e, dp = np.exp(random.standard_normal((5, 5))), random.standard_normal((5, 5))
    p = e / e.sum(axis=1, keepdims=True)
    da, wanted = ask(answer, p, dp), softmax_backward(p, dp)
    unlike(
        da,
        p * (1 - p) * dp,
        "this is the Jacobian's diagonal alone: a score moves all probabilities of its row",
    )
    need(
        np.shape(da) != p.shape or np.allclose(np.sum(da, axis=1), 0),
        "a number added to all scores of a row changes nothing, so that each row of da sums to 0; "
        "yours does not",
    )
    same("da", da, wanted)
    return "Where p is 0, behind the mask, da is 0 as well: nothing more is needed for it."


def looks_ahead(predict, x):
    """Return True if any output of ``predict`` depends on a character after it, else False.

    ``predict`` takes tokens 0 ... 4, (1, T), and returns outputs, (1, T, 5); ``x``, (1, T), is an
    input to try it at.
    """
    before = predict(x)
    for t in range(1, x.shape[1]):
        other = x.copy()
        other[0, t] = (x[0, t] + 1) % 5
        if np.any(predict(other)[0, :t] != before[0, :t]):
            return True
    return False


def _means(x, weights):
    # outputs: at each place a mean of one-hot rows, with these weights (T, T)
    return (weights @ np.eye(5)[x[0]])[None]


@judged(
    "11.3",
    "Does it look ahead?",
    "ten minutes",
    looks_ahead,
    "Change one character; the outputs before it must not move.",
    "One place does not show all leaks: change each in turn.",
)
def _looks_ahead(answer):
    x = np.array([[3, 1, 4, 1, 0, 2]])
    past = np.tril(np.ones((6, 6)))
    next_too, early = past + np.eye(6, k=1), past.copy()
    early[1, 2] = 0.5
    cases = (
        (past, "that sees all places up to its own"),
        (np.eye(6), "that sees its own place alone"),
        (np.ones((6, 6)), "without a mask"),
        (next_too, "that sees one place ahead"),
        (np.eye(6) + np.eye(6, k=2), "that sees the place after the next"),
        (early, "whose second output alone sees the third character"),
    )
    for weights, which in cases:
        wanted = bool(np.any(np.triu(weights, 1)))
        got = ask(answer, lambda tokens, weights=weights: _means(tokens, weights), x)
        need(isinstance(got, (bool, np.bool_)), "True or False is asked for")
        says = "looks ahead, and you say that it does not" if wanted else "does not look ahead, "
        need(got == wanted, f"a network {which} {says}" + "and you say that it does" * (not wanted))
    return "Without a mask the loss falls to almost 0: the answer stands in the input."


def rotary(x, base):
    """Return ``x``, (T, D), with each pair (x_j, x_{j + D/2}) of place t turned by t theta_j.

    theta_j = base^(-2j/D), j = 0 ... D/2 - 1, and (a, b) turned by an angle is
    (a cos - b sin, a sin + b cos).
    """
    T, D = x.shape
    angle = np.arange(T)[:, None] * base ** (-2 * np.arange(D // 2) / D)
    a, b = x[:, : D // 2], x[:, D // 2 :]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=1)


@judged(
    "11.4",
    "Rotary positions",
    "ten minutes",
    rotary,
    "All angles at once: places (T, 1) times theta (D/2,).",
    "Halves a = x[:, :D//2] and b = x[:, D//2:]; np.concatenate puts them back.",
)
def _rotary(answer):
    x = np.random.default_rng(112).standard_normal((7, 6))
    got = np.asarray(ask(answer, x, 100.0))
    need(got.shape == x.shape, f"its shape is {got.shape}, and should be {x.shape}")
    length = np.linalg.norm(got, axis=1) / np.linalg.norm(x, axis=1)
    worst = np.argmax(np.abs(length - 1))
    need(np.allclose(length, 1), f"a rotation keeps lengths, and at place {worst} yours does not")
    back = np.concatenate([x[:, :3], -x[:, 3:]], axis=1)
    other = rotary(back, 100.0)
    unlike(
        got,
        np.concatenate([other[:, :3], -other[:, 3:]], axis=1),
        "it turns the other way round: this is the backward",
    )
    need(np.allclose(got[0], x[0]), "place 0 is turned, and its angle is 0")
    order = [0, 2, 4, 1, 3, 5]
    unlike(
        got[:, order],
        rotary(x[:, order], 100.0),
        "it pairs neighbours; here x_j belongs to x_{j + D/2}",
    )
    same("the turned x", got, rotary(x, 100.0))
    return "An orthogonal matrix for each place: its transpose, the backward, turns back."


def once_around():
    """After how many places has the slowest pair turned once? (D = 16, base 10,000.)"""
    return 2 * np.pi * 10_000 ** (14 / 16)


@judged(
    "11.5",
    "The slowest pair",
    "a line",
    once_around,
    "t theta_j = 2 pi, and theta_j is least for the last j.",
)
def _once_around(answer):
    need(abs(answer - 2 * np.pi * 1e4) > 100, "the slowest pair is j = D/2 - 1 = 7, not j = D/2")
    need(abs(answer - 10_000 ** (14 / 16)) > 10, "this is one radian; once around is 2 pi")
    need(abs(answer - 2 * np.pi) > 0.1, "this is the fastest pair, j = 0")
    same("the number of places", answer, once_around(), 1e-2)
    return "19,869: within a window of 32 this pair hardly moves, and carries what, not where."


def swiglu_backward(a, b, dy):
    """Return (da, db) for y = silu(a) b, with silu(a) = a sigmoid(a), entry by entry."""
    sigmoid = 1 / (1 + np.exp(-a))
    return dy * b * sigmoid * (1 + a * (1 - sigmoid)), dy * a * sigmoid


@judged(
    "11.6",
    "A gate's backward",
    "ten minutes",
    swiglu_backward,
    "y is a product of silu(a) and b.",
    "sigmoid' = sigmoid (1 - sigmoid).",
)
def _swiglu_backward(answer):
    a, b, dy = np.random.default_rng(113).standard_normal((3, 4, 6))
    got, wanted = ask(answer, a, b, dy), swiglu_backward(a, b, dy)
    need(is_pair(got), "two things are to be returned, da and db")
    sigmoid = 1 / (1 + np.exp(-a))
    held, right = dy * b * sigmoid, np.allclose(got[1], wanted[1])
    need(
        not (right and np.allclose(got[0], held)),
        "in da the sigmoid is held constant, and a stands in it, too",
    )
    need(
        not (right and np.allclose(got[0], held * (1 - sigmoid))),
        "in da stands the slope of the sigmoid, not that of a times the sigmoid",
    )
    same("da", got[0], wanted[0])
    same("db", got[1], wanted[1])
    return "Each factor is handed the other one: a gate of 0 stops what goes through it."


def saved():
    """How many parameters does ``shared=2`` save in the network of section 6?

    Each key and value then serves two heads. Width 48, 4 heads of 12, 2 blocks, no biases.
    """
    return 2 * 2 * 48 * 24


@judged(
    "11.7",
    "Shared keys",
    "a line",
    saved,
    "W_k and W_v are 48 x 48 each. Which of their columns are left?",
)
def _saved(answer):
    need(answer != 2304, "this is one block, and there are two")
    need(answer != 6912, "queries are as many as before: each head keeps its own")
    same("the number", answer, saved())
    return "A twelfth of the quantised weights. While it writes, half of the kept keys and values."


def merged(o1, l1, o2, l2):
    """Return (o, l) of attention to all keys, from those to the first keys and to the rest.

    o = sum_u e^(a_u) v_u / sum_u e^(a_u), (T, D), and l = log sum_u e^(a_u), (T,); l1 and l2 may be
    in the thousands, or -inf where the mask leaves no key (there o is 0), but not both -inf.
    """
    most = np.maximum(l1, l2)
    w1, w2 = np.exp(l1 - most)[:, None], np.exp(l2 - most)[:, None]
    return (w1 * o1 + w2 * o2) / (w1 + w2), most + np.log(w1 + w2)[:, 0]


@judged(
    "11.8",
    "Attention in pieces",
    "an hour",
    merged,
    "o1 e^l1 is the sum of e^a v over the first keys, not yet divided.",
    "Numerator and denominator of the whole: o1 e^l1 + o2 e^l2, and e^l1 + e^l2.",
    "Take the larger of l1 and l2 out of both, so that no exponential overflows.",
)
def _merged(answer):
    random = np.random.default_rng(114)
    a, v = 2 * random.standard_normal((4, 9)), random.standard_normal((9, 3))

    def attend(scores, values):
        most = np.max(scores, axis=1)
        e = np.exp(scores - most[:, None])
        return e @ values / e.sum(axis=1, keepdims=True), most + np.log(e.sum(axis=1))

    first, rest = attend(a[:, :3], v[:3]), attend(a[:, 3:], v[3:])
    got, wanted = ask(answer, *first, *rest), attend(a, v)
    need(is_pair(got), "two things are to be returned, o and l")
    unlike(
        got[0], (first[0] + rest[0]) / 2, "both halves count alike: their weights are e^l1 and e^l2"
    )
    unlike(got[1], first[1] + rest[1], "l is the logarithm of a sum, and not a sum of logarithms")
    same("o", got[0], wanted[0])
    same("l", got[1], wanted[1])
    with np.errstate(all="ignore"):
        for shift in (5000.0, -5000.0):
            big = ask(answer, first[0], first[1] + shift, rest[0], rest[1] + shift)
            need(
                np.isfinite(big[0]).all() and np.isfinite(big[1]).all(),
                f"with l near {shift:g} it is not finite: take the larger out first",
            )
            same(f"o with l near {shift:g}", big[0], wanted[0])
        none = ask(answer, 0 * first[0], np.full(4, -np.inf), *rest)
    same("o, where the first keys are all masked,", none[0], rest[0])
    return "So keys may come in blocks, and T^2 scores never stand in memory: FlashAttention."

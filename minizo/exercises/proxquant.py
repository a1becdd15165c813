"""Exercises of notebook 6, *ProxQuant: being pulled to the levels, or jumping to them*."""

import math

import numpy as np

from .exercise import judged
from .judging import ask, need, same


def exact_factor():
    """Multiply theta_0 and the rate of section 1 by a whole number above 1,000.

    The signs stay the same. Give the least such number for which every latent weight is the old one
    times this number *to the last bit*.
    """
    return 1024


@judged(
    "6.1",
    "To the last bit",
    "a line",
    exact_factor,
    "A float is a sign, an exponent of two and 52 binary digits. Which products are exact?",
)
def _exact_factor(answer):
    need(
        answer != 1000, "1,000 = 8 * 125, and a product with 125 has more digits than fit: rounded"
    )
    same("the number", answer, 1024)
    return "A power of two changes the exponent and no digit, so every rounding stays what it was."


def agreement(gradient, theta0, rate, clip, steps):
    """Return the share of steps at which clipped BinaryConnect still is dual averaging.

    ``gradient(w, t)`` is that of step t = 0, 1, ... at the signs w. Each step goes along the
    gradient at BinaryConnect's signs; then the latents are clipped to [-clip, clip]. Compare their
    signs, before each step, with the minimiser for the sum G_t of all steps so far. (It needs no
    enumeration.)
    """
    theta, total, agree = theta0, 0.0, 0
    for t in range(steps):
        w = np.where(theta >= 0, 1.0, -1.0)
        agree += np.array_equal(w, np.where(theta0 - total >= 0, 1.0, -1.0))
        step = rate * gradient(w, t)
        theta, total = np.clip(theta - step, -clip, clip), total + step
    return agree / steps


@judged(
    "6.2",
    "What a clip throws away",
    "ten minutes",
    agreement,
    "<G, w> + |w - theta_0|^2 / 2 is a constant plus <G - theta_0, w>, as w_i^2 = 1.",
    "So its minimiser is sign(theta_0 - G): keep G beside theta.",
)
def _agreement(answer):
    random = np.random.default_rng(61)
    m, b, theta0 = random.normal(size=(6, 6)), random.normal(size=6), random.uniform(-1, 1, 6)
    noise, seen = random.normal(size=(300, 6)), []

    def gradient(w, t):
        seen.append(np.asarray(w))
        return m @ m.T @ w / 6 + b + noise[t]

    free = ask(answer, gradient, theta0, 0.05, np.inf, 300)
    need(
        all(np.all(np.abs(w) == 1) for w in seen),
        "your function asks for the gradient at the latents, and BinaryConnect at their signs",
    )
    need(len(seen) == 300, f"your function asks for {len(seen)} gradients in 300 steps")
    same("the share without a clip, clip = inf,", free, 1.0)
    for clip in (0.2, 0.5):
        wanted = agreement(gradient, theta0, 0.05, clip, 300)
        same(
            f"the share with clip = {clip}", ask(answer, gradient, theta0, 0.05, clip, 300), wanted
        )
    return "The clip throws away a part of G_t: what is left is no longer the sum of all gradients."


def prox_three(x, lam):
    """Return prox_{lam R} of ``x`` for the distance to the nearest of *three* levels, -1, 0, 1.

    R(x) = sum_i min(|x_i - 1|, |x_i|, |x_i + 1|).
    """
    q = np.clip(np.round(x), -1, 1)
    return x - np.clip(x - q, -lam, lam)


@judged(
    "6.3",
    "Three levels",
    "ten minutes",
    prox_three,
    "The nearest level is x rounded, but none is beyond 1.",
    "Move from x towards it by lam, or by the whole distance if that is less: np.clip.",
)
def _prox_three(answer):
    levels = np.array([-1.0, 0.0, 1.0])
    x = np.append(np.linspace(-1.93, 1.97, 40), [-0.51, 0.49])
    nearest = levels[np.argmin(np.abs(x[:, None] - levels), axis=1)]
    for lam in (0.1, 0.3, 2.0):
        got = np.asarray(ask(answer, x, lam))
        need(got.shape == x.shape, f"your prox has the shape {got.shape}, and x has {x.shape}")
        beyond = (got - nearest) * (x - nearest) < -1e-9
        need(
            not np.any(beyond),
            f"your prox goes beyond the level for lambda = {lam}, where it should stop",
        )
        small = np.abs(x) < 0.4
        need(
            np.all(np.abs(got[small]) <= np.abs(x[small])),
            "your prox pulls small weights away from 0, which is a level, too",
        )
        same(f"your prox for lambda = {lam}", got, prox_three(x, lam), at=x)
    return "It jumps at -1/2 and 1/2. Around 0 it is the soft threshold of the lasso."


def l2_steps(distance, lam, tolerance):
    """Return how many times prox_l2 is to be applied until a weight is within ``tolerance``.

    ``distance`` is the weight's from its level, larger than ``tolerance``; the answer is whole.
    """
    return math.ceil(math.log(distance / tolerance) / math.log(1 + lam))


@judged(
    "6.4",
    "How long does L2 take?",
    "a line",
    l2_steps,
    "(x + lam q) / (1 + lam) - q = (x - q) / (1 + lam)",
    "distance / (1 + lam)^k <= tolerance: take logarithms, and round upwards.",
)
def _l2_steps(answer):
    for case in ((0.75, 0.125, 1e-3), (0.5, 1.0, 1e-6), (0.9, 0.01, 0.1)):
        distance, lam, tolerance = case
        got, wanted = ask(answer, *case), l2_steps(*case)
        l1 = math.ceil((distance - tolerance) / lam)
        need(
            got != l1 or l1 == wanted, f"{got} is the number of steps of L1, whose length is lambda"
        )
        need(np.ndim(got) == 0 and float(got) == int(got), f"{got} is not a whole number of steps")
        same(f"the number of steps for {case}", got, wanted)
    return "Each takes the distance times 1/(1 + lambda): smaller for ever, and never 0."


def orbit(lam, eta, a):
    """Return the size |theta| on the lazy method's orbit for L = a theta^2 / 2.

    Section 4 has a = 1. Ask for a phi that one step turns into -phi, and suppose that phi + lam is
    below 1.
    """
    return 2 * lam / (2 - eta * a)


@judged(
    "6.5",
    "Another orbit",
    "ten minutes",
    orbit,
    "phi - eta a theta = -phi, with theta = prox(phi).",
    "For phi > 0 the operator goes up: theta = phi + lam. Two equations, two unknowns.",
)
def _orbit(answer):
    same("|theta| for a = 1", ask(answer, 0.5, 0.4, 1.0), 0.625)
    for lam, eta, a in ((0.5, 0.4, 2.0), (0.2, 0.1, 3.0)):
        got, wanted = ask(answer, lam, eta, a), orbit(lam, eta, a)
        need(
            abs(got - 2 * lam / (2 - eta)) > 1e-9,
            "your orbit is that of a = 1: the gradient is a theta",
        )
        same(f"|theta| for lambda = {lam}, eta = {eta}, a = {a}", got, wanted)
        phi = wanted - lam
        need(abs(phi - eta * a * wanted + phi) < 1e-12, "it is no orbit")
    return "As eta goes to 0 the orbit stays, at +-lambda: no learning rate is small enough."


def no_flip_helps(A, b, s):
    """Return whether no flip of a *single* sign of s lowers L(s) = s^T A s / 2 + b^T s.

    ``A`` (d, d) is symmetric, and ``s`` (d,) holds signs. (Theorem 5.3's condition is another one.)
    """
    return bool(np.all(s * (A @ s + b) <= np.diag(A)))


@judged(
    "6.6",
    "One flip",
    "ten minutes",
    no_flip_helps,
    "Write L(s - 2 s_i e_i) - L(s) down. A quadratic has a first and a second difference.",
    "It is -2 s_i (A s + b)_i + 2 A_ii.",
)
def _no_flip_helps(answer):
    random = np.random.default_rng(62)
    counts = {"own": 0, "fixed": 0, "right": 0}
    wrong = 0
    for _ in range(200):
        m, b, s = random.normal(size=(4, 4)), random.normal(size=4), random.choice([-1.0, 1.0], 4)
        A = m @ m.T / 4
        got, slope = bool(ask(answer, A, b, s)), s * (A @ s + b)
        right = bool(np.all(slope <= np.diag(A)))
        counts["own"] += got
        counts["right"] += right
        counts["fixed"] += got == bool(np.all(slope <= 0))
        wrong += got != right
    need(
        counts["fixed"] < 200,
        "this is theorem 5.3's condition, for a small step; a flip is a step of length 2, and the "
        "curvature counts",
    )
    need(
        wrong == 0,
        f"{wrong} of 200 answers are wrong: you find {counts['own']} signs that no flip improves, "
        f"and there are {counts['right']}",
    )
    return (
        "A_ii is above 0 here, so BinaryConnect's fixed points are among these; but it leaves "
        "most of them, though no single flip is better."
    )


def strength_for(pull, rate, steps):
    """Return lam such that lam_t = lam t, t = 0, ..., steps - 1, pulls by ``pull`` in all.

    sum_t rate lam_t = pull, for a constant learning rate.
    """
    return pull / (rate * steps * (steps - 1) / 2)


@judged(
    "6.7",
    "How strong is a pull?",
    "a line",
    strength_for,
    "0 + 1 + ... + (steps - 1) = steps (steps - 1) / 2",
)
def _strength_for(answer):
    for pull, rate, steps in ((10.0, 0.01, 500), (3.0, 0.1, 5)):
        got, wanted = ask(answer, pull, rate, steps), strength_for(pull, rate, steps)
        need(
            abs(got / strength_for(pull, rate, steps + 1) - 1) > 1e-6,
            f"t goes to {steps} in yours, and should stop one before",
        )
        need(
            abs(got * rate * steps / pull - 1) > 1e-6,
            "yours is for a constant lambda, and this one grows",
        )
        same(f"lam for {steps} steps", got, wanted)
    return "8e-5 for 10 in section 5: it is the sum that counts, and the latents are of size 1."


def culprit():
    """Run section 5 with a lazy rule, too: ``minizo.ProxConnect("l1", 2e-4, clip=1.0)``.

    Then say what keeps BinaryConnect's signs from coming to rest: "laziness" (the latents keep what
    the operator takes away) or "hardness" (the operator is the sign, and no gentle pull).
    """
    return "laziness"


@judged(
    "6.8",
    "Lazy or hard?",
    "an hour",
    culprit,
    "Put it into `rules`, next to the others, and run the three cells of section 5 again.",
    "ProxQuant begins each step where the operator has led. Where does the lazy rule begin?",
)
def _culprit(answer):
    need(str(answer) in ("laziness", "hardness"), f"{answer!r} is neither laziness nor hardness")
    need(
        answer == "laziness",
        "the lazy rule's operator moves a weight by 0.1 at most, so that it is not hard; look at "
        "how many of its signs flip in the last steps",
    )
    return "It moves a weight by 0.1 at most, and 3 to 4 signs in 1,000 flip in every step."

"""Random problems within the assumptions of the corrected bound, all run at once."""

from typing import NamedTuple

import numpy as np

from ..curves import generator
from .counterexamples import size, walk
from .theorem import Known

BETAS = (0.0, 0.5, 0.9, 0.99)


class Hinges(NamedTuple):
    """f(x) = sum_j |w_j^T (x - x*)| of P problems: w (P, J, d), x* (P, d)."""

    w: object
    best: object

    def value(self, x):
        """f: (..., P, d) -> (..., P)."""
        return np.sum(np.abs(np.einsum("pjd,...pd->...pj", self.w, x - self.best)), axis=-1)

    def subgradient(self, x):
        """One subgradient: (..., P, d) -> (..., P, d)."""
        side = np.where(np.einsum("pjd,...pd->...pj", self.w, x - self.best) >= 0.0, 1.0, -1.0)
        return np.einsum("pjd,...pj->...pd", self.w, side)

    @property
    def slope(self):
        """G (P,), the largest |sum_j +-w_j|."""
        j = self.w.shape[1]
        signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * j)).reshape(j, -1)
        return np.max(
            np.sqrt(np.sum(np.einsum("pjd,js->psd", self.w, signs) ** 2, axis=-1)), axis=-1
        )


class Drawn(NamedTuple):
    """P random problems: f, and numbers of each, of shape (P,) or (P, d)."""

    f: Hinges
    start: object
    alpha: object
    beta: object
    low: object
    high: object
    turn: object

    def factor(self, x, v, h, g):
        """phi in [a, b]: a wave of x in even problems; b where f falls, else a, in odd ones."""
        wave = 0.5 + 0.5 * np.sin(3.0 * np.sum(x * self.turn, axis=-1))
        falls = np.sum(h * v, axis=-1) < 0.0
        share = np.where(np.arange(len(self.alpha)) % 2 == 0, wave, falls)
        return (self.low + (self.high - self.low) * share)[..., None]

    def peeking(self, x, v, h, g):
        """What is not allowed: b if the gradient drawn points uphill, else a."""
        uphill = np.sum(g * h, axis=-1) < 0.0
        return np.where(uphill, self.high, self.low)[..., None]


def draw(seed, count, d=3, hinges=3):
    """Random problems; x* is not 0."""
    gen = generator(seed, 31)
    f = Hinges(gen.normal(size=(count, hinges, d)), gen.normal(size=(count, d)))
    high = 10.0 ** gen.uniform(-1.0, 1.0, count)
    alpha = 10.0 ** gen.uniform(-3.0, 0.0, count) / (high * f.slope)
    return Drawn(
        f, f.best + gen.normal(size=(count, d)), alpha, gen.choice(BETAS, count),
        high * 10.0 ** gen.uniform(-1.5, 0.0, count), high, gen.normal(size=(count, d)),
    )  # fmt: skip


def _signs(count, paths, gen):
    # sequences of so many signs (count, R): all 2^count of them, or R random ones
    if paths is None:
        return 1.0 - 2.0 * ((np.arange(2**count) >> np.arange(count)[:, None]) & 1)
    return gen.choice([-1.0, 1.0], (count, paths))


def random_gaps(drawn, steps, noise=0.0, error=0.0, factor=None, paths=1, seed=0):
    """E[f(xhat) - f*] of random problems, and what is known of them.

    Noise and errors are +-delta and +-sigma along a fixed direction of each problem, delta = noise
    G and sigma = error alpha b S. With ``paths=None`` every sequence of signs is run, 2^T or 4^T of
    them, and the mean is exact; else it is that of so many random ones.

    Returns
    -------
    mean : ndarray (P,)
    se : ndarray (P,), of the mean; 0 where it is exact
    Known, of arrays (P,)
    """
    gen, (count, d) = generator(seed, 32), drawn.start.shape
    slope = drawn.f.slope
    delta = noise * slope
    sigma = error * drawn.alpha * drawn.high * np.sqrt(slope**2 + delta**2)
    kinds = (delta, sigma) if error else (delta,)
    signs = _signs(steps * len(kinds), paths, gen)
    random = []
    for own, sizes in zip(np.split(signs, len(kinds)), kinds, strict=True):
        direction = gen.normal(size=(count, d))
        direction *= (sizes / np.sqrt(np.sum(direction**2, axis=-1)))[:, None]
        random.append(own[..., None, None] * direction)  # (T, R, P, d)
    start = np.broadcast_to(drawn.start, (signs.shape[1], count, d))
    x = walk(
        drawn.f.subgradient, factor or drawn.factor, start, drawn.alpha[:, None],
        drawn.beta[:, None], steps, *random,
    ).x[:-1]  # fmt: skip
    gaps = drawn.f.value(np.mean(x, axis=0))  # (R, P)
    spread = 0.0 * gaps[0] if len(gaps) == 1 else np.std(gaps, axis=0, ddof=1)
    se = 0.0 * spread if paths is None else spread / np.sqrt(len(gaps))
    distance = size(drawn.start - drawn.f.best)[:, 0]
    return np.mean(gaps, axis=0), se, Known(
        steps, drawn.alpha, drawn.beta, drawn.f.value(drawn.start), distance, drawn.low,
        drawn.high, slope, delta, sigma if error else 0.0,
    )  # fmt: skip

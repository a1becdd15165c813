"""ProxQuant, theorems 5.1 and 5.2: it converges for a constant regulariser, its lazy form need not.

Theorem 5.1 asks for a differentiable regulariser. Here, elementwise with a = |x| and half-widths
delta of the rounded kinks,

    W(x) = 1 - delta/2 - a^2 / (2 delta)      a <= delta             (a cap, not a peak)
           1 - a                              delta <= a <= 1 - delta
           delta/2 + (a - 1)^2 / (2 delta)    |a - 1| <= delta       (Huber's function)
           a - 1                              a >= 1 + delta

This smoothing is this package's, as are the constant C = 18, the explicit orbit and the reading of
"best" in theorem 5.1: the step that moved least.

References
----------
Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant: quantized neural networks via proximal operators", ICLR
2019, arXiv 1810.00861, section 5.
"""

from typing import NamedTuple

import numpy as np

from .. import prox
from .curves import OURS, Curve, Panel, generator, sign, with_panels
from .verdicts import compare

PAPER = "paper: ProxQuant"


# The smoothed W


def pieces(a, delta):
    """Which of the four formulas holds at a = |x|, as masks."""
    return [a <= delta, a <= 1.0 - delta, a <= 1.0 + delta]


def w_value(x, delta):
    """W(x), elementwise."""
    a = np.abs(x)
    return np.select(
        pieces(a, delta),
        [1.0 - 0.5 * delta - a * a / (2.0 * delta), 1.0 - a,
         0.5 * delta + (a - 1.0) ** 2 / (2.0 * delta)],
        a - 1.0,
    )  # fmt: skip


def w_slope(x, delta):
    """W'(x), elementwise."""
    a = np.abs(x)
    slopes = [-a / delta, -np.ones_like(a), (a - 1.0) / delta]
    return np.where(x < 0.0, -1.0, 1.0) * np.select(pieces(a, delta), slopes, 1.0)


def w_prox(x, lam, delta):
    """The global minimiser of 1/2 (u - x)^2 + lam W(u), elementwise; of the sign of x.

    The best of the stationary points of the four formulas, each kept inside its own interval.
    lam broadcasts against x.
    """
    a, lam = np.abs(x), np.asarray(lam)
    # Minimisers of 1/2 (u - a)^2 + lam W(u) on each interval. On the first it is concave where
    # lam >= delta, and then falls from 0 to delta.
    bend = np.where(lam < delta, 1.0 - lam / delta, 1.0)
    cap = np.where(lam < delta, a / bend, delta)
    candidates = [
        np.clip(cap, 0.0, delta),
        np.clip(a + lam, delta, 1.0 - delta),
        np.clip((a + lam / delta) / (1.0 + lam / delta), 1.0 - delta, 1.0 + delta),
        np.maximum(a - lam, 1.0 + delta),
    ]
    best, least = np.zeros_like(a), 0.5 * a * a + lam * w_value(0.0 * a, delta)
    for u in candidates:
        found = 0.5 * (u - a) ** 2 + lam * w_value(u, delta)
        better = found < least
        best, least = np.where(better, u, best), np.where(better, found, least)
    return np.where(x < 0.0, -best, best)


# Theorem 5.1: convergence


class Landscapes(NamedTuple):
    """P losses 1/2 (x - c)^T H (x - c) + sum_k a_k cos(w_k . x), beta-smooth, and F = L + lam W.

    centre (P, d), hessian (P, d, d), height (P, K), wave (P, K, d), beta (P, 1); lam, delta of W.
    """

    centre: object
    hessian: object
    height: object
    wave: object
    beta: object
    lam: float
    delta: float

    def value(self, x):
        """F: (P, d) -> (P,)."""
        e = x - self.centre
        smooth = 0.5 * np.einsum("pi,pij,pj->p", e, self.hessian, e)
        smooth += np.sum(self.height * np.cos(np.einsum("pki,pi->pk", self.wave, x)), axis=-1)
        return smooth + self.lam * np.sum(w_value(x, self.delta), axis=-1)

    def slope(self, x):
        """grad L: (P, d) -> (P, d)."""
        waves = -self.height * np.sin(np.einsum("pki,pi->pk", self.wave, x))
        bend = np.einsum("pij,pj->pi", self.hessian, x - self.centre)
        return bend + np.einsum("pk,pki->pi", waves, self.wave)


def landscapes(seed, count=40, d=10, waves=5):
    """Random, non-convex, and bounded below."""
    gen = generator(seed, 2)
    m = gen.normal(size=(count, d, d))
    hessian = m @ np.swapaxes(m, 1, 2) / d
    height = gen.uniform(0.1, 1.0, (count, waves))
    wave = gen.normal(size=(count, waves, d))
    # beta = largest eigenvalue of H + sum_k |a_k| ||w_k||^2
    beta = np.linalg.eigvalsh(hessian)[:, -1] + np.sum(height * np.sum(wave**2, axis=-1), axis=-1)
    centre = gen.uniform(-1.5, 1.5, (count, d))
    start = gen.normal(size=(count, d))
    return Landscapes(centre, hessian, height, wave, beta[:, None], 0.8, 0.1), start


def descend(problem, start, steps, factor):
    """F, ||grad F||^2 and ||dx|| along proximal gradient descent, eta = factor / (2 beta)."""
    x, eta = start, factor / (2.0 * problem.beta)
    values, slopes, moves = [problem.value(x)], [], []
    for _ in range(steps):
        new = w_prox(x - eta * problem.slope(x), eta * problem.lam, problem.delta)
        gradient = problem.slope(new) + problem.lam * w_slope(new, problem.delta)
        slopes.append(np.sum(gradient**2, axis=-1))
        moves.append(np.sqrt(np.sum((new - x) ** 2, axis=-1)))
        values.append(problem.value(new))
        x = new
    return np.array(values), np.array(slopes), np.array(moves)


def overflow(value):
    """infinity in place of NaN."""
    return float("inf") if np.isnan(value) else float(value)


def stationarity(setup, steps=200):
    """T ||grad F(theta_best)||^2 / (beta (F_0 - F*)) for theta_best after T steps, against C."""
    problem, start = landscapes(setup.seed)

    def ratios(factor):
        with np.errstate(all="ignore"):  # the control may overflow
            values, slopes, moves = descend(problem, start, steps, factor)
            best = np.array([np.argmin(moves[: t + 1], axis=0) for t in range(steps)])
            at_best = np.take_along_axis(slopes, best, axis=0)
            # F* >= the least value met: a smaller F_0 - F*, and so a larger ratio than the true one
            gap = problem.beta[:, 0] * (values[0] - np.min(values, axis=0))
            rise = np.max(np.diff(values, axis=0) / np.abs(values[0]))
            return at_best / gap, rise

    t = np.arange(1, steps + 1)
    found, rise = ratios(1.0)
    wild, climb = ratios(64.0)
    worst, control = (np.max(t[:, None] * ratio) for ratio in (found, wild))
    claims = [
        compare("T |grad F|^2 / (beta (F_0 - F*)) is at most C = 18",
                PAPER + " theorem 5.1; C and T_best: this package", 18.0, float(worst),
                "steps 64 times as long", overflow(control), "<="),
        compare("F never rises (largest relative rise)", OURS, 0.0, float(rise),
                "steps 64 times as long", overflow(climb), "<=", 1e-12),
    ]  # fmt: skip
    panel = Panel(f"{start.shape[0]} random problems, W smoothed", "steps T",
                  "|grad F|² / (beta (F_0 − F*))", [
        Curve("bound 18 / T", t, 18.0 / t, True),
        Curve("largest", t, np.max(found, axis=1)),
        Curve("median", t, np.median(found, axis=1)),
    ], "log", "log")  # fmt: skip
    return with_panels(claims, [panel])


# Theorem 5.2: the lazy method need not converge


def lazy_orbit(lam, eta, steps, operator, start=None):
    """theta_t of the lazy method on F = theta^2 / 2 + lam W, from phi_0 = lam eta / (2 - eta).

    One run for each entry of eta: (E,) -> (steps, E).
    """
    phi = lam * eta / (2.0 - eta) if start is None else start + 0.0 * eta
    thetas = []
    for _ in range(steps):
        thetas.append(operator(phi, lam))
        phi = phi - eta * thetas[-1]
    return np.array(thetas)


def eager_path(lam, eta, steps):
    """theta_t of ProxQuant (not lazy) on the same F from the same start: (E,) -> (steps, E)."""
    theta, thetas = lam * eta / (2.0 - eta), []
    for _ in range(steps):
        thetas.append(theta)
        raw = theta - eta * theta
        theta = prox.prox_l1(raw, sign(raw), eta * lam)
    return np.array(thetas)


def slope_of_f(theta, lam):
    """|F'(theta)| off the kinks of W."""
    return np.abs(theta + lam * sign(theta) * np.where(np.abs(theta) < 1.0, -1.0, 1.0))


def orbit(setup, lam=0.5, steps=24):
    """|F'| stays at lam eta / (2 - eta) for ever; ProxQuant's goes to 0."""
    operators = {
        "W": lambda x, strength: prox.prox_l1(x, sign(x), strength),
        "W smoothed": lambda x, strength: w_prox(x, strength, 0.1),
    }
    etas, t = np.linspace(0.05, 0.5, 10), np.arange(steps)
    exact = lam * etas / (2.0 - etas)
    ends = {
        name: slope_of_f(lazy_orbit(lam, etas, 2000, operator)[-1], lam)
        for name, operator in operators.items()
    }
    eager_ends = slope_of_f(eager_path(lam, etas, 2000)[-1], lam)
    eta = np.array([0.4])
    lazy = lazy_orbit(lam, eta, steps, operators["W"])[:, 0]
    other = lazy_orbit(lam, eta, steps, operators["W"], start=0.2)[:, 0]
    eager = eager_path(lam, eta, steps)[:, 0]
    size = 2.0 * lam / (2.0 - 0.4) * (-1.0) ** t
    claims = [
        compare(f"lazy, {name}: largest ||F'| - lambda eta / (2 - eta)| after 2000 steps",
                PAPER + " theorem 5.2; example: this package", 0.0,
                float(np.max(np.abs(end - exact))), "not lazy",
                float(np.max(np.abs(eager_ends - exact))), "<=", 1e-9)
        for name, end in ends.items()
    ] + [
        compare("lazy: largest |theta_t -+ 2 lambda / (2 - eta)|", OURS, 0.0,
                float(np.max(np.abs(lazy - size))), "not lazy",
                float(np.max(np.abs(eager - size))), "<=", 1e-12),
        compare("ProxQuant: |F'| after 2000 steps", PAPER + " theorem 5.1", 0.0,
                float(np.max(eager_ends)), "lazy", float(np.max(ends["W"])), "<=", 1e-9),
    ]  # fmt: skip
    paths = [
        Curve("±2 lambda / (2 − eta)", t, size, True),
        Curve("lazy, from phi = 0.125", t, lazy),
        Curve("lazy, from phi = 0.2", t, other),
        Curve("ProxQuant", t, eager),
    ]
    slopes = [
        Curve("lambda eta / (2 − eta)", etas, exact, True),
        Curve("lazy, W", etas, ends["W"]),
        Curve("lazy, W smoothed", etas, ends["W smoothed"]),
        Curve("ProxQuant, W", etas, eager_ends),
    ]
    return with_panels(claims, [
        Panel(f"lambda = {lam}, eta = 0.4", "step", "theta", paths),
        Panel("after 2000 steps", "learning rate eta", "|F'|", slopes),
    ])  # fmt: skip

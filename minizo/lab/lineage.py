"""Claims about ProxQuant's relatives: one experiment each.

References
----------
P. Yin, S. Zhang, J. Lyu, S. Osher, Y. Qi, J. Xin, "Blended coarse gradient descent for full
quantization of deep neural networks", Research in the Mathematical Sciences, 2019.
L. Jin, J. Ma, Z. Liu, A. Gromov, A. Defazio, L. Xiao, "PARQ: piecewise-affine regularized
quantization", ICML 2025.
T. Ajanthan, K. Gupta, P. Torr, R. Hartley, P. Dokania, "Mirror descent view for neural network
quantization", AISTATS 2021.
M. Schoenbauer, D. Moro, L. Lew, A. Howard, "Custom gradient estimators are straight-through
estimators in disguise", 2024, arXiv 2405.05171.
"""

from itertools import product
from math import pi, sqrt

import numpy as np

from .. import prox
from ..quantizers import MidTread, Sign
from .curves import OURS, Curve, Panel, generator, with_panels
from .verdicts import compare


def quadratics(gen, count, d, spread):
    """1/2 w^T A w + b^T w with positive semi-definite A: (P, d, d), (P, d)."""
    m = gen.normal(size=(count, d, d))
    return m @ np.swapaxes(m, 1, 2) / d, spread * gen.normal(size=(count, d))


# Blended coarse gradient


def blending(setup, count=30, d=8, rate=0.05, steps=300):
    """Blending is an L2 prox; and which signs a blended coarse gradient never leaves.

    With y = s and a constant gradient g, y_t = s - (eta g / rho) (1 - (1 - rho)^t) crosses 0 if and
    only if s eta g > rho (and (1 - rho)^t is small enough by then): signs s are fixed points where
    s_i dL/ds_i <= rho / eta for all i. rho = 0 is theorem 5.3 of the ProxQuant paper.
    """
    gen = generator(setup.seed, 10)
    y = 2.0 * gen.normal(size=10_000)
    q, rhos = Sign().quantize(y, 1.0), np.linspace(0.0, 0.99, 100)
    gap = max(np.max(np.abs(prox.blend(y, q, r) - (y + r / (1 - r) * q) / (1 + r / (1 - r))))
              for r in rhos)  # fmt: skip
    other = max(np.max(np.abs(prox.blend(y, q, r) - (y + 2 * r / (1 - r) * q)
                              / (1 + 2 * r / (1 - r)))) for r in rhos)  # fmt: skip

    a, b = quadratics(gen, count, d, 1.0)
    every = np.array(list(product([-1.0, 1.0], repeat=d)))
    slopes = every * (np.einsum("pij,sj->psi", a, every) + b[:, None, :])
    steepest = slopes.max(axis=-1)  # (P, 2^d)
    shares, predicted, wrong, mistaken = [], [], 0, 0
    grid = rate * np.array([0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
    for rho in grid:
        y = np.broadcast_to(every, (count, *every.shape))
        stays = np.ones((count, len(every)), dtype=bool)
        for _ in range(steps):
            s = np.where(y >= 0.0, 1.0, -1.0)
            y = prox.blend(y, s, rho) - rate * (s @ a + b[:, None, :])
            stays &= np.all((y >= 0.0) == (every > 0.0), axis=-1)
        # near the threshold the crossing takes longer than the run
        told = np.abs(steepest * rate / rho * (1.0 - (1.0 - rho) ** steps) - 1.0) > 1e-6
        crosses = steepest * rate / rho * (1.0 - (1.0 - rho) ** steps) > 1.0
        wrong += int(np.sum((stays == crosses)[told]))
        mistaken += int(np.sum((stays != (steepest <= 0.0))[told]))
        shares.append(stays.mean())
        predicted.append(np.mean(steepest <= rho / rate))
    claims = [
        compare("largest |blend_rho(y) - prox_{lambda R_2}(y)|, lambda = rho / (1 - rho)", OURS,
                0.0, float(gap), "R_2 without its factor 1/2", float(other), "<=", 1e-14),
        compare("starts that stay although s dL/ds > rho / eta, or the reverse", OURS, 0.0,
                float(wrong), "the condition of BinaryConnect, s dL/ds <= 0", float(mistaken)),
    ]  # fmt: skip
    return with_panels(claims, [
        Panel(f"{count} quadratics, d = {d}, all 2^{d} starts", "rho / eta",
              "share of signs that are never left", [
            Curve("s dL/ds ≤ rho / eta", grid / rate, predicted, True),
            Curve("blended coarse gradient", grid / rate, shares),
        ], "log"),
    ])  # fmt: skip


# PARQ


def parq(setup):
    """PARQ's map against argmin 1/2 (u - g x)^2 + g Psi(u) on a grid, for four levels."""
    quantizer, iotas = MidTread(bits=2), (0.8, 0.4, 0.1)
    levels = np.array([-2.0, -1.0, 0.0, 1.0])
    grid = np.linspace(levels[0], levels[-1], 30_001)
    x = np.linspace(-2.6, 1.6, 43)

    def psi(u, iota):
        slopes = (1.0 - iota) * 0.5 * (levels[1:] + levels[:-1])
        return np.interp(u, levels, np.append(0.0, np.cumsum(slopes * np.diff(levels))))

    curves, excess, control = [], 0.0, 0.0
    for iota in iotas:
        g = 1.0 / iota
        u = prox.ramp(x, quantizer, 1.0, iota)

        def cost(v, sign, iota=iota, g=g):
            return 0.5 * (v - g * x[:, None]) ** 2 + g * psi(v, sign * iota)

        values = cost(grid[None, :], 1.0)
        excess = max(excess, np.max(cost(u[:, None], 1.0)[:, 0] - values.min(axis=1)) / g**2)
        wrong = cost(u[:, None], -1.0)[:, 0] - cost(grid[None, :], -1.0).min(axis=1)
        control = max(control, np.max(wrong) / g**2)
        fine = np.linspace(-2.6, 1.6, 421)
        curves += [
            Curve(f"map, iota = {iota}", fine, prox.ramp(fine, quantizer, 1.0, iota), True),
            Curve(f"least on the grid, iota = {iota}", x, grid[values.argmin(axis=1)]),
        ]
    t = np.linspace(0.0, 1.0, 101)
    falls = [Curve(f"steepness {s:g}, centre {c:g}", t, [prox.logistic_fall(p, s, c) for p in t],
                   True) for s, c in ((10.0, 0.5), (4.0, 0.5), (10.0, 0.3))]  # fmt: skip
    claims = [
        compare("value at PARQ's map above the least on a grid, / gamma^2",
                "paper: PARQ; slopes and check: this package", 0.0, float(excess),
                "Psi with slopes (1 + iota) mid", float(control), "<=", 1e-12),
    ]  # fmt: skip
    return with_panels(claims, [
        Panel("levels -2, -1, 0, 1", "latent weight x", "w", curves),
        Panel("its schedule", "part of the run", "iota", falls),
    ])  # fmt: skip


# Mirror descent


def mirror(setup, d=20, steps=400, rate=0.05, sharpness=2.0):
    """The dual form theta <- theta - eta g(tanh(b theta)) and the primal one, on one quadratic."""
    gen = generator(setup.seed, 12)
    (a,), _ = quadratics(gen, 1, d, 1.0)
    b = -a @ gen.uniform(-0.8, 0.8, d)  # the minimum lies inside the cube: w keeps its digits
    start = 0.3 * gen.normal(size=d)

    def gaps(factor):
        theta, w, gap, paths = start, np.tanh(sharpness * start), [], []
        for _ in range(steps):
            dual = prox.soft_staircase(theta, Sign(), 1.0, sharpness)
            gap.append(np.max(np.abs(dual - w)))
            paths.append((dual[0], w[0]))
            theta = theta - rate * (a @ dual + b)
            # (1 + w) / (1 - w) <- (1 + w) / (1 - w) exp(-2 b eta g)
            ratio = (1.0 + w) / (1.0 - w) * np.exp(-factor * sharpness * rate * (a @ w + b))
            w = (ratio - 1.0) / (ratio + 1.0)
        return np.array(gap), np.array(paths)

    gap, paths = gaps(2.0)
    far, _ = gaps(1.0)

    def signs(sharp):
        theta, found = start, []
        for _ in range(1000):
            w = prox.soft_staircase(theta, Sign(), 1.0, sharp)
            found.append(np.where(w >= 0.0, 1.0, -1.0))
            theta = theta - rate * (a @ w + b)
        return np.array(found)

    hard = signs(1e9)
    binary, theta = [], start
    for _ in range(1000):
        binary.append(np.where(theta >= 0.0, 1.0, -1.0))
        theta = theta - rate * (a @ binary[-1] + b)
    binary = np.array(binary)
    claims = [
        compare("largest |w_primal - w_dual|", "this package, for the method of Ajanthan et al.",
                0.0, float(np.max(gap)), "exp(-b eta g), without the 2", float(np.max(far)), "<=",
                1e-9),
        compare("signs that differ between sharpness 1e9 and BinaryConnect", OURS, 0.0,
                float(np.sum(hard != binary)), "sharpness 1",
                float(np.sum(signs(1.0) != binary))),
    ]  # fmt: skip
    t = np.arange(steps)
    return with_panels(claims, [
        Panel("one of 20 weights", "step", "w", [
            Curve("dual: tanh(b theta)", t, paths[:, 0], True), Curve("primal", t, paths[:, 1])]),
        Panel("all weights", "step", "largest |w_primal − w_dual|", [
            Curve("as derived", t[1:], np.maximum(gap[1:], 1e-18)),
            Curve("without the 2", t[1:], np.maximum(far[1:], 1e-18))], yscale="log"),
    ])  # fmt: skip


# Straight-through estimators in disguise


def disguise(setup, d=500, horizon=2.0, depth=0.9):
    """A periodic surrogate slope c(w) = 1 + depth cos(2 pi w) is the STE, after a change of scale.

        alpha = 1 / integral of 1/c over a cell = sqrt(1 - depth^2),
        M(w) = w_b + alpha integral from w_b to w of 1/c;   M' = alpha / c

    so that d M(w) = -alpha c(w) g / c(w) dt: in continuous time, M of the weights trained with c
    and rate eta are the weights trained with the STE and rate alpha eta, from M(w_0).
    """
    gen = generator(setup.seed, 13)
    alpha = sqrt(1.0 - depth**2)
    target, w0 = gen.uniform(-3.0, 3.0, d), gen.uniform(-3.0, 3.0, d)

    def slope(w):
        return 1.0 + depth * np.cos(2.0 * pi * w)

    def scale(w):
        # integral of 1 / (1 + k cos 2 pi s) = atan(sqrt((1 - k) / (1 + k)) tan(pi s)) / (pi alpha),
        # continued from cell to cell; the cell of level k is [k - 1/2, k + 1/2)
        cell = np.floor(w + 0.5)
        inner = np.arctan(sqrt((1.0 - depth) / (1.0 + depth)) * np.tan(pi * (w - cell)))
        return cell + inner / pi

    def levels(w):
        return np.floor(w + 0.5)

    def gradient(w):
        return levels(w) - target  # of 1/2 ||Q(w) - target||^2

    def pair(eta, mapped):
        # (M of the disguised weights, the STE's) at the end, and how far apart they were on the way
        w, v = w0, scale(w0) if mapped else w0
        apart = []
        for _ in range(round(horizon / eta)):
            w, v = w - eta * slope(w) * gradient(w), v - alpha * eta * gradient(v)
            apart.append(np.mean(np.abs(scale(w) - v)))
        return scale(w), v, np.array(apart)

    etas = [0.04, 0.02, 0.01, 0.005, 0.0025, 0.00125]
    right = [pair(eta, True) for eta in etas]
    plain = [pair(eta, False) for eta in etas]
    gaps = np.array([p[2].mean() for p in right])
    naked = np.array([p[2].mean() for p in plain])
    order = np.polyfit(np.log(etas), np.log(gaps), 1)[0]
    flat = np.polyfit(np.log(etas), np.log(naked), 1)[0]
    grid = np.linspace(-3.3, 3.3, 2001)
    inside = grid[np.abs(grid + 0.5 - np.round(grid + 0.5)) > 1e-3]  # off the ends of cells
    numeric = (scale(inside + 1e-6) - scale(inside - 1e-6)) / 2e-6
    bend = np.max(np.abs(numeric - alpha / slope(inside)))
    off = np.max(np.abs(numeric - 1.0 / slope(inside)))
    note = "paper: STEs in disguise (formula from a third-party note); check: this package"
    claims = [
        compare("largest |M' - alpha / c|, by central differences", note, 0.0, float(bend),
                "alpha = 1", float(off), "<=", 1e-6),
        compare("order in eta at which M(w) goes to the STE's weights", OURS, 1.0, float(order),
                "no change of scale at the start", float(flat), "=", 0.3),
    ]  # fmt: skip
    return with_panels(claims, [
        Panel(f"d = {d}, time {horizon:g}", "learning rate eta", "mean |M(w) − w of the STE|", [
            Curve("order 1", etas, gaps[-1] * np.array(etas) / etas[-1], True),
            Curve("from M(w_0)", etas, gaps),
            Curve("from w_0", etas, naked),
        ], "log", "log"),
        Panel("the change of scale", "w", "M(w) and c(w)", [
            Curve("M(w)", grid, scale(grid), True), Curve("slope c(w)", grid, slope(grid), True)]),
    ])  # fmt: skip

"""The theory of ProxQuant against numbers: its operators, dual averaging, fixed points, a toy.

Statements of the paper keep its numbers (theorems 5.1 to 5.3); constants and examples that were
worked out for this package are marked so. Theorems 5.1 and 5.2 are in `minizo.lab.convergence`, the
relatives in `minizo.lab.lineage`.

References
----------
Y. Bai, Y.-X. Wang, E. Liberty, "ProxQuant: quantized neural networks via proximal operators", ICLR
2019, arXiv 1810.00861, sections 2, 4 and 5.
"""

from itertools import product

import numpy as np

from .. import prox
from .curves import OURS, Curve, Panel, generator, sign, with_panels
from .verdicts import compare

PAPER = "paper: ProxQuant"


# The operators


def operators(setup):
    """prox_{lam R} against the least value on a grid, for both regularisers and the levels +-1."""
    lam, grid = 0.4, np.linspace(-3.0, 3.0, 60_001)
    x = np.append(np.linspace(-2.5, 2.5, 51), [0.6, 1.4, -0.6, -1.4])
    claims, curves = [], []
    for power, name, operator in ((1, "L1", prox.prox_l1), (2, "L2", prox.prox_l2)):

        def cost(u, power=power):
            distance = np.abs(np.abs(u) - 1.0)
            return 0.5 * (u - x) ** 2 + lam * (distance if power == 1 else 0.5 * distance**2)

        values = np.stack([cost(u) for u in grid])
        least, best = values.min(axis=0), grid[values.argmin(axis=0)]
        u, twice = (operator(x, sign(x), strength) for strength in (lam, 2.0 * lam))
        fine = np.linspace(-2.5, 2.5, 1000)
        curves += [
            Curve(f"{name}: prox", fine, operator(fine, sign(fine), lam), True),
            Curve(f"{name}: least on the grid", x[:51], best[:51]),
        ]
        claims.append(compare(
            f"{name}: value at the prox, above the least on a grid", PAPER + " section 3", 0.0,
            float(np.max(cost(u) - least)), "the prox of 2 lambda",
            float(np.max(cost(twice) - least)), "<=", 1e-12,
        ))  # fmt: skip
    u = np.linspace(-2.5, 2.5, 501)
    shapes = [
        Curve("R_1", u, prox.w_l1(u[:, None], sign(u)[:, None]), True),
        Curve("R_2", u, prox.w_l2(u[:, None], sign(u)[:, None]), True),
    ]
    return with_panels(claims, [
        Panel("W-shaped regularisers", "weight x", "penalty", shapes),
        Panel(f"proximal operators, lambda = {lam}", "weight x", "prox(x)", curves),
    ])  # fmt: skip


# Dual averaging


def dual_averaging(setup, d=8, steps=500, rate=0.03):
    """BinaryConnect's weights against argmin <G, w> + 1/2 ||w - theta_0||^2 over all 2^d w."""
    gen = generator(setup.seed, 1)
    a = gen.normal(size=(d, d))
    a, b = a @ a.T / d, gen.normal(size=d)
    every = np.array(list(product([-1.0, 1.0], repeat=d)))
    start = gen.uniform(-1.0, 1.0, d)

    def differing(clip):
        # share of steps so far at which sign(theta) is not the argmin
        theta, total, wrong, gaps = start, np.zeros(d), [], []
        for _ in range(steps):
            values = every @ total + 0.5 * np.sum((every - start) ** 2, axis=1)
            wrong.append(np.any(every[np.argmin(values)] != sign(theta)))
            gaps.append(np.max(np.abs(theta - (start - total))))
            g = a @ sign(theta) + b + gen.normal(size=d)
            total = total + rate * g
            theta = np.clip(theta - rate * g, -clip, clip)
        return np.cumsum(wrong), max(gaps)

    found, gap = differing(np.inf)
    clipped, far = differing(0.2)
    t = np.arange(1, steps + 1)
    claims = [
        compare("steps at which BinaryConnect is not dual averaging", PAPER + " section 2", 0.0,
                float(found[-1]), "latent weights clipped to 0.2", float(clipped[-1])),
        compare("largest |theta_t - (theta_0 - G_t)|", PAPER + " section 2", 0.0, float(gap),
                "clipped", float(far), "<=", steps * 2.0**-50),
    ]  # fmt: skip
    curves = [
        Curve("dual averaging", [1, steps], [0, 0], True),
        Curve("BinaryConnect", t, found),
        Curve("BinaryConnect, clipped", t, clipped),
    ]
    title = f"d = {d}, noisy gradients, all 2^{d} weights compared"
    return with_panels(claims, [Panel(title, "step", "steps so far with other weights", curves)])


# Theorem 5.3: fixed points of BinaryConnect


def slopes_everywhere(seed, count, d):
    """Quadratics s^T A s / 2 + b^T s: all 2^d signs, s_i dL/ds_i (P, 2^d, d), A_ii, and (A, b)."""
    gen = generator(seed, 3)
    m = gen.normal(size=(count, d, d))
    a, b = m @ np.swapaxes(m, 1, 2) / d, 3.0 * gen.normal(size=(count, d))
    every = np.array(list(product([-1.0, 1.0], repeat=d)))
    gradient = np.einsum("pij,sj->psi", a, every) + b[:, None, :]
    return every, every * gradient, np.diagonal(a, axis1=1, axis2=2)[:, None, :], (a, b)


def departures(a, b, every, rate, steps, latent):
    """The first step at which sign(theta) is not its start's, 0 for none: (P, 2^d)."""
    theta = np.broadcast_to(latent * every, (len(a), *every.shape))
    left = np.zeros(theta.shape[:2], dtype=int)
    for t in range(1, steps + 1):
        theta = theta - rate * (sign(theta) @ a + b[:, None, :])
        moved = np.any(sign(theta) != every, axis=-1)
        left = np.where((left == 0) & moved, t, left)
    return left


def fixed_points(setup, count=300, d=8, rate=0.05, steps=400, latent=0.1):
    """Signs that BinaryConnect never leaves against s_i dL/ds_i <= 0, over all signs."""
    every, slopes, curvature, (a, b) = slopes_everywhere(setup.seed, count, d)
    fixed = np.all(slopes <= 0.0, axis=-1)
    local = np.all(slopes <= curvature, axis=-1)
    # a sign with slope v > 0 is left once rate v t > latent
    drift = np.max(np.maximum(slopes, 0.0), axis=-1)
    slow = (drift > 0.0) & (rate * drift * steps <= 2.0 * latent)  # too slow to see
    left = departures(a, b, every, rate, steps, latent)
    stays = left == 0
    seen = ~slow
    with np.errstate(divide="ignore"):
        due = np.where(drift > 0.0, np.floor(latent / (rate * drift)) + 1.0, 0.0)
    own = fixed.sum(axis=1)
    claims = [
        compare(f"starts that are left although fixed, or stay although not (of {seen.sum():,})",
                PAPER + " theorem 5.3", 0.0, float(np.sum((stays != fixed)[seen])),
                "the condition of 1-flip minima", float(np.sum((stays != local)[seen]))),
        compare("starts left at another step than the drift says", OURS, 0.0,
                float(np.sum((left != due)[seen & ~fixed])), "twice the learning rate",
                float(np.sum((left != np.ceil(0.5 * due))[seen & ~fixed]))),
        compare("fixed points that are no 1-flip minimum", OURS, 0.0, float(np.sum(fixed & ~local)),
                "1-flip minima that are no fixed point", float(np.sum(local & ~fixed))),
        compare(f"problems of {count} with a fixed point: not all", PAPER + " theorem 5.3",
                count - 1.0, float(np.sum(own > 0)), "with a 1-flip minimum",
                float(np.sum(local.any(axis=1))), "<="),
    ]  # fmt: skip
    most = int(max(own.max(), local.sum(axis=1).max())) + 1
    t = np.unique(np.round(np.geomspace(1, steps, 30)).astype(int))
    return with_panels(claims, [
        Panel(f"{count} quadratics, d = {d}", "how many", "problems with so many", [
            Curve("fixed points of BinaryConnect", range(most), np.bincount(own, minlength=most)),
            Curve("1-flip minima", range(most), np.bincount(local.sum(axis=1), minlength=most)),
        ]),
        Panel(f"all {len(every)} starts of each", "step", "share of starts not yet left", [
            Curve("from the drift", t, [np.mean((due == 0) | (due > k)) for k in t], True),
            Curve("fixed points, enumerated", t, np.full(len(t), fixed.mean()), True),
            Curve("BinaryConnect", t, [np.mean((left == 0) | (left > k)) for k in t]),
        ], "log", "log"),
    ])  # fmt: skip


# Two functions that BinaryConnect cannot tell apart


def toy_slope(which, x):
    """f'(x) of f_1 = |x + 1/2| - 1/2 (best level -1) or f_-1 = |x - 1/2| - 1/2 (best level +1)."""
    return sign(x + 0.5 * which)


def toy_paths(which, start, steps=400, rate=0.05):
    """(x_t of BinaryConnect's weight, of ProxQuant) on f_which, lambda_t = t / 100."""
    latent, x, paths = start, start, ([], [])
    for t in range(steps):
        w = float(sign(np.array(latent)))
        paths[0].append(w)
        paths[1].append(x)
        latent = latent - rate * float(toy_slope(which, w))
        raw = np.array([x - rate * float(toy_slope(which, x))])
        x = float(prox.prox_l1(raw, sign(raw), rate * 0.01 * t)[0])
    return np.array(paths)


def toy(setup):
    """From +-0.3: BinaryConnect's path is the same on both functions, ProxQuant's ends differ."""
    paths = {(which, start): toy_paths(which, start) for which in (1, -1) for start in (0.3, -0.3)}
    differing = sum(np.sum(paths[1, x][0] != paths[-1, x][0]) for x in (0.3, -0.3))
    told = sum(np.sum(paths[1, x][1] != paths[-1, x][1]) for x in (0.3, -0.3))
    ends = max(abs(path[1][-1] + which) for (which, _), path in paths.items())
    flips, still = (
        np.mean([np.diff(sign(path[rule][-200:])) != 0.0 for path in paths.values()])
        for rule in (0, 1)
    )
    last = max(abs(path[0][-2:].mean() + which) for (which, _), path in paths.items())
    claims = [
        compare("steps at which BinaryConnect's weight differs between f_1 and f_-1",
                PAPER + " section 2", 0.0, float(differing), "ProxQuant", float(told)),
        compare("distance of ProxQuant's end to the better level, at worst", PAPER + " section 4",
                0.0, float(ends), "BinaryConnect, mean of its last two weights", float(last)),
        compare("share of the last 200 steps at which BinaryConnect's weight flips",
                PAPER + " section 2", 1.0, float(flips), "ProxQuant", float(still)),
    ]  # fmt: skip
    t = np.arange(250)
    return with_panels(claims, [
        Panel(f"f_{which}: the better level is {-which:+d}", "step", "weight x", [
            Curve("better level", [0, 249], [-which, -which], True),
            Curve("ProxQuant from 0.3", t, paths[which, 0.3][1][:250]),
            Curve("ProxQuant from -0.3", t, paths[which, -0.3][1][:250]),
            Curve("BinaryConnect from 0.3, first 50 steps", t[:50], paths[which, 0.3][0][:50]),
        ])
        for which in (1, -1)
    ])  # fmt: skip

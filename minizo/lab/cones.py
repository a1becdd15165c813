"""C-3: coarse gradients that classify perfectly, and data on which the identity STE is not enough.

    o = V sigma(W x),   sigma(a) = min(max(ceil(a), 0), 2^b - 1)
    loss = max(0, 1 - (o_y - max_{j != y} o_j)),   V fixed

Each class lies in a subspace of its own, orthogonal to the others'. The coarse gradient of W has
mu'(a) in place of sigma'(a). Where the classes are cones, all five mu' below reach zero loss,
the identity as well. Where they fill their subspaces, x and -x alike, the identity STE, which moves
neurons that are silent, is left behind by those that vanish for a < 0.

That coarse gradients of a class of STEs with a certain monotonicity reach a global minimum, and so
classify perfectly, is the finding of Long, Yin and Xin (abstract); these data, sizes and numbers
are this package's.

References
----------
Z. Long, P. Yin, J. Xin, "Learning quantized neural nets by coarse gradient method for non-linear
classification", Research in the Mathematical Sciences, 2021, arXiv 2011.11256.
"""

from math import sqrt

import numpy as np

from .. import backend, report, rng
from .runner import Report
from .verdicts import Claim

D, CLASSES, SAMPLES = 16, 4, 240
RATE, RUNS = 0.1, 6
CONE = dict(hidden=96, steps=1000)
STARTS = {1: 0.1, 2: 0.25}  # by bits: from smaller weights the second bit would never be used
FULL = dict(hidden=24, steps=400, start=0.5)


def _positive(a, value):
    xp = backend.namespace(a)
    return xp.where(a > 0.0, value, xp.zeros_like(a))


# mu'(a): elementwise, with the largest level for those that saturate with sigma
SLOPES = {
    "ReLU": lambda a, top: _positive(a, backend.namespace(a).ones_like(a)),
    "clipped ReLU": lambda a, top: _positive(top - a, _positive(a, 0.0 * a + 1.0)),
    "log-tail": lambda a, top: _positive(a, 1.0 / (1.0 + backend.namespace(a).abs(a))),
    "reverse exponential": lambda a, top: _positive(
        a, backend.namespace(a).exp(-backend.namespace(a).abs(a))
    ),
    "identity": lambda a, top: backend.namespace(a).ones_like(a),
}
VANISHING = tuple(name for name in SLOPES if name != "identity")


def levels(a, bits):
    """sigma(a) = min(max(ceil(a), 0), 2^bits - 1)."""
    xp = backend.namespace(a)
    return xp.clip(xp.ceil(a), 0.0, 2.0**bits - 1.0)


def output_weights(hidden, like):
    """V (K, h), fixed: 1 for a class's own neurons, -1 / (K - 1) for others', over sqrt(h / K)."""
    own = np.arange(hidden) % CLASSES == np.arange(CLASSES)[:, None]
    v = np.where(own, 1.0, -1.0 / (CLASSES - 1)) / sqrt(hidden / CLASSES)
    return backend.asarray(v, like, dtype=like.dtype)


def data(seed, cone, like):
    """x (R, N, d) and labels: each class in a random subspace of d / K dimensions, all orthogonal.

    Parameters
    ----------
    cone : bool
        Whether a class is a cone around a direction, (1 + |z_1|, z_2 / 2, ...); else z ~ N(0, I).
    """
    xp, m = backend.namespace(like), D // CLASSES
    labels = np.arange(SAMPLES) % CLASSES
    sets = []
    for r in range(RUNS):
        z = rng.at(seed, "data", r).normal(np.empty((SAMPLES, m)))
        basis = np.linalg.qr(rng.at(seed, "noise", r, 0).normal(np.empty((D, D))))[0]
        if cone:
            z = np.concatenate([1.0 + 0.5 * np.abs(z[:, :1]), 0.5 * z[:, 1:]], axis=1)
        # (K, d, m): the columns of each class
        own = np.stack([basis[:, m * k : m * k + m] for k in range(CLASSES)])
        x = np.einsum("nm,ndm->nd", z, own[labels])
        sets.append(backend.asarray(x, like, dtype=like.dtype))
    return xp.stack(sets), labels


def coarse_gradient(w, x, member, v, bits, name):
    """Coarse gradient of W, the hinge loss and the error rate.

    Parameters
    ----------
    w : ndarray (R, h, d)
    x : ndarray (R, N, d)
    member : ndarray (N, K)
        1 for the class of the sample, else 0.
    v : ndarray (K, h)
    bits : int
    name : str
        A key of `SLOPES`.

    Returns
    -------
    tuple of ndarray (R, h, d), (R,), (R,)
        Cost: 2 R N h d + 2 R N h K multiply-accumulates.
    """
    xp = backend.namespace(w)
    # (R, N, d) @ (R, d, h) -> (R, N, h)
    a = xp.matmul(x, xp.matrix_transpose(w))
    # (R, N, h) @ (h, K) -> (R, N, K)
    o = xp.matmul(levels(a, bits), xp.matrix_transpose(v))
    right = xp.sum(o * member, axis=-1, keepdims=True)
    rival = xp.max(o - 1e9 * member, axis=-1, keepdims=True)
    margin = right - rival
    active = xp.astype(margin < 1.0, w.dtype)
    # dl/do = 1 at the rival, -1 at the right class, where the hinge is active; ties share
    rivals = xp.astype(o - 1e9 * member == rival, w.dtype)
    rivals = rivals / xp.sum(rivals, axis=-1, keepdims=True)
    do = active * (rivals - member) / x.shape[1]
    da = xp.matmul(do, v) * SLOPES[name](a, 2.0**bits - 1.0)
    # (R, h, N) @ (R, N, d) -> (R, h, d)
    gradient = xp.matmul(xp.matrix_transpose(da), x)
    loss = xp.mean(xp.clip(1.0 - margin, 0.0, None), axis=(1, 2))
    return gradient, loss, xp.mean(xp.astype(margin <= 0.0, w.dtype), axis=(1, 2))


def train(seed, cone, bits, name, like, hidden, steps, start):
    """W <- W - eta g from W ~ N(0, start^2), until the loss of every run is 0 or steps are over.

    Returns
    -------
    tuple of host arrays
        Loss (steps taken, R), and the share of wrong answers at the end (R,).
    """
    x, labels = data(seed, cone, like)
    member = backend.asarray(np.eye(CLASSES)[labels], like, dtype=like.dtype)
    v = output_weights(hidden, like)
    w = start * rng.at(seed, "init", 0).normal(backend.empty((RUNS, hidden, D), like))
    losses = []
    for _ in range(steps):
        gradient, loss, error = coarse_gradient(w, x, member, v, bits, name)
        losses.append(backend.to_numpy(loss))
        if not losses[-1].any():
            break
        w = w - RATE * gradient
    return np.array(losses, np.float64), backend.to_numpy(error).astype(np.float64)


def run(setup):
    """C-3: perfect classification of cones; errors of five STEs on full subspaces."""
    cases = [(True, bits, name) for bits in (1, 2) for name in SLOPES]
    cases += [(False, 2, name) for name in SLOPES]

    def work(cone, bits, name):
        setup.say(f"{'cones' if cone else 'subspaces'}, {bits} bit, {name}")
        size = CONE | {"start": STARTS[bits]} if cone else FULL
        return train(setup.seed, cone, bits, name, setup.like, **size)

    found = list(setup.pool.map(work, cases, 2**25))
    rows, curves = [], {}
    for (cone, bits, name), (losses, error) in zip(cases, found, strict=True):
        kind = "cones" if cone else "subspaces"
        reached = [int(np.argmax(column == 0.0)) if (column == 0.0).any() else None
                   for column in losses.T]  # fmt: skip
        curves[kind, bits, name] = losses.mean(axis=1)
        rows += [
            {"data": kind, "bits": bits, "ste": name, "run": r, "steps_to_zero_loss": reached[r],
             "loss": losses[-1, r], "error": error[r]}
            for r in range(RUNS)
        ]  # fmt: skip
    lines = []
    for kind, bits in (("cones", 1), ("cones", 2), ("subspaces", 2)):
        for name in SLOPES:
            own = [r for r in rows if (r["data"], r["bits"], r["ste"]) == (kind, bits, name)]
            steps = [row["steps_to_zero_loss"] for row in own]
            span = "never" if None in steps else f"{min(steps)} ... {max(steps)}"
            error = np.mean([row["error"] for row in own])
            lines.append([f"{kind}, {bits} bit, {name}", span, f"{error:.3f}"])
    table = report.table(["", "steps to zero loss", "error at the end"], lines)
    return Report(claims(rows), rows, table, curves)


def claims(rows):
    """What C-3 claims."""

    def column(kind, names, key):
        return [r[key] for r in rows if r["data"] == kind and r["ste"] in names]

    cones = column("cones", VANISHING, "loss")
    spread = column("subspaces", VANISHING, "loss")
    errors = {name: np.array(column("subspaces", (name,), "error")) for name in SLOPES}
    worst = max(VANISHING, key=lambda name: errors[name].mean())
    # runs share their data: the error of the difference from pairs
    gap = errors["identity"] - errors[worst]
    se = gap.std(ddof=1) / sqrt(RUNS)
    same = np.array(column("cones", ("identity",), "error"))
    source = "Long, Yin, Xin 2021 (abstract), for its data; this package's data and sizes"
    return [
        Claim(
            "Cones in orthogonal subspaces: zero loss in every run, for four STEs, 1 and 2 bit",
            source, "0", f"{max(cones):g}", max(cones), 0.0, "largest hinge loss",
            "so it is where classes fill their subspaces", max(spread),
        ),
        Claim(
            "Full subspaces: the identity STE errs more often than every STE that vanishes below 0",
            "this package's experiment", "a difference above 0",
            f"{gap.mean():.3f} +- {se:.3f} to the worst of them ({worst})",
            -(gap.mean() / se), -3.0, "standard errors", "so it does on cones",
            float(-same.mean()),
        ),
    ]  # fmt: skip

"""B-1: the closed forms of Yin et al. against samples, central differences and descent.

Every closed form of `minizo.lab.finite_sample.closed_forms` meets the average of what many samples
say, its derivative meets differences of f, and the two coarse gradients are followed from beside
the spurious minimum: with the ReLU STE f never rises (their theorem 1), with the identity STE it
does. The last claim is the bridge to `minizo.lab.finite_sample.model`: with one hidden unit and
v = v*, E g(q) = c (q - w*).
"""

from math import pi, sqrt

import numpy as np

from ... import backend, report, rng
from ..runner import Report
from ..verdicts import at_most, close, near
from . import closed_forms
from .closed_forms import Network
from .model import STES, gradient, inputs, make_task, own_seed, random_signs

SHAPES = ((1, 3), (4, 6))  # (m, n)
SAMPLES, LARGE = 10**6, 10**7
BLOCK = 20_000
YIN = "Yin et al. 2019, lemmas"
DESCENT = 3000  # steps of length 0.02
NAMES = ("loss", "gradient of v", "g identity", "g relu")


def network(seed, m, n, like):
    """A random `Network` in the dtype of ``like``, w* of length 1."""
    generator = np.random.default_rng(own_seed(seed, 1, m, n))
    v, v_true = generator.standard_normal((2, m))
    w, w_true = generator.standard_normal((2, n))
    vectors = (v, w, np.abs(v_true), w_true / np.linalg.norm(w_true))
    return Network(*(backend.asarray(x, like, dtype=like.dtype) for x in vectors))


def averages(setup, net, m, n, like):
    """Mean and standard error of every component of `sample_gradients`: two host arrays (D,)."""
    seed, total = own_seed(setup.seed, 1, m, n), LARGE if setup.large else SAMPLES
    xp = backend.namespace(like)

    def work(block):
        z = rng.at(seed, "noise", block, 0).normal(backend.empty((BLOCK, m, n), like))
        parts = closed_forms.sample_gradients(net, z)
        values = xp.concat([parts[0][:, None], *parts[1:]], axis=1)
        sums = xp.sum(values, axis=0), xp.sum(values * values, axis=0)
        return tuple(backend.to_numpy(x) for x in sums)

    blocks = total // BLOCK
    nbytes = 3 * BLOCK * m * n * 8
    parts = list(setup.pool.map(work, ((block,) for block in range(blocks)), nbytes))
    count = blocks * BLOCK
    mean, second = (np.sum([part[i] for part in parts], axis=0) / count for i in (0, 1))
    return mean, np.sqrt((second - mean * mean) / count)


def closed(net):
    """The same components from the closed forms: host array (D,)."""
    vectors = (closed_forms.gradient_v(net), closed_forms.coarse_identity(net),
               closed_forms.coarse_relu(net))  # fmt: skip
    loss = float(closed_forms.loss(net))
    return np.concatenate([[loss], *(backend.to_numpy(vector) for vector in vectors)])


def differences(net, h=1e-5):
    """Central differences of f along every coordinate of v and w: host array (m + n,)."""
    answer = []
    for name in ("v", "w"):
        x = getattr(net, name)
        for row in np.eye(x.shape[0]):
            direction = backend.asarray(row, x, dtype=x.dtype)
            above = closed_forms.loss(net._replace(**{name: x + h * direction}))
            below = closed_forms.loss(net._replace(**{name: x - h * direction}))
            answer.append(float(above - below) / (2.0 * h))
    return np.array(answer)


def descend(net, coarse, steps=DESCENT, eta=0.02):
    """f along v <- v - eta df/dv, w <- w - eta E g: host array (steps + 1,)."""
    losses = [float(closed_forms.loss(net))]
    for _ in range(steps):
        v = net.v - eta * closed_forms.gradient_v(net)
        net = net._replace(v=v, w=net.w - eta * coarse(net))
        losses.append(float(closed_forms.loss(net)))
    return np.array(losses)


def beside_spurious(net, seed):
    """A network 0.02 N(0, 1) beside the spurious minimum of the teacher v* = (2, 1/2, ..., 1/2).

    There the identity STE draws w through 0, and then back again, as |v|^2 > v . v* for the v of
    the spurious minimum: (m + 1)^2 |v*|^2 > (m + 3) (1 . v*)^2.
    """
    generator = np.random.default_rng(own_seed(seed, 1, 0))
    v_true = np.full(net.v.shape[0], 0.5)
    v_true[0] = 2.0
    v_true = backend.asarray(v_true, net.v, dtype=net.v.dtype)

    def noise(x):
        return backend.asarray(0.02 * generator.standard_normal(x.shape[0]), x, dtype=x.dtype)

    v, w = closed_forms.spurious_v(v_true), -net.w_true
    return Network(v + noise(v), w + noise(w), v_true, net.w_true)


def run(setup):
    """B-1: lemmas, derivatives, descent; returns a `Report`."""
    xp = backend.namespace(setup.like)
    like = xp.astype(setup.like, xp.float64)
    rows, claims, nets = [], [], []
    for m, n in SHAPES:
        setup.say(f"samples, m = {m}, n = {n}")
        net = network(setup.seed, m, n, like)
        nets.append(net)
        mean, se = averages(setup, net, m, n, like)
        truth = closed(net)
        # who takes the other STE's formula is found out, and so is a w turned a little
        turned = closed(net._replace(w=net.w + 0.05 * net.w_true))
        wrong = np.concatenate([turned[: 1 + m], truth[1 + m + n :], truth[1 + m : 1 + m + n]])
        claims.append(
            close(
                f"Means over samples are the closed forms, m = {m}, n = {n}: f, df/dv, E g of both "
                "STEs",
                YIN,
                mean,
                truth,
                se,
                wrong,
                "the other STE's formula, w turned a little",
            )  # fmt: skip
        )
        labels = [NAMES[0], *[NAMES[1]] * m, *[NAMES[2]] * n, *[NAMES[3]] * n]
        for label, *numbers in zip(labels, truth, mean, se, strict=True):
            rows.append(
                {"m": m, "n": n, "quantity": label}
                | dict(zip(("closed", "mean", "se"), numbers, strict=True))
                | {"z": (numbers[1] - numbers[0]) / numbers[2]}
            )
    claims += derivatives(nets[-1]) + stationary(nets[-1])
    setup.say("descent")
    beside = beside_spurious(nets[-1], setup.seed)
    curves = {
        name: descend(beside, getattr(closed_forms, f"coarse_{name}"))
        for name in ("identity", "relu")
    }
    rise = {name: float(np.max(np.diff(curve))) for name, curve in curves.items()}
    claims.append(
        at_most(
            "Beside the spurious minimum f never rises along the ReLU STE (small steps)",
            "Yin et al. 2019, theorem 1",
            rise["relu"],
            0.0,
            rise["relu"] - rise["identity"],
            "nor does it along the identity STE",
            tolerance=1e-12,
            unit="rise of f in one step",
        )  # fmt: skip
    )
    claims.append(bridge(setup))
    lines = [
        [f"m={m} n={n}", label, len(own), f"{max(abs(row['z']) for row in own):.2f}"]
        for m, n in SHAPES
        for label in NAMES
        if (own := [r for r in rows if (r["m"], r["n"], r["quantity"]) == (m, n, label)])
    ]
    table = report.table(["", "quantity", "components", "largest |z|"], lines)
    return Report(claims, rows, table, {"descent": curves})


def derivatives(net):
    """df/dv and df/dw against differences, and the two inner products with df/dw."""
    numeric = differences(net)
    gradient_w = backend.to_numpy(closed_forms.gradient_w(net))
    exact = np.concatenate([backend.to_numpy(closed_forms.gradient_v(net)), gradient_w])
    theta, along = float(closed_forms.angle(net.w, net.w_true)), net.v @ net.v_true
    length = float(np.linalg.norm(backend.to_numpy(net.w)))
    slope = np.sin(theta) * float(along) ** 2 / (2.0 * (2.0 * pi) ** 1.5 * length)
    products = [float(g @ closed_forms.gradient_w(net)) for g in
                (closed_forms.coarse_relu(net), closed_forms.coarse_identity(net))]  # fmt: skip
    return [
        near(
            "df/dv and df/dw are the central differences of f", YIN, exact, numeric, 1e-8,
            1.001 * numeric, "0.1 % more",
        ),
        near(
            "<E g, df/dw> = sin(theta) (v.v*)^2 / (2 (2 pi)^(3/2) |w|) for ReLU, twice that for "
            "the identity", YIN, products, [slope, 2.0 * slope], 1e-12, [2.0 * slope, slope],
            "the other way round",
        ),
    ]  # fmt: skip


def stationary(net):
    """The coarse gradients at the spurious minimum, and the saddle's condition."""
    xp = backend.namespace(net.v)
    at = net._replace(v=closed_forms.spurious_v(net.v_true), w=-net.w_true)
    relu, identity = (float(np.linalg.norm(backend.to_numpy(g))) for g in
                      (closed_forms.coarse_relu(at), closed_forms.coarse_identity(at)))  # fmt: skip
    expected = float(closed_forms.spurious_identity_norm(net.v_true))
    # a teacher whose sum is small has saddles: there df/dv = 0 and v.v* = 0
    m, centred = net.v_true.shape[0], net.v_true - xp.mean(net.v_true)
    small = centred + 0.5 * xp.sqrt(xp.sum(centred**2) / m)
    saddle = closed_forms.saddle_angle(small)
    values = [_saddle_product(small, angle) for angle in (saddle, 0.5 * saddle)]
    return [
        near(
            "At the spurious minimum E g_relu = 0 and |E g_id| = 2 (m - 1) (1.v*)^2 / (sqrt(2 pi) "
            "(m + 1)^2)", YIN, [relu, identity], [0.0, expected], 1e-12, [expected, 0.0],
            "the identity STE stops there too",
        ),
        near(
            "Where (1.v*)^2 < (m + 1) / 2 |v*|^2 there is an angle with df/dv = 0 and v.v* = 0",
            f"{YIN} (condition); the angle solved for by this package", values[0], 0.0, 1e-12,
            values[1] - values[0], "so it is at half of that angle",
        ),
    ]  # fmt: skip


def _saddle_product(v_true, theta):
    # v = J^-1 K v*, where df/dv = 0
    v_true = backend.to_numpy(v_true)
    m = v_true.shape[0]
    k = (1.0 - 2.0 * theta / pi) * np.eye(m) + 1.0
    return float(np.linalg.solve(np.eye(m) + 1.0, k @ v_true) @ v_true)


def bridge(setup, n=8, samples=4000, sets=256):
    """E g(q) = c (q - w*) of the binary neuron, for both STEs, from data sets of its own."""
    setup.say("binary neuron")
    means, errors, truth = [], [], []
    seed = own_seed(setup.seed, 1, n)
    teacher, s = (random_signs(seed + which, range(1), 1, n, setup.like) for which in (0, 1))
    for ste in STES.values():

        def work(block, ste=ste):
            x = inputs(seed, range(block, block + 1), samples, n, setup.like)
            return backend.to_numpy(gradient(make_task(x, teacher), ste, s))[0, 0]

        nbytes = 4 * samples * n * 4
        found = np.array(list(setup.pool.map(work, ((b,) for b in range(sets)), nbytes)), float)
        means.append(found.mean(axis=0))
        errors.append(found.std(axis=0, ddof=1) / sqrt(sets))
        gap = backend.to_numpy(s - teacher)[0, 0] / sqrt(n)
        truth.append(ste.slope * gap)
    return close(
        "With one hidden unit and known v, E g(q) = c (q - w*), c_id = 1 / sqrt(2 pi) = 2 c_relu",
        "from the lemmas of Yin et al. 2019, for this package", np.array(means), np.array(truth),
        np.array(errors), np.array(truth[::-1]), "c of the other STE",
    )  # fmt: skip

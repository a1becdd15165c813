"""Experiment C-7: the theorem as printed, with the square, and as it is proved, against runs."""

import numpy as np

from ... import report, rng
from ...hypernets import LSTM, Mamba
from ...hypernets.generators import Given
from ...hypernets.slow import SlowNet
from ..curves import OURS, Curve, Panel, with_panels
from ..verdicts import compare
from .counterexamples import (
    LENGTH,
    THETA,
    Lopsided,
    assumptions,
    cycle,
    excess,
    lemma_2,
    lopsided,
)
from .problems import BETAS, draw, random_gaps
from .theorem import Known, corrected, printed, squared

PAPER = "paper: FSG theorem 1"
NOISE, ERROR = 1.0, 0.1  # of random problems, in units of G and of alpha b S


def unmoved(model, seed, draws=50):
    """Largest |S| of random slow-nets for a history of ones whose newest gradient is 0."""
    net, history = SlowNet(model, layers=2), np.ones((4, 3))
    history[-1] = 0.0
    found = 0.0
    for i in range(draws):
        params = net.init(rng.at(seed, "hypernet", i), np.empty(0))
        s, *_ = net.generate(params, Given(0, history[-1], None, history), ())
        found = max(found, float(np.max(np.abs(s))))
    return found


def run(setup, count=300):
    """C-7: both counterexamples, the assumptions they keep, and the corrected bound."""
    short, k1, f1 = cycle()
    long, k2, f2 = lopsided()
    even = lopsided(omega=1.0)
    gaps = {"cycle": excess(short, f1), "momentum": excess(long, f2)}
    kept = {
        "cycle": assumptions(short, f1, k1.alpha, 0.0, THETA, THETA),
        "momentum": assumptions(long, f2, k2.alpha, k2.beta, 0.5, 1.0),
    }
    worst = max(max(own.values()) for own in kept.values())
    broken = assumptions(short, f1, k1.alpha, 0.0, 0.0, 0.5 * THETA)
    scales = 2.0 ** np.arange(-8.0, 9.0)
    scaled = k1._replace(alpha=k1.alpha / scales, low=k1.low * scales, high=k1.high * scales)
    drawn = draw(setup.seed, count)
    setup.say("random problems")
    plain, _, k3 = random_gaps(drawn, 400)
    noisy, _, k4 = random_gaps(drawn, 5, NOISE, ERROR, paths=None)
    # the control: noise of twice G, and a factor that sees it
    seen, se, k5 = random_gaps(drawn, 2000, 2.0, factor=drawn.peeking, paths=8)
    drift, _, k6 = random_gaps(drawn, 5, NOISE, 30.0, paths=None)
    claims = [
        compare("2-cycle, beta = 0: f(xhat) - f* over the printed bound: above 1", PAPER, 1.0,
                gaps["cycle"] / printed(k1), "the bound with (Theta rho)^2",
                gaps["cycle"] / squared(k1), ">="),
        compare("phi s, alpha / s: the run is the same; largest relative change of the corrected "
                "bound", OURS, 0.0, float(np.max(np.abs(corrected(scaled) / corrected(k1) - 1.0))),
                "the printed bound", float(np.max(np.abs(printed(scaled) / printed(k1) - 1.0))),
                "<=", 1e-12),
        compare("momentum 0.995: f(xhat) - f* over the bound with (Theta rho)^2 alone: above 1",
                OURS, 1.0, gaps["momentum"] / squared(k2), "the corrected bound",
                gaps["momentum"] / corrected(k2), ">="),
        compare("both runs: the largest violation of an assumption", PAPER + ", its assumptions",
                0.0, worst, "half of Theta", max(broken.values()), "<=", 1e-12),
        compare("momentum 0.995: share of steps at which lemma 2 is wrong: above 0",
                "paper: FSG lemma 2", 0.01, float(np.mean(lemma_2(long, f2, k2) > 1e-12)),
                "Omega = Theta", float(np.mean(lemma_2(*even[::2], even[1]) > 1e-12)), ">="),
        compare("assumption 5: largest |slow-net| where the newest gradient is 0, the older ones 1",
                PAPER + "; S = 0: this package", 0.0, unmoved(Mamba(1, 4, 2, 2), setup.seed),
                "an LSTM", unmoved(LSTM(1, 4), setup.seed), "<="),
        compare(f"{count} random problems, 400 steps, no noise: largest f(xhat) - f* over the "
                "corrected bound", OURS, 1.0, float(np.max(plain / corrected(k3))),
                "a phi that sees the noise of its gradient, 2000 steps, mean - 6 standard errors",
                float(np.max((seen - 6.0 * se) / corrected(k5))), "<=", 1e-9),
        compare(f"{count} random problems, noise and a noisy slow-net, the mean over all 4^5 "
                "paths: the same", OURS, 1.0, float(np.max(noisy / corrected(k4))),
                "the slow-net's error left out of the bound",
                float(np.max(drift / corrected(k6._replace(error=0.0)))), "<=", 1e-9),
    ]  # fmt: skip
    lines = [
        [f"{name}: {text}", f"{amount:.2g}"]
        for name, own in kept.items() for text, amount in own.items()
    ] + [
        [f"{name}: {text}", f"{amount:.4g}"]
        for name, k in (("cycle", k1), ("momentum", k2))
        for text, amount in (
            ("f(xhat) - f*", gaps[name]), ("bound as printed", printed(k)),
            ("bound with the square", squared(k)), ("corrected bound", corrected(k)),
        )
    ]  # fmt: skip
    table = report.table(["assumption (violated above 0), or number", ""], lines)
    found = with_panels(claims, panels(long, f2, k2, drawn, (plain, k3), (seen, k5)))
    return found._replace(table=table)


def beside(title, label, x, name, bound, k, measured):
    """A panel: a bound that does not hold, the corrected one, and what was measured."""
    return Panel(title, label, "f(xhat) − f*", [
        Curve(name, x, bound(k), True), Curve("corrected bound", x, corrected(k), True),
        Curve("measured", x, measured),
    ], "log", "log")  # fmt: skip


def panels(long, f2, k2, drawn, within, broken):
    """The three panels of C-7."""
    scales = 2.0 ** np.arange(-6.0, 13.0)
    scaled = Known(LENGTH, 3.0 / scales, 0.0, 1.0, 1.0, scales, 2.0 * scales)
    measured = [excess(cycle(4, theta)[0], Lopsided()) for theta in scales]
    steps = 2 ** np.arange(7, 14)
    running = [float(f2.value(np.mean(long.x[:n], axis=0))[0]) for n in steps]
    line = np.array([1e-2, 1e6])

    def some(which, gaps, k):
        # at most 60 problems: they are then drawn as points
        chosen = np.flatnonzero(which)[:60]
        return corrected(k)[chosen], gaps[chosen]

    return [
        beside("2-cycle 1, −2, 1, ...: phi = Theta |x|, alpha = 3 / Theta", "Theta", scales,
               "printed bound (18)", printed, scaled, measured),
        beside("momentum 0.995: the square alone does not mend it", "iterates t + 1", steps,
               "(18) with (Theta rho)²", squared, k2._replace(steps=steps), running),
        Panel("random problems", "corrected bound", "E f(xhat) − f*", [
            Curve("gap = bound", line, line, True),
            *(Curve(f"beta = {beta:g}", *some(drawn.beta == beta, *within)) for beta in BETAS),
            Curve("broken: phi sees the noise", *some(drawn.beta >= 0.0, *broken)),
        ], "log", "log"),
    ]  # fmt: skip

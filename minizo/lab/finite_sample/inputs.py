"""B-8: inputs that are not N(0, I) can defeat the STE however many samples there are.

With x ~ N(mu, S) the population gradient is R(q) - R(w*), R the mean response of Proposition 5 of
this package, and no longer along q - w*: right coordinates are driven too. Following it, without
any sample, predicts which share of the runs succeeds; what finite samples do is drawn on top. That
STEs fail on general non-Gaussian data and that normalising restores them is the finding of the
paper's second version (Jeong, Xin, Yin, arXiv 2505.18113, abstract); which data, and why, is this
package's experiment.
"""

from functools import partial
from math import sqrt

import numpy as np

from ... import backend, report
from ..runner import Report
from ..verdicts import Claim, close
from .model import STES, make_task, own_seed, random_signs, signs, start
from .predictions import mean_response
from .runs import in_blocks, learn, run, step_size
from .shapes import LAWS, MENDINGS, autoregression, correlated, raw, shifted

N, SAMPLES, STEPS, MOVE = 32, 4000, 400, 0.05
SETS, RUNS = 10, 4
CORRELATIONS = (0.0, 0.5, 0.8, 0.85, 0.9, 0.95, 0.98)
MEANS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0)
STARTS = 400  # of the population recursion
SLACK = 0.05


def success(setup, law, mend, words, samples=SAMPLES):
    """Share of the runs of each data set that reach w*: (SETS,).

    Parameters
    ----------
    law : callable
        ``law(seed, b, shape, like)``, see `minizo.lab.finite_sample.shapes`.
    mend : callable
    words : tuple of int
        Part of the seed.
    """
    xp, ste, seed = backend.namespace(setup.like), STES["identity"], own_seed(setup.seed, 8, *words)

    def work(block):
        x = mend(xp.stack([law(seed, b, (samples, N), setup.like) for b in block]))
        teacher = random_signs(seed, block, RUNS, N, setup.like)
        w = start(seed, block, RUNS, N, setup.like)
        eta = step_size(ste, N, MOVE)
        found = learn(make_task(x, teacher), w, eta, STEPS, ste, absorbing=True)
        return ((backend.to_numpy(found.first) < STEPS).mean(axis=1),)

    nbytes = 4 * samples * N * setup.like.dtype.itemsize
    return in_blocks(setup.pool, work, SETS, 1, nbytes)[0]


def without_sampling(mean, covariance, seed):
    """Share of `STARTS` runs along R(q) - R(w*) that reach w*."""
    ste, generator = STES["identity"], np.random.default_rng(seed)
    teacher = signs(generator.standard_normal((STARTS, N)))
    target = mean_response(mean, covariance, teacher)

    def drift(s):
        return mean_response(mean, covariance, s) - target

    w, eta = signs(generator.standard_normal((STARTS, N))), step_size(ste, N, MOVE)
    found = run(drift, teacher / sqrt(N), w, eta, STEPS, ste, absorbing=True)
    return float(np.mean(found.first < STEPS))


def run_inputs(setup):
    """B-8: six laws, raw and mended, and two sweeps with their prediction; returns a `Report`."""
    rows = []
    for number, (name, law) in enumerate(LAWS.items()):
        for mending, mend in MENDINGS.items():
            setup.say(f"{name}, {mending}")
            # one seed a law: what is mended is what was raw
            share = success(setup, law, mend, (0, number))
            rows.append(_row("law", name, mending, share, None))
    identity, nothing = np.eye(N), np.zeros(N)
    for number, value in enumerate(CORRELATIONS):
        setup.say(f"correlation {value}")
        share = success(setup, partial(correlated, correlation=value), raw, (1, number))
        seed = own_seed(setup.seed, 8, 3, number)
        predicted = without_sampling(nothing, autoregression(N, value), seed)
        rows.append(_row("correlation", value, "raw", share, predicted))
    for number, value in enumerate(MEANS):
        setup.say(f"mean {value}")
        share = success(setup, partial(shifted, mean=value), raw, (2, number))
        seed = own_seed(setup.seed, 8, 4, number)
        predicted = without_sampling(nothing + value, identity, seed)
        rows.append(_row("mean", value, "raw", share, predicted))
    found = {(row["value"], row["mending"]): row["success"] for row in rows if row["what"] == "law"}
    by_law = [[name, *(f"{found[name, m]:.2f}" for m in MENDINGS)] for name in LAWS]
    swept = [
        [f"{row['what']} {row['value']:g}", f"{row['success']:.2f}", f"{row['predicted']:.2f}"]
        for row in rows
        if row["what"] != "law"
    ]
    table = "\n\n".join([
        report.table(["success", *MENDINGS], by_law),
        report.table(["success", "raw", "Proposition 5, N infinite"], swept),
    ])  # fmt: skip
    return Report(claims(rows, found), rows, table, {})


def _row(what, value, mending, share, predicted):
    runs = SETS * RUNS
    p = share.mean() if predicted is None else predicted
    # binomial, of the runs and of the predicted ones; one run at least may always differ
    variance = max(p * (1.0 - p), 1.0 / runs)
    return {
        "what": what, "value": value, "mending": mending, "runs": runs, "success": share.mean(),
        "predicted": predicted, "se": sqrt(variance / runs + variance / STARTS),
    }  # fmt: skip


def claims(rows, found):
    """What B-8 claims."""
    paper = "Jeong, Xin, Yin (arXiv 2505.18113 v2, abstract): normalising restores the STE; which"
    mended = min(found["exponential", m] for m in ("standardised", "whitened"))
    harmless = min(found[name, "raw"] for name in ("gaussian", "student t3", "rademacher"))
    answer = [
        Claim(
            "Exponential inputs of unequal scales: no run succeeds raw, every one standardised",
            f"{paper} inputs: this package's", "0 and 1",
            f"{found['exponential', 'raw']:.2f} and {mended:.2f}",
            max(found["exponential", "raw"], 1.0 - mended), 0.1, "share of the runs",
            "raw as well as standardised", abs(1.0 - found["exponential", "raw"]),
        ),
        Claim(
            "Correlated inputs: whitening restores every run, standardising does not",
            f"{paper} inputs: this package's", "1", f"{found['correlated', 'whitened']:.2f}",
            1.0 - found["correlated", "whitened"], 0.1, "share of the runs",
            f"standardising is enough ({found['correlated', 'standardised']:.2f})",
            1.0 - found["correlated", "standardised"],
        ),
        Claim(
            "Gaussian, heavy-tailed (t3) and Rademacher inputs need no mending",
            "this package's experiment", "1", f"{harmless:.2f}", 1.0 - harmless, 0.1,
            "share of the runs", "neither does any law", 1.0 - min(
                found[name, "raw"] for name in LAWS
            ),
        ),
    ]  # fmt: skip
    for what, label in (("correlation", "Correlated"), ("mean", "Shifted")):
        own = [row for row in rows if row["what"] == what]
        success, predicted, se = (np.array([row[key] for row in own], float) for key in
                                  ("success", "predicted", "se"))  # fmt: skip
        answer.append(
            close(
                f"{label} Gaussian inputs: success as along R(q) - R(w*) without any sample",
                f"Proposition 5 (this package); N = {SAMPLES:,} stands for infinity: slack {SLACK}",
                success,
                predicted,
                se,
                np.ones_like(success),
                "as for N(0, I)",
                slack=SLACK,
            )  # fmt: skip
        )
    return answer

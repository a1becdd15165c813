"""``python -m minizo.reproduce.compute796``: the claim of 796 times less computation, measured.

The FOGZO paper reports that FOGZO reaches the loss of n-SPSA with 796 times less computation, for a
2-layer network on MNIST. With biases that network has d = 7960 parameters, and 7960 / 10 = 796: the
number follows from n-SPSA with n = d directions against FOGZO with n = 10 (or n = 796 against 1) if
only the forwards of the queries are counted and both take equally many steps. This command trains
all of them, finds every method's best optimiser on one grid, and measures the computation to equal
loss, counted in three ways. It stops and goes on: every finished run is kept.
"""

import sys
from dataclasses import dataclass, replace
from statistics import fmean

from .. import FOGZO, SPSA, STE, NormalisedSTE, __version__, figures, quantizers, sweep
from ..commands import guarded
from ..compare import TUNING
from ..files import write_text
from ..optim import SGD, Adam
from . import command
from .compute796_report import curves, final, optimizer_name, rounded, show, write_records
from .mnist_grid import DETAIL
from .mnist_grid import OPTIMIZERS as GRID

SHORT = (Adam(0.003), Adam(0.01), Adam(0.03), SGD(0.1))  # for n = 796, where a run takes a minute
LONG = (Adam(0.01),)  # for n = 7960, where it takes a quarter of an hour
SEEDS, FEW = 20, 5  # that are reported, and of n-SPSA with n >= 796
TUNED = 5  # seeds of the tuning
ASKED = 3  # seeds of n-SPSA with n >= 100 in the questions of `study`


@dataclass(frozen=True)
class Method:
    """A curve of the comparison: an estimator, and the optimisers that it was tuned over.

    Parameters
    ----------
    name : str
    estimator
    grid : tuple
    detail : int, optional
        Steps between records; by default 20 records a run.
    """

    name: str
    estimator: object
    grid: tuple
    detail: int | None = None

    @property
    def dear(self):
        """Whether a run takes minutes, so that few are made."""
        return getattr(self.estimator, "n", 0) >= 796

    @property
    def tuning_seeds(self):
        """Seeds on which its optimiser is chosen: none, if there is but one."""
        count = 0 if len(self.grid) == 1 else 1 if self.dear else TUNED
        return range(TUNING, TUNING + count)

    def seeds(self, most):
        """Seeds that are reported, ``most`` or fewer."""
        return range(min(most, FEW) if self.dear else most)


METHODS = (
    Method("STE", STE(), tuple(GRID), DETAIL),
    Method("normalised STE", NormalisedSTE(), tuple(GRID), DETAIL),
    Method("n-SPSA n=1", SPSA(n=1), tuple(GRID)),
    Method("n-SPSA n=10", SPSA(n=10), tuple(GRID)),
    Method("n-SPSA n=100", SPSA(n=100), tuple(GRID)),
    Method("n-SPSA n=796", SPSA(n=796), SHORT),
    Method("n-SPSA n=7960", SPSA(n=7960), LONG),
    Method("n-SPSA n=7960, eps x 2", SPSA(n=7960, eps_scale=2.0), LONG),
    *(
        Method(f"FOGZO n={n}, beta {text}", FOGZO(n=n, beta=beta, beta_schedule=shape, guide=guide),
               tuple(GRID), DETAIL)
        for n in (1, 10)
        for text, beta, shape, guide in (
            (".999", 0.999, "constant", "gradient"),
            ("1 to .999", 0.999, "linear", "gradient"),
            (".9999", 0.9999, "constant", "gradient"),
            ("1 to .999, scaled guide", 0.999, "linear", "scaled"),
        )
    ),
)  # fmt: skip


# beta stays, so that the questions of `study` differ from the first table in one thing
KEPT = (FOGZO(beta_schedule="constant"), FOGZO(n=10, beta_schedule="constant"))


def study(steps, largest):
    """What ``--why`` asks: name of the question -> [(label, estimator, case options)].

    n-SPSA takes part up to n = ``largest``. Without an option the case has Adam .01.
    """
    spsa, tread, longer = SPSA(n=796), quantizers.MidTread(), {"steps": 5 * steps}
    hard = {"activation": "hardtanh"}
    rates = (Adam(0.003), Adam(0.01), SGD(0.1), SGD(0.3))
    slopes = {name: {"quantizer": quantizers.MidRise(name)} for name in ("hardtanh", "tanh")}
    return {
        "the surrogate of the STE (identity: first table)": [
            *(
                (f"STE, {name}, {optimizer_name(rate)}", STE(), option | {"optimizer": rate})
                for name, option in slopes.items()
                for rate in rates
            ),
            *(
                (f"{estimator.label}, {name}, Adam 0.01", estimator, option)
                for name, option in slopes.items()
                for estimator in (spsa, *KEPT)
            ),
        ],
        "size of the perturbation (n-SPSA, Adam .01)": [
            (f"n={n}, eps x {scale:g}", SPSA(n=n, eps_scale=scale), {})
            for n, scales in ((796, (0.5, 1.0, 2.0, 4.0)), (7960, (1.0, 2.0)))
            for scale in scales
            if n <= largest
        ],
        "law of the directions (n-SPSA n=796, Adam .01)": [
            (law, replace(spsa, law=law), {})
            for law in ("uniform", "rademacher", "gaussian", "logistic")
        ],
        "five times as many steps (Adam .01)": [
            ("STE", STE(), longer),
            ("n-SPSA n=10", SPSA(n=10), longer),
            ("n-SPSA n=100", SPSA(n=100), longer),
            ("n-SPSA n=100, eps x 2", SPSA(n=100, eps_scale=2.0), longer),
            ("FOGZO n=1, beta .999", KEPT[0], longer),
        ],
        "mid-tread in place of mid-rise (Adam .01)": [
            (e.label, e, {"quantizer": tread}) for e in (STE(), spsa, *KEPT)
        ],
        "binary weights, levels +-alpha (Adam .01)": [
            (e.label, e, {"quantizer": quantizers.Sign()}) for e in (STE(), spsa, *KEPT)
        ],
        "hardtanh in place of ReLU (Adam .01)": [(e.label, e, hard) for e in (STE(), spsa, *KEPT)],
    }


def case(method, optimizer, seed, steps):
    """The `Case` of a method, optimiser and seed."""
    return sweep.Case(method.estimator, optimizer, seed, steps, record_every=method.detail)


def tuning(methods, steps):
    """(method, optimiser, seed) -> Case for every setting, with the tuning seeds."""
    return {
        (method, optimizer, seed): case(method, optimizer, seed, steps)
        for method in methods
        for optimizer in method.grid
        for seed in method.tuning_seeds
    }


def chosen(methods, records):
    """Method -> its optimiser of least mean final loss over the tuning seeds.

    ``records`` are those of `tuning`, by its keys.
    """
    best = {}
    for method in methods:
        groups = {optimizer: [] for optimizer in method.grid}
        for (own, optimizer, _), record in records.items():
            if own == method:
                groups[optimizer].append(record)
        means = {o: fmean(final(group)) if group else 0.0 for o, group in groups.items()}
        best[method] = min(means, key=means.__getitem__)
    return best


def reported(best, seeds, steps, questions):
    """(where the result belongs, Case) for every run that is reported."""
    entries = [
        ((method.name, optimizer_name(optimizer)), case(method, optimizer, seed, steps))
        for method, optimizer in best.items()
        for seed in method.seeds(seeds)
    ]
    for question, rows in questions.items():
        for label, estimator, options in rows:
            few = getattr(estimator, "n", 0) >= 100
            usual = {"optimizer": Adam(0.01), "steps": steps}
            entries += [
                ((question, label), sweep.Case(estimator, seed=seed, **usual | options))
                for seed in range(min(seeds, ASKED) if few else seeds)
            ]
    return entries


def gather(entries, records):
    """``results[method or question][optimiser or label]``: the records of the seeds."""
    results = {}
    for (place, _), record in zip(entries, records, strict=True):
        results.setdefault(place[0], {}).setdefault(place[1], []).append(record)
    return results


def quick(methods):
    """A small version: no n = 7960, two learning rates."""
    rates = (Adam(0.01), Adam(0.03))
    return tuple(replace(m, grid=rates) for m in methods if getattr(m.estimator, "n", 0) < 7960)


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser(
        "compute796", __doc__.partition("\n\n")[2], "1200; --quick: 300",
        "20, and 5 of n >= 796; --quick: 1",
        "runs/compute796, or -quick",
    )  # fmt: skip
    add = parser.add_argument
    add("--quick", action="store_true",
        help="under 3 minutes on 2 cores: 300 steps, 1 seed, 2 rates, no n = 7960")  # fmt: skip
    add("--why", action="store_true",
        help="also other perturbations, more steps, other quantisers, hardtanh")  # fmt: skip
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The sweep and the report."""
    small = arguments.quick
    seeds, steps = command.counts(
        arguments, seeds=1 if small else SEEDS, steps=300 if small else 1200
    )
    run, out = command.places(arguments, f"compute796{'-quick' if small else ''}")
    methods = quick(METHODS) if small else METHODS
    questions = study(steps, 796 if small else 7960) if arguments.why else {}
    plan = tuning(methods, steps)
    tuned = dict(zip(plan, run(list(plan.values())), strict=True))
    entries = reported(chosen(methods, tuned), seeds, steps, questions)
    cases = list(dict.fromkeys(case for _, case in entries))
    found = run(cases)
    by_case = dict(zip(cases, map(rounded, found), strict=True))
    records = [by_case[case] for _, case in entries]
    results = gather(entries, records)
    title = (
        f"{found[0]['data']}: 2-bit midrise 784-10-10, {steps} steps of 100, "
        f"{command.in_words(seeds)}"
    )
    text = f"{title}, minizo {__version__}\n\n{show(results, methods, questions)}"
    write_text(out / "compute796.txt", text)
    grid = [((f"tuning: {m.name}", optimizer_name(o)), c) for (m, o, _), c in plan.items()]
    everything = [*records, *tuned.values()]
    write_records(out / "compute796.csv.gz", [*entries, *grid], everything)
    shown = [m for m in methods if "FOGZO" not in m.name or "1 to" in m.name]
    figures.save(figures.training(curves(results, shown), title), out / "compute796.png")
    print(f"{text}\nfiles: {out / 'compute796'}.txt, .csv.gz and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())

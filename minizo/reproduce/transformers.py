"""``python -m minizo.reproduce.transformers``: where does FOGZO beat the STE on transformers?

FOGZO's largest published gains are on vision transformers and LLaMAs. This command trains small
ones with every quantiser of the comparison (1 and 2 bits with a fixed scale, LSQ, QuEST) and three
surrogates, by

- the STE, and the STE for as many steps as FOGZO's time allows,
- the normalised STE: the STE's direction, without a measurement,
- FOGZO with three values of beta, with the scaled guide, and after 70 % of the run by the STE,
- the STE's direction with the length that FOGZO measures.

Learning rates are chosen on tuning seeds by training loss. The results come from other seeds, and
differences of the held-out loss are taken seed by seed. `--why` measures the mechanism: how often
the slope that FOGZO measures is negative, and how near the directions are to the gradient of the
smoothed loss. The command can be interrupted and resumed: finished runs are kept.

References
----------
N. Yang, T. M. Aamodt, "Improving the straight-through estimator with zeroth-order information",
NeurIPS 2025, arXiv 2510.23926, section 5.
"""

import sys
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from .. import FOGZO, STE, NormalisedSTE, __version__, figures
from .. import quantizers as q
from ..commands import guarded
from ..commands.shell import notice
from ..compare import TUNING
from ..compare.comparison import mean_loss
from ..errors import InputError, spelt
from ..files import make_folder, write_csv, write_text
from ..lab.slopes import LengthAlone
from . import command
from . import transformers_report as show
from . import transformers_tasks as tasks
from . import transformers_why as why
from .transformers_tasks import BATCH, LAYERS, WIDTH, Case, adamw

STEPS, SEEDS, TUNED = 400, 5, 2
LONGER = 1.8  # steps of the STE in the time of one of FOGZO: `minizo.bench text` measures it

SURROGATES = ("identity", "tanh", "approxsign")
QUANTIZERS = {
    "2 bits": partial(q.MidRise, bits=2),
    "1 bit": q.Sign,
    "LSQ": partial(q.LSQ, bits=2),
    "QuEST": partial(q.QuEST, bits=2, block=128, per="filter"),
}
FLAGS = {  # name -> what it may say, and what it then means
    "task": {name: name for name in tasks.TASKS},
    "quantizer": {"midrise": "2 bits", "sign": "1 bit", "lsq": "LSQ", "quest": "QuEST"},
    "surrogate": {name: name for name in SURROGATES},
}


def fogzo(beta, **settings):
    """FOGZO with one direction of the quantised weights, its beta falling from 1."""
    return FOGZO(n=1, beta=beta, perturb="quantized", **settings)


@dataclass(frozen=True)
class Method:
    """rule : an estimator;  longer : how many times the steps of the others it takes."""

    rule: object
    longer: float = 1.0


METHODS = {
    "STE": Method(STE()),
    "STE, same time": Method(STE(), LONGER),
    "normalised STE": Method(NormalisedSTE(over="quantized")),
    "FOGZO's length alone": Method(LengthAlone(perturb="quantized", guide="scaled")),
    "FOGZO, beta 1 - 1e-7": Method(fogzo(1.0 - 1e-7)),
    "FOGZO, beta 1 - 1e-5": Method(fogzo(1.0 - 1e-5)),
    "FOGZO, beta 1 - 1e-4": Method(fogzo(1.0 - 1e-4)),
    "FOGZO, scaled guide": Method(fogzo(1.0 - 1e-5, guide="scaled")),
    "70 % STE, then FOGZO": Method(fogzo(1.0 - 1e-5, ste_share=0.7)),
}
QUICK = ("STE", "normalised STE", "FOGZO's length alone", *show.BETAS[:2])


def case(cell, method, rate, seed, steps):
    """The `Case` of a method; ``None`` for full precision."""
    task, kind, surrogate = cell
    quantizer = q.FullPrecision() if method is None else QUANTIZERS[kind](surrogate)
    own = Method(STE()) if method is None else METHODS[method]
    length = round(own.longer * steps)
    return Case(
        own.rule, adamw(rate), seed, length, BATCH, quantizer=quantizer, record_every=length,
        task=task,
    )  # fmt: skip


class Result(NamedTuple):
    """Of a method in a cell.

    rate : float, chosen on the tuning seeds;  tuned : float, the mean training loss there;
    records : list of dict, of the reported seeds.
    """

    rate: float
    tuned: float
    records: list


def compared(rows, seeds, steps, tuned, run):
    """Tune, then report: (cell, method) -> `Result`.

    Parameters
    ----------
    rows : list of (cell, method)
    seeds, tuned : int
        Reported and tuning seeds.
    steps : int
    run : callable
        Makes a list of cases.
    """
    tried, reported = command.tuned(
        run,
        {row: tasks.TASKS[row[0][0]].rates for row in rows},
        lambda row, rate, seed: case(*row, rate, seed, steps),
        range(TUNING, TUNING + tuned),
        range(seeds),
    )
    return {
        row: Result(rate, mean_loss(tried[row, rate]), records)
        for (row, rate), records in reported.items()
    }


def forecast(rows, seeds, steps, tuned, workers):
    """How many runs the comparison makes, and how long they take, in words."""
    task = tasks.TASKS[rows[0][0][0]]
    runs = len(task.rates) * tuned + seeds
    forwards = runs * sum(case(*row, task.rates[0], 0, steps).cost() for row in rows)
    lead = case(*rows[0], task.rates[0], 0, steps)
    words = command.expected(lead, task.load(), forwards, 2 * runs * len(rows), workers)
    return f"{task.title}: at most {runs * len(rows)} runs, {words}"


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = command.parser(
        "transformers", __doc__.partition("\n\n")[2].partition("\n\nReferences")[0],
        f"{STEPS}; --quick: 60", f"{SEEDS}; --quick: 2",
    )  # fmt: skip
    add = parser.add_argument
    for flag, known in FLAGS.items():
        words = f"{' | '.join(known)} (default: all)"
        add(f"--{flag}", nargs="+", metavar="NAME", help=words)
    add("--tuning-seeds", type=int, help=f"seeds of the tuning (default: {TUNED}; --quick: 1)")
    add(
        "--quick",
        action="store_true",
        help="under 5 minutes on 2 cores: the LLaMA with 2 bits, five methods, and a small --why",
    )
    add("--why", action="store_true", help="the mechanism instead of the comparison")  # fmt: skip
    return guarded(lambda: work(parser.parse_args(argv)))


def work(arguments):
    """The sweeps and the reports."""
    small = arguments.quick
    seeds, steps, tuned = command.counts(
        arguments, seeds=2 if small else SEEDS, steps=60 if small else STEPS,
        tuning_seeds=1 if small else TUNED,
    )  # fmt: skip
    idle = [*FLAGS, "tuning_seeds"] if arguments.why else [*FLAGS] if small else []
    for flag in idle:
        given, beside = getattr(arguments, flag), "--why" if arguments.why else "--quick"
        if given is not None:
            shown = " ".join(given) if isinstance(given, list) else given
            raise InputError(
                f"--{flag.replace('_', '-')} {shown} has no effect with {beside}; leave it out"
            )
    names, kinds, surrogates = (
        [known[spelt(f"--{flag}", name, known)] for name in getattr(arguments, flag) or known]
        for flag, known in FLAGS.items()
    )
    methods = QUICK if small else tuple(METHODS)
    if small:
        names, kinds, surrogates = ["llama"], ["2 bits"], ["identity", "tanh"]
    stem = f"transformers{'-quick' if small else ''}"
    sweep_of, out = command.places(arguments, stem)
    folder = make_folder(arguments.folder or f"runs/{stem}", "--folder")

    def run(cases):
        return sweep_of(cases, tasks.TASKS[cases[0].task].load)

    words = f"{steps} steps of {BATCH}, {command.in_words(seeds)}, minizo {__version__}"
    texts = []
    for task in () if arguments.why else names:
        cells = [(task, kind, surrogate) for kind in kinds for surrogate in surrogates]
        rows = [(cell, method) for cell in cells for method in methods] + [((task, "", ""), None)]
        if not arguments.quiet:
            notice(forecast(rows, seeds, steps, tuned, arguments.workers))
        results = compared(rows, seeds, steps, tuned, run)
        title = f"{tasks.TASKS[task].title}, {LAYERS} layers, {WIDTH} wide, {words}"
        texts.append(show.comparison_text(results, methods, title, tasks.TASKS[task].rates, tuned))
        write_text(out / f"transformers_{task}.txt", texts[-1] + "\n")
        write_csv(out / f"transformers_{task}.csv", *show.rows(results))
        figures.save(show.picture(results, methods, title), out / f"transformers_{task}.png")
    if arguments.why or small:
        slopes = why.slopes(run, seeds, steps, small)
        cosines = why.cosines(steps, folder, small, arguments.quiet)
        texts.append(why.text(slopes, cosines, f"LLaMA, Tiny Shakespeare, {words}"))
        write_text(out / "transformers_why.txt", texts[-1] + "\n")
        write_csv(out / "transformers_why.csv", *why.rows(slopes))
        figures.save(why.picture(slopes, words), out / "transformers_why.png")
    print("\n\n\n".join(texts) + f"\n\nfiles: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

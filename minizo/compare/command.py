"""``python -m minizo.compare``: settings, cases, runs, table, picture, page."""

import json
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace

from .. import __version__, backend, testing
from ..commands import flags, own
from ..commands.cases import (
    build_network,
    build_objective,
    called,
    differences,
    in_words,
    load_data,
    short,
    title,
)
from ..commands.parts import build, read
from ..commands.running import evaluation, length, new_folder
from ..commands.settings import DEFAULTS, refuse_twice, resumed, settled, write
from ..commands.shell import guarded, notice
from ..data import AUGMENTATIONS
from ..errors import InputError, nearest
from ..files import make_folder
from ..inputs import check_batch, check_data, check_numbers
from ..laws import LAWS, Law
from ..recipe import Recipe
from . import files
from .cases import Candidate, Case
from .comparison import check_seeds, compare

COMMAND = "minizo.compare"
DESCRIPTION = """\
Compare estimators, quantisers and optimisers on equal terms: settings are chosen on tuning seeds,
results come from other seeds, differences to the reference are taken seed by seed and carry a 95 %
interval.

A PART is a name and its settings: --estimator fogzo:n=10,beta=.999; --help fogzo says what fogzo
takes, and --estimator my_rule.py:MyRule,n=10 takes one from a file of yours, which
minizo.testing looks at first. Every combination of parts is a case; of what --tune names (lr,
unless you say otherwise) each case gets the value that is best on the tuning seeds."""
EPILOG = """\
The folder holds table.txt, a picture, report.html (open it in a browser), results.json, runs.csv
and curves.csv. Exit codes: 0, 1 if a run diverged, 2 for bad input."""
OWN = {
    "estimator": ["ste", "normalised-ste", "fogzo:n=1", "fogzo:n=10"],
    "lr": [0.003, 0.01, 0.03],
    "seed": None,
    "seeds": 20,
    "tuning_seeds": 5,
    "tune": ["lr"],
    "equal": ["steps"],
    "checkpoint_every": None,
}
CHECKS = {
    "estimator": testing.check_estimator,
    "quantizer": testing.check_quantizer,
    "optimizer": testing.check_optimizer,
}


def main(argv=None):
    """Run the command; returns its exit code."""
    defaults = {name: item for name, item in (DEFAULTS | OWN).items() if item is not None}
    parser = flags.parser(f"python -m {COMMAND}", DESCRIPTION, EPILOG, defaults, flags.COMPARISON)
    return guarded(lambda: run(defaults, vars(parser.parse_args(argv))))


def run(defaults, given):
    """Compare for the flags ``given``, as text, and print; returns the exit code."""
    refuse_twice(given)
    refuse_repeated(given)
    resume = given.get("resume")
    if resume is None:
        settings = settled(defaults, given)
    else:
        settings = resumed(resume, COMMAND, defaults, given)
    flags.refuse_foreign(settings, flags.COMPARISON)

    # everything that can be wrong is looked at before anything is written or trained
    xp = backend.get(settings.backend)
    for part in (*settings.estimator, *settings.quantizer, *settings.optimizer):
        check_own(part)
    data = load_data(settings, progress=not settings.quiet, notice=notice)
    check_seeds(settings.all_seeds, settings.tuning_seeds, data)
    network = build_network(settings, data)
    check_layers(settings.model, network)
    check_data(network, data)
    check_batch(network, settings.batch)
    steps, _ = length(settings, data.y_train.shape[0])
    records, examples = evaluation(settings, data)
    check_numbers(Recipe(None, data, None, None, steps, settings.batch, 0, None, examples))
    compared = cases(settings, data)
    reference = named(settings, [case.label for case in compared])
    heading = title(settings, data, steps)
    fresh = resume is None
    folder = new_folder(settings.out, "compare") if fresh else make_folder(resume, "--resume")
    if fresh:
        write(folder, COMMAND, settings)
    if not settings.quiet:
        notice(f"folder: {folder} (if interrupted, go on with --resume {folder})")
    words = {"title": heading, "minizo": __version__, "command": COMMAND, **settings.kept()}
    words |= {"backend_version": xp.__version__, "device": backend.device_name(xp)}
    options = {"batch": settings.batch, "rng": settings.rng, "loss_examples": examples}
    with errors_of(settings, folder, fresh), redirect_stdout(sys.stderr):  # whatever rules print
        found = compare(
            compared, data.to(xp), steps=steps, seeds=settings.all_seeds,
            tuning_seeds=settings.tuning_seeds, reference=reference, equal=settings.equal,
            folder=folder / "runs", workers=settings.workers, records=records,
            quiet=settings.quiet, settings=words, augment=AUGMENTATIONS[settings.augment],
            **options,
        )  # fmt: skip
    report = files.write(folder, found)
    if settings.json:
        for table in files.results(found)["tables"]:
            for row in table["cases"]:
                print(json.dumps({"equal": table["equal"], **row}))
    else:
        print(f"{report}\n\nfolder: {folder}\npage:   {folder / 'report.html'}")
    lost = any("error" in end for t in found.tables for row in t.rows for end in row.outcomes)
    return 1 if lost else 0


@contextmanager
def errors_of(settings, folder, fresh):
    """What a user's rule raises becomes one sentence; a new folder without a run is removed."""
    try:
        yield
    except BaseException as error:
        runs = folder / "runs"
        kept = runs.is_dir() and any(runs.iterdir())
        if fresh and not kept:
            (folder / "settings.json").unlink(missing_ok=True)
            for empty in (runs, folder):
                with suppress(OSError):  # something else lies in it
                    empty.rmdir()
        words = own.place(settings.files, error)
        if isinstance(error, InputError | MemoryError | KeyboardInterrupt) or words is None:
            raise
        more = f"; finished runs are kept: --resume {folder}" if kept else ""
        raise InputError(f"{words}{more}") from error


def named(settings, labels):
    """The label of the reference: as it is given, or by the name of an estimator."""
    given = settings.reference
    if given is None or given in labels:
        return given or labels[0]
    found = [label for label in labels if _is_of(label, given, settings)]
    if len(found) == 1:
        return found[0]
    some = f"is {len(found)} of the cases" if found else "is not among the cases"
    raise InputError(
        f"--reference {given!r} {some}{nearest(given, labels)} ({', '.join(map(repr, labels))})"
    )


def _is_of(label, given, settings):
    # whether a case is called after an estimator of this name
    parts = [
        part for part in settings.estimator if str(part.brief()) == given or part.name == given
    ]
    return any(label.partition(",")[0] == called(part, build(part)) for part in parts)


def refuse_repeated(given):
    """Raise an `InputError` for a part that is given twice: it would be compared with itself."""
    for kind in ("estimator", "quantizer", "optimizer"):
        seen = []
        for item in given.get(kind, []):
            part = read(kind, item).whole()
            if part in seen:
                raise InputError(
                    f"--{kind} {item} is there twice; leave one out, or change a setting"
                )
            seen.append(part)


def check_own(part):
    """Raise an `InputError` where a rule or a law from a user's file breaks its contract."""
    if not part.files:
        return
    made = build(part)
    if isinstance(law := getattr(made, "law", None), Law) and law not in LAWS.values():
        checked(part, testing.check_law, law)
    checked(part, CHECKS[part.kind], made)


def check_layers(part, network):
    """Raise an `InputError` where a layer that is not the package's breaks its contract."""
    for place in network.places:
        if not type(place.layer).__module__.startswith("minizo."):
            checked(part, testing.check_layer, place.layer, place.shape)


def checked(part, check, *given):
    """Call a check of `minizo.testing`; what it finds becomes one sentence about the part."""
    try:
        check(*given)
    except testing.CheckFailed as error:
        first, *more = str(error).splitlines()
        rest = f" (and {len(more)} more)" if more else ""
        raise InputError(
            f"{part.flag}: {first}{rest}; minizo.testing.{check.__name__}(...) shows all"
        ) from None


# Cases -------------------------------------------------------------------------------------------


def cases(settings, data):
    """The cases: every combination of what is not tuned, over every value of what is."""
    tune = tuple(name.replace("-", "_").lower() for name in settings.tune)
    settings = replace(settings, tune=tune)
    check_tuned(settings)
    groups = {}
    for quantizer in settings.quantizer:
        for estimator in settings.estimator:
            for optimizer in settings.optimizer:
                for scale in settings.init_scale:
                    chosen = quantizer, estimator, optimizer, scale
                    groups.setdefault(kept(chosen, settings.tune), []).append(chosen)
    names = labels(groups)
    networks = {scale: build_network(settings, data, scale) for scale in settings.init_scale}
    objectives, made, found = {}, {}, []
    for name, group in zip(names, groups.values(), strict=True):
        candidates = []
        for quantizer, estimator, optimizer, scale in group:
            for part in (quantizer, estimator, optimizer):
                if part not in made:
                    made[part] = build(part)
            place = quantizer, scale
            if place not in objectives:
                objectives[place] = build_objective(settings, networks[scale], made[quantizer])
            candidates.append(Candidate(
                made[estimator], objectives[place], made[optimizer],
                tuned((quantizer, estimator, optimizer, scale), settings),
            ))  # fmt: skip
        found.append(Case(name, tuple(candidates)))
    return found


def kept(chosen, tune):
    """What of a combination is not tuned: the same for all candidates of a case."""
    *parts, scale = chosen
    found = []
    for part in parts:
        own = part._replace(settings=tuple((n, v) for n, v in part.settings if n not in tune))
        found.append(None if part.kind in tune else own)
    return (*found, None if "init_scale" in tune else scale)


def tuned(chosen, settings):
    """What of a combination is tuned, as pairs of name and value, the optimiser's name first."""
    *parts, scale = chosen
    optimizer = parts[-1]
    name = short(optimizer.name)
    if "optimizer" in settings.tune:
        among = [part for part in settings.optimizer if part.name == optimizer.name]
        (words,) = [
            own for part, own in zip(among, differences(among), strict=True) if part == optimizer
        ]
        extra = [w for w in words if w.partition(" ")[0] not in settings.tune and w != name]
        name = " ".join([name, *extra])
    found = [("optimizer", name)]
    for part in parts[:-1]:
        if part.kind in settings.tune:
            found.append((part.kind, str(part.brief())))
    names = [name for part in parts for name, _ in part.settings]
    for part in parts:
        for name, value in part.settings:
            if name in settings.tune and value is not None:
                shared = names.count(name) > 1  # such as the eps of FOGZO and that of Adam
                found.append((f"{short(part.name)}'s {name}" if shared else name, value))
    if "init_scale" in settings.tune:
        found.append(("init_scale", scale))
    return tuple(found)


def labels(groups):
    """What the cases are called: the estimator, and what differs between them.

    ``groups`` has the combinations of each case by what of them is not tuned.
    """
    quantizers, estimators, optimizers, scales = zip(*groups, strict=True)
    names, columns = [], []
    for chosen in groups.values():
        # a label may hold the very setting that is tuned: then the part's name must do
        found = {called(part, build(part)) for _, part, _, _ in chosen}
        kinds = {short(part.name) for _, part, _, _ in chosen}
        names.append(" or ".join(sorted(found if len(found) == 1 else kinds)))
    if None not in estimators:
        columns.append(differences(list(estimators), names))
    for parts in (quantizers, optimizers):
        if None not in parts:
            columns.append(differences(list(parts)))
    if len(set(scales)) > 1:
        columns.append([[f"init scale {in_words(scale)}"] for scale in scales])
    return [
        ", ".join([name, *(word for words in own for word in words)])
        for name, *own in zip(names, *columns, strict=True)
    ]


def check_tuned(settings):
    """Raise an `InputError` for a name of ``--tune`` that is nothing which can be tuned."""
    parts = (*settings.estimator, *settings.quantizer, *settings.optimizer)
    known = {"estimator", "quantizer", "optimizer", "init_scale"}
    known |= {name for part in parts for name, _ in part.settings}
    scales = {"init_scale": settings.init_scale} | {
        kind: getattr(settings, kind) for kind in ("estimator", "quantizer", "optimizer")
    }
    for name in settings.tune:
        if name in scales and len(scales[name]) == 1:
            raise InputError(
                f"--tune {name.replace('_', '-')} has no effect: all cases have the same; give "
                "several, or leave it out"
            )
        if name not in known:
            raise InputError(
                f"--tune {name}: there is no such setting{nearest(name, known)} "
                f"({', '.join(sorted(known))})"
            )

"""``python -m minizo.compare``: settings, cases, runs, table, picture, page."""

import json
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace

from .. import __version__, backend, testing
from ..commands import flags, own, recipes
from ..commands.cases import (
    build_network,
    called,
    load_data,
    title,
)
from ..commands.parts import accepts, build, read, thing
from ..commands.running import evaluation, length, opened
from ..commands.settings import DEFAULTS
from ..commands.shell import guarded, notice
from ..commands.sources import settled, told
from ..data import AUGMENTATIONS, NAMES
from ..data.texts import DRAWN, PUBLIC
from ..data.texts import NAMES as TEXTS
from ..errors import InputError, nearest
from ..inputs import check_batch, check_data, check_numbers
from ..laws import LAWS, Law
from ..models import MODELS
from ..recipe import Recipe
from . import files
from .combinations import cases
from .comparison import check_seeds, compare

COMMAND = "minizo.compare"
DESCRIPTION = """\
Compare estimators, quantisers and optimisers on equal terms: settings are chosen on tuning seeds,
results come from other seeds, differences to the reference are taken seed by seed and carry a 95 %
interval.

A PART is a name and its settings: --estimator fogzo:n=10,beta=.999; --help fogzo says what fogzo
takes, and --estimator my_rule.py:MyRule,n=10 takes one from a file of yours, which
minizo.testing looks at first. Every combination of parts is a case; of what --tune names (lr,
unless you say otherwise) each case gets the value whose training loss is least on the tuning
seeds. With --model llama or lstm the data are a text, and cases are judged by validation loss."""
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
    refuse_repeated(given)
    refuse_pretrained(given)
    settings, resume = told(COMMAND, defaults, given), given.get("resume")
    flags.refuse_foreign(settings, flags.COMPARISON, settled(defaults, {}))
    settings = of_its_data(settings)

    # everything that can be wrong is looked at before anything is written or trained
    xp = backend.get(settings.backend)
    for part in (*settings.estimator, *settings.quantizer, *settings.optimizer):
        check_own(part, settings.quiet)
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
    folder, fresh = opened(COMMAND, settings, resume, notice), resume is None
    words = {"title": heading, "minizo": __version__, "command": COMMAND, **settings.kept()}
    words |= {"backend_version": xp.__version__, "device": backend.device_name(xp)}
    options = {"batch": settings.batch, "rng": settings.rng, "loss_examples": examples}
    with errors_of(settings, folder, fresh), redirect_stdout(sys.stderr):  # whatever rules print
        found = compare(
            compared, data.to(xp), steps=steps, seeds=settings.all_seeds,
            tuning_seeds=settings.tuning_seeds, reference=reference, measure=settings.measure,
            equal=settings.equal, folder=folder / "runs", workers=settings.workers, records=records,
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


CONTEXT = 64  # tokens of a sequence


def of_its_data(settings):
    """The settings, with a context where the data are a text, which the model says.

    The package's language models take a ``vocabulary``; a model of the user's own is trained on a
    text where ``--context`` or ``--words`` is given, or the data are a file ``*.txt``.

    Raises
    ------
    InputError
        For flags that have no effect: those of texts with images, and those of images with a text.
    """
    model, stated = settings.model, (settings.context, settings.words)
    if settings.data == PUBLIC or settings.data.endswith(".txt"):
        on_text = True  # also with a network for images, which is then refused
    elif model.name in MODELS:
        on_text = accepts(thing(model), "vocabulary")
    else:
        on_text = stated != (None, None)
    if not on_text:
        for name, number in zip(("context", "words"), stated, strict=True):
            if number is not None:
                raise InputError(
                    f"--{name} {number} has no effect with --model {model.name}, which takes "
                    f"images; leave it out, or choose {' | '.join(flags.models_of(flags.TEXT))}"
                )
        return settings
    if settings.data in NAMES and settings.data != DRAWN:
        raise InputError(
            f"--data {settings.data} holds images, but --model {model.name} takes text; choose "
            f"{' | '.join(TEXTS)}, or name a file"
        )
    for given, words in (
        (settings.standardize, "--standardize"),
        (settings.augment != "none", f"--augment {settings.augment}"),
    ):
        if given:
            raise InputError(f"{words} has no effect with a text, only with images; leave it out")
    return replace(settings, context=settings.context or CONTEXT)


@contextmanager
def errors_of(settings, folder, fresh):
    """What a user's rule raises becomes one sentence; a new folder without a run is removed."""
    try:
        yield
    except BaseException as error:
        runs = folder / "runs"
        kept = runs.is_dir() and any(runs.iterdir())
        if fresh and not kept:
            for name in ("settings.json", "recipe.txt"):
                (folder / name).unlink(missing_ok=True)
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


def refuse_pretrained(given):
    """Raise an `InputError` for a recipe that pre-trains its networks, as a comparison does not."""
    name = recipes.called(given.get("settings", ""))
    if name is not None and "start" in recipes.read(name).settings:
        raise InputError(
            f"--recipe {name} begins with trained networks, and a comparison trains none before; "
            f"start it with python -m minizo.cifar --recipe {name}"
        )


def check_own(part, quiet):
    """Raise an `InputError` where a rule or a law from a user's file breaks its contract."""
    if not part.files:
        return
    made = build(part)
    if isinstance(law := getattr(made, "law", None), Law) and law not in LAWS.values():
        checked(part, testing.check_law, law)
    checked(part, CHECKS[part.kind], made)
    if not quiet:
        notice(f"minizo.testing: {part.flag} keeps its contract")


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

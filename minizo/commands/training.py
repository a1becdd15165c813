"""A whole training command: settings, data, runs, table, picture."""

import json
import math

from .. import backend, start
from ..errors import InputError
from ..files import write_text
from ..inputs import check_batch, check_data, check_numbers
from ..recipe import Recipe
from . import flags, language, running
from .cases import build_network, cases, load_data, title
from .settings import DEFAULTS
from .shell import guarded, notice
from .sources import settled, told

FEW = 2_000  # test images that say how good the weights are that runs begin with


def main(command, description, epilog, defaults, argv=None, kind=flags.IMAGES):
    """Run a training command; returns its exit code.

    Parameters
    ----------
    command : str
        ``minizo.mnist``: its module, and its name in a run folder.
    description, epilog : str
        For ``--help``.
    defaults : dict
        Settings that differ from `minizo.commands.settings.DEFAULTS`.
    argv : list of str, optional
    kind : {flags.IMAGES, flags.TEXT}
        What it trains on, which decides about the flags that it has.
    """
    defaults = {name: item for name, item in (DEFAULTS | defaults).items() if item is not None}
    parser = flags.parser(f"python -m {command}", description, epilog, defaults, kind)
    return guarded(lambda: train(command, defaults, vars(parser.parse_args(argv)), kind))


def train(command, defaults, given, kind):
    """Train for the flags ``given``, as text, and print; returns the exit code."""
    settings, resume = told(command, defaults, given), given.get("resume")
    flags.refuse_foreign(settings, kind, settled(defaults, {}))
    if len(settings.init_scale) > 1:
        shown = " ".join(f"{scale:g}" for scale in settings.init_scale)
        raise InputError(
            f"--init-scale {shown}: a run has one; python -m minizo.compare takes several"
        )

    # everything that can be wrong is looked at before anything is written or trained
    xp = backend.get(settings.backend)
    compared = cases(settings)
    data = load_data(settings, progress=not settings.quiet, notice=notice)
    network = build_network(settings, data, *settings.init_scale)
    check_data(network, data)
    check_batch(network, settings.batch)
    begin = None
    if settings.start is not None and not settings.pretraining:
        begin = start.load(settings.start, network, "--start")
    planned = running.runs(settings, compared, data.y_train.shape[0])
    examples = running.evaluation(settings, data)[1]
    for run in planned:  # their numbers alone
        numbers = run.steps, settings.batch, run.seed, None, examples
        check_numbers(Recipe(None, data, None, None, *numbers))
    running.check(settings, compared, network, data)
    if data.tokens:
        language.beginning(settings, data)
    folder = running.opened(command, settings, resume, notice)
    if begin is not None:
        known = f"{begin.table()}{right_at_first(begin, network, data)}"
        write_text(folder / "start.txt", f"{settings.start}\n\n{known}\n")
        if not settings.quiet:
            notice(f"weights from {settings.start}:\n{known}")
    results, curves = running.run_all(
        settings, compared, network, data.to(xp), folder, resume is not None, notice, begin
    )
    heading = title(settings, data, planned[-1].steps)
    text = running.results_table(results, data)
    if data.tokens:
        text = "\n".join(filter(None, [text, language.best_possible(data)]))
    picture = running.write_results(folder, results, curves, text, heading, data.tokens)
    if data.tokens and not settings.json:
        sample = language.sample(settings, network, data, folder, planned, results)
        write_text(folder / "sample.txt", sample + "\n")
        text = "\n\n".join(filter(None, [text, sample]))
    if settings.json:
        for row in results:
            print(json.dumps(row))
    else:
        print(f"{heading}\n\n{text}\n\nrun folder: {folder}\npicture:    {picture}")
    return 1 if any("error" in row for row in results) else 0


def right_at_first(begin, network, data):
    """A line with the accuracy in full precision of where runs begin, as far as it is known."""
    few = data.head(1, min(FEW, data.y_test.shape[0]))
    share = math.nan if data.tokens else start.accuracy(begin, network, few)
    if math.isnan(share):
        return ""
    images = f"the first {few.y_test.shape[0]:,} test images"
    return f"\nin full precision {100 * share:.2f} % of {images} are right"

"""What a command does with a text beside training on it: the best possible loss, and a sample."""

import math

from ..data.tokens import LINE_END
from ..errors import InputError
from ..export.trained import read_run
from ..parallel import one_blas_thread
from ..sampling import TEMPERATURE, write


def beginning(settings, data):
    """How a sample begins: what the settings say, or the end of a line."""
    if settings.sample is not None:
        found = settings.sample
    else:
        found = "\n" if {"\n", LINE_END} & set(data.vocabulary) else data.vocabulary[0]
    try:
        tokens = data.encode(found)
    except InputError as error:
        raise InputError(f"--sample: {error}") from None
    if not len(tokens):
        raise InputError("--sample is empty; give the beginning of a text")
    return found


def sample(settings, network, data, folder, planned, results):
    """What the network of the least validation loss writes, a quantised one where there is any.

    With a line that says which; empty where none came to its end, or runs were trained together.
    """
    good = [
        (row["quantizer"] == "none", row["test_loss"], run.slug, row)
        for run, row in zip(planned, results, strict=True)
        if "error" not in row and not run.case.pretraining
    ]
    if not good or settings.together:
        return ""
    *_, slug, best = min(good, key=lambda item: item[:3])
    trained = read_run(folder, network)[slug]
    with one_blas_thread():
        text = write(network, trained.weights, data, beginning(settings, data))
    return f"{best['label']}, seed {best['seed']}, writes (temperature {TEMPERATURE}):\n{text}"


def best_possible(data):
    """A line about the least loss that there is, for a language of which it is known."""
    if data.entropy is None:
        return ""
    return (
        f"best possible: {data.entropy:.3f} nats a {data.unit}, {data.entropy / math.log(2):.3f} "
        f"bits, perplexity {math.exp(data.entropy):.2f}"
    )

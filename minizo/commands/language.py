"""What a command does with a text beside training on it: the best possible loss, and a sample."""

import math

import numpy as np

from .. import rng
from ..errors import InputError
from ..export.trained import read_run
from ..parallel import one_blas_thread

LENGTH = 300  # tokens of a sample
TEMPERATURE = 0.8


def written(network, params, data, begin, length=LENGTH, temperature=TEMPERATURE, seed=0):
    """A text that a network writes: each token drawn from softmax(logits / temperature).

    Parameters
    ----------
    network : Network
        That reads tokens.
    params : dict of str to ndarray
        What it computes with, NumPy arrays.
    data : minizo.data.Text
        Whose tokens it knows.
    begin : str
        How the text begins; the network reads the last ``context`` tokens of what is there.
    length : int
        Tokens that are drawn.
    temperature : float
        1 for the network's own probabilities; the smaller, the likelier tokens.
    seed : int

    Returns
    -------
    str
        The beginning, and what was drawn.
    """
    (context,) = network.input_shape
    tokens = list(data.encode(begin))
    u = rng.at(seed, "sample", 0).host().random(length)
    for draw in u:
        x = np.array([tokens[-context:]], dtype=np.int64)
        logits = network.predict(params, x)[0, -1].astype(float) / temperature
        p = np.exp(logits - logits.max())
        token = np.searchsorted(np.cumsum(p), draw * p.sum(), side="right")
        tokens.append(int(min(token, len(p) - 1)))
    return data.decode(tokens)


def beginning(settings, data):
    """How a sample begins: what the settings say, or the end of a line."""
    if settings.sample is not None:
        found = settings.sample
    else:
        found = "\n" if "\n" in data.vocabulary or data.level == "words" else data.vocabulary[0]
    if not len(data.encode(found)):
        raise InputError("--sample is empty; give the beginning of a text")
    return found


def sample(settings, network, data, folder, planned, results):
    """What the quantised network of the least validation loss writes, with a line that says so.

    Empty where none came to its end, or runs were trained together.
    """
    good = [
        (row["test_loss"], run.slug, row)
        for run, row in zip(planned, results, strict=True)
        if "error" not in row and row["quantizer"] != "none"
    ]
    if not good or settings.together:
        return ""
    _, slug, best = min(good, key=lambda item: item[:2])
    trained = read_run(folder, network)[slug]
    with one_blas_thread():
        text = written(network, {**trained.weights, **trained.running}, data,
                       beginning(settings, data))  # fmt: skip
    return f"{best['label']}, seed {best['seed']}, writes (temperature {TEMPERATURE}):\n{text}"


def best_possible(data):
    """A line about the least loss that there is, for a language of which it is known."""
    if data.entropy is None:
        return ""
    return (
        f"best possible: {data.entropy:.3f} nats a {data.unit}, {data.entropy / math.log(2):.3f} "
        f"bits, perplexity {math.exp(data.entropy):.2f}"
    )

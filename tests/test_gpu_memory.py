"""A card that is too small: one sentence wherever its memory ends, and nothing is lost."""

import gc
import json
import warnings

import numpy as np
import pytest
from conftest import pick, write_corners
from test_hidden_traffic import SMALL

from minizo import InputError, Objective, backend, fit, fit_many, memory, mnist, optim, quantizers
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS
from minizo.models import lenet, mlp

pytestmark = pytest.mark.gpu

ROOM = [0, 2**15, 2**17, 2**19, 2**21, 2**22, 2**25]


@pytest.fixture
def room(card, cupy):
    """room(nbytes): let the card have so much more than is in use now."""
    gc.collect()
    backend.release(cupy)  # or the test's first arrays lie in a large block of an earlier test,
    # whose rest no limit of the card takes away

    def only(nbytes):
        gc.collect()
        backend.release(cupy)
        memory.forget()
        card.limit(backend.memory_used(cupy) + nbytes)

    yield only
    card.limit(None)
    memory.forget()


def images(cupy):
    """Random images and labels on the card."""
    x = np.random.default_rng(0).random((60, 1, 28, 28)).astype("float32")
    y = np.arange(60) % 10
    return Dataset("noise", *map(cupy.asarray, (x, y, x, y)), classes=10)


def outcomes(run, room):
    """What `run` ends in with little and with more memory: the sentences, and the losses."""
    sentences, losses = [], set()
    for nbytes in ROOM:
        room(nbytes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", memory.SmallerParts)
            try:
                losses.add(run())
            except InputError as error:
                sentences.append(str(error))
    return sentences, losses


PERCEPTRON, CONVOLUTIONAL = mlp(784, 10, 10), lenet((4, 8))
RUNS = [(PERCEPTRON, name, 70) for name in ("ste", "spsa", "fogzo", "proxquant", "fcgrad")]
RUNS += [(CONVOLUTIONAL, name, 5) for name in ("ste", "fogzo")]


@pytest.mark.parametrize("network, name, n", RUNS)
def test_fit(network, name, n, room, cupy):
    """Whatever step needs the memory, it is an `InputError`; what fits gives the same loss."""
    data, rule = images(cupy), pick(ESTIMATORS[name], SMALL | {"n": n})
    objective = Objective(network, quantizers.MidRise())

    def run():
        own = fit(objective, data, rule, optim.Adam(0.01), steps=2, batch=10, record_every=2)
        return round(own.final("train_loss"), 4)

    sentences, losses = outcomes(run, room)
    assert len(losses) == 1 and sentences  # it fits at last, and not at first
    assert all("memory" in text and "--backend numpy" in text for text in sentences)
    assert all("\n" not in text for text in sentences)


def test_many_rows(room, cupy):
    data, objective = images(cupy), Objective(mlp(784, 10, 10), quantizers.MidRise())
    pairs = [(optim.Adam(0.01), seed) for seed in range(6)]

    def run():
        runs = fit_many(objective, data, ESTIMATORS["ste"](), pairs, steps=2, batch=30)
        return round(runs[-1].final("train_loss"), 4)

    sentences, losses = outcomes(run, room)
    assert len(losses) == 1 and sentences and all("memory" in text for text in sentences)


def test_command(room, command, tmp_path):
    """Exit code 2 and one sentence, at whatever size; the same command ends well with more."""
    folder = write_corners(tmp_path, 8)
    flags = ("--data", folder, "--steps", 4, "--batch", 30, "--estimator", "spsa", "--n", 70)
    codes = []
    for i, nbytes in enumerate(ROOM):
        room(nbytes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", memory.SmallerParts)
            out = ("--out", f"run{i}", "--quiet", "--json", "--backend", "cupy")
            code, printed, err = command(mnist.main, *flags, *out)
        codes.append(code)
        if code:
            assert code == 2 and printed == "" and len(err.splitlines()) == 1, err
            assert err.startswith("minizo: memory") and "Traceback" not in err
        else:
            assert json.loads(printed)["steps"] == 4
    assert codes[0] == 2 and codes[-1] == 0

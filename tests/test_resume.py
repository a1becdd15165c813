"""Resuming: a checkpoint knows everything that determines its run, and refuses anything else."""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
from conftest import write_corners

from minizo import (
    FOGZO,
    STE,
    InputError,
    Objective,
    backend,
    fit,
    mnist,
    models,
    optim,
    quantizers,
)
from minizo.data import read_idx, write_idx
from minizo.layers import BatchNorm1d, Flatten, Linear, QuantizedActivation, ReLU
from minizo.losses import MeanSquaredError
from minizo.network import Network
from minizo.recipe import in_words


def network(act=None):
    """12-5-3 with batch normalisation."""
    layers = {
        "flatten": Flatten(),
        "fc1": Linear(12, 5),
        "bn1": BatchNorm1d(5),
        "act1": ReLU() if act is None else act,
        "fc2": Linear(5, 3),
    }
    return Network(layers, (1, 1, 12))


NET = network()
THETA = NET.init(7)
OBJECTIVE = Objective(NET, quantizers.MidRise(bits=2)).calibrate(THETA)
STATE = NET.init_state(THETA)


def half(x, stream):
    return 0.5 * x


def twice(x, stream):
    return 2.0 * x


def train(toy, path, **changes):
    recipe = {
        "objective": OBJECTIVE, "data": toy, "estimator": STE(), "optimizer": optim.Adam(0.01),
        "steps": 12, "batch": 40, "start": THETA, "state": STATE, "augment": half,
    }  # fmt: skip
    return fit(path=path, **recipe | changes)


def bumped(a):
    """One number a little larger."""
    a = a.copy()
    a.reshape(-1)[-1] += 1 if a.dtype.kind == "i" else 1e-3
    return a


# name of the setting that the refusal must show -> what is changed
CHANGES = {
    "one pixel": lambda d: ("data_sha256", {"data": replace(d, x_train=bumped(d.x_train))}),
    "order": lambda d: ("data_sha256", {"data": replace(d, x_train=d.x_train[::-1].copy())}),
    "labels": lambda d: ("data_sha256", {"data": replace(d, y_train=(d.y_train + 1) % 3)}),
    "test pixel": lambda d: ("data_sha256", {"data": replace(d, x_test=bumped(d.x_test))}),
    "test labels": lambda d: ("data_sha256", {"data": replace(d, y_test=d.y_test[::-1].copy())}),
    "name": lambda d: ("data", {"data": replace(d, name="other blobs")}),
    "scales": lambda d: (
        "scales", {"objective": replace(OBJECTIVE, scales=None).calibrate(1.001 * THETA)},
    ),
    "quantizer": lambda d: (
        "quantizer", {"objective": replace(OBJECTIVE, quantizer=quantizers.MidRise("tanh"))},
    ),
    "layer": lambda d: (
        "network",
        {"objective": replace(
            OBJECTIVE, network=network(QuantizedActivation(quantizers.MidTread(), 0.25)))},
    ),
    "loss": lambda d: ("loss", {"objective": replace(OBJECTIVE, loss=MeanSquaredError())}),
    "estimator": lambda d: ("estimator", {"estimator": FOGZO(n=1, beta_schedule="constant")}),
    "optimizer": lambda d: ("optimizer", {"optimizer": optim.Adam(0.02)}),
    "start": lambda d: ("start", {"start": bumped(THETA)}),
    "running statistics": lambda d: (
        "state", {"state": {name: bumped(value) for name, value in STATE.items()}},
    ),
    "augmentation": lambda d: ("augment", {"augment": twice}),
    "seed": lambda d: ("seed", {"seed": 1}),
    "batch": lambda d: ("batch", {"batch": 20}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_of_another_run_is_refused(toy, tmp_path, change):
    path = tmp_path / "run.npz"
    train(toy, path)
    before = path.read_bytes()
    setting, changes = CHANGES[change](toy)
    with pytest.raises(InputError, match=f"was made with {setting} = .*; resume with the settings"):
        train(toy, path, resume=True, **changes)
    assert path.read_bytes() == before


def test_equal_is_enough(toy, tmp_path):
    """Control: other objects with the same content are the same run."""
    path = tmp_path / "run.npz"
    whole = train(toy, path)

    def half(x, stream):
        return 0.5 * x

    half.__qualname__ = "half"
    copies = {
        "data": replace(toy, x_train=toy.x_train.copy(), y_test=toy.y_test.astype(np.int32)),
        "objective": Objective(network(), quantizers.MidRise(bits=2)).calibrate(THETA.copy()),
        "start": THETA.copy(),
        "state": dict(reversed(STATE.items())),
        "augment": half,
    }
    again = train(toy, path, resume=True, **copies)
    np.testing.assert_array_equal(again.theta, whole.theta)
    assert again.settings == whole.settings


def test_the_digest_is_that_of_the_content(toy):
    """The same on every backend, whatever the layout; another for each thing that differs."""
    strict = toy.to(array_api_strict)
    fortran = replace(toy, x_train=np.asfortranarray(toy.x_train), name="renamed")
    assert toy.digest == strict.digest == fortran.digest == toy.head(400, 100).digest
    others = [
        toy.astype("float64"), toy.head(399, 100), toy.head(400, 99), replace(toy, classes=4),
        replace(toy, x_train=toy.x_test, y_train=toy.y_test,
                x_test=toy.x_train, y_test=toy.y_train),
    ]  # fmt: skip
    assert len({toy.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_no_array_is_abridged_and_no_digit_lost():
    """NumPy's repr shows eight digits, and of long arrays the ends."""
    long = np.zeros(5000)
    other = long.copy()
    other[2500] = 1e-12
    assert repr(long) == repr(other) and in_words((1, long)) != in_words((1, other))
    near = np.array([1.0 + 1e-12])
    assert repr(near) == repr(np.ones(1)) and in_words(near) != in_words(np.ones(1))


def test_seeds_have_scales_of_their_own(toy, tmp_path):
    """Without given scales they come from the start: nothing to refuse when the run goes on."""
    objective = Objective(models.mlp(12, 5, 3), quantizers.MidRise(bits=2))
    for seed in range(2):
        path = tmp_path / f"{seed}.npz"
        runs = [
            fit(objective, toy, STE(), optim.Adam(0.01), steps=6, seed=seed, path=path, resume=True)
            for _ in range(2)
        ]
        assert backend.sha256(runs[0].theta) == backend.sha256(runs[1].theta)


def test_a_command_refuses_data_that_have_changed(command, tmp_path):
    """The folder has the same name, but one of its files is another one now."""
    folder = tmp_path / "corners"
    folder.mkdir()
    write_corners(folder, 8)
    flags = ["--data", "corners", "--estimator", "ste", "--steps", 8, "--quiet", "--out", "run"]
    assert command(mnist.main, *flags)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels[::-1])
    code, out, err = command(mnist.main, "--resume", "run", "--quiet")
    assert (code, out) == (2, "") and "run/ste-seed0.npz was made with data_sha256 = " in err
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels)  # control
    assert command(mnist.main, "--resume", "run", "--quiet")[0] == 0

"""`minizo.nano` is the package in small: the same seeds give the same numbers."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

from minizo import FOGZO, SPSA, STE, Batch, Objective, data, fit, models, nano
from minizo.optim import Adam
from minizo.quantizers import MidRise

RULES = {
    "ste": (nano.ste, STE()),
    "spsa": (nano.spsa, SPSA(n=10)),
    "fogzo": (nano.fogzo, FOGZO(n=10)),
}


@pytest.fixture(scope="module")
def digits():
    return data.synthetic_digits(2000, 500, dtype="float64")


@pytest.mark.parametrize("name", RULES)
def test_it_trains_as_the_package_does(name, digits):
    """Three epochs of 20 steps, theta to 1e-6 (it is some 1e-12)."""
    rule, estimator = RULES[name]
    theta, alpha = nano.train(rule, digits, steps=60, seed=3)
    objective = Objective(models.mlp(784, 10, 10), MidRise(bits=2))
    run = fit(objective, digits, estimator, Adam(0.01), steps=60, seed=3)
    np.testing.assert_allclose(theta, run.theta, rtol=0, atol=1e-6)
    w = np.concatenate([value.ravel() for value in run.weights.values()])
    np.testing.assert_allclose(nano.Q(theta, alpha), w, rtol=0, atol=1e-6)
    x, y = digits.x_test.reshape(-1, 784), digits.y_test
    assert abs(nano.F(theta, alpha, x, y) - run.final("test_loss")) < 1e-6


def test_another_seed_is_another_run(digits):
    """Control: the comparison can fail."""
    theta, _ = nano.train(nano.ste, digits, steps=5, seed=3)
    other, _ = nano.train(nano.ste, digits, steps=5, seed=4)
    assert np.max(np.abs(theta - other)) > 1e-2


def test_its_backward_is_the_derivative_of_its_forward(digits):
    """Central differences in float64 along 20 directions."""
    random = np.random.default_rng(0)
    w, (x, y) = nano.initial(0), (digits.x_train[:50].reshape(-1, 784), digits.y_train[:50])
    _, g = nano.backward(w, x, y)
    for v in random.standard_normal((20, nano.D)):
        h = 1e-6
        above, below = (nano.loss(nano.forward(w + s * h * v, x)[1], y) for s in (1, -1))
        assert abs((above - below) / (2 * h) - g @ v) < 1e-6 * np.linalg.norm(g)


def test_it_computes_what_the_package_does_at_one_point(digits):
    net = models.mlp(784, 10, 10)
    theta = net.init(5, like=np.empty(0))
    objective = Objective(net, MidRise(bits=2)).calibrate(theta)
    x, y = digits.x_train[:70], digits.y_train[:70]
    alpha = nano.scales(theta)
    np.testing.assert_array_equal(nano.initial(5), theta)
    found = objective.ste_gradient(theta, Batch(x, y))
    ours = nano.ste(theta, alpha, x.reshape(-1, 784), y)
    np.testing.assert_allclose(ours, found.gradient, rtol=0, atol=1e-14)
    np.testing.assert_allclose(alpha / np.sqrt(12), objective.matched_eps(theta), rtol=1e-12)


def test_it_is_short_and_needs_numpy_alone():
    lines = inspect.getsource(nano).splitlines()
    assert len(lines) <= 160 and max(map(len, lines)) <= 100
    imports = [line for line in lines if line.lstrip().startswith(("import ", "from "))]
    assert imports[:3] == ["import argparse", "import time", "import numpy as np"]
    assert [line.split()[1] for line in imports[3:]] == [".data"]  # for the digits alone


def test_the_command_prints_a_table(monkeypatch, capsys, digits):
    monkeypatch.setattr(data, "load", lambda name: digits)
    nano.main([], steps=3)
    out = capsys.readouterr().out.splitlines()
    assert (
        out[0] == f"{digits.name}: 784-10-10, weights of 2 bits, 3 steps of 100, one rate, one seed"
    )
    assert [line.split("  ")[0] for line in out[2:]] == ["STE", "n-SPSA, n = 10", "FOGZO, n = 10"]


@pytest.mark.slow
def test_the_whole_command_runs():
    """What the README's first link promises: three rows, in their order."""
    done = subprocess.run(
        [sys.executable, "-m", "minizo.nano"], capture_output=True, text=True, check=True
    )
    losses = [float(line.split()[-3]) for line in done.stdout.splitlines()[2:]]
    assert losses[0] < 1 and losses[2] < 1 < losses[1]

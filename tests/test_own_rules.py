"""Rules from a user's own file: ``--estimator my_rule.py:MyRule,n=10``."""

import json
import subprocess
import sys

import pytest

from minizo import mnist

RULES = '''
from dataclasses import dataclass
from minizo.estimators import Estimate, Estimator, SPSA
from minizo.optim import SGD
from minizo.quantizers import Sign
import minizo

class Half(Estimator):
    """A share of the STE gradient."""

    def __init__(self, share=0.5):
        self.share = share

    def init(self, objective, theta):
        return ()

    def estimate(self, objective, theta, batch, state, step):
        loss, g, seen = objective.ste_gradient(theta, batch)
        return Estimate(self.share * g, loss, 1, 1, seen), state

@dataclass(frozen=True)
class Mine(SPSA):
    twist: bool = False

@dataclass(frozen=True)
class Slow(SGD):
    brake: float = 2.0

    def rate(self, progress):
        return super().rate(progress) / self.brake

@dataclass(frozen=True)
class Loud(Sign):
    """A sign of twice the size."""

    loud: float = 2.0

    def quantize(self, x, alpha):
        return self.loud * super().quantize(x, alpha)

class NoUpdate:
    def init(self, objective, theta):
        return ()

    def estimate(self, objective, theta, batch, state, step):
        return None

class Wants:
    def __init__(self, width):
        pass

def network(input_shape, classes, activation, width=5):
    """A network of one hidden layer."""
    return minizo.models.perceptron((width,), classes, activation, input_shape)

ready = Half(0.25)
'''


@pytest.fixture
def call(corners, command, tmp_path, monkeypatch):
    """call(*flags) in a folder with rules of one's own -> (exit code, stdout, stderr)."""
    (tmp_path / "my_rule.py").write_text(RULES)
    (tmp_path / "broken.py").write_text("a = 1\nclass X(:\n    pass\n")
    (tmp_path / "fails.py").write_text("a = 1\n\n\nb = 1 / 0\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "json.py").write_text("class X:\n    pass\n")
    before = set(sys.modules)

    def run(*flags):
        own = ("--data", corners, "--steps", 4, "--batch", 30, "--quiet")
        return command(mnist.main, *own, *flags)

    yield run
    for name in set(sys.modules) - before:
        if name in ("my_rule", "broken", "fails"):
            del sys.modules[name]


def rows(call, *flags):
    code, out, err = call("--json", *flags)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_an_estimator(call, tmp_path):
    """With settings, beside others, given back as a file, resumed; an object as it is."""
    flags = ("--estimator", "my_rule.py:Half,share=.25", "my_rule.py:Half", "my_rule.py:ready")
    flags += ("--optimizer", "sgd")
    found = rows(call, *flags, "--out", "run")
    assert [row["label"] for row in found] == ["Half, Half, share 0.25", "Half, Half, share 0.5",
                                               "Half, ready"]  # fmt: skip
    shas = [row["theta_sha256"] for row in found]
    assert shas[0] == shas[2] != shas[1]
    again = rows(call, "--settings", "run", "--out", "again")
    assert [row["theta_sha256"] for row in again] == shas
    (tmp_path / "run" / "results.json").unlink()
    assert [row["theta_sha256"] for row in rows(call, "--resume", "run")] == shas


def test_short_flags_reach_ones_own_rule(call):
    found = rows(call, "--estimator", "my_rule.py:Mine,twist=yes", "spsa", "--n", 2, 3)
    assert [row["label"] for row in found] == [
        "n-SPSA n=2, Mine", "n-SPSA n=3, Mine", "n-SPSA n=2, spsa", "n-SPSA n=3, spsa",
    ]  # fmt: skip
    assert found[0]["theta_sha256"] == found[2]["theta_sha256"]


def test_quantizers_optimizers_and_networks(call):
    flags = ("--estimator", "ste", "--quantizer", "my_rule.py:Loud,loud=3", "sign")
    found = rows(call, *flags, "--optimizer", "my_rule.py:Slow,brake=4", "sgd", "--lr", ".1")
    assert [row["label"] for row in found] == [
        "STE, Loud, Slow", "STE, Loud, sgd", "STE, sign, Slow", "STE, sign, sgd",
    ]  # fmt: skip
    assert len({row["theta_sha256"] for row in found}) == 4
    code, out, err = call("--estimator", "ste", "--model", "my_rule.py:network,width=7")
    assert code == 0 and "2-bit midrise network, 4 steps" in out, err


def test_help_of_ones_own_rule(call, command):
    code, out, _ = command(mnist.main, "--help", "my_rule.py:Half")
    assert code == 0 and "A share of the STE gradient." in out and "(default: 0.5)" in out
    for name, flag in ("Loud", "quantizer"), ("Slow", "optimizer"), ("network", "model"):
        code, out, _ = command(mnist.main, "--help", f"my_rule.py:{name}")
        assert code == 0 and out.startswith(f"--{flag} my_rule.py:{name},")


WRONG = [
    ("--estimator none.py:Half", "--estimator none.py: there is no such file"),
    ("--estimator broken.py:X", "--estimator broken.py: line 2: invalid syntax"),
    ("--estimator fails.py:X", "--estimator fails.py: line 4: ZeroDivisionError: division by"),
    ("--estimator my_rule.py:Halv", "my_rule.py has no 'Halv'; did you mean 'Half'? (it has Half"),
    ("--estimator my_rule.py", "say what in the file is meant, as in my_rule.py:MyRule"),
    ("--estimator my_rule.py:NoUpdate",
     "NoUpdate, which has no update; write it, or inherit from minizo.estimators.Estimator"),
    ("--estimator my_rule.py:Half,shar=1", "no setting 'shar'; did you mean 'share'? (it takes"),
    ("--estimator my_rule.py:Wants", "needs width: my_rule.py:Wants,width=..."),
    ("--estimator my_rule.py:Mine,n=0", "Mine.n is 0, but it must be a whole number"),
    ("--optimizer my_rule.py:Half", "optimizer is a Half, which has no"),
    ("--quantizer my_rule.py:Slow", "quantizer is a Slow, which has no quantize or backward"),
    ("--estimator sub/json.py:X", "a module called json is there already; rename the file"),
]  # fmt: skip


@pytest.mark.parametrize("flags, sentence", WRONG, ids=[flags for flags, _ in WRONG])
def test_what_is_wrong_is_one_sentence(call, flags, sentence):
    code, out, err = call(*flags.split())
    assert (code, out) == (2, "") and sentence in err, err
    assert len(err.splitlines()) == 1


def test_from_a_shell(call, corners, tmp_path):
    """In a process of its own, whose path begins with the folder of the file."""
    command = [sys.executable, "-m", "minizo.mnist", "--data", str(corners), "--steps", "2",
               "--batch", "20", "--quiet", "--json", "--estimator", "my_rule.py:Half"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["estimator"] == "Half", done.stderr

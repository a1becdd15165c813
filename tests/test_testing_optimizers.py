"""What authors run on an optimiser of their own: all pass, and every planted fault is found."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from test_testing import failure

from minizo import STE, optim
from minizo.errors import require
from minizo.testing import Findings, check_optimizer

CALLS = []  # a memory that no rule may have


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_optimizers_pass(name):
    found = check_optimizer(optim.OPTIMIZERS[name]())
    results = {finding.name: finding.passed for finding in found.checks}
    assert results.pop("downhill") is None and all(results.values())


def test_findings_print_as_a_table():
    """Names, results and sentences stand below each other."""
    found = check_optimizer(optim.Adam())
    first, _, *lines = str(found).splitlines()
    assert isinstance(found, Findings) and first.split() == ["Adam", "result"]
    column = lines[0].index(found.checks[0].sentence)
    for line, (name, passed, sentence) in zip(lines, found.checks, strict=True):
        result = "passed" if passed else "not judged"
        assert line.startswith(f"{name} ") and line[column:] == sentence
        assert line[first.index("result") : column].strip() == result


@dataclass(frozen=True)
class Moves(optim.SGD):
    """SGD whose step is ``change(new theta, grad, state, theta, progress)``."""

    change: Callable = None
    start: object = ()
    rowwise = True

    def init(self, theta, objective=None):
        return self.start

    def update(self, grad, state, theta, progress=0.0):
        return self.change(theta - self.rate(progress) * grad, grad, state, theta, progress)


@dataclass(frozen=True)
class Rate(optim.SGD):
    """SGD with a rate that is no rate."""

    value: object = None

    def rate(self, progress):
        return self.value if progress == 1.0 else 0.1


def grad_in_place(new, grad, s, theta, progress):
    grad *= 2.0
    return new, s


def step_memory(new, grad, s, theta, progress):
    CALLS.append(1)
    return new + 1e-3 * len(CALLS), s


def step_double(new, grad, s, theta, progress):
    return new * np.float64(1.0), s


def step_state(new, grad, s, theta, progress):
    return new, {"m": grad.astype(np.float64)}


def step_prints(new, grad, s, theta, progress):
    print(progress)
    return new, s


def step_random(new, grad, s, theta, progress):
    return new + 0.0 * np.random.random(), s


def step_norm(new, grad, s, theta, progress):
    return theta - 0.1 * grad / np.linalg.norm(grad + 1.0), s


def step_zero(new, grad, s, theta, progress):
    return theta - 0.1 * grad / np.sqrt((grad**2).sum(axis=-1, keepdims=True)), s


def step_count(new, grad, state, theta, progress):
    return new, state + 0.5


def step_alone(new, grad, s, theta, progress):
    return new, s


def step_inf(new, grad, s, theta, progress):
    return new / 0.0, s


STEPS = [
    (Moves(change=grad_in_place), "pure", r"Moves.update changes .* in place: grad\[0\] is"),
    (Moves(change=step_memory), "deterministic", "Moves.update gives two answers"),
    (Moves(change=step_double), "contract", "theta after Moves.update is .* float64, but"),
    (Moves(change=step_state), "contract", "Moves: state.m is float64, but theta is float32"),
    (Moves(change=step_inf), "contract", "theta after Moves.update has a NaN or an infinity"),
    (Moves(change=step_prints), "quiet", r"Moves.update prints '0.0\\n"),
    (Moves(change=step_random), "quiet", "Moves.update draws from NumPy's global random"),
    (Moves(change=step_norm), "rows", "row 0 of 3 is not .* alone .*write rowwise = False"),
    (Moves(change=step_alone, start=np.zeros(3, int)), "rows", "of 3 runs ends in IndexError"),
    (Moves(change=step_zero), "zero gradient", "is .nan. at entry .0. where the gradient is 0"),
    (Moves(change=step_count, start=0), "checkpoint", "does not give its state back: state is 0.5"),
    (Moves(change=step_alone, start="x"), "contract", "Moves.init gives 'x', but a state is"),
    (Moves(change=lambda *a: a[0:3:2]), "pickle", "Moves cannot be pickled"),
    (Rate(value=float("nan")), "rate", r"Rate.rate\(1.0\) is nan, but a learning rate"),
    (Rate(value=-0.1), "rate", r"Rate.rate\(1.0\) is -0.1"),
    (Rate(value=None), "rate", r"Rate.rate\(1.0\) is None"),
    (STE(), "contract", "optimizer is a STE, which has no rate"),
]


@pytest.mark.parametrize("optimizer, name, pattern", STEPS, ids=lambda v: str(v)[:40])
def test_a_fault_of_an_optimizer_is_found(optimizer, name, pattern):
    CALLS.clear()
    failed, _ = failure(check_optimizer, optimizer, match=pattern)
    assert name in failed


def test_several_faults_are_listed_one_a_line():
    failed, message = failure(check_optimizer, Moves(change=step_norm, start=0.0))
    assert failed == {"rows"} and message.count("\n") == 0
    failed, message = failure(check_optimizer, Moves(change=lambda *a: step_norm(*a)))
    assert failed == {"rows", "pickle"}
    first, second = message.splitlines()
    assert first.startswith("Moves cannot be pickled") and second.startswith("Moves says rowwise")


def test_bop_is_checked_on_two_levels():
    """A rule that refuses a quantiser is checked with the next one."""
    assert {f.passed for f in check_optimizer(optim.Bop()).checks} == {True, None}


def test_refusing_all_is_said():
    @dataclass(frozen=True)
    class Picky(optim.Bop):
        def init(self, theta, objective=None):
            require(theta.size > 10**6, "theta's size", theta.size, "Picky wants millions")

    failed, message = failure(check_optimizer, Picky())
    assert failed == {"contract"} and "Picky wants millions" in message

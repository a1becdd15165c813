"""What authors run on an estimator of their own: all pass, and every planted fault is found."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from test_estimators import ROWS

from minizo import FOGZO, PARQ, SPSA, STE, Estimate, Estimator, optim
from minizo.testing import CheckFailed, check_estimator, check_optimizer


def failure(check, *args, match=None, **options):
    """Return the names of the checks that fail, and the message, which must match."""
    with pytest.raises(CheckFailed, match=match) as failed:
        check(*args, **options)
    findings = failed.value.findings.checks
    return {f.name for f in findings if f.passed is False}, str(failed.value)


# The rules of the package ------------------------------------------------------------------------

TARGETS = {
    "spsa loss": (SPSA(n=4, eps=0.1), "loss"),
    "fogzo loss": (FOGZO(n=3, eps=0.1, beta=0.5, beta_schedule="constant"), "loss"),
    "ste": (STE(), "ste"),
    "ste loss": (STE(), "loss"),
}
ESTIMATOR_ROWS = {name: (rule, None) for name, rule in ROWS.items()} | TARGETS


@pytest.mark.parametrize("name", ESTIMATOR_ROWS)
def test_estimators_pass(name):
    """All checks are there, and those that are judged have passed; rows are judged if promised."""
    estimator, target = ESTIMATOR_ROWS[name]
    found = check_estimator(estimator, unbiased_for=target, forwards=8000)
    results = {finding.name: finding.passed for finding in found.checks}
    assert all(passed for key, passed in results.items() if key not in ("rows", "bias"))
    assert results["rows"] is (True if estimator.rowwise else None)
    assert results["bias"] is (None if target is None else True)


# Planted faults of an estimator ------------------------------------------------------------------


@dataclass(frozen=True)
class Planted(Estimator):
    """The STE, but ``change(estimate, state, objective, theta, batch, step)`` goes on with it."""

    change: Callable
    start: object = ()
    rowwise = True

    def init(self, objective, theta):
        """What it is told, or a state like theta."""
        return 0.0 * theta if self.start == "theta" else self.start

    def estimate(self, objective, theta, batch, state, step):
        """What `change` makes of the STE's."""
        estimate, _ = STE().estimate(objective, theta, batch, (), step)
        return self.change(estimate, state, objective, theta, batch, step)


CALLS = []  # a memory that no rule may have


def theta_in_place(e, s, o, theta, batch, step):
    theta[...] = 0.9 * theta
    return e, s


def batch_in_place(e, s, o, theta, batch, step):
    batch.x[...] = 0.9 * batch.x
    return e, s


def state_in_place(e, state, o, theta, batch, step):
    state[...] = state + e.grad
    return e, state


def numpy_random(e, s, o, theta, batch, step):
    np.random.random()  # whose value is not even used
    return e, s


def prints(e, s, o, theta, batch, step):
    print("loss", file=sys.stderr)
    return e, s


def remembers(e, s, o, theta, batch, step):
    CALLS.append(1)
    return e._replace(grad=e.grad / len(CALLS)), s


def double(e, s, o, theta, batch, step):
    return e._replace(grad=e.grad * np.float64(2.0)), s


def double_state(e, s, o, theta, batch, step):
    return e, e.grad.astype(np.float64)


def nan(e, s, o, theta, batch, step):
    return e._replace(grad=e.grad * np.nan), s


def short(e, s, o, theta, batch, step):
    return e._replace(grad=e.grad[..., :-1]), s


def half_a_pass(e, s, o, theta, batch, step):
    return e._replace(forwards=0.5), s


def free(e, s, o, theta, batch, step):
    return e._replace(forwards=0), s


def measures_more(e, s, o, theta, batch, step):
    o.evaluate(theta, batch)
    return e, s


def dear(e, s, o, theta, batch, step):
    return e._replace(backwards=2), s


def free_statistics(e, s, o, theta, batch, step):
    return e._replace(statistics=o.statistics(theta, batch)), s


def mixes_rows(e, s, o, theta, batch, step):
    return e._replace(grad=e.grad / np.linalg.norm(1.0 + e.grad)), s


def one_by_one(e, s, o, theta, batch, step):
    return e._replace(grad=e.grad * float(e.loss)), s


def looks_ahead(e, s, o, theta, batch, step):
    return e._replace(grad=e.grad * step.lr), s


def no_rows(e, s, o, theta, batch, step):
    return e, np.zeros(3, int)


def one_more(e, state, o, theta, batch, step):
    return e, state + 0.5


def another_shape(e, s, o, theta, batch, step):
    return e, {"m": 0.0 * theta, "v": 1.0}


def holds_text(e, s, o, theta, batch, step):
    return e, ("text",)


def unit_length(e, s, o, theta, batch, step):
    length = np.sqrt((e.grad**2).sum(axis=-1, keepdims=True))
    return e._replace(grad=e.grad / length), s


def raises(e, s, o, theta, batch, step):
    raise KeyError("velocity")


# change, the check that must find it, what its sentence says
FAULTS = [
    (theta_in_place, "pure", r"Planted.estimate changes its arguments in place: theta\[0\] is"),
    (batch_in_place, "pure", r"in place: batch.x\[0, 0, 0, 0\] is .*; make a new array"),
    (state_in_place, "pure", r"in place: state\[\d+\] is"),
    (numpy_random, "quiet", "NumPy's global random state, .*rng.at.step.seed"),
    (prints, "quiet", r"Planted.estimate prints 'loss\\n"),
    (remembers, "deterministic", r"two answers to the same arguments: its answer.grad\[\d+\] is"),
    (double_state, "contract", "Planted: state is float64, but theta is float32"),
    (nan, "contract", "has a NaN or an infinity at step 0"),
    (short, "contract", r"the gradient of Planted is \(\d+,\) float64, but theta is"),
    (half_a_pass, "contract", "Estimate.forwards is 0.5, but it must be a whole number"),
    (free, "cost", "says 0 forwards in three steps, but 3 went through the network"),
    (measures_more, "cost", "says 3 forwards in three steps, but 6 went through"),
    (dear, "cost", "says 6 backwards in three steps, but 3 went through"),
    (free_statistics, "running statistics", "says 3 forwards and 3 backwards .* but 6 and 3"),
    (mixes_rows, "rows", r"row 0 of 3 is not .* alone \(step 0: grad.*: write rowwise = False"),
    (one_by_one, "rows", "rowwise = True, but theta .S, 1, d. of 3 runs ends in TypeError"),
    (looks_ahead, "rows", "ends in InputError: step.optimizer is None"),
    (no_rows, "rows", "its state has arrays without a row for each run"),
    (one_more, "checkpoint", "a checkpoint does not give its state back: state is 0.5, then 0"),
    (another_shape, "checkpoint", "belongs to another kind of run|does not give its state back"),
    (holds_text, "checkpoint", "state.0 is a str, but a checkpoint holds arrays and numbers"),
    (unit_length, "flat loss", "has .nan. at entry .0. where the loss is constant"),
    (raises, "contract", "Planted, check 'contract': KeyError: 'velocity'"),
]
STARTS = {state_in_place: "theta", one_more: 0}


def planted(change):
    return Planted(change, STARTS.get(change, ()))


@pytest.mark.parametrize("change, name, pattern", FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_planted_fault_is_found(change, name, pattern):
    CALLS.clear()
    failed, message = failure(check_estimator, planted(change), match=pattern)
    assert name in failed
    assert len(message.splitlines()) == len(failed)


def test_float32_that_becomes_float64():
    """NumPy's old promotion rules are gone, so a NumPy scalar does it where it meets float32."""
    failed, message = failure(check_estimator, Planted(double))
    assert failed == {"contract"} and "the gradient of Planted is" in message
    assert "float64, but theta is" in message


def same(e, s, o, theta, batch, step):
    return e, s


def test_the_rule_of_the_planted_faults_passes():
    """Negative control: without a fault it is the STE."""
    check_estimator(Planted(same))
    check_estimator(Planted(same, start="theta"))


class UpdatesInPlace(STE):
    def update(self, objective, optimizer, grad, state, theta, step):
        grad *= 0.0
        return theta - 0.1 * grad, state


class Helper:
    pass


@dataclass(frozen=True)
class Holds(STE):
    """The STE with something in it."""

    what: object


@dataclass(frozen=True)
class Forgetful(Holds):
    def __reduce__(self):
        return Forgetful, (1,)


class Hidden(STE):
    def __init__(self, size):
        object.__setattr__(self, "size", size)


@pytest.mark.parametrize(
    "estimator, name, pattern",
    [
        (UpdatesInPlace(), "pure", r"UpdatesInPlace.update changes its arguments in place: grad"),
        (Holds([Helper()]), "pickle", "the repr of Holds has an address in it .*@dataclass"),
        (Forgetful(2), "pickle", "Forgetful is .*what=2.*, but once pickled .*what=1"),
        (Holds(lambda t: t), "pickle", "Holds cannot be pickled.*use no lambda"),
        (Hidden(3), "pickle", r"the repr of Hidden, Hidden\(\), does not say its size"),
        (SPSA, "contract", r"estimator is the class SPSA, but it must be an object"),
        (optim.SGD(), "contract", "estimator is a SGD, which has no estimate"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_fault_beside_the_estimate_is_found(estimator, name, pattern):
    failed, _ = failure(check_estimator, estimator, match=pattern)
    assert failed == {name}


# Bias --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong(SPSA):
    """n-SPSA, times a factor, or its signs."""

    factor: float = 1.1
    signs: bool = False
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        grad = np.sign(estimate.grad) if self.signs else self.factor * estimate.grad
        return estimate._replace(grad=grad), state


class SlowlyWrong(Wrong):
    def estimate(self, objective, theta, batch, state, step):
        return super().estimate(objective, theta, batch, state, step)


class Promising(SPSA):
    unbiased_for = "loss"


class Refusing(PARQ):
    unbiased_for = "loss"


def twice(objective, theta, batch):
    return 2.0 * objective.ste_gradient(theta, batch).gradient


def too_short(objective, theta, batch):
    return theta[:-1]


BIASED = [
    (Wrong(n=8, eps=0.1), "loss", r"mean is 1\.\d+ times as long .* standard errors away"),
    (Wrong(n=8, eps=0.1, factor=0.9), "loss", r"mean is 0\.\d+ times as long"),
    (Wrong(n=8, eps=0.1, factor=-1.0), "loss", r"with a cosine of -0\.99"),
    (Wrong(n=4, eps=0.1, signs=True), "loss", "Wrong is not unbiased for the gradient of the loss"),
    (SlowlyWrong(n=32, eps=0.1), "loss", "in 937 draws the mean is"),
    (SPSA(n=4), "ste", "SPSA is not unbiased for the STE gradient"),
    (
        STE(),
        twice,
        r"the gradient that twice gives: it gives the same for every seed, and the mean is 0\.5",
    ),
    (STE(), too_short, r"unbiased_for gives shape \(\d+,\), but theta has"),
    (STE(), "losss", "unbiased_for is 'losss', but it must be 'loss', 'ste', or a function"),
    (PARQ(), "loss", "its init refuses weights in full precision: PARQ needs levels"),
    (Refusing(), None, "PARQ|Refusing cannot be compared with the gradient of a quadratic"),
]


@pytest.mark.parametrize("estimator, target, pattern", BIASED)
def test_a_bias_is_found(estimator, target, pattern):
    failed, _ = failure(check_estimator, estimator, unbiased_for=target, match=pattern)
    assert failed == {"bias"}


def test_the_bias_of_a_rule_that_mixes_rows_is_that_of_one_run():
    """Otherwise it would be the rows' mixture that is measured."""
    rule = Planted(mixes_rows)
    with pytest.raises(CheckFailed) as failed:
        check_estimator(rule)
    names = {finding.name: finding for finding in failed.value.findings.checks}
    assert names["rows"].passed is False and names["bias"].passed is None
    mixed = MixedSPSA(n=4, eps=0.1)
    failing, _ = failure(check_estimator, mixed, unbiased_for="loss")
    assert failing == {"rows"}


class MixedSPSA(SPSA):
    """n-SPSA that takes the first row's for all where there are several."""

    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        grad = estimate.grad[:1] + 0.0 * theta if theta.ndim > 1 else estimate.grad
        return estimate._replace(grad=grad), state


def test_a_rule_says_itself_for_what_it_is_unbiased():
    """By an attribute; a function of one's own may say it, too."""
    found = check_estimator(Promising(n=4, eps=0.1))
    assert found.checks[-1].passed is True
    found = check_estimator(Planted(same), unbiased_for=lambda o, t, b: o.ste_gradient(t, b)[1])
    assert found.checks[-1].passed is True


def test_what_a_rule_raises_is_the_cause():
    """A traceback of the rule's own stands above the sentence."""
    with pytest.raises(CheckFailed) as failed:
        check_estimator(Planted(raises))
    assert isinstance(failed.value.__cause__, KeyError)


def test_nothing_is_printed(capsys):
    check_estimator(SPSA(n=1))
    check_optimizer(optim.Adam())
    assert capsys.readouterr() == ("", "")


def test_an_estimate_of_one_s_own_is_a_positive_control():
    """The smallest rule that a docstring shows hands on no statistics, which is only said."""
    found = check_estimator(Measures())
    results = {finding.name: finding.passed for finding in found.checks}
    assert results["running statistics"] is None and results["cost"] is True


@dataclass(frozen=True)
class Measures(Estimator):
    """One forward, and no gradient."""

    def init(self, objective, theta):
        return ()

    def estimate(self, objective, theta, batch, state, step):
        return Estimate(0.0 * theta, objective.evaluate(theta, batch), 1, 0), state

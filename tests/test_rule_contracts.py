"""What a user's own estimator or optimiser gives: one sentence where it is wrong."""

from dataclasses import dataclass

import numpy as np
import pytest

import minizo
from minizo import (
    SPSA,
    STE,
    Estimate,
    Estimator,
    InputError,
    Objective,
    fit,
    fit_many,
    optim,
    quantizers,
)

OPTIONS = {"steps": 3, "batch": 10}

# Estimators --------------------------------------------------------------------------------------


class Given(Estimator):
    """Gives what it is told."""

    rowwise = True

    def __init__(self, answer, state=()):
        self.answer, self.state = answer, state

    def init(self, objective, theta):
        """The state it was told."""
        return self.state

    def estimate(self, objective, theta, batch, state, step):
        """The answer it was told."""
        return self.answer(objective, theta, batch, step)


def whole(objective, theta, batch, step, **changes):
    """A right answer, or one with changes."""
    loss = objective.evaluate(theta, batch)
    return Estimate(0.0 * theta, loss, 1, 0)._replace(**changes), ()


ESTIMATORS = [
    (lambda o, t, b, s: 0.0 * t, (), "Given.estimate gives a ndarray, but it must give .Estimate"),
    (lambda o, t, b, s: o.ste_gradient(t, b), (), "Given.estimate gives a Gradient, but it must"),
    (lambda *a: whole(*a)[0], (), "Given.estimate gives a Estimate, but it must give"),
    (
        lambda *a: whole(*a, loss=np.zeros(2)),
        (),
        r"the shape of Given's loss is \(2,\), but it must be one n",
    ),
    (whole, None, "Given.init gives None, but a state is a tuple, a dict, an array or a number"),
    (whole, [1.0], r"Given.init gives \[1.0\], but a state is a tuple, a dict, an array or a num"),
]


@pytest.mark.parametrize("answer, state, sentence", ESTIMATORS)
def test_an_estimate_is_an_estimate_and_a_state(toy, toy_net, answer, state, sentence):
    objective = Objective(toy_net, quantizers.MidRise())
    with pytest.raises(InputError, match=sentence):
        fit(objective, toy, Given(answer, state), optim.SGD(0.1), **OPTIONS)
    fit(objective, toy, Given(whole), optim.SGD(0.1), **OPTIONS)  # control


def test_a_gradient_of_ones_own_that_is_not_finite(toy, toy_net):
    rule = Given(lambda o, t, b, s: whole(o, t, b, s, grad=np.nan * t))
    with pytest.raises(minizo.Diverged, match="rate, or look at the gradient of Given$"):
        fit(Objective(toy_net, quantizers.MidRise()), toy, rule, optim.SGD(0.1), **OPTIONS)


def test_rows_share_no_optimiser(toy, toy_net):
    """A rule that reads it is told to be trained row by row."""
    objective = Objective(toy_net, quantizers.MidRise())
    rule = Given(lambda o, t, b, s: whole(o, t, b, s, grad=s.lr * t))
    pairs = [(optim.SGD(0.1), seed) for seed in range(2)]
    with pytest.raises(InputError, match="step.optimizer is None, but runs trained together share"):
        fit_many(objective, toy, rule, pairs, **OPTIONS)
    rule.rowwise = False
    assert len(fit_many(objective, toy, rule, pairs, **OPTIONS)) == 2


def test_update_is_given_the_objective_of_the_moment(toy, toy_net):
    seen = []

    class Watching(STE):
        def estimate(self, objective, theta, batch, state, step):
            seen.append(objective.quantizer.progress)
            return super().estimate(objective, theta, batch, state, step)

        def update(self, objective, *rest):
            seen.append(objective.quantizer.progress)
            return super().update(objective, *rest)

    fit(Objective(toy_net, quantizers.ReSTE()), toy, Watching(), optim.SGD(0.1), **OPTIONS)
    assert seen == [0.0, 0.0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]


# Optimisers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normed(optim.SGD):
    """g / ||g|| over all that it is given: not row by row."""

    def update(self, grad, state, theta, progress=0.0):
        """A step of length lr(t)."""
        length = self.rate(progress) / np.linalg.norm(grad)
        return theta - np.asarray(length, theta.dtype) * grad, state


@pytest.mark.parametrize("estimator", [STE(), SPSA(n=2)], ids=["ste", "spsa"])
def test_an_optimiser_of_ones_own_is_not_rowwise_until_it_says_so(toy, toy_net, estimator):
    objective = Objective(toy_net, quantizers.MidRise())
    pairs = [(Normed(0.1), seed) for seed in range(3)]
    runs = fit_many(objective, toy, estimator, pairs, **OPTIONS)
    for run, (rule, seed) in zip(runs, pairs, strict=True):
        alone_too = fit(objective, toy, estimator, rule, seed=seed, **OPTIONS)
        np.testing.assert_array_equal(run.theta, alone_too.theta)
    # negative control: said where it is not so
    wrong = type("Wrong", (Normed,), {"rowwise": True})
    runs = fit_many(objective, toy, estimator, [(wrong(0.1), s) for s in range(3)], **OPTIONS)
    assert not np.array_equal(runs[-1].theta, alone_too.theta)


def sgd(**members):
    """SGD with something changed, as an object."""
    return type("Changed", (optim.SGD,), members)()


OPTIMIZERS = [
    (
        {"update": lambda self, g, s, t, p=0.0: (t.astype(float), s)},
        "theta after Changed is .83,. float64, but",
    ),
    (
        {"update": lambda self, g, s, t, p=0.0: (t[None], s)},
        r"after Changed is \(1, 83\) float32, but th",
    ),
    ({"rate": lambda self, p: np.float64(0.1)}, "theta after Changed is .83,. float64, bu"),
    ({"init": lambda self, t, objective=None: None}, "Changed.init gives None, but a state is a t"),
]


@pytest.mark.parametrize("members, sentence", OPTIMIZERS)
def test_an_update_keeps_shape_and_dtype(toy, toy_net, members, sentence):
    with pytest.raises(InputError, match=sentence):
        fit(Objective(toy_net, quantizers.MidRise()), toy, STE(), sgd(**members), **OPTIONS)


def test_a_schedule_of_numpy_numbers_keeps_float32(toy, toy_net):
    rule = optim.SGD(0.1, schedule=lambda p: np.float64(1.0 - p))
    run = fit(Objective(toy_net, quantizers.MidRise()), toy, STE(), rule, **OPTIONS)
    assert run.theta.dtype == np.float32


def test_a_start_is_not_changed_by_what_updates_in_place(toy, toy_net):
    start = toy_net.init(3)
    before = start.copy()

    def update(self, grad, state, theta, progress=0.0):
        theta -= np.float32(0.1) * grad
        return theta, state

    objective = Objective(toy_net, quantizers.MidRise())
    fit(objective, toy, STE(), sgd(update=update), start=start, **OPTIONS)
    np.testing.assert_array_equal(start, before)


def test_a_default_that_would_be_ignored_is_refused():
    """Only a dataclass has the defaults that its body states."""
    forgotten = type("Mine", (optim.SGD,), {"schedule": "constant"})
    with pytest.raises(InputError, match="Mine.schedule = 'constant' has no effect: write @data"):
        forgotten(0.1)


METHODS = [
    (optim.SGD, {"init": lambda self, theta: ()}, "Changed.init is called with .theta, objective"),
    (optim.SGD, {"update": lambda self, g, s, t: (t, s)}, "Changed.update is called with .grad, s"),
    (optim.SGD, {"update": lambda self, g, s, t, p=0.0: t}, "Changed.update gives a ndarray, but"),
    (STE, {"init": lambda self: ()}, "Changed.init is called with .objective, theta., which it d"),
    (
        STE,
        {"estimate": lambda self, objective: None},
        "Changed.estimate is called with .objectiv",
    ),
]


@pytest.mark.parametrize("base, members, sentence", METHODS)
def test_methods_take_what_they_are_called_with(toy, toy_net, base, members, sentence):
    own = type("Changed", (base,), members)()
    estimator, rule = (own, optim.SGD(0.1)) if base is STE else (STE(), own)
    with pytest.raises(InputError, match=sentence):
        fit(Objective(toy_net, quantizers.MidRise()), toy, estimator, rule, **OPTIONS)

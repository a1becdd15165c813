"""What Python users give: objects where names do, and one sentence for a class, a name, a slip."""

from math import inf

import numpy as np
import pytest

from minizo import (
    FOGZO,
    SPSA,
    STE,
    FCGrad,
    InputError,
    Objective,
    ProxQuant,
    fit,
    fit_many,
    losses,
    models,
    optim,
    quantizers,
)
from minizo.data import synthetic_digits
from minizo.laws import LAWS
from minizo.layers import HardTanh
from minizo.optim import SGD, Adam
from minizo.quantizers import MidRise, Sign
from minizo.schedules import SHAPES
from minizo.surrogates import SURROGATES


@pytest.fixture(scope="module")
def digits():
    return synthetic_digits(200, 50)


def objective(quantizer=None, net=None):
    return Objective(net or models.mlp(784, 5, 10), quantizer or MidRise())


def train(data, estimator=None, optimizer=None, own=None):
    options = {"steps": 3, "batch": 20}
    return fit(own or objective(), data, estimator or STE(), optimizer or Adam(), **options)


class NoUpdate:
    def init(self, objective, theta):
        return ()

    def estimate(self, objective, theta, batch, state, step):
        return None


WRONG = {
    "class of an optimiser": (lambda d: train(d, optimizer=Adam),
                              "optimizer is the class Adam, but it must be an object: Adam()"),
    "class of an estimator": (lambda d: train(d, FOGZO),
                              "estimator is the class FOGZO, but it must be an object: FOGZO()"),
    "class of a quantiser": (lambda d: objective(Sign),
                             "quantizer is the class Sign, but it must be an object: Sign()"),
    "class of a loss": (lambda d: Objective(models.mlp(4, 2), Sign(), loss=losses.SquaredHinge),
                        "loss is the class SquaredHinge, but it must be an object: SquaredHinge()"),
    "name of a quantiser": (lambda d: objective("midrise"),
                            "quantizer is the name 'midrise', but it must be an object, such as "
                            "MidRise()"),
    "name of an estimator": (lambda d: train(d, "fogzo"), "an object, such as FOGZO()"),
    "wrong name": (lambda d: train(d, "fogso"), "an object, such as FOGZO()"),
    "name of an optimiser": (lambda d: train(d, optimizer="adam"), "an object, such as Adam()"),
    "name of a loss": (lambda d: Objective(models.mlp(4, 2), Sign(), loss="mse"),
                       "loss is the name 'mse', but it must be an object, such as MeanSq"),
    "bits for a surrogate": (lambda d: MidRise(2),
                             "MidRise.surrogate is 2, but it must be a surrogate; if bits are "
                             "meant, write MidRise(bits=2)"),
    "number for a surrogate": (lambda d: Sign(2.0), "Sign.surrogate is 2.0, but it must be a surr"),
    "without update": (lambda d: train(d, NoUpdate()),
                       "estimator is a NoUpdate, which has no update; write it, or inherit from "
                       "minizo.estimators.Estimator, which has update"),
    "an estimator for an optimiser": (lambda d: train(d, optimizer=STE()),
                                      "optimizer is a STE, which has no rate; write it, or inherit "
                                      "from minizo.optim.SGD"),
    "nothing": (lambda d: train(d, optimizer=7), "optimizer is a int, which has no init"),
    "network for an objective": (lambda d: train(d, own=models.mlp(784, 10)),
                                 "objective is Network, but it must be an Objective: "
                                 "Objective(network, quantizer)"),
    "class of objectives": (lambda d: train(d, own=Objective), "objective is Objective, but it mu"),
    "function for a network": (lambda d: objective(net=models.lenet),
                               "network is lenet, but it must be a Network"),
    "wrong width": (lambda d: train(d, own=objective(net=models.mlp(100, 5, 10))),
                    "layer 'fc1': Linear(100, 5) is fed examples of shape (784,); it takes (100,)"),
    "wrong column": (lambda d: train(d).final("trainloss"),
                     "column: unknown name 'trainloss'; did you mean 'train_loss'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_slip_is_one_sentence(digits, name):
    call, sentence = WRONG[name]
    with pytest.raises(InputError) as caught:
        call(digits)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("pair", [(Adam, 0), ("adam", 0)])
def test_the_same_in_fit_many(digits, pair):
    with pytest.raises(InputError, match="optimizer is the .*, but it must be an object"):
        fit_many(objective(), digits, STE(), [pair], steps=2)
    with pytest.raises(InputError, match="estimator is the class STE"):
        fit_many(objective(), digits, STE, [(Adam(), 0)], steps=2)


def test_a_run_fits_on_a_screen(digits):
    text = repr(train(digits, FOGZO(n=2)))
    assert len(text) < 800 and text.startswith("Run(estimator=FOGZO(n=2,")
    assert "train_loss=" in text and "test_accuracy=" in text and "array" not in text


def half(progress):
    return 1.0 - 0.5 * progress


# name of a thing that is chosen by name -> (with its name, with the object)
OBJECTS = {
    "law": (SPSA(law="gaussian"), SPSA(law=LAWS["gaussian"])),
    "schedule of beta": (FOGZO(beta_schedule="cosine"), FOGZO(beta_schedule=SHAPES["cosine"])),
    "homotopy": (ProxQuant(lam=0.1, homotopy="step"),
                 ProxQuant(lam=0.1, homotopy=lambda step, growth: step.index)),
    "optimiser of a generator": (FCGrad(hyper_optimizer="sgd"),
                                 FCGrad(hyper_optimizer=SGD(1e-3, "constant"))),
    "schedule": (optim.SGD(0.1, "cosine"), optim.SGD(0.1, SHAPES["cosine"])),
    "surrogate": (MidRise("tanh"), MidRise(SURROGATES["tanh"])),
    "scheduled surrogate": (Sign("ede"), Sign(SURROGATES["ede"])),
    "activation": (models.mlp(784, 5, 10, activation="hardtanh"),
                   models.mlp(784, 5, 10, activation=HardTanh())),
    "quantised activation": (models.mlp(784, 5, 10, activation="midtread"),
                             models.mlp(784, 5, 10,
                                        activation=quantizers.MidTread("hardtanh"))),
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_chosen_by_name_can_be_given_as_an_object(digits, name):
    """The same bits either way."""

    def theta(thing):
        if hasattr(thing, "estimate"):
            return train(digits, thing).theta
        if hasattr(thing, "update"):
            return train(digits, optimizer=thing).theta
        if hasattr(thing, "quantize"):
            return train(digits, own=objective(thing)).theta
        return train(digits, own=objective(net=thing)).theta

    named, given = map(theta, OBJECTS[name])
    assert np.isfinite(named).all() and np.ptp(named) < inf
    np.testing.assert_array_equal(named, given)


def test_a_schedule_of_ones_own(digits):
    """It is used, and other bits come of it than of a name."""
    own = train(digits, optimizer=SGD(0.1, half)).theta
    assert (own != train(digits, optimizer=SGD(0.1)).theta).any()
    assert SGD(0.1, half).rate(1.0) == 0.05
    assert FOGZO(beta=0.5, beta_schedule=half).beta_at(1.0) == 0.75

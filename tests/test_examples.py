"""Every public class carries an example, with the result that it prints."""

import doctest

import pytest

from minizo import estimators, layers, losses, optim, prox, quantizers
from minizo.errors import InputError
from minizo.hypernets import generators, lstm, mamba, mlp, slow
from minizo.laws import Law
from minizo.rng import Stream
from minizo.surrogates import Surrogate

TABLES = (
    estimators.ESTIMATORS, quantizers.QUANTIZERS, optim.OPTIMIZERS, losses.LOSSES,
)  # fmt: skip
EXPORTED = (estimators, quantizers, layers)
OTHERS = (
    Law, Surrogate, Stream, lstm.LSTM, mamba.Mamba, mlp.MLP, slow.SlowNet, generators.Factor,
    generators.LSTMFC, generators.Gain, generators.Average, prox.w_l1, prox.w_l2, prox.prox_l1,
    prox.prox_l2, prox.blend, prox.share, prox.ramp, prox.piecewise_affine, prox.soft_staircase,
    prox.logistic_fall,
)  # fmt: skip


def public():
    """Every class of the tables and of what the rooms export, and some functions, once each."""
    things = [thing for table in TABLES for thing in table.values()]
    things += [getattr(room, name) for room in EXPORTED for name in room.__all__]
    things = [thing for thing in things if callable(thing)] + list(OTHERS)
    return sorted(set(things), key=lambda thing: (thing.__module__, thing.__name__))


def examples(thing):
    """The examples of a docstring of its own; one that is inherited shows another class."""
    return doctest.DocTestParser().get_examples(vars(thing).get("__doc__") or thing.__doc__ or "")


def named(thing):
    return f"{thing.__module__.removeprefix('minizo.')}.{thing.__name__}"


@pytest.mark.parametrize("thing", public(), ids=named)
def test_an_example_shows_a_result(thing):
    """At least one line is called, and at least one prints."""
    shown = [example for example in examples(thing) if example.want]
    assert shown


def test_the_check_sees_a_missing_example():
    """Negative control: a class with words alone, and one whose example prints nothing."""
    assert not examples(InputError)
    assert not [e for e in doctest.DocTestParser().get_examples(">>> x = 1\n") if e.want]

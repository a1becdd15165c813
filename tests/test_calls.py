"""How `fit` and `fit_many` are asked for a run: one sentence for what cannot be carried out."""

import pytest

import minizo
from minizo import STE, InputError, Objective, fit, fit_many, optim, quantizers

OPTIONS = {"steps": 3, "batch": 10}

CALLS = [
    ({"pool": 4}, "pool is 4, but it must be a Pool, which `with minizo.threads"),
    ({"progress": True}, "progress is True, but it must be a function, or None"),
    ({"augment": "crop"}, "augment is 'crop', but it must be a function, or None"),
    ({"watch": ["flips"]}, r"watch is \['flips'\], but it must be a dict of name to function"),
    ({"watch": {"flips": 3}}, r"watch\['flips'\] is 3, but it must be a function"),
    ({"resume": True}, "resume is True, but there is no path: give that of the checkpoint"),
]


@pytest.mark.parametrize("options, sentence", CALLS)
def test_what_cannot_be_carried_out(toy, toy_net, options, sentence):
    objective = Objective(toy_net, quantizers.MidRise())
    with pytest.raises(InputError, match=sentence):
        fit(objective, toy, STE(), optim.SGD(0.1), **OPTIONS, **options)


@pytest.mark.parametrize(
    "data, found",
    [
        ("mnist", "data is 'mnist'"),
        (minizo.data.mnist, "data is mnist"),
        (([], []), "data is a tuple"),
    ],
)
def test_data_are_a_dataset(toy_net, data, found):
    with pytest.raises(InputError, match=f"{found}.* but it must be a Dataset, such as minizo.da"):
        fit(Objective(toy_net, quantizers.MidRise()), data, STE(), optim.SGD(0.1), **OPTIONS)


PAIRS = [(optim.SGD(0.1), 0)]


@pytest.mark.parametrize(
    "pairs, options, sentence",
    [
        (PAIRS, {"step": 3}, "an option of fit_many is 'step', but choose from steps, batch, rec"),
        (PAIRS, {"steps": 3, "pool": None}, "an option of fit_many is 'pool', but choose from"),
        (PAIRS, {}, "steps is None, but say how many"),
        (optim.SGD(0.1), {"steps": 3}, "pairs is SGD.*but it must be a list of .optimizer, seed."),
        ([optim.SGD(0.1)], {"steps": 3}, "a pair is SGD.*but it must be a list of .optimizer, see"),
        ((optim.SGD(0.1), 0), {"steps": 3}, "a pair is SGD.*but it must be a list of .optimizer,"),
    ],
)
def test_many_runs_are_pairs_and_options(toy, toy_net, pairs, options, sentence):
    with pytest.raises(InputError, match=sentence):
        fit_many(Objective(toy_net, quantizers.MidRise()), toy, STE(), pairs, **options)

"""What cannot be compared is answered in one sentence, and nothing is left behind."""

import pytest
from conftest import blobs
from test_compare import OPTIONS, rates

from minizo import STE, InputError
from minizo.compare import Candidate, Case, case, compare
from minizo.data.dataset import Dataset
from minizo.optim import SGD, Adam


def objective_of(objective):
    return case(STE(), objective, rates(0.1))


WRONG = {
    "twice": (lambda o: {"cases": [objective_of(o)] * 2}, "the case 'STE' is there twice"),
    "none": (lambda o: {"cases": []}, "number of cases is 0"),
    "no case": (lambda o: {"cases": [STE()]}, r"must be made by compare.case"),
    "reference": (
        lambda o: {"reference": "STF"},
        "reference: .* 'STF'; did you mean 'STE'",
    ),
    "equal": (lambda o: {"equal": "step"}, "equal: unknown name 'step'; did you mean 'steps'"),
    "no list": (lambda o: {"cases": "ste"}, "cases is 'ste', but it must be a list"),
    "no equal": (lambda o: {"equal": []}, "equal is .., but choose one"),
    "batch 0": (lambda o: {"batch": 0}, "batch is 0, but it must be"),
    "settings": (lambda o: {"settings": 3}, "settings is 3, but give a dict"),
    "seeds": (lambda o: {"seeds": 0}, "seeds is 0"),
    "both": (lambda o: {"seeds": 1001}, "seed 1000 is a tuning seed and a reported one"),
    "repeated": (lambda o: {"seeds": [1, 1]}, "each seed must be there once"),
    "negative": (lambda o: {"seeds": [-1]}, "seeds is .-1.*, but it must be whole numbers from 0"),
    "steps": (lambda o: {"steps": 0}, "steps is 0"),
    "batch": (lambda o: {"batch": 61}, "batch is 61, but there are only 60 examples"),
    "option": (lambda o: {"stepps": 3}, "stepps"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_one_sentence(points, objective, tmp_path, name):
    more, sentence = WRONG[name]
    given = {"cases": [objective_of(objective)], "seeds": 5, "tuning_seeds": 1, **OPTIONS}
    given |= {"folder": tmp_path / "f", **more(objective)}
    with pytest.raises(InputError, match=sentence) as error:
        compare(given.pop("cases"), points, **given)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("f/*"))


def test_more_seeds_than_a_small_data_set_has_orders(objective):
    x, labels = blobs(4, 2, 4, 1)
    few = Dataset("few", x, labels, x, labels, classes=3)
    with pytest.raises(InputError, match="26 seeds .* more than the 24 orders that 4 training"):
        compare([objective_of(objective)], few, seeds=25, tuning_seeds=1, **OPTIONS | {"batch": 2})


def test_labels_are_texts_of_one_line(objective):
    for label in (7, "", "two\nlines"):
        with pytest.raises(InputError, match="a case's label is"):
            case(STE(), objective, rates(0.1), label)
    with pytest.raises(InputError, match="must be a Candidate"):
        Case("a", [Adam(0.1)])


def test_cases_say_what_tells_optimisers_apart(objective):
    plain = case(STE(), objective, [Adam(0.1), SGD(0.1)])
    assert [c.words for c in plain.candidates] == ["Adam, lr 0.1", "SGD, lr 0.1"]
    alike = case(STE(), objective, [Adam(0.1), Adam(0.1, "constant")])
    assert len({c.words for c in alike.candidates}) == 2
    for wrong, sentence in [(Adam(0.1), "optimizers is Adam"), ([Adam], "is the class Adam")]:
        with pytest.raises(InputError, match=sentence):
            case(STE(), objective, wrong)
    with pytest.raises(InputError, match="setting 'Adam, lr 0.1' is there twice"):
        same = Candidate(STE(), objective, Adam(0.1), (("optimizer", "Adam"), ("lr", 0.1)))
        compare([Case("a", [same, same])], None, steps=1)

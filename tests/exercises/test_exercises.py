"""Each exercise: its worked answer passes, plausible wrong ones fail in the words that fit."""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from minizo import exercises
from minizo.errors import InputError
from minizo.exercises.exercise import LEVELS, Exercise
from minizo.exercises.judging import Wrong, ask, moments, same, times
from minizo.laws import LAWS

NAMES = exercises.names()
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def wrong_answers():
    """Name -> pairs (answer, part of the verdict), from the files beside this one."""
    found = {}
    for module in exercises.MODULES.values():
        found |= importlib.import_module(f"wrong_{module}").WRONG
    return found


WRONG = wrong_answers()
CASES = [(name, i) for name in NAMES for i in range(len(WRONG[name]))]


@pytest.mark.parametrize("name", NAMES)
def test_the_worked_answer_is_right(name):
    exercise = exercises.get(name)
    answer = exercise.worked if exercise.signature else exercise.worked()
    verdict = exercise.check(answer)
    assert verdict, verdict
    assert repr(verdict).startswith("Right.")
    assert exercise.worked.__name__ in exercise.answer()


@pytest.mark.parametrize(("name", "i"), CASES)
def test_a_wrong_answer_is_told_what_is_wrong(name, i):
    answer, says = WRONG[name][i]
    verdict = exercises.get(name).check(answer)
    assert not verdict
    assert says in repr(verdict), verdict
    assert repr(verdict).startswith("Not yet: ") and repr(verdict).endswith(".")
    assert "\n" not in repr(verdict)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_asked_well(name):
    exercise = exercises.get(name)
    assert len(WRONG[name]) >= 2, "two plausible wrong answers"
    assert exercise.level in LEVELS and exercise.question and exercise.title
    assert not exercise.check(None) and "nothing is there yet" in repr(exercise.check(None))
    if exercise.signature:
        unwritten, stops = exercise.check(lambda *_, **__: None), exercise.check(lambda: 1 / 0)
        asked = inspect.isclass(exercise.worked) and "a class is asked for"
        assert (asked or "nothing is there yet") in repr(unwritten), unwritten
        assert (asked or "stops with") in repr(stops)
    for number in range(1, len(exercise.hints) + 1):
        assert f"Hint {number} of" in exercise.hint(number)
    with pytest.raises(InputError, match="number is 9, but there are hints 1 to"):
        exercise.hint(9)


def cells():
    """Source of every cell of every notebook that has exercises, by the notebook's number."""
    nbformat = pytest.importorskip("nbformat")
    sources = {}
    for path in NOTEBOOKS:
        number = str(int(path.stem[:2]))
        if number in exercises.MODULES:
            sources[number] = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    return sources


def body(function):
    """The lines of a worked answer without its docstring, without spaces."""
    lines = inspect.getsource(function).replace(inspect.getdoc(function) or "", "")
    code = re.sub(r'"""(.*?)"""', "", inspect.getsource(function), flags=re.S)
    lines = [re.sub(r"\s", "", line) for line in code.splitlines()[1:]]
    return "".join(line for line in lines if line)


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_asks_it_and_does_not_tell(name):
    """Title, level, the signature to fill in and the check, in this order; no worked answer."""
    exercise, sources = exercises.get(name), cells()[name.partition(".")[0]]
    (asked,) = [i for i, source in enumerate(sources) if f"**{name} {exercise.title}**" in source]
    assert f"({exercise.level})" in sources[asked]
    stub, check = sources[asked + 1 : asked + 3]
    if exercise.signature:
        kind = "class" if inspect.isclass(exercise.worked) else "def"
        start = exercise.worked.__name__ if kind == "class" else exercise.signature
        assert f"{kind} {start}" in stub and "..." in stub
    else:
        assert f"{exercise.worked.__name__} = ..." in stub
    assert check.strip() == f'exercises.get("{name}").check({exercise.worked.__name__})'
    everything = re.sub(r"\s", "", "".join(sources))
    if len(body(exercise.worked)) > 12:  # `return1` stands in many places
        assert body(exercise.worked) not in everything


def test_the_comparison_can_fail():
    """Control: a notebook that did tell would be found."""
    told = re.sub(r"\s", "", inspect.getsource(exercises.get("1.3").worked))
    assert body(exercises.get("1.3").worked) in told


def test_names_are_in_order_and_unknown_ones_are_refused():
    assert len(set(NAMES)) == len(NAMES)
    for number in exercises.MODULES:
        own = [name for name in NAMES if name.partition(".")[0] == number]
        assert own == [f"{number}.{k}" for k in range(1, len(own) + 1)]
        assert 5 <= len(own) <= 8
    for name in ("1.99", "99.1", "one", 7):
        with pytest.raises(InputError, match="exercise: unknown name"):
            exercises.get(name)


@pytest.mark.parametrize(
    ("got", "says"),
    [
        ([-1.0, -2.0, -4.0], "has the wrong sign"),
        ([2.0, 4.0, 8.0], "twice what it should be"),
        ([0.5, 1.0, 2.0], "half of what it should be"),
        ([1.5, 2.5, 4.5], "off by 0.5 everywhere"),
        ([0.0, 0.0, 0.0], "is 0 everywhere"),
        ([1.0, 2.0, 5.0], r"differs in 1 of 3 numbers: at \[2\] it is 5, and should be 4"),
        ([1.0, 2.0], r"has the shape \(2,\), and should have \(3,\)"),
        ([1.0, np.nan, 4.0], "is not finite"),
        ("abc", "should be real numbers"),
        (1j, "should be real numbers"),
        ([object()] * 3, "should be numbers"),
    ],
)
def test_a_difference_in_words(got, says):
    with pytest.raises(Wrong, match=says):
        same("it", got, [1.0, 2.0, 4.0])


def test_a_transposed_matrix_is_recognised():
    matrix = np.arange(6.0).reshape(2, 3)
    same("it", matrix, matrix)
    with pytest.raises(Wrong, match="is transposed"):
        same("it", matrix.T, matrix)


@pytest.mark.parametrize(
    ("scale", "shift", "says"),
    [
        (np.sqrt(2), 1.0, "the right mean and twice the variance"),
        (1.0, 2.0, "twice the mean and the right variance"),
        (2.0, -1.0, "minus 0.991 times the mean"),
        (1.0, 0.0, "has the mean 0"),
    ],
)
def test_moments_in_words(scale, shift, says):
    draws = shift + scale * np.random.default_rng(3).standard_normal(50_000)
    with pytest.raises(Wrong, match=says):
        moments("it", draws, 1.0, 1.0)
    moments("it", draws, shift, scale**2)  # and the right ones pass


def test_what_a_function_does_wrong_is_said():
    def in_place(x):
        x *= 2
        return x

    with pytest.raises(Wrong, match="changes its argument in place"):
        ask(in_place, np.ones(2))
    with pytest.raises(Wrong, match="stops with ZeroDivisionError.*line"):
        ask(lambda x: x / 0, 1)
    assert "takes" in repr(exercises.get("1.1").check(lambda: 1))
    assert "a function is asked for" in repr(exercises.get("1.1").check(3))
    assert "a value is asked for" in repr(exercises.get("1.2").check(len))
    assert times(1.5) == "1.5 times"


def test_an_exercise_is_looked_at():
    first = exercises.get("1.1")
    for level, hints, says in (("soon", ("a",), "level"), ("a line", (), "hints")):
        with pytest.raises(InputError, match=says):
            Exercise("1.1", "A", level, first.worked, first.judge, hints)


SLIPS = ("1024", np.array([1.0, 2.0]), (1, 2), [1.0], 1j, float("nan"), [[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("name", NAMES)
def test_no_slip_ends_in_a_traceback(name):
    """Texts, other shapes, complex numbers, NaN, ragged lists: given, or returned."""
    exercise = exercises.get(name)
    for slip in SLIPS:
        given = slip if exercise.signature is None else (lambda *_, slip=slip, **__: slip)
        verdict = exercise.check(given)
        assert not verdict, (slip, verdict)
        assert repr(verdict).startswith("Not yet: ") and "\n" not in repr(verdict)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("1.2", " Logistic "),
        ("1.2", LAWS["logistic"]),
        ("6.8", "Laziness"),
        ("1.8", lambda c, d, k: np.ceil((d + k - 2) / (1 / c**2 - 1))),
        ("1.8", lambda c, d, k: round((d + k - 2) / (1 / c**2 - 1))),
        ("1.7", np.array(1)),
    ],
)
def test_other_right_answers(name, answer):
    assert exercises.get(name).check(answer), exercises.get(name).check(answer)

"""Settings: every number of every public class in its range, and the bits of Python's own number.

The classes are found by inspection, so that a new one cannot be forgotten.
"""

import importlib
import inspect
import pkgutil
from dataclasses import fields, is_dataclass
from math import inf, nan
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

import numpy as np
import pytest

import minizo
from minizo import STE, InputError, optim, prox, surrogates
from minizo.data import CropFlip
from minizo.estimators import ESTIMATORS, Step
from minizo.hypernets import LSTM, MLP, Mamba
from minizo.layers import (
    Conv2d,
    ReLU,
)
from minizo.network import Network
from minizo.optim import OPTIMIZERS
from minizo.quantizers import QUANTIZERS, Sign
from minizo.rng import at
from minizo.schedules import schedule
from minizo.settings import CHECKS, Settings, checks, plain, real, truth, whole, wholes

# Made by the package itself, from what was looked at before
MADE = ("minizo.bench", "minizo.export", "minizo.figures", "minizo.gallery", "minizo.group",
        "minizo.course", "minizo.exercises", "minizo.hypernets.pieces", "minizo.lab",
        "minizo.commands", "minizo.compare",
        "minizo.recipe", "minizo.records", "minizo.reproduce", "minizo.testing")  # fmt: skip
# Looked at in a way of their own: a number or two of them; one number among arrays
OWN = {("Conv2d", "kernel"), ("Conv2d", "stride"), ("Conv2d", "padding"), ("Dataset", "classes"),
       ("Objective", "quantized"), ("QuantizedNetwork", "quantized"), ("Rows", "streams"),
       ("Step", "seed"),
       ("Text", "classes")}  # fmt: skip


def found_classes():
    """Every dataclass of the package's own modules."""
    names = [m.name for m in pkgutil.walk_packages(minizo.__path__, "minizo.")]
    modules = [importlib.import_module(n) for n in names if not n.endswith("__main__")]
    return [
        cls
        for module in modules
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__ and is_dataclass(cls)
    ]


CLASSES = found_classes()
CHECKED = [cls for cls in CLASSES if issubclass(cls, Settings)]
FIELDS = [(cls, *check) for cls in CHECKED for check in checks(cls)]
EACH_FIELD = pytest.mark.parametrize(
    "cls, name, check, interval", FIELDS, ids=[f"{row[0].__qualname__}.{row[1]}" for row in FIELDS]
)

# What the classes cannot be built without
NEEDED = {
    "QuantizedActivation": {"quantizer": Sign()},
    "Conv2d": {"inputs": 2, "outputs": 3},
    "Linear": {"inputs": 2, "outputs": 3},
    "Attention": {"heads": 6, "size": 2},
    "ClassToken": {"width": 3},
    "Embedding": {"vocabulary": 5, "width": 3},
    "Gated": {"body": {}, "gate": {"act": ReLU()}},
    "Patches": {"size": 2},
    "LSTM": {"inputs": 2, "hidden": 3},
    "Positions": {"length": 5, "width": 3},
    "RMSNorm": {"width": 3},
    "ZeroPad": {"inputs": 1, "outputs": 3},
    "LayerNorm": {"shape": (2, 3)},
    "Residual": {"body": {"act": ReLU()}},
    "Stack": {"layers": {"act": ReLU()}},
    "Layered": {"layers": {"act": ReLU()}, "input_shape": (2, 3)},
    "Network": {"layers": {"act": ReLU()}, "input_shape": (2, 3)},
    "Stream": {"seed": 1, "purpose": "test"},
    "Rows": {"streams": ()},
    "Noise": {"law": None, "seed": 1, "step": 0},
    "Guided": {"u": None, "ghat": None, "beta": 0.5},
    "Case": {"estimator": STE()},
    "ModelCase": {"estimator": STE()},
    "WarmCase": {"estimator": STE()},
    "LearnedCase": {"estimator": STE()},
    "LeNetCase": {"estimator": STE()},
    "TrialCase": {"estimator": STE()},
    "Factor": {"mlp": MLP((1, 1)), "by_weight": True},
    "SlowNet": {"model": LSTM(), "layers": 2},
    "Law": {"name": "none", "sample": None, "pdf": None, "zero_bias_pdf": None, "kurtosis": 3.0},
    "Surrogate": {"name": "none", "value": None, "derivative": None},
    "Beside": {"rule": STE()},
    "CountFlips": {"rule": STE()},
    "CountNegativeSlopes": {"rule": STE()},
} | dict.fromkeys(("_BatchNorm", "BatchNorm1d", "BatchNorm2d"), {"channels": 3})


def build(cls, **given):
    return cls(**NEEDED.get(cls.__name__, {}) | given)


def kind_of(check):
    """float, int, tuple or bool, from the check of a field; the same where None is allowed."""
    check = inspect.unwrap(check)
    return next(kind for kind, function in CHECKS.items() if function is check)


def accepted(cls, name, kind):
    """A Python number that the field takes, exact in every floating-point type."""
    for value in {float: (0.5, 2.0), int: (2, 3, 1), tuple: ((2, 3),), bool: (True,)}[kind]:
        try:
            build(cls, **{name: value})
        except InputError:
            continue
        return value
    raise AssertionError(f"{cls.__name__}.{name} takes no number that was tried")


def in_other_types(value):
    """The same value as NumPy's scalars and arrays of shape ()."""
    if isinstance(value, bool):
        return [np.bool_(value), np.array(value)]
    if isinstance(value, float):
        types = (np.float64, np.float32, np.float16, np.longdouble)
        whole_ones = [int(value), np.uint8(value), np.int64(value)] if value == int(value) else []
        scalars = [kind(value) for kind in types]
        return [*scalars, np.array(value), np.array(value, np.float32), *whole_ones]
    if isinstance(value, int):
        types = (np.int64, np.uint8, np.int8, np.uint64)
        return [*(kind(value) for kind in types), np.array(value), np.array(value, np.uint8)]
    return [list(value), np.array(value), np.array(value, np.uint8), tuple(map(np.uint8, value))]


# Every field has a range


def annotations(annotation):
    """The plain types in an annotation: int of ``Annotated[int, ...] | None``."""
    if get_origin(annotation) in (Union, UnionType):
        return {kind for part in get_args(annotation) for kind in annotations(part)}
    return {get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_every_number_of_every_class_is_looked_at(cls):
    """A field that holds numbers says in its annotation which, and its class checks them."""
    if cls.__module__.startswith(MADE) and not issubclass(cls, Settings):
        return
    looked_at = {name for name, _, _ in checks(cls)} if issubclass(cls, Settings) else set()
    for field in fields(cls):
        numeric = annotations(field.type) & {int, float, bool, tuple}
        if numeric and (cls.__name__, field.name) not in OWN:
            assert field.name in looked_at, f"{cls.__name__}.{field.name} is looked at by nothing"
    build(cls) if issubclass(cls, Settings) else None


def test_the_walk_finds_the_classes():
    """Control: the tables of the package are among what is walked."""
    for table in (ESTIMATORS, OPTIMIZERS, QUANTIZERS):
        assert set(table.values()) <= set(CHECKED)
    assert {Conv2d, CropFlip, Mamba, Network, Step} <= set(CHECKED)
    assert len(FIELDS) > 200


@EACH_FIELD
def test_the_same_number_of_another_type(cls, name, check, interval):
    """NumPy's scalars become the Python number: the same type, value and words."""
    kind = kind_of(check)
    value = accepted(cls, name, kind)
    wanted = build(cls, **{name: value})
    for other in in_other_types(value):
        made = build(cls, **{name: other})
        stored = getattr(made, name)
        assert type(stored) is kind and stored == value, other
        if kind is tuple:
            assert [type(number) for number in stored] == [int] * len(stored)
        assert repr(made) == repr(wanted)


def wrong_values(kind, interval, optional):
    """Values that are no such numbers, and numbers at and beyond the ends of the interval."""
    if kind is bool:
        return [0, 1, 1.0, "yes", np.int64(1), [True], *([] if optional else [None])]
    wrong = [True, np.bool_(True), "1", nan, np.float64(nan), 1 + 0j, [1.0], {}, b"1"]
    wrong += [] if optional else [None]
    low, high = (float(end) for end in interval[1:-1].split(","))
    beyond = [end for end in (low - 1, high + 1) if abs(end) < inf]
    beyond += [low] if interval[0] == "(" else []
    beyond += [high] if interval[-1] == ")" else []
    if kind is float:
        return [*wrong, *beyond, *(np.float32(end) for end in beyond)]
    beyond = [int(end) if abs(end) < inf else end for end in beyond]
    wrong += [1.0, 1.5, np.float64(1.0), *beyond]
    return wrong if kind is int else [*((number,) for number in wrong), "12", 3, {1, 2}]


@EACH_FIELD
def test_wrong_numbers_are_one_sentence(cls, name, check, interval):
    """Out of range, NaN, infinite, a truth value, a string, not whole: it names the field."""
    kind, optional = kind_of(check), hasattr(check, "__wrapped__")
    for value in wrong_values(kind, interval, optional):
        with pytest.raises(InputError) as caught:
            build(cls, **{name: value})
        sentence = str(caught.value)
        assert sentence.startswith(f"{cls.__name__}.{name} is "), (value, sentence)
        assert ", but it must " in sentence and "\n" not in sentence


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_whole_number_that_no_float_reaches(value):
    with pytest.raises(InputError, match="SGD.lr is -?1000.* but it must be finite and above 0"):
        optim.SGD(value)


@pytest.mark.parametrize("kernel", [2.0, 0, True, "3", (1, 2, 3), (1, 0), (1, 1.5), nan, None])
def test_numbers_that_may_be_pairs(kernel):
    for name in ("kernel", "stride"):
        with pytest.raises(InputError, match=f"Conv2d.{name} is .*, but it must be"):
            Conv2d(1, 1, **{name: kernel})
    pairs = (np.uint8(3), [3, 3], np.array(3), np.array([3, 3]), (np.int64(3), np.uint8(3)))
    for pair in pairs:
        assert repr(Conv2d(1, 1, pair)) == repr(Conv2d(1, 1, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda: optim.SGD(0.1, ["linear"]),
        lambda: optim.SGD(0.1, {}),
        lambda: minizo.SPSA(law=["uniform"]),
        lambda: Sign(["hardtanh"]),
        lambda: at(0, ["data"]),
        lambda: at(0, "dta"),
    ],
)
def test_names_that_are_none(call):
    with pytest.raises(InputError, match="unknown name|but it must be a .* or one of the names"):
        call()


# The functions


def test_what_plain_and_the_checks_give():
    assert plain(None) is None and plain([np.float64(1)]) == [np.float64(1)]
    array = np.ones(1)
    assert plain(array) is array
    assert type(real("x", np.longdouble(0.5))) is float and real("x", 1) == 1.0
    assert type(whole("n", np.uint8(255))) is int and truth("b", np.bool_(False)) is False
    assert wholes("s", range(1, 3)) == (1, 2) and wholes("s", ()) == ()


@pytest.mark.parametrize(
    "interval, words",
    [
        ("(0, inf)", "finite and above 0"),
        ("[0, inf)", "finite and at least 0"),
        ("[0, inf]", "at least 0"),
        ("(0, inf]", "above 0"),
        ("(-inf, inf)", "finite"),
    ],
)
def test_what_a_number_must_be_in_words(interval, words):
    with pytest.raises(InputError, match=f"^x is nan, but it must be {words}$"):
        real("x", nan, interval)


X = np.linspace(-1.0, 1.0, 9)
FUNCTIONS = {
    "start": (lambda v: schedule("linear", v, 0.0, 0.5), (nan, inf, "1", True)),
    "end": (lambda v: schedule("linear", 1.0, v, 0.5), (nan, inf, None)),
    "progress": (lambda v: schedule("cosine", 1.0, 0.0, v), (-0.1, 1.1, nan, "0")),
    "lam": (lambda v: prox.prox_l1(X, X, v), (-0.1, nan, True)),
    "lam of l2": (lambda v: prox.prox_l2(X, X, v), (-0.1, nan, "1")),
    "rho": (lambda v: prox.blend(X, X, v), (-0.1, 1.1, nan)),
    "iota": (lambda v: prox.piecewise_affine(X, X, 1.0, v), (1.1, nan, inf)),
    "sharpness": (lambda v: prox.soft_staircase(X, Sign(), 1.0, v), (0.0, -1.0, inf, nan)),
    "steepness": (lambda v: prox.logistic_fall(0.5, v), (0.0, 101.0, nan)),
    "centre": (lambda v: prox.logistic_fall(0.5, 10.0, v), (-0.1, 1.1, nan)),
    **{
        f"progress of {own.__name__}": (own, (-0.1, 1.1, nan, "0"))
        for own in (surrogates.ede, surrogates.rbnn, surrogates.reste, surrogates.fda)
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrong_numbers_of_functions(name):
    call, wrong = FUNCTIONS[name]
    call(1.0)  # control
    for value in wrong:
        with pytest.raises(InputError, match=f"^{name.partition(' ')[0]} is .*, but it must "):
            call(value)

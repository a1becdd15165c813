"""What is public says in its signature what it takes and gives, and mypy finds that it does."""

import inspect
import pkgutil
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import get_type_hints

import pytest

import minizo

# modules without __all__: their names with a docstring are public, as on the pages
WHOLE = ("minizo.rng", "minizo.schedules", "minizo.settings")
# the instruments of the laboratory; its experiments are functions that only its command calls
WHOLE += tuple(
    f"minizo.lab.{name}"
    for name in (
        "beside", "curves", "exact", "flips", "generated", "layerwise", "measure", "runner",
        "slopes", "verdicts",
    )
)  # fmt: skip
SPECIAL = ("__init__", "__call__")


def public_modules():
    """Every module with an ``__all__``, and those of `WHOLE`."""
    names = [one.name for one in pkgutil.walk_packages(minizo.__path__, "minizo.")]
    inner = ("minizo.bench.", "minizo.lab.", "minizo.reproduce.")
    names = [n for n in names if n in WHOLE or not n.startswith(inner)]
    modules = [minizo, *(import_module(n) for n in names if not n.endswith("__main__"))]
    return [module for module in modules if hasattr(module, "__all__") or module.__name__ in WHOLE]


def public_names(module):
    """The names that a module offers."""
    if hasattr(module, "__all__"):
        return module.__all__
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
    ]


def function_of(thing):
    """The function behind a method, a property or a decorator; ``None`` for anything else."""
    if isinstance(thing, property):
        thing = thing.fget
    elif isinstance(thing, cached_property):
        thing = thing.func
    elif isinstance(thing, classmethod | staticmethod):
        thing = thing.__func__
    thing = inspect.unwrap(thing) if callable(thing) else thing
    return thing if inspect.isfunction(thing) else None


def written(function):
    """Whether a function is in a file of minizo's: not inherited, nor made by a dataclass."""
    inside = (function.__module__ or "").partition(".")[0] == "minizo"
    return inside and not function.__code__.co_filename.startswith("<")


def public_functions():
    """Name -> function of everything public, methods and properties among them."""
    found = {}
    for module in public_modules():
        for name in public_names(module):
            thing = getattr(module, name)
            if inspect.isclass(thing):
                owners = [base for base in thing.__mro__ if base.__module__.startswith("minizo.")]
                members = [item for base in owners for item in vars(base).items()]
                things = [item for key, item in members if key[0] != "_" or key in SPECIAL]
            else:
                things = [] if isinstance(thing, ModuleType) else [thing]
            functions = [function_of(thing) for thing in things]
            found |= {
                f"{function.__module__}.{function.__qualname__}": function
                for function in functions
                if function is not None and written(function)
            }
    return {name: function for name, function in found.items() if "<" not in name}


def missing(function):
    """The names of parameters without an annotation, and ``return``."""
    signature = inspect.signature(function)
    names = list(signature.parameters)
    method = "." in function.__qualname__.rpartition("<locals>.")[2]
    names = names[1:] if method and names[:1] in (["self"], ["cls"]) else names
    silent = [n for n in names if signature.parameters[n].annotation is inspect.Parameter.empty]
    return silent + ["return"] * (signature.return_annotation is inspect.Signature.empty)


FUNCTIONS = public_functions()


def test_the_walk_finds_what_is_public():
    """Functions, methods, properties, and what only a base has; more than 500 of them."""
    wanted = (
        "minizo.fitting.fit", "minizo.prox.prox_l1", "minizo.estimators.fogzo.FOGZO.estimate",
        "minizo.network.Network.d", "minizo.layers.base.Layer.predict", "minizo.backend.get",
        "minizo.data.augment.CropFlip.__call__", "minizo.export.layers.ExportedLayers.of",
        "minizo.testing.laws.check_law", "minizo.figures.looks.save", "minizo.rng.at",
    )  # fmt: skip
    assert set(wanted) <= set(FUNCTIONS)
    assert len(FUNCTIONS) > 500


@pytest.mark.parametrize("module", sorted({f.__module__ for f in FUNCTIONS.values()}))
def test_every_parameter_and_result_is_annotated(module):
    own = {name: f for name, f in FUNCTIONS.items() if f.__module__ == module}
    silent = {name: missing(function) for name, function in own.items()}
    assert {name: names for name, names in silent.items() if names} == {}


@pytest.mark.parametrize("module", sorted({f.__module__ for f in FUNCTIONS.values()}))
def test_every_annotation_is_a_type(module):
    """One that is written as text stands for something, too."""
    for function in FUNCTIONS.values():
        if function.__module__ == module:
            assert get_type_hints(function).keys() == inspect.get_annotations(function).keys()


def test_what_is_not_annotated_is_found():
    """A negative control."""

    class Rule:
        def half(self, x: float, y, *rest, **others: int):
            return x

        def whole(self, x: float, *rest: float, **others: int) -> float:
            return x

    assert missing(Rule.half) == ["y", "rest", "return"]
    assert missing(Rule.whole) == []
    assert missing(lambda x: x) == ["x", "return"]

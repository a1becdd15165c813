"""The package as a whole: what importing it costs, and what it shows."""

import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from inspect import ismodule
from pathlib import Path

import pytest

import minizo

HEAVY = ("matplotlib", "cupy", "pooch", "tqdm", "threadpoolctl", "torch", "requests")


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_light():
    """Neither matplotlib nor CuPy nor pooch, nor anything else heavy, is imported by `minizo`."""
    code = f"import sys, minizo; print([m for m in {HEAVY} if m in sys.modules])"
    assert in_a_new_process(code) == "[]"


def test_import_brings_nothing_but_numpy_and_the_standard_library():
    """What makes the import quick (0.1 s, most of it NumPy's), checked without a clock."""
    code = """
import sys, numpy
before = set(sys.modules)
import minizo
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - {"minizo", "numpy"} - sys.stdlib_module_names))
"""
    assert in_a_new_process(code) == "[]"


def test_everything_promised_is_there_and_documented():
    for name in minizo.__all__:
        thing = getattr(minizo, name)
        assert name == "__version__" or thing.__doc__


def offered():
    """The package, and all of it that a reader finds by a dot and a tab, with those beside them."""
    found = [minizo, minizo.estimators, minizo.hypernets]
    things = [getattr(minizo, name) for name in minizo.__all__]
    found += [thing for thing in things if ismodule(thing)]
    return found + [import_module(f"minizo.{name}") for name in minizo.LATER if name != "lab"]


@pytest.mark.parametrize("module", offered(), ids=lambda module: module.__name__)
def test_tab_offers_what_is_public(module):
    """`dir` has the public names alone: no helper, and nothing that the module imported itself."""
    names = dir(module)
    assert names == sorted({*module.__all__, *(minizo.LATER if module is minizo else ())})
    for name in names:
        thing = getattr(module, name)
        assert not ismodule(thing) or module is minizo
        assert getattr(thing, "__module__", "minizo").partition(".")[0] in ("minizo", "builtins")


def test_every_package_says_what_is_public():
    """Those without a list show nothing: they hold modules, and their own file defines nothing."""
    for found in pkgutil.walk_packages(minizo.__path__, "minizo."):
        if found.ispkg:
            module = import_module(found.name)
            own = {name for name in vars(module) if not name.startswith("_")}
            own = {name for name in own if not ismodule(getattr(module, name))}
            assert own <= set(getattr(module, "__all__", ())) or hasattr(module, "__dir__")


def test_a_run_is_shown_in_a_few_lines(toy, toy_net):
    """Also one of the rule with the most settings, and with a setting of any length."""
    run = minizo.fit(
        minizo.Objective(toy_net, minizo.quantizers.MidRise()), toy, minizo.FSG(), steps=2,
        optimizer=minizo.optim.Adam(0.01), batch=10,
    )  # fmt: skip
    text = repr(run)
    lines = text.splitlines()
    assert lines[0].startswith("Run(estimator=FSG(") and text.endswith(")")
    assert len(lines) <= 12 and max(map(len, lines)) <= 88
    assert "seed=0" in text and f"train_loss={run.final('train_loss'):.4g}" in text
    run.settings["estimator"] = "Mine(" + "0.123, " * 1000 + ")"
    assert len(repr(run).splitlines()) <= 12 and " ..." in repr(run)


def test_the_citation_is_of_this_version():
    """And says when it was released."""
    root = Path(minizo.__file__).parent.parent
    citation = (root / "CITATION.cff").read_text()
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == minizo.__version__
    assert re.search(r"^date-released: \"\d{4}-\d\d-\d\d\"$", citation, re.M)

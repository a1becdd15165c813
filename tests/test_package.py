"""The package as a whole: what importing it costs, and what it shows."""

import subprocess
import sys

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

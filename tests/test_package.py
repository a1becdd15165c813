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


def test_import_is_quick():
    """Under 0.3 s, NumPy included (the best of three processes: others may share the machine)."""
    code = "import time; t = time.perf_counter(); import minizo; print(time.perf_counter() - t)"
    assert min(float(in_a_new_process(code)) for _ in range(3)) < 0.3


def test_everything_promised_is_there_and_documented():
    for name in minizo.__all__:
        thing = getattr(minizo, name)
        assert name == "__version__" or thing.__doc__

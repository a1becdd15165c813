"""The exercises of the notebooks, with answers that are checked.

    exercise = exercises.get("1.1")
    exercise.check(answer)     is it right, and if not, what is wrong?
    exercise.hint()            a hint; hint(2) and hint(3) tell more, where there are so many
    exercise.answer()          a worked answer

>>> import numpy as np
>>> exercise = get("1.1")
>>> exercise
1.1  A staircase of your own (a line): write midrise(x, alpha)
>>> exercise.check(lambda x, alpha: -alpha * (np.clip(np.floor(x / alpha), -2, 1) + 0.5))
Not yet: the value of midrise has the wrong sign.

Each notebook has a file here; `minizo.exercises.exercise` says what an exercise is made of.
"""

from importlib import import_module

from ..errors import choose
from .exercise import Exercise, Verdict

__all__ = ["Exercise", "Verdict", "get", "names"]


def __dir__():
    return __all__


# Notebook -> the module with its exercises
MODULES = {
    "0": "backpropagation",
    "1": "ste_spsa_fogzo",
    "2": "compute_796x",
    "3": "quantisers_and_surrogates",
    "4": "binary_cnn",
    "5": "learned_gradients",
    "6": "proxquant",
    "7": "finite_sample_ste",
    "8": "smoothing_and_bias",
    "9": "numpy_to_cupy",
    "10": "own_estimator",
    "11": "attention_in_two_bits",
}


def of_notebook(number):
    """The exercises of a notebook, by name."""
    module = import_module(f"{__name__}.{MODULES[number]}")
    return {own.name: own for own in vars(module).values() if isinstance(own, Exercise)}


def names() -> list[str]:
    """The names of all exercises, in the order of the course.

    >>> [name for name in names() if name.startswith("1.")][:2]
    ['1.1', '1.2']
    """
    return [name for number in MODULES for name in of_notebook(number)]


def get(name: str) -> Exercise:
    """Return an exercise by its name, such as ``"1.2"``: the second one of notebook 1.

    Raises
    ------
    InputError
        If there is none of this name.

    Examples
    --------
    >>> get("1.2").level
    'a line'
    """
    number = str(name).partition(".")[0]
    known = of_notebook(number) if number in MODULES else dict.fromkeys(names())
    return choose("exercise", str(name), known)

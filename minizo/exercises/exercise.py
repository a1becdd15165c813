"""What an exercise is made of, and how an answer is taken."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import require
from .judging import Unwritten, Wrong, taken

LEVELS = ("a line", "ten minutes", "an hour", "an evening")
MOST_HINTS = 3


class Verdict(NamedTuple):
    """What is said of an answer; true where it is right.

    >>> bool(Verdict(False, "has the wrong sign")), Verdict(True, "It is a parabola.")
    (False, Right. It is a parabola.)
    """

    right: bool
    says: str
    fault: Exception | None = None  # of another kind of answer than the judge can compute with

    def __bool__(self):
        return self.right

    def __repr__(self):
        return f"{'Right.' if self.right else 'Not yet:'} {self.says}".strip()


class Shown(str):
    """A text that a notebook shows as it is."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


@dataclass(frozen=True, repr=False)
class Exercise:
    """A question of a notebook, and what knows whether an answer is right.

    Parameters
    ----------
    name : str
        Notebook and place in it: ``"1.2"``.
    title : str
        Some words for it.
    level : str
        How long it takes: one of `LEVELS`.
    worked : callable
        The worked answer. Its signature is the one asked for, and its docstring the question. One
        without parameters returns a number, a name or whatever else is asked for.
    judge : callable
        ``judge(answer)`` raises `minizo.exercises.judging.Wrong` with a sentence where the answer
        is wrong, and may return one about what has been found, where it is right.
    hints : tuple of str
        One to three, each telling more than the one before.

    Examples
    --------
    >>> def double(x):
    ...     '''Return twice x.'''
    ...     return 2 * x
    >>> from minizo.exercises.judging import ask, same
    >>> def judge(answer):
    ...     same("what double returns", ask(answer, 3.0), 6.0)
    >>> exercise = Exercise("0.0", "Twice", "a line", double, judge, ("What is x + x?",))
    >>> exercise.check(lambda x: x**2)
    Not yet: what double returns is 9: too large.
    >>> exercise.check(lambda x: x + x)
    Right.
    >>> exercise.hint()
    Hint 1 of 1: What is x + x?
    """

    name: str
    title: str
    level: str
    worked: Callable
    judge: Callable
    hints: tuple

    def __post_init__(self):
        require(self.level in LEVELS, "level", self.level, f"it must be one of {LEVELS}")
        count = len(self.hints)
        require(1 <= count <= MOST_HINTS, "hints", count, f"there must be 1 to {MOST_HINTS}")

    def __repr__(self):
        return f"{self.name}  {self.title} ({self.level}): {self.wanted}"

    @property
    def question(self) -> Shown:
        """The question, as the worked answer's docstring has it."""
        return Shown(inspect.getdoc(self.worked))

    @property
    def signature(self) -> str | None:
        """The function to write, ``"midrise(x, alpha)"``; ``None`` where a value is asked for."""
        signature = inspect.signature(self.worked)
        if inspect.isclass(self.worked):
            return f"class {self.worked.__name__}"
        return f"{self.worked.__name__}{signature}" if signature.parameters else None

    @property
    def wanted(self) -> str:
        """What to write, in some words."""
        return f"write {self.signature}" if self.signature else "give the value"

    def check(self, answer: Any) -> Verdict:
        """Return a `Verdict` of ``answer``: a function (or class) as asked for, or a value."""
        try:
            remark = self.judge(taken(answer, self.worked, self.signature))
        except Unwritten:
            return Verdict(False, f"nothing is there yet; {self.wanted}.")
        except Wrong as wrong:
            return Verdict(False, f"{wrong}.")
        except Exception as error:  # what came back is of a kind that nobody can compute with
            says = " ".join(f"{type(error).__name__}: {error}".split())
            return Verdict(False, f"your answer is of another kind than asked for ({says}).", error)
        return Verdict(True, remark or "")

    def hint(self, number: int = 1) -> Shown:
        """Return a hint: the first, or the one of that number, as text that prints itself."""
        count = len(self.hints)
        require(number in range(1, count + 1), "number", number, f"there are hints 1 to {count}")
        return Shown(f"Hint {number} of {count}: {self.hints[number - 1]}")

    def answer(self) -> Shown:
        """Return the source of a worked answer, as text that prints itself."""
        return Shown(textwrap.dedent(inspect.getsource(self.worked)).rstrip())


def judged(name: str, title: str, level: str, worked: Callable, *hints: str) -> Callable:
    """Make an `Exercise` of the judge that stands below: ``@judged("1.1", ...)``.

    >>> def double(x):
    ...     '''Return twice x.'''
    ...     return 2 * x
    >>> @judged("0.0", "Twice", "a line", double, "What is x + x?")
    ... def _double(answer):
    ...     return "Two of them."
    >>> _double
    0.0  Twice (a line): write double(x)
    """

    def exercise(judge):
        return Exercise(name, title, level, worked, judge, hints)

    return exercise

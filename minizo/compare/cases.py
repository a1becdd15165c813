"""What is compared: cases, and the settings that each may choose from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..contracts import check_part
from ..errors import InputError, require
from ..estimators.base import Estimator
from ..objective import Objective
from ..types import Optimizer


class Candidate(NamedTuple):
    """One setting of a case.

    estimator, objective, optimizer : what is trained, as for `minizo.fit`;
    setting : tuple of (name, value), what tells it from the case's other candidates.
    """

    estimator: Estimator
    objective: Objective
    optimizer: Optimizer
    setting: tuple

    @property
    def words(self) -> str:
        """The setting as text: ``adam, lr 0.01``."""
        return ", ".join(
            str(value) if name == "optimizer" else f"{name} {_short(value)}"
            for name, value in self.setting
        )


def _short(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, eq=False)
class Case:
    """One method that is compared, with the settings that it is tuned over.

    Parameters
    ----------
    label : str
        What tables and pictures call it.
    candidates : sequence of Candidate
        At least one; `case` makes them from a list of optimisers.
    """

    label: str
    candidates: tuple

    def __post_init__(self):
        remedy = "it must be a text of one line"
        one_line = isinstance(self.label, str) and len(self.label.split("\n")) == 1
        require(one_line and self.label.strip(), "a case's label", self.label, remedy)
        remedy = "a case needs at least one setting: give an optimiser"
        listed = isinstance(self.candidates, list | tuple)
        given = tuple(self.candidates) if listed else ()
        require(len(given) > 0, f"the number of settings of {self.label!r}", 0, remedy)
        for candidate in given:
            if not isinstance(candidate, Candidate):
                raise InputError(
                    f"{self.label}: a setting is {candidate!r}, but must be a Candidate"
                )
        object.__setattr__(self, "candidates", given)

    @property
    def groups(self) -> list[list[int]]:
        """Indices of candidates, in lists of those that differ in their optimiser alone."""
        found = {}
        for index, candidate in enumerate(self.candidates):
            key = id(candidate.estimator), id(candidate.objective)
            found.setdefault(key, []).append(index)
        return list(found.values())


def case(
    estimator: Estimator,
    objective: Objective,
    optimizers: Sequence[Optimizer],
    label: str | None = None,
) -> Case:
    """Return the `Case` of an estimator that is tuned over several optimisers.

    Parameters
    ----------
    estimator
        From `minizo.estimators`, or one of your own.
    objective : Objective
        Network, quantiser and loss.
    optimizers : sequence
        Such as ``[Adam(lr) for lr in (0.003, 0.01, 0.03)]``.
    label : str, optional
        By default that of the estimator.

    Examples
    --------
    >>> from minizo import STE, Objective, models, optim, quantizers
    >>> objective = Objective(models.mlp(784, 10, 10), quantizers.MidRise())
    >>> ste = case(STE(), objective, [optim.Adam(0.003), optim.Adam(0.01)])
    >>> ste.label, [candidate.words for candidate in ste.candidates]
    ('STE', ['Adam, lr 0.003', 'Adam, lr 0.01'])
    """
    check_part("estimator", estimator)
    if not isinstance(optimizers, list | tuple):
        raise InputError(
            f"optimizers is {optimizers!r}, but it must be a list, such as [Adam(0.01)]"
        )
    found = []
    for optimizer in optimizers:
        check_part("optimizer", optimizer)
        setting = (("optimizer", type(optimizer).__name__),)
        if isinstance(rate := getattr(optimizer, "lr", None), int | float):
            setting += (("lr", float(rate)),)
        found.append(Candidate(estimator, objective, optimizer, setting))
    kept = _spelt_out(found)
    return Case(estimator.label if label is None else label, kept)


def _spelt_out(found):
    # optimisers that differ in something else than their rate say all that they are
    settings = [candidate.setting for candidate in found]
    return [
        c if settings.count(c.setting) == 1 else c._replace(
            setting=(("optimizer", repr(c.optimizer)), *c.setting[1:])
        )
        for c in found
    ]  # fmt: skip


def check_cases(cases):
    """``cases`` as a tuple, or an `InputError`: labels and candidates must each be there once."""
    if not isinstance(cases, list | tuple):
        raise InputError(
            f"cases is {cases!r}, but it must be a list: [compare.case(STE(), objective, rates)]"
        )
    cases = tuple(cases)
    remedy = "at least one is needed: compare.case(STE(), objective, [Adam(0.01)])"
    require(len(cases) > 0, "the number of cases", 0, remedy)
    for own in cases:
        if not isinstance(own, Case):
            raise InputError(f"a case is {own!r}, but it must be made by compare.case(...)")
    labels = [own.label for own in cases]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"the case {label!r} is there twice; leave one out, or label it")
    for own in cases:
        words = [candidate.words for candidate in own.candidates]
        for text in words:
            if words.count(text) > 1:
                raise InputError(f"{own.label}: the setting {text!r} is there twice; leave one out")
    return cases


def edges(case, chosen):
    """Which numbers of the chosen candidate lie at an edge of the case's grid, in words.

    A number is looked at among the candidates that differ from the chosen one in it alone. What
    lies at an edge may be better beyond it.

    Returns
    -------
    tuple of str
        Such as ``"lr 0.03 is the largest of 3"``.
    """
    found = []
    for place, (name, value) in enumerate(chosen.setting):
        if isinstance(value, str | bool) or value is None:
            continue
        rest = chosen.setting[:place] + chosen.setting[place + 1 :]
        values = [
            c.setting[place][1]
            for c in case.candidates
            if len(c.setting) == len(chosen.setting)
            and c.setting[place][0] == name
            and c.setting[:place] + c.setting[place + 1 :] == rest
        ]
        if not all(isinstance(one, int | float) for one in values):
            continue
        values.sort()
        if len(values) > 1 and value in (values[0], values[-1]):
            which = "smallest" if value == values[0] else "largest"
            found.append(f"{name} {_short(value)} is the {which} of {len(values)}")
    return tuple(found)

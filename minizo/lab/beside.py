"""An estimator, unchanged, beside which something is counted."""

from dataclasses import dataclass

from ..estimators import Estimator
from ..estimators.base import Step
from ..types import Array, Objective, Optimizer, State


@dataclass(frozen=True)
class Beside(Estimator):
    """Base of estimators that are another one, and count something in their state.

    A subclass has `init` and `estimate`, whose state holds the rule's own, and says that it takes
    rows where the rule does, ``rowwise = Beside.rowwise``; `minizo.lab.flips` and
    `minizo.lab.slopes` show one each.

    Parameters
    ----------
    rule : estimator
        From `minizo.estimators`.

    Examples
    --------
    >>> from minizo.estimators import FOGZO
    >>> Beside(FOGZO(n=10)).label, Beside(FOGZO(n=10)).rowwise
    ('FOGZO n=10', True)
    """

    rule: Estimator

    @property
    def rowwise(self) -> bool:
        """Whether the rule is."""
        return self.rule.rowwise

    @property
    def label(self) -> str:
        """Return the label of the rule."""
        return self.rule.label

    def update(
        self,
        objective: Objective,
        optimizer: Optimizer,
        grad: Array,
        state: State,
        theta: Array,
        step: Step,
    ) -> tuple[Array, State]:
        """Return the rule's own update."""
        return self.rule.update(objective, optimizer, grad, state, theta, step)

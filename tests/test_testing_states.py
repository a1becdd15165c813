"""A state that begins as a number and becomes an array: a likely mistake of a rule with memory."""

from dataclasses import dataclass

import pytest

from minizo import STE
from minizo.testing import CheckFailed, check_estimator


@dataclass(frozen=True)
class Average(STE):
    """G = m, m <- mu m + (1 - mu) g."""

    mu: float = 0.9
    first: str = "array"

    def init(self, objective, theta):
        return 0.0 if self.first == "number" else 0.0 * theta

    def estimate(self, objective, theta, batch, state, step):
        estimate, _ = super().estimate(objective, theta, batch, (), step)
        m = self.mu * state + (1.0 - self.mu) * estimate.grad
        return estimate._replace(grad=m), m


def test_a_number_that_becomes_an_array_is_found():
    with pytest.raises(CheckFailed, match="a number where an array comes must be an array of the"):
        check_estimator(Average(first="number"))
    found = check_estimator(Average())  # the control
    (rows,) = [finding for finding in found.checks if finding.name == "rows"]
    assert rows.passed is None and "with rowwise = True it is looked at" in rows.sentence

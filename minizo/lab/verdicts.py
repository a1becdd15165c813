"""A claim, what it predicts, what was measured, and the verdict.

Every claim is put as a distance that must not exceed a bound, stated with it. Beside it stands a
*wrong* claim, the negative control, whose distance is taken in the same way from the same
measurement and must exceed that bound: a comparison that would pass anything has shown nothing.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import require
from ..types import Array

SIGMAS = 6.0  # standard errors allowed to one random comparison: false alarm 2e-9
SIGNED = {"=": abs, "<=": lambda gap: gap, ">=": lambda gap: -gap}


@dataclass(frozen=True)
class Claim:
    """One claim and its verdict.

    Attributes
    ----------
    text : str
        What is claimed.
    source : str
        Whose claim it is: a paper's lemma, or a proposition of this package.
    predicted, measured : str
    distance : float
        How far the measurement is from the prediction; negative inside an inequality.
    bound : float
        What the distance may be.
    unit : str
        Of both: standard errors, or the quantity itself.
    control : str
        The wrong claim.
    control_distance : float
        Its distance, which should exceed the bound.
    """

    text: str
    source: str
    predicted: str
    measured: str
    distance: float
    bound: float
    unit: str
    control: str
    control_distance: float

    @property
    def verdict(self) -> str:
        """``"holds"``, ``"FAILS"``, or ``"control passes too"``; a distance of NaN fails."""
        if not self.distance <= self.bound:
            return "FAILS"
        return "holds" if self.control_distance > self.bound else "control passes too"

    def row(self) -> dict:
        """The claim as a flat dict, verdict included."""
        return {"verdict": self.verdict} | asdict(self)


def close(
    text: str,
    source: str,
    measured: float | Array,
    predicted: float | Array,
    se: float | Array,
    wrong: float | Array,
    control: str,
    slack: float | Array = 0.0,
) -> Claim:
    """A claim of equality, within 6 standard errors and a stated slack.

        distance = max_i (|measured_i - predicted_i| - slack_i) / se_i

    Parameters
    ----------
    text, source, control : str
    measured, predicted, wrong, se, slack : float or ndarray of one shape
        ``wrong`` is what the control predicts; ``slack`` covers what the prediction leaves out.

    Raises
    ------
    InputError
        If a standard error is 0 or not finite.
    """
    se = np.asarray(se, np.float64)
    right = bool(np.all(se > 0.0) and np.all(np.isfinite(se)))
    require(right, "se", float(np.min(se)), "every standard error must be above 0")

    def distance(target):
        gap = np.abs(np.asarray(measured) - np.asarray(target)) - slack
        return float(np.max(gap / se))

    unit = "standard errors" + (" beyond the slack" if np.any(np.asarray(slack) > 0.0) else "")
    return Claim(
        text, source, show(predicted), show(measured), distance(predicted), SIGMAS, unit,
        control, distance(wrong),
    )  # fmt: skip


def near(
    text: str,
    source: str,
    measured: float | Array,
    predicted: float | Array,
    tolerance: float,
    wrong: float | Array,
    control: str,
    unit: str = "absolute",
) -> Claim:
    """A claim of equality up to a stated tolerance: max_i |measured_i - predicted_i| <= tolerance.

    Parameters
    ----------
    text, source, control, unit : str
    measured, predicted, wrong : float or ndarray of one shape
    tolerance : float
        Of rounding, or of an approximation.
    """

    def distance(target):
        return float(np.max(np.abs(np.asarray(measured) - np.asarray(target))))

    return Claim(
        text, source, show(predicted), show(measured), distance(predicted), tolerance, unit,
        control, distance(wrong),
    )  # fmt: skip


def at_most(
    text: str,
    source: str,
    measured: float | Array,
    limit: float | Array,
    wrong: float | Array,
    control: str,
    tolerance: float = 0.0,
    unit: str = "absolute",
) -> Claim:
    """A claim of an inequality: max_i (measured_i - limit_i) <= tolerance.

    Parameters
    ----------
    text, source, control, unit : str
    measured, limit, wrong : float or ndarray of one shape
        ``wrong`` is a limit that the same measurement should exceed somewhere.
    tolerance : float
        For rounding, or for the sampling error of ``measured``.
    """

    def distance(target):
        return float(np.max(np.asarray(measured) - np.asarray(target)))

    return Claim(
        text, source, f"<= {show(limit)}", show(measured), distance(limit), tolerance, unit,
        control, distance(wrong),
    )  # fmt: skip


def compare(
    text: str,
    source: str,
    predicted: float,
    measured: float,
    control: str,
    control_measured: float,
    relation: str = "=",
    slack: float = 0.0,
    unit: str = "absolute",
) -> Claim:
    """A claim about one number, whose control is the same number, measured with a wrong setting.

        distance = |measured - predicted|  (=),  measured - predicted  (<=),  its negative  (>=)

    Parameters
    ----------
    text, source, unit : str
    predicted, measured : float
    control : str
        What was set wrongly.
    control_measured : float
        What was measured then.
    relation : {"=", "<=", ">="}
        How the measured number should stand to the predicted one.
    slack : float
        By how much it may miss: the rounding or the statistical bound.
    """
    require(relation in SIGNED, "relation", relation, f"it must be one of {', '.join(SIGNED)}")

    def distance(value):
        return float(SIGNED[relation](value - predicted))

    shown = show(predicted) if relation == "=" else f"{relation} {show(predicted)}"
    return Claim(
        text, source, shown, show(measured), distance(measured), slack, unit,
        f"{control} (measured {show(control_measured)})", distance(control_measured),
    )  # fmt: skip


def show(values: Any) -> str:
    """Numbers as text: one as itself, several as their range.

    >>> show(0.12341), show(np.array([1.0, 3.0])), show([2.0, 2.0])
    ('0.1234', '1 ... 3', '2')
    """
    values = np.asarray(values, np.float64)
    low, high = f"{np.min(values):.4g}", f"{np.max(values):.4g}"
    return low if low == high else f"{low} ... {high}"


def describe(claim: Claim) -> str:
    """A claim as lines of text."""
    passes = "passes too" if claim.control_distance <= claim.bound else "rejected"
    return "\n".join([
        f"[{claim.verdict}] {claim.text}",
        f"    {claim.source}",
        f"    predicted {claim.predicted}; measured {claim.measured}; distance "
        f"{claim.distance:.3g}, at most {claim.bound:.3g} ({claim.unit})",
        f"    control: {claim.control}: {claim.control_distance:.3g}, {passes}",
    ])  # fmt: skip

"""What a check finds: a table of what passed, or an error that lists what is wrong."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import parallel
from ..errors import InputError
from ..report import table

RESULTS = {True: "passed", False: "FAILED", None: "not judged"}


class CheckFailed(AssertionError):
    """A rule fails a check: one sentence for each fault, one a line.

    Attributes
    ----------
    findings : Findings
        All checks that were run, those that passed too.

    Examples
    --------
    >>> from minizo import optim
    >>> from minizo.testing import check_optimizer
    >>> class Upwards(optim.SGD):
    ...     def rate(self, progress):
    ...         return -0.1
    >>> try:
    ...     check_optimizer(Upwards())
    ... except CheckFailed as failed:
    ...     print(str(failed).splitlines()[0])
    Upwards.rate(0.0) is -0.1, but a learning rate is a number, finite and at least 0
    """

    def __init__(self, findings: "Findings") -> None:
        faults = [finding.sentence for finding in findings.checks if finding.passed is False]
        super().__init__("\n".join(faults))
        self.findings = findings


class Finding(NamedTuple):
    """The result of one check.

    name : str
    passed : True, False, or None where something is only measured, or cannot be judged
    sentence : str
    """

    name: str
    passed: bool | None
    sentence: str


@dataclass(frozen=True)
class Findings:
    """The results of all checks of a rule; ``print`` shows them as a table.

    Parameters
    ----------
    rule : str
        Its label.
    checks : tuple of Finding

    Examples
    --------
    >>> print(Findings("Adam", (Finding("pure", True, "changes none of its arguments"),)))
    Adam  result
    ----  ------  -----------------------------
    pure  passed  changes none of its arguments
    """

    rule: str
    checks: tuple

    def __str__(self):
        results = ["result", *(RESULTS[finding.passed] for finding in self.checks)]
        sentences = ["", *(finding.sentence for finding in self.checks)]
        # `table` puts these columns to the right, but words of one length fill them
        results, sentences = (
            [word.ljust(max(map(len, column))) for word in column]
            for column in (results, sentences)
        )
        names = [self.rule, *(finding.name for finding in self.checks)]
        header, *rows = zip(names, results, sentences, strict=True)
        return table(header, rows)


class Fault(Exception):
    """One sentence about what is wrong; `run_checks` collects them."""


class Unjudged(Exception):
    """One sentence about what was measured, or why nothing can be judged."""


def require(condition, sentence):
    """Raise a `Fault` with this sentence unless ``condition``."""
    if not condition:
        raise Fault(sentence)


def run_checks(rule, checks):
    """Run checks in turn and return `Findings`, or raise `CheckFailed`.

    Parameters
    ----------
    rule : object
    checks : dict of str to callable
        Without arguments; each returns the sentence of what passed, or raises. Where the first
        fails, the others have nothing to look at, and are left out.

    Examples
    --------
    >>> def small():
    ...     require(2 < 1, "2 is too large: use 0")
    >>> try:
    ...     run_checks("two", {"size": small})
    ... except CheckFailed as failed:
    ...     print(failed)
    2 is too large: use 0
    """
    findings, cause = [], None
    for name, check in checks.items():
        try:
            with conditions():
                finding = Finding(name, True, check())
        except Unjudged as unjudged:
            finding = Finding(name, None, str(unjudged))
        except (Fault, InputError) as fault:
            finding = Finding(name, False, str(fault))
        except Exception as error:  # whatever a user's rule may raise
            words = " ".join(f"{type(error).__name__}: {error}".split())  # on one line
            finding = Finding(name, False, f"{name_of(rule)}, check {name!r}: {words}")
            cause = error
        repeated = any(finding.sentence == other.sentence for other in findings)
        if not (repeated and finding.passed is False):
            findings.append(finding)
        if len(findings) == 1 and finding.passed is False:
            break
    label = getattr(rule, "label", None)
    found = Findings(label if isinstance(label, str) else name_of(rule), tuple(findings))
    if any(finding.passed is False for finding in findings):
        raise CheckFailed(found) from cause
    return found


@contextmanager
def conditions():
    """Compute as `minizo.fit` does: one BLAS thread, and no warnings about infinities."""
    with parallel.one_blas_thread(), np.errstate(all="ignore"):
        yield


def name_of(rule):
    """Return what sentences call the rule: its class."""
    return rule if isinstance(rule, str) else type(rule).__name__

"""Fair comparisons: is my estimator better, and how sure am I?

    from minizo import compare
    cases = [compare.case(rule, objective, rates) for rule in (STE(), MyRule())]
    found = compare.compare(cases, data, steps=1200, seeds=20)
    print(found)
    compare.write("runs/mine", found)  # tables, pictures, report.html

Settings are chosen on tuning seeds and results reported on others; every case has the same starts
and batches; differences are taken seed by seed and carry an interval (`statistics`). What is
reported is the final training loss, or the loss of examples that were held out (``measure``), as it
is of texts unless you say otherwise. The command is ``python -m minizo.compare``.
"""

from .cases import Candidate, Case, case
from .comparison import TUNING, compare
from .files import write
from .report import text
from .results import Comparison, Row, Table, intervals
from .statistics import Difference, Spread, interval, paired, spread

__all__ = [
    "TUNING",
    "Candidate",
    "Case",
    "Comparison",
    "Difference",
    "Row",
    "Spread",
    "Table",
    "case",
    "compare",
    "interval",
    "intervals",
    "paired",
    "spread",
    "text",
    "write",
]


def __dir__():
    return __all__

"""Checks for a rule of your own: does it keep its contract, and is its backward right?

    check_estimator(rule, unbiased_for=None, forwards=60_000)
    check_quantizer(quantizer)
    check_layer(layer, shape)
    check_optimizer(rule)
    check_law(law)

Each takes an object, runs named checks on small random problems, with fixed seeds, in about a
second, and returns `Findings`, which print as a table. If anything is wrong, it raises
`CheckFailed`, an AssertionError, with one sentence for each fault, so that the test of a rule is
one line:

>>> def test_my_rule():
...     check_estimator(minizo.SPSA(n=4, eps=0.1), unbiased_for="loss")

`check_estimator` measures the bias of an estimator, too, and with ``unbiased_for`` judges it.

>>> import minizo
>>> print(check_optimizer(minizo.optim.SGD()))  # doctest: +ELLIPSIS
SGD            result
-------------  ----------  ---...
contract       passed      init, update, rate; ...
"""

from .estimators import check_estimator
from .findings import CheckFailed, Finding, Findings
from .laws import check_law
from .layers import check_layer
from .optimizers import check_optimizer
from .quantizers import check_quantizer

__all__ = [
    "CheckFailed",
    "Finding",
    "Findings",
    "check_estimator",
    "check_law",
    "check_layer",
    "check_optimizer",
    "check_quantizer",
]


def __dir__():
    return __all__

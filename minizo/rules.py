"""What estimators and optimisers share: whether they take theta of several runs at once."""

from .settings import Settings


class Rule(Settings):
    """Base of estimators and optimisers.

    Attributes
    ----------
    rowwise : bool
        Whether the rule takes arrays of shape (S, 1, d), a row for each of S runs that are trained
        together, and treats each row as a run by itself: number by number, or with norms and means
        over the last axis, with ``keepdims``. The runs of a rule that does not say so are trained
        one by one. A subclass with an ``estimate`` or ``update`` of its own must say so again.

    Examples
    --------
    >>> class Both(Rule):
    ...     rowwise = True
    ...     def update(self, grad, state, theta, progress=0.0):
    ...         return theta - grad, state
    >>> class Careless(Both):
    ...     def update(self, grad, state, theta, progress=0.0):
    ...         return theta - grad / (grad**2).sum() ** 0.5, state
    >>> Both.rowwise, Careless.rowwise
    (True, False)
    """

    rowwise = False

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if {"estimate", "update"} & set(vars(cls)) and "rowwise" not in vars(cls):
            cls.rowwise = False

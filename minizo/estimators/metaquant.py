"""MetaQuant: a shared network generates the gradient that the quantiser lacks.

    FCGrad  G = c(W) c g        MultiFC  G = c(W) c g Wh        LSTMFC  G = c(W) g fc(h)

with the generators of `minizo.hypernets.generators`, one set of parameters for all layers, learned
by back-propagating the next loss through the step that G makes; see `minizo.estimators.learned`.

Paper and code. In the paper (equation 6) the weights move by the refined gradient, pi(G) with SGD's
or Adam's pi, the loss is measured there, and there they stay: ``lookahead="refined"``, the default.
In the code the loss is measured where the step *before* is repeated, weights and biases alike, and
G is there in the derivative only: ``lookahead="stale"``. ``"raw"`` looks ahead without pi.

Remaining differences: the code's Adam adds its eps to the uncorrected sqrt(v), and has weight
decay 5e-4; the paper divides the network's learning rate by 10 every 30 epochs.

References
----------
S. Chen, W. Wang, S. J. Pan, "MetaQuant: learning to quantize by learning to penetrate
non-differentiable quantization", NeurIPS 2019, and its code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..hypernets import LSTM, MLP
from ..hypernets.generators import LSTMFC as LSTMGenerator
from ..hypernets.generators import Factor
from ..settings import Count, Positive
from .learned import Learned, Term


@dataclass(frozen=True)
class MetaQuant(Learned):
    """One generated term, calibrated: G = c(W) F, with F from the generator ``net(layers)``.

    Parameters
    ----------
    lookahead, hyper_optimizer
        As in `Learned`.
    hyper_lr : float
        Learning rate of the generator.
    units : int
        Width of its hidden layers.
    """

    lookahead: str = "refined"
    hyper_lr: Positive = 1e-3
    units: Count = 100
    net: ClassVar[Callable[..., Any]]

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return type(self).__name__

    def parts(self, layers: int) -> tuple[Term, ...]:
        """Return the one term."""
        return (Term(self.net(layers), 1.0, True, self.hyper_lr),)


@dataclass(frozen=True)
class FCGrad(MetaQuant):
    """F = c g: two linear layers (1, units, 1), which are one learned number c.

    The rule is the STE with its learning rate multiplied by c, and c follows the hypergradient
    dL/dc = -lr <r_t, c(W) g_{t-1}>. The initial c is random with standard deviation 0.34 and either
    sign, so half of all runs begin uphill.

    Cost of an estimate: 1 forward, 1 backward, 4 multiply-accumulates a weight.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.DoReFa())
    >>> run = minizo.fit(objective, data, minizo.FCGrad(), minizo.optim.Adam(0.01), steps=5)
    >>> run.records["forwards"][-1], run.records["macs"][-1] > 0
    (5, True)
    """

    def net(self, layers: int) -> Any:
        """Return the generator c g."""
        return Factor(MLP((1, self.units, 1)), by_weight=False)


@dataclass(frozen=True)
class MultiFC(MetaQuant):
    """F = c g Wh: three linear layers (1, units, units, 1), also one number c, that see Wh.

    With DoReFa, Wh in [0, 1]: the most negative weight of a layer gets no gradient, the most
    positive all of it. (Paper: two layers; the code's default, taken here: three.)

    Cost of an estimate: 1 forward, 1 backward, 4 multiply-accumulates a weight and 3 units^2.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.DoReFa())
    >>> run = minizo.fit(objective, data, minizo.MultiFC(), minizo.optim.Adam(0.01), steps=5)
    >>> run.records["forwards"][-1], run.records["backwards"][-1]
    (5, 5)
    """

    def net(self, layers: int) -> Any:
        """Return the generator c g Wh."""
        return Factor(MLP((1, self.units, self.units, 1)), by_weight=True)


@dataclass(frozen=True)
class LSTMFC(MetaQuant):
    """F = g fc(h): an LSTM that sees Wh, one step of it a training step, its state kept.

    Cost of an estimate: 1 forward, 1 backward, 12 units^2 multiply-accumulates a weight, and
    2 units numbers a weight that are carried along.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.DoReFa())
    >>> run = minizo.fit(objective, data, minizo.LSTMFC(units=4), minizo.optim.Adam(0.01), steps=5)
    >>> run.records["forwards"][-1], run.records["backwards"][-1]
    (5, 5)
    """

    def net(self, layers: int) -> Any:
        """Return the generator g fc(h)."""
        return LSTMGenerator(LSTM(1, self.units))

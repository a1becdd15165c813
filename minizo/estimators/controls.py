"""Controls for learned gradients: the same methods without the network.

A comparison of MetaQuant or FSG with the STE needs them, because most of what such a network can
learn is a step size.

    Gain           G = k c(W) g,     one learned number for all layers, from k = 1
    LayerGain      G = k_i c(W) g,   one for each layer: hypergradient descent on step sizes
    FastOnly       FSG without a slow-net: G = c(W) c g Wh
    FSGGain        FSG with S = k g: the slow-net as the gain that it is to first order
    FSGAverage     FSG with S an exponential moving average, not learned: what the paper says S is
    FSGScaled      FSG whose history is divided by its root mean square (our extension)

References
----------
A. G. Baydin, R. Cornish, D. Martinez Rubio, M. Schmidt, F. Wood, "Online learning rate adaptation
with hypergradient descent", ICLR 2018, equations 5 to 7.
"""

from dataclasses import dataclass, field

from ..hypernets.generators import Gain as OneGain
from ..settings import Positive
from .fsg import FSG
from .learned import Learned, Term


@dataclass(frozen=True)
class Gain(Learned):
    """G = k c(W) g, k learned: FCGrad whose network is written as the number that it is.

    Parameters
    ----------
    lookahead, hyper_optimizer
        As in `Learned`.
    hyper_lr : float
        Learning rate of k; with Adam, the largest change of k in a step.

    Notes
    -----
    Cost of an estimate: 1 forward, 1 backward, 2 multiply-accumulates a weight.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.DoReFa())
    >>> run = minizo.fit(objective, data, Gain(), minizo.optim.Adam(0.01), steps=5)
    >>> run.records["forwards"][-1], run.records["backwards"][-1]
    (5, 5)
    """

    lookahead: str = "refined"
    hyper_lr: Positive = 1e-3

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "learned gain"

    def parts(self, layers: int) -> tuple[Term, ...]:
        """Return one term with one k."""
        return (Term(OneGain(), 1.0, True, self.hyper_lr),)


@dataclass(frozen=True)
class LayerGain(Gain):
    """G = k_i c(W) g with a learned k_i for each layer; otherwise as `Gain`.

    Examples
    --------
    >>> term, = LayerGain().parts(layers=3)
    >>> term.net.shapes
    {'k': (3,)}
    """

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        return "learned gain by layer"

    def parts(self, layers: int) -> tuple[Term, ...]:
        """Return one term with k_1, ..., k_n."""
        return (Term(OneGain(layers), 1.0, True, self.hyper_lr),)


@dataclass(frozen=True)
class FastOnly(FSG):
    """FSG without a slow-net; other parameters as in `FSG`.

    Examples
    --------
    >>> [term.weight for term in FastOnly().parts(layers=3)]
    [1.0]
    >>> FastOnly().label
    'fast-net alone'
    """

    slow_net: str = field(default="none", init=False)


@dataclass(frozen=True)
class FSGGain(FSG):
    """FSG with S = k g; other parameters as in `FSG`.

    Examples
    --------
    >>> [term.weight for term in FSGGain(slow_share=0.25).parts(layers=3)]
    [0.75, 0.25]
    >>> FSGGain().label
    'FSG gain'
    """

    slow_net: str = field(default="gain", init=False)


@dataclass(frozen=True)
class FSGAverage(FSG):
    """FSG with S <- mu S + (1 - mu) g; other parameters as in `FSG`.

    Examples
    --------
    >>> fast, slow = FSGAverage(mu=0.9).parts(layers=3)
    >>> slow.net, slow.weight
    (Average(mu=0.9), 0.3)
    """

    slow_net: str = field(default="ema", init=False)


@dataclass(frozen=True)
class FSGScaled(FSG):
    """FSG with histories divided by their root mean square; parameters as in `FSG`.

    Examples
    --------
    >>> fast, slow = FSGScaled().parts(layers=3)
    >>> slow.net.scaled, FSGScaled().label
    (True, 'FSG scaled')
    """

    scaled: bool = True

"""FSG: a fast network scales the gradient, and a slow network reads its history.

    G = beta S + (1 - beta) c(W) F,    F = c g Wh (fast-net),    S = slow-net(last l of g, layer)

Both are learned by back-propagating the loss at the look-ahead W - lr G; see
`minizo.estimators.learned` for the iteration and `minizo.hypernets.slow` for the slow-net.

Paper and code differ, and are different algorithms:

    what               paper                      code                       here
    weights move by    pi(G)                      pi(c(W) F): S moves only   commit="fsg" |
                                                  where the loss is taken    "fast_only"
    sign of S          added                      subtracted                 subtracted (learned)
    shares of F, S     alpha, beta, independent   1 - beta, beta             1 - beta, beta
    lr on S            no                         yes                        yes
    look-ahead         the step itself            raw, lr G                  raw (lookahead=)
    beta, l            0.3, 6                     0.9, 5                     0.3, 6
    fast-net           of g and Wh                g times a net of Wh        as the code
    its start          orthogonal                 uniform                    start=
    the sequence       [e; snapshots], length     the same                   layout="flat" |
                       1 + xi l                                              "coord" (ablation)
    LSTM as slow-net   reads the history          LSTMFC on Wh: neither      slow_net="lstm" |
                                                  history nor embedding      "lstmfc"
    rates of the nets  1e-3                       slow 1e-3, fast 1e-2       slow_lr=, fast_lr=

The code also looks ahead with the biases, by their last step; this does not.

References
----------
X. Chen, J. Gao, B. Qi, D. Li, Y. Luo, F. Li, P. Li, "Fast and slow gradient approximation for
binary neural network optimization", AAAI 2025, equations 8 to 15, algorithm 1, and their code.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from ..errors import choose
from ..hypernets import LSTM, MLP, Mamba
from ..hypernets.generators import LSTMFC, Average, Factor, Gain
from ..hypernets.slow import LAYOUTS, SlowNet
from ..settings import Count, Positive, Share
from ..types import Array
from .learned import Learned, Term

COMMITS = ("fsg", "fast_only")
SLOW_NETS = ("mamba", "lstm", "lstmfc", "gain", "ema", "none")


@dataclass(frozen=True)
class FSG(Learned):
    """G = beta S + (1 - beta) c(W) F; see the module.

    Parameters
    ----------
    lookahead, hyper_optimizer
        As in `Learned`.
    commit : {"fsg", "fast_only"}
        What the optimiser is given: G (paper), or c(W) F (code).
    slow_share : float
        beta, the share of S, in [0, 1].
    length : int
        l, how many gradients the slow-net reads.
    slow_net : {"mamba", "lstm", "lstmfc", "gain", "ema", "none"}
        What S comes from. ``"lstm"`` reads the history, one sequence a weight, the embedding first.
        ``"lstmfc"``: what the code runs under that name. Controls: ``"gain"``, S = k g with one
        learned k; ``"ema"``, an exponential moving average of g, which is not learned;
        ``"none"``, G = c(W) F.
    layout : {"flat", "coord"}
        Which axis Mamba reads as a sequence; see `minizo.hypernets.slow`.
    scaled : bool
        Divide a layer's history by its root mean square, and multiply S by it: our extension.
    embedding : bool
        Whether the slow-net is told which layer it reads, by a learned vector in front of the
        gradients.
    fast_lr : float
        Learning rate of the fast-net.
    slow_lr : float
        Learning rate of the slow-net.
    start : {"uniform", "orthogonal"}
        Initial weights of the fast-net: `minizo.hypernets.MLP`.
    units : int
        Width of the fast-net's hidden layers, and of an LSTM.
    token : int
        Mamba's D, the length of a token.
    expand : int
        Mamba's E / D, its channels for each number of a token.
    states : int
        Mamba's N, states a channel.
    kernel : int
        Mamba's K, the length of its convolution.
    mu : float
        Share of the old value in the moving average, in [0, 1).

    Notes
    -----
    With Mamba, S is a gain on the newest gradient that the history modulates: where g_{t-1} = 0,
    S = 0. It cannot be a moving average of past gradients, which is what the paper takes it for.

    Cost of an estimate: 1 forward, 1 backward, and with the defaults at most 33,000
    multiply-accumulates and 3,200 exponentials for each of l weights + 1 tokens; fewer in long
    layers, whose older gradients the slow-net forgets to the last bit.

    Examples
    --------
    >>> import minizo
    >>> data = minizo.data.synthetic_digits(200, 50)
    >>> net = minizo.models.mlp(784, 10, 10)
    >>> objective = minizo.Objective(net, minizo.quantizers.DoReFa())
    >>> estimator = minizo.FSG(expand=2, states=2, length=2)  # small, for a quick example
    >>> run = minizo.fit(objective, data, estimator, minizo.optim.Adam(0.01), steps=5)
    >>> run.records["forwards"][-1], run.records["backwards"][-1]
    (5, 5)
    """

    commit: str = "fsg"
    slow_share: Share = 0.3
    length: Count = 6
    slow_net: str = "mamba"
    layout: str = "flat"
    scaled: bool = False
    embedding: bool = True
    fast_lr: Positive = 1e-3
    slow_lr: Positive = 1e-3
    start: str = "orthogonal"
    units: Count = 100
    token: Count = 1
    expand: Count = 100
    states: Count = 16
    kernel: Count = 8
    mu: Annotated[float, "[0, 1)"] = 0.9

    # settings that have an effect only with some values of another
    only_with = MappingProxyType({
        **dict.fromkeys(("layout", "expand", "states", "kernel"), ("slow_net", ("mamba",))),
        **dict.fromkeys(("scaled", "embedding", "token"), ("slow_net", ("mamba", "lstm"))),
        "slow_share": ("slow_net", ("mamba", "lstm", "lstmfc", "gain", "ema")),
        "slow_lr": ("slow_net", ("mamba", "lstm", "lstmfc", "gain")),
        "mu": ("slow_net", ("ema",)),
    })  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        for name, table in (("commit", COMMITS), ("slow_net", SLOW_NETS), ("layout", LAYOUTS)):
            choose(name, getattr(self, name), dict.fromkeys(table))
        self.parts(1)  # building the networks checks their settings

    @property
    def label(self) -> str:
        """Return the label that tables and legends show."""
        if self.slow_net == "none":
            return "fast-net alone"
        kind = {"mamba": "", "gain": " gain", "ema": " EMA"}.get(self.slow_net, f" {self.slow_net}")
        if self.slow_net == "mamba" and self.layout == "coord":
            kind = " coord"
        kind += " scaled" if self.scaled else ""
        kind += "" if self.embedding else " without embedding"
        return f"FSG{kind}{' (fast only)' if self.commit == 'fast_only' else ''}"

    def parts(self, layers: int) -> tuple[Term, ...]:
        """Return the two terms c(W) F and S."""
        fast = Factor(MLP((1, self.units, self.units, 1), self.start), by_weight=True)
        slow = self._slow(layers)
        share = 0.0 if slow is None else self.slow_share
        first = Term(fast, 1.0 - share, True, self.fast_lr)
        return (first,) if slow is None else (first, Term(slow, share, False, self.slow_lr))

    def _slow(self, layers):
        if self.slow_net == "mamba":
            mamba = Mamba(self.token, self.expand, self.states, self.kernel)
            return SlowNet(mamba, layers, self.layout, self.scaled, self.embedding)
        if self.slow_net == "lstm":
            return SlowNet(
                LSTM(self.token, self.units), layers, "coord", self.scaled, self.embedding
            )
        simple = {"lstmfc": LSTMFC(LSTM(1, self.units)), "gain": Gain(), "ema": Average(self.mu)}
        return simple.get(self.slow_net)

    def committed(self, terms: list[Array], plain: list[Array]) -> Array:
        """Return G, or c(W) F alone and with its full weight."""
        return sum(terms) if self.commit == "fsg" else plain[0]

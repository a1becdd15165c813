"""What a language model writes."""

from collections.abc import Mapping

import numpy as np

from . import rng
from .data.tokens import Vocabulary
from .errors import require
from .network import Network
from .settings import real, whole
from .types import Arrays

__all__ = [
    "TEMPERATURE",
    "write",
]


def __dir__():
    return __all__


TEMPERATURE = 0.8


def write(
    network: Network,
    params: Arrays,
    text: Vocabulary,
    begin: str,
    length: int = 300,
    temperature: float = TEMPERATURE,
    seed: int = 0,
) -> str:
    """Continue a text: each token is drawn from softmax(logits / temperature).

    Parameters
    ----------
    network : Network
        That reads tokens; it is given the last ``context`` of what is there.
    params : dict of str to ndarray
        What it computes with, NumPy arrays, such as ``run.weights``.
    text : minizo.data.Vocabulary
        Whose tokens it knows, such as the `minizo.data.Text` that it was trained on.
    begin : str
        How the text begins, one token at least.
    length : int
        Tokens that are drawn.
    temperature : float
        Above 0; 1 for the network's own probabilities, less for likelier tokens.
    seed : int

    Returns
    -------
    str
        The beginning, and what was drawn. Cost: 1 forward of one sequence a token.

    Raises
    ------
    InputError
        For a beginning that is empty or has tokens that the text has not.

    Examples
    --------
    A network that has learned nothing:

    >>> from minizo import data, models
    >>> text = data.synthetic_text(context=8, n_train=10, n_test=1)
    >>> network = models.llama(27, width=8, layers=1, heads=2, context=8)
    >>> write(network, network.views(network.init(0)), text, "ab", length=6)
    'abvzcpls'
    """
    remedy = "it must be a dict of name to array, such as run.weights"
    require(isinstance(params, Mapping), "params", type(params).__name__, remedy)
    length, seed = whole("length", length), whole("seed", seed, rng.SEEDS)
    temperature = real("temperature", temperature, "(0, inf)")
    tokens = list(text.encode(begin))
    require(tokens, "begin", begin, "it needs one token at least")
    (context,) = network.input_shape
    for draw in rng.at(seed, "sample", 0).host().random(length):
        x = np.array([tokens[-context:]], dtype=np.int64)
        logits = network.predict(params, x)[0, -1].astype(float)
        # divided where the largest is 0: a small temperature cannot overflow
        p = np.exp((logits - logits.max()) / temperature)
        token = np.searchsorted(np.cumsum(p), draw * p.sum(), side="right")
        tokens.append(int(min(token, len(p) - 1)))
    return text.decode(tokens)

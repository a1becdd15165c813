"""A language that the package draws itself, of which everything is known."""

import numpy as np
from numpy.typing import DTypeLike

from ..settings import whole
from .tokens import Text

LETTERS = " abcdefghijklmnopqrstuvwxyz"
SHARPNESS = 0.08  # the smaller, the fewer letters may follow two given ones


def chain(seed):
    """P (27, 27, 27), the probabilities of a letter after two, and those of two, (27, 27).

    Every P[a, b] is drawn from a Dirichlet distribution around common frequencies, in which a space
    ends a word of some five letters.
    """
    gen = np.random.Generator(np.random.SFC64([seed, 2]))
    usual = np.concatenate([[0.18], 0.82 * gen.dirichlet(np.full(len(LETTERS) - 1, 2.0))])
    shape = (len(LETTERS),) * 3
    # gamma variates, normalised; a trace of every letter, so that no two letters are impossible
    weights = gen.gamma(SHARPNESS * len(LETTERS) * usual, size=shape) + 1e-4 * usual
    weights[0, 0], weights[:, 0, 0] = usual, 0.0  # no two spaces
    follows = weights / weights.sum(axis=-1, keepdims=True)
    pairs = np.full(shape[:2], 1.0 / len(LETTERS) ** 2)
    for _ in range(1000):  # the stationary distribution: it is mixed long before
        pairs = np.einsum("ab,abc->bc", pairs, follows)
    return follows, pairs


def entropy_of(probabilities, weights):
    """Mean entropy in nats of distributions along the last axis, which occur with ``weights``."""
    logs = np.log(np.where(probabilities > 0.0, probabilities, 1.0))
    return float(-np.sum(weights[..., None] * probabilities * logs))


def synthetic_text(
    *,
    context: int = 64,
    n_train: int = 8000,
    n_test: int = 1000,
    seed: int = 0,
    dtype: DTypeLike = "float32",
) -> Text:
    """A language that the package draws itself, whose best possible loss is known.

    A letter depends on the two before it, with probabilities drawn from the seed (a Markov chain of
    order 2, see `chain`). Every sequence is one of its own, begun in the stationary distribution.

    Parameters
    ----------
    context : int
        T.
    n_train, n_test : int
        Sequences.
    seed : int
        Of the language and its texts.
    dtype : str or dtype

    Returns
    -------
    Text
        Its ``entropy`` is (H(x_2 | x_1) + (T - 1) H(x_3 | x_1, x_2)) / T, since the first place of
        a sequence sees one letter alone.

    References
    ----------
    C. E. Shannon, "A mathematical theory of communication", Bell System Technical Journal, 1948,
    section 3 (text from chains) and section 7 (their entropy).

    Examples
    --------
    >>> text = synthetic_text(context=32, n_train=100, n_test=100)
    >>> round(text.entropy, 3), text.decode(text.x_train[0])
    (1.308, 'a ic iyvjdpvvxigv xw cpecmvhv pr')
    """
    context, seed = whole("context", context), whole("seed", seed, "[0, inf)")
    counts = whole("n_train", n_train), whole("n_test", n_test)
    follows, pairs = chain(seed)
    first = pairs.sum(axis=1)
    second = pairs / first[:, None]
    entropy = entropy_of(second, first) + (context - 1) * entropy_of(follows, pairs)
    arrays = []
    for part, count in enumerate(counts):
        gen = np.random.Generator(np.random.SFC64([seed, 3, part]))
        drawn = np.empty((count, context + 1), np.int64)
        u = gen.random(drawn.shape)
        drawn[:, 0] = np.searchsorted(np.cumsum(first), u[:, 0] * first.sum(), side="right")
        above = np.cumsum(second, axis=-1)[drawn[:, 0]]
        drawn[:, 1] = (above < u[:, 1, None]).sum(axis=-1).clip(0, len(LETTERS) - 1)
        cumulated = np.cumsum(follows, axis=-1)
        for t in range(2, context + 1):
            above = cumulated[drawn[:, t - 2], drawn[:, t - 1]]
            drawn[:, t] = (above < u[:, t, None]).sum(axis=-1).clip(0, len(LETTERS) - 1)
        arrays += [drawn[:, :-1], drawn[:, 1:]]
    return Text(
        f"synthetic text (seed {seed})", *arrays, len(LETTERS), dtype, tuple(LETTERS),
        entropy=entropy / context,
    )  # fmt: skip

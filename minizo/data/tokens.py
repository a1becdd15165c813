"""What the tokens of a text are: a vocabulary, and data sets of sequences."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import require
from ..types import Array
from .dataset import Dataset

LEVELS = ("characters", "words")
UNKNOWN, LINE_END = "<unk>", "<eos>"


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary:
    """What the tokens of a text stand for.

    Parameters
    ----------
    name : str
        Of the text.
    vocabulary : tuple of str
        What token 0, 1, ... is called.
    level : {"characters", "words"}

    Examples
    --------
    >>> known = Vocabulary("abc", ("a", "b", "c"))
    >>> known.encode("cab").tolist(), known.decode([1, 0, 1])
    ([2, 0, 1], 'bab')
    """

    name: str
    vocabulary: Any = ()
    level: str = "characters"

    @property
    def unit(self) -> str:
        """What a token is called: ``"character"`` or ``"word"``."""
        return self.level[:-1]

    def encode(self, text: str) -> np.ndarray:
        """Tokens (T,) of a text, int64 on the host.

        Raises
        ------
        InputError
            For a character that the vocabulary does not have; an unknown word is ``"<unk>"``.
        """
        require(isinstance(text, str), "the text", text, "it must be a string")
        number = {name: i for i, name in enumerate(self.vocabulary)}
        pieces = pieces_of(text, self.level)
        if self.level == "words" and UNKNOWN in number:
            pieces = [piece if piece in number else UNKNOWN for piece in pieces]
        unknown = sorted({piece for piece in pieces if piece not in number})
        shown = ", ".join(map(repr, unknown[:3]))
        remedy = f"{self.name} has no {shown}: use its own {self.level}"
        require(not unknown, "the text", text if len(text) < 40 else f"{text[:37]}...", remedy)
        return np.array([number[piece] for piece in pieces], dtype=np.int64)

    def decode(self, tokens: Array) -> str:
        """The text of tokens (T,); words come back with one space between them."""
        known = range(len(self.vocabulary))
        bad = next((int(token) for token in tokens if int(token) not in known), None)
        require(bad is None, "a token", bad, f"there are 0 .. {len(self.vocabulary) - 1}")
        pieces = [self.vocabulary[int(token)] for token in tokens]
        if self.level == "characters":
            return "".join(pieces)
        return re.sub(f" ?{re.escape(LINE_END)} ?", "\n", " ".join(pieces))


@dataclass(frozen=True, eq=False, repr=False)
class Text(Vocabulary, Dataset):
    """Sequences of tokens, and what they stand for.

    Parameters
    ----------
    name, x_train, y_train, x_test, y_test, classes, dtype
        As in `Dataset`; y is x one token later.
    vocabulary, level
        As in `Vocabulary`.
    entropy : float, optional
        Of a drawn language: the mean loss in nats a token of a model that knows it exactly, the
        least possible.

    Examples
    --------
    >>> from minizo.data import synthetic_text
    >>> text = synthetic_text(context=8, n_train=100, n_test=10)
    >>> text
    Text('synthetic text (seed 0)': 100 + 10 sequences of 8 tokens, 27 different)
    >>> text.decode(text.encode("a word"))
    'a word'
    """

    entropy: Any = None

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over tokens and what they are called."""
        whole = repr((super().digest, tuple(self.vocabulary), self.level))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def pieces_of(text, level):
    r"""What a text is made of: its characters, or words and ends of lines.

    >>> pieces_of("to be,\nor", "words"), pieces_of("to", "characters")
    (['to', 'be,', '<eos>', 'or'], ['t', 'o'])
    """
    if level == "characters":
        return list(text)
    return text.replace("\n", f" {LINE_END} ").split()

"""Texts as sequences of tokens: a file, a folder of parts, Tiny Shakespeare, and a drawn language.

A text is cut into windows of T + 1 tokens that share their ends: the first T are what a network
reads, the last T what it should say. No window reaches from the training part into the validation
part, which is called the test set of a `minizo.data.Dataset`.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError, nearest, require
from ..settings import whole
from ..types import Array, FilePath
from .dataset import Dataset
from .download import Unavailable, fetch
from .packed import read, require_file, unpack

LEVELS = ("characters", "words")
SHARE = 0.1  # of a text without parts, at its end: validation
UNKNOWN, LINE_END = "<unk>", "<eos>"
PART = re.compile(r"(?:^|[._-])(train|training|valid|validation|val|test)(?:[._-]|$)", re.I)
PUBLIC, DRAWN = "tinyshakespeare", "synthetic"
NAMES = (PUBLIC, DRAWN)


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


def windows(tokens, context):
    """x and y, both (N, T): y is x one token later, and the next window begins where y ends.

    >>> x, y = windows(np.arange(8), 3)
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    count = (len(tokens) - 1) // context
    cut = count * context
    return tokens[:cut].reshape(count, context), tokens[1 : cut + 1].reshape(count, context)


def text(
    name: FilePath = PUBLIC,
    *,
    context: int = 64,
    level: str = "characters",
    words: int = 10_000,
    dtype: DTypeLike = "float32",
    progress: bool = True,
    notice: Callable = print,
) -> Text:
    """A text by its name, or from a file or a folder.

    Tiny Shakespeare is looked for in ``$MINIZO_DATA/tinyshakespeare``, then in the user's cache,
    and then downloaded. If none of this works, the reason is printed and a language that the
    package draws takes its place.

    Parameters
    ----------
    name : str or path-like
        ``"tinyshakespeare"``, ``"synthetic"`` (`synthetic_text`), or the path of a file in UTF-8,
        packed with gzip or not, whose last tenth is for validation; or of a folder of files whose
        names say ``train`` and ``valid`` or ``test``, such as Penn Treebank's and WikiText's.
    context : int
        T, the tokens of a sequence.
    level : {"characters", "words"}
        What a token is. Words are what stands between spaces, and ``<eos>`` the end of a line.
    words : int
        The largest vocabulary of words: the most frequent ones of the training part, and
        ``<unk>`` for the others.
    dtype : str or dtype
        In which a network is trained with it.
    progress, notice
        As in `minizo.data.load`.

    Returns
    -------
    Text

    Raises
    ------
    InputError
        If the name is neither known nor a file or folder; for files that are empty or no text in
        UTF-8; a context longer than a part; characters of the validation part that the training
        part of a folder has not.

    References
    ----------
    A. Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015 (Tiny
    Shakespeare: 1,115,394 characters of his plays, 65 different ones).
    """
    options = _checked(context, level, words) | {"dtype": dtype}
    if not isinstance(name, (str, os.PathLike)):
        raise InputError(f"text {name!r} is not a name; known are {', '.join(NAMES)}, and paths")
    if name == PUBLIC:
        root = os.environ.get("MINIZO_DATA")
        place = Path(root, PUBLIC) if root else None
        try:
            place = place if place and os.path.lexists(place) else fetch(PUBLIC, progress)
            return read_text(place, title="Tiny Shakespeare", **options)
        except Unavailable as reason:
            where = f"no folder {place}" if root else "$MINIZO_DATA unset"
            notice(
                f"minizo: Tiny Shakespeare not found ({where}, no cached copy, download failed: "
                f"{reason}); continuing with a synthetic language drawn by the package"
            )
            return synthetic_text(context=options["context"], dtype=dtype)
    if name == DRAWN:
        remedy = "the drawn language has no words: read it by characters"
        require(level == "characters", "level", level, remedy)
        return synthetic_text(context=options["context"], dtype=dtype)
    known = (
        f"text {str(name)!r} is neither known ({', '.join(NAMES)}) nor an existing file or folder"
    )
    if not os.path.exists(name):
        raise InputError(f"{known}{nearest(str(name).lower(), NAMES)}")
    return read_text(name, **options)


def _checked(context, level, words):
    # these options, with Python's numbers
    require(level in LEVELS, "level", level, f"choose from {LEVELS}")
    words = whole("words", words, "[2, inf)")
    return {"context": whole("context", context), "level": level, "words": words}


def read_text(
    path: FilePath,
    *,
    context: int = 64,
    level: str = "characters",
    words: int = 10_000,
    dtype: DTypeLike = "float32",
    title: str | None = None,
) -> Text:
    """A text from a file or a folder; everything as in `text`."""
    context, level, words = _checked(context, level, words).values()
    path = Path(path)
    parts = parts_of(path)
    train, valid = (
        (pieces_of(decoded(part), level) for part in parts)
        if len(parts) == 2
        else (divided(pieces_of(decoded(parts[0]), level)))
    )
    if level == "words":
        vocabulary = frequent(train, words)
        number = {name: i for i, name in enumerate(vocabulary)}
        train, valid = (
            [number.get(p, number.get(UNKNOWN)) for p in part] for part in (train, valid)
        )
    else:
        known = set(train) | (set(valid) if len(parts) == 1 else set())
        unknown = Counter(piece for piece in valid if piece not in known)
        shown = ", ".join(f"{piece!r} ({n} times)" for piece, n in unknown.most_common(3))
        remedy = "the training part lacks them: add them to it, or read it by words"
        require(not unknown, f"characters of {parts[-1].name}", shown, remedy)
        vocabulary = tuple(sorted(known))
        number = {name: i for i, name in enumerate(vocabulary)}
        train, valid = ([number[p] for p in part] for part in (train, valid))
    what, least = min((("training", train), ("validation", valid)), key=lambda p: len(p[1]))
    held = f"the {what} part of {path} has {len(least)} {level}"
    if len(least) < 2:
        raise InputError(f"{held}, and two are needed; name a longer text")
    require(len(least) > context, "context", context, f"{held}: use at most {len(least) - 1}")
    arrays = [w for part in (train, valid) for w in windows(np.array(part, np.int64), context)]
    title = title or (path.resolve().name if path.is_dir() else path.name)
    return Text(title, *arrays, len(vocabulary), dtype, vocabulary, level)


def parts_of(path):
    """The files of a text: one, or those for training and for validation."""
    if not path.is_dir():
        return (path,)
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    found = {}
    for file in files:
        match = PART.search(file.name)
        if match:
            kind = {"tr": "train", "va": "valid", "te": "test"}[match[1][:2].lower()]
            remedy = f"{file.name} is a second one for that part; leave one of them"
            require_file(kind not in found, found.get(kind, file), "is ambiguous", remedy)
            found[kind] = file
    if "train" in found and len(found) > 1:
        return found["train"], found.get("valid", found.get("test"))
    remedy = "name one file, or put train.txt and valid.txt there"
    require_file(len(files) == 1, path, "holds no text in parts", remedy)
    return (files[0],)


def decoded(path):
    """The text of a file, or an `InputError` where it is empty or not in UTF-8."""
    content = unpack(path, read(path))
    require_file(len(content) > 0, path, "is empty", "name a file with text")
    try:
        found = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = f"is no text in UTF-8 (byte 0x{content[error.start]:02x} at {error.start})"
        raise InputError(f"{path}: {fault}; convert it to UTF-8, or name a text file") from None
    fault = "holds bytes of 0, so it is no text"
    require_file("\0" not in found, path, fault, "name a text file")
    return found.replace("\r\n", "\n")


def divided(pieces):
    """The training and the validation part of a text in one piece."""
    cut = len(pieces) - int(SHARE * len(pieces))
    return pieces[:cut], pieces[cut:]


def frequent(pieces, words):
    """The most frequent words, ``<unk>`` among them, the most frequent first.

    >>> frequent(["b", "a", "b", "c"], 3)
    ('b', 'a', '<unk>')
    """
    counted = Counter(pieces)
    counted.pop(UNKNOWN, None)
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    return (*ranked[: words - 1], UNKNOWN)


# A language of which everything is known ----------------------------------------------------------

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

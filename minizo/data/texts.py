"""Texts as sequences of tokens: a file, a folder of parts, Tiny Shakespeare.

A text is cut into windows of T + 1 tokens that share their ends: the first T are what a network
reads, the last T what it should say. No window reaches from the training part into the validation
part, which is called the test set of a `minizo.data.Dataset`.
"""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError, nearest, require
from ..settings import whole
from ..types import FilePath
from .download import Unavailable, fetch
from .language import synthetic_text
from .packed import read, require_file, unpack
from .tokens import LEVELS, UNKNOWN, Text, pieces_of

SHARE = 0.1  # of a text without parts, at its end: validation
PART = re.compile(r"(?:^|[._-])(train|training|valid|validation|val|test)(?:[._-]|$)", re.I)
PUBLIC, DRAWN = "tinyshakespeare", "synthetic"
NAMES = (PUBLIC, DRAWN)


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

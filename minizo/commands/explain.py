"""``--help PART``: what a part or a recipe does, what it takes, and what its settings mean.

All of it comes from docstrings in numpydoc's form and from signatures, so that a new part needs
nothing here.
"""

import inspect
import re
import textwrap
from functools import cache, partial

from ..errors import InputError, nearest
from . import own, parts, recipes
from .parts import KINDS, Part

WIDTH = 80


def takers(kind, setting):
    """Names of a kind whose parts take a setting."""
    return [name for name in KINDS[kind].choices if setting in parts.takes(Part(kind, name))]


def topic(word, models=tuple(KINDS["model"].choices)):
    """The help of a part, of a kind of parts, of a recipe, or of a user's own rule.

    Parameters
    ----------
    word : str
    models : sequence of str
        Names of the models that the command can train: ``--help model`` lists these.

    Raises
    ------
    InputError
        For a word that is none of them, with the nearest that is.
    """
    word = word.lstrip("-").lower() if not own.FILE.fullmatch(word) else word
    if own.FILE.fullmatch(word):
        return _part(Part(_kind_of(word), word))
    for kind in KINDS:
        if word in (kind, f"{kind}s", f"{kind}es"):
            return _kind(kind, models if kind == "model" else KINDS[kind].choices)
    if word in ("recipe", "recipes"):
        return recipes.listed()
    found = [_part(Part(kind, word)) for kind in KINDS if word in KINDS[kind].choices]
    found += [recipes.explained(word)] if word in recipes.NAMES else []
    if not found:
        names = [name for kind in KINDS.values() for name in kind.choices]
        hint = nearest(word, [*names, *KINDS, *recipes.NAMES])
        raise InputError(
            f"--help {word}: there is no such part{hint} (name one, or a kind of them: "
            f"{', '.join(KINDS)}, recipe)"
        )
    return "\n\n".join(found)


def _kind_of(word):
    # what a rule from a file is, by what it has
    made = parts.thing(Part("estimator", word))
    marks = {"estimator": "estimate", "quantizer": "quantize", "optimizer": "rate",
             "loss": "backward"}  # fmt: skip
    return next((kind for kind, name in marks.items() if hasattr(made, name)), "model")


def _kind(kind, names):
    lines = [f"--{kind} NAME:setting=value,...  (--help NAME lists the settings)", ""]
    rows = [(name, summary(parts.thing(Part(kind, name)))) for name in names]
    return "\n".join([*lines, *_columns(rows)])


def _part(part):
    thing, known = parts.thing(part), parts.takes(part)
    defaults = parts.defaults(part)
    words = part.having(next(iter(known)), "...") if known else part
    lines = textwrap.wrap(summary(thing), WIDTH)
    rows = []
    for name in known:
        default = f" (default: {parts.in_text(defaults[name])})" if name in defaults else ""
        kind, meaning = meanings(thing).get(name, ("", ""))
        among = re.match(r"\{(.*)\}", kind)
        among = among[1].replace('"', "").replace(", ", " | ") if among else ""
        text = ": ".join(filter(None, [meaning.rstrip("."), among]))
        rows.append((name, (text or "see its docstring") + default))
    example = words.flag.replace("...", parts.in_text(defaults.get(next(iter(known), ""), "...")))
    return "\n".join([example, "", *lines, *([""] if rows else []), *_columns(rows)])


def _columns(rows):
    width = max((len(name) for name, _ in rows), default=0)
    return [
        line
        for name, text in rows
        for line in textwrap.wrap(
            text, WIDTH, initial_indent=f"  {name:{width}}  ", subsequent_indent=" " * (width + 4),
            break_long_words=False, break_on_hyphens=False,
        )
    ]  # fmt: skip


def _docstring(thing):
    thing = thing.func if isinstance(thing, partial) else thing
    own_words = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return inspect.cleandoc(own_words or "")


def summary(thing):
    """The first line of a docstring."""
    return " ".join(_docstring(thing).partition("\n\n")[0].split()) or "without a docstring"


@cache
def meanings(thing):
    """name -> (type, one sentence) of the parameters of a class or function.

    A class that says "As in `Base`" is explained by that base, a function by the one of that name
    beside it.
    """
    found = {}
    bases = reversed(inspect.getmro(thing)[:-1]) if inspect.isclass(thing) else [thing]
    for base in bases:
        for name, kind, text in _parameters(_docstring(base)):
            other = re.match(r"As (?:in|for) `(\w+)`", text)
            if other and inspect.isfunction(base):
                origin = base.__globals__.get(other[1])
                known = meanings(origin) if inspect.isfunction(origin) else {}
                found |= {name: known[name]} if name in known else {}
            elif text and not other:
                found[name] = (kind, _sentence(text))
    return found


def _parameters(text):
    # (name, type, description) of the section "Parameters"
    match = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", text, re.M | re.S)
    if match is None:
        return
    for entry in re.split(r"\n(?=\S)", match[1].strip("\n")):
        head, _, body = entry.partition("\n")
        names, _, kind = head.partition(" : ")
        for name in names.split(","):
            yield name.strip(), kind.strip(), " ".join(body.split())


def _sentence(text):
    # the first sentence; a dot inside a parenthesis or before a small letter does not end one
    match = re.match(r"(.*?[.;:])(?=\s+[A-Z`(\"]|$)", text)
    return (match[1] if match else text).rstrip(";:").replace("``", "").replace("`", "")

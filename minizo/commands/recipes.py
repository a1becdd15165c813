"""Published settings by name: ``--recipe metaquant``, the file ``minizo/recipes/metaquant.json``.

A recipe is a file of settings that also says where each of them comes from, and where this package
departs from its source. Its keys:

    summary     one sentence
    source      authors, title, venue, year, and where in it; paper or released code
    settings    flags without their dashes, as in any file of settings
    where       for each setting, where it comes from
    departures  sentences: what is otherwise here, or what the source leaves open
"""

import json
import textwrap
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent.parent / "recipes"
NAMES = ("metaquant", "fsg", "proxquant", "ir-net", "rbnn", "reste")
WIDTH = 80


class Published(NamedTuple):
    """A recipe: the keys of its file."""

    summary: str
    source: str
    settings: dict
    where: dict
    departures: list


@cache
def read(name):
    """The recipe of a name of `NAMES`.

    >>> read("ir-net").settings["epochs"]
    400
    """
    return Published(**json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def called(text):
    """The name of the recipe that a text says, or ``None``: names come before paths.

    >>> called("IR-Net"), called("./fsg")
    ('ir-net', None)
    """
    return text.lower() if text.lower() in NAMES else None


def explained(name):
    """What a recipe sets and where that comes from, and its departures, as text."""
    recipe = read(name)
    lines = [f"--recipe {name}", "", *textwrap.wrap(recipe.summary, WIDTH), ""]
    for setting, value in recipe.settings.items():
        shown = " ".join(value) if isinstance(value, list) else str(value)
        shown = f"'{shown}'" if " " in shown and not isinstance(value, list) else shown
        flag = f"  --{setting.replace('_', '-')}"
        fits = len(flag) + 1 + len(shown) <= WIDTH
        lines += [f"{flag} {shown}"] if fits else [flag, " " * 4 + shown]
        lines += _indented(recipe.where[setting], " " * 6, " " * 6)
    lines += ["", *textwrap.wrap(f"Source: {recipe.source}", WIDTH), ""]
    return "\n".join([*lines, departures(name)])


def departures(name):
    """Where the package departs from a recipe's source, as text."""
    lines = [f"Where the recipe {name} departs from its source, or the source is silent:"]
    for sentence in read(name).departures:
        lines += _indented(sentence, "  - ", "    ")
    return "\n".join(lines)


def _indented(text, first, rest):
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def listed():
    """The recipes, a line each, for ``--help recipe``."""
    head = "--recipe NAME  (--help NAME says what it sets, and where that comes from)"
    width = max(map(len, NAMES))
    return "\n".join([head, "", *(f"  {name:{width}}  {read(name).summary}" for name in NAMES)])

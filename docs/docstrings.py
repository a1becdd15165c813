"""Docstrings as reStructuredText: equations stay as they are set, and |x| is no substitution."""

import re
import textwrap

SECTIONS = (
    "Parameters", "Attributes", "Returns", "Raises", "Notes", "References", "Examples", "Yields",
)  # fmt: skip

TEXT = ".. code-block:: text"  # not "::", which would colour an equation as if it were Python


def indent(line):
    """Return the number of spaces that a line begins with."""
    return len(line) - len(line.lstrip())


def rst(lines):
    """Return the lines of a docstring as reStructuredText.

    A block that is indented by four or more after an empty line is an equation or a table: it
    becomes a literal block. Elsewhere, outside of backticks, ``|`` and final underscores stand for
    themselves.

    >>> rst(["As in", "", "    G = g / ||g||", "", "with |g| = 1."])
    ['As in', '', '.. code-block:: text', '', '    G = g / ||g||', '', 'with \\\\|g\\\\| = 1.']
    """
    out, last, within = [], 0, None
    for index, line in enumerate(lines):
        if not line.strip():
            out.append(line)
            continue
        here = indent(line)
        if within is not None and here > within:
            out.append(line)
            continue
        within = None
        fresh = index == 0 or not lines[index - 1].strip()
        if index and fresh and here >= last + 4 and not line.lstrip().startswith(">>>"):
            within = last
            out += [" " * last + TEXT, "", line]
            continue
        # `name : type` with its lines below, outside of the sections that numpydoc reads
        named = re.match(r"\w[\w, .]* : ", line) and here == 0 and not sectioned(lines[:index])
        if (named or here < last) and not fresh and not sectioned(lines[:index]):
            out.append("")
        last = here
        out.append(line if line.lstrip().startswith((">>>", "...")) else escaped(line))
    return out


def sectioned(lines):
    """Whether a section of numpydoc's has begun."""
    return any(line in SECTIONS for line in lines)


def escaped(line):
    """Return a line of prose whose ``|``, lone ``*`` and final underscores are escaped."""
    kept = r"(``.*?``|`[^`]*`|(?<!\w)\*\*?[^\s*](?:[^*]*[^\s*])?\*\*?(?!\w))"
    bullet = re.match(r"\s*(\* )?", line).group()
    parts = re.split(kept, line[len(bullet) :])
    parts[::2] = [re.sub(r"\||\*|(?<=\w)_(?=\W|$)", r"\\\g<0>", part) for part in parts[::2]]
    return bullet + "".join(parts)


def prepare(app, what, name, thing, options, lines):
    """Change the lines of a docstring in place, for Sphinx's ``autodoc-process-docstring``."""
    lines[:] = rst(lines)


def sections(thing):
    """Return the docstring of a class or module in parts: the title of a section -> its text.

    The text before the first section is that of ``""``.
    """
    first, _, rest = (thing.__doc__ or "").partition("\n")
    lines = [first.strip(), *textwrap.dedent(rest).splitlines()]
    found, title = {"": []}, ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line in SECTIONS and set(below) == {"-"}:
            title = line
            found[title] = []
        elif not (line and set(line) == {"-"} and not found[title]):
            found[title].append(line)
    return {title: "\n".join(text).strip("\n") for title, text in found.items()}

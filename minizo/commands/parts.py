"""A part and its settings: ``fogzo:n=10,beta=.999``, read, checked and built.

A part is a row of one of the tables of names, which stand where the families live, or comes from a
file of the user's own (`minizo.commands.own`). What may be set is what its signature has.
"""

import inspect
import re
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from types import UnionType
from typing import Annotated, NamedTuple, Union, get_args, get_origin

from ..contracts import check_part
from ..errors import InputError, nearest, spelt
from ..estimators import ESTIMATORS
from ..losses import LOSSES
from ..models import ACTIVATION_DEFAULTS, ACTIVATIONS, GIVEN, MODELS, activation_layer
from ..optim import OPTIMIZERS
from ..quantizers import QUANTIZERS
from . import own


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Attributes
    ----------
    choices : dict
        The table of names.
    given : tuple of str
        Arguments that the command fills in.
    defaults : dict
        Values of settings that differ from the defaults of the classes, as a kind asks for them.
    """

    choices: dict
    given: tuple = ()
    defaults: dict = field(default_factory=dict)


KINDS = {
    "estimator": Kind(ESTIMATORS),
    "quantizer": Kind(QUANTIZERS),
    "optimizer": Kind(OPTIMIZERS),
    "model": Kind(MODELS, GIVEN),
    "activation": Kind(ACTIVATIONS, ("per",), ACTIVATION_DEFAULTS),
    "loss": Kind(LOSSES),
}


class Part(NamedTuple):
    """One part of a run: a kind, a name of its table or a file's, and the settings stated."""

    kind: str
    name: str
    settings: tuple = ()

    def __str__(self):
        """As on the command line."""
        own_file = own.FILE.fullmatch(self.name)
        words = ",".join(f"{name}={in_text(value)}" for name, value in self.settings)
        return self.name + (("," if own_file else ":") + words if words else "")

    @property
    def flag(self):
        """The part with its flag, as it was given."""
        return f"--{self.kind} {self}"

    def get(self, name):
        """The value of a setting, or ``None`` where it is not stated."""
        return dict(self.settings).get(name)

    def without(self, name):
        """This part with one setting not stated."""
        return self._replace(settings=tuple(item for item in self.settings if item[0] != name))

    def having(self, name, value):
        """This part with one setting stated, among the others in the order of its class."""
        return self._replace(settings=tuple({**dict(self.settings), name: value}.items()))

    def whole(self):
        """This part with every setting stated."""
        found, stated = takes(self), dict(self.settings)
        settings = {name: stated.get(name, default) for name, default in defaults(self).items()}
        return self._replace(settings=tuple((n, settings[n]) for n in found if n in settings))

    def brief(self):
        """This part with only those settings stated that are not the default."""
        usual = defaults(self)
        stated = [(name, v) for name, v in self.settings if name not in usual or usual[name] != v]
        return self._replace(settings=tuple(stated))

    @property
    def files(self):
        """Paths of the user's own files that it and its settings come from, as given."""
        texts = [self.name, *(value for _, value in self.settings if isinstance(value, str))]
        return [match["path"] for match in map(own.FILE.fullmatch, texts) if match]

    def section(self):
        """This part as a section of a settings file."""
        settings = {n: list(v) if isinstance(v, tuple) else v for n, v in self.settings}
        return {"name": self.name, **settings}


def in_text(value):
    """A value of a setting as on the command line.

    >>> in_text(0.5), in_text(None), in_text(True), in_text((64, 32)), in_text(())
    ('0.5', 'none', 'true', '64,32', '')
    """
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def thing(part):
    """The class, function or object that a part is called after."""
    if match := own.FILE.fullmatch(part.name):
        return own.load(f"--{part.kind}", match["path"], match["name"])
    return KINDS[part.kind].choices[part.name]


def makes(made):
    """Whether it is a class or a function, and no object that is ready."""
    return inspect.isclass(made) or inspect.isroutine(made) or isinstance(made, partial)


def accepts(made, name):
    """Whether a class or function has an argument of that name, or takes any."""
    known = inspect.signature(made).parameters if makes(made) else {}
    return name in known or any(p.kind is p.VAR_KEYWORD for p in known.values())


def takes(part):
    """name -> `inspect.Parameter` of the settings that a part takes."""
    made = thing(part)
    if not makes(made):
        return {}
    hidden = {f.name for f in fields(made) if not f.repr} if is_dataclass(made) else set()
    hidden |= set(KINDS[part.kind].given)
    return {
        name: parameter
        for name, parameter in inspect.signature(made).parameters.items()
        if name not in hidden and parameter.kind not in (parameter.VAR_POSITIONAL,
                                                         parameter.VAR_KEYWORD)
    }  # fmt: skip


def defaults(part):
    """name -> default of the settings of a part, of those that have one."""
    special = KINDS[part.kind].defaults if not own.FILE.fullmatch(part.name) else {}
    found = {}
    for name, parameter in takes(part).items():
        default = special.get(name, parameter.default)
        if hasattr(made := thing(part), "__dataclass_fields__"):
            # a class with an __init__ of its own may take what is no field
            own_field = made.__dataclass_fields__.get(name)
            if own_field is not None and callable(own_field.default_factory):
                default = own_field.default_factory()
        if default is not inspect.Parameter.empty:
            found[name] = default
    return found


def read(kind, value):
    """The `Part` that a text or a section of a file describes.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    value : str or dict
        ``"fogzo:n=10,beta=.999"``, ``"my_rule.py:MyRule,n=10"``, ``"spsa:law=my_law.py:Tent"``, or
        ``{"name": "fogzo", "n": 10, "beta": 0.999}``.

    Raises
    ------
    InputError
        For an unknown name, or a setting that the part does not take.
    """
    if isinstance(value, Part):
        return value
    if isinstance(value, dict):
        stated = dict(value)
        name = stated.pop("name", None)
        if not isinstance(name, str):
            raise InputError(f"{kind}: a section needs a name, such as {first(kind)!r}")
        stated = [(key, item) for key, item in stated.items()]
    elif isinstance(value, str):
        name, stated = _cut(kind, value)
    else:
        raise InputError(f"{kind} is {value!r}, but it must be a name such as {first(kind)!r}")
    if not own.FILE.fullmatch(name):
        if name.endswith(".py"):
            raise InputError(f"--{kind} {name}: say what in the file is meant, as in {name}:MyRule")
        name = spelt(f"--{kind}", name, KINDS[kind].choices)
    part = Part(kind, name)
    known = takes(part)
    for key, item in stated:
        setting = {k.lower(): k for k in known}.get(key.lower().replace("-", "_"))
        if setting is None:
            raise InputError(_refusal(part, key, item, known))
        if part.get(setting) is not None:
            raise InputError(f"{part.flag}: {setting} is given twice")
        part = part.having(setting, _value(item, known[setting], part))
    return part


def first(kind):
    """The first name of a kind, for examples."""
    return next(iter(KINDS[kind].choices))


def _cut(kind, text):
    # name and [(setting, text)]; a piece without "=" belongs to the value before it
    if match := own.FILE.fullmatch(text):
        name, rest = f"{match['path']}:{match['name']}", match["rest"] or ""
    else:
        name, _, rest = re.sub("[:,]", ":", text, count=1).partition(":")
    stated = []
    for piece in rest.split(",") if rest else []:
        key, sign, value = piece.partition("=")
        if sign:
            stated.append((key.strip(), value.strip()))
        elif stated:
            stated[-1] = stated[-1][0], f"{stated[-1][1]},{piece.strip()}"
        else:
            raise InputError(
                f"--{kind} {text}: {piece!r} is no setting; write name=value, as in "
                f"{EXAMPLES.get(kind, 'name:setting=value')}"
            )
    return name.strip(), stated


EXAMPLES = {
    "estimator": "fogzo:n=10,beta=.999",
    "quantizer": "lsq:bits=2",
    "activation": "midtread:bits=3",
    "optimizer": "adam:lr=.01",
    "model": "mlp:hidden=64,32",
}


def _refusal(part, key, item, known):
    key = key.replace("-", "_")
    takers = [name for name in KINDS[part.kind].choices if key in takes(Part(part.kind, name))]
    words = f"--{part.kind} {part.name}: it has no setting {key!r}"
    if takers and not own.FILE.fullmatch(part.name):
        remedy = f"leave it out, or choose {' | '.join(takers)}"
        return f"{words}, so {key}={in_text(item)} has no effect; {remedy}"
    if own.FILE.fullmatch(part.name) and hasattr(thing(part), key):
        return f"{words}; write @dataclass(frozen=True) above its class, and '{key}: type'"
    own_words = f" (it takes {', '.join(known)})" if known else " (it takes none)"
    return f"{words}{nearest(key, known)}{own_words}"


def _types(parameter):
    # the plain types that a setting takes: of its annotation, or that of its default
    if parameter.annotation is not parameter.empty:
        return _members(parameter.annotation)
    return set() if parameter.default in (None, parameter.empty) else {type(parameter.default)}


def _members(annotation):
    if get_origin(annotation) in (Union, UnionType):
        return {kind for member in get_args(annotation) for kind in _members(member)}
    if get_origin(annotation) is Annotated:
        return {get_args(annotation)[0]}
    return {get_origin(annotation) or annotation}  # tuple[int, ...] -> tuple


def _value(item, parameter, part):
    # what a text stands for, by the type of the setting; what it stands for in no way is
    # handed on, and the class that is built says what it must be
    if not isinstance(item, str):
        items = item if isinstance(item, list) else [item]
        if any(isinstance(one, list | dict) for one in items):
            raise InputError(
                f"{part.flag}: a setting is {item!r}, but it must be a number, a name, or a list "
                "of numbers"
            )
        return tuple(item) if isinstance(item, list) else item
    if own.FILE.fullmatch(item):
        return item
    members, small = _types(parameter), item.lower()
    free = not members & {bool, int, float, tuple, str}
    if small == "none" and (free or type(None) in members):
        return None
    if (free or bool in members) and small in ("true", "false", "yes", "no"):
        return small in ("true", "yes")
    if tuple in members:
        return tuple(_number(piece, int) for piece in item.split(",") if piece.strip())
    if free or members & {int, float}:
        number = _number(item, int) if free or int in members else item
        number = _number(item, float) if isinstance(number, str) else number
        return number
    package = not own.FILE.fullmatch(part.name)
    return small if package and str in members else item


def _number(text, kind):
    try:
        return kind(text)
    except ValueError:
        return text


def refuse_idle(part, made):
    """Raise an `InputError` for a setting without effect beside another one of the same part."""
    for name, (other, values) in getattr(made, "only_with", {}).items():
        if part.brief().get(name) is not None and getattr(made, other) not in values:
            raise InputError(
                f"{part.flag}: {name} has no effect where {other} is {getattr(made, other)}; leave "
                f"it out, or choose {other}={' | '.join(values)}"
            )


def build(part, **given):
    """The object of a part, checked; it gets what it takes of ``given``, from the command."""
    made, stated = thing(part), {**KINDS[part.kind].defaults, **dict(part.settings)}
    known = takes(part)
    stated = {name: value for name, value in stated.items() if name in known}
    needed = [name for name in known if name not in stated and name not in defaults(part)]
    if needed:
        remedy = ",".join(f"{name}=..." for name in needed)
        raise InputError(f"{part.flag} needs {', '.join(needed)}: {part.name},{remedy}")
    stated = {
        name: own.resolved(f"--{part.kind} {part.name}: {name}", value)
        for name, value in stated.items()
    }
    try:
        own_given = {name: value for name, value in given.items() if accepts(made, name)}
        result = made(**own_given, **stated) if makes(made) else made
        if part.kind == "activation":
            return activation_layer(result)
        return result if part.kind == "model" else check_part(part.kind, result)
    except InputError as error:
        raise InputError(f"{part.flag}: {error}") from None
    except (TypeError, ValueError) as error:
        if not own.FILE.fullmatch(part.name):
            raise
        raise InputError(f"{part.flag}: {type(error).__name__}: {error}") from None

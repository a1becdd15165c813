"""The pages of the reference: every public name, from its docstring, grouped as the package is."""

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

# title -> its modules; a module without __all__ shows what is defined in it and has a docstring
GROUPS = {
    "Training: fit and Objective": ["minizo"],
    "Estimators": ["minizo.estimators"],
    "Quantisers": ["minizo.quantizers"],
    "Surrogates": ["minizo.surrogates"],
    "Laws of the noise": ["minizo.laws"],
    "Layers": ["minizo.layers"],
    "Losses": ["minizo.losses"],
    "Models": ["minizo.models"],
    "Optimisers": ["minizo.optim"],
    "Proximal operators": ["minizo.prox"],
    "Learned gradients": ["minizo.hypernets"],
    "Data": ["minizo.data"],
    "Compare": ["minizo.compare"],
    "Export": ["minizo.export", "minizo.sampling", "minizo.start"],
    "Testing": ["minizo.testing"],
    "Exercises": ["minizo.exercises"],
    "Figures": ["minizo.figures"],
    "Machinery": ["minizo.backend", "minizo.rng", "minizo.rules", "minizo.settings",
                  "minizo.commands"],
    "Laboratory": ["minizo.lab"],
}  # fmt: skip

# the page of a name is reached from that of its group: a menu of 400 entries helps nobody, and
# makes every page slow
ORPHAN = [":orphan:", ""]


def modules(name):
    """Return the modules of an entry of `GROUPS`: the laboratory has many, any other one."""
    module = import_module(name)
    if name != "minizo.lab":
        return [module]
    inner = pkgutil.walk_packages(module.__path__, f"{name}.")
    names = [one.name for one in inner if not one.name.endswith("__main__")]
    return [module, *map(import_module, names)]


def public(module):
    """Return the public names of a module: those of ``__all__``, or those that it defines."""
    if hasattr(module, "__all__"):
        names = module.__all__
    else:
        names = [
            name
            for name, thing in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(thing) or inspect.isfunction(thing))
            and thing.__module__ == module.__name__
            and thing.__doc__
        ]
    return [name for name in names if name != "__version__"]


def entries():
    """Return title -> module name -> {name: where it is documented}.

    What several modules export is documented in the one furthest from the top: `minizo.FOGZO` with
    the estimators.
    """
    found = {
        title: {module.__name__: public(module) for name in names for module in modules(name)}
        for title, names in GROUPS.items()
    }
    homes = {}
    for group in found.values():
        for module, names in group.items():
            for name in names:
                thing = getattr(import_module(module), name)
                if callable(thing) and (module != "minizo" or id(thing) not in homes):
                    kept = homes.get(id(thing))
                    if kept is None or kept.count(".") == 1:
                        homes[id(thing)] = f"{module}.{name}"

    def home(module, name):
        thing = getattr(import_module(module), name)
        if isinstance(thing, ModuleType):
            return thing.__name__
        return homes[id(thing)] if callable(thing) else f"{module}.{name}"

    return {
        title: {
            module: {name: home(module, name) for name in names} for module, names in group.items()
        }
        for title, group in found.items()
    }


def slug(title):
    """Return the file name of a group: ``Laws of the noise`` -> ``laws-of-the-noise``."""
    return title.lower().replace(":", "").replace(" ", "-")


def heading(text, line="="):
    """Return a title in reStructuredText."""
    return [text, line * len(text), ""]


def pages():
    """Return path -> text of every page below ``reference/``."""
    found = entries()
    index = heading("Reference") + [
        "Every public name, from its docstring. What a class has is on its own page.", "",
        ".. toctree::", "   :maxdepth: 1", "", *(f"   {slug(title)}" for title in found), "",
    ]  # fmt: skip
    out = {"reference/index.rst": index}
    for title, group in found.items():
        page = heading(title)
        for module, names in group.items():
            if module.startswith("minizo.lab."):  # one page a module, with all that it has
                out[f"reference/{module}.rst"] = ORPHAN + heading(module) + [
                    f".. automodule:: {module}", f"   :{members(module)}:", "",
                ]  # fmt: skip
                page += [f"- `{module}`"]
                continue
            if len(group) > 1 and title != "Laboratory":
                page += heading(module, "-")
            page += [f".. automodule:: {module}", "   :no-members:", ""]
            inner = [n for n in names if isinstance(getattr(import_module(module), n), ModuleType)]
            if inner:
                page += ["Its modules: " + ", ".join(f":py:mod:`{module}.{n}`" for n in inner), ""]
            here = [n for n, home in names.items() if home == f"{module}.{n}" and n not in inner]
            shown = [name for name in here if callable(getattr(import_module(module), name))]
            page += [f".. currentmodule:: {module}", ""]
            if shown:
                page += [".. autosummary::", "   :nosignatures:", ""]
                page += [*(f"   {name}" for name in shown), ""]
            for name in here:
                if name not in shown:
                    page += data(module, name)
            elsewhere = {n: home for n, home in names.items() if n not in [*here, *inner]}
            if elsewhere:
                page += ["Also here, by a shorter name:", ""]
                page += [f"- ``{module}.{n}`` is `{home}`" for n, home in elsewhere.items()]
                page += [""]
            out |= {f"reference/{module}.{name}.rst": stub(module, name) for name in shown}
        out[f"reference/{slug(title)}.rst"] = page
    return {path: "\n".join(lines) for path, lines in out.items()}


def members(module):
    """Return what is shown of a module: all that it has, of a package what it says."""
    return "no-members" if hasattr(import_module(module), "__path__") else "members"


def stub(module, name):
    """Return the lines of the page of a class or function."""
    thing = getattr(import_module(module), name)
    kind = "autoclass" if inspect.isclass(thing) else "autofunction"
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        kind = "autoexception"
    return ORPHAN + [
        *heading(f"{module}.{name}"), f".. currentmodule:: {module}", "", f".. {kind}:: {name}",
        *(["   :members:", "   :show-inheritance:"] if kind == "autoclass" else []), "",
    ]  # fmt: skip


def data(module, name):
    """Return the lines of a constant: what it holds."""
    value = getattr(import_module(module), name)
    lines = [f".. py:data:: {module}.{name}", ""]
    if isinstance(value, dict):
        rows = [f"``{key!r}``" + told(one) for key, one in value.items()]
        lines += [f"   - {row}" for row in rows]
    else:
        lines += [f"   ``{value!r}``"]
    return [*lines, ""]


def told(value):
    """Return what an entry of a table leads to: a link for what is documented."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return f": `{value.__name__}`"
    return f": ``{value!r}``" if isinstance(value, str | int | float | tuple) else ""

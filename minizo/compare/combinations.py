"""Cases from flags: every combination of what is not tuned, over every value of what is."""

from dataclasses import replace

from ..commands.cases import build_network, build_objective, called, differences, in_words, short
from ..commands.parts import build
from ..errors import InputError, nearest
from .cases import Candidate, Case


def cases(settings, data):
    """The cases: every combination of what is not tuned, over every value of what is."""
    tune = tuple(name.replace("-", "_").lower() for name in settings.tune)
    settings = replace(settings, tune=tune)
    check_tuned(settings)
    groups = {}
    for quantizer in settings.quantizer:
        for estimator in settings.estimator:
            for optimizer in settings.optimizer:
                for scale in settings.init_scale:
                    chosen = quantizer, estimator, optimizer, scale
                    groups.setdefault(kept(chosen, settings.tune), []).append(chosen)
    names = labels(groups)
    networks = {scale: build_network(settings, data, scale) for scale in settings.init_scale}
    objectives, made, found = {}, {}, []
    for name, group in zip(names, groups.values(), strict=True):
        candidates = []
        for quantizer, estimator, optimizer, scale in group:
            for part in (quantizer, estimator, optimizer):
                if part not in made:
                    made[part] = build(part)
            place = quantizer, scale
            if place not in objectives:
                objectives[place] = build_objective(settings, networks[scale], made[quantizer])
            candidates.append(Candidate(
                made[estimator], objectives[place], made[optimizer],
                tuned((quantizer, estimator, optimizer, scale), settings),
            ))  # fmt: skip
        found.append(Case(name, tuple(candidates)))
    return found


def kept(chosen, tune):
    """What of a combination is not tuned: the same for all candidates of a case."""
    *parts, scale = chosen
    found = []
    for part in parts:
        own = part._replace(settings=tuple((n, v) for n, v in part.settings if n not in tune))
        found.append(None if part.kind in tune else own)
    return (*found, None if "init_scale" in tune else scale)


def tuned(chosen, settings):
    """What of a combination is tuned, as pairs of name and value, the optimiser's name first."""
    *parts, scale = chosen
    optimizer = parts[-1]
    name = short(optimizer.name)
    if "optimizer" in settings.tune:
        among = [part for part in settings.optimizer if part.name == optimizer.name]
        (words,) = [
            own for part, own in zip(among, differences(among), strict=True) if part == optimizer
        ]
        extra = [w for w in words if w.partition(" ")[0] not in settings.tune and w != name]
        name = " ".join([name, *extra])
    found = [("optimizer", name)]
    for part in parts[:-1]:
        if part.kind in settings.tune:
            found.append((part.kind, str(part.brief())))
    names = [name for part in parts for name, _ in part.settings]
    for part in parts:
        for name, value in part.settings:
            if name in settings.tune and value is not None:
                shared = names.count(name) > 1  # such as the eps of FOGZO and that of Adam
                found.append((f"{short(part.name)}'s {name}" if shared else name, value))
    if "init_scale" in settings.tune:
        found.append(("init_scale", scale))
    return tuple(found)


def labels(groups):
    """What the cases are called: the estimator, and what differs between them.

    ``groups`` has the combinations of each case by what of them is not tuned.
    """
    quantizers, estimators, optimizers, scales = zip(*groups, strict=True)
    names, columns = [], []
    for chosen in groups.values():
        # a label may hold the very setting that is tuned: then the part's name must do
        found = {called(part, build(part)) for _, part, _, _ in chosen}
        kinds = {short(part.name) for _, part, _, _ in chosen}
        names.append(" or ".join(sorted(found if len(found) == 1 else kinds)))
    if None not in estimators:
        columns.append(differences(list(estimators), names))
    for parts in (quantizers, optimizers):
        if None not in parts:
            columns.append(differences(list(parts)))
    if len(set(scales)) > 1:
        columns.append([[f"init scale {in_words(scale)}"] for scale in scales])
    return [
        ", ".join([name, *(word for words in own for word in words)])
        for name, *own in zip(names, *columns, strict=True)
    ]


def check_tuned(settings):
    """Raise an `InputError` for a name of ``--tune`` that is nothing which can be tuned."""
    parts = (*settings.estimator, *settings.quantizer, *settings.optimizer)
    known = {"estimator", "quantizer", "optimizer", "init_scale"}
    known |= {name for part in parts for name, _ in part.settings}
    scales = {"init_scale": settings.init_scale} | {
        kind: getattr(settings, kind) for kind in ("estimator", "quantizer", "optimizer")
    }
    for name in settings.tune:
        if name in scales and len(scales[name]) == 1:
            raise InputError(
                f"--tune {name.replace('_', '-')} has no effect: all cases have the same; give "
                "several, or leave it out"
            )
        if name not in known:
            raise InputError(
                f"--tune {name}: there is no such setting{nearest(name, known)} "
                f"({', '.join(sorted(known))})"
            )

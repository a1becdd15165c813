"""Parts of a run, ``fogzo:n=10``: every setting of every member reaches its own object alone."""

from dataclasses import fields
from inspect import Parameter

import pytest

from minizo import InputError, models
from minizo.commands import parts
from minizo.commands.parts import KINDS, Part, build, read

GIVEN = {"input_shape": (3, 16, 16), "classes": 4, "activation": "relu", "vocabulary": 7,
         "context": 5}  # fmt: skip
# A value of every setting that is nobody's default, as it is written on the command line.
VALUES = {
    "n": "3", "law": "laplace", "eps": "0.05", "eps_scale": "2.0", "perturb": "quantized",
    "over": "quantized",
    "beta": "0.5", "beta_schedule": "cosine", "ste_share": "0.25",
    "guide": "scaled",
    "lam": "0.3", "homotopy": "epoch", "growth": "1.2", "convention": "full", "rounds": "3",
    "harden": "0.7", "freeze": "0.4", "clip": "1.5", "rho": "0.02", "steepness": "7.0",
    "centre": "0.3", "sharpness": "2.0", "final_sharpness": "30.0",
    "lookahead": "stale", "hyper_optimizer": "sgd", "hyper_lr": "0.007", "slow_net": "lstm",
    "slow_share": "0.4", "length": "3", "layout": "coord", "commit": "fast_only",
    "fast_lr": "0.005", "slow_lr": "0.006", "start": "uniform", "units": "20",
    "expand": {100: "30", 4.0: "7.5"}, "embedding": "false",
    "states": "4", "token": "2", "kernel": "5", "mu": "0.7",
    "bits": "3", "alpha_scale": "1.5", "surrogate": "approxsign",
    "per": {"filter": "layer", "layer": "filter"},
    "rule": "paper", "in_use": "sign", "detach_rotation": "true", "refinements": "4",
    "amplitude": "0.2", "signed": {True: "false", False: "true"}, "rescale": "false",
    "block": "4", "trust": "1.3",
    "prox": {"l1": "l2", "l2": "l1"}, "scaled": {True: "false", False: "true"},
    "lr": "0.02", "gamma": "0.01", "threshold": "1e-05", "decay": "0.1",
    "warmup": "0.2", "floor": "0.3", "schedule": "cosine", "b1": "0.8",
    "b2": "0.99", "nesterov": "true", "stem": "imagenet", "hidden": {(10,): "7,6", None: "24"},
    "width": {8: "4", 16: "4", 64: "32", 128: "9"},
    "layers": {1: "2", 2: "3", 4: "3"}, "heads": {4: "2"}, "dropout": "0.5", "tied": "true",
    "shared": "2", "patch": "2", "inputs": "absmax", "input_bits": "4", "pool": "mean",
    "before": "sign", "shortcut": "pad", "final_norm": "true",
    "channels": {(16, 32): "3,4", (16, 32, 64): "3,4,5"},
}  # fmt: skip
MEMBERS = [Part(kind, name) for kind in KINDS for name in KINDS[kind].choices]
EVERY = pytest.mark.parametrize("part", MEMBERS, ids=[f"{p.kind} {p.name}" for p in MEMBERS])
SETTINGS = [(part, name) for part in MEMBERS for name in parts.takes(part)]
EACH = pytest.mark.parametrize(
    "part, name", SETTINGS, ids=[f"{p.kind} {p.name}:{name}" for p, name in SETTINGS]
)


def differing(part, name):
    """A value that is not the default, as text."""
    found = VALUES[name]
    return found[parts.defaults(part)[name]] if isinstance(found, dict) else found


def made(part):
    return build(part, **GIVEN) if part.kind == "model" else build(part)


def words(part):
    return repr(made(part))


@EACH
def test_a_setting_reaches_its_part(part, name):
    """From text and from a section; the text that a part becomes is the part again."""
    given = read(part.kind, f"{part.name}:{name}={differing(part, name)}")
    assert words(given) != words(part)
    if part.kind in ("estimator", "quantizer", "optimizer"):
        changed, plain = made(given), made(part)
        names = [field.name for field in fields(plain)]
        assert [n for n in names if getattr(plain, n) != getattr(changed, n)] == [name]
    assert read(part.kind, str(given)) == read(part.kind, given.section()) == given
    assert str(given) == f"{part.name}:{name}={differing(part, name)}"
    loud = f"{part.name.upper()}:{name.upper().replace('_', '-')}={differing(part, name)}"
    assert read(part.kind, loud) == given


@EVERY
def test_one_default_for_python_and_the_command_line(part):
    """A part without settings, and with every setting stated, is the class as Python makes it."""
    assert words(part.whole()) == words(part)
    thing = parts.thing(part)
    if part.kind in ("estimator", "quantizer", "optimizer", "loss"):
        assert words(part) == repr(thing()) or " at 0x" in repr(thing())
    elif part.kind == "activation":
        assert words(part) == repr(models.activation_layer(part.name))


@EVERY
def test_every_setting_has_a_default(part):
    assert list(parts.defaults(part)) == list(parts.takes(part))
    assert Parameter.empty not in parts.defaults(part).values()


# A member and a setting that another member of its kind takes, and it does not.
USELESS = [
    (part, name)
    for kind in KINDS
    for name in dict.fromkeys(n for p, n in SETTINGS if p.kind == kind)
    for part in [p for p in MEMBERS if p.kind == kind and name not in parts.takes(p)][:1]
]


@pytest.mark.parametrize("part, name", USELESS, ids=[f"{p.name}:{name}" for p, name in USELESS])
def test_a_setting_without_effect_is_refused(part, name):
    """In one sentence that says who takes it."""
    takers = [p.name for p in MEMBERS if p.kind == part.kind and name in parts.takes(p)]
    value = differing(Part(part.kind, takers[0]), name)
    with pytest.raises(InputError) as caught:
        read(part.kind, f"{part.name}:{name}={value}")
    assert str(caught.value) == (
        f"--{part.kind} {part.name}: it has no setting {name!r}, so {name}={value} has no effect; "
        f"leave it out, or choose {' | '.join(takers)}"
    )


IDLE = [
    (part, name)
    for part in MEMBERS
    for name, (_, values) in getattr(parts.thing(part), "only_with", {}).items()
]


def generators(rule):
    """What a learned gradient is made of; the rate of one that learns nothing does not count."""
    return repr([part if part.net.size else part._replace(lr=0.0) for part in rule.parts(2)])


@pytest.mark.parametrize("part, name", IDLE, ids=[f"{p.name}:{n}" for p, n in IDLE])
def test_a_setting_without_effect_beside_another(part, name):
    """What `only_with` says is true of the class, and is refused on the command line alone."""
    other, values = parts.thing(part).only_with[name]
    given = read(part.kind, f"{part.name}:{name}={differing(part, name)}")
    if other in parts.takes(part):
        for value in values:
            fine = given.having(other, value)
            parts.refuse_idle(fine, made(fine))
        none = {"homotopy": "constant", "prox": "l1", "slow_net": "none"}[other]
        given = given.having(other, none)
    if getattr(made(given), other) in values:  # a control whose other setting is fixed
        return
    with pytest.raises(InputError, match=f"{name} has no effect where {other} is"):
        parts.refuse_idle(given, made(given))
    if hasattr(made(given), "parts"):
        assert generators(made(given)) == generators(made(given.without(name)))


@pytest.mark.parametrize("name", ["fast-net", "fsg-gain", "fsg-ema"])
def test_a_control_stays_one(name):
    """slow_net is of fsg: it cannot make the control without a slow-net one with it."""
    with pytest.raises(InputError, match=r"choose fsg \| fsg-scaled"):
        read("estimator", f"{name}:slow-net=mamba")
    assert made(Part("estimator", name)).slow_net != "mamba"


def test_no_setting_of_one_part_is_another_parts():
    """eps is the perturbation of spsa, and Adam's epsilon, a field of that name, is Adam's."""
    spsa, adam = read("estimator", "spsa:eps=.05"), read("optimizer", "adam")
    assert made(spsa).eps == 0.05 and made(adam).eps == 1e-8
    assert made(read("optimizer", "adam:eps=.1")).eps == 0.1


@pytest.mark.parametrize(
    "text, settings",
    [
        ("mlp:hidden=64,32", {"hidden": (64, 32)}),
        ("mlp:hidden=", {"hidden": ()}),
        ("resnet20:before=none,final-norm=YES", {"before": None, "final_norm": True}),
        ("resnet20,width=8", {"width": 8}),
    ],
)
def test_how_values_are_read(text, settings):
    assert dict(read("model", text).settings) == settings


WRONG = [
    ("estimator", {"n": 3}, "estimator: a section needs a name, such as 'ste'"),
    ("estimator", 3, "estimator is 3, but it must be a name such as 'ste'"),
    ("estimator", "fogzo:n=1,n=2", "n is given twice"),
    ("estimator", {"name": "fogzo", "nn": 2}, "it has no setting 'nn'; did you mean 'n'?"),
    ("estimator", {"name": "fogzo", "n": {"a": 1}}, "a setting is {'a': 1}, but it must be a nu"),
    ("model", {"name": "mlp", "hidden": [[3]]}, "a setting is [[3]], but it must be a number"),
    ("loss", "mse:bits=2", "it has no setting 'bits' (it takes none)"),
    ("estimator", {"name": "fogzo", "beta": True}, "FOGZO.beta is True, but it must lie in"),
    ("model", "resnet20:final_norm=perhaps", "final_norm is 'perhaps', but it must be True or"),
]


@pytest.mark.parametrize("kind, value, sentence", WRONG, ids=[w[2][:30] for w in WRONG])
def test_wrong_parts_are_one_sentence(kind, value, sentence):
    with pytest.raises(InputError) as caught:
        made(read(kind, value))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)

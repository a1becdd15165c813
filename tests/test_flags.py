"""The flags of the training commands: each belongs to one part, and has an effect or is refused."""

import json
from functools import cache, partial
from itertools import cycle, islice
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_corners
from minizo.planning import KINDS, TAKERS

from minizo import cifar, gallery, mnist, planning
from minizo.bench import __main__ as bench
from minizo.estimators import FSG, FastOnly, FSGAverage, FSGGain, FSGScaled
from minizo.export import __main__ as export
from minizo.lab import microscope, runner
from minizo.lab.experiments import EXPERIMENTS, PARTS
from minizo.optim import Adam
from minizo.reproduce import compute796, fsg, mnist_grid, proxquant, zoo

DEFAULTS = vars(mnist.build_parser().parse_args([]))
# A value of every flag that is not its default.
VALUES = {
    "estimator": ["parq"], "n": [3], "seed": [5], "seeds": 2,
    "model": "lenet", "hidden": "7,6", "activation": "hardtanh", "activation_bits": 3,
    "activation_surrogate": "tanh", "quantize": "inner", "quantizer": "ternary", "bits": 3,
    "surrogate": "approxsign", "per": "layer", "rule": "exact", "in_use": "sign",
    "detach_rotation": True, "loss": "mse",
    "law": "laplace", "eps": 0.05, "eps_scale": 2.0, "perturb": "quantized", "beta": 0.5,
    "beta_schedule": "cosine", "ste_share": 0.25,
    "prox": "l2", "lam": 0.3, "homotopy": "epoch", "growth": 1.2, "convention": "full",
    "rounds": 3, "harden": 0.7, "freeze": 0.4, "clip": 1.5, "rho": 0.02, "steepness": 7.0,
    "centre": 0.3, "sharpness": 2.0, "final_sharpness": 30.0,
    "lookahead": "stale", "hyper_lr": 0.007, "slow_net": "lstm", "slow_share": 0.4, "length": 3,
    "layout": "coord", "commit": "fast_only", "fast_lr": 0.005, "slow_lr": 0.006,
    "start": "uniform", "units": 20, "expand": 30, "states": 4,
    "optimizer": "momentum", "lr": 0.02, "lr_grid": ".02,.03", "gamma": 0.01, "threshold": 1e-5,
    "schedule": "cosine", "steps": 7, "epochs": 2, "batch": 50, "augment": "crop",
    "pretrain_steps": 4, "pretrain_epochs": 1,
    "data": "synthetic", "backend": "auto", "rng": "host", "dtype": "float64", "workers": 3,
    "out": "there", "records": 5, "loss_examples": 60, "checkpoint_every": 9,
    "resume": "here", "json": True, "quiet": True,
}  # fmt: skip
# The part that each flag reaches: by the tables, and those that are no part's setting.
OWNERS = {name: kind for name, (kind, _) in TAKERS.items()}
OWNERS |= {name: name for name in ("estimator", "quantizer", "optimizer", "loss")}
OWNERS |= {"model": "network", "hidden": "network", "quantize": "quantized", "lr_grid": "optimizer"}
OWNERS |= dict.fromkeys(["activation", "activation_bits", "activation_surrogate"], "network")
OWNERS |= dict.fromkeys(["seed", "seeds", "steps", "epochs", "batch"], "runs")
OWNERS |= dict.fromkeys(["pretrain_steps", "pretrain_epochs"], "runs")
OWNERS |= dict.fromkeys(["data", "augment", "backend", "rng", "dtype", "workers"])
OWNERS |= dict.fromkeys(["out", "records", "loss_examples", "checkpoint_every"])
OWNERS |= dict.fromkeys(["resume", "json", "quiet"])

IMAGES = SimpleNamespace(x_train=np.zeros((500, 1, 8, 8), np.float32), classes=10)


def parts(settings):
    """Everything that a training command builds from its settings, in words."""
    settings = DEFAULTS | {"steps": None, "epochs": 3, "hidden": "9,8"} | settings
    runs = planning.plan(settings, 500)
    trained = [run for run in runs if not run.pretraining]
    network = planning.build_network(settings, IMAGES)
    objective = planning.build_objective(settings, network)
    weights = planning.weights(network)
    return {
        "estimator": {repr(run.estimator) for run in trained},
        "optimizer": {repr(run.optimizer) for run in trained},
        "quantizer": repr(objective.quantizer),
        "loss": repr(objective.loss),
        "quantized": [weights[end] in objective.quantized for end in (0, 1, -1)],
        "network": {name: repr(layer) for name, layer in network.layers.items()},
        "runs": {(run.pretraining, run.seed, run.steps) for run in runs},
    }


def combinations():
    """Settings that choose every member of every kind of part at least once."""
    most = max(len(kind.choices) for kind in KINDS.values())
    columns = [islice(cycle(kind.choices), most) for kind in KINDS.values()]
    chosen = [dict(zip(KINDS, names, strict=True)) for names in zip(*columns, strict=True)]
    return [names | {"estimator": [names["estimator"]], "n": [1]} for names in chosen]


COMBINATIONS = combinations()


@cache
def plain(index):
    """The parts of one combination without any other flag."""
    return parts(COMBINATIONS[index])


def reached(flag, index):
    """The parts of one combination that change when a flag is given."""
    before, after = plain(index), parts(COMBINATIONS[index] | {flag: VALUES[flag]})
    return {name for name in before if before[name] != after[name]}


def everywhere(flag):
    """The parts that a flag changes in any combination."""
    return set().union(*(reached(flag, index) for index in range(len(COMBINATIONS))))


def test_the_tables_know_every_flag():
    """A new flag must say here, with a value, what it reaches; no setting stands in two kinds."""
    assert set(DEFAULTS) == set(VALUES) == set(OWNERS)
    assert all(VALUES[name] != DEFAULTS[name] for name in DEFAULTS)
    owned = [setting for kind in KINDS.values() for setting in kind.fields]
    assert len(owned) == len(set(owned)) and set(owned) | {"hidden"} == set(TAKERS)
    assert all(takers for _, takers in TAKERS.values())


@pytest.mark.parametrize("flag", sorted(VALUES))
def test_a_flag_reaches_its_own_part_and_no_other(flag):
    """With every member of every kind in turn; a part that does not take it stays as it is."""
    owner = OWNERS[flag]
    assert everywhere(flag) == (set() if owner is None else {owner})
    if flag in TAKERS:
        kind, takers = TAKERS[flag]
        for index, chosen in enumerate(COMBINATIONS):
            if not set(takers) & set(planning.chosen_names(kind, chosen)):
                assert reached(flag, index) == set()


def test_one_dictionary_for_all_parts_would_be_noticed(monkeypatch):
    """Negative control: where optimisers, too, take what is called like a field of theirs."""
    kind = KINDS["optimizer"]
    flat = kind._replace(fields=kind.fields | {"eps": "eps"})
    monkeypatch.setitem(planning.KINDS, "optimizer", flat)
    plain.cache_clear()
    assert everywhere("eps") == {"estimator", "optimizer"}
    plain.cache_clear()


# What a command builds without flags, where that differs from the class's own defaults.
OTHER_DEFAULTS = {
    ("estimator", "fogzo", "beta_schedule"): ("linear", "constant"),
    ("quantizer", "dorefa", "bits"): (2, 1),
    ("activation", "sign", "surrogate"): ("hardtanh", "identity"),
    ("activation", "midrise", "surrogate"): ("hardtanh", "identity"),
    ("activation", "midtread", "surrogate"): ("hardtanh", "identity"),
}


def test_defaults_of_the_command_and_of_the_classes():
    """They are the same, but for what `--help` shows as a default of its own."""
    found = {}
    for kind, (choices, fields) in KINDS.items():
        for name, cls in choices.items() if fields else ():
            part = planning.build(kind, name, DEFAULTS | {"n": 1})
            for field in planning.settable(cls):
                ours, theirs = getattr(part, field), getattr(cls(), field)
                if ours != theirs:
                    found[kind, name, field] = (ours, theirs)
    assert found == OTHER_DEFAULTS


@pytest.mark.parametrize("control", [FastOnly, FSGGain, FSGAverage])
def test_a_control_stays_one(control):
    """--slow-net is of fsg: it cannot make the control without a slow-net one with it."""
    with pytest.raises(TypeError, match="slow_net"):
        control(slow_net="mamba")
    assert control().slow_net != "mamba"
    assert TAKERS["slow_net"] == ("estimator", ["fsg", "fsg-scaled"])
    assert FSG(slow_net="lstm").slow_net == FSGScaled(slow_net="lstm").slow_net == "lstm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small data set in IDX files."""
    return write_corners(tmp_path_factory.mktemp("flags"), 8)


@pytest.fixture
def call(folder, command):
    """call(*flags, main=mnist.main) -> (exit code, stdout, stderr)."""

    def run(*flags, main=mnist.main):
        return command(main, "--data", folder, "--batch", 30, "--quiet", *flags)

    return run


def test_the_perturbation_of_spsa_leaves_adam_alone(call, tmp_path):
    """The STE ends with the same bits whether n-SPSA beside it has an eps or not."""

    def shas(out, *flags):
        own = ("--estimator", "ste", "--estimator", "spsa", "--n", 1, "--steps", 20, "--json")
        code, text, err = call(*own, "--out", out, *flags)
        assert code == 0, err
        return [json.loads(line)["theta_sha256"] for line in text.splitlines()]

    plain_ste, plain_spsa = shas("a")
    ste, spsa = shas("b", "--eps", 0.05)
    assert ste == plain_ste and spsa != plain_spsa
    assert planning.build_optimizers(DEFAULTS | {"eps": 0.05}) == [Adam()]


# Every setting that not every choice of its kind takes, with the first choice that does not.
USELESS = {
    setting: next(name for name in KINDS[kind].choices if name not in takers)
    for setting, (kind, takers) in TAKERS.items()
    if len(takers) < len(KINDS[kind].choices)
}


@pytest.mark.parametrize("setting", sorted(USELESS))
def test_a_flag_without_effect_is_refused(call, tmp_path, setting):
    """In one sentence that says what it has no effect with, and who takes it."""
    (kind, takers), other = TAKERS[setting], USELESS[setting]
    given = planning.in_flags(setting, VALUES[setting])
    code, out, err = call("--" + kind, other, *given.split())
    assert (code, out) == (2, "") and list(tmp_path.iterdir()) == []
    assert err == (
        f"minizo: {given} has no effect with --{kind} {other}; leave it out, or choose --{kind} "
        f"{' | '.join(takers)}\n"
    )


def test_it_is_enough_that_one_of_several_takes_it(call):
    """And what none takes names all of them; a default of the command is chosen, too."""
    several = ("--estimator", "ste", "--estimator", "parq")
    code, _, err = call(*several, "--beta", 0.5)
    assert code == 2
    assert "--beta 0.5 has no effect with --estimator ste --estimator parq; leave it out" in err
    assert call(*several, "--steepness", 5, "--steps", 2)[0] == 0
    code, _, err = call("--bits", 3, main=cifar.main)
    assert code == 2 and "--bits 3 has no effect with --quantizer sign;" in err


TWICE = [
    ("--seed 1 --seeds 3", "--seed and --seeds both say which seeds; give one of them"),
    ("--lr .1 --lr-grid .1,.3", "--lr and --lr-grid both say which learning rates; give one"),
    ("--steps 3 --epochs 2", "--steps and --epochs both say how long; give one of them"),
    ("--out a --resume b", "--out and --resume both say which folder; give one of them"),
    ("--seeds 2 --checkpoint-every 5", "--checkpoint-every is 5, but runs that are trained"),
]


@pytest.mark.parametrize("flags, sentence", TWICE, ids=[flags for flags, _ in TWICE])
def test_of_two_flags_none_is_dropped_in_silence(call, tmp_path, flags, sentence):
    code, out, err = call(*flags.split())
    assert (code, out) == (2, "") and sentence in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


COMMANDS = {
    "mnist": (mnist.main, "--seed 0 --estimat ste"),
    "cifar": (cifar.main, "--epoch 2"),
    "compute796": (compute796.main, "--seed 5"),
    "fsg": (fsg.main, "--seed 5"),
    "mnist_grid": (mnist_grid.main, "--seed 5"),
    "proxquant": (proxquant.main, "--seed 5"),
    "zoo": (zoo.main, "--seed 5"),
    "bench": (bench.main, "step --round 2"),
    "export": (export.main, "run --ou there"),
    "gallery": (gallery.main, "--pict file"),
    "lab": (partial(runner.main, EXPERIMENTS, PARTS), "A-1 --larg"),
    "microscope": (microscope.main, "--draw 3"),
}


@pytest.mark.parametrize("main, flags", COMMANDS.values(), ids=COMMANDS)
def test_flags_are_written_out(command, tmp_path, main, flags):
    """In no command does --seed 5 pass for --seeds 5, which is five seeds."""
    code, out, err = command(main, *flags.split())
    assert (code, out) == (2, "") and "unrecognized arguments" in err
    assert list(tmp_path.iterdir()) == []


def test_resuming_refuses_settings_it_does_not_know(call, tmp_path):
    """A setting of another version must not be left out in silence: that is another run."""
    assert call("--estimator", "ste", "--steps", 3, "--out", "run")[0] == 0
    path = tmp_path / "run" / "settings.json"
    whole = json.loads(path.read_text())
    more = whole["settings"] | {"weight_decay": 0.1}
    path.write_text(json.dumps(whole | {"version": "9.9", "settings": more}))
    code, out, err = call("--resume", "run")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "minizo 9.9 made that run with settings that minizo" in err and "weight_decay" in err
    for broken in ["text"], "text", None:
        path.write_text(json.dumps(whole | {"settings": broken}))
        code, _, err = call("--resume", "run")
        assert code == 2 and "there is no readable settings.json in it" in err
    path.write_text(json.dumps(whole))
    assert call("--resume", "run")[0] == 0

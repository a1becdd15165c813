"""Settings of a command: in layers, each over the one below; in files, of a run or of a person."""

import json

import pytest

from minizo import cifar, mnist
from minizo.commands.flags import FLAGS, value
from minizo.commands.settings import DEFAULTS, Settings
from minizo.commands.sources import of_folder, settled

# A value of every flag that is no run's default, as typed.
VALUES = {
    "estimator": ["parq", "fogzo:n=3"], "n": ["3"], "beta": ["0.5", ".9"], "quantizer": ["sign"],
    "optimizer": ["momentum:mu=.8"], "lr": [".02", ".03"], "seed": ["5", "6"], "seeds": "2",
    "model": "lenet:channels=3,4", "activation": "midtread:bits=3", "quantize": "inner",
    "loss": "mse", "steps": "7", "epochs": "2", "batch": "50", "augment": "crop",
    "start": "pretrain:steps=4", "data": "synthetic", "backend": "auto",
    "rng": "host", "dtype": "float64", "workers": "3", "out": "there", "records": "5",
    "loss_examples": "60", "checkpoint_every": "9", "resume": "here", "settings": "file",
    "json": True, "quiet": True, "standardize": True,
    "init_scale": ["2", ".5"], "tune": ["lr", "beta"], "tuning_seeds": "3", "reference": "STE",
    "equal": ["compute"], "measure": "test_loss",
    "context": "9", "words": "50", "full_precision": "yes", "sample": "To be",
}  # fmt: skip
SHORT = {"n": "estimator", "beta": "estimator", "lr": "optimizer"}
FOLLOWED = ("settings", "resume")  # they are read, not kept


def of(**given):
    return settled(DEFAULTS, given)


def names(settings, kind="estimator"):
    return [part.brief().flag.partition(" ")[2] for part in getattr(settings, kind)]


def changed(name):
    """The fields of the settings that a flag changes."""
    plain, other = of(), of(**{name: VALUES[name]})
    fields = Settings.__dataclass_fields__
    return {field for field in fields if getattr(plain, field) != getattr(other, field)}


def test_every_flag_is_here():
    assert set(VALUES) == set(FLAGS)


@pytest.mark.parametrize("name", [name for name in FLAGS if name not in FOLLOWED])
def test_a_flag_reaches_its_own_section(name):
    also = {"epochs": {"steps"}, "seeds": {"seed"}}.get(name, set())
    assert changed(name) == {SHORT.get(name, name)} | also


LAYERS = [
    ({}, ["ste", "normalised-ste", "spsa", "spsa:n=10", "fogzo", "fogzo:n=10"]),
    ({"n": ["5"]}, ["ste", "normalised-ste", "spsa:n=5", "fogzo:n=5"]),
    ({"n": ["1", "5"], "beta": [".5"]},
     ["ste", "normalised-ste", "spsa", "spsa:n=5", "fogzo:beta=0.5", "fogzo:n=5,beta=0.5"]),
    ({"estimator": ["fogzo"]}, ["fogzo"]),
    ({"estimator": ["FOGZO"], "n": ["1", "10"]}, ["fogzo", "fogzo:n=10"]),
    ({"estimator": ["fogzo:n=3", "spsa", "ste"], "n": ["7"]}, ["fogzo:n=3", "spsa:n=7", "ste"]),
    ({"estimator": ["fogzo:beta=.9", "fogzo:beta=.99"]}, ["fogzo:beta=0.9", "fogzo:beta=0.99"]),
    ({"estimator": ["ste", "STE", "fogzo:n=1", "fogzo"]}, ["ste", "fogzo"]),
]  # fmt: skip


@pytest.mark.parametrize("given, expected", LAYERS)
def test_short_flags_are_settings_of_parts(given, expected):
    """They fill in what is not stated, and take the place of what the default line-up says."""
    assert names(of(**given)) == expected


def test_learning_rates_and_seeds():
    settings = of(optimizer=["sgd", "adam:lr=.5"], lr=[".1", ".3"], seeds="3")
    assert names(settings, "optimizer") == ["sgd", "sgd:lr=0.3", "adam:lr=0.5"]
    assert settings.all_seeds == (0, 1, 2) and settings.together
    assert of(seed=["4", "2", "4"]).all_seeds == (4, 2) and not of(seed=["4"]).together


@pytest.mark.parametrize(
    "name, commas",
    [
        ("lr", [".003,.01,.03"]),
        ("lr", [".003,.01", ".03"]),
        ("lr", [".003, .01 ,.03", ".01"]),
        ("seed", ["0,1,2"]),
        ("n", ["1,10"]),
        ("beta", ["0.5,.9"]),
    ],
)
def test_commas_are_spaces_between_numbers(name, commas):
    """From flags and from a file; parts have commas of their own."""
    spaces = list(dict.fromkeys(piece.strip() for text in commas for piece in text.split(",")))
    assert value(name, commas) == value(name, spaces) and len(spaces) > 1
    assert value(name, ",".join(commas)) == value(name, spaces)
    assert of(**{name: commas}) == of(**{name: spaces})
    assert len(value("estimator", ["fogzo:n=10,beta=.5"])) == 1


@pytest.fixture
def call(corners, command):
    """call(*flags, main=mnist.main) -> (exit code, stdout, stderr)."""

    def run(*flags, main=mnist.main):
        return command(main, "--data", corners, "--batch", 30, "--quiet", *flags)

    return run


def rows(call, *flags):
    code, out, err = call("--json", *flags)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def shas(call, *flags):
    return [(row["label"], row["theta_sha256"]) for row in rows(call, *flags)]


LINE_UPS = {
    "defaults": ("--n", 2),
    "parts": ("--estimator", "fogzo:beta=.9,n=2", "parq:freeze=.5", "--quantizer", "lsq", "sign",
              "--activation", "midtread:bits=3", "--model", "mlp:hidden=7,5", "--lr", ".02"),
    "sweep": ("--estimator", "ste", "--seeds", 2, "--lr", ".01", ".02"),
    "epochs": ("--estimator", "proxconnect:lam=inf,homotopy=constant", "--epochs", 1,
               "--start", "pretrain:steps=2", "--optimizer", "sgd"),
}  # fmt: skip


@pytest.mark.parametrize("name", LINE_UPS)
def test_a_run_folder_s_settings_are_given_back(call, tmp_path, name):
    """The same bits; the settings that the second run keeps are those of the first."""
    flags = LINE_UPS[name]
    flags += () if "--epochs" in flags else ("--steps", 4)
    if name == "parts":  # which learns no step
        flags = tuple("midrise" if flag == "lsq" else flag for flag in flags)
    first = shas(call, *flags, "--out", "first")
    for i, file in enumerate(("first/settings.json", "first")):
        assert shas(call, "--settings", file, "--out", f"again{i}") == first
        kept = [json.loads((tmp_path / f / "settings.json").read_text())["settings"]
                for f in ("first", f"again{i}")]  # fmt: skip
        assert kept[0] == kept[1]
    assert of_folder(tmp_path / "first").kept() == kept[0]


def test_flags_replace_what_the_file_says(call, tmp_path):
    first = shas(call, "--estimator", "fogzo:n=2,beta=.9", "--steps", 4, "--out", "first")
    other = shas(call, "--settings", "first", "--n", 3, "--lr", ".02", "--out", "second")
    flags = ("--estimator", "fogzo:n=3,beta=.9", "--optimizer", "adam:lr=.02", "--steps", 4)
    assert other == shas(call, *flags, "--out", "third") != first
    assert rows(call, "--settings", "first", "--epochs", 1, "--out", "4")[0]["steps"] == 10


def test_a_file_that_a_person_wrote(call, tmp_path):
    """Names and texts as on the command line, or sections; keys as flags or as fields."""
    (tmp_path / "mine.json").write_text(json.dumps({
        "estimator": ["fogzo:n=2", {"name": "SPSA", "n": 3}], "lr": [0.01, ".02"],
        "model": {"name": "mlp", "hidden": [7]}, "steps": 4, "start": "pretrain:steps=2", "seed": 3,
    }))  # fmt: skip
    found = rows(call, "--settings", "mine.json")
    assert [row["label"] for row in found] == [
        "pre-training", "FOGZO n=2, lr 0.01", "FOGZO n=2, lr 0.02", "n-SPSA n=3, lr 0.01",
        "n-SPSA n=3, lr 0.02",
    ]  # fmt: skip
    assert {row["seed"] for row in found} == {3}


WRONG = [
    ("{", "is no JSON: "),
    ("[]", 'must hold one object of settings, such as {"estimator"'),
    ('{"settings": 3}', "must hold one object of settings"),
    ('{"estimater": "ste"}', "has no setting 'estimater'; did you mean 'estimator'?"),
    ('{"out": "there"}', "has no setting 'out'"),
    ('{"estimator": "fogso"}', "did you mean 'fogzo'?"),
    ('{"estimator": {"n": 3}}', "estimator: a section needs a name"),
    ('{"estimator": []}', "--estimator has no value"),
    ('{"steps": "many"}', "--steps is 'many', but it must be a whole number"),
    ('{"steps": 2.5}', "--steps is 2.5"),
    ('{"steps": true}', "--steps is True"),
    ('{"steps": [3, 4]}', "--steps is [3, 4], but it takes one value"),
    ('{"data": 3}', "--data is 3, but it must be a text"),
    ('{"steps": 3, "epochs": 2}', "--steps and --epochs both say how long"),
    ('{"version": "9.9", "settings": {"decay": 1}}', "(minizo 9.9 wrote it)"),
]


@pytest.mark.parametrize("text, sentence", WRONG, ids=[text for text, _ in WRONG])
def test_wrong_files_are_one_sentence(call, tmp_path, text, sentence):
    (tmp_path / "mine.json").write_text(text)
    code, out, err = call("--settings", "mine.json")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert err.startswith("minizo: --settings mine.json") and sentence in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_resuming_refuses_settings_it_does_not_know(call, tmp_path):
    """A setting of another version must not be left out in silence: that is another run."""
    assert call("--estimator", "ste", "--steps", 3, "--out", "run")[0] == 0
    path = tmp_path / "run" / "settings.json"
    whole = json.loads(path.read_text())
    more = whole["settings"] | {"weight_decay": 0.1}
    path.write_text(json.dumps(whole | {"version": "9.9", "settings": more}))
    code, out, err = call("--resume", "run")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "has no setting 'weight_decay'" in err and "(minizo 9.9 wrote it)" in err
    for broken in ["text"], "text", 3:
        path.write_text(json.dumps(whole | {"settings": broken}))
        code, _, err = call("--resume", "run")
        assert code == 2 and "must hold one object of settings" in err
    path.write_text(json.dumps(whole))
    assert call("--resume", "run")[0] == 0


def test_the_commands_have_defaults_of_their_own(call):
    code, _, err = call("--beta", 0.5, main=cifar.main)
    assert code == 2 and "--beta 0.5 has no effect with --estimator ste; leave it out, or" in err

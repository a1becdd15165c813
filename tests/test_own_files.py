"""A user's own file: neighbours, processes, effects of loading it, settings from it, SHA-256."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from minizo import InputError, mnist
from minizo.commands import own, parts
from minizo.commands.own import FILE
from minizo.commands.settings import DEFAULTS
from minizo.commands.sources import of_folder, settled

LAW = """
from dataclasses import dataclass
from math import sqrt

import numpy as np
from minizo.laws import LAWS, Law
from minizo.surrogates import SURROGATES, Surrogate

_uniform = LAWS["uniform"]

@dataclass(frozen=True)
class Flat(Law):
    name: str = "flat"
    sample: object = _uniform.sample
    pdf: object = _uniform.pdf
    zero_bias_pdf: object = _uniform.zero_bias_pdf
    kurtosis: float = 1.8

ready = Law("ready", _uniform.sample, _uniform.pdf, _uniform.zero_bias_pdf, 1.8)
slope = SURROGATES["tanh"]

class NoLaw:
    pass

class Wants(Law):
    pass

def half(progress):
    return 1.0 - 0.5 * progress
"""
RULE = """
from my_neighbour import FACTOR
from minizo import STE

class Scaled(STE):
    def estimate(self, objective, theta, batch, state, step):
        estimate, state = super().estimate(objective, theta, batch, state, step)
        return estimate._replace(grad=FACTOR * estimate.grad), state
"""
MODULES = ("my_law", "my_neighbour", "my_near", "my_effect", "my_moved")


@pytest.fixture
def call(corners, command, tmp_path):
    """call(*flags) in a folder with files of one's own -> (exit code, stdout, stderr)."""
    (tmp_path / "my_law.py").write_text(LAW)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "my_near.py").write_text(RULE)
    (tmp_path / "near" / "my_neighbour.py").write_text("FACTOR = 0.5\n")

    def run(*flags):
        flags = ("--steps", 4, "--batch", 30, "--quiet", *flags)
        return command(mnist.main, *flags, *(() if "--resume" in flags else ("--data", corners)))

    yield run
    for name in MODULES:
        sys.modules.pop(name, None)


def rows(call, *flags):
    code, out, err = call("--json", *flags)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


# Paths, names, and what follows them


@pytest.mark.parametrize(
    "text, path, name, rest",
    [
        ("my_rule.py:Rule", "my_rule.py", "Rule", None),
        ("a/b.py:Rule,n=10,law=my_law.py:Tent", "a/b.py", "Rule", "n=10,law=my_law.py:Tent"),
        ("C:\\rules\\my.py:Rule:n=3", "C:\\rules\\my.py", "Rule", "n=3"),
        ("lr=0.1/my.py:Rule", "lr=0.1/my.py", "Rule", None),
    ],
)
def test_what_a_file_is(text, path, name, rest):
    match = FILE.fullmatch(text)
    assert (match["path"], match["name"], match["rest"]) == (path, name, rest)


@pytest.mark.parametrize(
    "text",
    ["spsa:n=10,law=my_law.py:Tent", "spsa,law=my_law.py:Tent", "fogzo:eps-scale=2,law=a.py:B"],
)
def test_settings_of_a_part_are_no_path(text):
    assert FILE.fullmatch(text) is None


def test_a_setting_keeps_its_text(call):
    """Case and all, wherever it stands; as a section, and on the command line again."""
    for text in ("spsa:n=3,law=my_law.py:Flat", "spsa:law=my_law.py:Flat,n=3"):
        part = parts.read("estimator", text)
        assert part.get("law") == "my_law.py:Flat" and part.get("n") == 3
        assert str(part) == text and part.files == ["my_law.py"]
        assert parts.read("estimator", part.section()) == part
    assert parts.read("estimator", "near/my_near.py:Scaled").files == ["near/my_near.py"]
    assert parts.read("estimator", "spsa:n=3").files == []


# Objects for settings


def test_a_law_from_a_file(call):
    """A class is built and an object taken: the bits of the law that they are made of."""
    found = rows(call, "--estimator", "spsa:n=3,law=my_law.py:Flat", "spsa:n=3,law=my_law.py:ready",
                 "spsa:n=3,law=uniform", "spsa:n=3,law=gaussian", "--out", "run")  # fmt: skip
    shas = [row["theta_sha256"] for row in found]
    assert shas[0] == shas[1] == shas[2] != shas[3]
    assert found[0]["label"] == "n-SPSA n=3, law my_law.py:Flat"
    stored = json.loads(open_text("run/settings.json"))
    assert stored["settings"]["estimator"][0]["law"] == "my_law.py:Flat"
    again = rows(call, "--settings", "run", "--out", "again")
    assert [row["theta_sha256"] for row in again] == shas


def open_text(path):
    with open(path) as file:
        return file.read()


def test_any_setting_that_takes_an_object(call):
    """A surrogate and a schedule, which is a function and is not called."""
    flags = ("--estimator", "fogzo:beta-schedule=my_law.py:half", "fogzo:beta-schedule=constant")
    found = rows(
        call, *flags, "--quantizer", "sign:surrogate=my_law.py:slope", "sign:surrogate=tanh"
    )
    shas = [row["theta_sha256"] for row in found]
    assert shas[:2] == shas[2:] and shas[0] != shas[1]


WRONG = [
    (
        "spsa:law=my_law.py:Flatt",
        "spsa: law my_law.py:Flatt: my_law.py has no 'Flatt'; did you mean",
    ),
    ("spsa:law=my_law.py:rady", "has no 'rady'; did you mean 'ready'? (it has "),
    ("spsa:law=none.py:Flat", "spsa: law none.py: there is no such file"),
    ("spsa:law=my_law.py:NoLaw", "law is a NoLaw, but it must be a Law, or one of the names gauss"),
    ("spsa:law=my_law.py:half", "law is the function half, but it must be a Law, or one of the na"),
    ("spsa:law=my_law.py:Wants", "law my_law.py:Wants: TypeError: Law.__init__() missing 5 requir"),
    ("spsa:n=my_law.py:Flat", "SPSA.n is Flat(name='flat', sample="),
    ("fogzo:beta_schedule=my_law.py:NoLaw", "beta_schedule is a NoLaw, but it must be a function"),
]


@pytest.mark.parametrize("part, sentence", WRONG, ids=[part for part, _ in WRONG])
def test_a_wrong_object_is_one_sentence(call, part, sentence):
    code, out, err = call("--estimator", part)
    assert (code, out) == (2, "") and sentence in err, err
    assert len(err.splitlines()) == 1


# What loading a file does

EFFECTS = [
    ("print('hello')\nprint('again')", "prints 'hello' when it is loaded; put what the file runs"),
    (f"print('{'long ' * 30}')", f"prints '{('long ' * 30)[:40]}...' when it is loaded"),
    ("import numpy as np\nnp.random.seed(3)", "changes NumPy's global random state when it is lo"),
    ("import numpy\nx = numpy.random.rand()", "draw from np.random.default_rng(seed), or put wha"),
    ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
    ("import minizo\nminizo.SPSA(n=0)", "line 2: InputError: SPSA.n is 0, but it must be"),
]


@pytest.mark.parametrize("text, sentence", EFFECTS, ids=[text[:20] for text, _ in EFFECTS])
def test_effects_of_loading_are_refused(call, tmp_path, text, sentence):
    """In one sentence that names the file; the state of NumPy is as it was."""
    (tmp_path / "my_effect.py").write_text(f"{text}\nfrom minizo import STE\n")
    np.random.seed(8)
    code, out, err = call("--estimator", "my_effect.py:STE")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert err.startswith("minizo: --estimator my_effect.py") and sentence in err, err
    assert "my_effect" not in sys.modules
    drawn = np.random.rand()
    np.random.seed(8)
    assert drawn == np.random.rand()


def test_without_effects_a_file_is_taken(call, tmp_path):
    """Negative control: a stream of its own, standard error, and what stands under main."""
    (tmp_path / "my_effect.py").write_text(
        "import sys\nimport numpy as np\nx = np.random.default_rng(0).random()\n"
        "print('for people', file=sys.stderr)\nif __name__ == '__main__':\n    print('no')\n"
        "from minizo import STE\n"
    )
    assert rows(call, "--estimator", "my_effect.py:STE")[0]["label"] == "STE"


# Neighbours and other processes


def test_a_file_imports_its_neighbours(call, tmp_path):
    """Its folder is the last place that is looked at, once."""
    before = list(sys.path)
    assert rows(call, "--estimator", "near/my_near.py:Scaled")
    assert sys.path == [*before, str(tmp_path / "near")]
    assert rows(call, "--estimator", "near/my_near.py:Scaled")
    assert sys.path == [*before, str(tmp_path / "near")]


PROCESSES = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from minizo.commands import parts

def name(rule):
    return type(rule).__name__, type(rule).__module__

if __name__ == "__main__":
    rule = parts.build(parts.read("estimator", sys.argv[1]))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        print(*pool.submit(name, rule).result())
"""


def test_a_worker_process_finds_it_from_any_folder(call, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "script.py").write_text(PROCESSES)
    done = subprocess.run(
        [sys.executable, "script.py", "../near/my_near.py:Scaled"], capture_output=True, text=True,
        cwd=tmp_path / "elsewhere",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Scaled my_near\n"), done.stderr


# The SHA-256 of a file


def test_settings_know_the_files(call, tmp_path):
    """Of parts and of their settings, as given; none without own files."""
    flags = ("--estimator", "near/my_near.py:Scaled", "spsa:law=my_law.py:Flat")
    rows(call, *flags, "--out", "run")
    stored = json.loads(open_text("run/settings.json"))
    assert stored["files"] == {
        path: hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
        for path in ("near/my_near.py", "my_law.py")
    }
    rows(call, "--estimator", "ste", "--out", "plain")
    assert json.loads(open_text("plain/settings.json"))["files"] == {}
    assert settled(DEFAULTS, {}).files == {}


@pytest.mark.parametrize("flags", [["my_law.py:Other"], ["ste", "spsa:law=my_law.py:ready"]])
def test_a_changed_file_is_not_resumed(call, tmp_path, flags):
    """--resume refuses and names the file; --settings starts anew; the file put back goes on."""
    text = LAW + "\nfrom minizo import STE as Other\n"
    (tmp_path / "my_law.py").write_text(text)
    shas = [row["theta_sha256"] for row in rows(call, "--estimator", *flags, "--out", "run")]
    (tmp_path / "my_law.py").write_text(text + "# a remark\n")
    code, out, err = call("--resume", "run")
    assert (code, out) == (2, "") and err == (
        "minizo: --resume run: my_law.py has changed since the run was started; put it back as it "
        "was, or start a new run\n"
    )
    assert [row["theta_sha256"] for row in rows(call, "--settings", "run", "--out", "new")] == shas
    (tmp_path / "my_law.py").write_text(text)
    assert [row["theta_sha256"] for row in rows(call, "--resume", "run")] == shas
    assert of_folder("run").files.keys() == {"my_law.py"}
    (tmp_path / "my_law.py").unlink()
    code, _, err = call("--resume", "run")
    assert code == 2 and "my_law.py: No such file or directory; give a path from this folder" in err


def test_settings_of_an_earlier_version_are_resumed(call, tmp_path):
    """They have no key of that name."""
    rows(call, "--estimator", "ste", "--out", "run")
    stored = json.loads(open_text("run/settings.json"))
    del stored["files"]
    (tmp_path / "run" / "settings.json").write_text(json.dumps(stored))
    assert rows(call, "--resume", "run")


def test_a_file_that_cannot_be_read():
    with pytest.raises(InputError, match="nowhere.py: No such file or directory; give a path from"):
        own.digest("nowhere.py")


def test_a_setting_without_a_dataclass_is_told_what_it_lacks(command, tmp_path):
    """The most likely mistake of a first rule: the class states a default, and no field."""
    (tmp_path / "my_plain.py").write_text(
        "from minizo import STE\n\n\nclass Plain(STE):\n    mu: float = 0.9\n"
    )
    code, _, err = command(mnist.main, "--estimator", "my_plain.py:Plain,mu=.5", "--quiet")
    assert code == 2 and "write @dataclass(frozen=True) above its class, and 'mu: type'" in err

"""``--help``, ``--help PART``, ``--version`` and unknown flags, of every command."""

import re
from functools import partial

import pytest

import minizo
from minizo import __main__ as listing
from minizo import cifar, gallery, learn, mnist, quantizers, text
from minizo.bench import __main__ as bench
from minizo.commands import explain, parts
from minizo.commands.flags import FLAGS, IMAGES, TEXT, written
from minizo.compare import command as compare
from minizo.errors import SYNONYMS
from minizo.export import __main__ as export
from minizo.lab import microscope, runner
from minizo.lab.experiments import EXPERIMENTS, PARTS
from minizo.laws import LAWS
from minizo.models import MODELS
from minizo.reproduce import compute796, fsg, mnist_grid, proxquant, transformers, zoo
from minizo.surrogates import SURROGATES

MEMBERS = [parts.Part(kind, name) for kind in parts.KINDS for name in parts.KINDS[kind].choices]
NAMES = sorted({part.name for part in MEMBERS})
# every command, and a flag that begins as one of its own
COMMANDS = {
    "mnist": (mnist.main, "--seed 0 --estimat ste"),
    "cifar": (cifar.main, "--epoch 2"),
    "text": (text.main, "--sampl ROMEO"),
    "compare": (compare.main, "--tuning-seed 5"),
    "compute796": (compute796.main, "--seed 5"),
    "fsg": (fsg.main, "--seed 5"),
    "mnist_grid": (mnist_grid.main, "--seed 5"),
    "proxquant": (proxquant.main, "--seed 5"),
    "transformers": (transformers.main, "--seed 5"),
    "zoo": (zoo.main, "--seed 5"),
    "bench": (bench.main, "step --round 2"),
    "export": (export.main, "run --ou there"),
    "gallery": (gallery.main, "--pict file"),
    "lab": (partial(runner.main, EXPERIMENTS, PARTS), "A-1 --larg"),
    "microscope": (microscope.main, "--draw 3"),
    "learn": (learn.main, "--no-ope"),
    "minizo": (listing.main, "--versio"),
}
EVERY = pytest.mark.parametrize("main, flags", COMMANDS.values(), ids=COMMANDS)


@EVERY
def test_flags_are_written_out(command, tmp_path, main, flags):
    """In no command does --seed 5 pass for --seeds 5, which is five seeds."""
    code, out, err = command(main, *flags.split())
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "unknown flag --" in err and "; did you mean --" in err
    assert list(tmp_path.iterdir()) == []


@EVERY
def test_version(command, main, flags):
    assert command(main, "--version") == (0, f"minizo {minizo.__version__}\n", "")


@EVERY
def test_help_fits_80_columns(command, main, flags):
    code, out, err = command(main, "--help")
    assert (code, err) == (0, "") and out.startswith(("usage: python -m minizo.", "usage: minizo "))
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("main", [mnist.main, cifar.main, text.main])
def test_help_of_the_training_commands(command, main):
    """Every flag with its default, 35 at most; the short ones that people type are among them."""
    _, out, _ = command(main, "--help")
    kind = TEXT if main is text.main else IMAGES
    own = sum(not flag.only or kind in flag.only for flag in FLAGS.values())
    assert own + len(["--help", "--version"]) <= 35
    short = "n beta lr steps epochs batch seeds data model backend out resume json quiet".split()
    assert set(short) < set(FLAGS)
    for name, flag in FLAGS.items():
        shown = re.search(f"  {written(name)}[ ,\n]", out) is not None
        assert shown == (not flag.only or kind in flag.only), name
    default = {cifar.main: "6", mnist.main: "1200", text.main: "1500"}[main]
    words = " ".join(out.split())
    assert f"(default: {default})" in words and "(default: adam" in words and "fsg-ema" in words


def test_help_says_how_the_papers_train(command):
    out = " ".join(command(cifar.main, "--help")[1].split())
    assert "--model resnet20 --epochs 100 --batch 128 --augment crop-flip" in out


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_part(command, name):
    """Its settings, each with its default and what it means, from the docstrings."""
    code, out, err = command(mnist.main, "--help", name.upper())
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    for part in (p for p in MEMBERS if p.name == name):
        thing = parts.thing(part)
        assert f"--{part.kind} {name}" in out and explain.summary(thing) in text
        for setting, default in parts.defaults(part).items():
            meaning = explain.meanings(thing)[setting][1]
            assert len(meaning) > 5 and " ".join(meaning.rstrip(".").split()) in text, setting
            assert f"(default: {parts.in_text(default)})" in text


@pytest.mark.parametrize("kind", parts.KINDS)
def test_help_of_a_kind(command, kind):
    for word in kind, f"{kind}es" if kind == "loss" else f"{kind}s", f"--{kind}":
        code, out, _ = command(mnist.main, f"--help={word}")
        assert code == 0 and max(map(len, out.splitlines())) <= 80
        known = list(parts.KINDS[kind].choices)
        assert listed(out) == [name for name in known if name not in ("llama", "lstm")]


def listed(out):
    """The names in the help of a kind."""
    return [line.split()[0] for line in out.splitlines()[2:] if not line.startswith(" " * 4)]


def test_help_lists_the_models_that_the_command_can_train(command):
    """And one of the others is still explained, as any part is."""
    names = {main: listed(command(main, "--help", "model")[1])
             for main in (mnist.main, text.main, compare.main)}  # fmt: skip
    assert names[text.main] == ["llama", "lstm"]
    assert names[compare.main] == names[mnist.main] + names[text.main] == list(MODELS)
    assert "--model llama" in command(mnist.main, "--help", "llama")[1]


def test_names_in_docstrings_are_those_of_the_tables():
    """What is named in a sentence, not in braces, is all there is; so are synonyms."""
    surrogate = explain.meanings(quantizers.Sign)["surrogate"][1]
    assert set(surrogate.rstrip(".").partition(": ")[2].split(", ")) == set(SURROGATES)
    law = explain.meanings(minizo.SPSA)["law"][1]
    named = law.partition(": ")[2].partition(", or")[0].split(", ")
    assert set(named) == set(LAWS)
    known = {*NAMES, *LAWS, *SURROGATES, "float32", "float64", "numpy", "cupy", "device"}
    assert {name for names in SYNONYMS.values() for name in names} <= known


def test_what_a_part_says():
    """One whole text, as a reader meets it."""
    assert explain.topic("momentum") == (
        "--optimizer momentum:lr=0.1\n\n"
        "m <- mu m + g; theta <- theta - lr(t) m.\n\n"
        "  lr        The largest learning rate: at the start, or after the warm-up\n"
        "            (default: 0.1)\n"
        "  schedule  How it falls over the run, after the warm-up, to floor lr\n"
        '            ("constant": not at all; see minizo.schedules): constant | linear |\n'
        "            cosine | step | milestones:.3/.6/.9 (default: linear)\n"
        "  mu        Share of the old velocity, in [0, 1) (default: 0.9)\n"
        "  decay     Weight decay, at least 0, of all parameters, biases and norms, too\n"
        "            (default: 0.0)\n"
        "  warmup    Share of the run in which the rate grows from 0, in [0, 1) (default:\n"
        "            0.0)\n"
        "  floor     Share of lr that the rate ends at, in [0, 1] (default: 0.0)\n"
        "  clip      Length of the longest gradient, all parameters together; no limit by\n"
        "            default (default: none)\n"
        "  nesterov  Whether theta moves along g + mu m: the gradient at a point ahead,\n"
        "            in coordinates that move with it (default: false)"
    )


def test_help_of_what_there_is_not(command):
    code, out, err = command(mnist.main, "--help", "fogso")
    assert (code, out) == (2, "") and "did you mean 'fogzo'?" in err
    code, out, err = command(mnist.main, "--help", "binary")
    assert code == 2 and "did you mean 'sign'?" in err


def test_the_listing(command):
    """Every command of the package, and how one is started."""
    code, out, _ = command(listing.main)
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    found = {line[:24].split()[-1] for line in out.splitlines()[2:]}
    assert found == set(COMMANDS) - {"minizo"} | {"nano"}  # which has no flags
    code, out, _ = command(listing.main, "reproduce")
    assert code == 0 and {line.split()[0] for line in out.splitlines()[2:]} == {"reproduce"}
    assert "did you mean 'mnist'?" in command(listing.main, "minst")[2]

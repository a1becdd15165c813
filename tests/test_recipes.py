"""Published recipes: what they say, that they train, and that it is seen where they are left."""

import json
import re

import cifar_files
import numpy as np
import pytest

from minizo import cifar, mnist, text
from minizo.commands import parts, recipes
from minizo.commands.cases import build_network, build_objective, cases
from minizo.commands.settings import DEFAULTS
from minizo.commands.sources import changed, settled
from minizo.compare import command as compare
from minizo.data.dataset import Dataset

EVERY = pytest.mark.parametrize("name", recipes.NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """200 training and 40 test images in CIFAR-10's format, a bright stripe for a label."""
    batches = cifar_files.contents(n=40, test=40)
    return cifar_files.write_folder(tmp_path_factory.mktemp("bars", numbered=False), batches)


def small(name, folder):
    """Flags that make a recipe small: two steps of a narrow network on these images."""
    model = parts.read("model", recipes.read(name).settings["model"]).having("width", 2)
    flags = ["--recipe", name, "--model", model, "--data", folder, "--steps", 2, "--batch", 8]
    first = ["--start", "pretrain:steps=1"] if "start" in recipes.read(name).settings else []
    return [*flags, *first, "--loss-examples", 20, "--records", 1, "--workers", 1]


def of(name, **given):
    return settled(DEFAULTS, {"settings": name, **given})


def built(name):
    """(settings, objective, optimiser) of a recipe at its full size, for CIFAR-10."""
    settings, x = of(name), np.zeros((1, 3, 32, 32), np.float32)
    labels = np.zeros(1, int)
    network = build_network(settings, Dataset("one", x, labels, x, labels, classes=10))
    case = cases(settings)[-1]
    return settings, build_objective(settings, network, case.quantizer), case.optimizer


def test_every_recipe_has_its_file():
    assert {path.stem for path in recipes.FOLDER.iterdir()} == set(recipes.NAMES)


@EVERY
def test_every_setting_says_where_it_comes_from(name):
    recipe = recipes.read(name)
    assert list(recipe.where) == list(recipe.settings) and all(recipe.where.values())
    assert {"model", "quantizer", "quantize", "estimator", "optimizer", "data", "augment", "batch",
            "epochs"} < set(recipe.settings)  # fmt: skip
    assert re.search(r" 20(1|2)\d[,;] ", recipe.source) and "released code" in recipe.source
    assert len(recipe.departures) >= 3
    assert all(line[0].isupper() or line.startswith("t ") for line in recipe.departures)
    assert all(line.endswith(".") for line in recipe.departures)
    assert of(name).recipe == name and changed(of(name)) == []


WEIGHTS = {  # quantised tensors and weights of ResNet-20: 6n + 4 with convolutions as shortcuts
    "metaquant": (22, 270_896),
    "fsg": (20, 270_896 - 432 - 640),
    "proxquant": (20, 270_896 - 16 * 32 - 32 * 64),
    "ir-net": (18, 267_264),
    "rbnn": (18, 267_264),
    "reste": (18, 267_264),
}


@EVERY
def test_which_weights_are_quantised(name):
    _, objective, _ = built(name)
    sizes = [np.prod(objective.network.shapes[weight]) for weight in objective.quantized]
    assert (len(sizes), sum(sizes)) == WEIGHTS[name]


RATES = {  # (epochs, batch), decay, and the rate at some epochs
    "metaquant": ((100, 128), 5e-4, {0: 1e-3, 29: 1e-3, 30: 1e-4, 60: 1e-5, 90: 1e-6}),
    "fsg": ((100, 128), 0.0, {0: 1e-3, 29: 1e-3, 30: 1e-4, 60: 1e-5, 90: 1e-6}),
    "proxquant": ((300, 128), 0.0, {0: 0.01, 299: 0.01}),
    "ir-net": ((400, 128), 1e-4, {0: 0.1, 200: 0.05, 400: 0.0}),
    "rbnn": ((1000, 256), 1e-4, {0: 0.0, 1: 0.02, 5: 0.1, 502.5: 0.05, 1000: 0.0}),
    "reste": ((1000, 256), 1e-4, {0: 0.0, 1: 0.02, 5: 0.1, 502.5: 0.05, 1000: 0.0}),
}


@EVERY
def test_rates_batches_and_decays(name):
    """By hand from the sources, at the beginning of epochs."""
    (epochs, batch), decay, rates = RATES[name]
    settings, _, rule = built(name)
    assert (settings.epochs, settings.batch, rule.decay) == (epochs, batch, decay)
    for epoch, rate in rates.items():
        np.testing.assert_allclose(rule.rate(epoch / epochs), rate, rtol=1e-9, atol=1e-15)


@EVERY
def test_a_recipe_trains_and_says_that_it_does(command, tmp_path, folder, name):
    """Two steps; departures once, in the run folder too; the same again from the folder."""
    flags = small(name, folder)
    code, out, err = command(cifar.main, *flags, "--out", "run")
    assert code == 0
    title = out.splitlines()[0]
    assert f", recipe {name} but for data, batch, epochs, " in title and title.endswith("model")
    first = recipes.read(name).departures[0].split()[0]
    assert err.count(f"the recipe {name} departs") == 1 and f"  - {first}" in err
    assert (tmp_path / "run" / "recipe.txt").read_text() == recipes.explained(name) + "\n"
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["recipe"] == name
    code, out, err = command(cifar.main, "--resume", "run")
    assert (code, out.splitlines()[0]) == (0, title) and "departs" not in err
    code, out, _ = command(cifar.main, "--settings", "run", "--quiet", "--out", "again")
    assert (code, out.splitlines()[0]) == (0, title)
    assert (tmp_path / "again" / "recipe.txt").exists()


def test_flags_replace_what_a_recipe_says(command, tmp_path, folder):
    """And the other spelling of the flag, in other letters; other runs have no recipe."""
    settings = of("IR-Net", optimizer=["sgd:lr=.5"], steps="7", seed=["4"])
    assert changed(settings) == ["epochs", "optimizer"] and settings.recipe == "ir-net"
    assert settings.epochs is None and settings.quantizer[0].name == "irnet"
    plain = ["--data", folder, "--steps", 1, "--batch", 8, "--loss-examples", 8, "--out", "plain"]
    code, out, err = command(mnist.main, *plain, "--estimator", "ste", "--workers", 1)
    assert code == 0 and "recipe" not in out + err
    assert not (tmp_path / "plain" / "recipe.txt").exists()
    assert "recipe" not in json.loads((tmp_path / "plain" / "settings.json").read_text())


def test_a_comparison_follows_a_recipe(command, tmp_path, folder):
    """One that trains from scratch; of the others it says which command is for them."""
    few = ["--seeds", 2, "--tuning-seeds", 1, "--estimator", "ste", "fogzo", "--out", "compared"]
    code, out, err = command(compare.main, *small("ir-net", folder), *few)
    assert code == 0 and "recipe ir-net but for" in out and "departs" in err
    assert (tmp_path / "compared" / "recipe.txt").exists()
    code, out, err = command(compare.main, "--recipe", "metaquant", "--data", folder)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert err.endswith("start it with python -m minizo.cifar --recipe metaquant\n")


@pytest.mark.parametrize(
    "main, flags, sentence",
    [
        (cifar.main, ["--recipe", "metaqant"], "or one of the recipes metaquant, fsg, proxquant"),
        (cifar.main, ["--recipe", "metaqant"], "minizo: --recipe metaqant: "),
        (cifar.main, ["--settings", "metaqant"], "minizo: --settings metaqant: "),
        (cifar.main, ["--recipe", "metaqant"], "; did you mean 'metaquant'?"),
        (cifar.main, ["--recipe", "fsg", "--resume", "run"], "both say which settings"),
        (text.main, ["--recipe", "fsg"], "the recipe fsg is for python -m minizo.cifar"),
        (cifar.main, ["--help", "metaqant"], "did you mean 'metaquant'?"),
    ],
)
def test_what_is_refused(command, main, flags, sentence):
    code, out, err = command(main, *flags)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and sentence in err


def test_a_folder_of_that_name_is_named_by_its_path(command, tmp_path, folder):
    flags = ["--data", folder, "--steps", 1, "--batch", 8, "--loss-examples", 8, "--workers", 1]
    assert command(cifar.main, *flags, "--out", "fsg")[0] == 0
    code, out, err = command(cifar.main, "--settings", "./fsg", "--out", "again", "--quiet")
    assert code == 0 and "recipe" not in out


def test_help_lists_and_explains_the_recipes(command):
    for word in "recipe", "recipes", "--recipe":
        code, out, _ = command(cifar.main, f"--help={word}")
        assert code == 0 and max(map(len, out.splitlines())) <= 80
        assert [line.split()[0] for line in out.splitlines()[2:]] == list(recipes.NAMES)


@EVERY
def test_help_explains_a_recipe(command, name):
    """Every setting with its origin, the source, every departure, on 80 columns."""
    code, out, err = command(cifar.main, "--help", name)
    recipe, words = recipes.read(name), " ".join(out.split())
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) <= 80
    stated = [*recipe.where.values(), *recipe.departures, recipe.source, recipe.summary]
    assert all(" ".join(line.split()) in words for line in stated)

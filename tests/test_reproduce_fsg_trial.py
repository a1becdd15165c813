"""The trial of learned gradients, in small: where runs start, what is compared, what is said."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch_writer

from minizo import STE, InputError, data, start, sweep
from minizo.compare import TUNING
from minizo.data.dataset import Dataset
from minizo.estimators import FSG, LSTMFC, FCGrad, Gain
from minizo.optim import SGD, Adam
from minizo.reproduce import fsg, fsg_trial
from minizo.reproduce import fsg_trial_report as show

SIZES = replace(fsg_trial.QUICK, steps=2, train=60, test=40, loss=30, pretrain=2)
NAMES = ("STE", "gain", "FSG")


@pytest.fixture
def shapes(monkeypatch):
    """Drawn images of 8 x 8 in the place of CIFAR-10."""
    drawn = data.synthetic_shapes(60, 40)
    small = Dataset("shapes", drawn.x_train[..., ::4, ::4].copy(), drawn.y_train,
                    drawn.x_test[..., ::4, ::4].copy(), drawn.y_test, classes=10)  # fmt: skip
    monkeypatch.setattr(data, "cifar10", lambda: small)
    monkeypatch.delenv("MINIZO_DATA", raising=False)
    return small


@pytest.fixture
def call(shapes, tmp_path, monkeypatch, capsys):
    """Run the command: call(*flags) -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fsg_trial, "QUICK", SIZES)
    monkeypatch.setattr(fsg_trial, "DEPTHS", (8,))

    def run(*flags, part="cifar"):
        code = fsg.main([part, "--workers", "1", *map(str, flags)])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_the_trial_without_a_checkpoint(call, tmp_path, monkeypatch):
    """It trains one first, aloud; tables, CSV and picture; finished runs are kept."""
    monkeypatch.setattr(fsg_trial, "ADAM", NAMES)
    monkeypatch.setattr(fsg_trial, "AT_SGD", ("STE", "FSG"))
    code, out, err = call("--quick", "--seeds", 5)
    assert code == 0 and "a ResNet-8 of width 4: 2 steps" in err and "runs, some " in err
    folder = tmp_path / "runs" / "fsg-quick"
    text = (folder / "fsg_cifar.txt").read_text()
    assert text.rstrip() in out
    for words in (
        "ResNet-8, shapes, 2 steps of 10, 5 seeds", "4,768 of 5,214 parameters binary",
        "From full-precision-8-4-2.npz, which in full precision has ", "Mamba, expand 4, 4 states, "
        "rate 0.01 (the paper's: 100, 16, 0.001)",
        "best of 0.0003, 0.001, 0.003 by training loss on seed 1000, reported on seeds 0 to 4",
        "SGD, every method at the published rate .001", "4.65",
        "FSG, table 5 (ResNet-56, the paper's)",
        "Plainly, from these runs", "points by a better rate",
    ):  # fmt: skip
        assert words in text
    assert (folder / "fsg_cifar.png").read_bytes().startswith(b"\x89PNG")
    with open(folder / "fsg_cifar.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    tuning = [row for row in rows if row["table"] == "tuning"]
    assert len(tuning) == 3 * len(NAMES) + 4 and {r["seed"] for r in tuning} == {str(TUNING)}
    reported = [row for row in rows if row["table"] != "tuning"]
    assert {row["seed"] for row in reported} == set("01234")
    for name in NAMES:  # the rate of least training loss on the tuning seed
        tried = {r["lr"]: float(r["train_loss"]) for r in tuning
                 if r["name"] == name and r["optimizer"] == "Adam"}  # fmt: skip
        (rate,) = {r["lr"] for r in reported if r["table"] == "adam" and r["name"] == name}
        assert tried[rate] == min(tried.values())
    assert {r["lr"] for r in reported if r["table"] == "sgd" and r["name"] != show.AT_BEST} == {
        "0.001"
    }
    # the tables again, from the file
    sizes, found = replace(SIZES, seeds=5), show.read(folder / "fsg_cifar.csv")
    again = show.comparison_text(found, sizes, "", fsg_trial.CONTROLS, fsg_trial.RATES, TUNING)
    assert again.strip() in text
    monkeypatch.setattr(sweep, "_work", lambda *a: pytest.fail("ran again"))
    assert call("--quick", "--seeds", 5, "--quiet") == (code, out, "")


def test_ablations(call, tmp_path):
    """FSG as it is beside FSG with one setting changed, at the rate of the trial."""
    code, out, err = call("--quick", "--seeds", 2, part="ablations")
    assert code == 0 and "FSG with one setting changed: " in err
    folder = tmp_path / "runs" / "fsg-quick"
    text = (folder / "fsg_ablations.txt").read_text()
    for words in (
        "as it is", "beta: 0.9", "length: 3", "slow-net: k g", "embedding: off",
        "networks: as drawn, never trained", "table 3", "FSG's best rate of the trial",
    ):  # fmt: skip
        assert words in text
    found = show.read(folder / "fsg_ablations.csv")
    assert show.ablations_text(found, "").strip() in text
    assert len(found.changes["beta", "0.9"][1]) == 2 and not found.sgd
    assert (folder / "fsg_ablations.png").read_bytes().startswith(b"\x89PNG")


def test_a_checkpoint_of_ones_own(call, shapes, tmp_path, monkeypatch):
    """Its size is found by its weights; a file of another network is refused in a sentence."""
    for name in ("ADAM", "AT_SGD"):
        monkeypatch.setattr(fsg_trial, name, ("STE", "FSG"))
    network = fsg_trial.TrialCase(STE(), depth=8).network(shapes)
    tensors, _ = torch_writer.state_dict(network)
    for name, tensor in tensors.items():
        numbers = tensor.storage.numbers
        drawn = np.random.default_rng(len(name)).normal(size=numbers.shape) / 8
        numbers[...] = 1 if name.endswith(("var", "tracked")) else drawn
    (tmp_path / "own.pth").write_bytes(torch_writer.old(tensors))
    code, out, err = call("--quick", "--start", "own.pth", "--seeds", 1, "--steps", 1)
    assert (
        code == 0
        and "From own.pth, which in full precision has " in out
        and "no published" not in err
    )
    (tmp_path / "bad.pth").write_bytes(torch_writer.old({"a.b": torch_writer.Tensor(np.ones(3))}))
    (tmp_path / "cut.pth").write_bytes((tmp_path / "own.pth").read_bytes()[:9000])
    for name, words in (
        ("bad.pth", "holds another network"), ("cut.pth", "damaged, or cut off"),
        ("no.pth", "there is no such file"),
    ):  # fmt: skip
        code, out, err = call("--quick", "--start", name)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1


def test_the_whole_trial_is_for_a_card(call, tmp_path, monkeypatch):
    """--full: all images and generators of the papers' size, on a GPU."""
    table = {name: entry[0] for name, entry in fsg.methods(fsg.AS_PUBLISHED).items()}
    assert table["FSG"] == FSG() and table["LSTMFC"] == LSTMFC() and table["gain"] == Gain()
    small = replace(fsg.AS_PUBLISHED, mamba=(3, 2), units=4, slow_units=4)
    monkeypatch.setattr(fsg, "AS_PUBLISHED", small)
    full = replace(SIZES, steps=1, seeds=1)
    monkeypatch.setattr(fsg_trial, "FULL", full)
    monkeypatch.setattr(fsg_trial.backend, "get", lambda name: np)
    for name in ("ADAM", "AT_SGD"):
        monkeypatch.setattr(fsg_trial, name, ("STE", "FSG"))
    code, out, _ = call("--full")
    text = (tmp_path / "runs" / "fsg" / "fsg_cifar_full.txt").read_text()
    assert (
        code == 0 and "Mamba, expand 3, 2 states, rate 0.001 (the paper's: 100, 16, 0.001)" in text
    )


def test_where_runs_start(shapes, tmp_path):
    """From the weights of the file, with statistics of the first batch, whatever the seed."""
    begin, sizes, classes = fsg_trial.weights(None, SIZES, tmp_path, quiet=True)
    assert (sizes, classes) == (SIZES, 10)
    case = fsg_trial.TrialCase(STE(), Adam(1e-30), 3, 1, 10, weights=begin, depth=8, width=4)
    run = case.train(shapes)
    values = start.load(begin.path, case.network(shapes)).values
    for name, value in run.objective.network.views(run.theta).items():
        np.testing.assert_allclose(value, values[name], atol=1e-20)
    # another file is another case, the same content under another name is not
    moved = tmp_path / "moved.npz"
    moved.write_bytes(Path(begin.path).read_bytes())
    same = replace(case, weights=fsg_trial.Weights.of(moved))
    assert same.key(shapes) == case.key(shapes)
    moved.write_bytes(b"something else")
    assert replace(case, weights=fsg_trial.Weights.of(moved)).key(shapes) != case.key(shapes)


def test_the_network_of_the_trial():
    """All layers are binary but the first and the last: 269,824 weights."""
    x, labels = np.zeros((10, 3, 32, 32), np.float32), np.arange(10)
    images = Dataset("images", x, labels, x, labels, classes=10)
    case = fsg_trial.TrialCase(STE())
    objective = case.objective(images)
    shapes = objective.network.shapes
    assert sum(int(np.prod(shapes[name])) for name in objective.quantized) == 269_824
    others = {name for name in shapes if name.endswith(".weight")} - set(objective.quantized)
    assert others == {"conv1.weight", "fc.weight"}
    assert replace(case, estimator=FSG()).cost() > replace(case, estimator=FCGrad()).cost()


def test_the_published_files_are_known():
    root = Path(os.environ.get("MINIZO_DATA", "none"), "metaquant-checkpoints")
    if not root.is_dir():
        pytest.skip("needs the checkpoints of MetaQuant in $MINIZO_DATA")
    assert fsg_trial.known(root / "ResNet56-CIFAR100-pretrain.pth") == (56, 100)
    assert fsg_trial.known(root / "ResNet20-CIFAR10-pretrain.pth") == (20, 10)


@pytest.mark.parametrize("name", fsg_trial.TITLES)
def test_the_committed_tables_are_those_of_the_committed_runs(name):
    root = Path(fsg_trial.__file__).parents[2] / "figures"
    text = (root / f"fsg_{name}.txt").read_text()
    found = show.read(root / f"fsg_{name}.csv")
    details, sizes = text.partition("\n\n")[0], fsg_trial.Sizes()
    if name == "cifar":
        controls = fsg_trial.CONTROLS
        again = show.comparison_text(found, sizes, details, controls, fsg_trial.RATES, TUNING)
    else:
        again = show.ablations_text(found, details)
    assert again == text


def test_flags_of_the_part(call):
    code, _, err = call("--quick", "--long", "9")
    assert code == 2 and "--long is of the part long" in err
    assert fsg.main(["lenet", "--start", "a.pth", "--quiet"]) == 2


# What is said -----------------------------------------------------------------------------------


def group(*values):
    """Records of seeds with these test accuracies in per cent."""
    shared = {"train_loss": [2.0, 1.0], "step": [0, 4], "seconds": [0.0, 0.2]}
    return [
        {"records": {**shared, "test_accuracy": [0.1, value / 100]}, "seed": seed}
        for seed, value in enumerate(values)
    ]


SAME, MORE, LESS = (70, 71, 72, 73, 74), (72, 73.1, 74, 75, 76.1), (68, 69.1, 70, 71, 72.1)
EVEN = (70.5, 70.4, 72.6, 72.5, 74.1)


@pytest.mark.parametrize(
    "ours, control, words",
    [
        (MORE, SAME, "better, and than gain"), (MORE, MORE, "better, but no more than gain"),
        (LESS, SAME, "worse"), (EVEN, SAME, show.NOTHING), (MORE[:2], SAME[:2], show.FEW),
    ],
)  # fmt: skip
def test_verdicts(ours, control, words):
    groups = {"M": group(*ours), "STE": group(*SAME[: len(ours)]), "gain": group(*control)}
    assert show.verdict("M", groups, "STE", ("gain",)) == words
    assert show.verdict("STE", groups, "STE", ("gain",)) == ""
    if words.startswith("better"):
        assert show.verdict("M", groups, "STE", ("M",)) == "better"


def test_a_run_that_diverged_has_no_verdict():
    bad = {"error": "diverged", "seed": 0}
    groups = {"M": [*group(*SAME[:4]), bad], "STE": group(*SAME)}
    assert show.verdict("M", groups, "STE", ()) == "diverged"
    assert show.in_words(show.difference(groups["M"], groups["STE"])) == "diverged"
    rows = show.rows_of({n: (SGD(0.1), g) for n, g in groups.items()}, "SGD", "STE", ())
    assert rows[0][7] == "diverged"


def test_differences_in_words():
    words = show.in_words(show.difference(group(*MORE), group(*SAME)))
    assert words.startswith("+2.04 (+1.9") and words.endswith(" *")
    assert not show.in_words(show.difference(group(*EVEN), group(*SAME))).endswith("*")


def test_a_file_for_no_residual_network(tmp_path):
    tensors = {"fc.weight": torch_writer.Tensor(np.ones((10, 64), np.float32))}
    (tmp_path / "a.pth").write_bytes(torch_writer.zipped(tensors))
    with pytest.raises(InputError, match="holds another network"):
        fsg_trial.known(tmp_path / "a.pth")

"""``python -m minizo.mnist``: what is wrong is one sentence and code 2, and nothing is lost."""

import errno
import json
import os

import pytest
from test_mnist_command import FIELDS

from minizo import mnist
from minizo.commands import training

BAD = [
    ("--n 0", "--n is 0, but it must be a whole number of at least 1"),
    ("--n x", "--n is 'x', but it must be a whole number"),
    ("--n", "--n: expected at least one argument"),
    ("--beta 1.5", "--beta is 1.5, but it must lie in [0, 1]"),
    ("--beta .5 -0.1", "--beta is -0.1"),
    ("--beta nan", "--beta is nan"),
    ("--lr nan", "--lr is nan, but it must be finite and above 0"),
    ("--lr .1 -1", "--lr is -1.0"),
    ("--lr .1;1", "--lr is '.1;1'"),
    ("--lr .1,", "--lr is '.1,', but a number is missing beside a comma; write .1"),
    ("--n 1,,10", "--n is '1,,10', but a number is missing beside a comma; write 1,10"),
    ("--seed ,", "--seed is ',', but a number is missing beside a comma; write 1,2"),
    ("--beta .5,x", "--beta is 'x', but it must be a number"),
    ("--steps 5,6", "--steps is '5,6', but it must be a whole number"),
    ("--estimator fogso", "unknown name 'fogso'; did you mean 'fogzo'?"),
    ("--estimator n-spsa", "did you mean 'spsa'?"),
    ("--estimator fogzo:n=0", "--estimator fogzo:n=0: FOGZO.n is 0, but it must be a whole number"),
    ("--estimator fogzo:n=x", "FOGZO.n is 'x', but it must be a whole number"),
    ("--estimator fogzo:10", "'10' is no setting; write name=value, as in fogzo:n=10,beta=.999"),
    ("--estimator fogzo:n=1,N=2", "n is given twice"),
    ("--estimator fogzo:nn=1", "it has no setting 'nn'; did you mean 'n'? (it takes n, law, eps"),
    ("--estimator fogzo:law=gausian", "did you mean 'gaussian'?"),
    ("--estimator fogzo:beta-schedule=liner", "did you mean 'linear'?"),
    ("--estimator spsa:perturb=some", "perturb is 'some'"),
    ("--estimator spsa:eps=0", "eps is 0.0, but it must be finite and above 0"),
    ("--estimator spsa:eps-scale=inf", "eps_scale is inf"),
    ("--quantizer midrise:bits=9", "bits is 9, but it must be a whole number from 1 to 8"),
    ("--quantizer mid-rise", "did you mean 'midrise'?"),
    ("--quantizer binary", "did you mean 'sign'?"),
    ("--quantizer full-precision", "did you mean 'none'?"),
    ("--quantizer sign:surrogate=hardtan", "did you mean 'hardtanh'?"),
    ("--quantizer xnor:rule=exat", "unknown name 'exat'; did you mean 'exact'?"),
    ("--optimizer adm", "did you mean 'adam'?"),
    ("--optimizer nadam", "did you mean 'adam'?"),
    ("--optimizer adam:schedule=cos", "did you mean 'cosine'?"),
    ("--optimizer bop", "levels is 4, but Bop flips binary weights"),
    ("--optimizer bop --quantizer sign --start pretrain:steps=5", "Bop flips binary"),
    ("--activation rellu", "did you mean 'relu'?"),
    ("--activation sign:surrogate=eed", "did you mean 'ede'?"),
    ("--loss crossentropy", "did you mean 'cross-entropy'?"),
    ("--model cnn", "did you mean 'lenet'?"),
    ("--model mlp:hidden=10,x", "hidden is (10, 'x'), but it must be whole numbers"),
    ("--model mlp:hidden=0", "hidden is (0,)"),
    ("--backend cuda", "did you mean 'cupy'?"),
    ("--dtype float16", "did you mean 'float"),
    ("--dtype double", "did you mean 'float64'?"),
    ("--rng gpu", "did you mean 'device'?"),
    ("--seed -1", "--seed is -1"),
    ("--seeds 0", "--seeds is 0"),
    ("--workers 0", "--workers is 0, but it must be a whole number of at least 1"),
    ("--checkpoint-every 0", "--checkpoint-every is 0"),
    ("--steps 0", "--steps is 0"),
    ("--batch 301", "batch is 301, but there are only 300 examples"),
    ("--resume nowhere", "--resume nowhere: there is no settings.json in it"),
    ("--settings nowhere.json", "--settings nowhere.json: No such file"),
    ("--lerning-rate 1", "unknown flag --lerning-rate"),
    ("--estimater ste", "unknown flag --estimater; did you mean --estimator?"),
    ("--bits 3", "bits is a setting of a part: --quantizer midrise:bits=... (--help midrise"),
    ("ste", "unexpected argument 'ste'"),
]


@pytest.mark.parametrize("flags, sentence", BAD, ids=[flags for flags, _ in BAD])
def test_bad_input_is_one_sentence_and_code_2(call, tmp_path, flags, sentence):
    """Nothing on standard output, no traceback, nothing left behind."""
    code, out, err = call(*flags.split())
    assert (code, out) == (2, "") and sentence in err
    assert len(err.splitlines()) == 1 and err.startswith("minizo: ")
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_code_2(call, tmp_path):
    code, _, err = call(data=tmp_path / "absent")
    assert code == 2 and "absent" in err and len(err.splitlines()) == 1


def test_unwritable_out(call, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, err = call("--out", "file/run")
    assert code == 2 and "--out file/run cannot be made" in err


def test_full_disk(call, tmp_path, monkeypatch):
    """The checkpoint of the first run cannot be written: a sentence, code 2, no stray file."""
    real, saves = os.fsync, []

    def full(handle):
        saves.append(handle)
        if len(saves) > 1:  # settings.json still fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle)

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = call("--out", "run")
    assert code == 2 and "No space left on device" in err and len(err.splitlines()) == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["settings.json"]


def test_cupy_without_a_gpu_is_one_sentence(call):
    """Skipped where there is a GPU: then there is nothing to complain about."""
    from minizo import backend

    if backend.get("auto").__name__ == "cupy":
        pytest.skip("a GPU is usable here")
    code, out, err = call("--backend", "cupy")
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert "pip install" in err or "nvidia-smi" in err


def test_divergence_is_reported_and_the_others_go_on(call):
    """The n-SPSA run diverges; the STE's result stands, the exit code is 1."""
    flags = ("--estimator", "ste", "spsa:eps=1e-3", "--optimizer", "sgd", "--lr", 1e37)
    flags += ("--quantizer", "none")
    code, out, err = call(*flags)
    assert code == 1
    assert "became NaN or infinite at step" in err and "learning rate 1e+37" in err
    assert "diverged" in out
    code, out, _ = call(*flags, "--json", "--out", "again")
    rows = [json.loads(line) for line in out.splitlines()]
    assert all(list(row) == [*FIELDS, "error"] and row["train_loss"] is None for row in rows)


def test_a_folder_that_holds_something_is_not_written_to(call, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    code, _, err = call("--out", "full")
    assert code == 2 and "--out full already holds something" in err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("flags", ["--estimator fogso", "--optimizer bop:gamma=2", "--bits 3"])
def test_names_and_values_are_looked_at_before_data_are_loaded(command, monkeypatch, flags):
    loaded = []
    monkeypatch.setattr(training, "load_data", lambda *args, **options: loaded.append(args))
    assert command(mnist.main, *flags.split())[0] == 2 and loaded == []


TWICE = [
    ("--seed 1 --seeds 3", "--seed and --seeds both say which seeds; give one of them"),
    ("--steps 3 --epochs 2", "--steps and --epochs both say how long; give one of them"),
    (
        "--start pretrain:step=3",
        "--start is 'pretrain:step=3', but name a file, or write pretrain:",
    ),
    ("--start pretrain:steps=0", "the steps of --start is 0, but it must be a whole number of at "),
    ("--start nowhere.pth", "nowhere.pth: there is no such file; check the name"),
    ("--start nowhere.pth --init-scale 2", "--init-scale has no effect with --start nowhere.pth"),
    ("--out a --resume b", "--out and --resume both say which folder; give one of them"),
    ("--settings a --resume b", "--settings and --resume both say which settings"),
    (
        "--seeds 2 --start pretrain:steps=5",
        "--start is pretrain:steps=5, but runs that are trained",
    ),
    (
        "--seeds 2 --start pretrain:steps=5",
        "--start is pretrain:steps=5, but runs that are trained",
    ),
    ("--estimator fogzo:n=10 --n 5", "--n 5 has no effect: --estimator fogzo:n=10 says its own"),
    ("--quantize inner --quantizer none", "--quantize inner has no effect with --quantizer none"),
]


@pytest.mark.parametrize("flags, sentence", TWICE, ids=[flags for flags, _ in TWICE])
def test_of_two_flags_none_is_dropped_in_silence(corners, command, tmp_path, flags, sentence):
    own = ("--data", corners, "--batch", 30, "--quiet")
    code, out, err = command(mnist.main, *own, *flags.split())
    assert (code, out) == (2, "") and sentence in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []

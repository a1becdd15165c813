"""``python -m minizo.text``: table, sample, going on, other texts, bad input."""

import csv
import json
import math

import pytest

from minizo import InputError, mnist, text
from minizo.data import read_text
from minizo.models import llama
from minizo.sampling import write

VERSE = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n" * 9
SMALL = ("--context", 8, "--batch", 10, "--steps", 6, "--quiet",
         "--model", "llama:width=8,layers=1,heads=2")  # fmt: skip


@pytest.fixture
def call(command, tmp_path):
    """call(*flags) -> (exit code, stdout, stderr), on a small text."""
    (tmp_path / "verse.txt").write_text(VERSE)

    def run(*flags):
        return command(text.main, "--data", "verse.txt", *SMALL, *flags)

    return run


def test_the_command_ends_in_a_table_a_picture_and_a_text(call, tmp_path):
    """Four lines; bits and perplexity are those of the loss; 300 characters after the prompt."""
    code, out, err = call("--out", "run", "--sample", "Thou")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == ("verse.txt: 2-bit midrise llama (layers.*), 6 steps of 10, adamw 0.01, "
                        "seed 0")  # fmt: skip
    assert "validation, nats a character" in lines[2] and "perplexity" in lines[2]
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    labels = ["full precision", "STE", "normalised STE", "FOGZO n=1"]
    assert [row["label"] for row in rows] == labels
    for line, row in zip(lines[4:8], rows, strict=True):
        loss = row["test_loss"]
        shown = [f"{loss:.3f}", f"{loss / math.log(2):.3f}", f"{math.exp(loss):.2f}"]
        assert line.removeprefix(row["label"]).split()[1:4] == shown
    best = min(rows[1:], key=lambda row: row["test_loss"])
    told = (tmp_path / "run" / "sample.txt").read_text()
    assert f"\n\n{told}\nrun folder" in out
    label, seed, sample = told.removesuffix("\n").partition(", seed 0, writes (temperature 0.8):\n")
    assert seed and {row["test_loss"] for row in rows if row["label"] == label} == {
        best["test_loss"]
    }
    assert sample.startswith("Thou") and len(sample) == 304 and set(sample) <= set(VERSE)
    assert (tmp_path / "run" / "training.png").stat().st_size > 10_000
    with open(tmp_path / "run" / "records.csv") as file:
        assert {float(row["test_loss"]) for row in csv.DictReader(file)} >= {best["test_loss"]}


def test_a_finished_run_writes_again(call):
    """--resume with another beginning: the same numbers, and the same text each time."""
    _, first, _ = call("--out", "run")
    code, out, err = call("--resume", "run", "--sample", "lovely")
    assert (code, err) == (0, "") and "):\nlovely" in out
    again = call("--resume", "run", "--sample", "lovely")[1]
    assert out == again and first.splitlines()[2:8] == out.splitlines()[2:8]


def test_a_run_that_goes_on_begins_its_text_as_it_was_told(call, tmp_path):
    """The beginning is kept; another one is taken for once, and what prints no text minds none."""
    _, first, _ = call("--out", "run", "--estimator", "ste", "--sample", "Thou")
    again = call("--resume", "run", "--estimator", "ste")[1]
    assert "):\nThou" in first and again == first
    assert "):\nlovely" in call("--resume", "run", "--estimator", "ste", "--sample", "lovely")[1]
    told = (tmp_path / "run" / "sample.txt").read_text()
    for flags in (("--resume", "run", "--json"), ("--settings", "run", "--seeds", 2)):
        code, out, err = call("--estimator", "ste", *flags)
        assert (code, err) == (0, "") and "writes" not in out
    assert (tmp_path / "run" / "sample.txt").read_text() == told
    code, _, err = call("--resume", "run", "--json", "--sample", "lovely")
    assert code == 2 and "--sample has no effect with --json" in err


def test_a_text_of_one_character_is_known_at_once(call, tmp_path):
    """A loss of 0, a perplexity of 1, and a picture without a warning; by words, too."""
    (tmp_path / "a.txt").write_text("a" * 400)
    code, out, err = call("--data", "a.txt", "--out", "run")
    assert (code, err) == (0, "") and "):\n" + "a" * 301 in out
    assert out.splitlines()[4].split()[2:6] == ["0.000", "0.000", "0.000", "1.00"]
    assert (tmp_path / "run" / "training.png").stat().st_size > 10_000
    (tmp_path / "a.txt").write_text("the " * 400)
    code, out, err = call("--data", "a.txt", "--words", 2, "--estimator", "ste")
    assert (code, err) == (0, "") and "):\nthe the" in out


def test_seeds_together_by_words_on_a_drawn_language(command, call):
    """What the flags of other commands do, they do here."""
    code, out, _ = call("--seeds", 2, "--json", "--full-precision", "no", "--out", "many")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 6 and len({row["theta_sha256"] for row in rows}) == 6
    code, out, _ = call("--words", 40, "--estimator", "ste", "--sample", "more lovely")
    assert code == 0 and "validation, nats a word" in out and "more lovely" in out
    code, out, _ = command(text.main, "--data", "synthetic", *SMALL, "--estimator", "ste")
    assert code == 0 and "best possible: 1." in out and "bits, perplexity" in out


def test_a_sample_is_drawn_from_the_networks_probabilities(tmp_path):
    """At a low temperature it is the likeliest token each time."""
    (tmp_path / "verse.txt").write_text(VERSE)
    data = read_text(tmp_path / "verse.txt", context=8)
    network = llama(data.classes, width=8, layers=1, heads=2, context=8)
    params = network.views(network.init(0))
    cold = write(network, params, data, "day", length=12, temperature=1e-6)
    tokens = list(data.encode("day"))
    for _ in range(12):
        logits = network.predict(params, data.encode(data.decode(tokens[-8:]))[None])
        tokens.append(int(logits[0, -1].argmax()))
    assert cold == data.decode(tokens)
    texts = {write(network, params, data, "day", 40, 5.0, seed) for seed in range(4)}
    assert len(texts) == 4
    for wrong in ({"begin": ""}, {"begin": "zoo"}, {"temperature": 0}, {"length": 0}):
        with pytest.raises(InputError):
            write(network, params, data, **{"begin": "day"} | wrong)


def test_a_loss_without_a_perplexity_is_told(call, tmp_path):
    """exp(loss) is infinite; the table and all files are there, of several seeds, too."""
    for name, seeds in (("one", ("--seed", 0)), ("two", ("--seed", 0, 1))):
        code, out, err = call("--lr", 1e4, "--estimator", "ste", "--out", name, *seeds)
        assert (code, err) == (0, "") and " inf " in out
        assert (tmp_path / name / "results.json").exists()


def test_another_text_of_the_same_shape_is_no_resumed_run(call, tmp_path):
    assert call("--estimator", "ste", "--out", "run")[0] == 0
    (tmp_path / "verse.txt").write_text(VERSE.translate(str.maketrans("abe", "xyz")))
    code, _, err = call("--resume", "run")
    assert code == 2 and "data" in err


BAD = [
    (("--sample", "Thou", "--json"), "--sample has no effect with --json"),
    (("--data", "synthetic", "--words", 9), "--words 9 has no effect with --data synthetic"),
    (
        ("--quantizer", "sign", "--optimizer", "bop"),
        "or leave that network out, --full-precision no",
    ),
    (("--sample", "zebra"), "--sample: the text is 'zebra', but verse.txt has no 'b', 'z': use"),
    (("--sample", ""), "--sample is empty"),
    (("--context", 900), "context is 900, but the validation part of"),
    (("--model", "lenet"), "--model lenet does not take verse.txt, which holds text; choose llama"),
    (("--data", "nowhere.txt"), "neither known (tinyshakespeare, synthetic)"),
    (("--quantize", "layer.*"), "fits no name"),
    (
        ("--quantize", "layers.*, layers.*.down.*=x"),
        "is 'layers.*.down.*=x', but write PATTERN=BITS",
    ),
    (("--quantize", "layers.*.down.*=9"), "the bits of --quantize is 9, but"),
    (("--quantize", "layers.*.down.*=4", "--quantizer", "sign"), "needs a quantiser that has one"),
    (("--activation", "relu"), "unknown flag --activation"),
    (("--model", "lstm:inputs=absmax"), "--model lstm: it has no setting 'inputs'"),
    (("--model", "llama:inputs=absmacks"), "unknown name 'absmacks'; did you mean 'absmax'"),
    (("--model", "llama:inputs=absmax,input_bits=1"), "AbsMax.bits is 1, but it must be a whole"),
    (("--model", "llama:inputs=sign,input_bits=2"), "input_bits is 2, but sign has none"),
    (("--words", 1), "--words is 1"),
    (("--batch", 500), "batch is 500, but there are only"),
]


@pytest.mark.parametrize("flags, sentence", BAD, ids=[str(flags) for flags, _ in BAD])
def test_bad_input_is_one_sentence_and_nothing_is_write(call, tmp_path, flags, sentence):
    code, out, err = call(*flags)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and sentence in err, err
    assert [path.name for path in tmp_path.iterdir()] == ["verse.txt"]


def test_images_have_no_language_model(command, corners):
    code, _, err = command(mnist.main, "--data", corners, "--model", "llama", "--quiet")
    assert code == 2 and "which holds images; choose mlp | lenet" in err
    code, _, err = command(mnist.main, "--data", corners, "--model", "vit", "--activation", "sign")
    assert code == 2 and "--activation sign has no effect with --model vit" in err
    flags = ("--model", "vit:patch=4,width=8,layers=1,heads=2", "--steps", 3, "--batch", 20)
    code, out, err = command(mnist.main, "--data", corners, *flags, "--estimator", "ste", "--quiet")
    assert (code, err) == (0, "") and "2-bit midrise vit, 3 steps of 20" in out

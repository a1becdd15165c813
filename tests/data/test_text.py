"""Texts: windows, parts, vocabularies, the drawn language and its entropy, bad files."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import InputError
from minizo.data import Text, Unavailable, read_text, synthetic_text, text
from minizo.data import texts as module
from minizo.data.language import chain, entropy_of
from minizo.data.texts import frequent, windows

VERSE = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n" * 4


@pytest.fixture
def verse(tmp_path):
    """A file of 328 characters."""
    path = tmp_path / "verse.txt"
    path.write_text(VERSE)
    return path


@given(length=st.integers(2, 60), context=st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_windows_say_what_comes_next(length, context):
    """y is x one later, also across the ends of windows; as many tokens as fit."""
    tokens = np.arange(length)
    x, y = windows(tokens, context)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(x.ravel(), np.arange(x.size))
    assert length - 1 - context < x.size <= length - 1


def test_a_file_is_divided_at_nine_tenths(verse):
    """No window reaches over the border, and nothing is lost but the rest of a window."""
    found = read_text(verse, context=8)
    assert found.name == "verse.txt" and found.classes == len(set(VERSE))
    cut = len(VERSE) - len(VERSE) // 10
    for x, y, part in (
        (found.x_train, found.y_train, VERSE[:cut]),
        (found.x_test, found.y_test, VERSE[cut:]),
    ):
        assert found.decode(x.ravel()) == part[: x.size]
        assert found.decode(y.ravel()) == part[1 : x.size + 1]
        assert len(part) - 1 - x.size < 8
    assert found.like.dtype == np.float32 and found.astype("float64").like.dtype == np.float64
    assert isinstance(found.head(3, 1), Text) and found.head(3, 1).vocabulary == found.vocabulary


def test_encode_and_decode_are_inverses(verse):
    found = read_text(verse, context=8)
    assert found.decode(found.encode(VERSE)) == VERSE
    with pytest.raises(InputError, match=r"verse.txt has no 'z', 'é': use its own characters"):
        found.encode("zoé")


@pytest.mark.parametrize("names", [
    ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
    ("wiki.train.tokens", "wiki.test.tokens"),
    ("train.txt", "val.txt"),
    ("train-00.txt", "validation.txt"),
])  # fmt: skip
def test_folders_in_the_layouts_that_people_have(tmp_path, names):
    """Words: the most frequent of the training part; the rest, there and later, are unknown."""
    for i, name in enumerate(names):
        (tmp_path / name).write_text(f"a b a\nc a part{i} b\n" * 3)
    found = read_text(tmp_path, context=2, level="words", words=4)
    assert found.vocabulary == ("a", "<eos>", "b", "<unk>") and found.unit == "word"
    assert found.decode(found.x_train.ravel()[:8]) == "a b a\n<unk> a <unk> b"
    assert found.decode(found.encode("a new b")) == "a <unk> b"


def test_ties_of_frequent_words_are_broken_by_the_alphabet():
    assert frequent(list("cbacba"), 3) == ("a", "b", "<unk>")
    assert frequent(["<unk>", "a"], 5) == ("a", "<unk>")


def test_packed_files_byte_order_marks_and_other_ends_of_lines(verse, tmp_path):
    """All are the same text."""
    same = read_text(verse, context=8)
    packed = tmp_path / "verse.gz"
    packed.write_bytes(gzip.compress(VERSE.encode()))
    marked = tmp_path / "marked.txt"
    marked.write_bytes(b"\xef\xbb\xbf" + VERSE.replace("\n", "\r\n").encode())
    for path in (packed, marked):
        found = read_text(path, context=8)
        np.testing.assert_array_equal(found.x_train, same.x_train)
        assert found.digest == same.digest


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.txt").write_bytes(content)
    return folder


BAD = {
    "empty": (b"", {}, "text.txt: is empty; name a file with text"),
    "binary": (b"PNG\0\0abc", {}, "text.txt: holds bytes of 0, so it is no text"),
    "latin1": ("caf\u00e9 x".encode("latin-1"), {}, r"byte 0xe9 at 3\); convert it to UTF-8"),
    "short": (
        b"To be or not",
        {"context": 40},
        "the validation part of .* has 1 characters, and two are needed",
    ),
    "short end": (
        b"To be or not to be, it is",
        {"context": 4},
        "has 2 characters: use at most 1",
    ),
}


@pytest.mark.parametrize("content, options, sentence", BAD.values(), ids=BAD)
def test_bad_files_are_one_sentence(tmp_path, content, options, sentence):
    path = write(tmp_path, text=content) / "text.txt"
    with pytest.raises(InputError, match=sentence) as caught:
        read_text(path, **options)
    assert "\n" not in str(caught.value)


def test_characters_that_training_never_saw(tmp_path):
    """Refused by characters, unknown by words; in one file the last tenth counts as known."""
    folder = write(tmp_path, train=b"to be or not " * 9, valid=b"that is the zoo zoo " * 5)
    with pytest.raises(
        InputError, match=r"valid.txt is .*'z' \(10 times\).*the training part lack"
    ):
        read_text(folder, context=4)
    assert read_text(folder, context=4, level="words").vocabulary[-1] == "<unk>"
    assert "z" in read_text(folder / "valid.txt", context=4).vocabulary


@pytest.mark.parametrize(
    "files, sentence",
    [
        ({}, "holds no text in parts; name one file, or put train.txt and valid.txt there"),
        ({"one": b"a", "two": b"b"}, "holds no text in parts"),
        ({"a.train": b"a", "b.train": b"b", "valid": b"c"}, "is ambiguous; b.train.txt is a secon"),
    ],
)
def test_folders_without_parts(tmp_path, files, sentence):
    with pytest.raises(InputError, match=sentence):
        read_text(write(tmp_path, **files))


@pytest.mark.parametrize(
    "name, options, sentence",
    [
        ("tinyshakespear", {}, "neither known .* did you mean 'tinyshakespeare'"),
        (3, {}, "text 3 is not a name"),
        ("synthetic", {"level": "words"}, "the drawn language has no words"),
        ("synthetic", {"level": "letters"}, "level is 'letters', but choose from"),
        ("synthetic", {"context": 0}, "context is 0"),
    ],
)
def test_bad_names_are_refused(name, options, sentence):
    with pytest.raises(InputError, match=sentence):
        text(name, **options)


def test_tiny_shakespeare_by_its_name(monkeypatch, tmp_path, capsys):
    """From $MINIZO_DATA; without it and without a network a drawn language, and it is said."""
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text(VERSE)
    monkeypatch.setenv("MINIZO_DATA", str(tmp_path))
    assert text(context=8).name == "Tiny Shakespeare"

    def fetch(name, progress):
        raise Unavailable("no connection")

    monkeypatch.setattr(module, "fetch", fetch)
    monkeypatch.delenv("MINIZO_DATA")
    found = text(context=8)
    assert found.name == "synthetic text (seed 0)" and found.entropy > 1.0
    assert "download failed: no connection); continuing with a synthetic" in capsys.readouterr().out


# The drawn language ------------------------------------------------------------------------------


def test_the_entropy_is_what_the_texts_have():
    """The mean surprise of who knows the chain, of 256,000 letters, is the entropy within 6 sigma.

    Control: who knows the frequencies of letters alone is far off.
    """
    found = synthetic_text(context=64, n_train=4000, n_test=1)
    follows, pairs = chain(0)
    first = pairs.sum(axis=1)
    x, y = found.x_train, found.y_train
    second = np.log((pairs / first[:, None])[x[:, :1], y[:, :1]])
    later = np.log(follows[x[:, :-1], x[:, 1:], y[:, 1:]])
    means = -np.concatenate([second, later], axis=1).mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert abs(means.mean() - found.entropy) < 6 * error < 0.02
    assert entropy_of(first, np.array(1.0)) > found.entropy + 1.0


def test_pairs_are_stationary():
    """Letters have the same frequencies at every place: the first, the last, and predicted."""
    follows, pairs = chain(3)
    np.testing.assert_allclose(np.einsum("ab,abc->bc", pairs, follows), pairs, atol=1e-12)
    np.testing.assert_allclose(follows.sum(axis=-1), 1.0, rtol=1e-12)
    found = synthetic_text(context=40, n_train=20_000, n_test=1, seed=3)
    expected = pairs.sum(axis=1)
    bound = 6 * np.sqrt(expected * (1 - expected) / 20_000) + 1e-4
    for place in (0, 1, 20, 39):
        share = np.bincount(found.x_train[:, place], minlength=27) / 20_000
        assert np.all(np.abs(share - expected) < bound)


def test_the_seed_decides_the_language():
    one, same, other = (synthetic_text(context=8, n_train=50, n_test=5, seed=s) for s in (0, 0, 1))
    assert one.digest == same.digest != other.digest
    assert one.entropy == same.entropy != other.entropy

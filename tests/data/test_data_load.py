"""`load`: names, the order of the places, and the fallback that is said aloud."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cifar_files
import numpy as np
import pytest

from minizo import data
from minizo.data import cifar10, download, fashion_mnist, load, mnist, write_idx
from minizo.data.idx import NAMES
from minizo.errors import InputError

REAL = os.environ.get("MINIZO_DATA", "")


def fill(folder, brightness):
    """A data set of 3 + 3 images whose pixels all have one brightness, to tell it by."""
    folder.mkdir(parents=True)
    for name in NAMES:
        shape = (3, 5, 4) if "images" in name else 3
        write_idx(
            folder / f"{name}.gz", np.full(shape, brightness if "images" in name else 7, np.uint8)
        )


@pytest.fixture
def quick(monkeypatch):
    """A small synthetic data set in place of the full one."""
    full = data.synthetic_digits
    monkeypatch.setattr(
        data,
        "synthetic_digits",
        lambda n=20, m=10, seed=0, dtype="float32": full(n, m, seed, dtype),
    )


def test_the_fallback_is_one_loud_line(places, quick):
    lines = []
    result = mnist(notice=lines.append)
    assert lines == [
        "minizo: MNIST not found ($MINIZO_DATA unset, no cached copy, download failed: the test "
        "has no network); continuing with synthetic digits drawn by the package"
    ]
    assert result.name == "synthetic digits (seed 0)"
    fashion_mnist(notice=lines.append)
    assert len(lines) == 2 and lines[1].startswith("minizo: Fashion-MNIST not found")


def test_the_fallback_names_the_folder_that_is_missing(places, quick, monkeypatch):
    monkeypatch.setenv("MINIZO_DATA", str(places / "data"))
    lines = []
    load("mnist", notice=lines.append)
    assert f"(no folder {places / 'data' / 'mnist'}, no cached copy, " in lines[0]


def test_the_notice_goes_to_stderr(places, quick, capfd, monkeypatch):
    mnist()
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("minizo: MNIST not found")
    load("synthetic")
    assert capfd.readouterr() == ("", "")  # what was asked for needs no notice
    monkeypatch.setattr(sys, "stderr", None)  # closed
    mnist()
    assert capfd.readouterr() == ("", "")


def test_order_of_the_places(places, monkeypatch):
    def files(folder):
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def silent(line):
        raise AssertionError(line)

    # 3: a download
    fill(places / "server", 30)
    digests = {n: hashlib.sha256(b).hexdigest() for n, b in files(places / "server").items()}
    monkeypatch.setitem(download.SOURCES, "mnist", ([], digests))
    asked = []

    def give(mirrors, file, digest, folder, progress):
        asked.append(file)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(files(places / "server")[file])

    monkeypatch.setattr(download, "_download", give)
    result = mnist(notice=silent)
    assert result.name == "MNIST" and result.x_train[0, 0, 0, 0] == np.float32(30 / 255)
    assert sorted(asked) == sorted(f"{name}.gz" for name in NAMES)

    # 2: the cache, which the download has filled
    mnist(notice=silent)
    assert len(asked) == 4

    # 1: $MINIZO_DATA
    fill(places / "data" / "mnist", 10)
    monkeypatch.setenv("MINIZO_DATA", str(places / "data"))
    result = mnist(notice=silent)
    assert result.name == "MNIST" and result.x_train[0, 0, 0, 0] == np.float32(10 / 255)


@pytest.mark.parametrize("damage", ["empty", "cut", "file", "dangling"])
def test_damage_in_minizo_data_is_never_replaced(places, monkeypatch, damage):
    monkeypatch.setenv("MINIZO_DATA", str(places))
    folder = places / "mnist"
    if damage == "empty":
        folder.mkdir()
    elif damage == "file":
        folder.write_text("not a folder")
    elif damage == "dangling":
        folder.symlink_to(places / "unmounted")
    else:
        fill(folder, 10)
        assert mnist().name == "MNIST"  # control
        path = folder / f"{NAMES[0]}.gz"
        path.write_bytes(path.read_bytes()[:-3])
    lines = []
    with pytest.raises(InputError) as caught:
        mnist(notice=lines.append)
    assert str(folder) in str(caught.value) and lines == []


def test_a_folder_of_your_own(places, monkeypatch):
    fill(places / "kuzushiji", 255)
    for name in str(places / "kuzushiji"), places / "kuzushiji", f"{places / 'kuzushiji'}/":
        result = load(name, dtype="float64")
        assert result.name == "kuzushiji" and result.x_test.dtype == np.float64
        assert result.x_train.shape == (3, 1, 5, 4) and result.x_train.min() == 1
        assert result.y_train.tolist() == [7, 7, 7]
    monkeypatch.chdir(places / "kuzushiji")
    assert load(".").name == "kuzushiji"


@pytest.mark.parametrize(
    "name, hint",
    [
        ("mnits", "did you mean 'mnist'?"),
        ("MNIST", "did you mean 'mnist'?"),
        ("fashion_mnist", "did you mean 'fashion-mnist'?"),
        ("syntetic", "did you mean 'synthetic'?"),
        ("", "nor an existing folder"),
        ("no/such/folder", "nor an existing folder"),
        (Path("no-such-folder"), "nor an existing folder"),
        (3, "data set 3 is not a name"),
        (None, "data set None is not a name"),
    ],
)
def test_unknown_names(places, name, hint):
    with pytest.raises(InputError) as caught:
        load(name)
    assert hint in str(caught.value)
    assert "cifar10, cifar100, cifar100:coarse, synthetic, synthetic-shapes" in str(caught.value)


def test_a_file_is_not_a_folder(places):
    (places / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name the folder"):
        load(places / "file")


def test_bad_dtype_is_found_before_any_work(places):
    with pytest.raises(InputError, match="dtype is 'int32'"):
        mnist(dtype="int32", notice=pytest.fail)


def test_shorthands(places, quick):
    assert load("synthetic").x_train.shape == (20, 1, 28, 28)


def test_import_is_light():
    """Only NumPy comes along; what downloads and draws waits until it is needed."""
    code = (
        "import sys, minizo.data; "
        "print(sorted({'pooch', 'requests', 'tqdm', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(data.__file__).parents[2],
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif(
    not os.path.isdir(os.path.join(REAL, "mnist")), reason="$MINIZO_DATA/mnist is not there"
)
def test_the_real_mnist():
    result = mnist(notice=pytest.fail)
    assert repr(result) == (
        "Dataset('MNIST': 60000 + 10000 images of shape (1, 28, 28), float32, 10 classes)"
    )
    assert result.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(result.y_train).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert np.bincount(result.y_test).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert result.x_train.min() == 0 and result.x_train.max() == 1
    assert round(float(result.x_train.mean(dtype=np.float64)), 4) == 0.1307


@pytest.mark.parametrize("place", data.PUBLIC["cifar10"].places)
def test_places_of_cifar10(places, monkeypatch, place):
    """A folder or the archive in $MINIZO_DATA; where it is damaged nothing takes its place."""
    batches = cifar_files.contents(n=2, test=2)
    if place.endswith(".tar.gz"):
        (places / place).write_bytes(cifar_files.archive(batches))
    else:
        cifar_files.write_folder(places / place, batches)
    monkeypatch.setenv("MINIZO_DATA", str(places))
    result = cifar10(notice=pytest.fail)
    assert result.name == "CIFAR-10" and result.x_train.shape == (10, 3, 32, 32)
    if (places / place).is_dir():
        (places / place / "test_batch").unlink()
    else:
        (places / place).write_bytes(b"")
    with pytest.raises(InputError, match="lacks test_batch|is no tar archive"):
        cifar10(notice=pytest.fail)


def test_the_fallback_of_cifar10_is_coloured(places, monkeypatch):
    full = data.synthetic_shapes
    monkeypatch.setattr(data, "synthetic_shapes", lambda dtype, classes: full(20, 10, 0, dtype))
    lines = []
    assert cifar10(notice=lines.append).name == "synthetic shapes (seed 0)"
    assert len(lines) == 1 and lines[0].startswith("minizo: CIFAR-10 not found")
    assert lines[0].endswith("continuing with synthetic shapes drawn by the package")


def test_moments_stand_behind_a_name(tmp_path, monkeypatch):
    """The same numbers as with ``mean`` and ``std``; an argument goes before what the name says."""
    folder = tmp_path / "own"
    cifar_files.write_folder(folder, cifar_files.contents(n=4, test=2))
    plain = load(folder, mean=0.5, std=(0.25, 0.5, 1.0))
    named = load(f"{folder}:mean=.5,std=.25/.5/1")
    np.testing.assert_array_equal(named.x_train, plain.x_train)
    assert named.name == plain.name == "own"
    both = load(f"{folder}:mean=.5,std=3", std=(0.25, 0.5, 1.0))
    np.testing.assert_array_equal(both.x_train, plain.x_train)
    assert load("synthetic-shapes:std=2").x_train.max() <= 0.5
    # a folder of that very name is one
    monkeypatch.chdir(tmp_path)
    cifar_files.write_folder(tmp_path / "own:mean=.5", cifar_files.contents(n=4, test=2))
    assert load("own:mean=.5").name == "own:mean=.5"


@pytest.mark.parametrize(
    ("behind", "sentence"),
    [
        ("mean=half", "ends in 'mean=half', but what follows a name is mean=M and std=S"),
        ("mean=.5,mean=.5", "ends in 'mean=.5', but"),
        ("std=.5,size=3", "ends in 'size=3', but"),
        ("std=", "ends in 'std=', but"),
        ("std=0", "std is 0.0, but it must be"),
        ("std=nan", "std is nan, but it must be"),
        ("mean=.5/.5", "mean has 2 numbers, but the images have 3 channels"),
    ],
)
def test_moments_that_cannot_be(tmp_path, behind, sentence):
    folder = cifar_files.write_folder(tmp_path / "own", cifar_files.contents(n=4, test=2))
    with pytest.raises(InputError) as caught:
        load(f"{folder}:{behind}")
    assert sentence in str(caught.value) and "\n" not in str(caught.value)

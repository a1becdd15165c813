"""`load("cifar100")`: its places, names and labels, and the coloured shapes in its place."""

import hashlib

import cifar_files
import numpy as np
import pytest

from minizo import data
from minizo.data import cifar100, cifar_100, download, load, synthetic_digits, synthetic_shapes
from minizo.data.cifar import CIFAR100
from minizo.data.drawn import CHUNK
from minizo.data.shapes import HUES, draw, draw_in_hues
from minizo.errors import InputError

FILES = cifar_files.contents100()
PART = "partial: 200 of 50,000 training and 100 of 10,000 test images"


@pytest.mark.parametrize("place", data.PUBLIC["cifar100"].places)
def test_places(places, monkeypatch, place):
    """A folder or the archive in $MINIZO_DATA; where it is damaged nothing takes its place."""
    path = places / place
    if place.endswith(".tar.gz"):
        path.write_bytes(cifar_files.archive(FILES, inner=CIFAR100.unpacked))
    else:
        cifar_files.write_folder(path, FILES)
    monkeypatch.setenv("MINIZO_DATA", str(places))
    fine, coarse = cifar100(notice=pytest.fail), cifar100(coarse=True, notice=pytest.fail)
    assert fine.name == f"CIFAR-100 ({PART})" and fine.classes == 100
    assert coarse.name == f"CIFAR-100 (20 superclasses; {PART})" and coarse.classes == 20
    np.testing.assert_array_equal(fine.x_train, coarse.x_train)
    np.testing.assert_array_equal(fine.y_test // 5, coarse.y_test)
    if path.is_dir():
        (path / "test").unlink()
    else:
        path.write_bytes(b"")
    for name in "cifar100", "cifar100:coarse":
        with pytest.raises(InputError, match="lacks test|is no tar archive"):
            load(name, notice=pytest.fail)


def test_a_whole_set_comes_before_a_part(places, monkeypatch):
    cifar_files.write_folder(places / "cifar-100-subset", cifar_files.contents100(100, 100))
    monkeypatch.setenv("MINIZO_DATA", str(places))
    assert cifar100().x_train.shape[0] == 100
    cifar_files.write_folder(places / "cifar-100-python", FILES)
    assert cifar100().x_train.shape[0] == 200


def test_the_whole_set_has_the_plain_name(places, monkeypatch):
    cifar_files.write_folder(places / "cifar100", FILES)
    monkeypatch.setenv("MINIZO_DATA", str(places))
    monkeypatch.setattr(cifar_100, "SIZES", (200, 100))
    assert cifar100().name == "CIFAR-100"
    assert cifar100(coarse=True).name == "CIFAR-100 (20 superclasses)"


def test_cifar10_in_its_place(places, monkeypatch):
    cifar_files.write_folder(places / "cifar100", cifar_files.contents(n=1, test=1))
    monkeypatch.setenv("MINIZO_DATA", str(places))
    with pytest.raises(InputError, match="lacks train, test; put them there, or cifar-100-python"):
        cifar100(notice=pytest.fail)


def test_the_archive_is_downloaded_once_for_both_labels(places, monkeypatch):
    body = cifar_files.archive(FILES, inner=CIFAR100.unpacked)
    digests = {CIFAR100.archive: hashlib.sha256(body).hexdigest()}
    asked = []

    def give(mirrors, file, digest, folder, progress):
        asked.append(folder / file)
        folder.mkdir(parents=True)
        (folder / file).write_bytes(body)

    monkeypatch.setitem(download.SOURCES, "cifar100", ([], digests))
    monkeypatch.setattr(download, "_download", give)
    assert cifar100(coarse=True, notice=pytest.fail).classes == 20
    assert cifar100(notice=pytest.fail).classes == 100
    assert asked == [places / "cache" / "cifar100" / CIFAR100.archive]


@pytest.mark.parametrize("classes", [100, 20])
def test_the_fallback_has_as_many_classes(places, monkeypatch, classes):
    full = data.synthetic_shapes
    monkeypatch.setattr(data, "synthetic_shapes", lambda **given: full(500, 100, **given))
    lines = []
    result = cifar100(coarse=classes == 20, notice=lines.append, mean=0.5, std=0.5)
    assert result.name == f"synthetic shapes ({classes} classes, seed 0)"
    assert result.classes == classes == len(np.unique(result.y_train))
    assert result.x_train.min() == -1 and result.x_train.max() == 1
    assert lines == [
        "minizo: CIFAR-100 not found ($MINIZO_DATA unset, no cached copy, download failed: the "
        f"test has no network); continuing with synthetic shapes in {classes} classes drawn by "
        "the package"
    ]
    monkeypatch.setenv("MINIZO_DATA", str(places / "data"))
    cifar100(coarse=classes == 20, notice=lines.append)
    assert f"(no folder {places / 'data' / 'cifar100'}, no cached copy, " in lines[1]


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("cifar10:coarse", "did you mean 'cifar100:coarse'?"),
        ("cifar100:fine", "nor an existing folder"),
        ("cifar-100", "did you mean 'cifar100'?"),
        ("CIFAR100:coarse", "did you mean 'cifar100:coarse'?"),
        ("no/such:coarse", "nor an existing folder"),
    ],
)
def test_unknown_names(places, name, sentence):
    with pytest.raises(InputError) as caught:
        load(name)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_only_cifar100_has_coarse_labels(places):
    ten = cifar_files.write_folder(places / "ten", cifar_files.contents(n=1, test=1))
    with pytest.raises(InputError) as caught:
        load(f"{ten}:coarse")
    assert str(caught.value) == (
        f"data set '{ten}:coarse' has no coarse labels, which only CIFAR-100 has; leave ':coarse' "
        "out"
    )


def test_shapes_in_hues_are_balanced_in_fives():
    fine, coarse = (synthetic_shapes(2 * CHUNK, 7, classes=n) for n in (100, 20))
    for chunk in np.split(fine.y_train, 2):
        assert np.bincount(chunk).tolist() == [CHUNK // 100] * 100
    np.testing.assert_array_equal(coarse.x_train, fine.x_train)
    np.testing.assert_array_equal(coarse.y_train, fine.y_train // 5)
    mean, std = (np.array(v)[:, None, None] for v in (cifar_100.MEAN, cifar_100.STD))
    levels = 255 * (fine.x_train * std + mean)  # bytes, normalised as CIFAR-100
    np.testing.assert_allclose(np.rint(levels), levels, atol=1e-3)


def test_the_hue_of_a_shape_is_that_of_its_class():
    """The mean colour in the middle of 400 discs, turned back by its class: red, a positive number.

    An image's number has a standard deviation of at most 0.1 across and 0.2 along, so that six of
    the mean are 0.03 and 0.06; colours with one hue lie on a hexagon and not on a circle, up to
    0.015 aside. Control: without hues 0.35 both ways, six of the mean 0.105, around 0.
    """

    def colour(images):
        # red, green and blue in [0, 1] as weights of the three cube roots of 1
        r, g, b = images[:, :, 14:18, 14:18].mean(axis=(0, 2, 3)) / 255
        return r + g * np.exp(2j * np.pi / 3) + b * np.exp(4j * np.pi / 3)

    rng = np.random.default_rng(0)
    for hue in range(HUES):
        found = colour(draw_in_hues(np.full(400, hue), rng)) * np.exp(-2j * np.pi * hue / HUES)
        assert found.real > 0.4 and abs(found.imag) < 0.045
    found = colour(draw(np.full(400, 0), rng))
    assert abs(found.real) < 0.105 and abs(found.imag) < 0.105


@pytest.mark.parametrize("classes", [0, 11, 50, "100", None])
def test_other_numbers_of_shapes(classes):
    with pytest.raises(InputError, match=r"classes is .*, but there are 10 shapes, 100 with"):
        synthetic_shapes(10, 10, classes=classes)


def test_mean_and_std_of_drawn_digits():
    grey = synthetic_digits(20, 10)
    other = synthetic_digits(20, 10, mean=0.1307, std=0.3081)
    np.testing.assert_allclose(other.x_train, (grey.x_train - 0.1307) / 0.3081, atol=1e-5)
    assert other.digest != grey.digest

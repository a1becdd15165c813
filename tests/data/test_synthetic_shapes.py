"""Coloured shapes: reproducible, balanced, told apart by their form and by nothing simpler."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minizo.data import drawn, load, synthetic_shapes
from minizo.data.cifar import MEAN, STD
from minizo.data.drawn import CHUNK
from minizo.data.shapes import ANGLES, NAMES, OUTLINES, draw
from minizo.errors import InputError


def same(a, b):
    return all(
        np.array_equal(getattr(a, part), getattr(b, part))
        for part in ("x_train", "y_train", "x_test", "y_test")
    )


def test_shapes_types_and_range():
    data = synthetic_shapes(600, 100)
    assert data.name == "synthetic shapes (seed 0)" and data.classes == len(NAMES) == 10
    assert data.x_train.shape == (600, 3, 32, 32) and data.x_test.shape == (100, 3, 32, 32)
    assert data.x_train.dtype == np.float32 and data.y_train.dtype == np.int64
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    levels = 255 * (data.x_train * std + mean)
    np.testing.assert_allclose(np.rint(levels), levels, atol=1e-3)  # bytes, as in CIFAR-10
    assert levels.min() > -0.01 and levels.max() < 255.01
    # after normalisation as of CIFAR-10, each channel has a mean near 0 and a spread near 1
    assert np.all(np.abs(data.x_train.mean(axis=(0, 2, 3))) < 0.3)
    assert np.all(np.abs(data.x_train.std(axis=(0, 2, 3)) - 1.3) < 0.4)
    assert synthetic_shapes(10, 10, dtype="float64").x_train.dtype == np.float64


def test_the_seed_decides():
    first = synthetic_shapes(600, 100, seed=3)
    assert same(first, synthetic_shapes(600, 100, seed=3))
    other = synthetic_shapes(600, 100, seed=4)
    assert not np.array_equal(first.x_train, other.x_train)
    assert not np.array_equal(first.y_train, other.y_train)
    assert not np.array_equal(first.x_train[:100], first.x_test)
    assert other.name == "synthetic shapes (seed 4)"


def test_a_short_set_is_the_beginning_of_a_long_one(monkeypatch):
    long = synthetic_shapes(CHUNK + 100, CHUNK + 1)
    assert same(synthetic_shapes(CHUNK - 1, 3), long.head(CHUNK - 1, 3))
    monkeypatch.setattr(drawn, "ThreadPoolExecutor", lambda: ThreadPoolExecutor(1))
    assert same(synthetic_shapes(CHUNK + 100, CHUNK + 1), long)  # whatever the threads


def test_labels_are_balanced_and_shuffled_and_no_image_is_drawn_twice():
    data = synthetic_shapes(2 * CHUNK, CHUNK)
    for chunk in (*np.split(data.y_train, 2), data.y_test):
        assert np.bincount(chunk).tolist() == [CHUNK // 10] * 10
        assert np.any(np.diff(chunk) < 0)
    images = np.concatenate([data.x_train, data.x_test]).reshape(3 * CHUNK, -1)
    assert len(np.unique(images, axis=0)) == 3 * CHUNK


def test_outlines_pass_through_their_corners_and_are_straight_between():
    """The square: radius 1.1 at its corners, 1.1 cos 45 degrees in the middle of its sides."""
    square = OUTLINES[NAMES.index("square")]
    phi = 2 * np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    side = 1.1 * np.cos(np.pi / 4)
    exact = side / np.maximum(np.abs(np.cos(phi)), np.abs(np.sin(phi)))
    np.testing.assert_allclose(square, exact, rtol=1e-6)
    disc = OUTLINES[NAMES.index("disc")]
    assert disc.max() <= 1 and disc.min() > 0.998  # a polygon of 60 corners
    assert np.all(OUTLINES > 0) and np.all(OUTLINES <= 1.2001)


def test_colour_and_mean_picture_say_nothing_about_the_class():
    """Means of classes predict 10 shapes hardly better than chance (10 %)."""
    data = synthetic_shapes(5000, 2000)
    for features in (
        lambda x: x.mean(axis=(2, 3)),
        lambda x: x.reshape(len(x), -1),
    ):
        train, test = features(data.x_train), features(data.x_test)
        centres = np.stack([train[data.y_train == k].mean(axis=0) for k in range(10)])
        distance = ((test[:, None, :] - centres[None]) ** 2).sum(axis=2)
        assert (np.argmin(distance, axis=1) == data.y_test).mean() < 0.2


def test_a_drawn_image_holds_its_shape():
    """Disc against ring: the hole is of the ground's colour."""
    rng = np.random.default_rng(0)
    for name, hole in ("disc", False), ("ring", True):
        images = draw(np.full(500, NAMES.index(name)), rng).astype(float)
        middle, edge = images[:, :, 15:17, 15:17], images[:, :, ::31, ::31]
        gap = np.abs(middle.mean(axis=(2, 3)) - edge.mean(axis=(2, 3))).sum(axis=1)
        assert (np.median(gap) < 120) == hole


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"n_train": 0}, "n_train is 0, but it must be a whole number of at least 1"),
        ({"n_test": 1.5}, "n_test is 1.5"),
        ({"seed": -1}, "seed is -1, but it must be a whole number of at least 0"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        synthetic_shapes(**{"n_train": 10, "n_test": 10} | arguments)


def test_the_name_of_the_set(monkeypatch):
    monkeypatch.setattr("minizo.data.synthetic_shapes", lambda dtype, classes: dtype)
    assert load("synthetic-shapes", dtype="float64") == "float64"

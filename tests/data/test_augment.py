"""Random crops and flips: against a loop, decided by the stream, alike on every library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import SIGMAS, GivenNumbers

from minizo import InputError, rng
from minizo.data import CropFlip

STREAM = rng.at(3, "augment", 17)


def by_hand(x, stream, pad, flip):
    """The definition, an image at a time, from the same three numbers each."""
    n, _, height, width = x.shape
    u = stream.uniform(np.empty((3, n), x.dtype))
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    images = []
    for i in range(n):
        a, b = (min(int((v + 1) / 2 * (2 * pad + 1)), 2 * pad) for v in u[:2, i].astype(float))
        window = padded[i, :, a : a + height, b : b + width]
        images.append(window[:, :, ::-1] if flip and u[2, i] > 0 else window)
    return np.stack(images)


@given(
    shape=hnp.array_shapes(min_dims=4, max_dims=4, max_side=6),
    pad=st.integers(0, 4),
    flip=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_against_a_loop(shape, pad, flip, seed):
    x = np.arange(1.0, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    before = x.copy()
    stream = rng.at(seed, "augment", 1)
    y = CropFlip(pad, flip)(x, stream)
    assert y.dtype == x.dtype and y.shape == x.shape
    np.testing.assert_array_equal(y, by_hand(x, stream, pad, flip))
    np.testing.assert_array_equal(x, before)


def test_the_ends_of_the_law():
    """Uniform numbers next to -1 and 1 give the first and the last window."""
    x = np.arange(1.0, 10.0, dtype=np.float32).reshape(1, 1, 3, 3)
    end = np.float32(1 - 2.0**-24)
    first = CropFlip(1, False)(x, GivenNumbers(np.full((3, 1), -end)))
    np.testing.assert_array_equal(first[0, 0], [[0, 0, 0], [0, 1, 2], [0, 4, 5]])
    last = CropFlip(1, False)(x, GivenNumbers(np.full((3, 1), end)))
    np.testing.assert_array_equal(last[0, 0], [[5, 6, 0], [8, 9, 0], [0, 0, 0]])


def test_the_stream_decides():
    x = np.random.default_rng(0).normal(size=(50, 3, 8, 8)).astype(np.float32)
    augment = CropFlip()
    y = augment(x, STREAM)
    np.testing.assert_array_equal(augment(x, STREAM), y)
    assert not np.array_equal(augment(x, rng.at(3, "augment", 18)), y)
    assert not np.array_equal(augment(x, rng.at(4, "augment", 17)), y)


def test_same_on_array_api_strict():
    strict = pytest.importorskip("array_api_strict")
    x = np.random.default_rng(0).normal(size=(20, 3, 7, 6)).astype(np.float32)
    for augment in CropFlip(), CropFlip(2, flip=False):
        y = augment(strict.asarray(x), STREAM)
        assert y.dtype == strict.float32
        np.testing.assert_array_equal(np.asarray(y), augment(x, STREAM))


def test_every_place_is_as_likely_and_half_are_mirrored():
    """25 windows of 2 x 2 pixels in 20,000 images: each count within 6 sigma of 1/25; 1/2."""
    n, pad, p = 20000, 2, 1 / 25
    x = np.zeros((n, 1, 5, 5), np.float32)
    x[:, :, 2, 2] = 1.0  # a dot in the middle says where the window was
    y = CropFlip(pad, flip=False)(x, STREAM)
    places = np.argmax(y.reshape(n, -1), axis=1)
    counts = np.bincount(places, minlength=25)
    assert np.all(np.abs(counts - n * p) <= SIGMAS * np.sqrt(n * p * (1 - p)))
    x = np.zeros((n, 1, 1, 2), np.float32)
    x[..., 0] = 1.0
    mirrored = CropFlip(0)(x, STREAM)[:, 0, 0, 1].sum()
    assert abs(mirrored - n / 2) <= SIGMAS * np.sqrt(n / 4)
    # control: a law that forgets the last window of five is found out
    wrong = np.minimum(places, 19)
    assert np.any(np.abs(np.bincount(wrong, minlength=25) - n * p) > SIGMAS * np.sqrt(n * p))


@pytest.mark.parametrize("pad", [-1, 1.5, "4"])
def test_bad_padding(pad):
    with pytest.raises(InputError, match="CropFlip.pad is .* at least 0"):
        CropFlip(pad)

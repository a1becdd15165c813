"""The `Dataset` record."""

import dataclasses
import pickle

import numpy as np
import pytest

from minizo.data.dataset import Dataset, from_bytes
from minizo.errors import InputError


def small(**changes):
    x, y = np.zeros((6, 1, 4, 3), np.float32), np.arange(6)
    arrays = dict(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2]) | changes
    return Dataset("small", **arrays)


def test_from_bytes():
    x = np.array([[[0, 51], [102, 255]]], np.uint8)
    y = np.array([7], np.uint8)
    data = from_bytes("one", x, y, x, y)
    assert data.x_train.dtype == np.float32 and data.x_train.shape == (1, 1, 2, 2)
    assert data.y_train.dtype == np.int64 and data.y_test.tolist() == [7]
    np.testing.assert_array_equal(data.x_train, np.float32([[[[0, 0.2], [0.4, 1]]]]))
    assert from_bytes("one", x, y, x, y, "float64").x_test.dtype == np.float64
    assert x.dtype == np.uint8 and x.max() == 255  # the input is as it was


def test_repr_is_short():
    assert repr(small()) == "Dataset('small': 6 + 2 images of shape (1, 4, 3), float32, 10 classes)"


def test_frozen_and_picklable():
    data = small()
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"
    assert repr(pickle.loads(pickle.dumps(data))) == repr(data)


def test_head_is_a_view():
    data = small()
    head = data.head(3, 1)
    assert head.x_train.shape[0] == head.y_train.shape[0] == 3 and len(head.x_test) == 1
    assert np.shares_memory(head.x_train, data.x_train) and len(data.x_train) == 6
    for sizes, argument in (
        ((7, 1), "n_train is 7"),
        ((0, 1), "n_train is 0"),
        ((1, -1), "n_test is -1"),
        ((2.0, 1), "n_train is 2.0, but it must be a whole number"),
        ((1, True), "n_test is True, but it must be a whole number"),
    ):
        with pytest.raises(InputError, match=argument):
            data.head(*sizes)


def test_astype():
    data = small()
    double = data.astype("float64")
    assert double.x_train.dtype == double.x_test.dtype == np.float64
    assert double.y_train.dtype == np.int64 and data.x_train.dtype == np.float32
    for dtype in "int32", "float16", "nonsense", None:
        with pytest.raises(InputError, match="floating-point type"):
            data.astype(dtype)


def test_to_numpy_keeps_everything():
    data = small()
    moved = data.to()
    assert moved.x_train is data.x_train and repr(moved) == repr(data)


def test_to_another_namespace():
    xp = pytest.importorskip("array_api_strict")
    moved = small().to(xp)
    assert isinstance(moved.x_train, type(xp.asarray(0.0))) and repr(moved.to(xp)) == repr(moved)


@pytest.mark.gpu
def test_to_the_gpu_and_back(cupy):
    data = small()
    back = data.to(cupy).to(np)
    assert isinstance(data.to(cupy).y_train, cupy.ndarray)
    np.testing.assert_array_equal(back.y_train, data.y_train)


LABELS = np.arange(6)
PIXELS = np.linspace(-1.0, 2.0, 72, dtype=np.float32).reshape(6, 1, 4, 3)


def with_one(x, value, place=0):
    """A copy of x that holds ``value`` in one place."""
    x = np.array(x)
    x.reshape(-1)[place] = value
    return x


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    "labels, sentence",
    [
        (LABELS[:5], r"shape of y_\w+ is \(5,\), but the 6 images of x_\w+ need"),
        (LABELS[:, None], r"shape of y_\w+ is \(6, 1\), but the 6 images"),
        (with_one(LABELS, 10), r"a label of y_\w+ is 10, but labels lie in 0 .. 9"),
        (with_one(LABELS, -1, 5), r"a label of y_\w+ is -1, but labels lie in 0 .. 9"),
        (
            with_one(LABELS.astype(np.uint64), 2**64 - 1),
            r"a label of y_\w+ is 18446744073709551615",
        ),
        (LABELS * 0.9, "dtype of y_\\w+ is 'float64', but labels are whole numbers: convert"),
        (LABELS * 1.0, "dtype of y_\\w+ is 'float64'"),
        (with_one(LABELS * 1.0, np.nan), "dtype of y_\\w+ is 'float64'"),
        (LABELS > 3, "dtype of y_\\w+ is 'bool'"),
        (LABELS.astype(str), "dtype of y_\\w+ is '<U"),
        (LABELS.astype(object), "dtype of y_\\w+ is 'object'"),
        (LABELS.tolist(), "expected an array, got list; convert it with numpy.asarray"),
    ],
)
def test_labels_that_are_none(part, labels, sentence):
    """Whatever is not whole numbers from 0 to classes - 1 is one sentence, in either set."""
    small(x_test=PIXELS, y_test=LABELS)  # control
    with pytest.raises(InputError, match=sentence):
        small(**{"x_test": PIXELS, "y_test": LABELS, f"y_{part}": labels})


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">u8"])
def test_labels_of_any_integer_type(dtype):
    """They are kept as int64, in which nothing wraps round."""
    data = small(y_train=LABELS.astype(dtype), y_test=LABELS[:2].astype(dtype))
    for labels, wanted in ((data.y_train, LABELS), (data.y_test, LABELS[:2])):
        assert labels.dtype == np.dtype("int64") and labels.dtype.isnative
        np.testing.assert_array_equal(labels, wanted)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    "images, sentence",
    [
        (PIXELS[:, 0], r"shape of x_\w+ is \(6, 4, 3\), but images are"),
        (
            PIXELS.astype(np.float16),
            "dtype of x_\\w+ is 'float16', but images are float32 or float64",
        ),
        (PIXELS.astype(np.longdouble), "dtype of x_\\w+ is "),
        (PIXELS.astype(np.complex64), "dtype of x_\\w+ is 'complex64'"),
        ((255 * PIXELS).astype(np.uint8), "is 'uint8'.*astype\\('float32'\\) / 255"),
        (PIXELS.astype(int), "dtype of x_\\w+ is 'int64'"),
        (PIXELS > 0.5, "dtype of x_\\w+ is 'bool'"),
        (PIXELS.astype(str), "dtype of x_\\w+ is '<U"),
        (with_one(PIXELS, np.nan, 7), r"a number of x_\w+ is nan, but images must be finite"),
        (with_one(PIXELS, np.inf, 7), r"a number of x_\w+ is inf, but images must be finite"),
        (with_one(PIXELS, -np.inf, 7), r"a number of x_\w+ is -inf, but images must be finite"),
        (PIXELS.astype(np.float64), "the dtype of x_test is '(float64|float32)', but the training"),
        (PIXELS[:, :, :3], r"shape of a test image is .* but the training images"),
        (PIXELS.tolist(), "expected an array, got list"),
    ],
)
def test_images_that_are_none(part, images, sentence):
    """Another type, another shape or a number that is not finite is one sentence, in either set."""
    images_of = {"x_train": PIXELS, "x_test": PIXELS, "y_test": LABELS, f"x_{part}": images}
    with pytest.raises(InputError, match=sentence):
        small(**images_of)


@pytest.mark.parametrize(
    "store",
    [
        lambda x: x.astype(x.dtype.newbyteorder(">")),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=3)[:, :, :, ::2],
        lambda x: x[::-1].copy()[::-1],
    ],
    ids=["big-endian", "columns-first", "every-second", "backwards"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images_stored_in_another_way(store, dtype):
    """Byte order and strides are set right, so that a run has the bits of the plain array."""
    plain = PIXELS.astype(dtype)
    data = small(x_train=store(plain), x_test=store(plain[:2]))
    for x, wanted in ((data.x_train, plain), (data.x_test, plain[:2])):
        assert x.dtype.isnative and x.dtype.name == dtype and x.flags.c_contiguous
        np.testing.assert_array_equal(x, wanted)


@pytest.mark.parametrize("classes", [0, -3, 2.5, 10.0, True, "ten", float("nan"), None])
def test_classes_is_a_whole_number(classes):
    with pytest.raises(
        InputError, match="classes is .*, but it must be a whole number of at least 1"
    ):
        small(classes=classes)


def test_libraries_are_not_mixed():
    xp = pytest.importorskip("array_api_strict")
    with pytest.raises(InputError, match="are mixed"):
        small(x_train=xp.asarray(PIXELS))


def test_a_number_too_large_for_another_type_is_found():
    """astype looks at the numbers again: 1e300 is infinite in float32."""
    data = small(x_train=with_one(PIXELS.astype(float), 1e300), x_test=PIXELS[:2].astype(float))
    with pytest.raises(InputError, match="a number of x_train is inf"), np.errstate(over="ignore"):
        data.astype("float32")

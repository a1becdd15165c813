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
    ):
        with pytest.raises(InputError, match=argument):
            data.head(*sizes)


def test_astype():
    data = small()
    double = data.astype("float64")
    assert double.x_train.dtype == double.x_test.dtype == np.float64
    assert double.y_train.dtype == np.int64 and data.x_train.dtype == np.float32
    for dtype in "int32", "nonsense", None:
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


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (
            dict(x_train=np.zeros((6, 4, 3))),
            r"shape of x_train is \(6, 4, 3\), but images have the ",
        ),
        (
            dict(y_train=np.arange(5)),
            r"shape of y_train is \(5,\), but the 6 images of x_train need",
        ),
        (dict(y_test=np.array([3, 10])), r"a label of y_test is 10, but labels lie in 0 .. 9"),
        (dict(y_test=np.array([3, -1])), r"a label of y_test is -1, but labels lie in 0 .. 9"),
        (
            dict(x_test=np.zeros((2, 1, 3, 3))),
            r"shape of a test image is \(1, 3, 3\), but the train",
        ),
    ],
)
def test_arrays_that_do_not_fit(changes, sentence):
    small()  # control
    with pytest.raises(InputError, match=sentence):
        small(**changes)

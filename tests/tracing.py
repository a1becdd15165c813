"""A namespace that tells when the host meets the device: array-api-strict, its arrays watched.

Inside `watch` every read of an array by the host (`float`, `bool`, `int`, an index, `item`, a copy
to NumPy) and every array made from host data (a list, a number, a NumPy array) is noted with the
place in the package that asked for it. On a GPU each of them would make the host wait for the
device, or copy across the bus. So does everything whose shape depends on values (`nonzero`, a mask
as an index), which is noted, too.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import array_api_strict as strict
import numpy as np

import minizo

DEVICE = strict.Device("device1")
PACKAGE = f"{Path(minizo.__file__).parent}{os.sep}"  # whatever the checkout is called
READS = ("__float__", "__bool__", "__int__", "__index__", "__complex__", "item", "tolist")
COPIES = ("__array__", "__buffer__", "__dlpack__", "to_device")
SHAPED_BY_VALUES = ("nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values")


class Event(NamedTuple):
    """what : str, such as ``"__float__"``;  place : str, ``"train.py:advance"``."""

    what: str
    place: str


def put(x):
    """``x`` (host data) on the fake device."""
    return strict.asarray(np.asarray(x), device=DEVICE)


def _asked_by():
    # (the library itself is the caller, the nearest place of ours that is not backend.py)
    frame = sys._getframe(2)
    inside = frame.f_globals.get("__name__", "").startswith("array_api_strict")
    while frame is not None:
        path = frame.f_code.co_filename
        name = path.removeprefix(PACKAGE)
        function = frame.f_code.co_name
        if path.startswith(PACKAGE) and name != "backend.py" and not function.startswith("<"):
            return inside, f"{name}:{function}"
        frame = frame.f_back
    return inside, "outside"


@contextmanager
def watch():
    """A list that grows by an `Event` each time that host and device meet."""
    array, events = type(put(0.0)), []

    def note(what):
        inside, place = _asked_by()
        if not inside:  # what the library asks of its own arrays is its business
            events.append(Event(what, place))

    def noting(what, function):
        def wrapped(self, *args, **options):
            note(what)
            return function(self, *args, **options)

        return wrapped

    def missing(name):
        return lambda self: getattr(self._array, name)()

    def getitem(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, array) and k.dtype == strict.bool for k in keys):
            note("mask")
        return _getitem(self, key)

    def asarray(obj, /, **options):
        if not isinstance(obj, array):
            note(f"asarray of {type(obj).__name__}")
        return _asarray(obj, **options)

    _getitem, _asarray = array.__getitem__, strict.asarray
    with mock.patch.object(array, "__getitem__", getitem):
        patches = [mock.patch.object(strict, "asarray", asarray)]
        for name in (*READS, *COPIES):
            own = getattr(array, name, None)
            if own is None and name.startswith("__"):
                continue
            own = missing(name) if own is None else own
            patches.append(mock.patch.object(array, name, noting(name, own), create=True))
        for name in SHAPED_BY_VALUES:
            patches.append(mock.patch.object(strict, name, noting(name, getattr(strict, name))))
        for patch in patches:
            patch.start()
        try:
            yield events
        finally:
            for patch in patches:
                patch.stop()

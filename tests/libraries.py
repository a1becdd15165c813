"""What the tests on other array libraries share: moves, comparisons, tolerances."""

from dataclasses import dataclass

import numpy as np

from minizo import backend
from minizo.hypernets.generators import Given

# Relative to the largest number of an array. A sum in another order differs by some roundings.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@dataclass(frozen=True)
class Library:
    """The other array library: its name, and what puts host data on its device."""

    name: str
    put: object

    def holds(self, x):
        """Whether an array is one of this library's, on the device where it should be."""
        return type(x) is type(self.put(0.0)) and x.device == self.put(0.0).device


def moved(tree, move):
    """A nest of dicts and tuples with every NumPy array put on the device."""
    if isinstance(tree, dict):
        return {name: moved(value, move) for name, value in tree.items()}
    if isinstance(tree, Given):
        return Given(*(moved(value, move) for value in tree))
    if isinstance(tree, tuple | list):
        return tuple(moved(value, move) for value in tree)
    return move(tree) if isinstance(tree, np.ndarray) else tree


def compare(ours, reference, library, tolerance=None):
    """Assert that two nests of arrays are the same: structure, shape, dtype, values, place."""
    if isinstance(reference, dict):
        assert list(ours) == list(reference)
        ours, reference = tuple(ours.values()), tuple(reference.values())
    if isinstance(reference, tuple | list):
        assert len(ours) == len(reference)
        for own, theirs in zip(ours, reference, strict=True):
            compare(own, theirs, library, tolerance)
        return
    if reference is None or type(reference) in (int, float, str):
        assert ours == reference
        return
    reference = np.asarray(reference)
    assert library.holds(ours)
    assert ours.shape == reference.shape
    assert backend.numpy_dtype(ours) == reference.dtype
    size = np.max(np.abs(reference), initial=0.0, where=np.isfinite(reference))
    bound = (TOLERANCE.get(str(reference.dtype), 0.0) if tolerance is None else tolerance) * (
        size + 1e-30
    )
    np.testing.assert_allclose(backend.to_numpy(ours), reference, rtol=0, atol=bound)


def numbers(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)

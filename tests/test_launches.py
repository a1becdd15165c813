"""What a training step asks of the card: never a copy to or from the host, never a wait."""

import json

import numpy as np
import pytest
from conftest import blobs
from launches import FIGURES, NARROW, NETWORKS, measure, rules, show

from minizo import STE, Objective, backend, fit_many, models, optim, quantizers
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS

pytestmark = pytest.mark.gpu

KINDS = ("h2d", "d2h", "sync")
# a step of ResNet-20 with a slow-net is a hundred thousand kernels: counted by the script alone
SOME = {"784-10-10": None, "LeNet": None, "ResNet-20": ("ste", "fogzo n=1", "proxquant", "fcgrad")}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_neither_copies_nor_waits(network, card, cupy):
    """Every estimator; and as many kernels as figures/launches.json says, with its CuPy."""
    found = measure(network, SOME[network])
    assert {name.partition(" ")[0] for name in rules(network)} == set(ESTIMATORS)
    assert {name: [n[kind] for kind in KINDS] for name, n in found.items()} == {
        name: [0, 0, 0] for name in found
    }
    record = json.loads((FIGURES / "launches.json").read_text())
    if record["cupy"] == cupy.__version__:
        known = record["steps"][network]
        launches = {name: n["launch"] for name, n in found.items()}
        assert launches == {name: known[name]["launch"] for name in found}


def test_the_record_is_whole():
    record = json.loads((FIGURES / "launches.json").read_text())
    assert {name: set(rows) for name, rows in record["steps"].items()} == {
        name: set(rules(name)) for name in NETWORKS
    }
    assert show(record["steps"]) in (FIGURES / "launches.txt").read_text()
    assert NARROW.keys() <= {f for rule in ESTIMATORS.values() for f in rule.__dataclass_fields__}


def test_many_rows_neither_copy_nor_wait(card, cupy):
    """12 seeds trained together; the last of 3 steps."""
    x, labels = blobs(60, 3, 8, 1)
    data = Dataset("toy", *map(cupy.asarray, (x, labels, x, labels)), classes=3)
    objective = Objective(models.mlp(8, 4, 3, input_shape=(1, 1, 8)), quantizers.MidRise())
    pairs, seen = [(optim.Adam(0.01), seed) for seed in range(12)], []

    def tick(rows):
        seen.append(card.counts())

    options = {"steps": 3, "batch": 10, "record_every": 3, "progress": tick}
    fit_many(objective, data, STE(), pairs, **options)
    assert [seen[2][kind] - seen[1][kind] for kind in KINDS] == [0, 0, 0]


def test_what_copies_and_what_waits_is_counted(card, cupy):
    """Negative control: CuPy's own ``concat`` of 9 arrays, a number read by the host."""
    arrays = [cupy.ones(2)] * 9
    with card.counted() as ours:
        joined = backend.concat(arrays)
    with card.counted() as theirs:
        cupy.concat(arrays)
    assert ours["h2d"] == 0 < theirs["h2d"]
    with card.counted() as read:
        assert float(joined.sum()) == 18.0
    assert read["d2h"] == 1


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joining_is_the_librarys(axis, cupy):
    arrays = [np.random.default_rng(i).normal(size=(2, 3)) for i in range(10)]
    for ours, theirs in ((backend.concat, np.concat), (backend.stack, np.stack)):
        found = ours([cupy.asarray(x) for x in arrays], axis)
        np.testing.assert_array_equal(cupy.asnumpy(found), theirs(arrays, axis=axis))

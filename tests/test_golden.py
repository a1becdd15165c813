"""Golden traces: no change of the code changes the numbers unseen."""

import json

import numpy as np
import pytest
from golden import NETWORKS, RECORD, trace

from minizo.estimators import ESTIMATORS

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def record():
    """The traces as they were kept."""
    return json.loads(RECORD.read_text())


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_five_steps(estimator, network, record):
    """Losses, passes and theta as they were, to 1e-9."""
    known, found = record[f"{network} {estimator}"], trace(network, estimator)
    assert found.keys() == known.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, known[name], rtol=TOLERANCE, atol=TOLERANCE)


def test_the_traces_differ(record):
    """Negative control: no two estimators have the same trace on a network."""
    for network in NETWORKS:
        ends = [tuple(record[f"{network} {name}"]["theta"]) for name in ESTIMATORS]
        assert len(set(ends)) == len(ends)

"""Golden traces: five steps of every estimator on three networks, so that changes are seen.

``python tests/golden.py`` writes ``tests/golden.json`` anew; do that only where a change of the
numbers is meant, and say why in the commit.
"""

import json
import sys
from pathlib import Path

import numpy as np

from minizo import Objective, fit, models, optim, quantizers
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS

RECORD = Path(__file__).with_suffix(".json")
STEPS, BATCH, SEED = 5, 8, 3
# directions few, hypernetworks small, blending seen within five steps
SMALL = {"n": 3, "beta_schedule": "constant", "rho": 0.05, "units": 3, "expand": 3}
SMALL |= {"states": 2, "length": 2}
NETWORKS = {
    "mlp": (lambda: models.mlp(64, 10, 10), (1, 8, 8)),
    "lenet": (lambda: models.lenet((3, 4)), (1, 28, 28)),
    "resnet": (lambda: models.resnet(8, width=4, input_shape=(3, 8, 8)), (3, 8, 8)),
}


def images(shape):
    """24 training and 8 test images of noise around ten centres, float64; 3 batches an epoch."""
    rng = np.random.default_rng(SEED)
    labels = rng.integers(0, 10, 32)
    x = np.clip(rng.random((10, *shape))[labels] + 0.3 * rng.normal(size=(32, *shape)), 0.0, 1.0)
    return Dataset("noise", x[:24], labels[:24], x[24:], labels[24:], classes=10)


def rule(name):
    """The estimator with small settings."""
    fields = ESTIMATORS[name].__dataclass_fields__
    return ESTIMATORS[name](
        **{field: value for field, value in SMALL.items() if field in fields and fields[field].init}
    )


def trace(network, estimator):
    """Losses, passes, and projections of theta on four fixed vectors of signs: {name: numbers}."""
    make, shape = NETWORKS[network]
    objective = Objective(make(), quantizers.MidRise("tanh"))
    run = fit(
        objective, images(shape), rule(estimator), optim.Adam(0.01), steps=STEPS, batch=BATCH,
        seed=SEED, record_every=1, watch={"norm": lambda o, s: float(np.linalg.norm(s.theta))},
    )  # fmt: skip
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (4, run.theta.shape[0]))
    columns = ("train_loss", "test_accuracy", "norm", "forwards", "backwards", "macs")
    return {name: run.records[name] for name in columns} | {"theta": (signs @ run.theta).tolist()}


def main():
    """Write the record."""
    found = {}
    for network in NETWORKS:
        for name in ESTIMATORS:
            found[f"{network} {name}"] = trace(network, name)
            print(network, name, found[f"{network} {name}"]["train_loss"][-1], file=sys.stderr)
    RECORD.write_text(json.dumps(found, indent=None, separators=(",", ":")).replace("},", "},\n"))


if __name__ == "__main__":
    main()

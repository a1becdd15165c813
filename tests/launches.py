"""What one training step asks of a card: kernels, copies, waits, allocations.

``python tests/launches.py`` prints the table of every estimator on three networks, and writes
``figures/launches.txt`` and ``figures/launches.json``. It needs no card: the real CuPy runs on the
simulated one (`fakegpu`), which is asked for everything and computes nothing.
"""

import json
import sys
import time
from pathlib import Path

import fakegpu

import minizo
from minizo import Objective, models, optim, quantizers, report, train
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS
from minizo.group import Group
from minizo.parallel import Pool
from minizo.recipe import Recipe

FIGURES = Path(__file__).parent.parent / "figures"
NETWORKS = {  # name -> network, quantiser, examples a batch
    "784-10-10": (lambda: models.mlp(784, 10, 10), quantizers.MidRise(), 100),
    "LeNet": (models.lenet, quantizers.MidRise(), 100),
    "ResNet-20": (lambda: models.resnet(20), quantizers.MidRise(), 128),
}
# On the convolutional networks the slow-nets read shorter and narrower sequences: the number of
# kernels depends on the length of the history, not on the width.
NARROW = {"units": 4, "expand": 4, "states": 2}
STEPS = 3  # the last is counted: by then every kernel is compiled and memory is in the pool
HEADERS = ("estimator", "launches", "copies within", "copies to and from", "waits", "allocations")


class _Enough(Exception):
    """The step that is counted is over."""


def count(estimator, network, quantizer, batch):
    """`fakegpu.counts` of one step of Adam, in the middle of an epoch, float32.

    Returns
    -------
    dict of str to int
    """
    import cupy

    x = cupy.zeros((2 * STEPS * batch, *network.input_shape), "float32")
    labels = cupy.zeros(2 * STEPS * batch, "int64")
    data = Dataset("zeros", x, labels, x[:batch], labels[:batch], classes=10)
    objective = Objective(network, quantizer)
    objective = objective.calibrate(objective.network.init(0, like=x))
    rule = optim.Adam(0.01)
    recipe = Recipe(objective, data, estimator, rule, 2 * STEPS, batch, 0, 2 * STEPS)
    group, seen = Group((recipe,)), []

    def tick(step):
        seen.append(fakegpu.counts())
        if len(seen) == STEPS:
            raise _Enough

    fakegpu.dry(True)
    try:
        train.advance(group, train.start_state(group), group.batches(0), 2 * STEPS, Pool(), tick)
    except _Enough:
        pass
    finally:
        fakegpu.dry(False)
    before, after = seen[-2:]
    return {kind: after[kind] - before[kind] for kind in after}


def rules(network):
    """Every estimator by the name in the table, with the defaults of the command line."""
    found = {}
    for name, rule in ESTIMATORS.items():
        known = rule.__dataclass_fields__
        narrow = {} if network == "784-10-10" else NARROW
        own = {field: value for field, value in narrow.items() if field in known}
        for n in (1, 10) if "n" in known else (None,):
            found[name if n is None else f"{name} n={n}"] = rule(**own | ({"n": n} if n else {}))
    return found


def measure(name, estimators=None):
    """{estimator: counts} on the network called ``name``; by default of all estimators."""
    make, quantizer, batch = NETWORKS[name]
    network, known = make(), rules(name)
    chosen = known if estimators is None else estimators
    return {rule: count(known[rule], network, quantizer, batch) for rule in chosen}


def show(found):
    """The tables as text."""
    parts = []
    for network, rows in found.items():
        lines = [
            [name, f"{n['launch']:,}", n["d2d"] + n["memset"], n["h2d"] + n["d2h"], n["sync"],
             n["malloc"]]
            for name, n in rows.items()
        ]  # fmt: skip
        batch = NETWORKS[network][2]
        parts.append(f"{network}, batch {batch}\n\n{report.table(HEADERS, lines)}\n")
    return "\n".join(parts)


def main():
    """Measure, print, write."""
    problem = fakegpu.missing()
    if problem is not None:
        sys.exit(problem)
    fakegpu.install()
    import cupy

    title = (
        f"What one training step asks of a card: minizo {minizo.__version__}, CuPy "
        f"{cupy.__version__}, Adam, 2-bit mid-rise weights, float32, on a simulated card"
    )
    found = {}
    for network in NETWORKS:
        began = time.perf_counter()
        found[network] = measure(network)
        print(f"{network}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    text = f"{title}\n\n{show(found)}"
    print(text)
    record = {"minizo": minizo.__version__, "cupy": cupy.__version__, "steps": found}
    (FIGURES / "launches.txt").write_text(text)
    (FIGURES / "launches.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

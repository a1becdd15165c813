"""One table of estimators: what every one of them must do, whatever its equation.

That a step is pure, and keeps the dtype, is in `test_testing`.

A new estimator is tested once it is in `minizo.estimators.ESTIMATORS`; one with options of
interest is a row of `VARIANTS`.
"""

from dataclasses import replace

import numpy as np
import pytest
from golden import rule
from learned import TINY
from stateful import network

from minizo import (
    FOGZO,
    FSG,
    LSTMFC,
    SPSA,
    Batch,
    MultiFC,
    Objective,
    Pool,
    ProxConnect,
    ProxQuant,
    Step,
    backend,
    fit,
    models,
    optim,
    quantizers,
    threads,
)  # fmt: skip
from minizo import checkpoint as checkpoints
from minizo.estimators import ESTIMATORS, FCGrad
from minizo.records import COLUMNS

VARIANTS = {
    "spsa blocks": SPSA(n=70, law="rademacher", eps=0.1),
    "fogzo scheduled": FOGZO(n=3, beta_schedule="linear", ste_share=0.3),
    "fogzo quantized": FOGZO(n=3, law="gaussian", perturb="quantized", beta_schedule="constant"),
    "fogzo guide alone": FOGZO(n=2, beta=1.0, beta_schedule="constant"),
    "fogzo scaled guide": FOGZO(n=3, beta=0.5, beta_schedule="constant", guide="scaled"),
    "fogzo blocks": FOGZO(n=70, beta_schedule="constant"),
    "proxquant l2": ProxQuant("l2", clip=1.0, freeze=0.5),
    "proxconnect hard": ProxConnect("l2", homotopy="epoch", harden=0.5),
    "fcgrad stale": FCGrad(units=5, lookahead="stale"),
    "multifc raw": MultiFC(units=5, lookahead="raw", hyper_optimizer="sgd"),
    "fsg coord": FSG(**TINY, layout="coord", lookahead="refined"),
    "fsg tokens": FSG(**TINY, token=2, start="uniform"),
    "fsg lstm": FSG(**TINY, slow_net="lstm", commit="fast_only"),
    "fsg lstmfc": FSG(**TINY, slow_net="lstmfc"),
    "lstmfc stale": LSTMFC(units=4, lookahead="stale"),
}
ROWS = {name: rule(name) for name in ESTIMATORS} | VARIANTS
every = pytest.mark.parametrize("name", ROWS)


def steps(name, dtype, put=np.asarray):
    """Four steps of Adam on a 12-5-3 network: (theta, grads, losses, state) at the end."""
    gen = np.random.default_rng(0)
    net, estimator, optimizer = models.mlp(12, 5, 3), ROWS[name], optim.Adam(0.02)
    theta = net.init(0, like=put(np.empty(0, dtype)))
    objective = Objective(net, quantizers.MidRise("tanh")).calibrate(theta)
    state, memory = estimator.init(objective, theta), optimizer.init(theta)
    grads, losses = [], []
    for index in range(4):
        x, labels = gen.normal(size=(20, 1, 1, 12)).astype(dtype), np.arange(20) % 3
        batch = Batch(put(x), put(labels))
        step = Step(5, index, 4, per_epoch=2, optimizer=optimizer, optimizer_state=memory)
        given = (theta, batch, state, step)
        estimate, after = estimator.estimate(objective, *given)
        new, memory_after = estimator.update(
            objective, optimizer, estimate.grad, memory, theta, step
        )
        grads.append(estimate.grad)
        losses.append(estimate.loss)
        theta, state, memory = new, after, memory_after
    return theta, grads, losses, state


def arrays_of(state):
    return {k: v for k, v in checkpoints.flatten("s", state).items() if v.dtype.kind == "f"}


def numbers(trace):
    """theta, gradients, losses and the floats of the state, on the host."""
    theta, grads, losses, state = trace
    return [backend.to_numpy(v) for v in (theta, *grads, *losses)] + list(arrays_of(state).values())


@every
def test_the_same_on_another_array_library(name, on_strict):
    """Four steps in float64 on the fake device of array-api-strict: NumPy's numbers to 1e-8."""
    expected, ours = steps(name, np.float64), steps(name, np.float64, on_strict)
    for a, b in zip(numbers(ours), numbers(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def run(toy, name, **options):
    """20 steps on a network with running statistics, dropout and a residual block."""
    options = {"steps": 20, "batch": 50, "seed": 1, **options}
    objective = Objective(network(), quantizers.MidRise("tanh"))
    return fit(objective, toy, ROWS[name], optim.Adam(0.02), **options)


def digest(result):
    return backend.sha256(result.theta), *(backend.sha256(v) for v in result.state.values())


@every
def test_the_bits_do_not_depend_on_the_pool(toy, name):
    """theta and running statistics alone, in three threads, and with room for little at a time."""
    alone = digest(run(toy, name, pool=Pool()))
    with threads(3) as pool:
        assert digest(run(toy, name, pool=pool)) == alone
        assert digest(run(toy, name, pool=replace(pool, memory=1))) == alone
    assert digest(run(toy, name, seed=2)) != alone


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the package may catch it."""


@every
@pytest.mark.parametrize("stop", [1, 8, 19])
def test_resumed_equals_never_stopped(toy, name, stop, tmp_path):
    """theta, running statistics and records: the same bits after an interruption."""

    def kill(step, loss):
        if step == stop:
            raise Killed

    whole = run(toy, name)
    options = {"path": tmp_path / "run.npz", "checkpoint_every": 7}
    with pytest.raises(Killed):
        run(toy, name, progress=kill, **options)
    resumed = run(toy, name, resume=True, **options)
    assert digest(resumed) == digest(whole)
    for column in set(COLUMNS) - {"seconds", "evaluation_seconds"}:
        assert resumed.records[column] == whole.records[column]


def test_rows_differ():
    """Negative control: no two rows make the same four steps."""
    ends = {name: steps(name, np.float64)[0].tobytes() for name in ROWS}
    assert len(set(ends.values())) == len(ends)

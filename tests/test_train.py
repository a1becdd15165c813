"""The training loop: reproducible, resumable, and stopped by NaN."""

import numpy as np
import pytest

from minizo import (
    FOGZO,
    SPSA,
    STE,
    Diverged,
    InputError,
    Objective,
    Pool,
    backend,
    fit,
    models,
    optim,
    quantizers,
    threads,
)
from minizo import checkpoint as checkpoints
from minizo.group import batches
from minizo.recipe import Recipe
from minizo.records import COLUMNS, evaluate


class Shrinking(STE):
    """A rule that owns the update: from 0.9 theta the optimiser's step, then a clip by epoch."""

    def update(self, objective, optimizer, grad, state, theta, step):
        new, state = optimizer.update(grad, state, 0.9 * theta, step.progress)
        return np.clip(new, -1.0 - step.epoch, 1.0 + step.epoch), state


ESTIMATORS = [
    STE(),
    SPSA(n=70),
    FOGZO(n=70, beta_schedule="constant"),
    FOGZO(n=3, beta_schedule="linear", ste_share=0.3),
]
IDS = ["ste", "spsa", "fogzo", "fogzo-scheduled"]
OWNERS = [*ESTIMATORS, Shrinking()]


def run(toy, estimator=None, optimizer=None, **options):
    options = {"steps": 20, "batch": 50, "seed": 1, **options}
    objective = Objective(models.mlp(12, 5, 3), quantizers.MidRise(bits=2))
    return fit(objective, toy, estimator or STE(), optimizer or optim.Adam(0.02), **options)


def digest(result):
    return backend.sha256(result.theta)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_training_learns(toy, estimator):
    """Every estimator takes the toy task from chance (log 3 = 1.1) to below 0.4."""
    result = run(toy, estimator, steps=150)
    assert result.records["train_loss"][0] > 0.7
    assert result.final("train_loss") < 0.4


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_same_seed_same_bits_whatever_the_pool(toy, estimator):
    """One worker, two or three: the same SHA-256 of theta."""
    reference = digest(run(toy, estimator))
    assert digest(run(toy, estimator)) == reference
    for workers in (1, 2, 3):
        with threads(workers) as pool:
            assert digest(run(toy, estimator, pool=pool)) == reference
    assert digest(run(toy, estimator, seed=2)) != reference


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=IDS)
def test_records_do_not_touch_the_run(toy, estimator):
    """Recording more often costs time but changes no bit of theta."""
    assert digest(run(toy, estimator, record_every=1)) == digest(run(toy, estimator))


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the package may catch it."""


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1), optim.Momentum(0.05), optim.Adam(0.02)])
@pytest.mark.parametrize("estimator", OWNERS, ids=[*IDS, "owner"])
@pytest.mark.parametrize("stop", [1, 7, 8, 19])
def test_resumed_equals_never_stopped(toy, estimator, optimizer, stop, tmp_path):
    """Stopped after any step and resumed: the same bits and the same records."""
    path = tmp_path / "run.npz"
    whole = run(toy, estimator, optimizer)

    def kill(step, loss):
        if step == stop:
            raise Killed

    options = {"path": path, "checkpoint_every": 7}
    with pytest.raises(Killed):
        run(toy, estimator, optimizer, progress=kill, **options)
    resumed = run(toy, estimator, optimizer, resume=True, **options)
    assert digest(resumed) == digest(whole)
    for column in set(COLUMNS) - {"seconds", "evaluation_seconds"}:
        assert resumed.records[column] == whole.records[column]
    # a finished run is read back without another step
    again = run(toy, estimator, optimizer, resume=True, progress=kill, **options)
    assert digest(again) == digest(whole)


@pytest.mark.parametrize("estimator", [STE(), Shrinking()], ids=["ste", "owner"])
def test_the_update_is_the_rules_own(toy, estimator):
    """theta after 20 steps, step by step from the contract; epochs of 8 steps are counted."""
    optimizer = optim.Momentum(0.05)
    result = run(toy, estimator, optimizer)
    objective = result.objective
    feed = batches(Recipe(objective, toy, None, None, 20, 50, 1, 1), 0)
    theta = objective.network.init(1)
    state = optimizer.init(theta)
    for index in range(20):
        grad = objective.ste_gradient(theta, next(feed)).gradient
        start = 0.9 * theta if isinstance(estimator, Shrinking) else theta
        theta, state = optimizer.update(grad, state, start, index / 20)
        if isinstance(estimator, Shrinking):
            theta = np.clip(theta, -1 - index // 8, 1 + index // 8)
    np.testing.assert_array_equal(result.theta, theta)


def test_start_is_where_the_run_starts(toy, tmp_path):
    """The weights that a seed draws, given as the start: the same bits; others: others."""
    start = models.mlp(12, 5, 3).init(1)
    before = start.copy()
    assert digest(run(toy, start=start)) == digest(run(toy))
    result = run(toy, start=2 * start, path=tmp_path / "run.npz")
    assert digest(result) != digest(run(toy))
    np.testing.assert_array_equal(start, before)
    scale = result.objective.scales["fc1.weight"]
    np.testing.assert_array_equal(scale, 2 * run(toy).objective.scales["fc1.weight"])
    with pytest.raises(InputError, match="was made with start = '"):
        run(toy, start=3 * start, path=tmp_path / "run.npz", resume=True)
    with pytest.raises(InputError, match=r"start's shape is \(9,\), but this network has 83"):
        run(toy, start=start[:9])


def test_watched_columns_are_recorded_and_resumed(toy, tmp_path):
    """One value a record, from the state of that moment, also in the records of a resumed run."""
    watch = {"norm": lambda objective, state: float(np.linalg.norm(state.theta)),
             "steps": lambda objective, state: state.step}  # fmt: skip
    whole = run(toy, watch=watch, path=tmp_path / "run.npz")
    assert whole.records["steps"] == whole.records["step"]
    assert whole.final("norm") == float(np.linalg.norm(whole.theta))
    assert digest(whole) == digest(run(toy))

    def kill(step, loss):
        if step == 13:
            raise Killed

    options = {"watch": watch, "path": tmp_path / "cut.npz", "checkpoint_every": 7}
    with pytest.raises(Killed):
        run(toy, progress=kill, **options)
    resumed = run(toy, resume=True, **options)
    assert resumed.records["norm"] == whole.records["norm"]
    with pytest.raises(InputError, match="was made with watch = "):
        run(toy, path=tmp_path / "cut.npz", resume=True)
    with pytest.raises(InputError, match="watch is 'step', but this column is recorded already"):
        run(toy, watch={"step": None})


def test_costs_are_counted(toy):
    """forwards, backwards and multiply-accumulates of the records, from first principles."""
    result = run(toy, FOGZO(n=4, ste_share=0.5, beta_schedule="constant"), steps=10)
    assert result.final("forwards") == 5 * 1 + 5 * (2 * 4 + 1)
    assert result.final("backwards") == 10
    forward, backward = 12 * 5 + 5 * 3, 12 * 5 + 2 * 5 * 3
    assert result.final("macs") == 50 * (50 * forward + 10 * backward)
    assert result.records["step"][0] == 0 and result.records["macs"][0] == 0


def test_batches_visit_every_example_once_an_epoch(toy):
    """An epoch of 4 x 100 holds all 400 examples; epochs differ; joining late changes nothing."""
    objective = Objective(models.mlp(12, 5, 3), quantizers.MidRise())
    recipe = Recipe(objective, toy, None, None, 8, 100, 0, 1)
    feed = batches(recipe, 0)
    got = [next(feed) for _ in range(8)]
    epochs = [np.concatenate([b.x for b in got[k : k + 4]]).reshape(400, 12) for k in (0, 4)]
    whole = toy.x_train.reshape(400, 12)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(whole, axis=0))
    assert not np.array_equal(*epochs)
    late = next(batches(recipe, 5))
    np.testing.assert_array_equal(late.x, got[5].x)
    np.testing.assert_array_equal(late.labels, got[5].labels)


def test_evaluate_in_pieces_is_evaluate_at_once(toy, toy_net, monkeypatch):
    theta = toy_net.init(0)
    objective = Objective(toy_net, quantizers.MidRise()).calibrate(theta)
    whole = evaluate(objective, theta, toy.x_train, toy.y_train)
    monkeypatch.setattr("minizo.records.EVALUATION_BATCH", 33)
    np.testing.assert_allclose(evaluate(objective, theta, toy.x_train, toy.y_train), whole, 1e-6)
    outputs = objective.outputs(theta, toy.x_train)
    assert whole[1] == np.mean(outputs.argmax(-1) == toy.y_train)


@pytest.mark.parametrize("optimizer", [optim.SGD(1e38), optim.Momentum(1e38)])
def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(toy, optimizer, tmp_path):
    """The sentence names estimator, step and rate; the checkpoint is from before."""
    path = tmp_path / "run.npz"
    run(toy, optimizer=optim.SGD(0.1), steps=20, path=path, checkpoint_every=5)
    before = path.read_bytes()
    with pytest.raises(Diverged, match=r"STE: the .+ became NaN .* at step \d of 20 .* 1e\+38"):
        run(toy, optimizer=optimizer, path=path, checkpoint_every=5)
    assert path.read_bytes() == before


def test_nan_loss_is_dated_to_the_step(toy):
    """A loss that turns NaN at step 7 is reported as step 7, though records come every 5."""

    class Bad(STE):
        def estimate(self, objective, theta, batch, state, step):
            found, state = super().estimate(objective, theta, batch, state, step)
            if step.index >= 7:
                found = found._replace(loss=found.loss * np.nan)
            return found, state

    with pytest.raises(Diverged, match="the loss became NaN or infinite at step 7 of 20"):
        run(toy, Bad(), record_every=5)


@pytest.mark.parametrize(
    "change, name",
    [
        ({"seed": 2}, "seed = 1, this run has 2"),
        ({"batch": 40}, "batch"),
        ({"steps": 21}, "steps"),
        ({"estimator": STE(), "optimizer": optim.Adam(0.03)}, "optimizer"),
        ({"estimator": SPSA()}, "estimator"),
    ],
)
def test_checkpoint_of_another_run_is_refused(toy, change, name, tmp_path):
    path = tmp_path / "run.npz"
    run(toy, path=path)
    with pytest.raises(InputError, match=f"was made with {name}"):
        run(toy, path=path, resume=True, **change)


def test_checkpoint_of_other_data_is_refused(toy, tmp_path):
    path = tmp_path / "run.npz"
    run(toy, path=path)
    with pytest.raises(InputError, match="was made with data = 'toy blobs, 400 training examples'"):
        run(toy.head(300, 100), path=path, resume=True)


def test_checkpoint_holds_latent_and_quantised_weights_by_name(toy, tmp_path):
    path = tmp_path / "run.npz"
    result = run(toy, path=path)
    _, arrays = checkpoints.load(path)
    for name, weight in result.weights.items():
        np.testing.assert_array_equal(arrays[f"quantized.{name}"], weight)
        latent = result.objective.network.views(result.theta)[name]
        np.testing.assert_array_equal(arrays[f"latent.{name}"], latent)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": 401}, "batch is 401, but there are only 400 examples"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_bad_options_are_refused(toy, options, sentence):
    with pytest.raises(InputError, match=sentence):
        run(toy, **options)


def test_bad_pools_are_refused():
    with pytest.raises(InputError, match="in_flight is 0"):
        Pool(in_flight=0)
    with pytest.raises(InputError, match="memory is 0"):
        Pool(memory=0)
    with pytest.raises(InputError, match="workers is 0"), threads(0):
        pass

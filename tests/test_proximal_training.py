"""Training with proximal rules: freezing, clipping, resuming, refusals."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from proximal_rules import digest, run

from minizo import (
    PARQ,
    Batch,
    BinaryConnect,
    BinaryRelax,
    BlendedCoarseGradient,
    InputError,
    MirrorDescent,
    Objective,
    ProxConnect,
    ProxQuant,
    Step,
    backend,
    mnist,
    models,
    optim,
    quantizers,
)
from minizo.data.idx import write_idx
from minizo.estimators import ESTIMATORS

RULES = [
    ProxQuant(lam=0.3),
    ProxQuant(prox="l2", lam=0.3, homotopy="epoch", clip=1.0, freeze=0.5),
    ProxConnect(lam=0.05),
    BinaryConnect(clip=1.0, freeze=0.8),
    BinaryRelax(),
    PARQ(),
    MirrorDescent(),
    BlendedCoarseGradient(rho=0.001),
]
IDS = [rule.label + (" with options" if rule.clip else "") for rule in RULES]


@pytest.mark.parametrize("freeze, first", [(0.5, 10), (1.0, 20), (0.01, 1), (0.33, 7)])
def test_when_weights_freeze(freeze, first):
    assert ProxQuant(freeze=freeze).freezes(Step(total=20)) == first
    assert ProxQuant(freeze=None).freezes(Step(total=20)) > 20


def test_clip_keeps_weights_within_alpha(toy):
    """|theta| <= clip alpha for the quantised ones, after every step; biases are free."""
    rule = BinaryConnect(clip=0.5)
    result = run(toy, rule, optim.SGD(3.0))
    for name in result.objective.quantized:
        part = result.theta[result.objective.network.slices[name]]
        bound = np.float32(0.5) * result.objective.scales[name][0]
        assert np.max(np.abs(part)) == bound
    assert np.max(np.abs(run(toy, BinaryConnect(), optim.SGD(3.0)).theta)) > 2 * bound


# As every estimator


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_rules_learn_the_toy_task(toy, rule):
    """From above 0.7 to below 0.45 with binary weights in 300 steps, and costs are counted."""
    if isinstance(rule, ProxQuant):
        rule = replace(rule, lam=0.02)
    result = run(toy, rule, steps=300)
    assert result.records["train_loss"][0] > 0.7
    assert result.final("train_loss") < 0.45
    assert result.final("forwards") == result.final("backwards") == 300


class Killed(BaseException):
    """Stands for `kill -9`."""


@pytest.mark.parametrize("rule", RULES, ids=IDS)
@pytest.mark.parametrize("stop", [8, 13, 17])
def test_resumed_equals_never_stopped(toy, rule, stop, tmp_path):
    """Stopped before, between and after the places where weights freeze: the same bits."""
    whole = run(toy, rule)

    def kill(step, loss):
        if step == stop:
            raise Killed

    options = {"path": tmp_path / "run.npz", "checkpoint_every": 7}
    with pytest.raises(Killed):
        run(toy, rule, progress=kill, **options)
    resumed = run(toy, rule, resume=True, **options)
    assert digest(resumed) == digest(whole)
    assert resumed.records["train_loss"] == whole.records["train_loss"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("quantizer", quantizers.QUANTIZERS)
@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_step_is_pure_and_the_same_on_strict_arrays(rule, quantizer, dtype):
    """estimate and update on array-api-strict's fake device; theta, grad and state untouched."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")
    net, quantizer = models.mlp(12, 5, 3), quantizers.QUANTIZERS[quantizer]()
    gen = np.random.default_rng(0)
    x, labels = gen.normal(size=(20, 1, 1, 12)).astype(dtype), np.arange(20) % 3
    found = []
    for move in (np.asarray, lambda a: strict.asarray(np.asarray(a), device=device)):
        theta = net.init(0, like=move(np.empty(0, dtype)))
        objective = Objective(net, quantizer).calibrate(theta)
        try:
            rule.init(objective, theta)
        except InputError:
            assert not hasattr(quantizer, "half_step") or quantizer.shapes((12,))
            return
        optimizer = optim.Adam(0.02)
        state, before = optimizer.init(theta), backend.sha256(theta)
        for index in (7, 9, 15, 19):  # before, at and after the freezing of some
            step = Step(index=index, total=20, per_epoch=4)
            estimate, _ = rule.estimate(objective, theta, Batch(move(x), move(labels)), (), step)
            grad = backend.sha256(estimate.grad)
            new, _ = rule.update(objective, optimizer, estimate.grad, state, theta, step)
            assert str(new.dtype).endswith(dtype) and new.shape == theta.shape
            assert backend.sha256(estimate.grad) == grad
            found.append((estimate.loss, estimate.grad, new))
        assert backend.sha256(theta) == before
        assert backend.sha256(state.m) == backend.sha256(optimizer.init(theta).m)
    tolerance = 1e-9 if dtype == "float64" else 3e-4
    for ours, reference in zip(found[4:], found[:4], strict=True):
        for a, b in zip(ours, reference, strict=True):
            np.testing.assert_allclose(backend.to_numpy(a), b, rtol=tolerance, atol=tolerance)


# Bad input, and the command


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: ProxQuant(freeze=0.0), "freeze is 0.0, but it must lie in"),
        (lambda: BinaryConnect(clip=-1.0), "clip is -1.0"),
        (lambda: ProxQuant(prox="l3"), "prox is 'l3', but it must be l1 or l2"),
        (lambda: ProxQuant(lam=-1.0), "lam is -1.0"),
        (lambda: ProxQuant(lam=float("nan")), "lam is nan"),
        (lambda: ProxQuant(homotopy="steps"), "did you mean 'step'"),
        (lambda: ProxQuant(convention="hal"), "did you mean 'half'"),
        (lambda: ProxQuant(growth=0.5), "growth is 0.5"),
        (lambda: ProxQuant(rounds=0), "rounds is 0"),
        (lambda: ProxConnect(harden=2.0), "harden is 2.0"),
        (lambda: PARQ(steepness=0.0), "steepness is 0.0"),
        (lambda: PARQ(centre=1.5), "centre is 1.5"),
        (lambda: MirrorDescent(final_sharpness=inf), "final_sharpness is inf"),
        (lambda: BlendedCoarseGradient(rho=1.1), "rho is 1.1"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize("rule", [PARQ(), MirrorDescent()], ids=["PARQ", "mirror"])
@pytest.mark.parametrize("quantizer", [quantizers.Ternary(), quantizers.FullPrecision()])
def test_unequal_levels_are_refused_where_equal_ones_are_needed(toy, rule, quantizer):
    with pytest.raises(InputError, match="needs levels at equal distances, and .* has none"):
        run(toy, rule, quantizer=quantizer)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """60 + 20 noisy 4x4 images of 3 classes in IDX files."""
    folder = tmp_path_factory.mktemp("images", numbered=False)
    gen = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        write_idx(folder / f"{part}-images-idx3-ubyte", gen.integers(0, 255, (n, 4, 4), np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(n, dtype=np.uint8) % 3)
    return folder


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in ("spsa", "fogzo")])
def test_every_rule_is_a_choice_of_the_command(name, images, tmp_path, capsys):
    """python -m minizo.mnist --estimator NAME, with its settings."""
    settings = {
        "proxquant": "prox=l2,lam=0.1,homotopy=epoch,freeze=0.5",
        "proxconnect": "lam=inf,homotopy=constant,harden=0.9",
        "binaryconnect": "clip=1",
        "binaryrelax": "growth=1.1",
        "parq": "steepness=5,centre=0.4",
        "mirror": "sharpness=2,final-sharpness=20",
        "blended": "rho=0.01",
    }.get(name, "")
    code = mnist.main([
        "--estimator", f"{name}:{settings}", "--quantizer", "sign", "--data",
        str(images), "--steps", "6",
        "--batch", "20", "--model", "mlp:hidden=", "--json", "--quiet", "--out", f"{tmp_path}/run",
    ])  # fmt: skip
    row = json.loads(capsys.readouterr().out)
    assert code == 0 and row["estimator"] == name and row["forwards"] == row["backwards"] == 6
    assert (tmp_path / "run" / f"{name}-seed0.npz").exists()

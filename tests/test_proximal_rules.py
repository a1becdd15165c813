"""ProxQuant and its relatives as rules of `minizo.fit`: equations, equivalences, freeze, resume."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from minizo import (
    PARQ,
    STE,
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
    fit,
    mnist,
    models,
    optim,
    prox,
    quantizers,
)
from minizo.data.dataset import Dataset
from minizo.data.idx import write_idx
from minizo.estimators import ESTIMATORS
from minizo.layers import Flatten, Linear
from minizo.network import Network
from minizo.recipe import Recipe
from minizo.train import batches

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
STEPS = 20


def run(toy, rule, optimizer=None, quantizer=None, **options):
    options = {"steps": STEPS, "batch": 50, "seed": 1, **options}
    objective = Objective(models.mlp(12, 5, 3), quantizer or quantizers.Sign())
    return fit(objective, toy, rule, optimizer or optim.Adam(0.02), **options)


def digest(result):
    return backend.sha256(result.theta)


# The equations


def by_hand(toy, seen, before, after, steps=STEPS, rate=0.3):
    """theta after SGD with the maps, in NumPy; maps take (weights, alpha, step)."""
    net = models.mlp(12, 5, 3)
    theta = net.init(1)
    objective = Objective(net, quantizers.Sign()).calibrate(theta)
    real = replace(objective, quantizer=quantizers.FullPrecision())
    feed = batches(Recipe(objective, toy, None, None, steps, 50, 1, 1), 0)

    def on_weights(theta, function, *args):
        theta = theta.copy()
        for name in ("fc1.weight", "fc2.weight"):
            part = net.slices[name]
            theta[part] = function(theta[part], float(objective.scales[name][0]), *args)
        return theta

    for t in range(steps):
        _, g, _ = real.ste_gradient(on_weights(theta, seen, t), next(feed))
        theta = on_weights(theta, before, t) - np.float32(rate * (1 - t / steps)) * g
        theta = on_weights(theta, after, t)
    return theta


def same(x, alpha, t):
    return x


def sign(x, alpha, t=None):
    return alpha * np.where(x >= 0, 1, -1).astype(x.dtype)


def soft(x, alpha, amount):
    s = sign(x, alpha)
    return s + np.sign(x - s) * np.maximum(np.abs(x - s) - amount * alpha, 0)


def pull(x, alpha, lam):
    return (x + lam * sign(x, alpha)) / (1 + lam)


def iota(t):
    return prox.logistic_fall(t / STEPS)


HAND = {
    "ProxQuant": (
        ProxQuant(lam=0.2, freeze=None),
        (same, same, lambda x, a, t: soft(x, a, 0.3 * (1 - t / STEPS) * 0.2 * t)),
    ),
    "ProxQuant by epoch, L2, clipped": (
        ProxQuant(prox="l2", lam=2.0, homotopy="epoch", clip=1.0, freeze=None),
        (same, same,
         lambda x, a, t: np.clip(pull(x, a, 0.3 * (1 - t / STEPS) * 2.0 * (t // 8)), -a, a)),
    ),
    "ProxQuant L2 without its 1/2": (
        ProxQuant(prox="l2", lam=0.2, convention="full", freeze=None),
        (same, same, lambda x, a, t: pull(x, a, 2 * 0.3 * (1 - t / STEPS) * 0.2 * t)),
    ),
    "ProxConnect": (
        ProxConnect(lam=0.05), (lambda x, a, t: soft(x, a, 0.05 * t), same, same)),
    "BinaryConnect": (BinaryConnect(clip=1.0), (sign, same, lambda x, a, t: np.clip(x, -a, a))),
    "BinaryRelax": (
        BinaryRelax(lam=0.5, growth=1.1, harden=0.5),
        (lambda x, a, t: pull(x, a, 0.5 * 1.1**t) if t < 10 else sign(x, a), same, same),
    ),
    "PARQ": (PARQ(), (lambda x, a, t: np.clip(x / iota(t), -a, a), same, same)),
    "mirror descent": (
        MirrorDescent(0.5, 50.0),
        (lambda x, a, t: a * np.tanh(0.5 * 100 ** (t / STEPS) * x / a), same, same),
    ),
    "blended": (
        BlendedCoarseGradient(rho=0.1), (sign, lambda x, a, t: 0.9 * x + 0.1 * sign(x, a), same)),
}  # fmt: skip


@pytest.mark.parametrize("name", HAND)
def test_twenty_steps_by_hand(toy, name):
    """theta of `fit` with SGD against the rule's equation, float32, 2e-5; its neighbours differ."""
    rule, maps = HAND[name]
    found = run(toy, rule, optim.SGD(0.3)).theta
    np.testing.assert_allclose(found, by_hand(toy, *maps), rtol=2e-5, atol=2e-6)
    for other, (another, _) in HAND.items():
        if other != name:
            assert np.max(np.abs(run(toy, another, optim.SGD(0.3)).theta - found)) > 1e-3


# Equivalences, bit for bit


PAIRS = {
    "BinaryConnect is the STE with identity": (BinaryConnect(), STE()),
    "lazy with infinite lambda (L1) is BinaryConnect": (
        ProxConnect(lam=inf, homotopy="constant"), BinaryConnect()),
    "lazy with infinite lambda (L2) is BinaryConnect": (
        ProxConnect(prox="l2", lam=inf, homotopy="constant"), BinaryConnect()),
    "BinaryRelax hardened from the start is BinaryConnect": (
        BinaryRelax(harden=0.0), BinaryConnect()),
    "BinaryRelax is ProxConnect with its settings": (
        BinaryRelax(), ProxConnect(prox="l2", lam=1.0, homotopy="geometric", harden=0.8)),
    "infinitely sharp mirror descent is BinaryConnect": (
        MirrorDescent(1e12, 1e12), BinaryConnect()),
    "blending nothing is BinaryConnect": (BlendedCoarseGradient(rho=0.0), BinaryConnect()),
    "no lambda: lazy or not is the same": (
        ProxConnect(lam=0.0), ProxQuant(lam=0.0, freeze=None)),
    "half of lambda without the 1/2 is lambda with it": (
        ProxConnect(prox="l2", lam=0.5, convention="full"), ProxConnect(prox="l2", lam=1.0)),
    "frozen or not, the steps before are the same": (
        ProxQuant(lam=0.01, freeze=1.0), ProxQuant(lam=0.01, freeze=None)),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", [optim.SGD(0.3), optim.Adam(0.02)], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", PAIRS)
def test_equivalences_are_exact(toy, name, optimizer):
    """The same quantised weights and records, bit for bit; all but the last: the same theta."""
    first, second = (run(toy, rule, optimizer) for rule in PAIRS[name])
    for weight, other in zip(first.weights.values(), second.weights.values(), strict=True):
        np.testing.assert_array_equal(weight, other)
    assert first.records["train_loss"] == second.records["train_loss"]
    if "frozen" not in name:
        assert digest(first) == digest(second)
    else:
        assert digest(first) != digest(second)


def test_no_lambda_is_full_precision_training(toy):
    """The same theta as the STE without a quantiser; the records are those of Q(theta)."""
    free = run(toy, ProxQuant(lam=0.0, freeze=None))
    real = run(toy, STE(), quantizer=quantizers.FullPrecision())
    assert digest(free) == digest(real)
    assert free.final("train_loss") > real.final("train_loss")


def test_eager_with_infinite_lambda_is_projected_sgd_and_not_binaryconnect(toy):
    """theta = Q(theta - eta g) after every step: small steps are forgotten and nothing moves."""
    rule = ProxQuant(lam=inf, homotopy="constant", freeze=None)
    eager = run(toy, rule, optim.SGD(0.3))
    expected = by_hand(toy, same, same, sign)
    np.testing.assert_allclose(eager.theta, expected, rtol=2e-5, atol=2e-6)
    lazy = run(toy, BinaryConnect(), optim.SGD(0.3))
    part = eager.objective.network.slices["fc1.weight"]
    assert np.any(np.sign(lazy.theta[part]) != np.sign(eager.theta[part]))


def test_powers_of_two_scale_the_latents_bit_for_bit():
    """(theta_0, eta) -> 1024 (theta_0, eta): BinaryConnect's weights are the same, its theta 1024
    times as large, to the last bit; 1000 times is not exact."""
    net = Network({"flat": Flatten(), "fc": Linear(12, 3, bias=False)}, (1, 1, 12))
    gen = np.random.default_rng(5)
    data = Dataset("noise", gen.normal(size=(200, 1, 1, 12)), np.arange(200) % 3,
                   gen.normal(size=(9, 1, 1, 12)), np.arange(9) % 3, classes=3)  # fmt: skip
    start = net.init(0, like=np.empty(0))
    objective = Objective(net, quantizers.Sign()).calibrate(start)

    def trained(c):
        return fit(objective, data, BinaryConnect(), optim.SGD(0.1 * c, "constant"), steps=100,
                   batch=20, start=c * start).theta  # fmt: skip

    np.testing.assert_array_equal(trained(1024.0), 1024.0 * trained(1.0))
    assert not np.array_equal(trained(1000.0), 1000.0 * trained(1.0))


# Homotopy, freeze, clip


def test_strengths():
    """lam t by step and by epoch, constant, geometric; infinity times 0 is 0."""
    steps = [Step(index=i, total=40, per_epoch=4) for i in (0, 1, 4, 11)]

    def strengths(homotopy, lam=0.5):
        return [ProxQuant(lam=lam, homotopy=homotopy, growth=1.1).strength(s) for s in steps]

    assert strengths("step") == [0.0, 0.5, 2.0, 5.5]
    assert strengths("epoch") == [0.0, 0.0, 0.5, 1.0]
    assert strengths("constant") == [0.5] * 4
    assert strengths("geometric") == pytest.approx([0.5 * 1.1**i for i in (0, 1, 4, 11)])
    assert strengths("step", inf) == [0.0, inf, inf, inf]
    far = ProxQuant(homotopy="geometric", growth=2.0).strength(Step(index=10**6, total=10**6))
    assert far == inf or far > 1e300


@pytest.mark.parametrize("quantizer", [quantizers.Sign(), quantizers.MidRise(),
                                       quantizers.Ternary(), quantizers.MultiBit()],
                         ids=["sign", "midrise", "ternary", "multibit"])  # fmt: skip
@pytest.mark.parametrize("rule", [ProxQuant(lam=0.2, freeze=0.5), BinaryConnect(freeze=0.5)],
                         ids=["ProxQuant", "BinaryConnect"])  # fmt: skip
def test_frozen_weights_stay_while_the_rest_trains(toy, rule, quantizer):
    """From step 10 of 20 the quantised weights are levels and keep their bits; biases move."""
    thetas = {}
    watch = {"x": lambda objective, state: thetas.setdefault(state.step, state.theta) is None}
    result = run(toy, rule, quantizer=quantizer, record_every=1, watch=watch)
    net, objective = result.objective.network, result.objective
    for name in net.shapes:
        part = net.slices[name]
        late = [thetas[t][part] for t in range(10, 21)]
        kept = all(np.array_equal(late[0], theta) for theta in late)
        assert kept == name.endswith(".weight"), name
        assert not np.array_equal(thetas[9][part], thetas[10][part])
        if kept:
            q = objective.quantize(thetas[10])[name].reshape(-1)
            np.testing.assert_allclose(late[0], q, rtol=1e-5, atol=1e-7)
            assert len(np.unique(late[0])) <= quantizer.levels


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

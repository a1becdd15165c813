"""QuantNet, approximated: exact gradient, R, soft weights in training and binary ones in use."""

import numpy as np
import pytest
from test_backend import problem
from zoo import RNG, SHAPE, assert_gradient, beside, weights

import minizo
from minizo import Batch, Objective, checkpoint, models, rng
from minizo.backend import to_numpy
from minizo.data import synthetic_digits
from minizo.errors import InputError
from minizo.optim import Adam
from minizo.quantizers import QUANTIZERS, FullPrecision, MidRise, QuantNet, Sign
from minizo.quantizers.base import deployed, penalises, sign

KINDS = [QuantNet(), QuantNet(expand=2.5), QuantNet(per="filter", expand=0.5)]
HALF = [kind.at(0.5) for kind in KINDS]


def given(quantizer, lead=()):
    """Weights as the quantiser sees them, and what it is given beside them."""
    shape = SHAPE if quantizer.by_filter else (SHAPE[0] * SHAPE[1],)
    x = weights(lead, shape=shape)
    return x, beside(quantizer, x, lead)


# The map -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantizer", HALF, ids=str)
def test_the_map_number_by_number(quantizer):
    """u = tanh(z + V2 tanh(V1 z)) in loops over weights, or filters, and hidden units: 1e-13."""
    x, scale = given(quantizer)
    v1, v2 = scale["V1"], scale["V2"]
    z = x / scale["alpha"]
    rows = z if quantizer.by_filter else z[:, None]
    u = np.empty_like(rows)
    for k, row in enumerate(rows):
        hidden = [np.tanh(sum(v1[r, i] * row[i] for i in range(len(row)))) for r in range(len(v1))]
        for i in range(len(row)):
            u[k, i] = np.tanh(row[i] + sum(v2[i, r] * hidden[r] for r in range(len(v1))))
    expected = scale["alpha"] * u.reshape(x.shape)
    np.testing.assert_allclose(quantizer.quantize(x, scale), expected, rtol=1e-13)
    np.testing.assert_allclose(quantizer.smooth(x, scale), expected, rtol=1e-13)
    ends = quantizer.at(1.0).quantize(x, scale)
    np.testing.assert_array_equal(ends, scale["alpha"] * sign(expected))


@pytest.mark.parametrize("quantizer", HALF, ids=str)
def test_the_backward_is_the_gradient(quantizer):
    """Of x, V1 and V2, against central differences of quantize itself."""
    x, scale = given(quantizer)
    dw = RNG.normal(size=x.shape)
    dx, grads = quantizer.backward(x, scale, dw)
    assert_gradient(lambda x: np.sum(dw * quantizer.quantize(x, scale)), dx, x)
    for name in ("V1", "V2"):
        assert_gradient(
            lambda v, name=name: np.sum(dw * quantizer.quantize(x, scale | {name: v})),
            grads[name], scale[name],
        )  # fmt: skip


def test_without_a_network_it_is_the_tanh():
    """V2 = 0: Q(x) = alpha tanh(x/alpha), and dx = (1 - tanh^2) dw."""
    x, scale = given(HALF[0])
    scale = scale | {"V2": 0.0 * scale["V2"]}
    z, dw = x / scale["alpha"], RNG.normal(size=x.shape)
    np.testing.assert_allclose(HALF[0].quantize(x, scale), scale["alpha"] * np.tanh(z), rtol=1e-14)
    dx, grads = HALF[0].backward(x, scale, dw)
    np.testing.assert_allclose(dx, (1.0 - np.tanh(z) ** 2) * dw, rtol=1e-12)
    assert not grads["V1"].any() and grads["V2"].any()


@pytest.mark.parametrize(
    ("quantizer", "shape", "sizes"),
    [(QuantNet(), (30,), (4, 1)), (QuantNet(expand=0.1), (30,), (1, 1)),
     (QuantNet(per="filter", expand=0.5), (6, 10), (5, 10))],
)  # fmt: skip
def test_sizes_and_start(quantizer, shape, sizes):
    """r = expand g, at least 1; uniform on +-1/sqrt(inputs)."""
    assert quantizer.shapes(shape) == {"V1": sizes, "V2": sizes[::-1]}
    start = quantizer.init(np.ones(shape), rng.at(0, "beside", 0))
    for value in start.values():
        assert np.max(np.abs(value)) <= value.shape[1] ** -0.5


def test_the_scale_is_that_of_the_sign():
    """alpha = alpha_scale sqrt(2/pi) RMS, of the layer or of each filter."""
    x = weights()
    for settings in ({}, {"alpha_scale": 3.0}, {"per": "filter"}):
        np.testing.assert_array_equal(QuantNet(**settings).scale(x), Sign(**settings).scale(x))


@pytest.mark.parametrize("bad", [{"expand": 0.0}, {"lam": -1.0}, {"per": "weight"}])
def test_bad_settings(bad):
    """One sentence that names the argument."""
    with pytest.raises(InputError, match=next(iter(bad))):
        QuantNet(**bad)


# R -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantizer", HALF, ids=str)
def test_the_penalty_by_hand_and_its_gradient(quantizer):
    """lam t/T mean((|u| - 1)^2), here half of lam; 0 at the start, and 0 for binary weights."""
    w, scale = given(quantizer)
    alpha = scale["alpha"]
    value, dw = quantizer.penalty(w, alpha)
    assert value == pytest.approx(0.5 * np.mean((np.abs(w / alpha) - 1.0) ** 2), rel=1e-13)
    assert_gradient(lambda w: quantizer.penalty(w, alpha)[0], dw, w)
    assert not np.any(quantizer.at(0.0).penalty(w, alpha)[1])
    assert quantizer.penalty(alpha * sign(w), alpha)[0] == pytest.approx(0.0, abs=1e-30)
    # of a population: each member's own
    many, _ = quantizer.penalty(np.stack([w, 2.0 * w]), alpha)
    assert many.shape == (2,) and many[0] == pytest.approx(value)


def small(quantizer, exceptions=None):
    """A calibrated objective in float64, theta and a batch."""
    net = models.mlp(9, 5, 3)
    objective = Objective(net, quantizer, exceptions=exceptions or {})
    theta = objective.network.init(0).astype(np.float64)
    gen = np.random.default_rng(0)
    batch = Batch(gen.normal(size=(7, 9)), gen.integers(0, 3, 7))
    return objective.calibrate(theta), theta, batch


@pytest.mark.parametrize("quantizer", KINDS, ids=str)
def test_the_gradient_of_the_objective(quantizer):
    """Loss and R together, of everything in theta: central differences along ten directions."""
    objective, theta, batch = small(quantizer)
    objective = objective.at(0.5)
    found = objective.ste_gradient(theta, batch)
    assert found.loss == pytest.approx(objective.evaluate(theta, batch), rel=1e-14)
    gen, h = np.random.default_rng(1), 1e-6
    for _ in range(10):
        u = gen.normal(size=theta.shape)
        slope = (objective.evaluate(theta + h * u, batch)
                 - objective.evaluate(theta - h * u, batch)) / (2.0 * h)  # fmt: skip
        assert np.sum(u * found.gradient) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_the_objective_adds_r_and_only_r():
    """F(lam) - F(0) is R of each layer, for one theta and for a population; the weights stay."""
    objective, theta, batch = small(QuantNet(lam=2.0))
    free = Objective(objective.network, QuantNet(lam=0.0), scales=objective.scales)
    objective, free = objective.at(0.25), free.at(0.25)
    thetas = np.stack([theta, 1.3 * theta, theta[::-1]])
    extra = objective.evaluate(thetas, batch) - free.evaluate(thetas, batch)
    weights = objective.quantize(thetas)
    expected = sum(
        0.5 * np.mean((np.abs(weights[n] / objective.scales[n][:, None]) - 1.0) ** 2, axis=(1, 2))
        for n in objective.quantized
    )
    np.testing.assert_allclose(extra, expected, rtol=1e-10)
    value, _ = objective.penalty(weights)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    single = objective.evaluate(theta, batch) - free.evaluate(theta, batch)
    assert single == pytest.approx(expected[0], rel=1e-10)


def test_other_quantisers_add_nothing():
    """Of all that are registered only this one has a penalty, or soft weights."""
    for name, kind in QUANTIZERS.items():
        assert penalises(kind()) is (name == "quantnet")
        assert kind().soft is (name == "quantnet")
    objective, theta, batch = small(Sign())
    assert objective.penalty(objective.quantize(theta)) == (0.0, {})
    assert objective.in_use() is objective
    value, dw = MidRise().penalty(np.ones((2, 3)), 1.0)
    assert value.tolist() == [0.0, 0.0] and not dw.any()


@pytest.mark.parametrize("quantizer", HALF, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_on_a_strict_namespace(quantizer, dtype):
    """Loss, gradient and weights in use with R in them: NumPy's, to rounding."""
    (ours, theta, batch), (other, theta_s, batch_s) = problem(quantizer, dtype)
    found, found_s = ours.ste_gradient(theta, batch), other.ste_gradient(theta_s, batch_s)
    rtol = 1e-4 if dtype == "float32" else 1e-11
    assert found.gradient.dtype == theta.dtype
    for a, b in ((found_s.loss, found.loss), (found_s.gradient, found.gradient)):
        np.testing.assert_allclose(to_numpy(a), b, rtol=rtol, atol=1e-2 * rtol)
    used, used_s = ours.weights_in_use(theta), other.weights_in_use(theta_s)
    np.testing.assert_allclose(to_numpy(used_s["fc1.weight"]), used["fc1.weight"], rtol=rtol)


@pytest.mark.gpu
@pytest.mark.parametrize("quantizer", HALF, ids=str)
def test_gpu_the_same_on_cupy(quantizer, cupy):
    """Loss with R, and its gradient, of the same weights on the card, in float64."""
    objective, theta, batch = small(quantizer)
    objective = objective.at(0.5)
    scales = {name: cupy.asarray(alpha) for name, alpha in objective.scales.items()}
    there = Objective(objective.network, objective.quantizer, scales=scales)
    moved = Batch(cupy.asarray(batch.x), cupy.asarray(batch.labels))
    found = objective.ste_gradient(theta, batch)
    other = there.ste_gradient(cupy.asarray(theta), moved)
    np.testing.assert_allclose(to_numpy(other.loss), found.loss, rtol=1e-10)
    np.testing.assert_allclose(to_numpy(other.gradient), found.gradient, rtol=1e-8, atol=1e-12)


# Weights in use ----------------------------------------------------------------------------------


def test_the_weights_in_use_are_binary_throughout():
    """`outputs` takes +-alpha at any point of a run, `quantize` soft weights until the end."""
    mixed = {"fc2.weight": FullPrecision()}
    objective, theta, batch = small(QuantNet(), mixed)
    for progress in (0.0, 0.5, 1.0):
        here = objective.at(progress)
        used, soft = here.weights_in_use(theta), here.quantize(theta)
        assert len(np.unique(np.abs(used["fc1.weight"]))) == 1
        assert (len(np.unique(np.abs(soft["fc1.weight"]))) == 1) is (progress == 1.0)
        np.testing.assert_array_equal(used["fc2.weight"], soft["fc2.weight"])
        ends = objective.at(1.0).outputs(theta, batch.x)
        np.testing.assert_array_equal(here.outputs(theta, batch.x), ends)
    assert deployed(QuantNet()).progress == 1.0


def test_a_run_learns_and_its_checkpoints_hold_binary_weights(tmp_path, monkeypatch):
    """700 steps on synthetic digits: 5 of 10 right at least, the network's own parts moved, |u|
    nearer to 1 with R than without it."""
    saved, save = [], checkpoint.save

    def watched(path, header, arrays):
        saved.append(len(np.unique(np.abs(arrays["quantized.fc1.weight"]))))
        save(path, header, arrays)

    monkeypatch.setattr(checkpoint, "save", watched)
    data = synthetic_digits(1000, 500)
    runs = {}
    for lam in (0.0, 10.0):
        path = tmp_path / f"{lam}.npz"
        objective = Objective(models.mlp(784, 10, 10), QuantNet(lam=lam))
        runs[lam] = minizo.fit(
            objective,
            data,
            minizo.STE(),
            Adam(0.01),
            steps=700,
            batch=50,
            path=path,
            checkpoint_every=300,
        )
        assert runs[lam].final("test_accuracy") > 0.5
    run = runs[10.0]
    start = run.objective.network.views(run.objective.network.init(0))
    moved = run.objective.network.views(run.theta)
    assert all(np.any(moved[f"fc1.weight.{v}"] != start[f"fc1.weight.{v}"]) for v in ("V1", "V2"))
    assert len(np.unique(np.abs(run.weights["fc1.weight"]))) == 1
    assert saved == [1] * 6  # at steps 300, 600 and 700 of both

    def gap(run):
        soft = run.objective.at(0.5)
        u = soft.quantize(run.theta)["fc1.weight"] / soft.scales["fc1.weight"]
        return np.mean((np.abs(u) - 1.0) ** 2)

    assert gap(runs[10.0]) < 0.7 * gap(runs[0.0])

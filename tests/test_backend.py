"""One source for every array library: array-api-strict on a fake device, CuPy without a GPU."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from zoo import EVERY

import minizo
from minizo import (
    FOGZO,
    SPSA,
    STE,
    Batch,
    InputError,
    Objective,
    Step,
    backend,
    losses,
    models,
    optim,
    parallel,
    quantizers,
    rng,
)
from minizo.laws import LAWS
from minizo.surrogates import SURROGATES

strict = pytest.importorskip("array_api_strict")
OWN_BLAS = True  # the limit is tested here
DEVICE = strict.Device("device1")  # its arrays cannot become NumPy's behind anyone's back


def put(x):
    return strict.asarray(np.asarray(x), device=DEVICE)


def assert_agree(ours, reference, rtol=1e-12):
    assert ours.device == DEVICE
    np.testing.assert_allclose(backend.to_numpy(ours), reference, rtol=rtol, atol=1e-14)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def problem(quantizer, dtype, activation="relu", loss="cross-entropy"):
    """(objective, theta, batch) in NumPy and in array-api-strict on its fake device."""
    net = models.mlp(12, 5, 3, activation=activation)
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(20, 1, 1, 12)).astype(dtype), np.arange(20) % 3
    answer = []
    for move in (np.asarray, put):
        objective = Objective(net, quantizer, loss=losses.LOSSES[loss]())
        theta = objective.network.init(0, like=move(np.empty(0, dtype)))
        objective = objective.calibrate(theta)
        answer.append((objective, theta, Batch(move(x), move(labels))))
    return answer


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize(
    "quantizer",
    ["midrise", "midtread", "sign", "dorefa", "ternary", "multibit", "none", "bnn", "twn", "xnor"],
)
def test_strict_quantizers_and_surrogates(quantizer, surrogate):
    given = {} if quantizer == "none" else {"surrogate": surrogate}
    q = quantizers.QUANTIZERS[quantizer](**given)
    x = np.array([-3.0, -1.0, -0.5, -0.0, 0.0, 5e-324, 0.2, 1.0, 9.0])
    for function in (q.quantize, q.smooth, q.derivative):
        ours, reference = function(put(x), put([0.5])), function(x, np.array([0.5]))
        if reference is not None:
            assert_agree(ours, reference)
    surrogate = SURROGATES[surrogate]
    for progress in (0.0, 0.6):
        curve = surrogate.at(progress)
        assert_agree(curve.value(put(x)), curve.value(x))
        assert_agree(curve.derivative(put(x)), curve.derivative(x))


@pytest.mark.parametrize("name", EVERY)
def test_strict_backwards(name):
    """Weights, the gradient through them and what is refreshed, of every quantiser."""
    (reference, theta, batch), (ours, theta_s, batch_s) = problem(EVERY[name], "float64")
    noise = reference.noise(rng.at(0, "layers", 0), 20, theta)
    if noise is not None:
        batch = batch._replace(noise=noise)
        batch_s = batch_s._replace(noise={part: put(value) for part, value in noise.items()})
    found, expected = ours.ste_gradient(theta_s, batch_s), reference.ste_gradient(theta, batch)
    assert_agree(found.loss, expected.loss)
    assert_agree(found.gradient, expected.gradient, 1e-9)
    assert_agree(ours.refresh(theta_s), reference.refresh(theta), 1e-9)
    assert_agree(ours.matched_eps(theta_s), reference.matched_eps(theta))


@pytest.mark.parametrize("law", LAWS)
def test_strict_laws(law, dtype):
    """Same stream, same numbers; densities agree."""
    stream, law = rng.at(0, "noise", 1, 2), LAWS[law]
    reference = law.sample(stream, np.empty((4, 5), dtype))
    ours = law.sample(stream, put(np.empty((4, 5), dtype)))
    assert_agree(ours, reference)
    assert_agree(law.zero_bias_pdf(ours), law.zero_bias_pdf(reference), 1e-6)
    if law.pdf is not None:
        assert_agree(law.pdf(ours), law.pdf(reference), 1e-5)


@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("activation", models.ACTIVATIONS)
def test_strict_objective(activation, loss, dtype):
    """Loss, STE gradient and a population on the fake device equal NumPy's."""
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    (reference, theta, batch), (ours, theta_s, batch_s) = problem(
        quantizers.MidRise(surrogate="tanh"), dtype, activation, loss
    )
    found, expected = ours.ste_gradient(theta_s, batch_s), reference.ste_gradient(theta, batch)
    assert_agree(found.loss, expected.loss, tolerance)
    assert_agree(found.gradient, expected.gradient, tolerance)
    stack = strict.stack([theta_s, 2.0 * theta_s])
    assert_agree(
        ours.evaluate(stack, batch_s),
        reference.evaluate(np.stack([theta, 2 * theta]), batch),
        tolerance,
    )


def test_one_seed_starts_from_the_same_weights_everywhere(dtype):
    """Initial weights are drawn on the host: the same bits in NumPy and on the fake device."""
    net = models.mlp(12, 5, 3)
    ours = net.init(7, like=put(np.empty(0, dtype)))
    assert ours.device == DEVICE and str(ours.dtype).endswith(dtype)
    np.testing.assert_array_equal(backend.to_numpy(ours), net.init(7, like=np.empty(0, dtype)))


ESTIMATORS = [
    STE(),
    SPSA(n=3),
    SPSA(n=70, law="rademacher", eps=0.1),
    FOGZO(n=3, beta=0.5, beta_schedule="constant"),
    FOGZO(n=2, beta=1.0, beta_schedule="constant"),
    FOGZO(n=3, beta_schedule="constant", law="gaussian", perturb="quantized"),
    FOGZO(n=2, ste_share=1.0, beta_schedule="constant"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_strict_estimators_and_optimizers(estimator):
    """A whole step on the fake device, float64: the same as NumPy's to 1e-9."""
    (reference, theta, batch), (ours, theta_s, batch_s) = problem(quantizers.MidRise(), "float64")
    step = Step(seed=1, index=2, total=10)
    a, _ = estimator.estimate(ours, theta_s, batch_s, estimator.init(ours, theta_s), step)
    b, _ = estimator.estimate(reference, theta, batch, estimator.init(reference, theta), step)
    assert_agree(a.grad, b.grad, 1e-9)
    assert_agree(a.loss, b.loss, 1e-9)
    more = {"schedule": "milestones:.2", "decay": 0.1, "clip": 0.5}
    rules = [own for cls in optim.OPTIMIZERS.values() for own in (cls(), cls(**more))]
    for rule in (*rules, optim.Momentum(nesterov=True)):
        new_s, _ = rule.update(a.grad, rule.init(theta_s), theta_s, 0.5)
        new, _ = rule.update(b.grad, rule.init(theta), theta, 0.5)
        assert_agree(new_s, new, 1e-6)


def test_namespaces_are_not_mixed():
    with pytest.raises(InputError, match="are mixed"):
        backend.namespace(np.ones(3), put(np.ones(3)))
    with pytest.raises(InputError, match="expected an array, got list"):
        backend.namespace([1.0])


def test_scratch_is_reused_and_never_shared_between_threads():
    from concurrent.futures import ThreadPoolExecutor

    first = backend.scratch("a", (3, 4), np.empty(0))
    assert np.shares_memory(first, backend.scratch("a", (2, 5), np.empty(0)))
    assert not np.shares_memory(first, backend.scratch("b", (3, 4), np.empty(0)))
    assert backend.scratch("a", (3, 4), np.empty(0, "float32")).dtype == np.float32
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(backend.scratch, "a", (3, 4), np.empty(0)).result()
    assert not np.shares_memory(backend.scratch("a", (3, 4), np.empty(0)), other)


def test_one_blas_thread():
    from threadpoolctl import threadpool_info

    with parallel.one_blas_thread():
        pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
        assert all(pool["num_threads"] == 1 for pool in pools)


def asked_of_the_namespace():
    """Names that the package asks of an array namespace: ``xp.name`` and ``namespace(x).name``."""
    asked = set()
    for path in Path(minizo.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                owner = node.value
                called = isinstance(owner, ast.Call) and "namespace" in ast.dump(owner.func)
                if called or (isinstance(owner, ast.Name) and owner.id == "xp"):
                    asked.add(node.attr)
    return asked - {"__name__"}


def test_everything_asked_of_the_namespace_exists_in_cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    asked = asked_of_the_namespace()
    assert {"matmul", "clip", "tanh", "asnumpy"} <= asked  # the scan finds what is known to be used
    missing = {name for name in asked if not hasattr(cupy, name)}
    assert missing <= {"Device"}, missing  # `Device` is array-api-strict's


def test_everything_else_asked_of_the_namespace_exists_in_numpy():
    """Negative control of the scan: NumPy lacks only what is CuPy's or array-api-strict's own."""
    missing = {name for name in asked_of_the_namespace() if not hasattr(np, name)}
    own = {"asnumpy", "cuda", "get_default_memory_pool", "Device", "ElementwiseKernel"}
    assert missing == own


def test_cupy_without_a_gpu_says_what_to_do(monkeypatch):
    if backend.get("auto") is not np:
        pytest.skip("a GPU is usable here")
    with pytest.raises(InputError, match=r"pip install minizo\[cuda12\]|nvidia-smi"):
        backend.get("cupy")
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"CuPy is not installed; install it with `pip install"):
        backend.get("cupy")
    assert backend.get("auto") is np


def test_only_backend_imports_cupy():
    for path in Path(minizo.__file__).parent.rglob("*.py"):
        imports = [
            name.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in [*node.names, ast.alias(getattr(node, "module", None) or "")]
        ]
        if path.name != "backend.py":
            assert not any(name.startswith("cupy") for name in imports), path


@pytest.mark.gpu
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_gpu_step_equals_numpy(estimator, cupy):
    """On a GPU, float64: loss equal to 1e-9; the gradient too where no noise is drawn."""
    (reference, theta, batch), _ = problem(quantizers.MidRise(), "float64")
    theta_g, batch_g = cupy.asarray(theta), Batch(cupy.asarray(batch.x), cupy.asarray(batch.labels))
    ours = Objective(reference.network, reference.quantizer).calibrate(theta_g)
    a, _ = estimator.estimate(ours, theta_g, batch_g, estimator.init(ours, theta_g), Step())
    b, _ = estimator.estimate(reference, theta, batch, estimator.init(reference, theta), Step())
    assert a.grad.dtype == b.grad.dtype and a.grad.shape == b.grad.shape
    assert bool(cupy.isfinite(a.grad).all())
    if isinstance(estimator, STE) or getattr(estimator, "beta", 0.0) == 1.0:
        np.testing.assert_allclose(cupy.asnumpy(a.grad), b.grad, rtol=1e-9, atol=1e-12)

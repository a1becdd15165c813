"""The same source on two array libraries: values, dtypes, exceptions, and whole runs.

One body a subject, and every subject from its registry. Each is run with NumPy and with another
library: array-api-strict on its fake device, everywhere; and CuPy, where there is a card, real or
simulated (marker ``gpu``). Random numbers are NumPy's on both sides (``rng="host"``), except where
it is said.
"""

import numpy as np
import pytest
from conftest import blobs, pick
from hypernets import NETS as HYPERNETS
from hypernets import problem as hypernet_problem
from learned import NETS as GENERATORS
from learned import given, started
from libraries import TOLERANCE, Library, compare, moved, numbers
from strategies import SIGMAS
from test_layers import LAYERS, examples
from zoo import EVERY

import minizo.layers
from minizo import InputError, Objective, backend, fit, prox, quantizers, rng
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS
from minizo.hypernets.generators import Average
from minizo.laws import LAWS
from minizo.layers import Conv2d, Flatten, Linear, QuantizedActivation, ReLU, Stack
from minizo.losses import LOSSES
from minizo.models import mlp
from minizo.network import Network
from minizo.optim import OPTIMIZERS
from minizo.quantizers import QUANTIZERS, MidRise
from minizo.surrogates import SURROGATES

RUN_TOLERANCE = 1e-8  # of a run in float64
# small networks of learned gradients, few directions
SMALL = {"n": 2, "eps": 0.1, "units": 3, "expand": 3, "states": 2, "length": 2, "kernel": 2}


@pytest.fixture(params=["strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def library(request):
    """array-api-strict on its fake device, and CuPy; skipped where there is no usable card."""
    if request.param == "strict":
        return Library("strict", request.getfixturevalue("on_strict"))
    xp = request.getfixturevalue("cupy")
    return Library("cupy", lambda x: xp.asarray(np.asarray(x)))


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def assert_same(function, library, *inputs, tolerance=None):
    """Run ``function`` on host arrays and on the device, and `compare` what comes out."""
    compare(function(*moved(inputs, library.put)), function(*inputs), library, tolerance)


# Parts -------------------------------------------------------------------------------------------

EXTRA_LAYERS = [
    (QuantizedActivation(quantizers.Sign("hardtanh")), (5,)),
    (QuantizedActivation(quantizers.AbsMax(bits=4)), (3, 5)),
    (QuantizedActivation(quantizers.QuEST(bits=3, block=4)), (3, 4)),
    (Stack({"conv": Conv2d(2, 3, 3, stride=2), "act": ReLU(), "flat": Flatten()}), (2, 5, 5)),
]


def test_every_layer_is_there():
    listed = {type(layer) for layer, _ in [*LAYERS, *EXTRA_LAYERS]}
    promised = {getattr(minizo.layers, name) for name in minizo.layers.__all__}
    assert promised - {minizo.layers.Layer} <= listed


@pytest.mark.parametrize("lead", [(), (2,)], ids=["one", "population"])
@pytest.mark.parametrize("layer, shape", [*LAYERS, *EXTRA_LAYERS], ids=str)
def test_layers(layer, shape, lead, dtype, library):
    """Forward, backward, statistics of the batch, and the next running statistics."""
    net = Network({"it": layer}, shape)
    params = {
        name: numbers(*lead, *own, seed=i, dtype=dtype)
        for i, (name, own) in enumerate(net.shapes.items())
    }
    x = examples(layer, 6, shape, np.random.default_rng(90), lead, dtype)
    dy = numbers(*lead, 6, *layer.output_shape(shape), seed=91, dtype=dtype)

    def both_ways(params, x, dy):
        noise = net.noise(rng.at(0, "layers", 0, source="host"), 6, dy)
        y, cache = net.stack.forward(params | noise, x)
        seen = net.statistics([cache])
        state = net.next_state(net.init_state(x), seen)
        return y, net.stack.backward(params | noise, cache, dy), seen, state

    assert_same(both_ways, library, params, x, dy)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype, library):
    def both_ways(outputs, labels):
        loss, cache = LOSSES[name]().forward(outputs, labels)
        return loss, LOSSES[name]().backward(cache)

    assert_same(both_ways, library, numbers(3, 7, 4, dtype=dtype), np.arange(7) % 4)


def plain(quantizer):
    """Whether a quantiser needs nothing but a number and its scale."""
    if quantizer.by_filter or quantizer.random or not quantizer.pointwise:
        return False
    return not quantizer.shapes((1,))


# on the thresholds, the zeros of both signs, a subnormal, beyond the levels
PLACES = np.array([-3.0, -1.0, -0.5, -0.25, -0.0, 0.0, 1e-310, 0.2, 0.25, 0.5, 1.0, 9.0])


# (a GPU's kernels may make the subnormal 0, which quantises alike because it is above 0)


@pytest.mark.parametrize("name", EVERY)
def test_quantizers(name, dtype, library):
    """The weights, the gradient through them, what is kept, the scales; a step away from theta."""
    q = EVERY[name]
    objective = Objective(mlp(8, 4, 3, input_shape=(1, 1, 8)), q)
    theta = objective.network.init(0, like=np.empty(0, dtype))
    theta += numbers(*theta.shape, seed=1, dtype=dtype) / 10
    x, labels = numbers(10, 1, 1, 8, dtype=dtype), np.arange(10) % 3

    def everything(theta, x, labels):
        own = objective.calibrate(theta)
        noise = own.noise(rng.at(0, "layers", 0, source="host"), 10, x)
        found = own.ste_gradient(theta, minizo.Batch(x, labels, noise))
        scales = {name: own.scales[name] for name in own.quantized}
        return scales, own.quantize(theta), own.refresh(theta), found.loss, found.gradient

    assert_same(everything, library, theta, x, labels, tolerance=_loose(dtype))


@pytest.mark.parametrize("name", [n for n, q in QUANTIZERS.items() if plain(q())])
def test_quantizers_at_their_thresholds(name, dtype, library):
    """The map at places where it jumps, at zeros of both signs and at a subnormal."""
    q = QUANTIZERS[name]()
    assert_same(q.quantize, library, PLACES.astype(dtype), np.array([0.5], dtype))


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates(name, dtype, library):
    own = SURROGATES[name]
    assert_same(lambda x: (own.value(x), own.derivative(x)), library, PLACES.astype(dtype))


@pytest.mark.parametrize("name", LAWS)
def test_laws(name, dtype, library):
    """The host's numbers, and the two densities."""
    law, stream = LAWS[name], rng.at(0, "noise", 1, 2, source="host")

    def everything(like):
        u = law.sample(stream, backend.empty((40, 5), like))
        return u, law.zero_bias_pdf(u), law.pdf(u) if law.pdf is not None else None

    assert_same(everything, library, np.empty(0, dtype))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, dtype, library):
    """Five updates with a schedule, a warm-up, a decay, and a limit to the gradient."""
    more = {"nesterov": True} if name == "momentum" else {}
    rule = OPTIMIZERS[name](schedule="cosine", warmup=0.3, decay=0.1, clip=2.0, **more)

    def updates(theta, grads):
        state = rule.init(theta)
        for i in range(5):
            theta, state = rule.update(grads[i, :], state, theta, i / 5)
        return theta, tuple(state)

    assert_same(updates, library, numbers(30, dtype=dtype), numbers(5, 30, seed=1, dtype=dtype))


Q = MidRise()
PROX = {
    "w_l1": lambda x, q, alpha: prox.w_l1(x, q),
    "w_l2": lambda x, q, alpha: prox.w_l2(x, q, "full"),
    "prox_l1": lambda x, q, alpha: prox.prox_l1(x, q, 0.1 * alpha),
    "prox_l2": lambda x, q, alpha: prox.prox_l2(x, q, 0.3),
    "blend": lambda x, q, alpha: prox.blend(x, q, 0.2),
    "piecewise_affine": lambda x, q, alpha: prox.piecewise_affine(x, q, 0.5 * alpha, 0.4),
    "ramp": lambda x, q, alpha: prox.ramp(x, Q, alpha, 0.4),
    "soft_staircase": lambda x, q, alpha: prox.soft_staircase(x, Q, alpha, 3.0),
    "share": lambda x, q, alpha: prox.share(2.0),
    "logistic_fall": lambda x, q, alpha: prox.logistic_fall(0.3),
}


def test_every_prox_is_there():
    public = {n for n, f in vars(prox).items() if getattr(f, "__module__", "") == prox.__name__}
    assert public - {"__dir__"} == set(PROX)


@pytest.mark.parametrize("name", PROX)
def test_prox(name, dtype, library):
    x, alpha = numbers(40, dtype=dtype), np.array([0.7], dtype)
    assert_same(PROX[name], library, x, Q.quantize(x, alpha), alpha)


@pytest.mark.parametrize("net, shape", HYPERNETS, ids=str)
def test_hypernets(net, shape, dtype, library):
    def both_ways(params, x, dy):
        y, *rest, cache = net.forward(params, x)
        return y, tuple(rest), net.backward(params, cache, dy)

    assert_same(
        both_ways, library, *hypernet_problem(net, shape, dtype=dtype), tolerance=_loose(dtype)
    )


@pytest.mark.parametrize("net", [*GENERATORS, Average()], ids=str)
def test_generators(net, dtype, library):
    """Two calls, so that the second has what the first carried along."""

    def two_calls(phi, known, df):
        params = net.views(phi) if net.size else {}
        first, carried, _ = net.generate(params, known, net.rest(5, df))
        second, carried, cache = net.generate(params, known, carried)
        return first, second, tuple(carried), net.pull_back(params, cache, df)

    known, df = given(dtype=np.dtype(dtype))
    phi = started(net, np.dtype(dtype)) if net.size else np.empty(0, dtype)
    assert_same(two_calls, library, phi, known, df, tolerance=_loose(dtype))


def _loose(dtype):
    # long chains of exponentials: some more roundings
    return 100 * TOLERANCE[dtype]


# Exceptions --------------------------------------------------------------------------------------

BAD = {
    "theta of a wrong size": lambda x: mlp(12, 5, 3).views(x[:7]),
    "no scales": lambda x: Objective(mlp(12, 5, 3), MidRise()).quantize(x),
    "weights all zero": lambda x: Objective(mlp(12, 5, 3), MidRise()).calibrate(0.0 * x),
    "a list for an array": lambda x: backend.namespace([1.0]),
    "another library's array": lambda x: backend.namespace(x, 1.0),
    "nothing to learn": lambda x: ESTIMATORS["fsg"]().init(
        Objective(mlp(12, 5, 3), MidRise(), quantized=()), x
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_exceptions(what, library):
    """Bad input is refused with the same sentence, up to the names of the libraries."""
    sentences = []
    for move in (np.asarray, library.put):
        with pytest.raises(InputError) as caught:
            BAD[what](move(numbers(83)))
        sentences.append(str(caught.value).partition("arrays of")[0])
    assert sentences[0] == sentences[1]


# Runs --------------------------------------------------------------------------------------------

STEPS = {"strict": 25, "cupy": 200}


def toy_data(move):
    """60 examples of 8 features in 3 classes, where ``move`` puts them."""
    x, labels = blobs(60, 3, 8, 1, np.float64)
    x_test, labels_test = blobs(20, 3, 8, 2, np.float64)
    return Dataset("toy", move(x), move(labels), move(x_test), move(labels_test), classes=3)


def run(estimator, move, steps, rng="host"):
    """A whole run of an 8-4-3 network, by default with the host's random numbers."""
    layers = {"flat": Flatten(), "fc1": Linear(8, 4), "act": ReLU(), "fc2": Linear(4, 3)}
    objective = Objective(Network(layers, (1, 1, 8)), MidRise("tanh"))
    rule = OPTIMIZERS["adam"](0.01)
    data = toy_data(move)
    return fit(objective, data, estimator, rule, steps=steps, batch=10, seed=3, rng=rng)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_whole_runs(name, library):
    """Every estimator in float64 (CuPy: 200 steps): theta to 1e-8 of its size, records too."""
    estimator, steps = pick(ESTIMATORS[name], SMALL), STEPS[library.name]
    ours, reference = (run(estimator, move, steps) for move in (library.put, np.asarray))
    compare(ours.theta, reference.theta, library, RUN_TOLERANCE)
    for column in ("train_loss", "test_accuracy", "forwards", "backwards", "macs"):
        np.testing.assert_allclose(
            ours.records[column], reference.records[column], rtol=RUN_TOLERANCE
        )
    # it has gone somewhere: the comparison is not one of two starts
    assert reference.records["train_loss"][0] != reference.records["train_loss"][-1]


def test_another_run_is_noticed(library):
    """Negative control: directions longer by 1 in 100,000 lead beyond the tolerance."""
    reference = run(pick(ESTIMATORS["fogzo"], SMALL), np.asarray, 20)
    other = run(pick(ESTIMATORS["fogzo"], SMALL | {"eps": 0.100001}), library.put, 20)
    with pytest.raises(AssertionError):
        compare(other.theta, reference.theta, library, RUN_TOLERANCE)


# Random numbers of the device --------------------------------------------------------------------

COUNT = 20_000


def far(u, kurtosis):
    """How far mean and variance are from 0 and 1, in standard errors; the larger of the two."""
    # Var[u] = 1,  Var[u^2] = kurtosis - 1, which is 0 for signs
    errors = np.sqrt(np.array([1.0, kurtosis - 1.0]) / u.size)
    gaps = np.abs([u.mean(), (u**2).mean() - 1.0])
    return float(np.max(gaps / np.maximum(errors, 1e-9)))


@pytest.mark.parametrize("name", LAWS)
def test_device_noise_has_its_law(name, dtype, library):
    """``rng="device"``: mean and variance within 6 sigma; never 0; another step, other numbers."""
    law = LAWS[name]

    def draw(step, scale=1.0):
        like = library.put(np.empty(0, dtype))
        stream = rng.at(0, "noise", step, source="device")
        u = backend.to_numpy(law.sample(stream, backend.empty((COUNT,), like)))
        return scale * u.astype(np.float64)

    u = draw(0)
    assert far(u, law.kurtosis) <= SIGMAS
    assert far(draw(0, 1.1), law.kurtosis) > SIGMAS  # negative control: 10 % too wide
    np.testing.assert_array_equal(u, draw(0))  # the same place, the same numbers
    assert not np.array_equal(u, draw(1))
    if name != "gaussian":
        assert np.all(u != 0.0)


def test_device_noise_gives_the_same_estimate_in_distribution(library):
    """40 n-SPSA estimates with either source: means within 6 standard errors of each other."""
    repeats, n = 40, 50
    data, found = toy_data(np.asarray), {}
    objective = Objective(mlp(8, 4, 3, input_shape=(1, 1, 8)), MidRise("tanh"))
    theta = objective.network.init(0, like=data.x_train)
    for source, move in (("host", np.asarray), ("device", library.put)):
        own = objective.calibrate(move(theta))
        batch = minizo.Batch(move(data.x_train), move(data.y_train))
        estimator = ESTIMATORS["spsa"](n=n)
        state = estimator.init(own, move(theta))
        samples = []
        for index in range(repeats):
            # other steps for the other source: its numbers are others on every library
            step = minizo.Step(seed=0, index=index + 1000 * (source == "device"), rng=source)
            estimate, _ = estimator.estimate(own, move(theta), batch, state, step)
            samples.append(backend.to_numpy(estimate.grad))
        found[source] = np.stack(samples)
    host, device = found["host"], found["device"]
    gap = np.abs(host.mean(axis=0) - device.mean(axis=0))
    error = np.sqrt((host.var(axis=0, ddof=1) + device.var(axis=0, ddof=1)) / repeats)
    assert np.all(gap <= SIGMAS * error)
    # negative control: an estimate that is twice as large is told apart
    assert not np.all(np.abs(host.mean(axis=0) - 2.0 * device.mean(axis=0)) <= SIGMAS * error)


def test_host_and_device_are_the_only_sources():
    with pytest.raises(InputError, match="rng is 'gpu', but choose from"):
        rng.at(0, "noise", source="gpu")
    with pytest.raises(InputError, match="rng is 'gpu', but choose from"):
        run(ESTIMATORS["ste"](), np.asarray, 1, rng="gpu")

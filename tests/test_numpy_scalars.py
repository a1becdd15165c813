"""NumPy scalars as numbers of every kind: the bits of a run are those of Python's numbers."""

from dataclasses import replace

import numpy as np
import pytest

import minizo
from minizo import STE, InputError, Objective, backend, fit, fit_many, models, optim
from minizo import prox as proximal
from minizo.data import CropFlip, synthetic_digits
from minizo.estimators import ESTIMATORS
from minizo.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool2d,
    QuantizedActivation,
    Residual,
    ZeroPad,
)
from minizo.network import Network
from minizo.optim import OPTIMIZERS
from minizo.quantizers import QUANTIZERS, MidRise, Sign
from minizo.rng import at
from minizo.schedules import SHAPES, schedule
from minizo.settings import checks
from minizo.surrogates import SURROGATES

NUMPY = {float: np.float64, int: np.int64, bool: np.bool_, tuple: np.array}

# The bits of a run


def numpy_numbers(made):
    """The same object, every number given as a NumPy scalar."""
    given = {}
    for name, _, _ in checks(type(made)):
        value = getattr(made, name)
        if value is None:
            continue
        given[name] = NUMPY[type(value)](value)
    return replace(made, **given)


def assert_same_bits(found, wanted, dtype=np.float32):
    assert found.theta.dtype == wanted.theta.dtype == dtype
    np.testing.assert_array_equal(found.theta, wanted.theta)
    for column in set(wanted.records) - {"seconds", "evaluation_seconds"}:
        assert found.records[column] == wanted.records[column]
    assert found.settings == wanted.settings
    for name, value in wanted.state.items():
        assert found.state[name].dtype == value.dtype
        np.testing.assert_array_equal(found.state[name], value)


def train(toy, estimator=None, optimizer=None, quantizer=None, net=None, **options):
    objective = Objective(net or models.mlp(12, 5, 3), quantizer or MidRise("hardtanh"))
    options = {"steps": 4, "batch": 50, "seed": 1} | options
    return fit(objective, toy, estimator or STE(), optimizer or optim.Adam(0.02), **options)


def of_its_own(made):
    """The estimator with sizes that are given, where they could be matched."""
    return replace(made, eps=0.0625) if hasattr(made, "eps") else made


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_estimators_keep_the_bits(toy, name):
    estimator = of_its_own(ESTIMATORS[name]())
    assert_same_bits(train(toy, numpy_numbers(estimator)), train(toy, estimator))


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimizers_keep_the_bits(toy, name, shape):
    rule = OPTIMIZERS[name](schedule=shape)
    options = {"quantizer": Sign()} if name == "bop" else {}
    found = train(toy, optimizer=numpy_numbers(rule), **options)
    assert_same_bits(found, train(toy, optimizer=rule, **options))


@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_quantizers_keep_the_bits(toy, name):
    quantizer = QUANTIZERS[name]()
    found = train(toy, quantizer=numpy_numbers(quantizer))
    assert_same_bits(found, train(toy, quantizer=quantizer))


POINTWISE = [n for n, cls in QUANTIZERS.items() if cls().pointwise and not cls().random]


@pytest.mark.parametrize("name", POINTWISE)
def test_activations_keep_the_bits(toy, name):
    layer = QuantizedActivation(QUANTIZERS[name](), 0.5)
    other = replace(numpy_numbers(layer), quantizer=numpy_numbers(layer.quantizer))
    nets = (models.mlp(12, 5, 3, activation=given) for given in (other, layer))
    assert_same_bits(*(train(toy, net=net) for net in nets))


def every_layer(number=int, real=float):
    """A network of all kinds of layers, their numbers of the given types."""
    n, x = number, real
    body = {"conv": Conv2d(n(4), n(4), n(3), padding=n(1)), "bn": BatchNorm2d(n(4), x(0.25))}
    way = {"pad": ZeroPad(n(2), n(4), n(2))}
    first = {"conv": Conv2d(n(2), n(4), n(3), n(2), n(1)), "bn": BatchNorm2d(n(4), x(0.25), x(0.5))}
    layers = {
        "drop": Dropout(x(0.25)),
        "conv": Conv2d(n(1), n(2), (n(3), n(3)), padding=n(1), bias=np.bool_(True)),
        "act": QuantizedActivation(MidRise("hardtanh", n(3)), x(0.5)),
        "down": Residual(first, way),
        "same": Residual(body),
        "pool": MaxPool2d(n(3), n(2), n(1)),
        "norm": LayerNorm((n(4), n(2), n(2)), x(0.25)),
        "flatten": Flatten(n(3)),
        "fc": Linear(n(16), n(3)),
        "last": BatchNorm1d(n(3), x(0.25), x(0.5)),
    }
    return Network(layers, (n(1), n(8), n(8)))


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.array])
@pytest.mark.parametrize("real", [np.float64, np.float32, np.array])
def test_layers_keep_the_bits(number, real):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 1, 8, 8)).astype(np.float32), np.arange(60) % 3
    data = minizo.data.Dataset("noise", x, y, x, y, classes=np.uint8(3))
    options = {"batch": 20, "augment": CropFlip(number(1))}
    found = train(data, net=every_layer(number, real), **options)
    assert_same_bits(found, train(data, net=every_layer(), **options | {"augment": CropFlip(1)}))


NUMBERS = {"steps": 4, "batch": 50, "seed": 200, "record_every": 2, "loss_examples": 250}


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.array, np.uint64])
def test_arguments_keep_the_bits(toy, number, tmp_path):
    """Those of fit and fit_many, of threads and of a pool; and a run that resumes."""
    given = {name: number(value) for name, value in NUMBERS.items()}
    wanted = train(toy, minizo.SPSA(n=3), **NUMBERS)
    path = tmp_path / "run.npz"
    with minizo.threads(number(2)) as pool:
        options = given | {"pool": pool, "path": path, "checkpoint_every": number(3)}
        assert_same_bits(train(toy, minizo.SPSA(n=number(3)), **options), wanted)
    assert_same_bits(train(toy, minizo.SPSA(n=3), **NUMBERS, path=path, resume=True), wanted)
    objective = Objective(models.mlp(12, 5, 3), MidRise("hardtanh"))
    several = [
        fit_many(
            objective, toy, STE(), [(optim.Adam(0.02), kind(s)) for s in (1, 200)],
            **{name: kind(NUMBERS[name]) for name in NUMBERS if name != "seed"}, workers=kind(2),
        )
        for kind in (number, int)
    ]  # fmt: skip
    for found, same in zip(*several, strict=True):
        assert_same_bits(found, same)


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.array])
@pytest.mark.parametrize(
    "make",
    [
        lambda n: models.mlp(n(200), n(200), n(3)),
        lambda n: models.lenet((n(100), n(200)), n(3), input_shape=(n(1), n(28), n(28))),
        lambda n: models.lenet(np.array([4, 200], np.uint8), 3, input_shape=[n(1), 28, 28]),
        lambda n: models.resnet(n(8), n(3), width=n(100), input_shape=(n(1), n(8), n(8))),
        lambda n: models.small_resnet(n(3), (n(1), n(8), n(8)), final_norm=np.bool_(True)),
        lambda n: models.small((n(100), n(200)), n(3), input_shape=(n(1), n(16), n(16))),
    ],
)
def test_models_of_other_numbers(make, number):
    """Nothing overflows in sizes that are products: the same parameters, and layers."""
    made, wanted = make(number), make(int)
    assert (
        made.d == wanted.d and made.macs == wanted.macs and type(made.d) is type(made.macs) is int
    )
    assert made.describe() == wanted.describe() and repr(made.layers) == repr(wanted.layers)


def test_data_of_other_numbers():
    made, wanted = (
        synthetic_digits(n(200), n(100), n(3)).head(n(150), n(50)) for n in (np.uint8, int)
    )
    assert repr(made) == repr(wanted)
    np.testing.assert_array_equal(made.x_train, wanted.x_train)


def test_streams_of_other_numbers():
    """The words are Python's, whose repr is what a GPU makes its seed of."""
    for number in (np.int64, np.uint8, np.array):
        stream = at(number(7), "noise", number(2), number(3)).child(number(1))
        assert repr(stream.words()) == repr(at(7, "noise", 2, 3).child(1).words())


@pytest.mark.parametrize("number", [np.float64, np.array, np.longdouble])
def test_functions_keep_the_dtype(number):
    """Those that are given numbers beside float32 arrays."""
    x = np.linspace(-1.0, 1.0, 9, dtype=np.float32)
    q = np.sign(x)
    calls = [
        lambda n: proximal.prox_l1(x, q, n(0.25)),
        lambda n: proximal.prox_l2(x, q, n(0.25), "full"),
        lambda n: proximal.blend(x, q, n(0.25)),
        lambda n: proximal.piecewise_affine(x, q, n(1.0), n(0.25)),
        lambda n: proximal.ramp(x, Sign(), n(1.0), n(0.25)),
        lambda n: proximal.soft_staircase(x, Sign(), n(1.0), n(2.0)),
        lambda n: proximal.prox_l1(x, q, proximal.logistic_fall(n(0.25), n(10.0), n(0.5))),
        *(
            lambda n, rule=rule: rule.update(x, rule.init(x), x, n(0.25))[0]
            for rule in (cls(schedule="cosine") for cls in OPTIMIZERS.values())
        ),
        *(
            lambda n, own=own: own.at(n(0.25)).derivative(x) + own.at(n(0.25)).value(x)
            for own in SURROGATES.values()
        ),
    ]
    for call in calls:
        assert call(number).dtype == np.float32
        np.testing.assert_array_equal(call(number), call(float))
    for shape in SHAPES:
        fallen = schedule(shape, number(1.0), number(0.5), number(0.25))
        assert type(fallen) is float and fallen == schedule(shape, 1.0, 0.5, 0.25)


def test_without_the_check_a_numpy_scalar_changes_the_dtype(toy):
    """Negative control: what a NumPy scalar does where nobody looks at it; the loop refuses it."""
    rule, theta = optim.Momentum(0.1), np.zeros(2, np.float32)
    object.__setattr__(rule, "mu", np.float64(0.9))
    assert rule.update(theta, rule.init(theta), theta)[0].dtype == np.float64
    with pytest.raises(
        InputError, match="theta after Momentum is .* float64, but theta before is .* float32"
    ):
        train(toy, optimizer=rule)


def test_the_library_of_the_data_is_asked_not_the_numbers(toy):
    """Numbers do not decide: float64 data train in float64, with float32 numbers, too."""
    rule = optim.Adam(np.float32(0.5))
    assert train(toy.astype("float64"), optimizer=rule).theta.dtype == np.float64
    assert backend.numpy_dtype(train(toy, optimizer=rule).theta) == np.float32

"""What `fit` and `fit_many` refuse before anything is trained, and what they take as it is."""

from dataclasses import replace

import numpy as np
import pytest

import minizo
from minizo import (
    STE,
    Diverged,
    InputError,
    Objective,
    Pool,
    backend,
    fit,
    fit_many,
    layers,
    losses,
    models,
    optim,
    quantizers,
    threads,
)
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS
from minizo.layers import Conv2d
from minizo.network import Network


def digest(result):
    return backend.sha256(result.theta)


def one(objective, data, estimator, **options):
    return fit(objective, data, estimator, optim.Adam(0.02), **options)


def several(objective, data, estimator, seed=1, **options):
    pairs = [(optim.Adam(0.02), seed)]
    return fit_many(objective, data, estimator, pairs, **options)[0]


def run(toy, estimator=None, net=None, train=one, **options):
    """Five steps of a 12-5-3 network, its weights of four values but for ``quantizer``'s."""
    own = {name: options.pop(name) for name in ("quantized", "loss") if name in options}
    quantizer = options.pop("quantizer", quantizers.Sign())
    objective = Objective(net or models.mlp(12, 5, 3), quantizer, **own)
    options = {"steps": 5, "batch": 20, "seed": 1} | options
    return train(objective, toy, estimator or STE(), **options)


WAYS = pytest.mark.parametrize("train", [one, several])


# Data against the network


@WAYS
@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_label_beyond_the_outputs(toy, train, loss, part):
    """Refused for every loss, in either set; the same data train with outputs enough."""
    labels = np.array(getattr(toy, f"y_{part}"))
    labels[-1] = 4
    data = replace(toy, classes=5, **{f"y_{part}": labels})
    loss = losses.LOSSES[loss]()
    sentence = f"a label of y_{part} is 4, but the network has 3 outputs: build it with 5"
    with pytest.raises(InputError, match=sentence):
        run(data, train=train, loss=loss)
    run(data, net=models.mlp(12, 5, 5), train=train, loss=loss)


@WAYS
@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_label_beyond_the_outputs_for_every_estimator(toy, train, name):
    with pytest.raises(InputError, match="a label of y_train is 2, but the network has 2 outputs"):
        run(toy, ESTIMATORS[name](), models.mlp(12, 5, 2), train)


@WAYS
@pytest.mark.parametrize(
    "net, sentence",
    [
        (models.mlp(11, 5, 3), r"layer 'fc1': Linear\(11, 5\) is fed examples of shape \(12,\)"),
        (models.small((4,), 3, input_shape=(1, 8, 8)), "layer 'pool1': MaxPool2d"),
        (
            models.resnet(8, 3, width=2, input_shape=(1, 8, 8)),
            r"the shape of an image is \(1, 1, 12\), but the network is built for \(1, 8, 8\)",
        ),
        (Network({"conv": Conv2d(1, 3, 1)}, (1, 1, 12)), r"the network's output is \(3, 1, 12\)"),
    ],
    ids=["too narrow", "pooled away", "another size", "images come out"],
)
def test_a_network_for_other_images(toy, train, net, sentence):
    with pytest.raises(InputError, match=sentence):
        run(toy, net=net, train=train)


def test_the_same_numbers_in_another_shape_are_as_good(toy):
    """A network that flattens first takes any shape of so many numbers: the same bits."""
    x_train, x_test = (x.reshape(-1, 3, 2, 2) for x in (toy.x_train, toy.x_test))
    assert digest(run(replace(toy, x_train=x_train, x_test=x_test))) == digest(run(toy))


@WAYS
@pytest.mark.parametrize("part", ["train", "test"])
def test_an_empty_set(toy, train, part):
    nothing = {name: getattr(toy, name)[:0] for name in (f"x_{part}", f"y_{part}")}
    options = {} if part == "test" else {"batch": 1}
    with pytest.raises(InputError, match=f"(number of images in x_{part} is 0|there are only 0)"):
        run(replace(toy, **nothing), train=train, **options)


# Nothing quantised

REFUSES = {
    "spsa": "nothing is quantised and implies a perturbation size",
    "fogzo": "nothing is quantised and implies a perturbation size",
} | dict.fromkeys(
    ("fcgrad", "multifc", "lstmfc", "fsg", "gain", "layer-gain", "fast-net", "fsg-gain", "fsg-ema",
     "fsg-scaled"),
    "a learned gradient needs quantised weights",
)  # fmt: skip


@WAYS
@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_nothing_quantised(toy, train, name, tmp_path):
    """Trains as in full precision, or says in one sentence what is missing."""
    estimator = ESTIMATORS[name]()
    if name in REFUSES:
        with pytest.raises(InputError, match=REFUSES[name]):
            run(toy, estimator, train=train, quantized=())
        return
    result = run(toy, estimator, train=train, quantized=())
    # the length of the gradient is not the STE's in full precision, either
    plain = estimator if name == "normalised-ste" else STE()
    reference = run(toy, plain, train=train, quantizer=quantizers.FullPrecision())
    assert digest(result) == digest(reference)
    assert result.final("train_loss") == reference.final("train_loss")


@pytest.mark.parametrize("name", ["spsa", "fogzo"])
def test_nothing_quantised_with_a_size_of_its_own(toy, name, tmp_path):
    """A perturbation size that is given needs no quantiser; the run resumes from its end."""
    options = {"quantized": (), "path": tmp_path / "run.npz"}
    result = run(toy, ESTIMATORS[name](n=3, eps=1e-3), **options)
    again = run(toy, ESTIMATORS[name](n=3, eps=1e-3), **options, resume=True)
    assert digest(result) == digest(again)


@pytest.mark.parametrize(
    "quantized, sentence",
    [
        ("fc1.weight", "quantized is 'fc1.weight', but it must be a tuple of names"),
        (("fc1.weight", "fc1.weight"), "each name must be there once"),
        (("fc9.weight",), "quantized is 'fc9.weight', but it must be a parameter of the network"),
    ],
)
def test_names_of_what_is_quantised(quantized, sentence):
    with pytest.raises(InputError, match=sentence):
        Objective(models.mlp(12, 5, 3), quantizers.Sign(), quantized=quantized)
    as_list = Objective(models.mlp(12, 5, 3), quantizers.Sign(), quantized=["fc1.weight"])
    assert as_list.quantized == ("fc1.weight",)


# Labels, and images, as they come


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
def test_a_loss_counts_more_classes_than_a_byte(loss, dtype):
    """Labels of any integer type, 300 classes: the loss and gradient of int64."""
    loss, rng = losses.LOSSES[loss](), np.random.default_rng(0)
    outputs, labels = rng.normal(size=(20, 300)).astype(np.float32), rng.integers(0, 100, 20)
    value, cache = loss.forward(outputs, labels)
    same, again = loss.forward(outputs, labels.astype(dtype))
    assert same == value and same.dtype == np.float32
    np.testing.assert_array_equal(loss.backward(again), loss.backward(cache))


@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
@pytest.mark.parametrize("kind", [float, np.float32, bool])
def test_a_loss_refuses_labels_that_are_not_whole(loss, kind):
    outputs, labels = np.zeros((4, 3)), np.array([0, 1, 2, 0]).astype(kind)
    with pytest.raises(InputError, match="the labels' dtype is '(float64|float32|bool)', but they"):
        losses.LOSSES[loss]().forward(outputs, labels)


def test_images_and_labels_stored_in_another_way_give_the_same_bits(toy):
    def turned(x):
        return np.asfortranarray(x).astype(x.dtype.newbyteorder(">"))

    other = Dataset(
        toy.name,
        turned(toy.x_train),
        toy.y_train.astype(">u2"),
        turned(toy.x_test),
        toy.y_test.astype("u1"),
        3,
    )
    assert digest(run(other)) == digest(run(toy))


# Arguments of fit, fit_many, Pool and threads

WRONG = [0, -1, 2.0, 1.5, True, "5", float("nan"), float("inf"), [5], 1 + 0j, np.float64(5)]


@WAYS
@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("name", ["steps", "batch", "record_every", "loss_examples"])
def test_numbers_that_must_be_whole_and_above_0(toy, train, name, value):
    with pytest.raises(InputError, match=f"^{name} is .*, but it must be a whole number of at lea"):
        run(toy, train=train, **{name: value})


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_more_numbers_that_must_be_whole_and_above_0(toy, value):
    sentence = "is .*, but it must be a whole number of at least 1"
    with pytest.raises(InputError, match=f"^checkpoint_every {sentence}"):
        run(toy, checkpoint_every=value)
    with pytest.raises(InputError, match=f"^workers {sentence}"):
        run(toy, train=several, workers=value)
    with pytest.raises(InputError, match=f"^workers {sentence}"), threads(value):
        pass
    for name in ("in_flight", "memory"):
        with pytest.raises(InputError, match=f"^Pool.{name} {sentence}"):
            Pool(**{name: value})


@WAYS
@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "1", None, np.float64(1)], ids=repr)
def test_seeds_are_whole_numbers_below_2_to_the_32(toy, train, seed):
    with pytest.raises(InputError, match=r"^seed is .* whole number from 0 to 4294967295"):
        run(toy, train=train, seed=seed)


@WAYS
def test_more_examples_than_there_are(toy, train):
    for name in ("batch", "loss_examples"):
        with pytest.raises(InputError, match=f"{name} is 401, but there are only 400"):
            run(toy, train=train, **{name: 401})
        run(toy, train=train, **{name: 400})


# Where a run starts


def test_a_start_of_another_dtype_or_library(toy):
    net = models.mlp(12, 5, 3)
    with pytest.raises(InputError, match="start's dtype is 'float64', but the data have float32"):
        run(toy, start=net.init(0, like=np.empty(0)))
    with pytest.raises(InputError, match="expected an array, got list"):
        run(toy, start=net.init(0).tolist())


@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: v.astype(np.float64)])
def test_statistics_of_another_network_or_dtype(change):
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 1, 8, 8)).astype(np.float32), np.arange(40) % 3
    data = Dataset("noise", x, y, x, y, classes=3)
    net = Network(models.small((4,), 3, input_shape=(1, 8, 8)).layers, (1, 8, 8))
    state = net.init_state(x)
    run(data, net=net, state=state)  # control
    with pytest.raises(InputError, match="the shape and dtype of state bn1.mean is "):
        run(data, net=net, state=state | {"bn1.mean": change(state["bn1.mean"])})


# What a rule, a quantiser or a layer of a user's own gives


class Own(STE):
    """The STE with its gradient changed."""

    def __init__(self, change):
        object.__setattr__(self, "change", change)

    def estimate(self, objective, theta, batch, state, step):
        """The `Estimate` with another gradient."""
        estimate, state = super().estimate(objective, theta, batch, state, step)
        return estimate._replace(grad=self.change(estimate.grad)), state


@pytest.mark.parametrize("way", [one, several])
@pytest.mark.parametrize(
    "change, found",
    [
        (lambda g: g.astype("float64"), "float64"),
        (lambda g: g[..., :-1], "82,"),
        (lambda g: g.sum(), r"\(\) float32"),
        (lambda g: 1.0, r"\(\) float"),
    ],
    ids=["dtype", "short", "scalar", "number"],
)
def test_a_gradient_is_like_theta(toy, toy_net, way, change, found):
    """It would broadcast, or turn the run into another dtype, without a word."""
    objective = Objective(toy_net, quantizers.MidRise())
    with pytest.raises(InputError, match=f"the gradient of Own is .*{found}.*theta is"):
        way(objective, toy, Own(change), steps=2, batch=10)


def test_a_rule_without_a_label_is_called_by_its_class(toy, toy_net):
    class Nameless(minizo.Estimator):
        def init(self, objective, theta):
            return ()

        def estimate(self, objective, theta, batch, state, step):
            grad = np.full_like(theta, np.nan)
            return minizo.Estimate(grad, objective.evaluate(theta, batch), 1, 0), state

    objective = Objective(toy_net, quantizers.MidRise())
    with pytest.raises(Diverged, match="^Nameless: the parameters became NaN"):
        one(objective, toy, Nameless(), steps=2, batch=10)


def test_what_a_quantizer_learns_is_not_called_alpha(toy_net):
    class Wrong(quantizers.MidRise):
        def shapes(self, shape):
            return {"alpha": (1,)}

    with pytest.raises(InputError, match="Wrong.shapes is .* call what it learns otherwise"):
        Objective(toy_net, Wrong())


def test_a_layer_of_a_users_own_is_not_cut_into_blocks():
    """It may look at the whole batch; it says ``cuts = True`` where it does not."""

    class Centred(layers.Layer):
        def forward(self, params, x, reduce=None):
            return x - np.mean(x, axis=0), None

        def backward(self, params, cache, dy, wanted=True, reduce=None):
            return dy - np.mean(dy, axis=0), {}

    net = models.lenet(activation=Centred())
    assert not net.cuts and models.lenet().cuts

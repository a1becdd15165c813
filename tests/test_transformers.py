"""llama and vit as whole networks: gradients, populations, causality, training on tokens."""

import numpy as np
import pytest
from strategies import generator

from minizo import FOGZO, SPSA, STE, Batch, InputError, Objective, fit, fit_many, optim
from minizo.data import Dataset, synthetic_text
from minizo.layers import Flatten, Linear
from minizo.models import chosen, llama, lstm_lm, mlp, vit
from minizo.network import Network
from minizo.quantizers import FullPrecision, MidRise
from minizo.records import evaluate

LLAMA = llama(7, width=8, layers=2, heads=4, context=6, shared=2)
VIT = vit((1, 8, 8), 3, patch=4, width=8, layers=1, heads=2)
LSTMS = lstm_lm(7, width=5, layers=2, context=6)
NETWORKS = [
    LLAMA,
    VIT,
    vit((1, 8, 8), 3, patch=4, width=8, layers=1, heads=2, pool="mean"),
    LSTMS,
]
IDS = ["llama", "vit", "vit-mean", "lstm"]
LANGUAGE = pytest.mark.parametrize("network", [LLAMA, LSTMS], ids=["llama", "lstm"])


def batch_for(network, n=3, seed=0):
    """Random examples with labels."""
    gen = generator(seed)
    if len(network.output_shape) == 2:
        tokens = gen.integers(7, size=(n, network.input_shape[0] + 1))
        return Batch(tokens[:, :-1], tokens[:, 1:])
    return Batch(gen.normal(size=(n, *network.input_shape)), gen.integers(3, size=n))


def started(network, lead=(), seed=0):
    """Parameters in float64, of all sizes away from 0."""
    theta = network.init(0, like=np.empty(0))
    return theta + 0.3 * generator(seed).normal(size=(*lead, network.d))


@pytest.mark.parametrize("network", NETWORKS, ids=IDS)
def test_the_gradient_of_a_whole_network(network):
    """Against a central difference along random directions, in each parameter alone: 1e-5."""
    objective = Objective(network, FullPrecision(), quantized=())
    theta, batch, gen = started(network), batch_for(network), generator(1)
    loss, gradient, _ = objective.ste_gradient(theta, batch)
    assert loss == pytest.approx(float(objective.evaluate(theta, batch)), rel=1e-12)
    for name, part in network.slices.items():
        v = np.zeros_like(theta)
        v[part] = gen.normal(size=v[part].shape)
        f = [objective.evaluate(theta + h * v, batch) for h in (1e-5, -1e-5)]
        assert gradient @ v == pytest.approx((f[0] - f[1]) / 2e-5, rel=1e-5, abs=1e-8), name


@pytest.mark.parametrize("network", NETWORKS, ids=IDS)
@pytest.mark.parametrize("lead", [(4,), (2, 3), (3, 1)])
def test_a_population_is_a_loop(network, lead):
    """Losses (1e-10) and gradients (1e-8) of many theta are those one by one."""
    objective = Objective(network, MidRise()).calibrate(started(network))
    theta, batch = started(network, lead), batch_for(network)
    losses, found = objective.evaluate(theta, batch), objective.ste_gradient(theta, batch)
    for index in np.ndindex(*lead):
        own = objective.ste_gradient(theta[index], batch)
        assert losses[index] == pytest.approx(float(own.loss), rel=1e-10)
        np.testing.assert_allclose(found.gradient[index], own.gradient, rtol=1e-8, atol=1e-11)


@LANGUAGE
def test_a_later_token_changes_no_earlier_output(network):
    """Bit for bit, at every place; and the outputs from that place on do change."""
    params = network.views(started(network))
    x = generator(2).integers(7, size=(2, 6))
    before = network.predict(params, x)
    for t in range(6):
        other = x.copy()
        other[:, t] = (x[:, t] + 1) % 7
        after = network.predict(params, other)
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert np.abs(after[:, t:] - before[:, t:]).max(axis=-1).min() > 1e-6


@LANGUAGE
def test_a_shorter_sequence_is_the_beginning_of_a_longer_one(network):
    """What a sample relies on: outputs of the first places do not depend on the length."""
    params, x = network.views(started(network)), generator(3).integers(7, size=(2, 6))
    whole = network.predict(params, x)
    for length in (1, 3, 5):
        part = network.predict(params, x[:, :length])
        np.testing.assert_allclose(part, whole[:, :length], rtol=1e-10, atol=1e-12)


def test_the_first_loss_is_that_of_guessing():
    """log V within 0.1, for three networks."""
    made = (llama(65, width=32, layers=3), llama(65, width=96), lstm_lm(65, width=64, layers=2))
    for seed, network in enumerate(made):
        x = generator(seed).integers(65, size=(8, 65))
        objective = Objective(network, FullPrecision(), quantized=())
        loss = objective.evaluate(network.init(seed), Batch(x[:, :-1], x[:, 1:]))
        assert float(loss) == pytest.approx(np.log(65), abs=0.1)


def test_the_loss_of_a_sequence_is_the_mean_of_its_places():
    """By the formula, place by place; and `evaluate` counts places."""
    objective = Objective(LLAMA, FullPrecision(), quantized=())
    theta, (x, labels, _) = started(LLAMA), batch_for(LLAMA)
    logits = LLAMA.predict(LLAMA.views(theta), x)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    by_hand = -np.log(np.take_along_axis(p, labels[..., None], axis=-1)).mean()
    assert float(objective.evaluate(theta, Batch(x, labels))) == pytest.approx(by_hand, rel=1e-12)
    loss, accuracy = evaluate(objective, theta, x, labels)
    assert loss == pytest.approx(by_hand, rel=1e-12)
    assert accuracy == (logits.argmax(axis=-1) == labels).mean()
    per_place = objective.weight_gradient(theta, Batch(x, labels)).gradient["head.weight"]
    one = [
        objective.weight_gradient(theta, Batch(x[i : i + 1], labels[i : i + 1])) for i in (0, 1, 2)
    ]
    mean = np.mean([g.gradient["head.weight"] for g in one], axis=0)
    np.testing.assert_allclose(per_place, mean, rtol=1e-10, atol=1e-14)


@pytest.fixture(scope="module")
def drawn():
    """A small drawn text in float64."""
    return synthetic_text(context=6, n_train=120, n_test=30, dtype="float64")


@pytest.mark.parametrize("rule", [STE(), SPSA(n=3), FOGZO(n=2), FOGZO(n=1, perturb="quantized")])
def test_rows_are_the_runs_alone(drawn, rule):
    """Seeds trained together have the losses of `fit`, on tokens, 1e-9."""
    network = llama(27, width=8, layers=1, heads=2, context=6)
    names = chosen(network, "layers.*")
    objective = Objective(network, MidRise(), quantized=names)
    options = {"steps": 4, "batch": 10, "record_every": 2}
    pairs = [(optim.AdamW(lr, clip=0.5), seed) for lr in (0.01, 0.03) for seed in (0, 1)]
    together = fit_many(objective, drawn, rule, pairs, **options)
    for (optimizer, seed), run in zip(pairs, together, strict=True):
        own = fit(objective, drawn, rule, optimizer, seed=seed, **options)
        for column in ("train_loss", "test_loss", "test_accuracy"):
            np.testing.assert_allclose(run.records[column], own.records[column], rtol=1e-9)
        assert run.final("macs") == own.final("macs") > 0


def test_a_text_is_learned(drawn):
    """150 steps of the STE on 2-bit blocks come below what single letters allow."""
    text = synthetic_text(context=16, n_train=2000, n_test=200)
    network = llama(27, width=32, layers=1, heads=2, context=16)
    objective = Objective(network, MidRise(), quantized=chosen(network, "layers.*"))
    run = fit(objective, text, STE(), optim.AdamW(0.02), steps=150, batch=32, loss_examples=200)
    share = np.bincount(text.x_train.ravel(), minlength=27) / text.x_train.size
    unigram = -np.sum(share * np.log(share))
    assert text.entropy < run.final("test_loss") < unigram - 0.3
    assert run.records["test_loss"][0] == pytest.approx(np.log(27), abs=0.1)


PLAIN = Network({"flat": Flatten(axes=1), "fc": Linear(6, 27)}, (6,))


@pytest.mark.parametrize(
    "network, sentence",
    [
        (
            llama(27, width=8, layers=1, heads=2, context=5),
            r"the shape of a sequence is \(6,\), but the network is built",
        ),
        (llama(20, width=8, layers=1, heads=2, context=6), "the network knows 20 tokens"),
        (PLAIN, "they are tokens: put an Embedding in front"),
    ],
)
def test_texts_and_networks_that_do_not_go_together(drawn, network, sentence):
    with pytest.raises(InputError, match=sentence):
        fit(Objective(network, MidRise()), drawn, STE(), optim.Adam(), steps=1, batch=5)


def test_images_for_a_language_model():
    images = Dataset("noise", *(np.zeros((4, 1, 2, 3)), np.zeros(4, int)) * 2, 7)
    with pytest.raises(InputError, match=r"it takes sequences \(T,\) of tokens"):
        fit(Objective(LLAMA, MidRise()), images, STE(), optim.Adam(), steps=1, batch=2)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: llama(7, width=10, heads=4), "width is 10, but it must be a multiple of the 4"),
        (lambda: llama(7, width=8, heads=4, shared=3), "Attention.shared is 3"),
        (lambda: llama(0), "Embedding.vocabulary is 0"),
        (lambda: vit((1, 9, 8)), "whose H and W are multiples of 4"),
        (lambda: vit(pool="max"), "pool is 'max', but choose from"),
        (lambda: chosen(mlp(4, 3, 2), "fc3.*"), "quantized is 'fc3.\\*', .* fits no name"),
    ],
)
def test_bad_sizes_are_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_patterns_choose_weights():
    """Several with commas, in the order of the network; `all` and `inner` are names."""
    names = chosen(LLAMA, "head.weight, layers.2.mlp.*")
    assert names[-1] == "head.weight" and len(names) == 4
    assert chosen(LLAMA, "all") == chosen(LLAMA, "*")
    assert chosen(LLAMA, "inner") == chosen(LLAMA, "all")[1:-1] == chosen(LLAMA, "layers.*")

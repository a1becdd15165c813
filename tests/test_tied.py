"""Parameters that are others: a head that is the embedding."""

import numpy as np
import pytest

from minizo import (
    FOGZO,
    SPSA,
    STE,
    Batch,
    InputError,
    Objective,
    export,
    fit,
    fit_many,
    models,
    optim,
)
from minizo import quantizers as q
from minizo.data import synthetic_text
from minizo.layers import Linear
from minizo.network import Network

SIZES = {"width": 8, "context": 6}
MADE = {
    "llama": lambda tied: models.llama(7, layers=1, heads=2, tied=tied, **SIZES),
    "lstm": lambda tied: models.lstm_lm(7, tied=tied, **SIZES),
}
EACH = pytest.mark.parametrize("make", MADE.values(), ids=MADE)


def problem(net, quantizer=None, quantized=()):
    """(calibrated objective, theta, batch) in float64."""
    gen = np.random.default_rng(0)
    objective = Objective(net, q.FullPrecision() if quantizer is None else quantizer, quantized)
    theta = objective.network.init(0, like=np.empty(0))
    theta = theta + 0.3 * gen.normal(size=theta.shape)
    tokens = gen.integers(7, size=(3, 7))
    return objective.calibrate(theta), theta, Batch(tokens[:, :-1], tokens[:, 1:])


@EACH
def test_one_table_serves_both_ends(make):
    """Outputs of the untied network with equal tables; its two gradients, added up."""
    tied, free = make(True), make(False)
    assert tied.d == free.d - 7 * 8 and "head.weight" not in tied.shapes
    objective, theta, batch = problem(tied)
    views = tied.views(theta)
    both = free.flatten({**views, "head.weight": views["embedding.weight"]})
    other = problem(free)[0]
    np.testing.assert_array_equal(objective.outputs(theta, batch.x), other.outputs(both, batch.x))
    ours = tied.views(objective.ste_gradient(theta, batch).gradient)
    theirs = free.views(other.ste_gradient(both, batch).gradient)
    for name, value in ours.items():
        wanted = theirs[name]
        if name == "embedding.weight":
            wanted = wanted + theirs["head.weight"]
            assert not np.allclose(value, theirs[name])
        np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-15)


@EACH
def test_its_gradient_is_the_central_difference(make):
    objective, theta, batch = problem(make(True))
    g, gen = objective.ste_gradient(theta, batch).gradient, np.random.default_rng(1)
    for _ in range(3):
        v, h = gen.normal(size=theta.shape), 1e-6
        ends = [objective.evaluate(theta + s * h * v, batch) for s in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(g @ v, rel=1e-7)


@EACH
def test_quantised_it_is_quantised_once(make):
    """Both ends compute with the same levels; a population is members one by one."""
    net = make(True)
    objective, theta, batch = problem(net, q.LSQ(per="filter"), models.chosen(net, "all"))
    weights = objective.quantize(theta)
    assert "head.weight" not in weights and len(np.unique(weights["embedding.weight"][0])) <= 4
    assert objective.network.with_tied(weights)["head.weight"] is weights["embedding.weight"]
    thetas = np.stack([theta, 1.1 * theta])
    together = objective.ste_gradient(thetas, batch)
    for loss, g, own in zip(together.loss, together.gradient, thetas, strict=True):
        alone = objective.ste_gradient(own, batch)
        np.testing.assert_allclose(loss, alone.loss, rtol=1e-12)
        np.testing.assert_allclose(g, alone.gradient, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("rule", [STE(), SPSA(n=3), FOGZO(n=1, perturb="quantized")])
def test_it_trains_resumes_and_is_exported(rule, tmp_path):
    """Rows of many seeds, a checkpoint, and a file without the second table."""
    text = synthetic_text(context=6, n_train=200, n_test=10)
    net = models.llama(text.classes, layers=1, heads=2, tied=True, **SIZES)
    names = models.chosen(net, "embedding.*, layers.*")
    objective, path = Objective(net, q.MidRise(), names), tmp_path / "run.npz"
    adam, options = optim.AdamW(0.01), {"steps": 20, "batch": 20}
    run = fit(objective, text, rule, adam, path=path, **options)
    assert run.final("test_loss") < np.log(text.classes) or isinstance(rule, SPSA)
    again = fit(objective, text, rule, adam, path=path, resume=True, **options)
    np.testing.assert_array_equal(again.theta, run.theta)
    rows = fit_many(objective, text, rule, [(adam, 0), (adam, 1)], **options)
    np.testing.assert_allclose(rows[0].theta, run.theta, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="tied|network"):
        free = models.llama(text.classes, layers=1, heads=2, **SIZES)
        fit(
            Objective(free, q.MidRise(), names), text, rule, adam, path=path, resume=True, **options
        )
    export.save(tmp_path / "net.npz", run, text=text)
    loaded = export.load(tmp_path / "net.npz")
    assert loaded.params["embedding.weight"].bits == 2 and "head.weight" not in loaded.params
    outputs = net.predict(run.weights, text.x_test)
    np.testing.assert_array_equal(loaded.outputs(text.x_test), outputs)
    assert loaded.network.tied == {"head.weight": "embedding.weight"}


def test_bad_ties_are_one_sentence():
    layers = {"a": Linear(3, 3), "b": Linear(3, 2)}
    for tied, sentence in (
        ({"b.weight": "a.weight"}, "tied is 'b.weight', but a.weight must be a parameter of its"),
        ({"c.weight": "a.weight"}, "tied is 'c.weight'"),
        ({"b.bias": "a.wieght"}, "but a.wieght must be a parameter"),
        ({"a.weight": "a.weight"}, "tied is 'a.weight'"),
    ):
        with pytest.raises(InputError, match=sentence):
            Network(layers, (3,), tied=tied)
    with pytest.raises(InputError, match="tied is 1, but it must be True or False"):
        models.llama(7, tied=1)

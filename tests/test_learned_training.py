"""Training with learned gradients: bits, resuming, counting, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from learned import ALL, TINY, follow, problem, quantised

from minizo import (
    Diverged,
    InputError,
    Objective,
    Step,
    backend,
    fit,
    models,
    optim,
)
from minizo import checkpoint as checkpoints
from minizo.estimators import (
    ESTIMATORS,
    FSG,
    LSTMFC,
    STE,
    FCGrad,
    MultiFC,
)
from minizo.hypernets import Mamba
from minizo.hypernets.slow import SlowNet
from minizo.layers import BatchNorm1d, Flatten, Linear, ReLU
from minizo.network import Network
from minizo.quantizers import DoReFa, MidRise

# Training --------------------------------------------------------------------------------------


def run(toy, estimator, optimizer=None, network=None, **options):
    network = models.mlp(12, 5, 3) if network is None else network
    options = {"steps": 20, "batch": 50, "seed": 1, **options}
    return fit(
        Objective(network, DoReFa(bits=1)), toy, estimator, optimizer or optim.Adam(0.02), **options
    )


def digest(result):
    return backend.sha256(result.theta)


@pytest.mark.parametrize("optimizer", [optim.SGD(0.2), optim.Adam(0.02)], ids=["sgd", "adam"])
def test_fast_only_without_slow_share_is_multifc(toy, optimizer):
    """beta = 0: FSG that commits the fast part is MultiFC with the raw look-ahead, bit for bit."""
    fsg = FSG(**TINY, slow_share=0.0, commit="fast_only", start="uniform")
    reference = run(toy, MultiFC(lookahead="raw", units=5), optimizer)
    assert digest(run(toy, fsg, optimizer)) == digest(reference)
    assert digest(run(toy, replace(fsg, slow_share=0.1), optimizer)) != digest(reference)


def test_fast_only_and_fsg_differ(toy):
    """What is committed matters: the slow part reaches the weights with the one, not the other."""
    assert digest(run(toy, FSG(**TINY))) != digest(run(toy, FSG(**TINY, commit="fast_only")))


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"spsa", "fogzo"}))
def test_training_learns(toy, name):
    """From 2.5 to below 1.0 in 150 steps, small networks: every learned gradient goes downhill."""
    kind = ESTIMATORS[name]
    small = TINY if issubclass(kind, FSG) else {}
    small = {"units": 5} if issubclass(kind, FCGrad | MultiFC | LSTMFC) else small
    rates = {n: 0.02 for n in ("hyper_lr", "fast_lr", "slow_lr") if hasattr(kind, n)}
    result = run(toy, kind(**small, **rates), steps=150)
    assert result.records["train_loss"][0] > 1.5
    assert result.final("train_loss") < 1.0


def normalised():
    """12-5-3 with batch normalisation, whose parameters are not quantised."""
    layers = {"flatten": Flatten(), "fc1": Linear(12, 5), "bn": BatchNorm1d(5), "act": ReLU()}
    return Network(layers | {"fc2": Linear(5, 3)}, (1, 1, 12))


@pytest.mark.parametrize("estimator", [FCGrad(), FSG(**TINY)], ids=str)
def test_batch_statistics_are_those_of_the_lookahead(toy, estimator):
    """A network with running statistics trains; only its own gradients move the normalisation."""
    result = run(toy, estimator, network=normalised(), steps=6)
    assert np.isfinite(result.final("train_loss")) and result.state["bn.mean"].any()
    assert not np.array_equal(
        result.state["bn.mean"], run(toy, STE(), network=normalised(), steps=6).state["bn.mean"]
    )


@pytest.mark.parametrize("widths", [(12, 3), (12, 1, 3)], ids=["one layer", "a narrow layer"])
@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_small_networks(toy, estimator, widths):
    """One quantised layer, and layers of few weights: finite, and all of it is trained."""
    result = run(toy, estimator, network=models.mlp(*widths), steps=8)
    assert np.isfinite(result.theta).all()


def test_one_weight():
    """A layer of a single weight: A(w) is 0 or 1, and everything stays finite."""
    network = Network(
        {"flatten": Flatten(), "a": Linear(6, 1), "b": Linear(1, 1, bias=False), "c": Linear(1, 3)},
        (1, 1, 6),
    )
    for estimator in ALL:
        _, trace, theta = follow(estimator, optim.SGD(0.1), network=network)
        assert np.isfinite(theta).all()
        assert trace[-1][3].squashed[network.slices["b.weight"]][0] in (0.0, 1.0)


@pytest.mark.parametrize("quantizer", [MidRise(bits=2), MidRise("tanh", 2)], ids=str)
def test_other_quantisers(quantizer):
    """Where A is the identity, Wh is the latent weight; slopes that are all ones are 1."""
    objective, trace, theta = follow(MultiFC(), optim.SGD(0.1), quantizer=quantizer)
    _, point, _, state = trace[-1]
    np.testing.assert_array_equal(quantised(objective, state.squashed), quantised(objective, point))
    assert np.isfinite(theta).all()


@pytest.mark.parametrize("estimator", [FCGrad(), FSG(**TINY)], ids=str)
def test_nan_stops_with_a_sentence_and_keeps_the_last_good_networks(toy, estimator, tmp_path):
    """A NaN in the gradient at step 7 is reported; the checkpoint of step 5 is as it was."""
    path = tmp_path / "run.npz"

    class Bad(type(estimator)):
        def estimate(self, objective, theta, batch, state, step):
            if step.index == 7:
                batch = batch._replace(x=batch.x * np.nan)
            return super().estimate(objective, theta, batch, state, step)

    bad = Bad(**vars(estimator))
    with pytest.raises(Diverged, match=f"{bad.label}: the loss became NaN or infinite at step 7"):
        run(toy, bad, path=path, checkpoint_every=5)
    _, arrays = checkpoints.load(path)
    assert arrays["state.step"] == 5 and arrays["state.estimator.seen"] == 5
    learned = [value for name, value in arrays.items() if name.startswith("state.estimator")]
    assert all(np.isfinite(value).all() for value in learned)


def test_nan_in_the_networks_alone_is_noticed(toy):
    """Loss and parameters finite, history not: the last step of a run is looked at too."""

    class Bad(FCGrad):
        def estimate(self, objective, theta, batch, state, step):
            estimate, state = super().estimate(objective, theta, batch, state, step)
            if step.index == 19:
                state = state._replace(history=state.history * np.nan)
            return estimate, state

    with pytest.raises(Diverged, match="the estimator's state became NaN or infinite at step 19"):
        run(toy, Bad())


def test_the_networks_are_counted(toy):
    """Multiply-accumulates of a run: its passes, and what the networks took at every step."""
    result = run(toy, FSG(**TINY), steps=5)
    forward, backward = 12 * 5 + 5 * 3, 12 * 5 + 2 * 5 * 3
    passes = 5 * 50 * (forward + backward)
    fast, slow = FSG(**TINY).parts(2)
    beside = 0
    for stored in (1, 2, 3, 3):
        for weights in (60, 15):
            beside += fast.net.macs(weights, stored) + slow.net.macs(weights, stored)
    assert result.final("macs") == passes + beside
    mamba = slow.net.model
    assert slow.net.macs(60, 3) == mamba.macs(181, 60) + mamba.backward_macs(181, 60)
    assert mamba.macs(181, 60) < mamba.macs(181) == mamba.macs(181, 181)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: FCGrad(lookahead="late"), "lookahead is 'late'"),
        (lambda: FCGrad(hyper_optimizer="adm"), "did you mean 'adam'"),
        (lambda: FCGrad(hyper_lr=0.0), "hyper_lr is 0.0"),
        (lambda: MultiFC(units=0), "units is 0"),
        (lambda: FSG(commit="fast"), "commit: unknown name 'fast'; did you mean 'fast_only'"),
        (lambda: FSG(slow_net="mamab"), "did you mean 'mamba'"),
        (lambda: FSG(layout="flt"), "did you mean 'flat'"),
        (lambda: FSG(slow_share=1.5), "slow_share is 1.5"),
        (lambda: FSG(length=0), "length is 0"),
        (lambda: FSG(slow_lr=float("nan")), "slow_lr is nan"),
        (lambda: FSG(states=0), "FSG.states is 0"),
        (lambda: FSG(start="random"), "start is 'random'"),
        (lambda: FSG(mu=1.0), "mu is 1.0"),
        (lambda: SlowNet(Mamba(), 2, "line"), "layout is 'line'"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_what_cannot_be_trained_is_refused():
    objective, theta, batches = problem(DoReFa(bits=1))
    with pytest.raises(InputError, match="a learned gradient trains one theta"):
        FCGrad().init(objective, theta[None])
    with pytest.raises(InputError, match="a learned gradient needs quantised weights"):
        FCGrad().init(replace(objective, quantized=()), theta)
    state = FCGrad().init(objective, theta)
    _, state = FCGrad().estimate(objective, theta, batches[0], state, Step())
    with pytest.raises(InputError, match="looks ahead along the optimiser's step"):
        FCGrad().estimate(objective, theta, batches[1], state, Step(index=1))

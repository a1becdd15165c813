"""PyTorch as an independent oracle of what published recipes are made of: optimisers, networks."""

import numpy as np
import pytest

from minizo import optim

pytestmark = pytest.mark.torch


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)  # small work, and the machine may be busy
    return torch


RULES = {
    "sgd": (optim.SGD, {}, "SGD", {}),
    "momentum": (optim.Momentum, {}, "SGD", {"momentum": 0.9}),
    "nesterov": (optim.Momentum, {"nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True}),
    "adam": (optim.Adam, {}, "Adam", {}),
    "adamw": (optim.AdamW, {}, "AdamW", {}),
}


def both(torch, name, decay, schedule, theirs_falls, clip=None, steps=40, **more):
    """theta after some steps on a quartic, ours and PyTorch's, with the same schedule."""
    ours, own, theirs, options = RULES[name]
    rule = ours(lr=0.05, schedule=schedule, decay=decay, clip=clip, **own, **more)
    theta = np.random.default_rng(0).normal(size=6)
    leaf = torch.tensor(theta, requires_grad=True)
    optimizer = getattr(torch.optim, theirs)([leaf], lr=0.05, weight_decay=decay, **options)
    falls, state = theirs_falls(optimizer), rule.init(theta)
    for t in range(steps):
        theta, state = rule.update(4.0 * (theta - 1.0) ** 3, state, theta, t / steps)
        optimizer.zero_grad()
        ((leaf - 1.0) ** 4).sum().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([leaf], clip)
        optimizer.step()
        falls.step()
    return theta, leaf.detach().numpy()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("decay", [0.0, 5e-2])
def test_optimisers_equal_pytorch(torch, name, decay):
    """40 steps with a tenth of the rate after 30, 60 and 90 %, to 1e-12; another decay is seen."""

    def falls(optimizer):
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, [12, 24, 36], 0.1)

    ours, theirs = both(torch, name, decay, "milestones:.3/.6/.9", falls)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    other, _ = both(torch, name, decay + 1e-2, "milestones:.3/.6/.9", falls)
    assert not np.allclose(other, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_cosine_with_clipping_equals_pytorch(torch, name):
    """To 1e-6 of the step: PyTorch adds 1e-6 to the length that it divides by."""

    def falls(optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)

    ours, theirs = both(torch, name, 1e-2, "cosine", falls, clip=0.5)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    free, _ = both(torch, name, 1e-2, "cosine", falls)
    assert not np.allclose(free, theirs, atol=1e-3) or name in ("adam", "adamw")


@pytest.mark.parametrize("name", RULES)
def test_warm_up_equals_pytorch(torch, name):
    """Ten steps from 0 to the full rate, then a cosine, as a function of PyTorch's `LambdaLR`."""

    def shape(t):
        return t / 10 if t < 10 else 0.5 * (1.0 + np.cos(np.pi * (t - 10) / 30))

    def falls(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, shape)

    ours, theirs = both(torch, name, 1e-2, "cosine", falls, warmup=0.25)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)

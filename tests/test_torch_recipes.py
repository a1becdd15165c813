"""PyTorch as an independent oracle of what published recipes are made of: optimisers, networks."""

import numpy as np
import pytest

from minizo import Batch, Objective, models, optim, quantizers
from minizo.bench import torch_networks
from minizo.layers import MaxPool2d

pytestmark = pytest.mark.torch


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


@pytest.mark.parametrize("size, stride, padding", [(3, 2, 1), (2, 2, 1), (5, 2, 2), (4, 1, 2)])
def test_padded_pooling_equals_pytorch(torch, size, stride, padding):
    """Outputs and gradients, with many equal numbers, of a population of two."""
    gen = np.random.default_rng(1)
    x = gen.integers(-6, -3, size=(2, 3, 2, 9, 7)).astype(float)
    y, cache = MaxPool2d(size, stride, padding).forward({}, x)
    leaf = torch.tensor(x.reshape(6, 2, 9, 7), requires_grad=True)
    theirs = torch.nn.functional.max_pool2d(leaf, size, stride, padding)
    np.testing.assert_array_equal(y.reshape(theirs.shape), theirs.detach().numpy())
    dy = gen.normal(size=y.shape)
    theirs.backward(torch.tensor(dy.reshape(theirs.shape)))
    dx, _ = MaxPool2d(size, stride, padding).backward({}, cache, dy)
    np.testing.assert_allclose(dx.reshape(leaf.shape), leaf.grad.numpy(), rtol=0, atol=1e-14)


def residual_network(torch, depth, stem, width, classes):
    """ResNet-18 or -50 as a user of PyTorch writes them, its parameters in our order."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            sizes = [(width, 3, stride), (width, 3, 1)]
            if depth == 50:
                sizes = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
            self.body, channels = nn.ModuleList(), inputs
            for outputs, kernel, step in sizes:
                conv = nn.Conv2d(channels, outputs, kernel, step, kernel // 2, bias=False)
                self.body += [conv, nn.BatchNorm2d(outputs)]
                channels = outputs
            self.downsample = nn.Sequential()
            if stride != 1 or inputs != channels:
                self.downsample.append(nn.Conv2d(inputs, channels, 1, stride, bias=False))
                self.downsample.append(nn.BatchNorm2d(channels))
            self.channels = channels

        def forward(self, x):
            y = x
            for i in range(0, len(self.body), 2):
                y = self.body[i + 1](self.body[i](y))
                y = torch.relu(y) if i + 2 < len(self.body) else y
            return torch.relu(y + self.downsample(x))

    whole, channels = nn.Sequential(), width
    if stem == "imagenet":
        whole.append(nn.Conv2d(3, width, 7, 2, 3, bias=False))
    else:
        whole.append(nn.Conv2d(3, width, 3, 1, 1, bias=False))
    whole.append(nn.BatchNorm2d(width)).append(nn.ReLU())
    if stem == "imagenet":
        whole.append(nn.MaxPool2d(3, 2, 1))
    for stage, count in enumerate({18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]):
        for i in range(count):
            block = Block(channels, width * 2**stage, 2 if stage and i == 0 else 1)
            whole.append(block)
            channels = block.channels
    whole.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).append(nn.Linear(channels, classes))
    return whole.double()


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("depth", [18, 50])
def test_residual_networks_equal_pytorch(torch, depth, stem):
    """Loss and every gradient in float64, 2 channels wide; the parameters have the same order."""
    pixels = 16 if stem == "cifar" else 33
    made = {18: models.resnet18, 50: models.resnet50}[depth]
    network = made(4, stem, width=2, input_shape=(3, pixels, pixels))
    theirs = residual_network(torch, depth, stem, 2, 4)
    gen = np.random.default_rng(2)
    theta = network.init(0, like=np.empty(0))
    theta = theta + 0.02 * gen.normal(size=theta.shape)
    leaves = list(theirs.parameters())
    views = network.views(theta)
    assert [tuple(leaf.shape) for leaf in leaves] == [view.shape for view in views.values()]
    with torch.no_grad():
        for leaf, view in zip(leaves, views.values(), strict=True):
            leaf.copy_(torch.tensor(np.ascontiguousarray(view)))
    batch = Batch(gen.normal(size=(6, 3, pixels, pixels)), gen.integers(0, 4, 6))
    loss = torch.nn.functional.cross_entropy(
        theirs(torch.tensor(batch.x)), torch.tensor(batch.labels)
    )
    loss.backward()
    objective = Objective(network, quantizers.FullPrecision()).calibrate(theta)
    found = objective.ste_gradient(theta, batch)
    assert abs(float(loss.detach()) - found.loss) < 1e-10
    for leaf, (name, gradient) in zip(leaves, network.views(found.gradient).items(), strict=True):
        expected = leaf.grad.numpy()
        largest = 1e-8 * max(abs(expected).max(), 1e-3)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=largest, err_msg=name)


def test_the_benchmark_builds_padded_pooling(torch):
    """`torch_networks.build`, which the timings use, of the stem of ImageNet."""
    network = models.resnet18(3, "imagenet", width=2, input_shape=(3, 32, 32))
    theta = network.init(0, like=np.empty(0))
    objective = Objective(network, quantizers.FullPrecision()).calibrate(theta)
    x = np.random.default_rng(1).normal(size=(4, 3, 32, 32))
    ours, _ = network.forward(objective.quantize(theta), x)
    theirs = torch_networks.build(torch, objective, theta, binary=False)(torch.tensor(x))
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-10)
